"""The job that datasets become: F1, F2, F4, F5, F8, F9, B6, C2, G11, J4, J6, J8, K3. Generated settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.metadata.build import Defined, define
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.metadata.rows import JOB_ROW, JOB_SOURCE_TYPE, Row
from lakeflow_job_meta.names import TableName, task_key
from lakeflow_job_meta.reconcile.changed_sources import to_run
from lakeflow_job_meta.reconcile.state import ModuleState
from lakeflow_job_meta.settings import Settings

TABLE = TableName("main", "meta", "etl_control")
FACTS = {
    "tenant_id": "t",
    "dataset_id": "d",
    "dataset_name": "n",
    "path": "/Volumes/a/b/c/t/d/1.parquet",
    "version": 1,
}


def row(source_id: str = "ds_1_sales", order: int = 1, version: int = 1, **config: Any) -> Row:
    return Row(
        source_id,
        "datasets_t",
        "dataset",
        order,
        json.dumps({**FACTS, "version": version}),
        "{}",
        json.dumps({"task_type": "dataset_sync", **config}),
        True,
    )


def job_row(**job: Any) -> Row:
    config = {"max_concurrent_runs": 1, "queue": {"enabled": True}, "run_on_change": True, **job}
    return Row(JOB_ROW, "datasets_t", JOB_SOURCE_TYPE, 0, None, None, json.dumps(config), True)


def defined(*rows: Row) -> Defined:
    return define(rows, table=str(TABLE), settings=Settings({}))


def definition(*rows: Row) -> ModuleDefinition:
    found = defined(*rows)
    assert found.problems == ()
    assert found.definition is not None
    return found.definition


def tasks(*rows: Row) -> dict[str, dict[str, Any]]:
    desired = render(definition(*rows), control_table=TABLE, settings=Settings({}))
    return {task["task_key"]: task for task in desired.settings["tasks"]}


def wrong(*rows: Row) -> list[str]:
    return [problem.message for problem in defined(*rows).problems]


def test_f1_three_tasks_in_order() -> None:
    """bronze, then silver, then record, which runs whatever became of the others; parameters are passed one by one."""
    found = tasks(row())
    assert list(found) == ["ds_1_sales__bronze", "ds_1_sales__silver", "ds_1_sales__record"]
    bronze, silver, record = found.values()
    assert "depends_on" not in bronze
    assert silver["depends_on"] == [{"task_key": "ds_1_sales__bronze"}]
    assert record["depends_on"] == [{"task_key": "ds_1_sales__silver"}]
    assert record["run_if"] == "ALL_DONE"
    assert "run_if" not in silver
    assert silver["python_wheel_task"]["named_parameters"] == {
        "control_table": "main.meta.etl_control",
        "module_name": "datasets_t",
        "source_id": "ds_1_sales",
        "run_id": "{{job.run_id}}",
        "phase": "silver",
        "job_id": "{{job.id}}",
        "attempt": "{{task.execution_count}}",
        "repair": "{{job.repair_count}}",
        "version": "1",
    }
    assert {task["environment_key"] for task in found.values()} == {"lakeflow_job_meta"}


def test_f2_retries() -> None:
    """3 attempts, 300 seconds apart, also after a timeout; the row's own numbers win; 1 attempt is no retry."""
    for task in list(tasks(row()).values())[:2]:
        assert (task["max_retries"], task["min_retry_interval_millis"], task["retry_on_timeout"]) == (
            2,
            300000,
            True,
        )
    own = row(retry={"max_attempts": 1, "interval_seconds": 7, "on_timeout": False})
    for task in list(tasks(own).values())[:2]:
        assert (task["max_retries"], task["min_retry_interval_millis"], task["retry_on_timeout"]) == (
            0,
            7000,
            False,
        )
    assert [task["max_retries"] for task in tasks(row(max_retries=5)).values()] == [5, 5, 5]
    assert tasks(own)["ds_1_sales__record"]["max_retries"] == 0


@pytest.mark.parametrize("key", ["multiplier", "max_interval_seconds", "backoff", "maximum_interval"])
def test_f4_no_setting_promises_what_jobs_cannot_do(key: str) -> None:
    """A multiplier or a longest interval is refused: the Jobs API has neither."""
    [message] = wrong(row(retry={key: 2}))
    assert key in message


def test_f5_timeouts() -> None:
    """5, 10 and 1 minutes; each can be set; one number is for all."""
    assert [task["timeout_seconds"] for task in tasks(row()).values()] == [300, 600, 60]
    own = tasks(row(timeout_seconds={"silver": 42}))
    assert [task["timeout_seconds"] for task in own.values()] == [300, 42, 60]
    assert [task["timeout_seconds"] for task in tasks(row(timeout_seconds=9)).values()] == [9, 9, 9]


def test_f8_no_second_retries_on_serverless() -> None:
    """Serverless compute is told not to retry by itself."""
    assert all(task["disable_auto_optimization"] is True for task in tasks(row()).values())


def test_b6_a_switched_off_dataset_has_no_tasks() -> None:
    """enabled false takes its tasks out; its neighbour's are unchanged; the last one off retires the module."""
    alone = tasks(row("ds_2_other"))
    off = row("ds_1_sales", sync={"enabled": False})
    assert tasks(off, row("ds_2_other")) == alone
    assert definition(off).active is False


@pytest.mark.parametrize("location", ["dbfs:/mnt/x", "/Volumes/a/b/c", "file:/x", "x"])
def test_c2_locations_that_unity_catalog_refuses(location: str) -> None:
    """dbfs: paths and files of a volume are refused when the row is validated, with the reason."""
    [message] = wrong(row(bronze={"mode": "external", "external_location": location}))
    assert "external location" in message
    assert wrong(row(bronze={"mode": "external", "external_location": "s3://bucket/x"})) == []


def test_j4_many_datasets_are_one_job() -> None:
    """50 rows are one job of 150 tasks, none waiting for another dataset's; 334 are too many for one."""
    rows = [row(f"ds_{number}") for number in range(50)]
    found = tasks(*rows)
    assert len(found) == 150
    for key, task in found.items():
        stem = key.rsplit("__", 1)[0]
        assert all(edge["task_key"].startswith(f"{stem}__") for edge in task.get("depends_on", ()))
    messages = wrong(*(row(f"ds_{number}") for number in range(334)))
    assert messages == ["the module's 334 sources make 1002 tasks, a job has at most 1000: split it"]


def test_j6_gold_waits_for_silver() -> None:
    """A SQL source of a later stage waits for the whole sync of the datasets before it, and can name one."""
    gold = Row(
        "gold",
        "datasets_t",
        "sql",
        2,
        "{}",
        "{}",
        json.dumps({"task_type": "sql_file", "sql_file_path": "/a.sql", "warehouse_id": "w"}),
        True,
    )
    found = tasks(row("a"), row("b"), gold)
    assert found["gold"]["depends_on"] == [{"task_key": "a__record"}, {"task_key": "b__record"}]
    config = json.loads(gold.transformation_config or "")
    named = Row(*(*_columns(gold)[:6], json.dumps({**config, "depends_on": ["b"]}), True))
    assert tasks(row("a"), row("b"), named)["gold"]["depends_on"] == [{"task_key": "b__record"}]
    late = tasks(gold, row("after", 3))
    assert late["after__bronze"]["depends_on"] == [{"task_key": "gold"}]
    assert late["after__silver"]["depends_on"] == [{"task_key": "after__bronze"}]


def _columns(one: Row) -> list[Any]:
    return [
        one.source_id,
        one.module_name,
        one.source_type,
        one.execution_order,
        one.source_config,
        one.target_config,
    ]


def test_wide_stages_of_datasets_get_barriers() -> None:
    """Two stages of 30 datasets: a barrier waits for the records, the bronze tasks behind it for the barrier."""
    found = tasks(*(row(f"a{n}") for n in range(30)), *(row(f"b{n}", 2) for n in range(30)))
    barrier = found["stage_2_barrier"]
    assert {edge["task_key"] for edge in barrier["depends_on"]} == {f"a{n}__record" for n in range(30)}
    assert found["b7__bronze"]["depends_on"] == [{"task_key": "stage_2_barrier", "outcome": "true"}]


def test_task_keys_that_collide_are_refused() -> None:
    """A source called like a step of another is an error that names both."""
    other = Row(
        "a__bronze",
        "datasets_t",
        "sql",
        1,
        "{}",
        "{}",
        '{"task_type": "condition", "condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"}}',
        True,
    )
    [message] = wrong(row("a"), other)
    assert '"a"' in message
    assert '"a__bronze"' in message


def test_long_ids_keep_their_step() -> None:
    """Keys stay within 100 characters and end in their step, all distinct."""
    keys = [task_key("x" * 300, step) for step in ("bronze", "silver", "record")]
    assert all(
        len(key) <= 100 and key.endswith(step)
        for key, step in zip(keys, ("bronze", "silver", "record"), strict=True)
    )
    assert len(set(keys)) == 3


def test_a_continuous_job_cannot_have_them() -> None:
    """Its tasks may not wait for one another."""
    messages = wrong(job_row(continuous={"pause_status": "UNPAUSED"}, max_concurrent_runs=1), row())
    assert any("continuous job cannot have" in message for message in messages)


def test_k3_the_job_is_one_that_the_sdk_knows() -> None:
    """The generated settings come through the SDK's JobSettings unchanged: nothing in them is unknown to it."""
    from databricks.sdk.service.jobs import JobSettings

    desired = render(definition(job_row(), row()), control_table=TABLE, settings=Settings({}))
    assert JobSettings.from_dict(desired.settings).as_dict() == desired.settings


class TestWhatRuns:
    """run_on_change runs the datasets that changed, and no others (B1, B4, F9)."""

    def judged(
        self, before: list[Row] | None, *after: Row, status: str = "active"
    ) -> tuple[bool, tuple[str, ...]]:
        desired = render(definition(*after), control_table=TABLE, settings=Settings({}))
        record = None
        if before is not None:
            record = JobRecord("datasets_t", status=status, definition=definition(*before).as_json())
        return to_run(ModuleState("datasets_t", desired=desired, record=record), desired)

    def test_a_new_module_runs_all(self) -> None:
        """All tasks of all datasets, by name."""
        assert self.judged(None, row("a")) == (True, ("a__bronze", "a__record", "a__silver"))

    def test_a_new_version_runs_that_dataset(self) -> None:
        """Its neighbour is left alone."""
        found = self.judged([row("a"), row("b")], row("a", version=2), row("b"))
        assert found == (True, ("a__bronze", "a__record", "a__silver"))

    def test_f9_an_unchanged_module_runs_nothing(self) -> None:
        """Neither does one whose job settings alone changed."""
        assert self.judged([row("a")], row("a")) == (False, ())
        assert self.judged([row("a")], job_row(tags={"x": "y"}), row("a")) == (False, ())

    def test_b4_auto_off_runs_nothing_by_itself(self) -> None:
        """A new version of a dataset with auto: false starts no run, while its neighbour's does."""
        off = {"auto": False}
        assert self.judged([row("a", sync=off)], row("a", version=2, sync=off)) == (False, ())
        both = self.judged([row("a", sync=off), row("b")], row("a", version=2, sync=off), row("b", version=2))
        assert both == (True, ("b__bronze", "b__record", "b__silver"))

    def test_a_retired_module_that_comes_back_runs(self) -> None:
        """What it held was not kept up to date meanwhile."""
        assert self.judged([row("a")], row("a"), status="retired")[0] is True

    def test_other_modules_run_whole(self) -> None:
        """A pipeline with any other source runs as one."""
        gold = Row(
            "gold",
            "datasets_t",
            "sql",
            2,
            "{}",
            "{}",
            '{"task_type": "sql_file", "sql_file_path": "/a.sql", "warehouse_id": "w"}',
            True,
        )
        assert self.judged([row("a"), gold], row("a", version=2), gold) == (True, ())
