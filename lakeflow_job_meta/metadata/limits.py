"""Limits: what the platform refuses in one module, known before it is asked (Jobs API 2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from lakeflow_job_meta.metadata.dynamic_values import reference_problem, references
from lakeflow_job_meta.metadata.job_row import JobPart
from lakeflow_job_meta.metadata.problems import Part, Problems
from lakeflow_job_meta.metadata.quartz import cron_problem
from lakeflow_job_meta.metadata.rows import JOB_ROW
from lakeflow_job_meta.metadata.sources import CONFIG, Judged
from lakeflow_job_meta.metadata.suggestions import did_you_mean, hint, quoted, shown
from lakeflow_job_meta.metadata.task_types import TASK_TYPES
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, USER_TAGS, canonical_json

JsonObject = dict[str, Any]

MAX_TASKS = 1000
MAX_NAME_BYTES = 4096
MAX_DESCRIPTION = 27_700
MAX_TAG_KEY = 127
MAX_TAG_VALUE = 255
MAX_BASE_PARAMETERS = 1_000_000
MAX_INPUTS = 10_000
MAX_CONCURRENCY = 100
MIN_TRIGGER_SECONDS = 60
_TRIGGERS = ("schedule", "trigger", "continuous", "triggers")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
#: Java's forms that the zone database does not list.
_JAVA_ZONE = re.compile(r"(?:GMT|UTC|UT)[+-](?:[01]?[0-9]|2[0-3])(?::?[0-5][0-9])?|[A-Z]{3}")
_NO_RETRIES = (
    "a continuous job has no retries of its tasks: leave max_retries out (continuous.task_retry_mode decides)"
)
#: Environment that tasks of ours without compute get.
_OUR_ENVIRONMENT = "lakeflow_job_meta"


def check_limits(
    module: str, part: JobPart, sources: Sequence[Judged], warehouse: Any, problems: Problems
) -> None:
    """Judge a module against what the platform allows.

    Args:
        warehouse: the default warehouse; None when there is none; True when that is not known yet.
    """
    _job(part, problems)
    _triggers(part.job, problems)
    _continuous(part.job, sources, problems)
    keys = {
        key
        for source in sources
        for key in TASK_TYPES[source.definition.task_type].task_keys(source.definition.source_id)
    }
    if len(sources) > MAX_TASKS:
        text = f"the module has {len(sources)} sources, a job at most {MAX_TASKS} tasks: split it"
        problems.add("", ("sources",), text)
    elif len(keys) > MAX_TASKS:
        text = f"the module's {len(sources)} sources make {len(keys)} tasks, a job has at most {MAX_TASKS}: split it"
        problems.add("", ("sources",), text)
    names = _parameters(part.job, problems)
    clusters = {one["job_cluster_key"] for one in part.job.get("job_clusters") or ()}
    environments = {one["environment_key"] for one in part.job.get("environments") or ()}
    for source in sources:
        _compute(source, clusters, environments, problems)
        _task(module, source, warehouse, part, problems)
        _references(source, keys, names, problems)


# ---------------------------------------------------------------- the job


def _job(part: JobPart, problems: Problems) -> None:
    job = part.job

    def wrong(message: str, *at: str | int) -> None:
        problems.add(JOB_ROW, (CONFIG, *at), message)

    if len(job.get("name", "").encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        wrong(f"the job's name is longer than {MAX_NAME_BYTES} bytes", "name")
    if "name" in job and not job["name"].strip():
        wrong("the job's name is empty: leave it out to use the module's", "name")
    if len(job.get("description", "")) > MAX_DESCRIPTION:
        wrong(
            f"description has {len(job['description'])} characters, at most {MAX_DESCRIPTION} are allowed",
            "description",
        )
    tags = job.get("tags") or {}
    for key, value in tags.items():
        if key in (TABLE_TAG, MODULE_TAG):
            wrong(f"the tag {quoted(key)} is reserved: it says whose the job is", "tags", key)
        if not 0 < len(key) <= MAX_TAG_KEY:
            wrong(f"the name of a tag has 1 to {MAX_TAG_KEY} characters, not {len(key)}", "tags", key)
        if len(value) > MAX_TAG_VALUE:
            wrong(
                f"the value of tag {quoted(key)} has {len(value)} characters, at most {MAX_TAG_VALUE} are allowed",
                "tags",
                key,
            )
    if len(tags) > USER_TAGS:
        wrong(
            f"{len(tags)} tags: a job has at most 25, and two of them say whose it is; keep {USER_TAGS}",
            "tags",
        )
    for key in ("timeout_seconds", "max_concurrent_runs"):
        if job.get(key, 0) < 0:
            wrong(f"{key} must not be negative", key)
    if job.get("max_concurrent_runs", 1) > 1000:
        wrong("max_concurrent_runs is at most 1000", "max_concurrent_runs")
    for key, name in (("job_clusters", "job_cluster_key"), ("environments", "environment_key")):
        seen: set[str] = set()
        for index, one in enumerate(job.get(key) or ()):
            if one[name] in seen:
                wrong(f"{name} {quoted(one[name])} stands twice in {key}", key, index, name)
            seen.add(one[name])


def _parameters(job: JsonObject, problems: Problems) -> set[str]:
    """Judge the job's parameters; their names."""
    names: set[str] = set()
    for index, parameter in enumerate(job.get("parameters") or ()):
        name = parameter["name"]
        at = (CONFIG, "parameters", index, "name")
        if not _PARAMETER_NAME.fullmatch(name):
            problems.add(JOB_ROW, at, f"job parameter {quoted(name)}: use letters, digits, _, - and .")
        if name in names:
            problems.add(JOB_ROW, at, f"job parameter {quoted(name)} is declared twice")
        names.add(name)
    return names


def _triggers(job: JsonObject, problems: Problems) -> None:
    given = [name for name in _TRIGGERS if job.get(name) is not None]
    if len(given) > 1:
        text = f"a job has only one of {', '.join(_TRIGGERS)}; this one has {' and '.join(given)}: keep one"
        problems.add(JOB_ROW, (CONFIG, given[1]), text, at_key=True)
    schedule = job.get("schedule")
    if schedule is not None:
        _cron(schedule, ("schedule",), problems)
    for index, one in enumerate(job.get("triggers") or ()):
        if "schedule" in one and "quartz_cron_expression" in one["schedule"]:
            _cron(one["schedule"], ("triggers", index, "schedule"), problems)
    trigger = job.get("trigger") or {}
    periodic = trigger.get("periodic")
    if periodic is not None and periodic["interval"] < 1:
        problems.add(JOB_ROW, (CONFIG, "trigger", "periodic", "interval"), "interval must be at least 1")
    for kind in ("file_arrival", "table_update"):
        for key in ("min_time_between_triggers_seconds", "wait_after_last_change_seconds"):
            seconds = (trigger.get(kind) or {}).get(key)
            if seconds is not None and 0 < seconds < MIN_TRIGGER_SECONDS:
                text = f"{key} must be at least {MIN_TRIGGER_SECONDS} seconds, not {seconds}"
                problems.add(JOB_ROW, (CONFIG, "trigger", kind, key), text)


def _cron(schedule: JsonObject, at: Part, problems: Problems) -> None:
    expression = schedule["quartz_cron_expression"]
    wrong = cron_problem(expression)
    if wrong:
        text = f"quartz_cron_expression {shown(expression)}: {wrong}"
        problems.add(JOB_ROW, (CONFIG, *at, "quartz_cron_expression"), text)
    zone = schedule.get("timezone_id")
    if zone is not None and not _is_zone(zone):
        near = did_you_mean(zone, available_timezones())
        text = f"timezone_id {shown(zone)} is no time zone{near}: use a name such as UTC or Europe/Berlin"
        problems.add(JOB_ROW, (CONFIG, *at, "timezone_id"), text)


def _is_zone(name: str) -> bool:
    if _JAVA_ZONE.fullmatch(name):
        return True
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # Without a zone database nothing can be said.
        return not available_timezones()
    return True


def _continuous(job: JsonObject, sources: Sequence[Judged], problems: Problems) -> None:
    """A continuous job: one run at a time, no dependencies, no retries."""
    if job.get("continuous") is None:
        return
    if job.get("max_concurrent_runs", 1) > 1:
        problems.add(
            JOB_ROW,
            (CONFIG, "max_concurrent_runs"),
            "a continuous job has one run at a time: leave max_concurrent_runs out",
        )
    first = min((source.definition.execution_order for source in sources), default=0)
    for source in sources:
        one = source.definition
        if one.task.get("depends_on"):
            problems.add(
                one.source_id,
                (CONFIG, "depends_on"),
                "tasks of a continuous job cannot depend on one another: leave depends_on out",
            )
        elif one.execution_order != first and "depends_on" not in one.task:
            text = f"a continuous job has one stage, since its tasks cannot depend on one another: give all sources execution_order {first}"
            problems.add(one.source_id, ("execution_order",), text)
        if TASK_TYPES[one.task_type].steps:
            problems.add(
                one.source_id,
                (CONFIG, "task_type"),
                f"a {one.task_type} source becomes tasks that wait for one another, which a continuous job cannot have",
            )
        if one.task.get("max_retries"):
            problems.add(
                one.source_id,
                (CONFIG, "max_retries"),
                _NO_RETRIES,
            )
        if one.task_type == "for_each" and one.settings["task"].get("max_retries"):
            problems.add(one.source_id, (CONFIG, "for_each_task", "task", "max_retries"), _NO_RETRIES)


# ---------------------------------------------------------------- tasks


def _compute(source: Judged, clusters: set[str], environments: set[str], problems: Problems) -> None:
    one = source.definition
    task = one.task
    inner = one.settings.get("task", {}) if one.task_type == "for_each" else {}
    for at, fields in (((CONFIG,), task), ((CONFIG, "for_each_task", "task"), inner)):
        cluster, environment = fields.get("job_cluster_key"), fields.get("environment_key")
        if cluster is not None and cluster not in clusters:
            remedy = hint(cluster, clusters) or ": declare it under job.job_clusters"
            problems.add(
                one.source_id, (*at, "job_cluster_key"), f"unknown job_cluster_key {quoted(cluster)}{remedy}"
            )
        if environment is not None and environment not in environments and environment != _OUR_ENVIRONMENT:
            remedy = hint(environment, environments) or ": declare it under job.environments"
            problems.add(
                one.source_id,
                (*at, "environment_key"),
                f"unknown environment_key {quoted(environment)}{remedy}",
            )
        if fields.get("max_retries", 0) < -1:
            problems.add(one.source_id, (*at, "max_retries"), "max_retries is -1 (for ever), 0 or more")
        for key in ("timeout_seconds", "min_retry_interval_millis"):
            if fields.get(key, 0) < 0:
                problems.add(one.source_id, (*at, key), f"{key} must not be negative")


def _task(module: str, source: Judged, warehouse: Any, part: JobPart, problems: Problems) -> None:
    one = source.definition
    settings = one.settings

    def wrong(message: str, *at: str | int) -> None:
        problems.add(one.source_id, source.part(*at), message)

    if (
        one.task_type in ("sql", "sql_query", "sql_file")
        and not settings.get("warehouse_id")
        and not warehouse
    ):
        wrong(
            "a SQL task needs a SQL warehouse: give sql_task.warehouse_id, or the setting default_warehouse_id",
            "warehouse_id",
        )
    if one.task_type == "notebook":
        _notebook_parameters(module, source, problems)
        _notebook(settings, part, wrong)
    elif one.task_type == "sql":
        _sql(settings, part, wrong)
    elif one.task_type == "python_wheel":
        _wheel(settings, part, wrong)
    elif one.task_type == "for_each":
        _for_each(settings, part, wrong)


def parameters_size(parameters: JsonObject) -> int:
    """Bytes of a notebook's base_parameters, as the platform counts them: those of their JSON."""
    return len(canonical_json(parameters).encode("utf-8", "surrogatepass"))


def _notebook_parameters(module: str, source: Judged, problems: Problems) -> None:
    """The given ones, and what is known here of those that every notebook gets (`render` knows the table, too)."""
    one = source.definition
    given = one.settings.get("base_parameters") or {}
    size = parameters_size(given)
    if size > MAX_BASE_PARAMETERS:
        text = (
            f"base_parameters have {size} bytes, at most 1 MB is allowed: put the data into a file or table"
        )
        problems.add(one.source_id, source.part("base_parameters"), text)
        return
    size = parameters_size({**given, "source_id": one.source_id, "module_name": module})
    if size > MAX_BASE_PARAMETERS:
        at: Part = source.part("base_parameters") if given else ("source_id",)
        text = (
            f"base_parameters have {size} bytes with the notebook's source_id and module_name, which it gets too; "
            "at most 1 MB is allowed: put the data into a file or table"
        )
        problems.add(one.source_id, at, text)


def _notebook(settings: JsonObject, part: JobPart, wrong: Any) -> None:
    path = settings["notebook_path"]
    if path.startswith(("./", "../")) and not part.job.get("git_source"):
        wrong(
            f"notebook_path {shown(path)} is relative: give the absolute path in the workspace",
            "notebook_path",
        )


def _sql(settings: JsonObject, part: JobPart, wrong: Any) -> None:
    _exactly_one(settings, ("query", "file", "alert", "dashboard"), "sql_task", wrong)


def _wheel(settings: JsonObject, part: JobPart, wrong: Any) -> None:
    if settings.get("parameters") and settings.get("named_parameters"):
        wrong("python_wheel_task has parameters or named_parameters, not both", "parameters")


def _for_each(settings: JsonObject, part: JobPart, wrong: Any) -> None:
    if not settings["inputs"]:
        wrong("inputs are empty: give a JSON array, or a reference to one", "inputs")
    if len(settings["inputs"]) > MAX_INPUTS:
        wrong(f"inputs have {len(settings['inputs'])} characters, at most {MAX_INPUTS} are allowed", "inputs")
    if not 1 <= settings.get("concurrency", 1) <= MAX_CONCURRENCY:
        wrong(f"concurrency is 1 to {MAX_CONCURRENCY}", "concurrency")
    inner = settings["task"]
    _exactly_one(
        inner,
        tuple(key for key in inner if key.endswith("_task")),
        "the inner task",
        lambda text, *at: wrong(text, "task", *at),
    )
    for name, judge in (
        ("notebook_task", _inner_notebook),
        ("sql_task", _sql),
        ("python_wheel_task", _wheel),
    ):
        if inner.get(name):
            judge(inner[name], part, lambda text, *at, name=name: wrong(text, "task", name, *at))


def _inner_notebook(notebook: JsonObject, part: JobPart, wrong: Any) -> None:
    size = parameters_size(notebook.get("base_parameters") or {})
    if size > MAX_BASE_PARAMETERS:
        wrong(f"base_parameters have {size} bytes, at most 1 MB is allowed", "base_parameters")
    _notebook(notebook, part, wrong)


def _exactly_one(settings: JsonObject, names: Sequence[str], what: str, wrong: Any) -> None:
    given = [name for name in names if settings.get(name) is not None]
    if len(given) != 1:
        found = f"it has {' and '.join(given)}" if given else "it has none"
        wanted = f"one of {', '.join(names)}" if names else "one task type such as notebook_task"
        wrong(f"{what} needs exactly {wanted}; {found}")


# ---------------------------------------------------------------- references


def _references(source: Judged, keys: set[str], parameters: set[str], problems: Problems) -> None:
    one = source.definition
    known = keys
    if one.task_type == "for_each":
        known = keys | {one.settings["task"]["task_key"]}
    for at, text in _texts(source.config, (CONFIG,)):
        for reference in references(text):
            wrong = reference_problem(reference, known, parameters)
            if wrong:
                problems.add(one.source_id, at, wrong)


def _texts(value: Any, at: Part) -> Iterator[tuple[Part, str]]:
    """Every text in which the platform replaces references."""
    if isinstance(value, str):
        if "{{" in value:
            yield at, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            # SQL texts become saved queries, which know no references.
            if key not in ("sql_query", "description"):
                yield from _texts(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*at, index))
