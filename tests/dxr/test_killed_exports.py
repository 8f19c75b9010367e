"""kill -9 of real processes in organise and snapshot, then run again: the same as an undisturbed run."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.dxr import copies, label_places
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.dxr.organise import organise
from lakeflow_job_meta.dxr.snapshot import take
from lakeflow_job_meta.dxr.snapshot_rows import snapshot_table
from lakeflow_job_meta.names import TableName
from tests.conftest import Sail
from tests.dxr.catalog import FakeCatalog
from tests.dxr.world import World
from tests.embedded import ROOT, environment

_NUMBERS = itertools.count(1)
NOON = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
LABELS = {0: ["One"], 1: ["One", "Two"], 2: []}
FILES = 7


@pytest.fixture
def prepared(world: World) -> World:
    """Classified files, and tables that another session can be told of."""
    for name, make in (
        ("dxr_copies", copies.copies_table),
        ("dxr_labels", label_places.label_table),
        ("dxr_snapshot", snapshot_table),
        ("file_metadata", definitions.metadata),
    ):
        world.tables.create_table(make(TableName(*world.schema, name)))
    rows = []
    for number in range(FILES):
        text = f"file {number} " * 50
        name = f"d{number % 2}/f{number}.txt"
        rows.append(
            {
                "file_path": world.put(name, text),
                "relative_path": name,
                "volume_path": world.volume,
                "labels": LABELS[number % 3],
                "source_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "file_id": str(number),
                "status": "classified",
            }
        )
    world.tables.append(definitions.metadata(world.metadata_table), rows)
    return world


def run(programs: Path, world: World, sail: Sail, folder: Path, task: str, kind: str, number: int) -> None:
    """The program in a process of its own; it must have been killed."""
    path = folder / f"{next(_NUMBERS)}.json"
    names = ("dxr_copies", "dxr_labels", "dxr_snapshot", "file_metadata")
    arguments = {
        "remote": sail.remote,
        "warehouse": str(sail.warehouse),
        "tables": [str(TableName(*world.schema, name)) for name in names],
        "root": str(world.root),
        "token": world.dxr.token,
        "task": task,
        "kind": kind,
        "number": number,
        "now": NOON.isoformat(),
        "run_id": f"killed-{number}",
        "settings": {
            "source_volume": world.volume,
            "metadata_table": str(world.metadata_table),
            "base_url": world.dxr.url,
            "staging_path": str(folder / "staging"),
        },
    }
    path.write_text(json.dumps(arguments))
    done = subprocess.run(
        [programs / "warm-python", "-m", "tests.dxr.killed_exports", path],
        cwd=ROOT,
        env=environment(None, SPARK_HOME=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def tree(world: World) -> dict[str, bytes]:
    top = world.root / "main" / "files"
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and "inbox" not in path.relative_to(top).parts
    }


@pytest.mark.parametrize(("kind", "number"), [("merge", 1), ("merge", 3), ("upload", 2), ("merge", 4)])
def test_organise_is_killed(
    prepared: World, sail: Sail, warm_programs: Path, tmp_path: Path, kind: str, number: int
) -> None:
    """Before the label is known, before the plan, in the middle of a copy, before the confirmation."""
    run(warm_programs, prepared, sail, tmp_path, "dxr_organise", kind, number)
    session = prepared.session()
    catalog = FakeCatalog(prepared.root)
    session.catalog = lambda: catalog
    organise(session)
    wanted = {
        f"dxr_label_{label.lower()}/d{number % 2}/f{number}.txt": f"file {number} ".encode() * 50
        for number in range(FILES)
        for label in LABELS[number % 3]
    }
    assert tree(prepared) == wanted
    ledger = prepared.rows("dxr_copies")
    assert len(ledger) == len(wanted)
    assert {row["state"] for row in ledger} == {"COPIED"}
    assert len(prepared.rows("dxr_labels")) == 2
    assert organise(session)[1]["copied"] == 0


@pytest.mark.parametrize("kind", ["upload", "replace_partition", "replaced"])
def test_snapshot_is_killed(
    prepared: World, sail: Sail, warm_programs: Path, tmp_path: Path, kind: str
) -> None:
    """In the middle of staging, before the commit, right after it: the table is always a whole one."""
    world = prepared
    world.dxr.knobs(fleet=30)
    more: dict[str, Any] = {"staging_path": str(tmp_path / "staging"), "clock": lambda: NOON}
    take(world.session(ingestion_date="2026-03-03", **more))
    take(world.session(**more))
    world.dxr.knobs(fleet=35)
    run(warm_programs, world, sail, tmp_path, "dxr_snapshot", kind, 1)
    days = [row["ingestion_date"].day for row in world.rows("dxr_snapshot", "ingestion_date")]
    assert (days.count(3), days.count(4)) == (30, 35 if kind == "replaced" else 30)
    more["clock"] = lambda: NOON + timedelta(days=400)  # what was left behind is old by then
    take(world.session(ingestion_date="2026-03-04", **more))
    rows = world.rows("dxr_snapshot", "ingestion_date, file_id")
    assert sum(row["ingestion_date"].day == 4 for row in rows) == 35
    assert len({(row["ingestion_date"], row["file_id"]) for row in rows}) == len(rows) == 65
    assert [path for path in (tmp_path / "staging").rglob("*") if path.is_file()] == []
