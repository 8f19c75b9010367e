"""Datasets on plain Sail: a landed file, its tenant's schemas, and a sync of it by the functions of the tasks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.datasets import naming, paths
from lakeflow_job_meta.datasets.events import Events
from lakeflow_job_meta.datasets.model import Phase
from lakeflow_job_meta.datasets.sync import Sync
from lakeflow_job_meta.datasets.tables import DatasetTables
from lakeflow_job_meta.datasets.tasks import attempt, conclude
from lakeflow_job_meta.names import TableName

_NUMBERS = itertools.count(1)


class Clock:
    """A clock that moves a second at each look, so that no two things happen at once."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


@dataclass
class World:
    """A tenant of its own, and what is synced for it."""

    sail: Any
    spark: Any
    tables: Any
    schema: tuple[str, str]
    root: Path
    tenant: str = field(default_factory=lambda: f"t{next(_NUMBERS)}")
    clock: Clock = field(default_factory=Clock)
    told: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for schema in ("bronze", "silver"):
            self.sail.create_schema(self.spark, naming.catalog_of(self.tenant), schema)

    @property
    def names(self) -> DatasetTables:
        return DatasetTables(TableName(*self.schema, "etl_control"))

    @property
    def events(self) -> Events:
        return Events(self.tables, self.names.events, self.names.status)

    def land(
        self,
        columns: dict[str, Sequence[Any]],
        *,
        dataset_id: str = "d1",
        version: int = 1,
        table: Any = None,
    ) -> str:
        """Write a Parquet file where a version of a dataset is landed; its path."""
        import pyarrow as pa
        from pyarrow import parquet

        path = paths.landed_path(str(self.root), self.tenant, dataset_id, version)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if table is None:  # as an upload does: a column without values is text
            arrays = {name: pa.array(values) for name, values in columns.items()}
            table = pa.table(
                {n: a.cast(pa.string()) if pa.types.is_null(a.type) else a for n, a in arrays.items()}
            )
        parquet.write_table(table, path)
        return path

    def sync(
        self,
        columns: dict[str, Sequence[Any]] | None = None,
        *,
        name: str = "Sales",
        dataset_id: str = "d1",
        version: int = 1,
        run_id: str = "",
        table: Any = None,
        target: dict[str, Any] | None = None,
        source: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Sync:
        """A sync of a version of a dataset, its file landed when columns are given."""
        rows = None
        path = paths.landed_path(str(self.root), self.tenant, dataset_id, version)
        if columns is not None or table is not None:
            self.land(columns or {}, dataset_id=dataset_id, version=version, table=table)
            rows = table.num_rows if table is not None else len(next(iter((columns or {}).values())))
        facts = {
            "tenant_id": self.tenant,
            "dataset_id": dataset_id,
            "dataset_name": name,
            "path": path,
            "version": version,
            "row_count": rows,
            **(source or {}),
        }
        return Sync(
            module_name=naming.module_of(self.tenant),
            source_id=f"ds_{dataset_id}",
            source_config=facts,
            target_config=target or {},
            settings=settings,
            names=self.names,
            tables=self.tables,
            volumes=FuseVolumes(None),
            clock=self.clock,
            log=lambda event, **more: None,
            version=version,
            run_id=run_id or f"run-{next(_NUMBERS)}",
        )

    def tell(self, event: str, **facts: Any) -> None:
        self.told.append({"event": event, **facts})

    def run(self, sync: Sync) -> dict[str, Any]:
        """All three tasks, as a run without failures has them; the record's summary."""
        self.step(sync, Phase.BRONZE)
        self.step(sync, Phase.SILVER)
        return self.end(sync)

    def step(self, sync: Sync, phase: Phase, attempt_: int = 1) -> dict[str, Any]:
        return attempt(replace(sync, attempt=attempt_), phase, self.tell)

    def end(self, sync: Sync, run: Any = None) -> dict[str, Any]:
        return conclude(sync, lambda: run, self.tell)

    def rows(self, table: TableName, *, lineage: bool = False) -> list[dict[str, Any]]:
        found = self.tables.query(f"SELECT * FROM {table.quoted}")
        return (
            found
            if lineage
            else [{name: value for name, value in row.items() if not name.startswith("_")} for row in found]
        )

    def types(self, table: TableName) -> dict[str, str]:
        return {column.name: column.type for column in self.tables.columns(table)}

    def clean(self, columns: dict[str, Sequence[Any]] | None = None, **given: Any) -> Sync:
        """Bronze and silver of these columns; the sync, whose `targets` have the tables."""
        sync = self.sync(columns, **given)
        self.run(sync)
        return sync
