"""What starts runs by itself, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs.records import RunRecord
from lakeflow_job_meta.local.runs.states import ended
from lakeflow_job_meta.local.runs.store import RunStore
from lakeflow_job_meta.local.runs.triggers import Triggers
from lakeflow_job_meta.local.state import Database, Jobs

START = 1_704_067_200.0  # 2024-01-01T00:00:00Z


class Starts:
    """Records what the triggers start and cancel."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, str, dict[str, Any]]] = []
        self.canceled: list[int | None] = []
        self.active: dict[int, int] = {}

    def run_now(
        self,
        job_id: int,
        request: Any = None,
        *,
        token: str = "",
        trigger: str = "ONE_TIME",
        trigger_info: Any = None,
    ) -> int:
        self.runs.append((job_id, trigger, trigger_info))
        return len(self.runs)

    def active_runs(self, job_id: int) -> int:
        return self.active.get(job_id, 0)

    def cancel_job(self, job_id: int | None) -> None:
        self.canceled.append(job_id)

    def take(self) -> list[str]:
        """The trigger types since the last call."""
        found = [trigger for _, trigger, _ in self.runs]
        self.runs.clear()
        return found


class Bench:
    """Triggers over real jobs and a real store, with a clock of its own."""

    def __init__(self, root: Path) -> None:
        self.folder = Folder.at(root)
        self.folder.prepare()
        self.database = Database(self.folder.state)
        self.jobs = Jobs(self.database)
        self.store = RunStore(self.database)
        self.starts = Starts()
        self.now = START
        self.triggers = self.new()

    def new(self) -> Triggers:
        return Triggers(self.folder, self.jobs, self.store, self.starts, lambda: self.now)

    def job(self, **settings: Any) -> int:
        return self.jobs.create({"tasks": [], **settings}, "me").job_id

    def after(self, seconds: float) -> list[str]:
        """Moves the clock, ticks, and returns what was started."""
        self.now += seconds
        self.triggers.tick()
        return self.starts.take()

    def ended(self, job_id: int, result: str) -> None:
        run = RunRecord(1, job_id, "JOB_RUN", "", {}, {}, state=ended(result))
        self.triggers.ended(run)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "w")
    yield made
    made.database.close()


def cron(expression: str, **more: Any) -> dict[str, Any]:
    return {"quartz_cron_expression": expression, "timezone_id": "UTC", **more}


def test_schedule(bench: Bench) -> None:
    """A schedule fires once each time it is due, not before, and not for what it missed."""
    bench.job(schedule=cron("0 0 2 * * ?"))
    assert bench.after(0) == []
    assert bench.after(7199) == []
    assert bench.after(1) == ["PERIODIC"]
    assert bench.after(1) == []
    assert bench.after(3 * 86_400) == ["PERIODIC"]
    assert bench.after(1) == []


def test_schedule_floor(bench: Bench) -> None:
    """A schedule for every second fires at most every ten."""
    bench.job(schedule=cron("* * * * * ?"))
    bench.after(0)
    assert sum(len(bench.after(1)) for _ in range(30)) == 3


def test_change_takes_effect(bench: Bench) -> None:
    """An update, a pause and a delete count from the next tick."""
    job_id = bench.job(schedule=cron("0 0 2 * * ?"))
    bench.after(0)
    bench.jobs.change(job_id, lambda old: {**old, "schedule": cron("0 0 1 * * ?")})
    bench.after(0)
    assert bench.after(3600) == ["PERIODIC"]
    bench.jobs.change(job_id, lambda old: {**old, "schedule": cron("0 0 1 * * ?", pause_status="PAUSED")})
    assert bench.after(86_400) == []
    assert not bench.triggers.armed()
    bench.jobs.change(job_id, lambda old: {**old, "schedule": cron("0 0 1 * * ?", pause_status="UNPAUSED")})
    assert bench.triggers.armed()
    assert bench.after(86_400) == ["PERIODIC"]
    bench.jobs.delete(job_id)
    assert bench.after(86_400) == []


def test_other_changes_do_not_move_it(bench: Bench) -> None:
    """Changing something else about the job does not start its period anew."""
    job_id = bench.job(trigger={"periodic": {"interval": 1, "unit": "HOURS"}})
    bench.after(0)
    bench.after(3000)
    bench.jobs.change(job_id, lambda old: {**old, "name": "new"})
    assert bench.after(600) == ["PERIODIC"]


def test_periodic(bench: Bench) -> None:
    """A periodic trigger fires each interval, also across a restart."""
    bench.job(trigger={"periodic": {"interval": 2, "unit": "MINUTES"}})
    assert bench.after(0) == []
    assert bench.after(120) == ["PERIODIC"]
    assert bench.after(100) == []
    bench.triggers = bench.new()
    assert bench.after(19) == []
    assert bench.after(1) == ["PERIODIC"]


def test_continuous(bench: Bench) -> None:
    """A new run whenever none is active; later and later after failures."""
    job_id = bench.job(continuous={})
    assert bench.after(0) == ["CONTINUOUS"]
    bench.starts.active[job_id] = 1
    assert bench.after(3600) == []
    bench.starts.active[job_id] = 0
    bench.ended(job_id, "SUCCESS")
    assert bench.after(0.5) == []
    assert bench.after(0.5) == ["CONTINUOUS"]
    for pause in (2, 4, 8):
        bench.ended(job_id, "FAILED")
        assert bench.after(pause - 0.1) == []
        assert bench.after(0.2) == ["CONTINUOUS"]
    bench.ended(job_id, "SUCCESS")
    assert bench.after(1) == ["CONTINUOUS"]


def test_continuous_paused(bench: Bench) -> None:
    """Pausing a continuous job ends its run and starts no other."""
    job_id = bench.job(continuous={})
    bench.after(0)
    bench.jobs.change(job_id, lambda old: {**old, "continuous": {"pause_status": "PAUSED"}})
    assert bench.after(10) == []
    assert bench.starts.canceled == [job_id]


def volume_file(bench: Bench, name: str, text: str = "x") -> None:
    path = bench.folder.volumes / "main" / "s" / "v" / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_file_arrival(bench: Bench) -> None:
    """New files fire; those that were there, and overwritten ones, never do; restarts forget nothing."""
    volume_file(bench, "old.csv")
    bench.job(trigger={"file_arrival": {"url": "/Volumes/main/s/v/in/"}})
    assert bench.after(2) == []
    volume_file(bench, "deep/new.csv")
    bench.now += 2
    bench.triggers.tick()
    assert bench.starts.runs[0][2]["location"] == "/Volumes/main/s/v/in/"
    assert bench.starts.take() == ["FILE_ARRIVAL"]
    volume_file(bench, "old.csv", "changed")
    volume_file(bench, "deep/new.csv", "changed")
    assert bench.after(2) == []
    bench.triggers = bench.new()
    assert bench.after(2) == []
    volume_file(bench, "newer.csv")
    assert bench.after(2) == ["FILE_ARRIVAL"]


def test_file_arrival_waits(bench: Bench) -> None:
    """It waits for quiet after the last file, and keeps the time between two firings."""
    bench.job(
        trigger={
            "file_arrival": {
                "url": "dbfs:/Volumes/main/s/v/in",
                "wait_after_last_change_seconds": 60,
                "min_time_between_triggers_seconds": 300,
            }
        }
    )
    bench.after(0)
    volume_file(bench, "1")
    assert bench.after(2) == []
    volume_file(bench, "2")
    assert bench.after(50) == []
    assert bench.after(59) == []
    assert bench.after(1) == ["FILE_ARRIVAL"]
    volume_file(bench, "3")
    assert bench.after(100) == []
    assert bench.after(199) == []
    assert bench.after(1) == ["FILE_ARRIVAL"]


def commit(bench: Bench, table: str, version: int) -> None:
    log = bench.folder.warehouse.joinpath(*table.split("."), "_delta_log")
    log.mkdir(parents=True, exist_ok=True)
    (log / f"{version:020d}.json").write_text("{}")


def test_table_update(bench: Bench) -> None:
    """A new version of any (or of all) of the tables fires."""
    commit(bench, "main.s.a", 0)
    tables = {"table_names": ["main.s.a", "main.s.b"]}
    one = bench.job(trigger={"table_update": {**tables, "condition": "ANY_UPDATED"}})
    everything = bench.job(trigger={"table_update": {**tables, "condition": "ALL_UPDATED"}})
    assert bench.after(2) == []
    commit(bench, "main.s.a", 1)
    bench.now += 2
    bench.triggers.tick()
    assert [job for job, _, _ in bench.starts.runs] == [one]
    assert bench.starts.take() == ["TABLE"]
    commit(bench, "main.s.b", 0)
    bench.now += 2
    bench.triggers.tick()
    assert [job for job, _, _ in bench.starts.runs] == [one, everything]


def test_a_broken_trigger_does_not_stop_the_others(bench: Bench) -> None:
    """A URL outside of the workspace is logged; the next job's trigger still fires."""
    bench.job(trigger={"file_arrival": {"url": "s3://bucket/x"}})
    bench.job(schedule=cron("0 0 2 * * ?"))
    bench.after(0)
    assert bench.after(7200) == ["PERIODIC"]
