"""The task `sql_policy` as it is started: by a job, from the accepted definition, or by hand, from flags."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.errors import PolicyRunFailed, TaskError
from lakeflow_job_meta.policies import export, settings, views
from lakeflow_job_meta.policies.inputs import prepare
from lakeflow_job_meta.policies.results import Outcome
from lakeflow_job_meta.policies.run import Places, evaluate, record
from lakeflow_job_meta.policies.settings import PolicySettings
from lakeflow_job_meta.ports import Tables, Volumes

if TYPE_CHECKING:
    from lakeflow_job_meta.task_context import TaskContext

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class PolicySession:
    """What a run of policies works with.

    Args:
        tables: SQL on the task's Spark or on a SQL warehouse.
        log: writes one line for people.
    """

    settings: PolicySettings
    tables: Tables
    volumes: Volumes
    run_id: str
    clock: Callable[[], datetime]
    log: Callable[..., None]


def run_policy(context: TaskContext) -> JsonObject:
    """The runner of `sql_policy`.

    Raises:
        PolicyRunFailed: a policy failed or had an error; all are recorded.
        UsageError, TablesError: nothing was evaluated.
    """
    return perform(session_of(context))


def session_of(context: TaskContext) -> PolicySession:
    """What the task works with: its settings from the source's configs, parameters of the run over them."""
    source = context.source
    given: JsonObject = {}
    for place in (source.source_config, source.target_config, context.settings):
        given |= {name: value for name, value in place.items() if name in settings.KEYS}
    chosen = replace(settings.read(given), further=context.parameters)
    return PolicySession(
        chosen,
        tables_of(context, chosen.warehouse_id),
        context.volumes,
        context.run_id or new_run_id(),
        context.clock,
        context.log,
    )


def tables_of(context: TaskContext, warehouse_id: str) -> Tables:
    """SQL on the warehouse that is named, else on the task's Spark."""
    if not warehouse_id:
        return context.tables
    if context.warehouse is None:
        raise TaskError("warehouse_id is given, and there is no workspace to reach a SQL warehouse through")
    return context.warehouse(warehouse_id)


def new_run_id() -> str:
    """A name for a run that has none from a job."""
    return f"hand-{uuid.uuid4().hex[:16]}"


def perform(session: PolicySession) -> JsonObject:
    """Evaluate the policies, record and export what came of them.

    Returns:
        `{"policies": [...], "run_id", "table", "results_table", "violations_table"}`.

    Raises:
        PolicyRunFailed: a policy failed or had an error, after all was recorded; carries the summary.
        UsageError, PolicyError, TablesError, VolumeError: before anything was evaluated, or while recording.
    """
    chosen = session.settings
    policies = settings.load(chosen, session.volumes)
    places = Places.beside(chosen.beside, chosen.results, chosen.violations)
    inputs = prepare(session.tables, chosen.table, ledger=chosen.ledger, more=chosen.tables)

    places.ensure(session.tables)
    run_id = _unused(session, places, str(inputs.table or ""), [policy.name for policy in policies])

    def tell(outcome: Outcome) -> None:
        session.log(
            "policy", **{name: value for name, value in outcome.as_json().items() if value is not None}
        )

    outcomes = evaluate(
        policies, session.tables, inputs, clock=session.clock, max_rows=chosen.max_rows, tell=tell
    )
    outcomes = record(run_id, outcomes, session.tables, places, inputs, clock=session.clock)
    summary: JsonObject = {
        "policies": [outcome.as_json() for outcome in outcomes],
        "run_id": run_id,
        "table": str(inputs.table or ""),
        "results_table": str(places.results),
        "violations_table": str(places.violations),
    }
    if chosen.export_path:
        summary["exported"] = export.write(
            session.volumes, f"{chosen.export_path}/{run_id}", run_id, outcomes
        )
    if chosen.views:
        views.create(session.tables, places)
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        raise PolicyRunFailed("; ".join(map(_what_failed, failed)), summary)
    return summary


def _unused(session: PolicySession, places: Places, table: str, policies: list[str]) -> str:
    """The run's id; with a number behind it when the run was here before: a job's run that is repaired keeps its id."""
    rows = session.tables.query(
        f"SELECT DISTINCT run_id, policy FROM {places.results.quoted} "
        "WHERE (run_id = :run_id OR startswith(run_id, :prefix)) AND table_name = :table_name",
        {"run_id": session.run_id, "prefix": f"{session.run_id}-", "table_name": table},
    )
    taken = {row["run_id"] for row in rows if row["policy"] in policies}
    number, run_id = 1, session.run_id
    while run_id in taken:
        number += 1
        run_id = f"{session.run_id}-{number}"
    return run_id


def _what_failed(outcome: Outcome) -> str:
    if outcome.violations is None:
        return f"policy {outcome.policy}: {outcome.error}"
    number = "1 violation" if outcome.violations == 1 else f"{outcome.violations} violations"
    return f"policy {outcome.policy}: {number}, allowed are {outcome.threshold}"
