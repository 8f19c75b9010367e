"""Validation of one large file, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import Claim, Section, Table

SOURCES = 10_000
LIMIT = 10.0
#: Shapes of the file: modules by sources in each.
SHAPES = ((100, 100), (1_000, 10), (20, 500))


def write_file(path: Path, modules: int, sources: int) -> None:
    """Modules of notebook, SQL and wheel sources in stages of ten, with a default and a variable."""
    lines = [
        'metadata_version: "1.0"',
        "variables: {env: {default: dev}}",
        "defaults: {transformation_config: {max_retries: 1}}",
        "modules:",
    ]
    for module in range(modules):
        lines += [f"  - module_name: module_{module:05}", "    sources:"]
        for source in range(sources):
            lines += [
                f"      - source_id: source_{source:05}",
                "        source_type: table",
                f"        execution_order: {source // 10 + 1}",
                "        source_config: {path: '/Volumes/main/${var.env}/in', format: csv}",
                "        transformation_config:",
            ]
            if source % 2:
                lines += ["          task_type: notebook", f"          notebook_path: /Workspace/n{source}"]
            else:
                lines += [
                    "          task_type: sql_query",
                    f"          sql_task: {{warehouse_id: abc, sql_query: SELECT {source} AS number}}",
                ]
    path.write_text("\n".join(lines) + "\n")


def validate(path: Path) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole process, and what it said."""
    command = [
        str(Path(sys.executable).parent / "lakeflow-job-meta"),
        "validate",
        str(path),
        "--format",
        "json",
    ]
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    elapsed = time.perf_counter() - started
    return elapsed, json.loads(done.stdout)


def measure(runs: int = 3, sources: int = SOURCES) -> Section:
    rows, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        for modules, whole in SHAPES:
            path = Path(folder) / f"{modules}.yaml"
            each = max(1, whole * sources // SOURCES)
            write_file(path, modules, each)
            took = []
            for _ in range(runs):
                elapsed, said = validate(path)
                assert said["sources"] == modules * each, said
                assert not said["errors"], said["errors"][:3]
                took.append(elapsed)
            slowest = max(slowest, median(took))
            size = path.stat().st_size / 2**20
            rows.append([f"{modules:,}", f"{each:,}", f"{size:.1f}", f"{median(took):.2f}"])
    return Section(
        "validate",
        f"Validation of {sources:,} sources in one file",
        claims=[
            Claim(
                f"`validate` of one file with {sources:,} sources, the slowest shape",
                "< 10 s",
                f"{slowest:.2f} s",
                slowest < LIMIT,
            )
        ],
        tables=[Table(["modules", "sources in each", "MiB", "seconds"], rows)],
        notes=[f"`lakeflow-job-meta validate FILE --format json`, the whole process; median of {runs}."],
    )
