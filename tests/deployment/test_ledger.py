"""The ledger: what was made and not destroyed since."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from lakeflow_job_meta.control.records import Event
from lakeflow_job_meta.deployment.ledger import Ledger, Made

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Events:
    """An events table in memory: what was appended last comes first, as from the table."""

    def __init__(self) -> None:
        self.kept: list[Event] = []

    def append(self, events: list[Event]) -> None:
        self.kept += events

    def recent(self, limit: int, module: str | None = None) -> list[Event]:
        return sorted(self.kept, key=lambda event: event.at, reverse=True)[:limit]


def ledger() -> Ledger:
    times = (START + timedelta(seconds=second) for second in range(1000))
    return Ledger(Events(), lambda: next(times))  # type: ignore[arg-type]


def test_each_thing_is_made_once() -> None:
    """A second deployment that made it anew (it was deleted by hand) adds nothing."""
    kept = ledger()
    kept.add([Made("schema", "main.etl"), Made("table", "main.etl.t")])
    kept.add([Made("table", "main.etl.t")])
    assert kept.made() == [Made("schema", "main.etl"), Made("table", "main.etl.t")]


def test_a_setting_keeps_what_was_there_before_the_first_time() -> None:
    """Three wheels later, destroying gives back what the user had."""
    kept = ledger()
    kept.add([Made("setting", "package", former="mine", value="one")])
    kept.add([Made("setting", "package", former="one", value="two")])
    assert kept.made() == [Made("setting", "package", former="mine", value="two")]


def test_after_destroying_nothing_was_made() -> None:
    """What is made later counts again."""
    kept = ledger()
    kept.add([Made("schema", "main.etl")])
    kept.clear()
    assert kept.made() == []
    kept.add([Made("volume", "main.etl.v")])
    assert kept.made() == [Made("volume", "main.etl.v")]
