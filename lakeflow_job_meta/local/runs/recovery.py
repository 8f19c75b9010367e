"""After the death of the process: what was under way is ended, what was queued is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable

from lakeflow_job_meta.local.runs.processes import kill_orphan
from lakeflow_job_meta.local.runs.records import RunRecord
from lakeflow_job_meta.local.runs.states import STOPPED
from lakeflow_job_meta.local.runs.store import RunStore

log = logging.getLogger("lakeflow_job_meta.local.runs")


def recover(store: RunStore, has_job: Callable[[int], bool], now: int) -> list[RunRecord]:
    """Ends the runs that a dead process left under way, and kills what is left of their processes.

    Args:
        has_job: whether the job of an id exists.
        now: ms since 1970.

    Returns:
        The queued runs, oldest first.
    """
    queued = []
    for run in reversed(store.runs(active=True, limit=-1)):
        if run.state.life_cycle == "QUEUED" and has_job(run.job_id):
            queued.append(run)
        else:
            _end(store, run, now)
    return queued


def _end(store: RunStore, run: RunRecord, now: int) -> None:
    for task in store.unfinished_tasks(run.run_id):
        if kill_orphan(task.pid, task.pid_started):
            log.warning(
                "killed process group %s of task %s, left by a dead workspace", task.pid, task.task_key
            )
        task.state, task.end_time, task.pid = STOPPED, now, 0
        store.save_task(task)
    run.state, run.end_time = STOPPED, now
    store.save_run(run)
    for repair in store.repairs(run.run_id):
        if not repair.state.ended:
            repair.state, repair.end_time = STOPPED, now
            store.save_repair(repair)
