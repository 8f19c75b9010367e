"""Rows of the snapshot: one line of `GET /api/v1/files` becomes typed columns, nested parts as JSON, and raw_json.

The schema is fixed: what the source does not say is NULL, what it says beyond it is in raw_json, and a value of
another type than the contract's is NULL in its typed column and stays in raw_json. So no day fails for the data
of that day.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson

from lakeflow_job_meta.errors import StreamCut
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition

if TYPE_CHECKING:
    from pyarrow import RecordBatch

JsonObject = dict[str, Any]

PARTITION = "ingestion_date"
#: Columns of the staged files that the table has not: where the line stood.
LINE_NUMBER = Column("line_number", "BIGINT")

_TEXTS: Mapping[str, str] = {
    "file_id": "fileId",
    "file_name": "fileName",
    "path": "path",
    "mime_type": "mimeType",
    "content_sha256": "contentSha256",
    "scan_depth": "scanDepth",
    "metadata_extraction_status": "metadataExtractionStatus",
}
_TIMES: Mapping[str, str] = {"created_at": "createdAt", "last_modified_at": "lastModifiedAt"}
#: Nested parts: kept as the JSON text of the part, under the names that earlier snapshot jobs gave them.
_NESTED: Mapping[str, str] = {
    "datasource_json": "datasource",
    "labels_json": "labels",
    "extractedMetadata_json": "extractedMetadata",
    "entitlements_json": "entitlements",
    "dlpLabels_json": "dlpLabels",
    "annotators_json": "annotators",
    "owner_json": "owner",
    "createdBy_json": "createdBy",
    "modifiedBy_json": "modifiedBy",
    "externalMetadata_json": "externalMetadata",
    "coordinates_json": "coordinates",
}
_COMMENTS: Mapping[str, str] = {
    "file_id": "fileId; an index rebuild gives the file another one, use file_key over days",
    "file_key": "datasource id and path (file name where there is no path): the same file over days",
    "path": "path in the datasource",
    "size": "bytes",
    "content_sha256": "hex; NULL when the file was only discovered",
    "scan_depth": "DISCOVERY: never classified; DISCOVERY_AND_CLASSIFICATION: looked at",
    "label_names": "names of the labels; empty: looked and found none",
    "annotator_names": "names of the annotators that found something",
    "raw_json": "the line as it was received (without matched phrases unless they were asked for)",
    "ingested_at": "when the snapshot's run began",
    "run_id": "run that wrote the row, see dxr_runs",
    PARTITION: "the snapshot's day, UTC",
}
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("file_id", "STRING"),
    ("file_key", "STRING"),
    ("file_name", "STRING"),
    ("path", "STRING"),
    ("size", "BIGINT"),
    ("mime_type", "STRING"),
    ("created_at", "TIMESTAMP"),
    ("last_modified_at", "TIMESTAMP"),
    ("content_sha256", "STRING"),
    ("scan_depth", "STRING"),
    ("metadata_extraction_status", "STRING"),
    ("datasource_id", "STRING"),
    ("datasource_name", "STRING"),
    ("connector_type", "STRING"),
    ("label_names", "ARRAY<STRING>"),
    ("annotator_names", "ARRAY<STRING>"),
    *((name, "STRING") for name in _NESTED),
    ("raw_json", "STRING"),
    ("ingested_at", "TIMESTAMP"),
    ("run_id", "STRING"),
    (PARTITION, "DATE"),
)
COLUMNS: tuple[Column, ...] = tuple(Column(name, kind, _COMMENTS.get(name, "")) for name, kind in _COLUMNS)
#: What the staged files hold; the rest is the same for the whole snapshot.
STAGED: tuple[Column, ...] = (
    *(column for column in COLUMNS if column.name not in {"ingested_at", "run_id", PARTITION}),
    LINE_NUMBER,
)


def snapshot_table(name: TableName) -> TableDefinition:
    """The snapshot table, partitioned by day."""
    return TableDefinition(
        name,
        COLUMNS,
        "What Data X-Ray knows of every file, one partition a day (lakeflow_job_meta)",
        partitioned_by=(PARTITION,),
    )


class Projection:
    """Takes lines, and gives them as record batches of STAGED.

    Values of the contract's types, which nearly all are, go the quick way: a column at once. A block of lines in which
    one is of another type goes value by value.

    Args:
        phrases: keep matched phrases; without them they are taken out of raw_json and annotators_json.
    """

    def __init__(self, *, phrases: bool = False) -> None:
        import pyarrow as pa

        self._phrases = phrases
        kinds: dict[str, Any] = {
            "STRING": pa.string(),
            "BIGINT": pa.int64(),
            "TIMESTAMP": pa.timestamp("us", tz="UTC"),
            "ARRAY<STRING>": pa.list_(pa.string()),
        }
        self.schema = pa.schema([(column.name, kinds[column.type]) for column in STAGED])
        self._columns: dict[str, list[Any]] = {column.name: [] for column in STAGED}

    @property
    def held(self) -> int:
        """Rows taken since the last batch."""
        return len(self._columns["raw_json"])

    def add(self, lines: Sequence[bytes], first: int) -> None:
        """Take some lines; few at a time, so that they stay in the processor's cache.

        Args:
            lines: JSON objects, no blank ones.
            first: number of the first of them in the stream, 1-based.

        Raises:
            StreamCut: a line that is no JSON object with a fileId; naming it.
        """
        columns = self._columns
        files, raws = self._parse(lines, first)
        columns["raw_json"] += raws
        columns["line_number"] += range(first, first + len(files))
        columns["size"] += [file.get("size") for file in files]
        for name, key in (*_TEXTS.items(), *_TIMES.items()):
            columns[name] += [file.get(key) for file in files]
        dumps = orjson.dumps
        for name, key in _NESTED.items():
            columns[name] += [None if (value := file.get(key)) is None else dumps(value) for file in files]
        try:
            sources = [file["datasource"] for file in files]
            ids = [source["id"] for source in sources]
            names = [source["name"] for source in sources]
            connectors = [source["connector"]["type"] for source in sources]
        except (KeyError, TypeError, AttributeError):
            sources = [_mapping(file.get("datasource")) for file in files]
            ids = [_text(source.get("id")) for source in sources]
            names = [_text(source.get("name")) for source in sources]
            connectors = [_text(_mapping(source.get("connector")).get("type")) for source in sources]
        columns["datasource_id"] += ids
        columns["datasource_name"] += names
        columns["connector_type"] += connectors
        for name, key in (("label_names", "labels"), ("annotator_names", "annotators")):
            try:
                columns[name] += [
                    [one["name"] for one in value] if type(value := file.get(key)) is list else None
                    for file in files
                ]
            except (KeyError, TypeError, AttributeError):
                columns[name] += [_names(file.get(key)) for file in files]
        columns["file_key"] += [
            f"{source or ''}:{file.get('path') or file.get('fileName') or ''}"
            for source, file in zip(ids, files, strict=True)
        ]

    def batch(self) -> RecordBatch:
        """The rows taken since the last batch."""
        import pyarrow as pa

        columns, self._columns = self._columns, {name: [] for name in self._columns}
        return pa.record_batch(
            [self._array(field, columns[field.name]) for field in self.schema], schema=self.schema
        )

    @staticmethod
    def _array(field: Any, values: list[Any]) -> Any:
        import pyarrow as pa

        if field.name in _NESTED or field.name == "raw_json":  # UTF-8 as it came, checked by the parser
            return pa.array(values, pa.binary()).view(pa.string())
        careful: Any = _CAREFUL.get(field.name)
        try:
            if careful is _time:
                # Nanoseconds are read, and cut; what Arrow takes for a time without a zone is one in UTC.
                exact = pa.array(values, pa.string()).cast(pa.timestamp("ns", tz="UTC"))
                return exact.cast(field.type, safe=False)
            return pa.array(values, field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            if careful is None:
                raise
            return pa.array([careful(value) for value in values], field.type)

    def _parse(self, lines: Sequence[bytes], first: int) -> tuple[list[JsonObject], list[bytes]]:
        """The objects of the lines, and their texts without what is left out."""
        try:
            files: list[JsonObject] = list(map(orjson.loads, lines))
            sound = all([file["fileId"] for file in files])  # noqa: C419 - a list is quicker
        except (orjson.JSONDecodeError, KeyError, TypeError):
            sound = False
        if not sound:
            lines, files = _careful_parse(lines, first)
        if self._phrases:
            return files, list(lines)
        raws: list[bytes] = []
        for file, line in zip(files, lines, strict=True):
            if file.get("annotators") and b'"phrase"' in line:
                _drop_phrases(file)
                raws.append(orjson.dumps(file))
            else:
                raws.append(line)
        return files, raws


def _careful_parse(lines: Sequence[bytes], first: int) -> tuple[list[bytes], list[JsonObject]]:
    """The lines one by one, as they are kept, and their objects. Raises StreamCut naming the first that is no record."""
    kept: list[bytes] = []
    files: list[JsonObject] = []
    for number, line in enumerate(lines, first):
        try:
            file = orjson.loads(line)
            kept.append(line)
        except orjson.JSONDecodeError as error:
            kept.append(_mended(line, number, error))
            file = orjson.loads(kept[-1])
        if not isinstance(file, dict) or not file.get("fileId"):
            raise StreamCut(f"line {number} of the answer is no file record: it has no fileId")
        files.append(file)
    return kept, files


def _mended(line: bytes, number: int, error: orjson.JSONDecodeError) -> bytes:
    """The line with halves of surrogate pairs replaced: JSON allows them, UTF-8 does not.

    Raises:
        StreamCut: that was not what is wrong with it.
    """
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
        mended = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        orjson.loads(mended)
    except (ValueError, RecursionError):
        raise StreamCut(
            f"line {number} of the answer is no JSON ({error}): the stream was cut or damaged"
        ) from error
    return mended


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _drop_phrases(file: JsonObject) -> None:
    """Take the matched phrases out of the annotators: they are the sensitive data itself."""
    try:
        for annotator in file["annotators"]:
            for annotation in annotator["annotations"]:
                del annotation["phrase"]
    except (KeyError, TypeError):
        for one in _objects(file.get("annotators")):
            for annotation in _objects(one.get("annotations")):
                annotation.pop("phrase", None)


def _objects(value: Any) -> Iterable[JsonObject]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


_EMPTY: JsonObject = {}


def _mapping(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else _EMPTY


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, (bool, int, float)):
        return orjson.dumps(value).decode()
    return None


def _whole(value: Any) -> int | None:
    if type(value) is int:
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else None


def _names(value: Any) -> list[str] | None:
    """Names of a list of `{id, name}`, or of plain names; NULL stays apart from an empty list."""
    if not isinstance(value, list):
        return None
    return [
        name
        for one in value
        if (name := _text(one.get("name") or one.get("id")) if isinstance(one, dict) else _text(one))
        is not None
    ]


def _time(value: Any) -> datetime | None:
    """An RFC 3339 instant, cut to microseconds; NULL when it is none."""
    return read_time(value) if type(value) is str else None


def read_time(text: str) -> datetime | None:
    """An RFC 3339 instant with up to nanoseconds, in UTC; None when the text is none.

    A date without a time is midnight; a time without an offset is UTC.
    """
    head, dot, fraction = text.strip().partition(".")
    offset = ""
    if dot:
        digits = len(fraction) - len(fraction.lstrip("0123456789"))
        offset, fraction = fraction[digits:], fraction[:digits][:6].ljust(6, "0")
    elif head.endswith(("Z", "z")):
        head, offset = head[:-1], "Z"
    if offset in {"Z", "z"}:
        offset = "+00:00"
    try:
        moment = datetime.fromisoformat(f"{head}.{fraction}{offset}" if dot else f"{head}{offset}")
        if moment.tzinfo is None:
            return moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


#: How a value that is not of its column's type is read, by column.
_CAREFUL: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*_TEXTS, "datasource_id", "datasource_name", "connector_type"), _text),
    **dict.fromkeys(_TIMES, _time),
    "size": _whole,
    "label_names": lambda names: None if names is None else [text for name in names if (text := _text(name))],
    "annotator_names": lambda names: (
        None if names is None else [text for name in names if (text := _text(name))]
    ),
}
