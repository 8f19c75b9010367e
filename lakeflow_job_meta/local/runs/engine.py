"""The run engine: admits runs, executes them, ends them, and remembers them across restarts."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import Route

from lakeflow_job_meta.local.api.errors import ApiError, invalid, job_missing
from lakeflow_job_meta.local.api.identity import workspace_id
from lakeflow_job_meta.local.api.queries import QueryStore
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs import dependencies
from lakeflow_job_meta.local.runs.environments import Environments
from lakeflow_job_meta.local.runs.execution import Execution, stopped_state
from lakeflow_job_meta.local.runs.notifications import note
from lakeflow_job_meta.local.runs.processes import Stop
from lakeflow_job_meta.local.runs.records import RepairRecord, RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.recovery import recover
from lakeflow_job_meta.local.runs.references import Scope
from lakeflow_job_meta.local.runs.requests import (
    change_for_repair,
    resolved_parameters,
    run_missing,
    tasks_to_rerun,
    with_declared,
)
from lakeflow_job_meta.local.runs.sql import NoSql
from lakeflow_job_meta.local.runs.states import BLOCKED, PENDING, RUNNING, State, admission
from lakeflow_job_meta.local.runs.store import RunStore
from lakeflow_job_meta.local.runs.tasks import Services, Sql
from lakeflow_job_meta.local.state import Database, Jobs, Secrets

log = logging.getLogger("lakeflow_job_meta.local.runs")

Json = dict[str, Any]

STOP_SECONDS = 8.0
"""How long `stop` waits for what is under way."""


@dataclass
class _Active:
    """A run that has not ended: queued, or under way."""

    run: RunRecord
    stop: Stop = field(default_factory=Stop)
    done: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    repair: RepairRecord | None = None


class RunEngine:
    """Executes runs of jobs.

    Args:
        folder: of the workspace.
        database: its state.
        jobs: the saved jobs.
        environment: DATABRICKS_HOST, DATABRICKS_TOKEN and SPARK_REMOTE for child processes.
        sql: runs SQL tasks; None: there is no Spark, and they fail.
        secrets: the workspace's secrets.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        folder: Folder,
        database: Database,
        jobs: Jobs,
        environment: Mapping[str, str],
        sql: Sql | None,
        secrets: Secrets,
        clock: Callable[[], float] = time.time,
    ) -> None:
        from lakeflow_job_meta.local.runs.triggers import Triggers

        self.store = RunStore(database)
        self.host = environment.get("DATABRICKS_HOST", "")
        self.folder = folder
        self._jobs = jobs
        self._clock = clock
        self._lock = threading.RLock()
        self._active: dict[int, _Active] = {}
        self._queues: dict[int, deque[int]] = {}
        self._stopping = False
        self._services = Services(
            folder=folder,
            environment=dict(environment),
            environments=Environments(folder),
            secrets=secrets,
            queries=QueryStore(database),
            sql=sql or NoSql(),
            children=self,
            processes=threading.Semaphore(max(16, 4 * (os.cpu_count() or 1))),
            statements=threading.Semaphore(8),
            workspace_id=str(workspace_id(database)),
        )
        self.triggers = Triggers(folder, jobs, self.store, self, clock)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Ends what a dead process left under way, takes up the queue, and starts the triggers."""
        self._recover()
        self.triggers.start()

    def stop(self) -> None:
        """Ends the triggers and every run; runs under way end as INTERNAL_ERROR."""
        self.triggers.stop()
        with self._lock:
            self._stopping = True
            active = [entry for entry in self._active.values() if entry.thread is not None]
        for entry in active:
            entry.stop.request("stopped")
        deadline = time.monotonic() + STOP_SECONDS
        for entry in active:
            entry.done.wait(max(0.0, deadline - time.monotonic()))

    def busy(self) -> bool:
        """Whether runs are under way or something may start one by itself."""
        return bool(self._active) or self.triggers.armed()

    def forget(self, job_id: int) -> None:
        """Ends the runs of a job that was deleted, and its trigger."""
        self.cancel_job(job_id)
        self.store.forget_trigger(job_id)

    def routes(self) -> list[Route]:
        """The routes of runs, Jobs API 2.1 and 2.2."""
        from lakeflow_job_meta.local.runs.api import RunsApi

        return RunsApi(self, self.store).routes()

    def _recover(self) -> None:
        queued = recover(self.store, lambda job_id: self._jobs.get(job_id) is not None, self._now())
        for run in queued:
            self._active[run.run_id] = _Active(run)
            self._queues.setdefault(run.job_id, deque()).append(run.run_id)
        for job_id in list(self._queues):
            self._admit(job_id)

    # ------------------------------------------------------------ starting runs

    def run_now(
        self,
        job_id: int,
        request: Json | None = None,
        *,
        token: str = "",
        trigger: str = "ONE_TIME",
        trigger_info: Json | None = None,
    ) -> int:
        """Starts (or queues) a run of a job.

        Args:
            request: job_parameters, notebook_params, python_params, python_named_params, sql_params,
                only, queue, as in run-now.
            token: idempotency token; a run that has it already is returned instead.
            trigger: TriggerType of the Jobs API.
            trigger_info: what references may ask about the trigger.

        Raises:
            ApiError: no such job, or a wrong request.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise job_missing(job_id)
        run = RunRecord(
            run_id=self.store.new_id(),
            job_id=job_id,
            run_type="JOB_RUN",
            name=job.settings.get("name", ""),
            settings=dict(job.settings),
            request=with_declared(request or {}, job.settings),
            trigger_type=trigger,
            trigger_info=trigger_info or {},
            created=self._now(),
        )
        return self._submit(run, token)

    def submit(self, settings: Json, *, token: str = "") -> int:
        """Starts a one-time run without a saved job; `settings` are those of runs/submit."""
        run = RunRecord(
            run_id=self.store.new_id(),
            job_id=0,
            run_type="SUBMIT_RUN",
            name=settings.get("run_name") or "Untitled",
            settings=settings,
            request={},
            created=self._now(),
        )
        return self._submit(run, token)

    def run_job(self, job_id: int, request: Json, parent: TaskRecord) -> int:
        """Starts the run of a run_job task."""
        return self.run_now(job_id, request, trigger="RUN_JOB_TASK", trigger_info={"run_id": parent.run_id})

    def _submit(self, run: RunRecord, token: str) -> int:
        if token:
            if len(token) > 64:
                raise invalid("idempotency_token must have at most 64 characters")
            found = self.store.token_run(token)
            if found is not None:
                return self._of_token(found)
        tasks = run.settings.get("tasks") or []
        if not tasks:
            raise invalid("The job has no tasks: add one before it can run")
        try:
            chosen = dependencies.select(tasks, run.request.get("only") or [])
        except KeyError as e:
            raise invalid(f"only: task {e.args[0]!r} does not exist in the job") from e
        run.request["job_parameters"] = resolved_parameters(
            run, Scope(run=run, workspace_id=self._services.workspace_id, workspace_url=self.host)
        )
        with self._lock:
            if self._stopping:
                raise ApiError(503, "TEMPORARILY_UNAVAILABLE", "The workspace is stopping.")
            run.state = self._admission(run)
            run.end_time = run.created if run.state.ended else 0
            added = self.store.add_run(run, token)
            if added != run.run_id:
                return self._of_token(added)
            if run.state.ended:
                return run.run_id
            keys = [task["task_key"] for task in tasks if not chosen or task["task_key"] in chosen]
            needing = {task["task_key"] for task in tasks if task.get("depends_on")}
            self.store.add_tasks(self._new_tasks(run, keys, needing, 0))
            self._active[run.run_id] = _Active(run)
            if run.state.life_cycle == "QUEUED":
                self._queues.setdefault(run.job_id, deque()).append(run.run_id)
            else:
                self._launch(self._active[run.run_id], keys)
        return run.run_id

    def _of_token(self, run_id: int) -> int:
        if self.store.run(run_id) is None:
            raise invalid(f"The run {run_id} of this idempotency_token was deleted.")
        return run_id

    def _new_tasks(
        self, run: RunRecord, keys: Iterable[str], needing: set[str], repair_id: int
    ) -> list[TaskRecord]:
        return [
            TaskRecord(
                run_id=self.store.new_id(),
                job_run_id=run.run_id,
                task_key=key,
                repair_id=repair_id,
                state=BLOCKED if key in needing else PENDING,
            )
            for key in keys
        ]

    def _admission(self, run: RunRecord) -> State:
        """Whether a new run starts, waits or is skipped: by max_concurrent_runs and the queue."""
        job = self._jobs.get(run.job_id)
        if job is None:
            return PENDING
        queue = run.request.get("queue") or job.settings.get("queue") or {}
        return admission(
            int(job.settings.get("max_concurrent_runs", 1)),
            self._under_way(run.job_id),
            len(self._queues.get(run.job_id, ())),
            has_queue=bool(queue.get("enabled")),
        )

    def _under_way(self, job_id: int) -> int:
        return sum(
            1 for entry in self._active.values() if entry.run.job_id == job_id and entry.thread is not None
        )

    def _admit(self, job_id: int) -> None:
        """Starts queued runs of a job as far as its limit allows."""
        with self._lock:
            waiting = self._queues.get(job_id)
            job = self._jobs.get(job_id)
            limit = int(job.settings.get("max_concurrent_runs", 1)) if job is not None else 0
            while waiting and not self._stopping and self._under_way(job_id) < limit:
                entry = self._active[waiting.popleft()]
                self._launch(entry, list(self.store.latest(entry.run.run_id)))
            if not waiting:
                self._queues.pop(job_id, None)

    # ------------------------------------------------------------ executing

    def _launch(self, entry: _Active, keys: Iterable[str]) -> None:
        run = entry.run
        run.state, run.start_time = RUNNING, run.start_time or self._now()
        run.notifications += note(run.settings, run.state, "", self._now())
        self.store.save_run(run)
        seconds = run.settings.get("timeout_seconds")
        if seconds:
            entry.stop.expire(float(seconds))
        rerun = list(keys)
        entry.thread = threading.Thread(
            target=self._execute, args=(entry, rerun), name=f"run-{run.run_id}", daemon=True
        )
        entry.thread.start()

    def _execute(self, entry: _Active, rerun: list[str]) -> None:
        run = entry.run
        try:
            state = Execution(
                self._services,
                self.store,
                run,
                self.store.latest(run.run_id),
                rerun,
                entry.stop,
                self._clock,
                entry.repair.repair_id if entry.repair is not None else 0,
            ).execute()
        except Exception as e:  # outermost boundary of a run's thread
            log.exception("run %s", run.run_id)
            state = State("INTERNAL_ERROR", "FAILED", f"{type(e).__name__}: {e}"[:1000])
        self._end(entry, state)

    def _end(self, entry: _Active, state: State) -> None:
        run = entry.run
        entry.stop.close()
        with self._lock:
            run.state, run.end_time = state, self._now()
            run.notifications += note(run.settings, state, "", run.end_time)
            self.store.save_run(run)
            if entry.repair is not None:
                entry.repair.state, entry.repair.end_time = state, run.end_time
                self.store.save_repair(entry.repair)
            self._active.pop(run.run_id, None)
        entry.done.set()
        self.triggers.ended(run)
        self._admit(run.job_id)

    # ------------------------------------------------------------ ending and repairing

    def wait(self, run_id: int, stop: Stop) -> State:
        """The state of a run when it has ended, or as it is when `stop` asks first."""
        with self._lock:
            entry = self._active.get(run_id)
        if entry is not None:
            wake = threading.Event()
            with stop.listen(wake.set):
                while not entry.done.wait(0.1) and not wake.is_set():
                    pass
        run = self.store.run(run_id)
        return run.state if run is not None else State("INTERNAL_ERROR", "FAILED", "The run was deleted.")

    def cancel(self, run_id: int) -> None:
        """Asks a run to end; nothing happens when it has ended already."""
        with self._lock:
            entry = self._active.get(run_id)
            if entry is None:
                return
            if entry.thread is not None:
                entry.run.state = State("TERMINATING", message="Canceling the run.")
                self.store.save_run(entry.run)
            else:
                waiting = self._queues.get(entry.run.job_id, deque())
                if run_id not in waiting:
                    return  # somebody else cancels it just now
                waiting.remove(run_id)
        if entry.thread is not None:
            entry.stop.request("canceled")
            return
        for task in self.store.unfinished_tasks(run_id):
            task.state, task.end_time = stopped_state("canceled"), self._now()
            self.store.save_task(task)
        self._end(entry, stopped_state("canceled"))

    def cancel_job(self, job_id: int | None, *, queued_only: bool = False) -> None:
        """Asks all active runs of a job (None: of all jobs) to end."""
        with self._lock:
            chosen = [
                entry.run.run_id
                for entry in self._active.values()
                if (job_id is None or entry.run.job_id == job_id)
                and not (queued_only and entry.thread is not None)
            ]
        for run_id in sorted(chosen, reverse=True):  # the newest first: what waits must not start in between
            self.cancel(run_id)

    def active_runs(self, job_id: int) -> int:
        """How many runs of a job have not ended."""
        with self._lock:
            return sum(1 for entry in self._active.values() if entry.run.job_id == job_id)

    def delete(self, run_id: int) -> None:
        """Deletes a run that has ended.

        Raises:
            ApiError: there is none, or it is active.
        """
        if self.store.run(run_id) is None:
            raise run_missing(run_id)
        if run_id in self._active:
            raise invalid(f"Cannot delete an active run: cancel run {run_id} first.")
        self.store.delete_run(run_id)

    def repair(self, run_id: int, request: Json) -> int:
        """Runs tasks of an ended run again, with the job's settings of today.

        Args:
            request: rerun_tasks or rerun_all_failed_tasks, rerun_dependent_tasks, latest_repair_id,
                and the parameters of run-now.

        Returns:
            The id of the repair.

        Raises:
            ApiError: the run is active, or the request is wrong.
        """
        with self._lock:
            run = self.store.run(run_id)
            if run is None:
                raise run_missing(run_id)
            if run_id in self._active:
                raise invalid(f"Cannot repair run {run_id}: it is still active.")
            repairs = self.store.repairs(run_id)
            if repairs and request.get("latest_repair_id") not in (
                repairs[-1].repair_id,
                str(repairs[-1].repair_id),
            ):
                raise invalid(f"latest_repair_id must be {repairs[-1].repair_id}")
            job = self._jobs.get(run.job_id)
            change_for_repair(run, request, job.settings if job is not None else None)
            latest = self.store.latest(run_id)
            keys = tasks_to_rerun(request, run.settings.get("tasks") or [], latest)
            repair = RepairRecord(self.store.new_id(), run_id, self._now())
            entry = _Active(run, repair=repair)
            self.store.save_repair(repair)
            needing = {t["task_key"] for t in run.settings.get("tasks") or [] if t.get("depends_on")}
            self.store.add_tasks(self._new_tasks(run, keys, needing, repair.repair_id))
            run.end_time = 0
            self._active[run_id] = entry
            self._launch(entry, keys)
        return repair.repair_id

    def _now(self) -> int:
        return int(self._clock() * 1000)
