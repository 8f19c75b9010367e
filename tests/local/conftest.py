"""A real embedded workspace over real loopback HTTP, and the real SDK to ask it.

`plain` runs without Spark and runs and starts in a third of a second; its state is shared by the
session, so tests use names of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.local.process import ensure_up, stop

_NUMBERS = itertools.count(1)


@pytest.fixture
def unique() -> str:
    """A name that no other test uses."""
    return f"t{next(_NUMBERS)}"


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A workspace without Spark and runs."""
    directory = tmp_path_factory.mktemp("plain")
    yield ensure_up(directory, with_spark=False, with_runs=False, idle_seconds=600)
    stop(directory)


def client_of(connection: Connection, **config: Any) -> Any:
    """The SDK's WorkspaceClient for a workspace; `config` as databricks.sdk.core.Config takes it."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    config.setdefault("retry_timeout_seconds", 5)
    return WorkspaceClient(
        config=Config(host=connection.host, token=connection.token, auth_type="pat", **config)
    )


@pytest.fixture(scope="session")
def client(plain: Connection) -> Any:
    """The SDK's client of the plain workspace."""
    return client_of(plain)
