"""Quartz cron expressions, judged as Databricks Jobs judges a schedule: the syntax, and at most one run in ten seconds."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
#: The platform's shortest time between two runs, in seconds.
FLOOR_SECONDS = 10


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    special: re.Pattern[str] | None = None

    def number(self, text: str) -> int | None:
        """The number that a word or number of this field stands for; None when it is none."""
        if text in self.words:
            return self.words.index(text) + 1
        if re.fullmatch(r"[0-9]{1,4}", text) and self.low <= int(text) <= self.high:
            return int(text)
        return None


_FIELDS = (
    _Field("seconds", 0, 59),
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field(
        "day of month", 1, 31, special=re.compile(r"L|LW|L-([1-9]|[12][0-9]|30)|([1-9]|[12][0-9]|3[01])W")
    ),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of week", 1, 7, tuple(_DAYS), re.compile(rf"L|([1-7]|{'|'.join(_DAYS)})(L|#[1-5])")),
    _Field("year", 1970, 2099),
)


def cron_problem(expression: str) -> str:
    """What is wrong with a Quartz cron expression; empty when nothing is.

    Six or seven fields: seconds, minutes, hours, day of month, month, day of week (1 = SUN), year. Exactly one of the
    two day fields is `?`.
    """
    parts = expression.upper().split()
    if not 6 <= len(parts) <= 7:
        remedy = ' (Quartz starts with seconds: "0 30 2 * * ?" is half past two)' if len(parts) == 5 else ""
        return f"a Quartz cron expression has 6 or 7 fields, this one has {len(parts)}{remedy}"
    values: list[set[int]] = []
    for text, field in zip(parts, _FIELDS, strict=False):
        found, problem = _values(text, field)
        if problem:
            return problem
        values.append(found)
    if (parts[3] == "?") == (parts[5] == "?"):
        return "exactly one of day of month and day of week must be ?"
    gap = _shortest_gap(values[0], values[1], values[2])
    if gap < FLOOR_SECONDS:
        return f"it fires every {gap} seconds, the platform allows one run in {FLOOR_SECONDS}"
    return ""


def _values(text: str, field: _Field) -> tuple[set[int], str]:
    """The numbers that a field allows (none for days that depend on the month), and what is wrong with it."""
    if text == "?":
        if field.special is None:
            return set(), f"? is not allowed for {field.name}"
        return set(), ""
    result: set[int] = set()
    for part in text.split(","):
        if field.special is not None and field.special.fullmatch(part):
            continue
        base, slash, step_text = part.partition("/")
        step = int(step_text) if re.fullmatch(r"[0-9]{1,4}", step_text) else 0
        if slash and not 0 < step <= max(field.high, 1):
            return set(), f"{part!r} is no increment for {field.name}"
        low_text, dash, high_text = base.partition("-")
        low = field.low if base == "*" else field.number(low_text)
        high = field.high if base == "*" or (slash and not dash) else field.number(high_text) if dash else low
        if low is None or high is None:
            return set(), f"{part!r} is no value for {field.name}: use {field.low} to {field.high}"
        if low <= high:
            result.update(range(low, high + 1, step or 1))
        else:  # FRI-MON, 22-2: around the end
            result.update(range(low, field.high + 1, step or 1), range(field.low, high + 1, step or 1))
    return result, ""


def _shortest_gap(seconds: set[int], minutes: set[int], hours: set[int]) -> int:
    """Seconds between the two firings that lie closest together."""
    ordered = sorted(seconds)
    gaps = [later - earlier for earlier, later in itertools.pairwise(ordered)]
    follows = any(minute + 1 in minutes for minute in minutes)
    around = {0, 59} <= minutes and any((hour + 1) % 24 in hours for hour in hours)
    if ordered and (follows or around):
        gaps.append(60 - ordered[-1] + ordered[0])
    return min(gaps, default=60)
