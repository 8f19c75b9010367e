"""Who and where: the one user, the workspace's id, and compute that there is none of."""

from __future__ import annotations

import random

import orjson
from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, USER_ID, Call, Json, route
from lakeflow_job_meta.local.state import Database

METASTORE_ID = "00000000-0000-4000-8000-000000000001"


def workspace_id(database: Database) -> int:
    """The id of this workspace: made once for its folder, different from any other folder's."""
    with database.transaction():
        rows = database.read("SELECT body FROM documents WHERE kind = 'workspace' AND key = 'id'")
        if rows:
            return int(orjson.loads(rows[0]["body"]))
        made = random.SystemRandom().randrange(10**15, 10**16)
        database.write("INSERT INTO documents(kind, key, body) VALUES ('workspace', 'id', ?)", str(made))
        return made


class IdentityApi:
    """Handlers of the current user, the host's metadata, the metastore and clusters.

    Args:
        workspace: the workspace's id.
    """

    def __init__(self, workspace: int) -> None:
        self._workspace = workspace

    def routes(self) -> list[Route]:
        return [
            route("GET", "/.well-known/databricks-config", self.host_metadata),
            route("GET", "/api/2.0/preview/scim/v2/Me", self.me),
            route("GET", "/api/2.1/unity-catalog/metastore_summary", self.metastore),
            route("GET", "/api/2.1/unity-catalog/current-metastore-assignment", self.assignment),
            route("GET", "/api/2.0/clusters/list", self.clusters),
            route("GET", "/api/2.1/clusters/list", self.clusters),
        ]

    def host_metadata(self, call: Call) -> Json:
        base = str(call.request.base_url).rstrip("/")
        return {"oidc_endpoint": f"{base}/oidc", "workspace_id": str(self._workspace)}

    def me(self, call: Call) -> Json:
        return {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": USER_ID,
            "userName": USER,
            "displayName": "Local User",
            "active": True,
            "emails": [{"type": "work", "value": USER, "primary": True}],
            "groups": [{"display": "admins", "type": "direct", "value": "1"}],
        }

    def metastore(self, call: Call) -> Json:
        return {
            "metastore_id": METASTORE_ID,
            "name": "local",
            "owner": USER,
            "cloud": "local",
            "region": "local",
            "global_metastore_id": f"local:local:{METASTORE_ID}",
            "privilege_model_version": "1.0",
        }

    def assignment(self, call: Call) -> Json:
        return {
            "metastore_id": METASTORE_ID,
            "workspace_id": self._workspace,
            "default_catalog_name": "main",
        }

    def clusters(self, call: Call) -> Json:
        return {"clusters": []}
