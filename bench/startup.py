"""How quick it is to import and to ask for help, and what is not loaded for it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench.report import Claim, Section, Table

#: Must not be loaded by `import lakeflow_job_meta` nor by `--help`.
HEAVY = ("databricks.sdk", "pyspark", "httpx", "pysail", "deltalake", "starlette", "pandas", "sqlglot")
IMPORT_LIMIT = 0.15
HELP_LIMIT = 0.4
IMPORT = "import lakeflow_job_meta"
HELP = "import sys; sys.argv[1:] = ['--help']; from lakeflow_job_meta.cli import main; main()"
LOADED = "import json, sys; print('\\n' + json.dumps(sorted(sys.modules)), file=sys.stderr)"


def loaded(code: str) -> set[str]:
    """The modules that are loaded when a program has run (and ended, as `--help` does)."""
    program = f"try:\n    {code}\nexcept SystemExit:\n    pass\n{LOADED}"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def heavy(code: str) -> list[str]:
    """Which heavy libraries a program loads."""
    modules = loaded(code)
    return [name for name in HEAVY if name in modules]


def seconds(command: list[str], runs: int) -> list[float]:
    """Seconds of each of some runs of a process."""
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - started)
    return found


def measure(runs: int = 11) -> Section:
    """Medians of whole processes; importing is what a process takes beyond an empty one."""
    program = str(Path(sys.executable).parent / "lakeflow-job-meta")
    seconds([program, "--help"], 1)  # compiles what is not compiled yet
    bare = median(seconds([sys.executable, "-c", "pass"], runs))
    imported = median(seconds([sys.executable, "-c", IMPORT], runs)) - bare
    helped = median(seconds([program, "--help"], runs))
    loads = {"import": heavy(IMPORT), "--help": heavy(HELP)}
    return Section(
        "startup",
        "Start: import and --help",
        claims=[
            Claim("`import lakeflow_job_meta`", "< 0.15 s", f"{imported:.3f} s", imported < IMPORT_LIMIT),
            Claim(
                "`lakeflow-job-meta --help`, the whole process",
                "< 0.4 s",
                f"{helped:.3f} s",
                helped < HELP_LIMIT,
            ),
            Claim(
                "heavy libraries loaded by them",
                "none",
                ", ".join(sorted({*loads["import"], *loads["--help"]})) or "none",
                not any(loads.values()),
            ),
        ],
        tables=[
            Table(
                ["process", "seconds"],
                [
                    ["python -c pass", f"{bare:.3f}"],
                    ["python -c 'import lakeflow_job_meta', beyond that", f"{imported:.3f}"],
                    ["lakeflow-job-meta --help", f"{helped:.3f}"],
                ],
            )
        ],
        notes=[
            (
                f"Median of {runs} processes. None of {', '.join(f'`{name}`' for name in HEAVY)} may be in "
                "`sys.modules` afterwards."
            )
        ],
    )
