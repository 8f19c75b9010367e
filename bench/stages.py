"""Edges between two wide stages."""

from __future__ import annotations

import json
import time

from bench.report import Claim, Section, Table

WIDE = 499
LIMIT = 1_100


def edges(wide: int) -> tuple[int, int, float]:
    """(tasks, edges, seconds to define and render) of a module with two stages of so many sources."""
    from lakeflow_job_meta.jobs.render import render
    from lakeflow_job_meta.metadata.build import define
    from lakeflow_job_meta.metadata.rows import Row
    from lakeflow_job_meta.names import TableName
    from lakeflow_job_meta.settings import Settings

    task = json.dumps({"task_type": "notebook", "notebook_path": "/Workspace/n"})
    rows = [
        Row(f"s{stage}_{number}", "wide", "notebook", stage, "{}", "{}", task, True)
        for stage in (1, 2)
        for number in range(wide)
    ]
    started = time.perf_counter()
    defined = define(rows, table="main.b.control", settings=Settings())
    assert defined.definition is not None, defined.problems
    desired = render(defined.definition, control_table=TableName.parse("main.b.control"), settings=Settings())
    tasks = desired.settings["tasks"]
    return len(tasks), sum(len(one.get("depends_on") or ()) for one in tasks), time.perf_counter() - started


def measure() -> Section:
    rows = []
    found = 0
    for wide in (10, 14, 15, 100, WIDE):
        tasks, found, seconds = edges(wide)
        rows.append([f"{wide}", f"{wide * wide:,}", f"{found:,}", f"{tasks:,}", f"{seconds:.2f}"])
    return Section(
        "stages",
        "Two stages of 499 sources",
        claims=[Claim(f"edges between two stages of {WIDE} sources", "< 1,100", f"{found:,}", found < LIMIT)],
        tables=[Table(["sources a stage", "edges without a barrier", "edges", "tasks", "seconds"], rows)],
        notes=[
            "Definition and rendering of one module. From 201 edges on a barrier stands between the stages."
        ],
    )
