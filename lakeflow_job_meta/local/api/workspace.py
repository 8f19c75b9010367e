"""The Workspace API: notebooks, files and folders as real files below DIR/Workspace.

A notebook is a file of its own format: source with the first line `Databricks notebook source` in a
comment, or `.ipynb`. It is addressed without its extension, as on the platform.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shutil
import uuid
from pathlib import Path

import anyio.to_thread
from starlette.datastructures import UploadFile
from starlette.responses import Response
from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, Call, Json, read_body, route
from lakeflow_job_meta.local.api.errors import ApiError, invalid, missing
from lakeflow_job_meta.local.folder import Folder

#: Language -> extension and the comment that starts a notebook's source.
LANGUAGES = {
    "PYTHON": (".py", "# Databricks notebook source"),
    "SQL": (".sql", "-- Databricks notebook source"),
    "SCALA": (".scala", "// Databricks notebook source"),
    "R": (".r", "# Databricks notebook source"),
}
_NOTEBOOK_EXTENSIONS = (*(extension for extension, _ in LANGUAGES.values()), ".ipynb")
_MAX_BYTES = 200 * 1024 * 1024


class WorkspaceApi:
    """Handlers of `/api/2.0/workspace/...`.

    Args:
        folder: the workspace's folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        for home in (f"Users/{USER}", "Shared", "Repos"):
            (folder.workspace / home).mkdir(parents=True, exist_ok=True)

    def routes(self) -> list[Route]:
        prefix = "/api/2.0/workspace"
        return [
            route("POST", f"{prefix}/import", self.import_, raw=True),
            route("GET", f"{prefix}/export", self.export),
            route("GET", f"{prefix}/get-status", self.get_status),
            route("GET", f"{prefix}/list", self.list_folder),
            route("POST", f"{prefix}/mkdirs", self.mkdirs),
            route("POST", f"{prefix}/delete", self.delete),
        ]

    def folder_exists(self, path: str) -> bool:
        """Whether a workspace folder is there."""
        return self._folder.workspace_path(path).is_dir()

    async def import_(self, call: Call) -> Json:
        request = call.request
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_part_size=_MAX_BYTES) as form:
                upload = form.get("content")
                fields = {name: value for name, value in form.items() if isinstance(value, str)}
                content = (
                    await upload.read() if isinstance(upload, UploadFile) else str(upload or "").encode()
                )
        else:
            body = await read_body(request)
            fields = {name: str(value) for name, value in body.items() if value is not None}
            try:
                content = base64.b64decode(fields.pop("content", ""), validate=True)
            except binascii.Error as e:
                raise invalid("content must be base64") from e
        await anyio.to_thread.run_sync(self._store, fields, content)
        return {}

    def _store(self, fields: dict[str, str], content: bytes) -> None:
        path = fields.get("path", "")
        if not path:
            raise invalid("Missing required field: path")
        overwrite = fields.get("overwrite", "false").lower() == "true"
        target = self._folder.workspace_path(path)
        kind = fields.get("format", "SOURCE")
        if kind == "SOURCE":
            language = fields.get("language", "")
            if language not in LANGUAGES:
                raise invalid("language is required for the format SOURCE: PYTHON, SQL, SCALA or R")
            extension, header = LANGUAGES[language]
            if not content.startswith(header.encode()):
                content = header.encode() + b"\n" + content
            target = _with_extension(target, extension)
        elif kind == "JUPYTER":
            target = _with_extension(target, ".ipynb")
        elif kind not in ("AUTO", "RAW"):
            raise invalid(
                f"The format {kind} is not supported by the embedded workspace: use SOURCE, JUPYTER or AUTO"
            )
        if not target.parent.is_dir():
            raise missing(f"The parent folder ({_shown(self._folder, target.parent)}) does not exist.")
        if target.is_dir():
            raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Path ({path}) is a directory.")
        existing = _find(self._folder.workspace_path(path)) or (target if target.exists() else None)
        if existing is not None:
            if not overwrite:
                raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Path ({path}) already exists.")
            if existing.is_file() and existing != target:
                existing.unlink()
        incoming = self._folder.private / f"import-{uuid.uuid4().hex}"
        incoming.write_bytes(content)
        incoming.replace(target)

    def export(self, call: Call) -> Response | Json:
        path = call.required("path")
        found = self._require(path)
        if found.is_dir():
            raise invalid(
                f"Path ({path}) is a directory; the embedded workspace exports files and notebooks only."
            )
        data = found.read_bytes()
        if call.flag("direct_download"):
            return Response(data, media_type="application/octet-stream")
        return {"content": base64.b64encode(data).decode(), "file_type": found.suffix.lstrip(".")}

    def get_status(self, call: Call) -> Json:
        return self._describe(self._require(call.required("path")))

    def list_folder(self, call: Call) -> Json:
        path = call.required("path")
        found = self._require(path)
        if not found.is_dir():
            return {"objects": [self._describe(found)]}
        objects = [self._describe(child) for child in sorted(found.iterdir())]
        return {"objects": objects} if objects else {}

    def mkdirs(self, call: Call) -> Json:
        path = call.required("path")
        try:
            self._folder.workspace_path(path).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ApiError(
                400, "RESOURCE_ALREADY_EXISTS", f"The folder {path} cannot be made: {e.strerror}"
            ) from e
        return {}

    def delete(self, call: Call) -> Json:
        path = call.required("path")
        found = self._require(path)
        if found == self._folder.workspace.resolve():
            raise invalid("The root folder cannot be deleted.")
        if found.is_file():
            found.unlink()
        elif call.flag("recursive"):
            shutil.rmtree(found)
        else:
            try:
                found.rmdir()
            except OSError as e:
                raise ApiError(400, "DIRECTORY_NOT_EMPTY", f"Folder ({path}) is not empty") from e
        return {}

    def _require(self, path: str) -> Path:
        found = _find(self._folder.workspace_path(path))
        if found is None:
            raise missing(f"Path ({path}) doesn't exist.")
        return found

    def _describe(self, path: Path) -> Json:
        status = path.stat()
        described: Json = {
            "path": _shown(self._folder, path),
            "object_id": int.from_bytes(
                hashlib.sha256(str(path).encode("utf-8", "replace")).digest()[:6], "big"
            ),
            "resource_id": "",
            "created_at": int(status.st_ctime * 1000),
            "modified_at": int(status.st_mtime * 1000),
        }
        described["resource_id"] = str(described["object_id"])
        if path.is_dir():
            return described | {"object_type": "DIRECTORY"}
        language = notebook_language(path)
        if language is None:
            return described | {"object_type": "FILE", "size": status.st_size}
        described["path"] = described["path"][: -len(path.suffix)]
        return described | {"object_type": "NOTEBOOK", "language": language}


def notebook_language(path: Path) -> str | None:
    """The language of a notebook's file, None when the file is no notebook."""
    if path.suffix == ".ipynb":
        return "PYTHON"
    for language, (extension, header) in LANGUAGES.items():
        if path.suffix.lower() == extension:
            with path.open("rb") as file:
                return language if file.read(len(header)) == header.encode() else None
    return None


def _with_extension(path: Path, extension: str) -> Path:
    return path if path.suffix.lower() == extension else path.with_name(path.name + extension)


def _find(path: Path) -> Path | None:
    """The file or folder of that name, else the notebook that is addressed without its extension."""
    if path.exists():
        return path
    for extension in _NOTEBOOK_EXTENSIONS:
        candidate = path.with_name(path.name + extension)
        if candidate.is_file() and notebook_language(candidate) is not None:
            return candidate
    return None


def _shown(folder: Folder, path: Path) -> str:
    relative = path.relative_to(folder.workspace.resolve()).as_posix()
    return "/" if relative == "." else f"/{relative}"
