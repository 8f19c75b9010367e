"""Helper views over the metadata table, for people and dashboards.

They lie beside the metadata table, under the names that the older systems document. The join of those
systems over `files('/Volumes/...')`, a function that no engine has, is offered against the checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Tables

#: What each view has.
VIEWS = {
    "v_file_metadata": "one row a file that is still there, labels, tags and categories as arrays",
    "v_sensitive_files": "one row a file and label, of files with a sensitive label",
    "v_file_labels": "one row a file and label",
    "v_source_files": "every known source file with its size and time, and what was found in it",
}


def create(tables: Tables, metadata: TableName, checkpoints: TableName, sensitive: Sequence[str]) -> None:
    """Make the views, or make them anew.

    Args:
        sensitive: labels whose files `v_sensitive_files` has.

    Raises:
        TablesError: the engine or a missing right does not let us.
    """
    for name, text in texts(metadata, checkpoints, sensitive).items():
        view = TableName(metadata.catalog, metadata.schema, name)
        tables.query(f"CREATE OR REPLACE VIEW {view.quoted} AS {text}")


def texts(metadata: TableName, checkpoints: TableName, sensitive: Sequence[str]) -> dict[str, str]:
    """The views' queries by their names."""
    here = f"FROM {metadata.quoted} WHERE source_deleted_at IS NULL"
    wanted = ", ".join(_literal(one) for one in sensitive) or "''"
    columns = (
        "file_id, volume_path, file_path, relative_path, datasource_id, datasource_scan_id, labels, tags, categories, "
        "annotators, mime_type, file_size, modification_time, status, status_reason, is_partial, version, "
        "metadata_json, updated_at"
    )
    return {
        "v_file_metadata": f"SELECT {columns} {here}",
        "v_sensitive_files": (
            f"SELECT {columns}, explode(labels) AS label {here} AND arrays_overlap(labels, array({wanted}))"
        ),
        "v_file_labels": f"SELECT file_path, explode(labels) AS label, status, updated_at {here}",
        "v_source_files": (
            "SELECT c.volume_path, c.file_path, c.file_size, c.modification_time, c.checksum, c.state, c.reason, "
            "c.last_classified_at, m.file_id, m.labels_json, m.labels, m.categories, m.metadata_json "
            f"FROM {checkpoints.quoted} AS c LEFT JOIN {metadata.quoted} AS m ON c.file_path = m.file_path "
            "WHERE c.state <> 'deleted'"
        ),
    }


def _literal(text: str) -> str:
    # a view's text cannot have parameters
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"
