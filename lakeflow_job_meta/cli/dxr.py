"""`dxr`: the Data X-Ray tasks by hand: ingest, collect, organise, snapshot, run-once.

Their flags are the table `dxr.settings`; what earlier jobs were given (`KEY VALUE`, `KEY=VALUE`, `--KEY VALUE` with
the names of environment variables) is understood in its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.errors import report
from lakeflow_job_meta.cli.options import format_option, local_option, profile_option, warehouse_option
from lakeflow_job_meta.cli.session import tables_session
from lakeflow_job_meta.dxr.setting import DxrSetting
from lakeflow_job_meta.dxr.settings import SETTINGS as DXR_SETTINGS
from lakeflow_job_meta.dxr.settings import TOKEN_VARIABLES, for_task, read_dotenv, resolve
from lakeflow_job_meta.errors import DxrRunFailed

#: Further variables that stand for a setting's parts.
_PARTS = (
    "DATABRICKS_CATALOG",
    "DATABRICKS_SCHEMA",
    "DATABRICKS_SOURCE_VOLUME",
    "VOLUME_CATALOG",
    "VOLUME_SCHEMA",
    "VOLUME_NAME",
    "VOLUME_BASE_PATH",
    "METADATA_CATALOG",
    "METADATA_SCHEMA",
    "METADATA_TABLE",
)
_PAIR = "lakeflow_job_meta.dxr.pairs"


def variables() -> frozenset[str]:
    """Every environment variable that gives a setting; a token may not stand on a command line."""
    named = {name for setting in DXR_SETTINGS for name in setting.environment}
    return frozenset(named.union(_PARTS))


class PairsCommand(click.Command):
    """A command that takes environment variables on its command line, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        pairs, rest = split_pairs(args)
        ctx.meta[_PAIR] = pairs
        return super().parse_args(ctx, rest)


def split_pairs(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """(`KEY VALUE` pairs, the other arguments). Only whole, known names are keys; a value is never one.

    Raises:
        click.UsageError: a key without a value, or a token on the command line.
    """
    known = variables()
    pairs: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
            break
        key, equals, value = word.removeprefix("--").partition("=")
        if key in TOKEN_VARIABLES:
            raise click.UsageError(
                f"{key}: a token on the command line is seen by everybody; set the variable, or name a secret"
            )
        if key not in known:
            rest.append(word)
            # The value of a flag is left alone, whatever it looks like.
            if word.startswith("--") and not equals and word not in _SWITCHES:
                following = next(words, None)
                rest += [] if following is None else [following]
        elif equals:
            pairs[key] = value
        else:
            following = next(words, None)
            if following is None:
                raise click.UsageError(f"{key} has no value")
            pairs[key] = following
    return pairs, rest


def _flag(setting: DxrSetting) -> Callable[[Any], Any]:
    flag = "--" + setting.name.replace("_", "-")
    variable = f" [{', '.join(setting.environment)}]" if setting.environment else ""
    about: dict[str, Any] = {"default": None, "help": setting.doc + variable}
    if setting.kind == "boolean":
        forms = flag if setting.default is False else f"{flag}/--no-{flag[2:]}"
        if setting.default is False:
            return click.option(forms, setting.name, is_flag=True, flag_value=True, **about)
        return click.option(forms, setting.name, **about)
    if setting.kind in {"texts", "integers"}:
        return click.option(
            flag, setting.name, multiple=True, metavar="TEXT" if setting.kind == "texts" else "N", **about
        )
    if setting.choices:
        return click.option(flag, setting.name, type=click.Choice(setting.choices), **about)
    metavar = {"integer": "N", "number": "N", "mapping": "JSON"}.get(setting.kind, "TEXT")
    return click.option(flag, setting.name, metavar=metavar, **about)


_SWITCHES = frozenset(
    {"--debug", "--help"}
    | {f"--{one.name.replace('_', '-')}" for one in DXR_SETTINGS if one.kind == "boolean"}
    | {f"--no-{one.name.replace('_', '-')}" for one in DXR_SETTINGS if one.kind == "boolean"}
)


@click.group()
def dxr() -> None:
    """Data X-Ray: classify the files of a volume, collect the results, organise, snapshot.

    Each ends with one summary; exit code 1 when anything failed. With --local DIR and no base URL given, the
    simulator of the embedded workspace stands in for Data X-Ray. A .env file in the working folder is read.
    """


def _command(name: str, task: str, text: str) -> None:
    @dxr.command(name, cls=PairsCommand, help=text)
    @local_option
    @format_option
    @warehouse_option
    @profile_option
    @click.pass_context
    def call(
        ctx: click.Context,
        /,
        local: Path | None,
        json: bool,
        warehouse_id: str | None,
        profile: str | None,
        **given: Any,
    ) -> None:
        flags = {setting: value for setting, value in given.items() if value not in (None, ())}
        ctx.exit(run(task, flags, ctx.meta[_PAIR], local, warehouse_id, profile, json=json))

    for setting in for_task(task).values():
        _flag(setting)(call)


_command("ingest", "dxr_ingest", "Send what is new or changed in a volume to the on-demand classifier.")
_command("collect", "dxr_collect", "Follow the jobs of the ledger to their end, and write what was found.")
_command("organise", "dxr_organise", "Lay the files out by label: a volume a label, with tags and grants.")
_command("snapshot", "dxr_snapshot", "Write what Data X-Ray knows of every file into one partition a day.")
_command("run-once", "dxr_run_once", "Ingest, then collect.")


def run(
    task: str,
    flags: Mapping[str, Any],
    pairs: Mapping[str, str],
    local: Path | None,
    warehouse_id: str | None,
    profile: str | None,
    *,
    json: bool,
) -> int:
    """One task by hand; prints its summary. Returns the exit code."""
    from lakeflow_job_meta.dxr.session import DxrSession
    from lakeflow_job_meta.dxr.tasks import new_run_id, perform

    known = tuple(for_task(task).values())
    dotenv = read_dotenv(Path(".env"))
    environment = {**os.environ, **pairs}
    # What is wrong is told before anything is started.
    chosen = resolve(flags, environment, dotenv, known)
    with tables_session(local, warehouse_id, profile) as connected:
        if local is not None and not chosen["base_url"]:
            simulator = {name: os.environ[name] for name in os.environ if name.startswith("DXR_")}
            environment = {
                **simulator,
                **{k: v for k, v in environment.items() if v},
                **_token(simulator),
            }
        run_id = new_run_id()
        session = DxrSession(
            resolve(flags, environment, dotenv, known),
            connected.tables,
            connected.volumes,
            run_id,
            connected.clock,
            secrets=lambda: connected.secrets,
            environment={**dotenv, **environment},
            log=_logger(run_id, task),
            catalog=lambda: connected.catalog,
        )
        try:
            summary, code = perform(task, session), 0
        except DxrRunFailed as failure:
            summary, code = failure.summary, report(failure, json=False, debug=False)
    _show(summary, json=json)
    return code


def _token(simulator: Mapping[str, str]) -> dict[str, str]:
    """The simulator's token, which wins over one that belongs to another Data X-Ray."""
    return {name: value for name, value in simulator.items() if name in TOKEN_VARIABLES}


def _logger(run_id: str, task: str) -> Callable[..., None]:
    """Log lines as JSON on stderr."""
    import structlog

    log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
    ).bind(run_id=run_id, task=task)

    def write(event: str, **facts: Any) -> None:
        if event != "summary":  # stdout has it
            log.msg(event, **facts)

    return write


def _show(summary: Mapping[str, Any], *, json: bool) -> None:
    if json:
        display.print_json(summary)
        return
    display.print_table(
        ["", ""],
        (
            (name, display.seconds(value) if name == "seconds" else _text(value))
            for name, value in summary.items()
            if name != "reasons" and value not in (None, [], {})
        ),
    )
    for reason in summary.get("reasons") or ():
        click.echo(f"{reason['state']}: {reason['path']}: {reason['reason']}", err=True)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {count}" for name, count in value.items())
    return str(value)
