"""The decision: desired against applied and actual, one module at a time. Pure: values in, an Action out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lakeflow_job_meta.control.records import JobRecord, QueryRecord
from lakeflow_job_meta.errors import Problem
from lakeflow_job_meta.jobs.desired import DesiredJob
from lakeflow_job_meta.jobs.references import resolve
from lakeflow_job_meta.names import digest
from lakeflow_job_meta.reconcile.actions import Action, ActionKind, Change, Plan
from lakeflow_job_meta.reconcile.attachments import decide_attachments
from lakeflow_job_meta.reconcile.changed_sources import to_run
from lakeflow_job_meta.reconcile.diff import diff, merge
from lakeflow_job_meta.reconcile.retirement import (
    former_pause,
    held_pause,
    is_retired,
    retired,
    revived,
    with_pause,
)
from lakeflow_job_meta.reconcile.state import ModuleState, Work
from lakeflow_job_meta.settings import Settings

JsonObject = dict[str, Any]


def decide(state: ModuleState, settings: Settings) -> Action:
    """The action for one module; the module's own options win over `settings`."""
    if state.problems:
        return _refuse(state)
    if state.desired is None:
        return _retire(state, settings)
    if state.actual is None and state.observed:
        return _create(state, state.desired, settings)
    return _keep(state, state.desired, settings)


def refuse(plan: Plan, rejected: Mapping[str, tuple[Problem, ...]]) -> Plan:
    """The plan with the modules that a file got wrong refused; their jobs stay as they are, last good."""
    actions = {action.module: action for action in plan.actions}
    for module, problems in rejected.items():
        former = actions.get(module)
        reasons = tuple(str(problem) for problem in problems)
        actions[module] = Action(
            module=module,
            kind="refused",
            reasons=reasons,
            problems=problems,
            job_id=former.job_id if former else None,
            job_name=former.job_name if former else module,
            fingerprint=digest(["refused", *reasons], 32),
        )
    return replace(plan, actions=tuple(actions[module] for module in sorted(actions)))


def hold_back(action: Action, reason: str) -> Action:
    """The same module, refused by the brake."""
    return replace(action, kind="refused", reasons=(reason,), work=None)


def _action(
    state: ModuleState, kind: ActionKind, changes: Iterable[Change], reasons: Iterable[str], work: Work | None
) -> Action:
    ordered = tuple(sorted(changes, key=lambda change: change.path))
    record, actual, desired = state.record, state.actual, state.desired
    rests_on = [
        kind,
        [change.as_json() for change in ordered],
        desired.spec_hash if desired else "",
        [state.rows_hash, state.context_hash],
        [record.job_id, record.spec_hash, record.rows_hash] if record else [None, "", ""],
        actual.job_id if actual else None,
    ]
    name = desired.settings.get("name") if desired else record.job_name if record else ""
    return Action(
        module=state.module,
        kind=kind,
        changes=ordered,
        reasons=(*reasons, *_duplicates(state)),
        problems=state.problems,
        job_id=actual.job_id if actual else record.job_id if record and not state.observed else None,
        job_name=str(name or state.module),
        work=replace(work, before=record) if work else None,
        fingerprint=digest(rests_on, 32),
    )


def _duplicates(state: ModuleState) -> Iterator[str]:
    if state.duplicates:
        ids = ", ".join(str(job_id) for job_id in state.duplicates)
        yield (
            f"job {ids} carries this module's tags too (a copy made in the workspace?): "
            "left alone; remove its lakeflow_job_meta tags or delete it"
        )


def _refuse(state: ModuleState) -> Action:
    error = "\n".join(str(problem) for problem in state.problems)
    former = state.record or JobRecord(state.module)
    after = replace(former, status="refused", error=error)
    only_in_a_file = state.record is None and not state.rows_hash
    work = None if only_in_a_file or _saved(state, after) else Work(after)
    return _action(state, "refused", (), [str(problem) for problem in state.problems], work)


def _saved(state: ModuleState, record: JobRecord) -> bool:
    """Whether `_jobs` has this record already, but for claim and time; what a dead writer held is given back."""
    before = state.record
    return (
        before is not None
        and not state.abandoned
        and record
        == replace(
            before, claim=record.claim, claimed_until=record.claimed_until, applied_at=record.applied_at
        )
    )


def _retire(state: ModuleState, settings: Settings) -> Action:
    former, actual = state.record, state.actual
    if former is None and actual is None:
        return _action(state, "unchanged", (), ["inactive, and has no job"], None)
    former = former or JobRecord(state.module)
    seen = replace(former, error="", rows_hash=state.rows_hash, context_hash=state.context_hash)
    if actual is None:
        # Gone, or retired before and not looked at now.
        after = replace(
            seen,
            status="deleted" if former.status == "deleted" else "retired",
            job_id=None if state.observed else former.job_id,
        )
        unused = _unused(state) if state.observed else ()
        if unused:
            reasons = ["no active source is left", "its job is gone already, its queries are not"]
            return _action(state, "retire", _dropped(unused), reasons, Work(after, dropped_queries=unused))
        return _action(state, "unchanged", (), ["retired"], None if _saved(state, after) else Work(after))
    reason = "no active source is left"
    if settings.for_module("retire", state.options) == "delete":
        after = replace(
            seen, job_id=None, status="deleted", former_pause_status="", applied=None, spec_hash=""
        )
        work = Work(after, job_id=actual.job_id, delete=True, dropped_queries=state.query_records)
        return _action(
            state, "retire", [Change("job", actual.job_id, None)], [reason, "retire: delete"], work
        )
    target, former_pause_status = retired(state.module, actual.settings, former.former_pause_status)
    changes = diff(actual.settings, target)
    unused = _unused(state)
    after = replace(
        seen,
        job_id=actual.job_id,
        status="retired",
        former_pause_status=former_pause_status,
        job_name=str(actual.settings.get("name") or former.job_name),
    )
    if not changes and not unused:
        return _action(state, "unchanged", (), ["retired"], None if _saved(state, after) else Work(after))
    if is_retired(actual):
        drift = settings.for_module("drift", state.options)
        if drift != "enforce" and not unused:
            reasons = ["retired", *_left(changes, drift)]
            return _action(state, "unchanged", (), reasons, None if _saved(state, after) else Work(after))
        changes = [replace(change, drift=True) for change in changes] if drift == "enforce" else []
    work = Work(after, job_id=actual.job_id, settings=target if changes else None, dropped_queries=unused)
    return _action(state, "retire", [*changes, *_dropped(unused)], [reason], work)


def _unused(state: ModuleState) -> tuple[QueryRecord, ...]:
    """Saved queries that the job, if there is one, has no task for: left by a writer that died or failed."""
    used = set(_query_ids(state.actual.settings)) if state.actual is not None else set()
    return tuple(row for row in state.query_records if row.query_id and row.query_id not in used)


def _query_ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("query_id"):
            yield str(value["query_id"])
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _query_ids(inner)


def _dropped(rows: Iterable[QueryRecord]) -> list[Change]:
    return [Change(f"queries[{row.source_id}]", row.query_id, None) for row in rows]


def _after(state: ModuleState, desired: DesiredJob) -> JobRecord:
    """The row of `_jobs` once the desired job is there."""
    return replace(
        state.record or JobRecord(state.module),
        job_id=state.actual.job_id if state.actual else None,
        job_name=str(desired.settings.get("name") or state.module),
        spec_hash=desired.spec_hash,
        rows_hash=state.rows_hash,
        context_hash=state.context_hash,
        definition=desired.definition,
        status="active",
        error="",
        former_pause_status="",
    )


def _create(state: ModuleState, desired: DesiredJob, settings: Settings) -> Action:
    record = state.record
    attachments = decide_attachments(state, desired, enforce=True)
    wanted = _resolved(state, desired, {work.source_id for work in attachments.queries if not work.query_id})
    reasons = []
    start_run, run_only = to_run(state, desired)
    if record is not None and record.job_id is not None and record.status != "deleted":
        drift = settings.for_module("drift", state.options)
        gone = f"job {record.job_id} is not in the workspace any more"
        if drift != "enforce" and record.spec_hash == desired.spec_hash:
            return _action(
                state,
                "unchanged",
                (),
                [f"drift: {gone} (left: drift={drift})"] if drift == "report" else (),
                None,
            )
        reasons.append(gone)
    work = Work(
        record=_after(state, desired),
        queries=attachments.queries,
        settings=with_pause(wanted, wanted, settings.for_module("default_pause_status", state.options)),
        applied=wanted,
        permissions=desired.permissions,
        dropped_queries=attachments.dropped,
        start_run=start_run and bool(settings.for_module("run_on_change", state.options)),
        run_only=run_only,
        requires=desired.requires,
    )
    return _action(state, "create", (), reasons, work)


def _resolved(state: ModuleState, desired: DesiredJob, open_queries: set[str]) -> JsonObject:
    """The desired settings with every id that is known; queries still to be made stay references."""
    ids = {
        row.source_id: row.query_id
        for row in state.query_records
        if row.query_id and row.source_id not in open_queries
    }
    settings: JsonObject = resolve(desired.settings, queries=ids, jobs=state.job_ids)
    return settings


def _keep(state: ModuleState, desired: DesiredJob, settings: Settings) -> Action:
    """Update, revive or leave a job that is there."""
    record, actual = state.record, state.actual
    drift = settings.for_module("drift", state.options)
    enforce = drift == "enforce"
    attachments = decide_attachments(state, desired, enforce=enforce)
    wanted = _resolved(state, desired, {work.source_id for work in attachments.queries if not work.query_id})
    applied: JsonObject | None = (record.applied or {}).get("settings") if record else None
    current = actual.settings if actual else applied or {}
    reviving = actual is not None and is_retired(actual)

    target = wanted if enforce else merge(wanted if applied is None else applied, wanted, current)
    status = held_pause(current)
    if reviving and actual is not None:
        target = revived(state.module, target)
        status = former_pause(actual, record.former_pause_status if record else "") or status
    target = with_pause(target, wanted, status)

    # Most jobs are as they should be: only where one differs is it asked who changed it.
    job_changes = diff(current, target)
    if job_changes and applied is not None and not reviving:
        intended = {change.path for change in diff(applied, wanted)}
        # A trigger of another kind takes the pause status along: nobody changed that in the workspace.
        intended |= {f"{path.partition('.')[0]}.pause_status" for path in intended if "." in path}
        job_changes = [replace(c, drift=c.path not in intended) for c in job_changes]
    left: list[Change] = []
    if drift == "report":
        written = {change.path for change in job_changes}
        left = [c for c in diff(current, with_pause(wanted, wanted, status)) if c.path not in written]
    changes = [*job_changes, *attachments.changes, *_configuration(record, desired)]
    # A writer that died after its write, before its record and its run: the token makes it one run.
    unrecorded = record is not None and record.spec_hash != desired.spec_hash
    start_run, run_only = to_run(state, desired)
    work = Work(
        record=_after(state, desired),
        job_id=actual.job_id if actual else record.job_id if record else None,
        queries=attachments.queries,
        settings=target if job_changes else None,
        applied=wanted,
        permissions=attachments.permissions,
        dropped_queries=attachments.dropped,
        start_run=start_run
        and bool(settings.for_module("run_on_change", state.options))
        and (unrecorded or any(not c.drift for c in changes)),
        run_only=run_only,
        requires=desired.requires,
    )
    reasons = _left([*left, *attachments.left], drift) if drift == "report" else []
    if changes or any(query.touches_workspace for query in attachments.queries):
        return _action(state, "revive" if reviving else "update", changes, reasons, work)
    if work.start_run:
        return _action(state, "update", (), ["what was written last has not been run yet", *reasons], work)
    saved = _saved(state, work.record) and applied == wanted and not attachments.queries
    return _action(state, "unchanged", (), reasons, None if saved else work)


def _left(changes: Iterable[Change], drift: str) -> list[str]:
    """A sentence for each difference that stays in the workspace."""
    return [f"drift: {change} (left: drift={drift})" for change in changes]


def _configuration(record: JobRecord | None, desired: DesiredJob) -> list[Change]:
    """Changes of the definition that no setting of the job shows, but that tasks and notebooks read."""
    if record is None or record.definition is None:
        return []
    before = {source["source_id"]: source for source in record.definition.get("sources", [])}
    changes: list[Change] = []
    for source in desired.definition.get("sources", []):
        former = before.get(source["source_id"])
        if former is None:
            continue
        path = f"sources[{source['source_id']}]"
        names = ["source_config", "target_config"]
        if source["source_id"] in desired.ours:
            names.append("settings")
        for name in names:
            changes += diff(former.get(name), source.get(name), path=f"{path}.{name}", pattern="sources[]")
    return changes
