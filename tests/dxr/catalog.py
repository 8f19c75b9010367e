"""A stand-in for Unity Catalog's volumes, tags and grants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lakeflow_job_meta.errors import PermissionDenied
from lakeflow_job_meta.names import TableName


class FakeCatalog:
    """Unity Catalog: a volume is a folder, tags and grants are in memory.

    Args:
        root: the folder that stands for `/Volumes`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tags: dict[TableName, dict[str, str]] = {}
        self.grants: dict[TableName, dict[str, frozenset[str]]] = {}
        self.forbidden: set[str] = set()
        self.writes = 0

    def catalog_exists(self, name: str) -> bool:
        return (self.root / name).is_dir()

    def create_catalog(self, name: str, comment: str = "") -> bool:
        self.writes += 1
        (self.root / name).mkdir(parents=True, exist_ok=True)
        return True

    def volume_exists(self, name: TableName) -> bool:
        return self._folder(name).is_dir()

    def create_volume(self, name: TableName, comment: str = "") -> bool:
        if name.table in self.forbidden:
            raise PermissionDenied(f"cannot make the volume {name}: no CREATE VOLUME", status=403)
        self.writes += 1
        self._folder(name).mkdir(parents=True, exist_ok=True)
        return True

    def _folder(self, name: TableName) -> Path:
        return self.root / name.catalog / name.schema / name.table

    def volume_tags(self, name: TableName) -> dict[str, str]:
        return dict(self.tags.get(name, {}))

    def set_volume_tag(self, name: TableName, key: str, value: str) -> None:
        self.writes += 1
        self.tags.setdefault(name, {})[key] = value

    def delete_volume_tag(self, name: TableName, key: str) -> None:
        self.writes += 1
        del self.tags[name][key]

    def volume_grants(self, name: TableName) -> dict[str, frozenset[str]]:
        return dict(self.grants.get(name, {}))

    def change_volume_grants(
        self, name: TableName, *, add: Mapping[str, Iterable[str]], remove: Mapping[str, Iterable[str]]
    ) -> None:
        self.writes += 1
        held = self.grants.setdefault(name, {})
        for who in {*add, *remove}:
            held[who] = (held.get(who, frozenset()) | set(add.get(who, ()))) - set(remove.get(who, ()))
