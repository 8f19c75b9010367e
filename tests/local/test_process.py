"""The life of the process: election, kill -9, idleness, stop, reset. Real processes throughout."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.connection import is_alive
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.lock import is_held
from lakeflow_job_meta.local.process import ensure_up, find, reset, serve, stop
from tests.local.conftest import client_of

PLAIN = {"with_spark": False, "with_runs": False}


@pytest.fixture
def directory(tmp_path):
    """A folder whose workspace is ended afterwards."""
    path = tmp_path / "my workspace ü"
    yield path
    stop(path)


def gone(pid, seconds=10.0):
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return not is_alive(pid)


def processes_of(directory):
    """Command lines of the processes that serve a folder."""
    found = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout
    # ps shows letters outside ASCII as it likes.
    return [
        line
        for line in found.splitlines()
        if "lakeflow_job_meta.local.process" in line and str(directory.parent) in line
    ]


def test_it_starts_once_and_is_found(directory):
    assert find(directory) is None
    connection = ensure_up(directory, **PLAIN)
    assert ensure_up(directory, **PLAIN) == connection == find(directory)
    assert connection.environment()["DATABRICKS_HOST"] == connection.host
    assert connection.token not in repr(connection)
    assert os.getsid(connection.pid) == connection.pid  # a session of its own: it survives its parent
    client_of(connection).jobs.create(name="x")


def test_it_survives_its_starter(directory):
    """The process lives on when the one that started it has ended."""
    program = (
        "import sys; from lakeflow_job_meta.local.process import ensure_up;"
        "print(ensure_up(sys.argv[1], with_spark=False, with_runs=False).pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = find(directory)
    assert found is not None
    assert found.pid == int(done.stdout)


def test_many_starters_get_one_process(directory):
    """Six processes that start at once get one server."""
    program = (
        "import sys; from lakeflow_job_meta.local.process import ensure_up;"
        "c = ensure_up(sys.argv[1], with_spark=False, with_runs=False); print(c.pid, c.host)"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    answers = {child.communicate(timeout=90)[0] for child in children}
    assert all(child.returncode == 0 for child in children)
    assert len(answers) == 1
    deadline = time.monotonic() + 5
    while len(processes_of(directory)) > 1 and time.monotonic() < deadline:
        threading.Event().wait(0.05)  # the losers are leaving
    assert len(processes_of(directory)) == 1


def test_threads_of_one_process_get_one_server(directory):
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: ensure_up(directory, **PLAIN).pid, range(4)))
    assert len(found) == 1


def test_after_kill_9_all_is_as_it_was(directory):
    """A stale lock is no obstacle; jobs, token, port and the workspace's id are kept."""
    first = ensure_up(directory, **PLAIN)
    client = client_of(first)
    job_id = client.jobs.create(name="kept").job_id
    workspace_id = client.get_workspace_id()
    os.kill(first.pid, signal.SIGKILL)
    assert gone(first.pid)
    assert find(directory) is None
    assert not is_held(Folder.at(directory))
    second = ensure_up(directory, **PLAIN)
    assert second.pid != first.pid
    assert (second.token, second.host) == (first.token, first.host)
    client = client_of(second)
    assert client.jobs.get(job_id).settings.name == "kept"
    assert client.get_workspace_id() == workspace_id


def test_a_stranger_on_the_old_port_is_no_obstacle(directory):
    """When the port of the last life is taken another one is used, and the stranger gets no jobs."""
    first = ensure_up(directory, **PLAIN)
    stop(directory)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", int(first.host.rpartition(":")[2])))
        stranger.listen()
        second = ensure_up(directory, **PLAIN)
        assert second.host != first.host
        stop(directory)
        with pytest.raises(LocalError, match="choose another"):
            ensure_up(directory, port=stranger.getsockname()[1], **PLAIN)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(directory, number):
    connection = ensure_up(directory, **PLAIN)
    os.kill(connection.pid, number)
    assert gone(connection.pid, 5)
    assert "Traceback" not in Folder.at(directory).log.read_text()


def test_it_ends_when_it_is_idle(directory):
    """Without calls it goes; calls keep it."""
    connection = ensure_up(directory, idle_seconds=1.0, **PLAIN)
    client = client_of(connection)
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        client.current_user.me()
        threading.Event().wait(0.1)
    assert is_alive(connection.pid)
    assert gone(connection.pid, 8)
    assert find(directory) is None


def test_it_ends_when_its_folder_is_deleted(tmp_path):
    import shutil

    directory = tmp_path / "w"
    connection = ensure_up(directory, idle_seconds=60, **PLAIN)
    shutil.rmtree(directory)
    assert gone(connection.pid, 15)


def test_stop_and_reset(directory):
    connection = ensure_up(directory, **PLAIN)
    client_of(connection).jobs.create(name="x")
    (directory / "Volumes" / "main" / "s" / "v").mkdir(parents=True)
    (directory / "mine.txt").write_text("not the workspace's")
    assert stop(directory) is True
    assert stop(directory) is False
    assert gone(connection.pid)
    reset(directory)
    assert [path.name for path in directory.iterdir()] == ["mine.txt"]
    assert list(client_of(ensure_up(directory, **PLAIN)).jobs.list()) == []
    reset(directory)
    assert find(directory) is None


def test_reset_deletes_nothing_of_somebody_else(tmp_path):
    """Only a folder that an embedded workspace was made in is reset."""
    (tmp_path / "Volumes").mkdir()
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "precious").write_text("x")
    with pytest.raises(LocalError, match="not an embedded workspace"):
        reset(tmp_path)
    assert (tmp_path / "warehouse" / "precious").exists()
    reset(tmp_path / "nothing there")


def test_more_catalogs_restart_it(directory):
    """A catalog that is missing is added by a restart, and stays."""
    first = ensure_up(directory, **PLAIN)
    second = ensure_up(directory, catalogs=["extra"], **PLAIN)
    assert second.pid != first.pid
    assert "extra" in [catalog.name for catalog in client_of(second).catalogs.list()]
    assert ensure_up(directory, catalogs=["extra", "MAIN"], **PLAIN) == second


def test_what_fails_says_why(tmp_path):
    """A start that fails tells the end of the log and what to do."""
    folder = Folder.at(tmp_path / "w")
    folder.prepare()
    folder.state.write_bytes(b"no database at all, but long enough to be taken for one" * 50)
    with pytest.raises(LocalError, match=r"server\.log(.|\n)*cannot open the state(.|\n)*reset"):
        ensure_up(folder.root, **PLAIN)
    (tmp_path / "file").write_text("x")
    with pytest.raises(LocalError, match="choose a folder"):
        ensure_up(tmp_path / "file", **PLAIN)


def test_serve_refuses_a_second_server(directory):
    ensure_up(directory, **PLAIN)
    with pytest.raises(LocalError, match="up already"):
        serve(directory, **PLAIN)


def test_serve_in_the_foreground(directory):
    """`serve` tells when it is ready and returns after a signal."""
    program = (
        "import sys; from lakeflow_job_meta.local.process import serve;"
        "serve(sys.argv[1], with_spark=False, with_runs=False, on_ready=lambda c: print(c.host, flush=True)); print('done')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True
    )
    host = child.stdout.readline().strip()
    assert find(directory).host == host
    child.send_signal(signal.SIGTERM)
    rest, _ = child.communicate(timeout=10)
    assert rest == "done\n"
    assert child.returncode == 0


def test_the_environment_of_the_starter_does_not_leak_in(directory, monkeypatch):
    """Variables of another workspace, set where it is started, do not reach the process."""
    monkeypatch.setenv("DATABRICKS_TOKEN", "somebody-else")
    monkeypatch.setenv("SPARK_REMOTE", "sc://somewhere")
    connection = ensure_up(directory, **PLAIN)
    environ = Path(f"/proc/{connection.pid}/environ")
    if not environ.exists():
        pytest.skip("no /proc on this system")
    assert b"somebody-else" not in environ.read_bytes()
    assert b"SPARK_REMOTE" not in environ.read_bytes()
