"""The peer in its own environment, driven by `bench.peer`. Run by the peer's Python, never by ours.

What it needs beside its package: `delta.tables` is not there with Sail, so its one use (deleting rows of tasks that
left their file; none does here) gets an empty stand-in.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from measure import Spark, serve

CATALOG, SCHEMA, TABLE = "main", "peer", "control"
STATE: dict[str, Any] = {}


class DeltaTable:
    """Stands in for `delta.tables.DeltaTable`."""

    @classmethod
    def forName(cls, *_: Any) -> DeltaTable:  # noqa: N802
        return cls()

    def delete(self, condition: Any) -> None:
        raise AssertionError("no task leaves its file in these measurements")


def begin(remote: str, warehouse: str, host: str, token: str) -> None:
    package, module = types.ModuleType("delta"), types.ModuleType("delta.tables")
    module.DeltaTable = DeltaTable  # type: ignore[attr-defined]
    sys.modules.update({"delta": package, "delta.tables": module})
    STATE["spark"] = Spark(remote)
    STATE["spark"].register(CATALOG, SCHEMA, warehouse, [TABLE, f"{TABLE}_jobs"])
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config
    from lakeflow_jobs_meta import JobOrchestrator

    client = WorkspaceClient(config=Config(host=host, token=token, auth_type="pat"))
    STATE["orchestrator"] = JobOrchestrator(f"{CATALOG}.{SCHEMA}.{TABLE}", workspace_client=client)


def work(folder: str) -> dict[str, Any]:
    """One pass: files to control table to jobs. Paused by default, or it would start every job it creates."""
    results = STATE["orchestrator"].create_or_update_jobs(default_pause_status=True, yaml_path=folder)
    return {"jobs": len(results)}


if __name__ == "__main__":
    serve({"begin": begin, "pass": work}, lambda: STATE.get("spark"))
