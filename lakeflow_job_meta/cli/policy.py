"""`policy`: SQL policies by hand: list, run, show; and remediation of what they found: remediate, undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.errors import report
from lakeflow_job_meta.cli.options import (
    format_option,
    local_option,
    param_option,
    profile_option,
    warehouse_option,
)
from lakeflow_job_meta.cli.session import tables_session
from lakeflow_job_meta.errors import PolicyRunFailed, TableNotFound, UsageError
from lakeflow_job_meta.names import TableName

if TYPE_CHECKING:
    from lakeflow_job_meta.runtime import Runtime

JsonObject = dict[str, Any]
#: Open violations that `show` lists.
SHOWN = 20


def table_callback(ctx: click.Context, param: click.Parameter, value: str | None) -> TableName | None:
    """Callback of options that take a table's name."""
    return TableName.parse(value) if value else None


def table_option(flag: str, text: str, *, required: bool = False) -> Callable[[Any], Any]:
    """An option that takes a table's name."""
    return click.option(
        flag, metavar="CATALOG.SCHEMA.TABLE", callback=table_callback, required=required, help=text
    )


def _quiet(event: str, **facts: Any) -> None:
    """No log: the table says it all."""


@click.group()
def policy() -> None:
    """SQL policies over files: what should not be there, found by a SELECT that you can read and change.

    A policy is named by its name (see `policy list`) or by the path of a .sql file of your own.
    """


# ---------------------------------------------------------------- list


@policy.command("list")
@table_option("--table", "Also show what the newest run over this table found.")
@table_option("--results-table", "Default: policy_results in the schema of --table.")
@local_option
@format_option
@warehouse_option
@profile_option
def list_policies(
    table: TableName | None,
    results_table: TableName | None,
    local: Path | None,
    json: bool,
    warehouse_id: str | None,
    profile: str | None,
) -> None:
    """The policies that come with the package."""
    from lakeflow_job_meta.policies.definition import shipped

    latest: Mapping[str, JsonObject] = {}
    if table or results_table:
        with tables_session(local, warehouse_id, profile) as runtime:
            latest = {row["policy"]: row for row in _latest(runtime, table, results_table)}
    if json:
        display.print_json(
            {
                "policies": [
                    {
                        "name": one.name,
                        "severity": one.severity,
                        "on_violation": one.on_violation,
                        "max_violations": one.max_violations,
                        "parameters": dict(one.parameters),
                        "description": one.description,
                        **({"latest": latest.get(one.name)} if table or results_table else {}),
                    }
                    for one in shipped().values()
                ]
            }
        )
        return
    columns = ["policy", "severity", "on violation", "what it finds"]
    rows = [[one.name, one.severity, one.on_violation, one.description] for one in shipped().values()]
    if table or results_table:
        columns[3:3] = ["status", "violations"]
        for row in rows:
            found = latest.get(str(row[0]))
            row[3:3] = [found["status"] if found else "", found["violations"] if found else ""]
    display.print_table(columns, rows)


def _latest(runtime: Runtime, table: TableName | None, results_table: TableName | None) -> list[JsonObject]:
    from lakeflow_job_meta.policies.results import Results
    from lakeflow_job_meta.policies.run import Places

    beside = table or results_table
    assert beside is not None
    place = Places.beside(beside, results_table)
    try:
        return Results(runtime.tables, place.results).latest(table=None if table is None else str(table))
    except TableNotFound:
        return []


# ---------------------------------------------------------------- show


@policy.command()
@click.argument("name")
@table_option("--table", "Also show the newest result over this table, and its open violations.")
@table_option("--results-table", "Default: policy_results in the schema of --table.")
@table_option("--violations-table", "Default: policy_violations in the schema of --table.")
@local_option
@format_option
@warehouse_option
@profile_option
def show(
    name: str,
    table: TableName | None,
    results_table: TableName | None,
    violations_table: TableName | None,
    local: Path | None,
    json: bool,
    warehouse_id: str | None,
    profile: str | None,
) -> None:
    """One policy: what it says, its SQL, and with --table what it found."""
    from lakeflow_job_meta.policies.definition import from_text, shipped_policy

    if name.endswith(".sql"):
        try:
            one = from_text(Path(name).read_text(encoding="utf-8-sig"), name)
        except OSError as e:
            raise UsageError(f"{name}: {e.strerror}; give the path of a .sql file") from e
    else:
        one = shipped_policy(name)
    about: JsonObject = {
        "name": one.name,
        "description": one.description,
        "severity": one.severity,
        "on_violation": one.on_violation,
        "max_violations": one.max_violations,
        "key": list(one.key),
        "parameters": dict(one.parameters),
        "sql": one.sql,
    }
    if table:
        with tables_session(local, warehouse_id, profile) as runtime:
            about |= _found(runtime, one.name, table, results_table, violations_table)
    if json:
        display.print_json(about)
        return
    display.print_table(
        ["", ""],
        (
            (key.replace("_", " "), _text(value))
            for key, value in about.items()
            if key not in {"sql", "open", "latest"} and value not in ("", [], {})
        ),
    )
    click.echo(f"\n{one.sql.strip()}\n")
    if table:
        _show_found(about)


def _found(
    runtime: Runtime,
    name: str,
    table: TableName,
    results_table: TableName | None,
    violations_table: TableName | None,
) -> JsonObject:
    from lakeflow_job_meta.policies.run import Places
    from lakeflow_job_meta.policies.violations import Violations

    places = Places.beside(table, results_table, violations_table)
    latest = [row for row in _latest(runtime, table, places.results) if row["policy"] == name]
    try:
        opened = list(Violations(runtime.tables, places.violations).open(name, str(table)))
    except TableNotFound:
        opened = []
    return {
        "latest": latest[0] if latest else None,
        "open": [
            {"key": one.key, "first_seen": one.first_seen, "last_seen": one.last_seen, "row": one.row}
            for one in opened
        ],
    }


def _show_found(about: JsonObject) -> None:
    latest = about["latest"]
    if latest is None:
        click.echo("It was not run over this table yet.")
        return
    number = display.count(len(about["open"]), "open violation")
    click.echo(f"{latest['status']} in run {latest['run_id']}: {number}")
    rows = [
        [one["first_seen"].strftime("%Y-%m-%d %H:%M"), *(_text(value) for value in one["row"].values())]
        for one in about["open"][:SHOWN]
    ]
    if rows:
        display.print_table(["first seen", *about["open"][0]["row"]], rows)
    if len(about["open"]) > SHOWN:
        click.echo(f"and {len(about['open']) - SHOWN} more; --format json has them all")


# ---------------------------------------------------------------- run


@policy.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@table_option("--table", "The table to check: a snapshot, a metadata table, or any other.")
@table_option(
    "--metadata-table", "The metadata table of dxr_collect, where it is not in the schema of --table."
)
@param_option("A value of a named parameter, for every policy that has it; may be repeated.")
@table_option("--results-table", "Default: policy_results in the schema of --table.")
@table_option("--violations-table", "Default: policy_violations in the schema of --table.")
@click.option("--export", "export_path", metavar="PATH", help="Folder below /Volumes for CSV and JSON.")
@click.option("--max-rows", type=click.IntRange(1), metavar="N", help="Rows of one policy that are kept.")
@click.option("--views/--no-views", default=True, show_default=True, help="Make the dashboard's views.")
@local_option
@format_option
@warehouse_option
@profile_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    names: Sequence[str],
    table: TableName | None,
    metadata_table: TableName | None,
    parameters: Mapping[str, str],
    results_table: TableName | None,
    violations_table: TableName | None,
    export_path: str | None,
    max_rows: int | None,
    views: bool,
    local: Path | None,
    json: bool,
    warehouse_id: str | None,
    profile: str | None,
) -> None:
    """Run policies, all that are shipped unless some are named; exit code 1 when one failed or had an error."""
    from lakeflow_job_meta.policies.definition import from_flag, shipped_policy
    from lakeflow_job_meta.policies.settings import read
    from lakeflow_job_meta.policies.tasks import PolicySession, new_run_id, perform

    for name in names:
        if not name.endswith(".sql"):
            shipped_policy(name)  # a wrong name is told before anything is started
    chosen = read(
        {
            "table": table,
            "metadata_table": metadata_table,
            "policies": [_path(name, local) if name.endswith(".sql") else name for name in names],
            "parameters": {name: from_flag(value) for name, value in parameters.items()},
            "results_table": results_table,
            "violations_table": violations_table,
            "export_path": export_path,
            "views": views,
            "max_rows": max_rows,
        }
    )
    _ = chosen.beside  # a missing --table likewise
    code, failure = 0, None
    with tables_session(local, warehouse_id, profile) as runtime:
        session = PolicySession(chosen, runtime.tables, runtime.volumes, new_run_id(), runtime.clock, _quiet)
        try:
            summary = perform(session)
        except PolicyRunFailed as e:
            summary, failure = e.summary, e
    if json:
        display.print_json({"policies": summary["policies"]})
    else:
        _show_run(summary)
    if failure is not None:
        code = report(failure, json=False, debug=False)
    ctx.exit(code)


def _path(name: str, local: Path | None) -> str:
    """A `.sql` file as the volumes read it: a local path is made absolute, the embedded workspace's is a file here."""
    if local is not None and name.startswith("/Workspace/"):
        return str(local.resolve() / name[1:])
    return name if name.startswith(("/Volumes/", "/Workspace/")) else str(Path(name).absolute())


def _show_run(summary: JsonObject) -> None:
    display.print_table(
        ["policy", "status", "violations", "new", "resolved", "threshold", "seconds", ""],
        (
            (
                one["name"],
                (one["status"], one["status"]),
                one["violations"],
                one["new"],
                one["resolved"],
                one["threshold"],
                one["seconds"],
                one["error"],
            )
            for one in summary["policies"]
        ),
    )
    click.echo(f"run {summary['run_id']}: {summary['results_table']}, {summary['violations_table']}")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {one}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


# ---------------------------------------------------------------- remediate, undo

from lakeflow_job_meta.cli import policy_remediation  # noqa: E402 - its commands use what stands above

policy.add_command(policy_remediation.remediate)
policy.add_command(policy_remediation.undo)
