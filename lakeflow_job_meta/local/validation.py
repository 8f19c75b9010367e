"""What the Jobs API refuses (400), with messages that name the field. Limits: Jobs API 2.2."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from lakeflow_job_meta.local.api.errors import ApiError, invalid
from lakeflow_job_meta.local.job_values import JOB_ENUMS, JOB_TYPES, TASK_ENUMS, TASK_TYPES
from lakeflow_job_meta.local.quartz import cron_problem
from lakeflow_job_meta.local.state import Jobs

Json = dict[str, Any]

MAX_TASKS = 1000
MAX_TAGS = 25
MAX_NAME_BYTES = 4096
MAX_DESCRIPTION = 27_700
MAX_BASE_PARAMETERS = 1_000_000
MAX_INPUTS = 10_000
MAX_RUN_JOB_LEVELS = 3

_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,512}")
#: Fields of a task that end in `_task` are its type; exactly one is set.
_TYPE_SUFFIX = "_task"


def validate_settings(
    settings: Json, *, jobs: Jobs | None = None, job_id: int | None = None, max_tasks: int = MAX_TASKS
) -> None:
    """Judges JobSettings (or the body of runs/submit, which shares its fields).

    Args:
        settings: JSON of JobSettings.
        jobs: the saved jobs, to follow run_job tasks; without them only self references are seen.
        job_id: the job that these settings are for, when it exists already.
        max_tasks: 1000; 100 for Jobs API 2.1.

    Raises:
        ApiError: 400 INVALID_PARAMETER_VALUE (MALFORMED_REQUEST for a wrong JSON type) for the first problem.
    """
    try:
        _judge(settings, jobs, job_id, max_tasks)
    except (AttributeError, TypeError) as e:
        # A nested value has the wrong JSON type: the checks take the shape of the API for granted.
        raise ApiError(400, "MALFORMED_REQUEST", f"Could not parse request object: {e}") from e


def _judge(settings: Json, jobs: Jobs | None, job_id: int | None, max_tasks: int) -> None:
    _types(settings, JOB_TYPES, "")
    _limits(settings)
    _enums(settings, JOB_ENUMS, "")
    _triggers(settings)
    tasks = _objects(settings, "tasks")
    if len(tasks) > max_tasks:
        raise invalid(f"The number of tasks is limited to {max_tasks}, but this job has {len(tasks)}.")
    clusters = _unique(_objects(settings, "job_clusters"), "job_cluster_key", "job_clusters")
    environments = _unique(_objects(settings, "environments"), "environment_key", "environments")
    for task in tasks:
        _task(task, clusters, environments)
    _unique(tasks, "task_key", "tasks")
    _dependencies(tasks)
    if settings.get("continuous") is not None:
        _continuous(settings, tasks)
    _run_jobs(tasks, jobs, job_id)


def _types(value: Json, expected: dict[str, type | tuple[type, ...]], where: str) -> None:
    for name, kind in expected.items():
        found = value.get(name)
        if found is None:
            continue
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            shown = kind.__name__ if isinstance(kind, type) else "value"
            raise ApiError(
                400,
                "MALFORMED_REQUEST",
                f"Could not parse request object: {where}{name} must be of type {shown}, not {type(found).__name__}",
            )


def _objects(value: Json, name: str) -> list[Json]:
    found = value.get(name) or []
    if not all(isinstance(item, dict) for item in found):
        raise ApiError(400, "MALFORMED_REQUEST", f"Could not parse request object: {name} must hold objects")
    return list(found)


def _enums(value: Json, table: Iterable[tuple[tuple[str, ...], tuple[str, ...]]], where: str) -> None:
    for path, allowed in table:
        found: Any = value
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        if found is not None and found not in allowed:
            raise invalid(
                f"Invalid value for {where}{'.'.join(path)}: {found!r}; expected one of {', '.join(allowed)}"
            )


def _unique(items: list[Json], key: str, where: str) -> set[str]:
    seen: set[str] = set()
    for item in items:
        name = item.get(key)
        if not isinstance(name, str) or not name:
            raise invalid(f"Missing required field: {where}.{key}")
        if not _KEY.fullmatch(name):
            raise invalid(
                f"Invalid {key} {name[:120]!r}: at most 100 characters of letters, digits, '_' and '-' are allowed"
            )
        if name in seen:
            raise invalid(f"Duplicate {key} {name!r} in {where}: every {key} must be unique")
        seen.add(name)
    return seen


def _limits(settings: Json) -> None:
    if len(settings.get("name", "").encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise invalid(f"The job name is too long: name is limited to {MAX_NAME_BYTES} bytes")
    if len(settings.get("description") or "") > MAX_DESCRIPTION:
        raise invalid(f"description is limited to {MAX_DESCRIPTION} characters")
    tags = settings.get("tags") or {}
    if len(tags) > MAX_TAGS:
        raise invalid(f"tags: a job can have at most {MAX_TAGS} tags, but {len(tags)} were given")
    for key, value in tags.items():
        if not key or not isinstance(value, str):
            raise invalid(f"tags: the value of tag {key!r} must be a string")
    for name in ("timeout_seconds", "max_concurrent_runs"):
        if (settings.get(name) or 0) < 0:
            raise invalid(f"{name} must not be negative")
    if (settings.get("max_concurrent_runs") or 0) > 1000:
        raise invalid("max_concurrent_runs must be at most 1000")
    names: set[str] = set()
    for parameter in _objects(settings, "parameters"):
        parameter_name = parameter.get("name")
        if not isinstance(parameter_name, str) or not _PARAMETER_NAME.fullmatch(parameter_name):
            raise invalid(
                f"parameters.name {parameter_name!r} is invalid: use letters, digits, '_', '-' and '.'"
            )
        if parameter_name in names:
            raise invalid(
                f"Duplicate job parameter {parameter_name!r} in parameters: every name must be unique"
            )
        names.add(parameter_name)


def _triggers(settings: Json) -> None:
    given = [name for name in ("schedule", "trigger", "continuous") if settings.get(name) is not None]
    if len(given) > 1:
        raise invalid(
            f"Only one of schedule, trigger and continuous can be set, but the job has {' and '.join(given)}"
        )
    schedule = settings.get("schedule")
    if schedule is not None:
        expression = schedule.get("quartz_cron_expression")
        if not isinstance(expression, str) or not expression:
            raise invalid("Missing required field: schedule.quartz_cron_expression")
        problem = cron_problem(expression)
        if problem:
            raise invalid(f"Invalid schedule.quartz_cron_expression {expression!r}: {problem}")
        zone = schedule.get("timezone_id")
        if not isinstance(zone, str) or not zone:
            raise invalid("Missing required field: schedule.timezone_id")
        if not _is_timezone(zone):
            raise invalid(f"Invalid schedule.timezone_id {zone!r}: no such Java timezone")
    trigger = settings.get("trigger") or {}
    periodic = trigger.get("periodic")
    if periodic is not None and (not isinstance(periodic.get("interval"), int) or periodic["interval"] < 1):
        raise invalid("trigger.periodic.interval must be at least 1")
    for kind, required in (("file_arrival", "url"), ("table_update", "table_names")):
        settings_of_kind = trigger.get(kind)
        if settings_of_kind is None:
            continue
        if not settings_of_kind.get(required):
            raise invalid(f"Missing required field: trigger.{kind}.{required}")
        for name in ("min_time_between_triggers_seconds", "wait_after_last_change_seconds"):
            seconds = settings_of_kind.get(name)
            if seconds is not None and seconds != 0 and seconds < 60:
                raise invalid(f"trigger.{kind}.{name} must be at least 60 seconds")


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _task(task: Json, clusters: set[str], environments: set[str], *, inner: bool = False) -> None:
    where = f"task {task.get('task_key')!r}: "
    _types(task, TASK_TYPES, where)
    _enums(task, TASK_ENUMS, where)
    kinds = sorted(name for name, value in task.items() if name.endswith(_TYPE_SUFFIX) and value is not None)
    if len(kinds) != 1:
        found = f"it has {' and '.join(kinds)}" if kinds else "it has none"
        raise invalid(f"{where}exactly one task type must be set, such as notebook_task, but {found}")
    if not isinstance(task[kinds[0]], dict):
        raise ApiError(
            400, "MALFORMED_REQUEST", f"Could not parse request object: {where}{kinds[0]} must be an object"
        )
    cluster, environment = task.get("job_cluster_key"), task.get("environment_key")
    if cluster is not None and cluster not in clusters:
        raise invalid(f"{where}job_cluster_key {cluster!r} is not defined in job_clusters")
    if environment is not None and environment not in environments:
        raise invalid(f"{where}environment_key {environment!r} is not defined in environments")
    retries = task.get("max_retries")
    if retries is not None and retries < -1:
        raise invalid(f"{where}max_retries must be -1 or more")
    for name in ("min_retry_interval_millis", "timeout_seconds"):
        if (task.get(name) or 0) < 0:
            raise invalid(f"{where}{name} must not be negative")
    _task_type(kinds[0], task[kinds[0]], where, clusters, environments, inner)


def _task_type(
    kind: str, value: Json, where: str, clusters: set[str], environments: set[str], inner: bool
) -> None:
    if kind == "notebook_task":
        if not value.get("notebook_path"):
            raise invalid(f"Missing required field: {where}notebook_task.notebook_path")
        if len(orjson.dumps(value.get("base_parameters") or {})) > MAX_BASE_PARAMETERS:
            raise invalid(f"{where}notebook_task.base_parameters is larger than 1 MB")
    elif kind == "sql_task":
        if not value.get("warehouse_id"):
            raise invalid(f"Missing required field: {where}sql_task.warehouse_id")
        given = [name for name in ("query", "file", "alert", "dashboard") if value.get(name) is not None]
        if len(given) != 1:
            raise invalid(
                f"{where}sql_task needs exactly one of query, file, alert and dashboard, "
                f"but it has {' and '.join(given) or 'none'}"
            )
    elif kind == "python_wheel_task":
        for name in ("package_name", "entry_point"):
            if not value.get(name):
                raise invalid(f"Missing required field: {where}python_wheel_task.{name}")
        if value.get("parameters") and value.get("named_parameters"):
            raise invalid(f"{where}python_wheel_task: only one of parameters and named_parameters can be set")
    elif kind == "spark_python_task" and not value.get("python_file"):
        raise invalid(f"Missing required field: {where}spark_python_task.python_file")
    elif kind == "condition_task":
        for name in ("op", "left", "right"):
            if value.get(name) is None:
                raise invalid(f"Missing required field: {where}condition_task.{name}")
    elif kind == "run_job_task" and not isinstance(value.get("job_id"), (int, str)):
        raise invalid(f"Missing required field: {where}run_job_task.job_id")
    elif kind == "for_each_task":
        _for_each(value, where, clusters, environments, inner)


def _for_each(value: Json, where: str, clusters: set[str], environments: set[str], inner: bool) -> None:
    if inner:
        raise invalid(f"{where}for_each_task cannot be nested in another for_each_task")
    inputs = value.get("inputs")
    if not isinstance(inputs, str) or not inputs:
        raise invalid(f"Missing required field: {where}for_each_task.inputs")
    if len(inputs) > MAX_INPUTS:
        raise invalid(f"{where}for_each_task.inputs is limited to {MAX_INPUTS} characters")
    concurrency = value.get("concurrency")
    if concurrency is not None and (not isinstance(concurrency, int) or not 1 <= concurrency <= 100):
        raise invalid(f"{where}for_each_task.concurrency must be between 1 and 100")
    task = value.get("task")
    if not isinstance(task, dict):
        raise invalid(f"Missing required field: {where}for_each_task.task")
    _unique([task], "task_key", f"{where}for_each_task.task")
    if task.get("depends_on"):
        raise invalid(f"{where}for_each_task.task.depends_on is not allowed")
    _task(task, clusters, environments, inner=True)


def _dependencies(tasks: list[Json]) -> None:
    by_key = {task["task_key"]: task for task in tasks}
    waiting: dict[str, set[str]] = {}
    dependents: dict[str, list[str]] = {key: [] for key in by_key}
    for key, task in by_key.items():
        needs: set[str] = set()
        for dependency in _objects(task, "depends_on"):
            other = dependency.get("task_key")
            if not isinstance(other, str) or other not in by_key:
                raise invalid(f"task {key!r}: depends_on refers to unknown task_key {other!r}")
            outcome = dependency.get("outcome")
            if outcome is not None:
                if by_key[other].get("condition_task") is None:
                    raise invalid(
                        f"task {key!r}: depends_on.outcome is only allowed on condition tasks, and {other!r} is none"
                    )
                if outcome not in ("true", "false"):
                    raise invalid(
                        f'task {key!r}: depends_on.outcome must be "true" or "false", not {outcome!r}'
                    )
            needs.add(other)
        waiting[key] = needs
        for other in needs:
            dependents[other].append(key)
    ready = [key for key, needs in waiting.items() if not needs]
    done = 0
    while ready:
        key = ready.pop()
        done += 1
        for dependent in dependents[key]:
            waiting[dependent].discard(key)
            if not waiting[dependent]:
                ready.append(dependent)
    if done < len(by_key):
        stuck = sorted(key for key, needs in waiting.items() if needs)
        raise invalid(f"The dependencies of tasks form a cycle (depends_on): {', '.join(stuck[:10])}")


def _continuous(settings: Json, tasks: list[Json]) -> None:
    if (settings.get("max_concurrent_runs") or 1) > 1:
        raise invalid("max_concurrent_runs must be 1 for a continuous job")
    for task in tasks:
        if task.get("depends_on"):
            raise invalid(
                f"task {task['task_key']!r}: a continuous job cannot have task dependencies (depends_on)"
            )
        if task.get("max_retries"):
            raise invalid(
                f"task {task['task_key']!r}: a continuous job cannot have a retry policy (max_retries)"
            )


def _run_job_ids(tasks: Iterable[Json]) -> set[int]:
    found = set()
    for task in tasks:
        inner = (task.get("for_each_task") or {}).get("task") or {}
        for run_job in (task.get("run_job_task"), inner.get("run_job_task")):
            if run_job and str(run_job.get("job_id", "")).lstrip("-").isdigit():
                found.add(int(run_job["job_id"]))
    return found


def _run_jobs(tasks: list[Json], jobs: Jobs | None, job_id: int | None) -> None:
    """No cycles, at most three levels of run_job below a job, through its parents as well."""
    children = _run_job_ids(tasks)
    if not children:
        return
    edges: dict[int, set[int]] = {}
    if jobs is not None:
        edges = {record.job_id: _run_job_ids(record.settings.get("tasks") or []) for record in jobs.all()}
    this = job_id or 0
    edges[this] = children

    def depth(node: int, path: tuple[int, ...], graph: dict[int, set[int]]) -> int:
        if node in path:
            raise invalid(f"run_job_task.job_id: jobs that run one another form a cycle: {(*path, node)}")
        if len(path) > MAX_RUN_JOB_LEVELS:
            return len(path)
        return max((depth(child, (*path, node), graph) for child in graph.get(node, ())), default=len(path))

    parents: dict[int, set[int]] = {}
    for parent, below in edges.items():
        for child in below:
            parents.setdefault(child, set()).add(parent)
    levels = depth(this, (), edges) + (depth(this, (), parents) if this else 0)
    if levels > MAX_RUN_JOB_LEVELS:
        raise invalid(f"run_job_task: jobs can be nested at most {MAX_RUN_JOB_LEVELS} levels deep")
