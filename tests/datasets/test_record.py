"""Attempts, records and logs of a sync on Sail: F3, F5, F7, G2, G4, G13."""

from __future__ import annotations

from typing import Any

import pytest

from lakeflow_job_meta.datasets.model import Phase, Status
from lakeflow_job_meta.datasets.tasks import task_keys
from lakeflow_job_meta.errors import TablesUnavailable, TaskError
from lakeflow_job_meta.ports import Run, TaskRun
from tests.datasets.world import World


class Failing:
    """`ports.Tables` whose replacements of a table fail for the first so many times."""

    def __init__(self, tables: Any, times: int) -> None:
        self._tables = tables
        self._left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def replace_table(self, *arguments: Any, **more: Any) -> None:
        if self._left:
            self._left -= 1
            raise TablesUnavailable("the engine is away; try again")
        self._tables.replace_table(*arguments, **more)


def run_with_retries(world: World, sync: Any, attempts: int = 3) -> None:
    """What the job does: each task until it succeeds or has no attempts left, then the record."""
    for phase in (Phase.BRONZE, Phase.SILVER):
        for number in range(1, attempts + 1):
            try:
                world.step(sync, phase, number)
                break
            except TaskError:
                continue
        else:
            break
    world.end(sync)


def test_f3_two_failures_then_success(world: World) -> None:
    """Transient failures are attempts 1 and 2, the third works: synced, with all three in the events."""
    world.tables = Failing(world.tables, 2)
    sync = world.sync({"a": ["1"]})
    run_with_retries(world, sync)
    events = world.events.history("d1")
    assert [(one.status.value, one.phase and one.phase.value, one.attempt) for one in events] == [
        ("syncing", "bronze", 1),
        ("syncing", "bronze", 2),
        ("syncing", "bronze", 3),
        ("syncing", "silver", 1),
        ("synced", None, 1),
    ]
    assert [(one.phase.value, one.outcome, one.retryable) for one in sync.steps()] == [
        ("bronze", "failed", True),
        ("bronze", "failed", True),
        ("bronze", "succeeded", None),
        ("silver", "succeeded", None),
    ]
    assert world.events.latest()["d1"].last_sync_error is None


def test_f3_three_failures_are_a_failed_sync(world: World) -> None:
    """No attempt is left: failed, with the last error, and another sync may help."""
    world.tables = Failing(world.tables, 3)
    with pytest.raises(TaskError, match="the engine is away"):
        run_with_retries(world, world.sync({"a": ["1"]}))
    status = world.events.latest()["d1"]
    assert (status.status, status.phase, status.retryable) == (Status.FAILED, Phase.BRONZE, True)
    assert (status.error_class, status.bronze_table) == ("engine_unavailable", None)


def test_g4_the_error_goes_with_the_next_success(world: World) -> None:
    """Fail, then sync again: last_sync_error is null, last_sync_attempt and last_sync_at are there."""
    world.tables = Failing(world.tables, 3)
    with pytest.raises(TaskError):
        run_with_retries(world, world.sync({"a": ["1"]}))
    assert world.events.latest()["d1"].last_sync_error
    world.run(world.sync({"a": ["1"]}))
    status = world.events.latest()["d1"]
    assert (status.status, status.last_sync_error) == (Status.SYNCED, None)
    assert status.last_sync_at is not None
    assert status.last_sync_attempt is not None
    assert status.last_sync_attempt < status.last_sync_at


@pytest.mark.parametrize(
    ("result", "error_class"),
    [
        ("TIMEDOUT", "timeout"),
        ("CANCELED", "canceled"),
        ("UPSTREAM_CANCELED", "canceled"),
        ("UPSTREAM_FAILED", "upstream"),
        ("FAILED", "task_died"),
    ],
)
def test_f5_what_a_task_could_not_say_itself(world: World, result: str, error_class: str) -> None:
    """A silver task that was stopped has written nothing: the record takes it from the run."""
    sync = world.sync({"a": ["1"]}, run_id="100")
    world.step(sync, Phase.BRONZE)
    sync.event(Status.SYNCING, Phase.SILVER)
    _, silver, _ = task_keys(sync.source_id)
    run = Run(100, 5, "RUNNING", tasks=(TaskRun(silver, 7, "TERMINATED", result, "said the platform"),))
    with pytest.raises(TaskError, match="silver failed"):
        world.end(sync, run)
    status = world.events.latest()["d1"]
    assert (status.status, status.phase, status.error_class) == (Status.FAILED, Phase.SILVER, error_class)
    assert status.bronze_table == str(sync.targets.bronze)


def test_the_record_repeated_says_the_same(world: World) -> None:
    """A record task that is tried again neither changes the status nor turns the run good."""
    sync = world.sync({"a": ["1"]}, silver={"keys": ["nothing"]})
    world.step(sync, Phase.BRONZE)
    with pytest.raises(TaskError):
        world.step(sync, Phase.SILVER)
    for _ in range(2):
        with pytest.raises(TaskError, match="not synced"):
            world.end(sync)
    good = world.clean({"a": ["1"]}, dataset_id="d2", name="Other")
    before = len(world.events.history("d2"))
    assert world.end(good)["status"] == "synced"
    assert len(world.events.history("d2")) == before


def test_f7_an_older_version_may_not_undo_a_newer_one(world: World) -> None:
    """A silver of version 1 that comes after bronze of version 2 is refused for good."""
    old = world.sync({"a": ["1"]})
    world.step(old, Phase.BRONZE)
    world.step(world.sync({"a": ["2"]}, version=2), Phase.BRONZE)
    with pytest.raises(TaskError, match="holds version 2, not 1"):
        world.step(old, Phase.SILVER)


def test_g13_every_line_says_whose_it_is(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of a task's log has the source, the run and the attempt, and no value of a row."""
    from datetime import datetime, timezone
    from types import SimpleNamespace

    from lakeflow_job_meta.datasets.tasks import run
    from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
    from lakeflow_job_meta.task import _log
    from lakeflow_job_meta.task_context import TaskContext

    sync = world.sync({"a": ["very secret value"]})
    source = SourceDefinition(
        sync.source_id,
        "dataset",
        1,
        "dataset_sync",
        {},
        source_config=dict(sync.source_config),
        target_config={},
    )

    def context(phase: str) -> TaskContext:
        return TaskContext(
            control_table=world.names.control_table,
            module=ModuleDefinition(sync.module_name, {}, (source,)),
            source=source,
            run_id="777",
            tables=world.tables,
            volumes=sync.volumes,
            spark=lambda: None,
            workspace=lambda: SimpleNamespace(  # type: ignore[arg-type,return-value]
                workspace_id="1", jobs=SimpleNamespace(run=lambda run_id: None)
            ),
            clock=lambda: datetime.now(timezone.utc),
            log=_log,
            parameters={"phase": phase, "attempt": "2", "version": "1", "job_id": "5", "repair": "{{x}}"},
        )

    for phase in ("bronze", "silver", "record"):
        run(context(phase))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    for line in lines:
        assert f"source_id={sync.source_id} run_id=777 attempt=2" in line
        assert "secret" not in line
    status = world.events.latest()["d1"]
    assert (status.run_id, status.job_id, status.workspace_id) == ("777", 5, "1")
