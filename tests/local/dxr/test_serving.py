"""The simulator as a process: alone from the command line, and as the child of an embedded workspace."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lakeflow_job_meta.local import process
from lakeflow_job_meta.local.connection import is_alive
from tests.embedded import BIN, environment, run
from tests.local.dxr.conftest import wait_for

PROGRAM = str(BIN / "lakeflow-job-meta")


@contextlib.contextmanager
def alone(*arguments: str) -> Iterator[tuple[dict[str, str], subprocess.Popen[str]]]:
    """`local dxr` in a process of its own, and the variables that it printed."""
    child = subprocess.Popen(
        [PROGRAM, "local", "dxr", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        words = shlex.split(line)
        assert words[:1] == ["export"], line + (child.stderr.read() if child.stderr else "")
        yield dict(word.split("=", 1) for word in words[1:]), child
    finally:
        child.terminate()
        child.wait(15)
        for pipe in (child.stdout, child.stderr):
            assert pipe is not None
            pipe.close()


def client_of(variables: dict[str, str]) -> httpx.Client:
    return httpx.Client(
        base_url=variables["DXR_BASE_URL"],
        headers={"Authorization": f"Bearer {variables['DXR_BEARER_TOKEN']}"},
        timeout=30,
    )


def test_alone_with_rules_and_faults(tmp_path):
    """`local dxr` prints what to connect with, applies a user's rules and knobs, and ends at SIGTERM with 0."""
    rules, faults = tmp_path / "rules.yaml", tmp_path / "faults.yaml"
    rules.write_text("labels:\n- {name: Mine, when: {text: secret sauce}}\n")
    faults.write_text("submit_status: 200\n")
    with alone("--rules", str(rules), "--faults", str(faults)) as (variables, child):
        assert set(variables) == {"DXR_BASE_URL", "DXR_BEARER_TOKEN", "DXR_API_KEY"}
        with client_of(variables) as client:
            url = "/api/on-demand-classifiers/200/jobs"
            answer = client.post(url, files=[("files", ("a.txt", b"the secret sauce"))])
            assert answer.status_code == 200
            wait_for(lambda: client.get(f"{url}/{answer.json()['id']}").json()["state"] == "FINISHED")
            assert '"Mine"' in client.get("/api/v1/files").text
        child.terminate()
        assert child.wait(15) == 0


def test_state_that_is_kept(tmp_path):
    """With --state, files and token outlive the process, even one that was killed."""
    with alone("--state", str(tmp_path / "s")) as (first, child):
        with client_of(first) as client:
            client.post("/_simulator/jobs", json={"count": 3})
        child.kill()
        child.wait(15)
    with alone("--state", str(tmp_path / "s")) as (second, _):
        assert second["DXR_API_KEY"] == first["DXR_API_KEY"]
        with client_of(second) as client:
            assert len(client.get("/api/v1/files").text.splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("--faults", "fleets: 3", "did you mean 'fleet'"),
        ("--rules", "labels: [{name: a}]", "needs a condition"),
    ],
)
def test_wrong_files(tmp_path, name, text, message):
    """A wrong knob or rule is one clear line, and no server."""
    file = tmp_path / "given.yaml"
    file.write_text(text)
    done = run(PROGRAM, "local", "dxr", name, str(file))
    assert done.returncode in (1, 64)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(tmp_path):
    with alone() as (variables, _):
        port = variables["DXR_BASE_URL"].rpartition(":")[2]
        done = run(PROGRAM, "local", "dxr", "--port", port)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr


def children(pid: int) -> list[int]:
    """Processes of the simulator below a workspace."""
    listed = subprocess.run(
        ["pgrep", "-P", str(pid), "-f", "local.dxr.serving"], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


def test_in_the_workspace_it_starts_when_it_is_used(tmp_path):
    """No process until the first call; then one, which is started again when it dies, and ends with the workspace."""
    folder = tmp_path / "w"
    up = process.ensure_up(folder, with_spark=False, with_runs=False)
    try:
        assert children(up.pid) == []
        with client_of(up.environment()) as client:
            seeded = client.post("/_simulator/jobs", json={"count": 2}).json()
        [child] = children(up.pid)
        assert up.dxr_token not in repr(up)
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: children(up.pid) == [])
        with client_of(up.environment()) as client:
            url = f"/api/on-demand-classifiers/200/jobs/{seeded['id']}"
            assert client.get(url).json()["state"] == "FINISHED"
        [child] = children(up.pid)
    finally:
        process.stop(folder)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    again = process.ensure_up(folder, with_spark=False, with_runs=False)
    try:
        assert again.environment()["DXR_API_KEY"] == up.dxr_token
    finally:
        process.stop(folder)


def test_a_command_uses_it_unless_another_was_chosen(tmp_path, monkeypatch):
    """`--local DIR` without a base URL means the workspace's own Data X-Ray; one that the user has set stays."""
    from lakeflow_job_meta.cli.session import enter_local

    up = process.ensure_up(tmp_path / "w", with_spark=False, with_runs=False)
    try:
        for name in ("DXR_BASE_URL", "DXR_BEARER_TOKEN", "DXR_API_KEY", *up.environment()):
            monkeypatch.setenv(name, "")
        enter_local(tmp_path / "w")
        assert os.environ["DXR_BASE_URL"] == up.dxr_url
        assert os.environ["DXR_API_KEY"] == up.dxr_token
        monkeypatch.setenv("DXR_BASE_URL", "https://dxr.example.org")
        monkeypatch.setenv("DXR_API_KEY", "theirs")
        enter_local(tmp_path / "w")
        assert (os.environ["DXR_BASE_URL"], os.environ["DXR_API_KEY"]) == (
            "https://dxr.example.org",
            "theirs",
        )
    finally:
        process.stop(tmp_path / "w")


def test_it_dies_with_a_workspace_that_is_killed(tmp_path):
    """kill -9 of the workspace leaves no simulator behind."""
    up = process.ensure_up(tmp_path / "w", with_spark=False, with_runs=False)
    with client_of(up.environment()) as client:
        assert client.get("/api/tags").status_code == 200
    [child] = children(up.pid)
    os.kill(up.pid, signal.SIGKILL)

    def gone() -> bool:
        status = Path(f"/proc/{child}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"

    if sys.platform == "linux":
        wait_for(gone)


def test_its_use_is_use_of_the_workspace(tmp_path):
    """A workspace does not end as idle while its simulator works, although nobody calls either."""
    up = process.ensure_up(tmp_path / "w", with_spark=False, with_runs=False, idle_seconds=2.5)
    began = time.monotonic()
    with client_of(up.environment()) as client:
        client.patch("/_simulator/knobs", json={"state_script": [["AWAITING_RECRAWL_TO_COMPLETE", 5]]})
        client.post("/api/on-demand-classifiers/200/jobs", files=[("files", ("a.txt", b"x"))])
    wait_for(lambda: not is_alive(up.pid), 60)
    assert time.monotonic() - began > 5


def test_it_costs_nothing_at_import():
    """The room loads no server, parser or document library until it is used."""
    code = (
        "import sys, lakeflow_job_meta.local.dxr.serving, lakeflow_job_meta.local.dxr.child;"
        "bad = {'starlette', 'uvicorn', 'pypdf', 'docx', 'openpyxl', 'stdnum', 'phonenumbers'} & set(sys.modules);"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
