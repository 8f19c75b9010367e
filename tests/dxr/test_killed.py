"""kill -9 of real processes in ingest and collect, then run again: the same tables as an undisturbed run."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.names import TableName
from tests.conftest import Sail
from tests.dxr.world import QUICK, World
from tests.embedded import ROOT, environment
from tests.local.dxr.conftest import wait_for

pytestmark = pytest.mark.slow

_NUMBERS = itertools.count(1)
FILES = 9


@pytest.fixture
def prepared(world: World) -> World:
    """Tables that another session can be told of, and files."""
    for definition in (
        definitions.checkpoints(TableName(*world.schema, "dxr_checkpoints")),
        definitions.jobs(TableName(*world.schema, "dxr_jobs")),
        definitions.metadata(world.metadata_table),
    ):
        world.tables.create_table(definition)
    for number in range(FILES):
        world.put(f"{number % 2}/f{number}.txt", f"file {number} " + "mail ana@example.org" * (number % 3))
    return world


def start(
    programs: Path, world: World, sail: Sail, folder: Path, task: str, kill_at: int, kill_at_read: int = 0
) -> subprocess.Popen[str]:
    """The program, in a process of its own."""
    path = folder / f"{next(_NUMBERS)}.json"
    names = ("dxr_checkpoints", "dxr_jobs", "file_metadata")
    path.write_text(
        json.dumps(
            {
                "remote": sail.remote,
                "warehouse": str(sail.warehouse),
                "tables": [str(TableName(*world.schema, name)) for name in names],
                "root": str(world.root),
                "token": world.dxr.token,
                "task": task,
                "kill_at": kill_at,
                "kill_at_read": kill_at_read,
                "settings": {
                    "source_volume": world.volume,
                    "metadata_table": str(world.metadata_table),
                    "datasource_id": [200],
                    "base_url": world.dxr.url,
                    "max_files_per_job": 3,
                    "parallel_jobs": 1,
                    "views": False,
                    **QUICK,
                    "unclear_wait": 5,
                },
            }
        )
    )
    return subprocess.Popen(
        [programs / "warm-python", "-m", "tests.dxr.killed", path],
        cwd=ROOT,
        env=environment(None, SPARK_HOME=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> bool:
    """Whether it was killed; fails when it ended in another way than well."""
    out, err = process.communicate(timeout=90)
    assert process.returncode in (0, -signal.SIGKILL), out + err
    return process.returncode != 0


def finish(world: World) -> None:
    """Run again, undisturbed, until nothing is left.

    What Data X-Ray has taken is in its index by then: a job that is not there was not taken.
    """
    database = world.dxr.simulator.store.database
    wait_for(lambda: not database.read("SELECT 1 FROM dxr_files WHERE indexed_at IS NULL"))
    world.ingest(max_files_per_job=3, parallel_jobs=1, unclear_wait=0.2)
    world.collect()


def check(world: World) -> None:
    """No file lost, none sent twice, all rows as an undisturbed run makes them."""
    contents = world.sent()
    assert len(contents) == len(set(contents)) == FILES
    rows = world.rows()
    assert len(rows) == FILES
    assert {row["status"] for row in rows} == {"classified"}
    assert {row["version"] for row in rows} == {1}
    for row in rows:
        number = int(row["relative_path"].split("f")[1].split(".")[0])
        assert row["annotators"] == (["E-mail address"] if number % 3 else [])
        assert row["sha256"] in contents
    checkpoints = world.checkpoints()
    assert {row["state"] for row in checkpoints.values()} == {"classified"}
    assert len(checkpoints) == FILES
    assert {row["state"] for row in world.jobs()} <= {"COLLECTED", "UNCLEAR", "DROPPED"}
    assert world.run_once().uploaded == 0


@pytest.mark.parametrize("kill_at", [1, 2, 3, 5])
def test_ingest_is_killed_before_a_write(
    prepared: World, sail: Sail, warm_programs: Path, tmp_path: Path, kill_at: int
) -> None:
    """Before the intent, between what Data X-Ray accepted and the ledger, and before the checkpoints."""
    assert outcome(start(warm_programs, prepared, sail, tmp_path, "ingest", kill_at))
    finish(prepared)
    check(prepared)


def test_ingest_is_killed_in_the_middle_of_an_upload(
    prepared: World, sail: Sail, warm_programs: Path, tmp_path: Path
) -> None:
    """Half a file has left, and Data X-Ray never sees the end of the request."""
    prepared.put("0/f0.txt", "file 0 " * 500_000)  # several blocks
    assert outcome(start(warm_programs, prepared, sail, tmp_path, "ingest", 0, kill_at_read=3))
    assert prepared.submitted() == []
    assert prepared.states() == ["PLANNED"] * 3
    finish(prepared)
    check(prepared)
    assert prepared.states() == ["COLLECTED"] * 3 + ["UNCLEAR"] * 3


@pytest.mark.parametrize("kill_at", [1, 2, 3])
def test_collect_is_killed_before_a_write(
    prepared: World, sail: Sail, warm_programs: Path, tmp_path: Path, kill_at: int
) -> None:
    """Before the results, before the checkpoints, before the ledger."""
    prepared.ingest(max_files_per_job=3)
    assert outcome(start(warm_programs, prepared, sail, tmp_path, "collect", kill_at))
    finish(prepared)
    check(prepared)


def test_killed_again_and_again(prepared: World, sail: Sail, warm_programs: Path, tmp_path: Path) -> None:
    """Ingest and collect in turn, each killed from outside at a time of its own, then left alone."""
    chance = random.Random(4)
    for task in ("ingest", "collect", "ingest", "collect"):
        process = start(warm_programs, prepared, sail, tmp_path, task, 0)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(chance.uniform(0.05, 0.9))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
    finish(prepared)
    check(prepared)
