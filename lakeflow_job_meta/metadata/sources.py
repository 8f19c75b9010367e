"""Sources: one row becomes one SourceDefinition, judged by the schema part of its task type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.metadata.definition import SourceDefinition
from lakeflow_job_meta.metadata.problems import Problems
from lakeflow_job_meta.metadata.row_json import read_object
from lakeflow_job_meta.metadata.rows import JOB_ROW, Row
from lakeflow_job_meta.metadata.shapes import Finding, judge, shape, tokens
from lakeflow_job_meta.metadata.suggestions import hint, quoted, shown
from lakeflow_job_meta.metadata.task_types import TASK_TYPES, TaskType, own_keys
from lakeflow_job_meta.metadata.variables import resolve
from lakeflow_job_meta.names import task_key

JsonObject = dict[str, Any]

CONFIG = "transformation_config"


@dataclass(frozen=True, slots=True)
class Judged:
    """A sound source: its definition, and the transformation_config that it was made from."""

    definition: SourceDefinition
    config: JsonObject

    def part(self, *at: str | int) -> tuple[str | int, ...]:
        """Where a key of the definition's settings stands in the row."""
        api_key = TASK_TYPES[self.definition.task_type].api_key
        if api_key is None or (at and at[0] in self.config):
            return (CONFIG, *at)
        return (CONFIG, api_key, *at)


_SQL_SHAPED = ("sql_query", "sql_file")


@dataclass(slots=True)
class Config:
    """A config of a row, read: `value` None when it is no JSON object; `open` are the texts with unknown variables."""

    value: JsonObject | None
    open: set[tuple[str | int, ...]] = field(default_factory=set)


def read_config(row: Row, column: str, variables: Mapping[str, str], problems: Problems) -> Config:
    """A row's config as an object, its variables replaced."""
    source_id = row.source_id or ""
    value, wrong = read_object(getattr(row, column))
    if wrong:
        problems.add(source_id, (column,), f"{column} {wrong}")
        return Config(None)
    config = Config(value)

    def report(path: tuple[str | int, ...], message: str) -> None:
        config.open.add(path)
        problems.add(source_id, (column, *path), message)

    config.value = resolve(value, variables, report)
    return config


def define_source(row: Row, variables: Mapping[str, str], problems: Problems) -> Judged | None:
    """The definition of one active source; None when it has problems."""
    source_id = row.source_id or ""
    order = row.execution_order
    sound = _identity(row, problems)
    configs = {
        column: read_config(row, column, variables, problems)
        for column in ("source_config", "target_config", CONFIG)
    }
    config = configs[CONFIG]
    if config.value is None:
        return None
    task_type = _task_type(source_id, config.value, problems)
    if task_type is None:
        return None
    judged = _judge(source_id, task_type, config, problems)
    if judged is None or not sound or any(one.value is None or one.open for one in configs.values()):
        return None
    settings = _settings(source_id, task_type, judged, problems)
    if settings is None:
        return None
    task = {key: value for key, value in judged.items() if key not in task_type.keys and key != "task_type"}
    if "depends_on" in task:
        task["depends_on"] = _dependencies(source_id, task["depends_on"], problems)
    assert order is not None
    definition = SourceDefinition(
        source_id=source_id,
        source_type=row.source_type or "",
        execution_order=order,
        task_type=task_type.name,
        settings=settings,
        task=task,
        source_config=configs["source_config"].value or {},
        target_config=configs["target_config"].value or {},
    )
    return Judged(definition, judged)


def _identity(row: Row, problems: Problems) -> bool:
    """Judge the columns that are no configs."""
    source_id = row.source_id or ""
    sound = True

    def wrong(part: str, message: str) -> None:
        nonlocal sound
        sound = False
        problems.add(source_id, (part,), message)

    if not source_id or source_id.isspace():
        wrong("source_id", "source_id is empty: give every source a name that is unique in its module")
    elif source_id.startswith("__"):
        wrong(
            "source_id",
            f"source_id {quoted(source_id)} is reserved: names that start with __ belong to {JOB_ROW} and the like",
        )
    order = row.execution_order
    if order is None:
        wrong("execution_order", "execution_order is missing: give the number of the stage, 1 for the first")
    elif isinstance(order, bool) or not isinstance(order, int):
        wrong("execution_order", f"execution_order must be a whole number, not {shown(order)}")
    elif not -(2**31) <= order < 2**31:
        wrong("execution_order", f"execution_order must fit a 32-bit number, not {order}")
    if not row.source_type:
        wrong("source_type", "source_type is missing: say what kind of source it is, such as sql or table")
    return sound


def _task_type(source_id: str, config: JsonObject, problems: Problems) -> TaskType | None:
    name = config.get("task_type")
    if name is None:
        near = [key for key in config if key.endswith("_task")]
        guess = f": did you mean task_type: {near[0].removesuffix('_task')}?" if near else ""
        problems.add(source_id, (CONFIG,), f"task_type is missing in transformation_config{guess}")
        return None
    if not isinstance(name, str) or name not in TASK_TYPES:
        shortened = name.removesuffix("_task") if isinstance(name, str) else ""
        near_text = (
            f' (did you mean "{shortened}"?)'
            if shortened in TASK_TYPES and shortened != name
            else hint(name, TASK_TYPES, listed=40)
        )
        problems.add(source_id, (CONFIG, "task_type"), f"unknown task_type {shown(name)}{near_text}")
        return None
    return TASK_TYPES[name]


def _judge(source_id: str, task_type: TaskType, config: Config, problems: Problems) -> JsonObject | None:
    found: list[Finding] = []
    judged: JsonObject = judge(shape(f"task.{task_type.name}"), config.value, found)
    for finding in found:
        path = tokens(finding.path)
        if path in config.open:
            continue  # a variable without value stands there
        at_key = finding.kind == "unknown"
        problems.add(source_id, (CONFIG, *path), _better(finding, task_type), at_key=at_key)
    return None if found else judged


def _better(finding: Finding, task_type: TaskType) -> str:
    """The message of a finding, where this product knows more than the schema says."""
    path = tokens(finding.path)
    key = finding.key
    if finding.kind == "unknown" and len(path) == 1:
        if key == "task_key":
            return "task_key is made from source_id: leave it out"
        if key in own_keys():
            fit = ", ".join(sorted(name for name, other in TASK_TYPES.items() if key in other.keys))
            return f'{quoted(key)} does not belong to task_type "{task_type.name}", but to {fit}'
    if finding.kind == "unknown" and path[:-1] == ("for_each_task", "task"):
        if key == "for_each_task":
            return "a for_each task cannot be nested in another one"
        if key == "depends_on":
            return "the inner task of a for_each task has no dependencies: leave depends_on out"
    if finding.kind == "missing" and not path:
        return f'task_type "{task_type.name}" needs {quoted(key)}'
    return finding.message


def _settings(
    source_id: str, task_type: TaskType, judged: JsonObject, problems: Problems
) -> JsonObject | None:
    """The task type's own settings in one object."""
    if task_type.ours:
        return {key: judged[key] for key in task_type.keys if key in judged}
    assert task_type.api_key is not None
    settings: JsonObject = dict(judged.get(task_type.api_key, {}))
    sound = True

    def wrong(part: tuple[str | int, ...], message: str) -> None:
        nonlocal sound
        sound = False
        problems.add(source_id, (CONFIG, *part), message)

    for key in task_type.lifted:
        if key not in judged:
            continue
        if settings.get(key, judged[key]) != judged[key]:
            wrong((key,), f"{key} stands here and in {task_type.api_key}, with different values: keep one")
        settings[key] = judged[key]
    if task_type.name in _SQL_SHAPED:
        _flatten_sql(task_type.name, settings, wrong)
    if task_type.name == "notebook" and not settings.get("notebook_path"):
        wrong((), 'task_type "notebook" needs "notebook_path"')
    if task_type.name == "for_each":
        inner = settings["task"]
        settings["task"] = {**inner, "task_key": task_key(inner.get("task_key") or f"{source_id}_iteration")}
    return settings if sound else None


def _flatten_sql(name: str, settings: JsonObject, wrong: Any) -> None:
    """`query.query_id` and `file.path` to where the definition has them, and exactly one of what may run."""
    if name == "sql_query":
        kinds: list[str] = [key for key in ("sql_query", "query_id", "query") if key in settings]
        nested = settings.pop("query", None)
        if nested is not None:
            settings.setdefault("query_id", nested["query_id"])
        wanted = '"sql_query" (the text) or "query_id"'
    else:
        kinds = [key for key in ("sql_file_path", "file") if key in settings]
        nested = settings.pop("file", None)
        if nested is not None:
            settings.setdefault("sql_file_path", nested["path"])
            if "source" in nested:
                settings.setdefault("source", nested["source"])
        wanted = '"sql_file_path"'
    if not kinds:
        wrong(("sql_task",), f'task_type "{name}" needs {wanted} in sql_task')
    elif len(kinds) > 1:
        wrong(("sql_task",), f"sql_task has {' and '.join(kinds)}: keep one")


def _dependencies(source_id: str, given: list[Any], problems: Problems) -> list[JsonObject]:
    """`depends_on` in the API's shape, naming source_ids: `[{"task_key": source_id, "outcome": ...}]`."""
    edges: list[JsonObject] = []
    for index, item in enumerate(given):
        edge: JsonObject = {"task_key": item} if isinstance(item, str) else dict(item)
        name = edge.pop("source_id", None)
        if name is not None and edge.get("task_key", name) != name:
            problems.add(
                source_id,
                (CONFIG, "depends_on", index),
                "source_id and task_key name different sources: keep one",
            )
        edge["task_key"] = name if name is not None else edge.get("task_key")
        if edge["task_key"] is None:
            problems.add(
                source_id,
                (CONFIG, "depends_on", index),
                'a dependency needs "source_id": the source to wait for',
            )
        edges.append(edge)
    return edges
