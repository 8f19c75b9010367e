"""One workspace process from the inside: takes the lock, starts the parts, serves, and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lakeflow_job_meta import __version__
from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.local.dxr.child import Child
from lakeflow_job_meta.local.faults import TRANSPORT, Faults
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.lock import ServerLock
from lakeflow_job_meta.local.server import Activity, build
from lakeflow_job_meta.local.state import Database, Jobs, Secrets

if TYPE_CHECKING:
    from lakeflow_job_meta.local.runs.engine import RunEngine
    from lakeflow_job_meta.local.spark.engine import SparkService
    from lakeflow_job_meta.local.spark.session import SparkSql

log = logging.getLogger("lakeflow_job_meta.local.host")

DEFAULT_CATALOGS = ("main", "bronze", "silver", "gold")
ANOTHER_IS_UP = 75
"""Exit code of a process that lost the election (EX_TEMPFAIL)."""
LOCK_SECONDS = 1.0
END_SECONDS = 10.0
"""However the parts hang, the process is gone so long after it was told to end."""


class AnotherIsUp(LocalError):
    """Another process holds the lock of the folder."""


class Host:
    """A workspace process.

    Args:
        folder: its folder.
        catalogs: names of catalogs beside the default ones.
        port: HTTP port; 0 for the one used last when it is free, else any.
        idle_seconds: how long without clients and without work until it ends by itself; 0 for never.
        with_spark: without it there is no SQL, and runs are there only as far as they need none.
        with_runs: without it there are no runs.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        catalogs: Sequence[str] = (),
        port: int = 0,
        idle_seconds: float = 0.0,
        with_spark: bool = True,
        with_runs: bool = True,
    ) -> None:
        self._folder = folder
        self._catalogs = tuple(name.lower() for name in catalogs)
        self._port = port
        self._idle_seconds = idle_seconds
        self._with_spark = with_spark
        self._with_runs = with_runs
        self._activity = Activity()
        self._server: uvicorn.Server | None = None
        self._spark: SparkService | None = None
        self._sql: SparkSql | None = None
        self._runs: RunEngine | None = None
        self._dxr: Child | None = None

    def run(self, on_ready: Callable[[Connection], None] | None = None) -> None:
        """Serves until a signal, `/local/shutdown` or idleness; call it in the main thread.

        Args:
            on_ready: called once when the workspace answers.

        Raises:
            AnotherIsUp: the folder has a process already.
            LocalError: a part could not start.
        """
        self._folder.prepare()
        lock = ServerLock(self._folder)
        if not lock.acquire(LOCK_SECONDS):
            raise AnotherIsUp(f"the workspace of {self._folder.root} is up already; stop it first")
        signals = {name: signal.signal(name, self._on_signal) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._run(lock, on_ready)
        finally:
            lock.release()
            for name, handler in signals.items():
                signal.signal(name, handler)

    def _run(self, lock: ServerLock, on_ready: Callable[[Connection], None] | None) -> None:
        database = Database(self._folder.state)
        memory = _Memory(database)
        token = _token(self._folder)
        catalogs = memory.catalogs(self._catalogs)
        listener = _listen(self._port, memory.number("http_port"))
        port = listener.getsockname()[1]
        memory.remember("http_port", port)
        host = f"http://127.0.0.1:{port}"
        jobs, vault = Jobs(database), Secrets(database)
        try:
            remote = self._start_spark(memory, token, catalogs)
            dxr = self._open_dxr(memory)
            connection = Connection(
                host, token, remote, os.getpid(), str(self._folder.root), dxr.url, dxr.token
            )
            self._start_runs(database, jobs, vault, connection)
            app = build(
                self._folder,
                database,
                token,
                jobs=jobs,
                secrets=vault,
                registry=self._spark.registry if self._spark is not None else None,
                sql=self._sql,
                runs=self._runs,
                faults=Faults(),
                activity=self._activity,
                catalogs=catalogs,
                health=lambda: self._health(catalogs),
                shutdown=self._end,
                forget_job=self._runs.forget if self._runs is not None else None,
            )
            self._serve(app, listener, lock, connection, on_ready)
        finally:
            deadline = _die_if_stuck()
            listener.close()
            if self._runs is not None:
                self._runs.stop()
            if self._dxr is not None:
                self._dxr.stop()
            if self._sql is not None:
                self._sql.close()
            if self._spark is not None:
                self._spark.stop()
            database.close()
            deadline.cancel()

    def _start_spark(self, memory: _Memory, token: str, catalogs: Sequence[str]) -> str:
        if not self._with_spark:
            return ""
        from lakeflow_job_meta.local.spark.engine import SparkService
        from lakeflow_job_meta.local.spark.session import SparkSql

        self._spark = SparkService()
        self._spark.start(self._folder, token, catalogs, _free(memory.number("spark_port")))
        memory.remember("spark_port", self._spark.port)
        self._sql = SparkSql(self._spark.remote)
        return self._spark.remote

    def _open_dxr(self, memory: _Memory) -> Child:
        listener = _listen(0, memory.number("dxr_port"))
        memory.remember("dxr_port", listener.getsockname()[1])
        self._dxr = Child(self._folder.dxr, listener, self._activity.touch)
        return self._dxr

    def _start_runs(self, database: Database, jobs: Jobs, vault: Secrets, connection: Connection) -> None:
        if not self._with_runs:
            return
        from lakeflow_job_meta.local.runs.engine import RunEngine

        self._runs = RunEngine(self._folder, database, jobs, connection.environment(), self._sql, vault)
        self._runs.start()

    def _serve(
        self,
        app: Any,
        listener: socket.socket,
        lock: ServerLock,
        connection: Connection,
        on_ready: Callable[[Connection], None] | None,
    ) -> None:
        def ready() -> None:
            lock.write(
                {
                    "pid": connection.pid,
                    "port": listener.getsockname()[1],
                    "token": connection.token,
                    "spark_remote": connection.spark_remote,
                    "dxr_url": connection.dxr_url,
                    "dxr_token": connection.dxr_token,
                }
            )
            if self._dxr is not None:
                self._dxr.watch()
            log.info("ready: %s, process %s", connection.host, connection.pid)
            if on_ready is not None:
                on_ready(connection)

        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=120,
            timeout_graceful_shutdown=2,
            backlog=2048,
        )
        self._server = _Server(config, ready, self._watch(lock))
        self._server.run(sockets=[listener])

    async def _watch(self, lock: ServerLock) -> None:
        """Ends the process when it is idle for too long, or when its folder was deleted."""
        pause = min(5.0, max(0.2, self._idle_seconds / 10)) if self._idle_seconds else 5.0
        while True:
            await asyncio.sleep(pause)
            if lock.is_lost():
                log.info("the folder was deleted: ending")
                self._end()
            elif self._idle_seconds and self._idle_for() > self._idle_seconds and not self._is_busy():
                log.info("idle for %s seconds: ending", self._idle_seconds)
                self._end()

    def _idle_for(self) -> float:
        idle = self._activity.idle_for()
        return idle if self._spark is None else min(idle, time.monotonic() - self._spark.last_used)

    def _is_busy(self) -> bool:
        return any(
            part is not None and part.busy() for part in (self._runs, self._spark) if hasattr(part, "busy")
        )

    def _health(self, catalogs: Sequence[str]) -> dict[str, Any]:
        return {
            "version": __version__,
            "directory": str(self._folder.root),
            "catalogs": list(catalogs),
            "spark": self._spark is not None,
            "runs": self._runs is not None,
            "busy": self._is_busy(),
            "idle_seconds": self._idle_seconds,
        }

    def _on_signal(self, number: int, frame: object) -> None:
        if self._server is None:
            # Still starting: what was started is ended on the way out.
            raise SystemExit(0)
        self._end()

    def _end(self) -> None:
        if self._server is not None:
            if self._server.should_exit:
                self._server.force_exit = True
            self._server.should_exit = True


class _Protocol(HttpToolsProtocol):
    """Lets the fault injection reach the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]


class _Server(uvicorn.Server):
    """Tells when it accepts connections; signals are the Host's, since cleaning up follows the serving."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], watch: Any) -> None:
        super().__init__(config)
        self._ready = ready
        self._watch = watch
        self._watching: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._watching = asyncio.create_task(self._watch)
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Memory:
    """What a folder's process remembers from one life to the next."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def number(self, key: str) -> int:
        """A number that was remembered, 0 when there is none."""
        rows = self._database.read("SELECT body FROM documents WHERE kind = 'process' AND key = ?", key)
        return int(rows[0]["body"]) if rows else 0

    def remember(self, key: str, value: Any) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO documents(kind, key, body) VALUES ('process', ?, ?)",
            key,
            orjson.dumps(value).decode(),
        )

    def catalogs(self, wanted: Sequence[str]) -> list[str]:
        """The default catalogs, those of earlier lives, and the ones wanted now."""
        rows = self._database.read("SELECT body FROM documents WHERE kind = 'process' AND key = 'catalogs'")
        earlier = orjson.loads(rows[0]["body"]) if rows else []
        catalogs = list(dict.fromkeys([*DEFAULT_CATALOGS, *earlier, *wanted]))
        self.remember("catalogs", catalogs)
        return catalogs


def _token(folder: Folder) -> str:
    """The token of the folder, made once."""
    try:
        token = folder.token.read_text().strip()
    except FileNotFoundError:
        token = ""
    if not token:
        token = "local" + secrets.token_hex(24)
        fd = os.open(folder.token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(token)
    return token


def _listen(wanted: int, last: int) -> socket.socket:
    """A socket that listens on loopback: on the wanted port, else the last one if free, else any."""
    for port in (wanted,) if wanted else (last, 0) if last else (0,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(2048)
        except OSError as e:
            listener.close()
            if wanted or not port:
                raise LocalError(
                    f"port {port} of 127.0.0.1 cannot be used: {e.strerror}; choose another --port"
                ) from e
            continue
        return listener
    raise AssertionError("unreachable: port 0 is always tried last")


def _free(port: int) -> int:
    """The port if nobody listens on it, else 0."""
    if not port:
        return 0
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _die_if_stuck() -> threading.Timer:
    def die() -> None:
        sys.stderr.write("a part of the workspace did not end in time: leaving without it\n")
        sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(END_SECONDS, die)
    timer.daemon = True
    timer.start()
    return timer
