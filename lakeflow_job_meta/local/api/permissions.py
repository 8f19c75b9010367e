"""The Permissions API for jobs, saved queries, and other objects that have access control lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, Call, Json, route
from lakeflow_job_meta.local.api.errors import invalid, missing
from lakeflow_job_meta.local.state import Database

#: Names of an object type in the path -> (object_type of the answer, folder of object_id, levels).
_TYPES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "jobs": ("job", "/jobs/", ("CAN_VIEW", "CAN_MANAGE_RUN", "IS_OWNER", "CAN_MANAGE")),
    "queries": (
        "query",
        "/queries/",
        ("CAN_VIEW", "CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE", "IS_OWNER"),
    ),
    "warehouses": (
        "warehouses",
        "/sql/warehouses/",
        ("CAN_USE", "CAN_MONITOR", "CAN_VIEW", "CAN_MANAGE", "IS_OWNER"),
    ),
    "notebooks": ("notebook", "/notebooks/", ("CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE")),
    "directories": ("directory", "/directories/", ("CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE")),
    "files": ("file", "/files/", ("CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE")),
}
_ALIASES = {"sql/queries": "queries", "sql/warehouses": "warehouses", "dbsql-queries": "queries"}
_PRINCIPALS = ("user_name", "group_name", "service_principal_name")

Entry = dict[str, Any]
Exists = Callable[[str], bool]


class PermissionStore:
    """Direct access control entries by object; the creator owns what has no entries yet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, kind: str, entries: list[Any]) -> None:
        """Raises ApiError 400 for entries that the platform refuses."""
        levels = _TYPES[kind][2]
        seen: set[tuple[str, str]] = set()
        for entry in entries:
            if not isinstance(entry, dict):
                raise invalid("access_control_list must hold objects")
            named = [(name, entry[name]) for name in _PRINCIPALS if entry.get(name)]
            if len(named) != 1:
                raise invalid(f"access_control_list: exactly one of {', '.join(_PRINCIPALS)} must be set")
            level = entry.get("permission_level")
            if level not in levels:
                raise invalid(
                    f"access_control_list: {level!r} is not a supported permission level of {kind};"
                    f" expected one of {', '.join(levels)}"
                )
            if level == "IS_OWNER" and named[0][0] == "group_name":
                raise invalid("access_control_list: groups can not be owners")
            if named[0] in seen:
                raise invalid(f"access_control_list: {named[0][1]!r} has more than one permission level")
            seen.add(named[0])
        if sum(entry.get("permission_level") == "IS_OWNER" for entry in entries) > 1:
            raise invalid("access_control_list: an object has exactly one owner")

    def direct(self, kind: str, object_id: str) -> list[Entry]:
        rows = self._database.read(
            "SELECT body FROM documents WHERE kind = 'permissions' AND key = ?", f"{kind}/{object_id}"
        )
        if rows:
            return list(orjson.loads(rows[0]["body"]))
        return [_default_owner(kind)]

    def replace(self, kind: str, object_id: str, entries: list[Any]) -> None:
        """PUT: exactly these entries; the owner stays when none is named."""
        self.check(kind, entries)
        kept = [_entry(entry) for entry in entries]
        if not any(entry["permission_level"] == "IS_OWNER" for entry in kept):
            owners = [e for e in self.direct(kind, object_id) if e["permission_level"] == "IS_OWNER"]
            names = {_principal(entry) for entry in kept}
            kept = [owner for owner in owners if _principal(owner) not in names] + kept
        self._save(kind, object_id, kept)

    def merge(self, kind: str, object_id: str, entries: list[Any]) -> None:
        """PATCH: adds these entries, replacing those of the same principals."""
        self.check(kind, entries)
        new = {_principal(entry): _entry(entry) for entry in entries}
        takes_over = any(entry["permission_level"] == "IS_OWNER" for entry in new.values())
        merged = [
            entry
            for entry in self.direct(kind, object_id)
            if _principal(entry) not in new and not (takes_over and entry["permission_level"] == "IS_OWNER")
        ]
        self._save(kind, object_id, merged + list(new.values()))

    def drop(self, kind: str, object_id: str) -> None:
        self._database.write(
            "DELETE FROM documents WHERE kind = 'permissions' AND key = ?", f"{kind}/{object_id}"
        )

    def _save(self, kind: str, object_id: str, entries: list[Entry]) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO documents(kind, key, body) VALUES ('permissions', ?, ?)",
            f"{kind}/{object_id}",
            orjson.dumps(entries).decode(),
        )


def _default_owner(kind: str) -> Entry:
    level = "IS_OWNER" if "IS_OWNER" in _TYPES[kind][2] else "CAN_MANAGE"
    return {"user_name": USER, "permission_level": level}


def _entry(entry: Entry) -> Entry:
    kind, name = _principal(entry)
    return {kind: name, "permission_level": entry["permission_level"]}


def _principal(entry: Entry) -> tuple[str, str]:
    return next((name, entry[name]) for name in _PRINCIPALS if entry.get(name))


class PermissionsApi:
    """Handlers of `/api/2.0/permissions/...`.

    Args:
        store: the entries.
        exists: by object type, whether an object with that id is there.
    """

    def __init__(self, store: PermissionStore, exists: dict[str, Exists]) -> None:
        self._store = store
        self._exists = exists

    def routes(self) -> list[Route]:
        made = []
        for prefix in (*_TYPES, *_ALIASES):
            path = f"/api/2.0/permissions/{prefix}/{{object_id}}"
            kind = _ALIASES.get(prefix, prefix)
            made += [
                route("GET", f"{path}/permissionLevels", self._bound(self.levels, kind)),
                route("GET", path, self._bound(self.get, kind)),
                route("PUT", path, self._bound(self.set, kind)),
                route("PATCH", path, self._bound(self.update, kind)),
            ]
        return made

    @staticmethod
    def _bound(handler: Callable[[Call, str], Json], kind: str) -> Callable[[Call], Json]:
        def bound(call: Call) -> Json:
            return handler(call, kind)

        return bound

    def get(self, call: Call, kind: str) -> Json:
        object_id = call.path["object_id"]
        self._require(kind, object_id)
        object_type, folder, _ = _TYPES[kind]
        entries = [_shown(entry, None) for entry in self._store.direct(kind, object_id)]
        # Every workspace's admins manage every object, by inheritance.
        admins = {"group_name": "admins", "permission_level": "CAN_MANAGE"}
        entries.append(_shown(admins, folder))
        return {
            "object_id": f"{folder}{object_id}",
            "object_type": object_type,
            "access_control_list": entries,
        }

    def set(self, call: Call, kind: str) -> Json:
        self._require(kind, call.path["object_id"])
        self._store.replace(kind, call.path["object_id"], call.array("access_control_list"))
        return self.get(call, kind)

    def update(self, call: Call, kind: str) -> Json:
        self._require(kind, call.path["object_id"])
        self._store.merge(kind, call.path["object_id"], call.array("access_control_list"))
        return self.get(call, kind)

    def levels(self, call: Call, kind: str) -> Json:
        return {
            "permission_levels": [
                {"permission_level": level, "description": level.replace("_", " ").capitalize()}
                for level in _TYPES[kind][2]
            ]
        }

    def _require(self, kind: str, object_id: str) -> None:
        exists = self._exists.get(kind)
        if exists is not None and not exists(object_id):
            raise missing(f"{_TYPES[kind][0].capitalize()} {object_id} does not exist.")


def _shown(entry: Entry, inherited_from: str | None) -> Entry:
    kind, name = _principal(entry)
    permission: Entry = {
        "permission_level": entry["permission_level"],
        "inherited": inherited_from is not None,
    }
    if inherited_from is not None:
        permission["inherited_from_object"] = [inherited_from]
    shown: Entry = {kind: name, "all_permissions": [permission]}
    if kind != "group_name":
        shown["display_name"] = name
    return shown
