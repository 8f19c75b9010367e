"""`policy`: list, show and run by hand, and as the last task of a job; on the embedded workspace."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters import sql_text
from lakeflow_job_meta.dxr.snapshot_rows import snapshot_table
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies.definition import shipped
from tests.cli.conftest import Cli, Done
from tests.policies.files import TODAY, days_ago, file, put

pytestmark = pytest.mark.slow

KEYS = {"name", "status", "violations", "new", "resolved", "threshold", "seconds", "error"}
COPIES = [file("/a/one.txt", content_sha256="d" * 64), file("/b/one.txt", content_sha256="d" * 64)]
RECORD = file("/r/old.txt", label_names=["Records"], last_modified_at=days_ago(4000))
FINE = file("/a/fine.txt")


class Snapshot:
    """A snapshot of this test alone."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.schema = cli.table.split(".")[1]
        self.table = TableName("main", self.schema, "dxr_snapshot")
        cli.sql(f"CREATE SCHEMA IF NOT EXISTS main.{self.schema}")
        cli.sql(sql_text.create_table(snapshot_table(self.table)))

    def holds(self, *rows: dict[str, Any]) -> None:
        put(self.cli.folder / "warehouse", self.table, rows, "overwrite")

    def __call__(self, *arguments: str, table: bool = True) -> Done:
        named = ("--table", str(self.table)) if table else ()
        return self.cli.here(
            "policy", *arguments, *named, "--local", str(self.cli.folder), "--format", "json"
        )


@pytest.fixture
def snapshot(cli: Cli) -> Snapshot:
    return Snapshot(cli)


def test_run_tells_what_is_new_and_resolved(snapshot: Snapshot) -> None:
    """All shipped policies, exactly the promised JSON, exit code 1 when one failed, 0 when none did."""
    snapshot.holds(FINE, *COPIES, RECORD)
    done = snapshot("run")
    assert done.code == 1
    assert list(done.json) == ["policies"]
    found = {one["name"]: one for one in done.json["policies"]}
    assert set(found) == set(shipped())
    assert all(set(one) == KEYS for one in found.values())
    copies = found["duplicate_files"]
    assert (copies["status"], copies["violations"], copies["new"], copies["threshold"]) == ("FAIL", 2, 2, 0)
    assert found["retention_gap"]["status"] == "FAIL"
    assert found["over_exposed"] == {
        **found["over_exposed"],
        "status": "PASS",
        "violations": 0,
        "error": None,
    }
    assert "policy duplicate_files: 2 violations" in done.err

    snapshot.holds(FINE, RECORD)
    again = snapshot("run", "duplicate_files", "--param", "min_size=1")
    assert again.code == 0, again.err
    [copies] = again.json["policies"]
    assert (copies["status"], copies["new"], copies["resolved"]) == ("PASS", 0, 2)
    rows = snapshot.cli.sql(
        f"SELECT policy, status FROM main.{snapshot.schema}.v_policy_latest ORDER BY policy"
    )
    assert [row["status"] for row in rows if row["policy"] == "duplicate_files"] == ["PASS"]


def test_show_and_list_with_what_was_found(snapshot: Snapshot) -> None:
    """`show` has the SQL and the open violations, `list` the newest status."""
    snapshot.holds(*COPIES)
    snapshot("run", "duplicate_files")
    shown = snapshot("show", "duplicate_files").json
    assert shown["sql"] == shipped()["duplicate_files"].sql
    assert sorted(one["row"]["path"] for one in shown["open"]) == ["/a/one.txt", "/b/one.txt"]
    assert shown["latest"]["status"] == "FAIL"
    listed = {one["name"]: one["latest"] for one in snapshot("list").json["policies"]}
    assert listed["duplicate_files"]["violations"] == 2
    assert listed["rot_files"] is None


def test_list_and_show_need_no_workspace(cli: Cli) -> None:
    """What is shipped can be read anywhere, as text, too."""
    listed = cli.here("policy", "list", "--format", "json").json["policies"]
    assert [one["name"] for one in listed] == sorted(shipped())
    assert all(one["description"] for one in listed)
    text = cli.here("policy", "show", "retention_gap").out
    assert "retention_days: 2557" in text
    assert "FROM snapshot" in text


def test_a_policy_of_ones_own(snapshot: Snapshot, tmp_path: Path) -> None:
    """A .sql file is named by its path; values are bound."""
    snapshot.holds(file("/a/large.txt", size=5000), file("/a/it's.txt", size=10))
    path = tmp_path / "large.sql"
    path.write_text("SELECT path FROM snapshot WHERE size > :limit OR path = :path\n")
    done = snapshot("run", str(path), "--param", "limit=4000", "--param", "path=/a/it's.txt")
    [one] = done.json["policies"]
    assert (one["name"], one["status"], one["violations"]) == ("large", "FAIL", 2)
    for place in ("Volumes/main/policies/files", "Workspace/Shared"):
        folder = snapshot.cli.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "none.sql").write_text("SELECT path FROM snapshot WHERE size > 9999;")
        done = snapshot("run", f"/{place}/none.sql")
        assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT 1; SELECT 2", "a second statement"),
        ("DELETE FROM snapshot", "DELETE is not allowed"),
        ("DROP TABLE snapshot", "DROP is not allowed"),
        ("SELECT path INTO copies FROM snapshot", "SELECT INTO writes a table"),
        ("SELECT path FROM snapshot WHERE size > :limit", "parameter :limit has no value"),
        ("SELECT * FROM main.nowhere.files", "files"),
        (None, "mine.sql"),
    ],
    ids=["two statements", "DML", "DDL", "SELECT INTO", "no value", "no table", "no file"],
)
def test_refused(snapshot: Snapshot, tmp_path: Path, sql: str | None, told: str) -> None:
    """It is an ERROR with its reason, the good policy beside it runs, and no table is changed."""
    snapshot.holds(FINE)
    path = tmp_path / "mine.sql"
    if sql is not None:
        path.write_text(sql)
    done = snapshot("run", str(path), "rot_files")
    assert done.code == 1
    bad, good = done.json["policies"]
    assert (bad["name"], bad["status"], bad["violations"], good["status"]) == ("mine", "ERROR", None, "PASS")
    assert told in bad["error"]
    assert told in done.err
    assert snapshot.cli.sql(f"SELECT count(*) AS n FROM {snapshot.table.quoted}") == [{"n": 1}]


def test_wrong_usage(snapshot: Snapshot) -> None:
    """Unknown policies, a missing table and wrong values are told before anything is run."""
    unknown = snapshot("run", "duplicate_file")
    assert unknown.code == 64
    assert "did you mean 'duplicate_files'" in unknown.err
    assert snapshot("run", table=False).code == 64
    missing = snapshot.cli.here(
        "policy", "run", "--table", "main.nowhere.x", "--local", str(snapshot.cli.folder), "--format", "json"
    )
    assert missing.code == 1
    assert missing.json["error"]["type"] == "TableNotFound"
    wrong = snapshot("run", "retention_gap", "--param", "retention_days=long")
    assert wrong.code == 1
    assert "retention_days must be a number, not 'long'" in wrong.json["policies"][0]["error"]


def test_on_a_sql_warehouse(snapshot: Snapshot) -> None:
    """The same results without Spark."""
    snapshot.holds(FINE, *COPIES, RECORD)
    done = snapshot("run", "duplicate_files", "retention_gap", "rot_files", "--warehouse-id", "local")
    found = {
        one["name"]: (one["status"], one["violations"], one["new"], one["error"])
        for one in done.json["policies"]
    }
    assert found == {
        "duplicate_files": ("FAIL", 2, 2, None),
        "retention_gap": ("FAIL", 1, 1, None),
        "rot_files": ("PASS", 0, 0, None),
    }
    snapshot.holds(FINE, RECORD)
    again = snapshot("run", "duplicate_files", "retention_gap")
    assert [(one["new"], one["resolved"]) for one in again.json["policies"]] == [(0, 2), (0, 0)]


def test_text_output(snapshot: Snapshot) -> None:
    """A table for people, and where the rest is."""
    snapshot.holds(*COPIES)
    done = snapshot.cli.here(
        "policy",
        "run",
        "duplicate_files",
        "--table",
        str(snapshot.table),
        "--local",
        str(snapshot.cli.folder),
    )
    assert done.code == 1
    assert "duplicate_files" in done.out
    assert f"main.{snapshot.schema}.policy_violations" in done.out


def test_as_a_task_of_a_job(snapshot: Snapshot, tmp_path: Path) -> None:
    """The job's task fails when a policy does, after all are recorded; a warning does not fail it."""
    snapshot.holds(
        FINE, *COPIES, file("/legal/x", label_names=["Legal hold"], ingestion_date=TODAY - timedelta(days=1))
    )
    files = tmp_path / "governance.yaml"
    files.write_text(
        f"""
metadata_version: "1.0"
modules:
  - module_name: governance
    sources:
      - source_id: check
        source_type: policy
        execution_order: 1
        source_config: {{table: {snapshot.table}}}
        transformation_config:
          task_type: sql_policy
          export_path: /Volumes/main/{snapshot.schema}/reports
          policies:
            - {{policy: duplicate_files, on_violation: warn}}
            - legal_hold
            - rot_files
            - name: large
              sql: SELECT path FROM snapshot WHERE size > :limit
              parameters: {{limit: 1000000}}
      - source_id: on_a_warehouse
        source_type: policy
        execution_order: 1
        source_config: {{table: {snapshot.table}}}
        transformation_config:
          task_type: sql_policy
          warehouse_id: local
          policies: {{policy: duplicate_files, name: again, on_violation: warn}}
"""
    )
    applied = snapshot.cli("apply", "--yaml", str(files))
    assert applied.code == 0, applied.err
    failed = snapshot.cli("run", "governance", "--format", "json")
    assert failed.code == 1
    told = json.dumps(failed.json)
    assert "policy legal_hold: 1 violation, allowed are 0" in told
    rows = snapshot.cli.sql(
        f"SELECT policy, status FROM main.{snapshot.schema}.policy_results ORDER BY policy"
    )
    assert [(row["policy"], row["status"]) for row in rows] == [
        ("again", "WARN"), ("duplicate_files", "WARN"), ("large", "PASS"), ("legal_hold", "FAIL"), ("rot_files", "PASS")
    ]  # fmt: skip
    reports = snapshot.cli.folder / "Volumes" / "main" / snapshot.schema / "reports"
    assert sorted(path.name for path in reports.rglob("*.csv")) == [
        "duplicate_files.csv",
        "legal_hold.csv",
        "results.csv",
    ]


def test_wrong_settings_are_refused_with_their_place(cli: Cli, tmp_path: Path) -> None:
    """The JSON Schema knows the settings of sql_policy."""
    path = tmp_path / "wrong.yaml"
    path.write_text(
        'metadata_version: "1.0"\nmodules:\n  - module_name: m\n    sources:\n      - source_id: s\n'
        "        source_type: policy\n        execution_order: 1\n        transformation_config:\n"
        "          task_type: sql_policy\n          tabel: main.a.b\n"
        "          policies: [{name: x, on_violation: explode}]\n"
    )
    done = cli.here("validate", str(path))
    assert done.code == 1
    assert "tabel" in done.err + done.out
    assert "table" in done.err + done.out
