"""Definitions: modules after validation; typed, complete, no I/O.

A definition has defaults merged and variables replaced. What it still holds open are the two kinds
of reference that only a workspace can answer: `${module.NAME}` in `run_job.job_id`, and the saved
query of an inline SQL text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SourceDefinition:
    """One active source, valid.

    Args:
        task_type: name in the registry of task types (`notebook`, `sql_query`, `python_wheel`, ...).
        settings: the task type's own settings, under the Jobs API's names for the API's types
            (for `notebook`: `{"notebook_path": ..., "base_parameters": {...}}`; for `sql_query`
            the `sql_task` object; for a task of ours its own keys).
        task: the Task fields beside it (`depends_on`, `run_if`, `max_retries`, ...), as the Jobs
            API has them, except that `depends_on` names source_ids.
    """

    source_id: str
    source_type: str
    execution_order: int
    task_type: str
    settings: JsonObject
    task: JsonObject = field(default_factory=dict)
    source_config: JsonObject = field(default_factory=dict)
    target_config: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModuleDefinition:
    """A module, valid: the job that should exist.

    Args:
        job: fields of the Jobs API's JobSettings but `tasks` (wire names and shapes).
        permissions: bundle syntax (`{"group_name": ..., "level": ...}`); None when not managed.
        options: module-level settings that were given (drift, retire, run_on_change, ...),
            see `settings.MODULE_SETTINGS`.
        sources: active sources in execution_order, then source_id.
        active: False retires the module: its job row is inactive or no source is active.
    """

    module_name: str
    job: JsonObject
    sources: tuple[SourceDefinition, ...]
    permissions: tuple[JsonObject, ...] | None = None
    options: Mapping[str, Json] = field(default_factory=dict)
    active: bool = True

    def as_json(self) -> JsonObject:
        """The definition as a JSON object: what `_jobs` keeps and our own tasks read."""
        return {
            "module_name": self.module_name,
            "job": self.job,
            "permissions": None if self.permissions is None else list(self.permissions),
            "options": dict(self.options),
            "active": self.active,
            "sources": [
                {
                    "source_id": source.source_id,
                    "source_type": source.source_type,
                    "execution_order": source.execution_order,
                    "task_type": source.task_type,
                    "settings": source.settings,
                    "task": source.task,
                    "source_config": source.source_config,
                    "target_config": source.target_config,
                }
                for source in self.sources
            ],
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> ModuleDefinition:
        """The inverse of `as_json`."""
        permissions = value["permissions"]
        return cls(
            module_name=value["module_name"],
            job=value["job"],
            permissions=None if permissions is None else tuple(permissions),
            options=value["options"],
            active=value["active"],
            sources=tuple(SourceDefinition(**source) for source in value["sources"]),
        )
