"""`make bench` at a tiny size, and its claims that need no clock: counts of statements, calls, writes, edges, modules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as program
from bench import metadata, report, stages, startup, validation
from bench.report import Claim, Section, Table
from lakeflow_job_meta.metadata.files import read_metadata

pytestmark = pytest.mark.slow

SMALL, LARGER = 5, 20


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, dict[str, Any]]]:
    """Every kind of pass at two sizes."""
    pytest.importorskip("pysail")
    from bench import growth

    return {size: growth.passes(tmp_path_factory.mktemp("growth"), size, runs=1) for size in (SMALL, LARGER)}


def test_nothing_heavy_is_loaded() -> None:
    """Neither the import nor --help loads the SDK, Spark or HTTP."""
    assert startup.heavy(startup.IMPORT) == []
    assert startup.heavy(startup.HELP) == []


def test_what_is_loaded_is_seen() -> None:
    """The check above can fail."""
    assert startup.heavy("import sqlglot") == ["sqlglot"]


def test_two_wide_stages_have_few_edges() -> None:
    """Two stages of 499 sources: fewer than 1,100 edges, within 1,000 tasks."""
    tasks, edges, _ = stages.edges(stages.WIDE)
    assert edges < stages.LIMIT
    assert tasks <= 1_000


def test_statements_do_not_grow_with_the_modules(grown: dict[int, dict[str, dict[str, Any]]]) -> None:
    """Four times the modules, the same statements in every pass after the first."""
    from bench import growth

    for kind in growth.KINDS[1:]:
        assert grown[SMALL][kind]["statements"] == grown[LARGER][kind]["statements"], kind


def test_unchanged_pass_writes_nothing(grown: dict[int, dict[str, dict[str, Any]]]) -> None:
    """An unchanged pass lists the workspace once, and writes nothing; the first creates each job once."""
    from bench import growth

    for size, found in grown.items():
        assert found[growth.FIRST]["writes"] == size
        assert found[growth.FULL]["writes"] == 0
        assert found[growth.FULL]["calls"] == 1
        assert found[growth.FULL]["statements"] <= 4


def test_idle_tick_reads_one_version(grown: dict[int, dict[str, dict[str, Any]]]) -> None:
    """An idle tick: one statement, no call."""
    from bench import growth

    for found in grown.values():
        assert found[growth.IDLE]["statements"] == 1
        assert found[growth.IDLE]["calls"] == 0


def test_one_changed_job_is_one_write(grown: dict[int, dict[str, dict[str, Any]]]) -> None:
    """One changed job: one write, at most ten statements in all, files to job."""
    from bench import growth

    for found in grown.values():
        for kind in (growth.QUICK_ONE, growth.FULL_ONE):
            assert found[kind]["writes"] == 1, kind
            assert found[kind]["statements"] <= 10, kind
            assert found[kind]["calls"] == 2, kind


def test_idle_section_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The idle section at a tiny size; its ratio is for `make bench` to judge."""
    pytest.importorskip("pysail")
    from bench import idle

    monkeypatch.setattr(idle, "SCRATCH", tmp_path)
    found = idle.measure(many=20, ticks=2)
    assert [claim.kept for claim in found.claims[1:]] == [True, True]


def test_rate_limit_is_got_through(tmp_path: Path) -> None:
    """Creates beyond the rate get 429, wait and come through; none is made twice."""
    pytest.importorskip("pysail")
    from bench import rates
    from bench.services import sail

    rule = {**rates.PER_SECOND, "more_than": 10}
    with sail() as (remote, _), rates.subject(tmp_path, remote, 12) as (connection, worker):
        first = rates.one_pass(connection, worker, tmp_path, [rule])
        assert first["refused"] >= 1
        assert first["failed_modules"] == 0
        assert rates.jobs_of(connection) == rates.distinct_of(connection) == 12


def test_large_file_is_valid(tmp_path: Path) -> None:
    """The file of the validation section has no errors, and as many sources as it says."""
    path = tmp_path / "sources.yaml"
    validation.write_file(path, 3, 20)
    _, said = validation.validate(path)
    assert (said["modules"], said["sources"], said["errors"]) == (3, 60, [])


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    """What the peer gets is what we get: the same jobs, tasks, notebooks and order."""

    def jobs(folder: Path) -> dict[tuple[str, str], tuple[int, str]]:
        found = {}
        for path in sorted(folder.iterdir()):
            read = read_metadata(path.read_bytes(), str(path), {})
            assert not read.problems
            for row in read.rows:
                if row.source_id != "__job__":
                    task = json.loads(row.transformation_config or "{}")
                    task = task.get("notebook_task", task)
                    found[row.module_name, row.source_id] = (row.execution_order, task["notebook_path"])
        return found

    metadata.write_ours(tmp_path / "ours", 25)
    metadata.write_peers(tmp_path / "peers", 25)
    assert len(list((tmp_path / "ours").iterdir())) == 3
    assert jobs(tmp_path / "ours") == jobs(tmp_path / "peers")
    assert len(jobs(tmp_path / "ours")) == 25 * metadata.TASKS
    metadata.change_one(tmp_path / "ours", 1)
    metadata.change_one(tmp_path / "peers", 1)
    assert jobs(tmp_path / "ours") == jobs(tmp_path / "peers")
    assert jobs(tmp_path / "ours")["job_00000", "task_0"] == (
        1,
        "/Workspace/pipelines/job_00000/task_0_changed_1",
    )


def test_results_of_one_section_leave_the_others(tmp_path: Path) -> None:
    """A section that is measured again replaces itself only; what failed says so on the page."""
    kept, page = tmp_path / "results.json", tmp_path / "RESULTS.md"
    table = Table(["a"], [["1"]])
    report.keep(Section("stages", "First", [Claim("edges", "< 2", "1", True)], [table]), {"cores": "2"}, kept)
    report.keep(Section("peer", "Beside", failed="no network"), {"cores": "2"}, kept)
    report.keep(
        Section("stages", "Again", [Claim("edges", "< 2", "3", False)], [table]), {"cores": "2"}, kept
    )
    report.write_page(program.SECTIONS, kept, page)
    text = page.read_text()
    assert "## First" not in text
    assert "| edges | < 2 | 3 | **no** |" in text
    assert "**Not measured:** no network" in text
    assert not Section("peer", "Beside", failed="no network").kept


def test_program_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m bench SECTION --size N --results FOLDER` prints and writes; an unknown section is a usage error."""
    assert program.main(["stages", "--results", str(tmp_path)]) == 0
    assert "ok   edges between two stages of 499 sources" in capsys.readouterr().out
    assert "998" in (tmp_path / "RESULTS.md").read_text()
    with pytest.raises(SystemExit):
        program.main(["nonsense", "--results", str(tmp_path)])


def test_committed_results_are_made_by_the_program(tmp_path: Path) -> None:
    """RESULTS.md is what results.json says, has every section and names no path or host; every claim was kept."""
    report.write_page(program.SECTIONS, report.KEPT, tmp_path / "RESULTS.md")
    text = report.PAGE.read_text(encoding="utf-8")
    assert text == (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    known = json.loads(report.KEPT.read_text(encoding="utf-8"))
    assert set(known) == set(program.SECTIONS)
    assert "**no**" not in text
    assert not re.search(
        r"(?<![\w.])/(home|root|tmp|work|Users)/", text + report.KEPT.read_text(encoding="utf-8")
    )
