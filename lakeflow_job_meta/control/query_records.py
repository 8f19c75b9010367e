"""`<table>_queries`: the saved queries that we made for inline SQL, one a source."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from lakeflow_job_meta.control import companion
from lakeflow_job_meta.control.companion import Companion, companion_definition, from_text, to_text
from lakeflow_job_meta.control.records import QueryRecord
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition, Tables

_KEYS = ("module_name", "source_id")


def definition(control_table: TableName) -> TableDefinition:
    """The `_queries` table beside this control table."""
    return companion_definition(
        control_table,
        "queries",
        "Saved queries made for inline SQL",
        Column("module_name", "STRING", "with workspace_id and source_id the key"),
        Column("source_id", "STRING"),
        Column("query_id", "STRING", "saved query, empty before it is made"),
        Column("spec_hash", "STRING", "hash of the settings applied last"),
        Column("applied", "STRING", "settings written last (JSON)"),
        Column("status", "STRING", "new, active, retired, refused, failed or deleted"),
        Column("applied_at", "TIMESTAMP", "last write to the workspace"),
    )


class QueryRecords:
    """The records of one workspace's saved queries.

    A query belongs to its module: only the writer that holds the module's claim saves them, so they
    carry no claim of their own. Every call is one statement.
    """

    def __init__(self, tables: Tables, control_table: TableName, workspace_id: str) -> None:
        self._table = Companion(tables, definition(control_table), workspace_id)

    def all(self, modules: Collection[str] | None = None) -> list[QueryRecord]:
        """Records of all modules or of the given ones, forgotten ones left out, by key."""
        where = ["`status` <> 'deleted'"]
        parameters: dict[str, Any] = {}
        if modules is not None:
            where.append(companion.chosen("module_name", "modules"))
            parameters["modules"] = companion.text_array(modules)
        found: dict[tuple[str, str], QueryRecord] = {}
        for row in self._table.read(where=where, parameters=parameters):
            record = self._record(row)
            key = (record.module_name, record.source_id)
            other = found.get(key)
            if other is None or _rank(record) > _rank(other):
                found[key] = record
        return [found[key] for key in sorted(found)]

    def save(self, records: Sequence[QueryRecord]) -> None:
        """Insert and update by (module_name, source_id), in one MERGE."""
        self._table.merge([self._row(record) for record in records], keys=_KEYS)

    def forget(self, keys: Iterable[tuple[str, str]]) -> None:
        """The queries of these (module_name, source_id) are gone. Rows are kept, as `deleted`."""
        rows = [
            {
                "module_name": module,
                "source_id": source,
                "query_id": "",
                "spec_hash": "",
                "applied": None,
                "status": "deleted",
            }
            for module, source in sorted(set(keys))
        ]
        self._table.merge(rows, keys=_KEYS, insert=False)

    def _row(self, record: QueryRecord) -> dict[str, Any]:
        return {
            "module_name": record.module_name,
            "source_id": record.source_id,
            "query_id": record.query_id,
            "spec_hash": record.spec_hash,
            "applied": to_text(record.applied),
            "status": record.status,
            "applied_at": record.applied_at,
        }

    def _record(self, row: dict[str, Any]) -> QueryRecord:
        module, source = row["module_name"] or "", row["source_id"] or ""
        return QueryRecord(
            module_name=module,
            source_id=source,
            query_id=row["query_id"] or "",
            spec_hash=row["spec_hash"] or "",
            applied=from_text(row["applied"], f"{self._table.definition.name} [{module}/{source}].applied"),
            status=row["status"] or "new",
            applied_at=row["applied_at"],
        )


def _rank(record: QueryRecord) -> tuple[bool, float]:
    return (bool(record.query_id), record.applied_at.timestamp() if record.applied_at else 0.0)
