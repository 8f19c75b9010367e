"""Child processes of task runs: start, capture, redact, stop, and end those that a dead engine left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

REDACTED = "[REDACTED]"
GRACE_SECONDS = 5.0
"""From SIGTERM to SIGKILL."""
LOG_LIMIT = 10 * 1024 * 1024
"""Bytes of a log; when it is full, its newer half is kept."""
LINE_LIMIT = 1 << 20

_SHORTEST = 4
"""Shorter secrets are not looked for: they would blank out innocent text."""


class Redactor:
    """Replaces secret values in text.

    Args:
        secrets: their values; every line of one counts as well.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        parts = {
            part
            for secret in secrets
            for part in (secret, *secret.splitlines())
            if len(part.strip()) >= _SHORTEST
        }
        ordered = sorted(parts, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(part) for part in ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text) if self._pattern else text


class Stop:
    """Asks something under way to end, once, with a reason: canceled, timedout or stopped.

    Args:
        parent: whose request reaches this one as well.
    """

    def __init__(self, parent: Stop | None = None) -> None:
        self.reason = ""
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._parent = parent
        self._timer: threading.Timer | None = None
        if parent is not None:
            self._forward = lambda: self.request(parent.reason)
            parent.add(self._forward)

    def request(self, reason: str) -> None:
        """Asks; only the first reason counts."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            callbacks, self._callbacks = self._callbacks, []
        self._event.set()
        for callback in callbacks:
            callback()

    def expire(self, seconds: float) -> None:
        """Asks with `timedout` after some seconds, unless `close` comes first."""
        self._timer = threading.Timer(max(0.0, seconds), self.request, ["timedout"])
        self._timer.daemon = True
        self._timer.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for a request; whether there was one."""
        return self._event.wait(seconds)

    @contextmanager
    def listen(self, callback: Callable[[], None]) -> Iterator[None]:
        """Calls `callback` (at once when it was asked already) while the body runs."""
        self.add(callback)
        try:
            yield
        finally:
            self.remove(callback)

    def close(self) -> None:
        """Forgets the timer and the parent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._parent is not None:
            self._parent.remove(self._forward)

    def remove(self, callback: Callable[[], None]) -> None:
        """Forgets a callback."""
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def add(self, callback: Callable[[], None]) -> None:
        """Calls `callback` when it is asked, at once when it was."""
        with self._lock:
            if not self.reason:
                self._callbacks.append(callback)
                return
        callback()


class Log:
    """A task's output in a file that stays below a size.

    Args:
        path: the file.
        redact: applied to every line.
    """

    def __init__(self, path: Path, redact: Callable[[str], str]) -> None:
        self._path = path
        self._redact = redact
        self._file: IO[bytes] = path.open("ab")

    def write(self, line: bytes) -> None:
        self._file.write(self._redact(line.decode("utf-8", errors="replace")).encode())
        if self._file.tell() > LOG_LIMIT:
            self._file.close()
            data = self._path.read_bytes()[-LOG_LIMIT // 2 :]
            self._path.write_bytes(data)
            self._file = self._path.open("ab")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def run_child(
    command: list[str],
    *,
    order: Mapping[str, Any],
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    redact: Callable[[str], str],
    stop: Stop,
    started: Callable[[int, str], None],
) -> int:
    """Runs a command in a process group of its own until it ends or `stop` asks.

    Args:
        order: sent to its standard input as one line of JSON; the pipe then stays open, so that the
            child sees when this process dies.
        log: where its output (both streams) goes, redacted line by line.
        started: called with the process id and its start time.

    Returns:
        Its exit code, negative for a signal. Nothing of its process group is left.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=dict(environment),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    started(process.pid, start_time_of(process.pid))
    reader = threading.Thread(target=_copy, args=(process.stdout, Log(log, redact)), daemon=True)
    reader.start()
    with stop.listen(lambda: terminate(process.pid)):
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died before it read its order: the exit code tells
        code = process.wait()
    _signal(process.pid, signal.SIGKILL)
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass
    reader.join(timeout=GRACE_SECONDS)
    return code


def _copy(source: IO[bytes], log: Log) -> None:
    with source:
        for line in iter(lambda: source.readline(LINE_LIMIT), b""):
            log.write(line)
    log.close()


def terminate(group: int) -> None:
    """SIGTERM to a process group, SIGKILL when it is still there after a grace time. Does not wait."""
    if not _signal(group, signal.SIGTERM):
        return
    timer = threading.Timer(GRACE_SECONDS, _signal, [group, signal.SIGKILL])
    timer.daemon = True
    timer.start()


def _signal(group: int, number: signal.Signals) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def start_time_of(pid: int) -> str:
    """When a process started, in the system's own words; empty when there is none.

    Together with the id it names a process for good: ids are used again.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    except (OSError, IndexError):
        return ""
    try:
        found = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()


def kill_orphan(pid: int, started: str) -> bool:
    """Ends the process group that a dead engine left, if it is still the same process.

    Returns:
        Whether there was one.
    """
    if not pid or not started or start_time_of(pid) != started:
        return False
    return _signal(pid, signal.SIGKILL)


def wait_gone(pid: int, started: str, seconds: float) -> bool:
    """Waits until a process has ended; whether it has."""
    deadline = time.monotonic() + seconds
    while start_time_of(pid) == started and started:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
