"""Unity Catalog volumes: the folder DIR/Volumes/<catalog>/<schema>/<volume> is the volume."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

import orjson
from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, Call, Json, page, route
from lakeflow_job_meta.local.api.catalog import PREFIX
from lakeflow_job_meta.local.api.errors import ApiError, exists, invalid
from lakeflow_job_meta.local.api.identity import METASTORE_ID
from lakeflow_job_meta.local.api.securables import Securables, uc_name
from lakeflow_job_meta.local.state import Database

_PAGE = 1000


class VolumesApi:
    """Handlers of volumes.

    Args:
        database: where their comments are.
        securables: the objects of the workspace.
    """

    def __init__(self, database: Database, securables: Securables) -> None:
        self._database = database
        self._securables = securables

    def routes(self) -> list[Route]:
        return [
            route("GET", f"{PREFIX}/volumes", self.list_volumes),
            route("POST", f"{PREFIX}/volumes", self.create),
            route("GET", f"{PREFIX}/volumes/{{name}}", self.read),
            route("PATCH", f"{PREFIX}/volumes/{{name}}", self.update),
            route("DELETE", f"{PREFIX}/volumes/{{name}}", self.delete),
        ]

    def list_volumes(self, call: Call) -> Json:
        catalog = self._securables.require("CATALOG", call.required("catalog_name"))
        schema = uc_name(call.required("schema_name"), "schema_name")
        folder = self._securables.folder.volumes / catalog / schema
        if not folder.is_dir():
            self._securables.require("SCHEMA", f"{catalog}.{schema}")
        names = sorted(child.name for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []
        size = call.integer("max_results", 0)
        chosen, following = page(names, call.text("page_token"), min(size or _PAGE, _PAGE))
        body: Json = {"volumes": [self._describe(f"{catalog}.{schema}.{name}") for name in chosen]}
        if following:
            body["next_page_token"] = following
        return body

    def create(self, call: Call) -> Json:
        catalog = self._securables.require("CATALOG", call.required("catalog_name"))
        schema = uc_name(call.required("schema_name"), "schema_name")
        if not (self._securables.folder.volumes / catalog / schema).is_dir():
            self._securables.require("SCHEMA", f"{catalog}.{schema}")
        name = uc_name(call.required("name"), "name")
        if call.text("volume_type", "MANAGED") != "MANAGED":
            raise invalid("volume_type: the embedded workspace has managed volumes only")
        full_name = f"{catalog}.{schema}.{name}"
        try:
            self._path(full_name).mkdir(parents=True)
        except FileExistsError as e:
            raise exists(f"Volume '{full_name}' already exists") from e
        if call.text("comment"):
            self._comment(full_name, call.text("comment"))
        return self._describe(full_name)

    def read(self, call: Call) -> Json:
        return self._describe(self._securables.require("VOLUME", call.path["name"]))

    def update(self, call: Call) -> Json:
        full_name = self._securables.require("VOLUME", call.path["name"])
        if "comment" in call.body:
            self._comment(full_name, call.text("comment"))
        if call.text("new_name"):
            new = ".".join([*full_name.split(".")[:2], uc_name(call.text("new_name"), "new_name")])
            if self._path(new).exists():
                raise exists(f"Volume '{new}' already exists")
            self._path(full_name).rename(self._path(new))
            self._comment(new, self._describe(full_name).get("comment", ""))
            self._forget(full_name)
            full_name = new
        return self._describe(full_name)

    def delete(self, call: Call) -> Json:
        full_name = self._securables.require("VOLUME", call.path["name"])
        # Out of sight at once, whatever happens while it is deleted.
        away = self._securables.folder.private / f"deleted-{uuid.uuid4().hex}"
        try:
            self._path(full_name).rename(away)
        except OSError as e:
            raise ApiError(409, "ABORTED", f"Volume '{full_name}' cannot be deleted: {e.strerror}") from e
        shutil.rmtree(away, ignore_errors=True)
        self._forget(full_name)
        return {}

    def _path(self, full_name: str) -> Path:
        return self._securables.folder.volumes.joinpath(*full_name.split("."))

    def _comment(self, full_name: str, comment: str) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO documents(kind, key, body) VALUES ('volume', ?, ?)",
            full_name,
            orjson.dumps(comment).decode(),
        )

    def _forget(self, full_name: str) -> None:
        self._database.write("DELETE FROM documents WHERE kind = 'volume' AND key = ?", full_name)

    def _describe(self, full_name: str) -> Json:
        catalog, schema, name = full_name.split(".")
        rows = self._database.read("SELECT body FROM documents WHERE kind = 'volume' AND key = ?", full_name)
        path = self._path(full_name)
        created = int(path.stat().st_ctime * 1000) if path.exists() else 0
        return {
            "name": name,
            "catalog_name": catalog,
            "schema_name": schema,
            "full_name": full_name,
            "volume_type": "MANAGED",
            "volume_id": str(uuid.UUID(bytes=hashlib.sha256(full_name.encode()).digest()[:16])),
            "owner": USER,
            "comment": orjson.loads(rows[0]["body"]) if rows else "",
            "created_at": created,
            "created_by": USER,
            "updated_at": created,
            "updated_by": USER,
            "storage_location": path.as_uri(),
            "metastore_id": METASTORE_ID,
        }
