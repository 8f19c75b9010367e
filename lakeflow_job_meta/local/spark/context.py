"""One Spark Connect session as the gateway knows it: its context, and what Sail was told in it.

Sail keeps catalogs per session and in memory. So each session is told of a table or view when a
statement first mentions it (about 2 ms each), not of all when it begins. Sail reads a table's
schema and data from its Delta log at every query, so a table needs to be told only once.

Views are another matter. Sail keeps the text of a view without its quotes, and a temporary view as
a plan that goes on reading the version that the tables had when it was made. So a view is told as a
temporary view (which keeps quotes) under a name of ours with `SELECT *` in front of it, and it, and
the client's own temporary views, are told anew whenever a table below them has another version.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.spark import delta, information_schema
from lakeflow_job_meta.local.spark.errors import (
    Refused,
    catalog_not_found,
    schema_not_found,
    table_not_found,
)
from lakeflow_job_meta.local.spark.lexer import (
    Chain,
    Edit,
    LexicalError,
    Word,
    chain_at,
    chains,
    edited,
    words,
)
from lakeflow_job_meta.local.spark.literals import identifier, string_literal
from lakeflow_job_meta.local.spark.locations import VOLUME
from lakeflow_job_meta.local.spark.registry import Name, Registry, Relation, key_of
from lakeflow_job_meta.local.spark.sail import SYSTEM_CATALOG
from lakeflow_job_meta.local.spark.upstream import SailError, Upstream

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import ExecutePlanResponse, Plan

DEFAULTS = {"spark.sql.sources.default": "delta", "spark.sql.session.timeZone": "UTC"}
"""Configuration in which Sail differs from Databricks."""

_FILE_FORMATS = frozenset({"csv", "json", "text", "parquet", "delta", "avro", "orc", "binaryfile", "xml"})
_BEFORE_A_TABLE = frozenset({"FROM", "JOIN", "INTO", "UPDATE", "TABLE", "USING", "OVERWRITE", "VIEW"})
_DOTTED = re.compile(r"[\w`]+(\.[\w`]+)*")


@dataclass(frozen=True, slots=True)
class Mention:
    """A dotted name that may be a table.

    Args:
        parts: as they were spelled.
        sure: it stands where only a table can stand.
    """

    parts: tuple[str, ...]
    sure: bool = False


@dataclass(frozen=True)
class TempView:
    """A temporary view of a client.

    Args:
        spelled: its name.
        number: another one for every view that is made.
        mentions: what it reads; empty when it never needs to be told again.
        body: what stands behind the name in the statement that makes it, or
        plan: the command that makes it.
        hidden: it was replaced by a view that reads it.
    """

    spelled: str
    number: int
    mentions: tuple[Mention, ...] = ()
    body: str = ""
    plan: Plan | None = None
    hidden: bool = False


@dataclass(frozen=True)
class _Item:
    """Something that Sail must know under a name. Without an identity: that it is gone."""

    name: Name
    identity: str | None
    relation: Relation | None = None
    sure: bool = False
    temporary: TempView | None = None
    parquet: str = ""


_NEVER_THE_SAME = itertools.count()


class Session:
    """State of one client session. Used in the gateway's event loop only.

    Args:
        user: user id of the client, part of the session's key.
        id: the client's session id.
    """

    def __init__(self, user: str, id: str, registry: Registry, upstream: Upstream) -> None:
        self.user = user
        self.id = id
        self.registry = registry
        self.upstream = upstream
        self.catalog = registry.catalogs()[0]
        self.schema = "default"
        self.temp_views: dict[str, TempView] = {}
        """Temporary views by lower-case name."""
        self.operations: dict[str, asyncio.Task[list[ExecutePlanResponse]]] = {}
        """Statements that the gateway answers itself, for clients that attach again."""
        self.last_used = time.monotonic()
        self._epoch = -1
        self._told: dict[Name, str] = {}
        self._told_schemas: set[tuple[str, str]] = set()
        self._tell_schemas: set[tuple[str, str]] = set()
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Makes Sail's side of the session what Databricks' is, once per session and Sail process."""
        self.last_used = time.monotonic()
        await self.upstream.channel()
        if self._epoch == self.upstream.epoch:
            return
        async with self._lock:
            if self._epoch == self.upstream.epoch:
                return
            self._told.clear()
            self._told_schemas.clear()
            self.temp_views.clear()
            await self.upstream.configure(self.user, self.id, DEFAULTS)
            self._epoch = self.upstream.epoch
            catalog, schema = self.catalog, self.schema
            self.catalog, self.schema = self.registry.catalogs()[0], "default"
            if (catalog, schema) != (self.catalog, self.schema):
                await self._use(catalog, schema)

    # ------------------------------------------------------------ names

    def full_name(self, parts: Sequence[str]) -> Name:
        """The full name that one to three parts mean here, in lower case.

        Raises:
            Refused: more than three parts.
        """
        if len(parts) > 3:
            raise Refused(f"`{'`.`'.join(parts)}` has more than three parts", condition="INVALID_IDENTIFIER")
        context = (self.catalog, self.schema)
        return key_of(*context[: 3 - len(parts)], *parts)

    def spelled(self, parts: Sequence[str]) -> Name:
        """The full name as Sail must be told of it: it minds the case, catalogs have one."""
        context = (self.catalog, self.schema)[: 3 - len(parts)]
        catalog, schema, name = (*context, *parts)
        return catalog.lower(), schema, name

    def schema_name(self, parts: Sequence[str]) -> tuple[str, str]:
        """Catalog and schema that one or two parts mean here, in lower case.

        Raises:
            Refused: more than two parts, or no such catalog.
        """
        if len(parts) > 2:
            raise Refused(f"`{'`.`'.join(parts)}` has more than two parts", condition="INVALID_IDENTIFIER")
        catalog, schema = (self.catalog, parts[0]) if len(parts) == 1 else parts
        if catalog.lower() not in self.registry.catalogs():
            raise catalog_not_found(catalog)
        return catalog.lower(), schema.lower()

    def existing_schema(self, parts: Sequence[str]) -> tuple[str, str]:
        """The same, of a schema that exists.

        Raises:
            Refused: there is none.
        """
        name = self.schema_name(parts)
        if self.registry.schema(*name) is None:
            raise schema_not_found(*name)
        return name

    def relation(self, parts: Sequence[str]) -> Relation:
        """The table or view of that name.

        Raises:
            Refused: there is none.
        """
        name = self.full_name(parts)
        found = self.registry.get(*name)
        if found is None:
            raise table_not_found(*name)
        return found

    def is_temporary(self, parts: Sequence[str]) -> bool:
        """Whether the name is a temporary view of this session."""
        return len(parts) == 1 and parts[0].lower() in self.temp_views

    # ------------------------------------------------------------ statements

    def localized(self, sql: str) -> str:
        """The statement with what Sail cannot resolve put in its way: the spelling of catalogs and
        temporary views (it minds the case), `system.information_schema`, and paths into volumes.

        Raises:
            Refused: a path that leaves the volumes.
        """
        try:
            found = words(sql)
        except LexicalError:
            return sql  # Sail's own error will say where
        edits: list[Edit] = []
        i = 0
        while i < len(found):
            if found[i].kind != "name":
                i += 1
                continue
            chain, i = chain_at(found, i)
            edits += self._edits(chain)
        return edited(sql, edits) if edits else sql

    def _edits(self, chain: Chain) -> Iterable[Edit]:
        first, parts = chain.words[0], chain.parts
        lower = parts[0].lower()
        if (
            len(parts) == 2
            and lower in _FILE_FORMATS
            and chain.words[1].quoted
            and VOLUME.fullmatch(parts[1])
        ):
            path = self.registry.locations.volume(parts[1])
            yield Edit(chain.words[1].start, chain.end, identifier(path or parts[1]))
        elif len(parts) >= 3 and lower == "system" and parts[1].lower() == information_schema.SCHEMA:
            yield Edit(first.start, first.end, identifier(SYSTEM_CATALOG))
        elif len(parts) >= 3 and parts[0] != lower and lower in self.registry.catalogs():
            yield Edit(first.start, first.end, lower)
        elif lower in self.temp_views and parts[0] != self.temp_views[lower].spelled:
            yield Edit(first.start, first.end, identifier(self.temp_views[lower].spelled))

    def mentions(self, sql: str, arguments: Iterable[str] = ()) -> list[Mention]:
        """Every name in a statement that may be a table, with IDENTIFIER() also those inside strings.

        Args:
            arguments: values of the statement's parameters.
        """
        try:
            found = words(sql)
        except LexicalError:
            return []
        result: list[Mention] = []
        for i, chain in _chains_with_place(found):
            before = found[i - 1].keyword if i else ""
            result.append(Mention(chain.parts, before in _BEFORE_A_TABLE))
        if any(word.keyword == "IDENTIFIER" for word in found):
            strings = [word.text for word in found if word.kind == "string"]
            result += _named_in_strings((*strings, *arguments))
        return result

    # ------------------------------------------------------------ telling Sail

    async def prepare(self, mentions: Iterable[Mention]) -> None:
        """Tells Sail of every table and view among the mentions whose state it does not know.

        Raises:
            Refused: Sail refused one that is surely meant.
        """
        mentions = list(mentions)
        for mention in mentions:
            special = information_schema.view_of(mention.parts, self.catalog, self.registry.catalogs())
            if special is not None:  # may read every Delta log: not in the event loop
                await asyncio.to_thread(information_schema.write, self.registry, special[0], special[2])
        items: dict[Name, _Item] = {}
        self._tell_schemas = {(self.catalog, self.schema)}
        self._visit(mentions, items, frozenset(), temporary=True)
        stale = [item for item in items.values() if self._told.get(item.name) != item.identity]
        schemas = {pair for pair in self._tell_schemas if pair not in self._told_schemas}
        schemas = {pair for pair in schemas if self.registry.schema(*pair) is not None}
        if not stale and not schemas:
            return
        async with self._lock:
            for pair in schemas:
                await self._tell_schema(*pair)
            for item in stale:
                await self._tell(item)

    def _visit(
        self,
        mentions: Iterable[Mention],
        items: dict[Name, _Item],
        inside: frozenset[Name],
        *,
        temporary: bool,
    ) -> list[str]:
        """Adds what is mentioned to `items`, what a view reads before the view itself.

        Args:
            inside: the views that are being visited.
            temporary: whether temporary views count.

        Returns:
            The states that decide whether an enclosing view is still right.
        """
        states: list[str] = []
        for mention in dict.fromkeys(mentions):
            parts = mention.parts
            special = information_schema.view_of(parts, self.catalog, self.registry.catalogs())
            if special is not None:
                states.append(self._visit_special(special, items))
                continue
            if len(parts) == 2 and parts[0].lower() in _FILE_FORMATS:
                states.append(f"files {next(_NEVER_THE_SAME)}")
                continue
            view = self.temp_views.get(parts[0].lower()) if temporary else None
            if view is not None and len(parts) == 1:
                states.append(self._visit_temporary(view, items, inside))
                continue
            for length in range(1, min(3, len(parts)) + 1):
                name = self.spelled(parts[:length])
                sure = mention.sure and length == len(parts)
                states += self._visit_relation(name, items, inside, sure=sure)
                if length < len(parts):
                    pair = (parts[0], parts[1]) if length == 2 else (self.catalog, parts[0])
                    self._tell_schemas.add((pair[0].lower(), pair[1]))
        return states

    def _visit_special(self, special: tuple[str, str, str], items: dict[Name, _Item]) -> str:
        catalog, schema, view = special
        path = information_schema.write(self.registry, catalog, view)
        name: Name = (SYSTEM_CATALOG if catalog == information_schema.SYSTEM else catalog, schema, view)
        items[name] = _Item(name, f"table {path}", parquet=path)
        return path

    def _visit_temporary(self, view: TempView, items: dict[Name, _Item], inside: frozenset[Name]) -> str:
        name = _temporary_name(view)
        if name in inside:
            return ""
        below = self._visit(view.mentions, items, inside | {name}, temporary=True)
        state = f"view {view.number} {sorted(below)}"
        items.pop(name, None)
        items[name] = _Item(name, state, temporary=view, sure=True)
        return state

    def _visit_relation(
        self, name: Name, items: dict[Name, _Item], inside: frozenset[Name], *, sure: bool
    ) -> list[str]:
        relation = self.registry.get(*name)
        if relation is None:
            if name in self._told:
                items[name] = _Item(name, None)
            return []
        sure = sure or (name in items and items[name].sure)
        if relation.location is not None:
            items[name] = _Item(name, f"table {relation.location}", relation, sure=sure)
            # Only an enclosing view needs the version.
            return [f"{relation.location} {delta.newest_version(relation.location)}"] if inside else []
        if name in inside:
            return []
        mentions = self.mentions(relation.text)
        below = self._visit(mentions, items, inside | {name}, temporary=False)
        state = f"view {relation.generation} {sorted(below)}"
        items.pop(name, None)
        items[name] = _Item(name, state, relation, sure=sure)
        return [state]

    async def tell(self, parts: Sequence[str]) -> None:
        """Tells Sail of one table or view, by the name as it is spelled.

        Raises:
            Refused: there is none, or Sail refused it.
        """
        self.relation(parts)
        await self.prepare([Mention(tuple(parts), sure=True)])

    def knows(self, parts: Sequence[str], relation: Relation) -> None:
        """Sail knows the table under this spelling, because a statement of this session made it."""
        self.forget(relation.key)
        self._told[self.spelled(parts)] = f"table {relation.location}"

    def forget(self, name: Name) -> None:
        """What Sail was told under this name, in any spelling, is told again before its next use."""
        for spelled, told in self._told.items():
            if key_of(*spelled) == name:
                self._told[spelled] = told.partition(" ")[0]

    def keep_temporary(
        self, spelled: str, mentions: Iterable[Mention] = (), *, body: str = "", plan: Plan | None = None
    ) -> None:
        """Remembers a temporary view that Sail was just told of."""
        view = TempView(spelled, next(_NEVER_THE_SAME), tuple(mentions), body, plan)
        self.temp_views[spelled.lower()] = view
        self._told[_temporary_name(view)] = "view" if view.mentions else f"view {view.number} []"

    def hide_temporary(self, name: str) -> str:
        """Gives a temporary view another name, for the view that replaces it and reads it; returns the name."""
        view = self.temp_views[name.lower()]
        plan = view.plan
        number = next(_NEVER_THE_SAME)
        hidden = f"lakeflow_former_{number}"
        if plan is not None:
            plan = type(plan).FromString(plan.SerializeToString())
            plan.command.create_dataframe_view.name = hidden
        self.temp_views[hidden] = replace(view, spelled=hidden, number=number, plan=plan, hidden=True)
        return hidden

    async def use(self, catalog: str, schema: str) -> None:
        """Changes the current catalog and schema, here and in Sail.

        Raises:
            Refused: one of them does not exist.
        """
        if catalog.lower() not in self.registry.catalogs():
            raise catalog_not_found(catalog)
        if self.registry.schema(catalog, schema) is None:
            raise schema_not_found(catalog, schema)
        async with self._lock:
            await self._use(catalog.lower(), schema.lower())

    async def sql(self, sql: str) -> None:
        """Runs a statement of the gateway's own in this session."""
        await self.upstream.command(self.user, self.id, sql)

    async def configuration(self, key: str) -> str:
        """A setting of the session, `<undefined>` when it has no value."""
        from pyspark.sql.connect.proto import ConfigRequest, ConfigResponse

        request = ConfigRequest(session_id=self.id)
        request.user_context.user_id = self.user
        request.operation.get_option.keys.append(key)
        answer = ConfigResponse.FromString(await self.upstream.unary("Config", request.SerializeToString()))
        return answer.pairs[0].value if answer.pairs and answer.pairs[0].HasField("value") else "<undefined>"

    async def _use(self, catalog: str, schema: str) -> None:
        await self._tell_schema(catalog, schema)
        await self.sql(f"USE CATALOG {identifier(catalog)}")
        await self.sql(f"USE SCHEMA {identifier(schema)}")
        self.catalog, self.schema = catalog, schema

    async def _tell_schema(self, catalog: str, schema: str) -> None:
        if (catalog, schema) not in self._told_schemas:
            await self.sql(f"CREATE SCHEMA IF NOT EXISTS {identifier(catalog, schema)}")
            self._told_schemas.add((catalog, schema))

    async def _tell(self, item: _Item) -> None:
        told = self._told.get(item.name)
        if told == item.identity:
            return
        quoted = identifier(*item.name)
        if told is not None and not (told.startswith("view") and (item.identity or "").startswith("view")):
            await self.sql(f"DROP {'VIEW' if told.startswith('view') else 'TABLE'} IF EXISTS {quoted}")
            del self._told[item.name]
        if item.identity is None:
            return
        try:
            if item.temporary is not None:
                await self._tell_temporary(item.temporary)
            else:
                await self._tell_schema(item.name[0], item.name[1])
                await self._tell_relation(quoted, item)
        except (SailError, Refused) as e:
            if item.sure and item.relation is not None:
                cause = str(e.details()) if isinstance(e, SailError) else str(e)
                kind = "view" if item.relation.is_view else "table"
                raise Refused(f"the {kind} {item.relation.full_name} cannot be used: {cause}") from e
            if item.relation is None:
                raise
            return
        self._told[item.name] = item.identity

    async def _tell_relation(self, quoted: str, item: _Item) -> None:
        if item.parquet:
            await self.sql(f"CREATE TABLE {quoted} USING parquet LOCATION {string_literal(item.parquet)}")
            return
        relation = item.relation
        assert relation is not None
        if relation.location is not None:
            path = string_literal(self.registry.locations.for_sail(relation.location))
            await self.sql(f"CREATE TABLE IF NOT EXISTS {quoted} USING delta LOCATION {path}")
            return
        hidden = identifier("lakeflow_view_" + hashlib.sha256(quoted.encode()).hexdigest()[:24])
        await self.sql(
            f"CREATE OR REPLACE TEMPORARY VIEW {hidden}{_view_body(relation, self.localized(relation.text))}"
        )
        await self.sql(f"CREATE OR REPLACE VIEW {quoted} AS SELECT * FROM {hidden}")

    async def _tell_temporary(self, view: TempView) -> None:
        if view.plan is not None:
            await self.upstream.execute(self.upstream.request(self.user, self.id, view.plan))
        else:
            name = identifier(view.spelled)
            await self.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name}{self.localized(view.body)}")


def _temporary_name(view: TempView) -> Name:
    return "", "", view.spelled


def _view_body(view: Relation, text: str) -> str:
    """Column names and query of a view; later columns of its tables stay out, as on Databricks."""
    names = ", ".join(identifier(name) for name, _, _ in view.columns)
    output = ", ".join(identifier(name) for name in view.output)
    return f" ({names}) AS SELECT {output} FROM (\n{text}\n)"


def _chains_with_place(found: Sequence[Word]) -> Iterable[tuple[int, Chain]]:
    i = 0
    while i < len(found):
        if found[i].kind != "name":
            i += 1
            continue
        place = i
        chain, i = chain_at(found, i)
        yield place, chain


def _named_in_strings(texts: Iterable[str]) -> list[Mention]:
    """Names that IDENTIFIER('...') may mean."""
    result: list[Mention] = []
    for text in texts:
        if len(text) <= 1000 and _DOTTED.fullmatch(text):
            result += [Mention(chain.parts) for chain in chains(words(text))]
    return result
