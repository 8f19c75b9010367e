"""Full wire objects of the installed SDK, made by reflection: every field of every dataclass has a value.

Values are of the kind that the platform accepts (cron expressions, time zones, enum members), so that they
pass a validating server; `VALUES` names them by field.
"""

from __future__ import annotations

import enum
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from databricks.sdk.service import jobs

JsonObject = dict[str, Any]

#: Values by (class, field) or by field, where the platform takes no other.
VALUES: dict[str, Any] = {
    "quartz_cron_expression": "0 0 2 * * ?",
    "timezone_id": "UTC",
    "ConditionTask.op": "EQUAL_TO",
    "ForEachTask.inputs": "[1, 2]",
    "RunJobTask.job_id": 4711,
    "JobRunAs.user_name": "someone@example.com",
    "min_time_between_triggers_seconds": 60,
    "wait_after_last_change_seconds": 60,
    "FileArrivalTriggerConfiguration.url": "/Volumes/main/landing/files/",
    "max_concurrent_runs": 3,
    "max_retries": 2,
    "min_retry_interval_millis": 1000,
    "timeout_seconds": 3600,
    "num_workers": 2,
    "spark_version": "16.4.x-scala2.12",
    "node_type_id": "i3.xlarge",
    "git_url": "https://example.com/repo.git",
    "interval": 2,
    "table_names": ["main.sales.orders"],
    "JobParameterDefinition.name": "parameter_name",
    "task_key": "inner",
    "job_cluster_key": "main_cluster",
    "environment_key": "main_environment",
    "git_provider": "gitHub",
}

#: Task types: every field of Task that holds a type's own settings.
TASK_FIELDS = tuple(field.name for field in fields(jobs.Task) if field.name.endswith("_task"))
#: The other fields of Task, but its key and its dependencies.
COMMON_TASK_FIELDS = tuple(
    field.name
    for field in fields(jobs.Task)
    if field.name not in TASK_FIELDS and field.name not in ("task_key", "depends_on")
)
#: Fields of JobSettings but its tasks.
JOB_FIELDS = tuple(field.name for field in fields(jobs.JobSettings) if field.name != "tasks")


#: Fields of which the platform takes one at a time, by class.
EXCLUSIVE: dict[str, tuple[tuple[str, ...], ...]] = {
    "Task": (TASK_FIELDS, ("environment_key", "job_cluster_key", "existing_cluster_id", "new_cluster")),
    "SqlTask": (("query", "file", "alert", "dashboard"),),
    "PythonWheelTask": (("named_parameters", "parameters"),),
    "TriggerSettings": (("file_arrival", "periodic", "table_update", "model"),),
    "JobRunAs": (("user_name", "service_principal_name", "group_name"),),
    "GitSource": (("git_branch", "git_tag", "git_commit"),),
    "Library": (("whl", "jar", "egg", "cran", "maven", "pypi", "requirements"),),
    "Environment": (("environment_version", "client", "base_environment"),),
    "ClusterSpec": (("num_workers", "autoscale"),),
}


def plain(kind: Any) -> Any:
    """`X` of Optional[X]."""
    arguments = [argument for argument in typing.get_args(kind) if argument is not type(None)]
    return arguments[0] if typing.get_origin(kind) is typing.Union and len(arguments) == 1 else kind


def _value(kind: Any, owner: str, name: str, above: tuple[type, ...], pick: int | None) -> Any:
    for key in (f"{owner}.{name}", name):
        if key in VALUES:
            return VALUES[key]
    kind = plain(kind)
    origin = typing.get_origin(kind)
    if origin is list:
        inner = _value(typing.get_args(kind)[0], owner, name, above, pick)
        return None if inner is None else [inner]
    if origin is dict:
        inner = _value(typing.get_args(kind)[1], owner, name, above, pick)
        return None if inner is None else {f"{name}_key": inner}
    if isinstance(kind, type):
        if issubclass(kind, enum.Enum):
            return next(iter(kind)).value
        if is_dataclass(kind):
            return None if kind in above else full(kind, above, pick)
        if kind is bool:
            return True
        if kind in (int, float):
            return 5
        if kind is str:
            return f"{name} of {owner}"
    return {"any": [1, "two"]}


def full(cls: type, above: tuple[type, ...] = (), pick: int | None = None) -> JsonObject:
    """A wire object of `cls` with every field set; classes within themselves are left out.

    Args:
        pick: None for all fields at once; else of fields that exclude each other the one of this number.
    """
    hints = typing.get_type_hints(cls)
    names = [f.name for f in fields(cls)]
    for group in EXCLUSIVE.get(cls.__name__, ()) if pick is not None else ():
        there = [name for name in group if name in names and plain(hints[name]) not in above]
        names = [name for name in names if name not in group or name == there[pick % len(there)]]
    values = {name: _value(hints[name], cls.__name__, name, (*above, cls), pick) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def variants(make: typing.Callable[[int], Any]) -> list[Any]:
    """The different results of `make(0)`, `make(1)`, ...: together they have every field."""
    found: list[Any] = []
    for number in range(len(TASK_FIELDS)):
        one = make(number)
        if one not in found:
            found.append(one)
    return found


def field_value(cls: type, name: str, pick: int | None = None) -> Any:
    """A full value for one field of `cls`."""
    return _value(typing.get_type_hints(cls)[name], cls.__name__, name, (cls,), pick)


def paths(value: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of a wire object by its path."""
    if isinstance(value, dict) and value:
        return {k: v for name, inner in value.items() for k, v in paths(inner, f"{prefix}.{name}").items()}
    if isinstance(value, list) and value:
        return {k: v for i, inner in enumerate(value) for k, v in paths(inner, f"{prefix}[{i}]").items()}
    return {prefix: value}
