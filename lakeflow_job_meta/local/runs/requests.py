"""What run-now and repair ask for: parameters, and the tasks to run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lakeflow_job_meta.local.api.errors import ApiError, invalid
from lakeflow_job_meta.local.runs import dependencies
from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.references import Scope

Json = dict[str, Any]

#: Results of tasks that a repair of all failed tasks leaves alone.
_FINE = ("SUCCESS", "SUCCESS_WITH_FAILURES", "EXCLUDED", "DISABLED")
_MERGED = ("job_parameters", "notebook_params", "python_named_params", "sql_params")


def run_missing(run_id: int) -> ApiError:
    """400, as the Jobs API answers for a run that never was or was deleted (the SDK maps the text)."""
    return invalid(f"Run {run_id} does not exist.")


def with_declared(request: Json, settings: Json) -> Json:
    """A request with the values of the job's parameters: defaults, pushed ones, given ones.

    Args:
        request: of run-now; `pushed` holds the job parameters of the run that has the run_job task:
            those that this job declares too are taken over.
        settings: of the job.
    """
    asked = dict(request)
    declared = {item["name"]: item.get("default", "") for item in settings.get("parameters") or []}
    pushed = {key: value for key, value in (asked.pop("pushed", None) or {}).items() if key in declared}
    asked["declared"] = declared
    asked["job_parameters"] = {**declared, **pushed, **(asked.get("job_parameters") or {})}
    return asked


def resolved_parameters(run: RunRecord, scope: Scope) -> dict[str, str]:
    """Values of the job parameters; a default may refer to the job and the run, a given value may not.

    A secret in a default stays a reference: values of parameters are kept with the run.
    """
    declared = run.request.get("declared") or {}
    found = {}
    for name, value in (run.request.get("job_parameters") or {}).items():
        text = "" if value is None else str(value)
        is_default = declared.get(name) == value and "secrets/" not in text
        found[name] = scope.expand(text) if is_default else text
    return found


def change_for_repair(run: RunRecord, request: Json, settings: Json | None) -> None:
    """Gives a run the job's settings of today and the parameters of a repair."""
    if settings is not None:
        run.settings = dict(settings)
    for name in _MERGED:
        if request.get(name):
            run.request[name] = {**(run.request.get(name) or {}), **request[name]}
    if request.get("python_params"):
        run.request["python_params"] = request["python_params"]


def tasks_to_rerun(request: Json, tasks: list[Json], latest: Mapping[str, TaskRecord]) -> list[str]:
    """The keys of the tasks that a repair runs.

    Raises:
        ApiError: the request names none, or unknown ones.
    """
    keys = [task["task_key"] for task in tasks]
    named = list(request.get("rerun_tasks") or [])
    unknown = sorted(set(named) - set(keys))
    if unknown:
        raise invalid(f"rerun_tasks: task {unknown[0]!r} does not exist in the job")
    if named and request.get("rerun_all_failed_tasks"):
        raise invalid("Only one of rerun_tasks and rerun_all_failed_tasks can be used")
    chosen = set(named)
    if request.get("rerun_all_failed_tasks"):
        chosen = {key for key in keys if key in latest and latest[key].state.result not in _FINE}
    if request.get("rerun_dependent_tasks"):
        chosen = dependencies.downstream(tasks, chosen)
    if not chosen:
        raise invalid("No tasks to repair: name some in rerun_tasks, or set rerun_all_failed_tasks")
    return [key for key in keys if key in chosen]
