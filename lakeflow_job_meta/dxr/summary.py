"""What a run did, in numbers: logged, returned, and kept in `dxr_runs`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.errors import TableNotFound
from lakeflow_job_meta.names import TableName, canonical_json
from lakeflow_job_meta.ports import Tables

JsonObject = dict[str, Any]
#: Reasons that a summary names one by one.
REASONS = 20


@dataclass
class Summary:
    """Counts of one run. Every count is of files, but `jobs` and bytes.

    Args:
        open: files of jobs that had not ended when the run's time was over; the next run goes on with them.
    """

    seen: int = 0
    new: int = 0
    unchanged: int = 0
    uploaded: int = 0
    uploaded_bytes: int = 0
    jobs: int = 0
    classified: int = 0
    missing: int = 0
    ambiguous: int = 0
    failed: int = 0
    skipped: int = 0
    deleted: int = 0
    superseded: int = 0
    open: int = 0
    dry_run: bool = False
    seconds: float = 0.0
    #: The first reasons for what was skipped, missing, ambiguous or failed: path and reason.
    reasons: list[dict[str, str]] = field(default_factory=list)

    def note(self, path: str, state: str, reason: str) -> None:
        """Remember why, for the first few."""
        if len(self.reasons) < REASONS:
            self.reasons.append({"path": path, "state": state, "reason": reason})

    @property
    def good(self) -> bool:
        """Whether nothing failed: no file is missing, ambiguous or failed, and no job was left open."""
        return not (self.missing or self.ambiguous or self.failed or self.open)

    def as_json(self) -> JsonObject:
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    def added(self, other: Summary) -> Summary:
        """Both together, as for an ingest and the collect after it."""
        mine, theirs = asdict(self), asdict(other)
        both = {
            name: mine[name] + theirs[name] for name in mine if name not in {"dry_run", "reasons", "jobs"}
        }
        return Summary(
            **both,
            jobs=max(self.jobs, other.jobs),
            dry_run=self.dry_run or other.dry_run,
            reasons=(self.reasons + other.reasons)[:REASONS],
        )


def record(
    tables: Tables,
    table: TableName,
    *,
    run_id: str,
    task: str,
    summary: JsonObject,
    started_at: datetime,
    ended_at: datetime,
    error: str = "",
    good: bool = True,
) -> None:
    """One row of `dxr_runs`; makes the table when it is not there.

    Args:
        summary: as the task returns it; the counts that it has become columns.
        error: why the run failed, empty when it did not.
        good: False when the run ended, but not all is well.
    """
    definition = definitions.runs(table)
    counts = {
        column.name: summary[column.name]
        for column in definition.columns
        if isinstance(summary.get(column.name), (int, float))
    }
    row = {
        **counts,
        "seconds": float(summary.get("seconds") or (ended_at - started_at).total_seconds()),
        "run_id": run_id,
        "task": task,
        "outcome": "succeeded" if good and not error else "failed",
        "message": error or None,
        "started_at": started_at,
        "ended_at": ended_at,
        "summary_json": canonical_json(summary),
    }
    try:
        commit(lambda: tables.append(definition, [row]))
    except TableNotFound:
        commit(lambda: definitions.ensure(tables, definition))
        commit(lambda: tables.append(definition, [row]))
