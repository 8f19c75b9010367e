"""What hangs on a job: its saved queries and the permissions on both. Pure decisions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lakeflow_job_meta.control.records import QueryRecord
from lakeflow_job_meta.jobs.desired import DesiredJob, DesiredQuery
from lakeflow_job_meta.jobs.permissions import expected
from lakeflow_job_meta.reconcile.actions import Change
from lakeflow_job_meta.reconcile.diff import diff, merge
from lakeflow_job_meta.reconcile.rules import CREATE_ONLY
from lakeflow_job_meta.reconcile.state import ModuleState, QueryWork

JsonObject = dict[str, Any]
Entries = tuple[JsonObject, ...]


@dataclass(frozen=True, slots=True)
class Attachments:
    """What is to be done about saved queries and permissions, and what is left as it is."""

    queries: tuple[QueryWork, ...]
    dropped: tuple[QueryRecord, ...]
    permissions: Entries | None
    changes: tuple[Change, ...]
    left: tuple[Change, ...]


def decide_attachments(state: ModuleState, desired: DesiredJob, *, enforce: bool) -> Attachments:
    """Compare the module's saved queries and permissions with what was applied and what is there."""
    by_source = {row.source_id: row for row in state.query_records}
    work: list[QueryWork] = []
    changes: list[Change] = []
    left: list[Change] = []
    for query in desired.queries:
        done, found, kept = _query(state, query, by_source.get(query.source_id), enforce)
        work += [done] if done else []
        changes += found
        left += kept
    wanted = {query.source_id for query in desired.queries}
    dropped = tuple(row for row in state.query_records if row.source_id not in wanted and row.query_id)
    changes += [Change(f"queries[{row.source_id}]", row.query_id, None) for row in dropped]
    applied = ((state.record.applied or {}).get("permissions") if state.record else None) or []
    permissions, found, kept = _entries(
        state.permissions, applied, desired.permissions, "permissions", enforce
    )
    return Attachments(tuple(work), dropped, permissions, (*changes, *found), (*left, *kept))


def _query(
    state: ModuleState, query: DesiredQuery, record: QueryRecord | None, enforce: bool
) -> tuple[QueryWork | None, list[Change], list[Change]]:
    path = f"queries[{query.source_id}]"
    remote = state.queries.get(record.query_id) if state.queries is not None and record else None
    lost = state.queries is not None and (remote is None or remote.trashed)
    if record is None or not record.query_id or lost:
        behind_back = bool(record and record.query_id)
        change = Change(path, None, query.settings["display_name"], drift=behind_back)
        return QueryWork(query.source_id, query.settings, permissions=query.permissions), [change], []
    applied = record.applied or {}
    wanted = _comparable(query.settings, query)
    intended = diff(_comparable(applied.get("settings"), query), wanted, path=path, pattern="queries[]")
    actual = _comparable(remote.settings if remote else applied.get("settings"), query)
    found = _marked(diff(actual, wanted, path=path, pattern="queries[]"), intended)
    held = (state.query_permissions or {}).get(record.query_id)
    entries, changes, left = _entries(
        held, applied.get("permissions") or [], query.permissions, f"{path}.permissions", enforce
    )
    if not enforce and not intended:
        left, found = [*found, *left], []
    if not found and entries is None and record.applied is not None:
        return None, changes, left  # one without `applied` was found by its tags, and is to be recorded
    done = QueryWork(query.source_id, query.settings, record.query_id, bool(found), entries)
    return done, [*found, *changes], left


def _comparable(settings: JsonObject | None, query: DesiredQuery) -> JsonObject:
    """Of a saved query only the fields that we set and that can be changed later."""
    return {name: (settings or {}).get(name) for name in query.settings if name not in CREATE_ONLY}


def _entries(
    held: Entries | None, applied: list[JsonObject], wanted: Entries | None, path: str, enforce: bool
) -> tuple[Entries | None, list[Change], list[Change]]:
    """Entries to set (None: they stay), changes, and what is left, for one object's permissions.

    Args:
        held: direct entries in the workspace, None when they were not read.
        applied: what was set last.
    """
    if wanted is None:
        return None, [], []
    intended = diff(applied, list(wanted), path=path, pattern="permissions")
    if held is None:
        return (wanted if intended else None), intended, []
    current, aim = list(held), expected(wanted, held)
    target = aim if enforce else merge(applied or aim, aim, current, pattern="permissions")
    changes = _marked(diff(current, target, path=path, pattern="permissions"), intended)
    written = {change.path for change in changes}
    left = [c for c in diff(current, aim, path=path, pattern="permissions") if c.path not in written]
    return (tuple(target) if changes else None), changes, left


def _marked(changes: list[Change], intended: list[Change]) -> list[Change]:
    """`changes`, those that the metadata did not bring about marked as drift."""
    paths = {change.path for change in intended}
    return [replace(change, drift=change.path not in paths) for change in changes]
