"""A real client on a scripted server, with a clock that does not really wait."""

from __future__ import annotations

from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.clock import Clock

from lakeflow_job_meta.adapters.databricks import workspace_client


class FakeClock(Clock):
    """Waiting only moves the time; `waits` records it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def client_for(host: str, clock: Clock | None = None, **given: Any) -> WorkspaceClient:
    return workspace_client(
        host=host, token="secret-token", clock=clock or FakeClock(), auth_type="pat", **given
    )
