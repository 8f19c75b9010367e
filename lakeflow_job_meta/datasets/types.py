r"""Types of text columns: which a column has, and how its values are read. Pure; makes SQL expressions.

The rules hold on every engine, since they go by regular expressions over ASCII and not by what an engine's casts
happen to take (`'1.5'`, `'1e3'`, `'0x1F'`, `'2025'` and `'Infinity'` are read differently by each). A value is
trimmed, and a null token becomes NULL. A column then is the first of these that *all* its values fit:

| type | values |
| --- | --- |
| boolean | `true`, `false`, in any case |
| bigint | whole numbers without leading zeros that fit 64 bits |
| double | decimal numbers; whole parts of at most 15 digits, so that none loses a digit |
| date | `2025-01-15`, if there is such a day |
| timestamp | ISO 8601 date and time, `T` or a space, seconds and zone optional; no zone means UTC |
| string | everything else: leading zeros, mixed columns, numbers that are too large; and columns without values |
"""

from __future__ import annotations

from collections.abc import Sequence

from lakeflow_job_meta.datasets.statements import literal
from lakeflow_job_meta.names import quote_identifier

#: Texts that mean NULL, compared without case.
NULL_TOKENS = ("", "NA", "N/A", "null", "none", "nan", "NaT")
#: In the order in which they are tried.
KINDS = ("boolean", "bigint", "double", "date", "timestamp")
SQL_TYPES = {
    "boolean": "BOOLEAN",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "string": "STRING",
}
_YEAR = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9][0-9]|[1-9][0-9][0-9][0-9])"
_DATE = f"{_YEAR}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?"
_ZONE = "(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
_SPACE = "[ \t\r\n]"
PATTERNS = {
    "boolean": "^(true|false)$",
    "bigint": "^[+-]?(0|[1-9][0-9]{0,18})$",
    "double": "^[+-]?((0|[1-9][0-9]{0,14})([.][0-9]{1,30})?|[.][0-9]{1,30})([eE][+-]?[0-9]{1,2})?$",
    "date": f"^{_DATE}$",
    "timestamp": f"^{_DATE}([T ]{_TIME}{_ZONE}?)?$",
}


def cleaned(column: str, tokens: Sequence[str] = NULL_TOKENS) -> str:
    """SQL: the column's text without the spaces around it; NULL for a null token."""
    text = f"regexp_replace({quote_identifier(column)}, {literal(f'^{_SPACE}+|{_SPACE}+$')}, '')"
    if not tokens:
        return text
    lowered = ", ".join(literal(token) for token in sorted({token.strip().lower() for token in tokens}))
    return f"CASE WHEN lower({text}) IN ({lowered}) THEN NULL ELSE {text} END"


def fits(value: str, kind: str) -> str:
    """SQL condition over a cleaned value: it is of that kind."""
    text = f"lower({value})" if kind == "boolean" else value
    matches = f"({text}) RLIKE {literal(PATTERNS[kind])}"
    if kind == "bigint":
        digits = f"regexp_replace({value}, '^[+-]', '')"
        limit = f"CASE WHEN ({value}) LIKE '-%' THEN '9223372036854775808' ELSE '9223372036854775807' END"
        return f"({matches} AND (length({digits}) < 19 OR {digits} <= {limit}))"
    if kind in ("date", "timestamp"):
        # The pattern leaves only the number of days in a month to the engine, in which all agree.
        return f"({matches} AND try_cast(substring({value}, 1, 10) AS DATE) IS NOT NULL)"
    return matches


def read(value: str, kind: str) -> str:
    """SQL: a cleaned value that fits the kind, as that kind."""
    if kind == "string":
        return value
    if kind == "boolean":
        return f"(lower({value}) = 'true')"
    if kind in ("bigint", "double"):
        return f"CAST(regexp_replace({value}, '^[+]', '') AS {SQL_TYPES[kind]})"
    if kind == "date":
        return f"CAST({value} AS DATE)"
    return f"CAST({_moment(value)} AS TIMESTAMP)"


def _moment(value: str) -> str:
    """The one form of a time that every engine reads alike: `2025-01-15 10:00:00.5+00:00`."""
    day = f"substring({value}, 1, 10)"
    rest = f"substring({value}, 12)"
    time = f"regexp_replace({rest}, '(Z|[+-][0-9][0-9]:[0-9][0-9])$', '')"
    zone = (
        f"CASE WHEN ({value}) RLIKE '[+-][0-9][0-9]:[0-9][0-9]$' AND length({value}) > 10 "
        f"THEN right({value}, 6) ELSE '+00:00' END"
    )
    full = (
        f"CASE WHEN length({value}) = 10 THEN '00:00:00' WHEN length({time}) = 5 THEN concat({time}, ':00') "
        f"ELSE {time} END"
    )
    return f"concat({day}, ' ', {full}, {zone})"


def decide(values: int, fitting: dict[str, int]) -> str:
    """The kind of a column with so many values, of which so many fit each kind."""
    if not values:
        return "string"
    return next((kind for kind in KINDS if fitting[kind] == values), "string")


def common(one: str, other: str) -> str:
    """The SQL type that holds both, for a table that gets rows of another version."""
    if one == other:
        return one
    if {one, other} <= {"BIGINT", "DOUBLE", "INT"}:
        return "DOUBLE" if "DOUBLE" in (one, other) else "BIGINT"
    return "STRING"
