"""What a load is about to do, as file records to save before it does it. Pure.

Rows and file records are two tables, so a load is two commits. A process that dies between them has
written rows that no record tells of; should their file be edited next, nobody would know that they came
from it. An intent says so before: it owns every row that is or was the file's, without a hash for those
that are about to be written, and has the file read anew, whatever its listing says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from lakeflow_job_meta.control.records import FileRecord


def intents(
    records: Iterable[FileRecord], before: Mapping[str, FileRecord], written: Collection[tuple[str, str]]
) -> list[FileRecord]:
    """The records to save before the rows of these keys are written.

    Args:
        records: as they will be afterwards.
        before: as they are, by path.
        written: (module_name, source_id) of the rows.
    """
    return [_intent(record, before.get(record.path), frozenset(written)) for record in records]


def _intent(after: FileRecord, before: FileRecord | None, written: frozenset[tuple[str, str]]) -> FileRecord:
    former = before.keys if before is not None and before.status != "vanished" else {}
    keys = {}
    for module in sorted({*former, *after.keys}):
        old, new = former.get(module, {}), after.keys.get(module, {})
        keys[module] = {
            source: "" if (module, source) in written or old.get(source) != new.get(source) else old[source]
            for source in sorted({*old, *new})
        }
    return replace(
        after if before is None or before.status == "vanished" else before,
        keys=keys,
        sha256="",
        size=0,
        modified_at=0,
        status="partial",
        errors=(),
        loaded_at=after.loaded_at,
    )
