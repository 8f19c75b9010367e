"""One Spark Connect session as the gateway knows it: its current schema, its names, its statements."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
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
from lakeflow_job_meta.local.spark.literals import identifier
from lakeflow_job_meta.local.spark.locations import VOLUME
from lakeflow_job_meta.local.spark.registry import Name, Registry, Relation, key_of
from lakeflow_job_meta.local.spark.sail import SYSTEM_CATALOG
from lakeflow_job_meta.local.spark.told import FILE_FORMATS, Mention, TempView, Told
from lakeflow_job_meta.local.spark.upstream import Upstream

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import ExecutePlanResponse, Plan

DEFAULTS = {"spark.sql.sources.default": "delta", "spark.sql.session.timeZone": "UTC"}
"""Configuration in which Sail differs from Databricks."""

_BEFORE_A_TABLE = frozenset({"FROM", "JOIN", "INTO", "UPDATE", "TABLE", "USING", "OVERWRITE", "VIEW"})
_DOTTED = re.compile(r"[\w`]+(\.[\w`]+)*")


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
        self.lock = asyncio.Lock()
        """Held while Sail is told something."""
        self.told = Told(self)

    async def start(self) -> None:
        """Makes Sail's side of the session what Databricks' is, once per session and Sail process."""
        self.last_used = time.monotonic()
        await self.upstream.channel()
        if self._epoch == self.upstream.epoch:
            return
        async with self.lock:
            if self._epoch == self.upstream.epoch:
                return
            self.told.clear()
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
        """The statement in words that Sail understands: the spelling of catalogs and temporary views
        (it minds the case), `system.information_schema`, paths into volumes, doubled quotes.

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
                # Sail would join `'it''s'` to `its`.
                edits += (Edit(at, at + 2, "\\" + sql[at]) for at in found[i].doubled)
                i += 1
                continue
            chain, i = chain_at(found, i)
            edits += self._edits(chain)
        return edited(sql, edits) if edits else sql

    def _edits(self, chain: Chain) -> Iterable[Edit]:
        first, parts = chain.words[0], chain.parts
        lower = parts[0].lower()
        if len(parts) == 2 and lower in FILE_FORMATS and chain.words[1].quoted and VOLUME.fullmatch(parts[1]):
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
        await self.told.prepare(mentions)

    async def tell(self, parts: Sequence[str]) -> None:
        """Tells Sail of one table or view, by the name as it is spelled.

        Raises:
            Refused: there is none, or Sail refused it.
        """
        self.relation(parts)
        await self.prepare([Mention(tuple(parts), sure=True)])

    async def use(self, catalog: str, schema: str) -> None:
        """Changes the current catalog and schema, here and in Sail.

        Raises:
            Refused: one of them does not exist.
        """
        if catalog.lower() not in self.registry.catalogs():
            raise catalog_not_found(catalog)
        if self.registry.schema(catalog, schema) is None:
            raise schema_not_found(catalog, schema)
        async with self.lock:
            await self._use(catalog.lower(), schema.lower())

    async def sql(self, sql: str) -> None:
        """Runs a statement of the gateway's own in this session."""
        await self.upstream.command(self.user, self.id, sql)

    async def run(self, plan: Plan) -> None:
        """Runs a plan of the gateway's own in this session."""
        await self.upstream.execute(self.upstream.request(self.user, self.id, plan))

    async def configuration(self, key: str) -> str:
        """A setting of the session, `<undefined>` when it has no value."""
        from pyspark.sql.connect.proto import ConfigRequest, ConfigResponse

        request = ConfigRequest(session_id=self.id)
        request.user_context.user_id = self.user
        request.operation.get_option.keys.append(key)
        answer = ConfigResponse.FromString(await self.upstream.unary("Config", request.SerializeToString()))
        return answer.pairs[0].value if answer.pairs and answer.pairs[0].HasField("value") else "<undefined>"

    async def _use(self, catalog: str, schema: str) -> None:
        await self.told.schema(catalog, schema)
        await self.sql(f"USE CATALOG {identifier(catalog)}")
        await self.sql(f"USE SCHEMA {identifier(schema)}")
        self.catalog, self.schema = catalog, schema


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
