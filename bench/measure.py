"""Measuring inside a worker. Standard library only: the peer's environment runs it too."""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

JsonObject = dict[str, Any]
PROGRESS_SECONDS = 1.0


class Spark:
    """Counts what one Spark Connect session is asked, whoever asks: the same for ours and the peer's.

    `texts`: SQL texts given to `spark.sql`. `requests`: plans sent to the server to be executed.
    """

    def __init__(self, remote: str) -> None:
        from pyspark.sql import SparkSession

        self.session = (
            SparkSession.builder.remote(remote)
            .config("spark.sql.sources.default", "delta")
            .config("spark.sql.session.timeZone", "UTC")
            .create()
        )
        self.texts = 0
        self.requests = 0
        stub = self.session.client._stub  # noqa: SLF001
        execute, sql = stub.ExecutePlan, type(self.session).sql

        def counted_execute(*args: Any, **named: Any) -> Any:
            self.requests += 1
            return execute(*args, **named)

        def counted_sql(session: Any, *args: Any, **named: Any) -> Any:
            self.texts += 1
            return sql(session, *args, **named)

        stub.ExecutePlan = counted_execute
        type(self.session).sql = counted_sql

    def register(self, catalog: str, schema: str, warehouse: str, tables: list[str]) -> None:
        """Make a schema, and tables that another session made, known: Sail's catalogs live as long as a session."""
        location = f"{warehouse}/{catalog}/{schema}"
        self.session.sql(
            f"CREATE SCHEMA IF NOT EXISTS `{catalog}`.`{schema}` LOCATION '{location}'"
        ).collect()
        for table in tables:
            if os.path.isdir(f"{location}/{table}/_delta_log"):  # noqa: PTH112
                self.session.sql(
                    f"CREATE TABLE IF NOT EXISTS `{catalog}`.`{schema}`.`{table}` "
                    f"USING delta LOCATION '{location}/{table}'"
                ).collect()


def forget_peak() -> None:
    """Start the peak of resident memory anew, where the kernel lets us (Linux)."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write("5")
    except OSError:
        pass


def peak_mb() -> float:
    """Peak of resident memory since `forget_peak`, in MB; of the whole process where that cannot be reset."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve(commands: dict[str, Callable[..., JsonObject | None]], spark: Callable[[], Spark | None]) -> None:
    """Answer commands, one JSON line each, until standard input ends.

    A command's answer gets its seconds, the peak of memory, and what Spark was asked; while it is under way the
    same is told every second, so that a command that is cut off has figures too.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what others print must not disturb the protocol
    logging.disable(logging.INFO)  # nobody's log is part of what is measured
    lock = threading.Lock()

    def tell(answer: JsonObject) -> None:
        with lock:
            out.write(json.dumps(answer) + "\n")
            out.flush()

    for line in sys.stdin:
        command = json.loads(line)
        done = threading.Event()
        forget_peak()
        one = spark()
        before = (one.texts, one.requests) if one else (0, 0)
        started = time.perf_counter()

        def figures(started: float = started, before: tuple[int, int] = before) -> JsonObject:
            now = spark()
            return {
                "seconds": time.perf_counter() - started,
                "sql_texts": now.texts - before[0] if now else 0,
                "spark_requests": now.requests - before[1] if now else 0,
                "peak_mb": peak_mb(),
            }

        def report(done: threading.Event = done, figures: Callable[[], JsonObject] = figures) -> None:
            while not done.wait(PROGRESS_SECONDS):
                tell({"progress": figures()})

        reporter = threading.Thread(target=report, daemon=True)
        reporter.start()
        try:
            answer = commands[command.pop("do")](**command) or {}
        except Exception as error:  # noqa: BLE001 - told to the driver, which stops
            answer = {"failed": f"{type(error).__name__}: {error}"}
        measured = figures()
        done.set()
        reporter.join()
        tell({**measured, **answer})
