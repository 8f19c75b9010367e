"""One Spark Connect session as the gateway knows it: its context, and what Sail was told in it.

Sail keeps catalogs per session and in memory. So each session is told of a table or view when a
statement first mentions it (about 2 ms each), not of all when it begins. Sail reads a table's
schema and data from its Delta log at every query, so a table needs to be told only once; a view
again when its text has changed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.spark import information_schema
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
    from pyspark.sql.connect.proto import ExecutePlanResponse

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
        self.temp_views: dict[str, str] = {}
        """Temporary views by lower-case name, as they were spelled."""
        self.operations: dict[str, asyncio.Task[list[ExecutePlanResponse]]] = {}
        """Statements that the gateway answers itself, for clients that attach again."""
        self.last_used = time.monotonic()
        self._epoch = -1
        self._told: dict[Name, str] = {}
        self._told_schemas: set[tuple[str, str]] = set()
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
        elif lower in self.temp_views and parts[0] != self.temp_views[lower]:
            yield Edit(first.start, first.end, identifier(self.temp_views[lower]))

    def mentions(self, sql: str) -> list[Mention]:
        """Every name in a statement that may be a table, also those inside short strings."""
        try:
            found = words(sql)
        except LexicalError:
            return []
        result: list[Mention] = []
        for i, chain in _chains_with_place(found):
            before = found[i - 1].keyword if i else ""
            result.append(Mention(chain.parts, before in _BEFORE_A_TABLE))
        if any(word.keyword == "IDENTIFIER" for word in found):
            result += _named_in_strings(word.text for word in found if word.kind == "string")
        return result

    # ------------------------------------------------------------ telling Sail

    async def prepare(self, mentions: Iterable[Mention]) -> None:
        """Tells Sail of every table and view among the mentions that it does not know yet.

        Raises:
            Refused: Sail refused one that is surely meant.
        """
        wanted: dict[Name, tuple[Relation | None, bool]] = {}
        schemas: set[tuple[str, str]] = {(self.catalog, self.schema)}
        special: list[tuple[str, str, str]] = []
        for mention in mentions:
            parts = mention.parts
            view = information_schema.view_of(parts, self.catalog, self.registry.catalogs())
            if view is not None:
                special.append(view)
                continue
            for length in (1, 2, 3):
                if length > len(parts):
                    break
                spelled = self.spelled(parts[:length])
                relation = self.registry.get(*spelled)
                if relation is not None or spelled in self._told:
                    sure = mention.sure and length == len(parts)
                    wanted[spelled] = (relation, sure or wanted.get(spelled, (None, False))[1])
                if length < 3 and length < len(parts):
                    pair = (parts[0], parts[1]) if length == 2 else (self.catalog, parts[0])
                    schemas.add((pair[0].lower(), pair[1]))
        stale = {name: item for name, item in wanted.items() if self._told.get(name) != _identity(item[0])}
        new_schemas = {
            s for s in schemas if s not in self._told_schemas and self.registry.schema(*s) is not None
        }
        if not stale and not new_schemas and not special:
            return
        async with self._lock:
            for pair in new_schemas:
                await self._tell_schema(*pair)
            for name, (relation, sure) in stale.items():
                await self._tell(name, relation, sure=sure)
            for catalog, schema, view_name in special:
                await self._tell_information_schema(catalog, schema, view_name)

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
        self._told[self.spelled(parts)] = _identity(relation) or ""

    def forget(self, name: Name) -> None:
        """What Sail was told under this name, in any spelling, is told again before its next use."""
        for told in [told for told in self._told if key_of(*told) == name]:
            self._told[told] = "?"

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

    async def _tell(self, name: Name, relation: Relation | None, *, sure: bool) -> None:
        identity = _identity(relation)
        told = self._told.get(name)
        if told == identity:
            return
        await self._tell_schema(name[0], name[1])
        quoted = identifier(*name)
        if told is not None:
            await self.sql(f"DROP VIEW IF EXISTS {quoted}")
            await self.sql(f"DROP TABLE IF EXISTS {quoted}")
            del self._told[name]
        if relation is None:
            return
        try:
            if relation.location is not None:
                path = string_literal(self.registry.locations.for_sail(relation.location))
                await self.sql(f"CREATE TABLE IF NOT EXISTS {quoted} USING delta LOCATION {path}")
            else:
                await self._tell_view(quoted, relation)
        except (SailError, Refused) as e:
            if sure:
                cause = str(e.details()) if isinstance(e, SailError) else str(e)
                kind = "view" if relation.is_view else "table"
                raise Refused(f"the {kind} {relation.full_name} cannot be used: {cause}") from e
            return
        self._told[name] = identity

    async def _tell_view(self, quoted: str, view: Relation) -> None:
        for mention in self.mentions(view.text):
            if len(mention.parts) < 3:
                continue
            special = information_schema.view_of(mention.parts, self.catalog, self.registry.catalogs())
            if special is not None:
                await self._tell_information_schema(*special)
                continue
            name: Name = (mention.parts[0].lower(), mention.parts[1], mention.parts[2])
            inner = self.registry.get(*name)
            if inner is not None and inner.key != view.key:
                await self._tell(name, inner, sure=mention.sure)
        columns = ", ".join(identifier(column[0]) for column in view.columns)
        head = (
            f"CREATE OR REPLACE VIEW {quoted} ({columns})" if columns else f"CREATE OR REPLACE VIEW {quoted}"
        )
        await self.sql(f"{head} AS {self.localized(view.text)}")

    async def _tell_information_schema(self, catalog: str, schema: str, view: str) -> None:
        sail_catalog = SYSTEM_CATALOG if catalog == information_schema.SYSTEM else catalog
        path = await asyncio.to_thread(information_schema.write, self.registry, catalog, view)
        name: Name = (sail_catalog, schema, view)
        if self._told.get(name) == path:
            return
        await self._tell_schema(sail_catalog, schema)
        await self.sql(
            f"CREATE OR REPLACE VIEW {identifier(*name)} AS SELECT * FROM parquet.{identifier(path)}"
        )
        self._told[name] = path


def _identity(relation: Relation | None) -> str | None:
    if relation is None:
        return None
    return f"table {relation.location}" if relation.location is not None else f"view {relation.generation}"


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
