"""What starts runs by itself: schedules, periodic triggers, continuous jobs, new files, table updates."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.api.errors import ApiError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs.records import RunRecord
from lakeflow_job_meta.local.runs.schedule import Cron
from lakeflow_job_meta.local.runs.store import RunStore
from lakeflow_job_meta.local.state import JobRecord, Jobs

log = logging.getLogger("lakeflow_job_meta.local.runs")

Json = dict[str, Any]

TICK_SECONDS = 0.5
WATCH_SECONDS = 1.0
"""How often files and tables are looked at."""
CRON_FLOOR_SECONDS = 10.0
RESTART_SECONDS = 1.0
"""Between two runs of a continuous job that succeed."""
BACKOFF_SECONDS = (2.0, 300.0)
"""First and longest pause after failures of a continuous job, doubled by each."""
_UNITS = {"MINUTES": 60, "HOURS": 3600, "DAYS": 86_400, "WEEKS": 604_800}


class Starter(Protocol):
    """What triggers need of the engine."""

    def run_now(
        self, job_id: int, request: Json | None = None, *, token: str = "", trigger: str = "ONE_TIME",
        trigger_info: Json | None = None,
    ) -> int: ...  # fmt: skip

    def active_runs(self, job_id: int) -> int: ...

    def cancel_job(self, job_id: int | None) -> None: ...


@dataclass
class _Armed:
    """The unpaused trigger of one job; `memory` is what is kept across restarts."""

    job_id: int
    kind: str
    settings: Json
    memory: Json = field(default_factory=dict)
    due: float | None = None
    failures: int = 0


class Triggers:
    """Fires the triggers of all jobs.

    Args:
        folder: of the workspace.
        jobs: the saved jobs; their `generation` says when to look at them again.
        store: remembers seen files, table versions and last firings.
        starter: starts runs.
        clock: seconds since the epoch.
    """

    def __init__(
        self, folder: Folder, jobs: Jobs, store: RunStore, starter: Starter, clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._jobs = jobs
        self._store = store
        self._starter = starter
        self._clock = clock
        self._generation = -1
        self._armed: dict[int, _Armed] = {}
        self._watched = float("-inf")
        self._end = threading.Event()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Looks at the jobs and ticks in a thread until `stop`."""
        self.tick()
        self._thread = threading.Thread(target=self._loop, name="triggers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def armed(self) -> bool:
        """Whether a job has a trigger that is not paused."""
        self._refresh()
        return bool(self._armed)

    def _loop(self) -> None:
        while not self._end.wait(TICK_SECONDS):
            try:
                self.tick()
            except Exception:  # outermost boundary of the trigger thread: one bad tick must not end it
                log.exception("triggers")

    def tick(self) -> None:
        """Starts what is due now."""
        with self._lock:
            self._refresh()
            now = self._clock()
            watch = now - self._watched >= WATCH_SECONDS or now < self._watched
            if watch:
                self._watched = now
            for armed in list(self._armed.values()):
                try:
                    self._check(armed, now, watch)
                except (ApiError, LocalError, OSError) as e:
                    log.warning("trigger of job %s: %s", armed.job_id, e)

    def ended(self, run: RunRecord) -> None:
        """Told of the end of every run: a continuous job starts again, later after failures."""
        with self._lock:
            armed = self._armed.get(run.job_id)
            if armed is None or armed.kind != "continuous":
                return
            armed.failures = 0 if run.state.succeeded else armed.failures + 1
            first, longest = BACKOFF_SECONDS
            pause = RESTART_SECONDS if not armed.failures else min(longest, first * 2 ** (armed.failures - 1))
            if run.state.result == "CANCELED":
                armed.failures, pause = 0, RESTART_SECONDS
            armed.due = self._clock() + pause

    # ------------------------------------------------------------ which triggers there are

    def _refresh(self) -> None:
        with self._lock:
            generation = self._jobs.generation()
            if generation == self._generation:
                return
            self._generation = generation
            jobs = {job.job_id: job for job in self._jobs.all()}
            for job_id in [job_id for job_id in self._armed if job_id not in jobs]:
                del self._armed[job_id]
            for job in jobs.values():
                try:
                    self._arm(job)
                except (LocalError, OSError) as e:
                    log.warning("trigger of job %s cannot fire: %s", job.job_id, e)

    def _arm(self, job: JobRecord) -> None:
        kind, settings = _trigger_of(job.settings)
        old = self._armed.get(job.job_id)
        if not kind:
            if old is not None:
                del self._armed[job.job_id]
                self._store.forget_trigger(job.job_id)
                if old.kind == "continuous":  # pausing a continuous job ends its run
                    self._starter.cancel_job(job.job_id)
            return
        if old is not None and (old.kind, old.settings) == (kind, settings):
            return
        memory = self._store.trigger(job.job_id) if old is None else {}
        if memory.get("settings") != {kind: settings}:
            memory = {"settings": {kind: settings}, "since": self._clock()}
        armed = _Armed(job.job_id, kind, settings, memory)
        armed.due = self._first(armed)
        self._armed[job.job_id] = armed
        self._store.save_trigger(job.job_id, memory)

    def _first(self, armed: _Armed) -> float | None:
        now = self._clock()
        if armed.kind == "schedule":
            return _cron(armed).next(now)
        if armed.kind == "periodic":
            seconds = _period(armed.settings)
            last = float(armed.memory["last"] if "last" in armed.memory else armed.memory["since"])
            return max(now, last + seconds)
        if armed.kind == "continuous":
            return now
        if armed.kind == "file_arrival" and "seen" not in armed.memory:
            armed.memory["seen"] = sorted(self._files(armed))
        if armed.kind == "table_update" and "versions" not in armed.memory:
            armed.memory["versions"] = self._versions(armed)
        return None

    # ------------------------------------------------------------ what is due

    def _check(self, armed: _Armed, now: float, watch: bool) -> None:
        if armed.kind == "schedule":
            if armed.due is not None and now >= armed.due:
                self._fire(armed, "PERIODIC", {"time": int(armed.due // 60 * 60_000)})
                armed.due = _cron(armed).next(max(now, armed.due + CRON_FLOOR_SECONDS - 1))
        elif armed.kind == "periodic":
            if armed.due is not None and now >= armed.due:
                self._fire(armed, "PERIODIC", {"time": int(now * 1000)})
                armed.due = now + _period(armed.settings)
                self._remember(armed, last=now)
        elif armed.kind == "continuous":
            if armed.due is not None and now >= armed.due and not self._starter.active_runs(armed.job_id):
                armed.due = now + RESTART_SECONDS
                self._fire(armed, "CONTINUOUS", {})
        elif watch and armed.kind == "file_arrival":
            self._check_files(armed, now)
        elif watch and armed.kind == "table_update":
            self._check_tables(armed, now)

    def _check_files(self, armed: _Armed, now: float) -> None:
        """New paths fire; a file that is overwritten is no new path."""
        seen = set(armed.memory["seen"])
        files = self._files(armed)
        if files - seen:
            self._remember(armed, seen=sorted(seen | files), changed=now)
        if self._rested(armed, now):
            self._remember(armed, changed=None, last=now)
            self._fire(armed, "FILE_ARRIVAL", {"time": int(now * 1000), "location": armed.settings["url"]})

    def _check_tables(self, armed: _Armed, now: float) -> None:
        versions = self._versions(armed)
        known = armed.memory["versions"]
        updated = set(armed.memory.get("updated") or [])
        moved = {name for name, version in versions.items() if version != known.get(name)}
        if moved:
            updated |= moved
            self._remember(armed, versions=versions, updated=sorted(updated), changed=now)
        everything = armed.settings.get("condition") == "ALL_UPDATED"
        if everything and updated != set(armed.settings["table_names"]):
            return
        if self._rested(armed, now):
            self._remember(armed, changed=None, updated=[], last=now)
            self._fire(armed, "TABLE", {"time": int(now * 1000), "tables": sorted(updated)})

    @staticmethod
    def _rested(armed: _Armed, now: float) -> bool:
        """Whether something changed, and both waits of the trigger are over."""
        changed = armed.memory.get("changed")
        if changed is None:
            return False
        wait = float(armed.settings.get("wait_after_last_change_seconds") or 0)
        between = float(armed.settings.get("min_time_between_triggers_seconds") or 0)
        last = armed.memory.get("last")
        return now >= changed + wait and (last is None or now >= last + between)

    def _fire(self, armed: _Armed, trigger: str, info: Json) -> None:
        run_id = self._starter.run_now(armed.job_id, trigger=trigger, trigger_info=info)
        log.info("%s trigger of job %s started run %s", trigger, armed.job_id, run_id)

    def _remember(self, armed: _Armed, **changes: Any) -> None:
        armed.memory.update(changes)
        self._store.save_trigger(armed.job_id, armed.memory)

    # ------------------------------------------------------------ files and tables

    def _files(self, armed: _Armed) -> set[str]:
        url = str(armed.settings["url"]).removeprefix("dbfs:")
        root = self._folder.volume_path(url)
        return {str(path.relative_to(root)) for path in _walk(root)}

    def _versions(self, armed: _Armed) -> dict[str, int]:
        return {name: self._version(name) for name in armed.settings["table_names"]}

    def _version(self, name: str) -> int:
        """The newest version in a table's Delta log; -1 when there is none."""
        parts = name.replace("`", "").split(".")
        newest = -1
        try:
            with os.scandir(self._folder.warehouse.joinpath(*parts, "_delta_log")) as entries:
                for entry in entries:
                    stem, _, suffix = entry.name.partition(".")
                    if suffix == "json" and stem.isdigit():
                        newest = max(newest, int(stem))
        except OSError:
            return -1
        return newest


def _walk(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            yield Path(folder, name)


def _trigger_of(settings: Json) -> tuple[str, Json]:
    """Kind and settings of a job's trigger; an empty kind when it has none, or it is paused."""
    for kind in ("schedule", "continuous"):
        found = settings.get(kind)
        if found is not None:
            return ("", {}) if found.get("pause_status") == "PAUSED" else (kind, dict(found))
    trigger = settings.get("trigger") or {}
    if trigger.get("pause_status") == "PAUSED":
        return "", {}
    for kind in ("periodic", "file_arrival", "table_update"):
        if trigger.get(kind) is not None:
            return kind, dict(trigger[kind])
    return "", {}


def _cron(armed: _Armed) -> Cron:
    return Cron(armed.settings["quartz_cron_expression"], armed.settings["timezone_id"])


def _period(settings: Json) -> float:
    return float(settings["interval"]) * _UNITS[settings["unit"]]
