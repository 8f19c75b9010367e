"""OPTIMIZE, VACUUM, RESTORE, and hints that mean nothing to an engine without caches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from lakeflow_job_meta.local.spark import answers, delta
from lakeflow_job_meta.local.spark.errors import Refused, unsupported
from lakeflow_job_meta.local.spark.statements.statement import Cursor, Statement, separated

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql.connect.proto import Relation


def _location(statement: Statement, cursor: Cursor) -> Path:
    return statement.session.relation(cursor.name().parts).table_location()


async def _with_deltalake(work: Any) -> Any:
    from deltalake.exceptions import DeltaError

    try:
        return await asyncio.to_thread(work)
    except (DeltaError, OSError, ValueError) as e:
        raise Refused(f"the Delta table cannot be changed: {e}") from e


async def optimize(statement: Statement, cursor: Cursor) -> Relation:
    """OPTIMIZE table [FULL] [ZORDER BY (columns)]."""
    cursor.accept("TABLE")
    path = _location(statement, cursor)
    cursor.accept("FULL")
    if cursor.keyword == "WHERE":
        raise unsupported("OPTIMIZE ... WHERE", "optimize the whole table")
    columns: list[str] = []
    if cursor.accept("ZORDER", "BY"):
        columns = [item[-1].text for item in separated(cursor.parenthesised())]
    cursor.end()

    def work() -> dict[str, Any]:
        optimizer = delta.table(path).optimize
        return optimizer.z_order(columns) if columns else optimizer.compact()

    metrics = await _with_deltalake(work)
    row = (str(path), orjson.dumps(metrics).decode())
    return answers.relation((("path", "string"), ("metrics", "string")), [row])


async def vacuum(statement: Statement, cursor: Cursor) -> Relation:
    """VACUUM table [FULL] [RETAIN n HOURS] [DRY RUN]."""
    path = _location(statement, cursor)
    cursor.accept("FULL")
    hours: int | None = None
    if cursor.accept("RETAIN"):
        word = cursor.word
        if word is None or not word.text.isdigit():
            raise cursor.error("expected a number of hours")
        hours = int(word.text)
        cursor.i += 1
        cursor.expect("HOURS")
    dry = cursor.accept("DRY", "RUN")
    cursor.end()

    def work() -> list[str]:
        return delta.table(path).vacuum(retention_hours=hours, dry_run=dry)

    files = await _with_deltalake(work)
    rows = [(str(path / file),) for file in files] if dry else [(str(path),)]
    return answers.relation((("path", "string"),), rows)


async def restore(statement: Statement, cursor: Cursor) -> Relation:
    """RESTORE TABLE name TO VERSION AS OF n | TO TIMESTAMP AS OF text."""
    cursor.accept("TABLE")
    path = _location(statement, cursor)
    cursor.accept("TO")
    target: int | str
    if cursor.accept("VERSION", "AS", "OF"):
        text = cursor.rest()
        if not text.isdigit():
            raise cursor.error("expected a version")
        target = int(text)
    else:
        cursor.expect("TIMESTAMP", "AS", "OF")
        target = cursor.string()
    metrics = await _with_deltalake(lambda: delta.table(path).restore(target))
    columns = [(str(name), "string") for name in metrics]
    return answers.relation(columns, [tuple(str(value) for value in metrics.values())])


async def nothing(statement: Statement, cursor: Cursor) -> Relation:
    """REFRESH TABLE, ANALYZE TABLE, CACHE TABLE name and the like: there is nothing to refresh.

    Raises:
        Refused: CACHE TABLE ... AS SELECT, which would make a temporary view.
    """
    if any(word.keyword in ("SELECT", "AS") for word in cursor.words[cursor.i :]):
        raise unsupported("CACHE TABLE ... AS SELECT", "use CREATE TEMPORARY VIEW")
    if cursor.accept("TABLE"):
        statement.session.relation(cursor.name().parts)
    return answers.relation(())
