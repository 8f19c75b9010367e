"""KQL, the language of `q`: parsed to a predicate over FileMetadata, refused as section 8 of the contract says.

    query := or ;  or := and ("OR" and)* ;  and := unary (("AND")? unary)* ;  unary := "NOT" unary | "(" or ")" | pred
    pred  := field ":" string | field ":" "{" or "}" | field cmp bare ;  cmp := ">" | ">=" | "<" | "<="

Two predicates without an operator between them are taken as AND; an unknown field matches nothing. Both
are choices of ours: the contract does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from lakeflow_job_meta.local.dxr.answers import Refusal

Predicate = Callable[[Mapping[str, Any]], bool]

_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<compare>>=|<=|>|<)|(?P<mark>[(){}:])|(?P<word>[^\s(){}:<>"]+(?::\d[^\s(){}]*)?))',
    re.DOTALL,
)
_NUMBERS = ("size", "annotators.uniquePhrases", "coordinates.lat", "coordinates.lon", "coordinates.alt")
_DATES = ("createdAt", "lastModifiedAt")
_VALUE = "extractedMetadata.value"
_RELATIVE = re.compile(r"now(?:(?P<sign>[+-])(?P<count>\d+)(?P<unit>[smhdwMy]))?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 30 * 86400, "y": 365 * 86400}
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(query: str, now: float) -> Predicate:
    """The predicate of a query.

    Args:
        query: KQL.
        now: seconds since the epoch, for relative dates.

    Raises:
        Refusal: 400, plain text, where the query is not KQL.
    """
    return _Parser(query, now).parse()


def matches_all(query: str) -> bool:
    """Whether a query asks for everything, so that no row need be looked at."""
    return not query.strip() or re.fullmatch(r'\s*file(Name|Id)\s*:\s*"\*+"\s*', query) is not None


class _Parser:
    def __init__(self, query: str, now: float) -> None:
        self._query = query
        self._now = now
        self._tokens = list(self._scan())
        self._at = 0

    def parse(self) -> Predicate:
        if not self._tokens:
            raise self._error(len(self._query), "<EOF>")
        found = self._or("")
        if self._at < len(self._tokens):
            raise self._unexpected()
        return found

    def _scan(self) -> Iterator[_Token]:
        at = 0
        end = len(self._query.rstrip())
        while at < end:
            match = _TOKEN.match(self._query, at)
            if match is None:
                raise self._error(at, self._query[at:].strip()[:20])
            kind = str(match.lastgroup)
            yield _Token(kind, match.group(kind), match.start(kind))
            at = match.end()

    def _peek(self, offset: int = 0) -> _Token:
        at = self._at + offset
        return self._tokens[at] if at < len(self._tokens) else _Token("end", "<EOF>", len(self._query))

    def _next(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def _or(self, block: str) -> Predicate:
        parts = [self._and(block)]
        while self._peek().text == "OR":
            self._next()
            parts.append(self._and(block))
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _and(self, block: str) -> Predicate:
        parts = [self._unary(block)]
        while True:
            token = self._peek()
            if token.text == "AND":
                self._next()
            elif token.kind == "end" or token.text in (")", "}", "OR"):
                break
            parts.append(self._unary(block))
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _unary(self, block: str) -> Predicate:
        token = self._peek()
        if token.text == "NOT":
            self._next()
            negated = self._unary(block)
            return lambda row: not negated(row)
        if token.text == "(":
            self._next()
            found = self._or(block)
            self._expect(")")
            return found
        return self._predicate(block)

    def _predicate(self, block: str) -> Predicate:
        name = self._next()
        if (
            name.kind != "word"
            or name.text in ("AND", "OR", "NOT")
            or name.text.lower() in ("and", "or", "not")
        ):
            self._at -= 1
            raise self._unexpected()
        if name.text == "_exists_":
            raise self._error(name.at, "_exists_")
        field = f"{block}.{name.text}" if block else name.text
        path = tuple(name.text.split("."))
        operator = self._next()
        if operator.kind == "compare":
            return self._comparison(field, path, operator)
        if operator.text != ":":
            self._at -= 1
            raise self._unexpected()
        value = self._next()
        if value.text == "{" and value.kind == "mark":
            inner = self._or(field)
            self._expect("}")
            return lambda row: any(isinstance(each, Mapping) and inner(each) for each in _elements(row, path))
        if value.kind != "string":
            self._at -= 1
            raise self._unexpected()
        return _text_predicate(path, value.text)

    def _comparison(self, field: str, path: tuple[str, ...], operator: _Token) -> Predicate:
        bound = self._next()
        if bound.kind != "word":
            self._at -= 1
            raise self._unexpected()
        compare = _COMPARE[operator.text]
        limit: Any
        if field in _DATES:
            limit = self._date(bound)
            read: Callable[[Any], Any] = _instant
        elif field in _NUMBERS or field == _VALUE:
            try:
                limit = float(bound.text)
            except ValueError:
                raise self._error(bound.at, bound.text) from None
            read = _number
        else:
            raise Refusal(
                400, f"field '{field}' does not support comparison at position {operator.at}", plain=True
            )
        return lambda row: any(
            value is not None and compare(value, limit) for value in map(read, _elements(row, path))
        )

    def _date(self, bound: _Token) -> float:
        relative = _RELATIVE.fullmatch(bound.text)
        if relative:
            if relative["sign"] is None:
                return self._now
            seconds = int(relative["count"]) * _UNITS[relative["unit"]]
            return self._now + (seconds if relative["sign"] == "+" else -seconds)
        value = _instant(bound.text) if _RFC3339.fullmatch(bound.text) else None
        if value is None:
            raise Refusal(
                400, f"failed to parse date field [{bound.text}]: expected RFC 3339 or now-7d", plain=True
            )
        return value

    def _expect(self, text: str) -> None:
        if self._peek().text != text:
            raise self._unexpected()
        self._next()

    def _unexpected(self) -> Refusal:
        token = self._peek()
        return self._error(token.at, token.text)

    def _error(self, at: int, text: str) -> Refusal:
        return Refusal(400, f"line 1:{at} no viable alternative at input '{text}'", plain=True)


def _text_predicate(path: tuple[str, ...], quoted: str) -> Predicate:
    parts = []
    for escaped, plain in re.findall(r"\\(.)|([^\\])", quoted[1:-1], re.DOTALL):
        if escaped:
            parts.append(re.escape(escaped))
        else:
            parts.append({"*": ".*", "?": "."}.get(plain) or re.escape(plain))
    pattern = re.compile("".join(parts), re.IGNORECASE | re.DOTALL)
    return lambda row: any(
        pattern.fullmatch(_shown(value)) is not None
        for value in _elements(row, path)
        if value is not None and not isinstance(value, (Mapping, list))
    )


def _elements(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """What lies at a path; lists on the way, and at its end, stand for each of their items."""
    if isinstance(value, list):
        for each in value:
            yield from _elements(each, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _elements(value[path[0]], path[1:])


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _instant(value: Any) -> float | None:
    """Seconds since the epoch of an RFC 3339 text."""
    if not isinstance(value, str):
        return None
    match = re.fullmatch(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:\d{2})", value)
    if match is None:
        return None
    try:
        at = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    fraction = float(f"0.{match[2]}") if match[2] else 0.0
    offset = 0
    if match[3] != "Z":
        hours, minutes = int(match[3][1:3]), int(match[3][4:6])
        offset = (1 if match[3][0] == "+" else -1) * (hours * 3600 + minutes * 60)
    return (at - timedelta(seconds=offset)).timestamp() + fraction
