"""Job settings: the job's own fields with what this product adds to them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from importlib import metadata

from lakeflow_job_meta.errors import MetadataError, Place, Problem
from lakeflow_job_meta.jobs.desired import JsonObject
from lakeflow_job_meta.jobs.tasks import ENVIRONMENT_KEY
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, USER_TAGS, TableName, module_tag, table_tag
from lakeflow_job_meta.settings import Settings

#: Python 3.12; supported by Databricks until August 2028 (serverless environment versions).
ENVIRONMENT_VERSION = "4"


def package(definition: ModuleDefinition, settings: Settings) -> str:
    """Requirement or wheel path that brings this package: the setting, else this version from the index."""
    given = settings.for_module("package", definition.options)
    return str(given) if given else _this_version()


@cache
def _this_version() -> str:
    try:
        return f"lakeflow_job_meta=={metadata.version('lakeflow_job_meta')}"
    except metadata.PackageNotFoundError:  # running from a source tree that is not installed
        return "lakeflow_job_meta"


def job_settings(
    definition: ModuleDefinition, tasks: Sequence[JsonObject], *, control_table: TableName, requirement: str
) -> JsonObject:
    """JobSettings of the module with these tasks: the user's fields, our defaults, our tags.

    Raises:
        MetadataError: more tags than users may have, or one of ours used for something else.
    """
    result = copy.deepcopy(definition.job)
    result.setdefault("name", definition.module_name)
    result.setdefault("max_concurrent_runs", 1)
    result.setdefault("edit_mode", "UI_LOCKED")
    result["tags"] = _tags(definition, control_table)
    result["tasks"] = list(tasks)
    if any(task.get("environment_key") == ENVIRONMENT_KEY for task in tasks):
        environments: list[JsonObject] = result.get("environments") or []
        if all(environment.get("environment_key") != ENVIRONMENT_KEY for environment in environments):
            spec = {"environment_version": ENVIRONMENT_VERSION, "dependencies": [requirement]}
            result["environments"] = [*environments, {"environment_key": ENVIRONMENT_KEY, "spec": spec}]
    return result


def _tags(definition: ModuleDefinition, control_table: TableName) -> dict[str, str]:
    ours = {TABLE_TAG: table_tag(control_table), MODULE_TAG: module_tag(definition.module_name)}
    given: dict[str, str] = definition.job.get("tags") or {}
    messages = [
        f'the tag "{name}" is reserved: it says whose the job is; rename it'
        for name, value in ours.items()
        if given.get(name, value) != value
    ]
    if len(set(given) - set(ours)) > USER_TAGS:
        messages.append(
            f"{len(given)} tags: at most {USER_TAGS}, since the platform allows 25 and two are ours"
        )
    if messages:
        place = Place(str(control_table), key=f"{definition.module_name}/__job__")
        raise MetadataError(Problem(text, place, "/job/tags", definition.module_name) for text in messages)
    return {**given, **ours}
