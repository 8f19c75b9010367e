"""Plans and the log of remediations as typed stores.

The state of a file follows from the steps that are logged for it, whatever their order: the one furthest on counts.
`ready` is written after a verified copy is in place and before the original is removed, so without it the original was
never touched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.errors import TableNotFound
from lakeflow_job_meta.names import TableName, canonical_json
from lakeflow_job_meta.policies import remediation_tables
from lakeflow_job_meta.policies.plan import PLANNED, Item, run_folder
from lakeflow_job_meta.policies.remediation_lock import this_process
from lakeflow_job_meta.policies.remediation_settings import Rules
from lakeflow_job_meta.policies.tables import ensure
from lakeflow_job_meta.ports import FileState, Tables

JsonObject = dict[str, Any]
#: Steps of a file. A failure is no state of its own: it is done again.
BEGIN, READY, DONE, SKIPPED, FAILED = "begin", "ready", "done", "skipped", "failed"
UNDO_BEGIN, UNDONE, UNDO_FAILED = "undo_begin", "undone", "undo_failed"
_RANK = {BEGIN: 1, FAILED: 1, READY: 2, SKIPPED: 3, DONE: 3, UNDO_BEGIN: 4, UNDO_FAILED: 4, UNDONE: 5}
#: Steps of a run.
RUN_PLANNED, RUN_EXECUTE, RUN_EXECUTED, RUN_UNDO, RUN_UNDO_DONE = (
    "planned",
    "execute",
    "executed",
    "undo",
    "undo_done",
)
#: Rows of one look into the tables.
PAGE = 2000


@dataclass(frozen=True)
class Entry:
    """What is known of one file of a plan.

    Args:
        state: the furthest step; empty when none was logged.
        ready: whether a verified copy was in place (or, where nothing is kept, everything was checked).
        removed: whether the log says that the original was removed.
        modified_ns, mode: of the original, from the step `ready`.
        stub: the stub that was left; empty for none.
        reason: of the last failure.
    """

    item: Item
    state: str = ""
    ready: bool = False
    removed: bool = False
    modified_ns: int = 0
    mode: int | None = None
    stub: str = ""
    reason: str = ""


@dataclass(frozen=True)
class RunRecord:
    """What is known of one run."""

    run_id: str
    rules: Rules
    planned_at: datetime
    steps: frozenset[str]

    @property
    def is_unfinished(self) -> bool:
        """Whether it was begun, and did not come to its end."""
        return RUN_EXECUTE in self.steps and not self.steps & {RUN_EXECUTED, RUN_UNDO}


class RemediationRecords:
    """The plan and the log of one schema.

    Args:
        schema: (catalog, schema) of the tables.
        clock: now, as an aware datetime.
    """

    def __init__(self, tables: Tables, schema: tuple[str, str], clock: Callable[[], datetime]) -> None:
        self.tables = tables
        self.plan = remediation_tables.plan(TableName(*schema, remediation_tables.PLAN))
        self.log = remediation_tables.log(TableName(*schema, remediation_tables.LOG))
        self.lock = TableName(*schema, remediation_tables.LOCK)
        self._clock = clock

    def ensure(self) -> None:
        """Make the tables, unless they are there. Raises TableMismatch."""
        ensure(self.tables, self.plan)
        ensure(self.tables, self.log)

    # ------------------------------------------------------------ runs

    def save_plan(self, run_id: str, rules: Rules, items: Sequence[Item]) -> None:
        """Write a plan; the run's first step is logged after it, so half a plan is none."""
        now = self._clock()
        rows = [
            {
                "run_id": run_id,
                "seq": item.seq,
                "policy": rules.policy,
                "table_name": str(rules.table),
                "path": item.path,
                "given_path": item.given_path,
                "violation_key": item.key,
                "state": item.state,
                "reason": item.reason or None,
                "action": item.action or None,
                "content_sha256": item.sha256 or None,
                "size": item.size,
                "modified_ns": item.modified_ns,
                "keeper": item.keeper or None,
                "target": item.target or None,
                "stub": item.stub or None,
                "root": item.root or None,
                "planned_at": now,
            }
            for item in items
        ]
        for start in range(0, len(rows), 10 * PAGE):
            part = rows[start : start + 10 * PAGE]
            commit(lambda part=part: self.tables.append(self.plan, part))  # type: ignore[misc]
        self.log_run(run_id, RUN_PLANNED, rules, rules.as_json())

    def log_run(self, run_id: str, step: str, rules: Rules, details: Mapping[str, Any]) -> None:
        """Log a step of a run."""
        row = {
            "run_id": run_id,
            "step": step,
            "at": self._clock(),
            "policy": rules.policy,
            "action": rules.action,
            "details": canonical_json(dict(details)),
            "owner": this_process(),
        }
        commit(lambda: self.tables.append(self.log, [row]))

    def run(self, run_id: str) -> RunRecord | None:
        """The run, None when there is none of that name."""
        return next(iter(self._runs("run_id = :run_id", {"run_id": run_id})), None)

    def runs(self, policy: str) -> list[RunRecord]:
        """The runs of a policy, oldest first."""
        return self._runs("policy = :policy", {"policy": policy})

    def _runs(self, where: str, parameters: Mapping[str, Any]) -> list[RunRecord]:
        rows = self._query(
            f"SELECT run_id, step, at, details FROM {self.log.name.quoted} WHERE seq IS NULL AND {where} ORDER BY at",
            parameters,
        )
        by_run: dict[str, list[JsonObject]] = {}
        for row in rows:
            by_run.setdefault(row["run_id"], []).append(row)
        found = []
        for run_id, steps in by_run.items():
            planned = next((row for row in steps if row["step"] == RUN_PLANNED), None)
            if planned is not None:
                found.append(
                    RunRecord(
                        run_id,
                        Rules.of(json.loads(planned["details"])),
                        planned["at"],
                        frozenset(row["step"] for row in steps),
                    )
                )
        return found

    def own_places(self) -> tuple[set[str], set[str]]:
        """(folders that remediations have put files into, stubs that they have left)."""
        folders: set[str] = set()
        for run in self._runs("true", {}):
            if run.rules.target and RUN_EXECUTE in run.steps:
                folders.add(run_folder(run.rules, run.run_id))
        rows = self._query(
            f"SELECT DISTINCT stub FROM {self.log.name.quoted} WHERE step = '{DONE}' AND stub IS NOT NULL", {}
        )
        return folders, {row["stub"] for row in rows}

    # ------------------------------------------------------------ files

    def entries(self, run_id: str, *, planned_only: bool = True) -> Iterator[Entry]:
        """The files of a plan, with what is logged of them, ordered by number; some at a time are held."""
        after = 0
        state = f" AND state = '{PLANNED}'" if planned_only else ""
        while True:
            bound: JsonObject = {"run_id": run_id, "after": after}
            rows = self._query(
                f"SELECT * FROM {self.plan.name.quoted} WHERE run_id = :run_id AND seq > :after{state} "
                f"ORDER BY seq LIMIT {PAGE}",
                bound,
            )
            if not rows:
                return
            last = int(rows[-1]["seq"])
            logged: dict[int, list[JsonObject]] = {}
            for row in self._query(
                f"SELECT * FROM {self.log.name.quoted} WHERE run_id = :run_id AND seq > :after AND seq <= :last",
                {**bound, "last": last},
            ):
                logged.setdefault(int(row["seq"]), []).append(row)
            for row in rows:
                yield _entry(_item(row), logged.get(int(row["seq"]), ()))
            if len(rows) < PAGE:
                return
            after = last

    def write(self, run_id: str, rules: Rules, steps: Iterable[tuple[Item, str, JsonObject]]) -> None:
        """Log steps of files in one commit: (file, step, further columns) each."""
        now, owner = self._clock(), this_process()
        rows = [
            {
                "run_id": run_id,
                "seq": item.seq,
                "step": step,
                "at": now,
                "policy": rules.policy,
                "path": item.path,
                "action": item.action,
                "content_sha256": item.sha256 or None,
                "size": item.size,
                "keeper": item.keeper or None,
                "owner": owner,
                **more,
            }
            for item, step, more in steps
        ]
        if rows:
            commit(lambda: self.tables.append(self.log, rows))

    def _query(self, sql: str, parameters: Mapping[str, Any]) -> list[JsonObject]:
        try:
            return self.tables.query(sql, parameters or None)
        except TableNotFound:
            return []


def ready_columns(item: Item, file: FileState) -> JsonObject:
    """What is logged with the step `ready`: all that is needed to bring the file back."""
    return {
        "target": item.target or None,
        "size": file.size,
        "modified_ns": file.modified_ns,
        "mode": file.mode,
    }


def _item(row: JsonObject) -> Item:
    return Item(
        int(row["seq"]),
        row["path"] or "",
        row["given_path"] or "",
        row["violation_key"] or "",
        row["state"],
        row["reason"] or "",
        row["action"] or "",
        row["content_sha256"] or "",
        int(row["size"] or 0),
        int(row["modified_ns"] or 0),
        row["keeper"] or "",
        row["target"] or "",
        row["stub"] or "",
        row["root"] or "",
    )


def _entry(item: Item, rows: Iterable[JsonObject]) -> Entry:
    found = Entry(item)
    rank = 0
    for row in sorted(rows, key=lambda row: row["at"]):
        step = row["step"]
        if step == READY:
            found = replace(found, ready=True, modified_ns=int(row["modified_ns"] or 0), mode=row["mode"])
        if step == DONE:
            found = replace(found, removed=True, stub=row["stub"] or "")
        if step in {FAILED, SKIPPED, UNDO_FAILED}:
            found = replace(found, reason=row["reason"] or "")
        if _RANK.get(step, 0) >= rank:
            rank = _RANK.get(step, 0)
            found = replace(found, state=step)
    return found
