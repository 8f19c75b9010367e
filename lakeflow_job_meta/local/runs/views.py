"""Runs and task runs as the Jobs API 2.1 and 2.2 answer with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lakeflow_job_meta.local.api.call import USER
from lakeflow_job_meta.local.runs.python import LOG_NAME
from lakeflow_job_meta.local.runs.records import RepairRecord, RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.store import RunStore
from lakeflow_job_meta.local.runs.task_types import kind_of

Json = dict[str, Any]

PAGE = 100
"""Elements of each array on one page (2.2)."""
LOG_BYTES = 5 * 1024 * 1024
_OVERRIDES = ("notebook_params", "python_params", "python_named_params", "sql_params")
_LOGGED = ("spark_python_task", "python_wheel_task", "notebook_task")


class Views:
    """Builds answers.

    Args:
        store: the records.
        host: the workspace's address, for links.
        logs: the folder with one folder a task run.
    """

    def __init__(self, store: RunStore, host: str, logs: Path) -> None:
        self._store = store
        self._host = host
        self._logs = logs

    def run(self, run: RunRecord, *, start: int = 0, page: int | None = PAGE, history: bool = False) -> Json:
        """A job run with one page of its tasks.

        Args:
            start: index of the page's first element.
            page: elements of an array on a page; None: all.
            history: whether repair_history comes too.
        """
        body = self.base(run)
        settings = {task["task_key"]: task for task in run.settings.get("tasks") or []}
        records = list(self._store.latest(run.run_id).values())
        parameters = self._parameters(run)
        clusters = run.settings.get("job_clusters") or []
        end = None if page is None else start + page
        body["tasks"] = [
            self.task(run, record, settings.get(record.task_key, {})) for record in records[start:end]
        ]
        if clusters:
            body["job_clusters"] = clusters[start:end]
        if parameters:
            body["job_parameters"] = parameters[start:end]
        if run.settings.get("git_source"):
            body["git_source"] = run.settings["git_source"]
        repairs = self._store.repairs(run.run_id)
        if repairs and history:
            body["repair_history"] = self._history(run, repairs)[start:end]
        if end is not None and max(len(records), len(parameters), len(clusters)) > end:
            body["next_page_token"] = str(end)
            body["has_more"] = True
        if run.notifications:
            body["notifications"] = run.notifications
        return body

    def listed(self, run: RunRecord, *, expand: bool) -> Json:
        """A job run in runs/list."""
        if not expand:
            return self.base(run)
        body = self.run(run)
        body.pop("next_page_token", None)
        return body

    def base(self, run: RunRecord) -> Json:
        """A job run without its arrays."""
        now_ended = run.state.ended
        body: Json = {
            "job_id": run.job_id,
            "run_id": run.run_id,
            "job_run_id": run.run_id,
            "number_in_job": run.run_id,
            "original_attempt_run_id": run.run_id,
            "creator_user_name": USER,
            "run_name": run.name,
            "run_type": run.run_type,
            "format": "MULTI_TASK",
            "trigger": run.trigger_type,
            "start_time": run.start_time or run.created,
            "end_time": run.end_time,
            "setup_duration": 0,
            "execution_duration": 0,
            "cleanup_duration": 0,
            "run_duration": run.end_time - (run.start_time or run.created) if now_ended else 0,
            "queue_duration": max(0, (run.start_time or run.end_time or run.created) - run.created),
            "run_page_url": f"{self._host}/jobs/{run.job_id}/runs/{run.run_id}",
            "state": run.state.old(),
            "status": run.state.new(),
        }
        info = {key: value for key, value in run.trigger_info.items() if key == "run_id"}
        if info:
            body["trigger_info"] = info
        if run.trigger_type == "PERIODIC" and run.settings.get("schedule"):
            body["schedule"] = run.settings["schedule"]
        overriding = {name: run.request[name] for name in _OVERRIDES if run.request.get(name)}
        if overriding:
            body["overriding_parameters"] = overriding
        if run.settings.get("description"):
            body["description"] = run.settings["description"]
        return body

    def task(self, run: RunRecord, record: TaskRecord, settings: Json) -> Json:
        """One task run inside a job run: its settings and how it went."""
        body: Json = {key: value for key, value in settings.items() if value is not None}
        kind = kind_of(settings)
        if kind == "condition_task":
            shown = {key: record.output[key] for key in ("left", "right", "outcome") if key in record.output}
            body[kind] = {**body[kind], **shown}
        if kind == "for_each_task":
            body[kind] = {**body[kind], "stats": {"task_run_stats": self._stats(record)}}
        if kind == "run_job_task" and "run_id" in record.output:
            body[kind] = {**body[kind], "run_id": record.output["run_id"]}
        duration = max(0, record.end_time - record.start_time) if record.state.ended else 0
        body.update(
            run_id=record.run_id,
            task_key=record.task_key,
            run_page_url=f"{self._host}/jobs/{run.job_id}/runs/{record.run_id}",
            start_time=record.start_time,
            end_time=record.end_time if record.state.ended else 0,
            setup_duration=record.setup_ms,
            execution_duration=max(0, duration - record.setup_ms),
            cleanup_duration=0,
            run_duration=duration,
            attempt_number=record.attempt,
            state=record.state.old(),
            status=record.state.new(),
        )
        if "run_if" not in body:
            body["run_if"] = "ALL_SUCCESS"
        return body

    def task_run(
        self, run: RunRecord, record: TaskRecord, *, start: int = 0, page: int | None = PAGE
    ) -> Json:
        """What runs/get answers for the id of a task run: the task alone, a for_each with its iterations."""
        settings = self.settings_of(run, record)
        body = self.base(run)
        body.update(
            run_id=record.run_id,
            run_name=record.task_key,
            original_attempt_run_id=record.original_id or record.run_id,
            attempt_number=record.attempt,
            trigger="RETRY" if record.attempt else run.trigger_type,
            start_time=record.start_time,
            end_time=record.end_time if record.state.ended else 0,
            run_page_url=f"{self._host}/jobs/{run.job_id}/runs/{record.run_id}",
            state=record.state.old(),
            status=record.state.new(),
            tasks=[self.task(run, record, settings)],
        )
        inner = (settings.get("for_each_task") or {}).get("task")
        if inner is not None:
            iterations = self._store.iterations(record.run_id)
            end = None if page is None else start + page
            body["iterations"] = [
                {**self.task(run, item, inner), "iteration": item.iteration, "input": item.input}
                for item in iterations[start:end]
            ]
            if end is not None and len(iterations) > end:
                body["next_page_token"] = str(end)
        return body

    def settings_of(self, run: RunRecord, record: TaskRecord) -> Json:
        """The settings of the task that a record is a run of."""
        for task in run.settings.get("tasks") or []:
            inner: Json = (task.get("for_each_task") or {}).get("task") or {}
            if record.parent_id and inner.get("task_key") == record.task_key:
                return inner
            if not record.parent_id and task["task_key"] == record.task_key:
                return dict(task)
        return {}

    def output(self, run: RunRecord, record: TaskRecord) -> Json:
        """What runs/get-output answers for a task run."""
        settings = self.settings_of(run, record)
        kind = kind_of(settings)
        body: Json = {"metadata": self.task_run(run, record)}
        if record.error:
            body["error"] = record.error
        if record.error_trace:
            body["error_trace"] = record.error_trace
        if kind == "notebook_task":
            found = {key: record.output[key] for key in ("result", "truncated") if key in record.output}
            body["notebook_output"] = found
        if kind == "run_job_task" and "run_id" in record.output:
            body["run_job_output"] = {"run_id": record.output["run_id"]}
        if kind == "sql_task" and "query_text" in record.output:
            body["sql_output"] = {
                "query_output": {
                    "query_text": record.output["query_text"],
                    "warehouse_id": record.output.get("warehouse_id", ""),
                    "output_link": f"{self._host}/sql/results/{record.run_id}",
                    "sql_statements": [
                        {"lookup_key": f"{record.run_id}-{index}"}
                        for index in range(record.output.get("statements", 0))
                    ],
                }
            }
        if kind in _LOGGED:
            body["logs"], body["logs_truncated"] = self._log(record)
        return body

    def _log(self, record: TaskRecord) -> tuple[str, bool]:
        try:
            data = (self._logs / str(record.run_id) / LOG_NAME).read_bytes()
        except OSError:
            return "", False
        text = data[-LOG_BYTES:].decode("utf-8", errors="replace")
        return re.sub(r"\x1b\[[0-9;]*m", "", text), len(data) > LOG_BYTES

    def _stats(self, record: TaskRecord) -> Json:
        stats = dict(record.output.get("stats") or {})
        if not record.state.ended and stats:
            iterations = self._store.iterations(record.run_id)
            done = [item for item in iterations if item.state.ended]
            good = sum(item.state.succeeded for item in done)
            stats.update(
                scheduled_iterations=len(iterations),
                active_iterations=len(iterations) - len(done),
                completed_iterations=len(done),
                succeeded_iterations=good,
                failed_iterations=len(done) - good,
            )
        return stats

    @staticmethod
    def _parameters(run: RunRecord) -> list[Json]:
        declared = run.request.get("declared") or {}
        values = run.request.get("job_parameters") or {}
        return [
            {"name": name, **({"default": declared[name]} if name in declared else {}), "value": value}
            for name, value in values.items()
        ]

    def _history(self, run: RunRecord, repairs: Sequence[RepairRecord]) -> list[Json]:
        attempts = self._store.attempts(run.run_id)
        entries: list[Json] = [
            {
                "type": "ORIGINAL",
                "start_time": run.start_time,
                "task_run_ids": [record.run_id for record in attempts if not record.repair_id],
            }
        ]
        entries += [
            {
                "type": "REPAIR",
                "id": repair.repair_id,
                "start_time": repair.start_time,
                "end_time": repair.end_time,
                "state": repair.state.old(),
                "status": repair.state.new(),
                "task_run_ids": [r.run_id for r in attempts if r.repair_id == repair.repair_id],
            }
            for repair in repairs
        ]
        return entries
