"""SQL texts made of table definitions: DDL and MERGE, identifiers quoted, no values inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lakeflow_job_meta.errors import TablesError
from lakeflow_job_meta.names import quote_identifier
from lakeflow_job_meta.ports import Column, TableDefinition

#: Staged rows of one statement stay below this many bytes (Spark Connect messages: 128 MiB).
BATCH_BYTES = 64 * 1024 * 1024
_TYPE = re.compile(r"[A-Z]+(\([0-9]+(,[0-9]+)?\))?")


def quote_text(text: str) -> str:
    r"""`text` as a string literal of Spark SQL; `\'` is the one escape that every engine reads."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def _column(column: Column) -> str:
    if not _TYPE.fullmatch(column.type):
        raise TablesError(f"{column.type!r} is not a column type that this product writes")
    comment = f" COMMENT {quote_text(column.comment)}" if column.comment else ""
    return f"{quote_identifier(column.name)} {column.type}{comment}"


def create_table(definition: TableDefinition) -> str:
    """CREATE TABLE IF NOT EXISTS for a Delta table."""
    columns = ", ".join(_column(column) for column in definition.columns)
    comment = f" COMMENT {quote_text(definition.comment)}" if definition.comment else ""
    return f"CREATE TABLE IF NOT EXISTS {definition.name.quoted} ({columns}) USING DELTA{comment}"


def insert(definition: TableDefinition, source: str) -> str:
    """INSERT of every column of the definition from `source`, a view or a subquery."""
    names = _list(column.name for column in definition.columns)
    return f"INSERT INTO {definition.name.quoted} ({names}) SELECT {names} FROM {source}"


def merge(
    definition: TableDefinition,
    source: str,
    *,
    keys: Sequence[str],
    update: Sequence[str],
    inserted: Sequence[str],
    matched_when: str = "",
) -> str:
    """One MERGE of `source` (a view or subquery) as `s` into the table as `t`.

    Raises:
        TablesError: neither an update nor an insert was asked for.
    """
    clauses: list[str] = []
    if update:
        condition = f" AND ({matched_when})" if matched_when else ""
        assignments = ", ".join(f"{quote_identifier(name)} = s.{quote_identifier(name)}" for name in update)
        clauses.append(f"WHEN MATCHED{condition} THEN UPDATE SET {assignments}")
    if inserted:
        values = ", ".join(f"s.{quote_identifier(name)}" for name in inserted)
        clauses.append(f"WHEN NOT MATCHED THEN INSERT ({_list(inserted)}) VALUES ({values})")
    if not clauses:
        raise TablesError("a MERGE that neither updates nor inserts was asked for")
    on = " AND ".join(f"t.{quote_identifier(key)} = s.{quote_identifier(key)}" for key in keys)
    return f"MERGE INTO {definition.name.quoted} AS t USING {source} AS s ON {on} " + " ".join(clauses)


def _list(names: Iterable[str]) -> str:
    return ", ".join(quote_identifier(name) for name in names)


def staged_columns(definition: TableDefinition, rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The definition's columns that any of the rows has, in the definition's order.

    Raises:
        TablesError: a row has a column that the definition has not.
    """
    named: Collection[str] = {name for row in rows for name in row}
    columns = [column for column in definition.columns if column.name in named]
    if len(columns) != len(named):
        unknown = sorted(set(named) - {column.name for column in columns})
        raise TablesError(f"{definition.name} has no column {unknown[0]!r}")
    return columns


def _weight(row: Mapping[str, Any]) -> int:
    return sum(
        len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else 16
        for value in row.values()
    )


def batches(
    rows: Sequence[Mapping[str, Any]],
    limit: int = BATCH_BYTES,
    weight: Callable[[Mapping[str, Any]], int] = _weight,
) -> Iterator[list[Mapping[str, Any]]]:
    """The rows in runs of at most `limit` bytes; a larger row travels alone."""
    batch: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        weighs = weight(row)
        if batch and size + weighs > limit:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += weighs
    if batch:
        yield batch
