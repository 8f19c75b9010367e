"""The workspace's state: one SQLite file, and the jobs and secrets in it that several parts read."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from lakeflow_job_meta.errors import LocalError

DDL = """
CREATE TABLE IF NOT EXISTS jobs(
    job_id INTEGER PRIMARY KEY AUTOINCREMENT,
    settings TEXT NOT NULL,
    created_time INTEGER NOT NULL,
    creator TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE IF NOT EXISTS secret_scopes(scope TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS secrets(
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    updated INTEGER NOT NULL,
    PRIMARY KEY(scope, key)
);
CREATE TABLE IF NOT EXISTS documents(
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY(kind, key)
);
"""

FIRST_JOB_ID = 100_000_000_001
"""Job ids start here, so that an id mixed up with a small run id or index never works by accident."""


class Database:
    """One SQLite file in WAL mode: one connection a thread, writers take turns.

    Safe after kill -9 of the process: a transaction is there whole or not at all. A `write` inside a
    `transaction` of the same thread belongs to it.

    Args:
        path: the file; made with mode 0600.

    Raises:
        LocalError: the file cannot be opened or is no database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._writing = threading.RLock()
        self._open: dict[threading.Thread, sqlite3.Connection] = {}
        self._open_lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = self._connection()
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(DDL)
            connection.execute(
                "INSERT INTO sqlite_sequence(name, seq) SELECT 'jobs', ?"
                " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'jobs')",
                (FIRST_JOB_ID - 1,),
            )
        except (OSError, sqlite3.Error) as e:
            raise LocalError(
                f"cannot open the state of the workspace, {path}: {e}; if the file is damaged, reset the folder"
            ) from e

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            # In WAL mode NORMAL loses nothing when only the process dies.
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
            with self._open_lock:
                # The run engine has a thread a task: what ended threads left open would use up all files.
                for thread in [thread for thread in self._open if not thread.is_alive()]:
                    self._open.pop(thread).close()
                self._open[threading.current_thread()] = connection
        return connection

    def script(self, ddl: str) -> None:
        """Runs several statements, such as an owner's CREATE TABLE IF NOT EXISTS at start."""
        with self._writing:
            self._connection().executescript(ddl)

    def read(self, sql: str, *args: Any) -> list[sqlite3.Row]:
        """All rows of a SELECT; inside a transaction of this thread it sees what that wrote."""
        return self._connection().execute(sql, args).fetchall()

    def write(self, sql: str, *args: Any) -> int:
        """One statement in one transaction.

        Returns:
            For INSERT the id of the row that was inserted (or replaced), else the number of rows changed.
        """
        with self.transaction() as connection:
            cursor = connection.execute(sql, args)
            if sql.lstrip()[:6].upper() == "INSERT" and cursor.rowcount > 0:
                return cursor.lastrowid or 0
            return cursor.rowcount

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the body raises; nested ones join the outer."""
        connection = self._connection()
        with self._writing:
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def close(self) -> None:
        """Closes the connections of all threads; the database must not be used afterwards."""
        with self._open_lock:
            for connection in self._open.values():
                connection.close()
            self._open.clear()
        self._local = threading.local()


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A saved job. `settings` is JobSettings JSON with the server's defaults; treat it as read-only."""

    job_id: int
    settings: dict[str, Any]
    created_time: int
    """Milliseconds since the epoch."""
    creator: str
    version: int = 1


class Jobs:
    """The saved jobs, held in memory and written through: this process is the only writer.

    Args:
        database: where they are kept.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.RLock()
        self._generation = 1
        self._records = {
            row["job_id"]: JobRecord(
                row["job_id"],
                orjson.loads(row["settings"]),
                row["created_time"],
                row["creator"],
                row["version"],
            )
            for row in database.read(
                "SELECT job_id, settings, created_time, creator, version FROM jobs WHERE deleted = 0 ORDER BY job_id"
            )
        }

    def get(self, job_id: int) -> JobRecord | None:
        """The job, None when it was deleted or never was."""
        return self._records.get(job_id)

    def all(self) -> list[JobRecord]:
        """All jobs, oldest first."""
        with self._lock:
            return list(self._records.values())

    def generation(self) -> int:
        """A number that moves at every create, update and delete."""
        return self._generation

    def create(self, settings: dict[str, Any], creator: str) -> JobRecord:
        """Saves a new job; ids grow and are never used again."""
        now = int(self._clock() * 1000)
        with self._lock:
            job_id = self._database.write(
                "INSERT INTO jobs(settings, created_time, creator) VALUES (?, ?, ?)",
                orjson.dumps(settings).decode(),
                now,
                creator,
            )
            record = JobRecord(job_id, settings, now, creator)
            self._records[job_id] = record
            self._generation += 1
        return record

    def change(self, job_id: int, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> JobRecord | None:
        """Replaces a job's settings by `edit(settings)`, with no other change in between.

        Returns:
            The job as it is now, None when there is none. What `edit` raises changes nothing.
        """
        with self._lock:
            old = self._records.get(job_id)
            if old is None:
                return None
            settings = edit(old.settings)
            record = JobRecord(job_id, settings, old.created_time, old.creator, old.version + 1)
            self._database.write(
                "UPDATE jobs SET settings = ?, version = ? WHERE job_id = ?",
                orjson.dumps(settings).decode(),
                record.version,
                job_id,
            )
            self._records[job_id] = record
            self._generation += 1
        return record

    def delete(self, job_id: int) -> bool:
        """Deletes a job (its row stays, marked); False when there was none."""
        with self._lock:
            if job_id not in self._records:
                return False
            self._database.write("UPDATE jobs SET deleted = 1 WHERE job_id = ?", job_id)
            del self._records[job_id]
            self._generation += 1
        return True


class Secrets:
    """Secret scopes and values. They stand in the state file, whose mode is 0600.

    Args:
        database: where they are kept.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def scopes(self) -> list[str]:
        return [row["scope"] for row in self._database.read("SELECT scope FROM secret_scopes ORDER BY scope")]

    def create_scope(self, scope: str) -> bool:
        """False when it is there already."""
        return self._database.write("INSERT OR IGNORE INTO secret_scopes(scope) VALUES (?)", scope) > 0

    def delete_scope(self, scope: str) -> bool:
        """Deletes it with its secrets; False when there was none."""
        with self._database.transaction():
            self._database.write("DELETE FROM secrets WHERE scope = ?", scope)
            return self._database.write("DELETE FROM secret_scopes WHERE scope = ?", scope) > 0

    def keys(self, scope: str) -> list[tuple[str, int]]:
        """Key and last change (ms) of each secret of a scope."""
        rows = self._database.read("SELECT key, updated FROM secrets WHERE scope = ? ORDER BY key", scope)
        return [(row["key"], row["updated"]) for row in rows]

    def put(self, scope: str, key: str, value: bytes) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO secrets(scope, key, value, updated) VALUES (?, ?, ?, ?)",
            scope,
            key,
            value,
            int(self._clock() * 1000),
        )

    def get(self, scope: str, key: str) -> bytes | None:
        """The value, None when there is none."""
        rows = self._database.read("SELECT value FROM secrets WHERE scope = ? AND key = ?", scope, key)
        return bytes(rows[0]["value"]) if rows else None

    def delete(self, scope: str, key: str) -> bool:
        """False when there was none."""
        return self._database.write("DELETE FROM secrets WHERE scope = ? AND key = ?", scope, key) > 0
