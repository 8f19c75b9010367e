"""The lock of remediations: of all that touch files by the plans of one schema, only one does so at a time.

Two at once could each take the other's keeper, or remove what the other is bringing back. The lock is a row in a Delta
table: writers of one row conflict on every engine. It runs out, so that a dead holder does not stop others for long; a
holder that died on this machine stops nobody.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.errors import TaskError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies import remediation_tables
from lakeflow_job_meta.policies.tables import ensure
from lakeflow_job_meta.ports import Tables

#: How long the lock is held without a sign of life, and after how much of that it is renewed.
LEASE, RENEW = timedelta(minutes=5), timedelta(minutes=1)
#: What a single step on a file may take after the lock was looked at.
MARGIN = timedelta(minutes=1)
_NAME = "remediation"


def this_process() -> str:
    """Host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


class RemediationLock:
    """The lock, held inside `with`.

    Args:
        table: it is made when it is not there.
        clock: now, as an aware datetime.

    Raises:
        TaskError: on entering, when another process holds it; in `hold`, when it was lost.
    """

    def __init__(self, tables: Tables, table: TableName, run_id: str, clock: Callable[[], datetime]) -> None:
        self._tables = tables
        self._definition = remediation_tables.lock(table)
        self._run_id = run_id
        self._clock = clock
        self._token = uuid.uuid4().hex
        self._until = datetime.fromtimestamp(0, timezone.utc)

    def __enter__(self) -> RemediationLock:
        ensure(self._tables, self._definition)
        if not self._rows():
            free = {"name": _NAME, "token": "", "owner": "", "run_id": "", "until": self._until}
            commit(lambda: self._tables.merge(self._definition, [free], keys=["name"], update=[]))
        seen = self._read()
        if seen["token"] and seen["until"] > self._clock() and not _is_dead(seen["owner"]):
            raise TaskError(
                f"another remediation (run {seen['run_id']}, {seen['owner']}) is touching files: wait for its end; if "
                f"it is dead, the lock is free at {seen['until']:%H:%M:%S} UTC"
            )
        self._write(self._token, seen["token"])
        if self._read()["token"] != self._token:
            raise TaskError("another remediation has just begun to touch files: wait for its end")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._until = datetime.fromtimestamp(0, timezone.utc)
        self._merge({"token": "", "owner": "", "run_id": "", "until": self._until}, self._token)

    def hold(self) -> None:
        """Make sure that the lock is still ours for the next step, and renew it in time.

        Raises:
            TaskError: it is not, as after a long sleep of the machine: nothing more may be touched.
        """
        now = self._clock()
        if now < self._until - LEASE + RENEW:
            return
        self._write(self._token, self._token)
        if self._read()["token"] != self._token or self._clock() > self._until - MARGIN:
            raise TaskError(
                "the lock of remediations was lost: another one has begun; run this one again after it"
            )

    def check(self) -> None:
        """Make sure that there is time for a step, without asking the table; for threads, while one calls `hold`.

        Raises:
            TaskError: there is not.
        """
        if self._clock() > self._until - MARGIN:
            raise TaskError("the lock of remediations was not renewed in time: run this one again")

    def _write(self, token: str, expected: str) -> None:
        until = self._clock() + LEASE
        self._merge(
            {"token": token, "owner": this_process(), "run_id": self._run_id, "until": until}, expected
        )
        self._until = until

    def _merge(self, values: dict[str, Any], expected: str) -> None:
        # A token is ours, 32 hex digits or empty: a constant that is safe in SQL.
        if expected and not (len(expected) == 32 and all(one in "0123456789abcdef" for one in expected)):
            raise TaskError(f"{self._definition.name} is damaged: its token is none; delete its row")
        commit(
            lambda: self._tables.merge(
                self._definition,
                [{"name": _NAME, **values}],
                keys=["name"],
                matched_when=f"t.token = '{expected}'",
                insert=False,
            )
        )

    def _read(self) -> dict[str, Any]:
        rows = self._rows()
        if len(rows) != 1:
            raise TaskError(
                f"{self._definition.name} has {len(rows)} rows of the lock, not one: delete all of them"
            )
        return rows[0]

    def _rows(self) -> list[dict[str, Any]]:
        return self._tables.query(f"SELECT * FROM {self._definition.name.quoted} WHERE name = '{_NAME}'")


def _is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine that is gone."""
    host, _, process = owner.rpartition(":")
    if host != socket.gethostname() or os.name != "posix" or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
