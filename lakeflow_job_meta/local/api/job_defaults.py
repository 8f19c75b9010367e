"""What the Jobs API fills in by itself when settings leave it out, as data, each with its reason."""

from __future__ import annotations

from typing import Any

from lakeflow_job_meta.local.api.call import USER

Json = dict[str, Any]

#: Top-level fields of JobSettings.
JOB: tuple[tuple[str, Any], ...] = (
    ("name", "Untitled"),
    ("email_notifications", {}),  # empty objects come back for what was never set
    ("webhook_notifications", {}),
    ("timeout_seconds", 0),  # 0 is no timeout
    ("max_concurrent_runs", 1),
    ("format", "MULTI_TASK"),  # the only format since 2.1
    ("edit_mode", "EDITABLE"),
    ("run_as", {"user_name": USER}),  # the creator, unless somebody else was named
)
#: Fields of JobSettings that only Jobs API 2.2 fills in.
JOB_2_2: tuple[tuple[str, Any], ...] = (("queue", {"enabled": True}),)  # 2.2 queues runs by default
#: Fields of a trigger-like object, when it is there: a trigger is active unless it is paused.
TRIGGERS: tuple[tuple[str, str, Any], ...] = (
    ("schedule", "pause_status", "UNPAUSED"),
    ("trigger", "pause_status", "UNPAUSED"),
    ("continuous", "pause_status", "UNPAUSED"),
)
#: Fields of every task, also of the one inside a for_each_task.
TASK: tuple[tuple[str, Any], ...] = (
    ("run_if", "ALL_SUCCESS"),
    ("timeout_seconds", 0),
    ("email_notifications", {}),
    ("webhook_notifications", {}),
)
#: Objects of a task that have a `source`, GIT when the job has a git_source, else WORKSPACE.
SOURCES: tuple[tuple[str, ...], ...] = (
    ("notebook_task",),
    ("spark_python_task",),
    ("dbt_task",),
    ("sql_task", "file"),
)


def with_defaults(settings: Json, *, version: str = "2.2") -> Json:
    """A copy of JobSettings as the API gives it back.

    Args:
        settings: as they were sent.
        version: `2.1` or `2.2` of the Jobs API, by which they were sent.
    """
    filled = {name: value for name, value in settings.items() if value is not None}
    for name, value in JOB if version == "2.1" else JOB + JOB_2_2:
        if name not in filled:
            filled[name] = dict(value) if isinstance(value, dict) else value
    for name, field, value in TRIGGERS:
        if isinstance(filled.get(name), dict):
            filled[name] = {field: value, **filled[name]}
    source = "GIT" if filled.get("git_source") else "WORKSPACE"
    if filled.get("tasks"):
        filled["tasks"] = [_task(task, source) for task in filled["tasks"]]
    return filled


def _task(task: Json, source: str) -> Json:
    filled = {name: value for name, value in task.items() if value is not None}
    for name, value in TASK:
        if name not in filled:
            filled[name] = dict(value) if isinstance(value, dict) else value
    for path in SOURCES:
        filled = _with_source(filled, path, source)
    inner = (filled.get("for_each_task") or {}).get("task")
    if isinstance(inner, dict):
        filled["for_each_task"] = {**filled["for_each_task"], "task": _task(inner, source)}
    return filled


def _with_source(value: Json, path: tuple[str, ...], source: str) -> Json:
    """`value` with `source` set in the object at `path`, copied on the way; unchanged without it."""
    found = value.get(path[0])
    if not isinstance(found, dict):
        return value
    changed = {"source": source, **found} if len(path) == 1 else _with_source(found, path[1:], source)
    return {**value, path[0]: changed}
