"""A definition becomes a job: names, tags, defaults, task types; nothing given is lost."""

from __future__ import annotations

import copy
import json
import typing

import pytest
from databricks.sdk.service import jobs

from lakeflow_job_meta.errors import MetadataError
from lakeflow_job_meta.jobs.queries import QueryOwner, query_owner, query_tags, read_query_tags
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, module_tag, table_tag
from tests.jobs.modules import TABLE, module, rendered, source, tasks
from tests.wire import COMMON_TASK_FIELDS, JOB_FIELDS, TASK_FIELDS, field_value, full, plain

SQL = {"sql_query": "SELECT :threshold", "warehouse_id": "abc", "parameters": {"threshold": "5.0"}}


class TestJobSettings:
    def test_what_is_added_to_an_empty_job(self):
        """A name, one run at a time, locked in the UI, and our two tags; no time-out, no pause status."""
        assert rendered(module()).settings == {
            "name": "sales",
            "max_concurrent_runs": 1,
            "edit_mode": "UI_LOCKED",
            "tags": {TABLE_TAG: table_tag(TABLE), MODULE_TAG: module_tag("sales")},
            "tasks": [],
        }

    def test_what_is_given_wins(self):
        job = {"name": "Sales", "max_concurrent_runs": 4, "edit_mode": "EDITABLE", "tags": {"team": "a"}}
        settings = rendered(module(job=job)).settings
        assert {name: settings[name] for name in ("name", "max_concurrent_runs", "edit_mode")} == {
            name: job[name] for name in ("name", "max_concurrent_runs", "edit_mode")
        }
        assert settings["tags"]["team"] == "a"
        assert len(settings["tags"]) == 3

    def test_pause_status_only_where_it_is_given(self):
        schedule = {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}
        assert rendered(module(job={"schedule": schedule})).settings["schedule"] == schedule

    def test_reserved_and_too_many_tags_are_refused_together(self):
        tags = {TABLE_TAG: "mine", **{f"t{n}": "" for n in range(24)}}
        with pytest.raises(MetadataError) as caught:
            rendered(module(job={"tags": tags}))
        assert len(caught.value.problems) == 2

    def test_inputs_are_left_alone(self):
        definition = module(
            source("n", 1, "notebook", {"notebook_path": "/n", "base_parameters": {"a": "b"}}),
            source("s", 2, "sql_query", dict(SQL)),
            source(
                "o",
                3,
                "sql_script",
                {"sql_file_path": "/Workspace/a.sql"},
                libraries=[],
                existing_cluster_id="c",
            ),
            job={"tags": {"a": "b"}, "environments": []},
            permissions=({"group_name": "g", "level": "CAN_VIEW"},),
        )
        before = copy.deepcopy(definition)
        result = rendered(definition)
        result.settings["tasks"][0]["notebook_task"]["base_parameters"]["a"] = "changed"
        result.settings["tags"].clear()
        assert definition == before

    def test_the_accepted_definition_is_kept(self):
        definition = module(source("a"), options={"drift": "report"})
        result = rendered(definition)
        assert type(definition).from_json(json.loads(json.dumps(result.definition))) == definition
        assert result.options == {"drift": "report"}


class TestSpecHash:
    def test_equal_for_equal_and_moved_by_any_part(self):
        base = module(source("s", 1, "sql_query", dict(SQL)))
        other_text = module(source("s", 1, "sql_query", {**SQL, "sql_query": "SELECT 2"}))
        shared = module(*base.sources, permissions=({"group_name": "g", "level": "CAN_VIEW"},))
        named = module(*base.sources, job={"name": "x"})
        hashes = [rendered(one).spec_hash for one in (base, other_text, shared, named)]
        assert rendered(copy.deepcopy(base)).spec_hash == hashes[0]
        assert len(set(hashes)) == 4


class TestNotebook:
    def test_gets_its_three_parameters(self):
        task = tasks(
            module(source("customers", 1, "notebook", {"notebook_path": "/n", "base_parameters": {"a": "b"}}))
        )
        assert task["customers"]["notebook_task"] == {
            "notebook_path": "/n",
            "base_parameters": {
                "a": "b",
                "source_id": "customers",
                "control_table": "main.meta.etl_control",
                "module_name": "sales",
            },
        }

    def test_a_reserved_parameter_with_another_value_is_refused(self):
        """Its names are reserved: a notebook that finds its source by them must be able to trust them."""
        settings = {"notebook_path": "/n", "base_parameters": {"source_id": "other"}}
        with pytest.raises(MetadataError, match=r"base_parameters.source_id.*reserved"):
            tasks(module(source("customers", 1, "notebook", settings)))

    def test_the_table_counts_towards_the_megabyte(self):
        """What the metadata alone could not know: with the control table's name it is too large."""
        large = {"notebook_path": "/n", "base_parameters": {"p": "x" * (1_000_000 - 60)}}
        with pytest.raises(
            MetadataError, match=r"bytes with source_id, control_table, module_name.*1 MB"
        ) as refused:
            tasks(module(source("a", 1, "notebook", large)))
        [problem] = refused.value.problems
        assert problem.source_id == "a"
        assert problem.place is not None

    def test_the_same_value_is_fine(self):
        settings = {"notebook_path": "/n", "base_parameters": {"source_id": "customers"}}
        assert tasks(module(source("customers", 1, "notebook", settings)))


class TestSql:
    def test_inline_text_becomes_a_saved_query(self):
        result = rendered(module(source("check", 1, "sql_query", dict(SQL))))
        task = result.settings["tasks"][0]
        assert task["sql_task"] == {
            "warehouse_id": "abc",
            "parameters": {"threshold": "5.0"},
            "query": {"query_id": "${query.check}"},
        }
        (query,) = result.queries
        assert query.source_id == "check"
        settings = query.settings
        assert settings["query_text"] == "SELECT :threshold"
        assert settings["warehouse_id"] == "abc"
        assert settings["parent_path"] == "/Workspace/Shared/lakeflow_job_meta"
        assert settings["parameters"] == [
            {"name": "threshold", "title": "threshold", "text_value": {"value": "5.0"}}
        ]
        assert settings["display_name"].startswith("sales - check [")

    def test_the_query_s_tags_say_whose_it_is(self):
        (query,) = rendered(module(source("check", 1, "sql_query", dict(SQL)))).queries
        assert read_query_tags(query.settings["tags"]) == query_owner(TABLE, "sales", "check")
        assert read_query_tags(["lakeflow_job_meta:x", "lakeflow_job_meta_source:nonsense"]) is None
        assert read_query_tags(None) is None
        owner = QueryOwner("t", module_tag("é/ü"), "0" * 16)
        assert read_query_tags([*query_tags(owner), "other"]) == owner

    def test_names_of_queries_are_short_unique_and_without_slashes(self):
        names = set()
        for module_name, source_id in (
            ("a/b", "c"),
            ("a_b", "c"),
            ("x" * 3000, "y"),
            ("x" * 3000, "z"),
            ("é" * 300, "y"),
        ):
            (query,) = rendered(
                module(source(source_id, 1, "sql_query", dict(SQL)), name=module_name)
            ).queries
            names.add(query.settings["display_name"])
            assert "/" not in query.settings["display_name"]
            assert len(query.settings["display_name"].encode()) <= 200
        assert len(names) == 5

    def test_queries_get_the_job_s_permissions(self):
        entries = (
            {"group_name": "a", "level": "CAN_MANAGE_RUN"},
            {"group_name": "b", "level": "CAN_VIEW"},
            {"user_name": "c", "level": "IS_OWNER"},
        )
        (query,) = rendered(module(source("check", 1, "sql_query", dict(SQL)), permissions=entries)).queries
        assert [entry["level"] for entry in query.permissions] == ["CAN_MANAGE_RUN", "CAN_VIEW", "CAN_MANAGE"]
        assert rendered(module(source("check", 1, "sql_query", dict(SQL)))).queries[0].permissions is None

    def test_a_query_by_id_makes_no_query(self):
        result = rendered(module(source("q", 1, "sql_query", {"query_id": "123", "warehouse_id": "abc"})))
        assert result.queries == ()
        assert result.settings["tasks"][0]["sql_task"] == {
            "warehouse_id": "abc",
            "query": {"query_id": "123"},
        }

    def test_settings_of_a_saved_query_without_text_are_refused(self):
        with pytest.raises(MetadataError, match=r"sql_task.catalog"):
            tasks(
                module(source("q", 1, "sql_query", {"query_id": "1", "warehouse_id": "a", "catalog": "main"}))
            )

    def test_a_file(self):
        settings = {"sql_file_path": "/Workspace/q.sql", "source": "GIT", "parameters": {"hours": 24}}
        task = tasks(module(source("f", 1, "sql_file", settings)), default_warehouse_id="w")["f"]
        assert task["sql_task"] == {
            "warehouse_id": "w",
            "parameters": {"hours": "24"},
            "file": {"path": "/Workspace/q.sql", "source": "GIT"},
        }

    def test_the_warehouse_is_the_source_s_then_the_module_s_then_the_table_s(self):
        plain_query = {"sql_query": "SELECT 1"}

        def warehouse(settings: dict, options: dict) -> str:
            definition = module(source("q", 1, "sql_query", settings), options=options)
            result = rendered(definition, default_warehouse_id="table")
            assert (
                result.queries[0].settings["warehouse_id"]
                == result.settings["tasks"][0]["sql_task"]["warehouse_id"]
            )
            return result.queries[0].settings["warehouse_id"]

        assert warehouse({**plain_query, "warehouse_id": "own"}, {"default_warehouse_id": "module"}) == "own"
        assert warehouse(plain_query, {"default_warehouse_id": "module"}) == "module"
        assert warehouse(plain_query, {}) == "table"

    def test_no_warehouse_at_all_is_refused_for_every_source(self):
        with pytest.raises(MetadataError, match="default_warehouse_id") as caught:
            tasks(
                module(
                    source("a", 1, "sql_query", {"sql_query": "x"}),
                    source("b", 1, "sql_file", {"sql_file_path": "x"}),
                )
            )
        assert [problem.source_id for problem in caught.value.problems] == ["a", "b"]


class TestOurs:
    def test_a_wheel_task_of_this_package_on_serverless(self):
        result = rendered(
            module(source("load", 1, "sql_script", {"sql_file_path": "/Workspace/a.sql"})), package="/V/x.whl"
        )
        (task,) = result.settings["tasks"]
        assert task == {
            "task_key": "load",
            "environment_key": "lakeflow_job_meta",
            "python_wheel_task": {
                "package_name": "lakeflow_job_meta",
                "entry_point": "lakeflow-job-meta-task",
                "named_parameters": {
                    "control_table": "main.meta.etl_control",
                    "module_name": "sales",
                    "source_id": "load",
                    "run_id": "{{job.run_id}}",
                },
            },
        }
        (environment,) = result.settings["environments"]
        assert environment["environment_key"] == "lakeflow_job_meta"
        assert environment["spec"]["dependencies"] == ["/V/x.whl"]

    def test_the_module_s_package_wins_and_the_default_is_this_version(self):
        definition = module(source("load", 1, "sql_script"), options={"package": "mine==1"})
        assert rendered(definition, package="x").settings["environments"][0]["spec"]["dependencies"] == [
            "mine==1"
        ]
        default = rendered(module(source("load", 1, "sql_script"))).settings["environments"][0]["spec"][
            "dependencies"
        ]
        assert default[0].split("==")[0] == "lakeflow_job_meta"

    def test_compute_of_its_own_needs_no_environment(self):
        """On a cluster the package comes as a library; an environment of the user's is the user's to fill."""
        definition = module(
            source("a", 1, "sql_script", job_cluster_key="c"),
            source("b", 1, "sql_script", existing_cluster_id="i", libraries=[{"jar": "j"}]),
            source("c", 1, "sql_script", environment_key="mine"),
        )
        result = rendered(definition, package="/V/x.whl")
        by_key = {task["task_key"]: task for task in result.settings["tasks"]}
        assert "environments" not in result.settings
        assert by_key["a"]["libraries"] == [{"whl": "/V/x.whl"}]
        assert by_key["b"]["libraries"] == [{"jar": "j"}, {"whl": "/V/x.whl"}]
        assert "libraries" not in by_key["c"]

    def test_an_environment_of_that_name_in_the_metadata_stays(self):
        own = [
            {
                "environment_key": "lakeflow_job_meta",
                "spec": {"environment_version": "3", "dependencies": ["x"]},
            }
        ]
        assert (
            rendered(module(source("a", 1, "sql_script"), job={"environments": own})).settings["environments"]
            == own
        )


class TestForEach:
    @pytest.mark.parametrize(
        ("given", "key"),
        [({}, "jeder_Tag_iteration"), ({"task_key": "a b"}, "a_b"), ({"task_key": "x-1"}, "x-1")],
    )
    def test_the_inner_task_has_a_key_that_the_platform_takes(self, given, key):
        settings = {"inputs": "[1]", "task": {**given, "notebook_task": {"notebook_path": "/n"}}}
        task = tasks(module(source("jeder Tag", 1, "for_each", settings)))["jeder_Tag"]
        assert task["for_each_task"]["task"] == {"task_key": key, "notebook_task": {"notebook_path": "/n"}}


class TestReferences:
    def test_required_modules_are_named(self):
        definition = module(
            source("a", 1, "run_job", {"job_id": "${module.other one}"}),
            source("b", 1, "run_job", {"job_id": 12}),
            source(
                "c", 1, "for_each", {"inputs": "[1]", "task": {"run_job_task": {"job_id": "${module.third}"}}}
            ),
        )
        assert rendered(definition).requires == ("other one", "third")


class TestProblems:
    def test_colliding_task_keys_name_both(self):
        with pytest.raises(MetadataError, match='"a b" and "a_b" both get the task_key "a_b"'):
            tasks(module(source("a b"), source("a_b")))

    def test_unknown_task_type(self):
        with pytest.raises(MetadataError, match='unknown task_type "nonsense"'):
            tasks(module(source("a", 1, "nonsense")))


class TestNothingIsLost:
    """By reflection: every field that the installed SDK knows reaches the wire as it was given."""

    @pytest.mark.parametrize("field", TASK_FIELDS)
    def test_every_field_of_a_task_type(self, field):
        cls = plain(typing.get_type_hints(jobs.Task)[field])
        settings = full(cls)
        task = tasks(module(source("a", 1, field.removesuffix("_task"), settings)))["a"]
        expected = copy.deepcopy(settings)
        if field == "notebook_task":
            expected["base_parameters"] |= {
                "source_id": "a",
                "control_table": "main.meta.etl_control",
                "module_name": "sales",
            }
        assert task == {"task_key": "a", field: expected}
        assert jobs.Task.from_dict(task).as_dict() == task

    @pytest.mark.parametrize("field", COMMON_TASK_FIELDS)
    @pytest.mark.parametrize("task_type", ["notebook", "python_wheel", "sql_query", "sql_script"])
    def test_every_task_field_beside_the_type(self, field, task_type):
        value = field_value(jobs.Task, field)
        settings = dict(SQL) if task_type == "sql_query" else {}
        task = tasks(module(source("a", 1, task_type, settings, **{field: value})))["a"]
        given = task[field]
        if task_type == "sql_script" and field == "libraries":
            given = given[: len(value)]
        assert given == value
        assert jobs.Task.from_dict(task).as_dict()[field] == task[field]

    @pytest.mark.parametrize("field", JOB_FIELDS)
    def test_every_field_of_job_settings(self, field):
        value = field_value(jobs.JobSettings, field)
        settings = rendered(module(job={field: value})).settings
        given = settings[field]
        if field == "tags":
            given = {name: given[name] for name in value}
        assert given == value
        assert jobs.JobSettings.from_dict(settings).as_dict()[field] == settings[field]

    def test_fields_that_the_sdk_does_not_know_yet(self):
        definition = module(
            source("a", 1, "notebook", {"new": {"x": 1}}, new_task_field=[1]), job={"new_job_field": {}}
        )
        settings = rendered(definition).settings
        assert settings["new_job_field"] == {}
        assert settings["tasks"][0]["new_task_field"] == [1]
        assert settings["tasks"][0]["notebook_task"]["new"] == {"x": 1}
