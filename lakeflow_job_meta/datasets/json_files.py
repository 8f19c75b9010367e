"""JSON: a list of objects, an object with such a list as `records`, or one object a line.

Values keep the types that JSON gives them ("1001" stays text); what is nested is stored as JSON text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lakeflow_job_meta.datasets import reading
from lakeflow_job_meta.datasets.columns import Rows, header_names, landed_names, write_rows
from lakeflow_job_meta.errors import DatasetError


def read_json(source: Path, target: Path, *, shown: str) -> reading.Converted:
    """A JSON or JSON Lines file as Parquet.

    Raises:
        DatasetError: it is no JSON, or holds something else than objects; with the line.
    """
    import orjson

    with source.open("rb") as file:
        first = file.readline(reading.LINE_LIMIT + 1).lstrip(b"\xef\xbb\xbf").strip()
        more = bool(file.read(4096).strip())
    lines = shown.lower().endswith((".jsonl", ".ndjson"))
    if not lines and more and first.startswith(b"{") and first.endswith(b"}"):
        try:
            lines = isinstance(orjson.loads(first), dict)
        except orjson.JSONDecodeError:
            lines = False
    size = source.stat().st_size
    if lines or (size > reading.JSON_LIMIT and first.startswith(b"[")):
        objects = _lines if lines else _elements
        rows, renamed = _from_objects(lambda: objects(source, shown), shown)
        taken = write_rows(rows, target, shown=shown)
        return reading.Converted(
            "json", taken, detail={"format": "lines" if lines else "list"}, renamed=renamed
        )
    if size > reading.JSON_LIMIT:
        raise DatasetError(
            f"{shown} has {size // 2**20} MiB, and a JSON document that is no list may have {reading.JSON_LIMIT // 2**20}: "
            "write a list of objects, or one object a line (.jsonl), which may be of any size"
        )
    try:
        document = orjson.loads(source.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"{shown}:{error.lineno}:{error.colno}: this is no JSON: {error.msg}") from error
    if isinstance(document, dict) and isinstance(document.get("records"), list):
        document = document["records"]
    if not isinstance(document, list):
        raise DatasetError(
            f'{shown} holds no list of objects: give [{{...}}, ...], {{"records": [...]}} or one object a line'
        )
    rows, renamed = rows_of(document, shown)
    return reading.Converted("json", write_rows(rows, target, shown=shown), renamed=renamed)


def rows_of(records: Sequence[Any], shown: str) -> tuple[Rows, dict[str, str]]:
    """Records in memory as rows, and what `landed_names` changed.

    Raises:
        DatasetError: there are none, or one is no object.
    """
    if isinstance(records, (str, bytes, Mapping)) or not isinstance(records, Sequence):
        raise DatasetError(f"{shown}: records are a list of objects, not {type(records).__name__}")
    if not records:
        raise DatasetError(f"{shown} has no rows: the list of records is empty")

    def objects() -> Iterator[tuple[int, Mapping[Any, Any]]]:
        for number, record in enumerate(records, start=1):
            if not isinstance(record, Mapping):
                raise DatasetError(f"{shown}: record {number} is {_called(record)}, not an object")
            yield number, record

    return _from_objects(objects, shown)


def _from_objects(
    objects: Callable[[], Iterator[tuple[int, Mapping[Any, Any]]]], shown: str
) -> tuple[Rows, dict[str, str]]:
    keys: dict[Any, None] = {}
    for _, record in objects():
        for key in record:
            keys.setdefault(key)
    if not keys:
        raise DatasetError(f"{shown} has no rows: no record has a field")

    def values() -> Iterator[list[Any]]:
        for _, record in objects():
            yield [_plain(record.get(key)) for key in keys]

    names, renamed = landed_names(header_names(list(keys)), shown)
    return Rows(tuple(names), values), renamed


def _elements(source: Path, shown: str) -> Iterator[tuple[int, Mapping[Any, Any]]]:
    """The objects of a list that is too large to be held in memory, one after the other."""
    import duckdb
    import orjson

    number = 0
    try:
        with duckdb.connect(config={"memory_limit": "1GB", "threads": 2}) as connection:
            found = connection.execute(
                "SELECT json FROM read_json_objects(?, format = 'array', maximum_object_size = ?)",
                [str(source), reading.LINE_LIMIT],
            )
            while batch := found.fetchmany(1000):
                for (text,) in batch:
                    number += 1
                    record = orjson.loads(text)
                    if not isinstance(record, dict):
                        raise DatasetError(f"{shown}: record {number} is {_called(record)}, not an object")
                    yield number, record
    except duckdb.Error as error:
        line = str(error).splitlines()[0].replace(str(source), shown)
        raise DatasetError(f"{shown}: after record {number} this is no list of objects: {line}") from error
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"{shown}: record {number} is no JSON: {error.msg}") from error


def _lines(source: Path, shown: str) -> Iterator[tuple[int, Mapping[Any, Any]]]:
    import orjson

    with source.open("rb") as file:
        number = 0
        while line := file.readline(reading.LINE_LIMIT + 1):
            number += 1
            if len(line) > reading.LINE_LIMIT:
                raise DatasetError(
                    f"{shown}:{number}: the line has more than {reading.LINE_LIMIT // 2**20} MiB; is this one object a line?"
                )
            if not line.strip():
                continue
            try:
                record = orjson.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            except orjson.JSONDecodeError as error:
                raise DatasetError(f"{shown}:{number}:{error.colno}: this is no JSON: {error.msg}") from error
            if not isinstance(record, dict):
                raise DatasetError(f"{shown}:{number}: this is {_called(record)}, not an object")
            yield number, record


def _plain(value: Any) -> Any:
    """A scalar of numpy or pandas as Python's own; NaT and NA are nothing."""
    if value is None or isinstance(value, (str, int, float, bool, dict, list)):
        return value
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _called(value: Any) -> str:
    return {"str": "text", "list": "a list", "int": "a number", "float": "a number", "NoneType": "null"}.get(
        type(value).__name__, type(value).__name__
    )
