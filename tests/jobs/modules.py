"""Definitions for tests, as `metadata` would build them."""

from __future__ import annotations

from typing import Any

from lakeflow_job_meta.jobs.desired import DesiredJob
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.settings import Settings

TABLE = TableName("main", "meta", "etl_control")


def source(
    source_id: str,
    order: int = 1,
    task_type: str = "condition",
    settings: dict[str, Any] | None = None,
    **task: Any,
) -> SourceDefinition:
    default = {"op": "EQUAL_TO", "left": "1", "right": "1"} if task_type == "condition" else {}
    return SourceDefinition(
        source_id=source_id,
        source_type="sql",
        execution_order=order,
        task_type=task_type,
        settings=default if settings is None else settings,
        task=task,
    )


def module(*sources: SourceDefinition, name: str = "sales", **given: Any) -> ModuleDefinition:
    return ModuleDefinition(module_name=name, job=given.pop("job", {}), sources=sources, **given)


def rendered(definition: ModuleDefinition, **settings: Any) -> DesiredJob:
    return render(definition, control_table=TABLE, settings=Settings(settings))


def tasks(definition: ModuleDefinition, **settings: Any) -> dict[str, dict[str, Any]]:
    return {task["task_key"]: task for task in rendered(definition, **settings).settings["tasks"]}
