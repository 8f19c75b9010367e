"""The monitor's sign of life."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.records import Event
from lakeflow_job_meta.errors import LakeflowJobMetaError

if TYPE_CHECKING:
    from lakeflow_job_meta.names import TableName
    from lakeflow_job_meta.runtime import Runtime


class Heartbeat:
    """A row in the companion `_events`, seldom: the control table must not move by it.

    Args:
        runtime: its tables and workspace.
        control_table: whose companion.
    """

    def __init__(self, runtime: Runtime, control_table: TableName) -> None:
        self._runtime = runtime
        self._control_table = control_table
        self._beaten_at: datetime | None = None

    def begin(self, at: datetime | None) -> None:
        """The next one is due an interval after `at`; None: at once."""
        self._beaten_at = at

    def beat(self, now: datetime, interval: timedelta, detail: dict[str, Any]) -> str:
        """Write the row if it is due; why it could not be, empty otherwise."""
        if self._beaten_at is not None and now - self._beaten_at < interval:
            return ""
        if not self._runtime.has_workspace:
            return ""  # whose heartbeat it is, is not known before the workspace was reached
        try:
            workspace_id = self._runtime.workspace.workspace_id
            Events(self._runtime.tables, self._control_table, workspace_id).append(
                [Event("heartbeat", now, detail=detail)]
            )
        except LakeflowJobMetaError as error:
            return f"heartbeat not written: {error}"
        self._beaten_at = now
        return ""
