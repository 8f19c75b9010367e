"""The command line: `lakeflow-job-meta`, one file a command group.

What lives here: commands, their options, and everything that prints (`display`, `errors`). A command
parses, asks a service (`metadata_manager`, `orchestrator`, `monitor`, `local.process`), shows what
came back, and picks the exit code: 0 done, 2 `plan` found changes, 1 something failed or was
refused, 64 wrong usage, 130 interrupted.

What may not live here: decisions about jobs, tables or files. Nothing here loads the SDK, Spark or
HTTP at import: commands are imported when they are called, so that `--help` stays quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the console script; leaves by SystemExit with the exit code.

    Args:
        arguments: without the program's name; None: those of the process.
    """
    from lakeflow_job_meta.cli.program import run

    run(arguments)
