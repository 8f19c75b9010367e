"""Adoption: jobs that exist become jobs of a control table. Nothing of them changes but what belonging to it means.

The order makes every way to die safe: tags first (a tagged job without rows is reported and left alone), then the
rows, then the records, through the same plan and apply as everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.loading import Load, overlay
from lakeflow_job_meta.control.records import Event, JobRecord
from lakeflow_job_meta.errors import MetadataError, NotFound, WorkspaceError
from lakeflow_job_meta.importer import Imported, changes_of, is_ours
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.metadata_manager import MetadataManager
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, module_tag, table_tag
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.ports import RemoteJob
from lakeflow_job_meta.reconcile.actions import Change
from lakeflow_job_meta.runtime import Runtime

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adoption:
    """What happens, or happened, to one job.

    Args:
        changes: of the job, its new tags among them.
        refusal: why it is not adopted; empty when it is.
        idle: nothing is to be done: it is this table's already, or has no job yet.
    """

    module: str
    job_id: int | None
    changes: tuple[Change, ...] = ()
    refusal: str = ""
    idle: bool = False

    @property
    def adopts(self) -> bool:
        return not self.refusal and not self.idle


class Adopter:
    """Makes imported jobs the control table's own.

    Args:
        runtime: with `drift: enforce` and without `run_on_change`, so that adoption does what it shows and starts nothing.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._manager = MetadataManager(runtime.control_table, runtime=runtime)
        self._orchestrator = JobOrchestrator(runtime.control_table, runtime=runtime)

    def plan(
        self, modules: Sequence[Imported], paths: Mapping[str, Path], *, take_over: bool = False
    ) -> list[Adoption]:
        """What adopting would do to each module's job. Writes nothing.

        Args:
            paths: the file of each module.
            take_over: also jobs that a bundle deploys, notebooks whose reserved parameters have other values, and
                modules that belong to a volume's file.
        """
        load = self._manager.overlay([str(path) for path in paths.values()], take_over=take_over)
        rows = _by_module(overlay(load.current, load))
        records = self._records.all()
        jobs = {one.module: self._job(one) for one in modules}
        refusals = {
            one.module: refusal
            for one in modules
            if not one.owned and (refusal := self._refusal(one, jobs[one.module], load, records, take_over))
        }
        decided: dict[str, Adoption] = {}
        while True:  # a job that is refused makes those that refer to it differ
            known = {name: record.job_id for name, record in records.items() if record.job_id is not None}
            known |= {
                one.module: one.job_id
                for one in modules
                if one.job_id is not None and one.module not in refusals
            }
            before = len(refusals)
            for one in modules:
                decided[one.module] = self._decide(
                    one, jobs[one.module], rows, load, known, refusals, take_over
                )
                if decided[one.module].refusal:
                    refusals.setdefault(one.module, decided[one.module].refusal)
            if len(refusals) == before:
                return [decided[one.module] for one in modules]

    def adopt(
        self, adoptions: Iterable[Adoption], paths: Mapping[str, Path], *, take_over: bool = False
    ) -> list[Adoption]:
        """Carry out what `plan` decided; returns it with the refusals that came up.

        Raises:
            TablesError, WorkspaceError: the control table or the workspace fails as a whole; do it again.
        """
        given = list(adoptions)
        done = {one.module: self._tag(one) if one.adopts else one for one in given}
        tagged = [one.module for one in done.values() if one.adopts]
        if tagged:
            load = self._manager.load([str(paths[module]) for module in tagged], take_over=take_over)
            plan = self._orchestrator.plan(
                modules=tagged, load=load, rows=overlay(load.current, load), force=False
            )
            sound = [
                action
                for action in plan.actions
                if action.kind in ("unchanged", "update", "revive")
                and action.job_id == done[action.module].job_id
            ]
            for action in plan.actions:
                if action not in sound:
                    why = "; ".join(action.reasons) or f"the plan says {action.kind}"
                    done[action.module] = replace(
                        done[action.module], refusal=f"tagged, but not recorded: {why}"
                    )
            result = self._orchestrator.apply(replace(plan, actions=tuple(sound)))
            for one in result.results:
                if one.error:
                    module = one.action.module
                    done[module] = replace(done[module], refusal=f"tagged, but not recorded: {one.error}")
            self._tell([one for one in done.values() if one.adopts])
        return [done[one.module] for one in given]

    # ------------------------------------------------------------ deciding

    def _refusal(
        self,
        one: Imported,
        job: RemoteJob | None,
        load: Load,
        records: Mapping[str, JobRecord],
        take_over: bool,
    ) -> str:
        """Why the job may not become this module's; empty when it may."""
        problems = [str(problem) for problem in load.problems if problem.module in ("", one.module)]
        if problems:
            return "; ".join(problems)
        record = records.get(one.module)
        if record is not None and record.job_id not in (None, one.job_id):
            return (
                f"module {one.module!r} has job {record.job_id} already: give the module another name in the file, "
                "and load it"
            )
        if job is None:
            return "" if one.job_id is None else "the job is gone"
        owner = job.tags.get(TABLE_TAG)
        if owner == table_tag(self.runtime.control_table):
            if job.tags.get(MODULE_TAG) != module_tag(one.module):
                return "it belongs to another module of this control table"
        elif owner is not None:
            return (
                "it belongs to another control table: retire the module there, and take its tags "
                f"{TABLE_TAG} and {MODULE_TAG} off"
            )
        if job.settings.get("deployment") and not take_over:
            return (
                "a bundle deploys it, and would overwrite what is written here: take it out of the bundle "
                "(databricks bundle deployment unbind), then adopt with --take-over"
            )
        return ""

    def _decide(
        self,
        one: Imported,
        job: RemoteJob | None,
        rows: Mapping[str, Sequence[Row]],
        load: Load,
        job_ids: Mapping[str, int],
        refusals: Mapping[str, str],
        take_over: bool,
    ) -> Adoption:
        if one.module in refusals:
            return Adoption(one.module, one.job_id, refusal=refusals[one.module])
        if one.owned or job is None:
            return Adoption(one.module, one.job_id, idle=True)
        told = _sources(load.current, one.module)
        if told and told != _sources(rows.get(one.module, ()), one.module):
            reason = (
                f"the control table has a module {one.module!r} already, with other sources: give this one another "
                "name in its file and load it, or retire that one"
            )
            return Adoption(one.module, one.job_id, refusal=reason)
        settings = self.runtime.settings_from(load.current)
        table = self.runtime.control_table
        defined = define(rows.get(one.module, ()), table=str(table), settings=settings)
        try:
            if defined.definition is None:
                raise MetadataError(defined.problems)
            changes = changes_of(
                defined.definition, job, control_table=table, settings=settings, job_ids=job_ids
            )
        except MetadataError as error:
            return Adoption(one.module, one.job_id, refusal=str(error))
        strange = [change for change in changes if not is_ours(change, more=take_over)]
        if strange:
            listed = "; ".join(str(change) for change in strange[:5])
            more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
            remedy = (
                ""
                if take_over or not all(is_ours(c, more=True) for c in strange)
                else ": --take-over does it"
            )
            refusal = (
                f"it differs from the metadata, and adoption changes nothing else ({listed}{more}){remedy}"
            )
            return Adoption(one.module, one.job_id, tuple(changes), refusal)
        return Adoption(one.module, one.job_id, tuple(changes))

    def _job(self, one: Imported) -> RemoteJob | None:
        return None if one.job_id is None else self.runtime.workspace.jobs.get(one.job_id)

    # ------------------------------------------------------------ doing

    def _tag(self, one: Adoption) -> Adoption:
        """Put our tags on the job, and see that they stuck: two tables may want it at once."""
        assert one.job_id is not None
        jobs = self.runtime.workspace.jobs
        ours = {TABLE_TAG: table_tag(self.runtime.control_table), MODULE_TAG: module_tag(one.module)}
        try:
            job = jobs.get(one.job_id)
            if job is None or job.tags.get(TABLE_TAG, ours[TABLE_TAG]) != ours[TABLE_TAG]:
                return replace(one, refusal="it was deleted, or taken by another control table, meanwhile")
            if any(job.tags.get(name) != value for name, value in ours.items()):
                jobs.set_tags(one.job_id, {**job.tags, **ours})
                job = jobs.get(one.job_id)
            if job is None or any(job.tags.get(name) != value for name, value in ours.items()):
                return replace(one, refusal="another control table took it at the same moment")
        except (WorkspaceError, NotFound) as error:
            return replace(one, refusal=str(error))
        return one

    def _tell(self, adopted: Sequence[Adoption]) -> None:
        now = self.runtime.clock()
        self._events.append(
            [
                Event(
                    "adopted",
                    now,
                    one.module,
                    one.job_id,
                    f"job {one.job_id} existed before, and is this module's from now on",
                    {"changes": [change.as_json() for change in one.changes]},
                )
                for one in adopted
            ]
        )

    @property
    def _records(self) -> JobRecords:
        runtime = self.runtime
        return JobRecords(
            runtime.tables, runtime.control_table, runtime.workspace.workspace_id, runtime.clock
        )

    @property
    def _events(self) -> Events:
        runtime = self.runtime
        return Events(runtime.tables, runtime.control_table, runtime.workspace.workspace_id)


def _sources(rows: Iterable[Row], module: str) -> set[str]:
    """Hashes of the module's active rows."""
    return {row.hash for row in rows if row.module_name == module and row.active}


def _by_module(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.module_name or "", []).append(row)
    return found
