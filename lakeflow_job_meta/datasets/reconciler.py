"""The reconciler: syncs whose run ended, vanished or never began get the status that is true.

A run's own tasks record how it ended; this is for the runs that could not: killed, canceled, lost with their
compute, deleted. It is called by the monitor while a sync is in flight, and works through ports only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.datasets.control_rows import SOURCE_TYPE, config
from lakeflow_job_meta.datasets.events import Events
from lakeflow_job_meta.datasets.failures import LIMIT
from lakeflow_job_meta.datasets.model import EventRow, Phase, Status, SyncStatus
from lakeflow_job_meta.datasets.tables import SCHEMA, DatasetTables
from lakeflow_job_meta.errors import NotFound
from lakeflow_job_meta.names import TableName, task_key
from lakeflow_job_meta.ports import Jobs, Run, Tables, Workspace

#: After this time a sync that asks for a run and has none is told, with the probable cause.
STALE = timedelta(minutes=5)
#: A sync without a run of the Jobs API (by hand, on a laptop) that is silent for this long is given up.
SILENT = timedelta(hours=24)

#: Life-cycle states of a run that has not begun, and what each means for a sync that waits.
WAITING: Mapping[str, str] = {
    "PENDING": "its run waits for compute",
    "QUEUED": "its run is queued behind another run of the job",
    "BLOCKED": "its run waits for a task before it",
    "WAITING": "its run waits",
    "WAITING_FOR_RETRY": "its run waits for the next attempt",
}
#: Error class by how a run ended (Jobs API 2.2, life_cycle_state and result_state).
ENDS: Mapping[str, str] = {
    "FAILED": "run_failed",
    "TIMEDOUT": "timeout",
    "CANCELED": "canceled",
    "UPSTREAM_FAILED": "upstream",
    "UPSTREAM_CANCELED": "canceled",
    "EXCLUDED": "excluded",
    "DISABLED": "excluded",
    "MAXIMUM_CONCURRENT_RUNS_REACHED": "not_started",
    "SUCCESS_WITH_FAILURES": "run_failed",
    "INTERNAL_ERROR": "run_died",
    "SKIPPED": "not_started",
    "SUCCESS": "not_recorded",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run means for the sync that it is of.

    Args:
        status: `pending` and `syncing` leave the sync as it is.
    """

    status: Status
    error_class: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a pass found.

    Args:
        in_flight: syncs that are still under way; while there are any, the next tick looks again.
        ended: events that were written.
        notes: what people should know: syncs that were ended, and those that wait too long, and why.
    """

    in_flight: int = 0
    ended: tuple[EventRow, ...] = ()
    notes: tuple[str, ...] = ()


class Reconciler:
    """Looks after the syncs that are in flight.

    Args:
        jobs: gives the Jobs API of the workspace; asked for only when something is in flight.
        workspace_id: gives the workspace's id; runs of another workspace are left to its monitor.
        job_of: the job's id by module name; None where there is none yet.
    """

    def __init__(
        self,
        events: Events,
        jobs: Callable[[], Jobs],
        workspace_id: Callable[[], str],
        job_of: Callable[[str], int | None],
        clock: Callable[[], datetime],
        *,
        stale: timedelta = STALE,
    ) -> None:
        self._events = events
        self._jobs = jobs
        self._workspace_id = workspace_id
        self._job_of = job_of
        self._clock = clock
        self._stale = stale

    def run(self) -> Reconciled:
        """One pass: one statement when nothing is in flight, and then no call of the Jobs API.

        Raises:
            TablesError, WorkspaceError: the events cannot be read or written, or the workspace does not answer.
        """
        flying = [one for one in self._events.latest().values() if one.in_flight]
        if not flying:
            return Reconciled()
        here = self._workspace_id()
        runs: dict[str, Run | None] = {}
        ended: list[EventRow] = []
        notes: list[str] = []
        left = 0
        for sync in flying:
            if sync.workspace_id and sync.workspace_id != here:
                continue
            verdict = self._judge(sync, runs)
            if verdict.status in (Status.PENDING, Status.SYNCING):
                left += 1
                if sync.status is Status.PENDING and self._clock() - sync.since >= self._stale:
                    notes.append(self._why_it_waits(sync, runs))
                continue
            event = EventRow(
                dataset_id=sync.dataset_id,
                tenant_id=sync.tenant_id,
                version=sync.version,
                status=verdict.status,
                at=self._clock(),
                source_id=sync.source_id,
                module_name=sync.module_name,
                phase=sync.phase,
                attempt=sync.attempt,
                workspace_id=here,
                job_id=sync.job_id,
                run_id=sync.run_id,
                bronze_table=sync.bronze_table if sync.phase is Phase.SILVER else None,
                row_count_local=sync.row_count_local,
                row_count_bronze=sync.row_count_bronze,
                error_class=verdict.error_class,
                error=verdict.error[:LIMIT],
                retryable=True,
                round=sync.round,
            )
            for one in self._events.append([event]):
                ended.append(one)
                notes.append(f"dataset {one.dataset_id} {one.status.value}: {one.error}")
        return Reconciled(left, tuple(ended), tuple(notes))

    def _judge(self, sync: SyncStatus, runs: dict[str, Run | None]) -> Verdict:
        if sync.run_id.isdigit():
            if sync.run_id not in runs:
                try:
                    runs[sync.run_id] = self._jobs().run(int(sync.run_id))
                except NotFound:
                    runs[sync.run_id] = None
            return judge(runs[sync.run_id], sync)
        if sync.status is Status.SYNCING and self._clock() - sync.since >= SILENT:
            return Verdict(Status.FAILED, "silent", f"nothing was heard of it since {sync.since.isoformat()}")
        return Verdict(sync.status)

    def _why_it_waits(self, sync: SyncStatus, runs: dict[str, Run | None]) -> str:
        minutes = int((self._clock() - sync.since).total_seconds() // 60)
        return (
            f"dataset {sync.dataset_id} is pending for {minutes} minutes: {self._cause(sync, runs)} "
            f"(lakeflow-job-meta dataset diagnose {sync.dataset_id})"
        )

    def _cause(self, sync: SyncStatus, runs: dict[str, Run | None]) -> str:
        run = runs.get(sync.run_id)
        if run is not None:
            return WAITING.get(run.life_cycle_state, "its run has not begun")
        job_id = sync.job_id or self._job_of(sync.module_name)
        if job_id is None:
            return f"module {sync.module_name} has no job: its metadata is refused, or the monitor has not applied it"
        job = self._jobs().get(job_id)
        if job is None:
            return f"job {job_id} is not in the workspace any more: the next comparison makes it again"
        if any(
            (job.settings.get(kind) or {}).get("pause_status") == "PAUSED"
            for kind in ("schedule", "trigger", "continuous")
        ):
            return f"job {job_id} is paused: resume it"
        active = self._jobs().runs(job_id, active_only=True)
        if active:
            return f"job {job_id} is busy with run {active[0].run_id}, and the next one is queued behind it"
        return f"no run of job {job_id} was started for it: the monitor was not running, or starting it failed; sync it by hand"


class Watch:
    """The syncs of a control table: one reconciler for each schema that its rows keep the datasets' tables in.

    Args:
        made: makes the reconciler of these tables.
        schema: `catalog.schema` where a row names none; empty: the control table's own.
    """

    def __init__(
        self,
        control_table: TableName,
        tables: Tables,
        made: Callable[[DatasetTables], Reconciler],
        schema: str = "",
    ) -> None:
        self._control_table = control_table
        self._tables = tables
        self._made = made
        self._schema = schema

    def run(self) -> Reconciled:
        """One pass over all of them; see `Reconciler.run`."""
        found = [self._made(DatasetTables(self._control_table, schema)).run() for schema in self._schemas()]
        return Reconciled(
            sum(one.in_flight for one in found),
            tuple(event for one in found for event in one.ended),
            tuple(note for one in found for note in one.notes),
        )

    def _schemas(self) -> list[str]:
        rows = self._tables.query(
            f"SELECT DISTINCT `target_config` FROM {self._control_table.quoted} "
            f"WHERE `source_type` = '{SOURCE_TYPE}' AND `target_config` LIKE '%\"schema\"%'"
        )
        named = {str(config(row["target_config"]).get("schema") or "") for row in rows}
        return sorted({self._schema, *named} - {""}) if self._schema else ["", *sorted(named - {""})]


def reconciler(
    control_table: TableName,
    tables: Tables,
    workspace: Callable[[], Workspace],
    environment: Mapping[str, str],
    clock: Callable[[], datetime],
) -> Watch:
    """What looks after the datasets that a control table syncs.

    Args:
        workspace: gives the workspace's ports.
        environment: may say in which schema the tables of datasets lie, as `DatasetTables` says it.
    """

    def job_of(module: str) -> int | None:
        records = JobRecords(tables, control_table, workspace().workspace_id, clock)
        record = records.all([module]).get(module)
        return record.job_id if record is not None else None

    def made(names: DatasetTables) -> Reconciler:
        events = Events(tables, names.events, names.status)
        return Reconciler(events, lambda: workspace().jobs, lambda: workspace().workspace_id, job_of, clock)

    return Watch(control_table, tables, made, environment.get(SCHEMA, ""))


def judge(run: Run | None, sync: SyncStatus) -> Verdict:
    """What the run says about the sync, which has recorded no end. Pure.

    Args:
        run: None when the workspace does not know it any more.
    """
    if run is None:
        return Verdict(Status.FAILED, "run_vanished", f"run {sync.run_id} is not in the workspace any more")
    if not run.ended:
        waiting = run.life_cycle_state in WAITING and sync.status is Status.PENDING
        return Verdict(Status.PENDING if waiting else Status.SYNCING)
    state = run.result_state or run.life_cycle_state
    told = next(
        (
            f"{task.task_key} {task.result_state}: {task.message}"
            for task in run.tasks
            if task.task_key in _own_keys(sync) and task.result_state not in ("", "SUCCESS")
        ),
        run.message,
    )
    if state == "SUCCESS":
        told = "the run ended, and nothing was recorded"
    else:
        told = f"the run ended {state} before it was recorded" + (f": {told}" if told else "")
    return Verdict(Status.FAILED, ENDS.get(state, "run_failed"), f"{told} (run {run.run_id})")


def _own_keys(sync: SyncStatus) -> tuple[str, ...]:
    return tuple(task_key(sync.source_id, phase.value) for phase in Phase)
