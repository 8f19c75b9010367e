"""`local`: the embedded workspace of a folder, for development and tests."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.options import format_option
from lakeflow_job_meta.cli.session import enter_local, local_spark
from lakeflow_job_meta.errors import LocalError, UsageError

dir_option = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".lakeflow"),
    show_default=True,
    envvar="LAKEFLOW_JOB_META_LOCAL",
    metavar="DIR",
    help="Folder of the workspace.",
)


@click.group()
def local() -> None:
    """The embedded workspace: a Databricks workspace in a folder, for development and tests.

    It binds to loopback and keeps everything below DIR: tables in warehouse/, volumes in Volumes/,
    workspace files in Workspace/.
    """


@local.command()
@dir_option
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="HTTP port; 0: any that is free.")
@click.option(
    "--catalog", "catalogs", multiple=True, metavar="NAME", help="One more catalog; may be repeated."
)
def up(directory: Path, port: int, catalogs: tuple[str, ...]) -> None:
    """Serve DIR in the foreground until stopped; prints the variables to connect with when it is ready.

    DIR is made when it is missing.
    """
    from lakeflow_job_meta.local import process

    there = process.find(directory)
    if there is not None:
        raise LocalError(
            f"the workspace of {directory} is up already (process {there.pid}, {there.host}): "
            f"`lakeflow-job-meta local env --dir {directory}` shows how to connect, `local stop` ends it"
        )
    process.serve(
        directory,
        port,
        catalogs=list(catalogs),
        on_ready=lambda connection: _export(connection.environment(), json=False),
    )


@local.command()
@dir_option
@format_option
def env(directory: Path, json: bool) -> None:
    """Print the variables with which the SDK, Spark and every command reach the workspace of DIR.

    In a shell: eval "$(lakeflow-job-meta local env --dir DIR)"
    """
    _export(_find(directory).environment(), json=json)


@local.command()
@dir_option
@format_option
@click.pass_context
def status(ctx: click.Context, directory: Path, json: bool) -> None:
    """Show whether the workspace of DIR is up, and where. Exit code 1 when it is not."""
    from lakeflow_job_meta.local import process

    there = process.find(directory)
    facts: dict[str, Any] = {"up": there is not None, "dir": str(directory.resolve())}
    if there is not None:
        facts |= {"host": there.host, "spark": bool(there.spark_remote), **there.ask("GET", "/local/health")}
    if json:
        display.print_json(facts)
    elif there is None:
        click.echo(f"{directory}: not up; start it with `lakeflow-job-meta local up --dir {directory}`")
    else:
        shown = (
            (name, ", ".join(value) if isinstance(value, list) else value) for name, value in facts.items()
        )
        display.print_table(["", ""], shown)
    ctx.exit(0 if there is not None else 1)


@local.command()
@dir_option
@click.argument("statement", metavar="SQL")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="Of the rows.",
)
def sql(directory: Path, statement: str, output: str) -> None:
    """Run SQL on the workspace of DIR, started when it is not up, and print the rows; `-` reads stdin."""
    from lakeflow_job_meta import runtime

    text = sys.stdin.read() if statement == "-" else statement
    if not text.strip():
        raise UsageError("no SQL: give a statement, or `-` and a script on stdin")
    enter_local(directory)
    with local_spark() as spark:
        # The table's name is only formal here.
        tables = runtime.connect("main.default.etl_control", spark=spark).tables
        results = [tables.query(one) for one in statements(text)]
    for rows in results:
        if rows or (output == "json" and len(results) == 1):
            _print_rows(rows, output)


@local.command()
@dir_option
@click.option("--yes", is_flag=True, help="Really delete it.")
def reset(directory: Path, yes: bool) -> None:
    """End the workspace of DIR and delete its state, tables, volumes and workspace files."""
    from lakeflow_job_meta.local import process

    if not yes:
        raise UsageError(f"this deletes all tables, volumes and jobs of {directory}: say so with --yes")
    process.reset(directory)
    click.echo(f"{directory}: deleted")


@local.command()
@dir_option
def stop(directory: Path) -> None:
    """End the workspace of DIR and its runs; tables, volumes and jobs stay."""
    from lakeflow_job_meta.local import process

    click.echo(f"{directory}: {'stopped' if process.stop(directory) else 'was not up'}")


@local.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="HTTP port; 0: any that is free.")
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="YAML with further annotators, labels, extractors, categories and redactors; may be repeated.",
)
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="YAML or JSON with the knobs: how it behaves and misbehaves.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder that keeps jobs and files; without it they are gone with the process.",
)
def dxr(port: int, rules: tuple[Path, ...], faults: Path | None, state: Path | None) -> None:
    """Serve the Data X-Ray simulator alone, in the foreground; prints the variables to connect with.

    It classifies what it is sent. An embedded workspace has one of its own that starts when it is used.
    """
    from lakeflow_job_meta.local.dxr import serving

    serving.serve(
        port,
        folder=state,
        rules=rules,
        faults=faults,
        on_ready=lambda variables: _export(variables, json=False),
    )


def statements(script: str) -> list[str]:
    """The statements of a script, without their semicolons."""
    from lakeflow_job_meta.tasks.sql_script import split

    return [statement.text for statement in split(script, "SQL")]


def _find(directory: Path) -> Any:
    from lakeflow_job_meta.local import process

    there = process.find(directory)
    if there is None:
        raise LocalError(
            f"no workspace is up in {directory}: start one with `lakeflow-job-meta local up --dir {directory}`, "
            "or give another folder with --dir"
        )
    return there


def _export(variables: dict[str, str], *, json: bool) -> None:
    import shlex

    if json:
        display.print_json(variables)
    else:
        click.echo("export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items()))
    sys.stdout.flush()


def _print_rows(rows: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        display.print_json(rows)
    elif output == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
    else:
        display.print_table(list(rows[0]), (list(map(_text, row.values())) for row in rows))


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value).lower() if isinstance(value, bool) else str(value)
