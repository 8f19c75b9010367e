"""load, plan, apply, run, status and monitor, as processes on a real embedded workspace."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, module_yaml
from tests.embedded import wait_for

pytestmark = pytest.mark.slow


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_from_files_to_jobs(cli: Cli, tmp_path: Path) -> None:
    """plan --yaml shows and writes nothing; apply --yaml does it; a second pass has nothing to do."""
    sales = write(tmp_path / "sales.yaml", module_yaml("sales", name="sales_${var.env}"))
    seen = cli("plan", "--yaml", sales, "--var", "env=dev", "--format", "json")
    assert seen.code == 2
    assert seen.json["summary"] == {
        "create": 1,
        "update": 0,
        "retire": 0,
        "revive": 0,
        "unchanged": 0,
        "refused": 0,
    }
    assert [(a["module"], a["action"], a["changes"]) for a in seen.json["actions"]] == [
        ("sales", "create", [])
    ]
    schema = cli.table.split(".")[1]
    assert not (cli.folder / "warehouse" / "main" / schema).exists(), "plan --yaml made something"

    done = cli("apply", "--yaml", sales, "--var", "env=dev", "--format", "json")
    assert done.code == 0, done.err
    [action] = done.json["actions"]
    assert (action["action"], action["error"], done.json["rows_loaded"]) == ("create", None, 2)
    assert action["job_id"] > 0
    assert done.json["writes"] >= 1

    again = cli("apply", "--yaml", sales, "--var", "env=dev", "--format", "json")
    assert (again.code, again.json["writes"], again.json["summary"]["unchanged"]) == (0, 0, 1)
    assert cli("plan").code == 0

    changed = write(
        tmp_path / "sales.yaml", module_yaml("sales", name="sales_${var.env}", max_concurrent_runs=3)
    )
    diff = cli("plan", "--yaml", changed, "--var", "env=dev")
    assert diff.code == 2
    assert "~ update sales" in diff.out
    assert "max_concurrent_runs: 1 -> 3" in diff.out
    assert diff.out.rstrip().endswith("plan: 1 update")


def test_a_bad_module_does_not_block_a_good_one(cli: Cli, tmp_path: Path) -> None:
    """apply --yaml applies what is sound, shows the rest with file, line and column, and ends with 1."""
    good = write(tmp_path / "good.yaml", module_yaml("good"))
    bad = write(tmp_path / "bad.yaml", module_yaml("bad").replace('"sql_task"', '"sql_tsak"'))
    broken = write(tmp_path / "broken.yaml", "modules: [\n")
    done = cli("apply", "--yaml", good, "--yaml", bad, "--yaml", broken, "--format", "json")
    assert done.code == 1
    by_module = {action["module"]: action for action in done.json["actions"]}
    assert (by_module["good"]["action"], by_module["bad"]["action"]) == ("create", "refused")
    assert f"{bad}:1:" in by_module["bad"]["reasons"][0]
    assert [(error["path"], error["line"]) for error in done.json["errors"]] == [(broken, 2)]
    shown = cli("plan", "--yaml", bad)
    assert shown.code == 1
    assert "! refused bad" in shown.out


def test_a_kept_plan_is_applied_or_refused(cli: Cli, tmp_path: Path) -> None:
    """plan --out, apply --plan: exactly what was reviewed; a stale one is refused and nothing is done."""
    sales, kept = write(tmp_path / "sales.yaml", module_yaml("sales")), str(tmp_path / "plan.json")
    assert cli("plan", "--yaml", sales, "--out", kept).code == 2
    done = cli.here("apply", "--plan", kept, "--local", str(cli.folder), "--format", "json")
    assert (done.code, done.json["summary"]["create"]) == (0, 1), done.err
    assert cli("plan").code == 0
    stale = cli("apply", "--plan", kept)
    assert stale.code == 1
    assert "stale" in stale.err
    assert "sales" in stale.err


def test_load_then_apply_one_module(cli: Cli, tmp_path: Path) -> None:
    """load writes rows and says what was rejected; --module confines an apply."""
    for name in ("a", "b"):
        write(tmp_path / f"{name}.yaml", module_yaml(name))
    write(tmp_path / "c.yaml", "modules: 1\n")
    loaded = cli("load", str(tmp_path), "--format", "json")
    assert (loaded.code, loaded.json["changed"]) == (1, 2)
    assert loaded.json["errors"][0]["path"].endswith("c.yaml")
    done = cli("apply", "--module", "a")
    assert done.code == 0
    assert "created a (job" in done.out
    shown = cli("status")
    assert shown.code == 1
    assert "! rejected" in shown.out
    assert "c.yaml:1:" in shown.out
    rest = cli("plan", "--format", "json")
    assert {a["module"]: a["action"] for a in rest.json["actions"]} == {"a": "unchanged", "b": "create"}


def test_run_follows_to_the_end(cli: Cli, tmp_path: Path) -> None:
    """Each task's result, attempts, seconds and error; exit code 1 unless SUCCESS."""
    good = write(tmp_path / "good.yaml", module_yaml("good", parameters=[{"name": "day", "default": "x"}]))
    bad = write(tmp_path / "bad.yaml", module_yaml("bad", sql="SELECT * FROM main.no.such_table"))
    assert cli("apply", "--yaml", good, "--yaml", bad).code == 0
    done = cli("run", "good", "--param", "day=2025-01-01", "--format", "json")
    assert done.code == 0, done.err
    [task] = done.json["tasks"]
    assert (done.json["result"], task["task_key"], task["result"], task["attempts"], task["error"]) == (
        "SUCCESS", "extract", "SUCCESS", 1, None
    )  # fmt: skip
    assert task["seconds"] >= 0
    assert done.json["run_id"] > 0
    failed = cli("run", "bad", "--format", "json")
    assert (failed.code, failed.json["result"], failed.json["tasks"][0]["result"]) == (1, "FAILED", "FAILED")
    assert "such_table" in failed.json["tasks"][0]["error"]
    text = cli("run", "bad")
    assert text.code == 1
    assert "extract: FAILED" in text.err, "progress as plain lines"
    assert "such_table" in text.out

    shown = cli("status", "--format", "json")
    assert shown.code == 0
    assert {m["module"]: m["last_run"]["result"] for m in shown.json["modules"]} == {
        "good": "SUCCESS",
        "bad": "FAILED",
    }
    table = cli("status")
    assert "good" in table.out
    assert "active" in table.out


def test_monitor_follows_files_and_rows(cli: Cli) -> None:
    """One JSON line a tick: a file becomes a job, then a tick that is idle."""
    (cli.volume / "sales.yaml").write_text(module_yaml("sales"))
    done = cli(
        "monitor", "--volume-path", cli.volume_path, "--check-interval-seconds", "0.2", "--max-iterations", "3", "--format", "json"
    )  # fmt: skip
    assert done.code == 0, done.err
    first, second, third = done.lines
    assert first["yaml_changes"] == 1
    assert [job["module"] for job in first["jobs_updated"]] == ["sales"]
    assert {
        "timestamp",
        "yaml_changes",
        "table_changes",
        "jobs_updated",
        "errors",
        "sql_statements",
        "api_calls",
    } <= set(third)
    # the volume is listed through the Files API here; no Jobs API call is among the calls
    for idle in (second, third):
        assert (idle["sql_statements"], idle["jobs_updated"], idle["changes_detected"]) == (1, [], False)
    (cli.volume / "broken.yaml").write_text("modules: [\n")
    refused = cli("monitor", "--volume-path", cli.volume_path, "--max-iterations", "1", "--format", "json")
    assert refused.code == 1
    assert f"{cli.volume_path}/broken.yaml:2:" in refused.lines[0]["errors"][0]
    still = cli("monitor", "--volume-path", cli.volume_path, "--max-iterations", "1", "--format", "json")
    assert still.code == 1, "a file that was rejected by another process is wrong still"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_end_the_monitor(cli: Cli, number: signal.Signals, code: int) -> None:
    """In the middle of an hour's wait: SIGTERM is a success, Ctrl-C is not, and neither shows a traceback."""
    monitor = cli.start(
        "monitor", "--local", str(cli.folder), "--control-table", cli.table, "--check-interval-seconds", "3600", "--format", "json"
    )  # fmt: skip
    assert monitor.stdout is not None
    assert json.loads(monitor.stdout.readline())["errors"] == []
    monitor.send_signal(number)
    try:
        ended = monitor.wait(30)
    except subprocess.TimeoutExpired:
        monitor.send_signal(signal.SIGABRT)  # shows where it stands
        ended = None
    said = monitor.communicate(timeout=30)[1]
    assert ended == code, said
    assert "Traceback" not in said


def test_the_variables_of_a_workspace_are_enough(cli: Cli, tmp_path: Path) -> None:
    """With DATABRICKS_HOST, DATABRICKS_TOKEN and SPARK_REMOTE set, commands work without --local."""
    sales = write(tmp_path / "sales.yaml", module_yaml("sales"))
    assert cli.connected("apply", "--control-table", cli.table, "--yaml", sales).code == 0
    assert cli.connected("plan", "--control-table", cli.table).code == 0


def test_a_warehouse_does_what_spark_does(cli: Cli, tmp_path: Path) -> None:
    """--warehouse-id: the same through Statement Execution, without any Spark."""
    sales = write(tmp_path / "sales.yaml", module_yaml("sales"))
    variables = {k: v for k, v in cli.connection.environment().items() if k != "SPARK_REMOTE"}
    done = cli.bare(
        "apply", "--control-table", cli.table, "--yaml", sales, "--warehouse-id", "local", **variables
    )
    assert done.code == 0, done.err
    assert cli.bare("plan", "--control-table", cli.table, "--warehouse-id", "local", **variables).code == 0
    assert wait_for(lambda: cli.sql(f"SELECT * FROM {cli.table}"), "rows", seconds=5)
