"""`policy_violations` as a typed store: what is new, still there, and resolved, whatever runs overlap.

A violation is open when the newest complete run of its policy found it. Every write keeps to that order: a row is
touched only by a run that looked later than what the row knows, and `settle` closes what the newest run did not
find, whichever run writes last. So two runs that overlap end in the state that one after the other would have left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies.tables import violations
from lakeflow_job_meta.ports import Tables

JsonObject = dict[str, Any]
_KEYS = ("policy", "table_name", "violation_key")


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation.

    Args:
        policy: the policy's name.
        key: hash of the policy's key columns; the same over runs.
        row: the violating row as it was last found, by column name.
        table: the table that was checked; empty when the SQL names its own.
        first_seen, last_seen: aware, in UTC.
        resolved_at: None while it is open.
    """

    policy: str
    key: str
    row: JsonObject
    first_seen: datetime
    last_seen: datetime
    severity: str = ""
    table: str = ""
    resolved_at: datetime | None = None
    first_run: str = ""
    last_run: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What one run found for one policy: rows as JSON text, by key.

    Args:
        seen_at: just before the policy's SELECT began.
    """

    policy: str
    table: str
    severity: str
    seen_at: datetime
    rows: Mapping[str, str]


class Violations:
    """The table of violations.

    Args:
        name: the table; it is there (see `tables.ensure`).
    """

    def __init__(self, tables: Tables, name: TableName) -> None:
        self._tables = tables
        self.name = name
        self._definition = violations(name)

    def open(self, policy: str, table: str | None = None) -> Iterator[Violation]:
        """The open violations of a policy, ordered by key.

        Args:
            table: only those of this checked table (its full name); None: of every one.

        Raises:
            TableNotFound: no policy was run yet.
        """
        where, values = "policy = :policy AND resolved_at IS NULL", {"policy": policy}
        if table is not None:
            where, values = f"{where} AND table_name = :table_name", {**values, "table_name": table}
        rows = self._tables.query(
            f"SELECT * FROM {self.name.quoted} WHERE {where} ORDER BY table_name, violation_key", values
        )
        for row in rows:
            yield Violation(
                policy=row["policy"],
                key=row["violation_key"],
                row=json.loads(row["row"]),
                first_seen=row["first_seen"],
                last_seen=row["last_seen"],
                severity=row["severity"] or "",
                table=row["table_name"] or "",
                resolved_at=row["resolved_at"],
                first_run=row["first_run"] or "",
                last_run=row["last_run"] or "",
            )

    def record(self, run_id: str, found: Iterable[Found]) -> None:
        """Write what a run found. Rows that a later run has touched already stay as they are.

        Raises:
            CommitConflict: other writers won again and again.
        """
        rows: list[JsonObject] = [
            {
                "policy": one.policy,
                "table_name": one.table,
                "violation_key": key,
                "row": row,
                "severity": one.severity,
                "first_seen": one.seen_at,
                "last_seen": one.seen_at,
                "resolved_at": None,
                "first_run": run_id,
                "last_run": run_id,
                "resolved_run": None,
            }
            for one in found
            for key, row in one.rows.items()
        ]
        if not rows:
            return
        returned = self._resolved({(one["policy"], one["table_name"]) for one in rows})
        again = [row for row in rows if tuple(row[name] for name in _KEYS) in returned]
        if again:
            # What came back after it was resolved is new again.
            commit(
                lambda: self._tables.merge(
                    self._definition,
                    again,
                    keys=_KEYS,
                    matched_when="t.resolved_at IS NOT NULL AND s.last_seen > t.resolved_at",
                    insert=False,
                )
            )
        commit(
            lambda: self._tables.merge(
                self._definition,
                rows,
                keys=_KEYS,
                update=("row", "severity", "last_seen", "last_run"),
                matched_when="t.resolved_at IS NULL AND s.last_seen > t.last_seen",
            )
        )

    def settle(self, results: TableName, policies: Sequence[tuple[str, str]]) -> set[str]:
        """Resolve what the newest complete run of each policy did not find; returns the runs that resolved something.

        Args:
            results: the table of results, in which the runs are recorded already.
            policies: (policy, checked table) pairs.
        """
        stale = [
            {
                "policy": row["policy"],
                "table_name": row["table_name"],
                "violation_key": row["violation_key"],
                "resolved_at": row["evaluated_at"],
                "resolved_run": row["run_id"],
            }
            for row in self._stale(results, policies)
        ]
        if stale:
            commit(
                lambda: self._tables.merge(
                    self._definition,
                    stale,
                    keys=_KEYS,
                    matched_when="t.resolved_at IS NULL AND t.last_seen < s.resolved_at",
                    insert=False,
                )
            )
        return {str(row["resolved_run"]) for row in stale}

    def counts(self, runs: Iterable[str]) -> dict[tuple[str, str, str], tuple[int, int]]:
        """(new, resolved) by (run, policy, checked table), as far as there are any."""
        wanted = sorted(set(runs))
        names = {f"run_{number}": run for number, run in enumerate(wanted)}
        one_of = ", ".join(f":{name}" for name in names)
        found: dict[tuple[str, str, str], tuple[int, int]] = {}
        for column, place in (("first_run", 0), ("resolved_run", 1)):
            rows = self._tables.query(
                f"SELECT {column} AS run, policy, table_name, count(*) AS number FROM {self.name.quoted} "
                f"WHERE {column} IN ({one_of}) GROUP BY {column}, policy, table_name",
                names,
            )
            for row in rows:
                key = (row["run"], row["policy"], row["table_name"])
                pair = list(found.get(key, (0, 0)))
                pair[place] = int(row["number"])
                found[key] = (pair[0], pair[1])
        return found

    def _resolved(self, policies: Iterable[tuple[str, str]]) -> set[tuple[Any, ...]]:
        """Keys of the resolved violations of some policies."""
        where, values = _one_of(policies, "")
        rows = self._tables.query(
            f"SELECT policy, table_name, violation_key FROM {self.name.quoted} "
            f"WHERE resolved_at IS NOT NULL AND ({where})",
            values,
        )
        return {tuple(row[name] for name in _KEYS) for row in rows}

    def _stale(self, results: TableName, policies: Sequence[tuple[str, str]]) -> list[JsonObject]:
        where, values = _one_of(policies, "r.")
        return self._tables.query(
            "SELECT v.policy, v.table_name, v.violation_key, n.evaluated_at, n.run_id "
            f"FROM {self.name.quoted} AS v JOIN ("
            "SELECT r.policy, r.table_name, max(r.evaluated_at) AS evaluated_at, "
            "max_by(r.run_id, r.evaluated_at) AS run_id "
            f"FROM {results.quoted} AS r WHERE r.is_complete AND ({where}) GROUP BY r.policy, r.table_name"
            ") AS n ON v.policy = n.policy AND v.table_name = n.table_name "
            "WHERE v.resolved_at IS NULL AND v.last_seen < n.evaluated_at",
            values,
        )


def _one_of(policies: Iterable[tuple[str, str]], prefix: str) -> tuple[str, dict[str, str]]:
    """A condition that is met by any of the (policy, table) pairs, and its parameters."""
    conditions: list[str] = []
    values: dict[str, str] = {}
    for number, (policy, table) in enumerate(policies):
        conditions.append(f"({prefix}policy = :policy_{number} AND {prefix}table_name = :table_{number})")
        values |= {f"policy_{number}": policy, f"table_{number}": table}
    return " OR ".join(conditions) or "false", values
