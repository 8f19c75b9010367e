"""The registry: which datasets there are, every version of them, over the Tables port."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.control.companion import chosen, text_array
from lakeflow_job_meta.datasets.model import Dataset
from lakeflow_job_meta.datasets.naming import tenant_part
from lakeflow_job_meta.datasets.tables import DatasetTables
from lakeflow_job_meta.datasets.tables import registry as definition
from lakeflow_job_meta.errors import DatasetNotFound, TableNotFound
from lakeflow_job_meta.ports import Tables

_KEYS = ("dataset_id", "version")


class Registry:
    """The datasets of one control table. A table that is not there reads as empty.

    Args:
        tables: the SQL engine.
    """

    def __init__(self, tables: Tables, names: DatasetTables) -> None:
        self._tables = tables
        self.definition = definition(names.registry)

    def versions(self, dataset_id: str, *, deleted: bool = False) -> list[Dataset]:
        """The dataset's versions, oldest first; those of a deleted dataset only when asked for."""
        found = self._read("`dataset_id` = :dataset_id", {"dataset_id": dataset_id}, deleted=deleted)
        return sorted(found, key=lambda one: one.version)

    def latest(
        self,
        tenant_id: str | None = None,
        dataset_ids: Collection[str] | None = None,
        name: str | None = None,
    ) -> list[Dataset]:
        """The newest version of each dataset that is not deleted, newest upload first.

        Args:
            tenant_id, dataset_ids, name: only these.
        """
        where, parameters = ["true"], dict[str, Any]()
        if tenant_id is not None:
            where.append("`tenant_id` = :tenant_id")
            parameters["tenant_id"] = tenant_id
        if name is not None:
            where.append("`name` = :name")
            parameters["name"] = name
        if dataset_ids is not None:
            where.append(chosen("dataset_id", "dataset_ids"))
            parameters["dataset_ids"] = text_array(dataset_ids)
        newest: dict[str, Dataset] = {}
        for one in self._read(" AND ".join(where), parameters):
            if one.dataset_id not in newest or newest[one.dataset_id].version < one.version:
                newest[one.dataset_id] = one
        return sorted(newest.values(), key=lambda one: (_time(one), one.dataset_id), reverse=True)

    def find(self, dataset_id: str, tenant_id: str | None = None) -> Dataset:
        """The newest version of a dataset.

        Raises:
            DatasetNotFound: there is none, it was deleted, or it is another tenant's.
        """
        found = self.versions(dataset_id)
        if not found or (tenant_id is not None and found[-1].tenant_id != tenant_id):
            raise DatasetNotFound(
                f"there is no dataset {dataset_id!r}"
                + (f" of tenant {tenant_id!r}" if tenant_id is not None else "")
                + "; `dataset list` shows those there are"
            )
        return found[-1]

    def deleted(self, tenant_id: str, name: str) -> int:
        """How many datasets of this name the tenant had and deleted."""
        where = "`tenant_id` = :tenant_id AND `name` = :name AND `deleted_at` IS NOT NULL"
        found = self._read(where, {"tenant_id": tenant_id, "name": name}, deleted=True)
        return len({one.dataset_id for one in found})

    def namesake(self, tenant_id: str) -> str | None:
        """Another tenant whose names would be this one's: their ids are normalised to one; None: there is none."""
        try:
            rows = self._tables.query(f"SELECT DISTINCT `tenant_id` FROM {self.definition.name.quoted}")
        except TableNotFound:
            return None
        part = tenant_part(tenant_id)
        for row in rows:
            other = row["tenant_id"] or ""
            if other != tenant_id and tenant_part(other) == part:
                return str(other)
        return None

    def add(self, dataset: Dataset) -> None:
        """Write a version down; its file was landed before, so that no two have one number."""
        row = _row(dataset)
        try:
            commit(lambda: self._tables.append(self.definition, [row]))
        except TableNotFound:
            self.ensure()
            commit(lambda: self._tables.append(self.definition, [row]))

    def mark_deleted(self, versions: Collection[Dataset], at: datetime) -> None:
        """Mark these versions as deleted."""
        if versions:
            rows = [_row(replace(one, deleted_at=at)) for one in versions]
            commit(
                lambda: self._tables.merge(
                    self.definition, rows, keys=_KEYS, update=("deleted_at",), insert=False
                )
            )

    def ensure(self) -> None:
        """Make the schema and the table unless they are there."""
        try:
            commit(lambda: self._tables.create_table(self.definition))
        except TableNotFound:
            name = self.definition.name
            commit(lambda: self._tables.create_schema(name.catalog, name.schema))
            commit(lambda: self._tables.create_table(self.definition))

    def _read(self, where: str, parameters: dict[str, Any], *, deleted: bool = False) -> list[Dataset]:
        names = ", ".join(f"`{column.name}`" for column in self.definition.columns)
        alive = "" if deleted else " AND `deleted_at` IS NULL"
        try:
            rows = self._tables.query(
                f"SELECT {names} FROM {self.definition.name.quoted} WHERE {where}{alive}", parameters
            )
        except TableNotFound:
            return []
        return [_dataset(row) for row in rows]


def _time(dataset: Dataset) -> float:
    return dataset.created_at.timestamp() if dataset.created_at else 0.0


def _row(dataset: Dataset) -> dict[str, Any]:
    return {
        "dataset_id": dataset.dataset_id,
        "tenant_id": dataset.tenant_id,
        "name": dataset.name,
        "description": dataset.description,
        "source_type": dataset.source_type,
        "file_name": dataset.file_name,
        "version": dataset.version,
        "path": dataset.path,
        "sha256": dataset.sha256,
        "bytes": dataset.bytes,
        "row_count": dataset.row_count_local,
        "schema": orjson.dumps(list(dataset.schema)).decode(),
        "sample_rows": orjson.dumps(list(dataset.sample_rows)).decode(),
        "created_at": dataset.created_at,
        "deleted_at": dataset.deleted_at,
    }


def _dataset(row: dict[str, Any]) -> Dataset:
    return Dataset(
        dataset_id=row["dataset_id"],
        tenant_id=row["tenant_id"] or "",
        name=row["name"] or "",
        version=int(row["version"] or 0),
        path=row["path"] or "",
        row_count_local=int(row["row_count"] or 0),
        schema=tuple(orjson.loads(row["schema"] or "[]")),
        source_type=row["source_type"] or "",
        file_name=row["file_name"] or "",
        description=row["description"] or "",
        sha256=row["sha256"] or "",
        bytes=int(row["bytes"] or 0),
        sample_rows=tuple(orjson.loads(row["sample_rows"] or "[]")),
        created_at=row["created_at"],
        deleted_at=row["deleted_at"],
    )
