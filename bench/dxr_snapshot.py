"""Snapshot of many rows, end to end into Delta on Sail, beside only parsing the same stream, and the older way."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from bench.dxr_ingest import simulator
from bench.report import Claim, Section, Table
from bench.services import Failed, Worker, sail

JsonObject = dict[str, Any]
ROWS = 1_000_000
SHARE = 0.75
RATE = 45_000
MEMORY_MB = 400
#: The older way is given this many times as long as ours before it is cut off.
PATIENCE = 5.0


def measure(rows: int = ROWS, turns: int = 3) -> Section:
    found: dict[str, JsonObject] = {}
    with sail() as (remote, place), simulator(place / "dxr", fleet=rows) as variables:
        for turn in range(turns):
            for name in ("parse", "snapshot"):
                schema = f"s{os.getpid()}_{turn}"
                result = ask(name, remote, place, variables, schema=schema)
                print(f"   {name}: {result['took']:.1f} s, {result['peak_mb']:.0f} MB", flush=True)
                best = found.get(name)
                if best is None or result["took"] < best["took"]:
                    found[name] = {
                        **result,
                        "peak_mb": max(result["peak_mb"], best["peak_mb"] if best else 0),
                    }
        cut_off = PATIENCE * found["snapshot"]["took"]
        older = ask("older", remote, place, variables, schema=f"o{os.getpid()}", cut_off=cut_off)
    return judged(found, older, rows)


def ask(
    do: str,
    remote: str,
    place: Path,
    variables: dict[str, str],
    *,
    schema: str,
    cut_off: float | None = None,
) -> JsonObject:
    """A command to a worker of its own; why it failed, if it did, under `reason`."""
    with Worker("dxr_snapshot_worker.py") as worker:
        worker.ask(
            "start",
            remote=remote,
            warehouse=str(place / "warehouse"),
            url=variables["DXR_BASE_URL"],
            token=variables["DXR_API_KEY"],
        )
        try:
            answer = worker.ask(do, cut_off=cut_off, schema=schema, root=str(place / "staging"))
        except Failed as error:
            if do != "older":
                raise
            return {"reason": why(str(error))}
        return {"reason": "cut off", **answer} if answer["cut_off"] else answer


def why(error: str) -> str:
    """What an error of the engine says, in one line."""
    said = re.search(r'details = "(.*?)"\n', error, re.DOTALL)
    line = " ".join((said.group(1) if said else error).split())
    return f"fails: {line[:200]}"


def judged(found: dict[str, JsonObject], older: JsonObject, rows: int) -> Section:
    ours, plain = found["snapshot"], found["parse"]
    rate, parsing = rows / ours["took"], rows / plain["took"]
    outcome = older.get("reason") or f"{older['took']:.1f} s, {older['peak_mb']:.0f} MB"
    return Section(
        "dxr_snapshot",
        "Data X-Ray: snapshot",
        claims=[
            Claim(
                f"snapshot of {rows:,} rows, end to end",
                f"{SHARE:.0%} of the speed of only parsing the stream, or {RATE:,} rows/s",
                f"{rate / parsing:.0%}, {rate:,.0f} rows/s",
                rate >= SHARE * parsing or rate >= RATE,
            ),
            Claim(
                f"snapshot of {rows:,} rows: commits",
                "1, and the table's first",
                str(ours["commits"]),
                ours["commits"] == 2 and ours["rows"] == rows,
            ),
            Claim(
                f"snapshot of {rows:,} rows: peak memory of the client process",
                f"at most {MEMORY_MB} MB",
                f"{ours['peak_mb']:.0f} MB",
                ours["peak_mb"] <= MEMORY_MB,
            ),
        ],
        tables=[
            Table(
                ["way", "seconds", "rows a second", "peak MB"],
                [
                    ["snapshot", f"{ours['took']:.1f}", f"{rate:,.0f}", f"{ours['peak_mb']:.0f}"],
                    [
                        "only reading and parsing the stream",
                        f"{plain['took']:.1f}",
                        f"{parsing:,.0f}",
                        f"{plain['peak_mb']:.0f}",
                    ],
                    ["the older way: one list, createDataFrame", outcome, "", ""],
                ],
            )
        ],
        notes=[
            (
                f"{rows:,} rows of about 1 kB from the simulator over loopback HTTP, which makes them while it sends them. "
                f"Of the snapshot's seconds {ours['publish']:.1f} are the engine's, for the check of the staged files and the one "
                "INSERT ... REPLACE WHERE. Every worker is a process of its own; peak memory is that of the whole process."
            )
        ],
        figures={"snapshot": ours, "parse": plain, "older": older},
    )
