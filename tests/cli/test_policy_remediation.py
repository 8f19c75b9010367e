"""`policy remediate` and `policy undo`, by hand, on the embedded workspace."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lakeflow_job_meta.adapters import sql_text
from lakeflow_job_meta.dxr.snapshot_rows import snapshot_table
from lakeflow_job_meta.names import TableName
from tests.cli.conftest import Cli, Done
from tests.policies.files import file, put

KEYS = {"run", "planned", "done", "skipped", "errors"}


class Share:
    """A snapshot of a volume with three copies of one file and another one."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.folder = cli.volume / "share"
        self.path = f"{cli.volume_path}/share"
        self.archive = f"{cli.volume_path}/archive"
        schema = cli.table.split(".")[1]
        self.table = TableName("main", schema, "dxr_snapshot")
        cli.sql(f"CREATE SCHEMA IF NOT EXISTS main.{schema}")
        cli.sql(sql_text.create_table(snapshot_table(self.table)))
        rows = []
        for name, data in {"a/1.txt": b"same", "2.txt": b"same", "3.txt": b"same", "4.txt": b"other"}.items():
            there = self.folder / name
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(data)
            content = hashlib.sha256(data).hexdigest()
            rows.append(file(f"{self.path}/{name}", content_sha256=content, size=len(data)))
        put(cli.folder / "warehouse", self.table, rows, "overwrite")
        assert (
            self("run", "duplicate_files", "--table", str(self.table)).json["policies"][0]["violations"] == 3
        )

    def __call__(self, *arguments: str) -> Done:
        local = ("--local", str(self.cli.folder), "--format", "json")
        return self.cli.here("policy", *arguments, *local)

    def remediate(self, *arguments: str, target: str = "") -> Done:
        return self(
            "remediate",
            "duplicate_files",
            "--table",
            str(self.table),
            "--action",
            "archive",
            "--target",
            target or self.archive,
            *arguments,
        )

    def files(self) -> dict[str, bytes]:
        top: Path = self.folder
        return {str(one.relative_to(top)): one.read_bytes() for one in top.rglob("*") if one.is_file()}


@pytest.fixture
def share(cli: Cli) -> Share:
    return Share(cli)


def test_planned_executed_and_undone(share: Share) -> None:
    """Exactly the promised JSON each time; the run's name is all that undo needs."""
    before = share.files()
    planned = share.remediate("--keeper", "oldest")
    assert planned.code == 0, planned.err
    assert set(planned.json) == KEYS
    assert (planned.json["planned"], planned.json["done"]) == (2, 0)
    assert share.files() == before
    done = share.remediate("--keeper", "oldest", "--execute")
    assert done.code == 0, done.err
    assert {name: done.json[name] for name in KEYS - {"run"}} == {
        "planned": 2,
        "done": 2,
        "skipped": 0,
        "errors": 0,
    }
    assert sorted(name.endswith(".archived.txt") for name in share.files()) == [False, False, True, True]
    undone = share("undo", done.json["run"])
    assert (undone.code, set(undone.json), undone.json["done"]) == (0, KEYS, 2)
    assert share.files() == before


def test_the_text_names_the_keeper(share: Share) -> None:
    """For people: a table of the files, and what comes next."""
    done = share.cli.here(
        "policy", "remediate", "duplicate_files", "--table", str(share.table), "--action", "archive",
        "--keeper", "shortest_path", "--target", share.archive, "--local", str(share.cli.folder),
    )  # fmt: skip
    assert f"{share.path}/2.txt" in done.out
    assert "keeper" in done.out
    assert "A dry run: no file was touched" in done.out


def test_refused(share: Share) -> None:
    """With a sentence, before any file is touched."""
    before = share.files()
    for arguments, target, code, told in (
        ((), "", 64, "say which one stays"),
        (("--keeper", "biggest"), "", 64, "no rule"),
        (("--keeper", "oldest"), f"{share.path}/archive", 64, "inside the source"),
        (("--keeper", "oldest"), f"{share.path}/../../../../x", 64, "without . and .."),
        (("--keeper", "oldest", "--plan", "nothing"), "", 64, "no plan"),
    ):
        done = share.remediate(*arguments, "--execute", target=target)
        assert (done.code, told in done.err) == (code, True), done.err
    done = share("undo", "latest")
    assert (done.code, "no run of a remediation" in done.err) == (64, True)
    assert share.files() == before
