"""How the work of each kind of pass grows with the number of modules."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench import metadata
from bench.report import HERE, Section, Table
from bench.services import SCRATCH, Worker, called, workspace

SIZES = (10, 100, 1_000, 5_000)
RUNS = 3
PICTURE = "growth.png"
FIRST, FULL, IDLE, QUICK_ONE, FULL_ONE = (
    "first",
    "unchanged, workspace compared",
    "unchanged, monitor tick",
    "one changed, monitor tick",
    "one changed, workspace compared",
)
KINDS = (FIRST, FULL, IDLE, QUICK_ONE, FULL_ONE)
Figures = dict[str, dict[int, dict[str, Any]]]


def measure(sizes: tuple[int, ...] = SIZES, picture: Path = HERE / PICTURE) -> Section:
    found: Figures = {kind: {} for kind in KINDS}
    SCRATCH.mkdir(exist_ok=True)
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
            for kind, figures in passes(Path(scratch), size).items():
                found[kind][size] = figures
        print(f"   {size} modules are done", flush=True)
    try:
        from bench.plot import growth
    except ImportError:
        print("   no picture: matplotlib is not installed")
    else:
        growth(found, picture)
    rows = [
        [
            kind,
            f"{size:,}",
            f"{one['seconds']:.3f}",
            *(f"{one[name]:,}" for name in ("statements", "calls", "writes")),
            f"{one['peak_mb']:.0f}",
        ]
        for kind in KINDS
        for size, one in found[kind].items()
    ]
    return Section(
        "growth",
        "Growth with the number of modules",
        tables=[
            Table(["pass", "modules", "seconds", "SQL statements", "REST calls", "writes", "peak MB"], rows)
        ],
        notes=[
            (
                f"{metadata.TASKS} notebook tasks a module, {metadata.JOBS_IN_A_FILE} modules a file, on the embedded workspace (its gateway "
                f"and Sail included); median of {RUNS}, the first pass once. Peak memory is of the process that makes the pass, "
                "Python, SDK and Spark Connect client included. Explained in [docs/scale.md](../docs/scale.md)."
            ),
        ],
        picture=PICTURE,
        figures={kind: {str(size): one for size, one in by_size.items()} for kind, by_size in found.items()},
    )


def passes(scratch: Path, size: int, runs: int = RUNS) -> dict[str, dict[str, Any]]:
    """Every kind of pass at one size."""
    folder = scratch / "files"
    metadata.write_ours(folder, size)
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    with workspace(scratch / "workspace") as connection, Worker("ours_worker.py") as worker:
        worker.ask("begin", remote=connection.spark_remote, host=connection.host, token=connection.token)
        called(connection)

        def take(kind: str, do: str, **how: Any) -> None:
            answer = worker.ask(do, folder=str(folder), **how)
            calls, writes = called(connection)
            assert not answer["errors"], (kind, answer["errors"])
            if kind:
                found[kind].append({**answer, "calls": calls, "writes": writes})

        take(FIRST, "pass")
        take("", "pass")
        take("", "tick")  # a monitor's first tick compares
        for turn in range(runs):
            take(FULL, "pass")
            take(IDLE, "tick")
            metadata.change_one(folder, 2 * turn)
            take(QUICK_ONE, "tick")
            metadata.change_one(folder, 2 * turn + 1)
            take(FULL_ONE, "pass")
            take("", "tick")  # the monitor notices what the pass did
    return {kind: _median(taken) for kind, taken in found.items()}


def _median(taken: list[dict[str, Any]]) -> dict[str, Any]:
    """Median seconds; counts and memory are the largest that were seen."""
    names = ("statements", "calls", "writes", "peak_mb", "spark_requests")
    most = {name: max(one[name] for one in taken) for name in names}
    return {"seconds": median(one["seconds"] for one in taken), **most}
