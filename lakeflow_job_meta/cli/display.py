"""Screens: consoles, tables and plans. Text comes in plain; styles are chosen here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from lakeflow_job_meta.cli.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from lakeflow_job_meta.reconcile.actions import ApplyResult, Plan
    from lakeflow_job_meta.reconcile.render import Line

#: Styles of a plan's lines and of states, as rich names them.
STYLES: Mapping[str, str] = {
    "create": "green",
    "update": "yellow",
    "retire": "red",
    "revive": "cyan",
    "refused": "bold red",
    "unchanged": "dim",
    "drift": "magenta",
    "plain": "",
    "active": "green",
    "retired": "dim",
    "deleted": "dim",
    "failed": "bold red",
    "new": "yellow",
    "SUCCESS": "green",
    "RUNNING": "cyan",
    "PENDING": "dim",
    "QUEUED": "dim",
    "BLOCKED": "dim",
    "FAILED": "bold red",
    "TIMEDOUT": "bold red",
    "INTERNAL_ERROR": "bold red",
    "UPSTREAM_FAILED": "red",
    "CANCELED": "yellow",
    "EXCLUDED": "dim",
    "SKIPPED": "dim",
    "PASS": "green",
    "WARN": "yellow",
    "FAIL": "bold red",
    "ERROR": "bold red",
}


def console(stream: IO[str] | None = None) -> Console:
    """A console on `stream` (stdout): plain text without limits where it is no terminal or NO_COLOR is set."""
    from rich.console import Console

    stream = stream or sys.stdout
    if not stream.isatty():
        return Console(
            file=stream, color_system=None, width=100_000, highlight=False, markup=False, emoji=False
        )
    system: Any = None if os.environ.get("NO_COLOR") else "auto"
    return Console(file=stream, color_system=system, highlight=False, markup=False, emoji=False)


def styled(text: str, style: str = "") -> Text:
    """`text` as it is, control characters shown as escapes, in one of STYLES or a style of rich's."""
    from rich.text import Text

    return Text(printable(text), style=STYLES.get(style, style))


def print_json(value: Any, *, lines: bool = False) -> None:
    """`value` on stdout as JSON: indented, or on one line with `lines`."""
    sys.stdout.write(json.dumps(value, indent=None if lines else 2, default=str) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """A table on stdout: folded into the terminal's width, or aligned columns where there is no terminal.

    A cell is a text, a number, None (empty), or a pair of text and style.
    """
    from rich import box
    from rich.table import Table

    target = console()
    table = Table(
        box=box.SIMPLE_HEAD if target.is_terminal else None,
        pad_edge=False,
        show_header=any(columns),
        title=title or None,
        title_justify="left",
        header_style="bold",
    )
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    target.print(table)


def _cell(value: Any) -> Text:
    if isinstance(value, tuple):
        return styled(str(value[0]), value[1])
    return styled("" if value is None else str(value))


def print_lines(lines: Iterable[Line]) -> None:
    """Rendered lines of a plan on stdout."""
    target = console()
    for line in lines:
        target.print(styled(str(line), line.style), soft_wrap=True)


def print_plan(plan: Plan, *, unchanged: bool = False) -> None:
    """The plan as a diff, with its summary."""
    from lakeflow_job_meta.reconcile.render import render_plan

    print_lines(render_plan(plan, unchanged=unchanged))


def print_applied(result: ApplyResult) -> None:
    """What came of a plan: what was done and what was not, module by module, then the count."""
    from lakeflow_job_meta.reconcile.render import render_action

    target = console()
    words = {"create": "created", "update": "updated", "retire": "retired", "revive": "revived"}
    done = dict.fromkeys(words.values(), 0)
    failed = 0
    for outcome in result.results:
        action = outcome.action
        job = "" if outcome.job_id is None else f" (job {outcome.job_id})"
        if action.kind == "refused":
            print_lines(render_action(action))
        elif outcome.error:
            failed += 1
            target.print(styled(f"! failed {action.module}{job}", "failed"), soft_wrap=True)
            for line in outcome.error.splitlines():
                target.print(styled(f"    {line}"), soft_wrap=True)
        elif action.kind in words:
            done[words[action.kind]] += 1
            run = f", run {outcome.run_id} started" if outcome.run_id is not None else ""
            target.print(
                styled(f"{words[action.kind]} {action.module}{job}{run}", action.kind), soft_wrap=True
            )
    counts = [f"{count} {word}" for word, count in done.items() if count]
    counts += [f"{failed} failed"] if failed else []
    counts += [f"{len(result.plan.refused)} refused"] if result.plan.refused else []
    unchanged = result.plan.summary["unchanged"]
    counts += [f"{unchanged} unchanged"] if unchanged else []
    target.print(styled(f"applied: {', '.join(counts) or 'no module'}; calls that wrote: {result.writes}"))


def count(number: int, word: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def seconds(value: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 m 05 s`."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    return f"{int(value // 60)} m {int(value % 60):02d} s"
