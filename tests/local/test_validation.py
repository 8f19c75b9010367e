"""What the Jobs API refuses, and that the message names the field."""

from __future__ import annotations

import pytest

from lakeflow_job_meta.local.api.errors import ApiError
from lakeflow_job_meta.local.validation import validate_settings


def task(key="a", **fields):
    if not any(name.endswith("_task") for name in fields):
        fields["notebook_task"] = {"notebook_path": "/n"}
    return {"task_key": key, **fields}


def after(*keys, **fields):
    return [{"task_key": key, **fields} for key in keys]


CONDITION = {"op": "EQUAL_TO", "left": "1", "right": "1"}
SCHEDULE = {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}
QUERY = {"query_id": "q"}
GOOD = [
    {},
    {"name": "ü" * 2048, "tasks": [task()], "tags": {str(i): "v" for i in range(25)}},
    {"tasks": [task(f"t{i}") for i in range(1000)]},
    {"tasks": [task("c", condition_task=CONDITION), task("d", depends_on=after("c", outcome="true"))]},
    {"tasks": [task(sql_task={"warehouse_id": "w", "query": QUERY, "parameters": {"a": "b"}})]},
    {"schedule": {**SCHEDULE, "timezone_id": "Europe/Berlin"}},
    {"trigger": {"file_arrival": {"url": "/Volumes/a/b/c", "min_time_between_triggers_seconds": 60}}},
    {"continuous": {"pause_status": "PAUSED"}, "tasks": [task("a"), task("b")]},
    {"job_clusters": [{"job_cluster_key": "k", "new_cluster": {}}], "tasks": [task(job_cluster_key="k")]},
    {"environments": [{"environment_key": "e"}], "tasks": [task(environment_key="e")]},
    {"tasks": [task(for_each_task={"inputs": "[1]", "task": task("in"), "concurrency": 100})]},
    {
        "tasks": [
            task(python_wheel_task={"package_name": "p", "entry_point": "e", "named_parameters": {"a": "b"}})
        ]
    },
]
BAD = [
    ({"tasks": [task("a"), task("a")]}, "Duplicate task_key 'a'"),
    ({"tasks": [task("a b")]}, "Invalid task_key"),
    ({"tasks": [task("x" * 101)]}, "Invalid task_key"),
    ({"tasks": [{"notebook_task": {"notebook_path": "/n"}}]}, "tasks.task_key"),
    ({"tasks": [task(f"t{i}") for i in range(1001)]}, "limited to 1000"),
    ({"tasks": [task(depends_on=after("nobody"))]}, "depends_on refers to unknown task_key 'nobody'"),
    ({"tasks": [task("a", depends_on=after("b")), task("b", depends_on=after("a"))]}, "cycle"),
    ({"tasks": [task("a", depends_on=after("a"))]}, "cycle"),
    ({"tasks": [task("a"), task("b", depends_on=after("a", outcome="true"))]}, "outcome is only allowed"),
    ({"tasks": [task("a", condition_task=CONDITION), task("b", depends_on=after("a", outcome="yes"))]}, "outcome must be"),
    ({"tasks": [task(environment_key="e")]}, "environment_key 'e' is not defined"),
    ({"tasks": [task(job_cluster_key="k")]}, "job_cluster_key 'k' is not defined"),
    ({"job_clusters": [{"job_cluster_key": "k"}] * 2}, "Duplicate job_cluster_key"),
    ({"environments": [{"environment_key": "k"}] * 2}, "Duplicate environment_key"),
    ({"parameters": [{"name": "p", "default": ""}] * 2}, "Duplicate job parameter 'p'"),
    ({"parameters": [{"name": "a b", "default": ""}]}, "parameters.name"),
    ({"tags": {str(i): "v" for i in range(26)}}, "at most 25 tags"),
    ({"tags": {"k": 1}}, "tags"),
    ({"name": "ü" * 2049}, "name is limited to 4096 bytes"),
    ({"description": "x" * 27701}, "description is limited"),
    ({"schedule": SCHEDULE, "continuous": {}}, "Only one of schedule, trigger and continuous"),
    ({"schedule": {**SCHEDULE, "quartz_cron_expression": "0 2 * * *"}}, "6 or 7 fields"),
    ({"schedule": {**SCHEDULE, "quartz_cron_expression": "0 0 25 * * ?"}}, "hours"),
    ({"schedule": {**SCHEDULE, "timezone_id": "Mars/Olympus"}}, "schedule.timezone_id"),
    ({"schedule": {"quartz_cron_expression": "0 0 2 * * ?"}}, "schedule.timezone_id"),
    ({"schedule": {**SCHEDULE, "pause_status": "ASLEEP"}}, "schedule.pause_status"),
    ({"trigger": {"file_arrival": {}}}, "trigger.file_arrival.url"),
    ({"trigger": {"table_update": {"table_names": []}}}, "trigger.table_update.table_names"),
    ({"trigger": {"periodic": {"interval": 0, "unit": "HOURS"}}}, "trigger.periodic.interval"),
    ({"trigger": {"file_arrival": {"url": "/V", "wait_after_last_change_seconds": 10}}}, "at least 60"),
    ({"continuous": {}, "tasks": [task("a"), task("b", depends_on=after("a"))]}, "dependencies"),
    ({"continuous": {}, "tasks": [task(max_retries=1)]}, "retry policy"),
    ({"continuous": {}, "max_concurrent_runs": 2}, "max_concurrent_runs"),
    ({"tasks": [{"task_key": "a"}]}, "exactly one task type"),
    ({"tasks": [task(notebook_task={"notebook_path": "/n"}, condition_task=CONDITION)]}, "exactly one task type"),
    ({"tasks": [task(sql_task={"query": QUERY})]}, "sql_task.warehouse_id"),
    ({"tasks": [task(sql_task={"warehouse_id": "w"})]}, "exactly one of query"),
    ({"tasks": [task(sql_task={"warehouse_id": "w", "query": QUERY, "file": {"path": "/f"}})]}, "query and file"),
    ({"tasks": [task(notebook_task={})]}, "notebook_task.notebook_path"),
    ({"tasks": [task(notebook_task={"notebook_path": "/n", "base_parameters": {"a": "x" * 1_000_001}})]}, "1 MB"),
    ({"tasks": [task(notebook_task={"notebook_path": "/n", "source": "MOON"})]}, "notebook_task.source"),
    ({"tasks": [task(run_if="PERHAPS")]}, "run_if"),
    ({"tasks": [task(condition_task={"op": "LIKE", "left": "", "right": ""})]}, "condition_task.op"),
    ({"tasks": [task(python_wheel_task={"package_name": "p", "entry_point": "e", "parameters": ["x"], "named_parameters": {"a": "b"}})]}, "only one of parameters"),
    ({"tasks": [task(max_retries=-2)]}, "max_retries"),
    ({"tasks": [task(run_job_task={})]}, "run_job_task.job_id"),
    ({"tasks": [task(for_each_task={"inputs": "[1]", "task": task("b", for_each_task={"inputs": "[1]", "task": task("c")})})]}, "nested"),
    ({"tasks": [task(for_each_task={"inputs": "x" * 10_001, "task": task("b")})]}, "inputs is limited"),
    ({"tasks": [task(for_each_task={"inputs": "[]", "task": task("b"), "concurrency": 101})]}, "concurrency"),
    ({"tasks": "x"}, "tasks must be of type list"),
    ({"tasks": ["x"]}, "tasks must hold objects"),
    ({"max_concurrent_runs": "2"}, "max_concurrent_runs must be of type int"),
    ({"trigger": {"periodic": "x"}}, "Could not parse"),
    ({"edit_mode": "SOMETIMES"}, "edit_mode"),
]  # fmt: skip


@pytest.mark.parametrize("settings", GOOD)
def test_good_settings_pass(settings):
    validate_settings(settings)


@pytest.mark.parametrize(("settings", "message"), BAD)
def test_wrong_settings_are_refused(settings, message):
    """Refused with 400 and a message that names what is wrong."""
    with pytest.raises(ApiError) as caught:
        validate_settings(settings)
    assert caught.value.status == 400
    assert message in caught.value.message
