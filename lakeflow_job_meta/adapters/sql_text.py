"""SQL texts made of table definitions: DDL and MERGE, identifiers quoted, no values inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any

from lakeflow_job_meta.errors import TablesError
from lakeflow_job_meta.names import TableName, quote_identifier
from lakeflow_job_meta.ports import Column, TableDefinition

#: Staged rows of one statement stay below this many bytes (Spark Connect messages: 128 MiB).
BATCH_BYTES = 64 * 1024 * 1024
_TYPE = re.compile(r"[A-Z]+(\([0-9]+(,[0-9]+)?\))?|ARRAY<STRING>")


def quote_text(text: str) -> str:
    r"""`text` as a string literal of Spark SQL; `\'` is the one escape that every engine reads."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


_FROM = re.compile(r"\bFROM\s+((?:`(?:[^`]|``)+`)(?:\.`(?:[^`]|``)+`)*)")


def reading(sql: str) -> str:
    """What a SELECT does, for messages: the table that it reads, when it names one as we do."""
    found = _FROM.search(sql)
    return f"reading {found.group(1).replace('`', '')}" if found else "the query"


def _column(column: Column) -> str:
    if not _TYPE.fullmatch(column.type):
        raise TablesError(f"{column.type!r} is not a column type that this product writes")
    comment = f" COMMENT {quote_text(column.comment)}" if column.comment else ""
    return f"{quote_identifier(column.name)} {column.type}{comment}"


def create_table(definition: TableDefinition) -> str:
    """CREATE TABLE IF NOT EXISTS for a Delta table."""
    columns = ", ".join(_column(column) for column in definition.columns)
    comment = f" COMMENT {quote_text(definition.comment)}" if definition.comment else ""
    parts = f" PARTITIONED BY ({_list(definition.partitioned_by)})" if definition.partitioned_by else ""
    location = f" LOCATION {quote_text(definition.location)}" if definition.location else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {target(definition)} ({columns}) USING DELTA{parts}{location}{comment}"
    )


#: Lets Delta take column names with spaces and the like (protocol 2/5).
COLUMN_MAPPING = (
    " TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.minReaderVersion' = '2', "
    "'delta.minWriterVersion' = '5')"
)
#: How engines say that they want it.
_MAPPING_WANTED = ("DELTA_INVALID_CHARACTERS", "columnMapping", "column mapping")


def replace_table(table: TableName, query: str, *, location: str = "", mapping: bool = False) -> str:
    """CREATE OR REPLACE TABLE ... AS for a Delta table.

    Args:
        mapping: with column mapping.
    """
    where = f" LOCATION {quote_text(location)}" if location else ""
    properties = COLUMN_MAPPING if mapping else ""
    return f"CREATE OR REPLACE TABLE {table.quoted} USING DELTA{where}{properties} AS {query}"


def wants_mapping(message: str) -> bool:
    """Whether an engine refused column names that it would take with column mapping."""
    return any(word in message for word in _MAPPING_WANTED)


def target(definition: TableDefinition) -> str:
    """What a statement calls the table: its name, or its files."""
    if definition.registered:
        return definition.name.quoted
    return f"delta.{quote_identifier(definition.location)}"


def from_files(
    definition: TableDefinition,
    files: str,
    *,
    partition: date,
    constants: Mapping[str, str],
    once: tuple[str, str] | None,
) -> str:
    """SELECT of the definition's columns from staged files, for one partition.

    Args:
        files: the relation of the files, as the engine writes it.
        constants: SQL expressions by column.
        once: (key, order), see `ports.Tables.replace_partition`.
    """
    [part] = definition.partitioned_by
    given = {**constants, part: date_literal(partition)}
    columns = ", ".join(
        f"{given[column.name]} AS {quote_identifier(column.name)}"
        if column.name in given
        else quote_identifier(column.name)
        for column in definition.columns
    )
    if once is None:
        return f"SELECT {columns} FROM {files}"
    key, order = (quote_identifier(name) for name in once)
    # A join on the winners, since a window function would sort whole rows.
    winners = f"SELECT max({order}) AS `winner` FROM {files} GROUP BY {key}"
    return f"SELECT {columns} FROM {files} WHERE {order} IN (SELECT `winner` FROM ({winners}))"


def replace_partition(definition: TableDefinition, partition: date, query: str) -> str:
    """INSERT ... REPLACE WHERE of one partition."""
    [part] = definition.partitioned_by
    condition = f"{quote_identifier(part)} = {date_literal(partition)}"
    return f"INSERT INTO {target(definition)} REPLACE WHERE {condition} {query}"


def partition_counts(definition: TableDefinition) -> str:
    """(partition, rows), newest first."""
    part = quote_identifier(definition.partitioned_by[0])
    return (
        f"SELECT {part} AS `partition`, count(*) AS `rows` FROM {target(definition)} "
        f"GROUP BY {part} ORDER BY {part} DESC"
    )


def file_counts(files: str, key: str) -> str:
    """Rows, and distinct values of `key`, of staged files."""
    return f"SELECT count(*) AS `rows`, count(DISTINCT {quote_identifier(key)}) AS `keys` FROM {files}"


def date_literal(value: date) -> str:
    """A DATE literal; made of digits only."""
    return f"DATE'{value.year:04d}-{value.month:02d}-{value.day:02d}'"


def constant(value: Any) -> str:
    """A text, number, truth value, None or aware datetime as a literal. Raises TablesError for anything else."""
    if value is None:
        return "CAST(NULL AS STRING)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        moment = value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
        return f"TIMESTAMP'{moment}+00:00'"
    if isinstance(value, str):
        return quote_text(value)
    raise TablesError(f"{value!r} cannot be written as a constant")


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
    return sum(map(_size, row.values()))


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return 16 + sum(map(_size, value)) if isinstance(value, (list, tuple)) else 16


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
