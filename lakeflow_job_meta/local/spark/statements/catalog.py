"""Catalogs, schemas and volumes: USE, SET, CREATE, DROP, SHOW, COMMENT ON."""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.spark import answers
from lakeflow_job_meta.local.spark.answers import Columns
from lakeflow_job_meta.local.spark.errors import Refused, catalog_not_found, schema_not_found, unsupported
from lakeflow_job_meta.local.spark.registry import Relation as Entry
from lakeflow_job_meta.local.spark.statements.statement import Cursor, Statement, properties

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Relation


def _done() -> Relation:
    return answers.relation(())


async def use(statement: Statement, cursor: Cursor) -> Relation:
    """USE [CATALOG | SCHEMA | DATABASE | NAMESPACE] name, and SET CATALOG name."""
    session = statement.session
    if cursor.accept("CATALOG"):
        name = single_name(cursor)
        if name.lower() != session.catalog:
            await session.use(name, "default")
    else:
        for keyword in ("SCHEMA", "DATABASE", "NAMESPACE"):
            if cursor.accept(keyword):
                break
        parts = cursor.name().parts
        if len(parts) == 1 and statement.registry.schema(session.catalog, parts[0]) is None:
            raise schema_not_found(session.catalog, parts[0])
        await session.use(*session.existing_schema(parts))
    cursor.end()
    return _done()


def single_name(cursor: Cursor) -> str:
    """Reads a name of one part, in quotes or not."""
    word = cursor.word
    if word is not None and word.kind == "string":
        return cursor.string()
    parts = cursor.name().parts
    if len(parts) != 1:
        raise cursor.error("expected one name")
    return parts[0]


async def set_configuration(statement: Statement, cursor: Cursor) -> Relation | None:
    """SET key = value, SET key, SET TIME ZONE."""
    session = statement.session
    if cursor.accept("CATALOG"):
        return await use(statement, Cursor(f"CATALOG {cursor.rest()}"))
    if cursor.accept("TIME", "ZONE"):
        word = cursor.word
        zone = cursor.string() if word is not None and word.kind == "string" else cursor.rest()
        await session.upstream.configure(session.user, session.id, {"spark.sql.session.timeZone": zone})
        return _done()
    if cursor.keyword in ("VAR", "VARIABLE", "") or cursor.done:
        raise unsupported(f"SET {cursor.rest()}".strip(), "use parameters instead of SQL variables")
    key, sign, value = cursor.rest().partition("=")
    key, value = key.strip().strip("`"), value.strip()
    if not re.fullmatch(r"[\w.-]+", key):
        raise cursor.error("expected key = value")
    if sign:
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        await session.upstream.configure(session.user, session.id, {key: value})
    else:
        value = await session.configuration(key)
    return answers.relation((("key", "string"), ("value", "string")), [(key, value)])


# ---------------------------------------------------------------- schemas


async def create_schema(statement: Statement, cursor: Cursor) -> Relation:
    """CREATE SCHEMA [IF NOT EXISTS] name [COMMENT text]; places and properties are not kept."""
    careful = cursor.accept("IF", "NOT", "EXISTS")
    catalog, schema = statement.session.schema_name(cursor.name().parts)
    comment = ""
    while not cursor.done:
        if cursor.accept("COMMENT"):
            comment = cursor.string()
        elif cursor.accept("MANAGED", "LOCATION") or cursor.accept("LOCATION"):
            cursor.string()
            raise unsupported(
                "CREATE SCHEMA with a location", "leave it out: schemas lie in the warehouse folder"
            )
        elif cursor.accept("WITH", "DBPROPERTIES"):
            properties(cursor)
            raise unsupported("CREATE SCHEMA with properties", "leave DBPROPERTIES out")
        else:
            raise cursor.error("unexpected text")
    if not statement.registry.create_schema(catalog, schema, comment) and not careful:
        raise Refused(
            f"Cannot create schema `{catalog}`.`{schema}` because it already exists. Say IF NOT EXISTS.",
            condition="SCHEMA_ALREADY_EXISTS",
            sql_state="42P06",
        )
    return _done()


async def drop_schema(statement: Statement, cursor: Cursor) -> Relation:
    """DROP SCHEMA [IF EXISTS] name [RESTRICT | CASCADE]."""
    careful = cursor.accept("IF", "EXISTS")
    catalog, schema = statement.session.schema_name(cursor.name().parts)
    cascade = cursor.accept("CASCADE")
    cursor.accept("RESTRICT")
    cursor.end()
    try:
        dropped = statement.registry.drop_schema(catalog, schema, cascade=cascade)
    except LocalError as e:
        raise Refused(str(e), condition="SCHEMA_NOT_EMPTY", sql_state="2BP01") from e
    if not dropped and not careful:
        raise schema_not_found(catalog, schema)
    return _done()


async def comment_on_schema(statement: Statement, cursor: Cursor) -> Relation:
    """COMMENT ON SCHEMA name IS text."""
    catalog, schema = statement.session.existing_schema(cursor.name().parts)
    cursor.expect("IS")
    comment = "" if cursor.accept("NULL") else cursor.string()
    cursor.end()
    statement.registry.comment_schema(catalog, schema, comment)
    return _done()


async def create_catalog(statement: Statement, cursor: Cursor) -> Relation:
    """CREATE CATALOG [IF NOT EXISTS]: of one that is there already."""
    careful = cursor.accept("IF", "NOT", "EXISTS")
    name = single_name(cursor)
    if careful and name.lower() in statement.registry.catalogs():
        return _done()
    raise unsupported(
        f"creating the catalog {name!r}",
        f"it has {', '.join(statement.registry.catalogs())}; others are named when it starts",
    )


# ---------------------------------------------------------------- volumes


def _volume(statement: Statement, cursor: Cursor) -> Path:
    parts = cursor.name().parts
    catalog, schema, name = statement.session.full_name(parts)
    statement.session.existing_schema((catalog, schema))
    path = statement.registry.locations.volume(f"/Volumes/{catalog}/{schema}/{name}")
    if path is None or "/" in name:
        raise Refused(f"{name!r} is no name for a volume")
    return Path(path)


async def create_volume(statement: Statement, cursor: Cursor) -> Relation:
    """CREATE VOLUME [IF NOT EXISTS] name [COMMENT text]."""
    careful = cursor.accept("IF", "NOT", "EXISTS")
    path = _volume(statement, cursor)
    if cursor.accept("LOCATION"):
        raise unsupported("external volumes", "leave LOCATION out")
    if cursor.accept("COMMENT"):
        cursor.string()
    cursor.end()
    if path.is_dir() and not careful:
        raise Refused(
            f"the volume {path} already exists; say IF NOT EXISTS", condition="VOLUME_ALREADY_EXISTS"
        )
    path.mkdir(parents=True, exist_ok=True)
    return _done()


async def drop_volume(statement: Statement, cursor: Cursor) -> Relation:
    """DROP VOLUME [IF EXISTS] name, with its files."""
    careful = cursor.accept("IF", "EXISTS")
    path = _volume(statement, cursor)
    cursor.end()
    if not path.is_dir():
        if careful:
            return _done()
        raise Refused(f"the volume {path} does not exist", condition="VOLUME_DOES_NOT_EXIST")
    shutil.rmtree(path)
    return _done()


# ---------------------------------------------------------------- SHOW


def matching(pattern: str | None, name: str) -> bool:
    """Whether a name fits a SHOW pattern: `*` for anything, `|` for or, case ignored."""
    if pattern is None:
        return True
    return any(fnmatch.fnmatchcase(name.lower(), p.strip().lower()) for p in pattern.split("|"))


def _temporary(statement: Statement) -> list[str]:
    return sorted(view.spelled for view in statement.session.temp_views.values() if not view.hidden)


def _pattern(cursor: Cursor) -> str | None:
    word = cursor.word
    given = cursor.accept("LIKE") or (word is not None and word.kind == "string")
    pattern = cursor.string() if given else None
    cursor.end()
    return pattern


def _place(statement: Statement, cursor: Cursor) -> tuple[str, str]:
    session = statement.session
    if cursor.accept("IN") or cursor.accept("FROM"):
        return session.existing_schema(cursor.name().parts)
    return session.catalog, session.schema


async def show_tables(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW TABLES [IN schema] [[LIKE] pattern]: tables, views and the session's temporary views."""
    catalog, schema = _place(statement, cursor)
    pattern = _pattern(cursor)
    columns: Columns = (("database", "string"), ("tableName", "string"), ("isTemporary", "boolean"))
    found: list[tuple[str, str, bool]] = [
        (schema, entry.name, False) for entry in statement.registry.relations(catalog, schema)
    ]
    found += [("", name, True) for name in _temporary(statement)]
    return answers.relation(columns, [row for row in found if matching(pattern, row[1])])


async def show_views(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW VIEWS [IN schema] [[LIKE] pattern]."""
    catalog, schema = _place(statement, cursor)
    pattern = _pattern(cursor)
    columns: Columns = (
        ("namespace", "string"),
        ("viewName", "string"),
        ("isTemporary", "boolean"),
        ("isMaterialized", "boolean"),
    )
    entries: Iterable[Entry] = statement.registry.relations(catalog, schema)
    found = [(schema, entry.name, False, False) for entry in entries if entry.is_view]
    found += [("", name, True, False) for name in _temporary(statement)]
    return answers.relation(columns, [row for row in found if matching(pattern, row[1])])


async def show_schemas(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW SCHEMAS [IN catalog] [[LIKE] pattern]."""
    catalog = statement.session.catalog
    if cursor.accept("IN") or cursor.accept("FROM"):
        catalog = single_name(cursor).lower()
    if catalog not in statement.registry.catalogs():
        raise catalog_not_found(catalog)
    pattern = _pattern(cursor)
    names = [schema.name for schema in statement.registry.schemas(catalog)]
    return answers.relation((("databaseName", "string"),), [(n,) for n in names if matching(pattern, n)])


async def show_catalogs(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW CATALOGS [[LIKE] pattern]."""
    pattern = _pattern(cursor)
    names = statement.registry.catalogs()
    return answers.relation((("catalog", "string"),), [(n,) for n in names if matching(pattern, n)])


async def show_volumes(statement: Statement, cursor: Cursor) -> Relation:
    """SHOW VOLUMES [IN schema] [[LIKE] pattern]."""
    catalog, schema = _place(statement, cursor)
    pattern = _pattern(cursor)
    names = _folders(statement.registry.locations.volume(f"/Volumes/{catalog}/{schema}"))
    rows = [(schema, name) for name in names if matching(pattern, name)]
    return answers.relation((("database", "string"), ("volume_name", "string")), rows)


def _folders(path: str | None) -> list[str]:
    root = Path(path or "")
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
