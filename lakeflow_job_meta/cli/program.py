"""The program itself: the group of commands, imported one by one, and the boundary for errors."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

import lakeflow_job_meta
from lakeflow_job_meta.cli import errors

NAME = "lakeflow-job-meta"
#: Command, where it lives, and its line in `--help`; in the order of the help.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "validate": ("validate:validate", "Check YAML files, without any workspace."),
    "schema": ("schema:schema", "Print the JSON Schema of the YAML files."),
    "load": ("load:load", "Write YAML files into the control table."),
    "plan": ("plan:plan", "Show what apply would do; exit code 2 when there is something."),
    "apply": ("plan:apply", "Make the workspace's jobs equal to the control table."),
    "run": ("run:run", "Run a module's job and follow it to its end."),
    "status": ("status:status", "Show modules, jobs, last runs and errors."),
    "monitor": ("monitor:monitor", "Keep jobs equal to tables and files, in a loop."),
    "import": ("import_jobs:import_jobs", "Write existing jobs or a bundle as YAML, and adopt them."),
    "deploy": ("deploy:deploy", "Put the monitor into a workspace, or take it out again."),
    "doctor": ("doctor:doctor", "Probe everything that a deployment needs; say what to mend."),
    "demo": ("demo:demo", "Show the main job on this machine, step by step."),
    "dxr": ("dxr:dxr", "Data X-Ray: ingest, collect, organise, snapshot, run-once."),
    "policy": ("policy:policy", "SQL policies: list, run, show, remediate, undo."),
    "dataset": ("dataset:dataset", "Files as datasets: ingest, status, list, query, sync, delete."),
    "local": ("local:local", "The embedded workspace: up, env, sql, status, dxr, reset, stop."),
}
EPILOG = """\b
Exit codes: 0 done; 2 plan has changes; 1 something failed or was refused; 64 wrong usage.
Completion, for bash (zsh, fish likewise):
  eval "$(_LAKEFLOW_JOB_META_COMPLETE=bash_source lakeflow-job-meta)"
"""


class Program(click.Group):
    """A group whose commands are imported when they are called, and whose errors have one shape.

    Args:
        commands: name to (`module:attribute` below `package`, help line).
    """

    def __init__(self, *, lazy: Mapping[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._lazy = lazy
        self.debug = False
        self.json = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command = getattr(import_module(f"lakeflow_job_meta.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """As click's, with our exit codes and messages instead of click's."""
        words = sys.argv[1:] if args is None else args
        self.debug = "--debug" in words or bool(os.environ.get("LAKEFLOW_JOB_META_DEBUG"))
        self.json = False
        if not standalone_mode:
            return super().main(args, prog_name or NAME, complete_var, standalone_mode=False, **extra)
        try:
            try:
                code = super().main(args, prog_name or NAME, complete_var, standalone_mode=False, **extra)
                sys.stdout.flush()
            # The outermost boundary: whatever was not expected is told in one line.
            except Exception as error:
                if isinstance(error, OSError) and error.errno == errno.EPIPE:
                    raise
                code = errors.report(error, json=self.json, debug=self.debug)
                sys.stdout.flush()
        except BrokenPipeError:
            _leave_pipe()
            code = 1
        sys.exit(code if isinstance(code, int) else 0)


def _leave_pipe() -> None:
    """The reader went away (`| head`): end without a word, at the interpreter's exit too."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is no file, as under a test
        pass
    finally:
        os.close(devnull)


@click.group(
    cls=Program,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(lakeflow_job_meta.__version__, prog_name=NAME)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an unexpected error.")
def program() -> None:
    """Rows in a Delta control table become Databricks Jobs, and stay equal to them.

    Without --local a command works on the workspace that the Databricks SDK is configured for
    (DATABRICKS_HOST and so on, or a profile); with --local DIR on an embedded workspace in a folder.
    """


def run(arguments: Sequence[str] | None) -> NoReturn:
    """The program on these arguments, in a process of its own: leaves by SystemExit."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # other people's deprecations are no message to our users
    for library in ("databricks.sdk", "pyspark", "urllib3"):
        logging.getLogger(library).setLevel(logging.ERROR)  # what matters of theirs becomes an error of ours
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without a character ends nothing
    program.main(args=arguments, prog_name=NAME)
    raise AssertionError("main leaves by SystemExit")
