"""Looks at the violating files before it is decided what becomes of them: what each is now, and what is on hold."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from lakeflow_job_meta.errors import TaskError, VolumeError
from lakeflow_job_meta.policies.plan import REFUSED, SKIPPED, Candidate, names, on_hold
from lakeflow_job_meta.policies.remediation_settings import Rules
from lakeflow_job_meta.ports import Tables, Volumes, file_sha256

PAGE = 2000
_PATHS, _LABELS = ("path", "file_path"), ("label_names", "labels", "labels_json")
_PARTITION = "ingestion_date"


def survey(candidates: Iterable[Candidate], volumes: Volumes) -> list[Candidate]:
    """The candidates with the files that are there; those without a hash get their file's."""
    return [one if one.outcome is not None else _look(one, volumes) for one in candidates]


def _look(one: Candidate, volumes: Volumes) -> Candidate:
    try:
        file = volumes.inspect(one.path, one.root)
        if file is None:
            return one.out(SKIPPED, "it is not there (any more)")
        if one.sha256 or not file.size:
            return replace(one, file=file)
        sha256 = file_sha256(volumes, one.path)
        if volumes.inspect(one.path, one.root) != file:
            return one.out(SKIPPED, "it is being written")
        return replace(one, file=file, sha256=sha256)
    except VolumeError as error:
        return one.out(REFUSED, str(error))


class Holds:
    """What the checked table says is on hold.

    Raises:
        TaskError: the table is not there: nothing may be touched without asking it.
    """

    def __init__(self, tables: Tables, rules: Rules) -> None:
        self._tables = tables
        self._rules = rules
        columns = tables.columns(rules.table)
        if columns is None:
            raise TaskError(
                f"there is no table {rules.table} to look up labels on hold in: correct the table"
            )
        there = {column.name.lower() for column in columns}
        self._path = next((name for name in _PATHS if name in there), "")
        self._labels = [name for name in _LABELS if name in there]
        self._flag = "legal_hold" if "legal_hold" in there else ""
        self._newest = (
            f" AND t.{_PARTITION} = (SELECT max({_PARTITION}) FROM {rules.table.quoted})"
            if _PARTITION in there
            else ""
        )

    @property
    def is_known(self) -> bool:
        """Whether the table has paths, and labels or a flag."""
        return bool(self._path and (self._labels or self._flag) and self._rules.hold_labels)

    def of(self, paths: Collection[str]) -> set[str]:
        """Those of the paths, as the table has them, that are on hold now. Raises TablesError."""
        if not self.is_known:
            return set()
        columns = ", ".join(f"t.{name}" for name in (*self._labels, *([self._flag] if self._flag else [])))
        sql = (
            f"SELECT t.{self._path} AS found_path, {columns} FROM {self._rules.table.quoted} AS t "
            f"WHERE t.{self._path} IN (SELECT explode(from_json(:paths, 'array<string>'))){self._newest}"
        )
        wanted = sorted(set(paths))
        held: set[str] = set()
        for start in range(0, len(wanted), PAGE):
            rows = self._tables.query(sql, {"paths": json.dumps(wanted[start : start + PAGE])})
            held |= {row["found_path"] for row in rows if self._is_held(row)}
        return held

    def _is_held(self, row: dict[str, Any]) -> bool:
        if self._flag and str(row[self._flag]).strip().lower() in {"true", "1", "yes"}:
            return True
        labels = [label for name in self._labels for label in names(row[name])]
        return on_hold(labels, self._rules.hold_labels)


def with_holds(candidates: Sequence[Candidate], holds: Holds) -> list[Candidate]:
    """The candidates, those held that the table says are."""
    held = holds.of([one.given_path for one in candidates])
    return [replace(one, held=True) if one.given_path in held else one for one in candidates]
