"""What Sail was told in one session, and what it must be told before the next statement.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.spark import delta, information_schema
from lakeflow_job_meta.local.spark.errors import Refused
from lakeflow_job_meta.local.spark.literals import identifier, string_literal
from lakeflow_job_meta.local.spark.registry import Name, Relation, key_of
from lakeflow_job_meta.local.spark.sail import SYSTEM_CATALOG
from lakeflow_job_meta.local.spark.upstream import SailError

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Plan

    from lakeflow_job_meta.local.spark.context import Session

FILE_FORMATS = frozenset({"csv", "json", "text", "parquet", "delta", "avro", "orc", "binaryfile", "xml"})
"""What may stand before a path in backticks."""

NEVER_THE_SAME = itertools.count()


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
        hidden: it is none that the client knows, or it was replaced by a view that reads it.
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


@dataclass
class _Survey:
    """What a statement mentions, in the order in which Sail must be told of it."""

    items: dict[Name, _Item] = field(default_factory=dict)
    schemas: set[tuple[str, str]] = field(default_factory=set)


class Told:
    """What Sail knows in a session. Used in the gateway's event loop only.

    Args:
        session: whose it is.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._registry = session.registry
        self._identities: dict[Name, str] = {}
        self._schemas: set[tuple[str, str]] = set()

    def clear(self) -> None:
        """Sail was started anew."""
        self._identities.clear()
        self._schemas.clear()

    async def prepare(self, mentions: Iterable[Mention]) -> None:
        """Tells Sail of every table and view among the mentions whose state it does not know.

        Raises:
            Refused: Sail refused one that is surely meant.
        """
        mentions = list(mentions)
        for mention in mentions:
            special = information_schema.view_of(
                mention.parts, self._session.catalog, self._registry.catalogs()
            )
            if special is not None:  # may read every Delta log: not in the event loop
                await asyncio.to_thread(information_schema.write, self._registry, special[0], special[2])
        survey = _Survey(schemas={(self._session.catalog, self._session.schema)})
        self._visit(mentions, survey, frozenset(), temporary=True)
        stale = [item for item in survey.items.values() if self._identities.get(item.name) != item.identity]
        schemas = {pair for pair in survey.schemas if pair not in self._schemas}
        schemas = {pair for pair in schemas if self._registry.schema(*pair) is not None}
        if not stale and not schemas:
            return
        async with self._session.lock:
            for pair in schemas:
                await self.schema(*pair)
            for item in stale:
                await self._tell(item)

    def _visit(
        self,
        mentions: Iterable[Mention],
        survey: _Survey,
        inside: frozenset[Name],
        *,
        temporary: bool,
    ) -> list[str]:
        """Adds what is mentioned to the survey, what a view reads before the view itself.

        Args:
            inside: the views that are being visited.
            temporary: whether temporary views count.

        Returns:
            The states that decide whether an enclosing view is still right.
        """
        states: list[str] = []
        for mention in dict.fromkeys(mentions):
            parts = mention.parts
            special = information_schema.view_of(parts, self._session.catalog, self._registry.catalogs())
            if special is not None:
                states.append(self._visit_special(special, survey))
                continue
            if len(parts) == 2 and parts[0].lower() in FILE_FORMATS:
                states.append(f"files {next(NEVER_THE_SAME)}")
                continue
            view = self._session.temp_views.get(parts[0].lower()) if temporary else None
            if view is not None and len(parts) == 1:
                states.append(self._visit_temporary(view, survey, inside))
                continue
            for length in range(1, min(3, len(parts)) + 1):
                name = self._session.spelled(parts[:length])
                sure = mention.sure and length == len(parts)
                states += self._visit_relation(name, survey, inside, sure=sure)
                if length < len(parts):
                    pair = (parts[0], parts[1]) if length == 2 else (self._session.catalog, parts[0])
                    survey.schemas.add((pair[0].lower(), pair[1]))
        return states

    def _visit_special(self, special: tuple[str, str, str], survey: _Survey) -> str:
        catalog, schema, view = special
        path = information_schema.write(self._registry, catalog, view)
        name: Name = (SYSTEM_CATALOG if catalog == information_schema.SYSTEM else catalog, schema, view)
        survey.items[name] = _Item(name, f"table {path}", parquet=path)
        return path

    def _visit_temporary(self, view: TempView, survey: _Survey, inside: frozenset[Name]) -> str:
        name = _temporary_name(view)
        if name in inside:
            return ""
        below = self._visit(view.mentions, survey, inside | {name}, temporary=True)
        state = f"view {view.number} {sorted(below)}"
        survey.items.pop(name, None)
        survey.items[name] = _Item(name, state, temporary=view, sure=True)
        return state

    def _visit_relation(
        self, name: Name, survey: _Survey, inside: frozenset[Name], *, sure: bool
    ) -> list[str]:
        relation = self._registry.get(*name)
        if relation is None:
            if name in self._identities:
                survey.items[name] = _Item(name, None)
            return []
        sure = sure or (name in survey.items and survey.items[name].sure)
        if relation.location is not None:
            survey.items[name] = _Item(name, f"table {relation.location}", relation, sure=sure)
            # Only an enclosing view needs the version.
            return [f"{relation.location} {delta.newest_version(relation.location)}"] if inside else []
        if name in inside:
            return []
        mentions = self._session.mentions(relation.text)
        below = self._visit(mentions, survey, inside | {name}, temporary=False)
        state = f"view {relation.generation} {sorted(below)}"
        survey.items.pop(name, None)
        survey.items[name] = _Item(name, state, relation, sure=sure)
        return [state]

    def made(self, parts: Sequence[str]) -> None:
        """A statement of this session made the table. Sail holds on to the columns that a statement
        names, so it is told again, of the location alone.
        """
        self._identities[self._session.spelled(parts)] = "table"
        self.forget(self._session.full_name(parts))

    def forget(self, name: Name) -> None:
        """What Sail was told under this name, in any spelling, is told again before its next use."""
        for spelled, told in self._identities.items():
            if key_of(*spelled) == name:
                self._identities[spelled] = told.partition(" ")[0]

    def keep_temporary(
        self,
        spelled: str,
        mentions: Iterable[Mention] = (),
        *,
        body: str = "",
        plan: Plan | None = None,
        hidden: bool = False,
    ) -> None:
        """Remembers a temporary view that Sail was just told of."""
        view = TempView(spelled, next(NEVER_THE_SAME), tuple(mentions), body, plan, hidden)
        self._session.temp_views[spelled.lower()] = view
        self._identities[_temporary_name(view)] = "view" if view.mentions else f"view {view.number} []"

    def hide_temporary(self, name: str) -> str:
        """Gives a temporary view another name, for the view that replaces it and reads it; returns the name."""
        view = self._session.temp_views[name.lower()]
        plan = view.plan
        number = next(NEVER_THE_SAME)
        hidden = f"lakeflow_former_{number}"
        if plan is not None:
            plan = type(plan).FromString(plan.SerializeToString())
            plan.command.create_dataframe_view.name = hidden
        self._session.temp_views[hidden] = replace(
            view, spelled=hidden, number=number, plan=plan, hidden=True
        )
        return hidden

    async def schema(self, catalog: str, schema: str) -> None:
        """Tells Sail of one schema, in this spelling; the session's lock is held."""
        if (catalog, schema) not in self._schemas:
            await self._session.sql(f"CREATE SCHEMA IF NOT EXISTS {identifier(catalog, schema)}")
            self._schemas.add((catalog, schema))

    async def _tell(self, item: _Item) -> None:
        told = self._identities.get(item.name)
        if told == item.identity:
            return
        quoted = identifier(*item.name)
        if told is not None and not (told.startswith("view") and (item.identity or "").startswith("view")):
            await self._session.sql(
                f"DROP {'VIEW' if told.startswith('view') else 'TABLE'} IF EXISTS {quoted}"
            )
            del self._identities[item.name]
        if item.identity is None:
            return
        try:
            if item.temporary is not None:
                await self._tell_temporary(item.temporary)
            else:
                await self.schema(item.name[0], item.name[1])
                await self._tell_relation(quoted, item)
        except (SailError, Refused) as e:
            if item.sure and item.relation is not None:
                cause = str(e.details()) if isinstance(e, SailError) else str(e)
                kind = "view" if item.relation.is_view else "table"
                raise Refused(f"the {kind} {item.relation.full_name} cannot be used: {cause}") from e
            if item.relation is None:
                raise
            return
        self._identities[item.name] = item.identity

    async def _tell_relation(self, quoted: str, item: _Item) -> None:
        if item.parquet:
            await self._session.sql(
                f"CREATE TABLE {quoted} USING parquet LOCATION {string_literal(item.parquet)}"
            )
            return
        relation = item.relation
        assert relation is not None
        if relation.location is not None:
            path = string_literal(self._registry.locations.for_sail(relation.location))
            await self._session.sql(f"CREATE TABLE IF NOT EXISTS {quoted} USING delta LOCATION {path}")
            return
        hidden = identifier("lakeflow_view_" + hashlib.sha256(quoted.encode()).hexdigest()[:24])
        body = _view_body(relation, self._session.localized(relation.text))
        await self._session.sql(f"CREATE OR REPLACE TEMPORARY VIEW {hidden}{body}")
        await self._session.sql(f"CREATE OR REPLACE VIEW {quoted} AS SELECT * FROM {hidden}")

    async def _tell_temporary(self, view: TempView) -> None:
        if view.plan is not None:
            await self._session.run(view.plan)
        else:
            name = identifier(view.spelled)
            await self._session.sql(
                f"CREATE OR REPLACE TEMPORARY VIEW {name}{self._session.localized(view.body)}"
            )


def _temporary_name(view: TempView) -> Name:
    return "", "", view.spelled


def _view_body(view: Relation, text: str) -> str:
    """Column names and query of a view; later columns of its tables stay out, as on Databricks."""
    names = ", ".join(identifier(name) for name, _, _ in view.columns)
    output = ", ".join(identifier(name) for name in view.output)
    return f" ({names}) AS SELECT {output} FROM (\n{text}\n)"
