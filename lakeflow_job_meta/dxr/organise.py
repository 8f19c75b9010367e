"""`dxr_organise`: lays the classified files out by label.

For each label its volume, with the mapping's tags and grants, and in it a copy of each file that has the label; or the
files' redacted text; or no files at all but a view a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.dxr import copies as ledger
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.dxr.copies import COPIED, COPY, FAILED, PLANNED, REDACTED, REMOVED, Copies, Copy
from lakeflow_job_meta.dxr.label_places import VIEW, VOLUME, Access, LabelPlaces, Place, apply
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.dxr.summary import Summary
from lakeflow_job_meta.errors import (
    DxrNotFound,
    DxrRefused,
    TaskError,
    VolumeError,
    WorkspaceError,
)
from lakeflow_job_meta.names import TableName

JsonObject = dict[str, Any]
#: Files of one look into the tables, and copies between two commits of the ledger.
PAGE = 2000
BATCH = 100


@dataclass(frozen=True)
class _File:
    """A source file, as the metadata table knows it."""

    path: str
    relative_path: str
    volume_path: str
    labels: tuple[str, ...]
    sha256: str
    file_id: str
    status: str
    gone: bool


def organise(session: DxrSession) -> tuple[Summary, JsonObject]:
    """Make the labels' places what the metadata table says.

    Returns:
        the counts (files), and `copied`, `copied_bytes`, `removed`, `volumes`, `files_by_label`, ...

    Raises:
        UsageError: a setting is wrong.
        TaskError: the metadata table is not there.
        TableMismatch: a table of ours has other columns.
        WorkspaceError, TablesError: as their names say; what was done is in the ledger.
    """
    if session.settings["organise_mode"] == "views":
        return _Views(session).run()
    return _Volumes(session).run()


class _Organise:
    """What both ways have in common."""

    def __init__(self, session: DxrSession, kind: str) -> None:
        settings = session.settings
        self.session = session
        self.dry_run = bool(settings["dry_run"])
        self.metadata: TableName = settings.metadata_table
        self.volume: str | None = settings.volume if settings["source_volume"] else None
        self.order = {label: index for index, label in enumerate(settings["label_order"])}
        self.dominant = settings["labels"] == "dominant"
        self.only = frozenset(settings["only_labels"])
        self.places = LabelPlaces(
            session.tables,
            TableName(self.metadata.catalog, self.metadata.schema, "dxr_labels"),
            kind,
            self._schema(),
            settings["label_volume_prefix"],
            session.clock,
        )
        self.summary = Summary(dry_run=self.dry_run)
        self.by_label: Counter[str] = Counter()

    def _schema(self) -> tuple[str, str]:
        given = self.session.settings["target_schema"]
        if given:
            name = TableName.parse(f"{given}.x")
            return (name.catalog, name.schema)
        if self.volume is not None:
            _, _, catalog, schema, _ = self.volume.split("/")
            return (catalog.lower(), schema.lower())
        return (self.metadata.catalog, self.metadata.schema)

    def _check(self) -> None:
        """Raises TaskError when the metadata table is not there, TableMismatch when it is another."""
        if not definitions.check(self.session.tables, definitions.metadata(self.metadata)):
            raise TaskError(
                f"there is no table {self.metadata}: dxr_collect makes it; run it first, or correct metadata_table"
            )

    def wanted(self, file: _File) -> list[str]:
        """The labels that the file goes to."""
        labels = list(dict.fromkeys(file.labels))
        if self.dominant and labels:
            far = len(self.order)
            labels = [min(labels, key=lambda label: self.order.get(label, far))]
        return [label for label in labels if not self.only or label in self.only]

    def pages(self) -> Iterator[tuple[str, list[_File]]]:
        """The files in order of their path, some at a time, each time with the path before them."""
        where = " AND `volume_path` = :volume" if self.volume is not None else ""
        sql = (
            "SELECT `file_path`, `relative_path`, `volume_path`, `labels`, `source_sha256`, `file_id`, `status`, "
            f"`source_deleted_at` FROM {self.metadata.quoted} WHERE `file_path` > :after{where} "
            f"ORDER BY `file_path` LIMIT {PAGE}"
        )
        after = ""
        while True:
            bound = {"after": after} | ({"volume": self.volume} if self.volume is not None else {})
            rows = self.session.tables.query(sql, bound)
            if rows:
                yield after, [_file(row) for row in rows]
                after = rows[-1]["file_path"]
            if len(rows) < PAGE:
                return

    def facts(self, **more: Any) -> JsonObject:
        return {"files_by_label": dict(sorted(self.by_label.items())), **more}


def _file(row: JsonObject) -> _File:
    return _File(
        row["file_path"],
        row["relative_path"] or "",
        row["volume_path"] or "",
        tuple(label for label in row["labels"] or () if label),
        row["source_sha256"] or "",
        row["file_id"] or "",
        row["status"] or "",
        row["source_deleted_at"] is not None,
    )


class _Volumes(_Organise):
    """A volume a label, with copies."""

    def __init__(self, session: DxrSession) -> None:
        super().__init__(session, VOLUME)
        settings = session.settings
        self.mode = REDACTED if settings["organise_mode"] == "redacted" else COPY
        self.redactor: int | None = settings.need("redactor_id") if self.mode == REDACTED else None
        self.access = Access.of(settings["label_tags"], settings["label_grants"])
        given = settings["copies_table"]
        table = TableName(self.metadata.catalog, self.metadata.schema, "dxr_copies")
        self.copies = Copies(
            session.tables, TableName.parse(given) if given else table, session.run_id, session.clock
        )
        self.ready: set[str] = set()
        self.refused: dict[str, str] = {}
        self.copied = self.copied_bytes = self.removed = self.access_changes = 0

    def run(self) -> tuple[Summary, JsonObject]:
        if not self.dry_run and self.mode == REDACTED:
            _ = self.session.client  # a missing token is told before anything is done
        self._check()
        definitions.check(self.session.tables, self.copies.definition)
        self.places.load()
        for after, files in self.pages():
            self._page(files, self.copies.between(after, files[-1].path))
        if not self.dry_run:
            self._set_access()
        volumes = sorted(str(self.places.place(label).name) for label in self.by_label)
        return self.summary, self.facts(
            copied=self.copied,
            copied_bytes=self.copied_bytes,
            removed=self.removed,
            access_changes=self.access_changes,
            volumes=volumes,
        )

    def _page(self, files: Sequence[_File], known: dict[tuple[str, str], Copy]) -> None:
        todo: list[tuple[_File, Copy]] = []
        away: list[Copy] = []
        by_file: dict[str, dict[str, Copy]] = {}
        for copy in known.values():
            by_file.setdefault(copy.file_path, {})[copy.label] = copy
        for file in files:
            self.summary.seen += 1
            mine = by_file.get(file.path, {})
            if file.status != "classified" and not file.gone:
                self.summary.skipped += 1  # what it is now is not known yet: its copies stay as they are
                continue
            labels = [] if file.gone else self.wanted(file)
            for label in labels:
                self.by_label[label] += 1
                wanted = self._wanted_copy(file, label, mine.get(label))
                if wanted is None:
                    continue
                there = mine.get(label)
                if there is not None and there.is_made(wanted):
                    self.summary.unchanged += 1
                else:
                    todo.append((file, wanted))
                    if (
                        there is not None
                        and there.target_path != wanted.target_path
                        and there.state == COPIED
                    ):
                        away.append(there)
            away += [
                copy
                for label, copy in mine.items()
                if label not in labels and copy.state != REMOVED and (not self.only or label in self.only)
            ]
        self.summary.new += len(todo)
        if self.dry_run:
            self.removed += len(away)
            return
        planned = [copy.target_path for copy in known.values() if copy.state == PLANNED]
        ledger.remove_partials(self.session.volumes, planned)
        for start in range(0, len(todo), BATCH):
            self._make(todo[start : start + BATCH])
        self._remove(away, {copy.key for _, copy in todo})

    def _wanted_copy(self, file: _File, label: str, there: Copy | None) -> Copy | None:
        place = self.places.place(label)
        name = file.relative_path + (".redacted.txt" if self.mode == REDACTED else "")
        try:
            target = ledger.place_in(place.path, name)
            if there is not None and there.target_path == ledger.place_in(
                place.path, name, apart=_apart(file.volume_path)
            ):
                target = there.target_path  # it was put apart before
        except VolumeError as error:
            self._fail(file.path, str(error))
            return None
        return Copy(
            file.path,
            label,
            target,
            mode=self.mode,
            redactor_id=self.redactor,
            source_sha256=file.sha256,
        )

    def _make(self, todo: Sequence[tuple[_File, Copy]]) -> None:
        """Plan, make and confirm a batch of copies."""
        batch: list[tuple[_File, Copy]] = []
        owners = self.copies.owners([copy.target_path for _, copy in todo])
        taken: dict[str, str] = {}
        for file, copy in todo:
            if not self._volume(copy.label):
                self._fail(file.path, self.refused[copy.label])
                continue
            owner = owners.get(copy.target_path) or taken.get(copy.target_path)
            placed = copy
            if owner is not None and owner != file.path:
                place = self.places.place(copy.label)
                name = copy.target_path.removeprefix(f"{place.path}/")
                apart = ledger.place_in(place.path, name, apart=_apart(file.volume_path))
                placed = replace(copy, target_path=apart)
            taken[placed.target_path] = file.path
            batch.append((file, placed))
        self.copies.save(copy for _, copy in batch)
        self.copies.save([self._one(file, copy) for file, copy in batch])

    def _one(self, file: _File, copy: Copy) -> Copy:
        """Make one copy; as it is then."""
        volumes = self.session.volumes
        try:
            if self.mode == COPY:
                sha256, size = ledger.make(volumes, copy)
            else:
                assert self.redactor is not None
                text = self.session.client.redacted_text(file.file_id, self.redactor)
                if not text:
                    self.summary.skipped += 1
                    reason = "Data X-Ray has no text of it: nothing to redact"
                    self.summary.note(file.path, "skipped", reason)
                    return replace(copy, state=FAILED, reason=reason)
                sha256, size = ledger.make_text(volumes, copy, text)
        except ledger.SourceChanged as error:
            self.summary.skipped += 1
            self.summary.note(file.path, "skipped", str(error))
            return replace(copy, state=FAILED, reason=str(error))
        except (VolumeError, DxrNotFound, DxrRefused) as error:
            self._fail(file.path, str(error))
            return replace(copy, state=FAILED, reason=str(error))
        self.copied += 1
        self.copied_bytes += size
        self.session.log("copied", path=file.path, label=copy.label, target=copy.target_path, bytes=size)
        return replace(copy, state=COPIED, copy_sha256=sha256, bytes=size)

    def _remove(self, away: Iterable[Copy], moved: Collection[tuple[str, str]]) -> None:
        """Delete copies that are not wanted any more.

        Args:
            moved: files and labels whose row in the ledger is by now that of a copy elsewhere.
        """
        done: list[Copy] = []
        for copy in away:
            try:
                self.session.volumes.delete(copy.target_path)
            except VolumeError as error:
                self._fail(copy.file_path, str(error))
                continue
            self.removed += 1
            self.session.log("removed", path=copy.file_path, label=copy.label, target=copy.target_path)
            done.append(replace(copy, state=REMOVED, reason=""))
        kept = [copy for copy in done if copy.key not in moved]
        for start in range(0, len(kept), PAGE):
            self.copies.save(kept[start : start + PAGE])

    def _volume(self, label: str) -> bool:
        """Make sure that the label's volume is there; False when it cannot be made."""
        if label in self.ready:
            return True
        if label in self.refused:
            return False
        place = self.places.place(label)
        catalog = self.session.need_catalog()
        try:
            if not catalog.volume_exists(place.name):
                catalog.create_volume(
                    place.name, f"Files that Data X-Ray labels {label!r} (lakeflow_job_meta)"
                )
                self.session.log("made the volume", volume=str(place.name), label=label)
        except WorkspaceError as error:
            self.refused[label] = str(error)
            return False
        self.places.save([place])
        self.ready.add(label)
        return True

    def _set_access(self) -> None:
        """Tags and grants of every label's volume that is there."""
        changed: list[Place] = []
        for label in sorted(self.by_label):
            place = self.places.place(label)
            before = (dict(place.tags), dict(place.grants))
            needs = self.access.tags_of(label) or self.access.grants_of(label) or any(before)
            if not needs or label in self.refused:
                continue
            try:
                self.access_changes += apply(self.session.need_catalog(), place, self.access)
            except WorkspaceError as error:
                self._fail(str(place.name), str(error))
                continue
            if (place.tags, place.grants) != before:
                changed.append(place)
        self.places.save(changed)

    def _fail(self, path: str, reason: str) -> None:
        self.summary.failed += 1
        self.summary.note(path, "failed", reason)


def _apart(volume_path: str) -> str:
    """The folder for files of a source volume that would lie where another one's are."""
    return ".".join(volume_path.split("/")[2:]) or "other"


class _Views(_Organise):
    """No copies: a view a label, over the metadata table."""

    def __init__(self, session: DxrSession) -> None:
        super().__init__(session, VIEW)

    def run(self) -> tuple[Summary, JsonObject]:
        self._check()
        known = self.places.load()
        for _, files in self.pages():
            for file in files:
                self.summary.seen += 1
                if file.status == "classified" and not file.gone:
                    self.by_label.update(self.wanted(file))
        before = set(known)
        gone = sorted(label for label in before - set(self.by_label) if not self.only or label in self.only)
        self.summary.new = len(set(self.by_label) - before)
        views = sorted(str(self.places.place(label).name) for label in self.by_label)
        if self.dry_run:
            return self.summary, self.facts(views=views, removed=len(gone))
        places = [self.places.place(label) for label in sorted(self.by_label)]
        self.places.save([place for place in places if place.label not in before])
        for place in places:
            text = f"CREATE OR REPLACE VIEW {place.name.quoted} AS {self._text(place.label)}"
            commit(lambda text=text: self._run(text))  # type: ignore[misc]
        for label in gone:
            name = self.places.place(label).name
            commit(lambda name=name: self._run(f"DROP VIEW IF EXISTS {name.quoted}"))  # type: ignore[misc]
            self.places.forget(label)
        return self.summary, self.facts(views=views, removed=len(gone))

    def _run(self, sql: str) -> None:
        self.session.tables.query(sql)

    def _text(self, label: str) -> str:
        """The view's query; a label is a literal, since views take no parameters."""
        conditions = ["`source_deleted_at` IS NULL", "`status` = 'classified'"]
        if self.volume is not None:
            conditions.append(f"`volume_path` = {_literal(self.volume)}")
        if self.dominant:
            cases = "".join(
                f" WHEN array_contains(`labels`, {_literal(one)}) THEN {_literal(one)}" for one in self.order
            )
            first = f"CASE{cases} ELSE get(`labels`, 0) END" if cases else "get(`labels`, 0)"
            conditions.append(f"{first} = {_literal(label)}")
        else:
            conditions.append(f"array_contains(`labels`, {_literal(label)})")
        return f"SELECT * FROM {self.metadata.quoted} WHERE {' AND '.join(conditions)}"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"
