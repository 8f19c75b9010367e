"""`dataset`: upload files, follow their sync, query them, delete them."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Any

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.dataset_options import PLACES, dataset_command
from lakeflow_job_meta.cli.errors import warn
from lakeflow_job_meta.cli.options import Given, control_table_option, format_option
from lakeflow_job_meta.datasets.settings import SETTINGS
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName

if TYPE_CHECKING:
    from lakeflow_job_meta.dataset_manager import DatasetManager
    from lakeflow_job_meta.datasets.answers import DatasetStatus


@click.group()
def dataset() -> None:
    """Files as datasets: queried at once, and synced into bronze and silver tables.

    ingest takes a file; the monitor (or sync) makes its tables; status says where that stands.
    """


@dataset.command("ingest")
@click.argument("file", metavar="FILE")
@click.option(
    "--name", required=True, metavar="TEXT", help="What people call it; its tables are named after it."
)
@click.option("--description", default="", metavar="TEXT", help="What it is about.")
@click.option(
    "--dataset", "dataset_id", default="", metavar="ID", help="The dataset that gets a new version."
)
@click.option("--encoding", default="", metavar="TEXT", help="Of a CSV file, where it is not found.")
@click.option("--delimiter", default="", metavar="TEXT", help="Of a CSV file, where it is not found.")
@click.option("--sheet", default="", metavar="TEXT", help="Of an Excel file (default: the first with rows).")
@click.option("--strict", is_flag=True, help="Refuse a file with rows that do not fit.")
@click.option("--config", metavar="JSON", help="Merged into the transformation_config of its row.")
@click.option("--wait", is_flag=True, help="Start the sync now and follow it to its end.")
@dataset_command(*(one.name for one in SETTINGS if one.name != "stale_minutes"))
@click.pass_context
def ingest(
    ctx: click.Context,
    /,
    manager: DatasetManager,
    given: Given,
    file: str,
    name: str,
    tenant: str | None,
    config: str | None,
    wait: bool,
    **options: Any,
) -> None:
    """Take a CSV, Excel, JSON or Parquet file as a dataset.

    A dataset of the same name and tenant gets a new version. Its sync begins with the monitor's next pass,
    or at once with --wait (then exit code 1 when it cannot begin, or fails).
    """
    found = manager.ingest(file, name=name, tenant=tenant, config=_object(config), **options)
    answer = found.as_json()
    code = 1 if wait and found.note else 0
    if wait and not found.note:
        status = manager.follow(manager.sync(found.dataset.dataset_id), poll_seconds=_poll(given))
        answer["metadata"] = status.metadata()
        code = 0 if status.status.value == "synced" else 1
    if given.json:
        display.print_json(answer)
    else:
        _show_ingested(answer)
    if found.converted.malformed:
        warn(
            f"{found.converted.malformed} {'cells' if found.converted.kind == 'excel' else 'rows'} do not fit and were "
            "left out: " + "; ".join(f"line {one.line}: {one.reason}" for one in found.converted.told[:5])
        )
    if found.converted.renamed:
        warn(
            "columns that a table could not tell from another were renamed: "
            + ", ".join(f"{old!r} is {new!r}" for old, new in found.converted.renamed.items())
        )
    if found.note:
        warn(found.note)
    ctx.exit(code)


def _show_ingested(answer: dict[str, Any]) -> None:
    columns = ", ".join(f"{one['name']} {one['dtype']}" for one in answer["schema"])
    metadata = answer["metadata"]
    display.print_table(
        ["", ""],
        [
            ("dataset", answer["id"]),
            ("name", answer["name"]),
            ("version", answer["version"]),
            ("rows", answer["row_count"]),
            ("columns", columns),
            ("sync", _badge(metadata["sync_status"], metadata["last_sync_error"])),
            *((("bronze", metadata["bronze_table"]),) if metadata["bronze_table"] else ()),
            *((("silver", metadata["silver_table"]),) if metadata["silver_table"] else ()),
        ],
    )


@dataset.command("status")
@click.argument("dataset_id", metavar="ID")
@click.option("--run", "with_run", is_flag=True, help="Also the job, the run and its URL.")
@dataset_command(*PLACES)
def status(
    manager: DatasetManager, given: Given, dataset_id: str, tenant: str | None, with_run: bool
) -> None:
    """Show where the sync of a dataset stands."""
    found = manager.status(dataset_id, tenant)
    answer = found.as_json()
    if with_run:
        answer |= _run(manager, found)
    if given.json:
        display.print_json(answer)
        return
    answer["sync_status"] = _badge(answer["sync_status"], answer["last_sync_error"])
    display.print_table(["", ""], [(key, value) for key, value in answer.items() if value is not None])


def _run(manager: DatasetManager, found: DatasetStatus) -> dict[str, Any]:
    sync = found.sync
    run = manager.run_of(found)
    return {
        "job_id": (run.job_id if run else None) or (sync.job_id if sync else None),
        "run_id": run.run_id if run else None,
        "run_url": (run.url or None) if run else None,
    }


@dataset.command("list")
@click.option("--orphans", is_flag=True, help="Tables of deleted datasets that were kept.")
@dataset_command(*PLACES)
def list_datasets(manager: DatasetManager, given: Given, tenant: str | None, orphans: bool) -> None:
    """List the datasets with their status, newest upload first."""
    if orphans:
        from lakeflow_job_meta.datasets.removal import orphans as find

        rows = find(manager.service, tenant)
        if given.json:
            display.print_json(rows)
        else:
            display.print_table(
                ["dataset", "bronze", "silver"],
                [(one["dataset_id"], one["bronze_table"], one["silver_table"]) for one in rows],
            )
        return
    found = manager.list(tenant)
    if given.json:
        from lakeflow_job_meta.datasets.answers import described

        display.print_json([{**described(one.dataset), "metadata": one.metadata()} for one in found])
    elif not found:
        click.echo("no dataset yet: `dataset ingest FILE --name NAME` makes one")
    else:
        display.print_table(
            ["dataset", "name", "tenant", "version", "rows", "sync"],
            [
                (
                    one.dataset.dataset_id,
                    one.dataset.name,
                    one.dataset.tenant_id,
                    one.dataset.version,
                    one.dataset.row_count_local,
                    _badge(one.status.value, one.sync.last_sync_error if one.sync else None),
                )
                for one in found
            ],
        )


@dataset.command("query")
@click.argument("dataset_id", metavar="ID")
@click.option("--sql", required=True, metavar="TEXT", help="One SELECT on the view `dataset`.")
@click.option("--limit", type=int, metavar="N", help="Rows of the answer, at most 1000.  [default: 100]")
@click.option("--version", type=int, metavar="N", help="Of the dataset (default: the newest).")
@dataset_command(*PLACES)
def query(
    manager: DatasetManager,
    given: Given,
    dataset_id: str,
    sql: str,
    tenant: str | None,
    limit: int | None,
    version: int | None,
) -> None:
    """Query a dataset's own file by DuckDB, without Databricks."""
    from lakeflow_job_meta.datasets.query import bounded_memory

    with bounded_memory():
        found = manager.query(dataset_id, sql, tenant=tenant, limit=limit, version=version)
    if given.json:
        display.print_json(found.as_json())
        return
    display.print_table(list(found.columns), [[_cell(value) for value in row] for row in found.rows])
    click.echo(display.count(len(found.rows), "row"), err=True)


@dataset.command("show")
@click.argument("dataset_id", metavar="ID")
@dataset_command(*PLACES)
def show(manager: DatasetManager, given: Given, dataset_id: str, tenant: str | None) -> None:
    """Show a dataset's columns with some of their values, figures about them, and its first rows."""
    found = manager.preview(dataset_id, tenant)
    if given.json:
        display.print_json(found)
        return
    display.print_table(
        ["column", "type", "values", "nulls", "min", "max"],
        [
            (
                one["name"],
                one.get("inferred", one["dtype"]),
                ", ".join(str(value) for value in one["sample_values"]),
                one["nulls"],
                _cell(one["min"]),
                _cell(one["max"]),
            )
            for one in found["columns"]
        ],
        title=f"{found['name']}, version {found['version']}, {display.count(found['row_count'], 'row')}",
    )


@dataset.command("sync")
@click.argument("dataset_id", metavar="ID")
@click.option("--wait/--no-wait", default=False, help="Follow the run to its end.")
@dataset_command("tenant", "landing", "schema", "sync_enabled", "auto_sync")
@click.pass_context
def sync(
    ctx: click.Context,
    manager: DatasetManager,
    given: Given,
    dataset_id: str,
    tenant: str | None,
    wait: bool,
) -> None:
    """Sync a dataset now, whether auto sync is on or not: make its job right and start it.

    Exit code 1 when its sync is switched off, the job cannot be started, or (with --wait) the sync fails.
    """
    started = manager.sync(dataset_id, tenant)
    if not wait:
        _show(started.as_json(), json=given.json)
        return
    found = manager.follow(started, poll_seconds=_poll(given))
    _show({**found.as_json(), "run_id": started.run_id}, json=given.json)
    ctx.exit(0 if found.status.value == "synced" else 1)


@dataset.command("versions")
@click.argument("dataset_id", metavar="ID")
@dataset_command(*PLACES)
def versions(manager: DatasetManager, given: Given, dataset_id: str, tenant: str | None) -> None:
    """List the versions of a dataset, oldest first."""
    from lakeflow_job_meta.datasets.answers import described

    found = [described(one) for one in manager.versions(dataset_id, tenant)]
    if given.json:
        display.print_json(found)
        return
    display.print_table(
        ["version", "rows", "file", "uploaded as", "created"],
        [
            (
                one["version"],
                one["row_count"],
                one["file_name"],
                one["uploaded_file_name"],
                one["created_at"],
            )
            for one in found
        ],
    )


@dataset.command("diagnose")
@click.argument("dataset_id", metavar="ID")
@dataset_command(*PLACES, "sync_enabled", "auto_sync", "stale_minutes")
@click.pass_context
def diagnose(
    ctx: click.Context, manager: DatasetManager, given: Given, dataset_id: str, tenant: str | None
) -> None:
    """Look at everything that a dataset's sync needs, and say what to mend.

    Exit code 1 when something is wrong.
    """
    checks = manager.diagnose(dataset_id, tenant)
    if given.json:
        display.print_json([one.as_json() for one in checks])
    else:
        words = {True: ("ok", "green"), False: ("wrong", "bold red"), None: ("-", "dim")}
        display.print_table(["check", "", "found"], [(one.name, words[one.ok], one.text) for one in checks])
    ctx.exit(1 if any(one.ok is False for one in checks) else 0)


@dataset.command("grants")
@click.option("--group", required=True, metavar="NAME", help="The tenant's own group.")
@click.option("--tenant", required=True, metavar="TEXT", help="Whose tables.")
@format_option
def grants(group: str, tenant: str, json: bool) -> None:
    """Print the GRANT statements that let a tenant's group read its tables, and nothing else.

    They are not run: whoever owns the catalog runs them.
    """
    from lakeflow_job_meta.datasets.tenancy import grant_statements

    statements = grant_statements(tenant, group)
    if json:
        display.print_json(statements)
    else:
        for statement in statements:
            click.echo(f"{statement};")


@dataset.command("alerts")
@control_table_option
@click.option("--schema", default="", metavar="TEXT", help="`catalog.schema` of the tables about datasets.")
@format_option
def alerts(control_table: TableName | None, schema: str, json: bool) -> None:
    """Print the SQL of two alerts: too many syncs fail, and the monitor is silent.

    Each gives one row; make a Databricks SQL alert of it with the condition `alert = true`.
    """
    from lakeflow_job_meta.datasets import metrics
    from lakeflow_job_meta.datasets.tables import DatasetTables

    table = Given(control_table=control_table).table
    texts = {
        "failures": metrics.failure_alert(DatasetTables(table, schema).events),
        "heartbeat": metrics.heartbeat_alert(table),
    }
    if json:
        display.print_json(texts)
        return
    for name, text in texts.items():
        click.echo(f"-- {name}\n{text};")


@dataset.command("delete")
@click.argument("dataset_id", metavar="ID")
@click.option(
    "--on-delete", type=click.Choice(["keep", "drop"]), help="Its tables (default: as its row says)."
)
@click.option("--files", is_flag=True, help="Remove the landed files, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dataset_command(*PLACES)
def delete(
    manager: DatasetManager,
    given: Given,
    dataset_id: str,
    tenant: str | None,
    on_delete: str | None,
    files: bool,
    yes: bool,
) -> None:
    """Delete a dataset; its tables and files stay unless said otherwise."""
    if not yes:
        if given.json:
            raise UsageError("deleting needs --yes where nobody can be asked")
        click.confirm(f"Delete dataset {dataset_id}?", abort=True, err=True)
    removed = manager.delete(dataset_id, tenant=tenant, on_delete=on_delete, files=files, confirmed=True)
    _show(removed.as_json(), json=given.json)


def _show(answer: dict[str, Any], *, json: bool) -> None:
    if json:
        display.print_json(answer)
    else:
        display.print_table(
            ["", ""],
            [(key, _cell(value)) for key, value in answer.items() if value not in (None, [], False)],
        )


def _badge(status: str, error: str | None) -> tuple[str, str]:
    from lakeflow_job_meta.datasets.badges import badge

    found = badge(status, error)
    return (f"{found.label}: {found.hint}" if found.hint else found.label, found.style)


def _cell(value: Any) -> Any:
    return json_module.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict, bool)) else value


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json_module.loads(text)
    except ValueError as error:
        raise UsageError(f"--config is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("--config is a JSON object")
    return value


def _poll(given: Given) -> float:
    return 0.3 if given.local else 2.0
