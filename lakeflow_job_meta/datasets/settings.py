"""What can be set about datasets: one table, from flags and the environment.

Strongest first: a flag or argument, the environment, the default. The names that the older product's
deployments set (`DATABRICKS_AUTO_SYNC`, ...) are understood. What was set at the upload is written into the
dataset's row of the control table, so that it can be seen and changed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.settings import Kind, Setting


@dataclass(frozen=True, slots=True)
class DatasetSetting:
    """One setting: as `settings.Setting`, with the variables that give it, strongest first."""

    setting: Setting
    environment: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.setting.name


def _one(
    name: str, kind: Kind, default: Any, doc: str, *older: str, choices: tuple[str, ...] = (), **more: Any
) -> DatasetSetting:
    setting = Setting(name, kind, default, doc, choices, **more)
    return DatasetSetting(setting, (f"LAKEFLOW_JOB_META_DATASET_{name.upper()}", *older))


SETTINGS: tuple[DatasetSetting, ...] = (
    _one(
        "sync_enabled",
        "boolean",
        True,
        "Master switch: false, and datasets stay local; no row is written, no job is made.",
        "DATABRICKS_SYNC_ENABLED",
    ),
    _one(
        "auto_sync",
        "boolean",
        True,
        "Sync a dataset when it is uploaded; false: when `dataset sync` asks for it.",
        "DATABRICKS_AUTO_SYNC",
    ),
    _one("tenant", "text", "default", "Whose datasets, where a call names no tenant."),
    _one(
        "landing",
        "text",
        "",
        "Folder of the landed files (default: the volume `datasets` in the schema of the tables).",
    ),
    _one(
        "schema",
        "text",
        "",
        "`catalog.schema` of the tables about datasets (default: the control table's).",
    ),
    _one(
        "retry_attempts",
        "integer",
        3,
        "Attempts of the bronze and silver tasks.",
        "DATABRICKS_RETRY_ATTEMPTS",
        minimum=1,
    ),
    _one(
        "retry_interval",
        "integer",
        300,
        "Seconds between the starts of two attempts; fixed, the Jobs API has no backoff.",
        "DATABRICKS_RETRY_INTERVAL",
        minimum=0,
    ),
    _one("retry_on_timeout", "boolean", True, "Whether a task that ran out of time is tried again."),
    _one("bronze_timeout", "integer", 300, "Seconds that the bronze task may take.", minimum=1),
    _one("silver_timeout", "integer", 600, "Seconds that the silver task may take.", minimum=1),
    _one("record_timeout", "integer", 60, "Seconds that the record task may take.", minimum=1),
    _one("row_limit", "integer", 0, "Rows above which a dataset is not synced; 0: no limit.", minimum=0),
    _one(
        "on_delete",
        "choice",
        "keep",
        "What deleting a dataset does to its tables.",
        choices=("keep", "drop"),
    ),
    _one("failure_emails", "text", "", "Addresses, with commas, that are told when a run fails."),
    _one("stale_minutes", "integer", 5, "Minutes after which `pending` is looked into.", minimum=1),
)
BY_NAME: Mapping[str, DatasetSetting] = {one.name: one for one in SETTINGS}


@dataclass(frozen=True)
class DatasetSettings:
    """The settings in force, by name."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name] if name in self.values else BY_NAME[name].setting.default


def resolve(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> DatasetSettings:
    """The settings from flags (None: not given) and environment variables (empty: not given).

    Raises:
        UsageError: an unknown flag, or a value of the wrong type.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    unknown = sorted(set(given) - set(BY_NAME))
    if unknown:
        raise UsageError(f"unknown dataset setting {unknown[0]!r}; known are {', '.join(sorted(BY_NAME))}")
    values: dict[str, Any] = {}
    for one in SETTINGS:
        if one.name in given:
            values[one.name] = one.setting.read(given[one.name], "flag")
            continue
        for variable in one.environment:
            if environment and environment.get(variable):
                values[one.name] = one.setting.read(environment[variable], f"environment variable {variable}")
                break
    return DatasetSettings(values)
