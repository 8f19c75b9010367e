"""One embedded workspace, Spark included, for the adapters that talk to one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.local.process import ensure_up, stop


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """An embedded workspace with Spark and without runs."""
    directory = tmp_path_factory.mktemp("workspace")
    yield ensure_up(directory, with_runs=False, idle_seconds=600)
    stop(directory)


@pytest.fixture(scope="session")
def workspace_client(workspace: Connection) -> Any:
    """The SDK's client of it."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    return WorkspaceClient(
        config=Config(host=workspace.host, token=workspace.token, auth_type="pat", retry_timeout_seconds=5)
    )


@pytest.fixture(scope="session")
def workspace_spark(workspace: Connection) -> Iterator[Any]:
    """A Spark session of it."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.remote(workspace.spark_remote).create()
    yield session
    session.stop()
