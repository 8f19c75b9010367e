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
@click.option("--format", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def demo(directory: Path, output: str) -> None:
    """Show the main job on this machine: rows and YAML become jobs, run, and follow changes.

    Starts an embedded workspace in a folder, and needs nothing but this package with its extra `local`.
    Every step checks what it tells; exit code 1 when one does not hold.
    """
    root = _prepare(directory)
    log = root / "demo.log"
    results, facts = _play(root, log, to_stderr=output == "json")
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


def _play(root: Path, log: Path, *, to_stderr: bool) -> tuple[list[StepResult], dict[str, Any]]:
    """Every step until one fails, and what they found; the workspace is stopped at the end."""
    # Imported here: the steps need the extra `local`, and `--help` must stay quick.
    from rich.markup import escape

    from lakeflow_job_meta.cli.demo_stage import Demo
    from lakeflow_job_meta.cli.demo_steps import STEPS
    from lakeflow_job_meta.local import process

    process.reset(root / "workspace")
    console = _console(sys.stderr if to_stderr else sys.stdout)
    stage = Demo(root, console)
    console.print(
        f"\n[bold]From a control table to running Databricks Jobs[/bold], on this machine, in {escape(str(root))}\n"
        "Each step says what it does, does it, and checks the outcome."
    )
    results: list[StepResult] = []
    with _logging_to(log):
        try:
            for number, step in enumerate(STEPS, 1):
                console.print()
                console.rule(f"[bold]{number}/{len(STEPS)}  {step.name}", align="left")
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
                _ending(console, stage.folder, sum(result.seconds for result in results))
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


def _ending(console: Console, folder: Path, seconds: float) -> None:
    here = Path.cwd()
    shown = shlex.quote(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
    table = "--control-table main.demo.etl_control"
    program = _program(here)
    console.print()
    console.rule(f"[bold green]done in {seconds:.0f} s", align="left")
    console.print(
        "The workspace is stopped, its folder is kept; a command with --local starts it again. Look around:\n"
    )
    for text, command in (
        ("what is there", f"{program} status {table} --local {shown}"),
        ("the tables", f'{program} local sql --dir {shown} "SELECT * FROM gold.demo.daily_sales"'),
        (
            "the documents",
            f'{program} local sql --dir {shown} "SELECT relative_path, labels FROM main.demo.dxr_files"',
        ),
        ("run it again", f"{program} run sales {table} --local {shown}"),
        ("stop it again", f"{program} local stop --dir {shown}"),
    ):
        console.print(f"  {text:<15}{command}", markup=False, soft_wrap=True)
    console.print(f"  {'the volume':<15}{shown}/Volumes/main/demo/metadata", markup=False, soft_wrap=True)
    console.print(
        f"  {'read on':<15}README.md, docs/METADATA_MANAGEMENT.md, examples/", markup=False, soft_wrap=True
    )


def _program(here: Path) -> str:
    """How this command is called from here: by its name, or by its path where no PATH leads to it."""
    if shutil.which("lakeflow-job-meta"):
        return "lakeflow-job-meta"
    path = Path(sys.argv[0]).absolute()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
