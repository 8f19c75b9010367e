"""`policy remediate` and `policy undo`: what is done about the violations of a policy, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.errors import report
from lakeflow_job_meta.cli.options import (
    format_option,
    local_option,
    pairs,
    profile_option,
    warehouse_option,
)
from lakeflow_job_meta.cli.session import tables_session
from lakeflow_job_meta.errors import PolicyRunFailed
from lakeflow_job_meta.names import TableName

JsonObject = dict[str, Any]
#: Keys of the JSON; the rest is in the tables.
PROMISED = ("run", "planned", "done", "skipped", "errors")
_STYLES = {
    "planned": "yellow",
    "done": "green",
    "refused": "bold red",
    "failed": "bold red",
    "keeper": "cyan",
}


def _table(ctx: click.Context, param: click.Parameter, value: str | None) -> TableName | None:
    return TableName.parse(value) if value else None


def table_option(flag: str, text: str, *, required: bool = False) -> Callable[[Any], Any]:
    """An option that takes a table's name."""
    return click.option(flag, metavar="CATALOG.SCHEMA.TABLE", callback=_table, required=required, help=text)


@click.command()
@click.argument("name")
@table_option("--table", "The table that the policy checked.", required=True)
@click.option(
    "--action",
    type=click.Choice(["archive", "quarantine", "delete", "move"]),
    required=True,
    help="archive, quarantine: into the target by content; move: names kept; delete: gone, or held in the target.",
)
@click.option(
    "--keeper",
    metavar="RULE",
    help="Which file of one content stays: oldest, newest, shortest_path, root:PATH, none.",
)
@click.option("--target", metavar="PATH", help="Folder that the files go to, outside of where they are.")
@click.option(
    "--execute", is_flag=True, help="Do it. Without it the plan is written, and no file is touched."
)
@click.option("--plan", metavar="RUN", help="Execute the plan of this run.")
@click.option("--root", "roots", multiple=True, metavar="PATH", help="Touch only files below this folder.")
@click.option(
    "--map",
    "path_map",
    multiple=True,
    callback=pairs,
    metavar="FROM=TO",
    help="A folder of the datasource, and the folder below /Volumes where its files are.",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Paths that stay, such as '*/templates/*'.")
@click.option(
    "--hold-label", "hold_labels", multiple=True, metavar="TEXT", help="Labels that hold their files."
)
@click.option("--min-size", type=click.IntRange(1), metavar="BYTES", help="Smaller files stay.  [default: 1]")
@click.option("--stub/--no-stub", default=None, help="Leave a text file.  [default: for archive, quarantine]")
@click.option("--stub-message", metavar="TEXT", help="First line of a stub.")
@click.option("--permanent", is_flag=True, help="Let delete without a target delete the last copy of a file.")
@click.option("--script", metavar="PATH", help="Write plan.csv and remediate.ps1 for shares to this folder.")
@table_option("--violations-table", "Default: policy_violations in the schema of --table.")
@local_option
@format_option
@warehouse_option
@profile_option
@click.pass_context
def remediate(
    ctx: click.Context,
    /,
    name: str,
    table: TableName,
    local: Path | None,
    json: bool,
    warehouse_id: str | None,
    profile: str | None,
    violations_table: TableName | None,
    **given: Any,
) -> None:
    """Act on the open violations of the policy NAME: a dry run unless --execute is given.

    The same command again takes up a run that died. Files are re-hashed first, never overwritten, and removed only
    when a verified copy (or their keeper) is in place; `policy undo RUN` brings them back.
    """
    from lakeflow_job_meta.policies.remediate import RemediationSession, perform
    from lakeflow_job_meta.policies.remediation_settings import Rules

    chosen = {key: value for key, value in given.items() if value not in (None, (), {}, "")}
    chosen |= {"policy": name, "table": table.quoted}
    Rules.of(chosen)  # what is wrong is told before anything is started
    failure: PolicyRunFailed | None = None
    with tables_session(local, warehouse_id, profile) as runtime:
        session = RemediationSession(
            runtime.tables, runtime.volumes, runtime.clock, violations=violations_table
        )
        try:
            summary = perform(session, chosen)
        except PolicyRunFailed as error:
            summary, failure = error.summary, error
    _show(summary, json=json)
    ctx.exit(0 if failure is None else report(failure, json=False, debug=False))


@click.command()
@click.argument("run")
@table_option("--table", "A table in the schema of the run's tables. Default: as the run's name says.")
@local_option
@format_option
@warehouse_option
@profile_option
@click.pass_context
def undo(
    ctx: click.Context,
    /,
    run: str,
    table: TableName | None,
    local: Path | None,
    json: bool,
    warehouse_id: str | None,
    profile: str | None,
) -> None:
    """Bring back what the remediation RUN took away, byte for byte; exit code 1 when a file could not be."""
    from lakeflow_job_meta.policies.remediate import RemediationSession, schema_of
    from lakeflow_job_meta.policies.undo import undo as bring_back

    schema = (table.catalog, table.schema) if table else schema_of(run)
    with tables_session(local, warehouse_id, profile) as runtime:
        session = RemediationSession(runtime.tables, runtime.volumes, runtime.clock)
        summary = bring_back(session, run, schema)
    if json:
        display.print_json({name: summary[name] for name in PROMISED})
    else:
        _show_counts(summary)
    for note in (*summary["reasons"], *summary["notes"]):
        click.echo(f"{note['path']}: {note.get('reason') or note['note']}", err=True)
    ctx.exit(1 if summary["errors"] else 0)


def _show(summary: Mapping[str, Any], *, json: bool) -> None:
    if json:
        display.print_json({name: summary[name] for name in PROMISED})
        return
    files: Sequence[Mapping[str, Any]] = summary["files"]
    if files:
        display.print_table(
            ["file", "", "keeper", "target", ""],
            (
                (
                    one["path"],
                    (one["state"], _STYLES.get(one["state"], "")),
                    one["keeper"],
                    one["target"],
                    one["reason"],
                )
                for one in files
            ),
        )
    more = summary["planned"] + summary["skipped"] + summary["kept"] + summary["errors"] - len(files)
    if more > 0 and len(files) >= 100:
        click.echo(f"and more; {summary['plan_table']} has them all")
    _show_counts(summary)
    if summary["dry_run"]:
        click.echo(
            f"A dry run: no file was touched. With --execute it is done; the plan is in {summary['plan_table']}."
        )
    else:
        click.echo(f"To bring everything back: lakeflow-job-meta policy undo {summary['run']}")


def _show_counts(summary: Mapping[str, Any]) -> None:
    words = ("planned", "done", "kept", "skipped", "errors")
    counts = ", ".join(f"{word} {summary[word]}" for word in words if word in summary)
    click.echo(f"run {summary['run']}: {counts}")
