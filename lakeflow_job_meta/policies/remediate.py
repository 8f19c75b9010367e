"""`remediate`: from a policy's open violations to a plan, and from the plan to files that are where they belong.

A dry run writes the plan and touches nothing; `execution` does what a plan says.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.errors import PolicyRunFailed, TableNotFound, TaskError, UsageError
from lakeflow_job_meta.names import TableName, quote_identifier
from lakeflow_job_meta.policies import plan, share_script, tables
from lakeflow_job_meta.policies.execution import Execution
from lakeflow_job_meta.policies.plan import HELD, KEEPER, PLANNED, REFUSED, Item
from lakeflow_job_meta.policies.remediation_lock import RemediationLock
from lakeflow_job_meta.policies.remediation_records import (
    BEGIN,
    DONE,
    FAILED,
    READY,
    RUN_EXECUTE,
    RUN_EXECUTED,
    RUN_UNDO,
    SKIPPED,
    RemediationRecords,
    RunRecord,
)
from lakeflow_job_meta.policies.remediation_settings import KEYS, Rules, flag
from lakeflow_job_meta.policies.survey import Holds, survey, with_holds
from lakeflow_job_meta.policies.tasks import tables_of
from lakeflow_job_meta.policies.violations import Violation, Violations
from lakeflow_job_meta.ports import Tables, Volumes

if TYPE_CHECKING:
    from lakeflow_job_meta.task_context import TaskContext

JsonObject = dict[str, Any]
#: Files between two commits of the log.
BATCH = 100
#: Files that a summary names one by one.
SHOWN = 100


def _quiet(event: str, **facts: Any) -> None:
    """No log."""


@dataclass
class RemediationSession:
    """What a remediation works with.

    Args:
        clock: now, as an aware datetime.
        log: writes one line (`log("removed", path=...)`).
        violations: the table of violations; None: policy_violations beside the checked table.
        workers: files at a time.
    """

    tables: Tables
    volumes: Volumes
    clock: Callable[[], datetime]
    log: Callable[..., None] = _quiet
    violations: TableName | None = None
    workers: int = 8

    def records(self, schema: tuple[str, str]) -> RemediationRecords:
        """Plan and log of a schema."""
        return RemediationRecords(self.tables, schema, self.clock)


def remediate(
    session: RemediationSession, rules: Rules, *, execute: bool = False, plan_run: str = ""
) -> JsonObject:
    """Plan what becomes of a policy's open violations, and do it when told so.

    Args:
        execute: False: write the plan only. True: take up the run that died of the same rules, else plan anew.
        plan_run: execute the plan of this run.

    Returns:
        `run`, `planned`, `done`, `skipped`, `errors` (files each), and more: `kept`, `held`, `resumed`, `files`, ...

    Raises:
        UsageError: the rules cannot be followed, as when the target is inside the source.
        TaskError: there are no violations to read, a run of other rules is not finished, or another process is at it.
        TablesError: tables cannot be read or written; what was done is logged, and taken up by the next run.
    """
    schema = (rules.table.catalog, rules.table.schema)
    records = session.records(schema)
    if plan_run:
        run = records.run(plan_run)
        if run is None:
            raise UsageError(
                f"there is no plan {plan_run!r} in {records.plan.name}: correct the name of the run"
            )
        if run.rules.policy != rules.policy:
            raise UsageError(f"plan {plan_run} is of policy {run.rules.policy!r}, not {rules.policy!r}")
        _check_same(run, rules)
        return _execute(session, records, run, resumed=run.is_unfinished)
    if execute:
        runs = records.runs(rules.policy)
        unfinished = [run for run in runs if run.is_unfinished and run.rules.table == rules.table]
        for run in unfinished:
            if run.rules == rules:
                return _execute(session, records, run, resumed=True)
        if unfinished:
            raise TaskError(
                f"run {unfinished[0].run_id} of this policy, with other rules, was not finished: finish it with "
                f"--plan {unfinished[0].run_id}, or undo it with `policy undo {unfinished[0].run_id}`"
            )
    run = _plan(session, records, rules)
    if execute:
        return _execute(session, records, run, resumed=False)
    return _summary(records, run, executed=False)


def _check_same(run: RunRecord, rules: Rules) -> None:
    """That a plan is of the rules that were given with it. Raises UsageError."""
    for name in ("table", "action", "keeper", "target"):
        planned, given = getattr(run.rules, name), getattr(rules, name)
        if given and given != planned:
            raise UsageError(
                f"plan {run.run_id} has {name} {planned or 'none'}, not {given}: give the same, or plan anew"
            )


def new_run(schema: tuple[str, str], clock: Callable[[], datetime]) -> str:
    """A name for a run; it says which schema's tables it is in: `catalog.schema.20260131-235959-1a2b3c4d`."""
    catalog, name = schema
    return f"{catalog}.{name}.{clock():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"


def schema_of(run_id: str) -> tuple[str, str]:
    """The schema that a run's name says. Raises UsageError."""
    head, _, tail = run_id.rpartition(".")
    try:
        catalog, _, name = head.partition(".")
        table = TableName.parse(f"{quote_identifier(catalog)}.{quote_identifier(name)}.{tail}")
    except UsageError:
        raise UsageError(
            f"{run_id!r} is no run of a remediation: those are called catalog.schema.20260131-235959-1a2b3c4d"
        ) from None
    return (table.catalog, table.schema)


# ---------------------------------------------------------------- planning


def _plan(session: RemediationSession, records: RemediationRecords, rules: Rules) -> RunRecord:
    found = _violations(session, rules)
    run_id = new_run((rules.table.catalog, rules.table.schema), session.clock)
    candidates = plan.read(found, rules)
    ours, stubs = records.own_places()
    plan.check_target(candidates, rules, ours)
    records.ensure()
    candidates = with_holds(survey(candidates, session.volumes), Holds(session.tables, rules))
    items = plan.decide(
        candidates,
        rules,
        run_id,
        ours=ours,
        stubs=stubs,
        is_taken=lambda path: session.volumes.inspect(path) is not None,
    )
    records.save_plan(run_id, rules, items)
    session.log("planned", run=run_id, **Counter(item.state for item in items))
    run = records.run(run_id)
    assert run is not None
    return run


def _violations(session: RemediationSession, rules: Rules) -> list[Violation]:
    """The open violations, of the table, else of a policy whose SQL names its own."""
    name = session.violations or TableName(rules.table.catalog, rules.table.schema, tables.VIOLATIONS)
    known = Violations(session.tables, name)
    try:
        found = list(known.open(rules.policy, str(rules.table))) or list(known.open(rules.policy, ""))
        if not found and not _was_run(session.tables, rules, name):
            raise TaskError(
                f"policy {rules.policy!r} was not run over {rules.table} yet: correct its name, or run it first "
                f"(`policy run {rules.policy} --table {rules.table}`)"
            )
    except TableNotFound as error:
        raise TaskError(
            f"there is no table {name}: run the policy first (`policy run {rules.policy} --table {rules.table}`)"
        ) from error
    return found


def _was_run(sql: Tables, rules: Rules, violations: TableName) -> bool:
    results = TableName(violations.catalog, violations.schema, tables.RESULTS)
    for place in (violations, results):
        try:
            if sql.query(
                f"SELECT policy FROM {place.quoted} WHERE policy = :policy LIMIT 1", {"policy": rules.policy}
            ):
                return True
        except TableNotFound:
            continue
    return False


# ---------------------------------------------------------------- executing


def _execute(
    session: RemediationSession, records: RemediationRecords, run: RunRecord, *, resumed: bool
) -> JsonObject:
    with RemediationLock(session.tables, records.lock, run.run_id, session.clock) as lock:
        now = records.run(run.run_id)
        if now is None or RUN_UNDO in now.steps:
            raise TaskError(f"run {run.run_id} was undone: plan anew")
        records.log_run(run.run_id, RUN_EXECUTE, run.rules, {"resumed": resumed})
        standing = {one.key: plan.is_held(one.row, run.rules) for one in _violations(session, run.rules)}
        execution = Execution(session, records, run, lock, Holds(session.tables, run.rules), standing)
        execution.go()
        summary = _summary(records, run, executed=True, resumed=resumed)
        counts = {name: summary[name] for name in ("planned", "done", "skipped", "errors")}
        records.log_run(run.run_id, RUN_EXECUTED, run.rules, counts)
    return summary


# ---------------------------------------------------------------- as a task


def run_remediate(context: TaskContext) -> JsonObject:
    """The runner of `remediate`.

    Raises:
        PolicyRunFailed: files were refused or failed, after all the others were seen to; carries the summary.
        UsageError, TaskError, TablesError: as `remediate`.
    """
    source = context.source
    given: JsonObject = {}
    for place in (source.source_config, source.target_config, context.settings, context.parameters):
        given |= {name: value for name, value in place.items() if name in KEYS}
    warehouse_id = str(given.get("warehouse_id") or "")
    return perform(
        RemediationSession(
            tables_of(context, warehouse_id), context.volumes, context.clock, context.log, _table(given)
        ),
        given,
    )


def perform(session: RemediationSession, given: Mapping[str, Any]) -> JsonObject:
    """What `given` says, keys as in `remediation_settings.KEYS`.

    Raises:
        PolicyRunFailed: files were refused or failed; carries the summary.
    """
    rules = Rules.of(given)
    summary = remediate(session, rules, execute=flag(given, "execute"), plan_run=str(given.get("plan") or ""))
    if given.get("script"):
        place = str(given["script"])
        records = session.records((rules.table.catalog, rules.table.schema))
        summary["script"] = share_script.write(session.volumes, place, records, summary["run"], rules)
    if summary["errors"]:
        first = next(iter(summary["reasons"]), None)
        why = f", the first: {first['path']}: {first['reason']}" if first else ""
        raise PolicyRunFailed(
            f"{summary['errors']} of the files of {rules.policy} were not remediated{why}", summary
        )
    return summary


def _table(given: Mapping[str, Any]) -> TableName | None:
    name = given.get("violations_table")
    return TableName.parse(str(name)) if name else None


# ---------------------------------------------------------------- what came of it


def _summary(
    records: RemediationRecords, run: RunRecord, *, executed: bool, resumed: bool = False
) -> JsonObject:
    counts: Counter[str] = Counter()
    states: Counter[str] = Counter()
    files: list[JsonObject] = []
    reasons: list[JsonObject] = []
    for entry in records.entries(run.run_id, planned_only=False):
        item = entry.item
        counts[item.state] += 1
        state, reason = item.state, item.reason
        if item.state == PLANNED and executed:
            state, reason = entry.state, entry.reason
            states[state] += 1
        if state in {REFUSED, FAILED, BEGIN, READY} and len(reasons) < SHOWN:
            reasons.append({"path": item.path or item.given_path, "state": state, "reason": reason})
        if len(files) < SHOWN:
            files.append(_shown(item, state, reason))
    skipped = counts[plan.SKIPPED] + counts[HELD]
    return {
        "run": run.run_id,
        "policy": run.rules.policy,
        "action": run.rules.action,
        "dry_run": not executed,
        "resumed": resumed,
        "planned": counts[PLANNED],
        "done": states[DONE],
        "skipped": skipped + states[SKIPPED],
        "errors": counts[REFUSED] + states[FAILED] + states[BEGIN] + states[READY],
        "kept": counts[KEEPER],
        "held": counts[HELD],
        "plan_table": str(records.plan.name),
        "log_table": str(records.log.name),
        "files": files,
        "reasons": reasons,
    }


def _shown(item: Item, state: str, reason: str) -> JsonObject:
    return {
        "path": item.path or item.given_path,
        "state": state,
        "reason": reason,
        "keeper": item.keeper,
        "target": item.target,
        "content_sha256": item.sha256,
        "size": item.size,
    }
