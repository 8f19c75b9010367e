"""A workspace in this process, with the run engine, real HTTP on loopback and the real SDK.

SQL goes to `Statements`, a stand-in that answers from Python, so that no test here pays for Spark
unless it asks for it. Child processes are real.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs.engine import RunEngine
from lakeflow_job_meta.local.server import build
from lakeflow_job_meta.local.state import Database, Jobs, Secrets

TOKEN = "token-of-the-test-workspace"
_NUMBERS = itertools.count(1)


@dataclass
class Answer:
    """A result as `SparkSql` gives it."""

    columns: list[tuple[str, str]]
    rows: list[list[str | None]]


@dataclass
class Statements:
    """Stands in for `SparkSql`: records statements, answers each with one row, fails and hangs on demand."""

    calls: list[tuple[str, dict[str, Any], str | None, str | None]] = field(default_factory=list)
    hang: threading.Event = field(default_factory=threading.Event)

    def run(
        self, sql: str, parameters: Mapping[str, Any], catalog: str | None = None, schema: str | None = None
    ) -> Answer:
        self.calls.append((sql, dict(parameters), catalog, schema))
        if "FAIL" in sql:
            raise ValueError("[PARSE_SYNTAX_ERROR] bad statement")
        if "HANG" in sql:
            self.hang.wait(30)
        return Answer([("n", "INT"), ("s", "STRING")], [["1", "one"], ["2", None]])

    def script(self, sql: str, parameters: Mapping[str, Any]) -> list[Answer]:
        return [self.run(part, parameters) for part in sql.split(";") if part.strip()]


class Workspace:
    """The workspace of a test: its parts, a client, and short words for what tests do all the time."""

    def __init__(self, root: Path, sql: Any = None, remote: str = "") -> None:
        self.folder = Folder.at(root)
        self.folder.prepare()
        self.database = Database(self.folder.state)
        self.jobs = Jobs(self.database)
        self.secrets = Secrets(self.database)
        self.sql = sql if sql is not None else Statements()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.environment = {"DATABRICKS_HOST": self.host, "DATABRICKS_TOKEN": TOKEN, "SPARK_REMOTE": remote}
        self.engine = self.new_engine()
        app = build(
            self.folder,
            self.database,
            TOKEN,
            jobs=self.jobs,
            secrets=self.secrets,
            runs=self.engine,
            forget_job=self.engine.forget,
        )
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        self.engine.start()
        from databricks.sdk import WorkspaceClient

        self.client = WorkspaceClient(host=self.host, token=TOKEN)

    def new_engine(self) -> RunEngine:
        """A run engine over the same state, as a restarted process would have."""
        return RunEngine(
            self.folder, self.database, self.jobs, self.environment, self.sql, self.secrets, time.time
        )

    def close(self) -> None:
        self.engine.stop()
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self.database.close()

    def file(self, path: str, text: str) -> str:
        """A file of the workspace or of a volume."""
        local = (
            self.folder.volume_path(path)
            if path.startswith("/Volumes/")
            else self.folder.workspace_path(path)
        )
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text(text)
        return path

    def job(self, tasks: list[dict[str, Any]], **settings: Any) -> int:
        """Creates a job over HTTP; returns its id."""
        body = {"name": f"job-{next(_NUMBERS)}", "tasks": tasks, **settings}
        return int(self.client.api_client.do("POST", "/api/2.2/jobs/create", body=body)["job_id"])

    def post(self, path: str, **body: Any) -> Any:
        return self.client.api_client.do("POST", f"/api/2.2/jobs/{path}", body=body)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.api_client.do("GET", f"/api/2.2/jobs/{path}", query=query)

    def run_now(self, job_id: int, **request: Any) -> int:
        return int(self.post("run-now", job_id=job_id, **request)["run_id"])

    def ended(self, run_id: int, seconds: float = 60) -> dict[str, Any]:
        """The run as JSON, when it has ended."""
        return dict(
            until(
                lambda: self._if_ended(run_id),
                seconds,
                lambda: f"run {run_id}: {self.get('runs/get', run_id=run_id)}",
            )
        )

    def _if_ended(self, run_id: int) -> dict[str, Any] | None:
        run = self.get("runs/get", run_id=run_id)
        return run if run["status"]["state"] == "TERMINATED" else None

    def run(
        self, tasks: list[dict[str, Any]], *, request: dict[str, Any] | None = None, **settings: Any
    ) -> Any:
        """Creates a job, runs it to its end, and returns the run as JSON."""
        return self.ended(self.run_now(self.job(tasks, **settings), **(request or {})))

    def output(self, run: dict[str, Any], key: str) -> dict[str, Any]:
        """get-output of the latest attempt of a task."""
        task = next(task for task in run["tasks"] if task["task_key"] == key)
        return dict(self.get("runs/get-output", run_id=task["run_id"]))


def until(found: Callable[[], Any], seconds: float = 30, say: Callable[[], Any] = lambda: "") -> Any:
    """What `found` returns when it is truthy; fails after some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"not within {seconds} s: {say()}")


def states(run: dict[str, Any]) -> dict[str, str]:
    """Result by task key."""
    return {task["task_key"]: task["state"].get("result_state", "") for task in run["tasks"]}


def result(run: dict[str, Any]) -> str:
    return str(run["state"].get("result_state"))


def python_task(key: str, file: str, *parameters: str, **more: Any) -> dict[str, Any]:
    return {
        "task_key": key,
        "spark_python_task": {"python_file": file, "parameters": list(parameters)},
        **more,
    }


def condition(key: str, left: str, right: str, op: str = "EQUAL_TO", **more: Any) -> dict[str, Any]:
    return {"task_key": key, "condition_task": {"op": op, "left": left, "right": right}, **more}


def after(*keys: str, outcome: str | None = None) -> list[dict[str, str]]:
    return [{"task_key": key, **({"outcome": outcome} if outcome else {})} for key in keys]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One workspace for all tests: jobs of one test do not touch those of another."""
    made = Workspace(tmp_path_factory.mktemp("runs"))
    yield made
    made.close()


@pytest.fixture
def own_workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace of the test's own, to stop or to kill."""
    made = Workspace(tmp_path / "own")
    yield made
    made.close()
