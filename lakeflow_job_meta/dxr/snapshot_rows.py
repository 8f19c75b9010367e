"""Rows of the snapshot: one line of `GET /api/v1/files` becomes typed columns, nested parts as JSON, and raw_json.

The schema is fixed: what the source does not say is NULL, what it says beyond it is in raw_json, and a value of
another type than the contract's is NULL in its typed column and stays in raw_json. So no day fails for the data
of that day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.dxr.snapshot_files import (
    ABSENT,
    common_names_of,
    datasource_of,
    names_of,
    read,
    text_of,
)
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Table

PARTITION = "ingestion_date"
#: Columns of the staged files that the table has not: where the line stood.
LINE_NUMBER = Column("line_number", "BIGINT")

#: Nested parts: kept as the JSON text of the part, under the names that earlier snapshot jobs gave them.
_PARTS: Mapping[str, str] = {
    "datasource_json": "datasource",
    "labels_json": "labels",
    "extractedMetadata_json": "extracted_metadata",
    "entitlements_json": "entitlements",
    "dlpLabels_json": "dlp_labels",
    "annotators_json": "annotators",
    "owner_json": "owner",
    "createdBy_json": "created_by",
    "modifiedBy_json": "modified_by",
    "externalMetadata_json": "external_metadata",
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
    *((name, "STRING") for name in _PARTS),
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


#: Columns that are fields of an answer as they are, and its nested parts, with what gets them.
_PLAIN = [
    (name, attrgetter(name))
    for name in (
        "file_id",
        "file_name",
        "path",
        "size",
        "mime_type",
        "created_at",
        "last_modified_at",
        "content_sha256",
        "scan_depth",
        "metadata_extraction_status",
    )
]
_NESTED = [(name, attrgetter(field)) for name, field in _PARTS.items()]


class Projection:
    """Takes lines, and gives them as record batches of STAGED.

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
        files, kept = read(lines, first, phrases=self._phrases)
        columns["raw_json"] += kept
        columns["line_number"] += range(first, first + len(files))
        for name, of in _PLAIN:
            columns[name] += map(of, files)
        rows = len(files)
        for name, of in _NESTED:
            parts = list(map(of, files))
            # Some parts no file has: one look for all of them.
            columns[name] += [None] * rows if parts.count(ABSENT) == rows else map(text_of, parts)
        sources = list(map(datasource_of, columns["datasource_json"][-rows:]))
        columns["datasource_id"] += [source[0] for source in sources]
        columns["datasource_name"] += [source[1] for source in sources]
        columns["connector_type"] += [source[2] for source in sources]
        columns["label_names"] += map(common_names_of, columns["labels_json"][-rows:])
        columns["annotator_names"] += map(names_of, columns["annotators_json"][-rows:])
        columns["file_key"] += [
            f"{source[0] or ''}:{file.path or file.file_name or ''}"
            for source, file in zip(sources, files, strict=True)
        ]

    def batch(self) -> RecordBatch:
        """The rows taken since the last batch; times are texts yet."""
        import pyarrow as pa

        columns, self._columns = self._columns, {name: [] for name in self._columns}
        arrays = []
        for field in self.schema:
            values = columns[field.name]
            if field.name in _PARTS or field.name == "raw_json":  # UTF-8 as it came, checked by the parser
                arrays.append(pa.array(values, pa.binary()).view(pa.string()))
            else:
                arrays.append(
                    pa.array(values, pa.string() if pa.types.is_timestamp(field.type) else field.type)
                )
        return pa.record_batch(arrays, names=self.schema.names)

    def table(self, batches: Sequence[RecordBatch]) -> Table:
        """Batches put together, with the types of STAGED."""
        import pyarrow as pa

        table = pa.Table.from_batches(batches)
        for at, field in enumerate(self.schema):
            if pa.types.is_timestamp(field.type):
                table = table.set_column(at, field, _times(table.column(at), field.type))
        return table


def _times(texts: Any, kind: Any) -> Any:
    import pyarrow as pa

    try:
        # Nanoseconds are read, and cut; what Arrow takes for a time without a zone is one in UTC.
        return texts.cast(pa.timestamp("ns", tz="UTC")).cast(kind, safe=False)
    except pa.ArrowInvalid:
        return pa.array([None if text is None else read_time(text) for text in texts.to_pylist()], kind)


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
