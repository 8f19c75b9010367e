"""Render: a module's definition becomes the job, queries and permissions that should exist."""

from __future__ import annotations

import copy

from lakeflow_job_meta.errors import MetadataError, Place, Problem
from lakeflow_job_meta.jobs import stages
from lakeflow_job_meta.jobs.desired import DesiredJob, JsonObject
from lakeflow_job_meta.jobs.job_settings import job_settings, package
from lakeflow_job_meta.jobs.queries import is_inline, render_query
from lakeflow_job_meta.jobs.references import required_modules
from lakeflow_job_meta.jobs.tasks import TaskContext, keys_of, render_tasks, warehouse
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.metadata.task_types import TASK_TYPES
from lakeflow_job_meta.names import TableName, digest
from lakeflow_job_meta.settings import Settings

#: Jobs API: tasks in one job; barriers count.
TASK_LIMIT = 1000


def render(definition: ModuleDefinition, *, control_table: TableName, settings: Settings) -> DesiredJob:
    """The job that should exist for `definition`.

    Pure and deterministic: equal definitions give equal settings, whatever the order of their sources. Everything that the
    metadata gives passes through; added are names, edges, our tags and the parameters of DESIGN's task types.
    The `pause_status` of a trigger is there only where the metadata says it.

    Raises:
        MetadataError: what the metadata alone could not know: barriers that push the module over
            1,000 tasks, a SQL task without any warehouse, task keys that collide.
    """
    default_warehouse = settings.for_module("default_warehouse_id", definition.options)
    context = TaskContext(
        module_name=definition.module_name,
        control_table=control_table,
        warehouse_id=str(default_warehouse) if default_warehouse else None,
        package=package(definition, settings),
    )
    permissions = None if definition.permissions is None else tuple(copy.deepcopy(definition.permissions))
    problems: list[Problem] = []
    module_stages = stages.stages(definition.sources)
    keys = _task_keys(definition, context, problems)
    ends = {source_id: own[-1] for source_id, own in keys.items()}
    wiring = stages.wire(module_stages, ends, (key for own in keys.values() for key in own))
    tasks: list[JsonObject] = []
    queries = []
    for stage in module_stages:
        tasks.extend(wiring.barriers.get(stage[0].execution_order, ()))
        for source in stage:
            try:
                own_tasks = render_tasks(source, keys[source.source_id], context)
                if is_inline(source):
                    queries.append(
                        render_query(
                            source,
                            module_name=definition.module_name,
                            control_table=control_table,
                            warehouse_id=warehouse(source, context),
                            parent_path=str(settings["queries_path"]),
                            permissions=permissions,
                        )
                    )
            except MetadataError as error:
                problems.extend(error.problems)
                continue
            if wiring.depends_on.get(source.source_id):
                own_tasks[0]["depends_on"] = wiring.depends_on[source.source_id]
            if source.source_id in wiring.run_if:
                own_tasks[0]["run_if"] = wiring.run_if[source.source_id]
            tasks.extend(own_tasks)
    if len(tasks) > TASK_LIMIT:
        place = Place(str(control_table), key=definition.module_name)
        problems.append(_too_many(definition, len(tasks), place))
    if problems:
        raise MetadataError(problems)
    rendered = job_settings(definition, tasks, control_table=control_table, requirement=context.package)
    return DesiredJob(
        module_name=definition.module_name,
        settings=rendered,
        queries=tuple(queries),
        permissions=permissions,
        definition=definition.as_json(),
        options=dict(definition.options),
        requires=tuple(sorted(required_modules(rendered))),
        ours=frozenset(one.source_id for one in definition.sources if TASK_TYPES[one.task_type].ours),
        spec_hash=digest(
            {
                "settings": rendered,
                "permissions": permissions,
                "queries": [[query.source_id, query.settings] for query in queries],
            },
            32,
        ),
    )


def check_size(definition: ModuleDefinition, place: Place) -> Problem | None:
    """Whether the barriers between its wide stages push a module above the platform's number of tasks.

    Args:
        place: where the module is written.
    """
    keys = {source.source_id: keys_of(source) for source in definition.sources}
    tasks = sum(map(len, keys.values()))
    if tasks <= TASK_LIMIT // 2:
        return None  # there are never more barriers than sources
    ends = {source_id: own[-1] for source_id, own in keys.items()}
    barriers = stages.wire(stages.stages(definition.sources), ends).barriers
    count = tasks + sum(map(len, barriers.values()))
    return _too_many(definition, count, place) if count > TASK_LIMIT else None


def _task_keys(
    definition: ModuleDefinition, context: TaskContext, problems: list[Problem]
) -> dict[str, tuple[str, ...]]:
    """Keys of a source's tasks by source_id; two that collide are a problem that names both."""
    keys: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for source in definition.sources:
        keys[source.source_id] = keys_of(source)
        for key in keys[source.source_id]:
            if key in owners:
                problems.extend(
                    context.refuse(
                        source,
                        f'sources "{owners[key]}" and "{source.source_id}" both get the task_key "{key}"; rename one',
                    ).problems
                )
            owners.setdefault(key, source.source_id)
    return keys


def _too_many(definition: ModuleDefinition, count: int, place: Place) -> Problem:
    sources = len(definition.sources)
    tasks = sum(len(keys_of(source)) for source in definition.sources)
    own = f"{sources} sources" if tasks == sources else f"{tasks} tasks of {sources} sources"
    return Problem(
        f'module "{definition.module_name}" needs {count} tasks ({own} and {count - tasks} barriers '
        f"between wide stages); the platform allows {TASK_LIMIT}: split the module",
        place,
        module=definition.module_name,
    )
