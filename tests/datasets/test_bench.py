"""The benchmark of datasets runs, on a scale that takes seconds; its times are not judged here."""

from __future__ import annotations

import time

import pytest

from bench import datasets
from tests.datasets.world import World


@pytest.mark.slow
def test_datasets() -> None:
    """Every figure is measured, and ours cleans to as many rows as the plain script."""
    found = datasets.measure(rows=10_000, queries=3)
    assert not found.failed
    assert found.figures["large"]["rows"] == 10_010
    assert found.figures["sync"]["rows"] == found.figures["pandas"]["rows"] == 1000
    assert found.figures["sync"]["status"] == "synced"


@pytest.mark.slow
def test_f10_a_hundred_thousand_rows(world: World) -> None:
    """Bronze, silver and record of 100,000 rows take under a minute here."""
    count = 100_000
    columns = {
        "Order ID": [str(number) for number in range(count)],
        "Amount": [f"{number / 7:.2f}" for number in range(count)],
        "Day": [f"2025-{number % 12 + 1:02}-15" for number in range(count)],
        "Note": [None if number % 3 else "a note" for number in range(count)],
    }
    sync = world.sync(columns, name="Large")
    started = time.monotonic()
    world.run(sync)
    assert time.monotonic() - started < 60
    assert world.types(sync.targets.silver) == {
        "order_id": "BIGINT",
        "amount": "DOUBLE",
        "day": "DATE",
        "note": "STRING",
    }
    status = world.events.latest()["d1"]
    assert (status.row_count_local, status.row_count_bronze, status.row_count_silver) == (count,) * 3
