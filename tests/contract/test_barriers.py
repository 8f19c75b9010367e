"""Barriers on a server that runs them: every task behind one ends as its run_if says."""

from __future__ import annotations

import time

import pytest

from lakeflow_job_meta.ports import Workspace
from tests.contract.servers import Server
from tests.jobs.modules import module, rendered, source
from tests.jobs.test_stages import RUN_IFS, met

BEFORE = 30
GROUP = 8
BAD = {"op": "GREATER_THAN", "left": "no", "right": "number"}


@pytest.fixture
def workspace(servers: dict[str, Server]) -> Workspace:
    return servers["embedded"].workspace()


@pytest.mark.parametrize("failing", [0, 1, BEFORE])
def test_what_is_behind_a_barrier_ends_as_its_run_if_says(workspace: Workspace, failing: int):
    """All, one or none of the stage before fail; the other stage has every run_if."""
    definition = module(
        *(source(f"a{n}", 1, settings=BAD if n < failing else None) for n in range(BEFORE)),
        *(source(f"{run_if}-{n}", 2, run_if=run_if) for run_if in RUN_IFS for n in range(GROUP)),
    )
    settings = rendered(definition).settings
    barriers = [task["task_key"] for task in settings["tasks"] if "barrier" in task["task_key"]]
    assert len(barriers) == len(RUN_IFS)
    job_id = workspace.jobs.create(settings)
    run_id = workspace.jobs.run_now(job_id)
    deadline = time.monotonic() + 60
    while not (run := workspace.jobs.run(run_id)).ended:
        assert time.monotonic() < deadline, run
        time.sleep(0.1)
    ends = ["FAILED"] * failing + ["SUCCESS"] * (BEFORE - failing)
    results = {task.task_key: task.result_state for task in run.tasks}
    assert [results[f"a{n}"] for n in range(BEFORE)] == ends
    for run_if in RUN_IFS:
        expected = met(run_if, ends).replace("RUN", "SUCCESS")
        assert {results[f"{run_if}-{n}"] for n in range(GROUP)} == {expected}, run_if
