"""Changes: what in the control table differs from what was accepted last. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.control.control_table import module_rows
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.metadata.rows import JOB_ROW, Row, rows_hash
from lakeflow_job_meta.settings import Settings


@dataclass(slots=True)
class Changes:
    """Modules by kind of change, sorted, and the sources (module, source_id) that make it."""

    new_modules: list[str] = field(default_factory=list)
    updated_modules: list[str] = field(default_factory=list)
    deactivated_modules: list[str] = field(default_factory=list)
    changed_sources: list[tuple[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "new_modules": self.new_modules,
            "updated_modules": self.updated_modules,
            "deactivated_modules": self.deactivated_modules,
            "changed_sources": [
                {"module_name": module, "source_id": source} for module, source in self.changed_sources
            ],
        }


def detect(rows: Sequence[Row], records: Mapping[str, JobRecord], settings: Settings, table: str) -> Changes:
    """Compare all rows of the control table with the accepted ones."""
    changes = Changes()
    by_module = module_rows(rows)
    for module in sorted({*by_module, *records}):
        there, record = by_module.get(module, []), records.get(module)
        accepted = record is not None and record.rows_hash != "" and record.status != "new"
        live = is_live(there)
        if record is not None and accepted and record.rows_hash == rows_hash(there):
            continue
        if not accepted:
            if not live:
                continue
            changes.new_modules.append(module)
        elif live:
            changes.updated_modules.append(module)
        elif record is not None and record.status not in {"retired", "deleted"}:
            changes.deactivated_modules.append(module)
        else:
            continue
        changes.changed_sources += [
            (module, source) for source in _changed(there, record, settings, table, live=live)
        ]
    return changes


def is_live(rows: Sequence[Row]) -> bool:
    """Whether a job should exist for these rows: an active source, and no inactive job row."""
    if any(row.source_id == JOB_ROW and not row.active for row in rows):
        return False
    return any(row.source_id != JOB_ROW and row.active for row in rows)


def _changed(
    rows: Sequence[Row], record: JobRecord | None, settings: Settings, table: str, *, live: bool
) -> list[str]:
    """Sources that were added, removed or changed; all of them when the module is refused."""
    from lakeflow_job_meta.metadata.build import define

    accepted = (record.definition or {}) if record else {}
    before = {source["source_id"]: source for source in accepted.get("sources") or []}
    if not live:
        return sorted(before)
    defined = define(rows, table=table, settings=settings)
    if defined.definition is None or defined.problems:
        return sorted({row.source_id or "" for row in rows if row.source_id != JOB_ROW})
    after = {source["source_id"]: source for source in defined.definition.as_json()["sources"]}
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
