"""`<table>_files`: what was read from which file, and the rows that each file owns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakeflow_job_meta.control.companion import Companion, companion_definition, from_text, to_text
from lakeflow_job_meta.control.records import FileRecord
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition, Tables


def definition(control_table: TableName) -> TableDefinition:
    """The `_files` table beside this control table."""
    return companion_definition(
        control_table,
        "files",
        "Metadata files that were loaded",
        Column("path", "STRING", "with workspace_id the key"),
        Column("sha256", "STRING", "of the bytes judged last"),
        Column("size", "BIGINT", "bytes"),
        Column("modified_at", "BIGINT", "ms since 1970, as the listing gave it"),
        Column("status", "STRING", "loaded, partial, rejected or vanished"),
        Column("context_hash", "STRING", "hash of the variables in force then"),
        Column("errors", "STRING", "JSON array of texts, each with its place"),
        Column("keys", "STRING", "JSON object: module, source, hash of the row as the file had it"),
        Column("hand", "BOOLEAN", "loaded by hand: never counts as vanished"),
        Column("loaded_at", "TIMESTAMP"),
    )


class FileRecords:
    """The records of one workspace's files. Every call is one statement."""

    def __init__(self, tables: Tables, control_table: TableName, workspace_id: str) -> None:
        self._table = Companion(tables, definition(control_table), workspace_id)

    def all(self) -> dict[str, FileRecord]:
        """Records by path, vanished files among them; empty when there is no table."""
        found: dict[str, FileRecord] = {}
        for row in self._table.read():
            record = self._record(row)
            other = found.get(record.path)
            if other is None or _age(record) > _age(other):
                found[record.path] = record
        return found

    def save(self, records: Sequence[FileRecord]) -> None:
        """Insert and update by path, in one MERGE."""
        self._table.merge([self._row(record) for record in records], keys=("path",))

    def _row(self, record: FileRecord) -> dict[str, Any]:
        return {
            "path": record.path,
            "sha256": record.sha256,
            "size": record.size,
            "modified_at": record.modified_at,
            "status": record.status,
            "context_hash": record.context_hash,
            "errors": to_text(list(record.errors)),
            "keys": to_text({module: dict(sources) for module, sources in record.keys.items()}),
            "hand": record.hand,
            "loaded_at": record.loaded_at,
        }

    def _record(self, row: dict[str, Any]) -> FileRecord:
        where = f"{self._table.definition.name} [{row['path']}]"
        return FileRecord(
            path=row["path"] or "",
            sha256=row["sha256"] or "",
            size=row["size"] or 0,
            modified_at=row["modified_at"] or 0,
            status=row["status"] or "rejected",
            context_hash=row["context_hash"] or "",
            errors=tuple(from_text(row["errors"], f"{where}.errors") or ()),
            keys=from_text(row["keys"], f"{where}.keys") or {},
            hand=bool(row["hand"]),
            loaded_at=row["loaded_at"],
        )


def _age(record: FileRecord) -> float:
    return record.loaded_at.timestamp() if record.loaded_at else 0.0
