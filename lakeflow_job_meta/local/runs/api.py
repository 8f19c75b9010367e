"""The runs part of the Jobs API 2.1 and 2.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from lakeflow_job_meta.local.api.call import Call, route
from lakeflow_job_meta.local.api.errors import invalid
from lakeflow_job_meta.local.api.job_defaults import with_defaults
from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.requests import run_missing
from lakeflow_job_meta.local.runs.store import RunStore
from lakeflow_job_meta.local.runs.views import PAGE, Views
from lakeflow_job_meta.local.validation import validate_settings

if TYPE_CHECKING:
    from lakeflow_job_meta.local.runs.engine import RunEngine

Json = dict[str, Any]

_LIST_LIMIT = 25
#: Parameters of run-now by their JSON type.
_MAPS = ("job_parameters", "notebook_params", "python_named_params", "sql_params")
_LISTS = ("python_params",)
_MAX_PARAMETERS = 10_000
_SUBMIT_ONLY = ("run_name", "access_control_list", "idempotency_token")


class RunsApi:
    """Handlers of `/api/2.x/jobs/run-now` and `/api/2.x/jobs/runs/...`.

    Args:
        engine: executes runs.
        store: their records.
    """

    def __init__(self, engine: RunEngine, store: RunStore) -> None:
        self._engine = engine
        self._store = store
        self._views = Views(store, engine.host, engine.folder.runs)

    def routes(self) -> list[Route]:
        made: list[Route] = []
        for version in ("2.2", "2.1"):
            prefix = f"/api/{version}/jobs"
            made += [
                route("POST", f"{prefix}/run-now", self.run_now),
                route("POST", f"{prefix}/runs/submit", self._versioned(self.submit, version)),
                route("GET", f"{prefix}/runs/get", self._versioned(self.get, version)),
                route("GET", f"{prefix}/runs/list", self.list),
                route("GET", f"{prefix}/runs/get-output", self.get_output),
                route("POST", f"{prefix}/runs/cancel", self.cancel),
                route("POST", f"{prefix}/runs/cancel-all", self.cancel_all),
                route("POST", f"{prefix}/runs/delete", self.delete),
                route("POST", f"{prefix}/runs/repair", self.repair),
            ]
        made.append(route("GET", "/sql/results/{run_id}", self.rows))
        return made

    @staticmethod
    def _versioned(handler: Callable[[Call, str], Json], version: str) -> Callable[[Call], Json]:
        return lambda call: handler(call, version)

    def run_now(self, call: Call) -> Json:
        request = _parameters(call)
        only = call.array("only")
        if only:
            request["only"] = [str(key) for key in only]
        if call.body.get("queue") is not None:
            request["queue"] = call.object("queue")
        run_id = self._engine.run_now(call.integer("job_id"), request, token=call.text("idempotency_token"))
        return {"run_id": run_id, "number_in_job": run_id}

    def submit(self, call: Call, version: str) -> Json:
        settings = {key: value for key, value in call.body.items() if value is not None}
        token = call.text("idempotency_token")
        validate_settings({key: value for key, value in settings.items() if key not in _SUBMIT_ONLY})
        name = settings.get("run_name") or "Untitled"
        filled = with_defaults({k: v for k, v in settings.items() if k not in _SUBMIT_ONLY}, version=version)
        return {"run_id": self._engine.submit({**filled, "run_name": name}, token=token)}

    def get(self, call: Call, version: str) -> Json:
        run, record = self._find(call.integer("run_id"))
        start = _start(call.text("page_token"))
        page = None if version == "2.1" else PAGE
        if record is not None:
            return self._views.task_run(run, record, start=start, page=page)
        return self._views.run(run, start=start, page=page, history=call.flag("include_history"))

    def list(self, call: Call) -> Json:
        active, completed = call.flag("active_only"), call.flag("completed_only")
        if active and completed:
            raise invalid("Only one of active_only and completed_only can be true")
        limit = call.integer("limit", 20) or _LIST_LIMIT
        if not 0 < limit <= _LIST_LIMIT:
            raise invalid(f"limit must be between 1 and {_LIST_LIMIT}, not {limit}")
        token = call.text("page_token")
        job_id = call.integer("job_id", 0)
        found = self._store.runs(
            job_id=job_id or None,
            active=True if active else (False if completed else None),
            run_type=call.text("run_type"),
            start_from=call.integer("start_time_from", 0) or None,
            start_to=call.integer("start_time_to", 0) or None,
            before=_start(token) or None,
            limit=limit + 1,
            offset=0 if token else call.integer("offset", 0),
        )
        expand = call.flag("expand_tasks")
        body: Json = {"has_more": len(found) > limit}
        if found:
            body["runs"] = [self._views.listed(run, expand=expand) for run in found[:limit]]
        if len(found) > limit:
            body["next_page_token"] = str(found[limit - 1].run_id)
        return body

    def get_output(self, call: Call) -> Json:
        run, record = self._find(call.integer("run_id"))
        if record is None:
            latest = list(self._store.latest(run.run_id).values())
            if len(latest) != 1:
                raise invalid(
                    "Retrieving the output of runs with multiple tasks is not supported."
                    " Retrieve the output of each individual task run instead."
                )
            record = latest[0]
        return self._views.output(run, record)

    def cancel(self, call: Call) -> Json:
        run, _ = self._find(call.integer("run_id"))
        self._engine.cancel(run.run_id)
        return {}

    def cancel_all(self, call: Call) -> Json:
        job_id, queued = call.integer("job_id", 0), call.flag("all_queued_runs")
        if not job_id and not queued:
            raise invalid("Missing required field: job_id")
        self._engine.cancel_job(job_id or None, queued_only=queued)
        return {}

    def delete(self, call: Call) -> Json:
        self._engine.delete(call.integer("run_id"))
        return {}

    def repair(self, call: Call) -> Json:
        request = _parameters(call)
        request["rerun_tasks"] = [str(key) for key in call.array("rerun_tasks")]
        for name in ("rerun_all_failed_tasks", "rerun_dependent_tasks"):
            request[name] = call.flag(name)
        request["latest_repair_id"] = call.integer("latest_repair_id", 0)
        return {"repair_id": self._engine.repair(call.integer("run_id"), request)}

    def rows(self, call: Call) -> Json:
        """The first rows of a SQL task's last result: what output_link leads to."""
        _, record = self._find(call.integer("run_id"))
        if record is None:
            raise invalid("this is no task run")
        return {"columns": record.output.get("columns", []), "rows": record.output.get("rows", [])}

    def _find(self, run_id: int) -> tuple[RunRecord, TaskRecord | None]:
        """The job run of an id, and the task run when it is the id of one."""
        run = self._store.run(run_id)
        if run is not None:
            return run, None
        record = self._store.task(run_id)
        run = self._store.run(record.job_run_id) if record is not None else None
        if run is None:
            raise run_missing(run_id)
        return run, record


def _parameters(call: Call) -> Json:
    found: Json = {}
    for name in _MAPS:
        value = call.object(name)
        if value:
            found[name] = {str(key): _text(item) for key, item in value.items()}
    for name in _LISTS:
        items = call.array(name)
        if items:
            found[name] = [str(item) for item in items]
    for name, value in found.items():
        if len(str(value)) > _MAX_PARAMETERS and name != "job_parameters":
            raise invalid(f"{name} is limited to {_MAX_PARAMETERS} bytes of JSON")
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _start(token: str) -> int:
    if token and not token.isdigit():
        raise invalid(f"Invalid page_token: {token}")
    return int(token or 0)
