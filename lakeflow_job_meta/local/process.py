"""The life of an embedded workspace, from the outside: start it detached, find, stop and reset it.

`python -m lakeflow_job_meta.local.process DIR` is the detached process itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import site
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import orjson

from lakeflow_job_meta import __version__
from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.connection import Connection, is_alive, recorded
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.lock import ServerLock, is_held

IDLE_SECONDS = 900.0
"""How long a detached workspace stays without clients and without work."""
START_SECONDS = 60.0
STOP_SECONDS = 15.0
MAX_LOG_BYTES = 5_000_000
ANOTHER_IS_UP = 75

Directory = str | os.PathLike[str]


def find(directory: Directory) -> Connection | None:
    """The workspace of a folder, None when none is up there."""
    connection = recorded(Folder.at(directory))
    return connection if connection is not None and connection.is_up() else None


def ensure_up(
    directory: Directory,
    *,
    catalogs: Sequence[str] | None = None,
    port: int = 0,
    idle_seconds: float = IDLE_SECONDS,
    with_spark: bool = True,
    with_runs: bool = True,
) -> Connection:
    """The workspace of a folder, started when none is up there.

    The process is detached: it survives its parent, and ends by itself when it is idle. Two starters
    at once get one process.

    Args:
        directory: the folder, made when missing.
        catalogs: catalogs beside main, bronze, silver and gold; a workspace that lacks one is restarted
            when it is not busy.
        port: HTTP port; 0 for the one used last when it is free, else any.
        idle_seconds: for a process that is started now; 0 for never.
        with_spark: False starts it without SQL (for tests that need none).
        with_runs: False starts it without runs.

    Raises:
        LocalError: it does not start, or lacks a catalog and cannot be restarted.
    """
    folder = Folder.at(directory)
    connection = find(directory)
    if connection is not None:
        why = _why_restart(connection, catalogs or ())
        if not why:
            return connection
        if connection.ask("GET", "/local/health").get("busy"):
            raise LocalError(
                f"the workspace of {folder.root} is up {why}, and it is busy: wait for its runs"
                " (or pause its jobs), stop it, and try again"
            )
        stop(directory)
    folder.prepare()
    arguments = ["--port", str(port), "--idle-seconds", str(idle_seconds)]
    for catalog in catalogs or ():
        arguments += ["--catalog", catalog]
    arguments += [] if with_spark else ["--no-spark"]
    arguments += [] if with_runs else ["--no-runs"]
    return _start(folder, arguments)


def serve(
    directory: Directory,
    port: int = 0,
    *,
    catalogs: Sequence[str] | None = None,
    idle_seconds: float = 0.0,
    on_ready: Callable[[Connection], None] | None = None,
    with_spark: bool = True,
    with_runs: bool = True,
) -> None:
    """Serves a folder in the foreground until SIGTERM or SIGINT; call it in the main thread.

    Args:
        directory: the folder, made when missing.
        port: HTTP port; 0 for the one used last when it is free, else any.
        catalogs: catalogs beside main, bronze, silver and gold.
        idle_seconds: 0 for never.
        on_ready: called once with the connection when the workspace answers.
        with_spark: False serves without SQL.
        with_runs: False serves without runs.

    Raises:
        LocalError: the folder is served by another process, or a part cannot start.
    """
    from lakeflow_job_meta.local.host import Host

    Host(
        Folder.at(directory),
        catalogs=catalogs or (),
        port=port,
        idle_seconds=idle_seconds,
        with_spark=with_spark,
        with_runs=with_runs,
    ).run(on_ready)


def stop(directory: Directory) -> bool:
    """Ends the workspace of a folder and its runs; False when none was up.

    Raises:
        LocalError: it does not end.
    """
    folder = Folder.at(directory)
    stopped = False
    while is_held(folder):
        # How to reach one that is starting is not written yet. A starter may take over from another.
        connection = recorded(folder) or _wait_recorded(folder)
        if connection is not None:
            _end(folder, connection)
            stopped = True
    return stopped


def _end(folder: Folder, connection: Connection) -> None:
    try:
        connection.ask("POST", "/local/shutdown")
    except LocalError:
        _signal(connection.pid, signal.SIGTERM)
    if _wait_released(folder, connection.pid, STOP_SECONDS):
        return
    _signal(connection.pid, signal.SIGKILL)
    if not _wait_released(folder, connection.pid, STOP_SECONDS):
        raise LocalError(f"the workspace of {folder.root} (process {connection.pid}) does not end: kill it")


def reset(directory: Directory) -> None:
    """Ends the workspace of a folder and deletes its state, tables, volumes and workspace files.

    Anything else in the folder stays.

    Raises:
        LocalError: the folder is not an embedded workspace.
    """
    folder = Folder.at(directory)
    if not folder.root.exists():
        return
    if not folder.is_ours:
        if not any(folder.root.iterdir()):
            return
        raise LocalError(f"{folder.root} is not an embedded workspace: nothing was deleted")
    stop(directory)
    lock = ServerLock(folder)
    if not lock.acquire(START_SECONDS):
        raise LocalError(f"the workspace of {folder.root} was started again by somebody: nothing was deleted")
    try:
        for path in (folder.warehouse, folder.volumes, folder.workspace, folder.private):
            if path.is_symlink():
                path.unlink()
            elif path.exists():
                shutil.rmtree(path)
    except OSError as e:
        raise LocalError(
            f"{e.filename or folder.root} cannot be deleted: {e.strerror}; delete it by hand"
        ) from e
    finally:
        lock.release()


def _why_restart(connection: Connection, catalogs: Sequence[str]) -> str:
    """What a workspace that is up lacks, empty when nothing."""
    health = connection.ask("GET", "/local/health")
    if health.get("version") != __version__:
        return f"with version {health.get('version')} of this package, not {__version__}"
    missing = [name for name in catalogs if name.lower() not in health.get("catalogs", [])]
    return f"without the catalog {missing[0]!r}" if missing else ""


def _start(folder: Folder, arguments: list[str]) -> Connection:
    deadline = time.monotonic() + START_SECONDS
    child: subprocess.Popen[bytes] | None = None
    pause = 0.01
    while True:
        connection = recorded(folder)
        if connection is not None and connection.is_up():
            return connection
        if child is None:
            child = _spawn(folder, arguments)
            # Waited for in the background, so that it leaves no zombie when it ends before this process.
            threading.Thread(target=child.wait, name="workspace", daemon=True).start()
        code = child.poll()
        if code == ANOTHER_IS_UP:
            child = None if not is_held(folder) else child
        elif code is not None:
            raise LocalError(
                f"the workspace of {folder.root} did not start (exit code {code}); the end of {folder.log}:\n"
                f"{_log_tail(folder)}\nmend the cause, or start afresh with `lakeflow-job-meta local reset`"
            )
        if time.monotonic() > deadline:
            raise LocalError(
                f"the workspace of {folder.root} does not answer after {START_SECONDS:.0f} seconds;"
                f" the end of {folder.log}:\n{_log_tail(folder)}\nstop its process and try again"
            )
        time.sleep(pause)
        pause = min(0.1, pause * 1.3)


def _spawn(folder: Folder, arguments: list[str]) -> subprocess.Popen[bytes]:
    """The detached process: a session of its own, output to the log."""
    if folder.log.exists() and folder.log.stat().st_size > MAX_LOG_BYTES:
        folder.log.replace(folder.log.with_suffix(".log.1"))
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DATABRICKS_", "DXR_", "SPARK_", "LAKEFLOW_JOB_META_"))
    }
    root = str(Path(__file__).resolve().parents[2])
    if not _is_installed(root):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    fd = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "lakeflow_job_meta.local.process", str(folder.root), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=fd,
            cwd=folder.root,
            env=environment,
            start_new_session=True,
        )
    except OSError as e:
        raise LocalError(f"cannot start a process for the workspace of {folder.root}: {e}") from e
    finally:
        os.close(fd)


def _is_installed(root: str) -> bool:
    """Whether a fresh interpreter finds this very package.

    Only if not, PYTHONPATH says where it is: tasks inherit that, and it would hide what their own
    environments bring.
    """
    if root in {*site.getsitepackages(), site.getusersitepackages()}:
        return True
    try:
        origin = metadata.distribution("lakeflow-job-meta").read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        return False
    return bool(orjson.loads(origin).get("url") == Path(root).as_uri())


def _log_tail(folder: Folder, lines: int = 15) -> str:
    try:
        text = folder.log.read_text(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def _wait_recorded(folder: Folder) -> Connection | None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and is_held(folder):
        connection = recorded(folder)
        if connection is not None:
            return connection
        time.sleep(0.05)
    return None


def _wait_released(folder: Folder, pid: int, seconds: float) -> bool:
    """Waits until that process no longer holds the lock; False when it still does."""
    deadline = time.monotonic() + seconds
    while is_held(folder):
        now = recorded(folder)
        if now is not None and now.pid != pid:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    if pid > 1 and is_alive(pid):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        except PermissionError as e:
            raise LocalError(f"process {pid} belongs to another user: stop it as that user") from e


def main(arguments: Sequence[str] | None = None) -> int:
    """The detached process. Returns its exit code: 75 when another one is up already."""
    from lakeflow_job_meta.local.host import AnotherIsUp

    parser = argparse.ArgumentParser(prog="python -m lakeflow_job_meta.local.process")
    parser.add_argument("directory")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS)
    parser.add_argument("--catalog", action="append", default=[])
    parser.add_argument("--no-spark", action="store_true")
    parser.add_argument("--no-runs", action="store_true")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        serve(
            given.directory,
            given.port,
            catalogs=given.catalog,
            idle_seconds=given.idle_seconds,
            with_spark=not given.no_spark,
            with_runs=not given.no_runs,
        )
    except AnotherIsUp:
        return ANOTHER_IS_UP
    except LocalError as e:
        logging.getLogger("lakeflow_job_meta.local").error("%s", e)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Threads of native libraries must not keep a process that is done.
    os._exit(code)
