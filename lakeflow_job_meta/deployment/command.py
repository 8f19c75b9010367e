"""The command line that makes a deployment, or the one that is there again: what doctor tells people to run. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from lakeflow_job_meta.deployment.monitor_jobs import MONITOR, ON_FILES, ON_ROWS
from lakeflow_job_meta.deployment.request import DEFAULT_CRON, SHORTEST_WAIT, Mode
from lakeflow_job_meta.names import TableName

JsonObject = dict[str, Any]
#: Parameters of the monitor that have flags of their own, or follow from the mode.
_OWN = {"control_table", "volume_path", "check_interval_seconds", "max_iterations"}


def deploy_command(
    control_table: TableName,
    applied: Mapping[str, JsonObject],
    *,
    reach: Sequence[str] = (),
    volume_path: str = "",
    serverless: bool = False,
) -> str:
    """`lakeflow-job-meta deploy ...` with what differs from its defaults.

    Args:
        applied: settings written last to the monitor's jobs, by module; empty where nothing was deployed.
        reach: flags that lead to the workspace (`--profile`, `--warehouse-id`, `--local`).
        volume_path: to watch; empty: the deployed monitor's.
        serverless: whatever compute the monitor has now.
    """
    job = applied.get(MONITOR) or {}
    task = (job.get("tasks") or [{}])[0]
    parameters: Mapping[str, str] = (task.get("python_wheel_task") or {}).get("named_parameters") or {}
    words = ["--control-table", str(control_table), *reach]
    if watched := volume_path or parameters.get("volume_path", ""):
        words += ["--volume-path", watched]
    words += [*_mode(job, applied), *_compute(task, serverless)]
    if parameters.get("check_interval_seconds", "60") != "60":
        words += ["--check-interval-seconds", parameters["check_interval_seconds"]]
    if runs_as := job.get("run_as"):
        words += ["--run-as", next(iter(runs_as.values()))]
    for name in sorted(parameters.keys() - _OWN):
        words += _setting(name, parameters[name])
    return shlex.join(["lakeflow-job-meta", "deploy", *words])


def _mode(job: JsonObject, applied: Mapping[str, JsonObject]) -> list[str]:
    schedule = job.get("schedule")
    if not schedule:
        return []
    mode: Mode = "triggered" if ON_ROWS in applied else "scheduled"
    words = ["--mode", mode]
    if schedule["quartz_cron_expression"] != DEFAULT_CRON[mode]:
        words += ["--cron", schedule["quartz_cron_expression"]]
    if schedule.get("timezone_id", "UTC") != "UTC":
        words += ["--timezone", schedule["timezone_id"]]
    for module in (ON_ROWS, ON_FILES):
        trigger = (applied.get(module) or {}).get("trigger") or {}
        for kind in trigger.values():
            wait = kind.get("wait_after_last_change_seconds", 0) if isinstance(kind, dict) else SHORTEST_WAIT
            if wait != SHORTEST_WAIT:
                return [*words, "--wait-seconds", str(wait)]
    return words


def _compute(task: JsonObject, serverless: bool) -> list[str]:
    if serverless:
        return ["--serverless"]
    if task.get("existing_cluster_id"):
        return ["--cluster-id", task["existing_cluster_id"]]
    return ["--job-cluster", "FILE"] if task.get("job_cluster_key") else []


def _setting(name: str, value: str) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if name == "variables":
        return [word for key, text in json.loads(value).items() for word in ("--var", f"{key}={text}")]
    if value in ("true", "false"):
        return [flag if value == "true" else f"--no-{flag[2:]}"]
    return [flag, value]
