"""A dataset on the embedded workspace: uploaded, its job made by the monitor, its three tasks really run."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.databricks import connect as workspace_of
from lakeflow_job_meta.datasets.datasets import DatasetService
from lakeflow_job_meta.datasets.model import Phase, Status
from lakeflow_job_meta.datasets.settings import resolve
from lakeflow_job_meta.datasets.tasks import task_keys
from lakeflow_job_meta.local import process
from lakeflow_job_meta.local.api.queries import QueryStore
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs.environments import Environments
from lakeflow_job_meta.local.runs.execution import Execution
from lakeflow_job_meta.local.runs.processes import Stop
from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.sql import NoSql
from lakeflow_job_meta.local.runs.store import RunStore
from lakeflow_job_meta.local.runs.tasks import Services
from lakeflow_job_meta.local.state import Database, Secrets
from lakeflow_job_meta.monitor import MetadataMonitor
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.runtime import VOLUMES_ROOT, Runtime
from tests.embedded import running, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with running(tmp_path_factory.mktemp("datasets")) as up:
        yield up


@pytest.fixture(scope="module")
def session(connection: Connection) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    opened = SparkSession.builder.remote(connection.spark_remote).create()
    yield opened
    opened.stop()


class World:
    """A control table of its own, the service and the monitor over it."""

    def __init__(self, connection: Connection, session: Any, name: str, **settings: Any) -> None:
        from databricks.sdk import WorkspaceClient

        self.connection = connection
        self.name = name
        self.client = WorkspaceClient(host=connection.host, token=connection.token, auth_type="pat")
        self.runtime = Runtime(
            TableName("main", name, "etl_control"),
            spark=session,
            workspace_client=self.client,
            environment={VOLUMES_ROOT: str(Path(connection.directory) / "Volumes")},
        )
        self.monitor = MetadataMonitor(
            self.runtime.control_table, 60, runtime=self.runtime, jitter=lambda: 0.0
        )
        self.service = DatasetService(
            self.runtime.control_table,
            self.runtime.tables,
            self.runtime.volumes,
            resolve({"tenant": name, "retry_interval": 1, **settings}),
            catalog=lambda: self.runtime.catalog,
            clock=self.runtime.clock,
        )
        self.jobs = workspace_of(self.client).jobs

    def ingest(self, records: list[dict[str, Any]], name: str, **more: Any) -> str:
        return self.service.ingest(records, name=name, **more).dataset.dataset_id

    def status(self, dataset_id: str) -> Any:
        return self.service.events.latest([dataset_id])[dataset_id]

    def wait(self, dataset_id: str, *ends: Status) -> Any:
        wanted = ends or (Status.SYNCED, Status.FAILED)
        return wait_for(
            lambda: one if (one := self.status(dataset_id)).status in wanted else None, f"{dataset_id} ends"
        )

    def wait_for_run(self) -> None:
        """Until no run of the job is under way."""
        job_id = self.job().job_id
        wait_for(lambda: not self.jobs.runs(job_id, active_only=True), "the run ends")

    def job(self) -> Any:
        [job] = [
            job
            for job in self.client.jobs.list(expand_tasks=True)
            if (job.settings.tags or {}).get("tenant") == self.name
        ]
        return job

    def row(self, dataset_id: str) -> Any:
        return self.service.row(self.service.registry.find(dataset_id))

    def history(self, dataset_id: str) -> list[tuple[str, str]]:
        return [
            (one.status.value, one.phase.value if one.phase else "")
            for one in self.service.events.history(dataset_id)
        ]


@pytest.fixture(scope="module")
def world(connection: Connection, session: Any) -> World:
    return World(connection, session, "acme")


ORDERS = [
    {"Order ID": "1001", "product_id": "1", "amount": "10.5"},
    {"Order ID": "1002", "product_id": "2", "amount": "11"},
    {"Order ID": "1002", "product_id": "2", "amount": "11"},
]


@pytest.fixture(scope="module")
def datasets(world: World) -> dict[str, str]:
    """Two datasets, uploaded; one pass of the monitor; their runs ended. The id of each by name."""
    found = {
        "orders": world.ingest(ORDERS, "Orders 2025"),
        "slow": world.ingest(
            [{"a": "1"}], "Slow", config={"timeout_seconds": {"silver": 1}, "retry": {"max_attempts": 1}}
        ),
    }
    assert {world.status(one).status for one in found.values()} == {Status.PENDING}
    tick = world.monitor.check_and_update()
    assert tick["errors"] == []
    assert [(one["module"], one["action"]) for one in tick["jobs_updated"]] == [("datasets_acme", "create")]
    for one in found.values():
        world.wait(one)
    return found


def test_b1_one_pass_is_one_job_and_one_run(world: World, datasets: dict[str, str]) -> None:
    """Two uploads, one pass: one job is made and started once."""
    assert len(world.jobs.runs(world.job().job_id)) == 1
    assert len(world.job().settings.tasks) == 6


def test_f1_three_tasks_really_ran_in_order(world: World, datasets: dict[str, str]) -> None:
    """Pending, bronze, silver, synced, each a row of the events table; counts and tables are measured."""
    assert world.history(datasets["orders"]) == [
        ("pending", ""),
        ("syncing", "bronze"),
        ("syncing", "silver"),
        ("synced", ""),
    ]
    status = world.status(datasets["orders"])
    assert (status.row_count_local, status.row_count_bronze, status.row_count_silver) == (3, 3, 2)
    assert status.bronze_table == "catalog_tenant_acme.bronze.orders_2025"
    assert status.silver_table == "catalog_tenant_acme.silver.orders_2025_clean"
    [run] = world.jobs.runs(world.job().job_id)
    assert (status.job_id, status.run_id) == (world.job().job_id, str(run.run_id))


def test_i1_both_tables_are_queried_by_name(world: World, datasets: dict[str, str]) -> None:
    """Any session reads bronze and silver by the names of the status."""
    status = world.status(datasets["orders"])
    tables = world.runtime.tables
    assert tables.query(f"SELECT count(*) AS n FROM {status.bronze_table}") == [{"n": 3}]
    assert tables.query(f"SELECT * FROM {status.silver_table} ORDER BY order_id") == [
        {"order_id": 1001, "product_id": 1, "amount": 10.5},
        {"order_id": 1002, "product_id": 2, "amount": 11.0},
    ]


def test_e4_the_tenants_catalog_was_made(world: World, datasets: dict[str, str]) -> None:
    """The bronze task made the catalog and both schemas through Unity Catalog's API."""
    assert "catalog_tenant_acme" in [one.name for one in world.client.catalogs.list()]
    schemas = {one.name for one in world.client.schemas.list("catalog_tenant_acme")}
    assert {"bronze", "silver"} <= schemas
    assert world.runtime.catalog.create_catalog("catalog_tenant_acme") is False
    assert world.runtime.catalog.catalog_exists("catalog_tenant_nobody") is False


def test_f5_j4_a_silver_that_takes_too_long_is_a_timeout_and_harms_no_other(
    world: World, datasets: dict[str, str]
) -> None:
    """It is stopped, recorded as a timeout of silver by its record task, and the datasets beside it are synced."""
    status = world.status(datasets["slow"])
    assert (status.status, status.phase, status.error_class) == (Status.FAILED, Phase.SILVER, "timeout")
    assert status.retryable is True
    assert status.bronze_table == "catalog_tenant_acme.bronze.slow"
    assert status.silver_table is None
    assert world.status(datasets["orders"]).status is Status.SYNCED


def test_d9_silver_alone_is_repaired(world: World, datasets: dict[str, str]) -> None:
    """With time enough in its row, the run's silver and record are repaired: synced, without bronze anew."""
    world.wait_for_run()
    status = world.status(datasets["slow"])
    dataset = world.service.registry.find(datasets["slow"])
    row = world.service.row(dataset)
    assert row is not None
    config = json.loads(row.transformation_config or "{}")
    config["timeout_seconds"] = 600
    config["sync"]["auto"] = False
    world.service.write_rows([replace(row, transformation_config=json.dumps(config))])
    tick = world.monitor.check_and_update()
    assert [(one["module"], one["action"]) for one in tick["jobs_updated"]] == [("datasets_acme", "update")]
    assert len(world.jobs.runs(world.job().job_id)) == 1
    keys = task_keys(str(row.source_id))
    world.client.jobs.repair_run(int(status.run_id), rerun_tasks=list(keys[1:]))
    repaired = world.wait(datasets["slow"], Status.SYNCED)
    assert (repaired.run_id, repaired.last_sync_error) == (status.run_id, None)
    assert repaired.silver_table == "catalog_tenant_acme.silver.slow_clean"
    assert [phase for _, phase in world.history(datasets["slow"])].count("bronze") == 1


def test_f9_idle_ticks_call_no_api_again(world: World, datasets: dict[str, str]) -> None:
    """Once nothing is in flight, a tick reads one version and nothing else."""
    world.wait_for_run()
    for _ in range(2):
        last = world.monitor.check_and_update()
    assert last["errors"] == []
    assert (last["sql_statements"], last["api_calls"]) == (1, 0)


def test_j1_d7_a_new_version_runs_alone(world: World, datasets: dict[str, str]) -> None:
    """A second upload under the same name is version 2: only its three tasks run, and silver has the new rows."""
    again = world.ingest([{"Order ID": "7", "product_id": "1", "amount": "1"}], "Orders 2025")
    assert again == datasets["orders"]
    world.monitor.check_and_update()
    status = world.wait(again)
    assert (status.status, status.version) == (Status.SYNCED, 2)
    rows = world.runtime.tables.query("SELECT order_id FROM catalog_tenant_acme.silver.orders_2025_clean")
    assert rows == [{"order_id": 7}]
    newest = world.jobs.runs(world.job().job_id)[0]
    assert len(world.jobs.run(newest.run_id).tasks) == 3
    world.wait_for_run()


def test_f6_kill_9_of_the_silver_task_is_tried_again_or_failed(
    world: World, datasets: dict[str, str]
) -> None:
    """The process of each silver task is killed by SIGKILL: with an attempt left it is synced, without one failed."""
    again = world.ingest([{"a": "1"}], "Killed once")
    last = world.ingest([{"a": "1"}], "Killed for good", config={"retry": {"max_attempts": 1}})
    world.monitor.check_and_update()
    store = RunStore(Database(Folder.at(world.connection.directory).state))
    [run] = world.jobs.runs(world.job().job_id, active_only=True)
    keys = {one: task_keys(world.row(one).source_id)[1] for one in (again, last)}
    for key in keys.values():
        os.kill(wait_for(lambda key=key: store.latest(run.run_id)[key].pid, "silver begins"), signal.SIGKILL)
    assert world.wait(again).status is Status.SYNCED
    failed = world.wait(last)
    assert (failed.status, failed.phase, failed.error_class) == (Status.FAILED, Phase.SILVER, "task_died")
    assert failed.bronze_table == "catalog_tenant_acme.bronze.killed_for_good"
    assert "exited with signal 9" in (failed.last_sync_error or "")
    ends = {
        key: [one.state.result for one in store.attempts(run.run_id) if one.task_key == key]
        for key in keys.values()
    }
    assert ends == {keys[again]: ["FAILED", "SUCCESS"], keys[last]: ["FAILED"]}
    world.wait_for_run()


class Waits(Stop):
    """Waits that take no time but the given clock's; each is noted, and `then` is called after it with its number.

    Args:
        clock: seconds since the epoch, moved by what is waited.
    """

    def __init__(self, clock: list[float], then: Callable[[int], None]) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._clock = clock
        self._then = then

    def wait(self, seconds: float | None = None) -> bool:
        self.seconds.append(seconds or 0.0)
        self._clock[0] += seconds or 0.0
        self._then(len(self.seconds))
        return False


def test_f3_the_job_that_was_made_is_retried_as_its_settings_say(
    world: World, datasets: dict[str, str], tmp_path: Path
) -> None:
    """Bronze fails twice, 300 seconds apart by the runner's clock, and then works: synced, attempts 1 to 3 told.

    The settings are those that the workspace has; the tasks are real processes; only the clock is the test's.
    """
    world.wait_for_run()
    found = world.service.ingest(
        ORDERS, name="Retried", config={"sync": {"auto": False}, "retry": {"interval_seconds": 300}}
    )
    asked = world.service.ask(found.dataset)
    world.monitor.check_and_update()
    keys = task_keys(str(asked.row.source_id))
    settings = world.client.jobs.get(world.job().job_id).settings.as_dict()
    settings["tasks"] = [task for task in settings["tasks"] if task["task_key"] in keys]
    assert [task["min_retry_interval_millis"] for task in settings["tasks"]] == [300_000, 300_000, 10_000]
    in_the_way = Path(world.connection.directory) / "warehouse" / "catalog_tenant_acme" / "bronze" / "retried"
    in_the_way.write_text("no table can be made here: the engine fails, which another attempt may mend")

    def then(number: int) -> None:
        if number == 2:
            in_the_way.unlink()

    clock = [1_700_000_000.0]
    waits = Waits(clock, then)
    database = Database(tmp_path / "runs.sqlite")
    folder = Folder.at(world.connection.directory)
    services = Services(
        folder=folder,
        environment=world.connection.environment(),
        environments=Environments(folder),
        secrets=Secrets(database),
        queries=QueryStore(database),
        sql=NoSql(),
        children=None,  # type: ignore[arg-type]  # only run_job tasks ask for it
        processes=threading.Semaphore(2),
        statements=threading.Semaphore(1),
    )
    store = RunStore(database)
    run = RunRecord(990000000001, world.job().job_id, "JOB_RUN", "retried", settings, {})
    store.add_run(run)
    store.add_tasks([TaskRecord(run.run_id + number, run.run_id, key) for number, key in enumerate(keys, 1)])
    execution = Execution(services, store, run, store.latest(run.run_id), keys, waits, clock=lambda: clock[0])
    state = execution.execute()
    assert state.result == "SUCCESS", [one.error for one in store.attempts(run.run_id)]
    assert waits.seconds == [300.0, 300.0]
    history = world.service.events.history(found.dataset.dataset_id)
    assert [(one.status.value, one.phase and one.phase.value, one.attempt) for one in history] == [
        ("pending", None, 0),
        ("syncing", "bronze", 1),
        ("syncing", "bronze", 2),
        ("syncing", "bronze", 3),
        ("syncing", "silver", 1),
        ("synced", None, 1),
    ]
    starts = sorted(one.start_time for one in store.attempts(run.run_id) if one.task_key == keys[0])
    assert [later - earlier for earlier, later in pairwise(starts)] == [300_000, 300_000]


def test_f6_g2_kill_9_in_silver_is_a_failed_sync(
    connection: Connection, world: World, datasets: dict[str, str]
) -> None:
    """The runner dies by kill -9 while silver is under way: after its return the next tick ends the sync as failed."""
    from pyspark.sql import SparkSession

    killed = world.ingest([{"a": "1"}], "Killed")
    world.monitor.check_and_update()
    wait_for(lambda: world.status(killed).phase is Phase.SILVER, "silver begins")
    os.kill(connection.pid, signal.SIGKILL)
    up = process.ensure_up(Path(connection.directory))
    session = SparkSession.builder.remote(up.spark_remote).create()
    try:
        fresh = World(up, session, "acme")
        assert fresh.status(killed).status is Status.SYNCING
        tick = fresh.monitor.check_and_update()
        status = fresh.status(killed)
        assert status.status is Status.FAILED, status
        assert "before it was recorded" in (status.last_sync_error or "")
        assert any(killed in note for note in tick["notes"])
        assert fresh.status(datasets["orders"]).status is Status.SYNCED
    finally:
        session.stop()
