"""Transcription: the JobSettings of an existing job become a module's definition, the inverse of `jobs.render`. Pure.

What the server fills in by itself is left out, so that the metadata says what somebody meant. Dependencies become
stages where they are stages, and stay explicit edges otherwise.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lakeflow_job_meta.jobs.stages import EDGE_LIMIT
from lakeflow_job_meta.jobs.tasks import ENTRY_POINT, PACKAGE_NAME
from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.metadata.task_types import TASK_TYPES
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, TableName, task_key
from lakeflow_job_meta.reconcile.rules import ANY, DEFAULT_BY_PATH, DEFAULT_BY_PATH_WITH_GIT, TRIGGERS, child

JsonObject = dict[str, Any]

#: Parameters that render adds to every notebook task.
RESERVED = ("source_id", "control_table", "module_name")
#: Server defaults that are said all the same: silence would mean something else to render, or to a reader.
_SAID = frozenset({"edit_mode", "job_clusters[].new_cluster.num_workers", "tasks[].new_cluster.num_workers"})
_LEFT_OUT = ("format", "deployment", "tasks", "tags")
_MOST_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a job says as metadata.

    Args:
        definition: None when there are problems.
        notes: what the metadata says otherwise than the job did, a sentence each.
        problems: why it cannot be said as metadata.
    """

    definition: ModuleDefinition | None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def transcribe(
    settings: JsonObject,
    *,
    module_name: str,
    control_table: TableName,
    creator: str = "",
    job_modules: Mapping[int, str] | None = None,
    permissions: tuple[JsonObject, ...] | None = None,
) -> Transcript:
    """The definition that renders to these settings.

    Args:
        settings: JobSettings as the workspace has them.
        creator: a `run_as` that is the creator was filled in by the server.
        job_modules: names of the modules whose jobs have these ids: references to them are by name.
        permissions: to say in the metadata; None leaves them unmanaged.
    """
    told = _Told(control_table, module_name, job_modules or {})
    clean: JsonObject = _meant(settings, "", _defaults(settings))
    tasks = [task for task in clean.get("tasks") or [] if isinstance(task, dict)]
    if not tasks:
        told.problems.append("it has no task: there is nothing to keep as a module")
    names = {str(task.get("task_key")): _source_id(task) for task in tasks}
    sources = [source for task in tasks if (source := told.source(task, names)) is not None]
    if settings.get("deployment"):
        told.notes.append(f"it is deployed by a bundle ({_deployment(settings)}): that is not kept")
    if told.problems:
        return Transcript(None, tuple(told.notes), tuple(told.problems))
    definition = ModuleDefinition(
        module_name, _job(settings, clean, module_name, creator), tuple(sources), permissions
    )
    return Transcript(with_stages(definition), tuple(told.notes))


def _deployment(settings: JsonObject) -> str:
    return str(settings["deployment"].get("metadata_file_path") or settings["deployment"].get("kind"))


@dataclass(slots=True)
class _Told:
    """One transcription under way."""

    control_table: TableName
    module_name: str
    job_modules: Mapping[int, str]
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def source(self, task: JsonObject, names: Mapping[str, str]) -> SourceDefinition | None:
        key = str(task.get("task_key"))
        kinds = [name for name in task if name.endswith("_task")]
        if len(kinds) != 1 or kinds[0].removesuffix("_task") not in TASK_TYPES:
            found = " and ".join(kinds) or "none"
            self.problems.append(
                f'task "{key}" needs one task type that this version of databricks-sdk knows, and has {found}'
            )
            return None
        if key.startswith("__"):
            self.problems.append(f'task "{key}": source_ids that start with __ are reserved; rename the task')
            return None
        task_type, settings = self._typed(key, kinds[0], task[kinds[0]])
        rest = {
            name: value for name, value in task.items() if name not in ("task_key", "depends_on", kinds[0])
        }
        edges = [
            {**edge, "task_key": names.get(edge["task_key"], edge["task_key"])}
            for edge in task.get("depends_on") or []
        ]
        return SourceDefinition(
            source_id=names[key],
            source_type=task_type,
            execution_order=1,
            task_type=task_type,
            settings=settings,
            task={"depends_on": edges, **rest},
        )

    def _typed(self, key: str, api_key: str, given: JsonObject) -> tuple[str, JsonObject]:
        """(task_type, its settings as a definition has them)."""
        settings = dict(given)
        if api_key == "notebook_task":
            parameters = dict(settings.pop("base_parameters", None) or {})
            self._reserved(key, parameters)
            return "notebook", {**settings, **({"base_parameters": parameters} if parameters else {})}
        if api_key == "sql_task" and set(settings) <= {"warehouse_id", "query", "parameters"}:
            query = settings.pop("query", None) or {}
            return "sql_query", {**settings, **query}
        if api_key == "sql_task" and set(settings) <= {"warehouse_id", "file", "parameters"}:
            file = dict(settings.pop("file", None) or {})
            return "sql_file", {**settings, "sql_file_path": file.pop("path", ""), **file}
        if (
            api_key == "python_wheel_task"
            and settings.get("package_name") == PACKAGE_NAME
            and settings.get("entry_point") == ENTRY_POINT
        ):
            self.notes.append(
                f'task "{key}" is a task of this product, whose settings are in the control table that it was made from: '
                "here it is kept as the plain python_wheel task that it is"
            )
        referred: JsonObject = self._by_name(settings)
        return api_key.removesuffix("_task"), referred

    def _reserved(self, key: str, parameters: JsonObject) -> None:
        """Take out the parameters that every notebook of ours gets, and say where it gets others from now on."""
        ours = {
            "source_id": parameters.get("source_id", key),
            "control_table": str(self.control_table),
            "module_name": self.module_name,
        }
        ours["source_id"] = key if task_key(str(ours["source_id"])) != key else ours["source_id"]
        for name, value in ours.items():
            given = parameters.pop(name, value)
            if given != value:
                self.notes.append(
                    f'task "{key}": its notebook gets {name} = {value!r} instead of {given!r}, as every notebook of a module'
                )

    def _by_name(self, value: Any) -> Any:
        """`value` with the job ids of known modules as references to them."""
        if isinstance(value, dict):
            return {
                name: f"${{module.{self.job_modules[inner]}}}"
                if name == "job_id" and isinstance(inner, int) and inner in self.job_modules
                else self._by_name(inner)
                for name, inner in value.items()
            }
        return [self._by_name(inner) for inner in value] if isinstance(value, list) else value


def _source_id(task: JsonObject) -> str:
    """The source_id of a task: what its notebook is told already, where that gives the same key; else the key."""
    key = str(task.get("task_key"))
    told = ((task.get("notebook_task") or {}).get("base_parameters") or {}).get("source_id")
    return told if isinstance(told, str) and told and task_key(told) == key else key


def _job(settings: JsonObject, clean: JsonObject, module_name: str, creator: str) -> JsonObject:
    job = {name: value for name, value in clean.items() if name not in _LEFT_OUT}
    if job.get("name") == module_name:
        del job["name"]
    if job.get("run_as") == {"user_name": creator}:
        del job["run_as"]
    job["edit_mode"] = settings.get("edit_mode") or "EDITABLE"
    if job["edit_mode"] == "UI_LOCKED":
        del job["edit_mode"]
    tags = {
        name: value
        for name, value in (settings.get("tags") or {}).items()
        if name not in (TABLE_TAG, MODULE_TAG)
    }
    if tags:
        job["tags"] = tags
    for name in TRIGGERS:
        block = job.get(name) or {}
        if block.get("pause_status") == "UNPAUSED" and len(block) > 1:
            job[name] = {field: value for field, value in block.items() if field != "pause_status"}
    return job


def _defaults(settings: JsonObject) -> Mapping[str, Any]:
    return DEFAULT_BY_PATH_WITH_GIT if settings.get("git_source") else DEFAULT_BY_PATH


def _meant(value: Any, pattern: str, defaults: Mapping[str, Any]) -> Any:
    """`value` without what the server filled in, and without what counts as absent."""
    if isinstance(value, list):
        return [_meant(inner, f"{pattern}[]", defaults) for inner in value]
    if not isinstance(value, dict):
        return value
    kept: JsonObject = {}
    for name, inner in value.items():
        below = child(pattern, name)
        default = defaults.get(below, ANY)
        if (
            default is not ANY
            and below not in _SAID
            and default == inner
            and isinstance(default, bool) is isinstance(inner, bool)
        ):
            continue
        meant = _meant(inner, below, defaults)
        if meant is not None and (meant not in ({}, []) or name.endswith("_task")):
            kept[name] = meant
    return kept


def with_stages(definition: ModuleDefinition) -> ModuleDefinition:
    """The definition with its sources in levels, and without explicit edges where they are those of stages.

    Args:
        definition: every source has `depends_on`, naming source_ids, or is in no need of it.
    """
    edges = {source.source_id: source.task.get("depends_on") or [] for source in definition.sources}
    levels = _levels({name: [edge["task_key"] for edge in given] for name, given in edges.items()})
    members: dict[int, set[str]] = {}
    for name, level in levels.items():
        members.setdefault(level, set()).add(name)
    staged = _are_stages(edges, levels, members)
    sources = []
    for source in definition.sources:
        task = dict(source.task)
        if staged or not edges[source.source_id]:
            task.pop("depends_on", None)
        level = levels[source.source_id]
        sources.append(replace(source, execution_order=level, task=task))
    sources.sort(key=lambda source: (source.execution_order, source.source_id))
    return replace(definition, sources=tuple(sources))


def _are_stages(
    edges: Mapping[str, Sequence[JsonObject]], levels: Mapping[str, int], members: Mapping[int, set[str]]
) -> bool:
    """Whether every task waits for exactly the whole level before its own, and render would make the same edges."""
    for name, given in edges.items():
        before = members.get(levels[name] - 1, set())
        if any("outcome" in edge for edge in given) or {edge["task_key"] for edge in given} != before:
            return False
    return all(len(names) * len(members.get(level - 1, ())) <= EDGE_LIMIT for level, names in members.items())


def _levels(needs: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Topological level of each source, from 1."""
    sorter = graphlib.TopologicalSorter(
        {name: [one for one in before if one in needs] for name, before in needs.items()}
    )
    sorter.prepare()
    levels: dict[str, int] = {}
    level = 1
    while sorter.is_active():
        ready = sorter.get_ready()
        levels.update(dict.fromkeys(ready, level))
        sorter.done(*ready)
        level += 1
    return levels


def module_name(job_name: str, job_id: int, taken: Iterable[str]) -> str:
    """A module's name for a job: the job's own where it may be one and is free."""
    name = job_name.replace("{", "(").replace("}", ")").strip()
    if not name or name.startswith("__") or len(name.encode("utf-8", "surrogatepass")) > _MOST_TEXT:
        name = f"job_{job_id}"
    return f"{name}_{job_id}" if name in set(taken) else name
