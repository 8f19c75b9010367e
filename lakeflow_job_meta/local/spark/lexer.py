"""SQL text as words: names, strings, numbers and symbols, each with its place in the text.

The gateway changes statements only by replacing spans of their text, never by printing a parsed
tree, so that Sail sees what the user wrote. sqlglot's tokenizer knows the strings, quoted names
and comments of Databricks SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

Kind = Literal["name", "string", "number", "symbol"]

_PIECE = re.compile(r"\S+")
_NUMBER = re.compile(r"\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?(?:BD|[LSYDF])?", re.IGNORECASE)
_CACHED_LENGTH = 65_536


@dataclass(frozen=True, slots=True)
class Word:
    """One token.

    Args:
        kind: `name` is any identifier or keyword.
        text: what it means: without quotes, escapes resolved.
        start: offset of its first character.
        end: offset behind its last character.
        quoted: a name between backticks.
        doubled: in a string, the offsets of quotes that were doubled (`'it''s'`).
    """

    kind: Kind
    text: str
    start: int
    end: int
    quoted: bool = False
    doubled: tuple[int, ...] = ()

    @property
    def keyword(self) -> str:
        """The word in upper case when it may be a keyword, else empty."""
        return self.text.upper() if self.kind == "name" and not self.quoted else ""

    def is_symbol(self, text: str) -> bool:
        return self.kind == "symbol" and self.text == text


class LexicalError(ValueError):
    """The text cannot be split into words (an unclosed string, say); Sail will say the same."""


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from sqlglot.dialects.databricks import Databricks

    class Tokenizer(Databricks.Tokenizer):
        # As commands, SHOW and its like would swallow the rest of the text as one string.
        COMMANDS: ClassVar[set[Any]] = set()

    return Tokenizer(dialect=Databricks())


def words(sql: str) -> tuple[Word, ...]:
    """The words of a text, comments left out.

    Raises:
        LexicalError: an unclosed string or quoted name.
    """
    return _words_cached(sql) if len(sql) <= _CACHED_LENGTH else _words(sql)


def _words(sql: str) -> tuple[Word, ...]:
    from sqlglot.errors import TokenError

    try:
        tokens = _tokenizer().tokenize(sql)
    except TokenError as e:
        raise LexicalError(str(e)) from e
    found: list[Word] = []
    end = 0
    for token in tokens:
        if token.start < end:
            continue  # `5L` comes as number, `::` and type in one place
        end = token.end + 1
        raw = sql[token.start : end]
        first = raw[:1]
        if first == "`":
            found.append(Word("name", token.text, token.start, end, quoted=True))
        elif first in "'\"" or (len(raw) > 2 and raw[1] in "'\"" and first in "rRxXbBnN"):
            _add_string(found, sql, Word("string", token.text, token.start, end))
        elif first.isalpha() or first == "_":
            found += (  # GROUP BY and its like come as one token
                Word("name", piece.group(), token.start + piece.start(), token.start + piece.end())
                for piece in _PIECE.finditer(raw)
            )
        elif first.isdigit():
            kind: Kind = "number" if _NUMBER.fullmatch(raw) else "name"  # a name may start with a digit
            found.append(Word(kind, raw, token.start, end))
        else:
            found.append(Word("symbol", raw, token.start, end))
    return tuple(found)


def _add_string(found: list[Word], sql: str, word: Word) -> None:
    """Adds a string, or joins it to the one that ends where it begins: a doubled quote is one quote."""
    before = found[-1] if found else None
    quote = sql[word.start]
    if before is None or before.kind != "string" or before.end != word.start or sql[before.end - 1] != quote:
        found.append(word)
        return
    found[-1] = Word(
        "string",
        before.text + quote + word.text,
        before.start,
        word.end,
        doubled=(*before.doubled, word.start - 1),
    )


_words_cached = lru_cache(maxsize=512)(_words)


@dataclass(frozen=True, slots=True)
class Chain:
    """A dotted name as it stands in a text: `a.b.c` has three words."""

    words: tuple[Word, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.words)

    @property
    def start(self) -> int:
        return self.words[0].start

    @property
    def end(self) -> int:
        return self.words[-1].end


def chains(found: Sequence[Word]) -> list[Chain]:
    """Every dotted name (single names too, keywords among them) in order."""
    result: list[Chain] = []
    i = 0
    while i < len(found):
        if found[i].kind != "name":
            i += 1
            continue
        chain, i = chain_at(found, i)
        result.append(chain)
    return result


def chain_at(found: Sequence[Word], i: int) -> tuple[Chain, int]:
    """The dotted name that starts at word `i`, and the index of the word behind it.

    Raises:
        IndexError: there is no word at `i`, or it is no name.
    """
    if found[i].kind != "name":
        raise IndexError(i)
    parts = [found[i]]
    i += 1
    while i + 1 < len(found) and found[i].is_symbol(".") and found[i + 1].kind == "name":
        parts.append(found[i + 1])
        i += 2
    return Chain(tuple(parts)), i


def closing(found: Sequence[Word], i: int) -> int:
    """The index of the parenthesis that closes the one at word `i`.

    Raises:
        LexicalError: it is never closed.
    """
    depth = 0
    for j in range(i, len(found)):
        if found[j].is_symbol("("):
            depth += 1
        elif found[j].is_symbol(")"):
            depth -= 1
            if depth == 0:
                return j
    raise LexicalError("a parenthesis is never closed")


def split(sql: str) -> list[str]:
    """The statements of a script, split at `;` outside strings, names and comments; empty ones left out.

    Raises:
        LexicalError: an unclosed string or quoted name.
    """
    statements: list[str] = []
    start = 0
    filled = False
    for word in words(sql):
        if word.is_symbol(";"):
            if filled:
                statements.append(sql[start : word.start].strip())
            start, filled = word.end, False
        else:
            filled = True
    if filled:
        statements.append(sql[start:].strip())
    return statements


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text between two offsets."""

    start: int
    end: int
    text: str


def edited(sql: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; they must not overlap."""
    pieces: list[str] = []
    position = 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        pieces += (sql[position : edit.start], edit.text)
        position = edit.end
    return "".join((*pieces, sql[position:]))
