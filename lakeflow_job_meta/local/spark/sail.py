"""Sail, the Spark Connect server behind the gateway, as a child process.

A child, so that a crash or the memory of a large MERGE ends only Sail, and the gateway starts it
again. It ends with its parent, however that dies, because it waits for the end of its stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from lakeflow_job_meta.errors import LocalError

SESSION_SECONDS = 24 * 3600
"""An idle session is deleted by Sail after this time (its default is 15 minutes)."""

SYSTEM_CATALOG = "__system"
"""Holds `system.information_schema`: Sail's own `system` catalog cannot be added to."""

START_SECONDS = 60.0


class Sail:
    """The child process.

    Args:
        catalogs: names of the catalogs, the first is the default.
        log: file that takes its error output.
    """

    def __init__(self, catalogs: Sequence[str], log: Path) -> None:
        self._catalogs = tuple(catalogs)
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self.address = ""
        """`host:port` of the Spark Connect server, empty before the start."""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts it and waits until it listens.

        Raises:
            LocalError: pysail is missing, or it did not start within a minute.
        """
        self.stop()
        catalogs = ", ".join(
            f'{{name={json.dumps(name)}, type="memory", initial_database=["default"]}}'
            for name in (*self._catalogs, SYSTEM_CATALOG)
        )
        environment = os.environ | {
            "SAIL_CATALOG__LIST": f"[{catalogs}]",
            "SAIL_CATALOG__DEFAULT_CATALOG": self._catalogs[0],
            "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(SESSION_SECONDS),
            "RUST_LOG": "error",
        }
        # A remote of the environment belongs to clients; inside Sail it would mislead Python UDFs.
        environment.pop("SPARK_REMOTE", None)
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "lakeflow_job_meta.local.spark.sail"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
        self._process = process
        patience = threading.Timer(START_SECONDS, process.kill)
        patience.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
        finally:
            patience.cancel()
        if not line.startswith("listening "):
            self.stop()
            raise LocalError(
                f"Sail (pysail) did not start; see {self._log}, and check that the extra `local` is installed"
            )
        self.address = line.split()[1]

    def wait(self) -> None:
        """Waits until it has ended."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Ends it; does nothing when it is not there."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def main() -> None:
    """The child: serves until its stdin ends."""
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    sys.stdout.write(f"listening {host}:{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Not stop(): it waits for running queries of clients that may be gone.
    os._exit(0)


if __name__ == "__main__":
    main()
