"""Beside the peer: the same jobs, the same Sail, the same Jobs API stub, one after the other."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib import metadata as distributions
from pathlib import Path
from statistics import median
from typing import Any

from bench import metadata
from bench.report import Claim, Section, Table
from bench.services import SCRATCH, Failed, Worker, called, sail, stub

JsonObject = dict[str, Any]
PEER = "lakeflow-jobs-meta==0.2.0"
#: Required ratios at the largest size.
RATIOS = {"first": 15.0, "unchanged": 300.0, "one changed": 200.0}
STATEMENTS = 10
#: A pass of the peer ends when it has passed the required ratio by a fifth.
MARGIN = 1.2
CUT_OFF_FROM = 1_000
SIZES = (10, 100, 1_000)


def environment() -> str:
    """The Python of the peer's own environment, made when it is not there. Raises Failed."""
    folder = SCRATCH / "peer"
    python = folder / "bin" / "python"
    marker = folder / PEER
    if marker.exists():
        return str(python)
    print(f"   installing {PEER} into an environment of its own", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    # It imports pyspark and pyyaml, but does not declare them.
    wanted = [PEER, "pyyaml", "pandas<3"]
    wanted += [f"{name}=={distributions.version(name)}" for name in ("pyspark-client", "databricks-sdk")]
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", *wanted], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise Failed(f"pip install {PEER} failed: {done.stderr.strip().splitlines()[-1:]}")
    marker.touch()
    return str(python)


def measure(sizes: tuple[int, ...] = SIZES, runs: int = 5) -> Section:
    """All passes of both at all sizes."""
    title = f"Beside the peer ({PEER})"
    try:
        python = environment()
    except (Failed, OSError) as error:
        print(f"   NO PEER: {error}", file=sys.stderr, flush=True)
        return Section(
            "peer", title, failed=str(error), claims=[Claim(f"beside {PEER}", "measured", "no", False)]
        )
    rows: list[list[str]] = []
    figures: JsonObject = {}
    claims: list[Claim] = []
    with sail() as (remote, scratch):
        for size in sizes:
            before = ours_passes(scratch / f"before{size}", remote, size, runs)
            ours = {name: _median(taken) for name, taken in before.items()}
            peers = peer_passes(scratch / f"peer{size}", remote, size, python, ours)
            # The peer takes long, and others may have come to the machine meanwhile: ours counts from both ends.
            after = ours_passes(scratch / f"after{size}", remote, size, runs)
            ours = {name: _median([*taken, *after[name]]) for name, taken in before.items()}
            figures[str(size)] = {"ours": ours, "peer": peers}
            rows += _rows(size, ours, peers)
            claims = _claims(size, ours, peers)
            print(f"   {size} jobs are done", flush=True)
    header = [
        "jobs",
        "pass",
        "ours s",
        "peer s",
        "ratio",
        "SQL ours / peer",
        "calls ours / peer",
        "writes ours / peer",
        "peak MB ours / peer",
    ]
    return Section("peer", title, claims, [Table(header, rows)], _notes(runs), figures=figures)


def ours_passes(scratch: Path, remote: str, size: int, runs: int) -> dict[str, list[JsonObject]]:
    """Every pass of ours: the first from nothing each time, the others on what the last first one made."""
    firsts: list[JsonObject] = []
    rounds = runs if size < CUT_OFF_FROM else min(runs, 3)
    for number in range(rounds):
        folder = scratch / f"files{number}"
        metadata.write_ours(folder, size)
        with stub(scratch / f"stub{number}") as connection, Worker("ours_worker.py") as worker:
            worker.ask(
                "begin",
                remote=remote,
                host=connection.host,
                token=connection.token,
                warehouse=str(scratch / f"warehouse{number}"),
            )
            called(connection)

            def one(**how: Any) -> JsonObject:
                answer = worker.ask("pass", folder=str(folder), **how)  # noqa: B023 - called in this round only
                calls, writes = called(connection)
                assert not answer["errors"], answer["errors"]
                return {**answer, "calls": calls, "writes": writes}

            firsts.append(one())
            if number < rounds - 1:
                continue
            one()  # settles what the first pass left to notice
            unchanged = [one() for _ in range(runs)]
            changed, quick = [], []
            for turn in range(runs):
                metadata.change_one(folder, 2 * turn)
                changed.append(one())
                metadata.change_one(folder, 2 * turn + 1)
                quick.append(one(compare=False))
    return {
        "first": firsts,
        "unchanged": unchanged,
        "one changed": changed,
        "one changed, as the monitor does it": quick,
    }


def peer_passes(
    scratch: Path, remote: str, size: int, python: str, ours: dict[str, JsonObject]
) -> dict[str, JsonObject]:
    """The peer's passes; the first always in full, the later ones cut off at large sizes."""
    folder = scratch / "files"
    metadata.write_peers(folder, size)
    runs = 3 if size < CUT_OFF_FROM else 1
    found: dict[str, JsonObject] = {}
    with stub(scratch / "stub") as connection:
        worker: Worker | None = None
        for name, required in RATIOS.items():
            taken = []
            for turn in range(1 if name == "first" else runs):
                if name == "one changed":
                    metadata.change_one(folder, turn)
                if worker is None:
                    worker = Worker("peer_worker.py", python)
                    worker.ask(
                        "begin",
                        remote=remote,
                        warehouse=str(scratch / "warehouse"),
                        host=connection.host,
                        token=connection.token,
                    )
                called(connection)
                cut_off = None
                if name != "first" and size >= CUT_OFF_FROM:
                    cut_off = required * MARGIN * ours[name]["seconds"]
                answer = worker.ask("pass", folder=str(folder), cut_off=cut_off)
                calls, writes = called(connection)
                taken.append({**answer, "calls": calls, "writes": writes})
                if answer["cut_off"]:
                    worker = None
                else:
                    assert answer["jobs"] == size, answer
                print(f"   peer, {size} jobs, {name}: {answer['seconds']:.1f} s", flush=True)
            found[name] = _median(taken)
        if worker is not None:
            worker.__exit__()
    return found


def _median(taken: list[JsonObject]) -> JsonObject:
    """The run with the median seconds, and the largest of everything that is counted."""
    ordered = sorted(taken, key=lambda one: one["seconds"])
    chosen = dict(ordered[len(ordered) // 2])
    chosen["seconds"] = median(one["seconds"] for one in taken)
    for name in ("calls", "writes", "statements", "sql_texts", "spark_requests", "peak_mb"):
        if name in chosen:
            chosen[name] = max(one[name] for one in taken)
    chosen["runs"] = len(taken)
    return chosen


def _rows(size: int, ours: dict[str, JsonObject], peers: dict[str, JsonObject]) -> list[list[str]]:
    rows = []
    for name, one in ours.items():
        peer = peers[name.split(",")[0]]
        more = "> " if peer["cut_off"] else ""
        rows.append(
            [
                f"{size:,}",
                name,
                f"{one['seconds']:.3f}",
                f"{more}{peer['seconds']:.1f}",
                f"{more}{peer['seconds'] / one['seconds']:,.0f}",
                f"{one['statements']} / {more}{peer['sql_texts']:,}",
                f"{one['calls']:,} / {more}{peer['calls']:,}",
                f"{one['writes']:,} / {more}{peer['writes']:,}",
                f"{one['peak_mb']:.0f} / {peer['peak_mb']:.0f}",
            ]
        )
    return rows


def _claims(size: int, ours: dict[str, JsonObject], peers: dict[str, JsonObject]) -> list[Claim]:
    claims = []
    # At ten jobs nobody waits: the promise is about a thousand.
    for name, required in RATIOS.items() if size >= CUT_OFF_FROM else ():
        ratio = peers[name]["seconds"] / ours[name]["seconds"]
        more = "> " if peers[name]["cut_off"] else ""
        claims.append(
            Claim(
                f"{size:,} jobs x {metadata.TASKS} tasks, {name}: quicker than the peer",
                f">= {required:.0f} x",
                f"{more}{ratio:,.0f} x",
                ratio >= required,
            )
        )
    unchanged, changed = ours["unchanged"], ours["one changed"]
    statements = max(changed["statements"], changed["sql_texts"])
    claims.append(
        Claim("writes of an unchanged pass", "0", f"{unchanged['writes']}", unchanged["writes"] == 0)
    )
    claims.append(Claim("writes for one changed job", "1", f"{changed['writes']}", changed["writes"] == 1))
    claims.append(
        Claim("SQL statements for one changed job", "<= 10", f"{statements}", statements <= STATEMENTS)
    )
    return claims


def _notes(runs: int) -> list[str]:
    return [
        (
            f"{metadata.TASKS} notebook tasks a job, {metadata.JOBS_IN_A_FILE} jobs a file. A pass goes from the files over the control "
            "table to the jobs: ours is load, plan and apply, the peer's is `create_or_update_jobs(yaml_path=FOLDER, "
            "default_pause_status=True)` (or it would start every job that it creates). Ours reads the whole workspace in "
            'every pass, to find what was changed behind our back; the row "as the monitor does it" leaves that to the '
            "comparison every `drift_interval`, and is set against the same pass of the peer."
        ),
        (
            "Both talk to one Sail and to the same kind of Jobs API stub on loopback (the embedded workspace, without latency, a "
            "fresh one each, so that neither lists the other's jobs), each in a process and an environment of its own. Calls and "
            f"writes are counted by the stub. Ours: median of {2 * runs} (first: 6 at {CUT_OFF_FROM:,} jobs), half of them "
            "before the peer and half after it, each first pass from nothing; "
            f"the peer: median of 3, at {CUT_OFF_FROM:,} jobs one."
        ),
        (
            f"At {CUT_OFF_FROM:,} jobs a pass of the peer is cut off once it has passed the required ratio by a fifth: figures with > "
            "are lower bounds. Its first pass always runs in full, so the later passes start from a completed creation, made by "
            "the peer itself."
        ),
        (
            "SQL: statements of ours as the `Tables` port counts them (reads included), of the peer only the texts it gives to "
            "`spark.sql`: its reads through DataFrames come on top."
        ),
    ]
