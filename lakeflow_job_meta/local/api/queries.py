"""The Queries API: saved queries. Deleting moves one to the trash, where it can still be read."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import orjson
from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, Call, Json, route
from lakeflow_job_meta.local.api.errors import ApiError, invalid, missing
from lakeflow_job_meta.local.state import Database

DEFAULT_PARENT = f"/Workspace/Users/{USER}"

#: Fields of a query that its user may write.
WRITABLE = (
    "apply_auto_limit",
    "catalog",
    "description",
    "display_name",
    "owner_user_name",
    "parameters",
    "parent_path",
    "query_text",
    "run_as_mode",
    "schema",
    "tags",
    "warehouse_id",
)
#: parent_path is set at the create and cannot be changed by an update.
_UPDATABLE = tuple(name for name in WRITABLE if name != "parent_path")
_STRINGS = (
    "catalog",
    "description",
    "display_name",
    "owner_user_name",
    "parent_path",
    "query_text",
    "schema",
    "warehouse_id",
)


_DDL = """
CREATE TABLE IF NOT EXISTS queries(
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    active INTEGER NOT NULL,
    parent_path TEXT NOT NULL,
    display_name TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS queries_by_name ON queries(parent_path, display_name);
"""


class QueryStore:
    """Saved queries as wire dicts, trashed ones included."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.script(_DDL)

    def get(self, query_id: str) -> Json | None:
        rows = self._database.read("SELECT body FROM queries WHERE id = ?", query_id)
        return dict(orjson.loads(rows[0]["body"])) if rows else None

    def active(self, size: int, below: int) -> list[tuple[int, Json]]:
        """Queries out of the trash, newest first, numbered lower than `below`."""
        rows = self._database.read(
            "SELECT number, body FROM queries WHERE active = 1 AND number < ? ORDER BY number DESC LIMIT ?",
            below,
            size,
        )
        return [(row["number"], orjson.loads(row["body"])) for row in rows]

    def is_taken(self, parent_path: str, display_name: str, own_id: str) -> bool:
        """Whether another query of the folder, out of the trash, has the name."""
        return bool(
            self._database.read(
                "SELECT 1 FROM queries WHERE parent_path = ? AND display_name = ? AND active = 1 AND id <> ? LIMIT 1",
                parent_path,
                display_name,
                own_id,
            )
        )

    def save(self, query: Json) -> None:
        """Adds a query, or replaces the one of the same id."""
        self._database.write(
            "INSERT INTO queries(id, active, parent_path, display_name, body) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT(id) DO UPDATE SET active = excluded.active, parent_path = excluded.parent_path,"
            " display_name = excluded.display_name, body = excluded.body",
            query["id"],
            int(query["lifecycle_state"] == "ACTIVE"),
            query["parent_path"],
            query["display_name"],
            orjson.dumps(query).decode(),
        )


class QueriesApi:
    """Handlers of `/api/2.0/sql/queries`.

    Args:
        store: the queries.
        folder_exists: whether a workspace folder is there, for parent_path.
        clock: seconds since the epoch.
    """

    def __init__(
        self, store: QueryStore, folder_exists: Callable[[str], bool], clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._folder_exists = folder_exists
        self._clock = clock

    def routes(self) -> list[Route]:
        path = "/api/2.0/sql/queries"
        return [
            route("POST", path, self.create),
            route("GET", path, self.list),
            route("GET", path + "/{id}", self.get),
            route("PATCH", path + "/{id}", self.update),
            route("DELETE", path + "/{id}", self.delete),
            route("GET", path + "/{id}/visualizations", self.visualizations),
        ]

    def create(self, call: Call) -> Json:
        given = {
            name: value
            for name, value in call.object("query").items()
            if name in WRITABLE and value is not None
        }
        _check(given)
        if not given.get("display_name"):
            given["display_name"] = "New Query"
        parent = given.setdefault("parent_path", DEFAULT_PARENT)
        if not self._folder_exists(parent):
            raise missing(f"Path ({parent}) doesn't exist.")
        self._name(given, call.flag("auto_resolve_display_name"), "")
        now = self._now()
        query: Json = {
            "query_text": "",
            "run_as_mode": "OWNER",
            "apply_auto_limit": False,
            **given,
            "id": str(uuid.uuid4()),
            "owner_user_name": USER,
            "last_modifier_user_name": USER,
            "lifecycle_state": "ACTIVE",
            "create_time": now,
            "update_time": now,
        }
        self._store.save(query)
        return query

    def get(self, call: Call) -> Json:
        return self._query(call)

    def list(self, call: Call) -> Json:
        size = call.integer("page_size", 20)
        if not 0 <= size <= 100:
            raise invalid(f"page_size must be between 1 and 100, not {size}")
        token = call.text("page_token")
        if token and not token.isdigit():
            raise invalid(f"Invalid page_token: {token}")
        size = size or 20
        found = self._store.active(size + 1, int(token) if token else 2**62)
        results = [{k: v for k, v in query.items() if k != "parent_path"} for _, query in found[:size]]
        body: Json = {"results": results}
        if len(found) > size:
            body["next_page_token"] = str(found[size - 1][0])
        return body

    def update(self, call: Call) -> Json:
        query = self._query(call)
        if query["lifecycle_state"] != "ACTIVE":
            raise missing(f"Query {query['id']} is in the trash.")
        given = call.object("query")
        names = [name.strip() for name in call.required("update_mask").split(",") if name.strip()]
        if names == ["*"]:
            names = list(_UPDATABLE)
        unknown = [name for name in names if name not in _UPDATABLE]
        if unknown:
            raise invalid(
                f"update_mask: {', '.join(unknown)} cannot be updated; expected {', '.join(_UPDATABLE)}"
            )
        changed = {name: given[name] for name in names if given.get(name) is not None}
        _check(changed)
        if "display_name" in names:
            if not changed.get("display_name"):
                raise invalid("display_name must not be empty")
            changed["parent_path"] = query["parent_path"]
            self._name(changed, call.flag("auto_resolve_display_name"), query["id"])
        updated = {k: v for k, v in query.items() if k not in names} | changed
        updated |= {"last_modifier_user_name": USER, "update_time": self._now()}
        updated.setdefault("owner_user_name", USER)
        updated.setdefault("run_as_mode", "OWNER")
        self._store.save(updated)
        return updated

    def delete(self, call: Call) -> Json:
        query = self._query(call)
        if query["lifecycle_state"] == "ACTIVE":
            self._store.save({**query, "lifecycle_state": "TRASHED", "update_time": self._now()})
        return {}

    def visualizations(self, call: Call) -> Json:
        self._query(call)
        return {"results": []}

    def _query(self, call: Call) -> Json:
        query = self._store.get(call.path["id"])
        if query is None:
            raise missing(f"Query {call.path['id']} does not exist.")
        return query

    def _name(self, query: Json, resolve: bool, own_id: str) -> None:
        """Two active queries of one folder cannot have one name."""
        parent, name = query["parent_path"], query["display_name"]
        if not self._store.is_taken(parent, name, own_id):
            return
        if not resolve:
            raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Node named '{name}' already exists")
        number = 1
        while self._store.is_taken(parent, f"{name} ({number})", own_id):
            number += 1
        query["display_name"] = f"{name} ({number})"

    def _now(self) -> str:
        moment = datetime.fromtimestamp(self._clock(), timezone.utc)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _check(query: Json) -> None:
    for name in _STRINGS:
        if not isinstance(query.get(name, ""), str):
            raise invalid(f"query.{name} must be a string")
    for name in ("parameters", "tags"):
        if not isinstance(query.get(name, []), list):
            raise invalid(f"query.{name} must be an array")
    if query.get("run_as_mode", "OWNER") not in ("OWNER", "VIEWER"):
        raise invalid(
            f"Invalid value for query.run_as_mode: {query['run_as_mode']!r}; expected OWNER or VIEWER"
        )
    names: set[Any] = set()
    for parameter in query.get("parameters", []):
        parameter_name = parameter.get("name") if isinstance(parameter, dict) else None
        if not parameter_name:
            raise invalid("query.parameters: every parameter needs a name")
        if parameter_name in names:
            raise invalid(f"query.parameters: duplicate parameter {parameter_name!r}")
        names.add(parameter_name)
