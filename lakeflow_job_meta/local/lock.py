"""The lock that elects the one process of a folder.

An OS lock (flock) on `.workspace/server.lock`, held for the life of the process: it ends with the
process however that ends, so a file left by kill -9 is no obstacle. The file's text says how to
reach the holder; it has the token, so its mode is 0600.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import Any

import orjson

from lakeflow_job_meta.local.folder import Folder


class ServerLock:
    """The lock of one folder.

    Args:
        folder: the workspace's folder; it must be prepared.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._fd = -1

    def acquire(self, seconds: float = 0.0) -> bool:
        """Takes the lock; False when another process holds it.

        Args:
            seconds: how long to try while the holder has not said how to reach it. A holder that has
                is there to stay, and waiting for it would mean to follow it when it is stopped.
        """
        fd = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
        os.fchmod(fd, 0o600)
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline or os.fstat(fd).st_size:
                    os.close(fd)
                    return False
                time.sleep(0.02)
                continue
            if self._is_current(fd):
                self._fd = fd
                return True
            # The file was deleted (a reset) between open and lock: the lock is on nothing.
            os.close(fd)
            fd = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT, 0o600)

    def write(self, content: dict[str, Any]) -> None:
        """Says how to reach the holder. In place: another file would not carry the lock."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, orjson.dumps(content), 0)

    def is_lost(self) -> bool:
        """Whether the file was deleted or replaced under the holder: the folder is no longer its own."""
        return not self._is_current(self._fd)

    def release(self) -> None:
        """Gives the lock back; the file stays, empty."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def _is_current(self, fd: int) -> bool:
        try:
            there = self._folder.lock.stat()
        except OSError:
            return False
        ours = os.fstat(fd)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def is_held(folder: Folder) -> bool:
    """Whether a process holds the lock. A look only; a starting process tries for longer than it takes."""
    try:
        fd = os.open(folder.lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
