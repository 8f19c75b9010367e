"""Job runs as a whole: the graph, retries, timeouts, cancel, the queue, repairs, restarts."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lakeflow_job_meta.local.runs.processes import start_time_of
from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.states import RUNNING

from .conftest import Workspace, after, condition, python_task, result, states, until

SLEEP = "import time\nopen('/Volumes/main/t/v/{0}', 'w').close()\ntime.sleep(60)\n"


def flag(workspace: Workspace, name: str) -> Path:
    """A file below the volume main.t.v, whose folder is there."""
    path = workspace.folder.volume_path(f"/Volumes/main/t/v/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def sleeper(workspace: Workspace, name: str) -> str:
    """A Python file that says when it has begun, and then sleeps."""
    flag(workspace, name)
    return workspace.file(f"/Workspace/engine/{name}.py", SLEEP.format(name))


def failing(workspace: Workspace, name: str, times: int) -> str:
    """A Python file that fails so many times, then succeeds; it counts its calls in a volume."""
    counter = f"/Volumes/main/t/v/{name}"
    flag(workspace, name).write_text("")
    return workspace.file(
        f"/Workspace/engine/{name}.py",
        f"open({counter!r}, 'a').write('x')\nif len(open({counter!r}).read()) <= {times}:\n    raise RuntimeError('not yet')\n",
    )


def test_graph_with_failures(workspace: Workspace, unique: str) -> None:
    """Every task ends as its run_if says, and the leaves decide about the run."""
    bad = workspace.file(f"/Workspace/{unique}.py", "raise ValueError('boom')\n")
    run = workspace.run(
        [
            condition("ok", "1", "1"),
            python_task("bad", bad),
            condition("behind_bad", "1", "1", depends_on=after("bad")),
            condition("behind_that", "1", "1", depends_on=after("behind_bad")),
            condition("cleanup", "1", "1", depends_on=after("bad", "ok"), run_if="AT_LEAST_ONE_FAILED"),
            condition("alarm", "1", "1", depends_on=after("ok"), run_if="ALL_FAILED"),
            condition("always", "1", "1", depends_on=after("bad", "alarm"), run_if="ALL_DONE"),
            condition("no", "1", "2"),
            condition("then", "1", "1", depends_on=after("no", outcome="true")),
            condition("else", "1", "1", depends_on=after("no", outcome="false")),
        ]
    )
    assert states(run) == {
        "ok": "SUCCESS",
        "bad": "FAILED",
        "behind_bad": "UPSTREAM_FAILED",
        "behind_that": "UPSTREAM_FAILED",
        "cleanup": "SUCCESS",
        "alarm": "EXCLUDED",
        "always": "SUCCESS",
        "no": "SUCCESS",
        "then": "EXCLUDED",
        "else": "SUCCESS",
    }
    assert result(run) == "FAILED"
    assert run["state"]["state_message"] == "Task bad failed with message: ValueError: boom"
    assert run["status"]["termination_details"]["code"] == "RUN_EXECUTION_ERROR"


def test_success_with_failures(workspace: Workspace, unique: str) -> None:
    """A failure above a leaf that succeeded is no failure of the run."""
    bad = workspace.file(f"/Workspace/{unique}.py", "raise ValueError('boom')\n")
    run = workspace.run(
        [python_task("bad", bad), condition("leaf", "1", "1", depends_on=after("bad"), run_if="ALL_DONE")]
    )
    assert result(run) == "SUCCESS_WITH_FAILURES"


def test_disabled_task(workspace: Workspace) -> None:
    """A disabled task does not run, nor does what needs it; the run succeeds."""
    run = workspace.run(
        [
            condition("off", "1", "1", disabled=True),
            condition("needs", "1", "1", depends_on=after("off")),
            condition("anyway", "1", "1", depends_on=after("off"), run_if="ALL_DONE"),
        ]
    )
    assert states(run) == {"off": "DISABLED", "needs": "DISABLED", "anyway": "SUCCESS"}
    assert result(run) == "SUCCESS"


@pytest.mark.parametrize(
    "task",
    [
        {"pipeline_task": {"pipeline_id": "x"}},
        {"spark_jar_task": {"main_class_name": "x"}},
        {"spark_submit_task": {"parameters": ["x"]}},
        {"dbt_task": {"commands": ["dbt run"], "project_directory": "/x"}},
        {"dashboard_task": {"dashboard_id": "x"}},
        {"sql_task": {"warehouse_id": "local", "alert": {"alert_id": "x"}}},
        {"sql_task": {"warehouse_id": "local", "dashboard": {"dashboard_id": "x"}}},
        {"notebook_task": {"notebook_path": "x", "source": "GIT"}},
    ],
)
def test_what_cannot_run_fails(workspace: Workspace, task: dict[str, object]) -> None:
    """A task that the embedded workspace cannot run fails, says so, and is not tried again."""
    run = workspace.run([{"task_key": "t", "max_retries": 3, **task}])
    assert states(run) == {"t": "FAILED"}
    assert run["tasks"][0]["attempt_number"] == 0
    assert "embedded workspace" in workspace.output(run, "t")["error"]


def test_retries(workspace: Workspace, unique: str) -> None:
    """A task is tried again until it succeeds; get shows the last attempt, each attempt has its own id."""
    run = workspace.run([python_task("t", failing(workspace, unique, 2), max_retries=3)])
    assert result(run) == "SUCCESS"
    task = run["tasks"][0]
    assert task["attempt_number"] == 2
    attempts = workspace.engine.store.attempts(run["run_id"])
    assert [a.state.result for a in attempts] == ["FAILED", "FAILED", "SUCCESS"]
    first = workspace.get("runs/get", run_id=attempts[0].run_id)
    last = workspace.get("runs/get", run_id=attempts[2].run_id)
    assert last["original_attempt_run_id"] == first["run_id"]
    assert last["trigger"] == "RETRY"
    assert "not yet" in workspace.get("runs/get-output", run_id=attempts[1].run_id)["error"]


def test_retries_run_out(workspace: Workspace, unique: str) -> None:
    """max_retries is a limit."""
    run = workspace.run([python_task("t", failing(workspace, unique, 9), max_retries=1)])
    assert result(run) == "FAILED"
    assert run["tasks"][0]["attempt_number"] == 1


def test_retry_interval_counts_from_the_start(workspace: Workspace, unique: str) -> None:
    """min_retry_interval_millis lies between the starts of two attempts."""
    run = workspace.run(
        [python_task("t", failing(workspace, unique, 1), max_retries=1, min_retry_interval_millis=700)]
    )
    first, second = workspace.engine.store.attempts(run["run_id"])
    assert 0.7 <= (second.start_time - first.start_time) / 1000 < 5


def test_endless_retries_end_with_success_or_cancel(workspace: Workspace, unique: str) -> None:
    """-1 retries for ever; a cancel ends it, and the wait for the next attempt too."""
    path = failing(workspace, unique, 99)
    run_id = workspace.run_now(
        workspace.job([python_task("t", path, max_retries=-1, min_retry_interval_millis=60_000)])
    )
    until(
        lambda: (
            workspace.get("runs/get", run_id=run_id)["tasks"][0]["state"]["life_cycle_state"]
            == "WAITING_FOR_RETRY"
        )
    )
    workspace.post("runs/cancel", run_id=run_id)
    run = workspace.ended(run_id, 10)
    assert result(run) == "CANCELED"
    assert states(run) == {"t": "CANCELED"}


def test_task_timeout(workspace: Workspace, unique: str) -> None:
    """A task over its time is killed and TIMEDOUT, without retry unless retry_on_timeout."""
    path = sleeper(workspace, unique)
    run = workspace.run([python_task("t", path, timeout_seconds=1, max_retries=1)])
    assert (result(run), states(run)) == ("TIMEDOUT", {"t": "TIMEDOUT"})
    assert run["tasks"][0]["attempt_number"] == 0
    assert "1 seconds" in run["tasks"][0]["state"]["state_message"]
    run = workspace.run([python_task("t", path, timeout_seconds=1, max_retries=1, retry_on_timeout=True)])
    assert run["tasks"][0]["attempt_number"] == 1


def test_job_timeout(workspace: Workspace, unique: str) -> None:
    """A run over the job's time ends TIMEDOUT with everything in it."""
    run = workspace.run(
        [python_task("t", sleeper(workspace, unique)), condition("u", "1", "1", depends_on=after("t"))],
        timeout_seconds=1,
    )
    assert (result(run), states(run)) == ("TIMEDOUT", {"t": "TIMEDOUT", "u": "TIMEDOUT"})


def test_cancel_kills(workspace: Workspace, unique: str) -> None:
    """cancel ends the process within seconds and marks what had not begun."""
    run_id = workspace.run_now(
        workspace.job(
            [python_task("t", sleeper(workspace, unique)), condition("u", "1", "1", depends_on=after("t"))]
        )
    )
    until(flag(workspace, unique).exists)
    (record,) = [task for task in workspace.engine.store.attempts(run_id) if task.task_key == "t"]
    assert record.pid
    workspace.post("runs/cancel", run_id=run_id)
    run = workspace.ended(run_id, 10)
    assert (result(run), states(run)) == ("CANCELED", {"t": "CANCELED", "u": "CANCELED"})
    assert run["status"]["termination_details"]["code"] == "USER_CANCELED"
    assert start_time_of(record.pid) != record.pid_started
    workspace.post("runs/cancel", run_id=run_id)  # again: nothing to do


def test_queue_and_limit(workspace: Workspace, unique: str) -> None:
    """A run over max_concurrent_runs waits in the queue; without one it is skipped."""
    tasks = [python_task("t", sleeper(workspace, unique))]
    job_id = workspace.job(tasks)
    first, second = workspace.run_now(job_id), workspace.run_now(job_id)
    waiting = workspace.get("runs/get", run_id=second)
    assert waiting["state"]["life_cycle_state"] == "QUEUED"
    assert waiting["status"]["queue_details"]["code"] == "MAX_CONCURRENT_RUNS_REACHED"
    workspace.post("runs/cancel", run_id=first)
    until(lambda: workspace.get("runs/get", run_id=second)["state"]["life_cycle_state"] == "RUNNING")
    workspace.post("runs/cancel-all", job_id=job_id)
    assert result(workspace.ended(second, 10)) == "CANCELED"

    job_id = workspace.job(tasks, queue={"enabled": False})
    first, second = workspace.run_now(job_id), workspace.run_now(job_id)
    skipped = workspace.get("runs/get", run_id=second)
    assert skipped["state"]["life_cycle_state"] == "SKIPPED"
    assert skipped["state"]["result_state"] == "MAXIMUM_CONCURRENT_RUNS_REACHED"
    workspace.post("runs/cancel", run_id=first)


def test_canceled_in_the_queue(workspace: Workspace, unique: str) -> None:
    """cancel-all ends the waiting and the running."""
    job_id = workspace.job([python_task("t", sleeper(workspace, unique))])
    runs = [workspace.run_now(job_id) for _ in range(3)]
    workspace.post("runs/cancel-all", job_id=job_id)
    assert [result(workspace.ended(run, 10)) for run in runs] == ["CANCELED"] * 3
    assert workspace.engine.active_runs(job_id) == 0


def test_several_at_once(workspace: Workspace, unique: str) -> None:
    """max_concurrent_runs above one lets runs overlap."""
    job_id = workspace.job([python_task("t", sleeper(workspace, unique))], max_concurrent_runs=2)
    runs = [workspace.run_now(job_id) for _ in range(2)]
    assert all(
        workspace.get("runs/get", run_id=run)["state"]["life_cycle_state"] == "RUNNING" for run in runs
    )
    workspace.post("runs/cancel-all", job_id=job_id)
    for run in runs:
        workspace.ended(run, 10)


def test_deleted_job(workspace: Workspace, unique: str) -> None:
    """Deleting a job ends its runs."""
    job_id = workspace.job([python_task("t", sleeper(workspace, unique))])
    run_id = workspace.run_now(job_id)
    workspace.client.jobs.delete(job_id)
    assert result(workspace.ended(run_id, 10)) == "CANCELED"


def test_repair(workspace: Workspace, unique: str) -> None:
    """A repair runs the failed tasks again, keeps the others, and stands in the history."""
    path = failing(workspace, unique, 1)
    job_id = workspace.job(
        [
            condition("fine", "1", "1"),
            python_task("t", path, depends_on=after("fine")),
            condition("behind", "{{job.repair_count}}", "1", depends_on=after("t")),
        ]
    )
    run = workspace.ended(workspace.run_now(job_id))
    assert result(run) == "FAILED"
    before = {task["task_key"]: task["run_id"] for task in run["tasks"]}
    repair_id = workspace.post("runs/repair", run_id=run["run_id"], rerun_all_failed_tasks=True)["repair_id"]
    run = workspace.ended(run["run_id"])
    assert (result(run), states(run)) == ("SUCCESS", {"fine": "SUCCESS", "t": "SUCCESS", "behind": "SUCCESS"})
    now = {task["task_key"]: task["run_id"] for task in run["tasks"]}
    assert now["fine"] == before["fine"]
    assert now["t"] != before["t"]
    assert run["tasks"][-1]["condition_task"]["outcome"] == "true"
    history = workspace.get("runs/get", run_id=run["run_id"], include_history="true")["repair_history"]
    assert [(entry["type"], entry.get("id")) for entry in history] == [
        ("ORIGINAL", None),
        ("REPAIR", repair_id),
    ]
    assert history[1]["state"]["result_state"] == "SUCCESS"
    from databricks.sdk.errors import InvalidParameterValue

    with pytest.raises(InvalidParameterValue, match="latest_repair_id"):
        workspace.post("runs/repair", run_id=run["run_id"], rerun_tasks=["t"])
    workspace.post(
        "runs/repair",
        run_id=run["run_id"],
        rerun_tasks=["t"],
        rerun_dependent_tasks=True,
        latest_repair_id=repair_id,
    )
    assert result(workspace.ended(run["run_id"])) == "SUCCESS"


def test_notifications_are_recorded(workspace: Workspace) -> None:
    """What would have been sent stands in the run."""
    run = workspace.run(
        [condition("t", "1", "1", email_notifications={"on_success": ["a@b.c"]})],
        email_notifications={"on_start": ["s@b.c"], "on_failure": ["f@b.c"]},
        webhook_notifications={"on_success": [{"id": "hook"}]},
    )
    sent = {(n["event"], n["task_key"], n.get("email") or n.get("webhook_id")) for n in run["notifications"]}
    assert sent == {("on_start", "", "s@b.c"), ("on_success", "t", "a@b.c"), ("on_success", "", "hook")}


def test_a_thousand_tasks(workspace: Workspace) -> None:
    """A job of the platform's size runs, page by page, in the order of its dependencies."""
    tasks = [
        condition(f"t{n}", "1", "1", depends_on=after(f"t{n - 1}") if n % 10 else []) for n in range(1000)
    ]
    run_id = workspace.run_now(workspace.job(tasks))
    run = workspace.client.jobs.wait_get_run_job_terminated_or_skipped(run_id)
    assert run.state is not None
    assert run.state.result_state is not None
    assert run.state.result_state.value == "SUCCESS"
    assert run.tasks is not None
    assert [task.task_key for task in run.tasks] == [f"t{n}" for n in range(1000)]


def test_stop_and_restart(own_workspace: Workspace) -> None:
    """A stopped engine ends its runs and processes; the next one goes on with what was queued."""
    workspace = own_workspace
    job_id = workspace.job([python_task("t", sleeper(workspace, "stopping"))])
    first, second = workspace.run_now(job_id), workspace.run_now(job_id)
    until(flag(workspace, "stopping").exists)
    (record,) = workspace.engine.store.attempts(first)
    workspace.engine.stop()
    assert start_time_of(record.pid) != record.pid_started
    run = workspace.get("runs/get", run_id=first)
    assert run["state"]["life_cycle_state"] == "INTERNAL_ERROR"
    assert "stopped" in run["state"]["state_message"]
    assert workspace.get("runs/get", run_id=second)["state"]["life_cycle_state"] == "QUEUED"
    again = workspace.new_engine()
    again.start()
    try:
        until(lambda: workspace.get("runs/get", run_id=second)["state"]["life_cycle_state"] == "RUNNING")
    finally:
        again.stop()


def test_recovery_after_a_kill(own_workspace: Workspace) -> None:
    """Runs that a dead process left RUNNING end as INTERNAL_ERROR, and its orphans are killed."""
    workspace = own_workspace
    orphan = subprocess.Popen(["sleep", "60"], start_new_session=True)
    store = workspace.engine.store
    settings = {"tasks": [condition("t", "1", "1")]}
    run = RunRecord(
        store.new_id(), 0, "SUBMIT_RUN", "left", settings, {}, state=RUNNING, created=1, start_time=1
    )
    task = TaskRecord(
        store.new_id(),
        run.run_id,
        "t",
        state=RUNNING,
        pid=orphan.pid,
        pid_started=start_time_of(orphan.pid),
    )
    store.add_run(run)
    store.add_tasks([task])
    again = workspace.new_engine()
    again.start()
    try:
        left = workspace.get("runs/get", run_id=run.run_id)
        assert left["state"]["life_cycle_state"] == "INTERNAL_ERROR"
        assert left["state"]["result_state"] == "FAILED"
        assert "workspace stopped" in left["state"]["state_message"]
        assert left["tasks"][0]["state"]["life_cycle_state"] == "INTERNAL_ERROR"
        assert orphan.wait(timeout=5) == -signal.SIGKILL
    finally:
        again.stop()


def test_kill_of_the_workspace_kills_its_tasks(tmp_path: Path) -> None:
    """kill -9 of the process takes the tasks with it, within seconds."""
    pidfile = tmp_path / "pid"
    task = tmp_path / "workspace" / "Workspace" / "task.py"
    task.parent.mkdir(parents=True)
    task.write_text(f"import os, time\nopen({str(pidfile)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    engine = subprocess.Popen([sys.executable, "-c", LONELY_ENGINE, str(tmp_path / "workspace")])
    try:
        pid = int(until(lambda: pidfile.exists() and pidfile.read_text()))
        started = start_time_of(pid)
    finally:
        engine.kill()
        engine.wait()
    until(lambda: start_time_of(pid) != started, 5)


LONELY_ENGINE = """
import sys, time
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs.engine import RunEngine
from lakeflow_job_meta.local.state import Database, Jobs, Secrets
folder = Folder.at(sys.argv[1])
folder.prepare()
database = Database(folder.state)
engine = RunEngine(folder, database, Jobs(database), {}, None, Secrets(database))
engine.submit({"tasks": [{"task_key": "t", "spark_python_task": {"python_file": "/task.py"}}]})
time.sleep(60)
"""


def test_idempotency_token(workspace: Workspace) -> None:
    """The same token gives the same run, also when both come at once."""
    job_id = workspace.job([condition("t", "1", "1")])
    found: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(workspace.run_now(job_id, idempotency_token=f"token-{job_id}"))
        )
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(workspace.get("runs/list", job_id=job_id)["runs"]) == 1
    from databricks.sdk.errors import InvalidParameterValue

    with pytest.raises(InvalidParameterValue, match="64 characters"):
        workspace.run_now(job_id, idempotency_token="x" * 65)
