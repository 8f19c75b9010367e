"""Records of runs in SQLite."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.states import SUCCESS, State
from lakeflow_job_meta.local.runs.store import RunStore
from lakeflow_job_meta.local.state import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "state.sqlite")
    yield made
    made.close()


def run(store: RunStore, job_id: int = 1, **fields: object) -> RunRecord:
    return RunRecord(store.new_id(), job_id, "JOB_RUN", "n", {"tasks": []}, {}, **fields)  # type: ignore[arg-type]


def test_ids_are_never_used_again(database: Database) -> None:
    """Runs, task runs and repairs share one sequence, also after a restart."""
    store = RunStore(database)
    first = run(store)
    store.add_run(first)
    task = TaskRecord(store.new_id(), first.run_id, "t")
    store.add_tasks([task])
    store.delete_run(first.run_id)
    assert first.run_id < task.run_id < RunStore(database).new_id()


def test_round_trip(database: Database) -> None:
    """What is saved is read back, JSON parts included."""
    store = RunStore(database)
    made = run(store, created=5)
    made.request = {"job_parameters": {"ä": "'"}}
    made.settings = {"tasks": [{"task_key": "t"}], "tags": {"x": "\n"}}
    store.add_run(made)
    made.state, made.end_time = State("TERMINATED", "FAILED", "why", "CODE"), 9
    made.notifications.append({"event": "on_failure"})
    store.save_run(made)
    assert store.run(made.run_id) == made
    task = TaskRecord(store.new_id(), made.run_id, "t", original_id=3, output={"rows": [None]}, error="e")
    store.add_tasks([task])
    task.state, task.pid, task.pid_started = SUCCESS, 12, "then"
    store.save_task(task)
    assert store.task(task.run_id) == task


def test_latest_attempt(database: Database) -> None:
    """The latest attempt of each task, in the order of the tasks; iterations apart."""
    store = RunStore(database)
    for key, attempt in (("a", 0), ("b", 0), ("a", 1)):
        store.add_tasks([TaskRecord(store.new_id(), 7, key, attempt=attempt)])
    parent = store.latest(7)["b"]
    for index, attempt in ((1, 0), (0, 0), (1, 1)):
        store.add_tasks(
            [
                TaskRecord(
                    store.new_id(), 7, "inner", parent_id=parent.run_id, iteration=index, attempt=attempt
                )
            ]
        )
    assert [(task.task_key, task.attempt) for task in store.latest(7).values()] == [("a", 1), ("b", 0)]
    assert [(task.iteration, task.attempt) for task in store.iterations(parent.run_id)] == [(0, 0), (1, 1)]


def test_values(database: Database) -> None:
    """Task values by task; a later one replaces an earlier one."""
    store = RunStore(database)
    store.set_values(7, "a", {"x": 1, "y": [None]})
    store.set_values(7, "a", {"x": "two"})
    store.set_values(8, "a", {"x": 3})
    assert store.values(7) == {"a": {"x": "two", "y": [None]}}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_threads_leave_no_files_open(database: Database) -> None:
    """A thread a task, for weeks: connections of ended threads are closed."""
    store = RunStore(database)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        thread = threading.Thread(target=lambda: store.set_values(1, "t", {"k": 1}))
        thread.start()
        thread.join()
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 10
