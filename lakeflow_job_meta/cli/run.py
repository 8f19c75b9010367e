"""`run`: start a module's job and follow it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.options import Command, Given, connection, param_option
from lakeflow_job_meta.cli.session import Session, session
from lakeflow_job_meta.errors import WorkspaceError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lakeflow_job_meta.ports import Run, TaskRun

#: Results of task runs that have an error to tell.
FAILURES = ("FAILED", "TIMEDOUT", "INTERNAL_ERROR", "CANCELED", "MAXIMUM_CONCURRENT_RUNS_REACHED")


@click.command(cls=Command)
@click.argument("module")
@param_option("A job parameter; may be repeated.")
@click.option("--wait/--no-wait", default=True, help="Follow the run to its end.  [default: wait]")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop following after so long."
)
@connection
@click.pass_context
def run(
    ctx: click.Context,
    given: Given,
    module: str,
    parameters: dict[str, str],
    wait: bool,
    timeout: float | None,
) -> None:
    """Run a module's job and follow it to its end.

    Exit code 1 unless the run ends in SUCCESS. Ctrl-C or --timeout stop the following, not the run.
    """
    with session(given) as opened:
        run_id = opened.orchestrator.run(module, parameters)
        if not wait:
            _started(run_id, json=given.json)
            return
        with _screen(module, run_id) as show:
            ended = opened.orchestrator.follow(
                run_id, show, poll_seconds=0.3 if given.local else 2.0, timeout_seconds=timeout
            )
        tasks = [_task(opened, task) for task in ended.tasks]
    result = outcome(ended)
    if given.json:
        display.print_json({"run_id": run_id, "result": result, "tasks": tasks, "url": ended.url or None})
    else:
        _summarise(module, ended, result, tasks)
    ctx.exit(0 if result == "SUCCESS" else 1)


def outcome(run: Run) -> str:
    """One word for how a run stands: its result, or its state where there is none yet."""
    return run.result_state or run.life_cycle_state


def _started(run_id: int, *, json: bool) -> None:
    if json:
        display.print_json({"run_id": run_id, "result": None, "tasks": []})
    else:
        click.echo(f"run {run_id} started")


def _task(opened: Session, task: TaskRun) -> dict[str, Any]:
    result = task.result_state or task.life_cycle_state
    error = None
    if result in FAILURES:
        try:
            error = opened.runtime.workspace.jobs.run_error(task.run_id) or task.message or result
        except WorkspaceError as failure:
            error = f"{task.message or result} ({failure})"
    elif result == "UPSTREAM_FAILED":
        error = task.message or "a task before it failed"
    return {
        "task_key": task.task_key,
        "result": result,
        "attempts": task.attempts,
        "seconds": round(duration(task.start_time, task.end_time), 3),
        "error": error,
    }


def duration(start: int, end: int) -> float:
    """Seconds from start to end, both in ms since 1970; up to now while it has not ended."""
    if not start:
        return 0.0
    return max(0.0, (end or time.time() * 1000) - start) / 1000


def _summarise(module: str, run: Run, result: str, tasks: list[dict[str, Any]]) -> None:
    target = display.console()
    if not target.is_terminal or not sys.stderr.isatty():
        rows = [
            (task["task_key"], (task["result"],) * 2, task["attempts"], display.seconds(task["seconds"]))
            for task in tasks
        ]
        display.print_table(["task", "result", "attempts", "time"], rows)
    for task in tasks:
        if task["error"] and task["result"] != "UPSTREAM_FAILED":
            target.print(
                display.styled(f"! {task['task_key']}: {task['result']}", task["result"]), soft_wrap=True
            )
            for line in str(task["error"]).splitlines():
                target.print(display.styled(f"    {line}"), soft_wrap=True)
    words = (
        f"run {run.run_id} of {module}: {result}, {display.seconds(duration(run.start_time, run.end_time))}"
    )
    if run.message and result != "SUCCESS":
        words += f" ({run.message})"
    if not run.ended:
        words += "; it goes on in the workspace"
    target.print(display.styled(words, result), soft_wrap=True)


@contextmanager
def _screen(module: str, run_id: int) -> Iterator[Callable[[Run], None]]:
    """Shows the run while it goes on, on stderr: a live table on a terminal, else a line a change of state."""
    click.echo(f"run {run_id} of {module} started", err=True)
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.live import Live

    board = _Board()
    with Live(get_renderable=board.render, console=display.console(sys.stderr), refresh_per_second=4):
        yield board


class _Lines:
    """A line on stderr for every task whose state changed."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int]] = {}

    def __call__(self, run: Run) -> None:
        for task in run.tasks:
            state = task.result_state or task.life_cycle_state
            if self._seen.get(task.task_key) == (state, task.attempts):
                continue
            self._seen[task.task_key] = (state, task.attempts)
            if state in ("BLOCKED", "PENDING", "QUEUED"):
                continue
            more = f", attempt {task.attempts}" if task.attempts > 1 else ""
            took = f", {display.seconds(duration(task.start_time, task.end_time))}" if task.end_time else ""
            click.echo(f"  {task.task_key}: {state}{took}{more}", err=True)


class _Board:
    """A live table of the tasks; the seconds of running ones go on between two looks."""

    def __init__(self) -> None:
        self._run: Run | None = None

    def __call__(self, run: Run) -> None:
        self._run = run

    def render(self) -> RenderableType:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for name in ("task", "state", "attempts", "time"):
            table.add_column(
                name, overflow="fold", justify="right" if name in ("attempts", "time") else "left"
            )
        for task in self._run.tasks if self._run else ():
            state = task.result_state or task.life_cycle_state
            took = display.seconds(duration(task.start_time, task.end_time)) if task.start_time else ""
            table.add_row(
                display.styled(task.task_key), display.styled(state, state), str(task.attempts), took
            )
        return table
