"""`information_schema` of a catalog (and of `system`, over all catalogs).

Written to a Parquet file when a statement names one of its views; Sail reads the file through a
view. Columns are those of Databricks that an embedded workspace has an answer for.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lakeflow_job_meta.local.spark.delta import Column
from lakeflow_job_meta.local.spark.errors import Refused
from lakeflow_job_meta.local.spark.registry import Registry, Relation
from lakeflow_job_meta.local.spark.sail import SYSTEM_CATALOG

SCHEMA = "information_schema"
SYSTEM = "system"
OWNER = "local@localhost"

Row = tuple[Any, ...]


def view_of(parts: Sequence[str], catalog: str, catalogs: Sequence[str]) -> tuple[str, str, str] | None:
    """Catalog, schema and view (the last two as spelled) when a name means one of these views."""
    lower = [part.lower() for part in parts[:3]]
    if len(lower) >= 2 and lower[0] == SCHEMA and lower[1] in VIEWS:
        return catalog, parts[0], parts[1]
    if len(lower) == 3 and lower[1] == SCHEMA and lower[2] in VIEWS:
        if lower[0] in (SYSTEM, SYSTEM_CATALOG):
            return SYSTEM, parts[1], parts[2]
        if lower[0] in catalogs:
            return lower[0], parts[1], parts[2]
    return None


def write(registry: Registry, catalog: str, view: str) -> str:
    """Writes the present content of a view and returns the path of its Parquet file.

    Args:
        catalog: a catalog, or `system` for all of them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, produce = VIEWS[view.lower()]
    catalogs = registry.catalogs() if catalog == SYSTEM else [catalog]
    rows = list(produce(registry, catalogs))
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    types = {"string": pa.string(), "int": pa.int32(), "time": pa.timestamp("us", "UTC")}
    arrays = [pa.array(column, types[kind]) for (_, kind), column in zip(columns, values, strict=True)]
    digest = hashlib.sha256(repr(rows).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    folder = registry.scratch / SCHEMA
    folder.mkdir(parents=True, exist_ok=True)
    # Named by its content: a session that was told of the file need not be told again.
    path = folder / f"{catalog}-{view.lower()}-{digest}.parquet"
    if not path.exists():
        draft = folder / f".{secrets.token_hex(8)}"
        pq.write_table(pa.table(arrays, names=[name for name, _ in columns]), draft)
        draft.replace(path)
        _prune(folder, f"{catalog}-{view.lower()}-")
    return str(path)


def _prune(folder: Path, prefix: str, keep: int = 20) -> None:
    files = sorted(folder.glob(f"{prefix}*.parquet"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[keep:]:
        file.unlink(missing_ok=True)


def _relations(registry: Registry, catalogs: Iterable[str]) -> Iterable[Relation]:
    for catalog in catalogs:
        for schema in registry.schemas(catalog):
            yield from registry.relations(catalog, schema.name)


def _catalogs(registry: Registry, catalogs: Iterable[str]) -> Iterable[Row]:
    return ((catalog, OWNER, None) for catalog in catalogs)


def _schemata(registry: Registry, catalogs: Iterable[str]) -> Iterable[Row]:
    for catalog in catalogs:
        for schema in registry.schemas(catalog):
            moment = schema.created * 1000
            yield catalog, schema.name, OWNER, schema.comment or None, moment, OWNER, moment, OWNER


def _tables(registry: Registry, catalogs: Iterable[str]) -> Iterable[Row]:
    for r in _relations(registry, catalogs):
        kind = "VIEW" if r.is_view else ("MANAGED" if r.managed else "EXTERNAL")
        source = "UNKNOWN_DATA_SOURCE_FORMAT" if r.is_view else "DELTA"
        moment = r.created * 1000
        path = None if r.managed or r.location is None else str(r.location)
        yield (
            *r.key, kind, "YES", "NO", OWNER, r.comment or None, moment, OWNER, moment, OWNER, source, path
        )  # fmt: skip


def _views(registry: Registry, catalogs: Iterable[str]) -> Iterable[Row]:
    return ((*r.key, r.text, "NONE", "NO") for r in _relations(registry, catalogs) if r.is_view)


def _columns(registry: Registry, catalogs: Iterable[str]) -> Iterable[Row]:
    for r in _relations(registry, catalogs):
        try:
            columns: Sequence[Column] = registry.columns(r)
        except Refused:
            continue  # a table whose log cannot be read has no columns to show
        partitions = registry.partition_columns(r)
        for place, column in enumerate(columns):
            partition = partitions.index(column.name) if column.name in partitions else None
            yield (
                *r.key, column.name, place, column.metadata.get("CURRENT_DEFAULT"), "YES" if column.nullable else "NO",
                column.type.upper(), column.type.upper().partition("(")[0].partition("<")[0], partition,
                column.comment or None,
            )  # fmt: skip


_TABLE = [("table_catalog", "string"), ("table_schema", "string"), ("table_name", "string")]
_CHANGES = [
    ("created", "time"),
    ("created_by", "string"),
    ("last_altered", "time"),
    ("last_altered_by", "string"),
]

VIEWS: dict[str, tuple[list[tuple[str, str]], Callable[[Registry, Iterable[str]], Iterable[Row]]]] = {
    "catalogs": ([("catalog_name", "string"), ("catalog_owner", "string"), ("comment", "string")], _catalogs),
    "schemata": (
        [
            ("catalog_name", "string"),
            ("schema_name", "string"),
            ("schema_owner", "string"),
            ("comment", "string"),
            *_CHANGES,
        ],
        _schemata,
    ),
    "tables": (
        [
            *_TABLE,
            ("table_type", "string"),
            ("is_insertable_into", "string"),
            ("commit_action", "string"),
            ("table_owner", "string"),
            ("comment", "string"),
            *_CHANGES,
            ("data_source_format", "string"),
            ("storage_path", "string"),
        ],
        _tables,
    ),
    "views": (
        [*_TABLE, ("view_definition", "string"), ("check_option", "string"), ("is_updatable", "string")],
        _views,
    ),
    "columns": (
        [
            *_TABLE,
            ("column_name", "string"),
            ("ordinal_position", "int"),
            ("column_default", "string"),
            ("is_nullable", "string"),
            ("full_data_type", "string"),
            ("data_type", "string"),
            ("partition_index", "int"),
            ("comment", "string"),
        ],
        _columns,
    ),
}
