"""CREATE TABLE in all its forms, and DROP TABLE."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.spark import answers, delta
from lakeflow_job_meta.local.spark.context import Session
from lakeflow_job_meta.local.spark.errors import Refused, already_exists, schema_not_found, unsupported
from lakeflow_job_meta.local.spark.lexer import Word
from lakeflow_job_meta.local.spark.literals import identifier, string_literal
from lakeflow_job_meta.local.spark.registry import Name, Registry
from lakeflow_job_meta.local.spark.registry import Relation as Entry
from lakeflow_job_meta.local.spark.statements.statement import Cursor, Locks, Statement, properties, separated
from lakeflow_job_meta.local.spark.told import Mention

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Command, Relation

_HARMLESS = (
    "delta.autoOptimize.",
    "delta.checkpoint",
    "delta.dataSkipping",
    "delta.deletedFileRetentionDuration",
    "delta.logRetentionDuration",
    "delta.minReaderVersion",
    "delta.minWriterVersion",
    "delta.appendOnly",
    "delta.parquet.",
    "delta.randomizeFilePrefixes",
    "delta.targetFileSize",
    "delta.tuneFileSizesForRewrites",
)
"""Properties that Sail obeys, or whose absence nobody can see in the data."""

_IMPLIED = ("delta.feature.allowColumnDefaults", "delta.feature.appendOnly", "delta.feature.invariants")
"""Features that Sail turns on by itself where a column needs them."""


@dataclass
class NewTable:
    """What a CREATE TABLE says."""

    parts: tuple[str, ...]
    replace: bool = False
    careful: bool = False
    columns: str = ""
    partitions: list[str] = field(default_factory=list)
    location: str | None = None
    comment: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    like: tuple[str, ...] | None = None
    query: str = ""


def checked_properties(found: Mapping[str, str]) -> dict[str, str]:
    """Table properties that can be kept.

    Raises:
        Refused: one that would change how the table is written, which Sail does not do.
    """
    kept: dict[str, str] = {}
    for key, value in found.items():
        if key in _IMPLIED:
            continue
        off = value.lower() in ("false", "none", "disabled")
        if key.startswith("delta.") and not key.startswith(_HARMLESS) and not off:
            raise unsupported(f"the table property {key} = {value}", "leave it out on a laptop")
        kept[key] = value
    return kept


def parse(cursor: Cursor, *, replace: bool) -> NewTable:
    """Reads a CREATE TABLE from behind the word TABLE."""
    careful = cursor.accept("IF", "NOT", "EXISTS")
    new = NewTable(cursor.name().parts, replace=replace, careful=careful)
    if cursor.word is not None and cursor.word.is_symbol("("):
        new.columns = ", ".join(_column_texts(cursor))
    while not cursor.done:
        if cursor.accept("USING"):
            provider = cursor.name().parts[-1]
            if provider.lower() != "delta":
                raise unsupported(f"tables in the format {provider}", "use Delta, which is the default")
        elif cursor.accept("PARTITIONED", "BY"):
            new.partitions = _partitions(cursor, new)
        elif cursor.accept("CLUSTER", "BY"):  # changes the layout of files only
            if not cursor.accept("AUTO") and not cursor.accept("NONE"):
                cursor.parenthesised()
        elif cursor.accept("LOCATION"):
            new.location = cursor.string()
        elif cursor.accept("COMMENT"):
            new.comment = cursor.string()
        elif cursor.accept("TBLPROPERTIES"):
            new.properties = checked_properties(properties(cursor))
        elif cursor.accept("LIKE"):
            new.like = cursor.name().parts
        elif cursor.keyword in ("SHALLOW", "DEEP", "CLONE"):
            raise unsupported("CLONE", "use CREATE TABLE ... AS SELECT * FROM the other table")
        elif cursor.accept("AS") or _begins_query(cursor):
            new.query = cursor.rest()
            break
        else:
            raise cursor.error("unexpected text")
    return new


def _begins_query(cursor: Cursor) -> bool:
    opening = cursor.word is not None and cursor.word.is_symbol("(")
    return opening or cursor.keyword in ("SELECT", "WITH", "VALUES", "TABLE", "FROM")


def _column_texts(cursor: Cursor) -> Iterator[str]:
    """The columns of `( ... )`, keys left out: on Databricks they are for information only."""
    for item in separated(cursor.parenthesised()):
        if item[0].keyword in ("CONSTRAINT", "PRIMARY", "FOREIGN") and not item[0].quoted and len(item) > 2:
            if any(word.keyword == "CHECK" for word in item):
                raise unsupported("CHECK constraints", "check the rows with a query")
            continue
        yield cursor.sql[item[0].start : _without_key(item)[-1].end]


def _without_key(item: Sequence[Word]) -> Sequence[Word]:
    for i, word in enumerate(item):
        if i >= 2 and word.keyword in ("PRIMARY", "CONSTRAINT", "REFERENCES", "FOREIGN", "MASK"):
            if word.keyword == "MASK":
                raise unsupported("column masks", "leave MASK out")
            return item[:i]
    return item


def _partitions(cursor: Cursor, new: NewTable) -> list[str]:
    names: list[str] = []
    for item in separated(cursor.parenthesised()):
        names.append(item[0].text)
        if len(item) > 1:  # `PARTITIONED BY (day DATE)` adds the column
            text = cursor.sql[item[0].start : item[-1].end]
            new.columns = f"{new.columns}, {text}" if new.columns else text
    return names


async def create(statement: Statement, cursor: Cursor, *, replace: bool) -> Relation:
    """CREATE [OR REPLACE] TABLE [IF NOT EXISTS] name ..., also LIKE another and AS a query."""
    new = parse(cursor, replace=replace)
    session = statement.session
    name = session.full_name(new.parts)
    async with statement.locks.held(name):
        existing = target(statement.registry, name, replace=new.replace, careful=new.careful)
        if existing is not None and new.careful:
            return answers.relation(())
        entry = _entry(statement.registry, name, existing, new)
        await session.prepare([Mention(new.parts)])
        with undone(statement.registry, entry, existing):
            if new.like is not None:
                await _create_like(statement, new, entry)
            elif new.query:
                await _create_as(statement, new, entry)
            else:
                await _create_empty(statement, new, entry)
        stored = statement.registry.put(entry)
        if new.like is None:
            session.told.made(new.parts)
    if not new.query:
        return answers.relation(())
    rows = written_rows(stored.table_location())
    return answers.relation(
        (("num_affected_rows", "bigint"), ("num_inserted_rows", "bigint")), [(rows, rows)]
    )


def target(registry: Registry, name: Name, *, replace: bool, careful: bool) -> Entry | None:
    """The table of that name, when a statement may create it.

    Raises:
        Refused: it is there already, is a view, or its schema is not there.
    """
    if registry.schema(*name[:2]) is None:
        raise schema_not_found(*name[:2])
    existing = registry.get(*name)
    if existing is not None and not careful:
        if not replace:
            raise already_exists(*name)
        if existing.is_view:
            raise Refused(f"{existing.full_name} is a view; drop it first", condition="EXPECT_TABLE_NOT_VIEW")
    return existing


def _entry(registry: Registry, name: Name, existing: Entry | None, new: NewTable) -> Entry:
    if new.location is None:
        return existing or Entry(*name, location=registry.locations.table(*name))
    location = registry.locations.external(new.location)
    if existing is not None and existing.location != location:
        raise Refused(f"{existing.full_name} lies at {existing.location}; a replacement cannot move it")
    return existing or Entry(*name, location=location, managed=False)


@contextmanager
def undone(registry: Registry, entry: Entry, existing: Entry | None) -> Iterator[None]:
    """Removes what a failed statement left of a table that was not there before."""
    location = entry.table_location()
    fresh = existing is None and entry.managed and not delta.exists(location)
    if fresh:
        location.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if fresh:
            registry.drop(*entry.key)  # another session may have found it already
            shutil.rmtree(location, ignore_errors=True)
        raise


async def _create_empty(statement: Statement, new: NewTable, entry: Entry) -> None:
    path = statement.registry.locations.for_sail(entry.table_location())
    text = "CREATE OR REPLACE TABLE " if new.replace else "CREATE TABLE "
    text += identifier(*new.parts)
    if new.columns:
        text += f" ({new.columns})"
    text += " USING delta"
    if new.partitions:
        text += f" PARTITIONED BY ({', '.join(identifier(name) for name in new.partitions)})"
    text += f" LOCATION {string_literal(path)}"
    if new.comment is not None:
        text += f" COMMENT {_text(new.comment)}"
    if new.properties:
        pairs = ", ".join(f"{_text(key)} = {_text(value)}" for key, value in new.properties.items())
        text += f" TBLPROPERTIES ({pairs})"
    await statement.forward(text)


def _text(value: str) -> str:
    """A plain string literal, for the places where SQL takes no expression."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


async def _create_like(statement: Statement, new: NewTable, entry: Entry) -> None:
    from deltalake import DeltaTable

    like = statement.session.relation(new.like or ()).table_location()

    def copy() -> None:
        other = delta.table(like)
        DeltaTable.create(
            entry.table_location(),
            schema=other.schema(),
            mode="overwrite" if new.replace else "error",
            partition_by=list(other.metadata().partition_columns),
            description=new.comment,
            configuration=new.properties,
            raise_if_key_not_exists=False,
        )

    await asyncio.to_thread(copy)


async def _create_as(statement: Statement, new: NewTable, entry: Entry) -> None:
    from pyspark.sql.connect.proto import Command, WriteOperation

    session = statement.session
    if new.columns:
        raise Refused(
            "CREATE TABLE ... AS SELECT takes its columns from the query; leave the list of columns out"
        )
    await session.prepare(session.mentions(new.query))
    command = Command()
    write = command.write_operation
    write.input.CopyFrom(statement.query(new.query))
    write.mode = (
        WriteOperation.SAVE_MODE_OVERWRITE if new.replace else WriteOperation.SAVE_MODE_ERROR_IF_EXISTS
    )
    write.partitioning_columns.extend(new.partitions)
    write.table.table_name = identifier(*session.spelled(new.parts))
    await save(statement, command, entry)
    await asyncio.to_thread(_describe, entry.table_location(), new)


def _describe(path: Path, new: NewTable) -> None:
    def change(metadata: delta.Json) -> None:
        if new.comment is not None:
            metadata["description"] = new.comment
        metadata["configuration"] |= new.properties

    if new.comment is not None or new.properties:
        delta.change_metadata(path, "SET TBLPROPERTIES", change)


async def save(statement: Statement, command: Command, entry: Entry) -> None:
    """Creates or replaces a table from `command.write_operation`, in the order of the query's columns."""
    from pyspark.sql.connect.proto import WriteOperation

    write = command.write_operation
    write.source = "delta"
    write.table.save_method = WriteOperation.SaveTable.TABLE_SAVE_METHOD_SAVE_AS_TABLE
    write.options["path"] = statement.registry.locations.for_sail(entry.table_location())
    if write.mode == WriteOperation.SAVE_MODE_OVERWRITE:
        write.options["overwriteSchema"] = "true"
    order = await relax(statement.session, write.input)
    await statement.run(command)
    if write.partitioning_columns:
        await asyncio.to_thread(delta.reorder_columns, entry.table_location(), order)


async def relax(session: Session, relation: Relation) -> list[str]:
    """Makes every column of a relation nullable, as Databricks does when a query makes a table
    (Sail would forbid NULL in a column that was made of a constant), and returns their names.
    """
    from pyspark.sql.connect.proto import Relation

    fields = (await session.upstream.schema(session.user, session.id, relation)).struct.fields
    if not all(f.nullable for f in fields):
        relaxed = Relation()
        relaxed.project.input.CopyFrom(relation)
        for f in fields:
            quoted = identifier(f.name)
            alias = relaxed.project.expressions.add().alias
            alias.name.append(f.name)
            # Always true, but no optimizer may conclude it.
            alias.expr.expression_string.expression = (
                quoted if f.nullable else f"CASE WHEN rand() < 2 THEN {quoted} END"
            )
        relation.CopyFrom(relaxed)
    return [f.name for f in fields]


def written_rows(path: Path) -> int | None:
    """The rows that the newest commit of data wrote."""
    for info in delta.commits(path, 5):
        metrics = info.get("operationMetrics") or {}
        if "numOutputRows" in metrics:
            return int(metrics["numOutputRows"])
    return None


async def drop(statement: Statement, cursor: Cursor) -> Relation:
    """DROP TABLE [IF EXISTS] name [PURGE]; the folder of a managed table goes with it."""
    careful = cursor.accept("IF", "EXISTS")
    parts = cursor.name().parts
    cursor.accept("PURGE")
    cursor.end()
    await drop_relation(statement.session, statement.locks, parts, careful=careful, view=False)
    return answers.relation(())


async def drop_relation(
    session: Session, locks: Locks, parts: Sequence[str], *, careful: bool, view: bool
) -> None:
    """Drops a table or view from the workspace.

    Raises:
        Refused: it does not exist and `careful` was not said, or it is of the other kind.
    """
    name = session.full_name(parts)
    async with locks.held(name):
        entry = session.registry.get(*name)
        if entry is None:
            if careful:
                return
            session.relation(parts)
        elif entry.is_view != view:
            right = "DROP VIEW" if entry.is_view else "DROP TABLE"
            kind = "view" if entry.is_view else "table"
            raise Refused(
                f"{entry.full_name} is a {kind}; use {right}", condition="WRONG_COMMAND_FOR_OBJECT_TYPE"
            )
        await asyncio.to_thread(session.registry.drop, *name)
        session.told.forget(name)
