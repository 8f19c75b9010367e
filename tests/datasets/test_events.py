"""Events and statuses on Sail: G1, G2, G4."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lakeflow_job_meta.datasets.events import Events
from lakeflow_job_meta.datasets.model import EventRow, Phase, Status
from lakeflow_job_meta.names import TableName

AT = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
BRONZE, SILVER = "catalog_tenant_t1.bronze.sales", "catalog_tenant_t1.silver.sales_clean"


@pytest.fixture
def events(tables: Any, schema: tuple[str, str]) -> Events:
    return Events(tables, TableName(*schema, "dataset_sync_event"))


def event(status: Status, minute: int = 0, **more: Any) -> EventRow:
    more.setdefault("version", 1)
    more.setdefault("dataset_id", "d1")
    return EventRow(tenant_id="t1", status=status, at=AT + timedelta(minutes=minute), **more)


def good_run(version: int = 1, run_id: str = "100", minute: int = 1) -> list[EventRow]:
    common: dict[str, Any] = {"version": version, "run_id": run_id}
    return [
        event(Status.SYNCING, minute, phase=Phase.BRONZE, attempt=1, **common),
        event(Status.SYNCING, minute + 1, phase=Phase.SILVER, attempt=1, bronze_table=BRONZE, **common),
        event(
            Status.SYNCED,
            minute + 2,
            bronze_table=BRONZE,
            silver_table=SILVER,
            row_count_local=4,
            row_count_bronze=4,
            row_count_silver=3,
            **common,
        ),
    ]


def test_g1_the_history_of_a_good_run(events: Events) -> None:
    """pending, syncing/bronze, syncing/silver, synced; all of one round."""
    assert events.latest() == {}
    for one in [event(Status.PENDING), *good_run()]:
        assert len(events.append([one])) == 1
    history = events.history("d1")
    assert [(one.status.value, one.phase) for one in history] == [
        ("pending", None),
        ("syncing", Phase.BRONZE),
        ("syncing", Phase.SILVER),
        ("synced", None),
    ]
    assert [one.round for one in history] == [1, 1, 1, 1]
    assert [one.seq for one in history] == [1, 2, 3, 4]


def test_g4_attempts_and_errors(events: Events) -> None:
    """A failure shows with its phase and text; after the next success last_sync_error is null and both times are there."""
    events.append([event(Status.PENDING), *good_run()[:2]])
    events.append(
        [
            event(
                Status.FAILED,
                5,
                phase=Phase.SILVER,
                run_id="100",
                error="no room",
                error_class="spark",
                retryable=True,
                bronze_table=BRONZE,
            )
        ]
    )
    status = events.latest(["d1"])["d1"]
    assert (status.status, status.phase, status.last_sync_error) == (Status.FAILED, Phase.SILVER, "no room")
    assert (status.bronze_table, status.silver_table) == (BRONZE, None)
    events.append([event(Status.PENDING, 10), *good_run(run_id="101", minute=11)])
    status = events.latest(tenant="t1")["d1"]
    assert (status.status, status.last_sync_error, status.silver_table) == (Status.SYNCED, None, SILVER)
    assert status.last_sync_at == AT + timedelta(minutes=13)
    assert status.last_sync_attempt == AT + timedelta(minutes=12)
    assert events.latest(tenant="t2") == {}


def test_g2_every_status_is_read_by_another_process(events: Events, sail: Any) -> None:
    """What one session wrote, a fresh one reads, after each step."""
    from lakeflow_job_meta.adapters.spark_tables import SparkTables

    for one in [event(Status.PENDING), *good_run()]:
        events.append([one])
        session = sail.session()
        try:
            sail.register(session, events.table)
            read = Events(SparkTables(session), events.table).latest()["d1"]
        finally:
            session.stop()
        assert (read.status, read.phase) == (one.status, one.phase)


def test_the_view_is_what_latest_reads(events: Events, tables: Any) -> None:
    """People and the product see the same status."""
    events.append([event(Status.PENDING), *good_run()])
    events.append([event(Status.PENDING, dataset_id="d2")])
    rows = {row["dataset_id"]: row for row in tables.query(f"SELECT * FROM {events.view.quoted}")}
    statuses = events.latest()
    assert {name: row["status"] for name, row in rows.items()} == {
        name: one.status.value for name, one in statuses.items()
    }
    assert rows["d1"]["silver_table"] == SILVER


def test_an_older_run_does_not_override_a_newer_version(events: Events) -> None:
    """A straggler of version 1 is written down, and version 2 stays what people see."""
    events.append([event(Status.PENDING), *good_run()[:1]])
    events.append([event(Status.PENDING, 5, version=2)])
    events.append(good_run()[1:])
    status = events.latest()["d1"]
    assert (status.version, status.status) == (2, Status.PENDING)
    assert status.last_sync_at is not None
    events.append(good_run(version=2, run_id="101", minute=20))
    assert events.latest()["d1"].status is Status.SYNCED


def test_kept_tables_of_a_deleted_dataset_stay_known(events: Events) -> None:
    """After `not_synced` the tables are gone, unless it says that they were kept; a new sync begins anew."""
    events.append([event(Status.PENDING), *good_run()])
    events.append([event(Status.NOT_SYNCED, 6, bronze_table=BRONZE, silver_table=SILVER)])
    kept = events.latest()["d1"]
    assert (kept.status, kept.bronze_table) == (Status.NOT_SYNCED, BRONZE)
    events.append([event(Status.NOT_SYNCED, 7)])
    dropped = events.latest()["d1"]
    assert (dropped.bronze_table, dropped.silver_table) == (None, None)


def test_writers_side_by_side(events: Events, sail: Any) -> None:
    """Appends of several sessions at once are all kept."""
    import threading

    from lakeflow_job_meta.adapters.spark_tables import SparkTables

    events.ensure()

    def write(number: int) -> None:
        session = sail.session()
        try:
            sail.register(session, events.table)
            Events(SparkTables(session), events.table).append(
                [event(Status.PENDING, dataset_id=f"x{number}")]
            )
        finally:
            session.stop()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(events.latest()) == {"x0", "x1", "x2", "x3"}
