"""The ledger: what was made, or meant to be, and not taken away since."""

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


def test_an_intent_is_uncertain_until_it_was_carried_out() -> None:
    """A deployment that died in between leaves an intent, with what it takes to undo it."""
    kept = ledger()
    kept.intend(
        [Made("table", "main.etl.t"), Made("setting", "package", former="mine", value="one", fresh=True)]
    )
    assert [one.is_certain for one in kept.made()] == [False, False]
    kept.add([Made("table", "main.etl.t")])
    table, setting = kept.made()
    assert table.is_certain
    assert (setting.former, setting.fresh, setting.is_certain) == ("mine", True, False)


def test_what_was_made_stays_certain() -> None:
    """A later deployment that means to make it anew, and dies, makes it no less ours."""
    kept = ledger()
    kept.add([Made("table", "main.etl.t")])
    kept.intend([Made("table", "main.etl.t")])
    assert kept.made() == [Made("table", "main.etl.t")]


def test_what_was_taken_away_is_forgotten() -> None:
    """What is made later counts again; the order is that of the writes, even in one commit."""
    kept = ledger()
    kept.add([Made("schema", "main.etl"), Made("volume", "main.etl.v")])
    kept.forget([Made("volume", "main.etl.v")])
    assert kept.made() == [Made("schema", "main.etl")]
    kept.add([Made("volume", "main.etl.w"), Made("volume", "main.etl.v")])
    assert [one.name for one in kept.made()] == ["main.etl", "main.etl.w", "main.etl.v"]
