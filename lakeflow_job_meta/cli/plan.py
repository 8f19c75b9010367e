"""`plan` and `apply`: what would be done, and doing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import click

from lakeflow_job_meta.cli import display, errors
from lakeflow_job_meta.cli.options import Command, Given, connection, existing_paths
from lakeflow_job_meta.cli.session import session
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName

if TYPE_CHECKING:
    from lakeflow_job_meta.control.loading import Load
    from lakeflow_job_meta.reconcile.actions import ActionResult, ApplyResult, Plan

yaml_option = click.option(
    "--yaml", "yaml", multiple=True, metavar="PATH", help="YAML file, folder or volume path; may be repeated."
)
module_option = click.option(
    "--module", "-m", "modules", multiple=True, metavar="NAME", help="Only this module; may be repeated."
)


@click.command(cls=Command)
@yaml_option
@module_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the plan for `apply --plan`.",
)
@click.option("--all", "unchanged", is_flag=True, help="Also name the modules that stay as they are.")
@click.option("--force", is_flag=True, help="Plan even the retirements that the brake holds back.")
@connection
@click.pass_context
def plan(
    ctx: click.Context,
    given: Given,
    yaml: tuple[str, ...],
    modules: tuple[str, ...],
    out: Path | None,
    unchanged: bool,
    force: bool,
) -> None:
    """Show what apply would do, and write nothing.

    With --yaml the files are laid over the control table in memory; not even a table is made.
    Exit code 0: nothing to do; 2: there are changes; 1: something was refused.
    """
    existing_paths(yaml)
    with session(given, create=not yaml) as opened:
        load = opened.manager.overlay(list(yaml)) if yaml else None
        made = opened.orchestrator.plan(modules=modules or None, load=load, force=force)
        if out is not None:
            _keep(
                made,
                out,
                {"yaml": absolute(yaml), "modules": list(modules), "flags": given.flags, "force": force},
            )
    rest = _file_problems(load)
    if given.json:
        display.print_json({**made.as_json(), "errors": rest})
    else:
        display.print_plan(made, unchanged=unchanged)
        _show_file_problems(load)
    ctx.exit(1 if rest else made.exit_code)


@click.command(cls=Command)
@yaml_option
@module_option
@click.option(
    "--plan",
    "kept",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Apply the plan that `plan --out` kept, and no other.",
)
@click.option("--force", is_flag=True, help="Retire even what the brake holds back.")
@click.option("--take-over", is_flag=True, help="Take modules over that belong to a volume's file.")
@connection
@click.pass_context
def apply(
    ctx: click.Context,
    given: Given,
    yaml: tuple[str, ...],
    modules: tuple[str, ...],
    kept: Path | None,
    force: bool,
    take_over: bool,
) -> None:
    """Make the workspace's jobs equal to the control table.

    With --yaml the files are loaded into the control table first. With --plan exactly the plan
    that `plan --out` kept is applied, or refused when it no longer fits. Does not ask.
    """
    existing_paths(yaml)
    if take_over and not (yaml or kept):
        raise UsageError("--take-over is about the files of --yaml: name them")
    if kept is not None:
        if yaml or modules:
            raise UsageError("--plan applies exactly the plan in the file: leave --yaml and --module away")
        load, result = _apply_kept(given, kept, take_over=take_over)
    else:
        from lakeflow_job_meta.control.loading import overlay

        load = None
        with session(given, create=True) as opened:
            if yaml:
                load = opened.manager.load(list(yaml), hand=True, take_over=take_over)
            rows = overlay(load.current, load) if load is not None else None  # known, and not read again
            made = opened.orchestrator.plan(modules=modules or None, load=load, rows=rows, force=force)
            with _progress(len(made.changing)) as advance:
                result = opened.orchestrator.apply(made, progress=advance)
    rest = _file_problems(load)
    if given.json:
        display.print_json({**result.as_json(), "errors": rest, "rows_loaded": load.changed if load else 0})
    else:
        if load is not None:
            click.echo(f"loaded: {display.count(load.changed, 'row')} changed")
            _show_notes(load.notes)
        display.print_applied(result)
        _show_notes(result.plan.notes)
        _show_file_problems(load)
    ctx.exit(1 if rest else result.exit_code)


def _keep(made: Plan, out: Path, request: dict[str, Any]) -> None:
    from lakeflow_job_meta.reconcile import plan_file

    try:
        out.write_text(plan_file.dump(made, request), encoding="utf-8")
    except OSError as e:
        raise UsageError(f"cannot write {out}: {e.strerror}; choose another file with --out") from e
    click.echo(f"plan kept in {out}; apply it with: lakeflow-job-meta apply --plan {out}", err=True)


def _apply_kept(given: Given, path: Path, *, take_over: bool) -> tuple[Load | None, ApplyResult]:
    """Apply a plan from a file: its table, files, modules and settings, unless a flag says otherwise."""
    from lakeflow_job_meta.reconcile import plan_file

    try:
        reviewed = plan_file.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeError) as e:
        raise UsageError(
            f"cannot read {path}: {e}; make a plan with `lakeflow-job-meta plan --out {path}`"
        ) from e
    request = reviewed.request
    given = replace(
        given,
        control_table=given.control_table or TableName.parse(reviewed.control_table),
        flags={**request.get("flags", {}), **given.flags},
    )
    yaml = existing_paths(tuple(request.get("yaml", ())))
    with session(given, create=not yaml) as opened:
        load = opened.manager.overlay(list(yaml)) if yaml else None

        def write_rows() -> None:
            if yaml:
                opened.manager.load(list(yaml), hand=True, take_over=take_over)

        with _progress(len(reviewed.fingerprints)) as advance:
            result = opened.orchestrator.apply_reviewed(
                reviewed, load=load, progress=advance, before=write_rows, force=bool(request.get("force"))
            )
    return load, result


def absolute(paths: tuple[str, ...]) -> list[str]:
    """The paths as they can be found again from another folder; a volume's path is one already."""
    return [path if path.startswith("/Volumes/") else str(Path(path).resolve()) for path in paths]


def _file_problems(load: Load | None) -> list[dict[str, Any]]:
    """Problems that no action tells: of files that were refused as a whole."""
    return [errors.problem_json(problem) for problem in load.problems if not problem.module] if load else []


def _show_file_problems(load: Load | None) -> None:
    for problem in load.problems if load else ():
        if not problem.module:
            display.console().print(display.styled(f"! refused {problem}", "refused"), soft_wrap=True)


def _show_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        errors.warn(note)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[ActionResult], None]]:
    """Shows the modules as they are done, on stderr: a bar on a terminal, else a line each for many."""
    lock = Lock()
    if sys.stderr.isatty() and total > 1:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=display.console(sys.stderr), transient=True) as bar:
            task = bar.add_task("", total=total)

            def advance(result: ActionResult) -> None:
                with lock:
                    bar.update(task, advance=1, description=errors.printable(result.action.module))

            yield advance
        return
    done = 0

    def count(result: ActionResult) -> None:
        nonlocal done
        with lock:
            done += 1
            if total >= 20 and (done % 50 == 0 or done == total):
                click.echo(f"{done} of {total} modules", err=True)

    yield count
