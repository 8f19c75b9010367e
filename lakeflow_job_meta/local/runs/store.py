"""Runs, task runs and what belongs to them, in the workspace's database."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from typing import Any

import orjson

from lakeflow_job_meta.local.runs.records import RepairRecord, RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.states import State
from lakeflow_job_meta.local.state import Database

Json = dict[str, Any]

FIRST_RUN_ID = 500_000_000_001
"""Run ids start here, apart from job ids; job runs and task runs share one sequence."""

_DDL = """
CREATE TABLE IF NOT EXISTS runs(
    run_id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL, run_type TEXT NOT NULL, name TEXT NOT NULL,
    settings TEXT NOT NULL, request TEXT NOT NULL, trigger_type TEXT NOT NULL, trigger_info TEXT NOT NULL,
    life_cycle TEXT NOT NULL, result TEXT NOT NULL, message TEXT NOT NULL, code TEXT NOT NULL,
    created INTEGER NOT NULL, start_time INTEGER NOT NULL, end_time INTEGER NOT NULL,
    notifications TEXT NOT NULL DEFAULT '[]', deleted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS runs_of_job ON runs(job_id, run_id);
CREATE INDEX IF NOT EXISTS runs_active ON runs(life_cycle) WHERE life_cycle NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR');
CREATE TABLE IF NOT EXISTS task_runs(
    run_id INTEGER PRIMARY KEY, job_run_id INTEGER NOT NULL, task_key TEXT NOT NULL,
    parent_id INTEGER NOT NULL, iteration INTEGER NOT NULL, input TEXT, attempt INTEGER NOT NULL,
    original_id INTEGER NOT NULL, repair_id INTEGER NOT NULL,
    life_cycle TEXT NOT NULL, result TEXT NOT NULL, message TEXT NOT NULL, code TEXT NOT NULL,
    start_time INTEGER NOT NULL, end_time INTEGER NOT NULL, setup_ms INTEGER NOT NULL,
    output TEXT NOT NULL, error TEXT NOT NULL, error_trace TEXT NOT NULL,
    pid INTEGER NOT NULL, pid_started TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS task_runs_of_run ON task_runs(job_run_id, run_id);
CREATE TABLE IF NOT EXISTS task_values(
    job_run_id INTEGER NOT NULL, task_key TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY(job_run_id, task_key, key)
);
CREATE TABLE IF NOT EXISTS repairs(
    repair_id INTEGER PRIMARY KEY, job_run_id INTEGER NOT NULL, start_time INTEGER NOT NULL,
    end_time INTEGER NOT NULL, life_cycle TEXT NOT NULL, result TEXT NOT NULL, message TEXT NOT NULL, code TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS run_tokens(token TEXT PRIMARY KEY, run_id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS triggers(job_id INTEGER PRIMARY KEY, body TEXT NOT NULL);
"""

_RUN_COLUMNS = (
    "run_id, job_id, run_type, name, settings, request, trigger_type, trigger_info,"
    " life_cycle, result, message, code, created, start_time, end_time, notifications"
)
_TASK_COLUMNS = (
    "run_id, job_run_id, task_key, parent_id, iteration, input, attempt, original_id, repair_id,"
    " life_cycle, result, message, code, start_time, end_time, setup_ms, output, error, error_trace, pid, pid_started"
)
_ACTIVE = "life_cycle NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR')"


class RunStore:
    """Records of runs. Methods are safe from any thread; records belong to who loaded them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.script(_DDL)
        row = database.read(
            "SELECT max((SELECT ifnull(max(run_id), 0) FROM runs), (SELECT ifnull(max(run_id), 0) FROM task_runs),"
            " (SELECT ifnull(max(repair_id), 0) FROM repairs)) AS last"
        )[0]
        self._next: int = max(FIRST_RUN_ID, row["last"] + 1)
        self._ids = threading.Lock()

    def new_id(self) -> int:
        """An id that no run, task run or repair has had."""
        with self._ids:
            self._next += 1
            return self._next - 1

    # ------------------------------------------------------------ runs

    def add_run(self, run: RunRecord, token: str = "") -> int:
        """Saves a new run, unless one with the same idempotency token is there: then that one's id."""
        with self._database.transaction() as connection:
            if token:
                found = connection.execute(
                    "SELECT run_id FROM run_tokens WHERE token = ?", (token,)
                ).fetchone()
                if found is not None:
                    return int(found["run_id"])
                connection.execute("INSERT INTO run_tokens(token, run_id) VALUES (?, ?)", (token, run.run_id))
            connection.execute(
                f"INSERT INTO runs({_RUN_COLUMNS}) VALUES ({_marks(16)})",
                (
                    run.run_id,
                    run.job_id,
                    run.run_type,
                    run.name,
                    _text(run.settings),
                    _text(run.request),
                    run.trigger_type,
                    _text(run.trigger_info),
                    *_state(run.state),
                    run.created,
                    run.start_time,
                    run.end_time,
                    _text(run.notifications),
                ),
            )
        return run.run_id

    def save_run(self, run: RunRecord) -> None:
        self._database.write(
            "UPDATE runs SET settings = ?, request = ?, life_cycle = ?, result = ?, message = ?, code = ?,"
            " start_time = ?, end_time = ?, notifications = ? WHERE run_id = ?",
            _text(run.settings),
            _text(run.request),
            *_state(run.state),
            run.start_time,
            run.end_time,
            _text(run.notifications),
            run.run_id,
        )

    def token_run(self, token: str) -> int | None:
        """The run that was made with an idempotency token."""
        rows = self._database.read("SELECT run_id FROM run_tokens WHERE token = ?", token)
        return int(rows[0]["run_id"]) if rows else None

    def run(self, run_id: int) -> RunRecord | None:
        """The run, None when there is none or it was deleted."""
        rows = self._database.read(
            f"SELECT {_RUN_COLUMNS} FROM runs WHERE run_id = ? AND deleted = 0", run_id
        )
        return _run(rows[0]) if rows else None

    def runs(
        self,
        *,
        job_id: int | None = None,
        active: bool | None = None,
        run_type: str = "",
        start_from: int | None = None,
        start_to: int | None = None,
        before: int | None = None,
        limit: int = 25,
        offset: int = 0,
    ) -> list[RunRecord]:
        """Runs, newest first.

        Args:
            active: True: only those under way; False: only ended ones.
            start_from, start_to: bounds of the start time in ms, both inclusive.
            before: only runs with a lower id.
        """
        where, args = ["deleted = 0"], []
        for condition, value in (
            ("job_id = ?", job_id),
            ("run_type = ?", run_type or None),
            ("created >= ?", start_from),
            ("created <= ?", start_to),
            ("run_id < ?", before),
        ):
            if value is not None:
                where.append(condition)
                args.append(value)
        if active is not None:
            where.append(_ACTIVE if active else f"NOT ({_ACTIVE})")
        rows = self._database.read(
            f"SELECT {_RUN_COLUMNS} FROM runs WHERE {' AND '.join(where)}"
            " ORDER BY run_id DESC LIMIT ? OFFSET ?",
            *args,
            limit,
            offset,
        )
        return [_run(row) for row in rows]

    def delete_run(self, run_id: int) -> None:
        self._database.write("UPDATE runs SET deleted = 1 WHERE run_id = ?", run_id)

    # ------------------------------------------------------------ task runs

    def add_tasks(self, tasks: Iterable[TaskRecord]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(
                f"INSERT INTO task_runs({_TASK_COLUMNS}) VALUES ({_marks(21)})",
                [
                    (
                        task.run_id,
                        task.job_run_id,
                        task.task_key,
                        task.parent_id,
                        task.iteration,
                        task.input,
                        task.attempt,
                        task.original_id or task.run_id,
                        task.repair_id,
                        *_state(task.state),
                        task.start_time,
                        task.end_time,
                        task.setup_ms,
                        _text(task.output),
                        task.error,
                        task.error_trace,
                        task.pid,
                        task.pid_started,
                    )
                    for task in tasks
                ],
            )

    def save_task(self, task: TaskRecord) -> None:
        self._database.write(
            "UPDATE task_runs SET life_cycle = ?, result = ?, message = ?, code = ?, start_time = ?, end_time = ?,"
            " setup_ms = ?, output = ?, error = ?, error_trace = ?, pid = ?, pid_started = ? WHERE run_id = ?",
            *_state(task.state),
            task.start_time,
            task.end_time,
            task.setup_ms,
            _text(task.output),
            task.error,
            task.error_trace,
            task.pid,
            task.pid_started,
            task.run_id,
        )

    def task(self, run_id: int) -> TaskRecord | None:
        rows = self._database.read(f"SELECT {_TASK_COLUMNS} FROM task_runs WHERE run_id = ?", run_id)
        return _task(rows[0]) if rows else None

    def attempts(self, job_run_id: int) -> list[TaskRecord]:
        """Every attempt of every task of a run, oldest first; iterations are left out."""
        rows = self._database.read(
            f"SELECT {_TASK_COLUMNS} FROM task_runs WHERE job_run_id = ? AND parent_id = 0 ORDER BY run_id",
            job_run_id,
        )
        return [_task(row) for row in rows]

    def latest(self, job_run_id: int) -> dict[str, TaskRecord]:
        """The latest attempt of each task of a run, in the order in which tasks were made."""
        return {task.task_key: task for task in self.attempts(job_run_id)}

    def iterations(self, parent_id: int) -> list[TaskRecord]:
        """The latest attempt of each iteration of a for_each task run, in their order."""
        rows = self._database.read(
            f"SELECT {_TASK_COLUMNS} FROM task_runs WHERE parent_id = ? ORDER BY run_id", parent_id
        )
        found = {row["iteration"]: _task(row) for row in rows}
        return [found[index] for index in sorted(found)]

    def unfinished_tasks(self, job_run_id: int) -> list[TaskRecord]:
        """Task runs of a run, iterations included, that have not ended."""
        rows = self._database.read(
            f"SELECT {_TASK_COLUMNS} FROM task_runs WHERE job_run_id = ? AND {_ACTIVE}", job_run_id
        )
        return [_task(row) for row in rows]

    # ------------------------------------------------------------ values, repairs, triggers

    def set_values(self, job_run_id: int, task_key: str, values: Json) -> None:
        """Adds task values of one task; they are JSON values."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO task_values(job_run_id, task_key, key, value) VALUES (?, ?, ?, ?)",
                [(job_run_id, task_key, key, _text(value)) for key, value in values.items()],
            )

    def values(self, job_run_id: int) -> dict[str, Json]:
        """The task values of a run by task key."""
        found: dict[str, Json] = {}
        for row in self._database.read(
            "SELECT task_key, key, value FROM task_values WHERE job_run_id = ?", job_run_id
        ):
            found.setdefault(row["task_key"], {})[row["key"]] = orjson.loads(row["value"])
        return found

    def save_repair(self, repair: RepairRecord) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO repairs(repair_id, job_run_id, start_time, end_time, life_cycle, result, message, code)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            repair.repair_id,
            repair.job_run_id,
            repair.start_time,
            repair.end_time,
            *_state(repair.state),
        )

    def repairs(self, job_run_id: int) -> list[RepairRecord]:
        rows = self._database.read(
            "SELECT * FROM repairs WHERE job_run_id = ? ORDER BY repair_id", job_run_id
        )
        return [
            RepairRecord(
                row["repair_id"], row["job_run_id"], row["start_time"], row["end_time"], _state_of(row)
            )
            for row in rows
        ]

    def trigger(self, job_id: int) -> Json:
        """What the trigger of a job remembers."""
        rows = self._database.read("SELECT body FROM triggers WHERE job_id = ?", job_id)
        return dict(orjson.loads(rows[0]["body"])) if rows else {}

    def save_trigger(self, job_id: int, body: Json) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO triggers(job_id, body) VALUES (?, ?)", job_id, _text(body)
        )

    def forget_trigger(self, job_id: int) -> None:
        self._database.write("DELETE FROM triggers WHERE job_id = ?", job_id)


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _state(state: State) -> tuple[str, str, str, str]:
    return state.life_cycle, state.result, state.message, state.code


def _state_of(row: sqlite3.Row) -> State:
    return State(row["life_cycle"], row["result"], row["message"], row["code"])


def _run(row: sqlite3.Row) -> RunRecord:
    return RunRecord(
        run_id=row["run_id"],
        job_id=row["job_id"],
        run_type=row["run_type"],
        name=row["name"],
        settings=orjson.loads(row["settings"]),
        request=orjson.loads(row["request"]),
        trigger_type=row["trigger_type"],
        trigger_info=orjson.loads(row["trigger_info"]),
        state=_state_of(row),
        created=row["created"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        notifications=orjson.loads(row["notifications"]),
    )


def _task(row: sqlite3.Row) -> TaskRecord:
    return TaskRecord(
        run_id=row["run_id"],
        job_run_id=row["job_run_id"],
        task_key=row["task_key"],
        parent_id=row["parent_id"],
        iteration=row["iteration"],
        input=row["input"],
        attempt=row["attempt"],
        original_id=row["original_id"],
        repair_id=row["repair_id"],
        state=_state_of(row),
        start_time=row["start_time"],
        end_time=row["end_time"],
        setup_ms=row["setup_ms"],
        output=orjson.loads(row["output"]),
        error=row["error"],
        error_trace=row["error_trace"],
        pid=row["pid"],
        pid_started=row["pid_started"],
    )
