"""Record: the end of a sync. Runs whatever became of bronze and silver, so that a failure is always recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakeflow_job_meta.datasets.failures import Failure
from lakeflow_job_meta.datasets.model import Phase, Status, Step
from lakeflow_job_meta.datasets.sync import Sync
from lakeflow_job_meta.ports import Run, TaskRun

JsonObject = dict[str, Any]
_WORDS = {"TIMEDOUT": "timeout", "CANCELED": "canceled", "UPSTREAM_CANCELED": "canceled"}


def end(sync: Sync, run: Run | None, keys: dict[Phase, str]) -> tuple[Status, JsonObject]:
    """Write how the sync ended; returns the status and a summary.

    Args:
        run: of the job, as the workspace has it; None when it cannot be asked.
        keys: task keys of the phases.
    """
    steps = sync.steps()
    done = {phase: _last(steps, phase, "succeeded") for phase in (Phase.BRONZE, Phase.SILVER)}
    bronze, silver = done[Phase.BRONZE], done[Phase.SILVER]
    known: JsonObject = {
        "bronze_table": bronze.table if bronze else None,
        "silver_table": silver.table if silver else None,
        "row_count_bronze": bronze.rows_out if bronze else None,
        "row_count_silver": silver.rows_out if silver else None,
    }
    if bronze is not None and silver is not None:
        sync.event(Status.SYNCED, **known)
        flags = [flag for step in (bronze, silver) for flag in step.detail.get("flags", ())]
        return Status.SYNCED, {**known, "row_count_local": sync.row_count_local, "flags": flags}
    phase = Phase.SILVER if bronze is not None else Phase.BRONZE
    failure = _failure(steps, phase, run, keys)
    sync.event(
        Status.FAILED,
        phase,
        **known,
        error_class=failure.error_class,
        error=failure.error,
        retryable=failure.retryable,
    )
    return Status.FAILED, {
        **known,
        "phase": phase.value,
        "error_class": failure.error_class,
        "error": failure.error,
    }


def _last(steps: Sequence[Step], phase: Phase, outcome: str) -> Step | None:
    return next((one for one in reversed(steps) if one.phase is phase and one.outcome == outcome), None)


def _failure(steps: Sequence[Step], phase: Phase, run: Run | None, keys: dict[Phase, str]) -> Failure:
    """Why the phase failed: what its last attempt wrote, or else what the workspace says of its task."""
    step = _last(steps, phase, "failed")
    task = _task(run, keys.get(phase, ""))
    if task is not None and task.result_state in _WORDS:
        word = _WORDS[task.result_state]
        told = "took longer than its timeout" if word == "timeout" else "was canceled"
        return Failure(
            word, f"the {phase.value} task {told}: {task.message or task.result_state}", word == "timeout"
        )
    if step is not None:
        return Failure(step.error_class or "task", step.error, bool(step.retryable))
    state = (task.result_state or task.life_cycle_state) if task is not None else ""
    if state.startswith("UPSTREAM"):
        return Failure(
            "upstream", f"the {phase.value} task did not run: a task that it waits for failed ({state})", True
        )
    message = task.message if task is not None else ""
    return Failure(
        "task_died",
        f"the {phase.value} task ended without a word{f' ({state}: {message})' if state else ''}: see its run",
        True,
    )


def _task(run: Run | None, key: str) -> TaskRun | None:
    if run is None:
        return None
    return next((one for one in run.tasks if one.task_key == key), None)
