"""The Jobs API 2.2 as the port `Jobs`: wire dicts in and out, all pages merged."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lakeflow_job_meta.adapters.databricks_calls import Calls
from lakeflow_job_meta.errors import InvalidRequest, NotFound
from lakeflow_job_meta.ports import JsonObject, RemoteJob, Run, TaskRun

JOBS = "/api/2.2/jobs"
PAGE = 100
#: runs/list allows no more.
RUNS_PAGE = 25
#: Arrays of JobSettings that come in pages of 100; further pages hold nothing else that is new.
PAGED = ("tasks", "job_clusters", "parameters", "environments")


class DatabricksJobs:
    """Implements `ports.Jobs`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def get(self, job_id: int) -> RemoteJob | None:
        what = f"read job {job_id}"
        merged: JsonObject | None = None
        query: JsonObject = {"job_id": job_id}
        while True:
            try:
                page = self._calls.get(f"{JOBS}/get", what, query=query, subject=f"Job {job_id}")
            except NotFound:
                return None
            if merged is None:
                merged = page
            else:
                _append(merged.setdefault("settings", {}), page.get("settings") or {}, PAGED)
            token = page.get("next_page_token")
            if not token or token == query.get("page_token"):
                return _remote_job(merged)
            query["page_token"] = token

    def list(self, *, name: str | None = None) -> Iterator[RemoteJob]:
        query: JsonObject = {"limit": PAGE, "expand_tasks": True}
        if name is not None:
            query["name"] = name
        while True:
            page = self._calls.get(f"{JOBS}/list", "list the jobs", query=dict(query))
            for job in page.get("jobs") or ():
                if not job.get("has_more"):
                    yield _remote_job(job)
                    continue
                whole = self.get(int(job["job_id"]))
                if whole is not None:  # deleted since the page was made
                    yield whole
            token = page.get("next_page_token")
            if not token or token == query.get("page_token"):
                return
            query["page_token"] = token

    def create(self, settings: JsonObject) -> int:
        answer = self._calls.create(
            f"{JOBS}/create", f"create the job {settings.get('name', '')!r}", settings
        )
        return int(answer["job_id"])

    def reset(self, job_id: int, settings: JsonObject) -> None:
        body = {"job_id": job_id, "new_settings": settings}
        self._calls.write("POST", f"{JOBS}/reset", f"update job {job_id}", body=body, subject=f"Job {job_id}")

    def set_tags(self, job_id: int, tags: Mapping[str, str]) -> None:
        body: JsonObject = {"job_id": job_id, "new_settings": {"tags": dict(tags)}}
        self._calls.write("POST", f"{JOBS}/update", f"tag job {job_id}", body=body, subject=f"Job {job_id}")

    def delete(self, job_id: int) -> None:
        try:
            self._calls.write(
                "POST",
                f"{JOBS}/delete",
                f"delete job {job_id}",
                body={"job_id": job_id},
                subject=f"Job {job_id}",
            )
        except NotFound:
            return

    def run_now(
        self,
        job_id: int,
        *,
        idempotency_token: str = "",
        job_parameters: Mapping[str, str] | None = None,
        only: Sequence[str] = (),
    ) -> int:
        # With a token the platform gives the same run for a repeated call, so the SDK may repeat it.
        body: JsonObject = {"job_id": job_id, "idempotency_token": idempotency_token or uuid.uuid4().hex}
        if job_parameters:
            body["job_parameters"] = dict(job_parameters)
        if only:
            body["only"] = list(only)
        answer = self._calls.write(
            "POST", f"{JOBS}/run-now", f"start job {job_id}", body=body, subject=f"Job {job_id}"
        )
        return int(answer["run_id"])

    def run(self, run_id: int) -> Run:
        merged: JsonObject | None = None
        query: JsonObject = {"run_id": run_id}
        while True:
            page = self._calls.get(
                f"{JOBS}/runs/get", f"read run {run_id}", query=query, subject=f"Run {run_id}"
            )
            if merged is None:
                merged = page
            else:
                _append(merged, page, ("tasks",))
            token = page.get("next_page_token")
            if not token or token == query.get("page_token"):
                return _run(merged)
            query["page_token"] = token

    def runs(
        self, job_id: int | None = None, *, active_only: bool = False, limit: int = 25
    ) -> builtins.list[Run]:
        query: JsonObject = {"limit": min(limit, RUNS_PAGE)}
        if job_id is not None:
            query["job_id"] = job_id
        if active_only:
            query["active_only"] = True
        found: list[Run] = []
        while len(found) < limit:
            page = self._calls.get(f"{JOBS}/runs/list", "list the runs", query=dict(query))
            found.extend(_run(run) for run in page.get("runs") or ())
            token = page.get("next_page_token")
            if not token or token == query.get("page_token"):
                break
            query["page_token"] = token
        return found[:limit]

    def run_error(self, task_run_id: int) -> str:
        try:
            output = self._calls.get(
                f"{JOBS}/runs/get-output",
                f"read the output of run {task_run_id}",
                query={"run_id": task_run_id},
            )
        except (NotFound, InvalidRequest):  # a run of several tasks, or of a type without output
            return ""
        return str(output.get("error") or "")

    def cancel_run(self, run_id: int) -> None:
        body = {"run_id": run_id}
        try:
            self._calls.write(
                "POST", f"{JOBS}/runs/cancel", f"cancel run {run_id}", body=body, subject=f"Run {run_id}"
            )
        except InvalidRequest:
            if not self.run(run_id).ended:
                raise


def _append(target: JsonObject, page: JsonObject, names: Sequence[str]) -> None:
    for name in names:
        if page.get(name):
            target[name] = [*(target.get(name) or ()), *page[name]]


def _remote_job(job: JsonObject) -> RemoteJob:
    return RemoteJob(
        job_id=int(job["job_id"]),
        settings=job.get("settings") or {},
        created_time=int(job.get("created_time") or 0),
        creator=str(job.get("creator_user_name") or ""),
        run_as=str(job.get("run_as_user_name") or ""),
    )


#: `status.state` of the newer block, as life cycles of the older one; the others have the same names.
_LIFE_CYCLE: Mapping[str, str] = {"WAITING": "WAITING_FOR_RETRY"}
#: `termination_details.code` of a run that ended, as result states of the older block.
_RESULT: Mapping[str, str] = {
    "SUCCESS": "SUCCESS",
    "SUCCESS_WITH_FAILURES": "SUCCESS_WITH_FAILURES",
    "CANCELED": "CANCELED",
    "USER_CANCELED": "CANCELED",
    "MAX_CONCURRENT_RUNS_EXCEEDED": "MAXIMUM_CONCURRENT_RUNS_REACHED",
    "DISABLED": "DISABLED",
}


def run_state(run: JsonObject) -> tuple[str, str, str]:
    """(life_cycle_state, result_state, message) from the older `state` or else the newer `status` block.

    A state that neither block explains is `UNKNOWN`: still running, as far as we know.
    """
    state: JsonObject = run.get("state") or {}
    status: JsonObject = run.get("status") or {}
    details: JsonObject = status.get("termination_details") or {}
    life = state.get("life_cycle_state")
    result = state.get("result_state")
    message = state.get("state_message") or details.get("message")
    if not life and status.get("state"):
        life = _LIFE_CYCLE.get(status["state"], status["state"])
        if life == "TERMINATED" and details.get("code") == "SKIPPED":
            life = "SKIPPED"
    if not result and life == "TERMINATED" and details:
        code = details.get("code")
        result = _RESULT.get(str(code)) or ("SUCCESS" if details.get("type") == "SUCCESS" else "FAILED")
    return str(life or "UNKNOWN"), str(result or ""), str(message or "")


def _run(run: JsonObject) -> Run:
    life, result, message = run_state(run)
    return Run(
        run_id=int(run["run_id"]),
        job_id=int(run.get("job_id") or 0),
        life_cycle_state=life,
        result_state=result,
        message=message,
        start_time=int(run.get("start_time") or 0),
        end_time=int(run.get("end_time") or 0),
        url=str(run.get("run_page_url") or ""),
        tasks=_task_runs(run.get("tasks") or ()),
    )


def _task_runs(tasks: Sequence[JsonObject]) -> tuple[TaskRun, ...]:
    """The latest attempt of each task, in order of first appearance."""
    latest: dict[str, JsonObject] = {}
    attempts: dict[str, int] = {}
    for task in tasks:
        key = str(task.get("task_key") or "")
        attempts[key] = attempts.get(key, 0) + 1
        if key not in latest or _attempt(task) >= _attempt(latest[key]):
            latest[key] = task
    return tuple(_task_run(key, task, attempts[key]) for key, task in latest.items())


def _attempt(task: JsonObject) -> tuple[int, int]:
    return int(task.get("attempt_number") or 0), int(task.get("start_time") or 0)


def _task_run(key: str, task: JsonObject, seen: int) -> TaskRun:
    life, result, message = run_state(task)
    number: Any = task.get("attempt_number") or 0
    return TaskRun(
        task_key=key,
        run_id=int(task.get("run_id") or 0),
        life_cycle_state=life,
        result_state=result,
        message=message,
        attempts=max(seen, int(number) + 1),  # runs/get without history shows the latest attempt only
        start_time=int(task.get("start_time") or 0),
        end_time=int(task.get("end_time") or 0),
    )
