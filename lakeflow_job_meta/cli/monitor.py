"""`monitor`: the loop, on this machine."""

from __future__ import annotations

from typing import Any

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.options import Command, Given, check_interval_option, connection
from lakeflow_job_meta.cli.session import session


@click.command(cls=Command)
@click.option(
    "--volume-path",
    envvar="LAKEFLOW_JOB_META_VOLUME_PATH",
    metavar="PATH",
    help="Folder of YAML files to watch, usually below /Volumes.",
)
@check_interval_option("From one look to the next.")
@click.option(
    "--max-iterations", type=click.IntRange(min=1), metavar="N", help="Stop after so many; else never."
)
@connection
@click.pass_context
def monitor(
    ctx: click.Context,
    given: Given,
    volume_path: str | None,
    check_interval_seconds: float,
    max_iterations: int | None,
) -> None:
    """Keep jobs equal to the control table and the files of a volume, in a loop.

    SIGTERM ends it after the call under way. With --max-iterations the exit code is 1 when the last
    look had errors. With --format json each look is one line on stdout.
    """
    from lakeflow_job_meta.main import configure_log
    from lakeflow_job_meta.monitor import MetadataMonitor

    configure_log()
    with session(given, patient=True) as opened:
        watching = MetadataMonitor(given.table, check_interval_seconds, volume_path, runtime=opened.runtime)
        last = watching.run_continuous(max_iterations, on_tick=_print_line if given.json else None)
    failed = max_iterations is not None and not watching.stopped and last.get("errors")
    ctx.exit(1 if failed else 0)


def _print_line(tick: dict[str, Any]) -> None:
    display.print_json(tick, lines=True)
