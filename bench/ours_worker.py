"""The product in a process of its own, driven by the sections."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])

from bench.measure import Spark, serve  # noqa: E402 - the folder above this one comes first

CATALOG, SCHEMA, TABLE = "main", "ours", "control"
COMPANIONS = ("jobs", "queries", "files", "events")
STATE: dict[str, Any] = {}


def begin(
    remote: str, host: str, token: str, warehouse: str | None = None, retry_seconds: int | None = None
) -> None:
    """Connect.

    Args:
        warehouse: given for a plain Sail, whose tables must be registered; None for an embedded workspace.
        retry_seconds: the SDK's retry budget for one call.
    """
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    from lakeflow_job_meta.metadata_manager import MetadataManager
    from lakeflow_job_meta.orchestrator import JobOrchestrator
    from lakeflow_job_meta.runtime import Runtime

    spark = STATE["spark"] = Spark(remote)
    if warehouse is not None:
        spark.register(CATALOG, SCHEMA, warehouse, [TABLE, *(f"{TABLE}_{name}" for name in COMPANIONS)])
    config = Config(host=host, token=token, auth_type="pat", retry_timeout_seconds=retry_seconds)
    table = f"{CATALOG}.{SCHEMA}.{TABLE}"
    runtime = Runtime(
        table,
        spark=spark.session,
        workspace_client=WorkspaceClient(config=config),
        environment={},
        # A comparison that comes due while something else is measured would disturb it.
        flags={"drift_interval": 1e9, "heartbeat_interval": 1e9},
    )
    STATE["runtime"] = runtime
    STATE["files"] = _counted(runtime.volumes)
    STATE["manager"] = MetadataManager(table, runtime=runtime)
    STATE["orchestrator"] = JobOrchestrator(table, runtime=runtime)


def _counted(volumes: Any) -> dict[str, int]:
    """Counts of listings and reads, kept up to date from now on."""
    counts = {"list": 0, "read": 0}

    def counting(name: str, call: Any) -> Any:
        def counted(path: str) -> Any:
            counts[name] += 1
            return call(path)

        return counted

    for name in counts:
        setattr(volumes, name, counting(name, getattr(volumes, name)))
    return counts


def work(folder: str, compare: bool = True) -> dict[str, Any]:
    """One pass: files to control table to jobs.

    Args:
        compare: also read the whole workspace, to find what was changed behind our back.
    """
    from lakeflow_job_meta.control.loading import overlay

    runtime, orchestrator = STATE["runtime"], STATE["orchestrator"]
    statements, calls = runtime.sql_statements, runtime.api_calls
    started = time.perf_counter()
    load = STATE["manager"].load([folder], hand=False)
    loaded = time.perf_counter()
    plan = orchestrator.plan(rows=overlay(load.current, load), compare=compare)
    planned = time.perf_counter()
    result = orchestrator.apply(plan)
    errors = [str(problem) for problem in load.problems] + [one.error for one in result.results if one.error]
    return {
        "load_seconds": loaded - started,
        "plan_seconds": planned - loaded,
        "apply_seconds": time.perf_counter() - planned,
        "statements": runtime.sql_statements - statements,
        "calls": runtime.api_calls - calls,
        "writes": result.writes,
        "jobs": len(result.results),
        "rows": load.changed,
        "errors": errors[:3],
        "failed_modules": sum(1 for one in result.results if one.error),
    }


def tick(folder: str) -> dict[str, Any]:
    """One tick of a monitor that lives as long as this process."""
    from lakeflow_job_meta.monitor import MetadataMonitor

    runtime = STATE["runtime"]
    if "monitor" not in STATE:
        STATE["monitor"] = MetadataMonitor(str(runtime.control_table), 60, folder, runtime=runtime)
    writes = runtime.workspace.count.writes if runtime.has_workspace else 0
    files = dict(STATE["files"])
    found = STATE["monitor"].check_and_update()
    return {
        "listings": STATE["files"]["list"] - files["list"],
        "reads": STATE["files"]["read"] - files["read"],
        "statements": found["sql_statements"],
        "calls": found["api_calls"],
        "writes": (runtime.workspace.count.writes if runtime.has_workspace else 0) - writes,
        "jobs": len(found["jobs_updated"]),
        "compared": found["compared"],
        "errors": found["errors"][:3],
        "failed_modules": len(found["errors"]),
    }


if __name__ == "__main__":
    serve({"begin": begin, "pass": work, "tick": tick}, lambda: STATE.get("spark"))
