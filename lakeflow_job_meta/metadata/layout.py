"""The file's layout as JSON Schema: our own parts, joined with the SDK's types into one document."""

from __future__ import annotations

import copy
from typing import Any

from lakeflow_job_meta.metadata.schema import VERSION_KEY, allow_variables
from lakeflow_job_meta.metadata.task_types import TaskType, registry
from lakeflow_job_meta.settings import BY_NAME, MODULE_SETTINGS, Setting

JsonObject = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
MODULE_REFERENCE = r"^\$\{module\.[^{}]+\}$"
_NAME: JsonObject = {"type": "string", "minLength": 1}
_OPEN: JsonObject = {"type": "object"}
_KINDS = {
    "text": "string",
    "choice": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}


def document(definitions: JsonObject, version: str) -> JsonObject:
    """The strict document for these definitions of the SDK (see `schema.document`)."""
    types = registry(definitions)
    defs = copy.deepcopy(definitions)
    defs["jobs.RunJobTask"]["properties"]["job_id"] = {
        "anyOf": [{"type": "integer"}, {"type": "string", "pattern": MODULE_REFERENCE}],
        "x-expected": "the id of a job, or ${module.NAME} for the job of a module",
        "description": "Id of the job, or `${module.NAME}` for the job of that module.",
    }
    defs["dependency"] = _closed(
        {
            "source_id": {**_NAME, "description": "The source to wait for."},
            "task_key": {**_NAME, "description": "The same, under the Jobs API's name."},
            "outcome": {
                "type": "string",
                "enum": ["false", "true"],
                "description": "Only on a condition source: the branch to follow.",
            },
        }
    )
    defs["task_fields"] = _closed(_task_fields(definitions))
    defs["for_each_task"] = _for_each(definitions)
    defs["sql_task"] = _closed(
        {
            name: {"$ref": f"#/$defs/jobs.SqlTask/properties/{name}"}
            for name in definitions["jobs.SqlTask"]["properties"]
        }
    )
    for task_type in types.values():
        defs[f"task.{task_type.name}"] = _task(task_type, defs["task_fields"]["properties"])
    defs["permissions"] = _permissions()
    job = {
        name: {"$ref": f"#/$defs/jobs.JobSettings/properties/{name}"}
        for name in definitions["jobs.JobSettings"]["properties"]
        if name != "tasks"
    }
    job["permissions"] = {"$ref": "#/$defs/permissions"}
    defs["job"] = {
        **_closed(job),
        "description": "Any field of the Jobs API's JobSettings but tasks, and permissions.",
    }
    options = {name: _setting(BY_NAME[name]) for name in MODULE_SETTINGS}
    defs["job_row"] = _closed({**job, **options})
    defs["source"] = _source(types)
    defs["source_columns"] = _closed({**_source_fields(), "transformation_config": _OPEN})
    defs["defaults"] = _defaults(types)
    defs["module"] = _module(options)
    parts = defs["module"]["properties"]
    defs["module_parts"] = _closed({**parts, "job": _OPEN, "defaults": _OPEN, "sources": {"type": "array"}})
    return {
        "$schema": DRAFT,
        "$id": "urn:lakeflow-job-meta:metadata:1.0",
        "title": "lakeflow_job_meta metadata",
        "description": "Pipelines as metadata: every module becomes one Databricks Job, every source its tasks.",
        VERSION_KEY: version,
        **_file(),
        "$defs": dict(sorted(defs.items())),
    }


def _closed(properties: JsonObject, *required: str) -> JsonObject:
    result: JsonObject = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**result, "required": list(required)} if required else result


def _task_fields(definitions: JsonObject) -> JsonObject:
    """The Task fields beside a task's type; `depends_on` names source_ids, and may be a list of them."""
    fields: JsonObject = {
        name: {"$ref": f"#/$defs/jobs.Task/properties/{name}"}
        for name in definitions["jobs.Task"]["properties"]
        if not name.endswith("_task") and name != "task_key"
    }
    fields["depends_on"] = {
        "type": "array",
        "items": {"anyOf": [{"$ref": "#/$defs/dependency"}, _NAME]},
        "description": "Sources to wait for, in place of the stage before: source_ids, or objects with an outcome.",
    }
    return fields


def _for_each(definitions: JsonObject) -> JsonObject:
    """for_each_task with its inner task: no nesting, no dependencies; its task_key may be left out."""
    result: JsonObject = copy.deepcopy(definitions["jobs.ForEachTask"])
    inner = {
        name: {"$ref": f"#/$defs/jobs.Task/properties/{name}"}
        for name in definitions["jobs.Task"]["properties"]
        if name not in ("for_each_task", "depends_on")
    }
    result["properties"]["task"] = {
        **_closed(inner),
        "description": definitions["jobs.ForEachTask"]["properties"]["task"].get("description", ""),
    }
    return result


def _task(task_type: TaskType, common: JsonObject) -> JsonObject:
    properties: JsonObject = {"task_type": {"const": task_type.name}, **task_type.keys}
    for name in common:
        properties.setdefault(name, {"$ref": f"#/$defs/task_fields/properties/{name}"})
    return {**_closed(properties, "task_type", *task_type.required), "description": task_type.summary}


def _permissions() -> JsonObject:
    entry = _closed(
        {
            "level": {"type": "string", "enum": ["CAN_MANAGE", "CAN_MANAGE_RUN", "CAN_VIEW", "IS_OWNER"]},
            "user_name": _NAME,
            "group_name": _NAME,
            "service_principal_name": _NAME,
        },
        "level",
    )
    return {
        "type": "array",
        "items": entry,
        "description": "Who may do what with the job and its saved queries; each entry names one of user_name, "
        "group_name and service_principal_name.",
    }


def _setting(setting: Setting) -> JsonObject:
    result: JsonObject = {"type": _KINDS[setting.kind], "description": setting.doc}
    if setting.choices:
        result["enum"] = list(setting.choices)
    return result


def _source_fields() -> JsonObject:
    return {
        "source_id": {**_NAME, "description": "Unique in its module; becomes the task_key."},
        "source_type": {**_NAME, "description": "What kind of source it is; a word of your own."},
        "execution_order": {
            "type": "integer",
            "minimum": -(2**31),
            "maximum": 2**31 - 1,
            "description": "The stage: sources of one order run side by side and wait for the whole stage before.",
        },
        "source_config": {
            **_OPEN,
            "description": "Anything that the task wants to know about where data comes from.",
        },
        "target_config": {
            **_OPEN,
            "description": "Anything that the task wants to know about where data goes.",
        },
        "is_active": {
            "type": "boolean",
            "description": "false takes the source out of the job and keeps its row.",
        },
    }


def _source(types: dict[str, TaskType]) -> JsonObject:
    """A whole source. Its transformation_config is judged against `task.<task_type>`, chosen by `if`."""
    chosen = {
        "type": "object",
        "required": ["task_type"],
        "properties": {"task_type": {"type": "string", "enum": sorted(types)}},
        "allOf": [_when(name, {"$ref": f"#/$defs/task.{name}"}) for name in types],
        "description": "The task: task_type, its settings, and any Task field of the Jobs API.",
    }
    return _closed(
        {**_source_fields(), "transformation_config": chosen},
        "source_id",
        "source_type",
        "execution_order",
        "transformation_config",
    )


def _when(task_type: str, then: JsonObject) -> JsonObject:
    return {
        "if": {"required": ["task_type"], "properties": {"task_type": {"const": task_type}}},
        "then": then,
    }


def _defaults(types: dict[str, TaskType]) -> JsonObject:
    fields = {name: node for name, node in _source_fields().items() if name != "source_id"}
    return {
        **_closed({**fields, "transformation_config": _OPEN, "job": _OPEN}),
        "description": "Deep-merged under every source (and `job` under every module's job): maps merge, lists and "
        "scalars of the source win, null removes.",
    }


def _module(options: JsonObject) -> JsonObject:
    return _closed(
        {
            "module_name": {
                **_NAME,
                "description": "Name of the module, and of its job unless job.name says otherwise.",
            },
            "description": {"type": "string", "description": "Description of the job."},
            "is_active": {"type": "boolean", "description": "false retires the module and keeps its rows."},
            "job": {"$ref": "#/$defs/job"},
            "defaults": {"$ref": "#/$defs/defaults"},
            "sources": {"type": "array", "items": {"$ref": "#/$defs/source"}},
            **options,
        },
        "module_name",
        "sources",
    )


def _file() -> JsonObject:
    scalar = {"type": ["string", "number", "boolean", "null"]}
    variable = _closed({"default": scalar, "description": {"type": "string"}})
    return {
        "type": "object",
        "properties": {
            "metadata_version": {"enum": ["1.0", 1.0], "description": "Version of this layout."},
            "variables": {
                "type": "object",
                "additionalProperties": {"anyOf": [variable, scalar]},
                "description": "Variables of this file with their defaults; `${var.NAME}` in any value.",
            },
            "defaults": {"$ref": "#/$defs/defaults"},
            "modules": {"type": "array", "items": {"$ref": "#/$defs/module"}},
            "jobs": {**_OPEN, "description": "Jobs by resource id, as lakeflow-jobs-meta 0.2 writes them."},
            "resources": {**_OPEN, "description": "`resources.jobs` of a Databricks Asset Bundle."},
        },
        "anyOf": [{"required": ["modules"]}, {"required": ["jobs"]}, {"required": ["resources"]}],
    }


def published(strict: JsonObject) -> JsonObject:
    """The document for editors (see `schema.schema`)."""
    result: JsonObject = copy.deepcopy(strict)
    defs: JsonObject = result["$defs"]
    types = registry(defs)
    # Shapes that only the reader needs.
    del defs["source_columns"], defs["module_parts"], defs["job_row"]
    for task_type in types.values():
        _relax(defs, task_type)
    complete = [_when(name, {"$ref": f"#/$defs/complete.{name}"}) for name in types]
    demanded = {
        "required": defs["source"].pop("required"),
        "properties": {"transformation_config": {"required": ["task_type"], "allOf": complete}},
    }
    defs["source"]["required"] = ["source_id"]
    defs["source"]["properties"]["transformation_config"].pop("required")
    defs["complete_source"] = demanded
    without = {"not": {"required": ["defaults"]}}
    whole_module = {
        "if": without,
        "then": {"properties": {"sources": {"items": {"$ref": "#/$defs/complete_source"}}}},
    }
    result["allOf"] = [{"if": without, "then": {"properties": {"modules": {"items": whole_module}}}}]
    result["$defs"] = dict(sorted(defs.items()))
    # Bundles keep more beside `resources` (bundle, workspace, ...).
    result["if"] = {"not": {"required": ["resources"]}}
    result["then"] = {
        "propertyNames": {"anyOf": [{"enum": sorted(result["properties"])}, {"pattern": "^x-"}]}
    }
    allowed: JsonObject = allow_variables(result)
    return allowed


def _relax(defs: JsonObject, task_type: TaskType) -> None:
    """Take the demands out of `task.<type>`, into `complete.<type>`: defaults may bring what they demand."""
    node = defs[f"task.{task_type.name}"]
    demanded: JsonObject = {"required": node.pop("required")}
    node["properties"]["task_type"] = {"type": "string", "enum": [task_type.name]}
    if task_type.complete:
        demanded["allOf"] = [task_type.complete]
    key = task_type.api_key
    reference = task_type.keys.get(key or "", {}).get("$ref", "")
    if key and reference:
        inner = copy.deepcopy(defs[reference.removeprefix("#/$defs/")])
        required = inner.pop("required", None)
        if required:
            demanded["properties"] = {key: {"required": required}}
        node["properties"][key] = inner
    defs[f"complete.{task_type.name}"] = demanded
