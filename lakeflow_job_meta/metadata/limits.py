"""The platform's limits that one module can meet or break (Jobs API 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakeflow_job_meta.metadata.definition import SourceDefinition
from lakeflow_job_meta.metadata.job_row import JobPart
from lakeflow_job_meta.metadata.problems import Problems


def check_limits(
    part: JobPart,
    sources: Sequence[SourceDefinition],
    warehouse: Any,
    problems: Problems,
    *,
    demand_warehouse: bool,
) -> None:
    """Judge a module against what the platform allows."""
