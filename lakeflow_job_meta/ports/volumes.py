"""The port to files: volumes of Unity Catalog, and plain folders where they are on the same machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.ports.content import Readable


@dataclass(frozen=True, slots=True, order=True)
class FileInfo:
    """A file: absolute path as the caller would open it, bytes, modification time in ms since 1970."""

    path: str
    size: int
    modified_at: int


@dataclass(frozen=True, slots=True)
class FileState:
    """One file as it is at a moment, exactly enough to see later that it is still the same.

    Args:
        path: as the caller would open it.
        size: bytes.
        modified_ns: modification time in ns since 1970, as exact as the platform tells it.
        mode: permission bits; None where files have none.
        identity: of the file itself, whatever its name: two paths with one identity are one file.
        version: another text after every change of content, time or place.
        exact: whether an edit within the same second changes `version`.
    """

    path: str
    size: int
    modified_ns: int
    mode: int | None
    identity: str
    version: str
    exact: bool


class Volumes(Protocol):
    """Files below `/Volumes` (and plain local paths, where the adapter runs on the same machine)."""

    def list(self, path: str) -> list[FileInfo]:
        """Every file below `path`, recursive, sorted by path; for a file, itself.

        Raises:
            VolumeError: it does not exist or cannot be listed (never an empty list instead).
        """
        ...

    def walk(
        self, path: str, unreadable: Callable[[str, VolumeError], None] | None = None
    ) -> Iterator[FileInfo]:
        """Every file below `path` as it is found, folder by folder; nothing but one folder is held.

        Args:
            unreadable: is told of a folder below `path` that cannot be listed, and the walk goes on;
                None: it raises.

        Raises:
            VolumeError: `path` itself cannot be listed.
        """
        ...

    def stat(self, path: str) -> FileInfo:
        """The file as it is now; its time may be cut to whole seconds. Raises VolumeError."""
        ...

    def inspect(self, path: str, below: str = "") -> FileState | None:
        """The file itself as it is now, None when nothing is there; neither it nor a folder above it may be a link.

        Args:
            below: for a plain local path, the folder above which links do not matter.

        Raises:
            VolumeError: it is a folder, a link, a device, or reached through a link, or cannot be looked at.
        """
        ...

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """The file's bytes as a stream that is read forwards. Opening, and reading, raises VolumeError."""
        ...

    def read(self, path: str) -> bytes:
        """The file's bytes. Raises VolumeError."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Create or replace the file, its folders included. Raises VolumeError."""
        ...

    def upload(self, path: str, source: Readable) -> None:
        """Create or replace the file from a stream, its folders included; memory does not grow with the file.

        Readers see the old bytes or the new ones, never a part. Raises VolumeError; what reading `source`
        raises comes through.
        """
        ...

    def create(self, path: str, source: Readable, sha256: str, *, durable: bool = True) -> bool:
        """Create the file from a stream, its folders included; False when something is there, which stays as it is.

        The file appears only when what was written, read back, has this SHA-256 (hex).

        Args:
            durable: whether it is on disk, and survives a power failure, when this returns.

        Raises:
            VolumeError: it cannot be written, or the bytes are others; nothing appeared. What reading
                `source` raises comes through.
        """
        ...

    def remove_partials(self, folder: str) -> None:
        """Remove what `create`s that died have left in this folder, not below it. Raises VolumeError.

        A `create` that is under way there fails, and may be repeated.
        """
        ...

    def delete(self, path: str) -> None:
        """Remove the file if it is there. Raises VolumeError."""
        ...

    def delete_unchanged(self, state: FileState) -> bool:
        """Remove the file if it is still what `state` says; False when it is not, or gone. Raises VolumeError."""
        ...

    def set_facts(self, path: str, *, modified_ns: int, mode: int | None) -> bool:
        """Give the file its modification time and mode; False where the platform cannot. Raises VolumeError."""
        ...

    def delete_folder(self, path: str) -> None:
        """Remove the folder with all that is in it, if it is there. Raises VolumeError."""
        ...
