"""Settings: one table of what can be set, where from, and with what default.

Strongest first: the module, a flag or constructor argument, the environment
(`LAKEFLOW_JOB_META_<NAME>`), the settings row of the control table, the built-in default. The docs'
settings page is generated from `SETTINGS`. Knows only errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from lakeflow_job_meta.errors import UsageError

Kind = Literal["text", "integer", "number", "boolean", "choice", "mapping"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Args:
        name: as in the settings row; the flag is `--name-with-dashes`.
        kind: how its text is read.
        default: built-in value; None means not set.
        doc: one sentence for the reference.
        choices: allowed values of a `choice`.
        module: whether a module may set it for itself (in its YAML or job row).
        minimum: smallest number allowed.
    """

    name: str
    kind: Kind
    default: Any
    doc: str
    choices: tuple[str, ...] = ()
    module: bool = False
    minimum: float | None = None

    @property
    def environment(self) -> str:
        return f"LAKEFLOW_JOB_META_{self.name.upper()}"

    def read(self, value: Any, origin: str) -> Any:
        """`value`, text or JSON, as this setting's type. Raises UsageError naming `origin`."""
        try:
            result = self._convert(value)
        except (ValueError, TypeError):
            result = None
        if result is None:
            wanted = " | ".join(self.choices) if self.choices else self.kind
            raise UsageError(f"{origin}: {self.name} must be {wanted}, not {value!r}")
        if self.minimum is not None and result < self.minimum:
            raise UsageError(f"{origin}: {self.name} must be at least {self.minimum:g}, not {value!r}")
        return result

    def _convert(self, value: Any) -> Any:
        if self.kind == "mapping":
            mapping = json.loads(value) if isinstance(value, str) else value
            return {str(k): _text(v) for k, v in mapping.items()} if isinstance(mapping, Mapping) else None
        if self.kind == "boolean":
            if isinstance(value, bool):
                return value
            return {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())
        if isinstance(value, (bool, Mapping, list)):
            return None
        if self.kind == "integer":
            return int(value)
        if self.kind == "number":
            return float(value)
        if self.kind == "choice":
            text = str(value).strip()
            by_fold = {choice.lower(): choice for choice in self.choices}
            return by_fold.get(text.lower())
        return str(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


SETTINGS: tuple[Setting, ...] = (
    Setting("variables", "mapping", {}, "Values for `${var.NAME}`, as a JSON object; merged name by name."),
    Setting(
        "drift",
        "choice",
        "enforce",
        "What to do about changes made in the workspace: revert, report or leave them.",
        choices=("enforce", "report", "ignore"),
        module=True,
    ),
    Setting(
        "retire",
        "choice",
        "pause",
        "What happens to the job of a module without active sources: paused and tagged, or deleted.",
        choices=("pause", "delete"),
        module=True,
    ),
    Setting(
        "default_pause_status",
        "choice",
        "UNPAUSED",
        "Pause status of the trigger of a new job that does not say.",
        choices=("UNPAUSED", "PAUSED"),
        module=True,
    ),
    Setting("default_warehouse_id", "text", None, "SQL warehouse of SQL tasks that name none.", module=True),
    Setting(
        "run_on_change",
        "boolean",
        False,
        "Start a run of what changed after a module was created or updated.",
        module=True,
    ),
    Setting(
        "package",
        "text",
        None,
        "Where tasks of ours get this package from: a wheel's path or a requirement "
        "(default: this version from the package index).",
        module=True,
    ),
    Setting(
        "queries_path",
        "text",
        "/Workspace/Shared/lakeflow_job_meta",
        "Workspace folder of the saved queries made for inline SQL.",
    ),
    Setting(
        "drift_interval",
        "number",
        900.0,
        "Seconds between two comparisons of the whole workspace by the monitor.",
        minimum=0,
    ),
    Setting(
        "heartbeat_interval", "number", 900.0, "Seconds between two heartbeat rows of the monitor.", minimum=1
    ),
    Setting(
        "claim_seconds",
        "number",
        300.0,
        "Seconds after which a writer's claim on a module expires.",
        minimum=1,
    ),
    Setting("parallel_calls", "integer", 8, "REST calls under way at once in an apply.", minimum=1),
    Setting(
        "retire_limit_percent",
        "number",
        30.0,
        "The brake: share of live jobs that one apply may retire without force.",
        minimum=0,
    ),
    Setting("retire_limit_minimum", "integer", 10, "The brake holds from this many live jobs on.", minimum=1),
)

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}
#: Settings that a module may set for itself, beside `job` in YAML and in the job row.
MODULE_SETTINGS: tuple[str, ...] = tuple(setting.name for setting in SETTINGS if setting.module)


@dataclass(frozen=True)
class Settings:
    """The resolved settings of one control table; attributes are named as in `SETTINGS`."""

    values: Mapping[str, Any] = field(default_factory=dict)
    #: Where each value came from: `flag`, `environment`, `settings row` or `default`.
    origins: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name] if name in self.values else BY_NAME[name].default

    def for_module(self, name: str, options: Mapping[str, Any]) -> Any:
        """The value of setting `name` for a module with these options of its own."""
        given = options.get(name)
        return self[name] if given is None else given

    @property
    def variables(self) -> Mapping[str, str]:
        return cast("Mapping[str, str]", self["variables"])


def resolve(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    row: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from flags, environment variables and the settings row's JSON object.

    A flag that is None was not given; an empty environment variable neither.

    Raises:
        UsageError: a value of the wrong type, or an unknown name in flags or the row.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    given_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    for origin, names in (("flag", given_flags), ("settings row", row or {})):
        unknown = sorted(set(names) - set(BY_NAME))
        if unknown:
            raise UsageError(
                f"{origin}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(BY_NAME))}"
            )
    for setting in SETTINGS:
        layers: list[tuple[str, Any]] = []
        if row and row.get(setting.name) is not None:
            layers.append(("settings row", row[setting.name]))
        if environment and environment.get(setting.environment):
            layers.append(("environment", environment[setting.environment]))
        if setting.name in given_flags:
            layers.append(("flag", given_flags[setting.name]))
        for origin, raw in layers:
            where = f"environment variable {setting.environment}" if origin == "environment" else origin
            value = setting.read(raw, where)
            if setting.kind == "mapping":
                value = {**values.get(setting.name, {}), **value}
            values[setting.name] = value
            origins[setting.name] = origin
    return Settings(values, origins)
