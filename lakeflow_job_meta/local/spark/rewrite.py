"""Which statements the gateway answers itself, so that the same SQL works here and on Databricks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.spark.errors import unsupported
from lakeflow_job_meta.local.spark.lexer import LexicalError, words
from lakeflow_job_meta.local.spark.statements import (
    alteration,
    catalog,
    describe,
    maintenance,
    rows,
    tables,
    views,
)
from lakeflow_job_meta.local.spark.statements.statement import Cursor, Statement

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Relation

Handler = Callable[[Statement, Cursor], Awaitable["Relation | None"]]

_HANDLERS: dict[tuple[str, ...], Handler] = {
    ("USE",): catalog.use,
    ("SET",): catalog.set_configuration,
    ("CREATE", "SCHEMA"): catalog.create_schema,
    ("CREATE", "DATABASE"): catalog.create_schema,
    ("CREATE", "CATALOG"): catalog.create_catalog,
    ("CREATE", "VOLUME"): catalog.create_volume,
    ("DROP", "SCHEMA"): catalog.drop_schema,
    ("DROP", "DATABASE"): catalog.drop_schema,
    ("DROP", "VOLUME"): catalog.drop_volume,
    ("DROP", "TABLE"): tables.drop,
    ("DROP", "VIEW"): views.drop,
    ("ALTER", "TABLE"): alteration.alter_table,
    ("ALTER", "VIEW"): views.alter,
    ("COMMENT", "ON"): alteration.comment_on,
    ("SHOW", "TABLES"): catalog.show_tables,
    ("SHOW", "VIEWS"): catalog.show_views,
    ("SHOW", "SCHEMAS"): catalog.show_schemas,
    ("SHOW", "DATABASES"): catalog.show_schemas,
    ("SHOW", "CATALOGS"): catalog.show_catalogs,
    ("SHOW", "VOLUMES"): catalog.show_volumes,
    ("SHOW", "COLUMNS"): describe.show_columns,
    ("SHOW", "TBLPROPERTIES"): describe.show_properties,
    ("SHOW", "CREATE", "TABLE"): describe.show_create,
    ("SHOW", "PARTITIONS"): describe.show_partitions,
    ("DESCRIBE",): describe.describe,
    ("DESC",): describe.describe,
    ("INSERT",): rows.insert,
    ("UPDATE",): rows.update,
    ("DELETE",): rows.delete,
    ("MERGE",): rows.merge,
    ("TRUNCATE",): rows.truncate,
    ("OPTIMIZE",): maintenance.optimize,
    ("VACUUM",): maintenance.vacuum,
    ("RESTORE",): maintenance.restore,
    ("REFRESH",): maintenance.nothing,
    ("ANALYZE",): maintenance.nothing,
    ("CACHE",): maintenance.nothing,
    ("UNCACHE",): maintenance.nothing,
    ("CLEAR", "CACHE"): maintenance.nothing,
}

_READING = frozenset({"SHOW", "DESCRIBE", "DESC"})

_QUERIES = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "FROM", "EXPLAIN", ""})

_REFUSED = {
    "BEGIN": "run the statements one by one",
    "CALL": "use Python instead of a procedure",
    "COPY": "read the files with SELECT ... FROM csv.`/Volumes/...` and INSERT them",
    "CREATE": "see the documentation of the embedded workspace for what it can create",
    "DECLARE": "use parameters instead of SQL variables",
    "DENY": "set permissions through the REST API",
    "DROP": "see the documentation of the embedded workspace for what it can drop",
    "ALTER": "see the documentation of the embedded workspace for what it can alter",
    "EXECUTE": "run the statement itself",
    "GRANT": "set permissions through the REST API",
    "LOAD": "read the files with SELECT ... FROM csv.`/Volumes/...` and INSERT them",
    "MSCK": "it is not needed for Delta tables",
    "REVOKE": "set permissions through the REST API",
}


def head(sql: str) -> str:
    """The first keyword of a statement, empty for an opening parenthesis or no statement at all."""
    try:
        found = words(sql)
    except LexicalError:
        return ""
    return found[0].keyword if found else ""


def is_query(sql: str) -> bool:
    """Whether a statement only reads and is Sail's to answer; Sail binds parameters in these."""
    return head(sql) in _QUERIES


def is_reading(sql: str) -> bool:
    """Whether it is a SHOW or DESCRIBE."""
    return head(sql) in _READING


async def answer(statement: Statement) -> Relation | None:
    """Runs a statement that is the gateway's; None when it is Sail's.

    Raises:
        Refused: it is wrong, or cannot be supported; nothing was changed.
        SailError: Sail said no to what it was rewritten to; nothing was changed.
    """
    cursor = statement.cursor()
    first = cursor.keyword
    if first in _QUERIES:
        return None
    if first in ("CREATE", "REPLACE"):
        return await _create(statement, cursor)
    for length in (3, 2, 1):
        handler = _HANDLERS.get(tuple(word.keyword for word in cursor.words[:length]))
        if handler is not None:
            cursor.i = length
            return await handler(statement, cursor)
    if first in _REFUSED:
        shown = " ".join(word.text.upper() for word in cursor.words[:2])
        raise unsupported(shown, _REFUSED[first])
    return None


async def _create(statement: Statement, cursor: Cursor) -> Relation | None:
    replace = cursor.accept("CREATE", "OR", "REPLACE") or cursor.accept("REPLACE")
    if not replace:
        cursor.expect("CREATE")
    cursor.accept("EXTERNAL")
    if cursor.accept("TABLE"):
        return await tables.create(statement, cursor, replace=replace)
    if cursor.accept("VIEW"):
        return await views.create(statement, cursor, replacing=replace)
    if cursor.accept("TEMPORARY", "VIEW") or cursor.accept("TEMP", "VIEW"):
        return await views.create_temporary(statement, cursor, replacing=replace)
    if cursor.keyword == "GLOBAL":
        raise unsupported("global temporary views", "use CREATE TEMPORARY VIEW, or a view of the catalog")
    handler = _HANDLERS.get(tuple(word.keyword for word in cursor.words[:2]))
    if handler is not None:
        cursor.i = 2
        return await handler(statement, cursor)
    shown = " ".join(word.text.upper() for word in cursor.words[: cursor.i + 2])
    raise unsupported(shown, _REFUSED["CREATE"])
