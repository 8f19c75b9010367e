"""`dxr`: the Data X-Ray tasks by hand, on the embedded workspace and its simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.cli.dxr import dxr
from lakeflow_job_meta.dxr.__main__ import with_command
from lakeflow_job_meta.dxr.settings import SETTINGS, for_task
from tests.cli.conftest import Cli, Done

COUNTS = {
    "seen", "new", "uploaded", "uploaded_bytes", "jobs", "classified", "missing", "ambiguous", "failed", "skipped", "seconds",
}  # fmt: skip
QUICK = ("--poll-interval", "0.1", "--settle-interval", "0.1")


class Files:
    """A volume of this test alone, and the tables beside it."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.schema = cli.table.split(".")[1]
        self.folder = cli.folder / "Volumes" / "main" / self.schema / "inbox"
        self.folder.mkdir(parents=True)
        self.table = f"main.{self.schema}.file_metadata"

    def put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def __call__(self, command: str, *arguments: str) -> Done:
        return self.cli.here(
            "dxr", command, "--metadata-table", self.table, "--local", str(self.cli.folder), "--format", "json", *arguments
        )  # fmt: skip

    @property
    def source(self) -> tuple[str, str]:
        return ("--source-volume", f"/Volumes/main/{self.schema}/inbox")

    def rows(self, table: str, columns: str = "*") -> list[dict[str, Any]]:
        return self.cli.sql(f"SELECT {columns} FROM main.{self.schema}.{table}")


@pytest.fixture
def files(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Files:
    monkeypatch.chdir(tmp_path)  # no .env of others
    return Files(cli)


def test_the_whole_pipeline_by_hand(files: Files) -> None:
    """run-once, organise, snapshot: one summary each, rows in dxr_runs, and nothing to do the second time."""
    files.put("a/x.txt", "card 4111 1111 1111 1111")
    files.put("b/x.txt", "nothing")
    first = files("run-once", *files.source, "--datasource-id", "200", *QUICK)
    assert first.code == 0, first.err
    assert set(first.json) >= COUNTS
    assert (first.json["seen"], first.json["uploaded"], first.json["classified"]) == (2, 2, 2)
    assert all(set(json.loads(line)) >= {"run_id", "task", "event"} for line in first.err.splitlines())
    second = files("ingest", *files.source, "--datasource-id", "200")
    assert (second.json["new"], second.json["uploaded"], second.json["unchanged"]) == (0, 0, 2)
    organised = files("organise", *files.source)
    assert organised.code == 0, organised.err
    assert organised.json["files_by_label"] == {"Financial": 1, "Payment card data": 1}
    volumes = files.folder.parent
    assert (volumes / "dxr_label_financial" / "a" / "x.txt").read_text() == "card 4111 1111 1111 1111"
    snapshot = files("snapshot", "--ingestion-date", "2026-03-04", "DXR_QUERY", "size > 0")
    assert snapshot.code == 0, snapshot.err
    assert set(snapshot.json) >= COUNTS
    found = files.rows("dxr_snapshot", "ingestion_date, file_id")
    assert {row["ingestion_date"] for row in found} == {"2026-03-04"}
    assert snapshot.json["rows"] == len(found) >= 2
    tasks = sorted(row["task"] for row in files.rows("dxr_runs", "task"))
    assert tasks == ["dxr_ingest", "dxr_organise", "dxr_run_once", "dxr_snapshot"]


def test_a19_a_dry_run_does_nothing(files: Files) -> None:
    """Real settings, a real listing, and neither an upload nor a table."""
    files.put("x.txt", "card")
    for command in ("run-once", "ingest"):
        done = files(command, *files.source, "--datasource-id", "200", "--dry-run")
        assert done.code == 0, done.err
        assert (done.json["seen"], done.json["new"], done.json["uploaded"]) == (1, 1, 0)
    assert files("collect", "--dry-run").code == 0
    assert files("snapshot", "--dry-run").json["rows"] == 0
    gone = files(
        "ingest", "--source-volume", "/Volumes/main/nowhere/x", "--datasource-id", "200", "--dry-run"
    )
    assert gone.code == 1
    assert "nowhere" in gone.err
    with pytest.raises(AssertionError, match=r"dxr_jobs|not found|TABLE"):
        files.rows("dxr_jobs")


def test_failures_are_told_and_counted(files: Files) -> None:
    """Exit code 1, the summary on stdout, the sentence on stderr, the row in dxr_runs."""
    files.put("x.txt", "card")
    done = files("run-once", *files.source, "--datasource-id", "999", *QUICK)
    assert done.code == 1
    assert done.json["outcome"] == "failed"
    assert set(done.json) >= COUNTS
    assert "999" in done.err
    [row] = files.rows("dxr_runs", "outcome, message")
    assert row["outcome"] == "failed"
    assert "999" in row["message"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ingest", "--max-files-per-job", "0"), "at least 1"),
        (("ingest", "--since", "yesterday", "--source-volume", "/Volumes/a/b/c", "--datasource-id", "1"), "since"),
        (("collect", "--poll-interval", "soon"), "poll_interval"),
        (("snapshot", "--delta-path", "dbfs:/Volumes/a/b/c/d", "--snapshot-table", "a.b.c"), "UC_FILE_SCHEME"),
        (("snapshot", "DXR_BEARER_TOKEN", "eyJ"), "command line"),
        (("snapshot", "DXR_QUERY"), "no value"),
        (("organise", "--label-tags", "[1]"), "JSON object"),
        (("organise", "--labels", "some"), "all"),
    ],
)  # fmt: skip
def test_wrong_usage(files: Files, arguments: tuple[str, ...], says: str) -> None:
    """Code 64 and one sentence, nothing done; a token is never repeated."""
    done = files(*arguments)
    assert done.code == 64, done.out + done.err
    assert says in done.err
    assert "eyJ" not in done.err + done.out


def test_a_missing_token_is_told_first(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a base URL of one's own there is no token of the simulator."""
    files.put("x.txt", "card")
    done = files(
        "ingest", *files.source, "--datasource-id", "200", "--base-url", "http://127.0.0.1:1", "DXR_SECRET_SCOPE=a",
        "DXR_SECRET_KEY=b",
    )  # fmt: skip
    assert done.code == 1
    assert "'b' of scope 'a'" in done.err


def test_settings_from_dotenv(files: Files, tmp_path: Path) -> None:
    """The .env of the folder is read, with the names of old."""
    files.put("x.txt", "card")
    (tmp_path / ".env").write_text(
        f"VOLUME_CATALOG=main\nVOLUME_SCHEMA={files.schema}\nVOLUME_NAME=inbox\nDXR_DATASOURCE_ID=200\n"
    )
    done = files("ingest", "--dry-run")
    assert done.code == 0, done.err
    assert done.json["new"] == 1


def test_every_setting_has_its_flag() -> None:
    """Each task's command has a flag for each of its settings, and no token."""
    flags = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in dxr.commands.items()
    }
    for name in ("ingest", "collect", "organise", "snapshot"):
        for setting in for_task(f"dxr_{name}").values():
            assert f"--{setting.name.replace('_', '-')}" in flags[name]
    assert not any("token" in setting.name for setting in SETTINGS)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["--mode", "collect", "--job-id", "1"], ["collect", "--job-id", "1"]),
        (["--dry-run", "--mode=run-once"], ["run-once", "--dry-run"]),
        (["snapshot", "DXR_QUERY", "x"], ["snapshot", "DXR_QUERY", "x"]),
    ],
)
def test_the_mode_of_old_is_a_command(given: list[str], wanted: list[str]) -> None:
    """`--mode X` is read as the command X."""
    assert with_command(given) == wanted


def test_as_a_module(files: Files) -> None:
    """`python -m lakeflow_job_meta.dxr` is the same program."""
    import subprocess
    import sys

    from tests.embedded import environment

    done = subprocess.run(
        [sys.executable, "-m", "lakeflow_job_meta.dxr", "--mode", "ingest", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert "--source-volume" in done.stdout
