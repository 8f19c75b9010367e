"""The orchestrator: reads rows, records and workspace, has each module decided, carries out the plan."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta import __version__
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.loading import Load, overlay
from lakeflow_job_meta.control.query_records import QueryRecords
from lakeflow_job_meta.errors import (
    MetadataError,
    NotFound,
    PlanError,
    Problem,
    TableNotFound,
    WorkspaceError,
)
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Run, Workspace
from lakeflow_job_meta.reconcile.actions import Action, ActionKind, ActionResult, ApplyResult, Plan
from lakeflow_job_meta.reconcile.apply import Applier, Outcome, Progress
from lakeflow_job_meta.reconcile.plan import refuse
from lakeflow_job_meta.reconcile.plan_file import ReviewedPlan, check_fresh
from lakeflow_job_meta.reconcile.survey import Survey
from lakeflow_job_meta.runtime import Runtime, connect

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

#: Rounds in which modules that another writer held are tried again, and seconds before each.
CONTEST_ROUNDS = 6
CONTEST_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ModuleResult:
    """What `run_all_modules` did for one module."""

    module: str
    job_id: int | None
    action: ActionKind
    run_id: int | None = None
    error: str | None = None

    def __getitem__(self, name: str) -> Any:
        """`result["job_id"]`: the results read as dicts too."""
        return asdict(self)[name]


@dataclass(frozen=True, slots=True)
class ModuleStatus:
    """One module as `status` shows it."""

    module: str
    status: str
    job_id: int | None
    job_name: str
    sources: int
    error: str
    last_run: Run | None = None


class JobOrchestrator:
    """Keeps the Databricks Jobs of one workspace equal to one control table.

    Args:
        control_table: `catalog.schema.table`.
        workspace_client: databricks-sdk client; without it the SDK's unified authentication.
        spark: Spark session; without it the active one, or a warehouse.
        warehouse_id: SQL warehouse to use instead of Spark.
        flags: settings as `settings.SETTINGS` names them.
        runtime: everything at once, instead of the arguments above.
        sleep: waits, in seconds.
        stopped: asked before each module of an apply; once true, the rest is left as it is.
    """

    def __init__(
        self,
        control_table: str | TableName,
        workspace_client: WorkspaceClient | None = None,
        *,
        spark: Any = None,
        warehouse_id: str | None = None,
        flags: Mapping[str, Any] | None = None,
        runtime: Runtime | None = None,
        sleep: Callable[[float], None] = time.sleep,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.runtime = runtime or connect(
            control_table,
            spark=spark,
            workspace_client=workspace_client,
            warehouse_id=warehouse_id,
            flags=flags,
        )
        self.control_table = self.runtime.control_table
        self._sleep = sleep
        self._stopped = stopped

    # ------------------------------------------------------------ plan

    def plan(
        self,
        *,
        modules: Collection[str] | None = None,
        load: Load | None = None,
        rows: Sequence[Row] | None = None,
        compare: bool = True,
        force: bool = False,
    ) -> Plan:
        """What would be done, to every module or to the given ones. Writes nothing.

        Args:
            modules: only these.
            load: files to overlay in memory, see `MetadataManager.overlay`.
            rows: all rows of the control table, when they are known already; else they are read.
            compare: read the workspace also for modules whose metadata did not move, to find drift.
            force: lift the brake on mass retirement.

        Raises:
            TableNotFound: there is no control table (and no overlay).
            MetadataError, UsageError: the settings row is wrong.
            PlanError: one of `modules` is not known.
            WorkspaceError: the workspace cannot be read.
        """
        rows = self._rows(load) if rows is None else rows
        survey = Survey(
            control_table=self.control_table,
            workspace=self.workspace,
            settings=self.runtime.settings_from(rows),
            version=__version__,
            rows=rows,
            records=self._records.all(),
            queries=self._queries,
            refused=load.problems if load is not None else (),
            modules=modules,
            now=self.runtime.clock(),
        )
        rejected = _by_module(load.problems if load is not None else (), modules)
        unknown = sorted(set(modules or ()) - survey.known - set(rejected))
        if unknown:
            raise PlanError(f"{self.control_table} has no module {unknown[0]!r}; it has {_few(survey.known)}")
        plan = replace(
            survey.plan(compare=compare, force=force),
            syncs_datasets=any('"dataset_sync"' in (row.transformation_config or "") for row in rows),
        )
        return refuse(plan, rejected)

    def _rows(self, load: Load | None) -> list[Row]:
        try:
            rows = ControlTable(self.runtime.tables, self.control_table).rows()
        except TableNotFound:
            if load is None:
                raise
            rows = []
        return rows if load is None else overlay(rows, load)

    # ------------------------------------------------------------ apply

    def apply(
        self, plan: Plan, *, progress: Progress | None = None, rows: Sequence[Row] | None = None
    ) -> ApplyResult:
        """Do what the plan says and nothing else. Errors are each module's own.

        A module that another writer holds is waited for and planned again; it is carried out only if
        the decision is the same, and is done if nothing is left to do.

        Args:
            plan: made by `plan`; its retirements were judged by the brake there.
            progress: called with each result as it comes.
            rows: as given to `plan`, for planning again; else they are read.
        """
        count = self.workspace.count
        writes = count.writes
        outcome = self._applier(plan).run(plan.actions, progress)
        results = dict(outcome.results)
        decided = {action.module: action for action in plan.actions}
        contested = outcome.contested
        for attempt in range(CONTEST_ROUNDS):
            if not contested or self._stopped():
                break
            jitter = random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
            self._sleep(CONTEST_SECONDS * 2**attempt * jitter)
            outcome = self._contest(contested, decided, progress, rows)
            results.update(outcome.results)
            contested = outcome.contested
        for module in contested:
            error = "another writer is at work on this module; run it again when that one is done"
            results[module] = ActionResult(decided[module], decided[module].job_id, error=error)
        ordered = tuple(
            _untouched(a) if a.kind == "refused" else results.get(a.module) or _untouched(a)
            for a in plan.actions
        )
        return ApplyResult(plan, ordered, count.writes - writes)

    def _contest(
        self,
        modules: set[str],
        decided: Mapping[str, Action],
        progress: Progress | None,
        rows: Sequence[Row] | None,
    ) -> Outcome:
        """Plan contested modules again: done by the other writer, still to be done, or something else by now."""
        # The brake has judged these retirements, and nothing but what was decided then is carried out.
        fresh = self.plan(modules=modules, rows=rows, force=True)
        # Of what needs no change any more the record may still have to be written: its writer died before it did.
        same = [
            a
            for a in fresh.actions
            if a.kind == "unchanged" or a.fingerprint == decided[a.module].fingerprint
        ]
        outcome = self._applier(fresh).run(same, progress)
        for action in fresh.actions:
            if action.kind == "unchanged":
                if action.module not in outcome.contested:
                    outcome.results[action.module] = ActionResult(decided[action.module], action.job_id)
            elif action.module not in {a.module for a in same}:
                error = "another writer changed this module since it was planned; plan again"
                outcome.results[action.module] = ActionResult(
                    decided[action.module], action.job_id, error=error
                )
        return outcome

    def apply_reviewed(
        self,
        reviewed: ReviewedPlan,
        *,
        load: Load | None = None,
        progress: Progress | None = None,
        before: Callable[[], object] | None = None,
        force: bool = False,
    ) -> ApplyResult:
        """Apply exactly what was reviewed.

        Args:
            load: the overlay that the plan was made with.
            before: called once the plan was found fresh, before anything is done (it loads the files).

        Raises:
            StalePlan: the decision for some module would be another one now; nothing was done.
        """
        modules = reviewed.request.get("modules") or None
        plan = self.plan(modules=modules, load=load, force=force)
        check_fresh(reviewed, plan)
        if before is not None:
            before()
        return self.apply(plan, progress=progress)

    def create_or_update_job(self, module: str) -> int:
        """Make one module's job equal to its metadata; returns its job id.

        Raises:
            MetadataError: its metadata is refused. PlanError: it is unknown, inactive, or held back.
            WorkspaceError: the workspace refused.
        """
        plan = self.plan(modules=[module])
        result = self.apply(plan).results[0]
        if result.action.problems:
            raise MetadataError(result.action.problems)
        if result.error:
            raise WorkspaceError(f"module {module}: {result.error}")
        if result.job_id is None:
            raise PlanError(
                f"module {module} has no job: {'; '.join(result.action.reasons) or 'it is inactive'}"
            )
        return result.job_id

    def run_all_modules(self, auto_run: bool = False) -> list[ModuleResult]:
        """Make every module's job equal to its metadata, each in isolation.

        Args:
            auto_run: also start a run of every live job.

        Returns:
            One result a module, in order of module name; a failed one has its `error`.
        """
        results = []
        for result in self.apply(self.plan()).results:
            run_id, error = result.run_id, result.error
            live = (
                result.action.kind in ("create", "update", "revive", "unchanged")
                and result.job_id is not None
            )
            if auto_run and live and not error and run_id is None and "retired" not in result.action.reasons:
                try:
                    run_id = self.workspace.jobs.run_now(result.job_id or 0)
                except WorkspaceError as failure:
                    error = str(failure)
            results.append(
                ModuleResult(result.action.module, result.job_id, result.action.kind, run_id, error or None)
            )
        return results

    # ------------------------------------------------------------ runs and status

    def run(self, module: str, parameters: Mapping[str, str] | None = None) -> int:
        """Start a run of the module's job; returns the run id.

        Raises:
            PlanError: the module has no job yet. WorkspaceError: the workspace refused.
        """
        record = self._records.all([module]).get(module)
        if record is None or record.job_id is None:
            known = sorted(name for name, one in self._records.all().items() if one.job_id is not None)
            raise PlanError(
                f"module {module!r} has no job in this workspace: apply first; jobs exist for {_few(known)}"
            )
        try:
            return self.workspace.jobs.run_now(record.job_id, job_parameters=parameters)
        except NotFound as error:
            raise PlanError(
                f"job {record.job_id} of module {module!r} is gone from the workspace: apply again"
            ) from error

    def follow(
        self,
        run_id: int,
        on_change: Callable[[Run], None] | None = None,
        *,
        poll_seconds: float = 1.0,
        timeout_seconds: float | None = None,
    ) -> Run:
        """Wait until the run ended; returns it, or its last state when the time is over.

        Args:
            on_change: called with every state that was read.
        """
        waited = 0.0
        while True:
            run = self.workspace.jobs.run(run_id)
            if on_change is not None:
                on_change(run)
            if run.ended or (timeout_seconds is not None and waited >= timeout_seconds):
                return run
            self._sleep(poll_seconds)
            waited += poll_seconds

    def status(self, *, runs: bool = True) -> list[ModuleStatus]:
        """Every module with its job, its last run and its error, in order of module name."""
        found = []
        for module, record in sorted(self._records.all().items()):
            last = (
                self.workspace.jobs.runs(record.job_id, limit=1) if runs and record.job_id is not None else []
            )
            sources = len((record.definition or {}).get("sources") or [])
            found.append(
                ModuleStatus(
                    module,
                    record.status,
                    record.job_id,
                    record.job_name,
                    sources,
                    record.error,
                    last[0] if last else None,
                )
            )
        return found

    # ------------------------------------------------------------ parts

    @property
    def workspace(self) -> Workspace:
        return self.runtime.workspace

    @property
    def _records(self) -> JobRecords:
        return JobRecords(
            self.runtime.tables, self.control_table, self.workspace.workspace_id, self.runtime.clock
        )

    @property
    def _queries(self) -> QueryRecords:
        return QueryRecords(self.runtime.tables, self.control_table, self.workspace.workspace_id)

    def _applier(self, plan: Plan) -> Applier:
        return Applier(
            self.workspace,
            self.control_table,
            self._records,
            self._queries,
            Events(self.runtime.tables, self.control_table, self.workspace.workspace_id),
            plan.settings,
            clock=self.runtime.clock,
            sleep=self._sleep,
            job_ids={a.module: a.job_id for a in plan.actions if a.job_id is not None},
            stopped=self._stopped,
        )


def _by_module(
    problems: Iterable[Problem], modules: Collection[str] | None
) -> dict[str, tuple[Problem, ...]]:
    """Problems of files by the module that they refuse, of the given modules only."""
    found: dict[str, tuple[Problem, ...]] = {}
    for problem in problems:
        if problem.module and (modules is None or problem.module in modules):
            found[problem.module] = (*found.get(problem.module, ()), problem)
    return found


def _untouched(action: Action) -> ActionResult:
    return ActionResult(
        action, action.job_id, error="\n".join(action.reasons) if action.kind == "refused" else ""
    )


def _few(names: Collection[str]) -> str:
    shown = sorted(names)[:10]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") if shown else "none"
