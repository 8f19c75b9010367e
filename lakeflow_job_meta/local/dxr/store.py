"""The simulator's memory: jobs, received files and index documents in SQLite, their bytes in a folder.

It survives restarts and kill -9. A file is RECEIVED, then INDEXED (classified, not visible yet), then
VISIBLE; a later upload of the same name into the same datasource replaces a visible one.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lakeflow_job_meta.local.dxr.knobs import Knobs, Wait
from lakeflow_job_meta.local.state import Database

RECEIVED, INDEXED, VISIBLE = 0, 1, 2
FIRST_SCAN_ID = 4801
TERMINAL = ("FINISHED", "FAILED")

_DDL = """
CREATE TABLE IF NOT EXISTS dxr_jobs(
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    datasource_id INTEGER NOT NULL,
    state TEXT NOT NULL,
    submitted_at REAL NOT NULL,
    scan_id INTEGER,
    error TEXT,
    ended_at REAL,
    polls INTEGER NOT NULL DEFAULT 0,
    searches INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS dxr_jobs_open ON dxr_jobs(settled, datasource_id, number);
CREATE TABLE IF NOT EXISTS dxr_files(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id TEXT NOT NULL UNIQUE,
    object_id TEXT NOT NULL,
    job_number INTEGER NOT NULL,
    datasource_id INTEGER NOT NULL,
    scan_id INTEGER,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    received_at REAL NOT NULL,
    indexed_at REAL,
    state INTEGER NOT NULL,
    document BLOB,
    text BLOB
);
CREATE INDEX IF NOT EXISTS dxr_files_name ON dxr_files(state, datasource_id, name);
CREATE INDEX IF NOT EXISTS dxr_files_scan ON dxr_files(scan_id, state, datasource_id, name);
CREATE INDEX IF NOT EXISTS dxr_files_job ON dxr_files(job_number, state);
CREATE TABLE IF NOT EXISTS dxr_findings(
    seq INTEGER NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, phrases TEXT,
    PRIMARY KEY(kind, id, seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dxr_findings_seq ON dxr_findings(seq);
CREATE TABLE IF NOT EXISTS dxr_numbers(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


def new_file_id() -> str:
    """An id as the index gives them: 20 URL-safe characters."""
    return secrets.token_urlsafe(15)


@dataclass(frozen=True, slots=True)
class Received:
    """A file of a submit, its bytes on disk.

    Args:
        name: upload name, as it was sent.
        content_type: as it was sent.
        size: bytes.
        sha256: hex.
        path: where the bytes are; the store moves them.
    """

    name: str
    content_type: str
    size: int
    sha256: str
    path: Path


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `dxr_jobs`; times are seconds since the epoch."""

    number: int
    job_id: str
    datasource_id: int
    state: str
    submitted_at: float
    scan_id: int | None
    error: str | None
    ended_at: float | None
    polls: int
    searches: int
    settled: int


@dataclass(slots=True)
class Document:
    """What classification found in one file; offsets count characters of the text.

    Args:
        mime_type: by content and name.
        language: two letters, empty when unknown.
        text_status: of text extraction.
        annotations: [value, start, end, annotator id] in order of place.
        labels: label ids.
        extracted: extractor id to value.
        metadata_status: of metadata extraction.
        category: empty when none.
        text: the extracted text.
    """

    mime_type: str = "application/octet-stream"
    language: str = ""
    text_status: str = "SUCCESS"
    annotations: list[list[Any]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    extracted: dict[str, Any] = field(default_factory=dict)
    metadata_status: str = "SUCCESS"
    category: str = ""
    text: str = ""


_JOB_COLUMNS = ", ".join(Job.__dataclass_fields__)


class Store:
    """Jobs and files; thread-safe.

    Args:
        folder: made when missing; nobody else may use it.
        clock: seconds since the epoch.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.contents = folder / "contents"
        self.incoming = folder / "incoming"
        # What a process that was killed left of half an upload.
        shutil.rmtree(self.incoming, ignore_errors=True)
        for path in (self.contents, self.incoming):
            path.mkdir(parents=True, exist_ok=True)
        self.database = Database(folder / "dxr.sqlite")
        self.database.script(_DDL)
        self._sweeping = threading.Lock()

    def close(self) -> None:
        self.database.close()

    # ------------------------------------------------------------ jobs

    def add_job(self, job_id: str | None, datasource_id: int, files: Sequence[Received], state: str) -> Job:
        """Takes over the files of a submit; they are moved, then the job is there, whole or not at all."""
        now = self.clock()
        rows = []
        for received in files:
            file_id = new_file_id()
            target = self.content_path(file_id)
            target.parent.mkdir(exist_ok=True)
            received.path.replace(target)
            rows.append((file_id, received))
        with self.database.transaction() as connection:
            number = connection.execute(
                "INSERT INTO dxr_jobs(job_id, datasource_id, state, submitted_at) VALUES (?, ?, ?, ?)",
                (job_id or secrets.token_hex(16), datasource_id, state, now),
            ).lastrowid
            assert number is not None
            if job_id is None:
                connection.execute("UPDATE dxr_jobs SET job_id = ? WHERE number = ?", (str(number), number))
            connection.executemany(
                "INSERT INTO dxr_files(file_id, object_id, job_number, datasource_id, name, size, content_type,"
                " sha256, received_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        file_id,
                        f"{secrets.token_hex(8)}/{each.name}",
                        number,
                        datasource_id,
                        each.name,
                        each.size,
                        each.content_type,
                        each.sha256,
                        now,
                        RECEIVED,
                    )
                    for file_id, each in rows
                ],
            )
        [job] = self._jobs("number = ?", number)
        return job

    def job(self, datasource_id: int, job_id: str) -> Job | None:
        """A job of a datasource."""
        found = self._jobs("job_id = ? AND datasource_id = ?", job_id, datasource_id)
        return found[0] if found else None

    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return self._jobs("TRUE")

    def next_job(self, datasource_id: int) -> Job | None:
        """The oldest job of a datasource that has not ended."""
        found = self._jobs("settled = 0 AND datasource_id = ? AND ended_at IS NULL LIMIT 1", datasource_id)
        return found[0] if found else None

    def open_datasources(self) -> list[int]:
        """Datasources with jobs that have not ended."""
        rows = self.database.read(
            "SELECT DISTINCT datasource_id FROM dxr_jobs WHERE settled = 0 AND ended_at IS NULL"
        )
        return [row[0] for row in rows]

    def polled(self, job: Job) -> None:
        """Counts a look at a job."""
        self.database.write("UPDATE dxr_jobs SET polls = polls + 1 WHERE number = ?", job.number)

    def polls(self, number: int) -> int:
        return int(self.database.read("SELECT polls FROM dxr_jobs WHERE number = ?", number)[0][0])

    def set_state(self, number: int, state: str) -> None:
        self.database.write("UPDATE dxr_jobs SET state = ? WHERE number = ?", state, number)

    def start_scan(self, number: int) -> int:
        """The scan id of a job, a new one the first time."""
        with self.database.transaction() as connection:
            row = connection.execute("SELECT scan_id FROM dxr_jobs WHERE number = ?", (number,)).fetchone()
            if row["scan_id"] is not None:
                return int(row["scan_id"])
            scan_id = self._next_scan_id()
            connection.execute("UPDATE dxr_jobs SET scan_id = ? WHERE number = ?", (scan_id, number))
        return scan_id

    def end_job(self, number: int, state: str, error: str | None) -> None:
        self.database.write(
            "UPDATE dxr_jobs SET state = ?, error = ?, ended_at = ? WHERE number = ?",
            state,
            error,
            self.clock(),
            number,
        )

    def _jobs(self, where: str, *args: Any) -> list[Job]:
        # `where` is text of this module; ordering stands before a LIMIT in it.
        condition, limit, count = where.partition(" LIMIT ")
        rows = self.database.read(
            f"SELECT {_JOB_COLUMNS} FROM dxr_jobs WHERE {condition} ORDER BY number{limit}{count}", *args
        )
        return [Job(*row) for row in rows]

    def _next_scan_id(self) -> int:
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO dxr_numbers VALUES ('scan', ?) ON CONFLICT(name) DO UPDATE SET value = value + 1",
                (FIRST_SCAN_ID,),
            )
            return int(connection.execute("SELECT value FROM dxr_numbers WHERE name = 'scan'").fetchone()[0])

    # ------------------------------------------------------------ files

    def received(self, number: int) -> list[Any]:
        """The files of a job that were not classified yet, in the order they came."""
        return self.database.read(
            "SELECT seq, file_id, name, size, content_type, sha256 FROM dxr_files"
            " WHERE job_number = ? AND state = ? ORDER BY seq",
            number,
            RECEIVED,
        )

    def index(self, scan_id: int, found: Sequence[tuple[int, Document]]) -> None:
        """Writes the documents of files (by seq) that belong to a scan."""
        import zlib

        now = self.clock()
        with self.database.transaction() as connection:
            for seq, document in found:
                body = {name: getattr(document, name) for name in Document.__slots__ if name != "text"}
                text = zlib.compress(document.text.encode("utf-8", "replace"), 1) if document.text else None
                connection.execute(
                    "UPDATE dxr_files SET scan_id = ?, document = ?, text = ?, indexed_at = ?, state = ?"
                    " WHERE seq = ?",
                    (scan_id, orjson.dumps(body), text, now, INDEXED, seq),
                )
                connection.execute("DELETE FROM dxr_findings WHERE seq = ?", (seq,))
                connection.executemany(
                    "INSERT OR IGNORE INTO dxr_findings VALUES (?, ?, ?, ?)", _findings(seq, document)
                )

    def text(self, seq: int) -> str:
        """The extracted text of a file."""
        import zlib

        rows = self.database.read("SELECT text FROM dxr_files WHERE seq = ?", seq)
        return zlib.decompress(rows[0]["text"]).decode("utf-8", "replace") if rows and rows[0]["text"] else ""

    def forget_received(self, number: int) -> None:
        """Drops the files of a job that never reached the index, and their bytes."""
        for row in self.received(number):
            self.content_path(row["file_id"]).unlink(missing_ok=True)
        self.database.write("DELETE FROM dxr_files WHERE job_number = ? AND state = ?", number, RECEIVED)

    def content_path(self, file_id: str) -> Path:
        # The id may begin with a dash or an underscore, never with a dot or a slash.
        return self.contents / file_id[:2].lower() / file_id

    def reveal(self, knobs: Knobs) -> None:
        """Makes visible what the index lag held back; called before every look at the index."""
        with self._sweeping:
            lag = Wait.of(knobs.index_lag)
            now = self.clock()
            for job in self._jobs("settled = 0 AND ended_at IS NOT NULL"):
                assert job.ended_at is not None
                if lag.is_over(now - job.ended_at, job.searches):
                    self._show(job, 1.0, knobs)
                    self.database.write("UPDATE dxr_jobs SET settled = 1 WHERE number = ?", job.number)
                elif knobs.index_early_share:
                    self._show(job, knobs.index_early_share, knobs)

    def searched(self, knobs: Knobs) -> None:
        """Counts a look at the index, where a lag is counted in looks."""
        lags = (knobs.index_lag, knobs.extraction_lag, knobs.label_lag)
        if not any(isinstance(lag, dict) for lag in lags):
            return
        self.database.write(
            "UPDATE dxr_jobs SET searches = searches + 1 WHERE ended_at IS NOT NULL AND searches < 1000"
        )

    def _show(self, job: Job, share: float, knobs: Knobs) -> None:
        rows = self.database.read(
            "SELECT seq, name FROM dxr_files WHERE job_number = ? AND state IN (?, ?) ORDER BY seq",
            job.number,
            INDEXED,
            VISIBLE,
        )
        shown = rows[: round(len(rows) * share)]
        with self.database.transaction() as connection:
            gone: list[str] = []
            if knobs.same_name == "overwrite":
                last = {row["name"]: row["seq"] for row in shown}
                connection.execute(
                    "CREATE TEMP TABLE IF NOT EXISTS newest(name TEXT PRIMARY KEY, seq INTEGER)"
                )
                connection.execute("DELETE FROM newest")
                connection.executemany("INSERT INTO newest VALUES (?, ?)", last.items())
                gone = [
                    row["file_id"]
                    for row in connection.execute(
                        "SELECT f.file_id FROM newest n JOIN dxr_files f INDEXED BY dxr_files_name"
                        " ON f.state IN (1, 2) AND f.datasource_id = ? AND f.name = n.name AND f.seq < n.seq"
                        " AND f.job_number <= ?",
                        (job.datasource_id, job.number),
                    )
                ]
            connection.executemany(
                "UPDATE dxr_files SET state = 2 WHERE seq = ?", [(row["seq"],) for row in shown]
            )
            for file_id in gone:
                connection.execute(
                    "DELETE FROM dxr_findings WHERE seq = (SELECT seq FROM dxr_files WHERE file_id = ?)",
                    (file_id,),
                )
                connection.execute("DELETE FROM dxr_files WHERE file_id = ?", (file_id,))
        for file_id in gone:
            self.content_path(file_id).unlink(missing_ok=True)

    def visible(self, file_id: str, hidden: Sequence[int] = ()) -> Any | None:
        """The row of a visible file, joined with its job."""
        rows = list(self._select("f.file_id = ?", [file_id], hidden))
        return rows[0] if rows else None

    def walk(self, hidden: Sequence[int] = (), batch: int = 500) -> Iterator[list[Any]]:
        """All visible files by datasource and name, in batches."""
        after: tuple[Any, ...] = (-1, "", -1)
        while True:
            where = "(f.datasource_id, f.name, f.seq) > (?, ?, ?)"
            rows = list(self._select(where, list(after), hidden, "f.datasource_id, f.name, f.seq", batch))
            if rows:
                yield rows
            if len(rows) < batch:
                return
            after = (rows[-1]["datasource_id"], rows[-1]["name"], rows[-1]["seq"])

    def _select(
        self,
        where: str,
        args: list[Any],
        hidden: Sequence[int],
        order: str = "f.seq",
        limit: int = -1,
        offset: int = 0,
    ) -> list[Any]:
        marks = ", ".join("?" * len(hidden))
        unseen = f" AND f.datasource_id NOT IN ({marks})" if hidden else ""
        return self.database.read(
            "SELECT f.seq, f.file_id, f.object_id, f.datasource_id, f.scan_id, f.name, f.size, f.sha256,"
            " f.received_at, f.indexed_at, f.document, f.content_type, j.ended_at, j.searches"
            " FROM dxr_files f JOIN dxr_jobs j ON j.number = f.job_number"
            f" WHERE f.state = 2 AND {where}{unseen} ORDER BY {order} LIMIT ? OFFSET ?",
            *args,
            *hidden,
            limit,
            offset,
        )

    def page(
        self, where: str, args: list[Any], hidden: Sequence[int], order: str, limit: int, offset: int
    ) -> tuple[int, list[Any]]:
        """The number of visible files that fit, and one page of them."""
        marks = ", ".join("?" * len(hidden))
        unseen = f" AND f.datasource_id NOT IN ({marks})" if hidden else ""
        [(total,)] = self.database.read(
            f"SELECT COUNT(*) FROM dxr_files f WHERE f.state = 2 AND {where}{unseen}", *args, *hidden
        )
        return int(total), self._select(where, args, hidden, order, limit, offset)


def _findings(seq: int, document: Document) -> list[tuple[int, str, int, str | None]]:
    phrases: dict[int, dict[str, None]] = {}
    for value, _, _, annotator in document.annotations:
        phrases.setdefault(annotator, {})[value] = None
    return [
        *((seq, "label", label, None) for label in document.labels),
        *((seq, "annotator", annotator, "\n".join(found)) for annotator, found in phrases.items()),
        *((seq, "extractor", int(extractor), None) for extractor in document.extracted),
    ]
