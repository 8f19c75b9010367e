"""Loading, decided: which rows a set of metadata files writes, and which file owns what then.

Pure. Files own rows (DESIGN 2): a file's record keeps a hash of every row as the file had it, so
only rows that changed *in the file* are written and a direct SQL edit stands until then. A module
belongs to one file; vanished files release theirs before conflicts are judged.

Words: a file *claims* the modules that it names, valid or not; it *holds* those in its record's
`keys`. A module is *accepted* from a file when exactly one file claims it and nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from lakeflow_job_meta.control.records import FileRecord
from lakeflow_job_meta.errors import Place, Problem
from lakeflow_job_meta.metadata.rows import JOB_ROW, Row
from lakeflow_job_meta.ports import FileInfo

if TYPE_CHECKING:
    from lakeflow_job_meta.metadata.files import MetadataFile

Key = tuple[str, str]
Hashes = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Load:
    """What a load does: pure data, nothing is written yet.

    Args:
        write: rows that are new, changed or deactivated, by key.
        records: file records that change.
        problems: everything that was rejected, each with its place.
        notes: what people should know, no errors: the brake held.
        unsettled: a file could not be read: the next look must not take the same listing for done.
        variables: the values for `${var.NAME}` that the files were read with.
        current: the control table's rows that were read for it.
    """

    write: tuple[Row, ...] = ()
    records: tuple[FileRecord, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    unsettled: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    current: Sequence[Row] = field(default=(), repr=False)

    @property
    def changed(self) -> int:
        """Number of rows that are written."""
        return len(self.write)

    @property
    def modules(self) -> frozenset[str]:
        """The modules whose rows are written."""
        return frozenset(row.module_name or "" for row in self.write)


def below(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies under it."""
    folder = folder.rstrip("/")
    return path == folder or path.startswith(folder + "/")


def vanished(
    records: Mapping[str, FileRecord], listed: Collection[str] | None, folder: str, *, force: bool = False
) -> frozenset[str]:
    """Paths of files that left the volume.

    The brake: an empty listing retires nothing, and neither does the last file's leaving, unless
    forced. Files loaded by hand and files outside `folder` never count.
    """
    if listed is None or (not listed and not force):
        return frozenset()
    there = frozenset(listed)
    return frozenset(
        record.path
        for record in records.values()
        if record.status != "vanished"
        and not record.hand
        and record.path not in there
        and below(record.path, folder)
    )


def pending(
    files: Iterable[MetadataFile],
    records: Mapping[str, FileRecord],
    listed: Collection[str],
    gone: Collection[str],
) -> frozenset[str]:
    """Listed files that have to be read too, though their bytes did not change.

    Those that hold a module which a changed file claims (to name both places), and, when anything
    changed, those with refused modules (the reason may have gone).
    """
    read = {file.path: file for file in files}
    if not read and not gone:
        return frozenset()
    claimed = {module for file in read.values() for module in file.modules}
    there = frozenset(listed)
    return frozenset(
        record.path
        for record in records.values()
        if record.path in there
        and record.path not in read
        and (record.status == "partial" or not claimed.isdisjoint(record.keys))
    )


def decide(
    files: Sequence[MetadataFile],
    records: Mapping[str, FileRecord],
    current: Sequence[Row],
    *,
    listed: Collection[str] | None,
    hand: bool,
    take_over: bool,
    now: datetime,
    folder: str = "",
    infos: Mapping[str, FileInfo] | None = None,
    context_hash: str = "",
    force: bool = False,
    lost: bool = False,
) -> Load:
    """Which rows and file records a load writes.

    Args:
        files: the files that were read, changed ones and those of `pending`.
        records: the workspace's file records by path, all of them.
        current: the control table's rows; at least those of all modules that are claimed or held.
        listed: every path that the volume has now; None when no volume was listed (hand loads).
        hand: loaded by hand: takes modules over from earlier hand loads.
        take_over: and from a volume's files too.
        now: time of the load, for the records.
        folder: the folder that was listed; only files below it can vanish.
        infos: size and modification time by path.
        context_hash: of the variables in force.
        force: lets an empty listing retire what was in it.
        lost: the control table lost its rows: those that are missing are written again, as a load
            by hand does.
    """
    gone = vanished(records, listed, folder, force=force)
    decision = _Decision(
        files, records, current, hand=hand, take_over=take_over, restore=hand or lost, gone=gone
    )
    load = decision.load(now, infos or {}, context_hash)
    if listed is not None and not listed and not force:
        left = vanished(records, ["/"], folder)
        if left:
            note = (
                f"{folder} holds no metadata file any more, {len(left)} left it: nothing is retired. Say "
                "`modules: []` in a file, or use --force"
            )
            return replace(load, notes=(note,))
    return load


def overlay(rows: Sequence[Row], load: Load) -> list[Row]:
    """The control table's rows as they would be after the load."""
    written = {row.key: row for row in load.write}
    there = {row.key for row in rows}
    kept = [written.get(row.key, row) for row in rows]
    return sorted(
        [*kept, *(row for key, row in written.items() if key not in there)], key=lambda row: row.key
    )


class _Decision:
    """One decision under way: the claims of this load, what is held, and what comes of it."""

    def __init__(
        self,
        files: Sequence[MetadataFile],
        records: Mapping[str, FileRecord],
        current: Sequence[Row],
        *,
        hand: bool,
        take_over: bool,
        restore: bool,
        gone: frozenset[str],
    ) -> None:
        self.files = {file.path: file for file in files}
        self.rows: dict[str, dict[str, dict[str, Row]]] = {path: {} for path in self.files}
        for file in files:
            for row in file.rows:
                module, source = row.key
                self.rows[file.path].setdefault(module, {})[source] = row
        self.records = {path: record for path, record in records.items() if record.status != "vanished"}
        self.gone = gone
        self.hand = hand
        self.take_over = take_over
        self.restore = restore
        self.current: dict[Key, Row] = {}
        for row in current:
            self.current.setdefault(row.key, row)
        self.write: dict[Key, Row] = {}
        self.problems: list[Problem] = [problem for file in files for problem in file.problems]
        self.refused: dict[str, set[str]] = {file.path: set(file.refused) for file in files}
        self.keys: dict[str, dict[str, Hashes]] = {path: {} for path in self.files}
        self.untouched: dict[str, FileRecord] = {}  # records of files that were not read, and change
        self.claims = self._claims()
        self.holders: dict[str, list[FileRecord]] = {}
        for record in self.records.values():
            for module in record.keys:
                self.holders.setdefault(module, []).append(record)

    def load(self, now: datetime, infos: Mapping[str, FileInfo], context_hash: str) -> Load:
        for module in sorted({*self.claims, *self.holders}):
            self._judge(module, self.claims.get(module, []), self.holders.get(module, []))
        changed = [
            self._record(file, infos.get(path), context_hash, now) for path, file in self.files.items()
        ]
        changed += [
            replace(self.records[path], status="vanished", keys={}, errors=(), loaded_at=now)
            for path in self.gone
        ]
        changed += self.untouched.values()
        write = tuple(self.write[key] for key in sorted(self.write))
        records = tuple(
            record for record in sorted(changed, key=lambda record: record.path) if self._moved(record)
        )
        return Load(write, records, tuple(self.problems))

    def _claims(self) -> dict[str, list[str]]:
        """Who claims each module in this judgement: files read now, then volume files as recorded."""
        claims: dict[str, list[str]] = {}
        for path, file in self.files.items():
            modules: Iterable[str] = file.modules
            if (file.rejected or file.incomplete) and path in self.records:
                modules = [*modules, *self.records[path].keys]
            for module in dict.fromkeys(modules):
                claims.setdefault(module, []).append(path)
        if not self.hand:
            for record in self.records.values():
                if record.path not in self.files and record.path not in self.gone and not record.hand:
                    for module in record.keys:
                        claims.setdefault(module, []).append(record.path)
        return claims

    def _judge(self, module: str, claimants: list[str], holders: list[FileRecord]) -> None:
        read = [path for path in claimants if path in self.files]
        if not read:
            if any(self._releases(record, module) for record in holders):
                self._release(module, holders)
            return
        if len(claimants) > 1:
            for path in read:
                others = [other for other in claimants if other != path]
                self._refuse(path, module, f'module "{module}" is also claimed by {self._places(others, module)}; '
                             "keep it in one file")  # fmt: skip
        path = read[0]
        if self.hand and len(claimants) == 1 and not self._own(path, module) and not self.take_over:
            volume = [record.path for record in holders if not record.hand and record.path != path]
            if volume:
                self._refuse(path, module, f'module "{module}" belongs to {", ".join(sorted(volume))}, a file of a '
                             "volume: edit it there, or add --take-over")  # fmt: skip
        for path in read:
            if self._unsound(self.files[path], module):
                self._keep(path, module, holders)
            else:
                self._accept(path, module, holders)

    def _accept(self, path: str, module: str, holders: list[FileRecord]) -> None:
        rows = self.rows[path].get(module, {})
        hashes = {source: row.hash for source, row in rows.items()}
        self.keys[path][module] = hashes
        own = self._own(path, module)
        by_hand = [record for record in holders if record.hand and record.path not in {path, *self.files}]
        if own and by_hand and not self.hand and hashes == own:
            return  # taken over by hand, and the volume's file did not move since: the hand's stands
        released = [record for record in holders if record.path != path and self._releases(record, module)]
        taken = []
        if self.hand and not own:
            taken = [
                record for record in holders if not record.hand and record.path not in {path, *self.files}
            ]
        base: dict[str, str] = {}
        former = sorted([*by_hand, *released, *taken], key=_age)
        if by_hand or not own:
            for record in former:
                base.update(record.keys[module])
        else:
            base.update(own)
        left = {*own, *(source for record in former for source in record.keys[module])} - set(rows)
        for source in left - {JOB_ROW}:
            self._deactivate(module, source)
        self._open_job_row(module, rows, left=JOB_ROW in left, new=not own)
        for source, row in rows.items():
            there = self.current.get(row.key)
            changed = base.get(source) != hashes[source] or (there is None and self.restore)
            if changed and there != row:
                self.write[row.key] = row
        for record in by_hand:
            self._drop(record, module)

    def _keep(self, path: str, module: str, holders: list[FileRecord]) -> None:
        """A refused module keeps the keys that it had: last good stays."""
        kept = dict(self._own(path, module))
        if not kept and not self.hand:
            # the file it moved here from is gone: its rows are this file's last good now
            for record in sorted(holders, key=_age):
                if record.path != path and self._releases(record, module):
                    kept.update(record.keys[module])
        if kept or not self.hand:
            self.keys[path][module] = kept

    def _release(self, module: str, holders: list[FileRecord]) -> None:
        """No file that was read claims the module any more."""
        losing = [record for record in holders if self._releases(record, module)]
        staying = [record for record in holders if record not in losing]
        kept = {source for record in staying for source in record.keys[module]}
        for record in losing:
            for source in record.keys[module]:
                if source not in kept:
                    self._deactivate(module, source)
        if self.hand:
            given_back = {source: mark for record in losing for source, mark in record.keys[module].items()}
            for record in staying:
                if not record.hand:
                    self._fall_back(record, module, given_back)

    def _fall_back(self, record: FileRecord, module: str, given_back: Hashes) -> None:
        """The module was taken over from this file of a volume and is its own again: have it read anew.

        Rows that are other in the table now lose their hash, so that they are written.
        """
        held = self.untouched.get(record.path, record)
        marks = {
            source: mark if given_back.get(source) == mark else ""
            for source, mark in record.keys[module].items()
        }
        keys = {**held.keys, module: marks}
        self.untouched[record.path] = replace(held, keys=keys, sha256="", modified_at=0)

    def _releases(self, record: FileRecord, module: str) -> bool:
        """Whether the file of this record gave the module up: it is gone, or names it no more."""
        if record.path in self.gone:
            return True
        file = self.files.get(record.path)
        if file is None or file.rejected or file.incomplete:
            return False
        return module not in file.modules

    def _unsound(self, file: MetadataFile, module: str) -> bool:
        """Whether nothing of the module can be taken from this file, or it may hold more than can be read."""
        return file.rejected or module in self.refused[file.path] or module not in file.modules

    def _own(self, path: str, module: str) -> Hashes:
        record = self.records.get(path)
        return record.keys.get(module, {}) if record else {}

    def _drop(self, record: FileRecord, module: str) -> None:
        """Another file has the module now; without a hash the file is read again when it is loaded again."""
        held = self.untouched.get(record.path, record)
        keys = {name: hashes for name, hashes in held.keys.items() if name != module}
        self.untouched[record.path] = replace(held, sha256="", keys=keys)

    def _open_job_row(self, module: str, rows: Mapping[str, Row], *, left: bool, new: bool) -> None:
        """A file that has the module, but no job settings, does not retire it.

        An inactive job row retires its module, so one that left its file is emptied instead, and so is
        an inactive one that a file left behind when it vanished, once a file has the module again.
        """
        row = self.current.get((module, JOB_ROW))
        if row is None or JOB_ROW in rows or not (left or (new and not row.active)):
            return
        emptied = replace(row, transformation_config="{}", is_active=True)
        if emptied != row:
            self.write[row.key] = emptied

    def _deactivate(self, module: str, source: str) -> None:
        row = self.current.get((module, source))
        if row is not None and row.active:
            self.write[row.key] = replace(row, is_active=False)

    def _refuse(self, path: str, module: str, message: str) -> None:
        self.refused[path].add(module)
        self.problems.append(Problem(message, self._place(path, module), module=module))

    def _place(self, path: str, module: str) -> Place:
        file = self.files.get(path)
        place = file.module_places.get(module) if file else None
        return place or Place(path)

    def _places(self, paths: Iterable[str], module: str) -> str:
        return ", ".join(str(self._place(path, module)) for path in sorted(paths))

    def _record(
        self, file: MetadataFile, info: FileInfo | None, context_hash: str, now: datetime
    ) -> FileRecord:
        before = self.records.get(file.path)
        problems = [problem for problem in self.problems if _path(problem) == file.path]
        status: Literal["loaded", "partial", "rejected"] = "loaded"
        if file.rejected:
            status = "rejected"
        elif self.refused[file.path] or problems:
            status = "partial"
        return FileRecord(
            path=file.path,
            sha256=file.sha256,
            size=info.size if info else 0,
            modified_at=info.modified_at if info else 0,
            status=status,
            context_hash=context_hash,
            errors=tuple(str(problem) for problem in problems),
            keys=self.keys[file.path],
            hand=self.hand and (before is None or before.hand),
            loaded_at=now,
        )

    def _moved(self, record: FileRecord) -> bool:
        before = self.records.get(record.path)
        return before is None or replace(before, loaded_at=record.loaded_at) != record


def _age(record: FileRecord) -> tuple[float, str]:
    return (record.loaded_at.timestamp() if record.loaded_at else 0.0, record.path)


def _path(problem: Problem) -> str:
    return problem.place.path if problem.place else ""
