"""`python -m lakeflow_job_meta.dxr`: the group `dxr` of the command line, where no program is installed.

`--mode ingest|collect|organise|snapshot|run-once` is read as the command, as earlier jobs gave it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; leaves by SystemExit."""
    from lakeflow_job_meta.cli.program import run

    run(["dxr", *with_command(sys.argv[1:] if arguments is None else arguments)])


def with_command(arguments: Sequence[str]) -> list[str]:
    """`--mode X` moved to the front as the command `X`; ingest where there is neither, as it was."""
    words = list(arguments)
    for index, word in enumerate(words):
        if word == "--mode" and index + 1 < len(words):
            return [words[index + 1], *words[:index], *words[index + 2 :]]
        if word.startswith("--mode="):
            return [word.removeprefix("--mode="), *words[:index], *words[index + 1 :]]
    return words


if __name__ == "__main__":
    main()
