"""Grants on Unity Catalog objects. They are kept and shown, not enforced: there is one user."""

from __future__ import annotations

import re

import orjson
from starlette.routing import Route

from lakeflow_job_meta.local.api.call import Call, Json, route
from lakeflow_job_meta.local.api.catalog import PREFIX
from lakeflow_job_meta.local.api.errors import invalid
from lakeflow_job_meta.local.api.securables import Securables
from lakeflow_job_meta.local.state import Database

#: Privileges that are granted on an object of a kind or, to be inherited, on one above it.
_ON_VOLUME = {"ALL_PRIVILEGES", "READ_VOLUME", "WRITE_VOLUME", "APPLY_TAG", "MANAGE"}
_ON_TABLE = {"ALL_PRIVILEGES", "SELECT", "MODIFY", "APPLY_TAG", "MANAGE"}
_ON_SCHEMA = {
    *_ON_VOLUME,
    *_ON_TABLE,
    "USE_SCHEMA",
    "CREATE_TABLE",
    "CREATE_VIEW",
    "CREATE_VOLUME",
    "CREATE_FUNCTION",
    "CREATE_MATERIALIZED_VIEW",
    "CREATE_MODEL",
    "CREATE_MODEL_VERSION",
    "EXECUTE",
    "EXTERNAL_USE_SCHEMA",
    "REFRESH",
}
_PRIVILEGES = {
    "VOLUME": _ON_VOLUME,
    "TABLE": _ON_TABLE,
    "SCHEMA": _ON_SCHEMA,
    "CATALOG": {*_ON_SCHEMA, "USE_CATALOG", "CREATE_SCHEMA", "BROWSE"},
}
_SPACES = re.compile(r"[ _]+")

Assignments = dict[str, list[str]]


class GrantsApi:
    """Handlers of `/api/2.1/unity-catalog/permissions/...`.

    Args:
        database: where the grants are.
        securables: the objects of the workspace.
    """

    def __init__(self, database: Database, securables: Securables) -> None:
        self._database = database
        self._securables = securables

    def routes(self) -> list[Route]:
        return [
            route("GET", f"{PREFIX}/permissions/{{type}}/{{full_name}}", self.get),
            route("PATCH", f"{PREFIX}/permissions/{{type}}/{{full_name}}", self.update),
            route("GET", f"{PREFIX}/effective-permissions/{{type}}/{{full_name}}", self.get_effective),
        ]

    def get(self, call: Call) -> Json:
        kind, name = self._object(call)
        return _shown(self._load(kind, name), call.text("principal"))

    def update(self, call: Call) -> Json:
        kind, name = self._object(call)
        with self._database.transaction():
            assignments = self._load(kind, name)
            for change in call.array("changes"):
                principal = change.get("principal") if isinstance(change, dict) else None
                if not isinstance(principal, str) or not principal:
                    raise invalid("changes: every change needs a principal")
                privileges = set(assignments.get(principal, []))
                privileges |= {_privilege(kind, given) for given in change.get("add") or []}
                privileges -= {_privilege(kind, given) for given in change.get("remove") or []}
                assignments[principal] = sorted(privileges)
                if not privileges:
                    del assignments[principal]
            self._database.write(
                "INSERT OR REPLACE INTO documents(kind, key, body) VALUES ('grants', ?, ?)",
                f"{kind}/{name}",
                orjson.dumps(assignments).decode(),
            )
        return _shown(assignments, "")

    def get_effective(self, call: Call) -> Json:
        kind, name = self._object(call)
        parts = name.split(".")
        above = [("CATALOG", parts[0]), ("SCHEMA", ".".join(parts[:2]))][: len(parts) - 1]
        found: dict[str, list[Json]] = {}
        for from_kind, from_name in [(kind, name), *above]:
            for principal, privileges in self._load(from_kind, from_name).items():
                inherited = {"inherited_from_type": from_kind, "inherited_from_name": from_name}
                found.setdefault(principal, []).extend(
                    {"privilege": privilege, **({} if from_name == name else inherited)}
                    for privilege in privileges
                )
        wanted = call.text("principal")
        return {
            "privilege_assignments": [
                {"principal": principal, "privileges": privileges}
                for principal, privileges in sorted(found.items())
                if not wanted or principal == wanted
            ]
        }

    def _object(self, call: Call) -> tuple[str, str]:
        kind = call.path["type"].upper()
        if kind not in _PRIVILEGES:
            raise invalid(f"securable type {call.path['type']!r} is not known to the embedded workspace")
        return kind, self._securables.require(kind, call.path["full_name"])

    def _load(self, kind: str, name: str) -> Assignments:
        rows = self._database.read(
            "SELECT body FROM documents WHERE kind = 'grants' AND key = ?", f"{kind}/{name}"
        )
        return dict(orjson.loads(rows[0]["body"])) if rows else {}


def _privilege(kind: str, given: object) -> str:
    name = _SPACES.sub("_", str(given)).upper()
    if name not in _PRIVILEGES[kind]:
        raise invalid(f"Privilege {given} is not applicable to this entity: {kind.lower()}")
    return name


def _shown(assignments: Assignments, principal: str) -> Json:
    return {
        "privilege_assignments": [
            {"principal": name, "privileges": privileges}
            for name, privileges in sorted(assignments.items())
            if not principal or name == principal
        ]
    }
