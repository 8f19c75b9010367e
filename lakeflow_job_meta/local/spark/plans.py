"""Spark Connect plans: what they mention, and the parts that the gateway changes before Sail sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.local.spark import answers
from lakeflow_job_meta.local.spark.answers import Columns
from lakeflow_job_meta.local.spark.context import Session
from lakeflow_job_meta.local.spark.errors import Refused, catalog_not_found, unsupported
from lakeflow_job_meta.local.spark.lexer import Edit, LexicalError, chains, edited, words
from lakeflow_job_meta.local.spark.literals import identifier
from lakeflow_job_meta.local.spark.statements.catalog import matching
from lakeflow_job_meta.local.spark.told import Mention

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from pyspark.sql.connect.proto import Catalog, Relation

_CLOSED = frozenset(
    f"spark.connect.{name}"
    for name in (
        "LocalRelation",
        "DataType",
        "Expression.Literal",
        "RelationCommon",
        "PythonUDF",
        "StorageLevel",
    )
)
"""Messages that cannot mention a table, and may be large."""

_CHANGE_FEED = frozenset({"readchangefeed", "readchangedata"})


@dataclass
class Parts:
    """The parts of a plan that the gateway looks at."""

    queries: list[Relation] = field(default_factory=list)
    """Relations that are SQL text."""
    tables: list[Any] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    """MERGE commands of the DataFrame API."""
    sources: list[Any] = field(default_factory=list)
    expressions: list[Any] = field(default_factory=list)
    catalogs: list[Relation] = field(default_factory=list)
    """Relations that are calls of the catalog API."""


def parts(plan: Message) -> Parts:
    """Everything in a plan that may name a table or a path."""
    found = Parts()
    for message in _walk(plan):
        name = message.DESCRIPTOR.full_name
        if name == "spark.connect.Relation":
            kind = message.WhichOneof("rel_type")
            if kind == "sql":
                found.queries.append(message)
            elif kind == "catalog":
                found.catalogs.append(message)
        elif name == "spark.connect.Read.NamedTable":
            found.tables.append(message)
        elif name == "spark.connect.MergeIntoTableCommand":
            found.targets.append(message)
        elif name == "spark.connect.Read.DataSource":
            found.sources.append(message)
        elif name == "spark.connect.Expression.ExpressionString":
            found.expressions.append(message)
    return found


def _walk(message: Any) -> Iterator[Any]:
    pending = [message]
    while pending:
        current = pending.pop()
        if current.DESCRIPTOR.full_name in _CLOSED:
            continue
        yield current
        for descriptor, value in current.ListFields():
            if descriptor.message_type is None:
                continue
            if descriptor.message_type.GetOptions().map_entry:
                if descriptor.message_type.fields_by_name["value"].message_type is not None:
                    pending.extend(value.values())
            elif isinstance(value, type(current)) or hasattr(value, "DESCRIPTOR"):
                pending.append(value)
            else:
                pending.extend(value)


def rename(found: Parts, old: str, new: str) -> None:
    """Changes the name of a temporary view wherever a plan reads it."""
    for query in found.queries:
        query.sql.query = renamed(query.sql.query, old, new)
    for table in found.tables:
        if tuple(part.lower() for part in split_name(table.unparsed_identifier)) == (old.lower(),):
            table.unparsed_identifier = identifier(new)
    for expression in found.expressions:
        expression.expression = renamed(expression.expression, old, new)


def renamed(sql: str, old: str, new: str) -> str:
    """Changes a name at the head of every dotted name of a text."""
    heads = [chain.words[0] for chain in chains(words(sql))]
    return edited(
        sql, [Edit(h.start, h.end, identifier(new)) for h in heads if h.text.lower() == old.lower()]
    )


def mentions(session: Session, found: Parts) -> list[Mention]:
    """What the parts mention; a source of files counts as something that is never the same."""
    result: list[Mention] = []
    for query in found.queries:
        texts = [value.literal.string for value in query.sql.named_arguments.values()]
        texts += [value.literal.string for value in query.sql.pos_arguments]
        texts += [value.string for value in query.sql.args.values()]
        result += session.mentions(query.sql.query, texts)
    for table in found.tables:
        result.append(Mention(split_name(table.unparsed_identifier), sure=True))
    result += (Mention(split_name(target.target_table_name), sure=True) for target in found.targets)
    for source in found.sources:
        if source.paths or source.options:
            result.append(Mention(("delta", "")))
    for expression in found.expressions:
        result += session.mentions(expression.expression)
    return result


def localize(session: Session, found: Parts) -> list[Mention]:
    """Changes names and paths in place to what Sail understands; returns what is mentioned.

    Raises:
        Refused: a path outside the volumes, or a change data feed.
    """
    mentioned = mentions(session, found)
    for query in found.queries:
        query.sql.query = session.localized(query.sql.query)
    for table in found.tables:
        _refuse_change_feed(table.options)
        name = split_name(table.unparsed_identifier)
        if len(name) == 3:
            table.unparsed_identifier = session.localized(identifier(*name))
        elif session.is_temporary(name):
            table.unparsed_identifier = identifier(session.temp_views[name[0].lower()].spelled)
    for target in found.targets:
        target.target_table_name = identifier(*session.spelled(split_name(target.target_table_name)))
    for source in found.sources:
        _refuse_change_feed(source.options)
        for i, path in enumerate(source.paths):
            source.paths[i] = session.registry.locations.volume(path) or path
        localize_option(session, source.options)
        for key in [key for key in source.options if key.lower() == "path" and not source.paths]:
            source.paths.append(source.options[key])  # Sail reads only these
            del source.options[key]
    return mentioned


def localize_option(session: Session, options: Any) -> None:
    """Maps a `path` option into the volumes."""
    for key in list(options):
        if key.lower() == "path":
            options[key] = session.registry.locations.volume(options[key]) or options[key]


def _refuse_change_feed(options: Any) -> None:
    for key in options:
        if key.lower() in _CHANGE_FEED and options[key].lower() != "false":
            raise unsupported("reading a change data feed", "Sail would give the table as it is now instead")


def split_name(text: str) -> tuple[str, ...]:
    """The parts of a dotted name in text.

    Raises:
        Refused: it is no name.
    """
    try:
        found = words(text)
        names = chains(found)
    except LexicalError as e:
        raise Refused(f"{text!r} is no table name: {e}", condition="INVALID_IDENTIFIER") from e
    if len(names) != 1 or len(found) != 2 * len(names[0].words) - 1:
        # Sail says what is wrong with it.
        return (text,)
    return names[0].parts


# ---------------------------------------------------------------- the catalog API

_TABLES: Columns = (
    ("name", "string"),
    ("catalog", "string"),
    ("namespace", "array<string>"),
    ("description", "string"),
    ("tableType", "string"),
    ("isTemporary", "boolean"),
)
_DATABASES: Columns = (
    ("name", "string"),
    ("catalog", "string"),
    ("description", "string"),
    ("locationUri", "string"),
)
_COLUMNS: Columns = (
    ("name", "string"),
    ("description", "string"),
    ("dataType", "string"),
    ("nullable", "boolean"),
    ("isPartition", "boolean"),
    ("isBucket", "boolean"),
    ("isCluster", "boolean"),
)


async def answer_catalog(session: Session, call: Catalog) -> Relation | None:
    """The answer to a call of the catalog API out of the registry; None when Sail has the answer.

    Raises:
        Refused: what it asks for does not exist.
    """
    kind = call.WhichOneof("cat_type") or ""
    body: Any = getattr(call, kind) if kind else None
    registry = session.registry
    if kind == "current_catalog":
        return _value(session.catalog)
    if kind == "current_database":
        return _value(session.schema)
    if kind == "set_current_catalog":
        await session.use(body.catalog_name, "default")
        return answers.relation(())
    if kind == "set_current_database":
        await session.use(*session.schema_name(split_name(body.db_name)))
        return answers.relation(())
    if kind == "list_catalogs":
        names = [n for n in registry.catalogs() if matching(_pattern(body), n)]
        return answers.relation((("name", "string"), ("description", "string")), [(n, None) for n in names])
    if kind == "list_databases":
        return answers.relation(
            _DATABASES,
            [
                _database(session, s.name)
                for s in registry.schemas(session.catalog)
                if matching(_pattern(body), s.name)
            ],
        )
    if kind in ("database_exists", "get_database"):
        return _one_database(session, kind, body.db_name)
    if kind == "list_tables":
        return _list_tables(session, body)
    if kind in ("table_exists", "get_table", "list_columns"):
        return _one_table(session, kind, body)
    if kind in ("create_table", "create_external_table"):
        raise unsupported("spark.catalog.createTable", "use CREATE TABLE or df.write.saveAsTable")
    if kind in (
        "refresh_table",
        "refresh_by_path",
        "cache_table",
        "uncache_table",
        "clear_cache",
        "recover_partitions",
    ):
        return answers.relation(())
    if kind == "is_cached":
        return _value(False)
    if kind == "drop_temp_view":
        session.temp_views.pop(body.view_name.lower(), None)
    return None


def _pattern(body: Any) -> str | None:
    return body.pattern if body.HasField("pattern") else None


def _value(value: str | bool) -> Relation:
    return answers.relation((("value", "boolean" if isinstance(value, bool) else "string"),), [(value,)])


def _database(session: Session, name: str, catalog: str = "") -> tuple[Any, ...]:
    catalog = catalog or session.catalog
    schema = session.registry.schema(catalog, name)
    folder = session.registry.locations.table(catalog, name, "x").parent
    return name, catalog, (schema.comment or None) if schema else None, folder.as_uri()


def _one_database(session: Session, kind: str, text: str) -> Relation:
    parts = split_name(text)
    if kind == "get_database":
        catalog, name = session.existing_schema(parts)
        return answers.relation(_DATABASES, [_database(session, name, catalog)])
    try:
        return _value(session.registry.schema(*session.schema_name(parts)) is not None)
    except Refused:
        return _value(False)


def _list_tables(session: Session, body: Any) -> Relation:
    if body.HasField("db_name"):
        place = session.existing_schema(split_name(body.db_name))
    else:
        place = session.catalog, session.schema
    if place[0] not in session.registry.catalogs():
        raise catalog_not_found(place[0])
    rows = [_table(session, *entry.key) for entry in session.registry.relations(*place)]
    rows += [
        (name, None, [], None, "TEMPORARY", True)
        for name in sorted(view.spelled for view in session.temp_views.values() if not view.hidden)
    ]
    return answers.relation(_TABLES, [row for row in rows if matching(_pattern(body), row[0])])


def _table(session: Session, *key: str) -> tuple[Any, ...]:
    entry = session.relation(key)
    kind = "VIEW" if entry.is_view else ("MANAGED" if entry.managed else "EXTERNAL")
    return entry.name, entry.catalog, [entry.schema], entry.comment or None, kind, False


def _one_table(session: Session, kind: str, body: Any) -> Relation | None:
    parts = split_name(body.table_name)
    if body.HasField("db_name") and len(parts) == 1:
        parts = (*split_name(body.db_name), *parts)
    if session.is_temporary(parts):
        if kind == "get_table":
            name = session.temp_views[parts[0].lower()].spelled
            return answers.relation(_TABLES, [(name, None, [], None, "TEMPORARY", True)])
        return _value(True) if kind == "table_exists" else None
    if kind == "table_exists":
        if len(parts) == 2 and parts[0].lower() == "global_temp":
            return None
        return _value(len(parts) <= 3 and session.registry.get(*session.full_name(parts)) is not None)
    entry = session.relation(parts)
    if kind == "get_table":
        return answers.relation(_TABLES, [_table(session, *entry.key)])
    partitions = session.registry.partition_columns(entry)
    rows = [
        (c.name, c.comment or None, c.type, c.nullable, c.name in partitions, False, False)
        for c in session.registry.columns(entry)
    ]
    return answers.relation(_COLUMNS, rows)
