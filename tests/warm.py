"""The program, warm: a process that has imported everything forks for each call, so that a call takes tenths of a second.

`python -m tests.warm SOCKET` serves; `warm` starts it, and makes a folder whose `lakeflow-job-meta` calls it, and whose
`warm-python -m MODULE` runs a module. A call is a process of its own, with the caller's arguments, environment, folder and
standard streams; it ends as the one it runs in, by exit code or by signal, and that one is killed with it. Unix only.
"""

from __future__ import annotations

import json
import os
import runpy
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENT = """\
import json, os, socket, struct, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    message = json.dumps([sys.argv[2:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(s, [struct.pack("!I", len(message))], [0, 1, 2])
    s.sendall(message)
    answer = s.recv(4)
    code = struct.unpack("!i", answer)[0] if len(answer) == 4 else 70
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)
"""


@contextmanager
def warm(folder: Path) -> Iterator[Path]:
    """A folder for the head of PATH, with programs that are answered by the warm process."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "s"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "SPARK_HOME": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(address)], cwd=ROOT, env=environment, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not address.exists():
            assert process.poll() is None, "the warm process ended"
            assert time.monotonic() < deadline, "the warm process does not answer"
            time.sleep(0.05)
        bin_folder = folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        (folder / "client.py").write_text(CLIENT)
        command = shlex.join([sys.executable, "-I", "-S", str(folder / "client.py"), str(address)])
        for name in ("lakeflow-job-meta", "warm-python"):
            script = bin_folder / name
            script.write_text(f'#!/bin/sh\nexec {command} {name} "$@"\n')
            script.chmod(0o755)
        yield bin_folder
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


#: What commands import; none of it may open a channel or start a thread.
MODULES = (
    "databricks.sdk",
    "databricks.sdk.service.catalog",
    "databricks.sdk.service.jobs",
    "databricks.sdk.service.sql",
    "databricks.sdk.service.workspace",
    "pyspark.sql.connect.dataframe",
    "pyspark.sql.connect.functions",
    "pyspark.sql.connect.session",
    "rich.progress",
    "rich.table",
    "sqlglot",
    "lakeflow_job_meta.adapters.databricks",
    "lakeflow_job_meta.adapters.fuse_volumes",
    "lakeflow_job_meta.adapters.spark_tables",
    "lakeflow_job_meta.adoption",
    "lakeflow_job_meta.local.process",
    "lakeflow_job_meta.monitor",
    "lakeflow_job_meta.orchestrator",
    "tests.dxr.killed",
    "tests.dxr.killed_exports",
    "tests.policies.killed",
)


def _import_everything() -> None:
    for module in MODULES:
        import_module(module)
    from lakeflow_job_meta.cli.program import COMMANDS
    from lakeflow_job_meta.metadata import schema

    schema.document()
    for place, _ in COMMANDS.values():
        import_module(f"lakeflow_job_meta.cli.{place.partition(':')[0]}")


def _serve(address: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen(8)
        Path(f"{address}.new").rename(address)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(connection)
            connection.close()


def _answer(connection: socket.socket) -> None:
    """In a process of its own: run the call in another one, and tell how it ended; who called may end before."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    size = struct.unpack("!I", head)[0]
    message = b""
    while len(message) < size:
        message += connection.recv(size - len(message))
    (name, *arguments), environment, folder = json.loads(message)
    worker = os.fork()
    if worker == 0:
        connection.close()
        _work(name, arguments, environment, folder, streams)
    threading.Thread(target=_watch, args=(connection, worker), daemon=True).start()
    _, status = os.waitpid(worker, 0)
    with suppress(OSError):
        connection.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _watch(connection: socket.socket, worker: int) -> None:
    """Kills the worker when who called is gone: what is done to that process is meant for this one."""
    with suppress(OSError):
        if not connection.recv(1):
            os.kill(worker, signal.SIGKILL)


def _work(
    name: str, arguments: list[str], environment: Mapping[str, str], folder: str, streams: list[int]
) -> None:
    code: object = 70
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        # New ones: the old ones know whether the streams of the warm process could seek.
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 (for the process's life)
            for number, mode in enumerate("rww")
        )
        os.environ.clear()
        os.environ.update(environment)
        os.environ.setdefault("SPARK_HOME", str(ROOT))
        os.chdir(folder)
        sys.argv = [name, *arguments]
        if name == "warm-python":
            sys.argv = sys.argv[2:]  # after -m
            sys.path.insert(0, folder)
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
            code = 0
        else:
            from lakeflow_job_meta.cli import main

            main()
    except SystemExit as leaving:
        code = leaving.code
        if not isinstance(code, (int, type(None))):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # whoever read has gone, or the call has closed it
                stream.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _import_everything()
    _serve(sys.argv[1])
