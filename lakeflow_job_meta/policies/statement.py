"""What a policy's SQL may be: exactly one SELECT that only reads. Pure; sqlglot decides, in Databricks' Spark SQL."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from lakeflow_job_meta.errors import PolicyError

# sqlglot's classes moved between its versions: its trees and tokens are not typed here.
Tree: TypeAlias = Any
Token: TypeAlias = Any
#: Functions that run code or call out, so that a SELECT of them does more than read.
NOT_READING = frozenset({"reflect", "try_reflect", "java_method", "http_request", "secret", "try_secret"})
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Statement:
    """One checked SELECT.

    Args:
        sql: its text without the semicolon at its end.
        parameters: names of its `:name` markers, sorted.
        relations: names of the tables that it reads by one word (`snapshot`), lower case, its own CTEs left out.
    """

    sql: str
    parameters: tuple[str, ...]
    relations: frozenset[str]


def check(sql: str, parameters: Collection[str] | None = None, origin: str = "SQL") -> Statement:
    """The statement, when it is one read-only SELECT: CTEs and set operations are allowed.

    Args:
        sql: the text, comments included.
        parameters: names that have a value; None: that is not looked at.
        origin: names the text in errors, before line and column (`duplicates.sql`).

    Raises:
        PolicyError: naming line and column, cause and remedy.
    """
    from sqlglot import exp
    from sqlglot.dialects.databricks import Databricks
    from sqlglot.errors import ParseError, TokenError

    dialect = Databricks()
    try:
        tokens = dialect.tokenize(sql)
    except TokenError as e:
        raise PolicyError(f"{origin}:1:1: a string, a quoted name or a comment is not closed") from e
    statements = _statements(tokens)
    if not statements:
        raise PolicyError(f"{origin}:1:1: there is no statement in it; write one SELECT")
    if len(statements) > 1:
        place = _place(origin, statements[1][0])
        raise PolicyError(f"{place}: a second statement; a policy is one SELECT, make two policies of it")
    words = statements[0]
    text = sql[words[0].start : words[-1].end + 1]
    _refuse_by_first_word(words[0], origin)
    try:
        with _quiet():
            [tree] = dialect.parse(text)
    except ParseError as e:
        raise PolicyError(_parse_message(e, origin, words[0])) from e
    if not isinstance(tree, exp.Query):
        raise PolicyError(
            f"{_place(origin, words[0])}: {words[0].text.upper()} is no SELECT; a policy is one SELECT that "
            "returns the violating rows"
        )
    _refuse_writes(tree, words, origin)
    names = _parameters(tree, words, origin)
    if parameters is not None:
        _refuse_missing(names, parameters, words, origin)
    relations = {
        table.name.lower()
        for table in tree.find_all(exp.Table)
        if table.name
        and not table.args.get("db")
        and isinstance(table.this, exp.Identifier)
        and not _is_of_a_cte(table)
    }
    return Statement(text, names, frozenset(relations))


def _is_of_a_cte(table: Tree) -> bool:
    """Whether the name is that of a CTE that is in scope there: defined around it or before it, not by itself."""
    name, inside, node = table.name.lower(), table, table.parent
    while node is not None:
        defined = node.args.get("with_") or node.args.get("with")
        for cte in defined.expressions if defined is not None and inside is not defined else ():
            if cte.alias.lower() == name:
                return True
        if type(node).__name__ == "With":  # CTEs before the one that the table is in
            for cte in node.expressions:
                if cte is inside:
                    break
                if cte.alias.lower() == name:
                    return True
        inside, node = node, node.parent
    return False


def _statements(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each statement."""
    groups: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == ";" and token.end == token.start:
            groups.append([])
        else:
            groups[-1].append(token)
    return [group for group in groups if group]


def _refuse_by_first_word(first: Token, origin: str) -> None:
    word = first.text.upper()
    if word in {"SELECT", "WITH", "FROM", "("}:
        return
    raise PolicyError(
        f"{_place(origin, first)}: a policy only reads, {word} is not allowed; write one SELECT that returns the "
        "violating rows"
    )


def _refuse_writes(tree: Tree, words: list[Token], origin: str) -> None:
    from sqlglot import exp

    refused: tuple[tuple[Any, str, str], ...] = (
        (exp.Insert, "INSERT", "it writes with INSERT"),
        (exp.Update, "UPDATE", "it writes with UPDATE"),
        (exp.Delete, "DELETE", "it writes with DELETE"),
        (exp.Merge, "MERGE", "it writes with MERGE"),
        (exp.Into, "INTO", "SELECT INTO writes a table"),
        (exp.QueryTransform, "TRANSFORM", "TRANSFORM runs a program"),
        (exp.Lock, "FOR", "FOR UPDATE locks rows"),
        ((exp.DDL, exp.DML, exp.Command), "", "it does more than read"),
    )
    for kinds, word, why in refused:
        if tree.find(*(kinds if isinstance(kinds, tuple) else (kinds,))) is not None:
            place = _place(origin, _find(words, word) if word else words[0])
            raise PolicyError(f"{place}: {why}; a policy only reads, leave that to another task")
    for function in tree.find_all(exp.Anonymous, exp.Func):
        name = (function.name if isinstance(function, exp.Anonymous) else function.sql_name()).lower()
        if name in NOT_READING:
            place = _place(origin, _find(words, name))
            raise PolicyError(f"{place}: {name}() does more than read; leave it out of a policy")


def _parameters(tree: Tree, words: list[Token], origin: str) -> tuple[str, ...]:
    from sqlglot import exp

    for marker in tree.find_all(exp.Parameter, exp.SessionParameter):
        place = _place(origin, _find(words, "$") if "$" in marker.sql(dialect="databricks") else words[0])
        raise PolicyError(f"{place}: text is never put into a policy's SQL; write a named parameter, :name")
    names = set()
    for marker in tree.find_all(exp.Placeholder):
        if not marker.name or marker.name == "?":
            raise PolicyError(f"{_place(origin, _find(words, '?'))}: a parameter without a name; write :name")
        names.add(marker.name)
    return tuple(sorted(names))


def _refuse_missing(names: tuple[str, ...], given: Collection[str], words: list[Token], origin: str) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        known = ", ".join(sorted(given)) or "none"
        told = "; ".join(
            f"{_place(origin, _find(words, name, after=':'))}: parameter :{name} has no value"
            for name in missing
        )
        raise PolicyError(f"{told} (given: {known}); give it with --param or in `parameters`")


def _find(words: list[Token], text: str, after: str = "") -> Token:
    """The first token of that text; the first of all when there is none."""
    before = ""
    for token in words:
        if token.text.upper() == text.upper() and (not after or before == after):
            return token
        before = token.text
    return words[0]


def _place(origin: str, token: Token) -> str:
    # sqlglot's column is that of a token's last character
    return f"{origin}:{token.line}:{max(1, token.col - (token.end - token.start))}"


def _parse_message(error: Exception, origin: str, first: Token) -> str:
    details = getattr(error, "errors", None) or [{}]
    detail = details[0]
    line, column = detail.get("line") or 1, detail.get("col") or 1
    # the text began at the first word: its first line is shifted
    column = column + first.col - 1 - (first.end - first.start) if line == 1 else column
    line += first.line - 1
    cause = _ESCAPES.sub("", str(detail.get("description") or error)).split("<Token")[0].strip()
    near = detail.get("highlight")
    shown = f" at {near!r}" if near else ""
    return f"{origin}:{line}:{max(1, column)}: no SQL that can be read: {cause}{shown}; mend it there"


@contextmanager
def _quiet() -> Iterator[None]:
    """What sqlglot warns of, that it takes for a command, we refuse ourselves."""
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
