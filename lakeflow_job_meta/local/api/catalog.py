"""Unity Catalog: catalogs, schemas and tables, from the registry that Spark sessions share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.routing import Route

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.api.call import USER, Call, Json, page, route
from lakeflow_job_meta.local.api.column_types import column_type
from lakeflow_job_meta.local.api.errors import ApiError, exists, invalid
from lakeflow_job_meta.local.api.identity import METASTORE_ID
from lakeflow_job_meta.local.api.securables import Securables, parts_of, uc_name

if TYPE_CHECKING:
    from lakeflow_job_meta.local.spark.registry import Registry, Relation, Schema

PREFIX = "/api/2.1/unity-catalog"
_PAGE = 1000


class CatalogApi:
    """Handlers of catalogs, schemas and tables.

    Args:
        securables: the objects of the workspace.
    """

    def __init__(self, securables: Securables) -> None:
        self._securables = securables

    @property
    def _registry(self) -> Registry:
        return self._securables.registry

    def routes(self) -> list[Route]:
        return [
            route("GET", f"{PREFIX}/catalogs", self.list_catalogs),
            route("POST", f"{PREFIX}/catalogs", self.create_catalog),
            route("GET", f"{PREFIX}/catalogs/{{name}}", self.get_catalog),
            route("GET", f"{PREFIX}/schemas", self.list_schemas),
            route("POST", f"{PREFIX}/schemas", self.create_schema),
            route("GET", f"{PREFIX}/schemas/{{full_name}}", self.get_schema),
            route("PATCH", f"{PREFIX}/schemas/{{full_name}}", self.update_schema),
            route("DELETE", f"{PREFIX}/schemas/{{full_name}}", self.delete_schema),
            route("GET", f"{PREFIX}/tables", self.list_tables),
            route("GET", f"{PREFIX}/table-summaries", self.list_summaries),
            route("GET", f"{PREFIX}/tables/{{full_name}}", self.get_table),
            route("GET", f"{PREFIX}/tables/{{full_name}}/exists", self.table_exists),
            route("DELETE", f"{PREFIX}/tables/{{full_name}}", self.delete_table),
        ]

    # ------------------------------------------------------------ catalogs

    def list_catalogs(self, call: Call) -> Json:
        return _paged(call, "catalogs", [_catalog(name) for name in sorted(self._securables.catalogs)])

    def create_catalog(self, call: Call) -> Json:
        name = uc_name(call.required("name"), "name")
        if not self._securables.add_catalog(name):
            raise exists(f"Catalog '{name}' already exists")
        return _catalog(name)

    def get_catalog(self, call: Call) -> Json:
        return _catalog(self._securables.require("CATALOG", call.path["name"]))

    # ------------------------------------------------------------ schemas

    def list_schemas(self, call: Call) -> Json:
        catalog = self._securables.require("CATALOG", call.required("catalog_name"))
        return _paged(call, "schemas", [_schema(schema) for schema in self._registry.schemas(catalog)])

    def create_schema(self, call: Call) -> Json:
        catalog = self._securables.require("CATALOG", call.required("catalog_name"))
        name = uc_name(call.required("name"), "name")
        if not self._registry.create_schema(catalog, name, call.text("comment")):
            raise ApiError(400, "SCHEMA_ALREADY_EXISTS", f"Schema '{name}' already exists")
        return _schema(self._found_schema(f"{catalog}.{name}"))

    def get_schema(self, call: Call) -> Json:
        return _schema(self._found_schema(call.path["full_name"]))

    def update_schema(self, call: Call) -> Json:
        schema = self._found_schema(call.path["full_name"])
        if call.text("new_name"):
            raise invalid("new_name: the embedded workspace cannot rename a schema")
        if "comment" in call.body:
            self._registry.comment_schema(schema.catalog, schema.name, call.text("comment"))
        return _schema(self._found_schema(call.path["full_name"]))

    def delete_schema(self, call: Call) -> Json:
        schema = self._found_schema(call.path["full_name"])
        volumes = self._securables.folder.volumes / schema.catalog / schema.name
        if not call.flag("force") and volumes.is_dir() and any(volumes.iterdir()):
            raise invalid(f"Schema '{schema.catalog}.{schema.name}' is not empty: it has volumes.")
        try:
            self._registry.drop_schema(schema.catalog, schema.name, cascade=call.flag("force"))
        except LocalError as e:
            raise invalid(str(e)) from e
        return {}

    # ------------------------------------------------------------ tables

    def list_tables(self, call: Call) -> Json:
        schema = self._found_schema(f"{call.required('catalog_name')}.{call.required('schema_name')}")
        bare = call.flag("omit_columns")
        size = call.integer("max_results", 0) or 50
        relations, following = page(
            self._registry.relations(schema.catalog, schema.name), call.text("page_token"), min(size, 50)
        )
        body: Json = {"tables": [self._table(relation, bare) for relation in relations]}
        if following:
            body["next_page_token"] = following
        return body

    def list_summaries(self, call: Call) -> Json:
        catalog = self._securables.require("CATALOG", call.required("catalog_name"))
        summaries = [
            {"full_name": relation.full_name, "table_type": _table_type(relation)}
            for schema in self._registry.schemas(catalog)
            for relation in self._registry.relations(catalog, schema.name)
        ]
        return _paged(call, "tables", summaries)

    def get_table(self, call: Call) -> Json:
        return self._table(self._found_table(call.path["full_name"]), False)

    def table_exists(self, call: Call) -> Json:
        parts = call.path["full_name"].lower().split(".")
        return {"table_exists": len(parts) == 3 and self._registry.get(*parts) is not None}

    def delete_table(self, call: Call) -> Json:
        self._registry.drop(*self._found_table(call.path["full_name"]).key)
        return {}

    def _found_schema(self, full_name: str) -> Schema:
        name = self._securables.require("SCHEMA", full_name)
        found = self._registry.schema(*name.split("."))
        if found is None:
            raise ApiError(404, "SCHEMA_DOES_NOT_EXIST", f"Schema '{full_name}' does not exist.")
        return found

    def _found_table(self, full_name: str) -> Relation:
        found = self._registry.get(*parts_of(full_name, 3))
        if found is None:
            raise ApiError(404, "TABLE_DOES_NOT_EXIST", f"Table '{full_name}' does not exist.")
        return found

    def _table(self, relation: Relation, bare: bool) -> Json:
        described: Json = {
            "name": relation.name,
            "catalog_name": relation.catalog,
            "schema_name": relation.schema,
            "full_name": relation.full_name,
            "table_type": _table_type(relation),
            "owner": USER,
            "comment": relation.comment,
            "created_at": relation.created,
            "created_by": USER,
            "updated_at": relation.created,
            "updated_by": USER,
            "metastore_id": METASTORE_ID,
            "properties": dict(relation.properties),
        }
        if relation.location is None:
            described["view_definition"] = relation.text
        else:
            described |= {"data_source_format": "DELTA", "storage_location": relation.location.as_uri()}
        if not bare:
            described["comment"] = self._registry.comment(relation)
            described["columns"] = [
                {
                    "name": column.name,
                    **column_type(column.type),
                    "type_json": orjson.dumps({"name": column.name, "type": column.type}).decode(),
                    "position": position,
                    "nullable": column.nullable,
                    "comment": column.comment,
                }
                for position, column in enumerate(self._registry.columns(relation))
            ]
        return described


def _paged(call: Call, name: str, items: list[Json]) -> Json:
    size = call.integer("max_results", 0)
    if size < 0:
        raise invalid("max_results must not be negative")
    chosen, following = page(items, call.text("page_token"), min(size or _PAGE, _PAGE))
    body: Json = {name: chosen}
    if following:
        body["next_page_token"] = following
    return body


def _catalog(name: str) -> Json:
    return {
        "name": name,
        "full_name": name,
        "owner": USER,
        "catalog_type": "MANAGED_CATALOG",
        "securable_type": "CATALOG",
        "isolation_mode": "OPEN",
        "metastore_id": METASTORE_ID,
        "created_by": USER,
    }


def _schema(schema: Schema) -> Json:
    return {
        "name": schema.name,
        "catalog_name": schema.catalog,
        "full_name": f"{schema.catalog}.{schema.name}",
        "owner": USER,
        "comment": schema.comment,
        "created_at": schema.created,
        "created_by": USER,
        "updated_at": schema.created,
        "updated_by": USER,
        "catalog_type": "MANAGED_CATALOG",
        "metastore_id": METASTORE_ID,
    }


def _table_type(relation: Relation) -> str:
    if relation.is_view:
        return "VIEW"
    return "MANAGED" if relation.managed else "EXTERNAL"
