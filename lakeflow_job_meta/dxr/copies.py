"""Copies of files in the labels' volumes: their ledger, where they lie, and how one is made and checked.

A copy is planned in the ledger before it is made and confirmed after it was read back, so a run that dies leaves
nothing that the next one does not know of; its place follows from the file, so no run makes a second one.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.errors import TableNotFound, VolumeError
from lakeflow_job_meta.names import TableName, digest
from lakeflow_job_meta.ports import (
    Column,
    HashedStream,
    Readable,
    TableDefinition,
    Tables,
    Volumes,
    file_sha256,
)

JsonObject = dict[str, Any]
PLANNED, COPIED, REMOVED, FAILED = "PLANNED", "COPIED", "REMOVED", "FAILED"
COPY, REDACTED = "copy", "redacted"
#: What a write that died leaves behind, see the volumes' adapters.
_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.tmp")


class SourceChanged(VolumeError):
    """The source file is not the one that was classified."""


def copies_table(name: TableName) -> TableDefinition:
    """The ledger: one row for each file and label."""
    return TableDefinition(
        name,
        (
            Column("file_path", "STRING", "the source file"),
            Column("label", "STRING", "the label that it is copied for"),
            Column("target_path", "STRING", "the copy"),
            Column("state", "STRING", "PLANNED, COPIED, REMOVED or FAILED"),
            Column("reason", "STRING", "why it failed"),
            Column("mode", "STRING", "copy (the bytes) or redacted (the redacted text)"),
            Column("redactor_id", "BIGINT", "Data X-Ray's redactor, for redacted"),
            Column("source_sha256", "STRING", "of the file that was classified"),
            Column("copy_sha256", "STRING", "of the copy, read back"),
            Column("bytes", "BIGINT", "of the copy"),
            Column("run_id", "STRING", "the run that wrote this row"),
            Column("updated_at", "TIMESTAMP", "when this row was last written"),
        ),
        "Data X-Ray: the copies of files in the volumes of their labels",
    )


@dataclass(frozen=True)
class Copy:
    """One copy, as it is known or wanted."""

    file_path: str
    label: str
    target_path: str
    state: str = PLANNED
    reason: str = ""
    mode: str = COPY
    redactor_id: int | None = None
    source_sha256: str = ""
    copy_sha256: str = ""
    bytes: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return (self.file_path, self.label)

    def is_made(self, wanted: Copy) -> bool:
        """Whether this, from the ledger, is what is wanted."""
        return self.state == COPIED and (
            self.target_path,
            self.mode,
            self.redactor_id,
            self.source_sha256,
        ) == (wanted.target_path, wanted.mode, wanted.redactor_id, wanted.source_sha256)


class Copies:
    """The ledger of copies.

    Args:
        table: it is made when it is not there, at the first write.
    """

    def __init__(self, tables: Tables, table: TableName, run_id: str, clock: Callable[[], datetime]) -> None:
        self._tables = tables
        self.definition = copies_table(table)
        self._run_id = run_id
        self._clock = clock
        self._ensured = False

    def between(self, after: str, last: str) -> dict[tuple[str, str], Copy]:
        """The copies of files with `after < file_path <= last`, by file and label."""
        sql = (
            f"SELECT * FROM {self.definition.name.quoted} WHERE `file_path` > :after AND `file_path` <= :last"
        )
        return {copy.key: copy for copy in self._read(sql, {"after": after, "last": last})}

    def owners(self, targets: Sequence[str]) -> dict[str, str]:
        """Which source file each of these paths belongs to, of those that belong to one."""
        sql = (
            f"SELECT * FROM {self.definition.name.quoted} WHERE `state` <> '{REMOVED}' AND `target_path` IN "
            "(SELECT explode(from_json(:targets, 'array<string>')))"
        )
        found = self._read(sql, {"targets": json.dumps(list(targets))})
        return {copy.target_path: copy.file_path for copy in found}

    def save(self, copies: Iterable[Copy]) -> None:
        """Write the rows of these copies, in one commit."""
        rows = [
            {
                "file_path": copy.file_path,
                "label": copy.label,
                "target_path": copy.target_path,
                "state": copy.state,
                "reason": copy.reason or None,
                "mode": copy.mode,
                "redactor_id": copy.redactor_id,
                "source_sha256": copy.source_sha256 or None,
                "copy_sha256": copy.copy_sha256 or None,
                "bytes": copy.bytes,
                "run_id": self._run_id,
                "updated_at": self._clock(),
            }
            for copy in copies
        ]
        if not rows:
            return
        if not self._ensured:
            definitions.ensure(self._tables, self.definition)
            self._ensured = True
        commit(lambda: self._tables.merge(self.definition, rows, keys=["file_path", "label"]))

    def _read(self, sql: str, parameters: Mapping[str, Any]) -> list[Copy]:
        try:
            rows = self._tables.query(sql, parameters)
        except TableNotFound:
            return []
        return [
            Copy(
                row["file_path"],
                row["label"],
                row["target_path"],
                row["state"],
                row["reason"] or "",
                row["mode"] or COPY,
                row["redactor_id"],
                row["source_sha256"] or "",
                row["copy_sha256"] or "",
                row["bytes"] or 0,
            )
            for row in rows
        ]


def place_in(volume_path: str, relative_path: str, *, apart: str = "") -> str:
    """The path of a copy: as the file lies in its own volume.

    Args:
        apart: a folder of its own for files of another source volume, where the plain path is taken.

    Raises:
        VolumeError: the relative path would leave the volume.
    """
    parts = relative_path.split("/")
    if not relative_path or any(part in {"", ".", ".."} or "\x00" in part for part in parts):
        raise VolumeError(f"{relative_path!r} is no path inside a volume: it is not copied")
    folder = f"{volume_path}/{apart}" if apart else volume_path
    path = f"{folder}/{relative_path}"
    if posixpath.normpath(path) != path or not path.startswith(f"{volume_path}/"):
        raise VolumeError(f"{relative_path!r} would leave {volume_path}: it is not copied")
    return path


class _Classified(HashedStream):
    """A source that refuses to end when it is not what was classified."""

    def __init__(self, source: Readable, copy: Copy) -> None:
        super().__init__(source)
        self._copy = copy

    def read(self, size: int = -1, /) -> bytes:
        block = super().read(size)
        if self.ended and self._copy.source_sha256 not in {"", self.sha256}:
            raise SourceChanged(
                f"{self._copy.file_path} is not what was classified: it changed since; ingest and collect again"
            )
        return block


def make(volumes: Volumes, copy: Copy) -> tuple[str, int]:
    """Copy the file, streaming, and read the copy back; its SHA-256 and bytes.

    The copy appears only when the source is what was classified.

    Raises:
        SourceChanged: it is not.
        VolumeError: the file cannot be read, the copy not written, or the copy is not what was written.
    """
    with volumes.open(copy.file_path) as source:
        stream = _Classified(source, copy)
        volumes.upload(copy.target_path, stream)
    return _checked(volumes, copy.target_path, stream.sha256), stream.bytes


def make_text(volumes: Volumes, copy: Copy, text: str) -> tuple[str, int]:
    """As `make`, for a text."""
    data = text.encode("utf-8", "replace")
    volumes.upload(copy.target_path, io.BytesIO(data))
    return _checked(volumes, copy.target_path, digest(data)), len(data)


def _checked(volumes: Volumes, path: str, wanted: str) -> str:
    if file_sha256(volumes, path) != wanted:
        volumes.delete(path)
        raise VolumeError(f"{path} was not written as it was read: the copy is removed; run again")
    return wanted


def remove_partials(volumes: Volumes, targets: Iterable[str]) -> None:
    """Delete what dead writes have left beside these paths."""
    for folder in sorted({posixpath.dirname(target) for target in targets}):
        try:
            left = [
                file.path
                for file in volumes.walk(folder)
                if _PARTIAL.fullmatch(posixpath.basename(file.path))
            ]
            for path in left:
                volumes.delete(path)
        except VolumeError:
            continue
