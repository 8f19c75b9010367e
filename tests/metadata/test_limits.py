from __future__ import annotations

from typing import Any

import pytest

from lakeflow_job_meta.metadata.task_types import TASK_TYPES
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG
from tests.metadata.given import NOTEBOOK, built, job_row, row, sound, wrong

SCHEDULE = {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}


def of_job(**job: Any) -> list[str]:
    return wrong(row("a"), job_row(job))


def notebook(**fields: Any) -> dict[str, Any]:
    return {**NOTEBOOK, **fields}


class TestJob:
    def test_name(self):
        assert "4096 bytes" in of_job(name="ü" * 2049)[0]
        assert "is empty" in of_job(name=" ")[0]
        assert sound(row("a"), job_row({"name": "ü" * 2048}))

    def test_description(self):
        assert "27701 characters" in of_job(description="x" * 27_701)[0]

    def test_tags(self):
        assert "keep 23" in of_job(tags={f"t{n}": "" for n in range(24)})[0]
        assert sound(row("a"), job_row({"tags": {f"t{n}": "" for n in range(23)}}))
        assert "1 to 127" in of_job(tags={"k" * 128: "v"})[0]
        assert "1 to 127" in of_job(tags={"": "v"})[0]
        assert "at most 255" in of_job(tags={"k": "v" * 256})[0]

    @pytest.mark.parametrize("tag", [TABLE_TAG, MODULE_TAG])
    def test_our_tags_are_reserved(self, tag):
        (problem,) = built(row("a"), job_row({"tags": {tag: "x"}})).problems
        assert "reserved" in problem.message
        assert problem.pointer == f"/transformation_config/tags/{tag}"

    def test_numbers(self):
        assert "negative" in of_job(timeout_seconds=-1)[0]
        assert "at most 1000" in of_job(max_concurrent_runs=1001)[0]

    def test_parameters(self):
        assert "declared twice" in of_job(parameters=[{"name": "a", "default": ""}] * 2)[0]
        assert "use letters" in of_job(parameters=[{"name": "a b", "default": ""}])[0]

    def test_keys_of_clusters_and_environments_are_unique(self):
        assert "stands twice" in of_job(job_clusters=[{"job_cluster_key": "a", "new_cluster": {}}] * 2)[0]
        assert "stands twice" in of_job(environments=[{"environment_key": "a"}] * 2)[0]

    def test_a_thousand_tasks(self):
        assert sound(*[row(f"s{n}") for n in range(1000)])
        assert "split it" in wrong(*[row(f"s{n}") for n in range(1001)])[0]


class TestTriggers:
    def test_one_of_them(self):
        (message,) = of_job(schedule=SCHEDULE, continuous={})
        assert "this one has schedule and continuous" in message
        assert len(of_job(schedule=SCHEDULE, trigger={"file_arrival": {"url": "/x"}}, triggers=[])) == 1

    def test_the_cron_expression(self):
        assert (
            "fires every 1 seconds"
            in of_job(schedule={**SCHEDULE, "quartz_cron_expression": "* * * * * ?"})[0]
        )

    def test_the_time_zone(self):
        (message,) = of_job(schedule={**SCHEDULE, "timezone_id": "Europe/Berln"})
        assert 'did you mean "Europe/Berlin"' in message
        for zone in ("America/New_York", "GMT+2", "PST", "Etc/UTC"):
            assert sound(row("a"), job_row({"schedule": {**SCHEDULE, "timezone_id": zone}}))
        for zone in ("../etc/passwd", "", "\x00", "/etc/localtime"):
            assert of_job(schedule={**SCHEDULE, "timezone_id": zone})

    def test_waits_of_triggers(self):
        assert (
            "at least 60"
            in of_job(trigger={"file_arrival": {"url": "/x", "wait_after_last_change_seconds": 5}})[0]
        )
        assert (
            "at least 60"
            in of_job(
                trigger={"table_update": {"table_names": ["a"], "min_time_between_triggers_seconds": 5}}
            )[0]
        )
        assert "at least 1" in of_job(trigger={"periodic": {"interval": 0, "unit": "DAYS"}})[0]


class TestContinuous:
    JOB = job_row({"continuous": {"pause_status": "PAUSED"}})

    def test_one_stage_is_fine(self):
        assert sound(row("a"), row("b"), self.JOB)

    def test_no_second_stage(self):
        (problem,) = built(row("a"), row("b", order=2), self.JOB).problems
        assert "has one stage" in problem.message
        assert (problem.source_id, problem.pointer) == ("b", "/execution_order")

    def test_no_dependencies(self):
        assert "depend on one another" in wrong(row("a"), row("b", notebook(depends_on=["a"])), self.JOB)[0]

    def test_no_dependencies_said_explicitly_are_fine(self):
        assert sound(row("a"), row("b", notebook(depends_on=[]), order=2), self.JOB)

    def test_no_retries(self):
        assert "no retries" in wrong(row("a", notebook(max_retries=1)), self.JOB)[0]

    def test_no_retries_inside_for_each(self):
        inner = {"notebook_task": {"notebook_path": "/a"}, "max_retries": 1}
        config = {"task_type": "for_each", "for_each_task": {"inputs": "[1]", "task": inner}}
        (problem,) = built(row("a", config), self.JOB).problems
        assert "no retries" in problem.message
        assert problem.pointer == "/transformation_config/for_each_task/task/max_retries"

    def test_one_run(self):
        assert "one run at a time" in of_job(continuous={}, max_concurrent_runs=2)[0]


class TestTasks:
    def test_a_cluster_and_an_environment_must_be_declared(self):
        clusters = job_row(
            {
                "job_clusters": [{"job_cluster_key": "main", "new_cluster": {}}],
                "environments": [{"environment_key": "py"}],
            }
        )
        assert sound(
            row("a", notebook(job_cluster_key="main")), row("b", notebook(environment_key="py")), clusters
        )
        assert 'did you mean "main"' in wrong(row("a", notebook(job_cluster_key="mian")), clusters)[0]
        assert "declare it" in wrong(row("a", notebook(environment_key="py")))[0]
        assert sound(row("a", notebook(environment_key="lakeflow_job_meta")))

    def test_numbers(self):
        assert "max_retries" in wrong(row("a", notebook(max_retries=-2)))[0]
        assert sound(row("a", notebook(max_retries=-1)))
        assert "timeout_seconds" in wrong(row("a", notebook(timeout_seconds=-1)))[0]

    @pytest.mark.parametrize("inside", [False, True])
    def test_parameters_of_a_notebook(self, inside):
        fields = {"base_parameters": {"p": "x" * 1_000_000}}
        config = notebook(notebook_task=fields) if inside else notebook(**fields)
        (problem,) = built(row("a", config)).problems
        assert "at most 1 MB" in problem.message
        assert problem.pointer.endswith(
            "notebook_task/base_parameters" if inside else "config/base_parameters"
        )

    def test_what_every_notebook_gets_counts(self):
        """source_id and module_name are base_parameters too; the table is judged when it is known."""
        (problem,) = built(row("x" * 1_000_000)).problems
        assert "with the notebook's source_id and module_name" in problem.message
        assert problem.pointer == "/source_id"
        assert len(str(problem)) < 1_000
        given = {"p": "x" * 999_970}
        assert sound(row("a", notebook(base_parameters={"p": "x" * 999_800})))
        (problem,) = built(row("a", notebook(base_parameters=given))).problems
        assert "with the notebook's source_id and module_name" in problem.message
        assert problem.pointer.endswith("/base_parameters")

    def test_a_relative_notebook_needs_a_repository(self):
        config = {"task_type": "notebook", "notebook_path": "../a.py"}
        assert "is relative" in wrong(row("a", config))[0]
        assert sound(row("a", config), job_row({"git_source": {"git_url": "u", "git_provider": "gitHub"}}))

    def test_for_each(self):
        def config(**fields: Any) -> dict[str, Any]:
            inner = {"notebook_task": {"notebook_path": "/a"}}
            return {"task_type": "for_each", "for_each_task": {"inputs": "[1]", "task": inner, **fields}}

        assert sound(row("a", config(concurrency=100)))
        assert "at most 10000" in wrong(row("a", config(inputs="x" * 10_001)))[0]
        assert "1 to 100" in wrong(row("a", config(concurrency=101)))[0]
        assert "it has none" in wrong(row("a", config(task={})))[0]
        assert "inputs are empty" in wrong(row("a", config(inputs="")))[0]
        both = {"notebook_task": {"notebook_path": "/a"}, "pipeline_task": {"pipeline_id": "p"}}
        assert "notebook_task and pipeline_task" in wrong(row("a", config(task=both)))[0]

    @pytest.mark.parametrize(
        ("inner", "message", "pointer"),
        [
            ({"notebook_task": {"notebook_path": "../a"}}, "is relative", "/notebook_task/notebook_path"),
            (
                {"notebook_task": {"notebook_path": "/a", "base_parameters": {"p": "x" * 1_000_000}}},
                "at most 1 MB",
                "/notebook_task/base_parameters",
            ),
            (
                {"sql_task": {"warehouse_id": "w", "query": {"query_id": "q"}, "file": {"path": "/a"}}},
                "it has query and file",
                "/sql_task",
            ),
            ({"sql_task": {"query": {"query_id": "q"}}}, "is missing", "/sql_task"),
            (
                {
                    "python_wheel_task": {
                        "package_name": "p",
                        "entry_point": "e",
                        "parameters": ["a"],
                        "named_parameters": {"a": "b"},
                    }
                },
                "not both",
                "/python_wheel_task/parameters",
            ),
            (
                {"notebook_task": {"notebook_path": "/a"}, "timeout_seconds": -1},
                "negative",
                "/timeout_seconds",
            ),
            ({"notebook_task": {"notebook_path": "/a"}, "max_retries": -2}, "max_retries", "/max_retries"),
        ],
    )
    def test_the_inner_task_of_for_each(self, inner, message, pointer):
        """It has the limits of a task of its type, each told at its own place."""
        (problem,) = built(
            row("a", {"task_type": "for_each", "for_each_task": {"inputs": "[1]", "task": inner}})
        ).problems
        assert message in problem.message
        assert problem.pointer == f"/transformation_config/for_each_task/task{pointer}"

    def test_a_raw_sql_task_runs_one_thing(self):
        config = {
            "task_type": "sql",
            "sql_task": {"warehouse_id": "w", "query": {"query_id": "q"}, "file": {"path": "/a"}},
        }
        assert "it has query and file" in wrong(row("a", config))[0]

    def test_a_wheel_takes_parameters_in_one_form(self):
        task = {"package_name": "p", "entry_point": "e", "parameters": ["a"], "named_parameters": {"a": "b"}}
        assert "not both" in wrong(row("a", {"task_type": "python_wheel", "python_wheel_task": task}))[0]

    def test_run_job_takes_an_id_or_a_module(self):
        def config(job_id: object) -> dict[str, Any]:
            return {"task_type": "run_job", "run_job_task": {"job_id": job_id}}

        assert sound(row("a", config(7))).sources[0].settings == {"job_id": 7}
        assert sound(row("a", config("7"))).sources[0].settings == {"job_id": 7}
        assert sound(row("a", config("${module.x y}"))).sources[0].settings == {"job_id": "${module.x y}"}
        for other in ("sales", "${module.}", "x${module.a}", None, True):
            assert wrong(row("a", config(other)))
        assert wrong(row("a", config("sales"))) == [
            '"job_id" must be the id of a job, or ${module.NAME} for the job of a module, not "sales"'
        ]


class TestReferences:
    def test_a_task_that_does_not_exist(self):
        config = notebook(base_parameters={"p": "{{tasks.extarct.values.x}}"})
        (problem,) = built(row("extract"), row("b", config, order=2)).problems
        assert 'did you mean "extract"' in problem.message
        assert problem.pointer == "/transformation_config/base_parameters/p"

    def test_keys_are_task_keys(self):
        config = notebook(base_parameters={"p": "{{tasks.a_b.values.x}}"})
        assert sound(row("a b"), row("c", config, order=2))

    def test_a_parameter_that_is_not_declared(self):
        config = notebook(base_parameters={"p": "{{job.parameters.day}}"})
        assert "not declared" in wrong(row("a", config))[0]
        assert sound(row("a", config), job_row({"parameters": [{"name": "day", "default": "1"}]}))

    def test_sql_texts_are_left_alone(self):
        config = {
            "task_type": "sql_query",
            "sql_task": {"warehouse_id": "w", "sql_query": "SELECT '{{job.nothing}}'"},
        }
        assert sound(row("a", config))

    def test_inside_for_each(self):
        inner = {
            "notebook_task": {
                "notebook_path": "/a",
                "base_parameters": {"x": "{{input}}", "y": "{{tasks.nope.values.z}}"},
            }
        }
        config = {
            "task_type": "for_each",
            "for_each_task": {"inputs": "{{tasks.b.values.list}}", "task": inner},
        }
        (message,) = wrong(row("a", config, order=2), row("b"))
        assert 'unknown task "nope"' in message


def test_every_task_type_has_a_line_for_the_reference():
    for task_type in TASK_TYPES.values():
        assert task_type.keys, task_type.name
        assert task_type.summary or task_type.name in ("dbt_platform", "gen_ai_compute"), task_type.name
