"""What policies read by one word: `snapshot`, the newest state of the checked table, and `history`, all of it.

The checked table is a snapshot (`dxr_snapshot`), a metadata table (`dxr_collect`), whose columns are given the
snapshot's names, or any other table, as it is. Files of a snapshot that were sent to the on-demand classifier by
dxr_ingest have the path and the time of their source, as its ledger knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lakeflow_job_meta.errors import PolicyError, TableNotFound
from lakeflow_job_meta.names import TableName, quote_identifier
from lakeflow_job_meta.policies.statement import Statement
from lakeflow_job_meta.ports import Tables

PARTITION = "ingestion_date"
#: Relations that are made of the checked table.
OURS = ("snapshot", "history")
#: A snapshot's column and what stands for it in a metadata table.
_METADATA: Mapping[str, str] = {
    "file_id": "file_id",
    "file_key": "file_path",
    "file_name": "element_at(split(file_path, '/'), -1)",
    "path": "file_path",
    "size": "file_size",
    "mime_type": "mime_type",
    "created_at": "CAST(NULL AS TIMESTAMP)",
    "last_modified_at": "modification_time",
    "content_sha256": "coalesce(source_sha256, sha256)",
    "scan_depth": "CASE WHEN status = 'classified' THEN 'DISCOVERY_AND_CLASSIFICATION' ELSE 'DISCOVERY' END",
    "metadata_extraction_status": "metadata_extraction_status",
    "datasource_id": "CAST(datasource_id AS STRING)",
    "datasource_name": "volume_path",
    "connector_type": "'ON_DEMAND_CLASSIFIER'",
    "label_names": "labels",
    "annotator_names": "annotators",
    "labels_json": "labels_json",
    "extractedMetadata_json": "extracted_metadata_json",
    "entitlements_json": "CAST(NULL AS STRING)",
    "dlpLabels_json": "CAST(NULL AS STRING)",
    "raw_json": "metadata_json",
    "ingested_at": "collected_at",
    # the last day on which the file was there
    PARTITION: "CASE WHEN source_deleted_at IS NULL THEN current_date() ELSE date_sub(to_date(source_deleted_at), 1) END",
}
_METADATA_NEEDS = {
    "file_path",
    "file_size",
    "modification_time",
    "source_deleted_at",
    "source_sha256",
    "labels",
}
#: What a file that dxr_ingest sent has from its source.
_FROM_SOURCE: Mapping[str, str] = {
    "file_key": "coalesce(c.file_path, s.file_key)",
    "path": "coalesce(c.file_path, s.path)",
    "file_name": "coalesce(element_at(split(c.file_path, '/'), -1), s.file_name)",
    "last_modified_at": "coalesce(c.modification_time, s.last_modified_at)",
    "created_at": "CASE WHEN c.file_path IS NULL THEN s.created_at END",
}
_SENT = "s.connector_type = 'ON_DEMAND_CLASSIFIER'"
#: Submission and number, which dxr_ingest puts into the name of what it sends.
_TOKEN = "regexp_extract({name}, '([0-9a-f]{{32}})([0-9a-f]{{5}})([.][^.]*)?$', {group})"


@dataclass(frozen=True)
class Ledger:
    """The tables in which dxr_ingest keeps what it sent.

    Args:
        required: whether they were named, so that they must be there.
    """

    checkpoints: TableName
    jobs: TableName
    required: bool = False

    @classmethod
    def beside(
        cls, table: TableName, checkpoints: TableName | None = None, jobs: TableName | None = None
    ) -> Ledger:
        """Those in the schema of a table, unless they are named."""
        return cls(
            checkpoints or TableName(table.catalog, table.schema, "dxr_checkpoints"),
            jobs or TableName(table.catalog, table.schema, "dxr_jobs"),
            required=bool(checkpoints or jobs),
        )


@dataclass(frozen=True)
class Inputs:
    """The relations that policies may read.

    Args:
        table: the checked table; None when policies name their own.
        texts: SELECT by relation name.
    """

    table: TableName | None = None
    texts: Mapping[str, str] = field(default_factory=dict)

    def query(self, statement: Statement, limit: int | None = None, *, count: bool = False) -> str:
        """The statement as it is sent: the relations that it reads before it, itself within brackets.

        Raises:
            PolicyError: it reads a relation of the checked table, and none is named.
        """
        used = [name for name in sorted(statement.relations) if name in OURS or name in self.texts]
        missing = [name for name in used if name not in self.texts]
        if missing:
            raise PolicyError(
                f"it reads {missing[0]}, and no table is named: give --table, or `table` in the source's settings"
            )
        parts = ", ".join(f"{quote_identifier(name)} AS ({self.texts[name]})" for name in used)
        head = f"WITH {parts} " if parts else ""
        what = "count(*) AS `violations`" if count else "*"
        tail = "" if limit is None else f" LIMIT {limit:d}"
        return f"{head}SELECT {what} FROM (\n{statement.sql}\n) AS `policy`{tail}"


def prepare(
    tables: Tables,
    table: TableName | None,
    *,
    ledger: Ledger | None = None,
    more: Mapping[str, TableName] | None = None,
) -> Inputs:
    """The relations over a table that is there.

    Args:
        ledger: of what was sent to the on-demand classifier; left aside when it is not there.
        more: further tables by the word that policies call them.

    Raises:
        TableNotFound: one of the tables is not there.
    """
    texts: dict[str, str] = {}
    for name, other in (more or {}).items():
        _columns(tables, other)
        texts[name.lower()] = f"SELECT * FROM {other.quoted}"
    if table is None:
        return Inputs(None, texts)
    snapshot, history = _relations(tables, table, _columns(tables, table), ledger)
    return Inputs(table, {"snapshot": snapshot, "history": history, **texts})


def _relations(
    tables: Tables, table: TableName, columns: Sequence[str], ledger: Ledger | None
) -> tuple[str, str]:
    """(snapshot, history) of the checked table, as SELECTs."""
    rows = table.quoted
    names = {name.lower() for name in columns}
    if PARTITION in names:
        newest = f"{PARTITION} = (SELECT max({PARTITION}) FROM {rows})"
        if ledger is None or "connector_type" not in names or not _is_there(tables, ledger):
            return f"SELECT * FROM {rows} WHERE {newest}", f"SELECT * FROM {rows}"
        whole = _with_sources(rows, columns, ledger)
        # Data X-Ray keeps what was sent when its source is changed or gone.
        there = "coalesce(c.state, '') <> 'deleted'"
        was_there = f"({there} OR s.{PARTITION} < to_date(c.updated_at))"
        return (
            f"{whole} WHERE s.{newest} AND {there} AND {_NEWEST_VERSION}",
            f"{whole} WHERE {was_there} AND {_NEWEST_VERSION}",
        )
    if names >= _METADATA_NEEDS:
        mapped = ", ".join(f"{text} AS {quote_identifier(name)}" for name, text in _METADATA.items())
        whole = f"SELECT {mapped} FROM {rows}"
        return f"{whole} WHERE source_deleted_at IS NULL", whole
    return f"SELECT * FROM {rows}", f"SELECT * FROM {rows}"


_NEWEST_VERSION = "(c.file_path IS NOT NULL OR j.submission_id IS NULL)"


def _with_sources(rows: str, columns: Iterable[str], ledger: Ledger) -> str:
    """The rows of a snapshot (`s`), the source that each was sent from (`c`) and by which submission (`j`)."""
    chosen = ", ".join(
        f"{_FROM_SOURCE.get(name, f's.{quote_identifier(name)}')} AS {quote_identifier(name)}"
        for name in columns
    )
    shown, sent = (_TOKEN.format(name=name, group=0) for name in ("s.file_name", "upload_name"))
    sources = (
        f"SELECT file_path, modification_time, state, updated_at, {sent} AS token "
        f"FROM {ledger.checkpoints.quoted} WHERE upload_name IS NOT NULL"
    )
    submission = _TOKEN.format(name="s.file_name", group=1)
    return (
        f"SELECT {chosen} FROM {rows} AS s LEFT JOIN ({sources}) AS c ON {_SENT} AND {shown} = c.token "
        f"LEFT JOIN (SELECT DISTINCT submission_id FROM {ledger.jobs.quoted}) AS j "
        f"ON {_SENT} AND {submission} = j.submission_id"
    )


def _is_there(tables: Tables, ledger: Ledger) -> bool:
    """Whether both tables are there. Raises TableNotFound when they were named, and are not."""
    for table in (ledger.checkpoints, ledger.jobs):
        if ledger.required:
            _columns(tables, table)
        elif tables.columns(table) is None:
            return False
    return True


def _columns(tables: Tables, table: TableName) -> list[str]:
    found = tables.columns(table)
    if found is None:
        raise TableNotFound(
            f"{table}: there is no such table, schema or catalog; check the name and your rights"
        )
    return [column.name for column in found]
