"""One embedded workspace for each process that runs these tests, a control table for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from lakeflow_job_meta.local import process
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.names import TableName
from tests.under_fire.world import World

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The workspace, with Spark, without runs."""
    folder = tmp_path_factory.mktemp("under_fire")
    yield process.ensure_up(folder, with_runs=False, idle_seconds=900)
    process.stop(folder)


@pytest.fixture(scope="session")
def session(connection: Connection) -> Iterator[Any]:
    """A Spark session through the workspace's gateway."""
    from pyspark.sql import SparkSession

    opened = SparkSession.builder.remote(connection.spark_remote).create()
    yield opened
    opened.stop()


@pytest.fixture
def world(connection: Connection, session: Any) -> Iterator[World]:
    made = World(connection, session, TableName("main", f"fire_{next(_NUMBERS)}", "etl_control"))
    yield made
    connection.ask("DELETE", "/local/faults")
    made.there.forget()
