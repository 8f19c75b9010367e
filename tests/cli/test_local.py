"""`local`: up, env, status, sql, stop and reset of a workspace of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from lakeflow_job_meta.local import process
from tests.cli.conftest import Cli
from tests.embedded import BIN, environment, run, wait_for

PROGRAM = str(BIN / "lakeflow-job-meta")


def local(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = run(PROGRAM, "local", *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_up_env_status_stop_reset(tmp_path: Path) -> None:
    """`up` serves in the foreground and prints how to connect; the SDK can use it; SIGTERM ends it with 0."""
    folder = str(tmp_path / "w")
    assert local("status", "--dir", folder).returncode == 1
    assert local("env", "--dir", folder).returncode == 1
    up = subprocess.Popen(
        [PROGRAM, "local", "up", "--dir", folder, "--catalog", "extra"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert up.stdout is not None
        line = up.stdout.readline().strip()
        assert line.startswith("export DATABRICKS_HOST=")
        assert local("env", "--dir", folder).stdout.strip() == line
        variables = json.loads(local("env", "--dir", folder, "--format", "json").stdout)
        assert set(variables) >= {"DATABRICKS_HOST", "DATABRICKS_TOKEN", "SPARK_REMOTE"}
        seen = json.loads(local("status", "--dir", folder, "--format", "json").stdout)
        assert (seen["up"], seen["pid"], "extra" in seen["catalogs"]) == (True, up.pid, True)
        again = local("up", "--dir", folder)
        assert (again.returncode, "is up already" in again.stderr) == (1, True)
        code = "from databricks.sdk import WorkspaceClient as W; print(W().current_user.me().user_name)"
        asked = run("bash", "-c", f"{line}; python -c '{code}'", env=environment())
        assert asked.returncode == 0, asked.stderr
        os.kill(up.pid, signal.SIGTERM)
        assert up.wait(30) == 0
    finally:
        up.kill()
        up.wait()
        up.stdout.close()  # type: ignore[union-attr]
    refused = local("reset", "--dir", folder)
    assert (refused.returncode, "--yes" in refused.stderr) == (64, True)
    assert local("reset", "--dir", folder, "--yes").returncode == 0
    assert not (tmp_path / "w" / "warehouse").exists()
    assert "was not up" in local("stop", "--dir", folder).stdout


def test_a_command_starts_it_and_stop_ends_it(tmp_path: Path) -> None:
    """`--local DIR` and `local sql` start a detached workspace; its tables are there after a stop."""
    folder = str(tmp_path / "w")
    try:
        assert (
            local(
                "sql",
                "--dir",
                folder,
                "CREATE TABLE main.default.t (a INT); INSERT INTO main.default.t VALUES (1)",
            ).returncode
            == 0
        )
        connection = process.find(folder)
        assert connection is not None
        assert "stopped" in local("stop", "--dir", folder).stdout
        wait_for(lambda: process.find(folder) is None or None, "the workspace is gone", seconds=10)
        assert json.loads(
            local("sql", "--dir", folder, "--format", "json", "SELECT a FROM main.default.t").stdout
        ) == [{"a": 1}]
    finally:
        process.stop(folder)


class TestSql:
    @pytest.fixture
    def sql(self, cli: Cli):  # type: ignore[no-untyped-def]
        return lambda *arguments: cli.here("local", "sql", "--dir", str(cli.folder), *arguments)

    def test_rows_as_a_table(self, sql) -> None:  # type: ignore[no-untyped-def]
        """Aligned columns, NULL as a word, nothing folded where there is no terminal."""
        wide = "x" * 300
        done = sql(f"SELECT 1 AS a, NULL AS b, true AS c, '{wide}' AS d")
        assert done.out.splitlines()[0].split() == ["a", "b", "c", "d"]
        assert done.out.splitlines()[1].split() == ["1", "NULL", "true", wide]

    def test_rows_as_json_and_csv(self, sql) -> None:  # type: ignore[no-untyped-def]
        """JSON is a list of objects, CSV has a header."""
        assert json.loads(sql("--format", "json", "SELECT 1 AS a, array('x') AS b WHERE 1 = 1").out) == [
            {"a": 1, "b": ["x"]}
        ]
        assert json.loads(sql("--format", "json", "SELECT 1 AS a WHERE 1 = 0").out) == []
        assert sql("--format", "csv", "SELECT 1 AS a, 'x,y' AS b").out == 'a,b\n1,"x,y"\n'

    def test_a_failing_statement_is_one_sentence(self, sql) -> None:  # type: ignore[no-untyped-def]
        """The engine's reason, exit code 1."""
        done = sql("SELECT * FROM no_such_table")
        assert (done.code, done.out) == (1, "")
        assert "no_such_table" in done.err
        assert sql("SELECT 'open").code == 1
        assert sql(" ").code == 64
