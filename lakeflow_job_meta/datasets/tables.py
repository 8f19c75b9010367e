"""The tables of the datasets. Columns and names only; what is done with them stands in `events` and the service."""

from __future__ import annotations

from dataclasses import dataclass

from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition

#: Environment variable that names the `catalog.schema` of the tables, where it is not the control table's.
SCHEMA = "LAKEFLOW_JOB_META_DATASET_SCHEMA"
_TEXT, _TIME, _LONG, _FLAG = "STRING", "TIMESTAMP", "BIGINT", "BOOLEAN"


@dataclass(frozen=True, slots=True)
class DatasetTables:
    """Names of the tables: in the schema of the control table, or in another one.

    Args:
        control_table: the control table whose rows sync the datasets.
        schema: `catalog.schema` to use instead of the control table's; empty for its own.
    """

    control_table: TableName
    schema: str = ""

    def _named(self, table: str) -> TableName:
        if self.schema:
            return TableName.parse(f"{self.schema}.{table}")
        return TableName(self.control_table.catalog, self.control_table.schema, table)

    @property
    def registry(self) -> TableName:
        return self._named("datasets")

    @property
    def events(self) -> TableName:
        return self._named("dataset_sync_event")

    @property
    def status(self) -> TableName:
        return self._named("dataset_sync_status")

    @property
    def steps(self) -> TableName:
        return self._named("dataset_sync_step")


def registry(name: TableName) -> TableDefinition:
    """The datasets that were uploaded: one row a version, key (dataset_id, version)."""
    return TableDefinition(
        name,
        (
            Column("dataset_id", _TEXT, "ours; the same for every version"),
            Column("tenant_id", _TEXT, "whose it is"),
            Column("name", _TEXT, "what people call it"),
            Column("description", _TEXT, "given at the upload"),
            Column("source_type", _TEXT, "how it came: a file's kind or records"),
            Column("file_name", _TEXT, "the client's name of the file, for people only"),
            Column("version", _LONG, "1 for the first upload, one more for each after it"),
            Column("path", _TEXT, "the landed Parquet file"),
            Column("sha256", _TEXT, "of the landed file's bytes"),
            Column("bytes", _LONG, "of the landed file"),
            Column("row_count", _LONG, "rows of the landed file, counted when it was written"),
            Column("schema", _TEXT, "name and dtype of each column, a JSON array"),
            Column("sample_rows", _TEXT, "the first rows, a JSON array"),
            Column("created_at", _TIME, "when this version was landed"),
            Column("deleted_at", _TIME, "when the dataset was deleted"),
        ),
        "Datasets that were uploaded, one row a version",
    )


def events(name: TableName) -> TableDefinition:
    """What happened to the syncs: append-only, so that concurrent writers never conflict."""
    return TableDefinition(
        name,
        (
            Column("event_id", _TEXT, "ours"),
            Column("tenant_id", _TEXT, "whose dataset"),
            Column("dataset_id", _TEXT, "the dataset"),
            Column("version", _LONG, "the version that is synced"),
            Column("round", _LONG, "counts the syncs of the dataset; all events of one run have one"),
            Column("seq", _LONG, "counts the events of a round"),
            Column("status", _TEXT, "not_synced, pending, syncing, synced or failed"),
            Column("phase", _TEXT, "bronze, silver or record; NULL for the whole sync"),
            Column("attempt", "INT", "attempt of the phase's task, from 1"),
            Column("module_name", _TEXT, "the module of the source"),
            Column("source_id", _TEXT, "the source of the control table"),
            Column("workspace_id", _TEXT, "Databricks workspace of the job"),
            Column("job_id", _LONG, "the job"),
            Column("run_id", _TEXT, "the job run"),
            Column("bronze_table", _TEXT, "its full name, once it is written"),
            Column("silver_table", _TEXT, "its full name, once it is written"),
            Column("row_count_local", _LONG, "rows of the landed file"),
            Column("row_count_bronze", _LONG, "counted in the bronze table"),
            Column("row_count_silver", _LONG, "counted in the silver table"),
            Column("error_class", _TEXT, "what kind of failure, short and stable"),
            Column("error", _TEXT, "what went wrong and what to do"),
            Column("retryable", _FLAG, "whether another attempt may help; NULL when nothing failed"),
            Column("at", _TIME, "when it happened"),
        ),
        "Dataset syncs: what happened, append-only",
    )


def steps(name: TableName) -> TableDefinition:
    """The ledger: what each attempt of a phase read, wrote and found. Append-only."""
    return TableDefinition(
        name,
        (
            Column("tenant_id", _TEXT, "whose dataset"),
            Column("dataset_id", _TEXT, "the dataset"),
            Column("version", _LONG, "the version that was synced"),
            Column("run_id", _TEXT, "the job run"),
            Column("repair", "INT", "how often the run was repaired before"),
            Column("phase", _TEXT, "bronze or silver"),
            Column("attempt", "INT", "attempt of the phase's task, from 1"),
            Column("outcome", _TEXT, "succeeded or failed"),
            Column("table_name", _TEXT, "full name of the table that was written"),
            Column("rows_in", _LONG, "rows read"),
            Column("rows_out", _LONG, "rows in the table afterwards"),
            Column("error_class", _TEXT, "what kind of failure, short and stable"),
            Column("error", _TEXT, "what went wrong and what to do"),
            Column("retryable", _FLAG, "whether another attempt may help; NULL when nothing failed"),
            Column("detail", _TEXT, "inferred schema, nulls replaced, duplicates dropped, a JSON object"),
            Column("started_at", _TIME, "when the attempt began"),
            Column("ended_at", _TIME, "when it ended"),
        ),
        "Dataset syncs: what each attempt did, append-only",
    )
