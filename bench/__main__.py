"""`make bench`: how quick it is to import, to answer `--help`, and to validate 10,000 sources in one file."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCES = 10_000
MODULES = 100


def quickest(command: list[str], tries: int) -> float:
    """Seconds of the quickest of some tries."""
    seconds = []
    for _ in range(tries):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def write_sources(path: Path) -> None:
    """One file with 100 modules of 100 sources in ten stages."""
    lines = ['metadata_version: "1.0"', "modules:"]
    for module in range(MODULES):
        lines += [f"  - module_name: module_{module:03}", "    sources:"]
        for source in range(SOURCES // MODULES):
            lines += [
                f"      - source_id: source_{source:03}",
                "        source_type: sql",
                f"        execution_order: {source // 10 + 1}",
                "        transformation_config:",
                "          task_type: sql_query",
                f"          sql_task: {{warehouse_id: abc, sql_query: SELECT {source} AS number}}",
            ]
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    program = str(Path(sys.executable).parent / "lakeflow-job-meta")
    bare = quickest([sys.executable, "-c", "pass"], 10)
    rows = [
        (
            "import lakeflow_job_meta",
            quickest([sys.executable, "-c", "import lakeflow_job_meta"], 10) - bare,
            0.15,
        )
    ]
    rows.append(("lakeflow-job-meta --help", quickest([program, "--help"], 10), 0.4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sources.yaml"
        write_sources(path)
        rows.append(
            (f"validate {SOURCES:,} sources in one file", quickest([program, "validate", str(path)], 2), 10.0)
        )
    print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    slow = False
    for name, seconds, limit in rows:
        slow = slow or seconds > limit
        print(f"{name:<40} {seconds:7.3f} s   limit {limit:g} s{'   TOO SLOW' if seconds > limit else ''}")
    print(json.dumps({name: round(seconds, 4) for name, seconds, _ in rows}))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
