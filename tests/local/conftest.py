"""A real embedded workspace over real loopback HTTP, and the real SDK to ask it.

`plain` runs without Spark and runs and starts in a third of a second; its state is shared by the
session, so tests use names of their own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
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


@contextlib.contextmanager
def serving(app: Any, token: str, directory: str) -> Iterator[Connection]:
    """Serves an ASGI application in a thread of this process."""
    import uvicorn

    from lakeflow_job_meta.local.host import _listen, _Protocol, _Server

    async def nothing() -> None:
        return

    listener = _listen(0, 0)
    ready = threading.Event()
    server = _Server(
        uvicorn.Config(app, http=_Protocol, lifespan="off", log_config=None), ready.set, nothing()
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(10)
        yield Connection(f"http://127.0.0.1:{listener.getsockname()[1]}", token, "", os.getpid(), directory)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


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
