"""Creates that make one object, whatever the network does.

The Jobs API has no idempotency token for creates. A create is sent once; after an unclear outcome the
object is looked up by its tags, and only when it is not there sent again. What our own repetition may
have doubled is healed at once: the lowest id stays, a later one that never ran is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lakeflow_job_meta.errors import UnclearOutcome, WorkspaceError
from lakeflow_job_meta.jobs.queries import read_query_tags
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Workspace
from lakeflow_job_meta.reconcile.observe import Seen, Sought, observe_jobs

JsonObject = dict[str, Any]
Sleep = Callable[[float], None]

#: Creates of one object, the first included.
ATTEMPTS = 3
#: Seconds before each look after an unclear create: the platform may still be at work on it.
LOOKS = (0.0, 0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Created:
    """The job that there is now, and duplicates of our own making that were deleted."""

    job_id: int
    healed: tuple[int, ...] = ()


def create_job(
    workspace: Workspace,
    control_table: TableName,
    module: str,
    settings: JsonObject,
    sleep: Sleep,
    held: Callable[[], bool] = lambda: True,
) -> Created:
    """Create the module's job, exactly one.

    The caller holds the module's claim and has seen that it has no job.

    Args:
        held: whether the claim still holds. When it is over, another writer may be making the job.

    Raises:
        UnclearOutcome: after ATTEMPTS creates without a clear answer; the next pass looks it up.
        WorkspaceError: the platform refused, or another writer made the job meanwhile.
    """

    def look() -> Seen:
        sought = {module: Sought(names=(str(settings["name"]),))}
        seen, _ = observe_jobs(workspace, control_table, sought, everything=False, parallel=1)
        return seen[module]

    unclear: UnclearOutcome | None = None
    for attempt in range(ATTEMPTS):
        try:
            job_id = workspace.jobs.create(settings)
        except UnclearOutcome as error:
            unclear = error
            found = _look_patiently(look, sleep)
            if found.job is not None:
                return Created(found.job.job_id, _heal(workspace, found) if held() else ())
            if not held():
                break
        else:
            if not held():
                return _yield(workspace, look(), job_id)
            return Created(job_id) if attempt == 0 else _settle(workspace, look(), job_id)
    assert unclear is not None
    raise unclear


def _look_patiently(look: Callable[[], Seen], sleep: Sleep) -> Seen:
    found = Seen()
    for seconds in LOOKS:
        sleep(seconds)
        found = look()
        if found.job is not None:
            break
    return found


def _settle(workspace: Workspace, found: Seen, job_id: int) -> Created:
    """After a repeated create: an earlier one may have come through late."""
    if found.job is None:
        return Created(job_id)
    return Created(found.job.job_id, _heal(workspace, found))


def _yield(workspace: Workspace, found: Seen, job_id: int) -> Created:
    """The claim ran out during the create: the job of whoever holds it now stands, ours goes."""
    others = {job for job in (found.job.job_id if found.job else job_id, *found.duplicates) if job != job_id}
    if not others:
        return Created(job_id)
    if not workspace.jobs.runs(job_id, limit=1):
        workspace.jobs.delete(job_id)
    raise WorkspaceError(
        f"job {min(others)} was made by another writer while this one was held up: plan again to see it"
    )


def _heal(workspace: Workspace, found: Seen) -> tuple[int, ...]:
    """Delete the duplicates that never ran; any other is left for a person (the next plan reports it)."""
    healed = []
    for job_id in found.duplicates:
        if not workspace.jobs.runs(job_id, limit=1):
            workspace.jobs.delete(job_id)
            healed.append(job_id)
    return tuple(healed)


def create_query(workspace: Workspace, settings: JsonObject, sleep: Sleep) -> str:
    """Create a saved query, exactly one; returns its id. Raises as `create_job` does."""
    owner = read_query_tags(settings["tags"])
    unclear: UnclearOutcome | None = None
    for _ in range(ATTEMPTS):
        try:
            return workspace.queries.create(settings)
        except UnclearOutcome as error:
            unclear = error
            for seconds in LOOKS:
                sleep(seconds)
                ids = sorted(
                    query.query_id
                    for query in workspace.queries.list()
                    if not query.trashed and read_query_tags(query.settings.get("tags")) == owner
                )
                for duplicate in ids[1:]:
                    workspace.queries.delete(duplicate)
                if ids:
                    return ids[0]
    assert unclear is not None
    raise unclear
