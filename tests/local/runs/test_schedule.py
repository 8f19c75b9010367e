"""When Quartz expressions fire."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.runs.schedule import Cron


def fires(expression: str, after: str, zone: str = "UTC", count: int = 1) -> list[str]:
    cron = Cron(expression, zone)
    moment = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone)).timestamp()
    found = []
    for _ in range(count):
        following = cron.next(moment)
        assert following is not None
        moment = following
        found.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 0 2 * * ?", "2024-01-01T02:00:00", ["2024-01-02 02:00:00"]),
        ("0 0 2 * * ?", "2024-01-01T01:59:59", ["2024-01-01 02:00:00"]),
        ("0/20 * * * * ?", "2024-01-01T00:00:41", ["2024-01-01 00:01:00", "2024-01-01 00:01:20"]),
        ("0 15,45 8-9 ? * MON-FRI", "2024-01-05T09:45:00", ["2024-01-08 08:15:00", "2024-01-08 08:45:00"]),
        ("0 0 0 L * ?", "2024-02-01T00:00:00", ["2024-02-29 00:00:00", "2024-03-31 00:00:00"]),
        ("0 0 0 L-2 * ?", "2024-02-01T00:00:00", ["2024-02-27 00:00:00"]),
        ("0 0 0 LW * ?", "2024-03-01T00:00:00", ["2024-03-29 00:00:00"]),
        ("0 0 0 1W * ?", "2024-06-01T00:00:00", ["2024-06-03 00:00:00"]),
        ("0 0 0 15W * ?", "2024-06-01T00:00:00", ["2024-06-14 00:00:00"]),
        ("0 0 0 ? * 6L", "2024-01-01T00:00:00", ["2024-01-26 00:00:00"]),
        ("0 0 0 ? * FRI#2", "2024-01-01T00:00:00", ["2024-01-12 00:00:00"]),
        ("0 0 0 ? * 1", "2024-01-01T00:00:00", ["2024-01-07 00:00:00"]),
        ("0 0 0 ? * L", "2024-01-01T00:00:00", ["2024-01-06 00:00:00"]),
        ("0 0 0 29 FEB ?", "2024-03-01T00:00:00", ["2028-02-29 00:00:00"]),
        ("0 0 22-2/2 * * ?", "2024-01-01T21:00:00", ["2024-01-01 22:00:00", "2024-01-02 00:00:00"]),
        ("0 0 0 1 1 ? 2030", "2024-01-01T00:00:00", ["2030-01-01 00:00:00"]),
        ("0 5/30 * * * ?", "2024-01-01T00:00:00", ["2024-01-01 00:05:00", "2024-01-01 00:35:00"]),
    ],
)
def test_next(expression: str, after: str, expected: list[str]) -> None:
    """The firings that follow a time, one after the other."""
    assert fires(expression, after, count=len(expected)) == expected


def test_time_zone() -> None:
    """Two o'clock is meant where the schedule is."""
    assert fires("0 0 2 * * ?", "2024-07-01T00:00:00", "Asia/Tokyo") == ["2024-07-01 02:00:00"]
    tokyo = Cron("0 0 2 * * ?", "Asia/Tokyo").next(datetime(2024, 7, 1, tzinfo=ZoneInfo("UTC")).timestamp())
    assert tokyo == datetime(2024, 7, 1, 17, tzinfo=ZoneInfo("UTC")).timestamp()


def test_clock_changes() -> None:
    """A time that the spring change leaves out is skipped; one that autumn brings twice fires once."""
    berlin = "Europe/Berlin"
    assert fires("0 30 2 * * ?", "2024-03-30T03:00:00", berlin, 2) == [
        "2024-04-01 02:30:00",
        "2024-04-02 02:30:00",
    ]
    assert fires("0 30 2 * * ?", "2024-10-26T03:00:00", berlin, 2) == [
        "2024-10-27 02:30:00",
        "2024-10-28 02:30:00",
    ]


def test_never_again() -> None:
    """A year in the past has no next firing."""
    assert Cron("0 0 0 1 1 ? 2020", "UTC").next(datetime(2024, 1, 1).timestamp()) is None


def test_wrong_expression() -> None:
    """A wrong expression is refused with its reason."""
    with pytest.raises(LocalError, match="6 or 7 fields"):
        Cron("* * *", "UTC")
