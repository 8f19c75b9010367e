"""The Files API: files and folders below /Volumes, streamed, written whole or not at all."""

from __future__ import annotations

import base64
import binascii
import errno
import os
import shutil
import uuid
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.api.call import Call, Json, route
from lakeflow_job_meta.local.api.errors import ApiError, invalid
from lakeflow_job_meta.local.folder import Folder

PAGE = 1000
"""Entries of one page of a folder's listing."""


class Download(FileResponse):
    """A file, with Range; in larger pieces than Starlette's 64 KiB."""

    chunk_size = 1024 * 1024


class FilesApi:
    """Handlers of `/api/2.0/fs/files` and `/api/2.0/fs/directories`.

    Args:
        folder: the workspace's folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._incoming = folder.private / "uploads"
        shutil.rmtree(self._incoming, ignore_errors=True)

    def routes(self) -> list[Route]:
        files, directories = "/api/2.0/fs/files/{path:path}", "/api/2.0/fs/directories/{path:path}"
        return [
            route("GET", files, self.read),
            route("HEAD", files, self.read),
            route("PUT", files, self.write, raw=True),
            route("DELETE", files, self.delete),
            route("GET", directories, self.list_directory),
            route("HEAD", directories, self.head_directory),
            route("PUT", directories, self.create_directory),
            route("DELETE", directories, self.delete_directory),
        ]

    def read(self, call: Call) -> Response:
        return self.download(self.path(call.path["path"]), call.request)

    def download(self, path: Path, request: Request) -> Response:
        """The response to GET or HEAD of a file.

        Raises:
            ApiError: 404 when it is no file, 412 when it changed since If-Unmodified-Since.
        """
        if not path.is_file():
            raise ApiError(404, "NOT_FOUND", "The file being accessed is not found.")
        status = path.stat()
        unchanged_since = request.headers.get("if-unmodified-since")
        if unchanged_since and int(status.st_mtime) > _timestamp(unchanged_since):
            raise ApiError(412, "FAILED_PRECONDITION", "The file was changed since If-Unmodified-Since.")
        return Download(path, media_type="application/octet-stream", stat_result=status)

    async def write(self, call: Call) -> Response:
        target = self.path(call.path["path"])
        overwrite = call.flag("overwrite")
        await anyio.to_thread.run_sync(self.check_target, target, overwrite)
        incoming = await self.receive(call.request, self._incoming / uuid.uuid4().hex)
        await anyio.to_thread.run_sync(self.publish, incoming, target, overwrite)
        return Response(status_code=204)

    def check_target(self, target: Path, overwrite: bool) -> None:
        """Raises ApiError when a file cannot be written there, before its bytes are taken."""
        self._require_volume(target)
        if target.is_dir():
            raise invalid("The path is a directory: a file cannot be written over it.")
        if target.exists() and not overwrite:
            raise _already_exists()

    async def receive(self, request: Request, incoming: Path) -> Path:
        """Takes a body into a file outside the volumes, so that nobody sees half of it."""
        await anyio.Path(incoming.parent).mkdir(parents=True, exist_ok=True)
        try:
            async with await anyio.open_file(incoming, "wb") as file:
                async for piece in request.stream():
                    if piece:
                        await file.write(piece)
        except ClientDisconnect as e:
            await anyio.Path(incoming).unlink(missing_ok=True)
            raise ApiError(400, "MALFORMED_REQUEST", "the body ended early; nothing was written") from e
        return incoming

    def publish(self, incoming: Path, target: Path, overwrite: bool) -> None:
        """Moves a received file to its place, at once.

        Raises:
            ApiError: 409 when the place is taken, 400 when it cannot be made.
        """
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if overwrite:
                incoming.replace(target)
            else:
                os.link(incoming, target)
        except FileExistsError as e:
            raise _already_exists() from e
        except OSError as e:
            raise invalid(f"The file cannot be written: {_reason(e)}") from e
        finally:
            incoming.unlink(missing_ok=True)

    def delete(self, call: Call) -> Response:
        path = self.path(call.path["path"])
        if path.is_dir():
            raise invalid("The path is a directory; use the directories endpoint.")
        try:
            path.unlink()
        except OSError as e:
            raise ApiError(404, "NOT_FOUND", "The file being accessed is not found.") from e
        return Response(status_code=204)

    def list_directory(self, call: Call) -> Json:
        path = self._directory(call)
        size = min(call.integer("page_size", PAGE) or PAGE, PAGE)
        if size < 0:
            raise invalid("page_size must not be negative")
        after = _decode(call.text("page_token"))
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        shown = "/" + call.path["path"].strip("/")
        contents: list[Json] = []
        for entry in entries:
            if after and entry.name <= after:
                continue
            if len(contents) == size:
                token = base64.urlsafe_b64encode(contents[-1]["name"].encode()).decode()
                return {"contents": contents, "next_page_token": token}
            described = _entry(entry, shown)
            if described is not None:
                contents.append(described)
        return {"contents": contents}

    def head_directory(self, call: Call) -> Response:
        self._directory(call)
        return Response(status_code=200)

    def create_directory(self, call: Call) -> Response:
        path = self.path(call.path["path"])
        self._require_volume(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as e:
            raise _already_exists() from e
        except OSError as e:
            raise invalid(f"The directory cannot be made: {_reason(e)}") from e
        return Response(status_code=204)

    def delete_directory(self, call: Call) -> Response:
        path = self._directory(call)
        if len(path.relative_to(self._folder.volumes.resolve()).parts) <= 3:
            raise invalid("A volume is deleted through the volumes API, not as a directory.")
        try:
            path.rmdir()
        except OSError as e:
            if e.errno == errno.ENOTEMPTY:
                raise ApiError(
                    400, "DIRECTORY_NOT_EMPTY", "The directory being accessed is not empty."
                ) from e
            raise invalid(f"The directory cannot be deleted: {_reason(e)}") from e
        return Response(status_code=204)

    def path(self, path: str) -> Path:
        """The file behind an API path; raises ApiError 400 for one that is not below /Volumes."""
        try:
            return self._folder.volume_path("/" + path.lstrip("/"))
        except LocalError as e:
            raise invalid(f"Invalid path: {e}") from e

    def _directory(self, call: Call) -> Path:
        path = self.path(call.path["path"])
        if not path.is_dir():
            raise ApiError(404, "NOT_FOUND", "The directory being accessed is not found.")
        return path

    def _require_volume(self, path: Path) -> None:
        parts = path.relative_to(self._folder.volumes.resolve()).parts
        if len(parts) < 3:
            raise invalid("Invalid path: it must start with /Volumes/<catalog>/<schema>/<volume>.")
        if not self._folder.volumes.joinpath(*parts[:3]).is_dir():
            raise ApiError(404, "NOT_FOUND", f"Volume '{'.'.join(parts[:3])}' does not exist.")


def _entry(entry: os.DirEntry[str], folder: str) -> Json | None:
    name = entry.name.encode("utf-8", "replace").decode()
    try:
        status = entry.stat()
        is_directory = entry.is_dir()
    except OSError:
        return None  # it vanished, or is a link to nowhere
    described: dict[str, Any] = {
        "path": f"{folder}/{name}" + ("/" if is_directory else ""),
        "name": name,
        "is_directory": is_directory,
        "last_modified": status.st_mtime_ns // 1_000_000,
    }
    if not is_directory:
        described["file_size"] = status.st_size
    return described


def _already_exists() -> ApiError:
    return ApiError(409, "ALREADY_EXISTS", "The file being created already exists.")


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _timestamp(http_date: str) -> float:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (TypeError, ValueError) as e:
        raise invalid(f"If-Unmodified-Since is no HTTP date: {http_date!r}") from e


def _decode(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, ValueError) as e:
        raise invalid(f"Invalid page_token: {token}") from e
