"""`<table>_jobs`: which job is whose, what was accepted and applied, and who holds it right now."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from lakeflow_job_meta.control import companion
from lakeflow_job_meta.control.companion import Companion, companion_definition, from_text, to_text
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.errors import TableNotFound
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition, Tables

_TOKEN = re.compile(r"[0-9a-f-]{8,64}")
_SAVED = (
    "job_id",
    "job_name",
    "spec_hash",
    "rows_hash",
    "context_hash",
    "definition",
    "applied",
    "status",
    "error",
    "former_pause_status",
    "applied_at",
)


def definition(control_table: TableName) -> TableDefinition:
    """The `_jobs` table beside this control table."""
    return companion_definition(
        control_table,
        "jobs",
        "Jobs made from the control table",
        Column("module_name", "STRING", "module, with workspace_id the key"),
        Column("job_id", "BIGINT", "Databricks Job, NULL before it is made"),
        Column("job_name", "STRING"),
        Column("spec_hash", "STRING", "hash of the settings, permissions and queries applied last"),
        Column("rows_hash", "STRING", "hash of the control rows accepted last"),
        Column("context_hash", "STRING", "hash of the settings and variables in force then"),
        Column("definition", "STRING", "accepted definition (JSON), read by the tasks of this package"),
        Column("applied", "STRING", "settings and permissions written last (JSON)"),
        Column("status", "STRING", "new, active, retired, refused, failed or deleted"),
        Column("error", "STRING", "why it was refused or failed"),
        Column("former_pause_status", "STRING", "what retiring remembers"),
        Column("claim", "STRING", "token of the writer that holds the module"),
        Column("claimed_until", "TIMESTAMP", "when the claim expires"),
        Column("applied_at", "TIMESTAMP", "last write to the workspace"),
    )


class JobRecords:
    """The records of one workspace's jobs, and the claims on them.

    A pass inserts the rows that are missing, claims all modules that it will change in one MERGE,
    reads back what it got, works, and saves: only where the claim is still its own. Every call but
    `claim` (two) is one statement.

    Args:
        clock: now, as an aware datetime.
    """

    def __init__(
        self,
        tables: Tables,
        control_table: TableName,
        workspace_id: str,
        clock: Callable[[], datetime] = companion.now,
    ) -> None:
        self._table = Companion(tables, definition(control_table), workspace_id)
        self._clock = clock

    def all(self, modules: Collection[str] | None = None) -> dict[str, JobRecord]:
        """Records by module, of all modules or of the given ones; empty when there is no table."""
        return _by_module(self._record(row) for row in self._table.read(**_only(modules)))

    def other_workspaces(self) -> list[str]:
        """Further workspaces that have jobs by this table, sorted: several may share a metastore."""
        table = self._table.definition.name
        try:
            found = self._table.tables.query(
                f"SELECT DISTINCT `workspace_id` FROM {table.quoted} WHERE `job_id` IS NOT NULL"
            )
        except TableNotFound:
            return []
        return sorted({str(row["workspace_id"]) for row in found} - {self._table.workspace_id})

    def rows_hashes(self) -> dict[str, str]:
        """The hash of the control rows accepted last, by module: a light read of the whole table."""
        return {
            row["module_name"]: row["rows_hash"] or ""
            for row in self._table.read(["module_name", "rows_hash"])
        }

    def insert(self, job_names: Mapping[str, str]) -> None:
        """Make an empty record for each module that has none.

        Args:
            job_names: by module, the name that its job is about to be created with: should the writer
                die in between, the job is found by it.
        """
        self._table.merge(
            [
                {"module_name": module, "job_name": name, "status": "new", "claim": ""}
                for module, name in sorted(job_names.items())
            ],
            keys=["module_name"],
            update=[],
        )

    def claim(
        self, modules: Iterable[str], token: str, seconds: float, *, over: Collection[str] | None = None
    ) -> dict[str, JobRecord]:
        """Take the modules that nobody holds, for `seconds`; returns the records that are ours now.

        Claiming again with the same token renews. Two writers that inserted one key at once made
        two rows (Databricks does not detect that conflict): a module is ours only if every row of
        it carries our token, else our rows of it are released.

        Args:
            over: claims that are taken over once they expired: those that the caller knew of when it
                decided. What their writers may have done, it has looked for. None: any.
        """
        wanted = sorted(set(modules))
        if not wanted:
            return {}
        until = self._clock() + timedelta(seconds=seconds)
        expired = (
            "(t.`claimed_until` IS NULL OR "
            f"t.`claimed_until` < s.`claimed_until` - INTERVAL {max(1, round(seconds))} SECOND)"
        )
        if over is not None:
            known = [_mine(one) for one in sorted(set(over)) if _TOKEN.fullmatch(one)]
            if len(known) < len(set(over)):  # somebody wrote into the column by hand
                known.append(f"NOT t.`claim` RLIKE '^{_TOKEN.pattern}$'")
            expired = f"({' OR '.join(known)}) AND {expired}" if known else "false"
        free = f"{_mine(token)} OR t.`claim` IS NULL OR t.`claim` = '' OR ({expired})"
        self._table.merge(
            [{"module_name": module, "claim": token, "claimed_until": until} for module in wanted],
            keys=["module_name"],
            update=["claim", "claimed_until"],
            matched_when=free,
            insert=False,
        )
        records = [self._record(row) for row in self._table.read(**_filter(wanted))]
        tokens: dict[str, set[str]] = {}
        for record in records:
            tokens.setdefault(record.module_name, set()).add(record.claim)
        contested = {module for module, held_by in tokens.items() if token in held_by and len(held_by) > 1}
        if contested:
            self.release(contested, token)
        return _by_module(record for record in records if tokens[record.module_name] == {token})

    def release(self, modules: Iterable[str], token: str) -> None:
        """Give the modules back, where they are still ours."""
        self._table.merge(
            [{"module_name": module, "claim": "", "claimed_until": None} for module in sorted(set(modules))],
            keys=["module_name"],
            update=["claim", "claimed_until"],
            matched_when=_mine(token),
            insert=False,
        )

    def save(self, records: Sequence[JobRecord], token: str, *, release: bool = True) -> None:
        """Write the records where the module is still ours, and give it back with the same MERGE.

        `claim` and `claimed_until` of the records are not looked at. A module that was lost to
        another writer meanwhile stays as that writer has it.
        """
        self._table.merge(
            [self._row(record) for record in records],
            keys=["module_name"],
            update=[*_SAVED, "claim", "claimed_until"] if release else _SAVED,
            matched_when=_mine(token),
            insert=False,
        )

    def _row(self, record: JobRecord) -> dict[str, Any]:
        return {
            "module_name": record.module_name,
            "job_id": record.job_id,
            "job_name": record.job_name,
            "spec_hash": record.spec_hash,
            "rows_hash": record.rows_hash,
            "context_hash": record.context_hash,
            "definition": to_text(record.definition),
            "applied": to_text(record.applied),
            "status": record.status,
            "error": record.error,
            "former_pause_status": record.former_pause_status,
            "applied_at": record.applied_at,
            "claim": "",
            "claimed_until": None,
        }

    def _record(self, row: dict[str, Any]) -> JobRecord:
        module = row["module_name"] or ""
        where = f"{self._table.definition.name} [{module}]"
        return JobRecord(
            module_name=module,
            job_id=row["job_id"],
            job_name=row["job_name"] or "",
            spec_hash=row["spec_hash"] or "",
            rows_hash=row["rows_hash"] or "",
            context_hash=row["context_hash"] or "",
            definition=from_text(row["definition"], f"{where}.definition"),
            applied=from_text(row["applied"], f"{where}.applied"),
            status=row["status"] or "new",
            error=row["error"] or "",
            former_pause_status=row["former_pause_status"] or "",
            claim=row["claim"] or "",
            claimed_until=row["claimed_until"],
            applied_at=row["applied_at"],
        )


def _filter(modules: Collection[str]) -> dict[str, Any]:
    return {
        "where": [companion.chosen("module_name", "modules")],
        "parameters": {"modules": companion.text_array(modules)},
    }


def _only(modules: Collection[str] | None) -> dict[str, Any]:
    return {} if modules is None else _filter(modules)


def _mine(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ValueError("a claim's token is a UUID")  # it stands in SQL text
    return f"t.`claim` = '{token}'"


def _by_module(records: Iterable[JobRecord]) -> dict[str, JobRecord]:
    found: dict[str, JobRecord] = {}
    for record in records:
        other = found.get(record.module_name)
        found[record.module_name] = record if other is None else _better(record, other)
    return found


def _better(one: JobRecord, other: JobRecord) -> JobRecord:
    """Of two rows with one key: the one with a job, then the lowest id, then the one applied last."""

    def rank(record: JobRecord) -> tuple[bool, int, float]:
        applied = record.applied_at.timestamp() if record.applied_at else 0.0
        return (record.job_id is None, record.job_id or 0, -applied)

    return min(one, other, key=rank)
