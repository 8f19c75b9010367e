"""A run of policies: every one is checked and evaluated by itself, all are recorded, and only then the run fails."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

from lakeflow_job_meta.errors import PolicyError, TablesError, TablesUnavailable
from lakeflow_job_meta.names import TableName, canonical_json, digest
from lakeflow_job_meta.policies import tables as definitions
from lakeflow_job_meta.policies.definition import Broken, Policy
from lakeflow_job_meta.policies.inputs import Inputs
from lakeflow_job_meta.policies.results import ERROR, FAIL, PASS, WARN, Outcome, Results
from lakeflow_job_meta.policies.statement import check
from lakeflow_job_meta.policies.violations import Found, Violations
from lakeflow_job_meta.ports import Tables

JsonObject = dict[str, Any]
#: Violating rows of one policy that are kept, unless another number is given.
MAX_ROWS = 200_000


@dataclass(frozen=True)
class Places:
    """The tables that a run writes."""

    results: TableName
    violations: TableName

    @classmethod
    def beside(
        cls, table: TableName, results: TableName | None = None, violations: TableName | None = None
    ) -> Places:
        """Those in the schema of a table, unless they are named."""
        return cls(
            results or TableName(table.catalog, table.schema, definitions.RESULTS),
            violations or TableName(table.catalog, table.schema, definitions.VIOLATIONS),
        )

    def ensure(self, tables: Tables) -> None:
        """Make the tables. Raises TableMismatch when another table has the name of one of ours."""
        definitions.ensure(tables, definitions.violations(self.violations))
        definitions.ensure(tables, definitions.results(self.results))


def evaluate(
    policies: Iterable[Policy | Broken],
    tables: Tables,
    inputs: Inputs,
    *,
    clock: Callable[[], datetime],
    timer: Callable[[], float] = time.monotonic,
    max_rows: int = MAX_ROWS,
    tell: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """What comes of each policy; one that is wrong is ERROR, and the others go on.

    Args:
        timer: seconds that only grow.
        max_rows: violating rows of one policy that are kept; all are counted.
        tell: is told of each as it is done.

    Raises:
        TablesUnavailable: the SQL engine is gone.
    """
    outcomes = []
    for policy in policies:
        outcome = _evaluate(policy, tables, inputs, clock=clock, timer=timer, max_rows=max_rows)
        if tell is not None:
            tell(outcome)
        outcomes.append(outcome)
    return outcomes


def record(
    run_id: str,
    outcomes: Sequence[Outcome],
    tables: Tables,
    places: Places,
    inputs: Inputs,
    *,
    clock: Callable[[], datetime],
) -> list[Outcome]:
    """Write the outcomes; returns them with what is new and resolved.

    Right when runs overlap, see `violations`. The tables are there, see `Places.ensure`.

    Raises:
        CommitConflict: other writers won again and again.
    """
    checked = str(inputs.table or "")
    violations, results = Violations(tables, places.violations), Results(tables, places.results)
    violations.record(
        run_id, [Found(one.policy, checked, one.severity, one.evaluated_at, one.rows) for one in outcomes]
    )
    results.append(run_id, checked, outcomes, clock())
    complete = [(one.policy, checked) for one in outcomes if one.complete]
    others = violations.settle(places.results, complete) if complete else set()
    counts = violations.counts({run_id} | others)
    results.count(counts)
    return [
        one if one.violations is None else replace(one, new=pair[0], resolved=pair[1])
        for one in outcomes
        for pair in [counts.get((run_id, one.policy, checked), (0, 0))]
    ]


def _evaluate(
    policy: Policy | Broken,
    tables: Tables,
    inputs: Inputs,
    *,
    clock: Callable[[], datetime],
    timer: Callable[[], float],
    max_rows: int,
) -> Outcome:
    outcome = Outcome(
        policy.name, ERROR, policy.severity, policy.max_violations, policy.on_violation, evaluated_at=clock()
    )
    if isinstance(policy, Broken):
        return replace(outcome, error=policy.error)
    outcome = replace(outcome, sql_sha256=digest(policy.sql))
    started = timer()
    try:
        statement = check(policy.sql, policy.parameters, policy.origin or policy.name)
        used = {name: policy.parameters[name] for name in statement.parameters}
        outcome = replace(outcome, parameters=dict(used))
        rows = tables.query(inputs.query(statement, max_rows + 1), used or None)
        number, complete = len(rows), len(rows) <= max_rows
        note = ""
        if not complete:
            [counted] = tables.query(inputs.query(statement, count=True), used or None)
            number = int(counted["violations"])
            note = (
                f"{number} violations, of which {max_rows} rows are kept; what is resolved is not told; "
                "narrow the policy, or raise max_rows"
            )
        kept = _by_key(rows[:max_rows], policy)
    except TablesUnavailable:
        raise
    except (PolicyError, TablesError) as e:
        return replace(outcome, error=str(e), seconds=timer() - started)
    status = PASS if number <= policy.max_violations else FAIL if policy.on_violation == "fail" else WARN
    return replace(
        outcome,
        status=status,
        violations=number,
        rows=kept,
        complete=complete,
        error=note,
        seconds=timer() - started,
    )


def _by_key(rows: Sequence[Mapping[str, Any]], policy: Policy) -> dict[str, str]:
    """The rows as JSON text by their violation key; a key that comes again is counted on.

    Raises:
        PolicyError: a key column is not among the columns.
    """
    found: dict[str, str] = {}
    times: dict[str, int] = {}
    if rows:
        missing = [column for column in policy.key if column not in rows[0]]
        if missing:
            raise PolicyError(
                f"{policy.origin or policy.name}: key names the column {missing[0]!r}, which the SELECT does not "
                f"return; it returns {', '.join(rows[0])}"
            )
    for row in rows:
        values = {name: as_json(value) for name, value in row.items()}
        named = {name: values[name] for name in policy.key} if policy.key else values
        key = digest(canonical_json(named), 32)
        times[key] = times.get(key, 0) + 1
        if times[key] > 1:
            key = digest(f"{key} {times[key]}", 32)
        found[key] = json.dumps(values, ensure_ascii=False)
    return found


def as_json(value: Any) -> Any:
    """A value of a row as JSON has it: instants as RFC 3339 in UTC, structs as objects, bytes as hex."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return aware.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return str(value)
    as_dict = getattr(value, "asDict", None)  # a struct of Spark
    if as_dict is not None:
        value = as_dict()
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(one) for one in value]
    return str(value)
