"""Unity Catalog's volumes, tags and grants as the port `Catalog`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

from lakeflow_job_meta.adapters.databricks_calls import Calls
from lakeflow_job_meta.errors import InvalidRequest, NotFound, UnclearOutcome
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import JsonObject

PREFIX = "/api/2.1/unity-catalog"
TAGS = f"{PREFIX}/entity-tag-assignments"
_EXISTS = {"CATALOG_ALREADY_EXISTS", "VOLUME_ALREADY_EXISTS", "RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"}


class DatabricksCatalog:
    """Implements `ports.Catalog`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def catalog_exists(self, name: str) -> bool:
        try:
            self._calls.get(f"{PREFIX}/catalogs/{quote(name, safe='')}", f"look for the catalog {name}")
        except NotFound:
            return False
        return True

    def create_catalog(self, name: str, comment: str = "") -> bool:
        try:
            self._calls.create(
                f"{PREFIX}/catalogs", f"make the catalog {name}", {"name": name, "comment": comment}
            )
        except InvalidRequest as error:
            if error.error_code in _EXISTS or "already exists" in str(error):
                return False
            raise
        except UnclearOutcome:
            if self.catalog_exists(name):
                return True
            raise
        return True

    def volume_exists(self, name: TableName) -> bool:
        try:
            self._calls.get(f"{PREFIX}/volumes/{_path(name)}", f"look for the volume {name}")
        except NotFound:
            return False
        return True

    def create_volume(self, name: TableName, comment: str = "") -> bool:
        body: JsonObject = {
            "catalog_name": name.catalog,
            "schema_name": name.schema,
            "name": name.table,
            "volume_type": "MANAGED",
            "comment": comment,
        }
        try:
            self._calls.create(f"{PREFIX}/volumes", f"make the volume {name}", body)
        except InvalidRequest as error:
            if error.error_code in _EXISTS or "already exists" in str(error):
                return False
            raise
        except UnclearOutcome:
            if self.volume_exists(name):
                return True
            raise
        return True

    def volume_tags(self, name: TableName) -> dict[str, str]:
        path = f"{TAGS}/volumes/{_path(name)}/tags"
        return {
            str(one["tag_key"]): str(one.get("tag_value") or "")
            for one in self._pages(path, f"read the tags of {name}", "tag_assignments")
        }

    def set_volume_tag(self, name: TableName, key: str, value: str) -> None:
        what = f"set the tag {key!r} of {name}"
        tag = f"{TAGS}/volumes/{_path(name)}/tags/{quote(key, safe='')}"
        body: JsonObject = {
            "entity_type": "volumes",
            "entity_name": str(name),
            "tag_key": key,
            "tag_value": value,
        }
        if key in self.volume_tags(name):
            self._calls.write("PATCH", f"{tag}?update_mask=tag_value", what, body=body)
        else:
            self._calls.write("POST", TAGS, what, body=body)

    def delete_volume_tag(self, name: TableName, key: str) -> None:
        path = f"{TAGS}/volumes/{_path(name)}/tags/{quote(key, safe='')}"
        try:
            self._calls.write("DELETE", path, f"take the tag {key!r} off {name}")
        except NotFound:
            return

    def volume_grants(self, name: TableName) -> dict[str, frozenset[str]]:
        path = f"{PREFIX}/permissions/volume/{_path(name)}"
        found: dict[str, frozenset[str]] = {}
        for one in self._pages(path, f"read the grants on {name}", "privilege_assignments"):
            privileges = frozenset(map(str, one.get("privileges") or ()))
            found[str(one["principal"])] = found.get(str(one["principal"]), frozenset()) | privileges
        return found

    def change_volume_grants(
        self,
        name: TableName,
        *,
        add: Mapping[str, Iterable[str]],
        remove: Mapping[str, Iterable[str]],
    ) -> None:
        changes = [
            {
                "principal": principal,
                "add": sorted(add.get(principal, ())),
                "remove": sorted(remove.get(principal, ())),
            }
            for principal in sorted({*add, *remove})
        ]
        if changes:
            path = f"{PREFIX}/permissions/volume/{_path(name)}"
            self._calls.write("PATCH", path, f"change the grants on {name}", body={"changes": changes})

    def _pages(self, path: str, what: str, field: str) -> Iterator[JsonObject]:
        """The entries of every page; a page may be empty, only a missing token ends."""
        query: JsonObject = {}
        while True:
            page = self._calls.get(path, what, query=dict(query))
            yield from page.get(field) or ()
            token = page.get("next_page_token")
            if not token or token == query.get("page_token"):
                return
            query["page_token"] = token


def _path(name: TableName) -> str:
    return quote(str(name), safe="")
