"""The ledger of jobs and the checkpoints of files, as typed stores over the Tables port.

A job's row is written before it is sent and names its files; that row alone says what was accepted. The
checkpoints follow it and can be made again from it (`Ledger.files_of`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.control.companion import chosen, text_array
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.errors import LakeflowJobMetaError, TableNotFound, TablesError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import TableDefinition, Tables

JsonObject = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

PLANNED, SUBMITTED = "PLANNED", "SUBMITTED"
COLLECTED, FAILED, LOST, EXPIRED = "COLLECTED", "FAILED", "LOST", "EXPIRED"
UNCLEAR, REFUSED, DROPPED = "UNCLEAR", "REFUSED", "DROPPED"
#: States of a job that something is still to come of.
OPEN = (PLANNED, SUBMITTED)
#: States of a job that Data X-Ray has, or had.
SENT = (SUBMITTED, COLLECTED, FAILED, LOST, EXPIRED)
#: What is already known to have become of a submission is never taken back to "submitted".
_OTHER_SUBMISSION = "t.`submission_id` IS NULL OR t.`submission_id` <> s.`submission_id`"


def to_time(milliseconds: int) -> datetime:
    """A time in ms since 1970 as an aware datetime."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of a job.

    Args:
        path: the source file's full path.
        modified_at: ms since 1970, when it was listed.
        upload_name: its name in Data X-Ray, unique for all time.
        sha256: of the bytes sent; empty until they were.
        attempt: how often this version was sent, this time included.
        version: counts the versions of this file.
    """

    path: str
    size: int
    modified_at: int
    upload_name: str
    sha256: str = ""
    attempt: int = 1
    version: int = 1


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the ledger; `files` empty when they were not read."""

    submission_id: str
    volume_path: str
    datasource_id: int
    planned_at: datetime
    files: tuple[SentFile, ...] = ()
    state: str = PLANNED
    job_id: str = ""
    scan_id: int | None = None
    submitted_at: datetime | None = None
    count: int = 0

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.files)

    def as_row(self, run_id: str, now: datetime) -> JsonObject:
        """The whole row."""
        return {
            "submission_id": self.submission_id,
            "job_id": self.job_id or None,
            "state": self.state,
            "volume_path": self.volume_path,
            "datasource_id": self.datasource_id,
            "datasource_scan_id": self.scan_id,
            "files": len(self.files),
            "bytes": self.bytes,
            "files_json": _files_text(self.files),
            "run_id": run_id,
            "planned_at": self.planned_at,
            "submitted_at": self.submitted_at,
            "updated_at": now,
        }


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is known about a source file."""

    size: int | None
    modified_at: int | None
    checksum: str
    state: str
    reason: str
    attempts: int
    version: int
    submission_id: str


class Ledger:
    """The jobs. Writes of one process follow one another; several waiting ones become one commit.

    Args:
        tables: the SQL engine.
        name: the table.
    """

    def __init__(self, tables: Tables, name: TableName) -> None:
        self._tables = tables
        self.definition = definitions.jobs(name)
        self._queue: list[_Ticket] = []
        self._queue_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    def open_jobs(self, *, job_ids: Collection[str] = (), volume: str | None = None) -> list[Job]:
        """The jobs that something is still to come of, oldest first, without their files.

        Args:
            job_ids: only these, of jobs or submissions; then those that have ended, too.
            volume: only those of this source volume.
        """
        conditions = [chosen("state", "states")]
        parameters: JsonObject = {"states": text_array(SENT if job_ids else OPEN)}
        if volume is not None:
            conditions.append("`volume_path` = :volume")
            parameters["volume"] = volume
        if job_ids:
            conditions.append(f"({chosen('job_id', 'ids')} OR {chosen('submission_id', 'ids')})")
            parameters["ids"] = text_array(job_ids)
        columns = (
            "submission_id, volume_path, datasource_id, planned_at, state, job_id, datasource_scan_id, "
            "submitted_at, files"
        )
        rows = _query(
            self._tables,
            f"SELECT {columns} FROM {self.definition.name.quoted} WHERE {' AND '.join(conditions)} "
            "ORDER BY planned_at, submission_id",
            parameters,
        )
        return [
            Job(
                row["submission_id"],
                row["volume_path"],
                row["datasource_id"],
                row["planned_at"],
                state=row["state"],
                job_id=row["job_id"] or "",
                scan_id=row["datasource_scan_id"],
                submitted_at=row["submitted_at"],
                count=row["files"] or 0,
            )
            for row in rows
        ]

    def known(self, job_ids: Collection[str]) -> set[str]:
        """Which of these ids, of jobs or submissions, the ledger knows."""
        rows = _query(
            self._tables,
            f"SELECT submission_id, job_id FROM {self.definition.name.quoted} "
            f"WHERE {chosen('job_id', 'ids')} OR {chosen('submission_id', 'ids')}",
            {"ids": text_array(job_ids)},
        )
        return {value for row in rows for value in row.values() if value} & set(job_ids)

    def files_of(self, submission_ids: Collection[str]) -> dict[str, tuple[SentFile, ...]]:
        """The files of these jobs, one read."""
        if not submission_ids:
            return {}
        rows = _query(
            self._tables,
            f"SELECT submission_id, files_json FROM {self.definition.name.quoted} "
            f"WHERE {chosen('submission_id', 'ids')}",
            {"ids": text_array(submission_ids)},
        )
        return {row["submission_id"]: _files_of_text(row["files_json"]) for row in rows}

    def plan(self, jobs: Sequence[Job], run_id: str, now: datetime) -> None:
        """Write the intent to send these jobs: one commit, before the first of them is sent."""
        rows = [job.as_row(run_id, now) for job in jobs]
        with self._commit_lock:
            commit(lambda: self._tables.append(self.definition, rows))

    def save(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Merge rows by submission_id; returns when they are committed.

        Rows of threads that wait for one another go into one commit.
        """
        tickets = [_Ticket(row) for row in rows]
        with self._queue_lock:
            self._queue += tickets
        with self._commit_lock:
            if not all(ticket.done for ticket in tickets):
                with self._queue_lock:
                    batch, self._queue = self._queue, []
                self._commit(batch)
        for ticket in tickets:
            if ticket.error is not None:
                raise ticket.error
            if not ticket.done:
                raise TablesError("the ledger was not written: the write that it was part of broke off")

    def _commit(self, batch: Sequence[_Ticket]) -> None:
        try:
            merge(self._tables, self.definition, [ticket.row for ticket in batch], ("submission_id",))
        except LakeflowJobMetaError as error:
            for ticket in batch:
                ticket.error = error
        for ticket in batch:
            ticket.done = True


class Checkpoints:
    """The source files.

    Args:
        tables: the SQL engine.
        name: the table.
    """

    def __init__(self, tables: Tables, name: TableName) -> None:
        self._tables = tables
        self.definition = definitions.checkpoints(name)
        self._lock = threading.Lock()

    def of_volume(self, volume: str) -> dict[str, Checkpoint]:
        """Every file of a volume, by path: the one read of a run."""
        rows = _query(
            self._tables,
            "SELECT file_path, file_size, modification_time, checksum, state, reason, attempts, version, "
            f"submission_id FROM {self.definition.name.quoted} WHERE volume_path = :volume",
            {"volume": volume},
        )
        found: dict[str, Checkpoint] = {}
        shared: dict[str, str] = {}
        while rows:  # each row goes as soon as it is read: the two forms are never held whole at once
            row = rows.pop()
            at = row["modification_time"]
            submission = row["submission_id"] or ""
            found[row["file_path"]] = Checkpoint(
                row["file_size"],
                None if at is None else to_milliseconds(at),
                row["checksum"] or "",
                shared.setdefault(row["state"] or "", row["state"] or ""),
                row["reason"] or "",
                row["attempts"] or 0,
                row["version"] or 0,
                shared.setdefault(submission, submission),
            )
        return found

    def submissions(self, paths: Collection[str]) -> dict[str, tuple[str, datetime | None]]:
        """(submission, when it was planned) that each of these files last travelled with; "" for a deleted one."""
        rows = _query(
            self._tables,
            "SELECT file_path, CASE WHEN state = 'deleted' THEN '' ELSE submission_id END AS submission_id, "
            f"submitted_at FROM {self.definition.name.quoted} "
            f"WHERE {chosen('file_path', 'paths')}",
            {"paths": text_array(paths)},
        )
        return {row["file_path"]: (row["submission_id"] or "", row["submitted_at"]) for row in rows}

    def save(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Merge rows by path; rows of unlike columns in a commit each."""
        with self._lock:
            for submitted in (True, False):
                part = [row for row in rows if (row.get("state") == "submitted") == submitted]
                merge(
                    self._tables,
                    self.definition,
                    part,
                    ("volume_path", "file_path"),
                    matched_when=_OTHER_SUBMISSION if submitted else "",
                )


def submitted_rows(job: Job, now: datetime) -> list[JsonObject]:
    """Checkpoints of the files of an accepted job."""
    return [
        {
            "volume_path": job.volume_path,
            "file_path": one.path,
            "file_size": one.size,
            "modification_time": to_time(one.modified_at),
            "checksum": one.sha256 or None,
            "state": "submitted",
            "reason": None,
            "attempts": one.attempt,
            "version": one.version,
            "submission_id": job.submission_id,
            "job_id": job.job_id or None,
            "datasource_id": job.datasource_id,
            "datasource_scan_id": job.scan_id,
            "upload_name": one.upload_name,
            "submitted_at": job.planned_at,
            "updated_at": now,
        }
        for one in job.files
    ]


def merge(
    tables: Tables,
    definition: TableDefinition,
    rows: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    *,
    insert: bool = True,
    matched_when: str = "",
) -> None:
    """MERGE by `keys`, repeated while other writers win; of rows with one key the last counts.

    Rows of unlike columns go in a commit each.
    """
    last = {tuple(row[key] for key in keys): row for row in rows}
    for group in alike(last.values()):
        _merge(tables, definition, group, keys, insert, matched_when)


def _merge(
    tables: Tables,
    definition: TableDefinition,
    rows: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    insert: bool,
    matched_when: str,
) -> None:
    commit(lambda: tables.merge(definition, rows, keys=keys, insert=insert, matched_when=matched_when))


def alike(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The rows in groups of equal columns: a column that a row has not must stay as it is."""
    groups: dict[frozenset[str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(frozenset(row), []).append(row)
    yield from groups.values()


@dataclass(slots=True)
class _Ticket:
    """A row that waits for its commit."""

    row: Mapping[str, Any]
    done: bool = False
    error: LakeflowJobMetaError | None = None


def _query(tables: Tables, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows; none when the table is not there (a dry run makes no tables)."""
    try:
        return tables.query(sql, parameters)
    except TableNotFound:
        return []


def _files_text(files: Sequence[SentFile]) -> str:
    return json.dumps(
        [
            [one.path, one.size, one.modified_at, one.upload_name, one.sha256, one.attempt, one.version]
            for one in files
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _files_of_text(text: str | None) -> tuple[SentFile, ...]:
    try:
        return tuple(SentFile(*fields) for fields in json.loads(text or "[]"))
    except (ValueError, TypeError) as error:
        raise TablesError(
            f"files_json of the ledger was changed by hand and cannot be read ({error})"
        ) from error


def accepted(job: Job, job_id: str, scan_id: int | None, sha256: Mapping[str, str], now: datetime) -> Job:
    """The job after Data X-Ray took it: `sha256` by upload name."""
    files = tuple(replace(one, sha256=sha256.get(one.upload_name, "")) for one in job.files)
    return replace(job, files=files, state=SUBMITTED, job_id=job_id, scan_id=scan_id, submitted_at=now)
