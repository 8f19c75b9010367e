"""condition, for_each and run_job tasks."""

from __future__ import annotations

import json
import time

import pytest

from lakeflow_job_meta.local.runs.control import parse_inputs
from lakeflow_job_meta.local.runs.tasks import TaskFailure

from .conftest import Workspace, after, condition, python_task, result, states


@pytest.mark.parametrize(
    ("op", "left", "right", "outcome"),
    [
        ("EQUAL_TO", "12.0", "12", "false"),
        ("EQUAL_TO", "a", "a", "true"),
        ("NOT_EQUAL", "12.0", "12", "true"),
        ("GREATER_THAN_OR_EQUAL", "12.0", "12", "true"),
        ("GREATER_THAN_OR_EQUAL", "10.0", "12", "false"),
        ("GREATER_THAN", "100", "99", "true"),
        ("LESS_THAN", "-1", "1e2", "true"),
        ("LESS_THAN_OR_EQUAL", "3", "2", "false"),
    ],
)
def test_condition(workspace: Workspace, op: str, left: str, right: str, outcome: str) -> None:
    """Equality compares text, order compares numbers."""
    run = workspace.run([condition("c", left, right, op)])
    assert run["tasks"][0]["condition_task"]["outcome"] == outcome


def test_condition_without_numbers(workspace: Workspace) -> None:
    """An order of words is an error that names them."""
    run = workspace.run([condition("c", "a", "b", "LESS_THAN")])
    assert result(run) == "FAILED"
    assert "'a' and 'b'" in run["tasks"][0]["state"]["state_message"]


def for_each(key: str, inputs: str, task: dict[str, object], **more: object) -> dict[str, object]:
    concurrency = more.pop("concurrency", None)
    loop = {"inputs": inputs, "task": task, **({"concurrency": concurrency} if concurrency else {})}
    return {"task_key": key, "for_each_task": loop, **more}


def test_for_each(workspace: Workspace, unique: str) -> None:
    """Each element runs once with `{{input}}` and its fields; iterations and figures are there to read."""
    path = workspace.file(f"/Workspace/{unique}.py", "import sys\nprint(sys.argv[1:])\n")
    inner = python_task("inner", path, "{{input.name}}", "{{input}}", "{{task.name}}")
    inputs = json.dumps([{"name": "a"}, {"name": "b b"}, {"name": "c"}])
    run = workspace.run([for_each("loop", inputs, inner, concurrency=2)])
    assert result(run) == "SUCCESS"
    task = run["tasks"][0]
    stats = task["for_each_task"]["stats"]["task_run_stats"]
    assert (stats["total_iterations"], stats["succeeded_iterations"], stats["failed_iterations"]) == (3, 3, 0)
    loop = workspace.client.jobs.get_run(task["run_id"])
    assert loop.iterations is not None
    logs = [workspace.client.jobs.get_run_output(item.run_id or 0).logs for item in loop.iterations]
    assert logs == [f"['{name}', '{json.dumps({'name': name})}', 'inner']\n" for name in ("a", "b b", "c")]


def test_for_each_from_a_task_value(workspace: Workspace, unique: str) -> None:
    """Inputs may be the value of another task."""
    path = workspace.file(f"/Workspace/{unique}.py", "dbutils.jobs.taskValues.set('items', [1, 2])\n")
    run = workspace.run(
        [
            python_task("make", path),
            for_each(
                "loop",
                "{{tasks.make.values.items}}",
                condition("c", "{{input}}", "2"),
                depends_on=after("make"),
            ),
        ]
    )
    loop = workspace.get("runs/get", run_id=run["tasks"][1]["run_id"])
    assert [item["condition_task"]["outcome"] for item in loop["iterations"]] == ["false", "true"]


def test_for_each_failure(workspace: Workspace, unique: str) -> None:
    """A failed iteration fails the task; the others still run, retries are per iteration."""
    path = workspace.file(
        f"/Workspace/{unique}.py", "import sys\nif sys.argv[1] == '2':\n    raise ValueError('two')\n"
    )
    run = workspace.run(
        [for_each("loop", "[1, 2, 3]", python_task("inner", path, "{{input}}", max_retries=1))]
    )
    assert result(run) == "FAILED"
    assert workspace.output(run, "loop")["error"] == "1 of 3 iterations failed; iteration 1: ValueError: two"
    loop = workspace.get("runs/get", run_id=run["tasks"][0]["run_id"])
    assert [item["state"]["result_state"] for item in loop["iterations"]] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert [item["attempt_number"] for item in loop["iterations"]] == [0, 1, 0]


def test_for_each_pages_iterations(workspace: Workspace) -> None:
    """More than a hundred iterations come page by page."""
    run = workspace.run(
        [for_each("loop", json.dumps(list(range(120))), condition("c", "1", "1"), concurrency=20)]
    )
    first = workspace.get("runs/get", run_id=run["tasks"][0]["run_id"])
    assert len(first["iterations"]) == 100
    whole = workspace.client.jobs.get_run(run["tasks"][0]["run_id"])
    assert len(whole.iterations or []) == 120


def test_for_each_cancel(workspace: Workspace, unique: str) -> None:
    """A cancel ends the running iterations and starts no further one."""
    path = workspace.file(f"/Workspace/{unique}.py", "import time\ntime.sleep(60)\n")
    run_id = workspace.run_now(workspace.job([for_each("loop", "[1, 2, 3]", python_task("inner", path))]))
    while not workspace.engine.store.attempts(run_id)[0].output.get("stats"):
        time.sleep(0.02)
    workspace.post("runs/cancel", run_id=run_id)
    run = workspace.ended(run_id, 10)
    assert result(run) == "CANCELED"
    assert len(workspace.get("runs/get", run_id=run["tasks"][0]["run_id"])["iterations"]) <= 1


@pytest.mark.parametrize(
    ("text", "expected"), [("[1, 2]", [1, 2]), ("[]", []), ("a, b", ["a", "b"]), ('["x"]', ["x"]), ("7", [7])]
)
def test_inputs(text: str, expected: list[object]) -> None:
    """A JSON array, or words between commas."""
    assert parse_inputs(text) == expected


@pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2", "", "{{tasks.x.values.y}}", "true"])
def test_wrong_inputs(text: str) -> None:
    """What looks like JSON but is no array is an error."""
    with pytest.raises(TaskFailure, match="inputs"):
        parse_inputs(text)


def test_run_job(workspace: Workspace) -> None:
    """The child run gets its parameters, and its end is waited for."""
    child = workspace.job(
        [
            condition(
                "c",
                "{{job.parameters.env}}-{{job.parameters.day}}-{{job.trigger.type}}",
                "prod-mon-run_job_task",
            )
        ],
        parameters=[{"name": "env", "default": "dev"}, {"name": "day", "default": "sun"}],
    )
    run = workspace.run(
        [{"task_key": "r", "run_job_task": {"job_id": child, "job_parameters": {"day": "mon"}}}],
        parameters=[{"name": "env", "default": "prod"}, {"name": "unknown_to_the_child", "default": "x"}],
    )
    assert result(run) == "SUCCESS"
    child_id = workspace.output(run, "r")["run_job_output"]["run_id"]
    child_run = workspace.get("runs/get", run_id=child_id)
    assert child_run["trigger"] == "RUN_JOB_TASK"
    assert child_run["trigger_info"]["run_id"] == run["tasks"][0]["run_id"]
    assert child_run["tasks"][0]["condition_task"]["outcome"] == "true"
    assert "unknown_to_the_child" not in str(child_run["job_parameters"])


def test_run_job_fails(workspace: Workspace) -> None:
    """A child that fails fails the task; so does a job that is not there."""
    child = workspace.job([{"task_key": "p", "pipeline_task": {"pipeline_id": "x"}}])
    run = workspace.run(
        [
            {"task_key": "r", "run_job_task": {"job_id": child}},
            {"task_key": "gone", "run_job_task": {"job_id": 12345}},
        ]
    )
    assert states(run) == {"r": "FAILED", "gone": "FAILED"}
    assert "ended FAILED: Task p failed" in workspace.output(run, "r")["error"]
    assert "does not exist" in workspace.output(run, "gone")["error"]


def test_run_job_cancel(workspace: Workspace, unique: str) -> None:
    """Canceling the parent cancels the child."""
    path = workspace.file(f"/Workspace/{unique}.py", "import time\ntime.sleep(60)\n")
    child = workspace.job([python_task("t", path)])
    run_id = workspace.run_now(workspace.job([{"task_key": "r", "run_job_task": {"job_id": child}}]))
    while not workspace.engine.active_runs(child):
        time.sleep(0.02)
    workspace.post("runs/cancel", run_id=run_id)
    assert result(workspace.ended(run_id, 15)) == "CANCELED"
    assert workspace.engine.active_runs(child) == 0
    assert workspace.get("runs/list", job_id=child)["runs"][0]["state"]["result_state"] == "CANCELED"
