"""Presigned URLs of the Files API: how the SDK downloads, and uploads files of 50 MB and more.

A signed URL carries a secret and needs no token, as those of a cloud's storage.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from starlette.responses import Response
from starlette.routing import Route

from lakeflow_job_meta.local.api.call import Call, Json, route
from lakeflow_job_meta.local.api.errors import ApiError, invalid
from lakeflow_job_meta.local.api.files import FilesApi
from lakeflow_job_meta.local.folder import Folder

PRESIGNED = "/local/presigned/"
"""Paths below need no bearer token."""

LIFETIME = 3600.0
"""Seconds for which a signed URL is good."""


@dataclass(frozen=True)
class _Grant:
    path: Path
    expires: float
    overwrite: bool = False


class TransfersApi:
    """Handlers of presigned downloads and multipart uploads.

    Args:
        folder: the workspace's folder.
        files: the handlers of plain files.
        clock: seconds that only grow.
    """

    def __init__(self, folder: Folder, files: FilesApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._parts = folder.private / "uploads"
        self._clock = clock
        self._downloads: dict[str, _Grant] = {}
        self._uploads: dict[str, _Grant] = {}

    def routes(self) -> list[Route]:
        return [
            route("POST", "/api/2.0/fs/create-download-url", self.create_download_url),
            route("POST", "/api/2.0/fs/create-upload-part-urls", self.create_part_urls),
            route("POST", "/api/2.0/fs/create-abort-upload-url", self.create_abort_url),
            route("POST", "/api/2.0/fs/files/{path:path}", self.upload_action),
            route("GET", PRESIGNED + "download/{key}", self.download),
            route("HEAD", PRESIGNED + "download/{key}", self.download),
            route("PUT", PRESIGNED + "upload/{key}/{part:int}", self.upload_part, raw=True),
            route("DELETE", PRESIGNED + "upload/{key}", self.abort),
        ]

    def create_download_url(self, call: Call) -> Json:
        path = self._files.path(call.required("path"))
        if not path.is_file():
            raise ApiError(404, "NOT_FOUND", "The file being accessed is not found.")
        now = self._clock()
        self._downloads = {key: grant for key, grant in self._downloads.items() if grant.expires > now}
        key = secrets.token_urlsafe(24)
        self._downloads[key] = _Grant(path, now + LIFETIME)
        return {"url": self._url(call, f"download/{key}"), "headers": []}

    def download(self, call: Call) -> Response:
        return self._files.download(self._grant(self._downloads, call.path["key"]).path, call.request)

    def upload_action(self, call: Call) -> Json:
        path = self._files.path(call.path["path"])
        action = call.text("action")
        if action == "initiate-upload":
            overwrite = call.flag("overwrite")
            self._files.check_target(path, overwrite)
            key = secrets.token_urlsafe(24)
            self._uploads[key] = _Grant(path, self._clock() + LIFETIME, overwrite)
            (self._parts / key).mkdir(parents=True)
            return {"multipart_upload": {"session_token": key}}
        if action == "complete-upload":
            key = call.required("session_token")
            grant = self._grant(self._uploads, key)
            if grant.path != path:
                raise invalid("session_token belongs to another path")
            self._complete(key, grant, [part.get("part_number") for part in call.array("parts")])
            return {}
        raise invalid(f"action must be initiate-upload or complete-upload, not {action!r}")

    def create_part_urls(self, call: Call) -> Json:
        key = call.required("session_token")
        self._grant(self._uploads, key)
        first, count = call.integer("start_part_number", 1), call.integer("count", 1)
        return {
            "upload_part_urls": [
                {"part_number": part, "url": self._url(call, f"upload/{key}/{part}"), "headers": []}
                for part in range(first, first + min(max(count, 1), 1000))
            ]
        }

    def create_abort_url(self, call: Call) -> Json:
        key = call.required("session_token")
        self._grant(self._uploads, key)
        return {"abort_upload_url": {"url": self._url(call, f"upload/{key}"), "headers": []}}

    async def upload_part(self, call: Call) -> Response:
        key = call.path["key"]
        self._grant(self._uploads, key)
        part = int(call.path["part"])
        incoming = await self._files.receive(call.request, self._parts / key / f"{part}.incoming")
        await anyio.to_thread.run_sync(incoming.replace, self._parts / key / str(part))
        return Response(status_code=200, headers={"ETag": f'"{part}"'})

    def abort(self, call: Call) -> Response:
        self._uploads.pop(call.path["key"], None)
        shutil.rmtree(self._parts / call.path["key"], ignore_errors=True)
        return Response(status_code=204)

    def _complete(self, key: str, grant: _Grant, parts: list[object]) -> None:
        folder = self._parts / key
        whole = folder / "whole"
        with whole.open("wb") as out:
            for number in parts:
                part = folder / str(number)
                if not part.is_file():
                    raise invalid(f"part {number} was not uploaded")
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, out, 1024 * 1024)
        self._files.publish(whole, grant.path, grant.overwrite)
        self._uploads.pop(key, None)
        shutil.rmtree(folder, ignore_errors=True)

    def _grant(self, grants: dict[str, _Grant], key: str) -> _Grant:
        grant = grants.get(key)
        if grant is None or grant.expires < self._clock():
            raise ApiError(403, "PERMISSION_DENIED", "The signed URL is unknown or has expired.")
        return grant

    @staticmethod
    def _url(call: Call, path: str) -> str:
        return f"{call.request.base_url}{PRESIGNED.lstrip('/')}{path}"
