"""INSERT, UPDATE, DELETE, MERGE, TRUNCATE: Sail does them; the answer is made that of Databricks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.spark import answers, delta
from lakeflow_job_meta.local.spark.literals import identifier
from lakeflow_job_meta.local.spark.registry import Relation as Entry
from lakeflow_job_meta.local.spark.statements.statement import Cursor, Statement

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Relation


async def insert(statement: Statement, cursor: Cursor) -> Relation:
    """INSERT; columns left out of its list become NULL, which Sail does not do by itself."""
    overwrite = cursor.accept("OVERWRITE")
    if not overwrite:
        cursor.accept("INTO")
    cursor.accept("TABLE")
    if cursor.keyword in ("DIRECTORY", "LOCAL"):
        return await statement.forward(statement.sql)
    chain = cursor.name()
    entry = _table(statement, chain.parts)
    sql = statement.sql
    if entry is not None:
        if cursor.ahead("BY", "NAME"):
            place = cursor.i
            sql = await _named(statement, cursor)
            cursor = Cursor(sql)
            cursor.i = place
        sql = _completed(statement, sql, cursor, entry)
    count = _count(await statement.forward(sql))
    return answers.relation(
        (("num_affected_rows", "bigint"), ("num_inserted_rows", "bigint")), [(count, count)]
    )


async def _named(statement: Statement, cursor: Cursor) -> str:
    """INSERT ... BY NAME with the columns of its query instead."""
    session = statement.session
    place = cursor.words[cursor.i].start
    cursor.expect("BY", "NAME")
    query = cursor.rest()
    await session.prepare(session.mentions(query))
    schema = await session.upstream.schema(session.user, session.id, statement.query(query))
    names = ", ".join(identifier(field.name) for field in schema.struct.fields)
    return f"{statement.sql[:place]}({names}) {query}"


def _completed(statement: Statement, sql: str, cursor: Cursor, entry: Entry) -> str:
    """The INSERT with every column named; the cursor stands behind the table."""
    opening = cursor.word
    if opening is None or not opening.is_symbol("("):
        return sql
    start = cursor.i
    listed = cursor.parenthesised()
    names = [word.text for word in listed if word.kind == "name"]
    # `INSERT INTO t (SELECT ...)` has parentheses too.
    if len(names) * 2 - 1 != len(listed) or cursor.done or not names:
        cursor.i = start
        return sql
    given = {name.lower() for name in names}
    missing = [
        column.name
        for column in statement.registry.columns(entry)
        if column.name.lower() not in given and not _fills_itself(column)
    ]
    if not missing:
        return sql
    listing = ", ".join(identifier(name) for name in (*names, *missing))
    nulls = ", ".join(f"NULL AS {identifier(name)}" for name in missing)
    # The source stays as it is, so that parameters, CTEs and VALUES in it mean the same.
    return f"{sql[: opening.start]}({listing}) SELECT source.*, {nulls} FROM ({cursor.rest()}) AS source"


def _fills_itself(column: delta.Column) -> bool:
    return any(
        key in column.metadata
        for key in ("CURRENT_DEFAULT", "delta.generationExpression", "delta.identity.start")
    )


def _table(statement: Statement, parts: tuple[str, ...]) -> Entry | None:
    """The table of the workspace of that name; None for what only Sail knows, such as delta.`path`."""
    if len(parts) > 3 or statement.session.is_temporary(parts):
        return None
    entry = statement.registry.get(*statement.session.full_name(parts))
    return entry if entry is not None and not entry.is_view else None


def _count(result: Relation) -> int | None:
    found = answers.rows(result)
    value = next(iter(found[0].values()), None) if found else None
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


async def update(statement: Statement, cursor: Cursor) -> Relation:
    """UPDATE."""
    counts = await _counted(statement, cursor, "UPDATE", ("numUpdatedRows",))
    return answers.relation((("num_affected_rows", "bigint"),), [counts])


async def delete(statement: Statement, cursor: Cursor) -> Relation:
    """DELETE FROM."""
    cursor.expect("FROM")
    counts = await _counted(statement, cursor, "DELETE", ("numDeletedRows",))
    return answers.relation((("num_affected_rows", "bigint"),), [counts])


async def truncate(statement: Statement, cursor: Cursor) -> Relation:
    """TRUNCATE TABLE name."""
    cursor.expect("TABLE")
    parts = cursor.name().parts
    cursor.end()
    statement.session.relation(parts)
    await statement.forward(f"DELETE FROM {identifier(*parts)}")
    return answers.relation(())


_MERGED = ("num_updated_rows", "num_deleted_rows", "num_inserted_rows")
_METRICS = ("numTargetRowsUpdated", "numTargetRowsDeleted", "numTargetRowsInserted")


async def merge(statement: Statement, cursor: Cursor) -> Relation:
    """MERGE."""
    cursor.accept("WITH", "SCHEMA", "EVOLUTION")
    cursor.expect("INTO")
    counts = await _counted(statement, cursor, "MERGE", _METRICS)
    known = [count for count in counts if count is not None]
    total = sum(known) if len(known) == len(counts) else None
    columns = [("num_affected_rows", "bigint"), *((name, "bigint") for name in _MERGED)]
    return answers.relation(columns, [(total, *counts)])


async def _counted(
    statement: Statement, cursor: Cursor, operation: str, metrics: Sequence[str]
) -> tuple[int | None, ...]:
    """Runs the statement and counts its rows by its commit (Sail's own result counts all rows that it
    wrote); unknown when another commit of the kind came between.
    """
    entry = _table(statement, cursor.name().parts)
    path = entry.table_location() if entry is not None else None
    before = delta.newest_version(path) if path is not None else None
    await statement.forward(statement.sql)
    if path is None or before is None:
        return tuple(None for _ in metrics)
    now = delta.newest_version(path) or before
    new = [info for info in delta.commits(path, now - before) if info["version"] > before]
    if not new:
        return tuple(0 for _ in metrics)  # nothing matched, nothing was committed
    same = [info for info in new if info.get("operation") == operation]
    found = (same[0].get("operationMetrics") or {}) if len(same) == 1 else {}
    return tuple(int(found[name]) if name in found else None for name in metrics)
