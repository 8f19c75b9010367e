"""`dxr_snapshot`: what Data X-Ray knows of every file, one partition of a Delta table a day.

Received, staged, checked, and only then published, by one commit that replaces exactly the day's partition. Whatever
goes wrong before that commit leaves the table as it was.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.dxr.settings import DxrSettings
from lakeflow_job_meta.dxr.snapshot_rows import PARTITION, Projection, snapshot_table
from lakeflow_job_meta.dxr.staging import Staging, check_libraries
from lakeflow_job_meta.errors import StreamCut, TablesError, TaskError, UsageError
from lakeflow_job_meta.names import TableName, quote_identifier
from lakeflow_job_meta.ports import TableDefinition, Tables

JsonObject = dict[str, Any]

#: Times that a stream is read before its being cut is believed.
ATTEMPTS = 3
STAGING_VOLUME = "dxr_staging"
#: What `always_query` sends: every file.
EVERYTHING = 'fileName:"*"'
_VOLUME = re.compile(r"(?:dbfs:|file:)?(/Volumes/.*)", re.DOTALL)


def take(session: DxrSession) -> JsonObject:
    """Take the snapshot of one day.

    Returns:
        `rows`, `bytes`, `duplicates`, `capped`, `ingestion_date`, `table`, `previous_rows`, ...

    Raises:
        UsageError: a setting is wrong.
        StreamCut: the answer was not whole, or has far fewer rows than last time; the table is as it was.
        DxrError, TablesError, VolumeError: as their names say; the table is as it was.
    """
    settings = session.settings
    started = session.clock()
    day = ingestion_date(settings, started)
    definition = target(settings)
    check_libraries()
    query = settings["query"] or (EVERYTHING if settings["always_query"] else None)
    place = definition.location if not definition.registered else str(definition.name)
    facts: JsonObject = {"ingestion_date": day.isoformat(), "table": place, "query": settings["query"]}
    _ = session.client if not settings["dry_run"] else None  # a missing token is told before anything is done
    if definition.registered and not (
        settings["dry_run"] and session.tables.columns(definition.name) is None
    ):
        definitions.ensure(session.tables, definition)
    previous = _previous(session.tables, definition, day)
    facts["previous_rows"] = previous
    if settings["dry_run"]:
        return {**facts, "rows": 0, "dry_run": True}
    if not definition.registered:
        session.tables.create_table(definition)
    staging = Staging(session.volumes, _staging_folder(session, definition), day, session.run_id)
    staging.remove_stale(started)
    try:
        capped = _receive(session, staging, query, previous)
        rows, keys = session.tables.file_counts(staging.folder, "file_id")
        if rows != staging.rows:
            raise TablesError(
                f"{staging.folder} holds {rows} rows where {staging.rows} were staged: it was disturbed; run again"
            )
        commit(
            lambda: session.tables.replace_partition(
                definition,
                staging.folder,
                partition=day,
                constants={"ingested_at": started, "run_id": session.run_id},
                once=("file_id", "line_number") if keys != rows else None,
            )
        )
    finally:
        staging.remove()
    session.log("published", table=place, ingestion_date=day.isoformat(), rows=keys)
    removed = _forget_old(session, definition, day)
    return {
        **facts,
        "rows": keys,
        "bytes": staging.bytes,
        "duplicates": rows - keys,
        "capped": capped,
        "partitions_deleted": removed,
    }


def ingestion_date(settings: DxrSettings, now: datetime) -> date:
    """The day of the partition: the setting, or today in UTC. Raises UsageError."""
    text = settings["ingestion_date"]
    if not text:
        return now.astimezone(timezone.utc).date()
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise UsageError(f"ingestion_date must be a day like 2026-03-01, not {text!r}")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"ingestion_date: there is no day {text!r} ({error})") from error


def target(settings: DxrSettings) -> TableDefinition:
    """The table to write: managed, external, or files that no catalog knows.

    Raises:
        UsageError: a table was named for files where Unity Catalog allows none.
    """
    path, named = settings["delta_path"], settings["snapshot_table"]
    if not path:
        return snapshot_table(_table_name(settings))
    volume = _VOLUME.fullmatch(path)
    scheme = "dbfs:" if path.lower().startswith("dbfs:") else "a volume" if volume else ""
    if named and scheme:
        where = "on files inside a volume" if volume else "on a dbfs: path"
        raise UsageError(
            f"snapshot_table {named!r} cannot be registered for delta_path {path!r}: Unity Catalog defines no table "
            f"{where} (UC_FILE_SCHEME_FOR_TABLE_CREATION_NOT_SUPPORTED). Leave delta_path out for a managed table, "
            "give the path of an external location (abfss://, s3://, gs://), or leave snapshot_table out"
        )
    if not scheme and "://" not in path and not path.startswith("/"):
        raise UsageError(f"delta_path must be an absolute path or a cloud path, not {path!r}")
    if ".." in path.split("/"):
        raise UsageError(f"delta_path {path!r}: write it without ..")
    if named:
        return _placed(TableName.parse(named), path, registered=True)
    # Without a name in the catalog; this one is only formal.
    return _placed(TableName("delta", "path", "files"), volume.group(1) if volume else path, registered=False)


def _placed(name: TableName, path: str, *, registered: bool) -> TableDefinition:
    made = snapshot_table(name)
    return TableDefinition(
        made.name, made.columns, made.comment, made.partitioned_by, path.rstrip("/"), registered
    )


def _table_name(settings: DxrSettings) -> TableName:
    if settings["snapshot_table"]:
        return TableName.parse(settings["snapshot_table"])
    beside = settings.metadata_table
    return TableName(beside.catalog, beside.schema, "dxr_snapshot")


def _staging_folder(session: DxrSession, definition: TableDefinition) -> str:
    """Where the run stages, the volume made when it is the default one."""
    settings = session.settings
    given = settings["staging_path"]
    if given:
        if ".." in given.split("/") or not given.startswith("/"):
            raise UsageError(f"staging_path must be an absolute path without .., not {given!r}")
        return str(given)
    if definition.registered:
        beside = definition.name
    elif settings["metadata_table"]:
        beside = settings.metadata_table
    else:
        raise UsageError(
            "staging_path is not set, and there is no table beside which to stage: give --staging-path "
            "/Volumes/catalog/schema/volume"
        )
    volume = TableName(beside.catalog, beside.schema, STAGING_VOLUME)
    catalog = session.need_catalog()
    if not catalog.volume_exists(volume):
        catalog.create_volume(volume, "Files of snapshots on their way into the table (lakeflow_job_meta)")
    return f"/Volumes/{volume.catalog}/{volume.schema}/{volume.table}"


def _previous(tables: Tables, definition: TableDefinition, day: date) -> int | None:
    """Rows of the last good snapshot: of the same day, else of the nearest earlier one, else of the newest."""
    counts = tables.partition_counts(definition)
    for found, rows in counts:
        if found <= day:
            return rows
    return counts[-1][1] if counts else None


def _receive(
    session: DxrSession,
    staging: Staging,
    query: str | None,
    previous: int | None,
) -> bool:
    """Stage a whole answer, read again when it was cut; whether the cap ended it."""
    settings, client = session.settings, session.client
    projection = Projection(phrases=settings["keep_phrases"])
    cap = settings["record_cap"]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with client.files(query, seconds=settings["stream_limit"]) as lines:
                capped = staging.fill(lines, projection, cap)
            _judge(settings, staging.rows, previous, capped=capped)
        except StreamCut as error:
            if attempt == ATTEMPTS:
                raise StreamCut(
                    f"{error}; read {attempt} times, {staging.rows} rows the last time. "
                    "The partition was not replaced"
                ) from error
            session.log("read again", attempt=attempt, rows=staging.rows, reason=str(error))
            continue
        session.log("staged", rows=staging.rows, bytes=staging.bytes, capped=capped)
        return capped
    raise AssertionError("unreachable")  # pragma: no cover


def _judge(settings: DxrSettings, rows: int, previous: int | None, *, capped: bool) -> None:
    """Whether so many rows may replace what is there."""
    ratio = settings["min_rows_ratio"]
    if not ratio:
        return
    hint = "if that is right, run once with min_rows_ratio 0"
    if rows == 0:
        raise StreamCut(
            "Data X-Ray answered without any row: a token that may see no datasource is answered so, too; "
            + hint
        )
    if previous is None or rows >= ratio * previous:
        return
    if capped:
        raise TaskError(
            f"record_cap ended the snapshot after {rows} rows, the last one has {previous}: it does not replace it; "
            + hint
        )
    raise StreamCut(
        f"{rows} rows are far fewer than the {previous} of the last snapshot (min_rows_ratio {ratio:g}): "
        "the answer was cut at the end of a line, or the token sees less; " + hint
    )


def _forget_old(session: DxrSession, definition: TableDefinition, day: date) -> list[str]:
    """Delete partitions beyond keep_days; their days."""
    days = session.settings["keep_days"]
    if not days:
        return []
    limit = day - timedelta(days=days)
    old = [found for found, _ in session.tables.partition_counts(definition) if found < limit]
    if old and definition.registered:
        condition = f"{quote_identifier(PARTITION)} < DATE'{limit.isoformat()}'"
        commit(
            lambda: (
                session.tables.query(f"DELETE FROM {definition.name.quoted} WHERE {condition}"),
                None,
            )[1]
        )
        session.log("deleted", partitions=len(old), before=limit.isoformat())
        return [one.isoformat() for one in old]
    return []
