"""The Permissions API as the port `Permissions`: direct entries, in bundle syntax both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import quote

from lakeflow_job_meta.adapters.databricks_calls import Calls
from lakeflow_job_meta.jobs.permissions import MANAGE, OWNER, PRINCIPALS, expected
from lakeflow_job_meta.ports import JsonObject, ObjectKind

PERMISSIONS = "/api/2.0/permissions"
_LABEL = {"jobs": "job", "queries": "query"}
#: Levels of jobs as levels of queries, where they differ.
_QUERY_LEVEL = {"CAN_MANAGE_RUN": "CAN_RUN", OWNER: MANAGE}
_JOB_LEVEL = {"CAN_RUN": "CAN_MANAGE_RUN"}


class DatabricksPermissions:
    """Implements `ports.Permissions`.

    Levels are those of jobs for both kinds: who may run a job may run its queries, so a query's CAN_RUN is
    CAN_MANAGE_RUN here. A query has no owner among its permissions; what keeps it in our hands is the caller's own
    CAN_MANAGE, which a PUT would strip. It is shown as IS_OWNER and kept like a job's owner.

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
                if kind == "queries":
                    held_by_us = level == MANAGE and principal[1] == self._caller()
                    level = OWNER if held_by_us else _JOB_LEVEL.get(level, level)
                entries.append({principal[0]: principal[1], "level": level})
        return entries


def _wire(kind: ObjectKind, entry: JsonObject) -> JsonObject:
    level = entry["level"]
    wire = {name: entry[name] for name in PRINCIPALS if entry.get(name)}
    wire["permission_level"] = _QUERY_LEVEL.get(level, level) if kind == "queries" else level
    return wire


def _path(kind: ObjectKind, object_id: str) -> str:
    return f"{PERMISSIONS}/{kind}/{quote(str(object_id), safe='')}"
