"""A multipart body that is read while it is sent: memory stays flat, whatever the files' sizes.

Its length is known before, from the files' sizes. A file that turns out shorter or longer breaks the body
off, so that a server never receives a whole request with half a file in it.
"""

from __future__ import annotations

import hashlib
import mimetypes
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from lakeflow_job_meta.errors import VolumeError

#: Bytes read at once from a file.
BLOCK = 1024 * 1024
#: Small parts are sent together, up to about this many bytes.
GATHER = 256 * 1024
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})  # as browsers do (HTML, multipart/form-data)


class FileChanged(VolumeError):
    """A file is not what it was when it was listed; `name` is its upload name."""

    def __init__(self, message: str, name: str) -> None:
        self.name = name
        super().__init__(message)


@dataclass(frozen=True)
class Upload:
    """One file to send.

    Args:
        name: file name that Data X-Ray is told.
        size: bytes that will be sent, exactly.
        open: gives the file's bytes, once for each try.
        done: is told the SHA-256 (hex) of the bytes when they were all sent; may raise to break off.
    """

    name: str
    size: int
    open: Callable[[], AbstractContextManager[BinaryIO]]
    done: Callable[[str], None] | None = None


class MultipartBody:
    """The body of one submit: one part `files` for each upload.

    Args:
        uploads: the files, in order.
    """

    def __init__(self, uploads: Sequence[Upload]) -> None:
        self._uploads = uploads
        self._boundary = secrets.token_hex(16)
        self._end = f"--{self._boundary}--\r\n".encode()
        #: Whether the last byte was handed to the connection.
        self.sent = False

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def length(self) -> int:
        return sum(len(self._head(one)) + one.size + 2 for one in self._uploads) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, small parts gathered.

        Raises:
            FileChanged: a file cannot be read any more, or is shorter or longer than its size.
        """
        gathered = bytearray()
        for upload in self._uploads:
            gathered += self._head(upload)
            digest = hashlib.sha256()
            for block in _blocks(upload):
                digest.update(block)
                if len(block) < GATHER:
                    gathered += block
                else:
                    yield bytes(gathered)
                    gathered.clear()
                    yield block
                if len(gathered) >= GATHER:
                    yield bytes(gathered)
                    gathered.clear()
            gathered += b"\r\n"
            if upload.done is not None:
                upload.done(digest.hexdigest())
        gathered += self._end
        self.sent = True
        yield bytes(gathered)

    def _head(self, upload: Upload) -> bytes:
        kind = mimetypes.guess_type(upload.name)[0] or "application/octet-stream"
        name = upload.name.translate(_ESCAPES)
        return (
            f"--{self._boundary}\r\n"
            f'Content-Disposition: form-data; name="files"; filename="{name}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        ).encode()


def _blocks(upload: Upload) -> Iterator[bytes]:
    """The file's bytes, exactly `size` of them."""
    left = upload.size
    try:
        with upload.open() as file:
            while left:
                block = file.read(min(left, BLOCK))
                if not block:
                    raise FileChanged("it became shorter while it was sent", upload.name)
                left -= len(block)
                yield block
            if file.read(1):
                raise FileChanged("it became longer while it was sent", upload.name)
    except FileChanged:
        raise
    except VolumeError as error:
        raise FileChanged(str(error), upload.name) from error
