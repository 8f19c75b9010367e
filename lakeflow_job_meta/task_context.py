"""What a task of ours gets to work with: its definition and ports, never an adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Catalog, Secrets, Tables, Volumes, Workspace

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class TaskContext:
    """One task of ours in one run.

    Args:
        control_table: the module's control table.
        module: the accepted definition of the whole module.
        source: the task's own part of it.
        run_id: the job run, as `{{job.run_id}}` gives it; empty outside a run.
        parameters: further named parameters that the task was started with.
        secrets: gives the workspace's secrets.
        environment: the process's environment variables.
        catalog: gives Unity Catalog's volumes, tags and grants.
        tables: SQL on the task's Spark.
        warehouse: gives SQL on a SQL warehouse, by its id.
        volumes: files below `/Volumes` and `/Workspace`.
        spark: gives the task's Spark session, for what the Tables port cannot do.
        workspace: gives the workspace's ports.
        clock: now, as an aware datetime.
        log: writes one line for people (`log("loaded", rows=3)`).
    """

    control_table: TableName
    module: ModuleDefinition
    source: SourceDefinition
    run_id: str
    tables: Tables
    volumes: Volumes
    spark: Callable[[], Any]
    workspace: Callable[[], Workspace]
    clock: Callable[[], datetime]
    log: Callable[..., None]
    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: Callable[[], Secrets] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    catalog: Callable[[], Catalog] | None = None
    warehouse: Callable[[str], Tables] | None = None

    @property
    def settings(self) -> JsonObject:
        """The settings of the source's task type."""
        return self.source.settings


#: A runner: does the task's work and returns its summary, a JSON object. Raises LakeflowJobMetaError.
Runner = Callable[[TaskContext], JsonObject]
