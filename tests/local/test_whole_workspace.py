"""All parts together, as a user meets them: one detached process with HTTP, Spark and runs."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from databricks.sdk.errors import BadRequest, NotFound
from databricks.sdk.service import catalog, jobs, sql, workspace

from lakeflow_job_meta.local.connection import is_alive
from lakeflow_job_meta.local.process import ensure_up, find, stop
from tests.local.conftest import client_of


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    yield path
    stop(path)


@pytest.fixture(scope="module")
def whole(directory):
    """A workspace with everything."""
    return ensure_up(directory)


@pytest.fixture(scope="module")
def whole_client(whole):
    return client_of(whole)


def execute(client, text, **arguments):
    found = client.statement_execution.execute_statement(text, "local", wait_timeout="50s", **arguments)
    assert found.status.state == sql.StatementState.SUCCEEDED, found.status.error
    return found.result.data_array if found.result else None


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        threading.Event().wait(0.05)
    return False


def start_sleeper(client, name, pid_file):
    """Starts a run of a Python task that sleeps; returns the run's id and the id of its process."""
    script = b"import os, sys, time\nopen(sys.argv[1], 'w').write(f'{os.getpid()}.')\ntime.sleep(600)"
    client.workspace.upload(f"/Shared/{name}.py", io.BytesIO(script), format=workspace.ImportFormat.AUTO)
    python = jobs.SparkPythonTask(f"/Workspace/Shared/{name}.py", parameters=[str(pid_file)])
    task = jobs.Task(task_key="p", spark_python_task=python)
    run_id = client.jobs.run_now(client.jobs.create(name=name, tasks=[task]).job_id).run_id
    assert wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("."), 60)
    pid = int(pid_file.read_text().rstrip("."))
    assert is_alive(pid)
    return run_id, pid


def test_sql_and_unity_catalog_are_one(whole_client, unique):
    """A schema made by REST is there for SQL; tables and views made by SQL are there for REST."""
    client = whole_client
    client.schemas.create(unique, "silver", comment="c")
    with pytest.raises(BadRequest, match="already exists"):
        client.schemas.create(unique, "silver")
    execute(client, f"CREATE TABLE silver.{unique}.t (id BIGINT, amount DECIMAL(10,2), tags ARRAY<STRING>)")
    execute(client, f"INSERT INTO silver.{unique}.t VALUES (1, 2.50, array('a', 'b'))")
    execute(client, f"CREATE VIEW silver.{unique}.v AS SELECT id FROM silver.{unique}.t")
    assert execute(client, "SELECT id, amount, tags FROM t", catalog="silver", schema=unique) == [
        ["1", "2.50", '["a","b"]']
    ]
    assert [t.name for t in client.tables.list("silver", unique)] == ["t", "v"]
    table = client.tables.get(f"silver.{unique}.t")
    assert [(c.name, c.type_name.value, c.type_scale) for c in table.columns] == [
        ("id", "LONG", None),
        ("amount", "DECIMAL", 2),
        ("tags", "ARRAY", None),
    ]
    assert table.table_type == catalog.TableType.MANAGED
    assert client.tables.get(f"silver.{unique}.v").table_type == catalog.TableType.VIEW
    assert client.tables.exists(f"silver.{unique}.t").table_exists
    client.entity_tag_assignments.create(
        catalog.EntityTagAssignment(
            entity_type="columns", entity_name=f"silver.{unique}.t.amount", tag_key="pii", tag_value="no"
        )
    )
    with pytest.raises(BadRequest, match="not empty"):
        client.schemas.delete(f"silver.{unique}")
    client.tables.delete(f"silver.{unique}.v")
    with pytest.raises(NotFound):
        client.tables.get(f"silver.{unique}.v")
    client.volumes.create("silver", unique, "vol", catalog.VolumeType.MANAGED)
    client.schemas.delete(f"silver.{unique}", force=True)
    assert unique not in [s.name for s in client.schemas.list("silver")]
    failed = client.statement_execution.execute_statement(f"SELECT * FROM silver.{unique}.t", "local")
    assert failed.status.state == sql.StatementState.FAILED
    assert failed.status.error.error_code == sql.ServiceErrorCode.BAD_REQUEST


def test_parameters_are_bound(whole_client):
    item = sql.StatementParameterListItem
    found = execute(
        whole_client,
        "SELECT :i + 1, :s, :n, :d",
        parameters=[
            item("i", type="INT", value="41"),
            item("s", value="it's; --"),
            item("n"),
            item("d", type="DATE", value="2026-01-31"),
        ],
    )
    assert found == [["42", "it's; --", None, "2026-01-31"]]


def test_a_job_runs(whole_client, unique):
    """A notebook, a Python file and a saved query, on one table."""
    client = whole_client
    client.schemas.create(unique, "main")
    execute(client, f"CREATE TABLE main.{unique}.t (n INT)")
    source = (
        f'spark.sql("INSERT INTO main.{unique}.t VALUES (" + dbutils.widgets.get("n") + ")")\n'
        'dbutils.notebook.exit("done")'
    )
    client.workspace.upload(
        f"/Shared/{unique}", io.BytesIO(source.encode()), language=workspace.Language.PYTHON
    )
    script = f"from pyspark.sql import SparkSession\nprint(SparkSession.builder.getOrCreate().table('main.{unique}.t').count())"
    client.workspace.upload(
        f"/Shared/{unique}.txt.py", io.BytesIO(script.encode()), format=workspace.ImportFormat.AUTO
    )
    query = client.queries.create(
        query=sql.CreateQueryRequestQuery(
            display_name=unique, query_text=f"INSERT INTO main.{unique}.t SELECT 2"
        )
    )
    job_id = client.jobs.create(
        name=unique,
        tasks=[
            jobs.Task(
                task_key="n", notebook_task=jobs.NotebookTask(f"/Shared/{unique}", base_parameters={"n": "1"})
            ),
            jobs.Task(
                task_key="q",
                depends_on=[jobs.TaskDependency("n")],
                sql_task=jobs.SqlTask("local", query=jobs.SqlTaskQuery(query.id)),
            ),
            jobs.Task(
                task_key="p",
                depends_on=[jobs.TaskDependency("q")],
                spark_python_task=jobs.SparkPythonTask(f"/Workspace/Shared/{unique}.txt.py"),
            ),
        ],
    ).job_id
    run = client.jobs.run_now(job_id).result(timeout=timedelta(seconds=120))
    assert run.state.result_state == jobs.RunResultState.SUCCESS
    outputs = {task.task_key: client.jobs.get_run_output(task.run_id) for task in run.tasks}
    assert outputs["n"].notebook_output.result == "done"
    assert outputs["p"].logs.strip() == "2"


def test_kill_9_leaves_tables_and_ends_what_ran(whole_client, directory, unique, tmp_path):
    """After kill -9 the next life has the tables and jobs; the run that was under way has ended, its process too."""
    client = whole_client
    execute(client, f"CREATE SCHEMA main.{unique}")
    execute(client, f"CREATE TABLE main.{unique}.t AS SELECT 7 AS n")
    run_id, pid = start_sleeper(client, unique, tmp_path / "pid")
    first = find(directory)
    os.kill(first.pid, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(first.pid))
    second = ensure_up(directory)
    assert second.host == first.host
    assert second.spark_remote == first.spark_remote
    assert execute(client, f"SELECT n FROM main.{unique}.t") == [["7"]]
    run = client.jobs.get_run(run_id)
    assert run.state.life_cycle_state == jobs.RunLifeCycleState.INTERNAL_ERROR
    assert wait_until(lambda: not is_alive(pid))


def test_stop_ends_the_processes_of_runs(tmp_path):
    """SIGTERM ends the workspace within seconds, with what it runs."""
    connection = ensure_up(tmp_path, with_spark=False)
    try:
        client = client_of(connection)
        _, pid = start_sleeper(client, "sleeper", tmp_path / "pid")
        os.kill(connection.pid, signal.SIGTERM)
        assert wait_until(lambda: not is_alive(connection.pid), 12)
        assert wait_until(lambda: not is_alive(pid), 2)
    finally:
        stop(tmp_path)


def test_an_armed_trigger_keeps_an_idle_workspace(tmp_path):
    """A schedule that is not paused keeps the process; paused, it goes."""
    connection = ensure_up(tmp_path, idle_seconds=0.5, with_spark=False)
    try:
        client = client_of(connection)
        schedule = jobs.CronSchedule("0 0 0 1 1 ?", "UTC", jobs.PauseStatus.UNPAUSED)
        job_id = client.jobs.create(name="x", schedule=schedule).job_id
        assert not wait_until(lambda: not is_alive(connection.pid), 2.5)
        schedule.pause_status = jobs.PauseStatus.PAUSED
        client.jobs.update(job_id, new_settings=jobs.JobSettings(schedule=schedule))
        assert wait_until(lambda: not is_alive(connection.pid), 8)
    finally:
        stop(tmp_path)


def test_another_shell_uses_the_variables(whole, unique):
    """The variables alone are enough for Spark and the SDK in another process."""
    program = (
        "from databricks.sdk import WorkspaceClient\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        f"spark.sql('CREATE SCHEMA gold.{unique}')\n"
        f"spark.range(3).write.saveAsTable('gold.{unique}.r')\n"
        "spark.stop()\n"
        f"print(WorkspaceClient().tables.exists('gold.{unique}.r').table_exists)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DATABRICKS_", "SPARK_"))}
    current = find(whole.directory)
    script = Path(whole.directory, f"{unique}.py")
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment | current.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.strip().splitlines()[-1:] == ["True"], done.stderr
