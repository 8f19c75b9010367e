"""A run, a task run, a repair: what is kept of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.local.runs.states import PENDING, State

Json = dict[str, Any]


@dataclass(slots=True)
class RunRecord:
    """A run of a job, or a one-time run. Times in ms since 1970, 0 when not yet.

    `request` holds what run-now or submit asked for: job_parameters (values by name, defaults
    merged in), notebook_params, python_params, python_named_params, sql_params, only, queue.
    """

    run_id: int
    job_id: int
    run_type: str
    name: str
    settings: Json
    request: Json
    trigger_type: str = "ONE_TIME"
    trigger_info: Json = field(default_factory=dict)
    state: State = PENDING
    created: int = 0
    start_time: int = 0
    end_time: int = 0
    notifications: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class TaskRecord:
    """One attempt of a task, or of one iteration of a for_each task (then `parent_id` is set)."""

    run_id: int
    job_run_id: int
    task_key: str
    parent_id: int = 0
    iteration: int = -1
    input: str | None = None
    attempt: int = 0
    original_id: int = 0
    repair_id: int = 0
    state: State = PENDING
    start_time: int = 0
    end_time: int = 0
    setup_ms: int = 0
    output: Json = field(default_factory=dict)
    error: str = ""
    error_trace: str = ""
    pid: int = 0
    pid_started: str = ""


@dataclass(slots=True)
class RepairRecord:
    """A repair of a job run."""

    repair_id: int
    job_run_id: int
    start_time: int
    end_time: int = 0
    state: State = PENDING
