"""Which Unity Catalog objects there are: names, and whether one exists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.api.errors import ApiError, invalid, missing
from lakeflow_job_meta.local.folder import Folder

if TYPE_CHECKING:
    from lakeflow_job_meta.local.spark.registry import Registry

_FORBIDDEN = re.compile(r"[./ \x00-\x1f\x7f]")
_KINDS = {"CATALOG": 1, "SCHEMA": 2, "TABLE": 3, "VOLUME": 3, "COLUMN": 4}


class Securables:
    """The objects of the workspace, whoever keeps them.

    Args:
        folder: where volumes are.
        registry: schemas and tables; None when the workspace runs without Spark.
        catalogs: the names of the catalogs.
    """

    def __init__(self, folder: Folder, registry: Registry | None, catalogs: Sequence[str]) -> None:
        self.folder = folder
        self._catalogs = [name.lower() for name in catalogs]
        self._registry = registry

    @property
    def catalogs(self) -> list[str]:
        """The names of the catalogs, in lower case."""
        return self._catalogs if self._registry is None else self._registry.catalogs()

    def add_catalog(self, name: str) -> bool:
        """Makes a catalog; False when it is there already."""
        if self._registry is not None:
            return self._registry.create_catalog(name)
        if name.lower() in self._catalogs:
            return False
        self._catalogs.append(name.lower())
        return True

    @property
    def registry(self) -> Registry:
        """Schemas and tables; raises ApiError 501 without Spark."""
        if self._registry is None:
            raise ApiError(501, "NOT_IMPLEMENTED", "This workspace runs without Spark: it has no tables.")
        return self._registry

    def require(self, kind: str, full_name: str) -> str:
        """The name in lower case.

        Args:
            kind: CATALOG, SCHEMA, TABLE, VOLUME or COLUMN.
            full_name: with dots.

        Raises:
            ApiError: 404 when there is no such object, 400 when the name is no name of that kind.
        """
        name = full_name.lower()
        parts = name.split(".")
        if kind not in _KINDS:
            raise invalid(f"{kind.lower()} is not a kind of object that the embedded workspace knows")
        if len(parts) != _KINDS[kind]:
            raise invalid(f"'{full_name}' is not a valid name of a {kind.lower()}")
        if not self._exists(kind, parts):
            code = {"CATALOG": "CATALOG_DOES_NOT_EXIST", "SCHEMA": "SCHEMA_DOES_NOT_EXIST"}.get(
                kind, f"{kind}_DOES_NOT_EXIST"
            )
            raise ApiError(404, code, f"{kind.capitalize()} '{name}' does not exist.")
        return name

    def _exists(self, kind: str, parts: list[str]) -> bool:
        if kind == "CATALOG":
            return parts[0] in self.catalogs
        if kind == "VOLUME":
            return self.folder.volumes.joinpath(*parts).is_dir()
        if kind == "SCHEMA":
            return self.registry.schema(*parts) is not None
        relation = self.registry.get(*parts[:3])
        if relation is None or kind == "TABLE":
            return relation is not None
        return any(column.name.lower() == parts[3] for column in self.registry.columns(relation))


def uc_name(name: str, field: str) -> str:
    """A name of one part, in lower case, as Unity Catalog stores it.

    Raises:
        ApiError: 400 for a name that Unity Catalog refuses.
    """
    if not name or len(name) > 255 or _FORBIDDEN.search(name):
        raise invalid(
            f"{field} {name[:300]!r} is not a valid name: at most 255 characters,"
            " without dots, slashes, spaces and control characters"
        )
    return name.lower()


def parts_of(full_name: str, count: int) -> list[str]:
    """The parts of a full name in lower case; ApiError 404 when it has another number of them."""
    parts = full_name.lower().split(".")
    if len(parts) != count or not all(parts):
        raise missing(f"'{full_name}' does not exist.")
    return parts
