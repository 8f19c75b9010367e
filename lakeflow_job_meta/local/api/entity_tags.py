"""Tags of Unity Catalog objects (entity tag assignments)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timezone

import orjson
from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, Call, Json, page, route
from lakeflow_job_meta.local.api.catalog import PREFIX
from lakeflow_job_meta.local.api.errors import ApiError, invalid, missing
from lakeflow_job_meta.local.api.securables import Securables
from lakeflow_job_meta.local.state import Database

MAX_TAGS = 50
MAX_KEY = 255
MAX_VALUE = 1000
_KEY_FORBIDDEN = re.compile(r"[.,\-=/:]")
#: entity_type of the API -> kind of object.
_TYPES = {
    "catalogs": "CATALOG",
    "schemas": "SCHEMA",
    "tables": "TABLE",
    "columns": "COLUMN",
    "volumes": "VOLUME",
}

_DDL = """
CREATE TABLE IF NOT EXISTS entity_tags(
    entity_type TEXT NOT NULL, entity_name TEXT NOT NULL, tag_key TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY(entity_type, entity_name, tag_key)
);
"""


class EntityTagsApi:
    """Handlers of `/api/2.1/unity-catalog/entity-tag-assignments`.

    Args:
        database: where the tags are.
        securables: the objects of the workspace.
        clock: seconds since the epoch.
    """

    def __init__(
        self, database: Database, securables: Securables, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._securables = securables
        self._clock = clock
        database.script(_DDL)

    def routes(self) -> list[Route]:
        prefix = f"{PREFIX}/entity-tag-assignments"
        tags = f"{prefix}/{{entity_type}}/{{entity_name}}/tags"
        return [
            route("POST", prefix, self.create),
            route("GET", tags, self.list_tags),
            route("GET", f"{tags}/{{tag_key}}", self.get),
            route("PATCH", f"{tags}/{{tag_key}}", self.update),
            route("DELETE", f"{tags}/{{tag_key}}", self.delete),
        ]

    def create(self, call: Call) -> Json:
        kind, name = self._entity(call)
        key, value = call.required("tag_key"), call.text("tag_value")
        if len(key) > MAX_KEY or _KEY_FORBIDDEN.search(key):
            raise invalid(
                f"tag_key {key[:300]!r} is invalid: at most {MAX_KEY} characters, none of . , - = / :"
            )
        with self._database.transaction():
            if self._find(kind, name, key) is not None:
                raise ApiError(409, "ALREADY_EXISTS", f"Tag '{key}' is already assigned to {kind} '{name}'.")
            count = self._database.read(
                "SELECT count(*) AS n FROM entity_tags WHERE entity_type = ? AND entity_name = ?", kind, name
            )[0]["n"]
            if count >= MAX_TAGS:
                raise invalid(f"{kind} '{name}' has {count} tags already: at most {MAX_TAGS} are allowed")
            return self._save(kind, name, key, value)

    def get(self, call: Call) -> Json:
        return self._found(call)

    def update(self, call: Call) -> Json:
        found = self._found(call)
        mask = call.text("update_mask") or "tag_value"
        if mask not in ("tag_value", "*"):
            raise invalid(f"update_mask: only tag_value can be updated, not {mask!r}")
        kind, name = self._entity(call)
        return self._save(kind, name, found["tag_key"], str(call.body.get("tag_value") or ""))

    def delete(self, call: Call) -> Json:
        found = self._found(call)
        self._database.write(
            "DELETE FROM entity_tags WHERE entity_type = ? AND entity_name = ? AND tag_key = ?",
            found["entity_type"],
            found["entity_name"],
            found["tag_key"],
        )
        return {}

    def list_tags(self, call: Call) -> Json:
        kind, name = self._entity(call)
        rows = self._database.read(
            "SELECT body FROM entity_tags WHERE entity_type = ? AND entity_name = ? ORDER BY tag_key",
            kind,
            name,
        )
        size = call.integer("max_results", 0)
        chosen, following = page(
            [orjson.loads(row["body"]) for row in rows], call.text("page_token"), size or MAX_TAGS
        )
        body: Json = {"tag_assignments": chosen}
        if following:
            body["next_page_token"] = following
        return body

    def _entity(self, call: Call) -> tuple[str, str]:
        kind = call.required("entity_type")
        if kind not in _TYPES:
            raise invalid(f"entity_type must be one of {', '.join(_TYPES)}, not {kind!r}")
        return kind, self._securables.require(_TYPES[kind], call.required("entity_name"))

    def _find(self, kind: str, name: str, key: str) -> Json | None:
        rows = self._database.read(
            "SELECT body FROM entity_tags WHERE entity_type = ? AND entity_name = ? AND tag_key = ?",
            kind,
            name,
            key,
        )
        return dict(orjson.loads(rows[0]["body"])) if rows else None

    def _found(self, call: Call) -> Json:
        kind, name = self._entity(call)
        found = self._find(kind, name, call.path["tag_key"])
        if found is None:
            raise missing(f"Tag '{call.path['tag_key']}' is not assigned to {kind} '{name}'.")
        return found

    def _save(self, kind: str, name: str, key: str, value: str) -> Json:
        if len(value) > MAX_VALUE:
            raise invalid(f"tag_value is limited to {MAX_VALUE} characters")
        moment = datetime.fromtimestamp(self._clock(), timezone.utc)
        body: Json = {
            "entity_type": kind,
            "entity_name": name,
            "tag_key": key,
            "tag_value": value,
            "update_time": moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "updated_by": USER,
        }
        self._database.write(
            "INSERT OR REPLACE INTO entity_tags(entity_type, entity_name, tag_key, body) VALUES (?, ?, ?, ?)",
            kind,
            name,
            key,
            orjson.dumps(body).decode(),
        )
        return body
