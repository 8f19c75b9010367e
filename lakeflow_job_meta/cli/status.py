"""`status`: modules, jobs, last runs and errors."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.options import Command, Given, connection
from lakeflow_job_meta.cli.session import session

if TYPE_CHECKING:
    from lakeflow_job_meta.orchestrator import ModuleStatus
    from lakeflow_job_meta.ports import Run


@click.command(cls=Command)
@click.option("--runs/--no-runs", default=True, help="Look up each job's last run (one call a job).")
@connection
@click.pass_context
def status(ctx: click.Context, given: Given, runs: bool) -> None:
    """Show modules, jobs, last runs and errors, and files that were rejected.

    Exit code 1 when a module is refused or failed, or a file was rejected.
    """
    with session(given, create=True) as opened:
        modules = opened.orchestrator.status(runs=runs)
        files = [record for record in opened.manager.file_records() if record.errors]
    wrong = [module for module in modules if module.status in ("refused", "failed")]
    if given.json:
        rejected = [{"path": file.path, "status": file.status, "errors": list(file.errors)} for file in files]
        display.print_json(
            {
                "control_table": str(given.table),
                "modules": [_as_json(module) for module in modules],
                "files": rejected,
            }
        )
    elif not modules and not files:
        click.echo(f"{given.table}: no module yet; load YAML or INSERT rows, then apply")
    else:
        named = any(module.job_name not in ("", module.module) for module in modules)
        columns = ["module", "status", "job", *(["name"] if named else []), "sources"]
        columns += ["last run", "started"] if runs else []
        display.print_table(columns, [_row(module, runs=runs, named=named) for module in modules])
        for module in wrong:
            _show_errors(f"! {module.status} {module.module}", module.status, module.error.splitlines())
        for file in files:
            _show_errors(f"! {file.status} {file.path}", "refused", list(file.errors))
    ctx.exit(1 if wrong or files else 0)


def _show_errors(head: str, style: str, lines: list[str]) -> None:
    target = display.console()
    target.print()
    target.print(display.styled(head, style), soft_wrap=True)
    for line in lines:
        target.print(display.styled(f"    {line}"), soft_wrap=True)


def _row(module: ModuleStatus, *, runs: bool, named: bool) -> list[Any]:
    name = "" if module.job_name == module.module else module.job_name
    row: list[Any] = [module.module, (module.status, module.status), module.job_id]
    row += [name, module.sources] if named else [module.sources]
    if runs:
        last = module.last_run
        row += [(last.result_state or last.life_cycle_state,) * 2, _when(last)] if last else ["", ""]
    return row


def _when(run: Run) -> str:
    if not run.start_time:
        return ""
    return datetime.fromtimestamp(run.start_time / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _as_json(module: ModuleStatus) -> dict[str, Any]:
    last = module.last_run
    return {
        "module": module.module,
        "status": module.status,
        "job_id": module.job_id,
        "job_name": module.job_name,
        "sources": module.sources,
        "error": module.error or None,
        "last_run": last
        and {
            "run_id": last.run_id,
            "state": last.life_cycle_state,
            "result": last.result_state or None,
            "start_time": last.start_time or None,
            "end_time": last.end_time or None,
            "url": last.url or None,
        },
    }
