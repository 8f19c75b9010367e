"""Metadata files of a folder: which they are, and their bytes, read only where they may have changed.

Over the Volumes port; what a file says is judged by `metadata.files`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lakeflow_job_meta.control.records import FileRecord
from lakeflow_job_meta.errors import Place, Problem, VolumeError
from lakeflow_job_meta.names import digest
from lakeflow_job_meta.ports import FileInfo, Volumes

if TYPE_CHECKING:
    from lakeflow_job_meta.metadata.files import MetadataFile

#: Files that are read at once; a Files API answers each in some 100 ms.
READERS = 8
#: A larger file is refused unread.
MAX_FILE_BYTES = 100 * 1024 * 1024
# Two writes within one tick of a store's clock leave the same time: bytes are read when the tick is over.
# Kernels tick every 10 ms at most; object stores keep whole seconds.
_TICK_SECONDS = 0.015
_COARSE_TICK_SECONDS = 2.0
#: A file of a volume that was written so short a time ago is read twice: it may be half written.
STILL_SECONDS = 1.0
_TEMPORARY_PREFIXES = (".", "_", "~")
_TEMPORARY_SUFFIXES = ("~", ".tmp", ".swp", ".swx", ".part", ".partial", ".crdownload", ".bak")


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading some files.

    Args:
        files: read and parsed.
        touched: records of files with new times and the same bytes.
        problems: of files that could not be read.
    """

    files: tuple[MetadataFile, ...] = ()
    touched: tuple[FileRecord, ...] = ()
    problems: tuple[Problem, ...] = ()


class Reader:
    """Reads metadata files, several at once.

    Args:
        variables: values for `${var.NAME}`.
        context_hash: of all that a file's meaning depends on beside its bytes.
        clock: now, as an aware datetime.
        sleep: waits, in seconds.
    """

    def __init__(
        self,
        volumes: Volumes,
        variables: Mapping[str, str],
        context_hash: str,
        clock: Callable[[], datetime],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._volumes = volumes
        self._variables = variables
        self._context = context_hash
        self._clock = clock
        self._sleep = sleep

    def read(
        self, infos: Sequence[FileInfo], known: Mapping[str, FileRecord], *, twice: bool = False
    ) -> Reading:
        """Read files; one with a record in `known` is parsed only if its bytes or the context moved.

        Args:
            twice: read what was just written again a moment later. Half of a YAML file is often sound YAML,
                with modules missing; what is still being written is a problem, and last good stays.
        """
        from lakeflow_job_meta.metadata.files import read_metadata

        files: list[MetadataFile] = []
        touched: list[FileRecord] = []
        problems: list[Problem] = []
        self._settle(infos)
        found = dict(zip(infos, self._bytes(infos), strict=True))
        if twice:
            self._read_again(found, known)
        for info, data in found.items():
            if isinstance(data, Problem):
                problems.append(data)
                continue
            if data is None:
                files.append(_too_large(info))
                continue
            record = known.get(info.path)
            if record is not None and _same(record, digest(data), self._context):
                moved = replace(record, size=info.size, modified_at=info.modified_at)
                if moved != record:
                    touched.append(replace(moved, loaded_at=self._clock()))
                continue
            files.append(read_metadata(data, info.path, self._variables))
        return Reading(tuple(files), tuple(touched), tuple(problems))

    def _read_again(
        self, found: dict[FileInfo, bytes | Problem | None], known: Mapping[str, FileRecord]
    ) -> None:
        """Read files that moved a moment ago once more, when the moment is over."""
        now = self._clock().timestamp()
        young = []
        for info, data in found.items():
            if data is None or isinstance(data, Problem) or info.modified_at / 1000 + STILL_SECONDS <= now:
                continue
            record = known.get(info.path)
            if record is None or record.sha256 != digest(data):
                young.append(info)
        if not young:
            return
        latest = max(info.modified_at for info in young) / 1000
        self._sleep(min(STILL_SECONDS, latest + STILL_SECONDS - now))
        for info, data in zip(young, self._bytes(young), strict=True):
            if data != found[info]:
                message = (
                    "the file is being written: what was loaded from it last stays, it is read again soon"
                )
                found[info] = Problem(message, Place(info.path))

    def _bytes(self, infos: Sequence[FileInfo]) -> list[bytes | Problem | None]:
        if len(infos) < 2:
            return [self._one(info) for info in infos]
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self._one, infos))

    def _one(self, info: FileInfo) -> bytes | Problem | None:
        """The file's bytes; None when it is too large to be read."""
        if info.size > MAX_FILE_BYTES:
            return None
        try:
            return self._volumes.read(info.path)
        except VolumeError as error:
            return Problem(str(error), Place(info.path))

    def _settle(self, infos: Sequence[FileInfo]) -> None:
        """Wait until files that were just written cannot change without a new time."""
        now = self._clock().timestamp()
        longest = 0.0
        for info in infos:
            tick = _COARSE_TICK_SECONDS if info.modified_at % 1000 == 0 else _TICK_SECONDS
            longest = max(longest, min(tick, info.modified_at / 1000 + tick - now))
        if longest > 0:
            self._sleep(longest)


def _too_large(info: FileInfo) -> MetadataFile:
    from lakeflow_job_meta.metadata.files import MetadataFile

    limit = MAX_FILE_BYTES // 2**20
    problem = Problem(f"the file has {info.size} bytes, above {limit} MiB: split it", Place(info.path))
    return MetadataFile(info.path, "", problems=(problem,), rejected=True)


def absolute(path: str) -> str:
    """The path as records keep it: the same from every working folder."""
    if path.startswith("/Volumes/"):
        return path.rstrip("/")
    # not resolve(): a link that is turned to a new folder keeps its name
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111


def metadata_files(listed: Sequence[FileInfo], path: str, pattern: str = "*.yaml") -> list[FileInfo]:
    """Those of the listing of `path` that are metadata; a file that was named itself is, whatever its name."""
    path = path.rstrip("/")
    if len(listed) == 1 and listed[0].path == path:
        return list(listed)
    patterns = [pattern, f"{pattern[: -len('.yaml')]}.yml"] if pattern.endswith(".yaml") else [pattern]
    return [info for info in listed if _is_metadata(info.path[len(path) :].strip("/"), patterns)]


def _is_metadata(inside: str, patterns: Sequence[str]) -> bool:
    """Whether a path inside a folder names a metadata file: not hidden, not temporary, and the pattern fits."""
    parts = inside.split("/")
    name = parts[-1].lower()
    if any(part.startswith(_TEMPORARY_PREFIXES) for part in parts) or name.endswith(_TEMPORARY_SUFFIXES):
        return False
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def unmoved(record: FileRecord | None, info: FileInfo, context_hash: str) -> bool:
    """Whether a volume's file is, by its listing, the one that was judged last."""
    return (
        record is not None
        and record.status != "vanished"
        and not record.hand
        and (record.size, record.modified_at) == (info.size, info.modified_at)
        and record.context_hash == context_hash
    )


def complete(record: FileRecord | None, present: Collection[tuple[str, str]]) -> bool:
    """Whether everything of the file was loaded, and all of its rows are in the table still."""
    return (
        record is not None
        and record.status == "loaded"
        and all((module, source) in present for module, sources in record.keys.items() for source in sources)
    )


def _same(record: FileRecord, sha256: str, context_hash: str) -> bool:
    return record.status != "vanished" and (record.sha256, record.context_hash) == (sha256, context_hash)
