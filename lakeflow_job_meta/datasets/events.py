"""The events of dataset syncs: appended, never changed, and read as statuses.

`dataset_sync_event` is append-only: blind appends never conflict in Delta, and nothing that was written is lost.
The view `dataset_sync_status` has one row a dataset; `Events.latest` reads by the same text.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.control.companion import chosen, text_array
from lakeflow_job_meta.datasets import metrics, states
from lakeflow_job_meta.datasets import tables as definitions
from lakeflow_job_meta.datasets.model import EventRow, Phase, Status, SyncStatus
from lakeflow_job_meta.errors import TableNotFound
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Tables

_NEWEST = "`version` DESC, `round` DESC, `seq` DESC, `at` DESC, `event_id` DESC"


class Events:
    """The events of all datasets of one table.

    Args:
        tables: the SQL engine.
        table: full name of the events table (`DatasetTables.events`).
        view: full name of the status view; made with the table. None: `dataset_sync_status` beside it.
    """

    def __init__(self, tables: Tables, table: TableName, view: TableName | None = None) -> None:
        self._tables = tables
        self.table = table
        self.view = view or TableName(table.catalog, table.schema, "dataset_sync_status")
        self._definition = definitions.events(table)

    def ensure(self) -> None:
        """Make the table unless it is there, and its views (see `metrics`) anew."""
        commit(lambda: self._tables.create_table(self._definition))
        self._tables.query(f"CREATE OR REPLACE VIEW {self.view.quoted} AS {status_query(self.table)}")
        metrics.create(self._tables, self.table)

    def append(self, events: Sequence[EventRow]) -> list[EventRow]:
        """Write the events that may follow what happened, in one commit; makes the table when it is not there.

        Args:
            events: in order. `round`, `seq` and `event_id` are filled in.

        Returns:
            Those that were written. An event that may not follow (see `states`), such as a second `pending` while
            one waits, or a status after `synced` in the same run, is left out.

        Raises:
            TablesError: the engine failed; nothing was written.
        """
        if not events:
            return []
        last = {
            dataset_id: list(rounds)
            for dataset_id, rounds in self._rounds({event.dataset_id for event in events}).items()
        }
        written: list[EventRow] = []
        for event in events:
            rounds = last.setdefault(event.dataset_id, [])
            placed = states.place(rounds, event)
            if placed is None:
                continue
            placed = replace(placed, event_id=placed.event_id or uuid.uuid4().hex)
            rounds[:] = [one for one in rounds if one.round != placed.round] + [placed]
            written.append(placed)
        if written:
            rows = [_row(event) for event in written]
            try:
                commit(lambda: self._tables.append(self._definition, rows))
            except TableNotFound:
                self.ensure()
                commit(lambda: self._tables.append(self._definition, rows))
        return written

    def latest(
        self, dataset_ids: Collection[str] | None = None, tenant: str | None = None
    ) -> dict[str, SyncStatus]:
        """The status of each dataset that ever had an event, by dataset_id; none when there is no table.

        Args:
            dataset_ids: only these; None: all.
            tenant: only this tenant's.
        """
        where: list[str] = []
        parameters: dict[str, Any] = {}
        if dataset_ids is not None:
            if not dataset_ids:
                return {}
            where.append(chosen("dataset_id", "dataset_ids"))
            parameters["dataset_ids"] = text_array(set(dataset_ids))
        if tenant is not None:
            where.append("`tenant_id` = :tenant")
            parameters["tenant"] = tenant
        rows = self._query(status_query(self.table, where), parameters)
        return {row["dataset_id"]: _status(row) for row in rows}

    def history(self, dataset_id: str) -> list[EventRow]:
        """Every event of the dataset, oldest first."""
        rows = self._query(
            f"SELECT * FROM {self.table.quoted} WHERE `dataset_id` = :dataset_id "
            "ORDER BY `round`, `seq`, `at`, `event_id`",
            {"dataset_id": dataset_id},
        )
        return [_event(row) for row in rows]

    def of_run(self, dataset_id: str, run_id: str) -> list[EventRow]:
        """The dataset's events of one run, oldest first."""
        return [event for event in self.history(dataset_id) if event.run_id == run_id]

    def _rounds(self, dataset_ids: Iterable[str]) -> dict[str, list[EventRow]]:
        """The last event of each round, by dataset."""
        rows = self._query(
            "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY `dataset_id`, `round` ORDER BY "
            f"`seq` DESC, `at` DESC, `event_id` DESC) AS `n` FROM {self.table.quoted} "
            f"WHERE {chosen('dataset_id', 'dataset_ids')}) AS `e` WHERE `n` = 1",
            {"dataset_ids": text_array(set(dataset_ids))},
        )
        found: dict[str, list[EventRow]] = {}
        for row in rows:
            found.setdefault(row["dataset_id"], []).append(_event(row))
        return found

    def _query(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            return self._tables.query(sql, parameters)
        except TableNotFound:
            return []


def status_query(table: TableName, where: Sequence[str] = ()) -> str:
    """One row a dataset: the newest event, with what is known from the ones before it.

    A table counts as there while no `not_synced` without it came after it.
    """
    condition = f"WHERE {' AND '.join(where)} " if where else ""
    return (
        "WITH ordered AS (SELECT *, row_number() OVER (PARTITION BY `dataset_id` "
        f"ORDER BY {_NEWEST}) AS `n` FROM {table.quoted} {condition}), "
        "facts AS (SELECT `dataset_id`, "
        "min(CASE WHEN `bronze_table` IS NOT NULL THEN `n` END) AS `bronze_n`, "
        "min(CASE WHEN `silver_table` IS NOT NULL THEN `n` END) AS `silver_n`, "
        "coalesce(min(CASE WHEN `status` = 'not_synced' THEN `n` END), max(`n`)) AS `cleared_n`, "
        "max(CASE WHEN `status` = 'synced' THEN `at` END) AS `last_sync_at`, "
        "max(CASE WHEN `status` IN ('pending', 'syncing') THEN `at` END) AS `last_sync_attempt` "
        "FROM ordered GROUP BY `dataset_id`) "
        "SELECT e.`dataset_id`, e.`tenant_id`, e.`version`, e.`status`, e.`phase`, e.`attempt`, e.`at` AS `since`, "
        "e.`module_name`, e.`source_id`, e.`workspace_id`, e.`job_id`, e.`run_id`, "
        "b.`bronze_table`, s.`silver_table`, e.`row_count_local`, e.`row_count_bronze`, e.`row_count_silver`, "
        "e.`error_class`, e.`error` AS `last_sync_error`, e.`retryable`, f.`last_sync_attempt`, f.`last_sync_at`, "
        "e.`round`, e.`seq` "
        "FROM ordered AS e JOIN facts AS f ON e.`dataset_id` = f.`dataset_id` "
        "LEFT JOIN ordered AS b ON b.`dataset_id` = f.`dataset_id` AND b.`n` = f.`bronze_n` "
        "AND f.`bronze_n` <= f.`cleared_n` "
        "LEFT JOIN ordered AS s ON s.`dataset_id` = f.`dataset_id` AND s.`n` = f.`silver_n` "
        "AND f.`silver_n` <= f.`cleared_n` "
        "WHERE e.`n` = 1"
    )


def _row(event: EventRow) -> dict[str, Any]:
    row: dict[str, Any] = {one.name: getattr(event, one.name) for one in fields(event)}
    row["status"] = event.status.value
    row["phase"] = None if event.phase is None else event.phase.value
    for name in ("run_id", "error_class", "error"):
        row[name] = row[name] or None
    return row


def _event(row: dict[str, Any]) -> EventRow:
    return EventRow(**{one.name: _value(row, one.name) for one in fields(EventRow)})


def _status(row: dict[str, Any]) -> SyncStatus:
    return SyncStatus(**{one.name: _value(row, one.name) for one in fields(SyncStatus)})


_TEXTS = frozenset(
    {"source_id", "module_name", "workspace_id", "run_id", "error_class", "error", "tenant_id"}
)


def _value(row: dict[str, Any], name: str) -> Any:
    value = row[name]
    if name == "status":
        return Status(value)
    if name == "phase":
        return None if value is None else Phase(value)
    if name in _TEXTS:
        return value or ""
    if name in ("attempt", "round", "seq", "version"):
        return int(value or 0)
    return value
