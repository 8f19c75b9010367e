"""Columns of values: rows of Python values become a Parquet file whose columns have one type each.

A column is boolean, bigint, double, date or timestamp (UTC) when all its values are; whatever is mixed, nested
or too large for its type becomes text, and nothing is lost. Pure but for the file that is written.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of one row group, and its values at most: what is held in memory at once.
BATCH = 50_000
BATCH_VALUES = 2_000_000
#: Columns that the bronze table adds to the file's own.
LINEAGE = ("_dataset_id", "_version", "_ingested_at", "_source_file")
#: Unity Catalog: characters of a column's name.
NAME_LIMIT = 255
_EXACT = 2**53
_INT64 = 2**63
_MIDNIGHT = time()


@dataclass(frozen=True)
class Rows:
    """Rows that can be gone through twice.

    Args:
        names: of the columns, as `landed_names` gives them.
        values: gives the rows anew at each call, one value a column.
        midnights: whether times that are all midnight are dates (Excel has no dates of their own).
    """

    names: tuple[str, ...]
    values: Callable[[], Iterator[Sequence[Any]]]
    midnights: bool = False


def write_rows(rows: Rows, target: Path, *, shown: str) -> int:
    """Write the rows as Parquet; returns how many there were. Two passes: types first, then values.

    Raises:
        DatasetError: there are no rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    kinds: list[set[str]] = [set() for _ in rows.names]
    count = 0
    for row in rows.values():
        count += 1
        for found, value in zip(kinds, row, strict=True):
            kind = kind_of(value)
            if kind:
                found.add(kind)
    if not count:
        raise DatasetError(f"{shown} has no rows: there is nothing to take")
    types = [type_of(found, midnights=rows.midnights) for found in kinds]
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in zip(rows.names, types, strict=True)])
    size = batch_rows(len(rows.names))
    with parquet.ParquetWriter(target, schema, compression="snappy") as writer:
        batch: list[list[Any]] = [[] for _ in rows.names]
        for number, row in enumerate(rows.values(), start=1):
            for column, kind, value in zip(batch, types, row, strict=True):
                column.append(None if value is None else as_type(value, kind))
            if number % size == 0:
                writer.write_batch(_batch(batch, schema))
                batch = [[] for _ in rows.names]
        if batch[0]:
            writer.write_batch(_batch(batch, schema))
    return count


def _batch(columns: list[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def batch_rows(columns: int) -> int:
    """Rows that are held at once of a file with so many columns."""
    return max(1, min(BATCH, BATCH_VALUES // max(1, columns)))


def landed_names(names: Sequence[str], shown: str, line: int = 0) -> tuple[list[str], dict[str, str]]:
    """(names that a table can have, those of them that had to change: landed name by the file's).

    Tables do not tell `Amount` and `amount` apart, and bronze has columns of its own: the second of two such
    names gets `_2`, `_3`, ..., so that no value is lost or taken for another's.

    Raises:
        DatasetError: there is no column, two have the very same name, or one is too long for a table.
    """
    check_names(names, shown, line)
    by_right = {name.lower() for name in names}
    given = {name.lower() for name in LINEAGE}
    found: list[str] = []
    changed: dict[str, str] = {}
    for name in names:
        landed, number = name, 1
        while landed.lower() in given or (landed != name and landed.lower() in by_right):
            number += 1
            mark = f"_{number}"
            landed = f"{name[: NAME_LIMIT - len(mark)]}{mark}"
        if landed != name:
            changed[name] = landed
        given.add(landed.lower())
        found.append(landed)
    return found, changed


def check_names(names: Sequence[str], shown: str, line: int = 0) -> None:
    """Raises DatasetError when there is no column, two have one name, or one is too long for a table."""
    where = f"{shown}:{line}" if line else shown
    if not names:
        raise DatasetError(f"{where} has no columns")
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    twice = {name: count for name, count in seen.items() if count > 1}
    if twice:
        told = ", ".join(f"{name!r} {count} times" for name, count in list(twice.items())[:3])
        more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
        raise DatasetError(f"{where}: the header names {told}{more}; give every column a name of its own")
    long = next((name for name in names if len(name) > NAME_LIMIT), None)
    if long is not None:
        raise DatasetError(
            f"{where}: the column {long[:40]!r}... has a name of {len(long)} characters, and a table takes {NAME_LIMIT}: "
            "shorten it"
        )


def header_names(cells: Sequence[Any]) -> list[str]:
    """The header's cells as column names: trimmed; one without text is called by its place."""
    names = []
    for place, cell in enumerate(cells, start=1):
        name = " ".join(str(cell).split()) if cell is not None else ""
        names.append(name or f"column_{place}")
    return names


# ---------------------------------------------------------------- types


def kind_of(value: Any) -> str:
    """What a value is of; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            return "string"
        return "bigint" if -_EXACT <= value <= _EXACT else "long"
    if isinstance(value, float):
        return "double"
    if isinstance(value, datetime):
        return "midnight" if value.time() == _MIDNIGHT and value.tzinfo is None else "timestamp"
    return "date" if isinstance(value, date) else "string"


def type_of(kinds: set[str], *, midnights: bool = False) -> str:
    """The type of a column with values of these kinds; without any it is text."""
    if "midnight" in kinds:
        whole = midnights and "timestamp" not in kinds
        kinds = (kinds - {"midnight"}) | {"date" if whole else "timestamp"}
    if kinds <= {"bigint", "long"} and kinds:
        return "bigint"
    if kinds <= {"bigint", "double"} and kinds:
        return "double"
    if kinds == {"date", "timestamp"}:
        return "timestamp"
    return next(iter(kinds)) if len(kinds) == 1 else "string"


def arrow_type(kind: str) -> Any:
    """The Arrow type of a column's type."""
    import pyarrow as pa

    return {
        "boolean": pa.bool_(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }.get(kind, pa.string())


def type_name(arrow: Any) -> str:
    """What a column of a Parquet file is called in the schema that people see."""
    import pyarrow as pa

    for kind in ("boolean", "bigint", "double", "date"):
        if arrow == arrow_type(kind):
            return kind
    if pa.types.is_timestamp(arrow):
        return "timestamp"
    return "string" if pa.types.is_string(arrow) or pa.types.is_large_string(arrow) else str(arrow)


def as_type(value: Any, kind: str) -> Any:
    """A value for a column of that type."""
    if kind == "string":
        return as_text(value)
    if kind == "double":
        return float(value)
    if kind == "date":
        return value.date() if isinstance(value, datetime) else value
    if kind == "timestamp":
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return value


def as_text(value: Any) -> str:
    """A value as text: numbers as Python writes them, times in ISO 8601, what is nested as JSON."""
    if isinstance(value, str):
        # Half a surrogate pair is no text in any encoding.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    import orjson

    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (orjson.JSONEncodeError, ValueError):
        return str(value)
