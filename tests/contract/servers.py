"""The servers that are held to one contract, and where the other emulator is known to differ.

minilake was written by others, so what holds on both is no mirror of our own assumptions. Each deviation has
its reason; an expectation that is not listed must hold, and one that is listed must really fail.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from databricks.sdk import WorkspaceClient

from lakeflow_job_meta.adapters.databricks import connect, workspace_client
from lakeflow_job_meta.local import process
from lakeflow_job_meta.ports import Workspace

#: expectation -> why minilake 1.9.0 does not meet it.
MINILAKE: Mapping[str, str] = {
    "jobs.list.name": "jobs.list ignores name",
    "jobs.refuses": "accepts settings that the platform refuses",
    "runs.token": "run_now ignores the idempotency token",
    "permissions.owner": "has no owner: whoever set entries last has them all",
    "queries.update.parameters": "an update cannot name parameters",
    "queries.folder": "creates a query in a folder that is not there",
    "fields.notebook_task.source": "drops the source of notebook tasks",
    "fields.notebook_task.warehouse_id": "drops the warehouse of notebook tasks",
    "fields.spark_python_task.source": "drops the source of Python tasks",
    "fields.sql_task.file.source": "drops the source of SQL file tasks",
    "jobs.update": "an update that leaves the name out calls the job Untitled",
}
DEVIATIONS: Mapping[str, Mapping[str, str]] = {"minilake": MINILAKE, "embedded": {}}


@dataclass(frozen=True)
class Server:
    name: str
    host: str
    token: str

    def client(self) -> WorkspaceClient:
        return workspace_client(host=self.host, token=self.token, auth_type="pat")

    def workspace(self) -> Workspace:
        return connect(self.client())


@contextmanager
def minilake(folder: Path) -> Iterator[Server]:
    """minilake in a process of its own, with nothing that needs a network."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "extensions").mkdir()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "SPARK_"))
    } | {
        "MINILAKE_JOB_EXECUTOR": "subprocess",
        "MINILAKE_NOTEBOOK": "0",
        "MINILAKE_SPARK_PREWARM": "0",
        "MINILAKE_DUCKDB_EXTENSION_DIR": str(folder / "extensions"),
        "MINILAKE_DATA_DIR": str(folder / "data"),
    }
    with (folder / "minilake.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "minilake", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            host = f"http://127.0.0.1:{port}"
            _wait(f"{host}/api/2.2/jobs/list", server, folder / "minilake.log")
            yield Server("minilake", host, "any")
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"minilake does not answer: {log.read_text()[-2000:]}")


@contextmanager
def embedded(folder: Path) -> Iterator[Server]:
    """The embedded workspace, without Spark: the contract is about its API."""
    connection = process.ensure_up(folder, with_spark=False)
    try:
        yield Server("embedded", connection.host, connection.token)
    finally:
        process.stop(folder)
