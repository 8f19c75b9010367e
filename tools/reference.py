"""The reference pages of docs/, made from the code: settings, command line, task types, ignored fields."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    settings = {**command.context_settings, "terminal_width": 110, "max_content_width": 110}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path, "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _help(found, child, context)


# ---------------------------------------------------------------- task types


def task_types() -> str:
    """docs/task_types.md, from the registry of task types and the schema."""
    from lakeflow_job_meta.metadata import schema
    from lakeflow_job_meta.metadata.task_types import TASK_TYPES

    defs = schema.document()["$defs"]
    parts: list[str | Iterable[str]] = [
        "# Task types",
        (
            "`transformation_config.task_type` is one of these. Types of the Jobs API have its own name without `_task`, and their settings under "
            "the API's own key, as the installed databricks-sdk has them. What each field means is in the Jobs API's reference; "
            "`lakeflow-job-meta schema` prints the same with descriptions, for your editor. `*`: must be there."
        ),
        "An unknown key is an error with a suggestion: the SDK would drop it silently.",
    ]
    for name, kind in TASK_TYPES.items():
        parts.append(f"## {name}")
        parts.append(_runs_on(kind))
        rows = []
        for key, node in kind.keys.items():
            rows.append(
                (f"`{key}`" + ("*" if key in kind.required else ""), _type(node, defs), _meaning(node))
            )
            inner = _resolve(node, defs)
            for field, below in inner.get("properties", {}).items():
                star = "*" if field in inner.get("required", ()) else ""
                rows.append(
                    (f"`{key}.{field}`{star}", _type(below, defs), "" if "$ref" in node else _meaning(below))
                )
        told = any(meaning for _, _, meaning in rows)
        parts.append(
            _table(
                ("key", "takes", "meaning") if told else ("key", "takes"), [row[: 2 + told] for row in rows]
            )
        )
    parts.append("## Beside every task type")
    parts.append("Any field of the Jobs API's Task:")
    parts.append(_fields(defs["task_fields"]["properties"], defs))
    parts.append("## job")
    parts.append("A module's `job`: any field of the Jobs API's JobSettings but `tasks`, and `permissions`:")
    parts.append(_fields(defs["job"]["properties"], defs))
    return _page(*parts)


def _runs_on(kind: Any) -> str:
    if kind.ours:
        return f"{kind.summary} A task of this package: it becomes a python_wheel task."
    own = f"{kind.summary} " if kind.lifted else ""  # a type that we shape has a text of ours
    return f"{own}In the Jobs API: `{kind.api_key}`."


def _fields(properties: dict[str, Any], defs: dict[str, Any]) -> Iterator[str]:
    return _table(("key", "takes"), [(f"`{key}`", _type(node, defs)) for key, node in properties.items()])


def _meaning(node: dict[str, Any]) -> str:
    """Texts of ours only: those of the API are in its own reference."""
    return "" if list(node) == ["$ref"] else " ".join(str(node.get("description", "")).split())


def _resolve(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = {"$defs": defs}
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def _type(node: dict[str, Any], defs: dict[str, Any]) -> str:
    node = _resolve(node, defs)
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_type(choice, defs) for choice in node["anyOf"]))
    if node.get("type") == "array":
        return f"list of {_type(node.get('items', {}), defs)}"
    if node.get("type") == "object" and isinstance(node.get("additionalProperties"), dict):
        return f"mapping of {_type(node['additionalProperties'], defs)}"
    return str(node.get("type", "any"))


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


# ---------------------------------------------------------------- knobs of the Data X-Ray simulator


def dxr_knobs() -> str:
    """docs/dxr_knobs.md, from `local.dxr.knobs.Knobs`."""
    from lakeflow_job_meta.local.dxr.knobs import Knobs, described

    defaults = Knobs().to_json()
    rows = [
        (f"`{name}`", f"`{json.dumps(defaults[name])}`", knob.text, _knob_values(knob.schema))
        for name, knob in described().items()
    ]
    return _page(
        "# Knobs of the Data X-Ray simulator",
        "They stand in the file of `--faults`, or are changed by `PATCH /_simulator/knobs` "
        '([how](dxr_simulator.md#when-things-go-wrong)). A wait is seconds, `{"polls": n}` (so many polls of the job, or '
        "searches), or null for ever.",
        _table(("knob", "default", "what it does", "takes"), rows),
    )


def _knob_values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = [each.get("type", "") for each in schema.get("anyOf", [schema])]
    if kinds == ["number", "null", "object"]:
        return "a wait"
    properties = schema.get("items", {}).get("properties")
    if properties:
        fields = [f"{name} ({', '.join(map(str, _enum_of(node)))})" for name, node in properties.items()]
        return "a list of objects with " + "; ".join(field.replace(" ()", "") for field in fields)
    return " or ".join(kinds)


def _enum_of(node: Mapping[str, Any]) -> list[Any]:
    return list(node.get("enum") or (node.get("anyOf", [{}])[0]).get("enum") or [])
