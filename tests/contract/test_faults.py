"""Creates under faults, on the embedded workspace: what was done is done once, and what is unclear is said."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient

from lakeflow_job_meta.adapters.databricks import connect, workspace_client
from lakeflow_job_meta.errors import UnclearOutcome
from lakeflow_job_meta.ports import Workspace
from tests.adapters.databricks_fixtures import FakeClock
from tests.contract.servers import Server

CREATE = {"method": "POST", "path": "/api/2.2/jobs/create"}


@pytest.fixture
def client(servers: dict[str, Server]) -> Iterator[WorkspaceClient]:
    server = servers["embedded"]
    one = workspace_client(
        host=server.host, token=server.token, auth_type="pat", http_timeout_seconds=0.5, clock=FakeClock()
    )
    yield one
    one.api_client.do("DELETE", "/local/faults")


@pytest.fixture
def workspace(client: WorkspaceClient) -> Workspace:
    return connect(client)


def fault(client: WorkspaceClient, **rule: Any) -> None:
    client.api_client.do("POST", "/local/faults", body={"count": 1, **rule})


def created(workspace: Workspace) -> tuple[str, int]:
    """(outcome, how many jobs there are) of one create."""
    mark = uuid.uuid4().hex
    try:
        workspace.jobs.create({"name": mark, "tags": {"mark": mark}})
        outcome = "done"
    except UnclearOutcome:
        outcome = "unclear"
    return outcome, sum(job.tags.get("mark") == mark for job in workspace.jobs.list())


@pytest.mark.parametrize(
    ("rule", "outcome", "jobs"),
    [
        ({"status": 429, "retry_after": 0}, "done", 1),
        ({"status": 429}, "done", 1),
        ({"status": 500}, "unclear", 0),
        ({"status": 503, "retry_after": 1}, "unclear", 0),
        ({"html": True}, "unclear", 0),
        ({"reset": "before"}, "unclear", 0),
        ({"reset": "after"}, "unclear", 1),
        ({"hang": "after"}, "unclear", 1),
    ],
)
def test_a_create_is_carried_out_once_at_most(client, workspace, rule, outcome, jobs):
    """429 alone is repeated. Everything after which it may have been done is unclear, and is looked up by the caller."""
    fault(client, **CREATE, **rule)
    assert created(workspace) == (outcome, jobs)


@pytest.mark.parametrize("rule", [{"reset": "after"}, {"hang": "after"}, {"status": 500}])
def test_what_is_safe_to_repeat_is_repeated(client, workspace, rule):
    """A reset, a delete and a run-now come through: one run, whatever was lost on the way."""
    condition = {"condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"}}
    job_id = workspace.jobs.create({"name": "a", "tasks": [{"task_key": "a", **condition}]})
    for path in ("jobs/reset", "jobs/run-now"):
        fault(client, path=f"/api/2.2/{path}", **rule)
    workspace.jobs.reset(job_id, {"name": "b", "tasks": [{"task_key": "a", **condition}]})
    assert workspace.jobs.get(job_id).settings["name"] == "b"
    run_id = workspace.jobs.run_now(job_id)
    assert [run.run_id for run in workspace.jobs.runs(job_id)] == [run_id]
    fault(client, path="/api/2.2/jobs/delete", **rule)
    workspace.jobs.delete(job_id)
    assert workspace.jobs.get(job_id) is None
