"""The runner of `dataset_sync`: one of its three tasks, as the parameter `phase` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.datasets import bronze, record, silver
from lakeflow_job_meta.datasets.bronze import Written
from lakeflow_job_meta.datasets.failures import Failure, classify
from lakeflow_job_meta.datasets.model import Phase, Status, Step
from lakeflow_job_meta.datasets.sync import Sync, from_context
from lakeflow_job_meta.errors import LakeflowJobMetaError, TaskError, UsageError, WorkspaceError
from lakeflow_job_meta.names import task_key
from lakeflow_job_meta.ports import Run

if TYPE_CHECKING:
    from lakeflow_job_meta.task_context import TaskContext

JsonObject = dict[str, Any]
WORK: Mapping[Phase, Callable[[Sync], Written]] = {Phase.BRONZE: bronze.write, Phase.SILVER: silver.write}


def task_keys(source_id: str) -> tuple[str, ...]:
    """Keys of the tasks of a dataset's source: bronze, silver, record."""
    return tuple(task_key(source_id, phase.value) for phase in Phase)


def run(context: TaskContext) -> JsonObject:
    """Do the phase of the parameter `phase`; returns what it did.

    Raises:
        UsageError: there is no such phase.
        TaskError: it failed; that is recorded, with whether another attempt may help.
    """
    given = context.parameters.get("phase", "")
    if given not in {phase.value for phase in Phase}:
        raise UsageError(f"--phase is bronze, silver or record, not {given!r}")
    phase = Phase(given)
    sync = from_context(context)

    def tell(event: str, **facts: Any) -> None:
        context.log(event, source_id=sync.source_id, run_id=sync.run_id, attempt=sync.attempt, **facts)

    if phase is Phase.RECORD:
        return conclude(sync, lambda: _job_run(context, sync.run_id), tell)
    return attempt(sync, phase, tell)


def attempt(sync: Sync, phase: Phase, tell: Callable[..., None]) -> JsonObject:
    """One attempt of bronze or silver: announced, done, and written into the ledger.

    What failed for good in this run is not tried again: a later attempt ends at once.

    Raises:
        TaskError: it failed, had failed for good before, or the dataset was deleted.
    """
    given_up = _given_up(sync, phase)
    if given_up is not None:
        tell("given up before", phase=phase.value, error_class=given_up.error_class)
        raise TaskError(f"{phase.value} of {sync.source_id} was given up: {given_up.error}")
    _refuse_deleted(sync)
    known: JsonObject = {}
    if phase is Phase.SILVER:
        done = [one for one in sync.steps() if one.phase is Phase.BRONZE and one.outcome == "succeeded"]
        if done:
            known = {"bronze_table": done[-1].table, "row_count_bronze": done[-1].rows_out}
    sync.event(Status.SYNCING, phase, **known)
    tell("started", phase=phase.value, version=sync.version)
    started = sync.clock()
    try:
        written = WORK[phase](sync)
    except Exception as error:  # the runner's boundary: whatever it was is recorded
        failure = classify(error)
        _record_failure(sync, phase, failure, started, known)
        tell("failed", phase=phase.value, error_class=failure.error_class, retryable=failure.retryable)
        if isinstance(error, LakeflowJobMetaError):
            raise TaskError(f"{phase.value} of {sync.source_id}: {failure.error}") from error
        raise
    step = _step(
        sync,
        phase,
        "succeeded",
        started,
        table=str(written.table),
        rows_in=written.rows_in,
        rows_out=written.rows_out,
        detail=written.detail,
    )
    sync.write_step(step)
    tell("done", phase=phase.value, rows=written.rows_out)
    return {
        "phase": phase.value,
        "table": str(written.table),
        "rows_in": written.rows_in,
        "rows_out": written.rows_out,
        **written.detail,
    }


def conclude(sync: Sync, job_run: Callable[[], Run | None], tell: Callable[..., None]) -> JsonObject:
    """Record how the sync ended.

    Raises:
        TaskError: it failed, so that the run fails as well (a run is what its last tasks are), or it was deleted.
    """
    _refuse_deleted(sync)
    bronze_key, silver_key, _ = task_keys(sync.source_id)
    keys = {Phase.BRONZE: bronze_key, Phase.SILVER: silver_key}
    status, summary = record.end(sync, job_run(), keys)
    tell(status.value, phase=Phase.RECORD.value)
    if status is not Status.SYNCED:
        raise TaskError(
            f"version {sync.version} of dataset {sync.dataset_id} is not synced: {summary['phase']} failed: {summary['error']}"
        )
    return {"phase": Phase.RECORD.value, "status": status.value, **summary}


def _given_up(sync: Sync, phase: Phase) -> Step | None:
    return next(
        (
            one
            for one in sync.steps()
            if one.phase is phase
            and one.outcome == "failed"
            and one.retryable is False
            and one.repair == sync.repair
        ),
        None,
    )


def _record_failure(sync: Sync, phase: Phase, failure: Failure, started: datetime, known: JsonObject) -> None:
    what = {
        "error_class": failure.error_class,
        "error": failure.error,
        "retryable": failure.retryable,
    }
    sync.write_step(_step(sync, phase, "failed", started, **what))
    if not failure.retryable:
        sync.event(Status.FAILED, phase, **what, **known)


def _step(sync: Sync, phase: Phase, outcome: str, started: datetime, **more: Any) -> Step:
    """What this attempt did, which ends now."""
    return Step(
        dataset_id=sync.dataset_id,
        tenant_id=sync.tenant_id,
        version=sync.version,
        run_id=sync.run_id,
        repair=sync.repair,
        phase=phase,
        attempt=sync.attempt,
        outcome=outcome,
        started_at=started,
        ended_at=sync.clock(),
        **more,
    )


def _refuse_deleted(sync: Sync) -> None:
    """Raises TaskError when the dataset was deleted while its run waited: its tables must not come back."""
    latest = sync.events.latest([sync.dataset_id]).get(sync.dataset_id)
    if latest is not None and latest.status is Status.NOT_SYNCED:
        raise TaskError(
            f"dataset {sync.dataset_id} was deleted at {latest.since:%Y-%m-%d %H:%M:%S} UTC: there is nothing to sync"
        )


def _job_run(context: TaskContext, run_id: str) -> Run | None:
    """The job run with its tasks; None when the workspace cannot be asked, which is no reason not to record."""
    if not run_id.isdigit():
        return None
    try:
        return context.workspace().jobs.run(int(run_id))
    except WorkspaceError as error:
        context.log("the run cannot be read", reason=str(error))
        return None
