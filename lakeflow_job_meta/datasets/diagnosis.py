"""Diagnosis: everything that a sync needs, looked at one by one, and what to do about what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from lakeflow_job_meta.control.events import Events as ControlEvents
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.datasets import control_rows
from lakeflow_job_meta.datasets.answers import Check, DatasetStatus
from lakeflow_job_meta.datasets.datasets import DatasetService
from lakeflow_job_meta.datasets.model import Status
from lakeflow_job_meta.errors import DatasetError, LakeflowJobMetaError, TablesError
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Workspace

#: Age of the monitor's last heartbeat above which it counts as gone: two of its longest intervals.
HEARTBEAT = timedelta(minutes=31)


def diagnose(
    service: DatasetService, dataset_id: str, workspace: Callable[[], Workspace], tenant: str | None = None
) -> list[Check]:
    """Look at the switches, the file, the row, the job, the monitor, the sync and both tables of a dataset.

    Args:
        workspace: gives the workspace's ports.

    Raises:
        DatasetNotFound: there is no such dataset.
    """
    found = service.status(dataset_id, tenant)
    row = service.row(found.dataset)
    checks = [
        _switches(service, found, row),
        _file(service, found),
        _row(found, row),
        *_job(service, row, workspace),
    ]
    pending = found.status is Status.PENDING
    checks += [_monitor(service, workspace, needed=pending), _sync(service, found, checks)]
    return [*checks, *_tables(service, found, row)]


def _switches(service: DatasetService, found: DatasetStatus, row: Row | None) -> Check:
    if not service.settings["sync_enabled"]:
        return Check(
            "switches", False, "the sync is off for all datasets: DATABRICKS_SYNC_ENABLED, sync_enabled"
        )
    if not found.enabled:
        where = f"row {row.source_id} of {service.control_table}" if row else "its row"
        return Check("switches", False, f"the sync of this dataset is off: sync.enabled of {where}")
    if not service.settings["auto_sync"]:
        return Check("switches", True, "auto sync is off: `dataset sync` asks for each sync")
    return Check("switches", True, "the sync is on")


def _file(service: DatasetService, found: DatasetStatus) -> Check:
    wrong = service.landing.is_there(found.dataset)
    if wrong:
        return Check("landed file", False, f"{wrong}; upload the dataset again")
    return Check("landed file", True, f"{found.dataset.path}, {found.dataset.row_count_local} rows")


def _row(found: DatasetStatus, row: Row | None) -> Check:
    name = "control row"
    if row is None:
        ok = None if found.status is Status.NOT_SYNCED else False
        return Check(name, ok, "there is none: `dataset sync` writes it")
    if not row.active:
        return Check(name, False, f"{row.module_name}/{row.source_id} is inactive: set is_active to true")
    version = control_rows.config(row.source_config).get("version")
    if version != found.dataset.version:
        return Check(
            name,
            False,
            f"{row.module_name}/{row.source_id} names version {version}, the newest is {found.dataset.version}: "
            "`dataset sync` writes it anew",
        )
    return Check(name, True, f"{row.module_name}/{row.source_id}, version {version}")


def _job(service: DatasetService, row: Row | None, workspace: Callable[[], Workspace]) -> Iterator[Check]:
    if row is None:
        yield Check("job", None, "there is no row to make one from")
        return
    module = str(row.module_name)
    try:
        ports = workspace()
        records = JobRecords(service.tables, service.control_table, ports.workspace_id, service.clock)
        record = records.all([module]).get(module)
        if record is None or record.job_id is None:
            error = f" ({record.error})" if record is not None and record.error else ""
            yield Check("job", False, f"module {module} has no job yet{error}: start the monitor, or apply")
            return
        if record.status in ("refused", "failed"):
            yield Check("job", False, f"module {module} is {record.status}: {record.error}")
            return
        job = ports.jobs.get(record.job_id)
        if job is None:
            yield Check("job", False, f"job {record.job_id} is gone from the workspace: apply makes it again")
            return
        for trigger in ("schedule", "trigger", "continuous"):
            if (job.settings.get(trigger) or {}).get("pause_status") == "PAUSED":
                yield Check(
                    "job", False, f"job {record.job_id} is paused: resume it, or `dataset sync` starts it"
                )
                return
        active = ports.jobs.runs(record.job_id, active_only=True)
        queue = f"; {len(active)} runs under way, a further one is queued" if active else ""
        yield Check("job", True, f"job {record.job_id} of module {module}{queue}")
    except LakeflowJobMetaError as error:
        yield Check("job", False, f"the workspace does not tell: {error}")


def _monitor(service: DatasetService, workspace: Callable[[], Workspace], *, needed: bool) -> Check:
    """Whether something makes and starts jobs: a monitor that beats, or one that a trigger starts, which only works."""
    try:
        events = ControlEvents(service.tables, service.control_table, workspace().workspace_id).recent(200)
    except LakeflowJobMetaError as error:
        return Check("monitor", None, f"not known: {error}")
    wrong = False if needed else None
    beats = [event.at for event in events if event.kind == "heartbeat" and event.at is not None]
    age = service.clock() - max(beats) if beats else None
    if age is not None and age <= HEARTBEAT:
        return Check("monitor", True, "its heartbeat is fresh")
    done = next((event for event in events if event.kind != "heartbeat" and event.at is not None), None)
    if done is not None and done.at is not None:
        minutes = int((service.clock() - done.at).total_seconds() // 60)
        what = f"{done.kind} {done.module_name}".strip()
        if service.clock() - done.at <= HEARTBEAT:
            return Check(
                "monitor",
                True,
                f"none runs all the time (no heartbeat); a pass did `{what}` {minutes} minutes ago",
            )
        last = f"; what was done last is `{what}`, {minutes} minutes ago"
    else:
        last = "; nothing was ever done"
    seen = (
        "there is no heartbeat"
        if age is None
        else (f"its last heartbeat is {int(age.total_seconds() // 60)} minutes old")
    )
    advice = "start `lakeflow-job-meta monitor`, or its trigger, or ask by `dataset sync`"
    return Check("monitor", wrong, f"it is not running: {seen}{last}: {advice}")


def _sync(service: DatasetService, found: DatasetStatus, checks: list[Check]) -> Check:
    sync = found.sync
    if sync is None:
        return Check("sync", None, "none was asked for yet")
    if sync.status is Status.FAILED:
        phase = f" in {sync.phase}" if sync.phase else ""
        again = "; another attempt may help: `dataset sync`" if sync.retryable else ""
        return Check("sync", False, f"failed{phase}: {sync.last_sync_error}{again}")
    if sync.status is Status.PENDING:
        minutes = (service.clock() - sync.since).total_seconds() / 60
        if minutes > service.settings["stale_minutes"]:
            causes = "; ".join(one.text for one in checks if one.ok is False and one.name in _CAUSES)
            return Check(
                "sync",
                False,
                f"pending for {int(minutes)} minutes: {causes or 'the run waits in the queue of its job'}",
            )
    return Check("sync", True, f"{sync.status} since {sync.since:%Y-%m-%d %H:%M:%S} UTC")


_CAUSES = ("switches", "control row", "job", "monitor")


def _tables(service: DatasetService, found: DatasetStatus, row: Row | None) -> Iterator[Check]:
    """Whether each table is there, what it holds, and whether the rows are as many as they should be."""
    if row is None:
        return
    targets = control_rows.targets_of(row)
    counts: dict[str, int] = {}
    for layer, table in (("bronze", targets.bronze), ("silver", targets.silver)):
        check, counts[layer] = _table(service, layer, table)
        yield check
    local, bronze, silver = found.dataset.row_count_local, counts["bronze"], counts["silver"]
    if bronze < 0 or silver < 0:
        yield Check("row counts", None, f"{local} rows were landed")
        return
    text = f"{local} landed, {bronze} in bronze, {silver} in silver"
    appends = _appends(row)
    ok = bronze == local or appends
    more = "" if silver <= bronze or appends else "; silver has more rows than bronze"
    yield Check("row counts", ok and not more, text + (more or ("" if ok else "; sync it again")))


def _appends(row: Row) -> bool:
    silver = control_rows.config(row.transformation_config).get("silver")
    return isinstance(silver, dict) and silver.get("mode") == "append"


def _table(service: DatasetService, layer: str, table: TableName) -> tuple[Check, int]:
    name = f"{layer} table"
    try:
        columns = service.tables.columns(table)
        if columns is None:
            return Check(name, False, f"{table} is not there, or may not be seen"), -1
        [counted] = service.tables.query(f"SELECT count(*) AS `n` FROM {table.quoted}")
    except (TablesError, DatasetError) as error:
        return Check(name, False, f"{table} cannot be read: {error}"), -1
    described = ", ".join(f"{column.name} {column.type}" for column in columns)
    return Check(name, True, f"{table}: {counted['n']} rows; {described}"), int(counted["n"])
