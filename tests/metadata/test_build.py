from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.errors import Place
from lakeflow_job_meta.metadata import schema
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.metadata.task_types import TASK_TYPES
from lakeflow_job_meta.names import digest
from lakeflow_job_meta.settings import Settings
from tests.metadata.given import NOTEBOOK, TABLE, built, job_row, row, sound, whole, wrong

SQL = {"task_type": "sql_query", "sql_task": {"sql_query": "SELECT 1", "warehouse_id": "abc"}}


def test_the_insert_of_the_seed_is_a_module():
    one = row(
        "sql_task_1",
        '{"task_type": "sql_query", "sql_task": {"warehouse_id": "abc123", "sql_query": "SELECT * FROM bronze.customers"}}',
        source_config="{}",
        target_config='{"catalog": "bronze", "schema": "data", "table": "customers"}',
        source_type="sql",
    )
    (source,) = sound(one).sources
    assert source.task_type == "sql_query"
    assert source.settings == {"warehouse_id": "abc123", "sql_query": "SELECT * FROM bronze.customers"}
    assert source.target_config["table"] == "customers"


def test_a_definition_survives_json():
    definition = sound(row("a", SQL), row("b"), job_row({"name": "x", "drift": "report", "permissions": []}))
    assert ModuleDefinition.from_json(json.loads(json.dumps(definition.as_json()))) == definition


def test_sources_come_in_order_of_stage_and_id():
    definition = sound(row("z", order=1), row("b", order=2), row("a", order=2), row("c", order=-1))
    assert [source.source_id for source in definition.sources] == ["c", "z", "a", "b"]


class TestRetirement:
    def test_no_active_source_retires(self):
        definition = sound(row("a", is_active=False))
        assert not definition.active
        assert definition.sources == ()

    def test_an_inactive_job_row_retires_whatever_else_is_active(self):
        definition = sound(row("a"), job_row({"retire": "delete"}, active=False))
        assert not definition.active
        assert definition.options == {"retire": "delete"}

    def test_a_job_row_alone_retires(self):
        assert not sound(job_row({"name": "x"})).active

    def test_null_is_active_means_true(self):
        assert sound(row("a", is_active=None)).active

    def test_what_is_wrong_in_an_inactive_row_does_not_matter(self):
        assert sound(row("a"), row("b", "{", is_active=False)).active


class TestKeys:
    def test_two_rows_with_one_key_are_refused_and_both_shown(self):
        (message,) = wrong(row("a", source_type="one"), row("a", source_type="two"))
        assert message == 'two rows have the key "a"; they differ in source_type "one" and "two": delete one'

    def test_also_when_one_of_them_is_inactive(self):
        assert "two rows" in wrong(row("a"), row("a", is_active=False))[0]

    def test_two_job_rows(self):
        assert "two rows" in wrong(row("a"), job_row({}), job_row({"name": "x"}))[0]

    def test_task_keys_that_collide_name_both_sources(self):
        (message,) = wrong(row("a b"), row("a_b"))
        assert '"a b" and "a_b" both get the task_key "a_b"' in message

    @pytest.mark.parametrize("name", ["", " ", None, "__x__", "__"])
    def test_empty_and_reserved_source_ids(self, name):
        assert wrong(row(name))

    @pytest.mark.parametrize("name", ["", None, "__control__", "__x", "a}b", "x" * 5000])
    def test_empty_and_reserved_modules(self, name):
        assert wrong(row("a", module_name=name))

    def test_order_is_demanded(self):
        assert wrong(row("a", order=None)) == [
            "execution_order is missing: give the number of the stage, 1 for the first"
        ]
        assert wrong(row("a", order=2**40))
        assert wrong(row("a", order="1"))

    def test_source_type_is_demanded(self):
        assert "source_type" in wrong(row("a", source_type=None))[0]

    def test_a_source_of_type_job_needs_no_special_name(self):
        assert sound(row("a", source_type="job")).sources[0].source_type == "job"


class TestJson:
    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("{", "is no JSON: Expecting property name"),
            ("{'a': 1}", "JSON wants double quotes"),
            ("[1]", "must be a JSON object such as {}, not a list of 1"),
            ("null", "must be a JSON object"),
            ('{"a": NaN}', "NaN is no JSON"),
            ('{"a": -Infinity}', "-Infinity is no JSON"),
            ('{"a": 1e999}', "too large"),
            ('{"a": 1, "a": 2}', 'the key "a" stands twice'),
            ('{"a": {"b": 1, "b": 2}}', 'the key "b" stands twice'),
            ('{"a": "\\ud800"}', "surrogate"),
            ('{"a": 123456789012345678901234567890}', "64 bits"),
            ("[" * 200_000, "nested deeper than 100 levels"),
            ('{"a":' * 200_000, "nested deeper than 100 levels"),
            ('{"a": 1} x', "Extra data"),
        ],
    )
    @pytest.mark.parametrize("column", ["source_config", "target_config", "transformation_config"])
    def test_what_is_no_json_object_is_refused_with_its_position(self, text, part, column):
        columns = {"config": NOTEBOOK, column: text}
        config = columns.pop("transformation_config", columns.pop("config"))
        (message,) = wrong(row("a", config, **{k: v for k, v in columns.items() if k != "config"}))
        assert message.startswith(column)
        assert part in message

    def test_null_and_empty_text_are_empty_objects(self):
        (source,) = sound(row("a", source_config=None, target_config="  ")).sources
        assert source.source_config == source.target_config == {}

    def test_without_transformation_config_there_is_no_task(self):
        assert wrong(row("a", None)) == ["task_type is missing in transformation_config"]


class TestTaskTypes:
    @pytest.mark.parametrize("name", sorted(TASK_TYPES))
    def test_all_fields_of_every_type_survive(self, name):
        """Nothing of what the schema knows is dropped or changed."""
        config = whole(schema.document()["$defs"][f"task.{name}"])
        config.pop("depends_on")
        job = {
            "job_clusters": [{"job_cluster_key": "text", "new_cluster": {}}],
            "environments": [{"environment_key": "text"}],
        }
        task_type = TASK_TYPES[name]
        if name == "sql_script":
            config["sql_file_path"] = "/Volumes/a.sql"
        elif name == "dataset_sync":
            config["bronze"]["external_location"] = "s3://bucket/folder"
        elif name == "sql":
            for key in ("alert", "dashboard", "file"):
                del config["sql_task"][key]
        elif name == "sql_query":
            del (
                config["query_id"],
                config["sql_query"],
                config["sql_task"]["query"],
                config["sql_task"]["query_id"],
            )
        elif name == "sql_file":
            del config["sql_file_path"], config["sql_task"]["file"]
        elif name == "python_wheel":
            del config["python_wheel_task"]["parameters"]
        elif name == "for_each":
            inner = config["for_each_task"]["task"]
            for key in [key for key in inner if key.endswith("_task") and key != "notebook_task"]:
                del inner[key]
        (source,) = sound(row("a", config), job_row(job)).sources
        own = config[task_type.api_key] if task_type.api_key else {key: config[key] for key in task_type.keys}
        assert source.settings == own
        assert source.task == {
            key: value for key, value in config.items() if key != "task_type" and key not in task_type.keys
        }

    def test_an_unknown_type_gets_a_suggestion(self):
        assert wrong(row("a", {"task_type": "notebok"})) == [
            'unknown task_type "notebok" (did you mean "notebook"?)'
        ]
        assert wrong(row("a", {"task_type": "notebook_task"})) == [
            'unknown task_type "notebook_task" (did you mean "notebook"?)'
        ]
        assert "unknown task_type 7" in wrong(row("a", {"task_type": 7}))[0]

    def test_types_of_later_issues_are_unknown_until_they_come(self):
        for name in ("dxr_ingest", "sql_policy", "remediate", "dataset_sync", "notify"):
            if name not in TASK_TYPES:
                assert wrong(row("a", {"task_type": name}))[0].startswith(f'unknown task_type "{name}"')

    def test_a_task_without_type_gets_a_guess(self):
        (message,) = wrong(row("a", {"spark_python_task": {"python_file": "x"}}))
        assert message.endswith("did you mean task_type: spark_python?")

    def test_a_key_of_another_type_says_whose_it_is(self):
        (message,) = wrong(row("a", {**SQL, "notebook_path": "/a"}))
        assert message == '"notebook_path" does not belong to task_type "sql_query", but to notebook'

    def test_task_key_is_not_given(self):
        assert wrong(row("a", {**NOTEBOOK, "task_key": "x"})) == [
            "task_key is made from source_id: leave it out"
        ]

    def test_the_settings_of_an_api_type_are_demanded(self):
        assert wrong(row("a", {"task_type": "python_wheel"})) == [
            'task_type "python_wheel" needs "python_wheel_task"'
        ]

    def test_notebook_fields_beside_and_inside_are_one(self):
        config = {
            "task_type": "notebook",
            "notebook_path": "/a",
            "notebook_task": {"base_parameters": {"x": "1"}, "source": "WORKSPACE"},
        }
        (source,) = sound(row("a", config)).sources
        assert source.settings == {
            "notebook_path": "/a",
            "base_parameters": {"x": "1"},
            "source": "WORKSPACE",
        }

    def test_but_not_with_different_values(self):
        config = {"task_type": "notebook", "notebook_path": "/a", "notebook_task": {"notebook_path": "/b"}}
        assert wrong(row("a", config)) == [
            "notebook_path stands here and in notebook_task, with different values: keep one"
        ]

    def test_a_notebook_needs_its_path(self):
        assert wrong(row("a", {"task_type": "notebook"})) == ['task_type "notebook" needs "notebook_path"']

    @pytest.mark.parametrize(
        "sql_task",
        [{"query_id": "q"}, {"query": {"query_id": "q"}}],
    )
    def test_a_saved_query_by_id(self, sql_task):
        (source,) = sound(
            row("a", {"task_type": "sql_query", "sql_task": {"warehouse_id": "w", **sql_task}})
        ).sources
        assert source.settings == {"warehouse_id": "w", "query_id": "q"}

    def test_text_and_id_exclude_each_other(self):
        both = {
            "task_type": "sql_query",
            "sql_task": {"warehouse_id": "w", "sql_query": "SELECT 1", "query_id": "q"},
        }
        assert wrong(row("a", both)) == ["sql_task has sql_query and query_id: keep one"]
        neither = {"task_type": "sql_query", "sql_task": {"warehouse_id": "w"}}
        assert wrong(row("a", neither)) == [
            'task_type "sql_query" needs "sql_query" (the text) or "query_id" in sql_task'
        ]

    @pytest.mark.parametrize(
        "config",
        [
            {"sql_task": {"sql_file_path": "/a.sql", "source": "GIT"}},
            {"sql_task": {"file": {"path": "/a.sql", "source": "GIT"}}},
            {"sql_file_path": "/a.sql", "sql_task": {"source": "GIT"}},
        ],
    )
    def test_a_sql_file_in_each_of_its_forms(self, config):
        (source,) = sound(row("a", {"task_type": "sql_file", **config})).sources
        assert source.settings == {"sql_file_path": "/a.sql", "source": "GIT"}

    def test_a_script_of_ours(self):
        config = {
            "task_type": "sql_script",
            "sql_file_path": "/Volumes/c/s/v/a.sql",
            "parameters": {"n": 1},
            "max_retries": 2,
        }
        (source,) = sound(row("a", config)).sources
        assert source.settings == {"sql_file_path": "/Volumes/c/s/v/a.sql", "parameters": {"n": "1"}}
        assert source.task == {"max_retries": 2}
        assert wrong(row("a", {**config, "sql_file_path": "a.sql"}))

    def test_the_inner_task_of_for_each_gets_a_key(self):
        config = {
            "task_type": "for_each",
            "for_each_task": {"inputs": "[1]", "task": {"notebook_task": {"notebook_path": "/a"}}},
        }
        (source,) = sound(row("a b", config)).sources
        assert source.settings["task"]["task_key"] == "a_b_iteration"

    @pytest.mark.parametrize(
        ("given", "key"),
        [("each day", "each_day"), ("", "a_iteration"), ("k" * 101, f"{'k' * 91}_{digest('k' * 101, 8)}")],
    )
    def test_a_key_of_the_inner_task_is_made_a_key(self, given, key):
        """As source_ids are: what is not allowed becomes _, at most 100 characters; references know it."""
        inner = {
            "task_key": given,
            "notebook_task": {
                "notebook_path": "/a",
                "base_parameters": {"p": f"{{{{tasks.{key}.values.x}}}}"},
            },
        }
        config = {"task_type": "for_each", "for_each_task": {"inputs": "[1]", "task": inner}}
        (source,) = sound(row("a", config)).sources
        assert source.settings["task"]["task_key"] == key

    def test_for_each_does_not_nest(self):
        inner = {"for_each_task": {"inputs": "[1]", "task": {}}, "depends_on": []}
        config = {"task_type": "for_each", "for_each_task": {"inputs": "[1]", "task": inner}}
        messages = wrong(row("a", config))
        assert "a for_each task cannot be nested in another one" in messages
        assert any("depends_on" in message for message in messages)


NO_WAREHOUSE = {"task_type": "sql_query", "sql_task": {"sql_query": "SELECT 1"}}


class TestWarehouse:
    def test_a_sql_task_needs_one(self):
        (message,) = wrong(row("a", NO_WAREHOUSE), default_warehouse_id=None)
        assert "default_warehouse_id" in message

    def test_the_setting_or_the_module_may_bring_it(self):
        assert sound(row("a", NO_WAREHOUSE), default_warehouse_id="w")
        assert sound(
            row("a", NO_WAREHOUSE), job_row({"default_warehouse_id": "w"}), default_warehouse_id=None
        )

    def test_while_the_settings_are_open_it_is_not_demanded(self):
        defined = define([row("a", NO_WAREHOUSE)], table=TABLE, settings=Settings(), open_settings=True)
        assert defined.problems == ()


class TestVariables:
    def test_rows_are_resolved_with_the_settings(self):
        config = {"task_type": "notebook", "notebook_path": "/${var.env}/a", "max_retries": "${var.n}"}
        (source,) = sound(
            row("a", config, source_config='{"x": "$${var.env}"}'), variables={"env": "dev", "n": "2"}
        ).sources
        assert source.settings["notebook_path"] == "/dev/a"
        assert source.task["max_retries"] == 2
        assert source.source_config == {"x": "${var.env}"}

    def test_an_unknown_one_refuses_the_module(self):
        defined = built(
            row("a", {"task_type": "notebook", "notebook_path": "${var.evn}"}), variables={"env": "dev"}
        )
        (problem,) = defined.problems
        assert problem.message == 'unknown variable "evn" (did you mean "env"?)'
        assert problem.pointer == "/transformation_config/notebook_path"

    @given(st.text())
    def test_a_value_never_becomes_structure(self, value):
        """A quote, a brace or another reference in a value stays a part of the text."""
        config = {"task_type": "notebook", "notebook_path": "/a", "base_parameters": {"x": "<${var.v}>"}}
        (source,) = sound(row("a", config), variables={"v": value, "other": "no"}).sources
        assert source.settings["base_parameters"] == {"x": f"<{value}>"}


class TestJobRow:
    def test_it_is_flat(self):
        definition = sound(
            row("a"),
            job_row(
                {
                    "name": "n",
                    "max_concurrent_runs": 2,
                    "permissions": [{"group_name": "g", "level": "CAN_VIEW"}],
                    "drift": "report",
                    "run_on_change": True,
                }
            ),
        )
        assert definition.job == {"name": "n", "max_concurrent_runs": 2}
        assert definition.permissions == ({"group_name": "g", "level": "CAN_VIEW"},)
        assert definition.options == {"drift": "report", "run_on_change": True}

    def test_without_permissions_they_are_not_managed(self):
        assert sound(row("a"), job_row({})).permissions is None
        assert sound(row("a"), job_row({"permissions": []})).permissions == ()

    def test_all_job_settings_survive(self):
        config = whole(schema.document()["$defs"]["job"])
        for key in ("trigger", "continuous", "triggers"):
            del config[key]
        config["schedule"] |= {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}
        config["permissions"] = [{"group_name": "g", "level": "CAN_VIEW"}]
        definition = sound(row("a"), job_row(config))
        assert {**definition.job, "permissions": list(definition.permissions)} == config

    def test_tasks_are_refused(self):
        (message,) = wrong(row("a"), job_row({"tasks": []}))
        assert "sources" in message

    def test_an_unknown_field_gets_a_suggestion(self):
        assert wrong(row("a"), job_row({"shedule": {}})) == [
            'unknown key "shedule" (did you mean "schedule"?)'
        ]

    def test_it_must_be_of_type_job(self):
        assert "source_type" in wrong(row("a"), job_row({}, source_type="sql"))[0]

    @pytest.mark.parametrize(
        "entry", [{"level": "CAN_VIEW"}, {"level": "CAN_VIEW", "user_name": "a", "group_name": "b"}]
    )
    def test_a_permission_names_one_principal(self, entry):
        assert "names one of" in wrong(row("a"), job_row({"permissions": [entry]}))[0]

    def test_options_are_judged(self):
        assert "drift" in wrong(row("a"), job_row({"drift": "sometimes"}))[0]


class TestProblems:
    def test_all_at_once_each_with_its_place(self):
        defined = built(
            row("a", {"task_type": "notebook"}),
            row("b", {"task_type": "nonsense"}),
            row("c", "{", order=None),
            job_row({"nam": 1}),
        )
        assert len(defined.problems) == 5
        assert {problem.place for problem in defined.problems} == {
            Place(TABLE, key=f"m/{name}") for name in ("a", "b", "c", "__job__")
        }
        assert all(problem.module == "m" for problem in defined.problems)

    def test_who_waits_for_a_source_with_problems_is_right(self):
        messages = wrong(row("a", {"task_type": "notebook"}), row("b", {**NOTEBOOK, "depends_on": ["a"]}))
        assert messages == ['task_type "notebook" needs "notebook_path"']

    def test_a_thousand_problems_are_counted_not_listed(self):
        config = {"task_type": "notebook", "notebook_path": "/a", **{f"k{n}": 1 for n in range(1000)}}
        messages = wrong(row("a", config))
        assert len(messages) == 201
        assert "800 more problems" in messages[-1]


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(min_size=1).filter(
            lambda text: not text.startswith("__") and text.strip() and max(text) < "\ud800"
        ),
        st.dictionaries(
            st.text(), st.one_of(st.text(), st.integers(-9, 9), st.none(), st.booleans()), max_size=3
        ),
        min_size=1,
        max_size=3,
    )
)
def test_configs_of_any_content_come_through(configs):
    """source_config and target_config belong to the user: whatever JSON they are, that is what the task reads."""
    rows = [row(name, NOTEBOOK, source_config=json.dumps(config)) for name, config in configs.items()]
    defined = built(*rows)
    if defined.definition is None:
        assert all(
            "task_key" in problem.message or "variable" in problem.message for problem in defined.problems
        )
    else:
        assert {source.source_id: source.source_config for source in defined.definition.sources} == configs
