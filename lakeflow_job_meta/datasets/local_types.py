"""Types of text columns for local queries: the rules of `types`, told to DuckDB.

A landed CSV is all text. Its columns are shown to a query with the types that the silver table will have, so
that `sum(amount)` works at once; a column that stays text is shown as it was landed, value by value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from lakeflow_job_meta.datasets import types
from lakeflow_job_meta.errors import DatasetError
from lakeflow_job_meta.names import quote_identifier

#: Rows that are looked at first: a kind that does not fit them is not asked of the others.
_FIRST = 5_000
#: Columns that are looked at in one pass.
_AT_ONCE = 50
_TYPES = {
    "boolean": "BOOLEAN",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}


def with_types(path: Path, schema: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The schema with `inferred` beside each text column whose values are all of another type.

    Args:
        path: the Parquet file.

    Raises:
        DatasetError: the file cannot be read.
    """
    import duckdb

    texts = [str(column["name"]) for column in schema if column["dtype"] == "string"]
    found: dict[str, str] = {}
    try:
        with duckdb.connect(config={"memory_limit": "1GB", "threads": 2}) as connection:
            source = "read_parquet(['" + str(path).replace("'", "''") + "'])"
            for start in range(0, len(texts), _AT_ONCE):
                names = texts[start : start + _AT_ONCE]
                likely = _fitting(
                    connection, f"(SELECT * FROM {source} LIMIT {_FIRST})", dict.fromkeys(names, types.KINDS)
                )
                sure = _fitting(connection, source, {name: kinds for name, kinds in likely.items() if kinds})
                found |= {name: kinds[0] for name, kinds in sure.items() if kinds}
    except duckdb.Error as error:
        raise DatasetError(f"the landed file cannot be read: {error}") from error
    return tuple(
        {**column, "inferred": found[column["name"]]} if column["name"] in found else dict(column)
        for column in schema
    )


def _fitting(
    connection: Any, source: str, candidates: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Of each column's candidates those that all its values fit, in order; none where it has no values."""
    if not candidates:
        return {}
    values, counts = [], []
    asked: list[tuple[str, str]] = []
    for place, (name, kinds) in enumerate(candidates.items()):
        values.append(f"{types.cleaned(name)} AS `v{place}`")
        counts.append(f"count(`v{place}`)")
        asked.append((name, ""))
        for kind in kinds:
            counts.append(f"count(CASE WHEN {types.fits(f'`v{place}`', kind)} THEN 1 END)")
            asked.append((name, kind))
    inner = f"SELECT {', '.join(map(_duckdb, values))} FROM {source}"
    row = connection.execute(f"SELECT {', '.join(map(_duckdb, counts))} FROM ({inner})").fetchone()
    found: dict[str, tuple[str, ...]] = dict.fromkeys(candidates, ())
    total = 0
    for (name, kind), count in zip(asked, row, strict=True):
        if not kind:
            total = count
        elif total and count == total:
            found[name] = (*found[name], kind)
    return found


def view_of(schema: Iterable[Mapping[str, Any]]) -> str:
    """DuckDB's SELECT of the columns that a query sees, over `{source}`."""
    return _view(tuple((str(column["name"]), str(column.get("inferred") or "")) for column in schema))


@lru_cache(maxsize=256)
def _view(columns: tuple[tuple[str, str], ...]) -> str:
    chosen = ", ".join(_column(name, kind) for name, kind in columns)
    return f"SELECT {chosen.replace('{', '{{').replace('}', '}}')} FROM {{source}}"


def _column(name: str, kind: str) -> str:
    """A column as a query sees it.

    All its values are of that kind or null tokens, so DuckDB's own cast is right where it gives a value, and NULL
    for the tokens (of which it takes `nan` only). What it does not take at once is trimmed first; each text stands
    there once, since DuckDB works repeated ones out for every row beforehand.
    """
    column = _duckdb(quote_identifier(name))
    if not kind:
        return column
    trimmed = f"regexp_replace({column}, '^[ \\t\\r\\n]*[+]?|[ \\t\\r\\n]+$', '', 'g')"
    forms = [column, trimmed]
    if kind == "timestamp":
        # A time without seconds and with a zone: DuckDB wants the seconds.
        short = r"^[ \t\r\n]*([0-9-]{10}[T ][0-9:]{5})(Z|[+-][0-9:]{5})[ \t\r\n]*$"
        forms.append(rf"regexp_replace({column}, '{short}', '\1:00\2')")
    cast = f"coalesce({', '.join(f'try_cast({form} AS {_TYPES[kind]})' for form in forms)})"
    if kind == "double":
        cast = f"nullif({cast}, 'nan'::DOUBLE)"
    return f"{cast} AS {column}"


def _duckdb(expression: str) -> str:
    """An expression of Databricks SQL as DuckDB has it."""
    import sqlglot

    [text] = sqlglot.transpile(f"SELECT {expression}", read="databricks", write="duckdb")
    return text.removeprefix("SELECT ")
