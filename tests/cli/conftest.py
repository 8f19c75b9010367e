"""One embedded workspace for all tests of the command line, and the program as a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from lakeflow_job_meta.cli.program import program
from lakeflow_job_meta.local.connection import Connection
from tests.embedded import BIN, environment, run, running

_NUMBERS = itertools.count(1)


@contextmanager
def no_active_session() -> Iterator[None]:
    """Without this process's Spark session, as in a process of the program's own; afterwards it is active again."""
    from pyspark.sql.connect.session import SparkSession

    active, default = SparkSession.getActiveSession(), SparkSession._default_session
    SparkSession._active_session.session = SparkSession._default_session = None
    try:
        yield
    finally:
        SparkSession._active_session.session, SparkSession._default_session = active, default


@dataclass(frozen=True)
class Done:
    """A call of the program that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be JSON and nothing else."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Stdout, which must be JSON lines and nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Cli:
    """Calls the program on one workspace and one control table.

    Args:
        folder: of the embedded workspace.
        table: the control table of this test alone.
        programs: gives the folder of the program that `bare` and `connected` call.
    """

    folder: Path
    connection: Connection
    table: str
    programs: Callable[[], Path] = lambda: BIN

    def __call__(self, command: str, *arguments: str) -> Done:
        """`lakeflow-job-meta COMMAND --local DIR --control-table T ARGUMENTS`, in this process: imports take a second."""
        return self.here(command, *arguments, "--local", str(self.folder), "--control-table", self.table)

    def here(self, *arguments: str, **more: str) -> Done:
        """The program in this process, with no workspace in its environment but what `more` says."""
        with no_active_session(), patch.dict(os.environ, environment(**more), clear=True):
            done = CliRunner().invoke(program, list(arguments))
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.exit_code, done.stdout, done.stderr)

    def bare(self, *arguments: str, **more: str) -> Done:
        """The program as a process, with no workspace in its environment but what `more` says."""
        done = run(
            str(self.programs() / "lakeflow-job-meta"), *arguments, env=environment(**more), seconds=120
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def connected(self, *arguments: str) -> Done:
        """The program with the workspace's variables in its environment."""
        return self.bare(*arguments, **self.connection.environment())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The program, not waited for; Ctrl-C reaches it, also where whoever runs the tests takes none."""
        command = [str(BIN / "lakeflow-job-meta"), *arguments]
        return subprocess.Popen(
            command, env=environment(PYTHONFAULTHANDLER="1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )  # fmt: skip

    def sql(self, text: str) -> list[dict[str, Any]]:
        done = self.here("local", "sql", "--dir", str(self.folder), "--format", "json", text)
        assert done.code == 0, done.err
        rows: list[dict[str, Any]] = done.json if done.out else []
        return rows

    @property
    def volume(self) -> Path:
        """The folder of this test's own volume; `/Volumes/main/<schema>/metadata` for the program."""
        path = self.folder / "Volumes" / "main" / self.table.split(".")[1] / "metadata"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def volume_path(self) -> str:
        return f"/Volumes/main/{self.table.split('.')[1]}/metadata"


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Connection]]:
    folder = tmp_path_factory.mktemp("cli") / "workspace"
    with running(folder) as connection:
        yield folder, connection


@pytest.fixture(scope="session")
def client(workspace: Any) -> Any:
    """The workspace by the SDK, to look at it from outside."""
    from databricks.sdk import WorkspaceClient

    _, connection = workspace
    return WorkspaceClient(host=connection.host, token=connection.token, auth_type="pat")


@pytest.fixture
def cli(workspace: tuple[Path, Connection], request: pytest.FixtureRequest) -> Cli:
    """The program on the shared workspace, with a control table of its own."""

    def programs() -> Path:
        found: Path = request.getfixturevalue("warm_programs")
        return found

    return Cli(*workspace, f"main.cli_{next(_NUMBERS)}.etl_control", programs)


def module_yaml(name: str, /, *, sql: str = "SELECT 1", **job: Any) -> str:
    """A metadata file with one module of one SQL task."""
    source = {
        "source_id": "extract",
        "source_type": "sql",
        "execution_order": 1,
        "transformation_config": {
            "task_type": "sql_query",
            "sql_task": {"warehouse_id": "local", "sql_query": sql},
        },
    }
    module = {"module_name": name, "job": job, "sources": [source]}
    return json.dumps({"metadata_version": "1.0", "modules": [module]})


def inventory(client: Any) -> dict[str, Any]:
    """Everything in the workspace that a deployment could leave behind."""
    schemas = [
        schema.full_name for schema in client.schemas.list("main") if schema.name != "information_schema"
    ]
    parts = [name.split(".") for name in schemas]
    return {
        "jobs": {job.job_id: job.settings.name for job in client.jobs.list()},
        "queries": {query.id for query in client.queries.list()},
        "schemas": schemas,
        "tables": sorted(t.full_name for c, s in parts for t in client.tables.list(c, s)),
        "volumes": sorted(v.full_name for c, s in parts for v in client.volumes.list(c, s)),
    }


def set_faults(connection: Connection, *rules: dict[str, Any]) -> None:
    """Set the workspace's faults; none: they end."""
    request = urllib.request.Request(
        f"{connection.host}/local/faults",
        method="POST" if rules else "DELETE",
        data=json.dumps({"rules": rules}).encode() if rules else None,
        headers={"Authorization": f"Bearer {connection.token}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).read()
