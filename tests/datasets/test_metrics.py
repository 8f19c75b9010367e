"""Metrics and alerts over a fixed set of events: G10, G11."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lakeflow_job_meta.control.events import Events as ControlEvents
from lakeflow_job_meta.control.records import Event
from lakeflow_job_meta.datasets import metrics
from lakeflow_job_meta.datasets.events import Events
from lakeflow_job_meta.datasets.model import Phase, Status
from lakeflow_job_meta.names import TableName
from tests.datasets.test_events import AT, event, good_run

NOW = "TIMESTAMP '2026-03-04 12:20:00'"


@pytest.fixture
def events(tables: Any, schema: tuple[str, str]) -> Events:
    """Three good syncs of 3, 3 and 13 minutes, one that failed at minute 18, one that waits since minute 4."""
    made = Events(tables, TableName(*schema, "dataset_sync_event"))
    for dataset_id in ("d1", "d2"):
        made.append([event(Status.PENDING, dataset_id=dataset_id)])
        made.append([_of(one, dataset_id) for one in good_run(run_id=f"1{dataset_id[1]}")])
    made.append(
        [event(Status.PENDING, dataset_id="d3"), *[_of(one, "d3") for one in good_run(run_id="13")[:1]]]
    )
    made.append([event(Status.SYNCING, 9, dataset_id="d3", run_id="13", phase=Phase.BRONZE, attempt=2)])
    made.append([event(Status.SYNCED, 13, dataset_id="d3", run_id="13")])
    made.append(
        [
            event(Status.PENDING, 16, dataset_id="d4"),
            event(Status.FAILED, 18, dataset_id="d4", error="no", error_class="engine", retryable=True),
            event(Status.PENDING, 4, dataset_id="d5"),
        ]
    )
    return made


def _of(one: Any, dataset_id: str) -> Any:
    from dataclasses import replace

    return replace(one, dataset_id=dataset_id)


def test_g10_the_views_give_known_numbers(events: Events, tables: Any) -> None:
    """Success rate, duration, syncs that took more than one attempt, and the oldest that waits."""
    name = TableName(events.table.catalog, events.table.schema, "dataset_sync_metrics")
    [row] = tables.query(f"SELECT * FROM {name.quoted}")
    assert row == {
        "tenant_id": "t1",
        "ended": 4,
        "synced": 3,
        "failed": 1,
        "success_rate": 0.75,
        "average_seconds": pytest.approx((180 + 180 + 780) / 3),
        "longest_seconds": 780.0,
        "repeated": 1,
        "pending": 1,
        "oldest_pending": AT + timedelta(minutes=4),
    }


@pytest.mark.parametrize(("minutes", "expected"), [(5, True), (1, False), (60, True)])
def test_g11_the_failure_alert(events: Events, tables: Any, minutes: int, expected: bool) -> None:
    """On when more than a tenth of the syncs that ended in the time failed; off when none ended."""
    [row] = tables.query(metrics.failure_alert(events.table, minutes=minutes, now=NOW))
    assert row["alert"] is expected
    [row] = tables.query(metrics.failure_alert(events.table, minutes=60, rate=0.5, now=NOW))
    assert row["alert"] is False


def test_g11_the_heartbeat_alert(tables: Any, control_name: TableName) -> None:
    """On when the monitor was never heard of, or not for too long; off while it beats."""
    beats = ControlEvents(tables, control_name, "1")
    beats.append([Event("created", AT)])
    [row] = tables.query(metrics.heartbeat_alert(control_name, now=NOW))
    assert row["alert"] is True
    beats.append([Event("heartbeat", AT)])
    [row] = tables.query(metrics.heartbeat_alert(control_name, now=NOW))
    assert row["alert"] is False
    [row] = tables.query(metrics.heartbeat_alert(control_name, minutes=10, now=NOW))
    assert row["alert"] is True
