"""Bronze: the landed Parquet file becomes a Delta table, columns and values untouched, with lineage columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.datasets import statements
from lakeflow_job_meta.datasets.failures import StepFailed
from lakeflow_job_meta.datasets.sync import Sync
from lakeflow_job_meta.errors import (
    PermissionDenied,
    TablesError,
    TablesUnavailable,
    VolumeError,
)
from lakeflow_job_meta.names import TableName, quote_identifier

_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class Written:
    """A table that a phase wrote.

    Args:
        rows_in: rows read. rows_out: rows counted in the table afterwards.
        detail: further facts for the ledger.
    """

    table: TableName
    rows_in: int
    rows_out: int
    detail: dict[str, Any] = field(default_factory=dict)


def write(sync: Sync) -> Written:
    """Replace the bronze table by this version's rows, in one commit: a repetition changes nothing.

    Raises:
        StepFailed, LakeflowJobMetaError: see `failures.classify`.
    """
    sync.check()
    targets, path = sync.targets, sync.path
    _check_file(sync, path)
    rows = _rows_of(sync, path)
    limit = (sync.settings.get("sync") or {}).get("row_limit")
    if limit and rows > int(limit):
        raise StepFailed(
            "row_limit",
            f"{path} has {rows} rows, more than the row_limit of {limit}: raise it, or split the file",
        )
    ensure_schemas(sync, targets.bronze.catalog, (targets.bronze.schema, targets.silver.schema))
    _check_owner(sync, targets.bronze)

    query = statements.bronze_query(path, dataset_id=sync.dataset_id, version=sync.version)
    commit(lambda: sync.tables.replace_table(targets.bronze, query, location=targets.external_location))
    counted = count(sync, targets.bronze.quoted)
    detail: dict[str, Any] = {"source_file": path}
    flags = [
        f"the table has {counted} rows, the {what} {number}"
        for what, number in (("file", rows), ("upload", sync.row_count_local))
        if number is not None and number != counted
    ]
    if flags:
        detail["flags"] = flags
    return Written(targets.bronze, rows, counted, detail)


def _check_owner(sync: Sync, bronze: TableName) -> None:
    """Raises StepFailed when the table is there and is not this dataset's: nothing of others is ever overwritten."""
    columns = sync.tables.columns(bronze)
    if columns is None:
        return
    owner: str | None = "something else"
    if any(column.name == "_dataset_id" for column in columns):
        [row] = sync.tables.query(f"SELECT max(`_dataset_id`) AS `d` FROM {bronze.quoted}")
        owner = f"dataset {row['d']}" if row["d"] not in (None, sync.dataset_id) else None
    if owner is not None:
        raise StepFailed(
            "refused",
            f"{bronze} holds {owner}, not dataset {sync.dataset_id}: give target_config.table of {sync.source_id} "
            "another name",
        )


def ensure_schemas(sync: Sync, catalog: str, schemas: tuple[str, ...]) -> None:
    """Make the tenant's catalog and its schemas where they are missing, the catalog first.

    Raises:
        StepFailed: a privilege is missing; it names the grant.
    """
    try:
        if sync.catalog is not None:
            unity = sync.catalog()
            if not unity.catalog_exists(catalog):
                unity.create_catalog(catalog, f"Datasets of tenant {sync.tenant_id}")
    except PermissionDenied as error:
        raise StepFailed(
            "permission",
            f"the catalog {catalog} is not there, and may not be made: GRANT CREATE CATALOG ON METASTORE TO the job's "
            f"identity, or make the catalog and GRANT USE CATALOG, CREATE SCHEMA on it ({error})",
        ) from error
    for schema in schemas:
        try:
            commit(lambda schema=schema: sync.tables.create_schema(catalog, schema))  # type: ignore[misc]
        except TablesError as error:
            if "PERMISSION" not in str(error).upper():
                raise
            raise StepFailed(
                "permission",
                f"the schema {catalog}.{schema} may not be made: GRANT USE CATALOG, CREATE SCHEMA ON CATALOG "
                f"{quote_identifier(catalog)} TO the job's identity ({error})",
            ) from error


def count(sync: Sync, relation: str) -> int:
    """The rows of a table or query, measured."""
    [row] = sync.tables.query(statements.count(relation))
    return int(row["n"])


def _check_file(sync: Sync, path: str) -> None:
    """The file is there and says that it is Parquet, at both its ends as far as a stream shows them."""
    try:
        size = sync.volumes.stat(path).size
        with sync.volumes.open(path) as file:
            first = file.read(len(_MAGIC))
    except VolumeError as error:
        cause = error.__cause__
        raise StepFailed(
            "file_missing" if _is_missing(cause) else "volume",
            f"the landed file {path} cannot be read: upload the dataset again, or restore it ({error})",
            retryable=not _is_missing(cause),
        ) from error
    if first != _MAGIC or size < 2 * len(_MAGIC) + 4:
        raise StepFailed("file_corrupt", f"{path} is no Parquet file: upload the dataset again")


def _is_missing(cause: BaseException | None) -> bool:
    from lakeflow_job_meta.errors import NotFound

    return isinstance(cause, (FileNotFoundError, NotFound, IsADirectoryError, NotADirectoryError))


def _rows_of(sync: Sync, path: str) -> int:
    """The rows of the file; reads its footer, or more."""
    try:
        return count(sync, statements.file_relation(path))
    except TablesUnavailable:
        raise
    except TablesError as error:
        raise StepFailed(
            "file_corrupt", f"{path} is a damaged Parquet file: upload the dataset again ({error})"
        ) from error
