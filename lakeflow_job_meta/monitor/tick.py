"""What one tick did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakeflow_job_meta.control.loading import Load

JsonObject = dict[str, Any]


@dataclass(slots=True)
class Tick:
    """What one tick did, gathered while it is under way.

    Args:
        at: when it began.
        load: what was loaded from files; None when there was nothing to load.
    """

    at: datetime
    yaml_changes: int = 0
    rows_loaded: int = 0
    table_changes: int = 0
    load: Load | None = None
    compared: bool = False
    jobs_updated: list[JsonObject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def result(self, ended: datetime, *, errors: list[str], statements: int, calls: int) -> JsonObject:
        """The tick as `MetadataMonitor.check_and_update` returns it."""
        return {
            "timestamp": self.at.isoformat(),
            "changes_detected": bool(self.yaml_changes or self.table_changes or self.jobs_updated),
            "yaml_changes": self.yaml_changes,
            "rows_loaded": self.rows_loaded,
            "table_changes": self.table_changes,
            "compared": self.compared,
            "jobs_updated": self.jobs_updated,
            "errors": errors,
            "notes": self.notes,
            "sql_statements": statements,
            "api_calls": calls,
            "seconds": round((ended - self.at).total_seconds(), 3),
        }
