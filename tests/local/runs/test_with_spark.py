"""Tasks of every kind on one real embedded workspace: its process, its gateway, Sail and Delta."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.local.connection import Connection
from tests.embedded import running

from .wheels import make_wheel


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    pytest.importorskip("pysail")
    with running(tmp_path_factory.mktemp("spark") / "workspace") as found:
        yield found


@pytest.fixture(scope="module")
def client(connection: Connection) -> Any:
    from databricks.sdk import WorkspaceClient

    return WorkspaceClient(host=connection.host, token=connection.token)


WHEEL = """
from pyspark.sql import SparkSession
def main():
    spark = SparkSession.builder.getOrCreate()
    rows = spark.table("main.runs.from_sql").count()
    spark.createDataFrame([(rows,)], "n INT").write.format("delta").mode("overwrite").saveAsTable("main.runs.from_wheel")
    spark.stop()
"""
FILE = """
from pyspark.sql import SparkSession
from databricks.connect import DatabricksSession
from databricks.sdk.runtime import spark as imported
assert isinstance(spark, type(SparkSession.builder.getOrCreate()))
assert spark.sql("SELECT n FROM main.runs.from_wheel").collect()[0].n == 2
assert imported.table("main.runs.from_wheel").count() == 1
assert DatabricksSession.builder.serverless(True).getOrCreate().range(3).count() == 3
display(spark.table("main.runs.from_wheel"))
"""
NOTEBOOK = """# Databricks notebook source
dbutils.widgets.text("low", "0")

# COMMAND ----------

# MAGIC %sql
# MAGIC CREATE OR REPLACE TABLE main.runs.from_notebook AS SELECT * FROM main.runs.from_sql;
# MAGIC SELECT count(*) AS n FROM main.runs.from_notebook WHERE id > :low

# COMMAND ----------

dbutils.notebook.exit(str(_sqldf.collect()[0].n))
"""
SQL = """
CREATE SCHEMA IF NOT EXISTS main.runs;
CREATE OR REPLACE TABLE main.runs.from_sql AS SELECT 1 AS id, :day AS day UNION ALL SELECT 2, :day;
SELECT count(*) AS n, max(day) AS day FROM main.runs.from_sql;
"""


def test_a_pipeline(connection: Connection, client: Any) -> None:
    """SQL file, wheel, Python file, notebook and saved query see the tables of one another."""
    root = Path(connection.directory)
    (root / "Workspace/job").mkdir(parents=True)
    (root / "Workspace/job/one.sql").write_text(SQL)
    (root / "Workspace/job/three.py").write_text(FILE)
    (root / "Workspace/job/four.py").write_text(NOTEBOOK)
    wheel = make_wheel(root / "Volumes/main/lib/v", "acme_spark", {"acme_spark.py": WHEEL})
    created = client.api_client.do(
        "POST",
        "/api/2.0/sql/queries",
        body={"query": {"display_name": "q", "query_text": "SELECT * FROM main.runs.from_notebook WHERE id >= :id",
                        "parameters": [{"name": "id", "numeric_value": {"value": 2}}]}},
    )  # fmt: skip
    dependencies = [f"/Volumes/main/lib/v/{wheel.name}"]
    job = {
        "name": "spark",
        "tasks": [
            {
                "task_key": "one",
                "sql_task": {
                    "warehouse_id": "local",
                    "file": {"path": "/Workspace/job/one.sql"},
                    "parameters": {"day": "mon"},
                },
            },
            {
                "task_key": "two",
                "depends_on": [{"task_key": "one"}],
                "environment_key": "e",
                "python_wheel_task": {"package_name": "acme_spark", "entry_point": "main"},
            },
            {
                "task_key": "three",
                "depends_on": [{"task_key": "two"}],
                "spark_python_task": {"python_file": "/Workspace/job/three.py"},
            },
            {
                "task_key": "four",
                "depends_on": [{"task_key": "one"}],
                "notebook_task": {"notebook_path": "/job/four", "base_parameters": {"low": "1"}},
            },
            {
                "task_key": "five",
                "depends_on": [{"task_key": "four"}],
                "sql_task": {"warehouse_id": "local", "query": {"query_id": created["id"]}},
            },
            {
                "task_key": "six",
                "depends_on": [{"task_key": "five"}],
                "condition_task": {
                    "op": "EQUAL_TO",
                    "left": "{{tasks.five.output.first_row.id}}",
                    "right": "2",
                },
            },
        ],
        "environments": [
            {"environment_key": "e", "spec": {"environment_version": "2", "dependencies": dependencies}}
        ],
    }
    job_id = client.api_client.do("POST", "/api/2.2/jobs/create", body=job)["job_id"]
    run = client.jobs.run_now(job_id).result()
    outputs = {task.task_key: client.jobs.get_run_output(task.run_id) for task in run.tasks}
    assert {key: (o.error, o.error_trace) for key, o in outputs.items() if o.error} == {}
    assert outputs["four"].notebook_output.result == "1"
    assert run.tasks[-1].condition_task.outcome == "true"
    assert "2" in outputs["three"].logs


def test_sql_errors(client: Any, connection: Connection) -> None:
    """A statement that Spark refuses fails the task with Spark's message, without a stack trace of ours."""
    (Path(connection.directory) / "Workspace/bad.sql").write_text("SELECT * FROM main.default.no_such_table")
    task = {"task_key": "t", "sql_task": {"warehouse_id": "local", "file": {"path": "/Workspace/bad.sql"}}}
    run_id = client.api_client.do("POST", "/api/2.2/jobs/runs/submit", body={"tasks": [task]})["run_id"]
    run = client.jobs.wait_get_run_job_terminated_or_skipped(run_id)
    output = client.jobs.get_run_output(run.tasks[0].run_id)
    assert "no_such_table" in output.error
    assert output.error_trace is None


def test_sql_task_is_quick(client: Any, connection: Connection) -> None:
    """A SQL task starts no process: it takes a tenth of a second, and never seconds."""
    (Path(connection.directory) / "Workspace/quick.sql").write_text("SELECT 1")
    task = {"task_key": "t", "sql_task": {"warehouse_id": "local", "file": {"path": "/Workspace/quick.sql"}}}
    begun = time.monotonic()
    run_id = client.api_client.do("POST", "/api/2.2/jobs/runs/submit", body={"tasks": [task]})["run_id"]
    while not client.jobs.get_run(run_id).end_time:
        time.sleep(0.02)
    assert time.monotonic() - begun < 5
