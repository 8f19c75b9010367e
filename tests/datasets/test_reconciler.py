"""The reconciler: runs that could not record their end, and syncs that wait: G8, G9, and what an idle pass costs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.datasets.events import Events
from lakeflow_job_meta.datasets.model import Phase, Status
from lakeflow_job_meta.datasets.reconciler import ENDS, Reconciler
from lakeflow_job_meta.datasets.reconciler import reconciler as watch
from lakeflow_job_meta.errors import NotFound
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import RemoteJob, Run, TaskRun
from tests.datasets.test_events import AT, BRONZE, event, good_run


@dataclass
class Workspace:
    """The Jobs API as far as the reconciler asks it: runs and jobs as they were recorded."""

    runs_by_id: dict[int, Run] = field(default_factory=dict)
    jobs_by_id: dict[int, RemoteJob] = field(default_factory=dict)
    active: list[Run] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def run(self, run_id: int) -> Run:
        self.calls.append("run")
        if run_id not in self.runs_by_id:
            raise NotFound("no such run")
        return self.runs_by_id[run_id]

    def get(self, job_id: int) -> RemoteJob | None:
        self.calls.append("get")
        return self.jobs_by_id.get(job_id)

    def runs(self, job_id: int | None = None, *, active_only: bool = False, limit: int = 25) -> list[Run]:
        self.calls.append("runs")
        return self.active


@pytest.fixture
def events(tables: Any, schema: tuple[str, str]) -> Events:
    return Events(tables, TableName(*schema, "dataset_sync_event"))


@pytest.fixture
def workspace() -> Workspace:
    return Workspace()


def reconciler(
    events: Events, workspace: Workspace, *, minutes: int = 30, job: int | None = 5, here: str = ""
) -> Reconciler:
    return Reconciler(
        events,
        lambda: workspace,  # type: ignore[arg-type,return-value]
        lambda: here,
        lambda module: job,
        lambda: AT + timedelta(minutes=minutes),
    )


def syncing(events: Events, phase: Phase = Phase.SILVER) -> None:
    """A sync whose run 100 has begun, and got as far as this phase."""
    events.append([event(Status.PENDING), *good_run()[: 2 if phase is Phase.SILVER else 1]])


def test_nothing_in_flight_costs_one_statement_and_no_call(
    events: Events, workspace: Workspace, tables: Any
) -> None:
    """An idle pass reads the statuses once; without a table, too."""
    assert reconciler(events, workspace).run().in_flight == 0
    events.append([event(Status.PENDING), *good_run()])
    before = tables.statements
    found = reconciler(events, workspace).run()
    assert (found.in_flight, found.ended, workspace.calls) == (0, (), [])
    assert tables.statements - before == 1


@pytest.mark.parametrize(
    ("life", "result"),
    [
        *(("TERMINATED", result) for result in ENDS if result not in ("INTERNAL_ERROR", "SKIPPED")),
        ("INTERNAL_ERROR", ""),
        ("SKIPPED", ""),
        ("INTERNAL_ERROR", "FAILED"),
        ("TERMINATED", "SOMETHING_NEW"),
    ],
)
def test_g9_every_end_of_a_run_ends_the_sync(
    events: Events, workspace: Workspace, life: str, result: str
) -> None:
    """Each life-cycle and result state of a run that ended without a record is `failed`, with the words of the run."""
    syncing(events)
    task = TaskRun("ds__silver", 7, life, result, "out of memory")
    workspace.runs_by_id[100] = Run(100, 5, life, result, "the run said this", tasks=(task,))
    [ended] = reconciler(events, workspace).run().ended
    status = events.latest()["d1"]
    assert (status.status, status.phase) == (Status.FAILED, Phase.SILVER)
    assert status.error_class == ended.error_class == ENDS.get(result or life, "run_failed")
    told = "nothing was recorded" if result == "SUCCESS" else result or life
    assert told in (status.last_sync_error or "")
    assert status.bronze_table == BRONZE
    assert reconciler(events, workspace).run().in_flight == 0


@pytest.mark.parametrize(
    "life",
    ["PENDING", "QUEUED", "BLOCKED", "WAITING", "WAITING_FOR_RETRY", "RUNNING", "TERMINATING", "NEW_STATE"],
)
def test_g9_a_run_under_way_leaves_the_sync(events: Events, workspace: Workspace, life: str) -> None:
    """Whatever it does, an unknown state included, while it has not ended."""
    syncing(events)
    workspace.runs_by_id[100] = Run(100, 5, life)
    found = reconciler(events, workspace).run()
    assert (found.in_flight, found.ended) == (1, ())
    assert events.latest()["d1"].status is Status.SYNCING


def test_g9_a_run_that_vanished_ends_the_sync(events: Events, workspace: Workspace) -> None:
    """The workspace does not know the run any more."""
    syncing(events)
    reconciler(events, workspace).run()
    status = events.latest()["d1"]
    assert (status.status, status.error_class) == (Status.FAILED, "run_vanished")


def test_a_record_that_comes_late_is_right(events: Events, workspace: Workspace) -> None:
    """A run that was given up too early and records its success after all is synced; the other way round nothing happens."""
    syncing(events)
    reconciler(events, workspace).run()
    events.append(good_run()[2:])
    assert events.latest()["d1"].status is Status.SYNCED
    assert events.append([event(Status.FAILED, 20, run_id="100")]) == []


def test_runs_of_another_workspace_are_left_alone(events: Events, workspace: Workspace) -> None:
    """Its own monitor looks after them."""
    events.append([event(Status.PENDING), event(Status.SYNCING, 1, run_id="100", workspace_id="other")])
    found = reconciler(events, workspace, here="mine").run()
    assert (found.in_flight, found.ended, workspace.calls) == (0, (), [])


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("no job", "has no job"),
        ("gone", "not in the workspace any more"),
        ("paused", "is paused"),
        ("busy", "busy with run 9"),
        ("not started", "the monitor was not running"),
        ("queued", "queued behind another run"),
    ],
)
def test_g8_a_sync_that_waits_too_long_is_told_with_its_cause(
    events: Events, workspace: Workspace, cause: str, told: str
) -> None:
    """After five minutes, by the given clock; before that nothing is said."""
    events.append([event(Status.PENDING, run_id="100" if cause == "queued" else "")])
    if cause != "gone":
        schedule = {"schedule": {"pause_status": "PAUSED"}} if cause == "paused" else {}
        workspace.jobs_by_id[5] = RemoteJob(5, schedule)
    if cause == "busy":
        workspace.active = [Run(9, 5, "RUNNING")]
    if cause == "queued":
        workspace.runs_by_id[100] = Run(100, 5, "QUEUED")
    job = None if cause == "no job" else 5
    assert reconciler(events, workspace, minutes=4, job=job).run().notes == ()
    found = reconciler(events, workspace, minutes=6, job=job).run()
    [note] = found.notes
    assert told in note
    assert "d1 is pending for 6 minutes" in note
    assert found.in_flight == 1
    assert events.latest()["d1"].status is Status.PENDING


def test_a_sync_without_a_run_is_given_up_after_a_day(events: Events, workspace: Workspace) -> None:
    """What runs outside the Jobs API and is never heard of again does not stay `syncing` for ever."""
    events.append([event(Status.SYNCING, run_id="by hand", phase=Phase.BRONZE, attempt=1)])
    assert reconciler(events, workspace).run().in_flight == 1
    reconciler(events, workspace, minutes=25 * 60).run()
    assert events.latest()["d1"].error_class == "silent"


def test_g9_tables_in_another_schema_are_found_by_the_row(
    tables: Any, schema: tuple[str, str], control_name: TableName, sail: Any, spark: Any, workspace: Workspace
) -> None:
    """The schema was a flag of the upload: the monitor, which has none, reads it from the dataset's row."""
    elsewhere = f"{schema[1]}_other"
    sail.create_schema(spark, schema[0], elsewhere)
    control = ControlTable(tables, control_name)
    control.ensure()
    target = json.dumps({"table": "sales", "schema": f"{schema[0]}.{elsewhere}"})
    control.write([Row("ds_1", "datasets_t1", "dataset", 1, "{}", target, "{}", True)])
    here = Events(tables, TableName(*schema, "dataset_sync_event"))
    there = Events(tables, TableName(schema[0], elsewhere, "dataset_sync_event"))
    syncing(here)
    syncing(there)
    ports: Any = SimpleNamespace(jobs=workspace, workspace_id="")
    found = watch(control_name, tables, lambda: ports, {}, lambda: AT + timedelta(minutes=30)).run()
    assert len(found.ended) == 2
    for events in (here, there):
        assert events.latest()["d1"].error_class == "run_vanished"
