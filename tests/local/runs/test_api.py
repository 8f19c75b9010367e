"""The runs part of the Jobs API, asked by the real SDK."""

from __future__ import annotations

import pytest
from databricks.sdk.errors import InvalidParameterValue, ResourceDoesNotExist
from databricks.sdk.service import jobs

from .conftest import Workspace, after, condition, python_task, result, states


def test_run_now_and_wait(workspace: Workspace) -> None:
    """The SDK's own waiter reads the end of a run."""
    job_id = workspace.job(
        [condition("t", "{{job.parameters.p}}", "x")], parameters=[{"name": "p", "default": "d"}]
    )
    run = workspace.client.jobs.run_now_and_wait(job_id, job_parameters={"p": "x"})
    assert run.state is not None
    assert run.state.life_cycle_state is jobs.RunLifeCycleState.TERMINATED
    assert run.state.result_state is jobs.RunResultState.SUCCESS
    assert run.status is not None
    assert run.status.state is jobs.RunLifecycleStateV2State.TERMINATED
    assert run.status.termination_details is not None
    assert run.status.termination_details.code is jobs.TerminationCodeCode.SUCCESS
    assert run.run_type is jobs.RunType.JOB_RUN
    assert run.trigger is jobs.TriggerType.ONE_TIME
    assert run.job_parameters is not None
    assert [(p.name, p.default, p.value) for p in run.job_parameters] == [("p", "d", "x")]
    assert run.tasks is not None
    assert run.tasks[0].condition_task is not None
    assert run.tasks[0].condition_task.outcome == "true"
    assert run.start_time
    assert run.end_time
    assert run.end_time >= run.start_time
    assert run.run_page_url
    assert run.run_page_url.startswith(workspace.host)


def test_only(workspace: Workspace) -> None:
    """`only` runs the named tasks, and their upstream when asked."""
    job_id = workspace.job(
        [condition("a", "1", "1"), condition("b", "1", "1", depends_on=after("a")), condition("c", "1", "1")]
    )
    assert set(states(workspace.ended(workspace.run_now(job_id, only=["b"])))) == {"b"}
    assert set(states(workspace.ended(workspace.run_now(job_id, only=["+b"])))) == {"a", "b"}
    with pytest.raises(InvalidParameterValue, match="nope"):
        workspace.run_now(job_id, only=["nope"])


def test_submit(workspace: Workspace, unique: str) -> None:
    """A one-time run needs no job, and is judged like one."""
    path = workspace.file(f"/Workspace/{unique}.py", "print('once')\n")
    run = workspace.client.jobs.submit(
        run_name="once",
        tasks=[jobs.SubmitTask(task_key="t", spark_python_task=jobs.SparkPythonTask(python_file=path))],
        idempotency_token=f"submit-{unique}",
    ).result()
    assert run.run_type is jobs.RunType.SUBMIT_RUN
    assert run.run_name == "once"
    assert run.tasks is not None
    assert run.tasks[0].run_id is not None
    assert workspace.client.jobs.get_run_output(run.tasks[0].run_id).logs == "once\n"
    again = workspace.post(
        "runs/submit", tasks=[python_task("t", path)], idempotency_token=f"submit-{unique}"
    )
    assert again["run_id"] == run.run_id
    with pytest.raises(InvalidParameterValue, match="unknown task_key"):
        workspace.post("runs/submit", tasks=[condition("t", "1", "1", depends_on=after("x"))])


def test_list(workspace: Workspace) -> None:
    """Newest first, page by page, with the filters of the API."""
    job_id = workspace.job([condition("t", "1", "1")], max_concurrent_runs=10)
    runs = [workspace.run_now(job_id) for _ in range(7)]
    for run in runs:
        workspace.ended(run)
    page = workspace.get("runs/list", job_id=job_id, limit=3)
    assert [run["run_id"] for run in page["runs"]] == runs[::-1][:3]
    assert page["has_more"]
    listed = list(workspace.client.jobs.list_runs(job_id=job_id, limit=3))
    assert [run.run_id for run in listed] == runs[::-1]
    expanded = list(workspace.client.jobs.list_runs(job_id=job_id, limit=3, expand_tasks=True))
    assert [len(run.tasks or []) for run in expanded] == [1] * 7
    assert not list(workspace.client.jobs.list_runs(job_id=job_id, active_only=True))
    assert len(list(workspace.client.jobs.list_runs(job_id=job_id, completed_only=True))) == 7
    last = workspace.get("runs/get", run_id=runs[-1])["start_time"]
    assert not list(workspace.client.jobs.list_runs(job_id=job_id, start_time_from=last + 1000))
    with pytest.raises(InvalidParameterValue, match="limit"):
        workspace.get("runs/list", limit=26)


def test_delete(workspace: Workspace) -> None:
    """A deleted run is gone, its token is not free again."""
    job_id = workspace.job([condition("t", "1", "1")])
    run_id = workspace.run_now(job_id, idempotency_token=f"delete-{job_id}")
    workspace.ended(run_id)
    workspace.client.jobs.delete_run(run_id)
    with pytest.raises(ResourceDoesNotExist, match="does not exist"):
        workspace.client.jobs.get_run(run_id)
    with pytest.raises(InvalidParameterValue, match="deleted"):
        workspace.run_now(job_id, idempotency_token=f"delete-{job_id}")


def test_errors(workspace: Workspace) -> None:
    """Unknown ids and wrong requests are refused with the platform's codes."""
    for call in (
        lambda: workspace.client.jobs.run_now(1),
        lambda: workspace.client.jobs.get_run(1),
        lambda: workspace.client.jobs.get_run_output(1),
        lambda: workspace.client.jobs.cancel_run(1),
        lambda: workspace.client.jobs.delete_run(1),
    ):
        with pytest.raises((InvalidParameterValue, ResourceDoesNotExist), match="does not exist"):
            call()
    with pytest.raises(InvalidParameterValue, match="no tasks"):
        workspace.run_now(workspace.job([]))
    several = workspace.run([condition("a", "1", "1"), condition("b", "1", "1")])
    with pytest.raises(InvalidParameterValue, match="multiple tasks"):
        workspace.client.jobs.get_run_output(several["run_id"])


def test_settings_at_the_start_count(workspace: Workspace) -> None:
    """A change of the job does not reach a run that was started before it."""
    job_id = workspace.job([condition("t", "{{job.name}}", "before")], name="before")
    run_id = workspace.run_now(job_id)
    workspace.post("update", job_id=job_id, new_settings={"name": "after"})
    run = workspace.ended(run_id)
    assert run["run_name"] == "before"
    assert result(run) == "SUCCESS"


def test_version_2_1(workspace: Workspace) -> None:
    """Jobs API 2.1 answers too, all tasks on one page."""
    tasks = [condition(f"t{n}", "1", "1") for n in range(101)]
    run_id = workspace.run_now(workspace.job(tasks))
    workspace.ended(run_id)
    old = workspace.client.api_client.do("GET", "/api/2.1/jobs/runs/get", query={"run_id": run_id})
    assert len(old["tasks"]) == 101
    new = workspace.get("runs/get", run_id=run_id)
    assert len(new["tasks"]) == 100
    assert new["next_page_token"]
