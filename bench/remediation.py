"""Remediation's files a second, beside a plain loop that hashes each file and calls shutil.move."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import Claim, Section, Table
from bench.services import spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FILES = 1_000
#: Bytes of a file, as an office document may have.
SIZE = 64 * 1024
#: Remediation is to do so many files a second, with copies flushed to disk, verified, and logged.
RATE = 50
VOLUME, TARGET = "/Volumes/main/bench/share", "/Volumes/main/bench/archive"


def measure(files: int = FILES) -> Section:
    with spark() as (session, folder):
        return _judged(_runs(session, folder, files), files)


def _runs(session: SparkSession, folder: Path, files: int) -> dict[str, float]:
    """Seconds of each thing that is measured, by its name."""
    from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
    from lakeflow_job_meta.adapters.spark_tables import SparkTables
    from lakeflow_job_meta.names import TableName
    from lakeflow_job_meta.policies import tables as policy_tables
    from lakeflow_job_meta.policies.remediate import RemediationSession, remediate
    from lakeflow_job_meta.policies.remediation_settings import Rules
    from lakeflow_job_meta.policies.undo import undo
    from lakeflow_job_meta.ports import Column, TableDefinition

    session.sql(f"CREATE SCHEMA main.bench LOCATION '{folder}/main/bench'").collect()
    tables, root = SparkTables(session), folder / "Volumes"
    checked = TableDefinition(TableName("main", "bench", "files"), (Column("path", "STRING"),))
    violations = policy_tables.violations(TableName("main", "bench", policy_tables.VIOLATIONS))
    tables.create_table(checked)
    tables.create_table(violations)
    share = root.joinpath(*VOLUME.split("/")[2:])
    hashes = _fill(share, files)
    now = datetime.now(timezone.utc)
    tables.append(
        violations,
        [
            {
                "policy": "bench",
                "table_name": str(checked.name),
                "violation_key": name,
                "row": json.dumps({"path": f"{VOLUME}/{name}", "content_sha256": sha256, "size": SIZE}),
                "first_seen": now,
                "last_seen": now,
            }
            for name, sha256 in hashes.items()
        ],
    )
    moved = RemediationSession(tables, FuseVolumes(root), lambda: datetime.now(timezone.utc))
    given = {"policy": "bench", "table": str(checked.name), "action": "archive", "keeper": "none"}
    rules = Rules.of({**given, "target": TARGET})
    found: dict[str, float] = {}

    def timed(name: str, do: Callable[[], Any]) -> Any:
        started = time.monotonic()
        outcome = do()
        found[name] = time.monotonic() - started
        print(f"   {name}: {found[name]:.1f} s", flush=True)
        return outcome

    timed("plan", lambda: remediate(moved, rules))
    done = timed("execute", lambda: remediate(moved, rules, execute=True))
    assert done["done"] == files, done
    undone = timed("undo", lambda: undo(moved, done["run"]))
    assert undone["done"] == files, undone
    timed("move", lambda: _move(share, folder / "moved"))
    timed("copy", lambda: _copy(folder / "moved", folder / "copied"))
    return found


def _fill(share: Path, files: int) -> dict[str, str]:
    """Files, each of its own content; their hashes by name."""
    share.mkdir(parents=True)
    found: dict[str, str] = {}
    for number in range(files):
        data = os.urandom(1024) * (SIZE // 1024)
        (share / f"{number:06}.bin").write_bytes(data)
        found[f"{number:06}.bin"] = hashlib.sha256(data).hexdigest()
    return found


def _move(share: Path, to: Path) -> None:
    """The plain way: hash, then move; within one file system that is a rename."""
    to.mkdir()
    for file in sorted(share.iterdir()):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.move(file, to / sha256)


def _copy(share: Path, to: Path) -> None:
    """The plain way between two file systems, with the flush that keeps the bytes: hash, copy, flush, delete."""
    to.mkdir()
    for file in sorted(share.iterdir()):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        with file.open("rb") as source, (to / sha256).open("wb") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        file.unlink()


def _judged(found: dict[str, float], files: int) -> Section:
    rates = {name: files / seconds for name, seconds in found.items()}
    ways = {
        "plan": "remediate, the plan alone",
        "execute": "remediate --execute, plan included: copied, flushed, verified, logged, stubs left",
        "undo": "undo: the same back, modification times included",
        "move": "hash and shutil.move (a rename, one file at a time)",
        "copy": "hash, copy, flush, delete (one file at a time)",
    }
    return Section(
        "remediation",
        "Policies: remediation",
        claims=[
            Claim(
                f"remediation of {files:,} files of {SIZE // 1024} kB",
                f"at least {RATE} files/s",
                f"{rates['execute']:,.0f} files/s",
                rates["execute"] >= RATE,
            )
        ],
        tables=[
            Table(
                ["way", "seconds", "files a second"],
                [[ways[name], f"{found[name]:.2f}", f"{rates[name]:,.0f}"] for name in ways],
            )
        ],
        notes=[
            (
                "Plan, log and lock are Delta tables on Sail. shutil.move keeps nothing safe: within one file system it renames, "
                "between two it copies without a flush, and it has neither a log nor a way back."
            )
        ],
        figures={"seconds": found, "files": files},
    )
