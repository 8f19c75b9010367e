"""kill -9 of real processes in remediate and undo, at every kind of step; then run again: nothing is lost."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lakeflow_job_meta.policies import remediation_tables
from lakeflow_job_meta.policies.remediate import remediate
from lakeflow_job_meta.policies.undo import undo as bring_back
from tests.conftest import Sail
from tests.embedded import ROOT, environment
from tests.policies.killed import deadly
from tests.policies.remediation_world import TARGET, VOLUME, Facts, RemediationWorld, sha256

pytestmark = pytest.mark.slow

_NUMBERS = itertools.count(1)
TABLES = (
    "files",
    "policy_violations",
    remediation_tables.PLAN,
    remediation_tables.LOG,
    remediation_tables.LOCK,
)


def start(
    programs: Path,
    world: RemediationWorld,
    sail: Sail,
    folder: Path,
    kill_at: int,
    *,
    undo: str = "",
    **rules: object,
) -> subprocess.Popen[str]:
    """The program, in a process of its own."""
    path = folder / f"{next(_NUMBERS)}.json"
    catalog, schema = world.schema
    path.write_text(
        json.dumps(
            {
                "remote": sail.remote,
                "warehouse": str(sail.warehouse),
                "tables": [f"{catalog}.{schema}.{name}" for name in TABLES],
                "root": str(world.root),
                "kill_at": kill_at,
                "undo": undo,
                "rules": world.rules(**rules).as_json(),
            }
        )
    )
    return subprocess.Popen(
        [programs / "warm-python", "-m", "tests.policies.killed", path],
        cwd=ROOT,
        env=environment(None, SPARK_HOME=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_here(world: RemediationWorld, kill_at: int, *, undo: str = "") -> bool:
    """Execute or undo in this process, up to its n-th write to a file or a table; whether it came to that."""
    session = deadly(world.tables, world.volumes, kill_at, Died())
    try:
        if undo:
            bring_back(session, undo)
        else:
            remediate(session, world.rules(), execute=True)
    except Died:
        return True
    return False


class Died(BaseException):
    """As a process ends: nothing in the program catches it."""


def was_killed(process: subprocess.Popen[str]) -> bool:
    """Whether it was killed; fails when it ended in another way than well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), out + err
    return process.returncode != 0


def check_nothing_is_lost(world: RemediationWorld, before: Facts) -> None:
    """The bytes of every original are in its place, or in the target."""
    stored = set(world.stored())
    now = world.facts()
    for path, (data, _, _) in before.items():
        assert (path in now and now[path][0] == data) or data in stored, path


def check_the_log(world: RemediationWorld, run: str) -> None:
    """The bytes of every file that was done are exactly where the log says, and nowhere else in their place."""
    done = [row for row in world.log(run) if row["step"] == "done"]
    for row in done:
        assert sha256(world.volumes.read(row["target"])) == row["content_sha256"]
        assert world.volumes.inspect(row["path"]) is None


@pytest.fixture
def files(remediation: RemediationWorld) -> Facts:
    """Three contents, one of them three times, and their violations."""
    world = remediation
    paths = world.put_many(
        {"a": b"same", "b": b"same", "sub/c": b"same", "d": b"twin", "e": b"twin", "f": b"single"}
    )
    world.violate(*paths)
    return world.facts()


MANY = 400
# Execution of 3 files writes: the plan (1-2), execute (3), begin (4), two copies (5-6), the manifest (7), ready (8),
# an original and its stub (9-10), twice more (11-14), done (15), executed (16).
STEPS = (2, 5, 7, 9, 12, 15, 16)
# Undo of 3 files writes: undo (1), undo_begin (2), a file, its facts and its stub (3-5), twice more (6-11), undone
# (12), two targets (13-14), the folder (15), undo_done (16).
UNDO_STEPS = (3, 7, 12, 14)


@pytest.mark.parametrize("kill_at", STEPS)
def test_execution_ends_at_a_step(remediation: RemediationWorld, files: Facts, kill_at: int) -> None:
    """Wherever it ends nothing is lost; the next run ends as an undisturbed one; undo makes it as it was."""
    check_execution(remediation, files, kill_at, end_here(remediation, kill_at))


@pytest.mark.parametrize("kill_at", [10])
def test_execution_is_killed(
    remediation: RemediationWorld,
    files: Facts,
    sail: Sail,
    warm_programs: Path,
    tmp_path: Path,
    kill_at: int,
) -> None:
    """The same by SIGKILL, so that nothing is cleaned up behind it."""
    killed = was_killed(start(warm_programs, remediation, sail, tmp_path, kill_at))
    check_execution(remediation, files, kill_at, killed)


def check_execution(world: RemediationWorld, files: Facts, kill_at: int, killed: bool) -> None:
    assert killed
    check_nothing_is_lost(world, files)
    done = world.remediate()
    assert (done["planned"], done["done"], done["skipped"], done["errors"]) == (3, 3, 0, 0)
    assert done["resumed"] == (kill_at > 3)
    check_nothing_is_lost(world, files)
    check_the_log(world, done["run"])
    assert sorted(world.stored()) == [b"same", b"twin"]
    assert len(world.facts()) == len(files)
    assert world.undo(done["run"])["errors"] == 0
    assert world.facts() == files
    assert world.facts(TARGET) == {}


@pytest.mark.parametrize("kill_at", [6, 10])
def test_undone_without_being_finished(remediation: RemediationWorld, files: Facts, kill_at: int) -> None:
    """A run that died can be undone as it is."""
    world = remediation
    assert end_here(world, kill_at)
    [run] = {row["run_id"] for row in world.tables.query(f"SELECT run_id FROM {world.log_name.quoted}")}
    assert world.undo(run)["errors"] == 0
    assert world.facts() == files
    assert world.facts(TARGET) == {}


@pytest.mark.parametrize("kill_at", UNDO_STEPS)
def test_undo_ends_at_a_step(remediation: RemediationWorld, files: Facts, kill_at: int) -> None:
    """Wherever undo ends nothing is lost, and undo again brings it to its end."""
    run = remediation.remediate()["run"]
    check_undo(remediation, files, run, end_here(remediation, kill_at, undo=run))


def test_undo_is_killed(
    remediation: RemediationWorld, files: Facts, sail: Sail, warm_programs: Path, tmp_path: Path
) -> None:
    """The same by SIGKILL."""
    run = remediation.remediate()["run"]
    killed = was_killed(start(warm_programs, remediation, sail, tmp_path, 4, undo=run))
    check_undo(remediation, files, run, killed)


def check_undo(world: RemediationWorld, files: Facts, run: str, killed: bool) -> None:
    assert killed
    check_nothing_is_lost(world, files)
    assert world.undo(run)["errors"] == 0
    assert world.facts() == files
    assert world.facts(TARGET) == {}


def test_many_files_killed_from_outside(
    remediation: RemediationWorld, sail: Sail, warm_programs: Path, tmp_path: Path
) -> None:
    """Killed when 150 are gone, and again when 280 are; then resumed, then undone: byte for byte.

    Four hundred are four batches (`execution.BATCH`), so that each death is in the middle of one, behind a whole one.
    """
    world = remediation
    world.violate(
        *world.put_many(
            {f"{number % 10}/f{number}.txt": f"record {number}".encode() for number in range(MANY)}
        )
    )
    before = world.facts()
    for left in (250, 120):
        process = start(warm_programs, world, sail, tmp_path, 0, keeper="none")
        deadline = time.monotonic() + 60
        while sum(path.suffix == ".txt" and path.name.count(".") == 1 for path in files_of(world)) > left:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        check_nothing_is_lost(world, before)
    done = world.remediate(keeper="none")
    assert (done["planned"], done["done"], done["skipped"], done["errors"]) == (MANY, MANY, 0, 0)
    assert done["resumed"]
    check_the_log(world, done["run"])
    assert len(world.stored()) == MANY
    assert set(world.facts()) == {f"{path}.archived.txt" for path in before}
    undone = world.undo(done["run"])
    assert (undone["done"], undone["errors"]) == (MANY, 0)
    assert world.facts() == before
    assert world.facts(TARGET) == {}


def files_of(world: RemediationWorld) -> list[Path]:
    return [path for folder in world.folder("").iterdir() for path in folder.iterdir()]


def test_one_process_at_a_time(
    remediation: RemediationWorld, files: Facts, sail: Sail, tmp_path: Path
) -> None:
    """While one lives that touches files, another says so and touches none."""
    from lakeflow_job_meta.errors import TaskError
    from lakeflow_job_meta.policies.remediation_lock import RemediationLock
    from tests.policies.remediation_world import now

    world = remediation
    with (
        RemediationLock(world.tables, world.session().records(world.schema).lock, "other", now),
        pytest.raises(TaskError, match="another remediation"),
    ):
        world.remediate()
    assert world.facts() == files
    assert world.remediate()["done"] == 3
    assert VOLUME in next(iter(world.plan(world.remediate()["run"])))
