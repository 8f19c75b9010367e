"""Several writers on one control table, and what they read taken away from under them: nothing doubled, lost, retired."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakeflow_job_meta.errors import TablesError
from lakeflow_job_meta.local import process
from lakeflow_job_meta.names import MODULE_TAG, module_tag
from lakeflow_job_meta.orchestrator import JobOrchestrator
from tests.embedded import BIN, environment, wait_for
from tests.under_fire.world import World, errors, job_row, kinds, notebook, pass_over, sql

pytestmark = pytest.mark.slow


def start(world: World, programs: Path, command: str, *arguments: str) -> subprocess.Popen[str]:
    """`lakeflow-job-meta COMMAND` on the world, as a process of its own."""
    shared = ["--control-table", str(world.table), "--local", world.connection.directory, "--format", "json"]
    return subprocess.Popen(
        [str(programs / "lakeflow-job-meta"), command, *shared, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def end(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = child.communicate(timeout=120)
    assert "Traceback" not in out + err
    return child.returncode, out, err


@contextmanager
def own_session(world: World) -> Iterator[Any]:
    """A Spark session of its own, as another process has one."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.remote(world.connection.spark_remote).create()
    try:
        yield session
    finally:
        session.stop()


def modules(*names: str, **config: Any) -> str:
    """A metadata file with these modules, of one task and one saved query each."""
    task = {"task_type": "notebook", "notebook_path": "/Workspace/a", **config}
    query = {"task_type": "sql_query", "sql_task": {"warehouse_id": "w", "sql_query": "SELECT 1"}}
    sources = [
        {"source_id": "a", "source_type": "n", "execution_order": 1, "transformation_config": task},
        {"source_id": "q", "source_type": "sql", "execution_order": 2, "transformation_config": query},
    ]
    content = {"modules": [{"module_name": name, "sources": sources} for name in names]}
    text: str = yaml.dump(content, Dumper=Plain, sort_keys=False)
    return text


class Plain(yaml.SafeDumper):
    """YAML without anchors and brackets, of which any number of lines is sound YAML again."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_waiting() -> None:
    """Instead of the fixture of all tests: commits that lost wait before they are repeated, as in production."""


# ---------------------------------------------------------------- writers at once


def test_two_orchestrators_and_a_monitor_at_once(world: World, warm_programs: Path) -> None:
    """Three processes, nothing there yet, not even the tables: each job is made once, and nobody fails."""
    names = [f"m{number:02}" for number in range(24)]
    (world.folder / "a.yaml").write_text(modules(*names[:12]))
    (world.folder / "b.yaml").write_text(modules(*names[12:]))
    watch = ["--volume-path", world.volume, "--check-interval-seconds", "0.3", "--max-iterations", "3"]
    writers = [
        start(world, warm_programs, "monitor", *watch),
        start(world, warm_programs, "apply", "--yaml", str(world.folder)),
        start(world, warm_programs, "apply"),
    ]
    ended = [end(writer) for writer in writers]
    assert [code for code, _, _ in ended] == [0, 0, 0], ended
    world.check_sound(*names)
    assert pass_over(world.orchestrator()).writes == 0


def test_many_writers_on_metadata_that_moves(world: World) -> None:
    """Six orchestrators with sessions of their own, while rows are edited: all converge to the last edit."""
    names = [f"m{number}" for number in range(8)]
    world.put(*(notebook("a", name) for name in names))

    def write(session: Any) -> None:
        orchestrator = world.orchestrator(session)
        for _ in range(3):
            pass_over(orchestrator)

    with own_session(world) as one, own_session(world) as other, ThreadPoolExecutor(6) as pool:
        working = [pool.submit(write, session) for session in (one, other, world.session) * 2]
        for revision in range(1, 4):
            world.put(
                *(notebook("a", name, max_retries=revision) for name in names[::2]),
                sql("q", "m1", f"SELECT {revision}"),
            )
        for worker in working:
            worker.result()
    pass_over(world.orchestrator())
    assert pass_over(world.orchestrator()).writes == 0
    world.check_sound(*names)
    assert {world.job(name)["settings"]["tasks"][0].get("max_retries", 0) for name in names[::2]} == {3}


def test_a_slow_writer_keeps_its_claim(world: World) -> None:
    """Its work takes far longer than a claim holds: it is renewed, and nobody else makes the same jobs."""
    names = [f"m{number:02}" for number in range(12)]
    world.put(*(notebook("a", name) for name in names))
    world.patience = 10  # what is slow here is the workspace, and it does answer
    slow = world.orchestrator(claim_seconds=2, parallel_calls=2)
    with (
        own_session(world) as session,
        ThreadPoolExecutor(1) as pool,
        world.faults({"method": "POST", "path": "/api/2.2/jobs/create", "delay_ms": 800}),
    ):
        working = pool.submit(pass_over, slow)
        wait_for(world.live, "the first job", seconds=30)
        other = JobOrchestrator(world.table, runtime=world.runtime(session, claim_seconds=2))
        second = pass_over(other)
        first = working.result()
    assert not errors(first)
    assert not errors(second)
    assert (first.writes, second.writes) == (len(names), 0)
    world.check_sound(*names)


def test_a_writer_that_slept_does_not_go_on_where_it_left_off(world: World) -> None:
    """Stopped in the middle of an apply (a laptop that was closed), while another writer did all of it."""
    names = [f"m{number:02}" for number in range(30)]
    world.put(*(notebook("a", name) for name in names))
    slow = {"method": "POST", "path": "/api/2.2/jobs/create", "delay_ms": 60}
    with world.faults(slow):
        sleeper = start(world, BIN, "apply", "--claim-seconds", "1", "--parallel-calls", "2")
        wait_for(world.live, "the first job", seconds=60)
        os.kill(sleeper.pid, signal.SIGSTOP)
        try:
            assert 0 < len(world.live()) < len(names)
            other = JobOrchestrator(world.table, runtime=world.runtime(claim_seconds=1))
            assert not errors(pass_over(other))
            made = world.live()
        finally:
            os.kill(sleeper.pid, signal.SIGCONT)
        code, out, _ = end(sleeper)
    assert code == 0, out
    assert world.live() == made
    world.check_sound(*names)
    assert pass_over(world.orchestrator()).writes == 0


def test_commits_that_conflict(world: World) -> None:
    """Somebody writes to the control table and to `_jobs` all the time: our commits are repeated until they hold."""
    names = [f"m{number}" for number in range(6)]
    world.put(*(notebook("a", name) for name in names), notebook("x", "idle", active=False))
    orchestrator = world.orchestrator()
    pass_over(orchestrator)
    jobs = world.table.companion("jobs")
    stop, updates, lost = threading.Event(), 0, 0

    def disturb() -> None:
        nonlocal updates, lost
        with own_session(world) as session:
            session.sql(
                f"INSERT INTO {jobs.quoted} (workspace_id, module_name) VALUES ('elsewhere', 'm0')"
            ).collect()
            while not stop.is_set():
                for change in (
                    f"UPDATE {world.table.quoted} SET source_type = '{updates}' WHERE module_name = 'idle'",
                    f"UPDATE {jobs.quoted} SET error = '{updates}' WHERE workspace_id = 'elsewhere'",
                ):
                    try:
                        session.sql(change).collect()
                        updates += 1
                    except Exception:  # the disturber loses too, now and then
                        lost += 1

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for revision in range(1, 4):
            world.put(*(notebook("a", name, max_retries=revision) for name in names))
            result = pass_over(orchestrator)
            assert not errors(result)
            assert result.writes == len(names)
    finally:
        stop.set()
        disturber.join()
    assert updates > 6
    world.check_sound(*names)
    assert {world.job(name)["settings"]["tasks"][0]["max_retries"] for name in names} == {3}
    assert pass_over(orchestrator).writes == 0


def test_a_failed_try_of_another_writer_is_seen(world: World) -> None:
    """It made the query and failed at the job: whoever decided before that decides anew, and makes no second query."""
    world.put(notebook("a", "one"), sql("q", "one", "SELECT 1"))
    first, second = world.orchestrator(), world.orchestrator()
    decided = second.plan()
    refusal = {"status": 400, "error_code": "INVALID_PARAMETER_VALUE", "message": "no"}
    with world.faults({"method": "POST", "path": "/api/2.2/jobs/create", **refusal}):
        assert errors(pass_over(first))
    result = second.apply(decided)
    assert "another writer changed this module" in errors(result).get(
        "one", "another writer changed this module"
    )
    assert not errors(pass_over(second))
    world.check_sound("one")


def test_an_old_plan_does_not_undo_what_another_writer_did(world: World) -> None:
    """Planned as an update, retired by another writer before it was applied: it stays retired."""
    world.put(notebook("a", "one"), notebook("a", "two"))
    first, second = world.orchestrator(), world.orchestrator()
    pass_over(first)
    world.put(notebook("a", "one", max_retries=1))
    decided = first.plan()
    assert decided.actions[0].kind == "update"
    world.put(notebook("a", "one", max_retries=1, active=False))
    assert kinds(pass_over(second))["retire"] == 1
    assert first.apply(decided).writes == 0
    world.check_sound("two")
    assert pass_over(second).writes == 0


def test_two_workspaces_at_once_on_one_control_table(world: World, tmp_path: Path) -> None:
    """Each makes its own jobs, at the same time, and neither sees the other's records."""
    names = [f"m{number}" for number in range(10)]
    world.put(*(notebook("a", name) for name in names))
    try:
        there = process.ensure_up(tmp_path, with_spark=False, with_runs=False, idle_seconds=120)
        with own_session(world) as session, ThreadPoolExecutor(2) as pool:
            second = World(there, session, world.table)
            for _ in range(2):
                results = list(pool.map(lambda one: pass_over(one.orchestrator()), (world, second)))
                assert not any(errors(result) for result in results)
            world.check_sound(*names)
            second.check_sound(*names)
            world.put(notebook("a", "m0", active=False))
            assert kinds(pass_over(world.orchestrator()))["retire"] == 1
            second.check_sound(*names)
    finally:
        process.stop(tmp_path)


# ---------------------------------------------------------------- what writers left


def test_a_clone_and_lost_records(world: World) -> None:
    """A job cloned with its tags is nobody's to touch: not when the records are lost, not when its module retires."""
    world.put(notebook("a", "sales"), notebook("a", "other"))
    orchestrator = world.orchestrator()
    pass_over(orchestrator)
    job = world.job("sales")
    clone = world.call("POST", "/api/2.2/jobs/create", job["settings"])["job_id"]
    for lost in ("", "jobs"):
        if lost:
            world.session.sql(f"DELETE FROM {world.table.companion(lost).quoted} WHERE true").collect()
        result = pass_over(orchestrator)
        assert (kinds(result)["unchanged"], result.writes) == (2, 0)
        assert str(clone) in " ".join(result.results[1].action.reasons)
        assert world.there.recorded()["sales"] == job["job_id"]
    world.put(notebook("a", "sales", active=False))
    pass_over(orchestrator)
    held = {
        one["job_id"]: one["settings"]["tags"][MODULE_TAG] for one in world.there.jobs()[module_tag("sales")]
    }
    assert held[job["job_id"]].endswith("-retired")
    assert held[clone] == module_tag("sales")


def died(world: World, module: str, *, at: str) -> None:
    """What a writer leaves that dies in the middle of its work on a module: its claim, and part of its work."""
    orchestrator = world.orchestrator()
    records = orchestrator._records
    [action] = orchestrator.plan(modules=[module]).actions
    records.insert({module: action.job_name})
    [record] = records.claim([module], "00000000-dead-0000-0000-000000000000", 1).values()
    ids = {}
    for query in action.work.queries:
        ids[query.source_id] = query.query_id or orchestrator.workspace.queries.create(query.settings)
    if at == "its queries were made":
        pass
    elif at == "its job was made":
        from lakeflow_job_meta.jobs.references import resolve

        settings = resolve(action.work.settings, queries=ids, jobs={})
        orchestrator.workspace.jobs.create(settings)
    elif at == "its job was deleted":
        orchestrator.workspace.jobs.delete(record.job_id or 0)
    table = world.table.companion("jobs").quoted
    world.session.sql(
        f"UPDATE {table} SET claimed_until = TIMESTAMP '2020-01-01' WHERE claim <> ''"
    ).collect()


@pytest.mark.parametrize("then", ["goes on", "the query leaves", "the module leaves"])
@pytest.mark.parametrize("at", ["its queries were made", "its job was made"])
def test_a_writer_died_and_the_metadata_moved_on(world: World, at: str, then: str) -> None:
    """What it made and did not record is found by its tags: used, or taken away with what wanted it."""
    world.put(notebook("a", "one"), sql("q", "one", "SELECT 1"), notebook("a", "two"))
    died(world, "one", at=at)
    if then != "goes on":
        world.put(sql("q", "one", "SELECT 1", active=False))
    if then == "the module leaves":
        world.put(notebook("a", "one", active=False))
    orchestrator = world.orchestrator()
    for _ in range(2):
        assert not errors(pass_over(orchestrator))
    assert pass_over(orchestrator).writes == 0
    world.check_sound(*(["two"] if then == "the module leaves" else ["one", "two"]))
    claims = world.there.select(
        f"SELECT count(*) FROM {world.table.companion('jobs').quoted} WHERE claim <> ''"
    )
    assert claims == [["0"]]


def test_a_writer_died_between_deleting_a_job_and_its_queries(world: World) -> None:
    """`retire: delete`: the queries go with the next pass."""
    world.put(notebook("a", "one"), sql("q", "one", "SELECT 1"), notebook("a", "two"))
    orchestrator = world.orchestrator(retire="delete")
    pass_over(orchestrator)
    world.put(notebook("a", "one", active=False), sql("q", "one", "SELECT 1", active=False))
    died(world, "one", at="its job was deleted")
    assert len(world.there.queries()) == 1
    result = pass_over(orchestrator)
    assert "its queries are not" in " ".join(result.results[0].action.reasons)
    world.check_sound("two")
    assert pass_over(orchestrator).writes == 0


def test_all_records_lost(world: World) -> None:
    """`_jobs` and `_queries` are gone: jobs and queries are found by their tags, and written to the records again."""
    world.put(notebook("a", "one"), sql("q", "one", "SELECT 1"))
    orchestrator = world.orchestrator()
    pass_over(orchestrator)
    for name in ("jobs", "queries"):
        world.session.sql(f"DROP TABLE {world.table.companion(name).quoted}").collect()
    assert pass_over(orchestrator).writes == 0
    world.check_sound("one")
    world.put(sql("q", "one", "SELECT 2"))
    assert pass_over(orchestrator).writes == 1
    world.check_sound("one")


def test_a_run_that_was_owed_is_started(world: World) -> None:
    """run_on_change: the writer died after its write and before the run. The next pass starts it."""
    world.put(notebook("a", "one"), job_row("one", run_on_change=True))
    died(world, "one", at="its job was made")
    orchestrator = world.orchestrator()
    with world.faults({"path": "/api/2.2/jobs/run-now", "delay_ms": 1}):
        plan = orchestrator.plan()
        assert [(one.kind, one.changes) for one in plan.actions] == [("update", ())]
        assert "has not been run" in plan.actions[0].reasons[0]
        orchestrator.apply(plan)  # this workspace runs nothing, and says so
        assert world.struck() >= 1


# ---------------------------------------------------------------- what is read is gone or broken


def _no_folder(world: World) -> Callable[[], None]:
    away = world.folder.with_name("away")
    world.folder.rename(away)
    return lambda: (
        shutil.rmtree(world.folder.parent / "metadata", ignore_errors=True),
        away.rename(world.folder.parent / "metadata"),
    )[0]


def _empty_folder(world: World) -> Callable[[], None]:
    back = _no_folder(world)
    world.folder.mkdir(exist_ok=True)
    return back


def _a_file_instead(world: World) -> Callable[[], None]:
    away = world.folder.with_name("away")
    world.folder.rename(away)
    path = away.with_name("metadata")
    path.write_text("no folder")

    def back() -> None:
        path.unlink()
        away.rename(path)

    return back


def _a_dangling_link(world: World) -> Callable[[], None]:
    away = world.folder.with_name("away")
    world.folder.rename(away)
    path = away.with_name("metadata")
    path.symlink_to(path.with_name("nowhere"))

    def back() -> None:
        path.unlink()
        away.rename(path)

    return back


def test_a_vanished_volume_retires_nothing(world: World) -> None:
    """However it went: it is said; rows are followed all the same; when it is back, so are its files."""
    (world.folder / "a.yaml").write_text(modules("one", "two"))
    monitor = world.monitor(drift_interval=0)
    assert monitor.check_and_update()["errors"] == []
    typed: list[str] = []
    for gone in (_no_folder, _empty_folder, _a_file_instead, _a_dangling_link):
        back = gone(world)
        typed.append(f"typed {gone.__name__}")
        world.put(notebook("a", typed[-1]))
        said: list[str] = []
        for _ in range(2):
            tick = monitor.check_and_update()
            said += [*tick["errors"], *tick["notes"]]
        assert any(world.volume in text for text in said), (gone, said)
        world.check_sound("one", "two", *typed)
        back()
    (world.folder / "a.yaml").write_text(modules("one", "two", max_retries=4))
    for _ in range(3):
        tick = monitor.check_and_update()
    assert tick["errors"] == []
    assert world.job("two")["settings"]["tasks"][0]["max_retries"] == 4
    world.check_sound("one", "two", *typed)


@contextmanager
def _corrupt(world: World, companion: str = "") -> Iterator[None]:
    """The last commit of the table's log holds garbage."""
    name = world.table.companion(companion) if companion else world.table
    log = (
        Path(world.connection.directory)
        / "warehouse"
        / name.catalog
        / name.schema
        / name.table
        / "_delta_log"
    )
    last = max(log.glob("*.json"))
    sound = last.read_bytes()
    last.write_bytes(b'{"add": {"path": ')
    try:
        yield
    finally:
        last.write_bytes(sound)


@pytest.mark.parametrize("companion", ["", "jobs"])
def test_an_unreadable_table_retires_and_makes_nothing(world: World, companion: str) -> None:
    """An error is no empty table: not of the control table (nothing is retired), nor of `_jobs` (nothing is made again)."""
    world.put(notebook("a", "one"), notebook("a", "two"))
    monitor = world.monitor(drift_interval=0)
    assert world.folder.is_dir()
    monitor.check_and_update()
    before = world.live()
    with _corrupt(world, companion):
        for _ in range(2):
            with own_session(world) as session:
                fresh = world.monitor(session, drift_interval=0)
                tick = fresh.check_and_update()
                assert tick["errors"], "it is said"
                assert all(str(world.table) in error for error in tick["errors"]), tick["errors"]
                with pytest.raises(TablesError, match=str(world.table)):
                    world.orchestrator(session).plan()
    assert world.live() == before
    assert world.monitor().check_and_update()["errors"] == []
    assert world.live() == before


def test_a_dropped_control_table_retires_nothing(world: World) -> None:
    """The monitor that ran on says that it is missing; one that starts anew makes it, and is held by the brake."""
    world.put(notebook("a", "one"), notebook("a", "two"))
    monitor = world.monitor(drift_interval=0)
    assert world.folder.is_dir()
    monitor.check_and_update()
    world.session.sql(f"DROP TABLE {world.table.quoted}").collect()
    for _ in range(2):
        tick = monitor.check_and_update()
        assert any("etl_control" in error for error in tick["errors"])
    fresh = world.monitor().check_and_update()
    assert any("the control table is empty" in error for error in fresh["errors"]), fresh["errors"]
    world.check_sound("one", "two")


def test_a_file_that_grows_while_it_is_watched(world: World) -> None:
    """Every prefix of a file, a tick each: last good stays until the whole is there, and no job is retired for a moment."""
    old = modules("one", "two", "three")
    new = modules("one", "two", "three", "four", max_retries=1)
    path = world.folder / "a.yaml"
    path.write_text(old)
    grow = iter(range(0, len(new), len(new) // 24))

    def write_on(seconds: float) -> None:
        """The writer's next chunk, while the monitor waits to read again."""
        size = next(grow, None)
        path.write_text(new if size is None else new[:size])

    monitor = world.monitor()
    assert monitor.check_and_update()["errors"] == []
    before = world.live()
    monitor._manager._sleep = write_on
    ticks = 0
    while path.read_text() != new:
        write_on(0)
        tick = monitor.check_and_update()
        ticks += 1
        if path.read_text() != new:
            assert {tag: world.live().get(tag) for tag in before} == before
            assert any("a.yaml" in error for error in tick["errors"]), tick
    assert ticks > 5
    for _ in range(2):
        tick = monitor.check_and_update()
    assert tick["errors"] == []
    world.check_sound("one", "two", "three", "four")
    assert {tag: world.live()[tag] for tag in before} == before
