"""Schemas, tables, volumes, folders, warehouses and clusters as `platform.Platform`."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from lakeflow_job_meta.adapters.databricks_calls import ME, Calls
from lakeflow_job_meta.adapters.databricks_catalog import PREFIX
from lakeflow_job_meta.errors import InvalidRequest, NotFound, UnclearOutcome
from lakeflow_job_meta.ports import CallCount, Caller, JsonObject, Securable, SecurableKind

_PATHS: dict[SecurableKind, str] = {
    "catalog": "catalogs",
    "schema": "schemas",
    "volume": "volumes",
    "table": "tables",
}


class DatabricksPlatform:
    """Implements `platform.Platform`."""

    def __init__(self, calls: Calls, count: CallCount) -> None:
        self._calls = calls
        self.count = count

    def caller(self) -> Caller:
        me = self._calls.get(ME, "ask the workspace who is calling")
        groups = frozenset(str(group.get("display") or "") for group in me.get("groups") or ())
        return Caller(str(me.get("userName") or me.get("applicationId") or ""), groups)

    def find(self, kind: SecurableKind, full_name: str) -> Securable | None:
        try:
            found = self._calls.get(_object(kind, full_name), f"look for the {kind} {full_name}")
        except NotFound:
            return None
        name, owner, comment = (str(found.get(key) or "") for key in ("full_name", "owner", "comment"))
        return Securable(name or full_name, owner, comment)

    def privileges(self, kind: SecurableKind, full_name: str, principal: str) -> frozenset[str]:
        path = f"{PREFIX}/effective-permissions/{kind}/{quote(full_name, safe='')}"
        what = f"read the privileges of {principal} on {full_name}"
        found: set[str] = set()
        query: JsonObject = {"principal": principal}
        while True:
            page = self._calls.get(path, what, query=dict(query))
            for one in page.get("privilege_assignments") or ():
                found |= {str(each.get("privilege")) for each in one.get("privileges") or ()}
            token = page.get("next_page_token")
            if not token or token == query.get("page_token"):
                return frozenset(found)
            query["page_token"] = token

    def create_schema(self, catalog: str, schema: str, comment: str = "") -> None:
        body: JsonObject = {"catalog_name": catalog, "name": schema, "comment": comment}
        try:
            self._calls.create(f"{PREFIX}/schemas", f"make the schema {catalog}.{schema}", body)
        except InvalidRequest as error:
            if "ALREADY_EXISTS" not in error.error_code and "already exists" not in str(error):
                raise
        except UnclearOutcome:
            if self.find("schema", f"{catalog}.{schema}") is None:
                raise

    def tables(self, catalog: str, schema: str) -> list[str]:
        return sorted(self._tables(catalog, schema))

    def _tables(self, catalog: str, schema: str) -> Iterator[str]:
        query: JsonObject = {"catalog_name": catalog, "schema_name": schema, "omit_columns": "true"}
        while True:
            page = self._calls.get(
                f"{PREFIX}/tables", f"list the tables of {catalog}.{schema}", query=dict(query)
            )
            yield from (str(table["full_name"]) for table in page.get("tables") or ())
            token = page.get("next_page_token")
            if not token or token == query.get("page_token"):
                return
            query["page_token"] = token

    def delete(self, kind: SecurableKind, full_name: str) -> None:
        try:
            self._calls.write("DELETE", _object(kind, full_name), f"delete the {kind} {full_name}")
        except NotFound:
            return

    def create_folder(self, path: str) -> None:
        self._calls.write(
            "PUT", f"/api/2.0/fs/directories{quote(path.rstrip('/'))}", f"make the folder {path}"
        )

    def warehouse(self, warehouse_id: str) -> JsonObject | None:
        try:
            return self._calls.get(
                f"/api/2.0/sql/warehouses/{quote(warehouse_id, safe='')}",
                f"look for the SQL warehouse {warehouse_id}",
            )
        except NotFound:
            return None

    def cluster(self, cluster_id: str) -> JsonObject | None:
        what = f"look for the cluster {cluster_id}"
        try:
            return self._calls.get("/api/2.1/clusters/get", what, query={"cluster_id": cluster_id})
        except NotFound:
            return None
        except InvalidRequest as error:  # the platform says 400 "Cluster ... does not exist"
            if "does not exist" in str(error):
                return None
            raise


def _object(kind: SecurableKind, full_name: str) -> str:
    return f"{PREFIX}/{_PATHS[kind]}/{quote(full_name, safe='')}"
