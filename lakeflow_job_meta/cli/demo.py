"""`demo`: the main job on this machine, told and checked step by step.

The command, and the way a step is announced, timed and reported. What happens in the steps is in
`demo_steps` and `demo_stage`; the YAML, SQL, notebook and wheel that they use are in `demo_files/`.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from lakeflow_job_meta.errors import LakeflowJobMetaError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from lakeflow_job_meta.cli.demo_stage import Demo

MARKER = ".lakeflow-job-meta-demo"
"""A file that says: this folder was made by the demo, which may empty it."""


@dataclass(frozen=True)
class StepResult:
    """One step: its name, whether all that it claims was so, and how long it took."""

    name: str
    ok: bool
    seconds: float


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".demo"),
    show_default=True,
    help="Folder of the demo's workspace; an earlier demo in it is replaced.",
)
@click.option(
    "--datasets",
    is_flag=True,
    help="Show uploads instead: files become clean tables (also needs `datasets`).",
)
@click.option("--format", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def demo(directory: Path, datasets: bool, output: str) -> None:
    """Show the main job on this machine: rows and YAML become jobs, run, and follow changes.

    Starts an embedded workspace in a folder, and needs nothing but this package with its extra `local`.
    Every step checks what it tells; exit code 1 when one does not hold.
    """
    root = _prepare(directory)
    log = root / "demo.log"
    results, facts = _play(root, log, datasets=datasets, to_stderr=output == "json")
    ok = all(result.ok for result in results)
    if output == "json":
        steps = [{"name": r.name, "ok": r.ok, "seconds": round(r.seconds, 2)} for r in results]
        click.echo(json.dumps({"ok": ok, "steps": steps, **facts}))
    sys.exit(0 if ok else 1)


def _prepare(directory: Path) -> Path:
    """The demo's folder, made and marked. Raises UsageError when it holds something else."""
    root = directory.expanduser().resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        strange = [entry.name for entry in root.iterdir()] if not (root / MARKER).exists() else []
        if strange:
            raise UsageError(
                f"{directory} holds {min(strange)!r} and was not made by the demo: "
                "choose an empty or new folder with --dir"
            )
        (root / MARKER).write_text("Made by lakeflow-job-meta demo, which may empty this folder.\n")
    except OSError as e:
        raise UsageError(
            f"cannot write to {directory}: {e.strerror}; choose another folder with --dir"
        ) from e
    return root


def _play(
    root: Path, log: Path, *, datasets: bool, to_stderr: bool
) -> tuple[list[StepResult], dict[str, Any]]:
    """Every step until one fails, and what they found; the workspace is stopped at the end."""
    # Imported here: the steps need the extra `local`, and `--help` must stay quick.
    from rich.markup import escape

    from lakeflow_job_meta.cli import demo_datasets, demo_steps
    from lakeflow_job_meta.cli.demo_stage import Demo
    from lakeflow_job_meta.local import process

    steps = demo_datasets.STEPS if datasets else demo_steps.STEPS
    title = "From a file to clean tables" if datasets else "From a control table to running Databricks Jobs"

    process.reset(root / "workspace")
    console = _console(sys.stderr if to_stderr else sys.stdout)
    stage = Demo(root, console)
    console.print(
        f"\n[bold]{title}[/bold], on this machine, in {escape(str(root))}\n"
        "Each step says what it does, does it, and checks the outcome."
    )
    results: list[StepResult] = []
    with _logging_to(log):
        try:
            for number, step in enumerate(steps, 1):
                console.print()
                console.rule(f"[bold]{number}/{len(steps)}  {step.name}", align="left")
                console.print(step.text)
                started = time.monotonic()
                problem = _attempt(step.act, stage, log)
                seconds = time.monotonic() - started
                results.append(StepResult(step.name, ok=not problem, seconds=seconds))
                if problem:
                    console.print(
                        f"[bold red]✗ step {number}, {step.name}, failed:[/bold red] {escape(problem)}"
                    )
                    console.print(
                        f"  more is in {log}\n  and in {stage.folder / '.workspace' / 'server.log'}"
                    )
                    break
                console.print(f"[green]✓[/green] [dim]{seconds:.1f} s[/dim]")
            else:
                seconds = sum(result.seconds for result in results)
                _ending(console, stage.folder, seconds, demo_datasets.commands if datasets else _commands)
        finally:
            stage.close()
            process.stop(stage.folder)
    return results, stage.facts


def _attempt(act: Callable[[Demo], None], stage: Demo, log: Path) -> str:
    """Why the step failed; empty when all was as told."""
    try:
        act(stage)
    # The outermost boundary of the demo: whatever fails is told in one line, the rest is in the log.
    except Exception as e:  # noqa: BLE001
        with log.open("a") as file:
            traceback.print_exc(file=file)
        return str(e) if isinstance(e, LakeflowJobMetaError) else f"{type(e).__name__}: {e}"
    return ""


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    if stream.isatty():
        return Console(
            file=stream, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto"
        )
    return Console(file=stream, highlight=False, color_system=None, width=110)


@contextmanager
def _logging_to(log: Path) -> Iterator[None]:
    """The product's log lines go to a file: the screen is for the story."""
    import structlog

    with log.open("w") as file:
        handler = logging.StreamHandler(file)
        logging.getLogger().addHandler(handler)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.WriteLoggerFactory(file),
        )
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            structlog.reset_defaults()


def _ending(
    console: Console, folder: Path, seconds: float, commands: Callable[[str], tuple[tuple[str, str], ...]]
) -> None:
    here = Path.cwd()
    shown = shlex.quote(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
    program = _program(here)
    console.print()
    console.rule(f"[bold green]done in {seconds:.0f} s", align="left")
    console.print(
        "The workspace is stopped, its folder is kept; a command with --local starts it again. Look around:\n"
    )
    for text, command in commands(shown):
        told = command if text in _NO_COMMANDS else f"{program} {command}"
        console.print(f"  {text:<15}{told}", markup=False, soft_wrap=True)


#: Lines of the ending that are places, not commands of this program.
_NO_COMMANDS = frozenset({"the volume", "read on"})


def _commands(shown: str) -> tuple[tuple[str, str], ...]:
    """What to try after the main demo: a title and the command after the program's name."""
    table = "--control-table main.demo.etl_control"
    return (
        ("what is there", f"status {table} --local {shown}"),
        ("the tables", f'local sql --dir {shown} "SELECT * FROM gold.demo.daily_sales"'),
        ("the documents", f'local sql --dir {shown} "SELECT relative_path, labels FROM main.demo.dxr_files"'),
        ("run it again", f"run sales {table} --local {shown}"),
        ("stop it again", f"local stop --dir {shown}"),
        ("the volume", f"{shown}/Volumes/main/demo/metadata"),
        ("read on", "README.md, docs/METADATA_MANAGEMENT.md, examples/"),
    )


def _program(here: Path) -> str:
    """How this command is called from here: by its name, or by its path where no PATH leads to it."""
    if shutil.which("lakeflow-job-meta"):
        return "lakeflow-job-meta"
    path = Path(sys.argv[0]).absolute()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
