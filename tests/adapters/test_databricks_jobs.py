"""The Jobs API adapter: pages, runs, and what the wire is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lakeflow_job_meta.adapters.databricks import connect
from lakeflow_job_meta.adapters.databricks_jobs import run_state
from lakeflow_job_meta.errors import NotFound
from lakeflow_job_meta.ports import Workspace
from tests.adapters.databricks_fixtures import client_for
from tests.adapters.scripted_server import Request, ScriptedServer, serving

TASKS = [{"task_key": f"t{number}"} for number in range(250)]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as one:
        yield one


@pytest.fixture
def workspace(server: ScriptedServer) -> Workspace:
    return connect(client_for(server.host, workspace_id="42"))


def paged_job(request: Request) -> dict[str, object]:
    """A job of 250 tasks and 120 parameters, 100 of each a page."""
    start = int(request.query.get("page_token") or 0)
    settings = {
        "name": "big",
        "tags": {"a": "b"},
        "tasks": TASKS[start : start + 100],
        "parameters": [{"name": f"p{n}", "default": ""} for n in range(120)][start : start + 100],
    }
    page: dict[str, object] = {
        "job_id": 7,
        "settings": settings,
        "creator_user_name": "me",
        "created_time": 5,
    }
    if start + 100 < len(TASKS):
        page["next_page_token"] = str(start + 100)
    return page


class TestJobs:
    def test_get_merges_all_pages(self, workspace, server):
        """More than 100 tasks come in pages; nothing is lost and nothing doubled."""
        server.default = paged_job
        job = workspace.jobs.get(7)
        assert job.settings["tasks"] == TASKS
        assert len(job.settings["parameters"]) == 120
        assert job.tags == {"a": "b"}
        assert (job.creator, job.created_time) == ("me", 5)
        assert workspace.count.calls == 3

    def test_list_follows_pages_and_completes_wide_jobs(self, workspace, server):
        """100 jobs a page with their tasks; a job with more than 100 of something is read by itself."""

        def answer(request: Request) -> object:
            if request.path.endswith("/get"):
                return paged_job(request)
            assert request.query["limit"] == "100"
            assert request.query["expand_tasks"] == "true"
            if "page_token" not in request.query:
                small = {"job_id": 1, "settings": {"name": "small", "tasks": TASKS[:2]}}
                return {"jobs": [small], "has_more": True, "next_page_token": "two"}
            return {"jobs": [{"job_id": 7, "has_more": True, "settings": {"tasks": TASKS[:100]}}]}

        server.default = answer
        found = list(workspace.jobs.list())
        assert [job.job_id for job in found] == [1, 7]
        assert len(found[1].settings["tasks"]) == 250
        assert workspace.count.writes == 0

    def test_list_leaves_out_a_job_that_went_meanwhile(self, workspace, server):
        server.will("/api/2.2/jobs/list", body={"jobs": [{"job_id": 7, "has_more": True, "settings": {}}]})
        server.will("/api/2.2/jobs/get", status=404, body={"error_code": "NOT_FOUND", "message": "gone"})
        assert list(workspace.jobs.list()) == []

    def test_list_ends_when_a_token_repeats(self, workspace, server):
        """A server that ignores page tokens does not keep us for ever."""
        server.default = lambda request: {"jobs": [], "next_page_token": "same"}
        assert list(workspace.jobs.list()) == []

    def test_list_by_name(self, workspace, server):
        list(workspace.jobs.list(name="a b"))
        assert server.requests[0].query["name"] == "a b"


class TestRuns:
    def test_run_merges_pages_and_keeps_the_latest_attempts(self, workspace, server):
        """A retried task appears once, with its last attempt and the number of attempts."""

        def attempt(key: str, number: int, result: str) -> dict[str, object]:
            state = {"life_cycle_state": "TERMINATED", "result_state": result}
            return {"task_key": key, "run_id": 100 + number, "attempt_number": number, "state": state}

        def answer(request: Request) -> object:
            run = {
                "run_id": 9,
                "job_id": 7,
                "run_page_url": "http://x",
                "state": {"life_cycle_state": "RUNNING"},
            }
            if "page_token" not in request.query:
                tasks = [attempt("a", 1, "SUCCESS"), attempt("a", 0, "FAILED"), attempt("b", 0, "SUCCESS")]
                return {**run, "tasks": tasks, "next_page_token": "2"}
            return {**run, "tasks": [attempt("c", 2, "FAILED")]}

        server.default = answer
        run = workspace.jobs.run(9)
        assert not run.ended
        assert [(task.task_key, task.result_state, task.attempts) for task in run.tasks] == [
            ("a", "SUCCESS", 2),
            ("b", "SUCCESS", 1),
            ("c", "FAILED", 3),
        ]

    def test_unknown_run(self, workspace, server):
        body = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Run 9 does not exist."}
        server.will("/api/2.2/jobs/runs/get", status=400, body=body)
        with pytest.raises(NotFound):
            workspace.jobs.run(9)

    def test_runs_asks_in_pages_of_25_and_stops_at_the_limit(self, workspace, server):
        def answer(request: Request) -> object:
            start = int(request.query.get("page_token") or 0)
            runs = [{"run_id": n, "state": {}} for n in range(start, start + 25)]
            return {"runs": runs, "next_page_token": str(start + 25)}

        server.default = answer
        assert [run.run_id for run in workspace.jobs.runs(7, limit=60)] == list(range(60))
        assert {request.query["limit"] for request in server.requests} == {"25"}

    def test_run_now_sends_what_is_given(self, workspace, server):
        server.default = lambda request: {"run_id": 3}
        workspace.jobs.run_now(7, idempotency_token="t", job_parameters={"p": "1"}, only=["a"])
        assert server.requests[0].body == {
            "job_id": 7,
            "idempotency_token": "t",
            "job_parameters": {"p": "1"},
            "only": ["a"],
        }
        assert workspace.count.writes == 1

    def test_run_error(self, workspace, server):
        server.will("/api/2.2/jobs/runs/get-output", body={"error": "boom"})
        server.will("/api/2.2/jobs/runs/get-output", status=400, body={"message": "multiple tasks"})
        assert workspace.jobs.run_error(5) == "boom"
        assert workspace.jobs.run_error(5) == ""

    @pytest.mark.parametrize("result", ["INVALID_STATE", "INVALID_PARAMETER_VALUE"])
    def test_cancelling_a_run_that_has_ended_is_done(self, workspace, server, result):
        body = {"error_code": result, "message": "Run 9 is already terminated."}
        server.will("/api/2.2/jobs/runs/cancel", status=400, body=body)
        server.will("/api/2.2/jobs/runs/get", body={"run_id": 9, "state": {"life_cycle_state": "TERMINATED"}})
        workspace.jobs.cancel_run(9)


@pytest.mark.parametrize(
    ("wire", "state"),
    [
        (
            {"state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "m"}},
            ("TERMINATED", "FAILED", "m"),
        ),
        ({"status": {"state": "WAITING"}}, ("WAITING_FOR_RETRY", "", "")),
        (
            {
                "status": {
                    "state": "TERMINATED",
                    "termination_details": {"code": "SUCCESS", "type": "SUCCESS"},
                }
            },
            ("TERMINATED", "SUCCESS", ""),
        ),
        (
            {
                "status": {
                    "state": "TERMINATED",
                    "termination_details": {
                        "code": "RUN_EXECUTION_ERROR",
                        "type": "CLIENT_ERROR",
                        "message": "m",
                    },
                }
            },
            ("TERMINATED", "FAILED", "m"),
        ),
        (
            {"status": {"state": "TERMINATED", "termination_details": {"code": "USER_CANCELED"}}},
            ("TERMINATED", "CANCELED", ""),
        ),
        (
            {"status": {"state": "TERMINATED", "termination_details": {"code": "SKIPPED"}}},
            ("SKIPPED", "", ""),
        ),
        ({"state": {"life_cycle_state": "STATE_OF_TOMORROW"}}, ("STATE_OF_TOMORROW", "", "")),
        ({}, ("UNKNOWN", "", "")),
    ],
)
def test_states_of_either_block(wire, state):
    """The older `state` block wins, the newer `status` fills in, and the unknown is still running."""
    assert run_state(wire) == state
