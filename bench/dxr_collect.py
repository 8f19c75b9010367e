"""Collect of many hits: memory that does not grow with them."""

from __future__ import annotations

import os
from typing import Any

from bench.dxr_ingest import simulator, subject
from bench.report import Claim, Section, Table
from bench.services import sail

JsonObject = dict[str, Any]
HITS = 100_000
PER_JOB = 1_000
#: The growth of the peak from a tenth of the hits to all of them, in MB.
GROWTH_MB = 32


def measure(hits: int = HITS) -> Section:
    found: JsonObject = {}
    with sail() as (remote, place):
        for name, count in (("tenth", hits // 10), ("all", hits)):
            with (
                simulator(place / f"dxr-{name}") as variables,
                subject(remote, place, variables) as worker,
            ):
                schema = f"c{os.getpid()}_{name}"
                per_job = min(PER_JOB, count)
                worker.ask("plant", schema=schema, root=str(place), jobs=count // per_job, files=per_job)
            with simulator(place / f"dxr-{name}") as variables, subject(remote, place, variables) as worker:
                found[name] = worker.ask(
                    "collect",
                    schema=schema,
                    root=str(place),
                    settings={"settle_interval": 0.1, "page_size": 500},
                )
            print(f"   {name}: {found[name]['took']:.1f} s", flush=True)
    growth = found["all"]["above_idle_mb"] - found["tenth"]["above_idle_mb"]
    whole = found["all"]
    return Section(
        "dxr_collect",
        "Data X-Ray: collect",
        claims=[
            Claim(
                f"collect of {hits:,} hits: every file accounted for",
                f"{hits:,} classified",
                f"{whole['classified']:,}",
                whole["classified"] == hits,
            ),
            Claim(
                f"collect of {hits:,} hits: peak memory beside a tenth of them",
                f"at most {GROWTH_MB} MB more",
                f"{growth:+.0f} MB",
                growth <= GROWTH_MB,
            ),
        ],
        tables=[
            Table(
                ["hits", "seconds", "hits a second", "MB above idle"],
                [
                    [
                        f"{one['classified']:,}",
                        f"{one['took']:.1f}",
                        f"{one['classified'] / one['took']:,.0f}",
                        f"{one['above_idle_mb']:.0f}",
                    ]
                    for one in found.values()
                ],
            )
        ],
        notes=[
            (
                f"Jobs of {PER_JOB:,} files that have ended; each is looked at until two looks agree, so every hit is read twice. "
                "Names are resolved, and one row a file is merged into Delta on Sail."
            )
        ],
        figures={
            name: {key: one[key] for key in ("took", "above_idle_mb", "classified")}
            for name, one in found.items()
        },
    )
