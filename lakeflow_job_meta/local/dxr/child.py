"""The simulator of an embedded workspace: a socket that costs nothing until somebody connects to it.

The first connection starts a process that serves the socket; its work is its own, so that classifying
never slows the workspace. When that process dies, the next connection starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from lakeflow_job_meta.local.dxr.serving import token_of

log = logging.getLogger("lakeflow_job_meta.local.dxr")

PAUSE_SECONDS = 1.0
"""Between the death of one process and the start of the next."""
END_SECONDS = 5.0


class Child:
    """The simulator's process, once there is one.

    Args:
        folder: its state.
        listener: a socket that listens; closed by `stop`.
        used: called now and then while the simulator is used.
    """

    def __init__(self, folder: Path, listener: socket.socket, used: Callable[[], None]) -> None:
        self._folder = folder
        self._listener = listener
        self._used = used
        self._process: subprocess.Popen[bytes] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self.token = token_of(folder)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def watch(self) -> None:
        """Waits for the first connection; call it in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener.fileno(), self._start)

    def stop(self) -> None:
        """Ends the process, if there is one."""
        self._stopped = True
        process = self._process
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._listener.close()

    def _start(self) -> None:
        assert self._loop is not None
        self._loop.remove_reader(self._listener.fileno())
        if self._stopped:
            return
        number = self._listener.fileno()
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "lakeflow_job_meta.local.dxr.serving",
                    str(self._folder),
                    "--fd",
                    str(number),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[number],
            )
        except OSError as e:
            log.error("the Data X-Ray simulator cannot be started: %s", e)
            self._loop.call_later(PAUSE_SECONDS, self.watch)
            return
        log.info("the Data X-Ray simulator starts: process %s", self._process.pid)
        threading.Thread(target=self._follow, args=(self._process,), name="dxr", daemon=True).start()

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert self._loop is not None
        while os.read(process.stdout.fileno(), 100):
            self._used()
        code = process.wait()
        if self._stopped:
            return
        log.error("the Data X-Ray simulator ended (exit code %s): the next connection starts it again", code)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the workspace ends
            self._loop.call_soon_threadsafe(self._loop.call_later, PAUSE_SECONDS, self.watch)
