"""What an error looks like: one sentence on stderr, every problem with its place, and the exit code."""

from __future__ import annotations

import json as json_module
import sys
import traceback
from typing import Any

import click

from lakeflow_job_meta.errors import LakeflowJobMetaError, MetadataError, Problem, UsageError

#: Exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem as `validate --format json` shows it; line and column are 0 where there is no file."""
    place = problem.place
    return {
        "path": place.path if place else "",
        "line": place.line if place else 0,
        "column": place.column if place else 0,
        "pointer": problem.pointer,
        "module": problem.module,
        "source_id": problem.source_id,
        "message": problem.message,
    }


def printable(text: str) -> str:
    """`text` with control characters (but tab and newline) as escapes: metadata may not steer a terminal."""
    return "".join(
        character
        if character in "\t\n" or character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def report(error: Exception, *, json: bool, debug: bool) -> int:
    """Tell the user about `error`; returns the exit code.

    Args:
        json: put it on stdout as a JSON object too, for programs.
        debug: show the traceback of what was not expected.
    """
    if isinstance(error, click.exceptions.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, click.UsageError):
        hint = f"\nTry '{error.ctx.command_path} --help'." if error.ctx else ""
        return _tell(error.format_message() + hint, UsageError.exit_code, "UsageError", json=json)
    if isinstance(error, click.ClickException):
        return _tell(error.format_message(), error.exit_code, type(error).__name__, json=json)
    if isinstance(error, MetadataError) and error.problems:
        return _problems(error, json=json)
    if isinstance(error, LakeflowJobMetaError):
        if debug:
            traceback.print_exception(error)
        return _tell(str(error), error.exit_code, type(error).__name__, json=json)
    if debug:
        traceback.print_exception(error)
    text = f"unexpected error: {type(error).__name__}: {_first_line(str(error))}"
    if not debug:
        text += " (run `lakeflow-job-meta --debug ...` for the traceback)"
    return _tell(text, 1, type(error).__name__, json=json, prefix="")


def warn(text: str) -> None:
    """One line on stderr about something that did not stop the command."""
    click.echo(f"{click.style('warning:', fg='yellow')} {printable(text)}", err=True)


def _tell(text: str, code: int, kind: str, *, json: bool, prefix: str = "error: ") -> int:
    sys.stdout.flush()
    head = click.style(prefix.rstrip(), fg="red", bold=True) + " " if prefix else ""
    click.echo(f"{head}{printable(text)}", err=True)
    if json:
        click.echo(json_module.dumps({"error": {"type": kind, "message": text}}))
    return code


def _problems(error: MetadataError, *, json: bool) -> int:
    many = len(error.problems)
    sys.stdout.flush()
    head = click.style("error:", fg="red", bold=True)
    click.echo(f"{head} metadata refused, {many} problem{'s' if many > 1 else ''}:", err=True)
    for problem in error.problems:
        click.echo(printable(f"  {problem}"), err=True)
    if json:
        shown = {
            "type": type(error).__name__,
            "message": f"metadata refused, {many} problem{'s' if many > 1 else ''}",
            "problems": [problem_json(problem) for problem in error.problems],
        }
        click.echo(json_module.dumps({"error": shown}))
    return error.exit_code


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no message"
