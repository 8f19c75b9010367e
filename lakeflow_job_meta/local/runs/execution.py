"""One job run under way: its graph of tasks, their attempts, their end."""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from lakeflow_job_meta.errors import LakeflowJobMetaError
from lakeflow_job_meta.local.runs import dependencies
from lakeflow_job_meta.local.runs.notifications import note
from lakeflow_job_meta.local.runs.processes import Stop
from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.references import NO_INPUT, Scope, SecretMissing, text_of
from lakeflow_job_meta.local.runs.states import PENDING, RUNNING, STOPPED, SUCCESS, State, ended, run_result
from lakeflow_job_meta.local.runs.store import RunStore
from lakeflow_job_meta.local.runs.task_types import IN_PROCESSES, kind_of, run_task
from lakeflow_job_meta.local.runs.tasks import Services, TaskContext, TaskFailure

log = logging.getLogger("lakeflow_job_meta.local.runs")

Json = dict[str, Any]

_PARALLEL = 100
"""Tasks of one run that are under way at once."""
_ENDLESS_RETRY_SECONDS = 1.0
"""A task that is retried for ever is not retried more often than this."""
_NEVER_RETRIED = "INVALID_RUN_CONFIGURATION"

_STOPS = {
    "canceled": State("TERMINATED", "CANCELED", "Run was canceled."),
    "timedout": State("TERMINATED", "TIMEDOUT", "Run timed out."),
    "stopped": STOPPED,
}


def stopped_state(reason: str) -> State:
    """The state of what was asked to stop for a reason."""
    return _STOPS[reason]


class Execution:
    """Runs the tasks of one job run, or of one repair of it.

    Args:
        services: of the workspace.
        store: where records go.
        run: the job run.
        records: the newest record of every task of the run, by key.
        rerun: keys of the tasks to run; the others keep the results that they have.
        stop: asks the whole run to end.
        clock: seconds since the epoch.
        repair_id: of the repair, 0 for the original run.
    """

    def __init__(
        self,
        services: Services,
        store: RunStore,
        run: RunRecord,
        records: dict[str, TaskRecord],
        rerun: Iterable[str],
        stop: Stop,
        clock: Callable[[], float],
        repair_id: int = 0,
    ) -> None:
        self._services = services
        self._store = store
        self._run = run
        self._records = records
        self._stop = stop
        self._clock = clock
        self._repair_id = repair_id
        self._rerun = set(rerun)
        chosen = set(records)
        self._tasks = {
            task["task_key"]: task for task in run.settings.get("tasks") or [] if task["task_key"] in chosen
        }
        self._values = store.values(run.run_id)
        self._repairs = len(store.repairs(run.run_id))
        self._attempts: dict[str, int] = {}
        for record in store.attempts(run.run_id):
            self._attempts[record.task_key] = self._attempts.get(record.task_key, 0) + 1
        self._lock = threading.Lock()

    def execute(self) -> State:
        """Runs everything; returns the state of the job run."""
        finished: queue.SimpleQueue[str] = queue.SimpleQueue()
        waiting, dependents = self._graph()
        ready = deque(key for key, needs in waiting.items() if not needs)
        active: set[str] = set()
        while ready or active:
            while ready and len(active) < _PARALLEL:
                key = ready.popleft()
                if self._starts(key):
                    active.add(key)
                    if kind_of(self._tasks[key]) == "condition_task":
                        self._task(key, finished)
                    else:
                        threading.Thread(
                            target=self._task,
                            args=(key, finished),
                            name=f"task-{self._run.run_id}-{key}",
                            daemon=True,
                        ).start()
                else:
                    ready.extend(_released(key, waiting, dependents))
            if active:
                key = finished.get()
                active.discard(key)
                ready.extend(_released(key, waiting, dependents))
        return self._result()

    def _graph(self) -> tuple[dict[str, set[str]], dict[str, list[str]]]:
        waiting: dict[str, set[str]] = {}
        dependents: dict[str, list[str]] = {}
        for key, task in self._tasks.items():
            if key not in self._rerun:
                continue
            needs = (
                {item["task_key"] for item in task.get("depends_on") or []} & self._rerun & set(self._tasks)
            )
            waiting[key] = needs
            for need in needs:
                dependents.setdefault(need, []).append(key)
        return waiting, dependents

    def _starts(self, key: str) -> bool:
        """Whether the task runs; when it does not, its record says why."""
        record, task = self._records[key], self._tasks[key]
        if self._stop.reason:
            self._finish(record, stopped_state(self._stop.reason))
            return False
        needs = [
            item["task_key"] for item in task.get("depends_on") or [] if item["task_key"] in self._records
        ]
        with self._lock:
            results = {need: self._records[need].state.result for need in needs}
            outcomes = {need: self._records[need].output.get("outcome", "") for need in needs}
        verdict = dependencies.judge(task, results, outcomes)
        if verdict.runs:
            return True
        self._finish(record, ended(verdict.result, verdict.message))
        return False

    def _finish(self, record: TaskRecord, state: State) -> None:
        now = self._now()
        record.start_time = record.start_time or now
        record.end_time, record.state = now, state
        self._store.save_task(record)

    def _task(self, key: str, finished: queue.SimpleQueue[str]) -> None:
        try:
            self._attempt_all(self._tasks[key], self._records[key], NO_INPUT, self._stop)
        except BaseException as e:  # outermost boundary of a task's thread: the run must go on
            self._finish(self._records[key], State("INTERNAL_ERROR", "FAILED", f"{type(e).__name__}: {e}"))
            log.exception("task %s of run %s", key, self._run.run_id)
        finally:
            finished.put(key)

    def _attempt_all(self, task: Json, record: TaskRecord, given: Any, stop: Stop) -> TaskRecord:
        """Runs a task until it succeeds or may not be tried again; returns the last attempt."""
        while True:
            self._attempt(task, record, given, stop)
            self._notify(task, record)
            if stop.reason or not _may_retry(task, record):
                return record
            failed, record = record, self._next_attempt(record)
            interval = (task.get("min_retry_interval_millis") or 0) / 1000
            if task.get("max_retries") == -1:
                interval = max(interval, _ENDLESS_RETRY_SECONDS)
            # The platform counts the interval from the start of the failed attempt.
            if stop.wait(max(0.0, failed.start_time / 1000 + interval - self._clock())):
                self._finish(record, stopped_state(stop.reason))
                return record

    def _next_attempt(self, failed: TaskRecord) -> TaskRecord:
        record = TaskRecord(
            run_id=self._store.new_id(),
            job_run_id=failed.job_run_id,
            task_key=failed.task_key,
            parent_id=failed.parent_id,
            iteration=failed.iteration,
            input=failed.input,
            attempt=failed.attempt + 1,
            original_id=failed.original_id or failed.run_id,
            repair_id=failed.repair_id,
            state=State("WAITING_FOR_RETRY", message=failed.state.message),
            start_time=self._now(),
        )
        self._store.add_tasks([record])
        if not failed.parent_id:
            with self._lock:
                self._records[failed.task_key] = record
                self._attempts[failed.task_key] = self._attempts.get(failed.task_key, 1) + 1
        return record

    def _attempt(self, task: Json, record: TaskRecord, given: Any, stop: Stop) -> None:
        own = Stop(stop)
        record.state, record.start_time = PENDING, self._now()
        self._store.save_task(record)
        slots = self._services.processes if kind_of(task) in IN_PROCESSES else None
        try:
            if slots is not None and not _acquire(slots, own):
                self._finish(record, stopped_state(own.reason))
                return
            try:
                record.state, record.start_time = RUNNING, self._now()
                self._store.save_task(record)
                if task.get("timeout_seconds"):
                    own.expire(float(task["timeout_seconds"]))
                state = self._run_one(task, record, given, own)
            finally:
                if slots is not None:
                    slots.release()
        finally:
            own.close()
        self._take_values(record)
        self._finish(record, state)

    def _run_one(self, task: Json, record: TaskRecord, given: Any, stop: Stop) -> State:
        redact = self._services.redactor()
        try:
            scope = self._scope(task, record, given)
            context = TaskContext(
                services=self._services,
                run=self._run,
                task=_expand(task, scope),
                settings=self._run.settings,
                record=record,
                scope=scope,
                stop=stop,
                redact=redact,
                save=lambda: self._store.save_task(record),
                values=self._values,
                iterate=lambda inner, value, index: self._iterate(inner, value, index, record, stop),
            )
            run_task(context)
        except TaskFailure as e:
            error, trace, code = e.message, e.trace, e.code
        except SecretMissing as e:
            error, trace, code = str(e), "", "RESOURCE_NOT_FOUND"
        except LakeflowJobMetaError as e:  # a refusal of the workspace's own: its message says it all
            error, trace, code = str(e), "", "RUN_EXECUTION_ERROR"
        except Exception as e:  # noqa: BLE001  # outermost boundary of a runner: whatever a task raises is its result
            error = f"{type(e).__name__}: {e}"
            trace, code = "".join(traceback.format_exception(e)), "RUN_EXECUTION_ERROR"
        else:
            return SUCCESS if not stop.reason else self._stopped(task, stop.reason)
        # The secrets are read anew: the task itself may have made one.
        redact = self._services.redactor()
        record.error, record.error_trace = redact(error), redact(trace)
        if stop.reason:
            return self._stopped(task, stop.reason)
        return State("TERMINATED", "FAILED", record.error.strip()[:1000], code)

    def _stopped(self, task: Json, reason: str) -> State:
        if reason == "timedout" and not self._stop.reason:
            return State(
                "TERMINATED", "TIMEDOUT", f"Task timed out after {task.get('timeout_seconds')} seconds."
            )
        return stopped_state(reason)

    def _iterate(self, inner: Json, value: Any, index: int, parent: TaskRecord, stop: Stop) -> TaskRecord:
        record = TaskRecord(
            run_id=self._store.new_id(),
            job_run_id=self._run.run_id,
            task_key=inner["task_key"],
            parent_id=parent.run_id,
            iteration=index,
            input=self._services.redactor()(text_of(value)),
            repair_id=self._repair_id,
            start_time=self._now(),
        )
        self._store.add_tasks([record])
        return self._attempt_all(inner, record, value, stop)

    def _scope(self, task: Json, record: TaskRecord, given: Any) -> Scope:
        with self._lock:
            tasks = dict(self._records)
            executions = self._attempts.get(record.task_key, 1)
        return Scope(
            run=self._run,
            task=record,
            tasks=tasks,
            values=self._values,
            settings=task,
            input=given,
            workspace_id=self._services.workspace_id,
            workspace_url=self._services.environment.get("DATABRICKS_HOST", ""),
            executions=executions,
            repairs=self._repairs,
            secret=self._services.secret,
        )

    def _take_values(self, record: TaskRecord) -> None:
        """Task values that the attempt set are there for the tasks behind it."""
        values = record.output.pop("values", None)
        if values:
            self._store.set_values(self._run.run_id, record.task_key, values)
            with self._lock:
                merged = {**self._values.get(record.task_key, {}), **values}
                self._values = {**self._values, record.task_key: merged}

    def _notify(self, task: Json, record: TaskRecord) -> None:
        notes = note(task, record.state, record.task_key, self._now())
        if notes:
            with self._lock:
                self._run.notifications.extend(notes)

    def _result(self) -> State:
        reason = self._stop.reason
        if reason:
            if reason == "timedout":
                seconds = self._run.settings.get("timeout_seconds")
                return State("TERMINATED", "TIMEDOUT", f"Run timed out after {seconds} seconds.")
            return stopped_state(reason)
        leaves = dependencies.leaves(self._tasks.values())
        results = {key: self._records[key].state.result for key in self._tasks}
        result = run_result((results[key] for key in leaves if key in results), results.values())
        if result in ("SUCCESS", "SUCCESS_WITH_FAILURES"):
            return State("TERMINATED", result)
        return State("TERMINATED", result, self._why(result))

    def _why(self, result: str) -> str:
        for kind, verb in (("FAILED", "failed"), ("TIMEDOUT", "timed out"), ("CANCELED", "was canceled")):
            found = [record for record in self._records.values() if record.state.result == kind]
            if found and (kind == result or result == "FAILED"):
                first = min(found, key=lambda record: record.end_time)
                return f"Task {first.task_key} {verb} with message: {first.state.message}"
        return ""

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _released(key: str, waiting: dict[str, set[str]], dependents: dict[str, list[str]]) -> list[str]:
    found = []
    for dependent in dependents.get(key, ()):
        waiting[dependent].discard(key)
        if not waiting[dependent]:
            found.append(dependent)
    return found


def _acquire(slots: threading.Semaphore, stop: Stop) -> bool:
    while not slots.acquire(timeout=0.2):
        if stop.reason:
            return False
    return True


def _expand(task: Json, scope: Scope) -> Json:
    """The task with references replaced; the inner task of a for_each waits for its own scope."""
    expanded: Json = scope.expand({name: value for name, value in task.items() if name != "for_each_task"})
    loop = task.get("for_each_task")
    if loop is not None:
        outer = scope.expand({name: value for name, value in loop.items() if name != "task"})
        expanded["for_each_task"] = {**outer, "task": loop["task"]}
    return expanded


def _may_retry(task: Json, record: TaskRecord) -> bool:
    if kind_of(task) == "condition_task" or record.state.code == _NEVER_RETRIED:
        return False
    if record.state.result == "TIMEDOUT":
        if not task.get("retry_on_timeout"):
            return False
    elif record.state.result != "FAILED":
        return False
    retries = task.get("max_retries") or 0
    return retries == -1 or record.attempt < retries
