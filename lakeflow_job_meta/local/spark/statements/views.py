"""CREATE VIEW, DROP VIEW, ALTER VIEW; temporary views belong to their session and are Sail's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.local.spark import answers, information_schema
from lakeflow_job_meta.local.spark.errors import Refused, already_exists, schema_not_found, unsupported
from lakeflow_job_meta.local.spark.lexer import Edit, edited, words
from lakeflow_job_meta.local.spark.literals import identifier, string_literal
from lakeflow_job_meta.local.spark.plans import renamed
from lakeflow_job_meta.local.spark.registry import Relation as Entry
from lakeflow_job_meta.local.spark.statements.alteration import delta_type, rename
from lakeflow_job_meta.local.spark.statements.statement import Cursor, Statement, properties, separated
from lakeflow_job_meta.local.spark.statements.tables import drop_relation
from lakeflow_job_meta.local.spark.told import Mention

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Relation


async def create(statement: Statement, cursor: Cursor, *, replacing: bool) -> Relation:
    """CREATE [OR REPLACE] VIEW [IF NOT EXISTS] name [(columns)] ... AS query."""
    careful = cursor.accept("IF", "NOT", "EXISTS")
    parts = cursor.name().parts
    columns: list[tuple[str, str]] = []
    comment = ""
    kept: dict[str, str] = {}
    if cursor.word is not None and cursor.word.is_symbol("("):
        items = separated(cursor.parenthesised())
        columns = [(item[0].text, item[-1].text if item[-1].kind == "string" else "") for item in items]
    while not cursor.accept("AS"):
        if cursor.accept("COMMENT"):
            comment = cursor.string()
        elif cursor.accept("TBLPROPERTIES"):
            kept = properties(cursor)
        elif cursor.accept("WITH", "SCHEMA"):
            cursor.i += 1  # BINDING, COMPENSATION, EVOLUTION: how it follows changes of its tables
        else:
            raise cursor.error("expected AS and a query")
    session = statement.session
    name = session.full_name(parts)
    async with statement.locks.held(name):
        if statement.registry.schema(*name[:2]) is None:
            raise schema_not_found(*name[:2])
        existing = statement.registry.get(*name)
        if existing is not None and careful:
            return answers.relation(())
        if existing is not None and not replacing:
            raise already_exists(*name)
        if existing is not None and not existing.is_view:
            raise Refused(
                f"{existing.full_name} is a table; drop it first", condition="EXPECT_VIEW_NOT_TABLE"
            )
        view = await _checked(statement, Entry(*name, comment=comment), cursor.rest(), columns)
        created = existing.created if existing is not None else 0
        statement.registry.put(replace(view, created=created, properties=tuple(kept.items())))
        session.told.forget(name)
    return answers.relation(())


async def _checked(statement: Statement, view: Entry, query: str, columns: list[tuple[str, str]]) -> Entry:
    """The view with its text qualified, and the columns that Sail says it has.

    Raises:
        Refused: it uses a temporary view or itself, or names too many or too few columns.
    """
    session = statement.session
    text = qualified(statement, query)
    mentions = session.mentions(text)
    if any(mention.sure and session.full_name(mention.parts[:3]) == view.key for mention in mentions):
        raise Refused(
            f"the view {view.full_name} would read itself", condition="RECURSIVE_VIEW", sql_state="42K0H"
        )
    await session.prepare(mentions)
    schema = await session.upstream.schema(session.user, session.id, statement.query(text))
    fields = [(f.name, f.data_type) for f in schema.struct.fields]
    if columns and len(columns) != len(fields):
        raise Refused(
            f"the view names {len(columns)} columns, its query has {len(fields)}",
            condition="CREATE_VIEW_COLUMN_ARITY_MISMATCH",
            sql_state="21S01",
        )
    named = columns or [(name, "") for name, _ in fields]
    for names in ([name.lower() for name, _ in named], [name.lower() for name, _ in fields]):
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise Refused(
                f"the view has two columns `{twice[0]}`; give one of them another name",
                condition="COLUMN_ALREADY_EXISTS",
                sql_state="42711",
            )
    return replace(
        view,
        text=text,
        columns=tuple((n, spark_type(t), c) for (n, c), (_, t) in zip(named, fields, strict=True)),
        output=tuple(name for name, _ in fields),
    )


def spark_type(data_type: Any) -> str:
    """A Spark Connect type as Spark writes it; the kind's own name where a table cannot hold it."""
    from lakeflow_job_meta.local.spark.delta import type_text

    try:
        return type_text(delta_type(data_type))
    except Refused:
        return str(data_type.WhichOneof("kind"))


def qualified(statement: Statement, query: str, *, temporary: bool = False) -> str:
    """The query with every table's full name, so that it means the same in any session.

    Args:
        temporary: whether it may read temporary views.

    Raises:
        Refused: it cannot be parsed, or reads a temporary view.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    session = statement.session
    try:
        tree = sqlglot.parse_one(query, read="databricks")
    except SqlglotError as e:
        raise Refused(f"the query of the view cannot be read: {e}", condition="PARSE_SYNTAX_ERROR") from e
    edits: list[Edit] = []
    for table in tree.find_all(exp.Table):
        if not all(isinstance(part, exp.Identifier) for part in table.parts):
            continue  # a table function
        parts = [part.name for part in table.parts]
        if len(parts) >= 3 or (len(parts) == 1 and _is_cte(table)):
            continue
        if session.is_temporary(parts):
            if temporary:
                continue
            raise Refused(
                f"a view cannot read the temporary view {parts[0]}; create a table or a view for it",
                condition="INVALID_TEMP_OBJ_REFERENCE",
                sql_state="42K0F",
            )
        is_file = len(parts) == 2 and statement.registry.schema(session.catalog, parts[0]) is None
        if (
            is_file
            and information_schema.view_of(parts, session.catalog, statement.registry.catalogs()) is None
        ):
            continue
        place = table.parts[0].meta
        prefix = (session.catalog, session.schema)[: 3 - len(parts)]
        edits.append(Edit(place["start"], place["start"], identifier(*prefix) + "."))
    return edited(query, edits)


def _is_cte(table: Any) -> bool:
    """Whether an enclosing WITH defines the name."""
    from sqlglot import exp

    node: Any = table
    while node is not None:
        clause = node.args.get("with_") or node.args.get("with")
        if isinstance(clause, exp.With) and any(
            cte.alias.lower() == table.name.lower() for cte in clause.expressions
        ):
            return True
        node = node.parent
    return False


async def create_temporary(statement: Statement, cursor: Cursor, *, replacing: bool) -> Relation:
    """CREATE [OR REPLACE] TEMPORARY VIEW: Sail keeps it, for this session."""
    session = statement.session
    careful = cursor.accept("IF", "NOT", "EXISTS")
    parts = cursor.name().parts
    if len(parts) != 1:
        raise Refused(f"the temporary view {'.'.join(parts)} must have a name of one part")
    if session.is_temporary(parts) and not replacing:
        if careful:
            return answers.relation(())
        raise already_exists(*parts)
    head = ""
    if cursor.word is not None and cursor.word.is_symbol("("):
        names = [identifier(item[0].text) for item in separated(cursor.parenthesised())]
        head = f" ({', '.join(names)})"
    if cursor.accept("COMMENT"):
        cursor.string()
    if cursor.keyword == "USING":
        text = f"{head} {_using(statement, cursor)}"
        query = ""
    else:
        cursor.expect("AS")
        query = qualified(statement, cursor.rest(), temporary=True)
        if session.is_temporary(parts) and any(
            reads(mention, parts[0]) for mention in session.mentions(query)
        ):
            query = renamed(query, parts[0], session.told.hide_temporary(parts[0]))
        text = f"{head} AS {query}"
    await statement.forward(f"CREATE OR REPLACE TEMPORARY VIEW {identifier(*parts)}{text}")
    session.told.keep_temporary(parts[0], session.mentions(query), body=text)
    return answers.relation(())


def reads(mention: Mention, name: str) -> bool:
    """Whether a mention means the temporary view of that name."""
    return mention.sure and len(mention.parts) == 1 and mention.parts[0].lower() == name.lower()


def _using(statement: Statement, cursor: Cursor) -> str:
    """The text from USING on, paths in volumes as local ones."""
    rest = cursor.rest()
    edits: list[Edit] = []
    for word in words(rest):
        path = statement.registry.locations.volume(word.text) if word.kind == "string" else None
        if path is not None:
            edits.append(Edit(word.start, word.end, string_literal(path)))
    return edited(rest, edits)


async def drop(statement: Statement, cursor: Cursor) -> Relation:
    """DROP VIEW [IF EXISTS] name, of the session or of the workspace."""
    careful = cursor.accept("IF", "EXISTS")
    parts = cursor.name().parts
    cursor.end()
    session = statement.session
    if session.is_temporary(parts):
        view = session.temp_views.pop(parts[0].lower())
        await session.sql(f"DROP VIEW IF EXISTS {identifier(view.spelled)}")
    else:
        await drop_relation(session, statement.locks, parts, careful=careful, view=True)
    return answers.relation(())


async def alter(statement: Statement, cursor: Cursor) -> Relation:
    """ALTER VIEW name: AS query, RENAME TO, SET and UNSET TBLPROPERTIES."""
    session = statement.session
    entry = session.relation(cursor.name().parts)
    if not entry.is_view:
        raise Refused(f"{entry.full_name} is a table; use ALTER TABLE", condition="EXPECT_VIEW_NOT_TABLE")
    if cursor.accept("RENAME", "TO"):
        return await rename(statement, cursor, entry)
    if cursor.accept("AS"):
        view = await _checked(statement, entry, cursor.rest(), [])
        statement.registry.put(view)
    elif cursor.accept("SET", "TBLPROPERTIES"):
        kept = dict(entry.properties) | properties(cursor)
        cursor.end()
        statement.registry.put(replace(entry, properties=tuple(kept.items())))
    else:
        raise unsupported(f"ALTER VIEW ... {cursor.rest()[:40]}", "use CREATE OR REPLACE VIEW")
    session.told.forget(entry.key)
    return answers.relation(())
