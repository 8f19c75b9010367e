"""Reading the workspace: which job, queries and permissions each module has. Reads only.

The API has no tag filter, so a few modules are asked for one by one (by id, or by name before a
create) and many by one listing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lakeflow_job_meta.control.records import QueryRecord
from lakeflow_job_meta.errors import PermissionDenied
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, TableName, module_tag, read_module_tag, table_tag
from lakeflow_job_meta.ports import ObjectKind, RemoteJob, RemoteQuery, Workspace

JsonObject = dict[str, Any]
K = TypeVar("K")
V = TypeVar("V")

#: More modules than this are read by one listing, a hundred jobs a page, instead of one call each.
SINGLE_READS = 20


@dataclass(frozen=True, slots=True)
class Sought:
    """What is known of a module's job before looking: its id, and the names it may have been created with."""

    job_id: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A module's job in the workspace.

    Args:
        job: the recorded one, else the one with the lowest id; None when there is none.
        duplicates: ids of further jobs with the module's tags.
        stripped: the recorded job exists but lost our tags; it is not ours to touch.
        hidden: why the recorded job may not be read: deleted, or out of our reach. Nobody can tell.
    """

    job: RemoteJob | None = None
    duplicates: tuple[int, ...] = ()
    stripped: int | None = None
    hidden: str = ""


@dataclass(slots=True)
class Owned:
    """Jobs with our table tag, by the tag of their module."""

    by_module: dict[str, dict[int, RemoteJob]] = field(default_factory=dict)
    others: set[int] = field(default_factory=set)
    hidden: dict[int, str] = field(default_factory=dict)

    def add(self, job: RemoteJob, table: str) -> None:
        tag = read_module_tag(job.tags.get(MODULE_TAG, ""))
        if job.tags.get(TABLE_TAG) == table and tag is not None:
            self.by_module.setdefault(tag.live, {})[job.job_id] = job
        else:
            self.others.add(job.job_id)

    def seen(self, module: str, sought: Sought) -> Seen:
        jobs = self.by_module.get(module_tag(module), {})
        if not jobs:
            stripped = sought.job_id if sought.job_id in self.others else None
            return Seen(stripped=stripped, hidden=self.hidden.get(sought.job_id or 0, ""))
        chosen = sought.job_id if sought.job_id in jobs else min(jobs)
        return Seen(jobs[chosen], tuple(sorted(set(jobs) - {chosen})))


def observe_jobs(
    workspace: Workspace,
    control_table: TableName,
    sought: Mapping[str, Sought],
    *,
    everything: bool,
    parallel: int,
) -> tuple[dict[str, Seen], Owned]:
    """The job of each sought module.

    Args:
        sought: module name to what is known.
        everything: list the whole workspace, which also finds duplicates and jobs of forgotten modules.
    """
    table = table_tag(control_table)
    owned = Owned()
    single = not everything and len(sought) <= SINGLE_READS
    if not single and (sought or everything):
        for job in workspace.jobs.list():
            owned.add(job, table)
    # Also after a listing: a job that we may not see any more is not listed, and yet is there.
    ids = {one.job_id for m, one in sought.items() if one.job_id is not None and owned.seen(m, one) == Seen()}
    for job_id, found in _parallel(lambda job_id: _get(workspace, job_id), ids, parallel).items():
        if isinstance(found, str):
            owned.hidden[job_id] = found
        elif found is not None:
            owned.add(found, table)
    if single:
        missing = {m: s for m, s in sought.items() if owned.seen(m, s) == Seen()}
        names = {name for one in missing.values() for name in one.names}
        for jobs in _parallel(lambda name: list(workspace.jobs.list(name=name)), names, parallel).values():
            for job in jobs:
                owned.add(job, table)
    return {module: owned.seen(module, one) for module, one in sought.items()}, owned


def _get(workspace: Workspace, job_id: int) -> RemoteJob | str | None:
    """The job; None when there is none; the reason when it may not be read (a deleted job may answer 403)."""
    try:
        return workspace.jobs.get(job_id)
    except PermissionDenied as error:
        if error.status != 403:
            raise
        return str(error)


def observe_queries(
    workspace: Workspace, records: Iterable[QueryRecord], parallel: int
) -> dict[str, RemoteQuery]:
    """The saved queries of these records by id; one that is missing does not exist any more."""
    ids = {record.query_id for record in records if record.query_id}
    if len(ids) > SINGLE_READS:
        return {query.query_id: query for query in workspace.queries.list() if query.query_id in ids}
    found = _parallel(workspace.queries.get, ids, parallel)
    return {query_id: query for query_id, query in found.items() if query is not None}


def observe_permissions(
    workspace: Workspace, kind: ObjectKind, ids: Iterable[str], parallel: int
) -> dict[str, tuple[JsonObject, ...]]:
    """The direct permissions of these objects, one call each: there is no call for many."""
    return _parallel(lambda object_id: tuple(workspace.permissions.get(kind, object_id)), set(ids), parallel)


def _parallel(call: Callable[[K], V], keys: Iterable[K], parallel: int) -> dict[K, V]:
    ordered = list(keys)
    if len(ordered) <= 1:
        return {key: call(key) for key in ordered}
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        return dict(zip(ordered, pool.map(call, ordered), strict=True))
