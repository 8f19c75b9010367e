"""The Data X-Ray tasks as they are started: by a job, from the accepted definition, or by hand, from flags.

Each run ends with one summary: logged, kept in `dxr_runs`, and returned; a run in which anything failed ends with
DxrRunFailed, which carries it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.dxr import settings as dxr_settings
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.dxr.settings import DxrSettings
from lakeflow_job_meta.dxr.summary import Summary, record
from lakeflow_job_meta.errors import DxrRunFailed, LakeflowJobMetaError, TablesError, UsageError

if TYPE_CHECKING:
    from lakeflow_job_meta.task_context import TaskContext

JsonObject = dict[str, Any]
#: What a task does: works on a session, returns its counts, and further facts.
Work = Callable[[DxrSession], "Outcome"]
Outcome = tuple[Summary, JsonObject]


def _ingest(session: DxrSession) -> Outcome:
    summary: Summary = import_module("lakeflow_job_meta.dxr.ingest").ingest(session)
    return summary, {}


def _collect(session: DxrSession) -> Outcome:
    summary: Summary = import_module("lakeflow_job_meta.dxr.collect").collect(session)
    return summary, {}


def _run_once(session: DxrSession) -> Outcome:
    sent, _ = _ingest(session)
    if session.settings["dry_run"]:
        return sent, {}
    try:
        found, _ = _collect(session)
    except LakeflowJobMetaError:
        # what was sent was sent, whatever ends the collection
        if session.summary is not None and session.summary is not sent:
            session.summary = sent.added(session.summary)
        raise
    return sent.added(found), {}


def _organise(session: DxrSession) -> Outcome:
    from lakeflow_job_meta.dxr.organise import organise

    return organise(session)


def _snapshot(session: DxrSession) -> Outcome:
    from lakeflow_job_meta.dxr.snapshot import take

    facts = take(session)
    return Summary(seen=facts["rows"], dry_run=bool(session.settings["dry_run"])), facts


#: Task type (and `run_once`, which only the command line has) to its work.
WORK: Mapping[str, Work] = {
    "dxr_ingest": _ingest,
    "dxr_collect": _collect,
    "dxr_organise": _organise,
    "dxr_snapshot": _snapshot,
    "dxr_run_once": _run_once,
}


def run_ingest(context: TaskContext) -> JsonObject:
    """The runner of `dxr_ingest`."""
    return perform("dxr_ingest", session_of(context, "dxr_ingest"))


def run_collect(context: TaskContext) -> JsonObject:
    """The runner of `dxr_collect`."""
    return perform("dxr_collect", session_of(context, "dxr_collect"))


def run_organise(context: TaskContext) -> JsonObject:
    """The runner of `dxr_organise`."""
    return perform("dxr_organise", session_of(context, "dxr_organise"))


def run_snapshot(context: TaskContext) -> JsonObject:
    """The runner of `dxr_snapshot`."""
    return perform("dxr_snapshot", session_of(context, "dxr_snapshot"))


def session_of(context: TaskContext, task: str) -> DxrSession:
    """What the task works with: its settings from the source and from parameters of the run, and the context's ports.

    Raises:
        UsageError: a setting is wrong.
    """
    known = dxr_settings.for_task(task)
    source = context.source
    given: JsonObject = {}
    for place in (source.source_config, source.target_config, context.settings, context.parameters):
        given |= {name: value for name, value in place.items() if name in known}
    run_id = context.run_id or new_run_id()

    def log(event: str, **facts: Any) -> None:
        context.log(event, **{"run_id": run_id, "task": task, **facts})

    return DxrSession(
        dxr_settings.resolve(given, context.environment, settings=tuple(known.values())),
        context.tables,
        context.volumes,
        run_id,
        context.clock,
        secrets=context.secrets,
        environment=context.environment,
        log=log,
        catalog=context.catalog,
    )


def new_run_id() -> str:
    """A name for a run that has none from a job."""
    return f"hand-{uuid.uuid4().hex[:16]}"


def perform(task: str, session: DxrSession) -> JsonObject:
    """Do the task's work, and tell of it: in the log, in `dxr_runs`, and by the summary.

    Raises:
        UsageError: a setting is wrong; nothing was done, and nothing is told.
        DxrRunFailed: it ended with failures, or an error ended it; with the summary.
    """
    started = session.clock()
    error = ""
    cause: LakeflowJobMetaError | None = None
    table = None if session.settings["dry_run"] else _runs_table(session.settings)
    try:
        if table is not None:
            definitions.check(session.tables, definitions.runs(table))
        counts, facts = WORK[task](session)
        good = counts.good
    except UsageError:
        raise
    except LakeflowJobMetaError as failure:
        counts = session.summary or Summary(dry_run=bool(session.settings["dry_run"]))
        facts, good = {}, False
        error, cause = str(failure), failure
    ended = session.clock()
    counts.seconds = (ended - started).total_seconds()
    summary: JsonObject = {
        **counts.as_json(),
        **facts,
        "task": task,
        "run_id": session.run_id,
        "outcome": "succeeded" if good else "failed",
    }
    if not good:
        error = error or _what_failed(counts)
        summary["error"] = error
    session.log("summary", summary=json.dumps(summary, default=str))
    if table is not None:
        try:
            record(
                session.tables,
                table,
                run_id=session.run_id,
                task=task,
                summary=summary,
                started_at=started,
                ended_at=ended,
                error=error,
                good=good,
            )
        except TablesError as failure:
            if good:
                raise
            session.log("the run is not recorded", reason=str(failure))
    if not good:
        raise DxrRunFailed(error, summary) from cause
    return summary


def _what_failed(counts: Summary) -> str:
    parts = [
        f"{number} {state}"
        for state in ("failed", "missing", "ambiguous", "open")
        if (number := getattr(counts, state))
    ]
    first = next(iter(counts.reasons), None)
    why = f", the first: {first['path']}: {first['reason']}" if first else ""
    return f"not all files came through: {', '.join(parts)}{why}"


def _runs_table(settings: DxrSettings) -> Any:
    if settings["metadata_table"] or settings.values.get("runs_table"):
        return settings.table("run")
    return None
