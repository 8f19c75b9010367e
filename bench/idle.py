"""An idle tick of the monitor, with few jobs and with many."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench import metadata
from bench.report import Claim, Section, Table
from bench.services import SCRATCH, Worker, called, workspace

FEW = 10
MANY = 1_000
RATIO = 1.5
TICKS = 41


def measure(many: int = MANY, ticks: int = TICKS) -> Section:
    """Ticks of two monitors in turn, so that both meet the same noise."""
    sizes = (FEW, many)
    taken: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    SCRATCH.mkdir(exist_ok=True)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SCRATCH)))
        monitors = {}
        for size in sizes:
            folder = scratch / f"files{size}"
            metadata.write_ours(folder, size)
            connection = stack.enter_context(workspace(scratch / f"workspace{size}"))
            worker = stack.enter_context(Worker("ours_worker.py"))
            worker.ask("begin", remote=connection.spark_remote, host=connection.host, token=connection.token)
            first = worker.ask("tick", folder=str(folder))
            assert first["jobs"] == size, first
            worker.ask("tick", folder=str(folder))
            monitors[size] = (worker, connection, folder)
        for size in sizes * ticks:
            worker, connection, folder = monitors[size]
            called(connection)
            answer = worker.ask("tick", folder=str(folder))
            calls, _ = called(connection)
            taken[size].append({**answer, "calls": calls})
    return _section(sizes, taken)


def _section(sizes: tuple[int, ...], taken: dict[int, list[dict[str, Any]]]) -> Section:
    seconds = {size: median(one["seconds"] for one in taken[size]) for size in sizes}
    few, many = sizes
    ratio = seconds[many] / seconds[few]
    every = [one for size in sizes for one in taken[size]]
    most = {name: max(one[name] for one in every) for name in ("calls", "statements", "listings", "reads")}
    return Section(
        "idle",
        f"An idle tick of the monitor at {few:,} and at {many:,} jobs",
        claims=[
            Claim(
                f"an idle tick at {many:,} jobs against one at {few:,}",
                "<= 1.5 x",
                f"{ratio:.2f} x",
                ratio <= RATIO,
            ),
            Claim(
                "Jobs API calls (any REST call) of an idle tick", "0", f"{most['calls']}", most["calls"] == 0
            ),
            Claim(
                "an idle tick reads",
                "1 table version and 1 listing",
                f"{most['statements']} statement, {most['listings']} listing, {most['reads']} files",
                (most["statements"], most["listings"], most["reads"]) == (1, 1, 0),
            ),
        ],
        tables=[
            Table(
                ["jobs", "files", "ms", "SQL statements", "listings", "files read", "REST calls"],
                [
                    [
                        f"{size:,}",
                        f"{size // metadata.JOBS_IN_A_FILE:,}",
                        f"{seconds[size] * 1000:.1f}",
                        *(
                            f"{max(one[name] for one in taken[size])}"
                            for name in ("statements", "listings", "reads", "calls")
                        ),
                    ]
                    for size in sizes
                ],
            )
        ],
        notes=[
            (
                f"Two embedded workspaces, each with a monitor in a process of its own; {len(taken[few])} ticks of both in turn, "
                "medians. REST calls are counted by the workspace."
            )
        ],
    )
