"""`dataset` on an embedded workspace, as a person calls it: over real HTTP, with the real engine."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.local.conftest import client_of

pytestmark = pytest.mark.slow

pytest.importorskip("duckdb")
CSV = "Order ID;Customer;Amount\n1;Zoé;10.5\n2;Ann;20\n2;Ann;20\n3;too few\n"


@pytest.fixture
def orders(tmp_path: Path) -> str:
    path = tmp_path / "orders.csv"
    path.write_bytes(CSV.encode("cp1252"))
    return str(path)


def test_a6_g5_h1_upload_and_query(cli: Cli, orders: str) -> None:
    """A file is uploaded through the Files API and queried at once; the status is read by another process's call."""
    done = cli(
        "dataset", "ingest", orders, "--name", "Revenue Q1 2025", "--tenant", "xyz", "--format", "json"
    )
    assert done.code == 0, done.err
    reply = done.json
    assert reply["row_count"] == 3
    assert reply["metadata"]["sync_status"] == "pending"
    assert reply["malformed"] == {
        "count": 1,
        "rows": [{"line": 5, "reason": reply["malformed"]["rows"][0]["reason"]}],
    }
    assert "line 5" in done.err
    assert "/api/2.0/fs/files" in json.dumps(cli.connection.ask("GET", "/local/calls", seconds=30))
    landed = list((cli.folder / "Volumes").rglob(f"{reply['id']}/1.parquet"))
    assert len(landed) == 1
    sql = "SELECT sum(Amount) AS total FROM dataset"
    answer = cli("dataset", "query", reply["id"], "--sql", sql, "--format", "json")
    assert answer.json == {"columns": ["total"], "rows": [[50.5]], "row_count": 1, "query": sql}
    listed = cli("dataset", "list", "--format", "json").json
    assert [(one["id"], one["metadata"]["sync_status"]) for one in listed] == [(reply["id"], "pending")]
    assert cli("dataset", "list", "--tenant", "other", "--format", "json").json == []
    assert "Pending Sync" in cli("dataset", "list").out


def test_g3_status_by_command(cli: Cli, orders: str) -> None:
    """The ten keys and no more; unknown and other tenants' datasets end with exit code 1."""
    reply = cli("dataset", "ingest", orders, "--name", "X", "--format", "json").json
    status = cli("dataset", "status", reply["id"], "--format", "json").json
    assert list(status) == [
        "dataset_id",
        "dataset_name",
        "databricks_enabled",
        "sync_status",
        "bronze_table",
        "silver_table",
        "last_sync_at",
        "last_sync_error",
        "row_count_local",
        "row_count_databricks",
    ]
    for arguments in (["unknown"], [reply["id"], "--tenant", "other"]):
        done = cli("dataset", "status", *arguments)
        assert done.code == 1
        assert "there is no dataset" in done.err


def test_b5_switched_off_by_command(cli: Cli, orders: str) -> None:
    """Off for this dataset: `sync` refuses with the reason and exit code 1."""
    off = json.dumps({"sync": {"enabled": False}})
    done = cli("dataset", "ingest", orders, "--name", "X", "--config", off, "--format", "json")
    assert done.code == 0
    assert done.json["metadata"]["databricks_enabled"] is False
    refused = cli("dataset", "sync", done.json["id"])
    assert refused.code == 1
    assert "switched off" in refused.err
    waited = cli("dataset", "ingest", orders, "--name", "X", "--wait", "--format", "json")
    assert (waited.code, waited.json["version"]) == (1, 2)
    assert "switched off" in waited.err


def test_a4_bad_files_by_command(cli: Cli, tmp_path: Path) -> None:
    """One sentence with the file and the line, exit code 1, nothing left behind."""
    path = tmp_path / "renamed.csv"
    path.write_bytes(b"%PDF-1.7")
    done = cli("dataset", "ingest", str(path), "--name", "X")
    assert done.code == 1
    assert f"{path} is a PDF document" in done.err
    assert cli("dataset", "ingest", str(path), "--name", "X", "--config", "[1]").code == 64
    assert cli("dataset", "list", "--format", "json").json == []


def test_j1_j3_versions_and_delete_by_command(cli: Cli, orders: str) -> None:
    """Two uploads of one name are two versions; deleting asks, keeps, and is the end of it."""
    first = cli("dataset", "ingest", orders, "--name", "X", "--format", "json").json
    second = cli("dataset", "ingest", orders, "--name", "X", "--format", "json").json
    assert second["id"] == first["id"]
    versions = cli("dataset", "versions", first["id"], "--format", "json").json
    assert [one["version"] for one in versions] == [1, 2]
    assert cli("dataset", "delete", first["id"], "--format", "json").code == 64
    done = cli("dataset", "delete", first["id"], "--yes", "--format", "json")
    assert done.code == 0, done.err
    assert done.json["deleted"] is True
    assert cli("dataset", "status", first["id"]).code == 1


def test_i3_diagnose_by_command(cli: Cli, orders: str) -> None:
    """Every check has a line; exit code 1 while the tables are not there."""
    reply: dict[str, Any] = cli("dataset", "ingest", orders, "--name", "X", "--format", "json").json
    done = cli("dataset", "diagnose", reply["id"], "--format", "json")
    assert done.code == 1
    found = {one["check"]: one["ok"] for one in done.json}
    assert found["landed file"] is True
    assert found["bronze table"] is False
    assert cli("dataset", "show", reply["id"], "--format", "json").json["row_count"] == 3


def test_e6_grants_by_command(cli: Cli) -> None:
    done = cli.here("dataset", "grants", "--tenant", "xyz", "--group", "team")
    assert done.code == 0
    assert done.out.splitlines()[0] == "GRANT USE CATALOG ON CATALOG `catalog_tenant_xyz` TO `team`;"


def test_g11_alerts_by_command(cli: Cli, orders: str) -> None:
    """Both texts are one query each that the workspace answers: nothing failed, and no monitor was ever heard of."""
    cli("dataset", "ingest", orders, "--name", "X")
    cli("apply")
    texts = cli.here("dataset", "alerts", "--control-table", cli.table, "--format", "json").json
    assert str(cli.sql(texts["failures"])[0]["alert"]).lower() == "false"
    assert str(cli.sql(texts["heartbeat"])[0]["alert"]).lower() == "true"
    done = cli.here("dataset", "alerts", "--control-table", cli.table)
    assert done.out.startswith("-- failures\nSELECT")


# ------------------------------------------------------------ syncs


def jobs_called(cli: Cli) -> list[str]:
    """Paths of the Jobs API that were called since the last reset."""
    seen = cli.connection.ask("GET", "/local/calls", seconds=30)
    return [path for path in json.dumps(seen).split('"') if "/jobs/" in path]


def test_b3_master_switch_off_by_environment(cli: Cli, orders: str) -> None:
    """No call of the Jobs API, no control row, not_synced; and asking by hand is refused."""
    cli.connection.ask("DELETE", "/local/calls")
    where = ("--local", str(cli.folder), "--control-table", cli.table, "--format", "json")
    off = {"DATABRICKS_SYNC_ENABLED": "false"}
    reply = cli.here("dataset", "ingest", orders, "--name", "X", *where, **off).json
    assert reply["metadata"]["sync_status"] == "not_synced"
    refused = cli.here("dataset", "sync", reply["id"], *where, **off)
    assert refused.code == 1
    assert "switched off for all" in refused.json["error"]["message"]
    assert jobs_called(cli) == []
    assert cli("dataset", "status", reply["id"], "--format", "json").json["sync_status"] == "not_synced"


def test_b2_jobs_api_fails(cli: Cli, orders: str) -> None:
    """The upload stands; the start's error is its status, read again by another process."""
    reply = cli("dataset", "ingest", orders, "--name", "X", "--format", "json").json
    cli.connection.ask(
        "POST", "/local/faults", {"path": "/api/2.2/jobs/create", "status": 400, "message": "quota"}
    )
    try:
        done = cli("dataset", "sync", reply["id"], "--format", "json")
    finally:
        cli.connection.ask("DELETE", "/local/faults")
    assert done.code == 1
    where = ("--local", str(cli.folder), "--control-table", cli.table, "--format", "json")
    status = cli.bare("dataset", "status", reply["id"], *where).json
    assert status["sync_status"] == "failed"
    assert "quota" in status["last_sync_error"]
    assert status["row_count_local"] == 3


def test_b4_b7_g7_i1_j3_asked_by_hand(cli: Cli, orders: str) -> None:
    """Auto sync off: local until asked; asked twice, no two runs at once; both tables are there; dropped, they are gone."""
    done = cli("dataset", "ingest", orders, "--name", "Revenue Q1 2025", "--tenant", "hand", "--no-auto-sync",
               "--format", "json")  # fmt: skip
    reply = done.json
    assert reply["metadata"]["sync_status"] == "not_synced"
    first = cli("dataset", "sync", reply["id"], "--format", "json")
    assert first.code == 0, first.err
    again = cli("dataset", "sync", reply["id"], "--wait", "--format", "json")
    assert again.code == 0, again.err
    assert first.json["status"] in ("pending", "syncing")
    status = cli("dataset", "status", reply["id"], "--run", "--format", "json").json
    assert status["sync_status"] == "synced"
    assert status["bronze_table"] == "catalog_tenant_hand.bronze.revenue_q1_2025"
    assert status["silver_table"] == "catalog_tenant_hand.silver.revenue_q1_2025_clean"
    assert (status["row_count_local"], status["row_count_databricks"]) == (3, 3)
    assert status["run_id"] and str(status["job_id"]) in status["run_url"]
    assert cli.sql(f"SELECT count(*) AS n FROM {status['bronze_table']}")[0]["n"] in (3, "3")
    assert cli.sql(f"SELECT count(*) AS n FROM {status['silver_table']}")[0]["n"] in (2, "2")
    assert cli("dataset", "diagnose", reply["id"]).code == 0
    jobs = client_of(cli.connection).jobs.list()
    assert [job.job_id for job in jobs if (job.settings.tags or {}).get("tenant") == "hand"] == [
        status["job_id"]
    ]
    assert "Synced to Databricks" in cli("dataset", "list").out
    runs = client_of(cli.connection).jobs.list_runs(job_id=status["job_id"])
    times = sorted((run.start_time, run.end_time) for run in runs)
    assert all(later >= ended for (_, ended), (later, _) in pairwise(times)), times
    gone = cli("dataset", "delete", reply["id"], "--on-delete", "drop", "--yes", "--format", "json")
    assert gone.code == 0, gone.err
    assert gone.json["dropped_tables"] == [status["silver_table"], status["bronze_table"]]
    left = cli.here("local", "sql", "--dir", str(cli.folder), f"SELECT * FROM {status['bronze_table']}")
    assert left.code == 1
    assert "TABLE_OR_VIEW_NOT_FOUND" in left.err or "not found" in left.err.lower()
    assert cli("dataset", "list", "--orphans", "--format", "json").json == []


def test_g12_each_broken_piece_has_its_line(cli: Cli, orders: str) -> None:
    """File, row, job and tables are really looked at: what is broken is named, and the exit code is 1."""
    reply = cli("dataset", "ingest", orders, "--name", "X", "--tenant", "broken", "--format", "json").json
    assert cli("apply", "--format", "json").code == 0
    where = f"{cli.table} SET"

    def wrong() -> set[str]:
        done = cli("dataset", "diagnose", reply["id"], "--format", "json")
        assert done.code == 1
        return {one["check"] for one in done.json if one["ok"] is False}

    before = wrong()
    assert not before & {"switches", "landed file", "control row", "job"}
    [file] = (cli.folder / "Volumes").rglob(f"{reply['id']}/1.parquet")
    file.rename(file.with_suffix(".gone"))
    assert wrong() - before == {"landed file"}
    file.with_suffix(".gone").rename(file)
    cli.sql(f"UPDATE {where} is_active = false WHERE source_type = 'dataset'")
    assert wrong() - before == {"control row"}
    cli.sql(f"UPDATE {where} is_active = true WHERE source_type = 'dataset'")
    [job] = [
        job.job_id
        for job in client_of(cli.connection).jobs.list()
        if (job.settings.tags or {}).get("tenant") == "broken"
    ]
    client_of(cli.connection).jobs.delete(job)
    assert wrong() - before == {"job"}


WATCH = """
import os, sys

def watch(event, args):
    if event == "socket.connect":
        address = args[1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            with open(os.environ["CONNECTIONS"], "a") as file:
                print(address, file=file)

sys.addaudithook(watch)
"""


def test_b9_a6_everything_local_without_a_host(orders: str, tmp_path: Path) -> None:
    """With no host and no token: upload, query, status and list work, and nothing connects beyond loopback."""
    from lakeflow_job_meta.local import process
    from tests.embedded import BIN, environment, run

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCH)
    seen, folder = tmp_path / "connections", tmp_path / "workspace"
    env = environment(None, PYTHONPATH=str(tmp_path / "site"), CONNECTIONS=str(seen), HOME=str(tmp_path))
    where = ("--local", str(folder), "--control-table", "main.etl.control", "--format", "json")
    program = str(BIN / "lakeflow-job-meta")
    try:
        done = run(program, "dataset", "ingest", orders, "--name", "X", *where, env=env)
        assert done.returncode == 0, done.stderr
        dataset_id = json.loads(done.stdout)["id"]
        for arguments in (
            ["query", dataset_id, "--sql", "SELECT * FROM dataset"],
            ["status", dataset_id],
        ):
            done = run(program, "dataset", *arguments, *where, env=env)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)
    finally:
        process.stop(folder)
    assert not seen.exists(), seen.read_text()
