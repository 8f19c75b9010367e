"""The platform's quirks as data, each with its reason. The test of this file: a plan after an apply is empty.

Paths are patterns: dots between fields, `[]` for the elements of a list. The inner task of a
for_each_task counts as an element of `tasks`. The docs' list of ignored fields is generated from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: Stands for "whatever the server says" in a server default.
ANY: Final = object()

#: Fields of a saved query that hold for its creation only: the API moves no query.
CREATE_ONLY: Final = ("parent_path",)

#: The blocks that start a job by themselves; each has a pause_status.
TRIGGERS: Final = ("schedule", "trigger", "continuous")


@dataclass(frozen=True, slots=True)
class ServerDefault:
    """A value that the server fills in on read when the request does not say it.

    It hides a difference only where the metadata is silent and the workspace has this very value.
    """

    path: str
    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class ListKey:
    """How the elements of a list are told apart: by these fields, whatever their order."""

    path: str
    fields: tuple[str, ...]
    reason: str


LIST_KEYS: Final = (
    ListKey("tasks", ("task_key",), "the Jobs API merges tasks by task_key"),
    ListKey("tasks[].depends_on", ("task_key",), "a set of edges"),
    ListKey("job_clusters", ("job_cluster_key",), "the Jobs API merges clusters by job_cluster_key"),
    ListKey("environments", ("environment_key",), "the Jobs API merges environments by environment_key"),
    ListKey("parameters", ("name",), "the Jobs API merges parameters by name"),
    ListKey(
        "permissions", ("user_name", "group_name", "service_principal_name"), "one entry for each principal"
    ),
)

#: Lists whose order the server does not keep or that mean a set.
SETS: Final[Mapping[str, str]] = {
    "email_notifications.*": "recipients are a set",
    "webhook_notifications.*": "the server returns webhooks in any order",
    "tasks[].email_notifications.*": "recipients are a set",
    "tasks[].webhook_notifications.*": "the server returns webhooks in any order",
    "tasks[].libraries": "libraries are a set",
    "health.rules": "rules are a set",
    "tasks[].health.rules": "rules are a set",
    "trigger.table_update.table_names": "tables are a set",
    "git_source.sparse_checkout.patterns": "patterns are a set",
}

#: Blocks that say something by being there, even when they are empty.
PRESENCE: Final[Mapping[str, str]] = {
    "continuous": "a job with this block runs again and again, one without it does not",
    "triggers[].continuous": "the same, as one of several triggers",
}

_CLUSTER_DEFAULTS = (
    ("aws_attributes", ANY, "the cloud's cluster defaults are filled in"),
    ("azure_attributes", ANY, "the cloud's cluster defaults are filled in"),
    ("gcp_attributes", ANY, "the cloud's cluster defaults are filled in"),
    ("data_security_mode", ANY, "chosen by the workspace when not said"),
    ("single_user_name", ANY, "follows run_as for single-user clusters"),
    ("driver_node_type_id", ANY, "the worker's node type when not said"),
    ("enable_elastic_disk", ANY, "the cloud's default"),
    ("enable_local_disk_encryption", False, "off when not said"),
    ("num_workers", 0, "0 when not said"),
    ("runtime_engine", ANY, "follows spark_version when not said"),
)

_TASK_DEFAULTS = (
    ("run_if", "ALL_SUCCESS", "filled in on every task"),
    ("timeout_seconds", 0, "no time-out"),
    ("max_retries", 0, "no retries"),
    ("min_retry_interval_millis", 0, "no wait"),
    ("retry_on_timeout", False, "off when not said"),
    ("disable_auto_optimization", False, "off when not said"),
    ("disabled", False, "off when not said"),
    ("notebook_task.source", "WORKSPACE", "filled in when there is no git_source"),
    ("spark_python_task.source", "WORKSPACE", "filled in when there is no git_source"),
    ("sql_task.file.source", "WORKSPACE", "filled in when there is no git_source"),
    ("dbt_task.source", "WORKSPACE", "filled in when there is no git_source"),
    ("gen_ai_compute_task.source", "WORKSPACE", "filled in when there is no git_source"),
    ("notification_settings.no_alert_for_skipped_runs", False, "off when not said"),
    ("notification_settings.no_alert_for_canceled_runs", False, "off when not said"),
    ("notification_settings.alert_on_last_attempt", False, "off when not said"),
    ("email_notifications.no_alert_for_skipped_runs", False, "off when not said"),
)

SERVER_DEFAULTS: Final = (
    ServerDefault("format", "MULTI_TASK", "filled in on every job since Jobs API 2.1"),
    ServerDefault("timeout_seconds", 0, "no time-out"),
    ServerDefault("max_concurrent_runs", 1, "one run at a time"),
    ServerDefault("queue.enabled", True, "Jobs API 2.2 queues runs by default"),
    ServerDefault("edit_mode", "EDITABLE", "filled in on every job"),
    ServerDefault("run_as", ANY, "filled in with the creator; it cannot be unset"),
    ServerDefault("performance_target", ANY, "chosen by the workspace when not said"),
    ServerDefault("notification_settings.no_alert_for_skipped_runs", False, "off when not said"),
    ServerDefault("notification_settings.no_alert_for_canceled_runs", False, "off when not said"),
    ServerDefault("email_notifications.no_alert_for_skipped_runs", False, "off when not said"),
    ServerDefault("schedule.pause_status", ANY, "a pause made in the workspace is respected"),
    ServerDefault("trigger.pause_status", ANY, "a pause made in the workspace is respected"),
    ServerDefault("continuous.pause_status", ANY, "a pause made in the workspace is respected"),
    ServerDefault("continuous.task_retry_mode", "NEVER", "filled in when not said"),
    ServerDefault("trigger.table_update.condition", "ANY_UPDATED", "filled in when not said"),
    ServerDefault(
        "environments[].spec.client", ANY, "the old name of environment_version is kept equal to it"
    ),
    *(ServerDefault(f"tasks[].{path}", value, reason) for path, value, reason in _TASK_DEFAULTS),
    *(
        ServerDefault(f"tasks[].new_cluster.{path}", value, reason)
        for path, value, reason in _CLUSTER_DEFAULTS
    ),
    *(
        ServerDefault(f"job_clusters[].new_cluster.{path}", value, reason)
        for path, value, reason in _CLUSTER_DEFAULTS
    ),
)

DEFAULT_BY_PATH: Final[Mapping[str, Any]] = {default.path: default.value for default in SERVER_DEFAULTS}
#: With a git_source the server fills in GIT as the source of a task that says none.
DEFAULT_BY_PATH_WITH_GIT: Final[Mapping[str, Any]] = {
    path: "GIT" if value == "WORKSPACE" else value for path, value in DEFAULT_BY_PATH.items()
}
KEY_BY_PATH: Final[Mapping[str, tuple[str, ...]]] = {key.path: key.fields for key in LIST_KEYS}


def is_set(path: str) -> bool:
    """Whether the list at this pattern means a set."""
    return path in SETS or f"{path.rpartition('.')[0]}.*" in SETS


def child(path: str, field: str) -> str:
    """The pattern of `field` below the pattern `path`; for_each's inner task counts as a task."""
    if field == "task" and path == "tasks[].for_each_task":
        return "tasks[]"
    return f"{path}.{field}" if path else field
