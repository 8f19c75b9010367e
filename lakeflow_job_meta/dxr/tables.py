"""The tables of the Data X-Ray tasks. Columns only; what is done with them stands in `ledger` and the tasks."""

from __future__ import annotations

from lakeflow_job_meta.errors import TableMismatch
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition, Tables

_TEXT, _TIME, _LONG, _FLAG, _TEXTS = "STRING", "TIMESTAMP", "BIGINT", "BOOLEAN", "ARRAY<STRING>"


def checkpoints(name: TableName) -> TableDefinition:
    """One row for each source file: the version that is known, and what became of it."""
    return TableDefinition(
        name,
        (
            Column("volume_path", _TEXT, "the volume, /Volumes/catalog/schema/volume"),
            Column("file_path", _TEXT, "the file's full path"),
            Column("file_size", _LONG, "bytes when it was listed"),
            Column("modification_time", _TIME, "when it was listed"),
            Column("checksum", _TEXT, "SHA-256 of the bytes that were sent"),
            Column(
                "state",
                _TEXT,
                "submitted, classified, missing, ambiguous, failed, skipped or deleted",
            ),
            Column("reason", _TEXT, "why, for skipped, missing, ambiguous and failed"),
            Column("attempts", "INT", "how often this version was sent"),
            Column("version", "INT", "counts the versions of the file that were sent"),
            Column("submission_id", _TEXT, "the ledger's row of the job that it travelled in"),
            Column("job_id", _TEXT, "Data X-Ray's job"),
            Column("datasource_id", _LONG, "the classifier's datasource"),
            Column("datasource_scan_id", _LONG, "Data X-Ray's scan"),
            Column("upload_name", _TEXT, "the file's name in Data X-Ray"),
            Column("submitted_at", _TIME, "when its job was planned"),
            Column("last_classified_at", _TIME, "when a result was last collected"),
            Column("updated_at", _TIME, "when this row was last written"),
        ),
        "Data X-Ray: what is known about each source file",
    )


def jobs(name: TableName) -> TableDefinition:
    """The ledger: one row for each submit, written before it is sent."""
    return TableDefinition(
        name,
        (
            Column("submission_id", _TEXT, "ours; part of the upload names"),
            Column("job_id", _TEXT, "Data X-Ray's; NULL until it is known"),
            Column(
                "state",
                _TEXT,
                "PLANNED, SUBMITTED, COLLECTED, FAILED, LOST, EXPIRED, UNCLEAR, REFUSED or DROPPED",
            ),
            Column("dxr_state", _TEXT, "the job's state as Data X-Ray last told it"),
            Column("message", _TEXT, "what went wrong"),
            Column("volume_path", _TEXT, "the source volume"),
            Column("datasource_id", _LONG, "the classifier's datasource"),
            Column("datasource_scan_id", _LONG, "Data X-Ray's scan"),
            Column("files", "INT", "files in it"),
            Column("bytes", _LONG, "their bytes"),
            Column(
                "files_json", _TEXT, "the files: path, size, mtime, upload name, SHA-256, attempt, version"
            ),
            Column("classified", "INT", "of its files"),
            Column("missing", "INT", "of its files"),
            Column("ambiguous", "INT", "of its files"),
            Column("failed", "INT", "of its files"),
            Column("run_id", _TEXT, "the run that planned it"),
            Column("planned_at", _TIME, "when the intent was written"),
            Column("submitted_at", _TIME, "when Data X-Ray accepted it"),
            Column("ended_at", _TIME, "when its files were accounted for"),
            Column("updated_at", _TIME, "when this row was last written"),
        ),
        "Data X-Ray: the ledger of jobs",
    )


def runs(name: TableName) -> TableDefinition:
    """One row for each run of a task."""
    return TableDefinition(
        name,
        (
            Column("run_id", _TEXT, "the run"),
            Column("task", _TEXT, "dxr_ingest, dxr_collect, dxr_organise or dxr_snapshot"),
            Column("outcome", _TEXT, "succeeded or failed"),
            Column("message", _TEXT, "why it failed"),
            Column("started_at", _TIME, "when it began"),
            Column("ended_at", _TIME, "when it ended"),
            Column("seen", _LONG, "files listed"),
            Column("new", _LONG, "files new or changed"),
            Column("uploaded", _LONG, "files accepted"),
            Column("uploaded_bytes", _LONG, "their bytes"),
            Column("jobs", _LONG, "jobs accepted, or ended"),
            Column("classified", _LONG, "files"),
            Column("missing", _LONG, "files"),
            Column("ambiguous", _LONG, "files"),
            Column("failed", _LONG, "files"),
            Column("skipped", _LONG, "files"),
            Column("seconds", "DOUBLE", "how long it took"),
            Column("summary_json", _TEXT, "the whole summary"),
        ),
        "Data X-Ray: runs and their summaries",
    )


def metadata(name: TableName) -> TableDefinition:
    """The results: one row for each source file, every column of both older table definitions among them."""
    return TableDefinition(
        name,
        (
            # the narrow definition
            Column("file_id", _TEXT, "Data X-Ray's file id; an index rebuild changes it"),
            Column("volume_path", _TEXT, "the volume, /Volumes/catalog/schema/volume"),
            Column("file_path", _TEXT, "the source file's full path; one row each"),
            Column("datasource_id", _LONG, "the classifier's datasource"),
            Column("datasource_scan_id", _LONG, "Data X-Ray's scan"),
            Column("labels_json", _TEXT, "names of the labels, a JSON array"),
            Column("tags_json", _TEXT, "ids of the labels, a JSON array"),
            Column("categories_json", _TEXT, "AI categories, a JSON array"),
            Column(
                "metadata_json",
                _TEXT,
                "the document as Data X-Ray has it, phrases and text left out unless asked for",
            ),
            Column("updated_at", _TIME, "when this row was last written"),
            # the wider definition
            Column("relative_path", _TEXT, "path in the volume"),
            Column("catalog_name", _TEXT, "the volume's catalog"),
            Column("schema_name", _TEXT, "the volume's schema"),
            Column("volume_name", _TEXT, "the volume"),
            Column("file_size", _LONG, "bytes sent"),
            Column("modification_time", _TIME, "of the source file when it was sent"),
            Column("job_id", _TEXT, "Data X-Ray's job"),
            Column("file_name", _TEXT, "the file's name in Data X-Ray"),
            Column("object_id", _TEXT, "Data X-Ray's stable key within the datasource"),
            Column("parent_paths", _TEXTS, "folders in Data X-Ray"),
            Column("mime_type", _TEXT, "as found by Data X-Ray"),
            Column("indexed_at", _TIME, "when Data X-Ray indexed it"),
            Column("sha256", _TEXT, "of the content, as found by Data X-Ray"),
            Column("sha256_file_meta", _TEXT, "of content and metadata"),
            Column("doc_language", _TEXT, "language of the text"),
            Column("composite_type", _TEXT, "SIMPLE, or an archive's kind"),
            Column("is_processed", _FLAG, "whether Data X-Ray is done with it"),
            Column("document_status", _TEXT, "Data X-Ray's"),
            Column("text_extraction_status", _TEXT, "Data X-Ray's"),
            Column(
                "metadata_extraction_status",
                _TEXT,
                "Data X-Ray's; a model's values may come later than labels",
            ),
            Column("dxr_tags", _TEXTS, "ids of the labels"),
            Column("removed_tags", _TEXTS, "ids of labels that were removed by hand"),
            Column("ocr_used", _FLAG, "whether the text was read from an image"),
            Column("categories", _TEXTS, "AI categories"),
            Column("annotations", _TEXT, "matched phrases with their places; NULL unless asked for"),
            Column("folder_id", _TEXT, "Data X-Ray's folder"),
            Column("modified_at", _TIME, "of the document, as found by Data X-Ray"),
            Column("binary_hash", _TEXT, "as found by Data X-Ray"),
            Column("annotation_stats_json", _TEXT, "counts by annotator id, a JSON object"),
            Column("raw_metadata", _TEXT, "as metadata_json"),
            Column("collected_at", _TIME, "when this result was collected"),
            # names, arrays, and what became of the file
            Column("labels", _TEXTS, "names of the labels"),
            Column("tags", _TEXTS, "ids of the labels"),
            Column("annotators", _TEXTS, "names of the annotators that found something"),
            Column("annotators_json", _TEXT, "id, name, count and unique phrases of each, a JSON array"),
            Column("extracted_metadata_json", _TEXT, "id, name and value of each extractor, a JSON array"),
            Column("status", _TEXT, "classified, missing, ambiguous or failed"),
            Column("status_reason", _TEXT, "why it is not classified"),
            Column("is_partial", _FLAG, "a result of a job that FAILED: there may be more"),
            Column("job_state", _TEXT, "the job's last state in Data X-Ray"),
            Column("version", "INT", "counts the versions of the file that were sent"),
            Column("source_sha256", _TEXT, "SHA-256 of the bytes that were sent"),
            Column("upload_name", _TEXT, "the name that the file was sent under"),
            Column("submission_id", _TEXT, "the ledger's row"),
            Column("source_deleted_at", _TIME, "when the source file was found to be gone"),
        ),
        "Data X-Ray: what it found in each source file",
    )


def ensure(tables: Tables, definition: TableDefinition) -> None:
    """Make the table, or check that the one that is there has its columns.

    Raises:
        TableMismatch: it has other columns.
    """
    if not check(tables, definition):
        tables.create_schema(definition.name.catalog, definition.name.schema)
        tables.create_table(definition)


def check(tables: Tables, definition: TableDefinition) -> bool:
    """Whether the table is there.

    Raises:
        TableMismatch: it is, with other columns.
    """
    found = tables.columns(definition.name)
    if found is None:
        return False
    there = {column.name.lower(): column.type.upper() for column in found}
    wrong = [
        f"{column.name} is missing"
        if column.name.lower() not in there
        else f"{column.name} is {there[column.name.lower()]}, not {column.type}"
        for column in definition.columns
        if there.get(column.name.lower()) != column.type
    ]
    if wrong:
        wrong.sort(key=lambda one: one.endswith("is missing"))  # what is there and differs says most
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise TableMismatch(
            f"{definition.name} is another table than this needs: {', '.join(wrong[:5])}{more}; "
            "name another table, or rename that one and let this one be made"
        )
    return True
