"""What should exist in the workspace for one module, before ids are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

# References that only the workspace can answer stand in the settings as these texts, as whole values.
QUERY_REFERENCE = "${query.%s}"  # a source_id of the same module
MODULE_REFERENCE = "${module.%s}"  # a module_name


@dataclass(frozen=True, slots=True)
class DesiredQuery:
    """A saved query that should exist for one inline SQL text.

    Args:
        settings: the Queries API's Query object: display_name, query_text, warehouse_id,
            parent_path, parameters, tags (ours only), run_as_mode.
        permissions: the job's as they hold for the query (`permissions.for_query`); None when
            they are not managed.
    """

    source_id: str
    settings: JsonObject
    permissions: tuple[JsonObject, ...] | None = None


@dataclass(frozen=True, slots=True)
class DesiredJob:
    """A job that should exist.

    Args:
        settings: JobSettings as the wire has them, complete: name, tasks, tags (both of ours
            included), ... `pause_status` only where the metadata says it. `query_id` may be a
            QUERY_REFERENCE, `run_job_task.job_id` a MODULE_REFERENCE.
        permissions: bundle syntax, None when they are not managed.
        definition: what `_jobs` keeps as the accepted definition (`ModuleDefinition.as_json`).
        options: module-level settings that were given.
        requires: modules whose job ids the settings refer to.
        ours: source_ids whose task is this package's, which reads its settings from the definition.
        spec_hash: hash of settings, permissions and queries.
    """

    module_name: str
    settings: JsonObject
    queries: tuple[DesiredQuery, ...]
    permissions: tuple[JsonObject, ...] | None
    definition: JsonObject
    options: Mapping[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    ours: frozenset[str] = frozenset()
    spec_hash: str = ""
