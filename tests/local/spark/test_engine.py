"""Start, stop, restart and death of the workspace's Spark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark.context import Session
from lakeflow_job_meta.local.spark.engine import SparkService
from tests.local.spark.conftest import TOKEN, connect_to, rows

SERVER = """
import sys, time
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark.context import Session
from lakeflow_job_meta.local.spark.engine import SparkService
service = SparkService()
service.start(Folder.at(sys.argv[1]), "t")
print(service.remote, service._sail.pid, flush=True)
time.sleep(600)
"""


def prepared(path: Path) -> Folder:
    folder = Folder.at(path)
    folder.prepare()
    return folder


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_everything_survives_a_restart_on_the_same_port(tmp_path: Path) -> None:
    """Schemas, tables and views; SPARK_REMOTE stays valid. `last_used` moves with every call."""
    folder = prepared(tmp_path)
    service = SparkService()
    service.start(folder, TOKEN, ("one", "two"))
    before = service.last_used
    spark = connect_to(service.remote)
    spark.sql("CREATE SCHEMA two.s")
    spark.sql("CREATE TABLE two.s.t AS SELECT 1 AS a")
    spark.sql("CREATE VIEW s_v AS SELECT a + 1 AS b FROM two.s.t")
    assert service.last_used > before
    spark.stop()
    port, remote = service.port, service.remote
    service.stop()
    service.stop()

    service.start(folder, TOKEN, ("one", "two"), port)
    assert service.remote == remote
    spark = connect_to(remote)
    assert rows(spark.table("one.default.s_v")) == [(2,)]
    assert spark.sql("SHOW TABLES IN two.s").count() == 1
    spark.stop()
    service.stop()


def test_everything_survives_kill_9_and_sail_ends_with_its_parent(tmp_path: Path) -> None:
    """No process is left behind, and no table is lost."""
    folder = prepared(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder.root)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        remote, sail = server.stdout.readline().split()
        spark = connect_to(remote)
        spark.sql("CREATE SCHEMA main.s")
        spark.sql("CREATE TABLE main.s.t AS SELECT 1 AS a")
        spark.sql("CREATE VIEW main.s.v AS SELECT * FROM main.s.t")
        server.send_signal(signal.SIGKILL)
        server.wait(10)
        spark.client._closed = True  # or it would call at exit, again and again
    until(lambda: gone(int(sail)))
    service = SparkService()
    service.start(folder, "t")
    spark = connect_to(service.remote)
    assert rows(spark.table("main.s.v")) == [(1,)]
    spark.stop()
    service.stop()


def test_sail_is_started_again_when_it_dies(tmp_path: Path) -> None:
    """Open sessions go on: their context, temporary views and the tables are there."""
    folder = prepared(tmp_path)
    service = SparkService()
    service.start(folder, TOKEN)
    spark = connect_to(service.remote)
    spark.sql("CREATE SCHEMA main.s")
    spark.sql("USE main.s")
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    spark.sql("CREATE TEMPORARY VIEW tv AS SELECT * FROM t")
    assert service._sail is not None
    pid = service._sail.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    service._sail.wait()
    assert rows(spark.sql("SELECT a, current_schema() FROM tv")) == [(1, "s")]
    assert service._sail.pid != pid
    spark.stop()
    service.stop()


def test_a_port_that_is_taken_is_an_error(service: SparkService, tmp_path: Path) -> None:
    """Which says so."""
    other = SparkService()
    with pytest.raises(LocalError, match=f"cannot listen on 127.0.0.1:{service.port}"):
        other.start(prepared(tmp_path), TOKEN, port=service.port)


def test_the_time_to_a_fresh_session_does_not_grow_with_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sail is told of the table that is asked for, not of the 300 beside it (0.6 s for them)."""
    folder = prepared(tmp_path)
    service = SparkService()
    service.start(folder, TOKEN)
    spark = connect_to(service.remote)
    spark.sql("CREATE TABLE t0 AS SELECT 1 AS a")
    source = folder.warehouse / "main/default/t0"
    for i in range(1, 300):
        (source.parent / f"t{i}").symlink_to(source)
    told: list[str] = []
    original = Session.sql

    async def counted(self: Session, sql: str) -> None:
        told.append(sql)
        await original(self, sql)

    monkeypatch.setattr(Session, "sql", counted)  # what Sail is told can be seen nowhere else
    fresh = connect_to(service.remote)
    assert fresh.sql("SHOW TABLES").count() == 300
    assert rows(fresh.table("t7")) == [(1,)]
    assert len(told) <= 3
    for session in (spark, fresh):
        session.stop()
    service.stop()
