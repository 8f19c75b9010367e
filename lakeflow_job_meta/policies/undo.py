"""Undo: every file of a run is brought back where it was, byte for byte, from where the log says that its bytes are.

Nothing is overwritten: where another file is by now, it stays, and so does the archived one. What a run put into its
target is removed only after every original that it stands for was seen in its place again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.errors import UsageError, VolumeError
from lakeflow_job_meta.policies.execution import BATCH, Step, batches, each, sweep
from lakeflow_job_meta.policies.files import Stays, copy, remove_stub, stub_text
from lakeflow_job_meta.policies.plan import Item, run_folder
from lakeflow_job_meta.policies.remediate import SHOWN, RemediationSession, schema_of
from lakeflow_job_meta.policies.remediation_lock import RemediationLock
from lakeflow_job_meta.policies.remediation_records import (
    DONE,
    RUN_EXECUTE,
    RUN_UNDO,
    RUN_UNDO_DONE,
    SKIPPED,
    UNDO_BEGIN,
    UNDO_FAILED,
    UNDONE,
    Entry,
    RemediationRecords,
    RunRecord,
)
from lakeflow_job_meta.ports import file_sha256

JsonObject = dict[str, Any]


def undo(session: RemediationSession, run_id: str, schema: tuple[str, str] | None = None) -> JsonObject:
    """Bring back what a run has archived, quarantined, moved or deleted; a run that died can be undone, too.

    Args:
        schema: of the tables; None: as the run's name says.

    Returns:
        `run`, `planned` (files to bring back), `done`, `skipped` (were never touched), `errors`, and more.

    Raises:
        UsageError: there is no such run, or it was a dry run.
        TaskError: another process is touching files.
        TablesError: tables cannot be read or written; undo again.
    """
    records = session.records(schema or schema_of(run_id))
    run = records.run(run_id)
    if run is None:
        raise UsageError(f"there is no run {run_id!r} in {records.log.name}: correct the name of the run")
    if RUN_EXECUTE not in run.steps:
        raise UsageError(f"run {run_id} was a dry run: there is nothing to undo")
    with RemediationLock(session.tables, records.lock, run_id, session.clock) as lock:
        if RUN_UNDO not in run.steps:
            records.log_run(run_id, RUN_UNDO, run.rules, {})
        return _Undo(session, records, run, lock).go()


@dataclass
class _Undo:
    session: RemediationSession
    records: RemediationRecords
    run: RunRecord
    lock: RemediationLock
    counts: Counter[str] = field(default_factory=Counter)
    reasons: list[JsonObject] = field(default_factory=list)
    notes: list[JsonObject] = field(default_factory=list)

    def go(self) -> JsonObject:
        touched = (entry for entry in self.records.entries(self.run.run_id) if entry.state)
        for batch in batches(touched, BATCH):
            self._batch(batch)
        if self.run.rules.target:
            self._clear()
        summary = {
            "run": self.run.run_id,
            "policy": self.run.rules.policy,
            "action": self.run.rules.action,
            "planned": self.counts["planned"],
            "done": self.counts["done"],
            "skipped": self.counts["skipped"],
            "errors": self.counts["errors"],
            "reasons": self.reasons,
            "notes": self.notes,
        }
        if not self.counts["errors"]:
            counts = {name: self.counts[name] for name in ("planned", "done", "skipped")}
            self.records.log_run(self.run.run_id, RUN_UNDO_DONE, self.run.rules, counts)
        return summary

    # ------------------------------------------------------------ bringing back

    def _batch(self, batch: Sequence[Entry]) -> None:
        todo = [entry for entry in batch if entry.state != UNDONE]
        done = len(batch) - len(todo)
        self.counts["planned"] += done
        self.counts["done"] += done
        self._write([(entry.item, UNDO_BEGIN, {}) for entry in todo if entry.state != UNDO_BEGIN])
        died = [entry.item for entry in todo if entry.state not in {DONE, SKIPPED}]
        if died:
            sweep(self.session.volumes, (), died)
        untouched = [entry.item for entry in todo if not entry.ready]
        self.counts["skipped"] += len(untouched)
        touched = [entry for entry in todo if entry.ready]
        self.counts["planned"] += len(touched)
        steps = each(self._one, touched, self.lock, self.session.workers)
        for item, step, more in steps:
            self._count(item, step, more["reason"] or "")
        self._write([*((item, UNDONE, {}) for item in untouched), *steps])

    def _count(self, item: Item, step: str, said: str) -> None:
        if step == UNDO_FAILED:
            self.counts["errors"] += 1
            if len(self.reasons) < SHOWN:
                self.reasons.append({"path": item.path, "state": step, "reason": said})
            self.session.log("not undone", path=item.path, reason=said)
            return
        self.counts["done"] += 1
        if said and len(self.notes) < SHOWN:
            self.notes.append({"path": item.path, "note": said})
        self.session.log("undone", path=item.path)

    def _one(self, entry: Entry) -> Step:
        self.lock.check()
        try:
            return entry.item, UNDONE, {"reason": self._restore(entry) or None}
        except (VolumeError, Stays) as error:
            return entry.item, UNDO_FAILED, {"reason": str(error)}

    def _restore(self, entry: Entry) -> str:
        """Bring one file back; what else is to be said. Raises Stays, VolumeError."""
        item, volumes = entry.item, self.session.volumes
        there = volumes.inspect(item.path, item.root)
        if there is not None and there.size == 0 and not there.exact and entry.state == UNDO_BEGIN:
            # On a mounted volume, which has no hard links, an empty file takes the name first; who did so died.
            volumes.delete_unchanged(there)
            there = None
        if there is not None and (there.size != item.size or file_sha256(volumes, item.path) != item.sha256):
            if not entry.removed and entry.reason:
                return "it was changed before it could be removed, and is left as it is"
            raise Stays(f"another file is at {item.path} now; the one that was there is {self._where(item)}")
        note = ""
        if there is None:
            source = self._source(item)
            copy(volumes, source, item.path, item.sha256)
        if there is None or entry.state in {UNDO_BEGIN, UNDO_FAILED}:
            if not volumes.set_facts(item.path, modified_ns=entry.modified_ns, mode=entry.mode):
                note = "its modification time is new: this platform cannot set it"
        if item.stub:
            text = stub_text(item, self.run.run_id, self.run.rules.stub_message)
            note = remove_stub(volumes, item.stub, text) or note
        return note

    def _source(self, item: Item) -> str:
        """A file that has the bytes. Raises VolumeError when none has."""
        volumes = self.session.volumes
        for path in (item.target, item.keeper):
            if path:
                file = volumes.inspect(path)
                if file is not None and file.size == item.size and file_sha256(volumes, path) == item.sha256:
                    return path
        if not item.target and not item.keeper:
            raise VolumeError(f"{item.path} was deleted for good: no copy was kept")
        raise VolumeError(f"{item.path} cannot be brought back: its bytes are no longer {self._where(item)}")

    def _where(self, item: Item) -> str:
        return f"at {item.target or item.keeper}" if item.target or item.keeper else "anywhere"

    # ------------------------------------------------------------ clearing the target

    def _clear(self) -> None:
        """Remove what the run put into its target and is not needed any more."""
        needed: set[str] = set()
        targets: dict[str, Item] = {}
        for entry in self.records.entries(self.run.run_id):
            item = entry.item
            if not item.target or not entry.state:
                continue
            targets[item.target] = item
            if entry.state != UNDONE or not self._is_back(entry):
                needed.add(item.target)
        spare = [item for target, item in sorted(targets.items()) if target not in needed]
        for start in range(0, len(spare), BATCH):
            each(self._clear_target, spare[start : start + BATCH], self.lock, self.session.workers)
        if not needed:
            self._clear_folder()

    def _clear_target(self, item: Item) -> None:
        self.lock.check()
        volumes = self.session.volumes
        try:
            file = volumes.inspect(item.target)
            if file is not None and file_sha256(volumes, item.target) == item.sha256:
                volumes.delete_unchanged(file)
        except VolumeError as error:
            self.notes.append({"path": item.target, "note": str(error)})

    def _is_back(self, entry: Entry) -> bool:
        """Whether the original is in its place, or never left it."""
        item = entry.item
        try:
            there = self.session.volumes.inspect(item.path, item.root)
        except VolumeError:
            return False
        return there is not None and (there.size == item.size or not entry.removed)

    def _clear_folder(self) -> None:
        """Remove the run's own folder, if nothing but its manifests and what a dead copy left is in it."""
        volumes, folder = self.session.volumes, run_folder(self.run.rules, self.run.run_id)
        try:
            left = [file.path for file in volumes.list(folder)]
        except VolumeError:
            return  # it is gone
        names = [path.removeprefix(f"{folder}/") for path in left]
        if all(_is_ours(name) for name in names):
            try:
                volumes.delete_folder(folder)
            except VolumeError as error:
                self.notes.append({"path": folder, "note": str(error)})

    def _write(self, steps: Sequence[Step]) -> None:
        self.records.write(self.run.run_id, self.run.rules, steps)


def _is_ours(name: str) -> bool:
    leaf = name.rpartition("/")[2]
    return (name.startswith("manifest-") and name.endswith(".jsonl")) or (
        leaf.startswith(".") and leaf.endswith(".new")
    )
