"""The demo, as a newcomer starts it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lakeflow_job_meta.cli.demo_stage import FILES
from lakeflow_job_meta.cli.demo_steps import STEPS
from lakeflow_job_meta.local import process
from tests.embedded import run


@pytest.mark.slow
def test_demo_runs_twice_in_one_folder(tmp_path: Path) -> None:
    """Every step holds, within three minutes, and again in the same folder; no process stays."""
    folder = tmp_path / "demo"
    told = run("lakeflow-job-meta", "demo", "--dir", str(folder), seconds=180)
    assert told.returncode == 0, told.stdout + told.stderr
    for number, step in enumerate(STEPS, 1):
        assert f"{number}/{len(STEPS)}  {step.name}" in told.stdout
    assert "INSERT INTO main.demo.etl_control" in told.stdout
    assert re.search(r"returns\.yaml:\d+:\d+: .*sql_query", told.stdout)
    assert "local sql --dir" in told.stdout
    assert "\x1b[" not in told.stdout
    assert process.find(folder / "workspace") is None

    again = run("lakeflow-job-meta", "demo", "--dir", str(folder), "--format", "json", seconds=180)
    assert again.returncode == 0, again.stdout + again.stderr
    result = json.loads(again.stdout)
    assert list(result) == [
        "ok", "steps", "uploaded_first", "files_by_label", "uploaded_second", "policies", "remediation"
    ]  # fmt: skip
    documents = [path for path in (FILES / "documents").rglob("*") if path.is_file()]
    assert result["uploaded_first"] == len(documents)
    assert result["uploaded_second"] == 1
    assert result["files_by_label"]["Payment card data"] == 2
    assert "Personal data" in result["files_by_label"]
    policies = {one["name"]: (one["status"], one["violations"]) for one in result["policies"]}
    assert policies["duplicate_files"] == ("WARN", 2)
    assert policies["retention_gap"] == policies["rot_files"] == ("WARN", 1)
    assert policies["over_exposed"] == ("PASS", 0)
    assert result["remediation"] == {"planned": 1, "keeper": "/Volumes/main/demo/inbox/notes/meeting.txt"}
    assert result["ok"] is True
    assert [step["name"] for step in result["steps"]] == [step.name for step in STEPS]
    assert all(
        step["ok"] is True and step["seconds"] >= 0 and set(step) == {"name", "ok", "seconds"}
        for step in result["steps"]
    )


def test_demo_leaves_a_strange_folder_alone(tmp_path: Path) -> None:
    """A folder with something else in it is refused with what to do, and not touched."""
    (tmp_path / "thesis.txt").write_text("the only copy")
    done = run("lakeflow-job-meta", "demo", "--dir", str(tmp_path))
    assert done.returncode == 64
    assert "thesis.txt" in done.stderr
    assert "--dir" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_failed_step_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step that does not hold ends the demo: which, why, where the log is; exit code 1."""
    from lakeflow_job_meta.cli import demo, demo_steps
    from lakeflow_job_meta.cli.demo_stage import Demo, expect

    def fail(stage: Demo) -> None:
        expect(False, "the moon is not up")

    steps = (demo_steps.Step("look up", "Is the moon there?", fail), demo_steps.Step("never", "", fail))
    monkeypatch.setattr(demo_steps, "STEPS", steps)
    with pytest.raises(SystemExit) as left:
        demo.demo.main(["--dir", str(tmp_path / "demo"), "--format", "json"], standalone_mode=False)
    out = capsys.readouterr()
    assert left.value.code == 1
    assert json.loads(out.out)["ok"] is False
    assert [step["name"] for step in json.loads(out.out)["steps"]] == ["look up"]
    assert "step 1, look up, failed: the moon is not up" in out.err
    assert "demo.log" in out.err
    assert "the moon is not up" in (tmp_path / "demo" / "demo.log").read_text()


@pytest.mark.parametrize(
    ("name", "good"), [("sales", True), ("inventory", True), ("documents", True), ("returns", False)]
)
def test_metadata_of_the_demo(name: str, good: bool) -> None:
    """The demo's good files validate, and the broken one has exactly its two mistakes, each with its line."""
    path = FILES / "volume" / f"{name}.yaml"
    done = run("lakeflow-job-meta", "validate", str(path), "--format", "json")
    found = json.loads(done.stdout)["errors"]
    assert (done.returncode == 0) is good
    if not good:
        lines = path.read_text().splitlines()
        assert sorted(lines[error["line"] - 1].split(":")[0].strip() for error in found) == [
            "depends_on",
            "task_type",
        ]
