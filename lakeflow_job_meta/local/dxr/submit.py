"""Multipart uploads, streamed to disk: memory does not grow with the files."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path
from typing import BinaryIO

import anyio.to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from lakeflow_job_meta.local.dxr.answers import Refusal
from lakeflow_job_meta.local.dxr.knobs import Knobs
from lakeflow_job_meta.local.dxr.store import Received

PART = "files"
"""The part name under which files are sent; any other part is ignored."""
PIECE = 1024 * 1024
"""Bytes that are handed to a worker thread at once."""


class Upload:
    """The files of one submit while they come in.

    Args:
        folder: made here, for this upload alone; removed by `discard`.
        boundary: of the multipart body.
        knobs: its limits.
    """

    def __init__(self, folder: Path, boundary: bytes, knobs: Knobs) -> None:
        self.files: list[Received] = []
        self.refusal: Refusal | None = None
        self._folder = folder
        self._knobs = knobs
        self._total = 0
        self._header = b""
        self._value = b""
        self._headers: dict[str, bytes] = {}
        self._name = ""
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self.ended = False
        folder.mkdir(parents=True)
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def feed(self, piece: bytes) -> None:
        """Takes a piece of the body.

        Raises:
            Refusal: 400 when it is no multipart body.
        """
        self._total += len(piece)
        if self._knobs.max_bytes is not None and self._total > self._knobs.max_bytes:
            self._refuse(413, f"the request is larger than {self._knobs.max_bytes} bytes")
        try:
            self._parser.write(piece)
        except FormParserError as e:
            raise Refusal(400, f"malformed multipart body: {e}") from e

    def discard(self) -> None:
        """Removes whatever was not taken over."""
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self) -> None:
        self._headers = {}
        self._name = ""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition", b""))
        if kind != b"form-data" or options.get(b"name") != PART.encode() or b"filename" not in options:
            return
        if self._knobs.max_files is not None and len(self.files) >= self._knobs.max_files:
            self._refuse(400, f"more than {self._knobs.max_files} files in one job")
            return
        if self.refusal is not None:
            return
        name = _unescaped(options[b"filename"].decode("utf-8", "replace"))
        if not name:
            self._refuse(400, "a file without a name")
            return
        self._name = name
        self._hash = hashlib.sha256()
        self._size = 0
        self._file = (self._folder / str(len(self.files))).open("wb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            return
        view = memoryview(data)[start:end]
        self._size += len(view)
        if self._knobs.max_file_bytes is not None and self._size > self._knobs.max_file_bytes:
            self._refuse(413, f"{self._name!r} is larger than {self._knobs.max_file_bytes} bytes")
            return
        self._hash.update(view)
        self._file.write(view)

    def _end(self) -> None:
        if self._file is None:
            return
        self._file.close()
        path = Path(self._file.name)
        self._file = None
        if self.refusal is None:
            kind = self._headers.get("content-type", b"application/octet-stream").decode("latin-1")
            self.files.append(Received(self._name, kind, self._size, self._hash.hexdigest(), path))

    def _finish(self) -> None:
        self.ended = True

    def _refuse(self, status: int, message: str) -> None:
        # The rest of the body is read and thrown away: an answer before its end is a reset for many clients.
        if self.refusal is None:
            self.refusal = Refusal(status, message)


async def receive(request: Request, incoming: Path, knobs: Knobs) -> Upload:
    """The files of a submit, complete, in a folder of their own below `incoming`.

    Raises:
        Refusal: 400 no or a malformed multipart body, no files, too many; 413 too large.
        ClientDisconnect: the client went away; nothing is kept.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise Refusal(400, "expected multipart/form-data with one part `files` for each file")
    upload = Upload(incoming / uuid.uuid4().hex, options[b"boundary"], knobs)
    try:
        held: list[bytes] = []
        size = 0
        async for piece in request.stream():
            held.append(piece)
            size += len(piece)
            if size >= PIECE:
                await anyio.to_thread.run_sync(upload.feed, b"".join(held))
                held, size = [], 0
        await anyio.to_thread.run_sync(upload.feed, b"".join(held))
        if upload.refusal is not None:
            raise upload.refusal
        if not upload.ended:
            raise Refusal(400, "the multipart body ended early")
        if not upload.files:
            raise Refusal(400, "Required part 'files' is not present.")
    except (Refusal, ClientDisconnect, OSError):
        await anyio.to_thread.run_sync(upload.discard)
        raise
    return upload


def _unescaped(name: str) -> str:
    """A file name as it was before the client escaped what a quoted string cannot hold (WHATWG HTML)."""
    return name.replace("%22", '"').replace("%0A", "\n").replace("%0D", "\r")
