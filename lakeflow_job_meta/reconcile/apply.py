"""Carrying out a plan: claims first, then exactly the work that was decided, then the records.

It never reads to decide. What it reads is a guard: what a claim brought back, and the tags of a job
before and after a create, so that nothing is made twice. A failure is its own module's.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.query_records import QueryRecords
from lakeflow_job_meta.control.records import Event, JobRecord, QueryRecord
from lakeflow_job_meta.errors import WorkspaceError
from lakeflow_job_meta.jobs.references import resolve, unresolved
from lakeflow_job_meta.names import TableName, digest
from lakeflow_job_meta.ports import Workspace
from lakeflow_job_meta.reconcile.actions import Action, ActionKind, ActionResult
from lakeflow_job_meta.reconcile.creation import create_job, create_query
from lakeflow_job_meta.reconcile.hold import Hold
from lakeflow_job_meta.reconcile.observe import Sought, observe_jobs
from lakeflow_job_meta.reconcile.state import Work
from lakeflow_job_meta.settings import Settings

JsonObject = dict[str, Any]
Progress = Callable[[ActionResult], None]

#: Modules that are claimed, carried out and saved together, at least; and the most batches of one apply:
#: before its creates each batch lists the workspace once, which grows with every batch.
BATCH = 200
BATCHES = 10
#: The error of a module whose turn did not come before the writer was told to stop.
STOPPED = "not begun: told to stop"
#: Work on a module begins only while this share of its claim's time is left.
SHARE_LEFT = 1 / 3
_DONE: Mapping[ActionKind, str] = {
    "create": "created",
    "update": "updated",
    "retire": "retired",
    "revive": "revived",
    "refused": "refused",
}


@dataclass(slots=True)
class Outcome:
    """What came of the actions: results by module, and the modules that another writer holds or changed."""

    results: dict[str, ActionResult] = field(default_factory=dict)
    contested: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Done:
    """One module's work so far; what was done is kept even when the rest fails.

    Args:
        lost: our claim ran out before it was begun.
    """

    action: Action
    record: JobRecord
    job_id: int | None = None
    run_id: int | None = None
    queries: list[QueryRecord] = field(default_factory=list)
    forgotten: list[tuple[str, str]] = field(default_factory=list)
    healed: list[int] = field(default_factory=list)
    error: str = ""
    lost: bool = False


class Applier:
    """Carries out the actions of one plan.

    Args:
        clock: now, as an aware datetime.
        sleep: waits between two looks after an unclear create, in seconds.
        job_ids: job ids of live modules, for references to them.
        stopped: asked before each module; once true, modules that were not begun are left as they are.
    """

    def __init__(
        self,
        workspace: Workspace,
        control_table: TableName,
        records: JobRecords,
        queries: QueryRecords,
        events: Events,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
        job_ids: Mapping[str, int] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._workspace = workspace
        self._control_table = control_table
        self._records = records
        self._queries = queries
        self._events = events
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._job_ids = dict(job_ids or {})
        self._stopped = stopped

    def run(self, actions: Sequence[Action], progress: Progress | None = None) -> Outcome:
        """Carry out the work of these actions; those without work are done already."""
        outcome = Outcome()
        working = [action for action in actions if action.work is not None]
        new = {action.module: action.job_name for action in working if action.work.before is None}
        if new:
            self._records.insert(new)
        for batch in _batches(working):
            if self._stopped():
                left = {a.module: ActionResult(a, a.job_id, error=STOPPED) for a in batch}
                outcome.results.update(left)
            else:
                self._batch(batch, outcome, progress)
        return outcome

    def _batch(self, batch: Sequence[Action], outcome: Outcome, progress: Progress | None) -> None:
        hold = Hold(self._records, self._settings["claim_seconds"], self._clock)
        seen = {a.work.before.claim for a in batch if a.work.before is not None and a.work.before.claim}
        held = hold.take([action.module for action in batch], seen)
        done: list[_Done] = []
        try:
            sound = [a for a in batch if a.module in held and _unmoved(a.work, held[a.module])]
            existing = self._existing(sound)
            mine = [action for action in sound if action.module not in existing]
            with closing(self._carry_out_all(mine, hold, done)) as outcomes:
                for one in outcomes:
                    self._report(one, outcome, progress)
        finally:  # whatever ended it: what was done is recorded, the rest is free for others
            self._keep(done, hold)
            hold.release(set(held) - {one.action.module for one in done})
        outcome.contested |= {action.module for action in batch} - set(outcome.results)
        self._events.append([event for one in done for event in self._told(one)])

    def _keep(self, done: Sequence[_Done], hold: Hold) -> None:
        made = [record for one in done for record in one.queries]
        forgotten = [key for one in done for key in one.forgotten]
        if made:
            self._queries.save(made)
        if forgotten:
            self._queries.forget(forgotten)
        hold.save([one.record for one in done])

    def _report(self, done: _Done, outcome: Outcome, progress: Progress | None) -> None:
        if done.job_id is not None and not done.error:
            self._job_ids[done.action.module] = done.job_id
        result = ActionResult(done.action, done.job_id, done.run_id, done.error)
        outcome.results[done.action.module] = result
        if progress is not None:
            progress(result)

    def _existing(self, actions: Iterable[Action]) -> set[str]:
        """Modules whose job is to be created, but is there: made by a writer that died, or just now."""
        sought = {
            action.module: Sought(
                names=tuple(
                    {action.job_name, action.work.before.job_name or action.job_name}
                    if action.work.before
                    else {action.job_name}
                )
            )
            for action in actions
            if action.kind == "create"
        }
        seen, _ = observe_jobs(
            self._workspace,
            self._control_table,
            sought,
            everything=False,
            parallel=self._settings["parallel_calls"],
        )
        return {module for module, one in seen.items() if one.job is not None}

    def _carry_out_all(
        self, actions: Sequence[Action], hold: Hold, done: list[_Done]
    ) -> Generator[_Done, None, None]:
        """Each action's outcome as it comes; meanwhile the claim is kept from running out.

        Args:
            done: gets what was done, whatever ends this; modules whose claim was lost are not in it.
        """
        ended: queue.SimpleQueue[Future[_Done]] = queue.SimpleQueue()
        waiting = {action.module for action in actions}
        bugs: list[BaseException] = []
        with ThreadPoolExecutor(max_workers=self._settings["parallel_calls"]) as pool:
            by_future = {pool.submit(self._carry_out, action, hold): action.module for action in actions}
            for future in by_future:
                future.add_done_callback(ended.put)
            try:
                while waiting:
                    came = _next(ended, hold.interval)
                    if came is not None:
                        waiting.discard(by_future[came])
                        error = came.exception()
                        if error is not None:
                            bugs.append(error)
                        elif not came.result().lost:
                            done.append(came.result())
                            yield done[-1]
                    hold.renew(waiting)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                left = [one for one, module in by_future.items() if module in waiting and not one.cancelled()]
                done += [one.result() for one in left if one.exception() is None and not one.result().lost]
        if bugs:  # an error that is none of ours ends the pass, once the other modules had their turn
            raise bugs[0]

    def _carry_out(self, action: Action, hold: Hold) -> _Done:
        work: Work = action.work
        done = _Done(action, work.record, job_id=work.job_id if not work.delete else None)
        if self._stopped():
            done.record, done.error = work.before or JobRecord(action.module), STOPPED
            return done
        if not hold.lasts(action.module, SHARE_LEFT):
            done.lost = True
            return done
        if not work.touches_workspace:
            done.record = replace(work.record, applied=self._applied(work, {}) or work.record.applied)
            return done
        try:
            self._workspace_calls(action, work, done, hold)
        except WorkspaceError as error:
            done.error = str(error)
            former = work.before or JobRecord(action.module)
            done.record = replace(
                former,
                job_id=done.job_id or former.job_id,
                job_name=action.job_name,
                status="failed",
                error=done.error,
            )
        return done

    def _workspace_calls(self, action: Action, work: Work, done: _Done, hold: Hold) -> None:
        jobs, permissions = self._workspace.jobs, self._workspace.permissions
        query_ids = self._write_queries(action.module, work, done)
        if work.delete:
            assert work.job_id is not None
            jobs.delete(work.job_id)
            done.record = work.record
        else:
            settings = resolve(work.settings, queries=query_ids, jobs=self._job_ids)
            missing = sorted(unresolved(settings))
            if missing:
                raise WorkspaceError(
                    f"{missing[0]} has no job yet, because that module failed or was refused"
                )
            if settings is not None and work.job_id is None:
                created = create_job(
                    self._workspace,
                    self._control_table,
                    action.module,
                    settings,
                    self._sleep,
                    held=lambda: hold.lasts(action.module),
                )
                done.job_id, done.healed = created.job_id, list(created.healed)
            elif settings is not None:
                assert work.job_id is not None
                jobs.reset(work.job_id, settings)
            if work.permissions is not None:
                permissions.set("jobs", str(done.job_id), work.permissions)
            now = self._clock()
            done.record = replace(
                work.record,
                job_id=done.job_id,
                applied=self._applied(work, query_ids) or work.record.applied,
                applied_at=now,
            )
        for row in work.dropped_queries:
            if row.query_id:
                self._workspace.queries.delete(row.query_id)
            done.forgotten.append((row.module_name, row.source_id))
        if work.start_run and done.job_id is not None:
            token = digest(
                [
                    self._control_table.quoted,
                    action.module,
                    done.job_id,
                    work.record.spec_hash,
                    work.record.rows_hash,
                ]
            )
            done.run_id = jobs.run_now(done.job_id, idempotency_token=token, only=work.run_only)

    def _applied(self, work: Work, query_ids: Mapping[str, str]) -> JsonObject | None:
        """What the record keeps as written last: the metadata's settings with every id in place."""
        if work.applied is None:
            return None
        entries = work.permissions
        if entries is None and work.record.applied:
            entries = work.record.applied.get("permissions")
        return {
            "settings": resolve(work.applied, queries=query_ids, jobs=self._job_ids),
            "permissions": None if entries is None else list(entries),
        }

    def _write_queries(self, module: str, work: Work, done: _Done) -> dict[str, str]:
        ids: dict[str, str] = {}
        for query in work.queries:
            query_id = query.query_id
            if not query_id:
                query_id = create_query(self._workspace, query.settings, self._sleep)
            elif query.write:
                self._workspace.queries.update(query_id, query.settings)
            ids[query.source_id] = query_id
            applied: JsonObject = {"settings": query.settings, "permissions": None}
            done.queries.append(
                QueryRecord(
                    module,
                    query.source_id,
                    query_id,
                    digest(query.settings, 32),
                    applied,
                    "active",
                    self._clock(),
                )
            )
            if query.permissions is not None:
                self._workspace.permissions.set("queries", query_id, query.permissions)
                done.queries[-1] = replace(
                    done.queries[-1], applied={**applied, "permissions": list(query.permissions)}
                )
        return ids

    def _told(self, done: _Done) -> Iterator[Event]:
        action, now = done.action, self._clock()
        changes = [{**change.as_json(), "drift": change.drift} for change in action.changes]
        if done.error == STOPPED:
            return
        if done.error:
            yield Event("failed", now, action.module, done.job_id, done.error, {"action": action.kind})
        elif action.work.delete:
            yield Event("deleted", now, action.module, action.job_id, "; ".join(action.reasons))
        elif action.kind in _DONE:
            yield Event(
                _DONE[action.kind],
                now,
                action.module,
                done.job_id,
                "; ".join(action.reasons),
                {"changes": changes},
            )
        for job_id in done.healed:
            yield Event(
                "healed", now, action.module, job_id, "deleted a duplicate that our own create had made"
            )
        if done.run_id is not None:
            yield Event(
                "run_started", now, action.module, done.job_id, "run_on_change", {"run_id": done.run_id}
            )


def _next(ended: queue.SimpleQueue[Future[_Done]], seconds: float) -> Future[_Done] | None:
    try:
        return ended.get(timeout=seconds)
    except queue.Empty:
        return None


def _unmoved(work: Work, held: JobRecord) -> bool:
    """Whether the record is still what the decision rests on; a failed try of another writer moves it too."""
    before = work.before or JobRecord(held.module_name)
    return all(
        getattr(before, name) == getattr(held, name)
        for name in ("job_id", "spec_hash", "rows_hash", "status", "error", "applied_at")
    )


def _batches(actions: Sequence[Action]) -> Iterator[list[Action]]:
    """At most BATCH actions (or a tenth of many) at a time; a module comes in a later batch than those it refers to."""
    waiting = {action.module: action for action in actions}
    size = max(BATCH, -(-len(waiting) // BATCHES))
    while waiting:
        ready = [
            action
            for action in waiting.values()
            if not any(module in waiting and module != action.module for module in action.work.requires)
        ] or list(waiting.values())  # a cycle: each fails with its own reason
        for start in range(0, len(ready), size):
            yield ready[start : start + size]
        for action in ready:
            del waiting[action.module]
