"""ALTER TABLE and COMMENT ON: commits of a table's metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.spark import answers, delta
from lakeflow_job_meta.local.spark.delta import Json
from lakeflow_job_meta.local.spark.errors import Refused, unsupported
from lakeflow_job_meta.local.spark.lexer import Word
from lakeflow_job_meta.local.spark.registry import Relation as Entry
from lakeflow_job_meta.local.spark.statements import catalog
from lakeflow_job_meta.local.spark.statements.statement import (
    Cursor,
    Statement,
    properties,
    property_keys,
    separated,
)
from lakeflow_job_meta.local.spark.statements.tables import checked_properties

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import DataType, Relation


async def alter_table(statement: Statement, cursor: Cursor) -> Relation:
    """ALTER TABLE name: RENAME TO, ADD COLUMNS, ALTER COLUMN, SET and UNSET TBLPROPERTIES, CLUSTER BY."""
    session = statement.session
    entry = session.relation(cursor.name().parts)
    if entry.is_view:
        raise Refused(f"{entry.full_name} is a view; use ALTER VIEW", condition="EXPECT_TABLE_NOT_VIEW")
    path = entry.table_location()
    if cursor.accept("RENAME", "TO"):
        return await rename(statement, cursor, entry)
    if cursor.accept("SET", "TBLPROPERTIES"):
        found = checked_properties(properties(cursor))
        cursor.end()
        await _change(path, "SET TBLPROPERTIES", lambda metadata: metadata["configuration"].update(found))
    elif cursor.accept("UNSET", "TBLPROPERTIES"):
        cursor.accept("IF", "EXISTS")
        keys = property_keys(cursor)
        cursor.end()
        await _change(
            path, "UNSET TBLPROPERTIES", lambda metadata: _drop_keys(metadata["configuration"], keys)
        )
    elif cursor.accept("ADD", "COLUMNS") or cursor.accept("ADD", "COLUMN"):
        await _add_columns(statement, cursor, entry)
    elif cursor.accept("ALTER", "COLUMN") or cursor.accept("ALTER") or cursor.accept("CHANGE", "COLUMN"):
        await _alter_column(cursor, entry)
    elif cursor.accept("CLUSTER", "BY"):  # changes the layout of files only
        if not cursor.accept("NONE") and not cursor.accept("AUTO"):
            cursor.parenthesised()
        cursor.end()
    elif (
        cursor.accept("DROP", "COLUMN")
        or cursor.accept("DROP", "COLUMNS")
        or cursor.accept("RENAME", "COLUMN")
    ):
        raise unsupported(
            "dropping and renaming columns", "write the table anew: CREATE OR REPLACE TABLE ... AS SELECT"
        )
    else:
        raise unsupported(f"ALTER TABLE ... {cursor.rest()[:60]}", "leave it out on a laptop")
    return answers.relation(())


async def rename(statement: Statement, cursor: Cursor, entry: Entry) -> Relation:
    """... RENAME TO name, within the catalog."""
    session = statement.session
    parts = cursor.name().parts
    cursor.end()
    # An unqualified new name stays in the schema of the old one.
    context = (entry.catalog, entry.schema)[: 3 - len(parts)]
    new = session.full_name((*context, *parts))
    if new[0] != entry.catalog:
        raise Refused("a table cannot be moved to another catalog by renaming it")
    async with statement.locks.held(entry.key), statement.locks.held(new):
        try:
            await asyncio.to_thread(statement.registry.rename, entry, new[1], new[2])
        except LocalError as e:
            raise Refused(str(e)) from e
        session.told.forget(entry.key)
    return answers.relation(())


async def comment_on(statement: Statement, cursor: Cursor) -> Relation:
    """COMMENT ON TABLE | VIEW | COLUMN | SCHEMA name IS text."""
    if cursor.accept("SCHEMA") or cursor.accept("DATABASE"):
        return await catalog.comment_on_schema(statement, cursor)
    column = cursor.accept("COLUMN")
    if not column and not cursor.accept("TABLE") and not cursor.accept("VIEW"):
        raise unsupported(f"COMMENT ON {cursor.rest()[:30]}", "leave it out on a laptop")
    parts = cursor.name().parts
    cursor.expect("IS")
    comment = None if cursor.accept("NULL") else cursor.string()
    cursor.end()
    entry = statement.session.relation(parts[:-1] if column else parts)
    if entry.is_view:
        if column:
            kept = tuple((n, t, comment or "") if n == parts[-1] else (n, t, c) for n, t, c in entry.columns)
            statement.registry.put(replace(entry, columns=kept))
        else:
            statement.registry.put(replace(entry, comment=comment or ""))
    elif column:
        await _comment_column(entry, parts[-1], comment)
    else:
        await _change(
            entry.table_location(), "SET TBLPROPERTIES", lambda metadata: metadata.update(description=comment)
        )
    return answers.relation(())


async def _change(path: Path, operation: str, change: Callable[[Json], object]) -> None:
    await asyncio.to_thread(delta.change_metadata, path, operation, change)


def _drop_keys(configuration: Json, keys: Sequence[str]) -> None:
    for key in keys:
        configuration.pop(key, None)


def _field(metadata: Json, name: str) -> Json:
    fields: list[Json] = metadata["schema"]["fields"]
    for field in fields:
        if field["name"].lower() == name.lower():
            return field
    raise Refused(f"there is no column {name!r}", condition="UNRESOLVED_COLUMN", sql_state="42703")


async def _comment_column(entry: Entry, name: str, comment: str | None) -> None:
    def change(metadata: Json) -> None:
        field = _field(metadata, name)
        if comment is None:
            field["metadata"].pop("comment", None)
        else:
            field["metadata"]["comment"] = comment

    await _change(entry.table_location(), "CHANGE COLUMN", change)


async def _alter_column(cursor: Cursor, entry: Entry) -> None:
    name = cursor.name().parts
    if len(name) != 1:
        raise unsupported("changes inside a struct", "write the table anew")
    if cursor.accept("COMMENT"):
        comment = cursor.string()
        cursor.end()
        await _comment_column(entry, name[0], comment)
    elif cursor.accept("DROP", "NOT", "NULL"):
        cursor.end()
        await _change(
            entry.table_location(),
            "CHANGE COLUMN",
            lambda metadata: _field(metadata, name[0]).update(nullable=True),
        )
    else:
        raise unsupported(f"ALTER COLUMN ... {cursor.rest()[:40]}", "write the table anew")


async def _add_columns(statement: Statement, cursor: Cursor, entry: Entry) -> None:
    word = cursor.word
    if word is not None and word.is_symbol("("):
        items = separated(cursor.parenthesised())
        cursor.end()
    else:
        items = separated(cursor.words[cursor.i :])
    fields: list[tuple[Json, str | None]] = [await _new_field(statement, cursor.sql, item) for item in items]

    def change(metadata: Json) -> None:
        existing = metadata["schema"]["fields"]
        for field, after in fields:
            if any(other["name"].lower() == field["name"].lower() for other in existing):
                raise Refused(
                    f"the column {field['name']} is there already", condition="FIELD_ALREADY_EXISTS"
                )
            place = len(existing)
            if after == "":
                place = 0
            elif after is not None:
                place = existing.index(_field(metadata, after)) + 1
            existing.insert(place, field)

    await _change(entry.table_location(), "ADD COLUMNS", change)


async def _new_field(statement: Statement, sql: str, item: Sequence[Word]) -> tuple[Json, str | None]:
    """The field, and the column that it stands after (empty: first; None: last)."""
    words = list(item)
    after: str | None = None
    comment: str | None = None
    if len(words) >= 2 and words[-2].keyword == "AFTER":
        after = words.pop().text
        words.pop()
    elif words[-1].keyword == "FIRST":
        after = ""
        words.pop()
    if len(words) >= 2 and words[-2].keyword == "COMMENT" and words[-1].kind == "string":
        comment = words.pop().text
        words.pop()
    if any(word.keyword in ("NOT", "DEFAULT", "GENERATED") for word in words[1:]):
        raise unsupported("ADD COLUMN with NOT NULL or a default", "add the column, then UPDATE it")
    if len(words) < 2:
        raise Refused("ADD COLUMN needs a name and a type", condition="PARSE_SYNTAX_ERROR")
    session = statement.session
    type_text = sql[words[1].start : words[-1].end]
    relation = statement.query(f"SELECT CAST(NULL AS {type_text}) AS x")
    schema = await session.upstream.schema(session.user, session.id, relation)
    metadata = {} if comment is None else {"comment": comment}
    kind = delta_type(schema.struct.fields[0].data_type)
    return {"name": words[0].text, "type": kind, "nullable": True, "metadata": metadata}, after


_DELTA_TYPES = {
    "boolean": "boolean",
    "byte": "byte",
    "short": "short",
    "integer": "integer",
    "long": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "var_char": "string",
    "char": "string",
    "binary": "binary",
    "date": "date",
    "timestamp": "timestamp",
}


def delta_type(data_type: DataType) -> Any:
    """A Spark Connect type as the schema of a Delta log writes it."""
    kind = data_type.WhichOneof("kind") or "null"
    if kind in _DELTA_TYPES:
        return _DELTA_TYPES[kind]
    if kind == "decimal":
        return f"decimal({data_type.decimal.precision or 10},{data_type.decimal.scale})"
    if kind == "array":
        element = delta_type(data_type.array.element_type)
        return {"type": "array", "elementType": element, "containsNull": True}
    if kind == "map":
        key, value = delta_type(data_type.map.key_type), delta_type(data_type.map.value_type)
        return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}
    if kind == "struct":
        fields = [
            {"name": f.name, "type": delta_type(f.data_type), "nullable": True, "metadata": {}}
            for f in data_type.struct.fields
        ]
        return {"type": "struct", "fields": fields}
    raise unsupported(f"columns of the type {kind}", "use another type")
