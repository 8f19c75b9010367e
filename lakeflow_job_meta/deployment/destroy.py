"""Destroying: taking away what deployments made, and what hangs on it; nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.control.control_table import ControlTable, settings_row
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.query_records import QueryRecords
from lakeflow_job_meta.deployment import monitor_jobs
from lakeflow_job_meta.deployment.deploy import (
    PACKAGE,
    cancel,
    companions,
    is_marked,
    ledger_of,
    stale_runs,
    with_setting,
)
from lakeflow_job_meta.deployment.ledger import MARKED, Made
from lakeflow_job_meta.deployment.request import volume_of
from lakeflow_job_meta.deployment.steps import Outcome, Outline, Step
from lakeflow_job_meta.errors import (
    InvalidRequest,
    LakeflowJobMetaError,
    NotFound,
    PlanError,
    TableMismatch,
    TableNotFound,
    VolumeError,
    WorkspaceError,
)
from lakeflow_job_meta.metadata.rows import SETTINGS_MODULE, SETTINGS_ROW
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.reconcile.actions import Plan
from lakeflow_job_meta.reconcile.apply import Progress
from lakeflow_job_meta.runtime import Runtime

#: Seconds to wait for the monitor's runs to end, and between two looks.
RUNS_SECONDS = 120.0
LOOK_SECONDS = 1.0


class Destruction:
    """Takes a deployment out of one workspace.

    Args:
        runtime: of the control table.
        keep_data: leave the control table, its companions, the watched volume, the schema, and the jobs of the
            modules: only the monitor and its package go.
        sleep: waits, in seconds.
    """

    def __init__(
        self, runtime: Runtime, *, keep_data: bool = False, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.runtime = runtime
        self._keep_data = keep_data
        self._sleep = sleep
        self._table = runtime.control_table
        self._owner = monitor_jobs.deployment_table(self._table)

    # ------------------------------------------------------------ plan

    def plan(self) -> Outline:
        """What would be taken away. Writes nothing."""
        made = self._made()
        monitors = self._monitors().plan(rows=[], force=True)
        actions, runs = stale_runs(self.runtime, monitors)
        others = self._other_workspaces()
        modules = None
        if others:
            why = f"workspace {', '.join(others)} has jobs by it: destroy there first"
            steps = [Step("keep", kind, name, why) for kind, name in made]
        else:
            if not self._keep_data and ("table", str(self._table.companion("jobs"))) in made:
                modules = self._modules().plan(rows=[], force=True)
            steps = self._steps(list(made.values()))
        return Outline(tuple(steps), replace(monitors, actions=actions), modules, tuple(runs))

    def _made(self) -> dict[tuple[str, str], Made]:
        """What deployments made, by kind and name; of mere intents those things that bear the mark."""
        schema = Made("schema", f"{self._table.catalog}.{self._table.schema}", is_certain=False)
        found = {(schema.kind, schema.name): schema}  # it is made before there can be a ledger
        found |= {(one.kind, one.name): one for one in ledger_of(self.runtime).made()}
        return {
            key: one
            for key, one in found.items()
            if one.is_certain or one.kind not in MARKED or is_marked(self.runtime, one)
        }

    def _other_workspaces(self) -> list[str]:
        """Workspaces beside this one whose jobs come from these tables: one metastore, several workspaces."""
        here = self.runtime.workspace.workspace_id
        return sorted(
            {
                other
                for owner in (self._table, self._owner)
                for other in JobRecords(self.runtime.tables, owner, here).other_workspaces()
            }
        )

    def _monitors(self) -> JobOrchestrator:
        return JobOrchestrator(self._owner, runtime=self.runtime.beside(self._owner), sleep=self._sleep)

    def _modules(self) -> JobOrchestrator:
        """The orchestrator of the control table's own modules, for which no active source means: delete."""
        runtime = self.runtime.beside(self._table, {"retire": "delete"})
        return JobOrchestrator(self._table, runtime=runtime, sleep=self._sleep)

    def _steps(self, made: Sequence[Made]) -> list[Step]:
        """In the order in which they are done."""
        there = self._existing_tables(made)
        gone = {one.name for one in made if one.kind == "volume" and self._takes_volume(one.name)}
        steps: list[Step] = []
        tables = [one.name for one in made if one.kind == "table" and not self._keep_data]
        if str(self._table) not in tables:
            steps += [Step("set", "setting", one.name, _back(one)) for one in made if self._is_set(one)]
        steps += [Step("delete", "table", name, self._rows(name)) for name in tables if name in there]
        for one in made:
            if one.kind == "wheel" and str(volume_of(one.name)) not in gone and self._file_count(one.name):
                steps.append(Step("delete", "wheel", one.name))
            if one.kind == "folder" and str(volume_of(one.name)) not in gone and not self._keep_data:
                count = self._file_count(one.name)
                if count == 0:
                    steps.append(Step("delete", "folder", one.name))
                elif count:
                    steps.append(Step("keep", "folder", one.name, f"{_count(count, 'file')} in it"))
        for name in sorted(gone):
            if self.runtime.catalog.volume_exists(TableName.parse(name)):
                count = self._file_count(_path(name))
                steps.append(Step("delete", "volume", name, _count(count, "file")))
        kept = {str(self._owner.companion("events"))} if self._keep_data else set()
        steps += [
            Step("delete", "table", str(one.name))
            for one in companions(self._owner)
            if str(one.name) in there and str(one.name) not in kept
        ]
        if not self._keep_data:
            deleted = {step.name for step in steps if step.verb == "delete"}
            steps += [
                self._schema(one, there - deleted) for one in made if one.kind == "schema" and self._has(one)
            ]
        return steps

    def _takes_volume(self, name: str) -> bool:
        return not self._keep_data or name == str(self._table.companion("packages"))

    def _existing_tables(self, made: Sequence[Made]) -> set[str]:
        places = {(self._table.catalog, self._table.schema)}
        places |= {
            (catalog, schema)
            for one in made
            if one.kind == "schema"
            for catalog, _, schema in [one.name.partition(".")]
        }
        found: set[str] = set()
        for catalog, schema in places:
            try:
                found |= set(self.runtime.platform.tables(catalog, schema))
            except NotFound:
                continue
        return found

    def _rows(self, name: str) -> str:
        if name != str(self._table):
            return ""
        count = len(ControlTable(self.runtime.tables, self._table).rows())
        return _count(count, "row")

    def _is_set(self, one: Made) -> bool:
        """Whether the setting still has the value that a deployment gave it."""
        if one.kind != "setting":
            return False
        try:
            rows = ControlTable(self.runtime.tables, self._table).rows([SETTINGS_MODULE])
        except (TableNotFound, TableMismatch):  # gone, or another's by now
            return False
        return bool(self.runtime.settings_from(rows)[PACKAGE] == one.value and settings_row(rows) is not None)

    def _file_count(self, path: str) -> int | None:
        """Files below a path; None when it is not there."""
        try:
            return len(self.runtime.volumes.list(path))
        except VolumeError:
            return None

    def _has(self, schema: Made) -> bool:
        return self.runtime.platform.find("schema", schema.name) is not None

    @staticmethod
    def _schema(one: Made, left: set[str]) -> Step:
        others = sorted(table for table in left if table.startswith(f"{one.name}."))
        if others:
            return Step(
                "keep",
                "schema",
                one.name,
                f"in it: {_count(len(others), 'other table')}, {others[0]} among them",
            )
        return Step("delete", "schema", one.name, "if nothing else is in it")

    # ------------------------------------------------------------ apply

    def apply(self, outline: Outline, progress: Progress | None = None) -> Outcome:
        """Do what `plan` said; what cannot be taken away is told, and the rest goes on."""
        try:
            removed = self._monitors().apply(outline.plan, progress=progress, rows=[])
        except (PlanError, TableNotFound) as error:  # somebody else has just taken it away
            return Outcome(outline, (), 0, (f"another --destroy is at work, look again after it: {error}",))
        results, writes, notes = list(removed.results), removed.writes, []
        ended, errors = cancel(self.runtime, outline.runs)
        writes += ended
        errors += self._wait(outline.runs)
        if any(result.error for result in results) or errors:
            # A monitor that still runs would make anew what is taken away below.
            return Outcome(outline, tuple(results), writes, tuple(errors))
        if outline.modules is not None:
            # Until it ended, the monitor may have made jobs that nobody had seen: they hang on the table, too.
            modules = self._modules().plan(rows=[], force=True)
            taken = self._modules().apply(modules, progress=progress, rows=[])
            results += taken.results
            writes += taken.writes + self._delete_paused(modules, errors)
            if any(result.error for result in taken.results) or errors:
                return Outcome(outline, tuple(results), writes, tuple(errors))
        for step in outline.steps:
            if not step.changes:
                continue
            try:
                self._do(step)
            except InvalidRequest as error:
                if step.kind == "schema":  # somebody put something into it: it is not ours alone any more
                    notes.append(f"kept schema {step.name}: {error}")
                else:
                    errors.append(f"{step} failed: {error}")
                continue
            except LakeflowJobMetaError as error:
                errors.append(f"{step} failed: {error}")
                break  # what comes later is what says what was made
            writes += 1
        if self._keep_data and not errors:
            self._forget(outline.steps)
        return Outcome(outline, tuple(results), writes, tuple(errors), notes=tuple(notes))

    def _forget(self, steps: Sequence[Step]) -> None:
        """Take what is gone out of the ledger, which stays: of that name there may be another's one day."""
        gone = {(step.kind, step.name) for step in steps if step.changes}
        things = [one for key, one in self._made().items() if key in gone]
        if things:
            ledger_of(self.runtime).forget(things)

    def _wait(self, runs: Sequence[tuple[int, int]]) -> list[str]:
        """Wait until the runs ended; what is left of them after RUNS_SECONDS."""
        left = list(runs)
        waited = 0.0
        while left and waited < RUNS_SECONDS:
            left = [run for run in left if not self._is_over(run[1])]
            if left:
                self._sleep(LOOK_SECONDS)
                waited += LOOK_SECONDS
        return [
            f"run {run_id} of job {job_id} has not ended yet: destroy again when it has"
            for job_id, run_id in left
        ]

    def _is_over(self, run_id: int) -> bool:
        try:
            return self.runtime.workspace.jobs.run(run_id).ended
        except NotFound:  # it went with its job
            return True

    def _delete_paused(self, plan: Plan, errors: list[str]) -> int:
        """Delete the jobs of modules whose own `retire: pause` won; their table goes, nobody would know them."""
        records = JobRecords(
            self.runtime.tables, self._table, self.runtime.workspace.workspace_id, self.runtime.clock
        )
        left = {
            module: record.job_id
            for module, record in records.all([action.module for action in plan.actions]).items()
            if record.job_id is not None and record.status == "retired"
        }
        if not left:
            return 0
        writes = 0
        workspace = self.runtime.workspace
        queries = QueryRecords(self.runtime.tables, self._table, workspace.workspace_id).all(list(left))
        try:
            for job_id in left.values():
                workspace.jobs.delete(job_id)
                writes += 1
            for query in queries:
                if query.query_id:
                    workspace.queries.delete(query.query_id)
                    writes += 1
        except WorkspaceError as error:
            errors.append(str(error))
        return writes

    def _do(self, step: Step) -> None:
        platform = self.runtime.platform
        if step.kind == "table":
            platform.delete("table", step.name)
        elif step.kind == "volume":
            platform.delete("volume", step.name)
        elif step.kind == "schema":
            platform.delete("schema", step.name)
        elif step.kind == "wheel":
            self.runtime.volumes.delete(step.name)
            self.runtime.volumes.delete_folder(step.name.rpartition("/")[0])
        elif step.kind == "folder":
            self.runtime.volumes.delete_folder(step.name)
        elif step.kind == "setting":
            self._set_back()

    def _set_back(self) -> None:
        """Give the setting its former value; a settings row that was made for it and says nothing else goes."""
        control = ControlTable(self.runtime.tables, self._table)
        [made] = (one for one in ledger_of(self.runtime).made() if one.kind == "setting")
        row = with_setting(settings_row(control.rows([SETTINGS_MODULE])), made.former)
        control.write([row])
        if made.fresh and row.transformation_config == "{}":
            commit(self._delete_settings_row)

    def _delete_settings_row(self) -> None:
        """Rows are never deleted, but this one is a deployment's own; unless somebody wrote into it just now."""
        self.runtime.tables.query(
            f"DELETE FROM {self._table.quoted} WHERE `module_name` = '{SETTINGS_MODULE}' AND "
            f"`source_id` = '{SETTINGS_ROW}' AND `transformation_config` = '{{}}'"
        )


def _count(number: int | None, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}" if number else ""


def _back(one: Made) -> str:
    return f"{one.value} -> {one.former or 'absent'}"


def _path(volume: str) -> str:
    name = TableName.parse(volume)
    return f"/Volumes/{name.catalog}/{name.schema}/{name.table}"
