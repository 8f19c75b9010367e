"""Jobs that people bring: the `jobs:` mapping of lakeflow-jobs-meta 0.2, and a bundle's `resources.jobs`.

A job becomes a module named by its resource id, a task a source with explicit dependencies. A task with `task_type`
is read in the flat form of lakeflow-jobs-meta, any other in the shape of the Jobs API.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lakeflow_job_meta.metadata.entries import Entry
from lakeflow_job_meta.metadata.places import Origin, Tokens, YamlList, YamlMap
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.metadata.suggestions import quoted, shown
from lakeflow_job_meta.metadata.task_types import TASK_TYPES

JsonObject = dict[str, Any]
_CONFIG = "transformation_config"
_JOB_ID = re.compile(r"\$\{resources\.jobs\.([^{}.]+)\.id\}")
_FOREIGN = re.compile(r"\$\{(bundle|workspace|resources|artifacts|env|self)\.[^{}]*\}")
# Where the flat form's keys belong: task_type -> (key of the API or of ours, {flat name: name inside}).
_FLAT: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "notebook": ("notebook_task", {"file_path": "notebook_path", "parameters": "base_parameters"}),
    "sql_query": (
        "sql_task",
        {name: name for name in ("warehouse_id", "sql_query", "query_id", "parameters")},
    ),
    "sql_file": (
        "sql_task",
        {
            "file_path": "sql_file_path",
            "file_source": "source",
            "warehouse_id": "warehouse_id",
            "parameters": "parameters",
        },
    ),
    "python_wheel": (
        "python_wheel_task",
        {name: name for name in ("package_name", "entry_point", "parameters")},
    ),
    "spark_jar": ("spark_jar_task", {name: name for name in ("main_class_name", "parameters")}),
    "pipeline": ("pipeline_task", {"pipeline_id": "pipeline_id"}),
    "dbt": (
        "dbt_task",
        {
            name: name
            for name in (
                "commands",
                "warehouse_id",
                "profiles_directory",
                "project_directory",
                "catalog",
                "schema",
            )
        },
    ),
}


def read_job(entry: Entry) -> None:
    """Turn one job of `jobs` or `resources.jobs` into rows and problems of its entry."""
    entry.read_name(str(entry.at[-1]), entry.at, at_key=True)
    node = entry.node
    if not isinstance(node, YamlMap):
        entry.report(entry.at, f"a job must be a mapping with tasks, not {shown(node)}")
        return
    for tokens, text in _texts(node, entry.at):
        is_job_id = tokens[-1] == "job_id" and _JOB_ID.fullmatch(text) is not None
        for match in () if is_job_id else _FOREIGN.finditer(text):
            remedy = (
                "it may stand in run_job_task.job_id, as the whole value"
                if _JOB_ID.fullmatch(match[0])
                else "put the value, or a variable ${var.NAME} in its place"
            )
            entry.report(tokens, f"{match[0]} is not known here: {remedy}")
    job = {key: value for key, value in node.items() if key != "tasks"}
    if isinstance(job.get("parameters"), dict):
        job["parameters"] = [
            {"name": name, "default": _text(value)} for name, value in job["parameters"].items()
        ]
    _lift_emails(job)
    here = Origin((_CONFIG,), entry.at, node, node.place)
    entry.add_job_row(job, [here, Origin((), entry.at, node, node.place)], active=True)
    tasks = node.get("tasks")
    if not isinstance(tasks, YamlList):
        at = (*entry.at, "tasks") if "tasks" in node else entry.at
        entry.report(at, "tasks must be a list of tasks; tasks: [] retires the job")
        return
    _tasks(entry, tasks)


def _tasks(entry: Entry, tasks: YamlList) -> None:
    seen: dict[str, Tokens] = {}
    read: list[tuple[str, JsonObject, list[Origin]]] = []
    for index, task in enumerate(tasks):
        at = (*entry.at, "tasks", index)
        if not isinstance(task, YamlMap):
            entry.report(at, f"a task must be a mapping with task_key and the like, not {shown(task)}")
            continue
        raw = task.get("task_key")
        if not isinstance(raw, str) or not raw:
            message = (
                "task_key is missing"
                if raw in (None, "")
                else f"task_key must be text, not {shown(raw)}: write it in quotes"
            )
            entry.report((*at, "task_key") if "task_key" in task else at, message)
            continue
        origins = [
            Origin((_CONFIG,), at, task, task.place),
            Origin((), at, task, task.place),
        ]
        key = entry.text(raw, origins, (_CONFIG, "task_key"), raw)
        if not entry.claims_source(key, seen, at):
            continue
        config = _flat(task) if "task_type" in task else _api(entry, task, at, key)
        if config is None:
            entry.broken.add(key)
            continue
        flat_key = _FLAT.get(str(config.get("task_type")), ("", {}))[0]
        if "task_type" in task and flat_key:
            origins.insert(1, Origin((_CONFIG, flat_key), at, task, task.place))
        entry.file.places.add((entry.name, key), origins)
        read.append((key, config, origins))
    levels = _levels({key: _needs(entry, config) for key, config, _ in read})
    for key, config, origins in read:
        text = entry.config(config, origins, (_CONFIG,), key)
        task_type = str(config["task_type"])
        entry.rows.append(Row(key, entry.name, task_type, levels[key], "{}", "{}", text, True))


def _api(entry: Entry, task: YamlMap, at: Tokens, key: str) -> JsonObject | None:
    """A task of the Jobs API as a transformation_config."""
    kinds = [name for name in task if name.endswith("_task") and task[name] is not None]
    if len(kinds) != 1:
        found = f"it has {' and '.join(kinds)}" if kinds else "it has none"
        entry.report(
            at,
            f"task {quoted(key)} needs exactly one task type such as notebook_task, but {found}",
            source_id=key,
        )
        return None
    task_type = kinds[0].removesuffix("_task")
    if task_type not in TASK_TYPES:
        entry.report((*at, kinds[0]), f"unknown task type {quoted(kinds[0])}", at_key=True, source_id=key)
        return None
    config: JsonObject = _with_references({name: value for name, value in task.items() if name != "task_key"})
    return {"task_type": task_type, **config, "depends_on": config.get("depends_on") or []}


def _flat(task: YamlMap) -> JsonObject:
    """A task of the flat form as a transformation_config. What does not belong stays, for the schema to refuse."""
    config: JsonObject = {name: value for name, value in task.items() if name != "task_key"}
    config["depends_on"] = config.get("depends_on") or []
    _lift_emails(config)
    task_type = config["task_type"]
    api_key, names = _FLAT.get(task_type, ("", {})) if isinstance(task_type, str) else ("", {})
    inner = {names[name]: config.pop(name) for name in list(config) if name in names}
    if task_type == "python_wheel" and isinstance(inner.get("parameters"), dict):
        inner["named_parameters"] = inner.pop("parameters")
    elif task_type == "spark_jar" and isinstance(inner.get("parameters"), dict):
        inner["parameters"] = list(inner["parameters"].values())
    elif task_type == "dbt" and isinstance(inner.get("commands"), str):
        inner["commands"] = [inner["commands"]]
    if inner:
        own = config.get(api_key)
        config[api_key] = {**own, **inner} if isinstance(own, dict) else inner
    return config


def _with_references(value: Any) -> Any:
    """`${resources.jobs.NAME.id}` as our own reference to a module's job."""
    if isinstance(value, str):
        match = _JOB_ID.fullmatch(value)
        return f"${{module.{match[1]}}}" if match else value
    if isinstance(value, dict):
        return {key: _with_references(inner) for key, inner in value.items()}
    return [_with_references(inner) for inner in value] if isinstance(value, list) else value


def _lift_emails(settings: JsonObject) -> None:
    """`notification_settings.email_notifications` of lakeflow-jobs-meta, to where the Jobs API has it."""
    notifications = settings.get("notification_settings")
    if isinstance(notifications, dict) and "email_notifications" in notifications:
        rest = {key: value for key, value in notifications.items() if key != "email_notifications"}
        settings["email_notifications"] = notifications["email_notifications"]
        settings.pop("notification_settings")
        if rest:
            settings["notification_settings"] = rest


def _text(value: Any) -> Any:
    """A job parameter's default as text, where that is beyond doubt."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def _needs(entry: Entry, config: JsonObject) -> list[str]:
    """Names of the tasks that a task waits for, as far as they can be read."""
    names = []
    given = config["depends_on"]
    for item in given if isinstance(given, list) else ():
        name = item.get("task_key") if isinstance(item, dict) else item
        if isinstance(name, str):
            names.append(entry.text(name, [], (), ""))
    return names


def _levels(needs: Mapping[str, list[str]]) -> dict[str, int]:
    """Topological level of every task, from 1; tasks in a circle get the last one."""
    waiting = {key: {name for name in names if name in needs and name != key} for key, names in needs.items()}
    dependents: dict[str, list[str]] = {}
    for key, names in waiting.items():
        for name in names:
            dependents.setdefault(name, []).append(key)
    levels: dict[str, int] = {}
    ready = [key for key, names in waiting.items() if not names]
    level = 1
    while ready:
        following = []
        for key in ready:
            levels[key] = level
            for dependent in dependents.get(key, ()):
                waiting[dependent].discard(key)
                if not waiting[dependent]:
                    following.append(dependent)
        ready, level = following, level + 1
    return {key: levels.get(key, level) for key in needs}


def _texts(value: Any, at: Tokens) -> Iterator[tuple[Tokens, str]]:
    if isinstance(value, str):
        if "${" in value:
            yield at, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*at, index))
