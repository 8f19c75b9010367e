"""The reference pages of docs/, made from the code: settings, command line, task types, ignored fields."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

NOTE = "<!-- Made by `make generate`; do not edit. -->\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _page(*parts: str | Iterable[str]) -> str:
    texts = [part if isinstance(part, str) else "\n".join(part) for part in parts]
    return NOTE + "\n" + "\n\n".join(texts) + "\n"


# ---------------------------------------------------------------- settings


def settings() -> str:
    """docs/settings.md, from `settings.SETTINGS`."""
    from lakeflow_job_meta.settings import SETTINGS

    rows = []
    for setting in SETTINGS:
        flag = f"--{setting.name.replace('_', '-')}" if setting.kind != "mapping" else "--var NAME=VALUE"
        default = "" if setting.default is None else f"`{json.dumps(setting.default)}`"
        takes = " \\| ".join(f"`{choice}`" for choice in setting.choices) or setting.kind
        rows.append(
            (f"`{setting.name}`", takes, default, "yes" if setting.module else "", f"`{flag}`", setting.doc)
        )
    return _page(
        "# Settings",
        "Strongest first: the module (in its YAML, or in its job row), a flag or constructor argument, the environment "
        "(`LAKEFLOW_JOB_META_` and the name in capitals), the settings row of the control table, the built-in default.",
        [
            line.replace("\\\\|", "\\|")
            for line in _table(
                ("setting", "takes", "default", "a module may set it", "flag", "what it does"), rows
            )
        ],
        "The settings row has module_name `__control__` and source_id `__settings__`; its transformation_config is a JSON object:",
        "```sql\nINSERT INTO main.etl.control VALUES (\n  '__settings__', '__control__', 'settings', 0, NULL, NULL,\n"
        '  \'{"drift": "report", "variables": {"env": "prod"}}\', true)\n```',
    )


# ---------------------------------------------------------------- command line


def command_line() -> str:
    """docs/cli.md: what every command's `--help` prints."""
    from lakeflow_job_meta.cli.program import NAME, program

    parts: list[str] = [
        "# Command line",
        "What `--help` prints. Exit codes: 0 done (`plan`: no change), 2 `plan` has changes, 1 something failed or was refused, 64 wrong usage.",
    ]
    for path, text in _help(program, NAME, None):
        parts.append(f"{'#' * (2 + min(path.count(' '), 2))} {path}")
        parts.append(f"```text\n{text}\n```")
    return _page(*parts)


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=110, max_content_width=110)
    yield context.command_path, "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _help(found, child, context)


# ---------------------------------------------------------------- drift


def drift_rules() -> str:
    """docs/drift_rules.md, from `reconcile.rules`."""
    from lakeflow_job_meta.reconcile import rules

    def shown(value: Any) -> str:
        return "any" if value is rules.ANY else f"`{json.dumps(value)}`"

    return _page(
        "# What never shows as a change",
        "The platform fills in values by itself and orders some lists as it likes. These differences are no drift. "
        "A default hides a difference only where the metadata is silent and the workspace has this very value. "
        "`[]` stands for the elements of a list.",
        "## Defaults of the platform",
        _table(
            ("field", "value", "why"),
            [(f"`{d.path}`", shown(d.value), d.reason) for d in rules.SERVER_DEFAULTS],
        ),
        "## Lists by key",
        _table(
            ("list", "key", "why"), [(f"`{k.path}`", ", ".join(k.fields), k.reason) for k in rules.LIST_KEYS]
        ),
        "## Lists that are sets",
        _table(("list", "why"), [(f"`{path}`", reason) for path, reason in rules.SETS.items()]),
    )
