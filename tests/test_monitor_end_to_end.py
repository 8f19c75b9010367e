"""The monitor on a real embedded workspace: Delta tables through Spark Connect, files in a volume, jobs over HTTP."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.monitor import MetadataMonitor
from lakeflow_job_meta.names import TABLE_TAG, TableName, table_tag
from lakeflow_job_meta.runtime import VOLUMES_ROOT, Runtime
from tests.cli.conftest import module_yaml
from tests.embedded import running, wait_for

pytestmark = pytest.mark.slow

QUERY = '{"task_type": "sql_query", "sql_task": {"warehouse_id": "local", "sql_query": "SELECT 1"}}'


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with running(tmp_path_factory.mktemp("monitor")) as up:
        yield up


@pytest.fixture(scope="module")
def session(connection: Connection) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    opened = SparkSession.builder.remote(connection.spark_remote).create()
    yield opened
    opened.stop()


@pytest.fixture(scope="module")
def client(connection: Connection) -> Any:
    from databricks.sdk import WorkspaceClient

    return WorkspaceClient(host=connection.host, token=connection.token, auth_type="pat")


class World:
    """A control table and a volume of this test alone, and what is in the workspace."""

    def __init__(self, connection: Connection, session: Any, client: Any, name: str) -> None:
        self.connection = connection
        self.session = session
        self.client = client
        self.table = TableName("main", name, "etl_control")
        self.volumes = Path(connection.directory) / "Volumes"
        self.folder = self.volumes / "main" / name / "metadata"
        self.folder.mkdir(parents=True)

    def monitor(self, **flags: Any) -> MetadataMonitor:
        runtime = Runtime(
            self.table,
            spark=self.session,
            workspace_client=self.client,
            flags=flags,
            environment={VOLUMES_ROOT: str(self.volumes)},
        )
        path = f"/Volumes/main/{self.table.schema}/metadata"
        return MetadataMonitor(self.table, 60, path, runtime=runtime, jitter=lambda: 0.0)

    def jobs(self) -> dict[str, Any]:
        """This table's jobs by name: (job_id, settings)."""
        return {
            job.settings.name: job
            for job in self.client.jobs.list(expand_tasks=True)
            if (job.settings.tags or {}).get(TABLE_TAG) == table_tag(self.table)
        }

    def sql(self, text: str) -> None:
        self.session.sql(text).collect()

    def insert(self, module: str, source: str, config: str = QUERY, active: str = "true") -> None:
        self.sql(
            f"INSERT INTO {self.table} VALUES ('{source}', '{module}', 'sql', 1, '{{}}', '{{}}', '{config}', {active})"
        )

    def faults(self, *rules: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self.connection.host}/local/faults",
            method="POST" if rules else "DELETE",
            data=json.dumps({"rules": rules}).encode() if rules else None,
            headers={"Authorization": f"Bearer {self.connection.token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).read()


@pytest.fixture
def world(
    connection: Connection, session: Any, client: Any, request: pytest.FixtureRequest
) -> Iterator[World]:
    made = World(connection, session, client, request.node.name.replace("[", "_").replace("]", "")[:60])
    yield made
    made.faults()


def check(monitor: MetadataMonitor) -> Callable[[], dict[str, Any]]:
    """Ticks that must meet no error."""

    def tick() -> dict[str, Any]:
        seen = monitor.check_and_update()
        assert seen["errors"] == []
        return seen

    return tick


def test_rows_become_jobs_and_follow(world: World) -> None:
    """INSERT makes a job, a second row a second task, UPDATE changes it in place, is_active = false retires it."""
    tick = check(world.monitor())
    tick()
    world.insert("sales", "a")
    seen = tick()
    assert (seen["table_changes"], seen["yaml_changes"]) == (1, 0)
    job = world.jobs()["sales"]
    assert seen["jobs_updated"] == [{"module": "sales", "job_id": job.job_id, "action": "create"}]
    world.insert("sales", "b")
    assert tick()["jobs_updated"][0]["action"] == "update"
    assert world.jobs()["sales"].job_id == job.job_id
    assert {task.task_key for task in world.jobs()["sales"].settings.tasks} == {"a", "b"}
    world.sql(f"UPDATE {world.table} SET is_active = false")
    assert tick()["jobs_updated"][0]["action"] == "retire"
    world.sql(f"UPDATE {world.table} SET is_active = true")
    assert tick()["jobs_updated"][0]["action"] == "revive"
    assert world.jobs()["sales"].job_id == job.job_id


def test_an_idle_tick_costs_one_statement_and_no_call(world: World) -> None:
    """With files mounted: one version read, one listing, no API."""
    (world.folder / "a.yaml").write_text(module_yaml("a"))
    tick = check(world.monitor())
    assert tick()["jobs_updated"]
    for _ in range(3):
        idle = tick()
        assert (idle["sql_statements"], idle["api_calls"], idle["changes_detected"]) == (1, 0, False)


def test_a_new_process_finds_everything_done(world: World) -> None:
    """State is in the tables: a second monitor writes nothing and makes no second job."""
    (world.folder / "a.yaml").write_text(module_yaml("a"))
    check(world.monitor())()
    job_id = world.jobs()["a"].job_id
    seen = check(world.monitor())()
    assert (seen["jobs_updated"], seen["yaml_changes"], seen["compared"]) == ([], 0, True)
    assert [job.job_id for job in world.jobs().values()] == [job_id]


def test_files_new_edited_broken_and_removed(world: World) -> None:
    """Each is followed; a broken one leaves last good in force while the rest goes on."""
    monitor = world.monitor()
    tick = check(monitor)
    (world.folder / "a.yaml").write_text(module_yaml("a"))
    (world.folder / "b.yaml").write_text(module_yaml("b"))
    assert {job["module"] for job in tick()["jobs_updated"]} == {"a", "b"}
    (world.folder / "a.yaml").write_text(module_yaml("a", max_concurrent_runs=4))
    seen = tick()
    assert (seen["yaml_changes"], [job["action"] for job in seen["jobs_updated"]]) == (1, ["update"])
    assert world.jobs()["a"].settings.max_concurrent_runs == 4

    (world.folder / "a.yaml").write_text("modules: [\n")
    (world.folder / "b.yaml").write_text(module_yaml("b", max_concurrent_runs=5))
    seen = monitor.check_and_update()
    [error] = seen["errors"]
    assert "a.yaml:2:1" in error
    assert world.jobs()["a"].settings.max_concurrent_runs == 4
    assert world.jobs()["b"].settings.max_concurrent_runs == 5

    (world.folder / "a.yaml").unlink()
    assert [(job["module"], job["action"]) for job in tick()["jobs_updated"]] == [("a", "retire")]
    (world.folder / "a.yaml").write_text(module_yaml("a"))
    assert [(job["module"], job["action"]) for job in tick()["jobs_updated"]] == [("a", "revive")]
    assert world.jobs()["a"].settings.max_concurrent_runs == 1, "the job settings left with their file"


def test_job_settings_that_leave_their_file_do_not_retire_the_module(world: World) -> None:
    """An inactive job row retires; a module whose file has no `job` any more is meant to live on, with defaults."""
    tick = check(world.monitor())
    (world.folder / "a.yaml").write_text(module_yaml("a", max_concurrent_runs=4))
    tick()
    (world.folder / "a.yaml").write_text(module_yaml("a"))
    assert [(job["module"], job["action"]) for job in tick()["jobs_updated"]] == [("a", "update")]
    assert world.jobs()["a"].settings.max_concurrent_runs == 1


def test_an_emptied_or_vanished_volume_retires_nothing(world: World) -> None:
    """No file left is a note, no folder left is an error; the jobs stay."""
    monitor = world.monitor()
    (world.folder / "a.yaml").write_text(module_yaml("a"))
    check(monitor)()
    (world.folder / "a.yaml").unlink()
    seen = monitor.check_and_update()
    assert (seen["jobs_updated"], len(seen["notes"])) == ([], 1)
    world.folder.rmdir()
    assert "files: " in monitor.check_and_update()["errors"][0]
    assert "a" in world.jobs()


def test_a_table_that_vanishes_is_an_error_and_not_an_empty_table(world: World) -> None:
    """Nothing is retired, nothing made anew; it goes on when the table is back."""
    monitor = world.monitor()
    check(monitor)()
    world.insert("sales", "a")
    check(monitor)()
    world.sql(f"DROP TABLE {world.table}")
    assert str(world.table) in monitor.check_and_update()["errors"][0]
    assert "sales" in world.jobs()
    assert world.session.catalog.tableExists(str(world.table)) is False


def test_a_failed_create_is_tried_again(world: World) -> None:
    """The workspace fails once; the next tick has the job, and only one."""
    monitor = world.monitor()
    check(monitor)()
    world.insert("sales", "a")
    world.faults(
        {
            "method": "POST",
            "path": "/api/2.2/jobs/create",
            "status": 400,
            "error_code": "INVALID_PARAMETER_VALUE",
            "count": 1,
        }
    )
    seen = monitor.check_and_update()
    assert (len(seen["errors"]), seen["jobs_updated"]) == (1, [])
    seen = monitor.check_and_update()
    assert (seen["errors"], [job["module"] for job in seen["jobs_updated"]]) == ([], ["sales"])
    assert len(world.jobs()) == 1


def test_drift_is_reverted_at_the_next_comparison(world: World) -> None:
    """drift_interval 0 compares at every tick; a change made in the workspace goes away."""
    from databricks.sdk.service.jobs import JobSettings

    tick = check(world.monitor(drift_interval=0))
    (world.folder / "a.yaml").write_text(module_yaml("a", max_concurrent_runs=2))
    tick()
    job = world.jobs()["a"]
    world.client.jobs.update(job.job_id, new_settings=JobSettings(max_concurrent_runs=7))
    assert tick()["jobs_updated"] == [{"module": "a", "job_id": job.job_id, "action": "update"}]
    assert world.jobs()["a"].settings.max_concurrent_runs == 2


def test_variables_of_the_settings_row_reach_the_files(world: World) -> None:
    """A new value has the same file judged again, within two ticks."""
    tick = check(world.monitor())
    text = json.loads(module_yaml("a", name="job_${var.who}"))
    (world.folder / "a.yaml").write_text(json.dumps({"variables": {"who": {"default": "x"}}, **text}))
    tick()
    world.sql(
        f"INSERT INTO {world.table} VALUES ('__settings__', '__control__', NULL, 0, NULL, NULL, "
        '\'{"variables": {"who": "y"}}\', true)'
    )
    tick()
    tick()
    assert set(world.jobs()) == {"job_y"}
    assert tick()["sql_statements"] == 1


def test_told_to_stop_it_finishes_the_call_under_way_and_no_more(world: World) -> None:
    """In the middle of an apply of many: it ends soon, what was made is kept, the next one makes the rest."""
    modules = [json.loads(module_yaml(f"m{number:02}"))["modules"][0] for number in range(20)]
    (world.folder / "many.yaml").write_text(json.dumps({"modules": modules}))
    world.faults({"method": "POST", "path": "/api/2.2/jobs/create", "delay_ms": 150})
    monitor = world.monitor(parallel_calls=1)
    loop = threading.Thread(target=monitor.run_continuous)
    loop.start()
    wait_for(world.jobs, "a first job", seconds=30)
    monitor.stop()
    loop.join(15)
    assert not loop.is_alive()
    made = {name: job.job_id for name, job in world.jobs().items()}
    assert 0 < len(made) < 20
    world.faults()
    check(world.monitor())()
    jobs = world.jobs()
    assert len(jobs) == 20
    assert {name: jobs[name].job_id for name in made} == made
