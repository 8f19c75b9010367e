"""The Permissions API as the port `Permissions`: direct entries, in bundle syntax both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import quote

from lakeflow_job_meta.adapters.databricks_calls import Calls
from lakeflow_job_meta.jobs.permissions import OWNER, PRINCIPALS, expected
from lakeflow_job_meta.ports import JsonObject, ObjectKind

PERMISSIONS = "/api/2.0/permissions"
_LABEL = {"jobs": "job", "queries": "query"}
_MANAGE = "CAN_MANAGE"


class DatabricksPermissions:
    """Implements `ports.Permissions`.

    A query has no owner among its permissions; what keeps it in our hands is the caller's own CAN_MANAGE, which a
    PUT would strip. It is therefore shown as the level IS_OWNER and kept like a job's owner.

    Args:
        caller: user name or application id of whoever calls.
    """

    def __init__(self, calls: Calls, caller: Callable[[], str]) -> None:
        self._calls = calls
        self._caller = caller

    def get(self, kind: ObjectKind, object_id: str) -> list[JsonObject]:
        label = _LABEL[kind]
        answer = self._calls.get(
            _path(kind, object_id),
            f"read the permissions of {label} {object_id}",
            subject=f"{label} {object_id}",
        )
        return self._entries(kind, answer)

    def set(self, kind: ObjectKind, object_id: str, entries: Iterable[JsonObject]) -> None:
        wanted = expected(list(entries), self.get(kind, object_id))
        label = _LABEL[kind]
        body = {"access_control_list": [_wire(kind, entry) for entry in wanted]}
        self._calls.write(
            "PUT",
            _path(kind, object_id),
            f"set the permissions of {label} {object_id}",
            body=body,
            subject=f"{label} {object_id}",
        )

    def _entries(self, kind: ObjectKind, answer: JsonObject) -> list[JsonObject]:
        entries: list[JsonObject] = []
        for access in answer.get("access_control_list") or ():
            principal = next(((name, access[name]) for name in PRINCIPALS if access.get(name)), None)
            if principal is None:
                continue
            for permission in access.get("all_permissions") or ():
                if permission.get("inherited"):
                    continue
                level = permission.get("permission_level")
                if kind == "queries" and level == _MANAGE and principal[1] == self._caller():
                    level = OWNER
                entries.append({principal[0]: principal[1], "level": level})
        return entries


def _wire(kind: ObjectKind, entry: JsonObject) -> JsonObject:
    level = entry["level"]
    wire = {name: entry[name] for name in PRINCIPALS if entry.get(name)}
    wire["permission_level"] = _MANAGE if kind == "queries" and level == OWNER else level
    return wire


def _path(kind: ObjectKind, object_id: str) -> str:
    return f"{PERMISSIONS}/{kind}/{quote(str(object_id), safe='')}"
