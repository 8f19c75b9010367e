"""The monitor: the loop that keeps jobs equal to files and control table.

When to look, what is tried again and when, and the sign of life live here. What is loaded, planned and applied is
decided by `metadata_manager`, `orchestrator` and the rooms below them; no SQL and no call of a service of its own.
"""

from __future__ import annotations

from lakeflow_job_meta.monitor.backoff import Backoff
from lakeflow_job_meta.monitor.monitor import MetadataMonitor

__all__ = ["Backoff", "MetadataMonitor"]
