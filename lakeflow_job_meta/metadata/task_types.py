"""The registry of task types: what `transformation_config.task_type` may be, and what stands beside it.

Every task type of the Jobs API is here by its own name without `_task`, read from the schema's `jobs.Task`. The
table below adds the ones that this product shapes itself and the ones that it runs itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from lakeflow_job_meta.metadata import schema
from lakeflow_job_meta.names import task_key

JsonObject = dict[str, Any]

_SUFFIX = "_task"
_TEXT: JsonObject = {"type": "string"}
_TEXTS: JsonObject = {"type": "object", "additionalProperties": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class TaskType:
    """One task type.

    Args:
        name: value of task_type.
        api_key: the Task field that it fills; None for a type of ours.
        ours: whether it becomes a python_wheel task of this package.
        summary: for the reference.
        keys: the type's own keys of transformation_config, each with its JSON Schema.
        required: keys of `keys` that must be there. What may stand at two places is demanded in code.
        lifted: keys that may stand beside task_type or inside `api_key`; the definition has them inside.
        complete: JSON Schema that a whole configuration meets, beside `required`; for the published schema.
        steps: names of the tasks that a source becomes, each waiting for the one before it; empty: one task.
        enabled: path of a switch in its settings that, when false, takes the source out as is_active does.
        automatic: path of a switch in its settings that, when false, keeps run_on_change from running the source.
        separate: its sources do not concern one another: run_on_change runs the changed ones only.
    """

    name: str
    api_key: str | None
    ours: bool = False
    summary: str = ""
    keys: Mapping[str, JsonObject] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    lifted: tuple[str, ...] = ()
    complete: JsonObject = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    enabled: tuple[str, ...] = ()
    automatic: tuple[str, ...] = ()
    separate: bool = False

    def task_keys(self, source_id: str) -> tuple[str, ...]:
        """Keys of the tasks of a source of this type, in order."""
        if not self.steps:
            return (task_key(source_id),)
        return tuple(task_key(source_id, step) for step in self.steps)

    def is_enabled(self, settings: Mapping[str, Any]) -> bool:
        """Whether a source with these settings is switched on."""
        return _switch(settings, self.enabled)

    def is_automatic(self, settings: Mapping[str, Any]) -> bool:
        """Whether run_on_change may run a source with these settings."""
        return _switch(settings, self.automatic)


def _switch(settings: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    value: Any = settings
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value is not False


def _closed(properties: JsonObject, *required: str) -> JsonObject:
    result: JsonObject = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**result, "required": list(required)} if required else result


def _one_of_places(key: str, places: list[JsonObject]) -> JsonObject:
    """A schema that is met when `key` stands beside task_type, or at one of the other places."""
    return {"anyOf": [{"required": [key]}, *places]}


def _inside(*path: str) -> JsonObject:
    schema: JsonObject = {}
    for key in reversed(path):
        schema = {"required": [key], "properties": {key: schema}} if schema else {"required": [key]}
    return schema


_NOTEBOOK_PATH: JsonObject = {
    "$ref": "#/$defs/jobs.NotebookTask/properties/notebook_path",
    "description": "Absolute path of the notebook in the workspace, or a path in the job's git_source.",
}
_WAREHOUSE: JsonObject = {
    "type": "string",
    "description": "SQL warehouse that runs it; without it the setting default_warehouse_id.",
}
_SQL_PARAMETERS: JsonObject = {
    **_TEXTS,
    "description": "Values of the named parameters (`:name`) of the SQL text.",
}
_SQL_TEXT: JsonObject = {
    "type": "string",
    "minLength": 1,
    "description": "The SQL text; kept as a saved query that lives and goes with its source.",
}
_QUERY_ID: JsonObject = {"type": "string", "minLength": 1, "description": "Id of a saved query."}
_SQL_FILE: JsonObject = {
    "type": "string",
    "minLength": 1,
    "description": "Path of the .sql file: in the workspace, or in the job's git_source.",
}
_SOURCE: JsonObject = {"$ref": "#/$defs/jobs.Source", "description": "Where the file is: WORKSPACE or GIT."}

_SHAPED: tuple[TaskType, ...] = (
    TaskType(
        "notebook",
        "notebook_task",
        summary="Runs a notebook, which gets source_id, control_table and module_name as parameters.",
        keys={
            "notebook_path": _NOTEBOOK_PATH,
            "base_parameters": {"$ref": "#/$defs/jobs.NotebookTask/properties/base_parameters"},
            "source": _SOURCE,
            "warehouse_id": {"$ref": "#/$defs/jobs.NotebookTask/properties/warehouse_id"},
            "notebook_task": _closed(
                {
                    name: {"$ref": f"#/$defs/jobs.NotebookTask/properties/{name}"}
                    for name in ("notebook_path", "base_parameters", "source", "warehouse_id")
                }
            ),
        },
        lifted=("notebook_path", "base_parameters", "source", "warehouse_id"),
        complete=_one_of_places("notebook_path", [_inside("notebook_task", "notebook_path")]),
    ),
    TaskType(
        "sql_query",
        "sql_task",
        summary="Runs SQL text, kept as a saved query, or a saved query by its id.",
        keys={
            "sql_query": _SQL_TEXT,
            "query_id": _QUERY_ID,
            "warehouse_id": _WAREHOUSE,
            "parameters": _SQL_PARAMETERS,
            "sql_task": _closed(
                {
                    "warehouse_id": _WAREHOUSE,
                    "sql_query": _SQL_TEXT,
                    "query_id": _QUERY_ID,
                    "query": {"$ref": "#/$defs/jobs.SqlTaskQuery"},
                    "parameters": _SQL_PARAMETERS,
                    "catalog": {**_TEXT, "description": "Catalog that the saved query runs in."},
                    "schema": {**_TEXT, "description": "Schema that the saved query runs in."},
                    "run_as_mode": {
                        "type": "string",
                        "enum": ["OWNER", "VIEWER"],
                        "description": "Whose rights the saved query uses.",
                    },
                    "apply_auto_limit": {
                        "type": "boolean",
                        "description": "Whether the saved query gets LIMIT 1000.",
                    },
                }
            ),
        },
        lifted=("sql_query", "query_id", "warehouse_id", "parameters"),
        complete={
            "anyOf": [
                _inside("sql_query"),
                _inside("query_id"),
                _inside("sql_task", "sql_query"),
                _inside("sql_task", "query_id"),
                _inside("sql_task", "query"),
            ]
        },
    ),
    TaskType(
        "sql_file",
        "sql_task",
        summary="Runs a .sql file on a SQL warehouse.",
        keys={
            "sql_file_path": _SQL_FILE,
            "source": _SOURCE,
            "warehouse_id": _WAREHOUSE,
            "parameters": _SQL_PARAMETERS,
            "sql_task": _closed(
                {
                    "warehouse_id": _WAREHOUSE,
                    "sql_file_path": _SQL_FILE,
                    "file": {"$ref": "#/$defs/jobs.SqlTaskFile"},
                    "source": _SOURCE,
                    "parameters": _SQL_PARAMETERS,
                }
            ),
        },
        lifted=("sql_file_path", "source", "warehouse_id", "parameters"),
        complete={
            "anyOf": [
                _inside("sql_file_path"),
                _inside("sql_task", "sql_file_path"),
                _inside("sql_task", "file"),
            ]
        },
    ),
    TaskType(
        "sql_script",
        None,
        ours=True,
        summary="Runs every statement of a .sql file on the task's own Spark.",
        keys={
            "sql_file_path": {
                "type": "string",
                "pattern": r"^/(Workspace|Volumes)/.+\.sql$",
                "x-expected": "the path of a .sql file below /Workspace or /Volumes",
                "description": "Path of the .sql file, below /Workspace or /Volumes.",
            },
            "parameters": {
                **_TEXTS,
                "description": "Values of the named parameters (`:name`) of the statements.",
            },
            "catalog": {
                "type": "string",
                "minLength": 1,
                "description": "Catalog to use; else the session's own.",
            },
            "schema": {
                "type": "string",
                "minLength": 1,
                "description": "Schema to use; else the session's own.",
            },
        },
        required=("sql_file_path",),
    ),
    TaskType(
        "notify",
        None,
        ours=True,
        summary="Posts what the run's Data X-Ray tasks did to a webhook, or to nothing when there is none.",
        keys={
            "metadata_table": {
                "type": "string",
                "minLength": 1,
                "description": "Table of the results; the labels are counted in it, and dxr_runs lies beside it.",
            },
            "runs_table": {"type": "string", "minLength": 1, "description": "Default: dxr_runs beside it."},
            "secret_scope": {
                "type": "string",
                "minLength": 1,
                "description": "Scope of the secret that holds the webhook's URL.",
            },
            "secret_key": {
                "type": "string",
                "minLength": 1,
                "description": "Key of the secret that holds the webhook's URL.",
            },
            "webhook_format": {
                "type": "string",
                "enum": ["auto", "slack", "teams"],
                "description": "Shape of the message; auto goes by the URL. Default: auto.",
            },
            "title": {"type": "string", "minLength": 1, "description": "Default: the module's name."},
            "links": {**_TEXTS, "description": "Links below the message, by their text."},
            "only_failures": {
                "type": "boolean",
                "description": "Post only when something failed. Default: false.",
            },
            "required": {
                "type": "boolean",
                "description": "Fail when the message cannot be delivered. Default: false.",
            },
        },
    ),
)


def _handed_down() -> Iterator[TaskType]:
    """The tasks of `dxr` and `policies`: their keys are those of the rooms' settings, handed down as generated files."""
    for file in ("dxr_task_types.json", "policy_task_types.json"):
        text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
        for name, one in json.loads(text).items():
            yield TaskType(name, None, ours=True, summary=one["summary"], keys=one["keys"])


def _dataset_sync() -> TaskType:
    from lakeflow_job_meta.metadata import dataset_sync

    return TaskType(
        "dataset_sync",
        None,
        ours=True,
        summary="Brings an uploaded dataset into a bronze and a silver table, and records how it went.",
        keys=dataset_sync.KEYS,
        steps=dataset_sync.STEPS,
        enabled=("sync", "enabled"),
        automatic=("sync", "auto"),
        separate=True,
    )


def registry(definitions: Mapping[str, JsonObject]) -> dict[str, TaskType]:
    """All task types, by name, for these `$defs`."""
    types = {}
    for key, node in definitions["jobs.Task"]["properties"].items():
        if key.endswith(_SUFFIX):
            name = key.removesuffix(_SUFFIX)
            keys = {key: {"$ref": node["$ref"]}}
            if name == "for_each":
                keys = {key: {"$ref": "#/$defs/for_each_task"}}
            elif name == "sql":
                keys = {key: {"$ref": "#/$defs/sql_task"}}
            types[name] = TaskType(name, key, summary=node.get("description", ""), keys=keys, required=(key,))
    types.update((shaped.name, shaped) for shaped in (*_SHAPED, *_handed_down(), _dataset_sync()))
    return dict(sorted(types.items()))


@cache
def _registry() -> dict[str, TaskType]:
    return registry(schema.document()["$defs"])


class _TaskTypes(Mapping[str, TaskType]):
    """The registry, read when it is first asked."""

    def __getitem__(self, name: str) -> TaskType:
        return _registry()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_registry())

    def __len__(self) -> int:
        return len(_registry())


#: Every task type by its name.
TASK_TYPES: Mapping[str, TaskType] = _TaskTypes()


@cache
def own_keys() -> frozenset[str]:
    """Keys of transformation_config that belong to some task types only.

    A type may take a wider value for a Task field (`timeout_seconds` of dataset_sync); that stays everybody's key.
    """
    return frozenset(key for task_type in _registry().values() for key in task_type.keys) - common_keys()


@cache
def common_keys() -> frozenset[str]:
    """Keys of transformation_config that every task type takes: the Task fields beside its type."""
    return frozenset(schema.document()["$defs"]["task_fields"]["properties"])
