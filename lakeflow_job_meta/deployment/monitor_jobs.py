"""The monitor's jobs as rows of a control table of their own. Pure."""

from __future__ import annotations

from typing import Any

from lakeflow_job_meta.deployment.request import DEFAULT_CRON, Request
from lakeflow_job_meta.jobs.job_settings import ENVIRONMENT_VERSION
from lakeflow_job_meta.metadata.rows import JOB_ROW, JOB_SOURCE_TYPE, Row
from lakeflow_job_meta.names import TableName, canonical_json

JsonObject = dict[str, Any]

#: The job that is there in every mode: the loop, or the look by the clock.
MONITOR = "monitor"
#: Further jobs of the mode `triggered`: a job has one trigger.
ON_ROWS = "monitor_on_rows"
ON_FILES = "monitor_on_files"
MODULES = (MONITOR, ON_ROWS, ON_FILES)

PACKAGE_NAME = "lakeflow_job_meta"
ENTRY_POINT = "lakeflow-job-meta-monitor"
#: Key of the monitor's environment or job cluster.
COMPUTE_KEY = "monitor"
#: Seconds after which a single look that hangs is ended, so that it does not hold up the next one for ever.
LOOK_TIMEOUT = 3600
# Whoever changed the monitor's job in the workspace: a deployment puts it right. A job that the mode does not
# need any more is deleted: a paused one would be mistaken for a monitor.
_OPTIONS = {"drift": "enforce", "retire": "delete", "default_pause_status": "UNPAUSED"}
_ABOUT = {
    MONITOR: "",
    ON_ROWS: " (rows)",
    ON_FILES: " (files)",
}


def deployment_table(control_table: TableName) -> TableName:
    """The name that the monitor's jobs are owned by; its companions are real tables, it is none itself."""
    return control_table.companion("deployment")


def rows(request: Request) -> list[Row]:
    """The rows of the monitor's jobs: one module a job, a job row and one source each."""
    found: list[Row] = []
    for module, trigger in _triggers(request).items():
        found += [_job_row(module, trigger, request), _source_row(module, request)]
    return found


def _triggers(request: Request) -> dict[str, JsonObject]:
    """What starts each job, by module."""
    if request.mode == "continuous":
        return {MONITOR: {"continuous": {}}}
    cron = {
        "quartz_cron_expression": request.cron or DEFAULT_CRON[request.mode],
        "timezone_id": request.timezone,
    }
    triggers: dict[str, JsonObject] = {MONITOR: {"schedule": cron}}
    if request.mode == "triggered":
        # The control table alone: a look writes its companions, and would start itself over and over.
        wait = {"wait_after_last_change_seconds": request.wait_seconds} if request.wait_seconds else {}
        table: JsonObject = {"table_names": [str(request.control_table)], "condition": "ANY_UPDATED", **wait}
        triggers[ON_ROWS] = {"trigger": {"table_update": table}}
        if request.volume_path:
            triggers[ON_FILES] = {"trigger": {"file_arrival": {"url": f"{request.volume_path}/", **wait}}}
    return triggers


def _job_row(module: str, trigger: JsonObject, request: Request) -> Row:
    job: JsonObject = {
        "name": f"lakeflow_job_meta monitor of {request.control_table}{_ABOUT[module]}",
        "description": f"Keeps Databricks Jobs equal to {request.control_table}. Made by `lakeflow-job-meta deploy`.",
        **trigger,
        **_OPTIONS,
    }
    if request.mode != "continuous":
        job["timeout_seconds"] = LOOK_TIMEOUT
    # What is there already fires no trigger: the first look is started by the deployment.
    job["run_on_change"] = module == MONITOR and request.mode != "continuous"
    if request.run_as:
        kind = "user_name" if "@" in request.run_as else "service_principal_name"
        job["run_as"] = {kind: request.run_as}
    if request.compute.is_serverless:
        spec = {"environment_version": ENVIRONMENT_VERSION, "dependencies": [request.package]}
        job["environments"] = [{"environment_key": COMPUTE_KEY, "spec": spec}]
    elif request.compute.job_cluster is not None:
        job["job_clusters"] = [{"job_cluster_key": COMPUTE_KEY, "new_cluster": request.compute.job_cluster}]
    return _row(JOB_ROW, module, JOB_SOURCE_TYPE, 0, job)


def _source_row(module: str, request: Request) -> Row:
    task: JsonObject = {
        "task_type": "python_wheel",
        "python_wheel_task": {
            "package_name": PACKAGE_NAME,
            "entry_point": ENTRY_POINT,
            "named_parameters": _parameters(request),
        },
    }
    compute = request.compute
    if compute.is_serverless:
        task["environment_key"] = COMPUTE_KEY
    else:
        if compute.cluster_id:
            task["existing_cluster_id"] = compute.cluster_id
        else:
            task["job_cluster_key"] = COMPUTE_KEY
        is_wheel = request.package.endswith(".whl")
        task["libraries"] = [{"whl": request.package} if is_wheel else {"pypi": {"package": request.package}}]
    return _row("watch", module, "monitor", 1, task)


def _parameters(request: Request) -> dict[str, str]:
    """The monitor's parameters (`main.PARAMETERS` and settings)."""
    found = {"control_table": str(request.control_table)}
    if request.volume_path:
        found["volume_path"] = request.volume_path
    if request.mode == "continuous":
        found["check_interval_seconds"] = f"{request.check_interval_seconds:g}"
    else:
        found["max_iterations"] = "1"
    return {**found, **{name: request.parameters[name] for name in sorted(request.parameters)}}


def _row(source_id: str, module: str, source_type: str, order: int, config: JsonObject) -> Row:
    return Row(source_id, module, source_type, order, "{}", "{}", canonical_json(config), True)
