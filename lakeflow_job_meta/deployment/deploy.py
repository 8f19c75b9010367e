"""Deploying: schema, volumes, tables and wheel first, then the monitor's jobs, by plan and apply."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from lakeflow_job_meta.control import events, file_records, job_records, query_records
from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.control.control_table import ControlTable, settings_row
from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.deployment import monitor_jobs
from lakeflow_job_meta.deployment.ledger import MARKED, Ledger, Made, mark
from lakeflow_job_meta.deployment.request import Request, volume_of
from lakeflow_job_meta.deployment.steps import Outcome, Outline, Step
from lakeflow_job_meta.deployment.wheel import Wheel, is_intact, packages_volume
from lakeflow_job_meta.errors import (
    LakeflowJobMetaError,
    Problem,
    UsageError,
    VolumeError,
    WorkspaceError,
)
from lakeflow_job_meta.metadata.rows import SETTINGS_MODULE, SETTINGS_ROW, Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.ports import SecurableKind, TableDefinition
from lakeflow_job_meta.reconcile.actions import Action, Plan
from lakeflow_job_meta.reconcile.apply import Progress
from lakeflow_job_meta.runtime import Runtime

#: The setting that says where tasks of ours get this package from.
PACKAGE = "package"


def companions(control_table: TableName) -> list[TableDefinition]:
    """The tables beside a control table."""
    modules: Sequence[Callable[[TableName], TableDefinition]] = (
        job_records.definition,
        query_records.definition,
        file_records.definition,
        events.definition,
    )
    return [define(control_table) for define in modules]


@dataclass(frozen=True, slots=True)
class _Task:
    """A step with what carries it out, and what the ledger keeps of it."""

    step: Step
    do: Callable[[], object]
    made: Made | None = None


class Deployment:
    """Deploys to one workspace.

    Args:
        runtime: of the control table.
        request: what is asked for; its `package` is empty when `wheel` is given.
        wheel: to upload.

    Raises:
        UsageError: neither a package nor a wheel, or both.
    """

    def __init__(self, runtime: Runtime, request: Request, wheel: Wheel | None = None) -> None:
        if (wheel is None) == (not request.package):
            raise UsageError("give a wheel to upload, or a package to install: one of the two")
        self.runtime = runtime
        self.wheel = wheel
        table = runtime.control_table
        if wheel is not None:
            request = replace(request, package=wheel.path_in(packages_volume(table)))
        self.request = request
        self._table = table
        self._owner = monitor_jobs.deployment_table(table)
        self._tasks: list[_Task] = []

    # ------------------------------------------------------------ plan

    def plan(self) -> Outline:
        """What would be done. Writes nothing.

        Raises:
            UsageError: the catalog does not exist; the monitor's jobs are not valid (a job cluster with unknown
                fields, a wrong cron expression).
            MetadataError: the control table's settings row is wrong. WorkspaceError, TablesError: it cannot be read.
        """
        self._tasks = self._survey()
        rows = monitor_jobs.rows(self.request)
        # Named, so that these few jobs are asked for one by one, however many the workspace has.
        modules = {row.module_name or "" for row in rows} | recorded(self.runtime, self._owner)
        planned = self._orchestrator().plan(rows=rows, modules=modules)
        problems = [problem for action in planned.refused for problem in action.problems]
        if problems:
            # A job row that is refused takes its job clusters along: that the task's is unknown says nothing.
            problems = [one for one in problems if "job_cluster_key" not in one.message] or problems
            raise UsageError("; ".join(dict.fromkeys(map(_about_flag, problems))))
        actions, runs = stale_runs(self.runtime, planned)
        return Outline(
            tuple(task.step for task in self._tasks), replace(planned, actions=actions), runs=tuple(runs)
        )

    def _orchestrator(self) -> JobOrchestrator:
        return JobOrchestrator(self._owner, runtime=self.runtime.beside(self._owner))

    def _survey(self) -> list[_Task]:
        """Everything that has to be there, in the order in which it is made."""
        platform, table = self.runtime.platform, self._table
        places = {(table.catalog, table.schema): True}
        volumes: dict[TableName, str] = {}
        if self.wheel is not None:
            volumes[packages_volume(table)] = f"Wheels of lakeflow_job_meta for {table}"
        if self.request.volume_path:
            watched = volume_of(self.request.volume_path)
            volumes[watched] = f"Metadata files of {table}"
            places.setdefault((watched.catalog, watched.schema), True)
        for catalog in dict.fromkeys(catalog for catalog, _ in places):
            if platform.find("catalog", catalog) is None:
                raise UsageError(
                    f"the catalog {catalog} does not exist, or may not be seen: have it made, ask for USE CATALOG on it, "
                    "or name another"
                )
        tasks = [self._schema(*place) for place in places]
        tasks += [self._volume(volume, comment) for volume, comment in volumes.items()]
        if self.request.volume_path.count("/") > 4:
            tasks.append(self._folder(self.request.volume_path))
        tasks += self._make_tables()
        if self.wheel is not None:
            tasks.append(self._upload(self.wheel))
        tasks.append(self._setting())
        return tasks

    def _schema(self, catalog: str, schema: str) -> _Task:
        platform, name = self.runtime.platform, f"{catalog}.{schema}"
        if platform.find("schema", name) is not None:
            return _kept("schema", name)
        return _Task(
            Step("create", "schema", name),
            lambda: platform.create_schema(catalog, schema, self._marked("Schema of lakeflow_job_meta")),
            Made("schema", name),
        )

    def _volume(self, volume: TableName, comment: str) -> _Task:
        if self.runtime.catalog.volume_exists(volume):
            return _kept("volume", str(volume))
        return _Task(
            Step("create", "volume", str(volume)),
            lambda: self.runtime.catalog.create_volume(volume, self._marked(comment)),
            Made("volume", str(volume)),
        )

    def _folder(self, path: str) -> _Task:
        try:
            self.runtime.volumes.list(path)
        except VolumeError:
            return _Task(
                Step("create", "folder", path),
                lambda: self.runtime.platform.create_folder(path),
                Made("folder", path),
            )
        return _kept("folder", path)

    def _make_tables(self) -> list[_Task]:
        control = ControlTable(self.runtime.tables, self._table)
        is_there = control.exists()
        tasks = [_kept("table", str(self._table)) if is_there else self._table_of(control.definition)]
        for definition in companions(self._table):
            if is_there and self.runtime.tables.columns(definition.name) is not None:
                tasks.append(_kept("table", str(definition.name)))
            else:
                tasks.append(self._table_of(definition))
        return tasks

    def _table_of(self, definition: TableDefinition) -> _Task:
        name, tables = str(definition.name), self.runtime.tables
        marked = replace(definition, comment=self._marked(definition.comment))
        return _Task(
            Step("create", "table", name),
            lambda: commit(lambda: tables.create_table(marked)),
            Made("table", name),
        )

    def _marked(self, comment: str) -> str:
        return f"{comment} {mark(self._table, self.runtime.workspace.workspace_id)}"

    def _upload(self, wheel: Wheel) -> _Task:
        path = self.request.package
        detail = f"{len(wheel.data) / 1e6:.1f} MB"
        try:
            if is_intact(path, self.runtime.volumes.read(path)):
                return _kept("wheel", path)
            detail += ", in place of one with another content"
        except VolumeError:
            pass  # not there yet
        return _Task(
            Step("upload", "wheel", path, detail),
            lambda: self.runtime.volumes.upload(path, io.BytesIO(wheel.data)),
            Made("wheel", path),
        )

    def _setting(self) -> _Task:
        """The package in the settings row, for the modules' own tasks."""
        control = ControlTable(self.runtime.tables, self._table)
        rows = control.rows([SETTINGS_MODULE]) if control.exists() else []
        self.runtime.settings_from(rows)  # a wrong settings row is told, not written over
        row = settings_row(rows)
        if rows and row is None:
            return _kept(
                "setting", PACKAGE, "the settings row is inactive: activate it to have the package set"
            )
        former = _settings(row)
        package = self.request.package
        if former.get(PACKAGE) == package:
            return _kept("setting", PACKAGE, package)
        return _Task(
            Step("set", "setting", PACKAGE, f"{former.get(PACKAGE) or 'absent'} -> {package}"),
            lambda: control.write([with_setting(row, package)]),
            Made("setting", PACKAGE, former=former.get(PACKAGE), value=package, fresh=row is None),
        )

    # ------------------------------------------------------------ apply

    def apply(self, outline: Outline, progress: Progress | None = None) -> Outcome:
        """Do what `plan` said.

        Raises:
            WorkspaceError, TablesError, VolumeError: a step failed; what was done before is in the ledger.
        """
        writes = self._make([task for task in self._tasks if task.made is not None])
        result = self._orchestrator().apply(
            outline.plan, progress=progress, rows=monitor_jobs.rows(self.request)
        )
        failed = {one.action.job_id for one in result.results if one.error}
        ended, errors = cancel(self.runtime, [run for run in outline.runs if run[0] not in failed])
        jobs = {one.action.module: one.job_id for one in result.results if one.job_id is not None}
        return Outcome(outline, result.results, writes + result.writes + ended, tuple(errors), jobs)

    def _make(self, tasks: Sequence[_Task]) -> int:
        """Carry the tasks out, with the ledger before and after; how many there were."""
        if not tasks:
            return 0
        ledger = ledger_of(self.runtime)
        things = [task.made for task in tasks if task.made is not None]
        left = list(tasks)
        if things[0] == Made("schema", f"{self._table.catalog}.{self._table.schema}"):
            left.pop(0).do()  # the ledger lies in it; what has become of it is known by its mark
        ledger.intend(things)
        try:
            for task in left:
                task.do()
        except LakeflowJobMetaError:
            with suppress(LakeflowJobMetaError):  # the intents and the marks are enough to tell
                ledger.add(self._ours(things[: tasks.index(task)]))
            raise
        ledger.add(self._ours(things))
        return len(tasks)

    def _ours(self, things: Sequence[Made]) -> list[Made]:
        """Without what somebody else made after `plan` had looked: making what is there does nothing."""
        return [one for one in things if one.kind not in MARKED or is_marked(self.runtime, one)]


#: Which flag a field of the monitor's jobs comes from.
_FLAGS = {"quartz_cron_expression": "--cron", "timezone_id": "--timezone", "job_cluster": "--job-cluster"}


def _about_flag(problem: Problem) -> str:
    """What is wrong with a field of the monitor's jobs, with the flag that it was given by."""
    about = f"{problem.pointer} {problem.message}"
    flag = next((flag for name, flag in _FLAGS.items() if name in about), "")
    return f"{flag}: {problem.message}" if flag else problem.message


def is_marked(runtime: Runtime, one: Made) -> bool:
    """Whether the thing is there and says itself that a deployment of this table, from this workspace, made it."""
    found = runtime.platform.find(cast(SecurableKind, one.kind), one.name)
    return found is not None and mark(runtime.control_table, runtime.workspace.workspace_id) in found.comment


def recorded(runtime: Runtime, owner: TableName) -> set[str]:
    """The monitor's modules that have a job according to the records."""
    records = JobRecords(runtime.tables, owner, runtime.workspace.workspace_id).all()
    return {module for module, record in records.items() if record.job_id is not None}


def ledger_of(runtime: Runtime) -> Ledger:
    """The ledger of a control table's deployments."""
    owner = monitor_jobs.deployment_table(runtime.control_table)
    return Ledger(Events(runtime.tables, owner, runtime.workspace.workspace_id), runtime.clock)


def stale_runs(runtime: Runtime, plan: Plan) -> tuple[tuple[Action, ...], list[tuple[int, int]]]:
    """The plan's actions with a sentence for every run that has to end, and these runs as (job id, run id).

    A continuous run goes on with the settings that it was started with, whatever becomes of its job.
    """
    actions: list[Action] = []
    runs: list[tuple[int, int]] = []
    jobs = runtime.workspace.jobs
    for action in plan.actions:
        reasons = []
        if action.kind in ("update", "revive", "retire") and action.job_id is not None:
            job = jobs.get(action.job_id)
            endless = job is not None and bool(job.settings.get("continuous"))
            if endless or action.kind == "retire":
                for run in jobs.runs(action.job_id, active_only=True):
                    runs.append((action.job_id, run.run_id))
                    then = (
                        "nothing of it goes on"
                        if action.kind == "retire"
                        else "the next one has these settings"
                    )
                    reasons.append(f"run {run.run_id} is under way and will be cancelled, so that {then}")
        actions.append(replace(action, reasons=(*action.reasons, *reasons)))
    return tuple(actions), runs


def cancel(runtime: Runtime, runs: Sequence[tuple[int, int]]) -> tuple[int, list[str]]:
    """How many runs were cancelled, and what went wrong."""
    errors = []
    for job_id, run_id in runs:
        try:
            runtime.workspace.jobs.cancel_run(run_id)
        except WorkspaceError as error:
            errors.append(f"run {run_id} of job {job_id} goes on with former settings; cancel it: {error}")
    return len(runs) - len(errors), errors


def _settings(row: Row | None) -> dict[str, Any]:
    if row is None or not row.transformation_config:
        return {}
    found: dict[str, Any] = json.loads(row.transformation_config)  # `settings_from` judged it
    return found


def with_setting(row: Row | None, package: str | None) -> Row:
    """The settings row with this package; None takes the setting out."""
    row = row or Row(SETTINGS_ROW, SETTINGS_MODULE, "settings", 0, "{}", "{}", "{}", True)
    settings = _settings(row)
    if package is None:
        settings.pop(PACKAGE, None)
    else:
        settings[PACKAGE] = package  # in its place: taking it back gives the former text
    return replace(row, transformation_config=json.dumps(settings, ensure_ascii=False))


def _kept(kind: str, name: str, detail: str = "") -> _Task:
    return _Task(Step("keep", kind, name, detail), lambda: None)
