"""`policy_results` as a typed store: one row for each policy and run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.names import TableName, canonical_json
from lakeflow_job_meta.policies.tables import results
from lakeflow_job_meta.ports import Tables

JsonObject = dict[str, Any]
PASS, FAIL, WARN, ERROR = "PASS", "FAIL", "WARN", "ERROR"


@dataclass(frozen=True)
class Outcome:
    """What came of one policy in one run.

    Args:
        status: PASS, FAIL, WARN or ERROR.
        violations: rows that its SELECT returned; None on ERROR.
        rows: the violating rows as JSON text, by violation key.
        threshold: its max_violations.
        seconds: that the SELECT took.
        evaluated_at: just before the SELECT began.
        complete: whether `rows` has every violation.
        error: why it is ERROR, or what else is to be said.
        new, resolved: known once it is recorded.
    """

    policy: str
    status: str
    severity: str
    threshold: int
    on_violation: str
    evaluated_at: datetime
    violations: int | None = None
    rows: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    sql_sha256: str = ""
    parameters: JsonObject = field(default_factory=dict)
    complete: bool = False
    new: int | None = None
    resolved: int | None = None

    @property
    def failed(self) -> bool:
        """Whether the run fails because of it."""
        return self.status in {FAIL, ERROR}

    def as_json(self) -> JsonObject:
        """As `policy run --format json` and the task's summary have it."""
        return {
            "name": self.policy,
            "status": self.status,
            "violations": self.violations,
            "new": self.new,
            "resolved": self.resolved,
            "threshold": self.threshold,
            "seconds": round(self.seconds, 3),
            "error": self.error or None,
        }


class Results:
    """The table of results.

    Args:
        name: the table; it is there (see `tables.ensure`).
    """

    def __init__(self, tables: Tables, name: TableName) -> None:
        self._tables = tables
        self.name = name
        self._definition = results(name)

    def append(self, run_id: str, table: str, outcomes: Iterable[Outcome], recorded_at: datetime) -> None:
        """Write the outcomes of a run; new and resolved are set afterwards."""
        rows = [
            {
                "run_id": run_id,
                "policy": one.policy,
                "table_name": table,
                "severity": one.severity,
                "status": one.status,
                "violations": one.violations,
                "new": None if one.violations is None else 0,
                "resolved": None if one.violations is None else 0,
                "threshold": one.threshold,
                "on_violation": one.on_violation,
                "seconds": one.seconds,
                "error": one.error or None,
                "sql_sha256": one.sql_sha256 or None,
                "parameters": canonical_json(one.parameters),
                "evaluated_at": one.evaluated_at,
                "recorded_at": recorded_at,
                "is_complete": one.complete,
            }
            for one in outcomes
        ]
        commit(lambda: self._tables.append(self._definition, rows))

    def count(self, counts: dict[tuple[str, str, str], tuple[int, int]]) -> None:
        """Set new and resolved, by (run, policy, checked table)."""
        rows = [
            {"run_id": run, "policy": policy, "table_name": table, "new": new, "resolved": resolved}
            for (run, policy, table), (new, resolved) in counts.items()
        ]
        keys = ("run_id", "policy", "table_name")
        # Counts of a run only grow: an overlapping run that counted before does not take them back.
        grows = "s.`new` >= t.`new` AND s.`resolved` >= t.`resolved`"
        if rows:
            commit(
                lambda: self._tables.merge(
                    self._definition, rows, keys=keys, matched_when=grows, insert=False
                )
            )

    def latest(self, policies: Sequence[str] = (), table: str | None = None) -> list[JsonObject]:
        """The newest row of each policy and checked table, by policy.

        Raises:
            TableNotFound: no policy was run yet.
        """
        rows = self._tables.query(
            f"SELECT * FROM {self.name.quoted} AS r WHERE r.evaluated_at = (SELECT max(l.evaluated_at) "
            f"FROM {self.name.quoted} AS l WHERE l.policy = r.policy AND l.table_name = r.table_name) "
            "ORDER BY r.policy, r.table_name"
        )
        return [
            row
            for row in rows
            if (not policies or row["policy"] in policies) and table in (None, row["table_name"])
        ]
