"""Tasks: one source becomes one Task in the wire's shape."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakeflow_job_meta import names
from lakeflow_job_meta.errors import MetadataError, Problem
from lakeflow_job_meta.jobs import dataset_tasks
from lakeflow_job_meta.jobs.desired import QUERY_REFERENCE, JsonObject
from lakeflow_job_meta.jobs.queries import QUERY_FIELDS, is_inline, parameter_text
from lakeflow_job_meta.metadata.definition import SourceDefinition
from lakeflow_job_meta.metadata.limits import MAX_BASE_PARAMETERS, parameters_size
from lakeflow_job_meta.metadata.problems import row_place
from lakeflow_job_meta.metadata.task_types import TASK_TYPES

PACKAGE_NAME = "lakeflow_job_meta"
ENTRY_POINT = "lakeflow-job-meta-task"
#: Key of the serverless environment for tasks of ours that name no compute.
ENVIRONMENT_KEY = "lakeflow_job_meta"
#: Task fields that give a task compute of its own.
COMPUTE_FIELDS = ("job_cluster_key", "existing_cluster_id", "new_cluster", "environment_key")
#: By task type with several steps: completes the Task of one step.
STEP_FIELDS: Mapping[str, Callable[[SourceDefinition, str, JsonObject], None]] = {
    "dataset_sync": dataset_tasks.complete,
}
_CLUSTER_FIELDS = ("job_cluster_key", "existing_cluster_id", "new_cluster")


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What rendering a task needs to know beside its source.

    Args:
        warehouse_id: default warehouse of the module or of the control table, None when there is none.
        package: requirement or wheel path that brings this package.
    """

    module_name: str
    control_table: names.TableName
    warehouse_id: str | None
    package: str

    def refuse(self, source: SourceDefinition, message: str) -> MetadataError:
        """The error that refuses the module for this source."""
        place = row_place(str(self.control_table), self.module_name, source.source_id)
        return MetadataError([Problem(message, place, module=self.module_name, source_id=source.source_id)])


def keys_of(source: SourceDefinition) -> tuple[str, ...]:
    """Keys of the source's tasks, in order; those who wait for the source wait for the last one."""
    task_type = TASK_TYPES.get(source.task_type)
    return task_type.task_keys(source.source_id) if task_type else (names.task_key(source.source_id),)


def render_tasks(source: SourceDefinition, keys: Sequence[str], context: TaskContext) -> list[JsonObject]:
    """The source's Tasks, one or more, each but the first waiting for the one before it.

    Args:
        keys: see `keys_of`.

    Raises:
        MetadataError: as `render_task`.
    """
    task_type = TASK_TYPES.get(source.task_type)
    if task_type is None or not task_type.steps:
        return [render_task(source, keys[0], context)]
    tasks: list[JsonObject] = []
    for step, key in zip(task_type.steps, keys, strict=True):
        task = render_task(source, key, context)
        parameters = task["python_wheel_task"]["named_parameters"]
        parameters.update(
            phase=step,
            job_id="{{job.id}}",
            attempt="{{task.execution_count}}",
            repair="{{job.repair_count}}",
        )
        if tasks:
            task.pop("run_if", None)
            task["depends_on"] = [{"task_key": tasks[-1]["task_key"]}]
        STEP_FIELDS[source.task_type](source, step, task)
        tasks.append(task)
    return tasks


def render_task(source: SourceDefinition, task_key: str, context: TaskContext) -> JsonObject:
    """The source's Task without its dependencies: its own Task fields as given, and the settings of its type.

    Raises:
        MetadataError: an unknown task type, a SQL task without a warehouse, or a notebook parameter that
            takes a reserved name for another value.
    """
    task = {key: copy.deepcopy(value) for key, value in source.task.items() if key != "depends_on"}
    task["task_key"] = task_key
    task_type = TASK_TYPES.get(source.task_type)
    if task_type is None:
        raise context.refuse(source, f'unknown task_type "{source.task_type}"')
    if task_type.ours:
        _ours(task, source, context)
    elif source.task_type in ("sql_query", "sql_file"):
        task["sql_task"] = _sql_task(source, context)
    else:
        api_key = task_type.api_key or f"{source.task_type}_task"
        task[api_key] = copy.deepcopy(source.settings)
        inner = task[api_key].get("task") if api_key == "for_each_task" else None
        if inner is not None:
            inner["task_key"] = names.task_key(inner.get("task_key") or f"{source.source_id}_iteration")
        if api_key == "notebook_task":
            _add_notebook_parameters(task[api_key], source, context)
        elif api_key == "sql_task" and not task[api_key].get("warehouse_id"):
            task[api_key]["warehouse_id"] = warehouse(source, context)
    return task


def warehouse(source: SourceDefinition, context: TaskContext) -> str:
    """The SQL warehouse of a SQL task: its own, else the module's default, else the control table's.

    Raises:
        MetadataError: there is none.
    """
    found: Any = source.settings.get("warehouse_id") or context.warehouse_id
    if not found:
        raise context.refuse(
            source,
            f'source "{source.source_id}" needs a SQL warehouse: give sql_task.warehouse_id '
            "or the setting default_warehouse_id",
        )
    return str(found)


def _sql_task(source: SourceDefinition, context: TaskContext) -> JsonObject:
    """`sql_query` (inline text or query_id) and `sql_file` as the API's sql_task."""
    ours = {"sql_query", "query_id", "sql_file_path", "source", "warehouse_id", "parameters", *QUERY_FIELDS}
    result = {key: copy.deepcopy(value) for key, value in source.settings.items() if key not in ours}
    result["warehouse_id"] = warehouse(source, context)
    parameters = source.settings.get("parameters")
    if parameters:
        result["parameters"] = {name: parameter_text(value) for name, value in parameters.items()}
    stray = [name for name in QUERY_FIELDS if source.settings.get(name) is not None]
    if stray and not is_inline(source):
        raise context.refuse(
            source,
            f'sql_task.{stray[0]} of source "{source.source_id}" belongs to an inline sql_query; set it on the saved query',
        )
    if is_inline(source):
        result["query"] = {"query_id": QUERY_REFERENCE % source.source_id}
    elif source.settings.get("query_id") is not None:
        result["query"] = {"query_id": source.settings["query_id"]}
    elif source.settings.get("sql_file_path") is not None:
        result["file"] = {"path": source.settings["sql_file_path"]}
        if source.settings.get("source") is not None:
            result["file"]["source"] = source.settings["source"]
    return result


def _add_notebook_parameters(notebook: JsonObject, source: SourceDefinition, context: TaskContext) -> None:
    """Add source_id, control_table and module_name; the names are reserved, so another value is refused."""
    ours = {
        "source_id": source.source_id,
        "control_table": str(context.control_table),
        "module_name": context.module_name,
    }
    given: JsonObject = notebook.get("base_parameters") or {}
    for name, value in ours.items():
        if given.get(name, value) != value:
            raise context.refuse(
                source,
                f'base_parameters.{name} of source "{source.source_id}" is reserved: notebooks get '
                f"{name} = {value!r}; rename the parameter",
            )
    notebook["base_parameters"] = {**given, **ours}
    size = parameters_size(notebook["base_parameters"])
    if size > MAX_BASE_PARAMETERS:
        raise context.refuse(
            source,
            f"base_parameters have {size} bytes with {', '.join(ours)}, which every notebook gets; "
            "at most 1 MB is allowed: put the data into a file or table",
        )


def _ours(task: JsonObject, source: SourceDefinition, context: TaskContext) -> None:
    """A task of ours: a wheel task of this package, serverless unless it names compute.

    On a cluster the package is added to the task's libraries; an environment named by the user is the
    user's to fill.
    """
    task["python_wheel_task"] = {
        "package_name": PACKAGE_NAME,
        "entry_point": ENTRY_POINT,
        "named_parameters": {
            "control_table": str(context.control_table),
            "module_name": context.module_name,
            "source_id": source.source_id,
            "run_id": "{{job.run_id}}",
        },
    }
    if not any(task.get(field) for field in COMPUTE_FIELDS):
        task["environment_key"] = ENVIRONMENT_KEY
    elif any(task.get(field) for field in _CLUSTER_FIELDS):
        library = (
            {"whl": context.package}
            if context.package.endswith(".whl")
            else {"pypi": {"package": context.package}}
        )
        libraries: list[JsonObject] = task.get("libraries") or []
        if library not in libraries:
            task["libraries"] = [*libraries, library]
