"""The monitor: a level-triggered loop that keeps jobs equal to files and control table (DESIGN 6).

Each tick looks, in this order, at the volume's listing, at the control table's Delta version, and at
what is due: modules that failed, and the comparison of the whole workspace. Each of these parts fails
and is tried again on its own; nothing that a tick meets ends the loop.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.loading import overlay
from lakeflow_job_meta.control.records import FileRecord
from lakeflow_job_meta.errors import LakeflowJobMetaError, PlanError, UsageError
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.metadata_manager import MetadataManager
from lakeflow_job_meta.monitor.backoff import Backoff, Part
from lakeflow_job_meta.monitor.heartbeat import Heartbeat
from lakeflow_job_meta.monitor.tick import Tick
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.reconcile.actions import ActionResult, ApplyResult
from lakeflow_job_meta.runtime import Runtime, connect

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

    from lakeflow_job_meta.control.loading import Load
    from lakeflow_job_meta.datasets.reconciler import Watch
    from lakeflow_job_meta.ports import FileInfo

JsonObject = dict[str, Any]
#: Longest that something that failed waits for its next try, in seconds.
LONGEST_BACKOFF = 300.0


class MetadataMonitor:
    """Watches files and control table, and keeps the workspace's jobs equal to them.

    Args:
        control_table: `catalog.schema.table`; made at the first tick when it is missing.
        check_interval_seconds: seconds from one tick's start to the next.
        volume_path: folder of YAML files to watch, usually below `/Volumes`; None watches the table only.
        spark: Spark session; without it the active one.
        workspace_client: databricks-sdk client; without it the SDK's unified authentication.
        warehouse_id: SQL warehouse to use instead of Spark.
        flags: settings as `settings.SETTINGS` names them.
        runtime: everything at once, instead of the four arguments before.
        orchestrator: what plans and applies; made of the runtime when missing.
        manager: what loads files; made of the runtime when missing.
        sleep: waits, in seconds; it ends early when the monitor is stopped.
        jitter: numbers from 0 to 1.

    Raises:
        UsageError: the table's name, the interval or a setting is wrong.
    """

    def __init__(
        self,
        control_table: str | TableName,
        check_interval_seconds: float = 60,
        volume_path: str | None = None,
        *,
        spark: Any = None,
        workspace_client: WorkspaceClient | None = None,
        warehouse_id: str | None = None,
        flags: Mapping[str, Any] | None = None,
        runtime: Runtime | None = None,
        orchestrator: JobOrchestrator | None = None,
        manager: MetadataManager | None = None,
        sleep: Callable[[float], object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if not check_interval_seconds > 0:
            raise UsageError(f"check_interval_seconds must be above 0, not {check_interval_seconds!r}")
        self._stopping = threading.Event()
        self.runtime = runtime or connect(
            control_table,
            spark=spark,
            workspace_client=workspace_client,
            warehouse_id=warehouse_id,
            flags=flags,
        )
        self.control_table = self.runtime.control_table
        self.check_interval_seconds = float(check_interval_seconds)
        self.volume_path = volume_path or None
        self._sleep = sleep or self._stopping.wait
        self._jitter = jitter
        self._manager = manager or MetadataManager(
            self.control_table, runtime=self.runtime, sleep=self._sleep
        )
        self._orchestrator = orchestrator or JobOrchestrator(
            self.control_table,
            runtime=self.runtime,
            sleep=lambda seconds: void(self._sleep(seconds)),
            stopped=self._stopping.is_set,
        )
        self._files = Part("files", self._new_backoff())
        self._table = Part("table", self._new_backoff())
        self._work = Part("jobs", self._new_backoff())
        self._datasets = Part("datasets", self._new_backoff())
        self._syncing = False
        self._made = False
        self._listed: tuple[FileInfo, ...] | None = None
        self._file_errors: dict[str, tuple[str, ...]] | None = None
        self._loaded_with: Mapping[str, str] | None = None
        self._version: int | None = None
        self._tried: int | None = None
        self._compared_at: datetime | None = None
        self._heartbeat = Heartbeat(self.runtime, self.control_table)
        self._failed: dict[str, Backoff] = {}
        self._errors: dict[str, str] = {}
        self._settings = self.runtime.settings()
        self._told: list[str] = []

    # ------------------------------------------------------------ the promise

    def check_and_update(self) -> JsonObject:
        """One tick: look, load, plan, apply. Never raises for what it meets outside.

        Returns:
            timestamp (ISO 8601, UTC), changes_detected, yaml_changes (files that changed), rows_loaded,
            table_changes (modules whose metadata changed), compared (whether the whole workspace was),
            jobs_updated (`{"module", "job_id", "action"}` each), errors (what is wrong now, new or not),
            notes, sql_statements and api_calls of this tick, seconds.
        """
        tick = Tick(self.runtime.clock())
        statements, calls = self.runtime.sql_statements, self.runtime.api_calls
        with self._boundary(self._files):
            self._watch_files(tick)
        with self._boundary(self._table):
            self._watch_table(tick)
        with self._boundary(self._datasets):
            self._watch_datasets(tick)
        detail = {"version": self._version, "errors": len(self.errors()), "volume_path": self.volume_path}
        interval = timedelta(seconds=self._settings["heartbeat_interval"])
        note = self._heartbeat.beat(tick.at, interval, detail)
        tick.notes += [note] if note else []
        return tick.result(
            self.runtime.clock(),
            errors=self.errors(),
            statements=self.runtime.sql_statements - statements,
            calls=self.runtime.api_calls - calls,
        )

    def run_continuous(
        self, max_iterations: int | None = None, *, on_tick: Callable[[JsonObject], None] | None = None
    ) -> JsonObject:
        """Tick until SIGTERM, `stop`, or so many ticks; each is logged in one line.

        SIGTERM ends it after the call under way; the handler that was there before comes back.

        Args:
            max_iterations: None: for ever.
            on_tick: called with each tick's result.

        Returns:
            The last tick's result; its `errors` decide an exit code. Empty when it never ticked.

        Raises:
            UsageError: max_iterations is below 1.
        """
        if max_iterations is not None and max_iterations < 1:
            raise UsageError(
                f"max_iterations must be at least 1, or not given for ever, not {max_iterations}"
            )
        ticks = 0
        last: JsonObject = {}
        forever = max_iterations is None
        self._heartbeat.begin(None if forever else self.runtime.clock())
        with self._ended_by_signal():
            while not self._stopping.is_set():
                last = self.check_and_update()
                self._log(last)
                if on_tick is not None:
                    on_tick(last)
                ticks += 1
                if max_iterations is not None and ticks >= max_iterations:
                    break
                self._sleep(max(0.0, self.check_interval_seconds - last["seconds"]))
        return last

    def stop(self) -> None:
        """End `run_continuous` after the call under way; for signal handlers and other threads."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        """Whether it was told to end, by SIGTERM or `stop`."""
        return self._stopping.is_set()

    def errors(self) -> list[str]:
        """What is wrong now: parts that failed, rejected files, modules that failed or are refused."""
        watched = (self._files, self._table, self._work, self._datasets)
        parts = [f"{part.name}: {part.error}" for part in watched if part.error]
        files = [
            error for path in sorted(self._file_errors or {}) for error in (self._file_errors or {})[path]
        ]
        modules = [f"module {module}: {error}" for module, error in sorted(self._errors.items())]
        return [*parts, *files, *modules]

    # ------------------------------------------------------------ files

    def _watch_files(self, tick: Tick) -> None:
        """Load what changed in the volume; one listing when nothing did."""
        if self.volume_path is None or not self._files.backoff.due():
            return
        self._make_table()
        listed = tuple(self._manager.list_files(self.volume_path))
        same = listed == self._listed and self._loaded_with == self._settings.variables
        if same and not self._files.error:
            return
        self._take(self._manager.load([self.volume_path], hand=False), tick)
        self._listed = listed

    def _take(self, load: Load, tick: Tick) -> None:
        tick.load = load
        tick.yaml_changes = len(load.records)
        tick.rows_loaded = load.changed
        tick.notes += load.notes
        self._loaded_with = load.variables
        if load.unsettled:
            recorded = {error for record in load.records for error in record.errors}
            unread = [str(problem) for problem in load.problems if str(problem) not in recorded]
            self._files.failed("; ".join(unread))
        else:
            self._files.succeeded()
        if self._file_errors is None:  # what an earlier process rejected is wrong still
            self._file_errors = {
                record.path: record.errors for record in self._manager.file_records() if _rejected(record)
            }
        for record in load.records:
            if _rejected(record):
                self._file_errors[record.path] = record.errors
            else:
                self._file_errors.pop(record.path, None)

    # ------------------------------------------------------------ table and jobs

    def _watch_table(self, tick: Tick) -> None:
        """Plan and apply what moved or is due; one table version read when nothing did."""
        if not self._table.backoff.due():
            return
        self._make_table()
        rows: Sequence[Row] | None = None
        if tick.load is not None and tick.load.write and self._version is not None:
            # What the load read plus what it wrote is what is there. If its commit was not the only one since
            # the last pass, the version that the next tick reads is a higher one, and moves that pass.
            version, rows = self._version + 1, overlay(tick.load.current, tick.load)
        else:
            # Taken before the rows are read: what is edited during the pass moves it again.
            version = ControlTable(self.runtime.tables, self.control_table).version()
        self._table.succeeded()
        with self._boundary(self._work):
            self._reconcile(version, tick, rows)

    def _reconcile(self, version: int, tick: Tick, rows: Sequence[Row] | None) -> None:
        moved = version != self._version
        compare = self._comparison_is_due(tick.at)
        due = {module for module, backoff in self._failed.items() if backoff.due()}
        if self._work.error and version == self._tried and not self._work.backoff.due():
            return  # the last try on this very version failed as a whole, and its backoff is not over
        if not (moved or compare or due):
            return
        self._tried = version
        chosen = None if moved or compare else due
        result = self._pass(chosen, compare=compare, rows=rows)
        if result is None:  # a module that failed is gone by now
            chosen = None
            result = self._pass(None, compare=compare)
            assert result is not None
        self._version = version
        self._work.succeeded()
        if compare:
            tick.compared = True
            self._compared_at = tick.at
        self._settle(result, tick, moved=moved, whole=chosen is None)
        self._syncing = self._syncing or result.plan.syncs_datasets

    def _pass(
        self, modules: Collection[str] | None, *, compare: bool, rows: Sequence[Row] | None = None
    ) -> ApplyResult | None:
        """Plan and apply; None when one of the modules is not known any more."""
        try:
            plan = self._orchestrator.plan(modules=modules, rows=rows, compare=compare)
        except PlanError:
            if modules is None:
                raise
            return None
        self._settings = plan.settings
        return self._orchestrator.apply(plan)

    def _settle(self, result: ApplyResult, tick: Tick, *, moved: bool, whole: bool) -> None:
        """Keep what came of each module: what failed is tried again, what is refused stands as an error."""
        tick.notes += result.plan.notes
        there = {outcome.action.module for outcome in result.results}
        if whole:
            for module in set(self._errors) - there:
                del self._errors[module]
            for module in set(self._failed) - there:
                del self._failed[module]
        for outcome in result.results:
            module, kind = outcome.action.module, outcome.action.kind
            if moved and (
                kind not in ("unchanged", "refused") or (kind == "refused" and self._is_news(outcome))
            ):
                tick.table_changes += 1
            if kind == "refused":
                self._errors[module] = "; ".join(outcome.action.reasons)
                self._failed.pop(module, None)
            elif outcome.error:
                self._errors[module] = outcome.error
                self._failed.setdefault(module, self._new_backoff()).failed()
            else:
                self._errors.pop(module, None)
                self._failed.pop(module, None)
                if kind != "unchanged":
                    tick.jobs_updated.append({"module": module, "job_id": outcome.job_id, "action": kind})

    # ------------------------------------------------------------ datasets

    def _watch_datasets(self, tick: Tick) -> None:
        """End syncs whose runs are gone; looked at after every pass, and at every tick while one is in flight."""
        if not self._syncing or not self._datasets.backoff.due():
            return
        found = self._reconciler.run()
        self._syncing = found.in_flight > 0
        self._datasets.succeeded()
        tick.notes += found.notes

    @cached_property
    def _reconciler(self) -> Watch:
        from lakeflow_job_meta.datasets.reconciler import reconciler

        at = self.runtime
        return reconciler(self.control_table, at.tables, lambda: at.workspace, at.environment, at.clock)

    def _is_news(self, outcome: ActionResult) -> bool:
        return self._errors.get(outcome.action.module) != "; ".join(outcome.action.reasons)

    def _comparison_is_due(self, now: datetime) -> bool:
        interval = timedelta(seconds=self._settings["drift_interval"])
        return self._compared_at is None or now - self._compared_at >= interval

    def _make_table(self) -> None:
        """At the first tick only: a table that vanishes later is an error, not an empty table."""
        if not self._made:
            self._manager.ensure_exists()
            self._made = True

    # ------------------------------------------------------------ errors, signals, log

    @contextlib.contextmanager
    def _boundary(self, part: Part) -> Iterator[None]:
        """The boundary of one part of a tick: whatever it meets is an error of that part, tried again."""
        try:
            yield
        except LakeflowJobMetaError as error:
            part.failed(str(error))
        except Exception as error:
            part.failed(f"unexpected {type(error).__name__}: {error}")
            self._logger.exception("unexpected error", part=part.name)

    def _new_backoff(self) -> Backoff:
        return Backoff(max(1, int(LONGEST_BACKOFF / self.check_interval_seconds)), self._jitter)

    @contextlib.contextmanager
    def _ended_by_signal(self) -> Iterator[None]:
        """SIGTERM stops the loop; in another thread than the main one signals are not ours to take."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(*_: object) -> None:
            self.stop()
            signal.signal(signal.SIGTERM, before)  # a second one is not held up

        before = signal.signal(signal.SIGTERM, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @cached_property
    def _logger(self) -> Any:
        import structlog

        return structlog.get_logger("lakeflow_job_meta.monitor").bind(control_table=str(self.control_table))

    def _log(self, result: JsonObject) -> None:
        """One line a tick; errors in full when they are others than before."""
        errors: list[str] = result["errors"]
        facts = {
            name: value
            for name, value in result.items()
            if name not in ("timestamp", "errors", "changes_detected")
        }
        facts["errors"] = errors if errors != self._told else len(errors)
        self._told = errors
        (self._logger.warning if errors else self._logger.info)("tick", **facts)


def void(_: object) -> None:
    """Drops what a waiting function returns."""


def _rejected(record: FileRecord) -> bool:
    return not record.hand and record.status in ("rejected", "partial")
