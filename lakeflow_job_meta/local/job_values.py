"""JSON types and allowed values of JobSettings and tasks (Jobs API 2.2), as data for `validation`."""

from __future__ import annotations

_SOURCES = ("WORKSPACE", "GIT")
_PAUSE = ("PAUSED", "UNPAUSED")

#: Allowed values by path below a task. A value that the API does not know is refused.
TASK_ENUMS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("run_if",),
        (
            "ALL_SUCCESS",
            "ALL_DONE",
            "NONE_FAILED",
            "AT_LEAST_ONE_SUCCESS",
            "ALL_FAILED",
            "AT_LEAST_ONE_FAILED",
        ),
    ),
    (("notebook_task", "source"), _SOURCES),
    (("spark_python_task", "source"), _SOURCES),
    (("sql_task", "file", "source"), _SOURCES),
    (("dbt_task", "source"), _SOURCES),
    (
        ("condition_task", "op"),
        ("EQUAL_TO", "NOT_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "LESS_THAN", "LESS_THAN_OR_EQUAL"),
    ),
)
JOB_ENUMS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("format",), ("MULTI_TASK", "SINGLE_TASK")),
    (("edit_mode",), ("UI_LOCKED", "EDITABLE")),
    (("performance_target",), ("PERFORMANCE_OPTIMIZED", "STANDARD")),
    (("schedule", "pause_status"), _PAUSE),
    (("trigger", "pause_status"), _PAUSE),
    (("continuous", "pause_status"), _PAUSE),
    (("continuous", "task_retry_mode"), ("NEVER", "ON_FAILURE")),
    (("trigger", "table_update", "condition"), ("ANY_UPDATED", "ALL_UPDATED")),
    (("trigger", "periodic", "unit"), ("MINUTES", "HOURS", "DAYS", "WEEKS")),
    (
        ("git_source", "git_provider"),
        (
            "gitHub",
            "bitbucketCloud",
            "azureDevOpsServices",
            "gitHubEnterprise",
            "bitbucketServer",
            "gitLab",
            "gitLabEnterpriseEdition",
            "awsCodeCommit",
        ),
    ),
)
JOB_TYPES: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "description": str,
    "tasks": list,
    "job_clusters": list,
    "environments": list,
    "parameters": list,
    "tags": dict,
    "schedule": dict,
    "trigger": dict,
    "continuous": dict,
    "queue": dict,
    "run_as": dict,
    "git_source": dict,
    "health": dict,
    "email_notifications": dict,
    "webhook_notifications": dict,
    "notification_settings": dict,
    "timeout_seconds": int,
    "max_concurrent_runs": int,
}
TASK_TYPES: dict[str, type | tuple[type, ...]] = {
    "task_key": str,
    "depends_on": list,
    "description": str,
    "environment_key": str,
    "job_cluster_key": str,
    "existing_cluster_id": str,
    "new_cluster": dict,
    "libraries": list,
    "max_retries": int,
    "min_retry_interval_millis": int,
    "timeout_seconds": int,
    "retry_on_timeout": bool,
    "disabled": bool,
}
