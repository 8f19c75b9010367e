"""Child processes: output, redaction, the end of whole groups."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lakeflow_job_meta.local.runs import processes
from lakeflow_job_meta.local.runs.processes import (
    Log,
    Redactor,
    Stop,
    kill_orphan,
    run_child,
    start_time_of,
    wait_gone,
)

from .conftest import until

READ_ORDER = "import sys; order = sys.stdin.readline(); "


def child(tmp_path: Path, code: str, stop: Stop | None = None, **order: object) -> tuple[int, str, int]:
    pids: list[int] = []
    exit_code = run_child(
        [sys.executable, "-u", "-c", READ_ORDER + code],
        order=order,
        cwd=tmp_path,
        environment=dict(os.environ),
        log=tmp_path / "log",
        redact=Redactor(["hunter22"]),
        stop=stop or Stop(),
        started=lambda pid, _: pids.append(pid),
    )
    return exit_code, (tmp_path / "log").read_text(), pids[0]


def alive(pid: int) -> bool:
    return bool(start_time_of(pid))


def test_runs_and_captures(tmp_path: Path) -> None:
    """It gets its order, both streams are captured, the exit code is returned."""
    code, log, _ = child(tmp_path, "print(order); print('err', file=sys.stderr); sys.exit(3)", a=[1, "ä"])
    assert code == 3
    assert '"a": [1, "\\u00e4"]' in log
    assert "err" in log


def test_redacts(tmp_path: Path) -> None:
    """A secret in the output never reaches the file."""
    _, log, _ = child(tmp_path, "print('it is hunter' + '22, yes')")
    assert log == "it is [REDACTED], yes\n"


def test_redactor_rules() -> None:
    """Longest first, lines of a secret count, very short secrets and none at all change nothing."""
    assert Redactor(["abcd", "abcdef"])("xabcdefx") == "x[REDACTED]x"
    assert Redactor(["first line\nsecond line"])("a second line b") == "a [REDACTED] b"
    assert Redactor(["a", "", "  "])("a banana") == "a banana"
    assert Redactor([])("text") == "text"
    assert Redactor(["a.c("])("xa.c(x abc(") == "x[REDACTED]x abc("


def test_stop_ends_the_group(tmp_path: Path) -> None:
    """A request ends the child and what it started."""
    stop = Stop()
    pidfile = tmp_path / "grandchild"
    code = (
        "import subprocess; p = subprocess.Popen(['sleep', '60']);"
        f"open({str(pidfile)!r}, 'w').write(str(p.pid)); p.wait(); import time; time.sleep(60)"
    )
    threading.Thread(
        target=lambda: (until(lambda: pidfile.exists() and pidfile.read_text()), stop.request("canceled")),
        daemon=True,
    ).start()
    exit_code, _, _ = child(tmp_path, code, stop)
    assert exit_code == -signal.SIGTERM
    grandchild = int(pidfile.read_text())
    until(lambda: not alive(grandchild), 5)


def test_stop_before_start(tmp_path: Path) -> None:
    """A request that came first ends the child at once."""
    stop = Stop()
    stop.request("canceled")
    code, _, _ = child(tmp_path, "import time; time.sleep(60)", stop)
    assert code == -signal.SIGTERM


def test_kills_when_term_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL follows after the grace time."""
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.3)
    stop = Stop()
    ready = tmp_path / "ready"
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"open({str(ready)!r}, 'w'); time.sleep(60)"
    )
    threading.Thread(target=lambda: (until(ready.exists), stop.request("timedout")), daemon=True).start()
    exit_code, _, _ = child(tmp_path, code, stop)
    assert exit_code == -signal.SIGKILL


def test_leaves_nothing_behind(tmp_path: Path) -> None:
    """What a child started ends with it."""
    pidfile = tmp_path / "pid"
    child(
        tmp_path,
        f"import subprocess; p = subprocess.Popen(['sleep', '60']); open({str(pidfile)!r}, 'w').write(str(p.pid))",
    )
    until(lambda: not alive(int(pidfile.read_text())), 5)


def test_orphan_is_killed_only_if_it_is_the_same() -> None:
    """A process id alone is not enough: the start time must fit."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    started = start_time_of(process.pid)
    assert started
    assert not kill_orphan(process.pid, "another time")
    assert not kill_orphan(0, "")
    assert kill_orphan(process.pid, started)
    process.wait(timeout=5)
    assert wait_gone(process.pid, started, 1)
    assert not kill_orphan(process.pid, started)


def test_log_keeps_its_newer_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that grows for ever stays below its limit, and keeps its end."""
    monkeypatch.setattr(processes, "LOG_LIMIT", 1000)
    log = Log(tmp_path / "log", lambda text: text)
    for number in range(500):
        log.write(f"line {number}\n".encode())
    log.close()
    text = (tmp_path / "log").read_text()
    assert len(text) <= 1100
    assert text.endswith("line 499\n")


def test_stop_reaches_children_once() -> None:
    """A request of the parent reaches the child, the first reason stays, a closed one hears nothing."""
    parent = Stop()
    one, two = Stop(parent), Stop(parent)
    two.close()
    one.request("timedout")
    parent.request("canceled")
    assert (one.reason, two.reason, parent.reason) == ("timedout", "", "canceled")
    assert Stop(parent).reason == "canceled"


def test_stop_expires() -> None:
    """A deadline asks by itself; closing takes it back."""
    late, closed = Stop(), Stop()
    late.expire(0.01)
    closed.expire(0.01)
    closed.close()
    assert late.wait(5)
    assert late.reason == "timedout"
    assert not closed.wait(0.05)
