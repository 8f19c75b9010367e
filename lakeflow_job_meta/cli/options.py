"""Options that commands share, and what was given with them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.settings import SETTINGS, Setting

F = TypeVar("F", bound=Callable[..., Any])
_ENVIRONMENT = "LAKEFLOW_JOB_META_"


@dataclass(frozen=True)
class Given:
    """What the shared options of one call say.

    Args:
        control_table: None only for commands that can do without.
        local: folder of the embedded workspace; None: the configured workspace.
        flags: settings by name; None where a flag was not given.
        json: `--format json`.
    """

    control_table: TableName | None = None
    local: Path | None = None
    warehouse_id: str | None = None
    profile: str | None = None
    flags: dict[str, Any] = field(default_factory=dict)
    json: bool = False

    @property
    def table(self) -> TableName:
        """The control table; raises UsageError when it was not given."""
        if self.control_table is None:
            raise UsageError(
                f"no control table: name it with --control-table CATALOG.SCHEMA.TABLE or {_ENVIRONMENT}CONTROL_TABLE"
            )
        return self.control_table


class _SettingOption(click.Option):
    """A setting as a flag: listed below the other options."""


class Command(click.Command):
    """A command whose help lists the settings apart from its own options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        settings: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (settings if isinstance(parameter, _SettingOption) else own).append(record)
        with formatter.section("Options"):
            formatter.write_dl(own)
        if settings:
            with formatter.section("Settings (also LAKEFLOW_JOB_META_<NAME>, or the settings row)"):
                formatter.write_dl(settings)


def pairs(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """Callback of options that take `NAME=VALUE`; the last one wins."""
    found: dict[str, str] = {}
    for text in value:
        name, equals, given = text.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", ctx, param)
        found[name.strip()] = given
    return found


def param_option(text: str) -> Callable[[F], F]:
    """`--param NAME=VALUE`, any number of them, as the dict `parameters`."""
    return click.option(
        "--param", "parameters", multiple=True, callback=pairs, metavar="NAME=VALUE", help=text
    )


def check_interval_option(text: str) -> Callable[[F], F]:
    """`--check-interval-seconds`, of the monitor that runs here or is deployed."""
    return click.option(
        "--check-interval-seconds",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )


def _table(ctx: click.Context, param: click.Parameter, value: str | None) -> TableName | None:
    return TableName.parse(value) if value else None


def _output(ctx: click.Context, param: click.Parameter, value: str) -> bool:
    root = ctx.find_root().command
    if hasattr(root, "json"):
        root.json = value == "json"
    return value == "json"


def _compose(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


format_option: Callable[[F], F] = _compose(
    click.option(
        "--format",
        "json",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        callback=_output,
        help="With json stdout holds only JSON.",
        is_eager=True,
    ),
    click.option("--debug", is_flag=True, expose_value=False, hidden=True),
)
variables_option: Callable[[F], F] = click.option(
    "--var",
    "variables",
    multiple=True,
    callback=pairs,
    metavar="NAME=VALUE",
    help="A value for ${var.NAME}; may be repeated.",
)
control_table_option: Callable[[F], F] = click.option(
    "--control-table",
    envvar=f"{_ENVIRONMENT}CONTROL_TABLE",
    show_envvar=True,
    metavar="CATALOG.SCHEMA.TABLE",
    callback=_table,
    help="The Delta table of the metadata.",
)
local_option: Callable[[F], F] = click.option(
    "--local",
    envvar=f"{_ENVIRONMENT}LOCAL",
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Use the embedded workspace in DIR, started when none is up there.",
)
warehouse_option: Callable[[F], F] = click.option(
    "--warehouse-id",
    envvar=f"{_ENVIRONMENT}WAREHOUSE_ID",
    show_envvar=True,
    metavar="ID",
    help="SQL warehouse for the control table, where there is no Spark.",
)
profile_option: Callable[[F], F] = click.option(
    "--profile", metavar="NAME", help="Profile of ~/.databrickscfg to connect with."
)


def _setting(setting: Setting) -> Callable[[F], F]:
    flag = "--" + setting.name.replace("_", "-")
    kinds: dict[str, Any] = {"integer": int, "number": float, "text": str}
    about: dict[str, Any] = {"cls": _SettingOption, "default": None, "help": setting.doc}
    if setting.kind == "boolean":
        return click.option(f"{flag}/--no-{flag[2:]}", setting.name, **about)
    if setting.kind == "choice":
        kind: Any = click.Choice(setting.choices, case_sensitive=False)
        return click.option(flag, setting.name, type=kind, **about)
    metavar = {"integer": "N", "number": "N", "text": "TEXT"}[setting.kind]
    return click.option(flag, setting.name, type=kinds[setting.kind], metavar=metavar, **about)


_FLAGS = tuple(setting for setting in SETTINGS if setting.kind != "mapping")
_SHARED = ("control_table", "local", "warehouse_id", "profile", "json")


def connection(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that works on a workspace; the function gets them as `given`."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        shared = {name: options.pop(name) for name in _SHARED}
        flags = {setting.name: options.pop(setting.name) for setting in _FLAGS}
        flags["variables"] = options.pop("variables") or None
        given = Given(**shared, flags={name: value for name, value in flags.items() if value is not None})
        return function(*arguments, given=given, **options)

    decorate: Callable[[Callable[..., Any]], Callable[..., Any]] = _compose(
        control_table_option,
        local_option,
        variables_option,
        format_option,
        warehouse_option,
        profile_option,
        *(_setting(setting) for setting in _FLAGS),
    )
    return decorate(call)


def existing_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The paths, checked: a local one must be there (a volume's is the workspace's to judge).

    Raises:
        UsageError: naming every path that is not there.
    """
    missing = [path for path in paths if not path.startswith("/Volumes/") and not Path(path).exists()]
    if missing:
        raise UsageError(
            f"{', '.join(missing)}: no such file or folder; give YAML files, folders of them, or paths below /Volumes"
        )
    return paths
