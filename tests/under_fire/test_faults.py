"""Faults of the platform over real HTTP: whatever fails, it converges, and nothing is doubled or lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.errors import Throttled, Unavailable, WorkspaceError
from lakeflow_job_meta.names import module_tag
from tests.embedded import run
from tests.under_fire.world import World, errors, job_row, kinds, notebook, pass_over, sql

pytestmark = pytest.mark.slow

CREATE = {"method": "POST", "path": "/api/2.2/jobs/create"}
REFUSAL = {"status": 400, "error_code": "INVALID_PARAMETER_VALUE", "message": "Cluster policy says no."}
ENTRIES = [{"group_name": "data-eng", "level": "CAN_MANAGE_RUN"}]


def furnish(world: World, revision: int = 0) -> list[str]:
    """Modules of every sort: many, so that they are listed; with queries, permissions, a trigger."""
    names = [f"m{number:02}" for number in range(22)]
    rows = [notebook("a", name, timeout_seconds=100 + revision) for name in names]
    rows += [sql("q", name, f"SELECT {revision}") for name in names[:3]]
    rows += [job_row(name, permissions=ENTRIES) for name in names[:2]]
    world.put(*rows)
    return names


def until_idle(world: World, most: int = 12) -> int:
    """Passes until one has nothing to do and no error."""
    orchestrator = world.orchestrator()
    for count in range(1, most + 1):
        try:
            result = pass_over(orchestrator)
        except WorkspaceError:
            continue  # the look at the workspace failed: nothing was begun
        if not result.writes and not errors(result):
            return count
    raise AssertionError(f"still not idle after {most} passes: {errors(result)}")


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "retry_after": 2, "probability": 0.5},
        {"status": 500, "probability": 0.25},
        {"status": 503, "probability": 0.25},
        {"html": True, "probability": 0.25},
        {"reset": "before", "probability": 0.25},
        {"reset": "after", "probability": 0.25},
    ],
    ids=lambda fault: "-".join(str(fault[name]) for name in ("status", "html", "reset") if name in fault),
)
def test_everything_fails_now_and_then(world: World, fault: dict[str, Any]) -> None:
    """Under a fault on any call, through creates, edits and retirements: it converges, and nothing is doubled."""
    names = furnish(world)
    with world.faults({**fault, "seed": 5}):
        until_idle(world)
        assert world.struck() > 10
    world.check_sound(*names)
    before = world.live()

    furnish(world, revision=1)
    world.put(notebook("a", "m21", active=False), sql("q", "m00", "SELECT 1", active=False))
    with world.faults({**fault, "seed": 6}):
        until_idle(world)
    world.check_sound(*names[:-1])
    assert world.live() == {tag: job_id for tag, job_id in before.items() if tag != module_tag("m21")}
    assert until_idle(world) == 1
    assert {task["task_key"] for task in world.job("m00")["settings"]["tasks"]} == {"a"}


HANGS = {
    "create": CREATE,
    "reset": {"path": "/api/2.2/jobs/reset"},
    "query create": {"method": "POST", "path": "/api/2.0/sql/queries"},
    "query update": {"method": "PATCH", "path": "/api/2.0/sql/queries"},
    "query delete": {"method": "DELETE", "path": "/api/2.0/sql/queries"},
    "permissions": {"method": "PUT", "path": "/api/2.0/permissions"},
    "listing": {"path": "/api/2.2/jobs/list"},
    "folder": {"path": "/api/2.0/workspace/mkdirs"},
}


@pytest.mark.parametrize("call", HANGS)
def test_an_answer_that_never_comes_after_the_commit(world: World, call: str) -> None:
    """Each call that writes is carried out, and its answer is lost: one of everything in the end."""
    rule = {**HANGS[call], "hang": "after", "hang_seconds": 20, "count": 1}
    orchestrator = world.orchestrator(queries_path=f"/Workspace/Shared/{world.table.schema}")
    world.put(notebook("a", "one"), sql("q", "one", "SELECT 1"), job_row("one", permissions=ENTRIES))
    with world.faults(rule):
        pass_over(orchestrator)
        world.put(notebook("a", "one", max_retries=2), sql("q", "one", "SELECT 2"))
        pass_over(orchestrator)
        world.put(sql("q", "one", "SELECT 2", active=False))
        pass_over(orchestrator)
        assert world.struck() == 1
    pass_over(orchestrator)
    assert pass_over(orchestrator).writes == 0
    world.check_sound("one")
    assert world.there.queries() == {}
    assert world.job("one")["settings"]["tasks"][0]["max_retries"] == 2


def test_a_rate_limit_that_does_not_end(world: World) -> None:
    """Retry-After is heeded; when the patience is over the error says so, and nothing was done twice."""
    furnish(world)
    orchestrator = world.orchestrator()
    plan = orchestrator.plan()
    with world.faults({**CREATE, "status": 429, "retry_after": 7}):
        result = orchestrator.apply(plan)
        # A new orchestrator's first question, and a listing, fail as a whole: one clear error.
        with world.faults({"status": 429, "retry_after": 7}), pytest.raises(Throttled, match="rate limit"):
            world.orchestrator().plan()
    assert all(7 <= wait <= 8 for wait in world.clock.waits if wait > 3), world.clock.waits
    assert len(errors(result)) == 22
    assert all("create the job 'm" in error and "rate limit" in error for error in errors(result).values())
    assert result.exit_code == 1
    assert world.live() == {}
    assert until_idle(world) == 2


def test_one_module_that_the_platform_refuses_blocks_no_other(world: World) -> None:
    """The refusal is that module's own, with the platform's words, and is tried again."""
    world.put(*(notebook("a", name) for name in ("good", "other")), notebook("a", "zz_bad"))
    orchestrator = world.orchestrator(parallel_calls=1)
    with world.faults({**CREATE, "nth": 3, **REFUSAL}):
        result = pass_over(orchestrator)
    assert kinds(result) == {"create": 3}
    [error] = errors(result).items()
    assert error[0] == "zz_bad"
    assert "create the job 'zz_bad'" in error[1]
    assert "Cluster policy says no" in error[1]
    world.check_sound("good", "other")
    status = {one.module: (one.status, one.error) for one in orchestrator.status(runs=False)}
    assert status["zz_bad"][0] == "failed"
    assert "Cluster policy says no" in status["zz_bad"][1]
    assert pass_over(orchestrator).writes == 1
    world.check_sound("good", "other", "zz_bad")


def test_the_command_line_names_module_and_cause(world: World, warm_programs: Path) -> None:
    """Exit code 1; what failed and why on the screen; what was sound is done."""
    world.put(notebook("a", "good"))
    pass_over(world.orchestrator())
    world.put(notebook("a", "bad"))
    program = str(warm_programs / "lakeflow-job-meta")
    command = ["--control-table", str(world.table), "--local", world.connection.directory]
    with world.faults({**CREATE, **REFUSAL}):
        done = run(program, "apply", *command)
    assert done.returncode == 1
    assert "! failed bad" in done.stdout
    assert "Cluster policy says no" in done.stdout
    assert "1 failed, 1 unchanged" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    with world.faults({"status": 429, "retry_after": 0, "count": 1}):
        assert run(program, "apply", *command).returncode == 0
    world.check_sound("good", "bad")


def test_a_listing_that_breaks_off_is_no_short_listing(world: World) -> None:
    """The second page fails: the pass fails; jobs that were not listed are neither made again nor retired."""
    names = [f"m{number:03}" for number in range(120)]
    world.put(*(notebook("a", name) for name in names))
    orchestrator = world.orchestrator()
    pass_over(orchestrator)
    before = world.live()
    listing = {"path": "/api/2.2/jobs/list"}
    first_page_passes = {**listing, "nth": 1, "delay_ms": 1}
    for fault in (REFUSAL, {"status": 500}, {"reset": "after"}):
        with (
            world.faults(first_page_passes, {**listing, **fault}),
            pytest.raises(WorkspaceError, match="list the jobs"),
        ):
            orchestrator.plan()
    assert world.live() == before
    assert pass_over(orchestrator).writes == 0


def test_a_workspace_that_is_down(world: World) -> None:
    """The error names the host's trouble; the monitor goes on, says so, and mends it all when it is back."""
    names = furnish(world)
    assert list(world.folder.iterdir()) == []
    monitor = world.monitor()
    with world.faults({"reset": "before"}):
        tick = monitor.check_and_update()
        assert any("jobs: " in error and "workspace" in error for error in tick["errors"]), tick["errors"]
        with pytest.raises(Unavailable, match="workspace"):
            world.orchestrator().plan()
    for _ in range(3):
        tick = monitor.check_and_update()
    assert tick["errors"] == []
    world.check_sound(*names)


def test_a_job_that_may_not_be_read_is_not_made_again(world: World) -> None:
    """403: deleted or out of reach, nobody can tell. It is refused with what to do, never doubled; others go on."""
    world.put(notebook("a", "hidden"), notebook("a", "other"))
    orchestrator = world.orchestrator()
    pass_over(orchestrator)
    job_id = world.job("hidden")["job_id"]
    world.put(notebook("a", "hidden", max_retries=1), notebook("a", "other", max_retries=1))
    words = {"error_code": "PERMISSION_DENIED", "message": "User lacks View"}
    denied = {"method": "GET", "path": "/api/2.2/jobs/get", "status": 403, **words}
    world.call("POST", "/api/2.2/jobs/delete", {"job_id": job_id})
    with world.faults(denied):
        for compare in (True, False):
            result = pass_over(orchestrator, compare=compare)
            assert kinds(result)["refused"] == 1
            [reason] = result.plan.refused[0].reasons
            assert f"job {job_id}" in reason
            assert "User lacks View" in reason
            assert "etl_control_jobs" in reason
    world.check_sound("other")
    assert world.job("other")["settings"]["tasks"][0]["max_retries"] == 1
    pass_over(orchestrator)  # it answers: the job is gone
    world.check_sound("hidden", "other")
