"""Execution: what a plan says is done to the files, so that whatever moment a process dies at, nothing is lost.

The plan is gone through in batches, and each batch through the same steps:

1. `begin` is logged for every file of the batch;
2. each file is read: a copy of just the planned content appears in the target, under a name that was free, and is on
   disk; then the file is looked at again;
3. the batch's manifest is written to the target, and `ready` is logged: until here no original was touched;
4. each original is removed if copy and keeper are in place and it is still what was copied; a stub takes its place;
5. `done` is logged.

A run that died is taken up where its log and the files say it was.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.names import canonical_json, digest
from lakeflow_job_meta.policies import plan
from lakeflow_job_meta.policies.files import Handling, Stays, leave_stub, stub_text
from lakeflow_job_meta.policies.plan import Item
from lakeflow_job_meta.policies.remediation_lock import RENEW, RemediationLock
from lakeflow_job_meta.policies.remediation_records import (
    BEGIN,
    DONE,
    FAILED,
    READY,
    SKIPPED,
    Entry,
    RemediationRecords,
    RunRecord,
    ready_columns,
)
from lakeflow_job_meta.policies.survey import Holds
from lakeflow_job_meta.ports import FileState, Volumes

if TYPE_CHECKING:
    from lakeflow_job_meta.policies.remediate import RemediationSession

JsonObject = dict[str, Any]
#: A file, a step of it, and further columns of the log.
Step = tuple[Item, str, JsonObject]
T = TypeVar("T")
R = TypeVar("R")
#: Files between two commits of the log.
BATCH = 100


@dataclass
class Execution:
    """One run under way.

    Args:
        lock: is held; it is renewed before each file.
        holds: asked again for each batch: a file may be on hold since it was planned.
        standing: the violations that are open now, and whether their rows are on hold.
    """

    session: RemediationSession
    records: RemediationRecords
    run: RunRecord
    lock: RemediationLock
    holds: Holds
    standing: Mapping[str, bool]
    handling: Handling = field(init=False)

    def __post_init__(self) -> None:
        self.handling = Handling(self.session.volumes)

    def go(self) -> None:
        """Every file that is not at its end yet, batch by batch."""
        open_entries = (
            entry
            for entry in self.records.entries(self.run.run_id)
            if entry.state in {"", BEGIN, FAILED, READY}
        )
        for batch in batches(open_entries, BATCH):
            self._batch(batch)

    def _batch(self, batch: Sequence[Entry]) -> None:
        self.handling.seen.clear()
        died = [entry.item for entry in batch if entry.state]
        if died:
            sweep(self.session.volumes, self._folders(), died)
        self._write([(entry.item, BEGIN, {}) for entry in batch if not entry.ready])
        held = self.holds.of([entry.item.given_path for entry in batch])
        again: list[Item] = []
        new: list[Entry] = []
        stays: list[Step] = []
        for entry in batch:
            item = entry.item
            why = self._stays(item, held)
            if why and not (entry.ready and self._is_gone(item)):
                stays.append((item, SKIPPED, self._told(item, why)))
            elif entry.ready:
                again.append(item)
            else:
                new.append(entry)
        fresh: list[tuple[Item, FileState]] = []
        for entry, found in zip(new, self._each(self._prepare, new), strict=True):
            if isinstance(found, FileState):
                fresh.append((entry.item, found))
            else:
                stays.append(found)
        fresh = self._manifest(fresh, stays)
        self._write([*stays, *((item, READY, ready_columns(item, file)) for item, file in fresh)])
        ready: list[tuple[Item, FileState | None]] = [*fresh, *((item, None) for item in again)]
        self._write(self._each(self._remove, ready))

    def _each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return each(work, items, self.lock, self.session.workers)

    def _folders(self) -> set[str]:
        """The run's own folder, where there is one."""
        rules = self.run.rules
        return {plan.run_folder(rules, self.run.run_id)} if rules.target else set()

    def _stays(self, item: Item, held: Collection[str]) -> str:
        """Why the file is not to be touched any more; empty when it is."""
        if item.given_path in held or self.standing.get(item.key):
            return "legal hold, set since it was planned"
        return "" if item.key in self.standing else "its violation was resolved since it was planned"

    def _is_gone(self, item: Item) -> bool:
        """Whether a process that died has removed the file already."""
        try:
            return self.session.volumes.inspect(item.path, item.root) is None
        except VolumeError:
            return False

    def _prepare(self, entry: Entry) -> FileState | Step:
        self.lock.check()
        item = entry.item
        try:
            return self.handling.prepare(item, again=bool(entry.state))
        except Stays as reason:
            return item, SKIPPED, self._told(item, str(reason))
        except VolumeError as error:
            return item, FAILED, self._told(item, str(error))

    def _manifest(
        self, fresh: list[tuple[Item, FileState]], stays: list[Step]
    ) -> list[tuple[Item, FileState]]:
        """Write down in the target where each file of the batch comes from; without it none of them is removed."""
        if not fresh or not self.run.rules.target:
            return fresh
        lines = "".join(canonical_json(_manifest_line(self.run.run_id, *one)) + "\n" for one in fresh)
        data = lines.encode("utf-8", "surrogateescape")
        sha256 = digest(data)
        [folder] = self._folders()
        path = f"{folder}/manifest-{fresh[0][0].seq:08d}-{sha256[:12]}.jsonl"
        try:
            self.session.volumes.create(path, io.BytesIO(data), sha256)
            return fresh
        except VolumeError as error:
            stays += [(item, FAILED, self._told(item, str(error))) for item, _ in fresh]
            return []

    def _remove(self, one: tuple[Item, FileState | None]) -> Step:
        self.lock.check()
        item, file = one
        try:
            self.handling.remove(item, file)
        except Stays as reason:
            return item, SKIPPED, self._told(item, str(reason))
        except VolumeError as error:
            return item, FAILED, self._told(item, str(error))
        left: JsonObject = {"target": item.target or None}
        if item.stub:
            text = stub_text(item, self.run.run_id, self.run.rules.stub_message)
            why_not = leave_stub(self.session.volumes, item, text)
            left |= {"reason": why_not} if why_not else {"stub": item.stub}
        self.session.log("done", path=item.path, action=item.action, target=item.target)
        return item, DONE, left

    def _told(self, item: Item, reason: str) -> JsonObject:
        self.session.log("stays", path=item.path, reason=reason)
        return {"reason": reason}

    def _write(self, steps: Sequence[Step]) -> None:
        self.records.write(self.run.run_id, self.run.rules, steps)


def _manifest_line(run_id: str, item: Item, file: FileState) -> JsonObject:
    return {
        "run": run_id,
        "path": item.path,
        "action": item.action,
        "content_sha256": item.sha256,
        "size": file.size,
        "modified_ns": file.modified_ns,
        "mode": file.mode,
        "target": item.target,
        "keeper": item.keeper or None,
        "violation_key": item.key,
    }


def each(work: Callable[[T], R], items: Sequence[T], lock: RemediationLock, workers: int) -> list[R]:
    """The work done on every item, several at a time, in order of the items; the lock is renewed meanwhile.

    Raises:
        what the work raises, when the others under way have ended; TaskError: the lock was lost.
    """
    if not items:
        return []
    lock.hold()
    with ThreadPoolExecutor(min(workers, len(items)), "remediation") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            pending = set(futures)
            while pending:
                done, pending = wait(pending, RENEW.total_seconds() / 2, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                lock.hold()
        finally:
            for future in futures:
                future.cancel()  # those that ended are not touched by it
        return [future.result() for future in futures]


def sweep(volumes: Volumes, folders: Iterable[str], items: Iterable[Item]) -> None:
    """Remove what a process that died in the middle of a copy has left beside the files, their stubs and copies."""
    places = {path for item in items for path in (item.path, item.target) if path}
    for folder in sorted({*folders, *map(posixpath.dirname, places)}):
        try:
            volumes.remove_partials(folder)
        except VolumeError:
            continue  # a folder that is not there, or not to be listed: the file itself will tell


def batches(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    """The entries, some at a time."""
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
