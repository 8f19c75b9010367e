"""Uploads of 10,000 and a million rows, queries on them, and 100,000 rows through bronze and silver, beside pandas."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from bench.report import Claim, Section, Table
from bench.services import Worker, sail

JsonObject = dict[str, Any]
LARGE = 1_000_000
SMALL_SECONDS = 2.0
#: The growth of the peak from a tenth of the large file to the whole that counts as bounded, in MB.
FLAT_MB = 250
P50_MS, P99_MS = 100, 250
SYNC_SECONDS = 60


def measure(rows: int = LARGE, queries: int = 100) -> Section:
    sizes = {"small": max(rows // 100, 10), "tenth": max(rows // 10, 10), "large": rows}
    found: dict[str, Any] = {}
    with sail() as (remote, place):
        files = {name: make(place / f"{name}.csv", size) for name, size in sizes.items()}
        with Worker("datasets_worker.py") as worker:
            worker.ask(
                "start",
                remote=remote,
                warehouse=str(place / "warehouse"),
                schema=f"s{os.getpid()}",
                root=str(place / "landing"),
            )
            for name, path in files.items():
                found[name] = worker.ask("ingest", path=str(path), name=name)
                print(f"   ingest {name}: {found[name]['took']:.2f} s", flush=True)
            found["query"] = worker.ask("query", dataset_id=found["small"]["dataset_id"], times=queries)
            found["query_large"] = worker.ask(
                "query", dataset_id=found["large"]["dataset_id"], times=max(queries // 10, 3)
            )
            found["sync"] = worker.ask("sync", dataset_id=found["tenth"]["dataset_id"])
            print(f"   sync: {found['sync']['took']:.2f} s", flush=True)
        with Worker("datasets_worker.py") as worker:
            found["pandas"] = worker.ask(
                "pandas", path=str(files["tenth"]), target=str(place / "plain.parquet")
            )
    return judged(found, sizes)


def make(path: Path, rows: int) -> Path:
    """A CSV of eight columns, one of each type among them; every thousandth row comes twice."""
    chance = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        file.write("ID,Customer Name,Amount,Order Day,Seen At,Paid,Code,Note\n")
        for number in range(rows):
            line = (
                (
                    f"{number},customer {chance.randrange(10_000)},{chance.random() * 1000:.2f},"
                    f"2025-{number % 12 + 1:02}-{number % 28 + 1:02},2025-01-15T10:{number % 60:02}:00Z,"
                    f"{'true' if number % 3 else 'false'},{number % 97:05},{'NA' if number % 5 else 'a note, quoted'!r}\n"
                )
                .replace("'a note, quoted'", '"a note, quoted"')
                .replace("'NA'", "NA")
            )
            file.write(line)
            if number % 1000 == 999:
                file.write(line)
    return path


def judged(found: JsonObject, sizes: dict[str, int]) -> Section:
    small, large = found["small"], found["large"]
    growth = large["above_idle_mb"] - found["tenth"]["above_idle_mb"]
    p50, p99 = percentile(found["query"]["own"], 50), percentile(found["query"]["own"], 99)
    sync, plain = found["sync"], found["pandas"]
    rows = [
        [
            f"{size:,}",
            f"{found[name]['took']:.2f}",
            f"{size / found[name]['took']:,.0f}",
            f"{found[name]['above_idle_mb']:.0f}",
        ]
        for name, size in sizes.items()
    ]
    latencies = [
        [
            f"{sizes[name]:,}",
            what,
            f"{percentile(found[key][kind], 50):.0f}",
            f"{percentile(found[key][kind], 99):.0f}",
        ]
        for name, key in (("small", "query"), ("large", "query_large"))
        for kind, what in (("own", "the query itself"), ("whole", "with the lookup of the dataset on Sail"))
    ]
    return Section(
        "datasets",
        "Datasets",
        claims=[
            Claim(
                f"upload of {sizes['small']:,} rows",
                f"at most {SMALL_SECONDS:g} s",
                f"{small['took']:.2f} s",
                small["took"] <= SMALL_SECONDS,
            ),
            Claim(
                f"memory of an upload of {sizes['large']:,} rows",
                f"at most {FLAT_MB} MB above that of {sizes['tenth']:,}",
                f"{growth:+.0f} MB",
                growth <= FLAT_MB,
            ),
            Claim(
                f"query on {sizes['small']:,} rows",
                f"p50 at most {P50_MS} ms, p99 at most {P99_MS} ms",
                f"{p50:.0f} ms, {p99:.0f} ms",
                p50 <= P50_MS and p99 <= P99_MS,
            ),
            Claim(
                f"bronze, silver and record of {sizes['tenth']:,} rows",
                f"at most {SYNC_SECONDS} s, synced, as many rows as pandas",
                f"{sync['took']:.1f} s, {sync['status']}, {sync['rows']:,} rows",
                sync["took"] <= SYNC_SECONDS and sync["status"] == "synced" and sync["rows"] == plain["rows"],
            ),
        ],
        tables=[
            Table(["rows uploaded", "seconds", "rows a second", "MB above idle"], rows),
            Table(["rows", "query", "p50 ms", "p99 ms"], latencies),
            Table(
                [f"{sizes['tenth']:,} rows cleaned", "seconds", "rows left"],
                [
                    ["bronze", f"{sync['bronze']:.1f}", ""],
                    ["silver", f"{sync['silver']:.1f}", f"{sync['rows']:,}"],
                    ["a plain pandas script, to Parquet", f"{plain['took']:.1f}", f"{plain['rows']:,}"],
                ],
            ),
        ],
        notes=[
            (
                "An upload is everything: encoding, header, rows, types for local queries, Parquet, its copy and checksum, and the "
                "rows of three Delta tables on Sail. The worker is a process of its own, warm. The pandas script reads the CSV, "
                "trims, replaces nulls, finds types, renames columns, drops duplicates and writes one Parquet file; it keeps no "
                "bronze, no history, no status, and writes in place."
            )
        ],
        figures={key: value for key, value in found.items() if not key.startswith("query")},
    )


def percentile(seconds: list[float], percent: int) -> float:
    """In milliseconds; the list is sorted."""
    return seconds[min(len(seconds) - 1, len(seconds) * percent // 100)] * 1000
