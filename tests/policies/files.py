"""Files as the snapshot and the metadata table have them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from lakeflow_job_meta.dxr import tables as dxr_tables
from lakeflow_job_meta.dxr.snapshot_rows import snapshot_table
from lakeflow_job_meta.names import TableName

TODAY = date.today()
NOW = datetime.now(timezone.utc).replace(microsecond=0)
_NUMBERS = itertools.count(1)


def file(path: str, **given: Any) -> dict[str, Any]:
    """A row of the snapshot: classified today, without labels, unlike every other file."""
    number = next(_NUMBERS)
    everyone = given.pop("readers", ())
    dlp = given.pop("dlp", None)
    row: dict[str, Any] = {
        "file_id": f"id-{number}",
        "file_key": f"share:{path}",
        "file_name": path.rsplit("/", 1)[-1],
        "path": path,
        "size": 100 + number,
        "mime_type": "text/plain",
        "created_at": NOW,
        "last_modified_at": NOW,
        "content_sha256": f"{number:064x}",
        "scan_depth": "DISCOVERY_AND_CLASSIFICATION",
        "datasource_id": "share",
        "connector_type": "NETWORK_DRIVE_SMB",
        "label_names": [],
        "entitlements_json": json.dumps(
            {"whoCanAccess": [{"id": one, "accountType": "GROUP", "name": one} for one in everyone]}
        ),
        "ingestion_date": TODAY,
        "ingested_at": NOW,
        "run_id": "snap",
    }
    if dlp is not None:
        row["dlpLabels_json"] = json.dumps([{"id": one, "dlpSystem": "PURVIEW", "name": one} for one in dlp])
    return {**row, **given}


def days_ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


def snapshot(
    tables: Any,
    warehouse: Path,
    schema: tuple[str, str],
    rows: Iterable[dict[str, Any]],
    name: str = "dxr_snapshot",
) -> TableName:
    """A snapshot table with these rows; its name."""
    table = TableName(*schema, name)
    tables.create_table(snapshot_table(table))
    put(warehouse, table, rows)
    return table


def put(warehouse: Path, table: TableName, rows: Iterable[dict[str, Any]], mode: str = "append") -> None:
    """Add rows to a snapshot, or `overwrite` it with them; past Sail, which takes no mixed-case columns staged."""
    import pyarrow as pa
    from deltalake import write_deltalake

    kinds = {
        "STRING": pa.string(),
        "BIGINT": pa.int64(),
        "TIMESTAMP": pa.timestamp("us", tz="UTC"),
        "DATE": pa.date32(),
        "ARRAY<STRING>": pa.list_(pa.string()),
    }
    columns = snapshot_table(table).columns
    kept = list(rows)
    schema = pa.schema([(column.name, kinds[column.type]) for column in columns])
    arrays = [pa.array([row.get(field.name) for row in kept], field.type) for field in schema]
    where = warehouse / table.catalog / table.schema / table.table
    batch = pa.Table.from_arrays(arrays, schema=schema)
    write_deltalake(str(where), batch, mode=mode, partition_by=["ingestion_date"])


def metadata(
    tables: Any, schema: tuple[str, str], rows: Iterable[dict[str, Any]], name: str = "dxr_files"
) -> TableName:
    """A metadata table with these rows; its name."""
    table = TableName(*schema, name)
    definition = dxr_tables.metadata(table)
    tables.create_table(definition)
    tables.append(definition, list(rows))
    return table


def collected(path: str, **given: Any) -> dict[str, Any]:
    """A row of the metadata table: classified, without labels, unlike every other file."""
    number = next(_NUMBERS)
    row: dict[str, Any] = {
        "file_id": f"id-{number}",
        "volume_path": "/Volumes/main/files/inbox",
        "file_path": path,
        "relative_path": path.removeprefix("/Volumes/main/files/inbox/"),
        "file_size": 100 + number,
        "modification_time": NOW,
        "upload_name": f"upload-{number}.txt",
        "datasource_id": 200,
        "labels": [],
        "source_sha256": f"{number:064x}",
        "status": "classified",
        "collected_at": NOW,
        "updated_at": NOW,
    }
    return {**row, **given}


def sent(path: str, submission: str, **given: Any) -> dict[str, Any]:
    """A row of dxr_checkpoints: a source as it was last sent; its name in Data X-Ray is `upload_of` both."""
    row: dict[str, Any] = {
        "volume_path": "/Volumes/main/files/inbox",
        "file_path": path,
        "modification_time": NOW,
        "state": "classified",
        "upload_name": upload_of(path, submission),
        "submission_id": submission,
        "updated_at": NOW,
    }
    return {**row, **given}


def upload_of(path: str, submission: str) -> str:
    from lakeflow_job_meta.dxr.selection import upload_name

    return upload_name(path, submission, 0)


def ledger(
    tables: Any, schema: tuple[str, str], rows: Iterable[dict[str, Any]], submissions: Iterable[str]
) -> None:
    """dxr_checkpoints with these rows, and dxr_jobs with these submissions."""
    checkpoints = dxr_tables.checkpoints(TableName(*schema, "dxr_checkpoints"))
    jobs = dxr_tables.jobs(TableName(*schema, "dxr_jobs"))
    for definition in (checkpoints, jobs):
        tables.create_table(definition)
    tables.append(checkpoints, list(rows))
    tables.append(jobs, [{"submission_id": one} for one in submissions])
