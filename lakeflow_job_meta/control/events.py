"""`<table>_events`: what was done or refused, when and why. Append-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakeflow_job_meta.control.companion import Companion, companion_definition, from_text, to_text
from lakeflow_job_meta.control.records import Event
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition, Tables


def definition(control_table: TableName) -> TableDefinition:
    """The `_events` table beside this control table."""
    return companion_definition(
        control_table,
        "events",
        "What was done or refused, when and why",
        Column("at", "TIMESTAMP"),
        Column(
            "kind", "STRING", "created, updated, retired, revived, refused, failed, drift, heartbeat, ..."
        ),
        Column("module_name", "STRING"),
        Column("job_id", "BIGINT"),
        Column("message", "STRING"),
        Column("detail", "STRING", "JSON object, never a secret"),
    )


class Events:
    """The events of one workspace. Every call is one statement."""

    def __init__(self, tables: Tables, control_table: TableName, workspace_id: str) -> None:
        self._table = Companion(tables, definition(control_table), workspace_id)

    def append(self, events: Sequence[Event]) -> None:
        """Write the events down, in one commit."""
        self._table.append(
            [
                {
                    "at": event.at,
                    "kind": event.kind,
                    "module_name": event.module_name,
                    "job_id": event.job_id,
                    "message": event.message,
                    "detail": to_text(event.detail),
                }
                for event in events
            ]
        )

    def recent(self, limit: int, module: str | None = None) -> list[Event]:
        """The newest events first, of all modules or of one."""
        where = [] if module is None else ["`module_name` = :module_name"]
        parameters = {} if module is None else {"module_name": module}
        rows = self._table.read(
            where=where, parameters=parameters, tail=f"ORDER BY `at` DESC LIMIT {int(limit)}"
        )
        return [self._event(row) for row in rows]

    def _event(self, row: dict[str, Any]) -> Event:
        return Event(
            kind=row["kind"] or "",
            at=row["at"],
            module_name=row["module_name"] or "",
            job_id=row["job_id"],
            message=row["message"] or "",
            detail=from_text(row["detail"], f"{self._table.definition.name} [{row['at']}].detail") or {},
        )
