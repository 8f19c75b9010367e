"""`load`: YAML files into the control table."""

from __future__ import annotations

import click

from lakeflow_job_meta.cli import display, errors
from lakeflow_job_meta.cli.options import Command, Given, connection, existing_paths
from lakeflow_job_meta.cli.session import session
from lakeflow_job_meta.errors import MetadataError


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--take-over", is_flag=True, help="Take modules over that belong to a volume's file.")
@connection
@click.pass_context
def load(ctx: click.Context, given: Given, paths: tuple[str, ...], take_over: bool) -> None:
    """Write YAML files into the control table; jobs follow with `apply` or the monitor.

    PATH is a file, a folder, or a path below /Volumes. Only rows that changed in their file are
    written. A module with an error is left as it was; the rest is loaded.
    """
    existing_paths(paths)
    with session(given, create=True) as opened:
        done = opened.manager.load(list(paths), hand=True, take_over=take_over)
    if given.json:
        problems = [errors.problem_json(problem) for problem in done.problems]
        display.print_json({"files": len(done.records), "changed": done.changed, "errors": problems})
    else:
        click.echo(f"loaded: {display.count(done.changed, 'row')} changed in {given.table}")
        for note in done.notes:
            errors.warn(note)
        if done.problems:
            errors.report(MetadataError(done.problems, changed=done.changed), json=False, debug=False)
    ctx.exit(1 if done.problems else 0)
