"""The demo, as a newcomer starts it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from lakeflow_job_meta.cli.demo_stage import FILES
from lakeflow_job_meta.cli.demo_steps import STEPS
from lakeflow_job_meta.local import process
from tests.embedded import run

#: A demo of its first three steps, which leave a wheel, a table, a volume's file and a job.
BROKEN_OFF = """\
import sys
from lakeflow_job_meta.cli import demo, demo_steps
demo_steps.STEPS = demo_steps.STEPS[:3]
demo.demo.main(["--dir", sys.argv[1]])
"""


@dataclass(frozen=True)
class Played:
    """Two demos in one folder: one that came as far as its third step, then a whole one, told in JSON."""

    folder: Path
    earlier: CompletedProcess[str]
    whole: CompletedProcess[str]

    @property
    def result(self) -> dict[str, Any]:
        assert self.whole.returncode == 0, self.whole.stdout + self.whole.stderr
        found: dict[str, Any] = json.loads(self.whole.stdout)
        return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("played") / "demo"
    program = folder.with_name("broken_off.py")
    program.write_text(BROKEN_OFF)
    earlier = run(sys.executable, str(program), str(folder))
    whole = run("lakeflow-job-meta", "demo", "--dir", str(folder), "--format", "json", seconds=180)
    return Played(folder, earlier, whole)


@pytest.mark.slow
def test_demo_holds(played: Played) -> None:
    """Every step holds, within three minutes, in a folder where an earlier demo left its workspace."""
    result = played.result
    assert list(result) == [
        "ok", "steps", "uploaded_first", "files_by_label", "uploaded_second", "policies", "remediation"
    ]  # fmt: skip
    assert result["ok"] is True
    assert [step["name"] for step in result["steps"]] == [step.name for step in STEPS]
    assert all(
        step["ok"] is True and step["seconds"] >= 0 and set(step) == {"name", "ok", "seconds"}
        for step in result["steps"]
    )


@pytest.mark.slow
def test_an_earlier_demo_was_there(played: Played) -> None:
    """What the whole demo replaced was a workspace with the same table and job; its steps were told on stdout."""
    assert played.earlier.returncode == 0, played.earlier.stdout + played.earlier.stderr
    for number, step in enumerate(STEPS[:3], 1):
        assert f"{number}/3  {step.name}" in played.earlier.stdout
    assert "`sales` has" in played.earlier.stdout
    assert "\x1b[" not in played.earlier.stdout


@pytest.mark.slow
def test_demo_tells_its_steps(played: Played) -> None:
    """Each step with its number, the SQL, the place of a mistake, and how to look around; without colours in a pipe."""
    told = played.whole.stderr
    for number, step in enumerate(STEPS, 1):
        assert f"{number}/{len(STEPS)}  {step.name}" in told
    assert "INSERT INTO main.demo.etl_control" in told
    assert re.search(r"returns\.yaml:\d+:\d+: .*sql_query", told)
    assert "local sql --dir" in told
    assert "\x1b[" not in told


@pytest.mark.slow
def test_demo_classifies_its_documents(played: Played) -> None:
    """Every document is sent once, then the one that was added; what is planted is found."""
    result = played.result
    documents = [path for path in (FILES / "documents").rglob("*") if path.is_file()]
    assert result["uploaded_first"] == len(documents)
    assert result["uploaded_second"] == 1
    assert result["files_by_label"]["Payment card data"] == 2
    assert "Personal data" in result["files_by_label"]


@pytest.mark.slow
def test_demo_checks_by_policies(played: Played) -> None:
    """The copies, the overdue record and the scratch file are found; a plan for the copies is made."""
    result = played.result
    policies = {one["name"]: (one["status"], one["violations"]) for one in result["policies"]}
    assert policies["duplicate_files"] == ("WARN", 2)
    assert policies["retention_gap"] == policies["rot_files"] == ("WARN", 1)
    assert policies["over_exposed"] == ("PASS", 0)
    assert result["remediation"] == {"planned": 1, "keeper": "/Volumes/main/demo/inbox/notes/meeting.txt"}


@pytest.mark.slow
def test_no_process_stays(played: Played) -> None:
    """The workspace ends with the demo."""
    assert process.find(played.folder / "workspace") is None


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
