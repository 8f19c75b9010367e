"""Content of files, hashed as it passes by: for whoever copies through the port to files, and for its adapters."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lakeflow_job_meta.ports.volumes import Volumes

#: Bytes that are read at once.
BLOCK = 1024 * 1024


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        ...


class HashedStream:
    """A stream that hashes what is read of it.

    Args:
        source: is read, and stays open.

    Attributes:
        bytes: how many were read.
        ended: whether the end was met: `sha256` is the whole content's.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.bytes = 0
        self.ended = False

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `BLOCK` where no size is given; empty at the end."""
        block = self._source.read(size if size >= 0 else BLOCK)
        self._hash.update(block)
        self.bytes += len(block)
        self.ended = not block
        return block

    @property
    def sha256(self) -> str:
        """SHA-256 of what was read so far, in hex."""
        return self._hash.hexdigest()


def sha256_of(source: Readable) -> str:
    """SHA-256 of the rest of a stream, in hex."""
    stream = HashedStream(source)
    while stream.read(BLOCK):
        pass
    return stream.sha256


def file_sha256(volumes: Volumes, path: str) -> str:
    """SHA-256 of the file's bytes, in hex. Raises VolumeError."""
    with volumes.open(path) as file:
        return sha256_of(file)
