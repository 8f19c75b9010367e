"""Starts and stops the Spark of an embedded workspace."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import urllib.parse
from collections.abc import Sequence

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark.registry import Registry
from lakeflow_job_meta.local.spark.sail import Sail
from lakeflow_job_meta.local.state import Database

DEFAULT_CATALOGS = ("main", "bronze", "silver", "gold")

_log = logging.getLogger(__name__)


class SparkService:
    """Sail, the gateway and the registry of one workspace.

    Args:
        user: user id in `remote`: what current_user() says in sessions that name no other.
    """

    def __init__(self, user: str = "local@localhost") -> None:
        self._user = user
        self._sail: Sail | None = None
        self._database: Database | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._registry: Registry | None = None
        self.port = 0
        """Of the gateway; 0 before the start."""
        self.remote = ""
        """The connect string of the gateway, token included: for SPARK_REMOTE, never for a log."""
        self.last_used = time.monotonic()
        """time.monotonic() of the last gRPC call."""

    @property
    def registry(self) -> Registry:
        """The schemas, tables and views of the workspace.

        Raises:
            LocalError: not started.
        """
        if self._registry is None:
            raise LocalError("the Spark of the workspace is not started")
        return self._registry

    def start(
        self, folder: Folder, token: str, catalogs: Sequence[str] = DEFAULT_CATALOGS, port: int = 0
    ) -> None:
        """Starts Sail and the gateway, and returns when clients can connect.

        Args:
            folder: the workspace's folder, prepared.
            token: what clients must send.
            catalogs: the first is the default one.
            port: of the gateway on 127.0.0.1; 0 picks a free one.

        Raises:
            LocalError: Sail does not start, or the port is taken.
        """
        self._database = Database(folder.private / "spark.sqlite")
        self._registry = Registry(self._database, folder, catalogs)
        self._sail = Sail(self._registry.catalogs(), folder.private / "sail.log")
        try:
            self._sail.start()
        except LocalError:
            self.stop()
            raise
        started = threading.Event()
        failure: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._serve, args=(token, port, started, failure), name="spark-gateway", daemon=True
        )
        self._thread.start()
        started.wait()
        if failure:
            self.stop()
            raise LocalError(
                f"the Spark gateway cannot listen on 127.0.0.1:{port}: {failure[0]}; choose another port"
            ) from failure[0]
        parameters = {"user_id": self._user, "x-lakeflow-token": token}
        query = ";".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in parameters.items())
        self.remote = f"sc://127.0.0.1:{self.port}/;{query}"

    def stop(self) -> None:
        """Ends the gateway and Sail; does nothing when they are not there."""
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None and self._thread is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(stopping.set)
            self._thread.join(20)
        self._loop = self._stopping = self._thread = None
        if self._sail is not None:
            self._sail.stop()
            self._sail = None
        if self._database is not None:
            self._database.close()
            self._database = None

    def _touched(self) -> None:
        self.last_used = time.monotonic()

    def _serve(self, token: str, port: int, started: threading.Event, failure: list[BaseException]) -> None:
        # Python tasks are children of this process; grpc's fork handlers would only get in their way.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
        try:
            asyncio.run(self._main(token, port, started))
        except (OSError, RuntimeError) as e:
            failure.append(e)
            if started.is_set():
                _log.exception("the Spark gateway ended")
        finally:
            started.set()

    async def _main(self, token: str, port: int, started: threading.Event) -> None:
        from lakeflow_job_meta.local.spark.gateway import Gateway
        from lakeflow_job_meta.local.spark.upstream import Upstream

        assert self._sail is not None
        assert self._registry is not None
        upstream = Upstream(self._sail)
        server = Gateway(self._registry, upstream, token, self._touched).server()
        self.port = server.add_insecure_port(f"127.0.0.1:{port}")
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        await server.start()
        await upstream.channel()
        started.set()
        await self._stopping.wait()
        await server.stop(grace=1.0)
        await upstream.close()
