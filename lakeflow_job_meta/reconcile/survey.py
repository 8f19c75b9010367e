"""The survey of a pass: judge every module's rows, look at the workspace where needed, have each decided.

Work grows with what changed: a module whose rows and context are those accepted last is taken from its
record, without validation or rendering. Reads only; the decisions are `plan.decide`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from lakeflow_job_meta.control.query_records import QueryRecords
from lakeflow_job_meta.control.records import JobRecord, QueryRecord
from lakeflow_job_meta.errors import MetadataError, Place, Problem
from lakeflow_job_meta.jobs.desired import DesiredJob
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.metadata.lint import cross_check
from lakeflow_job_meta.metadata.rows import SETTINGS_MODULE, Row, rows_hash
from lakeflow_job_meta.names import TABLE_TAG, TableName, digest, module_tag
from lakeflow_job_meta.ports import Workspace
from lakeflow_job_meta.reconcile.actions import Action, Plan
from lakeflow_job_meta.reconcile.observe import (
    Owned,
    Seen,
    Sought,
    observe_jobs,
    observe_permissions,
    observe_queries,
)
from lakeflow_job_meta.reconcile.plan import decide
from lakeflow_job_meta.reconcile.recovery import recovered
from lakeflow_job_meta.reconcile.safety import brake
from lakeflow_job_meta.reconcile.state import ModuleState
from lakeflow_job_meta.settings import Settings

JsonObject = dict[str, Any]

#: Settings that change what is rendered; a new value has every module rendered anew.
RENDERING = ("variables", "default_warehouse_id", "package", "queries_path")
#: States of a record that ask for nothing as long as the rows stay.
SETTLED = ("active", "retired", "deleted")


@dataclass(slots=True)
class _Judged:
    """One module's metadata: what it wants, or what is wrong with it."""

    module: str
    record: JobRecord | None
    rows_hash: str
    fresh: bool
    desired: DesiredJob | None = None
    definition: ModuleDefinition | None = None
    problems: tuple[Problem, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether the record says that what is wanted was applied."""
        return self.record is not None and not self.fresh and self.record.status in SETTLED


class Survey:
    """One look at metadata and workspace.

    Args:
        settings: in force for this control table.
        version: of this package; a new one renders anew.
        rows: all rows of the control table (an overlay included).
        records: `_jobs` by module.
        queries: `_queries`.
        refused: problems of modules that metadata files were refused for; their rows are last good.
        modules: only these, None for all.
        now: aware; claims that ran out before it were left by writers that died.
    """

    def __init__(
        self,
        *,
        control_table: TableName,
        workspace: Workspace,
        settings: Settings,
        version: str,
        rows: Sequence[Row],
        records: Mapping[str, JobRecord],
        queries: QueryRecords,
        refused: Iterable[Problem] = (),
        modules: Collection[str] | None = None,
        now: datetime,
    ) -> None:
        self._control_table = control_table
        self._now = now
        self._workspace = workspace
        self._settings = settings
        self._records = records
        self._queries = queries
        self._modules = modules
        self._empty = not rows
        self._context = digest([version, {name: settings[name] for name in RENDERING}], 32)
        self._rows: dict[str, list[Row]] = {}
        for row in rows:
            if row.module_name != SETTINGS_MODULE:
                self._rows.setdefault(row.module_name or "", []).append(row)
        self._refused: dict[str, list[Problem]] = {}
        for problem in refused:
            if problem.module:
                self._refused.setdefault(problem.module, []).append(problem)
        kept = {name for name, one in records.items() if one.job_id is not None or one.status not in SETTLED}
        self.known = {*self._rows, *self._refused, *kept}

    def plan(self, *, compare: bool, force: bool) -> Plan:
        """Every module's action.

        Args:
            compare: look at the workspace for modules that did not move, too.
            force: lift the brake.
        """
        chosen = sorted(self.known if self._modules is None else self.known & set(self._modules))
        judged = {module: self._judge(module) for module in chosen}
        self._cross_check(judged)
        looked_at = [
            one for one in judged.values() if compare or not one.settled or self._is_abandoned(one.record)
        ]
        everything = compare and self._modules is None
        seen, owned = self._look_for_jobs(looked_at, everything)
        states = self._states(looked_at, seen, compare)
        actions = [
            decide(states[module], self._settings) if module in states else _unmoved(one)
            for module, one in judged.items()
        ]
        live = sum(
            1 for record in self._records.values() if record.status == "active" and record.job_id is not None
        )
        braked = brake(actions, self._settings, live=live, empty=self._empty, force=force)
        notes = self._unclaimed(owned) if everything else ()
        return Plan(
            str(self._control_table),
            self._workspace.workspace_id,
            braked,
            tuple(notes),
            settings=self._settings,
        )

    # ------------------------------------------------------------ metadata

    def _judge(self, module: str) -> _Judged:
        rows = self._rows.get(module, [])
        record = self._records.get(module)
        if module in self._refused:
            mark = rows_hash(rows) if rows else ""
            return _Judged(module, record, mark, fresh=True, problems=tuple(self._refused[module]))
        mark = rows_hash(rows)
        settled = record is not None and (record.rows_hash, record.context_hash) == (mark, self._context)
        if record is not None and settled and record.status in ("retired", "deleted"):
            return _Judged(module, record, mark, fresh=False, options=_options(record))
        if (
            record is not None
            and settled
            and record.status == "active"
            and record.applied
            and record.definition
        ):
            return self._recalled(module, record, mark)
        if not rows:
            return _Judged(module, record, mark, fresh=True, options=_options(record))
        judged = _Judged(module, record, mark, fresh=True)
        defined = define(rows, table=str(self._control_table), settings=self._settings)
        judged.problems = defined.problems
        judged.options = _options(record)
        if defined.definition is not None and not defined.problems:
            judged.definition = defined.definition
            judged.options = defined.definition.options
            if defined.definition.active:
                self._render(judged, defined.definition)
        return judged

    def _recalled(self, module: str, record: JobRecord, mark: str) -> _Judged:
        """A module that did not move, as it was accepted last."""
        assert record.definition is not None
        assert record.applied is not None
        judged = _Judged(module, record, mark, fresh=False, options=_options(record))
        if record.definition.get("open"):
            # Ids of other objects may have changed since: render them as references again.
            self._render(judged, ModuleDefinition.from_json(record.definition))
            return judged
        permissions = record.applied.get("permissions")
        judged.desired = DesiredJob(
            module_name=module,
            settings=record.applied["settings"],
            queries=(),
            permissions=None if permissions is None else tuple(permissions),
            definition=record.definition,
            options=judged.options,
            spec_hash=record.spec_hash,
        )
        return judged

    def _render(self, judged: _Judged, definition: ModuleDefinition) -> None:
        try:
            desired = render(definition, control_table=self._control_table, settings=self._settings)
        except MetadataError as error:
            judged.problems = error.problems
            return
        is_open = bool(desired.queries or desired.requires)
        judged.desired = replace(desired, definition={**desired.definition, "open": is_open})

    def _cross_check(self, judged: Mapping[str, _Judged]) -> None:
        """Problems between modules; looked for only when something that moved refers to another module."""
        if not any(one.fresh and one.desired is not None and one.desired.requires for one in judged.values()):
            return
        definitions = {
            name: ModuleDefinition.from_json(record.definition)
            for name, record in self._records.items()
            if record.status == "active" and record.definition and name in self._rows
        }
        definitions.update(
            {name: one.definition for name, one in judged.items() if one.definition is not None}
        )
        for problem in cross_check(definitions, known=self._rows, table=str(self._control_table)):
            one = judged.get(problem.module)
            if one is not None and one.fresh:
                one.problems = (*one.problems, problem)
                one.desired = None

    # ------------------------------------------------------------ workspace

    def _look_for_jobs(self, looked_at: Iterable[_Judged], everything: bool) -> tuple[dict[str, Seen], Owned]:
        sought = {}
        for one in looked_at:
            record = one.record
            names = {str(one.desired.settings["name"])} if one.desired is not None else set()
            if record is not None and record.job_name:
                names.add(record.job_name)
            job_id = record.job_id if record is not None else None
            if job_id is not None or (names and not one.problems):
                sought[one.module] = Sought(job_id, tuple(sorted(names)))
        return observe_jobs(
            self._workspace,
            self._control_table,
            sought,
            everything=everything,
            parallel=self._settings["parallel_calls"],
        )

    def _states(
        self, looked_at: Sequence[_Judged], seen: Mapping[str, Seen], compare: bool
    ) -> dict[str, ModuleState]:
        parallel = self._settings["parallel_calls"]
        recorded = self._query_records(looked_at, seen)
        queries = None
        if compare:
            queries = observe_queries(
                self._workspace, [row for rows in recorded.values() for row in rows], parallel
            )
        managed = [
            one
            for one in looked_at
            if compare and one.desired is not None and one.desired.permissions is not None
        ]
        jobs = {one.module: seen[one.module].job for one in managed if one.module in seen}
        job_permissions = observe_permissions(
            self._workspace, "jobs", [str(job.job_id) for job in jobs.values() if job is not None], parallel
        )
        query_ids = [
            row.query_id
            for one in managed
            for row in recorded.get(one.module, ())
            if row.query_id in (queries or {})
        ]
        query_permissions = observe_permissions(self._workspace, "queries", query_ids, parallel)
        job_ids = {name: record.job_id for name, record in self._records.items() if record.job_id is not None}
        for module, found in seen.items():
            if found.job is not None:
                job_ids[module] = found.job.job_id
            else:
                job_ids.pop(module, None)  # about to be made anew: references to it stay open
        states = {}
        for one in looked_at:
            found = seen.get(one.module, Seen())
            states[one.module] = ModuleState(
                module=one.module,
                desired=one.desired,
                problems=one.problems or self._out_of_reach(one, found),
                options=one.options,
                record=one.record,
                actual=found.job,
                duplicates=found.duplicates,
                permissions=job_permissions.get(str(found.job.job_id)) if found.job is not None else None,
                query_records=tuple(recorded.get(one.module, ())),
                queries=queries,
                query_permissions=query_permissions,
                job_ids=job_ids,
                rows_hash=one.rows_hash,
                context_hash=self._context,
                abandoned=self._is_abandoned(one.record),
            )
        return states

    def _out_of_reach(self, one: _Judged, found: Seen) -> tuple[Problem, ...]:
        """Why the job that is recorded is not ours to touch, if so."""
        if found.stripped is not None:
            message = (
                f"job {found.stripped} lost its tags {TABLE_TAG} (tags.{TABLE_TAG}: absent) in the workspace, so it is "
                "not touched: put both tags back, or delete the job to have it made anew"
            )
        elif found.hidden and one.record is not None:
            records = self._control_table.companion("jobs")
            message = (
                f"{found.hidden} Nothing is done, lest there be two: give us CAN_MANAGE on it, or, if job "
                f"{one.record.job_id} was deleted, remove its row from {records} to have it made anew"
            )
        else:
            return ()
        return (Problem(message, Place(str(self._control_table), key=one.module), module=one.module),)

    def _query_records(
        self, looked_at: Sequence[_Judged], seen: Mapping[str, Seen]
    ) -> Mapping[str, Sequence[QueryRecord]]:
        """Rows of `_queries` by module; a query whose row was lost is found by its tags."""
        doubtful = {one.module for one in looked_at if self._is_doubtful(one, seen)}
        wanting = [
            one
            for one in looked_at
            if (one.desired is not None and one.desired.queries)
            or _had_queries(one.record)
            or one.module in doubtful
        ]
        found: dict[str, list[QueryRecord]] = {}
        if not wanting:
            return found
        for row in self._queries.all([one.module for one in wanting]):
            found.setdefault(row.module_name, []).append(row)
        wanted = {
            one.module: [query.source_id for query in one.desired.queries] if one.desired else []
            for one in wanting
        }
        lost = {
            one.module: wanted[one.module]
            for one in wanting
            if one.module in doubtful
            or (one.record is not None and set(wanted[one.module]) - _made(found.get(one.module, ())))
        }
        if lost:
            found |= recovered(self._control_table, self._workspace.queries.list(), found, lost)
        return found

    def _is_doubtful(self, one: _Judged, seen: Mapping[str, Seen]) -> bool:
        """Whether there may be queries that no record tells of: a writer died, or the records were lost."""
        if one.record is None:
            return one.module in seen and seen[one.module].job is not None
        return bool(one.record.claim)

    def _is_abandoned(self, record: JobRecord | None) -> bool:
        return bool(
            record is not None
            and record.claim
            and (record.claimed_until is None or record.claimed_until < self._now)
        )

    def _unclaimed(self, owned: Owned) -> list[str]:
        """Jobs with this table's tag whose module neither rows nor records know."""
        tags = {module_tag(module) for module in {*self._rows, *self._records}}
        return [
            f"job {job.job_id} ({job.settings.get('name')}) carries this control table's tags, but no module claims it: "
            "left alone; put its rows back, or delete the job"
            for tag, jobs in sorted(owned.by_module.items())
            if tag not in tags
            for job in jobs.values()
        ]


def _unmoved(one: _Judged) -> Action:
    record = one.record
    assert record is not None
    reasons = ("retired",) if record.status in ("retired", "deleted") else ()
    return Action(one.module, "unchanged", reasons=reasons, job_id=record.job_id, job_name=record.job_name)


def _options(record: JobRecord | None) -> Mapping[str, Any]:
    options: Mapping[str, Any] = (record.definition or {}).get("options") or {} if record is not None else {}
    return options


def _had_queries(record: JobRecord | None) -> bool:
    return bool(record is not None and record.definition and record.definition.get("open"))


def _made(rows: Iterable[QueryRecord]) -> set[str]:
    return {row.source_id for row in rows if row.query_id}
