"""A statement under way, and the cursor that reads its words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.spark.context import Session
from lakeflow_job_meta.local.spark.errors import PARSE, Refused
from lakeflow_job_meta.local.spark.lexer import Chain, LexicalError, Word, chain_at, closing, words
from lakeflow_job_meta.local.spark.registry import Name, Registry
from lakeflow_job_meta.local.spark.upstream import result_of

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Command, ExecutePlanRequest, Relation


class Locks:
    """One lock a table or view, so that two sessions do not create or drop the same one at once."""

    def __init__(self) -> None:
        self._locks: dict[Name, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def held(self, name: Name) -> AsyncIterator[None]:
        lock, waiting = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[name]
            if waiting == 1:
                del self._locks[name]
            else:
                self._locks[name] = lock, waiting - 1


class Statement:
    """One SQL statement of a client.

    Args:
        session: whose it is.
        sql: its text, parameters bound.
        request: the client's request; statements for Sail run under its operation id and tags, so
            that the client can interrupt them.
        locks: of the gateway.
    """

    def __init__(self, session: Session, sql: str, request: ExecutePlanRequest, locks: Locks) -> None:
        self.session = session
        self.sql = sql
        self.locks = locks
        self._request = request

    @property
    def registry(self) -> Registry:
        return self.session.registry

    def cursor(self) -> Cursor:
        return Cursor(self.sql)

    async def forward(self, sql: str) -> Relation:
        """Runs a statement in Sail in this one's place, telling it of all that is mentioned."""
        from pyspark.sql.connect.proto import Command

        await self.session.prepare(self.session.mentions(sql))
        command = Command()
        command.sql_command.input.sql.query = self.session.localized(sql)
        return await self.run(command)

    async def run(self, command: Command) -> Relation:
        """Runs a command in Sail under the client's operation."""
        request = type(self._request)()
        request.CopyFrom(self._request)
        request.plan.command.CopyFrom(command)
        del request.request_options[:]  # not reattachable: we read it to its end
        return result_of(await self.session.upstream.execute(request))

    def query(self, sql: str) -> Relation:
        """A relation that is this SELECT, for a command that Sail runs."""
        from pyspark.sql.connect.proto import Relation

        relation = Relation()
        relation.sql.query = self.session.localized(sql)
        return relation


class Cursor:
    """Reads the words of a statement from left to right; a trailing `;` is left out.

    Raises:
        Refused: as a syntax error, from every method that demands something that is not there.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        try:
            found = words(sql)
        except LexicalError as e:
            raise self.error(str(e)) from e
        while found and found[-1].is_symbol(";"):
            found = found[:-1]
        if any(word.is_symbol(";") for word in found):
            raise Refused(
                "there are several statements in one call; run them one by one",
                condition="PARSE_SYNTAX_ERROR",
                java_class=PARSE,
            )
        self.words = found
        self.i = 0

    @property
    def done(self) -> bool:
        return self.i >= len(self.words)

    @property
    def word(self) -> Word | None:
        return self.words[self.i] if self.i < len(self.words) else None

    @property
    def keyword(self) -> str:
        word = self.word
        return word.keyword if word is not None else ""

    def ahead(self, *keywords: str) -> bool:
        """Whether these keywords come next."""
        following = self.words[self.i : self.i + len(keywords)]
        return tuple(word.keyword for word in following) == keywords

    def accept(self, *keywords: str) -> bool:
        """Reads these keywords if they come next."""
        found = self.ahead(*keywords)
        if found:
            self.i += len(keywords)
        return found

    def expect(self, *keywords: str) -> None:
        if not self.accept(*keywords):
            raise self.error(f"expected {' '.join(keywords)}")

    def symbol(self, text: str) -> bool:
        """Reads this symbol if it comes next."""
        word = self.word
        found = word is not None and word.is_symbol(text)
        self.i += found
        return found

    def name(self) -> Chain:
        """Reads a dotted name; IDENTIFIER('a.b') counts as one."""
        if self.keyword == "IDENTIFIER" and self.i + 3 < len(self.words):
            opening, inner, closed = self.words[self.i + 1 : self.i + 4]
            if opening.is_symbol("(") and inner.kind == "string" and closed.is_symbol(")"):
                chain, _ = chain_at(words(inner.text), 0)
                whole = (self.words[self.i].start, closed.end)
                self.i += 4
                return Chain(tuple(Word("name", part.text, *whole, quoted=True) for part in chain.words))
        try:
            chain, self.i = chain_at(self.words, self.i)
        except IndexError as e:
            raise self.error("expected a name") from e
        return chain

    def string(self) -> str:
        """Reads a string; adjacent ones count as one, as in Spark."""
        word = self.word
        if word is None or word.kind != "string":
            raise self.error("expected a string")
        text = ""
        while word is not None and word.kind == "string":
            text += word.text
            self.i += 1
            word = self.word
        return text

    def parenthesised(self) -> tuple[Word, ...]:
        """Reads `( ... )` and returns the words between."""
        if self.word is None or not self.word.is_symbol("("):
            raise self.error("expected (")
        try:
            end = closing(self.words, self.i)
        except LexicalError as e:
            raise self.error(str(e)) from e
        inner = self.words[self.i + 1 : end]
        self.i = end + 1
        return inner

    def rest(self) -> str:
        """The text from here to the end of the statement."""
        word = self.word
        return self.sql[word.start : self.words[-1].end] if word is not None else ""

    def end(self) -> None:
        """Demands that nothing follows."""
        if not self.done:
            raise self.error("unexpected text")

    def error(self, message: str) -> Refused:
        """A syntax error at the place that was reached."""
        words_here = getattr(self, "words", ())
        place = words_here[self.i].start if words_here and self.i < len(words_here) else len(self.sql)
        line = self.sql.count("\n", 0, place) + 1
        near = self.sql[place : place + 30].strip()
        return Refused(
            f"Syntax error at or near {near!r} (line {line}): {message}. The embedded workspace does not know "
            "this form of the statement."
            if near
            else f"Syntax error at end of input: {message}",
            condition="PARSE_SYNTAX_ERROR",
            java_class=PARSE,
            sql_state="42601",
        )


def separated(found: Sequence[Word]) -> list[tuple[Word, ...]]:
    """The items of a list, split at commas outside parentheses and angle brackets."""
    items: list[tuple[Word, ...]] = []
    depth = start = 0
    for i, word in enumerate(found):
        if word.kind != "symbol":
            continue
        if word.text in ("(", "<", "["):
            depth += 1
        elif word.text in (")", ">", "]"):
            depth -= 1
        elif word.text == ">>":
            depth -= 2
        elif word.text == "," and depth == 0:
            items.append(tuple(found[start:i]))
            start = i + 1
    if found[start:]:
        items.append(tuple(found[start:]))
    return items


def properties(cursor: Cursor) -> dict[str, str]:
    """Reads `('key' = 'value', key.two = 3, ...)`."""
    found: dict[str, str] = {}
    for item in separated(cursor.parenthesised()):
        signs = [i for i, word in enumerate(item) if word.is_symbol("=")]
        place = signs[0] if signs else len(item)
        key = "".join(word.text for word in item[:place])
        value = "".join(word.text for word in item[place + 1 :])
        if not key:
            raise cursor.error("expected 'key' = 'value'")
        found[key] = value
    return found


def property_keys(cursor: Cursor) -> list[str]:
    """Reads `('key', key.two, ...)`."""
    return ["".join(word.text for word in item) for item in separated(cursor.parenthesised())]
