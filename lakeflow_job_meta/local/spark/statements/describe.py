"""DESCRIBE and the SHOW statements about one table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson

from lakeflow_job_meta.local.spark import answers, delta
from lakeflow_job_meta.local.spark.answers import Columns
from lakeflow_job_meta.local.spark.errors import Refused, unsupported
from lakeflow_job_meta.local.spark.information_schema import OWNER
from lakeflow_job_meta.local.spark.literals import identifier
from lakeflow_job_meta.local.spark.registry import Relation as Entry
from lakeflow_job_meta.local.spark.statements.catalog import single_name
from lakeflow_job_meta.local.spark.statements.statement import Cursor, Statement
from lakeflow_job_meta.local.spark.statements.views import spark_type

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql.connect.proto import Relation

_DESCRIPTION: Columns = (("col_name", "string"), ("data_type", "string"), ("comment", "string"))
_INFORMATION: Columns = (("info_name", "string"), ("info_value", "string"))

HISTORY: Columns = (
    ("version", "bigint"),
    ("timestamp", "timestamp"),
    ("userId", "string"),
    ("userName", "string"),
    ("operation", "string"),
    ("operationParameters", "map<string,string>"),
    ("clusterId", "string"),
    ("readVersion", "bigint"),
    ("isolationLevel", "string"),
    ("isBlindAppend", "boolean"),
    ("operationMetrics", "map<string,string>"),
    ("userMetadata", "string"),
    ("engineInfo", "string"),
)

DETAIL: Columns = (
    ("format", "string"),
    ("id", "string"),
    ("name", "string"),
    ("description", "string"),
    ("location", "string"),
    ("createdAt", "timestamp"),
    ("lastModified", "timestamp"),
    ("partitionColumns", "array<string>"),
    ("clusteringColumns", "array<string>"),
    ("numFiles", "bigint"),
    ("sizeInBytes", "bigint"),
    ("properties", "map<string,string>"),
    ("minReaderVersion", "int"),
    ("minWriterVersion", "int"),
    ("tableFeatures", "array<string>"),
)


async def describe(statement: Statement, cursor: Cursor) -> Relation | None:
    """DESCRIBE in all its forms; None for one that Sail answers (functions)."""
    if cursor.accept("HISTORY"):
        return await _history(statement, cursor)
    if cursor.accept("DETAIL"):
        return await _detail(statement, cursor)
    if cursor.accept("CATALOG"):
        cursor.accept("EXTENDED")
        name = single_name(cursor)
        return answers.relation(_INFORMATION, [("Catalog Name", name), ("Comment", ""), ("Owner", OWNER)])
    if cursor.accept("SCHEMA") or cursor.accept("DATABASE") or cursor.accept("NAMESPACE"):
        return _schema(statement, cursor)
    if cursor.keyword == "FUNCTION":
        return None
    if cursor.accept("QUERY") or cursor.keyword in ("SELECT", "WITH", "VALUES"):
        return await _query(statement, cursor.rest())
    cursor.accept("TABLE")
    extended = cursor.accept("EXTENDED") or cursor.accept("FORMATTED")
    parts = cursor.name().parts
    if cursor.accept("AS", "JSON"):
        raise unsupported("DESCRIBE ... AS JSON", "use DESCRIBE EXTENDED")
    session = statement.session
    if session.is_temporary(parts):
        return await _query(statement, f"SELECT * FROM {identifier(*parts)}")
    entry = session.relation(parts)
    columns = statement.registry.columns(entry)
    if not cursor.done:
        return _column(columns, cursor)
    rows: list[tuple[str, str, str | None]] = [(c.name, c.type, c.comment or None) for c in columns]
    rows += _partitions(statement, entry, columns)
    if extended:
        rows += [("", "", ""), ("# Detailed Table Information", "", "")]
        rows += [(key, value, "") for key, value in _extended(entry)]
    return answers.relation(_DESCRIPTION, rows)


def _partitions(
    statement: Statement, entry: Entry, columns: Sequence[delta.Column]
) -> list[tuple[str, str, str | None]]:
    names = statement.registry.partition_columns(entry)
    if not names:
        return []
    by_name = {column.name: column for column in columns}
    rows: list[tuple[str, str, str | None]] = [
        ("# Partition Information", "", ""),
        ("# col_name", "data_type", "comment"),
    ]
    return rows + [(name, by_name[name].type, by_name[name].comment or None) for name in names]


def _extended(entry: Entry) -> list[tuple[str, str]]:
    created = datetime.fromtimestamp(entry.created / 1000, timezone.utc).strftime("%a %b %d %H:%M:%S UTC %Y")
    rows = [
        ("Catalog", entry.catalog),
        ("Database", entry.schema),
        ("Table", entry.name),
        ("Owner", OWNER),
        ("Created Time", created),
        ("Created By", "Sail"),
    ]
    if entry.location is None:
        rows += [("Type", "VIEW"), ("View Text", entry.text), ("Comment", entry.comment)]
        return rows
    details = delta.details(entry.location)
    listed = ",".join(f"{key}={value}" for key, value in sorted(details.properties.items()))
    return [
        *rows,
        ("Type", "MANAGED" if entry.managed else "EXTERNAL"),
        ("Provider", "delta"),
        ("Comment", details.description or ""),
        ("Location", str(entry.location)),
        ("Table Properties", f"[{listed}]"),
    ]


def _column(columns: Sequence[delta.Column], cursor: Cursor) -> Relation:
    name = cursor.name().parts[-1]
    cursor.end()
    for column in columns:
        if column.name.lower() == name.lower():
            rows = [
                ("col_name", column.name),
                ("data_type", column.type),
                ("comment", column.comment or "NULL"),
            ]
            return answers.relation(_INFORMATION, rows)
    raise Refused(f"there is no column {name!r}", condition="UNRESOLVED_COLUMN", sql_state="42703")


def _schema(statement: Statement, cursor: Cursor) -> Relation:
    cursor.accept("EXTENDED")
    catalog, name = statement.session.existing_schema(cursor.name().parts)
    cursor.end()
    schema = statement.registry.schema(catalog, name)
    comment = schema.comment if schema is not None else ""
    rows = [("Catalog Name", catalog), ("Namespace Name", name), ("Comment", comment), ("Owner", OWNER)]
    return answers.relation(
        (("database_description_item", "string"), ("database_description_value", "string")), rows
    )


async def _query(statement: Statement, query: str) -> Relation:
    session = statement.session
    await session.prepare(session.mentions(query))
    schema = await session.upstream.schema(session.user, session.id, statement.query(query))
    return answers.relation(
        _DESCRIPTION, [(f.name, spark_type(f.data_type), None) for f in schema.struct.fields]
    )


def _table(statement: Statement, cursor: Cursor) -> tuple[str | None, Path]:
    """Full name and folder of the table that comes next; delta.`path` has no name."""
    from pathlib import Path

    parts = cursor.name().parts
    if len(parts) == 2 and parts[0].lower() == "delta" and "/" in parts[1]:
        path = Path(statement.registry.locations.volume(parts[1]) or parts[1])
        if not delta.exists(path):
            raise Refused(f"{parts[1]} is not a Delta table", condition="DELTA_MISSING_DELTA_TABLE")
        return None, path
    entry = statement.session.relation(parts)
    if entry.is_view:
        raise Refused(f"{entry.full_name} is a view; name a table", condition="EXPECT_TABLE_NOT_VIEW")
    return entry.full_name, entry.table_location()


async def _history(statement: Statement, cursor: Cursor) -> Relation:
    _, path = _table(statement, cursor)
    limit: int | None = None
    if cursor.accept("LIMIT"):
        if not cursor.rest().isdigit():
            raise cursor.error("expected a number")
        limit = int(cursor.rest())
        cursor.i += 1
    cursor.end()
    commits = await asyncio.to_thread(delta.commits, path, limit)
    return answers.relation(HISTORY, [_commit(info) for info in commits])


def _commit(info: dict[str, Any]) -> tuple[Any, ...]:
    return (
        info["version"],
        info["timestamp"],
        None,
        info.get("userName") or OWNER,
        info.get("operation"),
        _texts(info.get("operationParameters")),
        None,
        info.get("readVersion"),
        info.get("isolationLevel") or "WriteSerializable",
        info.get("isBlindAppend"),
        _texts(info.get("operationMetrics")),
        info.get("userMetadata"),
        info.get("engineInfo"),
    )


def _texts(values: Any) -> dict[str, str]:
    return {
        str(key): value if isinstance(value, str) else orjson.dumps(value).decode()
        for key, value in (values or {}).items()
        if value is not None
    }


async def _detail(statement: Statement, cursor: Cursor) -> Relation:
    name, path = _table(statement, cursor)
    cursor.end()
    details = await asyncio.to_thread(delta.details, path)
    count, size = await asyncio.to_thread(delta.files, path)
    newest = delta.commits(path, 1)
    row: tuple[Any, ...] = (
        "delta",
        details.id,
        name,
        details.description,
        path.as_uri(),
        details.created,
        newest[0]["timestamp"] if newest else None,
        list(details.partition_columns),
        [],
        count,
        size,
        dict(details.properties),
        details.min_reader,
        details.min_writer,
        list(details.features),
    )
    return answers.relation(DETAIL, [row])


# ---------------------------------------------------------------- SHOW


async def show_columns(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW COLUMNS IN table."""
    if not cursor.accept("IN"):
        cursor.expect("FROM")
    parts = cursor.name().parts
    if cursor.accept("IN") or cursor.accept("FROM"):
        parts = (*cursor.name().parts, parts[-1])
    cursor.end()
    columns = statement.registry.columns(statement.session.relation(parts))
    return answers.relation((("col_name", "string"),), [(column.name,) for column in columns])


async def show_properties(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW TBLPROPERTIES table [(key)]."""
    entry = statement.session.relation(cursor.name().parts)
    wanted: str | None = None
    if not cursor.done:
        wanted = "".join(word.text for word in cursor.parenthesised())
    cursor.end()
    if entry.location is None:
        found = dict(entry.properties)
    else:
        details = delta.details(entry.location)
        found = dict(details.properties) | {
            "delta.minReaderVersion": str(details.min_reader),
            "delta.minWriterVersion": str(details.min_writer),
        }
    columns: Columns = (("key", "string"), ("value", "string"))
    if wanted is not None:
        missing = f"Table {entry.full_name} does not have property: {wanted}"
        return answers.relation(columns, [(wanted, found.get(wanted, missing))])
    return answers.relation(columns, sorted(found.items()))


async def show_create(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW CREATE TABLE table."""
    entry = statement.session.relation(cursor.name().parts)
    cursor.end()
    lines: list[str] = []
    for column in statement.registry.columns(entry):
        text = f"  {identifier(column.name)}"
        if not entry.is_view:
            text += f" {column.type.upper()}" + ("" if column.nullable else " NOT NULL")
        lines.append(text + (f" COMMENT '{_escaped(column.comment)}'" if column.comment else ""))
    body = " (\n" + ",\n".join(lines) + ")"
    if entry.location is None:
        text = f"CREATE VIEW {identifier(*entry.key)}{body}\nAS {entry.text}"
    else:
        details = delta.details(entry.location)
        text = f"CREATE TABLE {identifier(*entry.key)}{body}\nUSING delta"
        if details.partition_columns:
            text += f"\nPARTITIONED BY ({', '.join(identifier(name) for name in details.partition_columns)})"
        if not entry.managed:
            text += f"\nLOCATION '{_escaped(str(entry.location))}'"
        if details.description:
            text += f"\nCOMMENT '{_escaped(details.description)}'"
        if details.properties:
            pairs = ",\n".join(
                f"  '{_escaped(key)}' = '{_escaped(value)}'"
                for key, value in sorted(details.properties.items())
            )
            text += f"\nTBLPROPERTIES (\n{pairs})"
    return answers.relation((("createtab_stmt", "string"),), [(text + "\n",)])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


async def show_partitions(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW PARTITIONS table: one row a partition, one column a partition column."""
    entry = statement.session.relation(cursor.name().parts)
    cursor.end()
    names = statement.registry.partition_columns(entry)
    if not names:
        raise Refused(f"{entry.full_name} is not partitioned", condition="INVALID_PARTITION_OPERATION")
    found = await asyncio.to_thread(lambda: delta.table(entry.table_location()).partitions())
    rows = sorted({tuple(_text(item.get(name)) for name in names) for item in found}, key=str)
    return answers.relation([(name, "string") for name in names], rows)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
