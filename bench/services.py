"""What the subjects work against: a Jobs API stub, a Sail, and workers; all of them processes of their own."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.local import process
from lakeflow_job_meta.local.connection import Connection

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JsonObject = dict[str, Any]
HERE = Path(__file__).parent
ROOT = HERE.parent
#: Not committed: the peer's environment and scratch folders.
SCRATCH = ROOT / ".bench"


@contextmanager
def sail() -> Iterator[tuple[str, Path]]:
    """A plain Sail server: its remote, and a scratch folder that goes with it."""
    SCRATCH.mkdir(exist_ok=True)
    command = [sys.executable, str(HERE / "sail.py")]
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as scratch,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"sc://127.0.0.1:{int(server.stdout.readline())}", Path(scratch)
        finally:
            server.stdin.close()
            server.terminate()


@contextmanager
def spark() -> Iterator[tuple[SparkSession, Path]]:
    """A session on a plain Sail server whose tables are Delta in UTC, and a scratch folder."""
    os.environ.setdefault("SPARK_HOME", str(SCRATCH))  # pyspark looks for it when it is imported
    from pyspark.sql import SparkSession

    with sail() as (remote, scratch):
        builder = SparkSession.builder.remote(remote).config("spark.sql.sources.default", "delta")
        session = builder.config("spark.sql.session.timeZone", "UTC").create()
        try:
            yield session, scratch
        finally:
            session.stop()


@contextmanager
def stub(folder: Path) -> Iterator[Connection]:
    """The Jobs API over loopback, without Spark and without runs."""
    try:
        yield process.ensure_up(folder, with_spark=False, with_runs=False, idle_seconds=3600)
    finally:
        process.stop(folder)


@contextmanager
def workspace(folder: Path) -> Iterator[Connection]:
    """An embedded workspace with its SQL engine, without runs."""
    try:
        yield process.ensure_up(folder, with_runs=False, idle_seconds=3600)
    finally:
        process.stop(folder)


def called(connection: Connection) -> tuple[int, int]:
    """(calls, calls that changed something) that the stub has seen since it was asked last."""
    seen = connection.ask("GET", "/local/calls", seconds=30)
    connection.ask("DELETE", "/local/calls", seconds=30)
    return int(seen["total"]), int(seen["wrote"])


class Failed(Exception):
    """A worker could not do what it was asked."""


class Worker:
    """A subject in its own process, see `measure.serve`."""

    def __init__(self, program: str, python: str = sys.executable) -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answers: queue.Queue[JsonObject | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def ask(self, do: str, *, cut_off: float | None = None, **arguments: Any) -> JsonObject:
        """The answer to a command.

        Args:
            cut_off: seconds after which the worker is killed; the answer is then what it had reached, with
                `cut_off` true.

        Raises:
            Failed: it raised, or died.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        while True:
            answer = self._answers.get()
            if answer is None:
                raise Failed(f"the worker died at {do!r}")
            if "failed" in answer:
                raise Failed(f"{do}: {answer['failed']}")
            if "progress" not in answer:
                return {**answer, "cut_off": False}
            if cut_off is not None and answer["progress"]["seconds"] > cut_off:
                self.kill()
                return {**answer["progress"], "cut_off": True}

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
