"""The monitor's loop: what a tick looks at, what is tried again and when, what never ends it.

Files, table and orchestrator are stand-ins with a state of their own, so that every order of events
can be had; `tests/test_monitor_end_to_end.py` has the real ones.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from lakeflow_job_meta.control.loading import Load
from lakeflow_job_meta.control.records import FileRecord
from lakeflow_job_meta.errors import (
    CommitConflict,
    PlanError,
    Problem,
    TablesError,
    TablesUnavailable,
    Unavailable,
    UsageError,
    VolumeError,
)
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.monitor import Backoff, MetadataMonitor
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import FileInfo
from lakeflow_job_meta.reconcile.actions import Action, ActionResult, ApplyResult, Plan
from lakeflow_job_meta.settings import Settings, resolve

TABLE = TableName("main", "etl", "etl_control")
START = datetime(2025, 1, 1, tzinfo=timezone.utc)
FOLDER = "/Volumes/main/etl/metadata"


@dataclass
class World:
    """A control table, a volume and a workspace, all in memory; every access is written down."""

    version: int = 1
    files: dict[str, int] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)  # module -> what is wanted
    jobs: dict[str, str] = field(default_factory=dict)  # module -> what is there
    refused: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)  # modules whose job the workspace refuses
    faults: dict[str, Exception] = field(default_factory=dict)  # access -> raised until taken away
    settings: Settings = field(default_factory=lambda: resolve({}))
    now: datetime = START
    log: list[Any] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    on_plan: Callable[[], None] = lambda: None
    on_load: Callable[[], None] = lambda: None
    rows_given: list[Any] = field(default_factory=list)  # to each plan; None: it reads them

    def touch(self, access: str, *facts: Any) -> None:
        self.log.append((access, *facts) if facts else access)
        if access in self.faults:
            raise self.faults[access]

    def taken(self) -> list[Any]:
        """What was accessed since the last question."""
        log, self.log[:] = list(self.log), []
        return log


class Tables:
    def __init__(self, world: World) -> None:
        self._world = world
        self.statements = 0

    def version(self, table: TableName) -> int:
        self.statements += 1
        self._world.touch("version")
        return self._world.version

    def append(self, definition: Any, rows: Collection[Mapping[str, Any]]) -> None:
        self.statements += 1
        self._world.touch("event", *(row["kind"] for row in rows))


class Runtime:
    def __init__(self, world: World) -> None:
        self._world = world
        self.control_table = TABLE
        self.tables = Tables(world)
        self.workspace = SimpleNamespace(workspace_id="1")
        self.has_workspace = True
        self.api_calls = 0

    @property
    def sql_statements(self) -> int:
        return self.tables.statements

    def clock(self) -> datetime:
        return self._world.now

    def settings(self) -> Settings:
        return resolve({})


class Manager:
    def __init__(self, world: World) -> None:
        self._world = world

    def ensure_exists(self) -> bool:
        self._world.touch("ensure")
        return False

    def list_files(self, path: str) -> list[FileInfo]:
        self._world.touch("list")
        return [FileInfo(name, 1, moved) for name, moved in sorted(self._world.files.items())]

    def load(self, paths: Collection[str], *, hand: bool) -> Load:
        assert (list(paths), hand) == ([FOLDER], False)
        self._world.touch("load")
        load = self._world.loads.pop(0) if self._world.loads else Load()
        if load.write:
            self._world.version += 1
        self._world.on_load()
        return load

    def file_records(self) -> list[FileRecord]:
        return []


class Orchestrator:
    def __init__(self, world: World) -> None:
        self._world = world

    def plan(
        self, *, modules: Collection[str] | None = None, rows: object = None, compare: bool = True
    ) -> Plan:
        world = self._world
        world.rows_given.append(rows)
        world.touch("plan", None if modules is None else tuple(sorted(modules)), compare)
        if modules is not None and set(modules) - {*world.modules, *world.jobs, *world.refused}:
            raise PlanError("no such module")
        wanted, refused = dict(world.modules), dict(world.refused)
        world.on_plan()
        actions = []
        for module in sorted({*wanted, *refused}):
            if modules is not None and module not in modules:
                continue
            if module in refused:
                actions.append(Action(module, "refused", reasons=(refused[module],)))
            elif world.jobs.get(module) == wanted[module]:
                actions.append(Action(module, "unchanged", job_id=1))
            else:
                actions.append(
                    Action(module, "update" if module in world.jobs else "create", work=wanted[module])
                )
        return Plan(str(TABLE), "1", tuple(actions), settings=world.settings)

    def apply(self, plan: Plan) -> ApplyResult:
        world = self._world
        if plan.changing:
            world.touch("write", *(action.module for action in plan.changing))
        results = []
        for action in plan.actions:
            error = "\n".join(action.reasons) if action.kind == "refused" else ""
            if action.kind in ("create", "update"):
                if action.module in world.broken:
                    error = "the workspace refused"
                else:
                    world.jobs[action.module] = action.work
            results.append(ActionResult(action, 1, error=error))
        return ApplyResult(plan, tuple(results), len(plan.changing))


@pytest.fixture
def world() -> World:
    return World()


Make = Callable[..., MetadataMonitor]


@pytest.fixture
def make(world: World) -> Make:
    """Makes monitors over the world; no waiting, the earliest retries."""

    def monitor(**given: Any) -> MetadataMonitor:
        def sleep(seconds: float) -> None:
            world.touch("sleep", seconds)
            world.now += timedelta(seconds=seconds)

        return MetadataMonitor(
            TABLE,
            given.pop("interval", 60),
            given.pop("volume_path", FOLDER),
            runtime=Runtime(world),  # type: ignore[arg-type]
            manager=Manager(world),  # type: ignore[arg-type]
            orchestrator=Orchestrator(world),  # type: ignore[arg-type]
            sleep=sleep,
            jitter=given.pop("jitter", lambda: 0.0),
            **given,
        )

    return monitor


@pytest.fixture
def settled(world: World, make: Make) -> MetadataMonitor:
    """A monitor after its first tick, with one module whose job is as wanted."""
    world.modules["sales"] = "v1"
    monitor = make()
    assert monitor.check_and_update()["errors"] == []
    world.taken()
    return monitor


def row(module: str) -> Row:
    return Row("s", module)


class TestTick:
    def test_the_first_tick_makes_the_table_loads_and_compares_everything(
        self, world: World, make: Make
    ) -> None:
        """A fresh process knows nothing: it loads the volume, and compares the whole workspace."""
        world.modules["sales"] = "v1"
        tick = make().check_and_update()
        assert world.taken()[:5] == ["ensure", "list", "load", "version", ("plan", None, True)]
        assert tick["compared"]
        assert tick["table_changes"] == 1
        assert tick["jobs_updated"] == [{"module": "sales", "job_id": 1, "action": "create"}]
        assert tick["changes_detected"]
        assert tick["timestamp"] == START.isoformat()

    def test_an_idle_tick_is_one_listing_and_one_version(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """Nothing moved: no file is read, nothing planned, no event written, no API called."""
        for _ in range(3):
            world.now += timedelta(seconds=60)
            tick = settled.check_and_update()
            assert world.taken() == ["list", "version"]
            assert (tick["sql_statements"], tick["api_calls"], tick["changes_detected"]) == (1, 0, False)

    def test_without_a_volume_only_the_version_is_read(self, world: World, make: Make) -> None:
        """The table alone can be watched."""
        monitor = make(volume_path=None)
        monitor.check_and_update()
        world.taken()
        monitor.check_and_update()
        assert world.taken() == ["version"]

    def test_a_moved_version_plans_without_comparing(self, world: World, settled: MetadataMonitor) -> None:
        """Rows changed: planned from the rows alone, applied, and done."""
        world.modules["sales"], world.version = "v2", 2
        tick = settled.check_and_update()
        assert world.taken() == ["list", "version", ("plan", None, False), ("write", "sales")]
        assert (tick["table_changes"], tick["yaml_changes"]) == (1, 0)
        assert settled.check_and_update()["changes_detected"] is False

    def test_a_moved_version_that_changes_nothing_is_no_change(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """OPTIMIZE moves the version too."""
        world.version += 1
        tick = settled.check_and_update()
        assert (tick["table_changes"], tick["changes_detected"]) == (0, False)

    def test_a_changed_file_is_loaded_and_planned_in_the_same_tick(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """The load moves the table, and the jobs follow at once."""
        world.files["a.yaml"] = 1
        world.loads = [Load((row("sales"),), (FileRecord("a.yaml", "x", 1, 1, "loaded"),))]
        world.modules["sales"] = "v2"
        tick = settled.check_and_update()
        assert world.taken() == ["list", "load", ("plan", None, False), ("write", "sales")]
        assert (tick["yaml_changes"], tick["rows_loaded"]) == (1, 1)

    def test_rows_that_the_load_knows_are_not_read_again(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """The load's commit is the only one since the last pass: what it read plus what it wrote is what is there."""
        before, written = row("other"), row("sales")
        world.files["a.yaml"] = 1
        world.loads = [
            Load((written,), (FileRecord("a.yaml", "x", 1, 1, "loaded"),), current=(before,)),
            Load((written,), (FileRecord("a.yaml", "y", 1, 1, "loaded"),), current=(before, written)),
        ]
        settled.check_and_update()
        assert world.rows_given[-1] == [before, written]
        world.files["a.yaml"] = 2
        settled.check_and_update()
        assert world.rows_given[-1] == [before, written]

    def test_rows_are_read_when_somebody_else_wrote_too(self, world: World, settled: MetadataMonitor) -> None:
        """A row INSERTed while the file was loaded is not lost: the next tick finds a later version than the load's."""

        def insert() -> None:
            world.version += 1
            world.on_load = lambda: None

        world.files["a.yaml"] = 1
        world.loads = [Load((row("sales"),), (FileRecord("a.yaml", "x", 1, 1, "loaded"),))]
        world.on_load = insert
        settled.check_and_update()
        assert world.rows_given[-1] == [row("sales")]
        world.modules["inserted"] = "v1"
        settled.check_and_update()
        assert world.rows_given[-1] is None
        assert world.jobs["inserted"] == "v1"

    def test_an_edit_during_a_pass_is_seen_by_the_next(self, world: World, settled: MetadataMonitor) -> None:
        """The version counts that was there before the rows were read."""
        world.version += 1

        def edit() -> None:
            world.modules["sales"], world.version = "v3", world.version + 1
            world.on_plan = lambda: None

        world.on_plan = edit
        settled.check_and_update()
        assert world.jobs["sales"] == "v1"
        settled.check_and_update()
        assert world.jobs["sales"] == "v3"

    def test_the_workspace_is_compared_every_drift_interval(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """By the setting, 900 s unless said; drift is found though nothing moved."""
        world.jobs["sales"] = "changed behind our back"
        world.now += timedelta(seconds=899)
        settled.check_and_update()
        assert world.jobs["sales"] != "v1"
        world.now += timedelta(seconds=1)
        tick = settled.check_and_update()
        assert (world.jobs["sales"], tick["compared"], tick["table_changes"]) == ("v1", True, 0)
        assert tick["changes_detected"]

    def test_the_settings_row_sets_the_interval(self, world: World, make: Make) -> None:
        """What a pass read in the settings row holds for the next ticks."""
        world.settings = resolve({}, row={"drift_interval": 10})
        monitor = make()
        monitor.check_and_update()
        world.now += timedelta(seconds=10)
        assert monitor.check_and_update()["compared"]

    def test_new_variables_have_the_files_judged_again(self, world: World, settled: MetadataMonitor) -> None:
        """The settings row's variables moved: the same bytes may mean something else."""
        world.settings = resolve({}, row={"variables": {"env": "prod"}})
        world.version += 1
        settled.check_and_update()
        world.taken()
        world.loads = [Load(variables={"env": "prod"})]
        settled.check_and_update()
        assert "load" in world.taken()
        settled.check_and_update()
        assert world.taken() == ["list", "version"]


class TestFailures:
    def test_a_vanished_volume_changes_nothing_and_does_not_hold_up_the_table(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """The listing fails: an error, no load; rows are followed all the same; it heals by itself."""
        world.faults["list"] = VolumeError("no such volume")
        world.modules["sales"], world.version = "v2", 2
        tick = settled.check_and_update()
        assert tick["errors"] == ["files: no such volume"]
        assert world.jobs["sales"] == "v2"
        assert "load" not in world.taken()
        del world.faults["list"]
        assert settled.check_and_update()["errors"] == []

    def test_an_unreadable_table_is_an_error_until_it_is_back(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """Nothing is planned from a table that cannot be read."""
        world.faults["version"] = TablesUnavailable("no answer")
        assert settled.check_and_update()["errors"] == ["table: no answer"]
        assert not any(entry[0] == "plan" for entry in world.taken())
        del world.faults["version"]
        assert settled.check_and_update()["errors"] == []

    def test_what_fails_waits_longer_each_time_and_never_for_ever(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """Tries at ticks 1, 2, 4, 7, 12, ... with the smallest jitter; five minutes apart at most."""
        world.faults["version"] = TablesUnavailable("no answer")
        tries = []
        for tick in range(1, 31):
            settled.check_and_update()
            if "version" in world.taken():
                tries.append(tick)
            assert settled.errors() == ["table: no answer"], "the error stands while it waits"
        assert tries[:4] == [1, 2, 4, 7]
        assert max(b - a for a, b in itertools.pairwise(tries)) <= 5

    def test_a_failed_module_is_tried_again_though_nothing_moved(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """Only that module is planned; when the workspace takes it, the error is gone."""
        world.modules["bad"], world.version = "v1", 2
        world.broken.add("bad")
        tick = settled.check_and_update()
        assert tick["errors"] == ["module bad: the workspace refused"]
        assert tick["jobs_updated"] == []
        world.taken()
        world.broken.clear()
        tick = settled.check_and_update()
        assert world.taken() == ["list", "version", ("plan", ("bad",), False), ("write", "bad")]
        assert (tick["errors"], [job["module"] for job in tick["jobs_updated"]]) == ([], ["bad"])

    def test_a_failed_module_backs_off(self, world: World, settled: MetadataMonitor) -> None:
        """It is not written to at every tick for ever."""
        world.modules["bad"], world.version = "v1", 2
        world.broken.add("bad")
        writes = 0
        for _ in range(20):
            settled.check_and_update()
            writes += sum(entry[0] == "write" for entry in world.taken())
        assert 4 <= writes <= 8

    def test_a_fix_is_tried_at_once(self, world: World, settled: MetadataMonitor) -> None:
        """A new version of the table does not wait for a backoff."""
        world.modules["bad"], world.version = "v1", 2
        world.broken.add("bad")
        for _ in range(6):
            settled.check_and_update()
        world.broken.clear()
        world.modules["bad"], world.version = "v2", 3
        assert settled.check_and_update()["errors"] == []

    def test_a_failed_module_that_is_gone_is_forgotten(self, world: World, settled: MetadataMonitor) -> None:
        """Its rows were taken away while it waited."""
        world.modules["bad"], world.version = "v1", 2
        world.broken.add("bad")
        settled.check_and_update()
        del world.modules["bad"]
        assert settled.check_and_update()["errors"] == []
        world.taken()
        settled.check_and_update()
        assert world.taken() == ["list", "version"]

    def test_a_refused_module_stands_as_an_error_and_is_not_tried_again(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """It is planned again when the rows move, and costs nothing until then."""
        world.refused["bad"], world.version = "a wrong key", 2
        first = settled.check_and_update()
        assert (first["errors"], first["table_changes"]) == (["module bad: a wrong key"], 1)
        world.taken()
        second = settled.check_and_update()
        assert world.taken() == ["list", "version"]
        assert (second["errors"], second["changes_detected"]) == (first["errors"], False)
        world.refused.clear()
        world.version += 1
        assert settled.check_and_update()["errors"] == []

    def test_one_bad_module_does_not_block_another(self, world: World, settled: MetadataMonitor) -> None:
        """A refused one and a failed one beside a sound one."""
        world.refused["a"], world.modules["b"], world.modules["c"] = "wrong", "v1", "v1"
        world.broken.add("b")
        world.version += 1
        tick = settled.check_and_update()
        assert [job["module"] for job in tick["jobs_updated"]] == ["c"]
        assert len(tick["errors"]) == 2

    @pytest.mark.parametrize("fault", [Unavailable("503"), TablesError("broken"), ValueError("a bug")])
    def test_a_pass_that_fails_as_a_whole_is_repeated(
        self, world: World, settled: MetadataMonitor, fault: Exception
    ) -> None:
        """The version is not taken for done; even a bug of ours ends nothing."""
        world.faults["plan"] = fault
        world.modules["sales"], world.version = "v2", 2
        [error] = settled.check_and_update()["errors"]
        assert error.startswith("jobs: ")
        world.faults.clear()
        assert settled.check_and_update()["errors"] == []
        assert world.jobs["sales"] == "v2"

    def test_a_comparison_that_fails_backs_off(self, world: World, settled: MetadataMonitor) -> None:
        """A workspace that does not answer is not asked at every tick."""
        world.faults["plan"] = Unavailable("503")
        world.now += timedelta(seconds=900)
        asked = 0
        for _ in range(20):
            settled.check_and_update()
            asked += sum(entry[0] == "plan" for entry in world.taken())
        assert 4 <= asked <= 8

    def test_a_conflicting_commit_is_repeated(self, world: World, settled: MetadataMonitor) -> None:
        """Another writer won: the files are loaded at the next tick, whose listing did not move."""
        world.faults["load"] = CommitConflict("another writer")
        world.files["a.yaml"] = 1
        assert settled.check_and_update()["errors"] == ["files: another writer"]
        del world.faults["load"]
        world.taken()
        assert settled.check_and_update()["errors"] == []
        assert "load" in world.taken()

    def test_rejected_files_stand_as_errors_until_they_are_mended(
        self, world: World, settled: MetadataMonitor
    ) -> None:
        """With their places, at every tick; a mended or vanished file takes its errors along."""
        for name in ("a.yaml", "b.yaml"):
            world.files[name] = 1
        rejected = [
            FileRecord(f"{n}.yaml", "x", 1, 1, "rejected", errors=(f"{n}.yaml:3:1: broken",)) for n in "ab"
        ]
        world.loads = [Load(records=tuple(rejected))]
        assert settled.check_and_update()["errors"] == ["a.yaml:3:1: broken", "b.yaml:3:1: broken"]
        assert len(settled.check_and_update()["errors"]) == 2
        world.files["a.yaml"] = 2
        del world.files["b.yaml"]
        mended = FileRecord("a.yaml", "y", 1, 2, "loaded"), FileRecord("b.yaml", "x", 1, 1, "vanished")
        world.loads = [Load(records=mended)]
        assert settled.check_and_update()["errors"] == []

    def test_a_file_that_cannot_be_read_is_read_again(self, world: World, settled: MetadataMonitor) -> None:
        """The listing did not move, and yet it is not done with."""
        world.files["a.yaml"] = 1
        world.loads = [Load(problems=(Problem("a.yaml cannot be read"),), unsettled=True)]
        assert settled.check_and_update()["errors"] == ["files: a.yaml cannot be read"]
        assert settled.check_and_update()["errors"] == []


class TestLoop:
    def test_ticks_come_at_the_interval_and_end_without_a_wait(self, world: World, make: Make) -> None:
        """Three ticks, two waits."""
        seen: list[dict[str, Any]] = []
        last = make(interval=5).run_continuous(3, on_tick=seen.append)
        assert [entry for entry in world.log if entry[0] == "sleep"] == [("sleep", 5.0)] * 2
        assert len(seen) == 3
        assert seen[-1] == last

    def test_a_heartbeat_is_written_at_most_every_quarter_of_an_hour(self, world: World, make: Make) -> None:
        """In an hour of ticks: at the beginning and every 900 s, into `_events`."""
        monitor = make()
        ticks: list[dict[str, Any]] = []

        def count(tick: dict[str, Any]) -> None:
            ticks.append(tick)
            if len(ticks) == 60:
                monitor.stop()

        monitor.run_continuous(on_tick=count)
        assert [entry for entry in world.log if entry[0] == "event"] == [("event", "heartbeat")] * 4

    def test_a_process_of_one_tick_writes_no_heartbeat(self, world: World, make: Make) -> None:
        """A monitor that a trigger starts every minute leaves no row each minute."""
        make().run_continuous(1)
        assert ("event", "heartbeat") not in world.log

    def test_a_heartbeat_that_cannot_be_written_is_no_error(self, world: World, make: Make) -> None:
        """It is a note, and tried at the next tick."""
        world.faults["event"] = TablesUnavailable("no answer")
        tick = make().check_and_update()
        assert tick["errors"] == []
        assert tick["notes"] == ["heartbeat not written: no answer"]

    def test_sigterm_ends_the_loop_and_the_former_handler_comes_back(self, world: World, make: Make) -> None:
        """The tick under way is finished, no further one begins, and nothing is raised."""
        before = signal.getsignal(signal.SIGTERM)
        ticks: list[dict[str, Any]] = []

        def terminate(tick: dict[str, Any]) -> None:
            ticks.append(tick)
            os.kill(os.getpid(), signal.SIGTERM)

        make().run_continuous(on_tick=terminate)
        assert len(ticks) == 1
        assert signal.getsignal(signal.SIGTERM) is before

    def test_stop_ends_a_wait(self, world: World) -> None:
        """From another thread, in the middle of an hour's wait."""
        monitor = MetadataMonitor(
            TABLE, 3600, runtime=Runtime(world), manager=Manager(world), orchestrator=Orchestrator(world)  # type: ignore[arg-type]
        )  # fmt: skip
        ticked = threading.Event()
        loop = threading.Thread(target=lambda: monitor.run_continuous(on_tick=lambda _: ticked.set()))
        loop.start()
        assert ticked.wait(10)
        monitor.stop()
        loop.join(10)
        assert not loop.is_alive()

    @pytest.mark.parametrize("interval", [0, -1, float("nan")])
    def test_an_interval_that_is_none_is_refused(self, world: World, make: Make, interval: float) -> None:
        """Before anything is done."""
        with pytest.raises(UsageError, match="check_interval_seconds"):
            make(interval=interval)

    def test_no_ticks_are_no_use(self, make: Make) -> None:
        """max_iterations below 1 is refused."""
        with pytest.raises(UsageError, match="max_iterations"):
            make().run_continuous(0)


@pytest.mark.parametrize("jitter", [0.0, 0.3, 0.999])
def test_backoff_grows_within_its_bounds(jitter: float) -> None:
    """The n-th failure waits from half to all of 2^(n-1) ticks, never longer than the longest."""
    backoff = Backoff(16, lambda: jitter)
    for most in (1, 2, 4, 8, 16, 16, 16):
        backoff.failed()
        waited = 1
        while not backoff.due():
            waited += 1
        assert most / 2 <= waited <= most
