"""One real Sail behind the real gateway for all tests here; each test has a schema of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark.engine import SparkService

TOKEN = "a token; with=odd%characters"

Connect = Callable[[], Any]
_NUMBERS = itertools.count(1)


def connect_to(remote: str) -> Any:
    """A fresh Spark session, as a task or a notebook makes it."""
    from pyspark.sql.connect.session import SparkSession

    return SparkSession.builder.remote(remote).create()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The workspace's folder; its path has a space and a letter outside ASCII on purpose."""
    folder = Folder.at(tmp_path_factory.mktemp("work space é"))
    folder.prepare()
    return folder


@pytest.fixture(scope="session")
def service(folder: Folder) -> Iterator[SparkService]:
    service = SparkService()
    service.start(folder, TOKEN)
    yield service
    service.stop()


@pytest.fixture
def connect(service: SparkService) -> Iterator[Connect]:
    """Makes fresh sessions; they end with the test."""
    sessions: list[Any] = []

    def make() -> Any:
        sessions.append(connect_to(service.remote))
        return sessions[-1]

    yield make
    for session in sessions:
        session.stop()


@pytest.fixture
def schema(service: SparkService) -> str:
    """A schema `main.s<n>` that no other test uses."""
    name = f"s{next(_NUMBERS)}"
    service.registry.create_schema("main", name)
    return f"main.{name}"


@pytest.fixture
def spark(connect: Connect, schema: str) -> Any:
    """A session whose current schema is the test's own."""
    session = connect()
    session.sql(f"USE {schema}")
    return session


@pytest.fixture
def volume(folder: Folder) -> Path:
    """The folder of an empty volume `/Volumes/main/default/v<n>`."""
    path = folder.volumes / "main" / "default" / f"v{next(_NUMBERS)}"
    path.mkdir(parents=True)
    return path


def rows(frame: Any) -> list[tuple[Any, ...]]:
    """The rows of a DataFrame, sorted."""
    return sorted((tuple(row) for row in frame.collect()), key=repr)
