"""Calls of the warm process (`tests.warm`) behave as processes: what is proved through it is proved of the program."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from lakeflow_job_meta import __version__
from tests.embedded import environment, run, wait_for


def test_a_call_has_its_own_streams_and_code(warm_programs: Path) -> None:
    """Standard input goes in, output and errors come out apart, and the exit code is the call's."""
    command = [warm_programs / "warm-python", "-m", "json.tool", "--compact"]
    for given, code, out, err in (('{"a": 1}', 0, '{"a":1}\n', ""), ("{", 1, "", "Expecting")):
        done = subprocess.run(
            command, input=given, env=environment(), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (code, out)
        assert err in done.stderr
        assert bool(err) == bool(done.stderr)


def test_the_program_is_called(warm_programs: Path) -> None:
    """`lakeflow-job-meta` is this package's, in the caller's environment."""
    done = run(str(warm_programs / "lakeflow-job-meta"), "--version")
    assert (done.returncode, __version__ in done.stdout) == (0, True), done.stderr


def test_a_call_dies_with_its_caller(warm_programs: Path, tmp_path: Path) -> None:
    """Kill -9 of the process that was started is kill -9 of the work: nothing goes on behind it."""
    (tmp_path / "listens.py").write_text(
        "import socket\n"
        "listening = socket.create_server(('127.0.0.1', 0))\n"
        "print(listening.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    listening.accept()\n"
    )
    called = subprocess.Popen(
        [warm_programs / "warm-python", "-m", "listens"],
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert called.stdout is not None
    place = ("127.0.0.1", int(called.stdout.readline()))
    socket.create_connection(place).close()
    called.kill()
    called.wait(30)

    def gone() -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(place) != 0

    wait_for(gone, "nobody listens", seconds=10)
    called.stdout.close()


def test_a_call_that_is_killed_kills_its_caller(warm_programs: Path, tmp_path: Path) -> None:
    """A signal that ends the work is how the call ends."""
    (tmp_path / "dies.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    command = [warm_programs / "warm-python", "-m", "dies"]
    done = subprocess.run(
        command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
