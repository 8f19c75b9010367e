"""Quartz cron expressions, judged as the scheduler of Jobs does. Only the syntax: no dates here."""

from __future__ import annotations

import re

# fmt: off
_MONTHS = {"JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6,
           "JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10, "NOV": 11, "DEC": 12}
_DAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
# fmt: on
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("seconds", 0, 59, {}),
    ("minutes", 0, 59, {}),
    ("hours", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 1, 7, _DAYS),
    ("year", 1970, 2099, {}),
)


def cron_problem(expression: str) -> str:
    """What is wrong with a Quartz cron expression; empty when nothing is.

    Six or seven fields: seconds, minutes, hours, day of month, month, day of week (1 = SUN), year.
    Exactly one of the two day fields is `?`.
    """
    parts = expression.upper().split()
    if not 6 <= len(parts) <= 7:
        return f"a Quartz cron expression has 6 or 7 fields, this one has {len(parts)}"
    if (parts[3] == "?") == (parts[5] == "?"):
        return "exactly one of day of month and day of week must be '?'"
    for text, (name, low, high, names) in zip(parts, _FIELDS, strict=False):
        problem = _field_problem(text, name, low, high, names)
        if problem:
            return problem
    return ""


def _field_problem(text: str, name: str, low: int, high: int, names: dict[str, int]) -> str:
    if text == "?":
        return "" if name in ("day of month", "day of week") else f"'?' is not allowed for {name}"
    for part in text.split(","):
        if name == "day of month" and re.fullmatch(r"L|LW|L-([0-2]?\d|30)|([1-9]|[12]\d|3[01])W", part):
            continue
        if name == "day of week" and _is_special_day(part):
            continue
        base, slash, step = part.partition("/")
        if slash and (not step.isdigit() or not 0 < int(step) <= max(high, 1)):
            return f"{part!r} is no valid increment for {name}"
        if base == "*":
            continue
        ends = base.split("-")
        if not 1 <= len(ends) <= 2:
            return f"{part!r} is no valid value for {name}"
        for end in ends:
            number = int(end) if re.fullmatch(r"\d{1,4}", end) else names.get(end, -1)
            if not low <= number <= high:
                return f"{end!r} is no valid value for {name}: use {low} to {high}"
    return ""


def _is_special_day(part: str) -> bool:
    """`L`, `6L` (the month's last Friday), `FRI#2` (its second)."""
    match = re.fullmatch(r"L|([1-7]|[A-Z]{3})(L|#[1-5])", part)
    return bool(match) and (match is None or match[1] is None or match[1].isdigit() or match[1] in _DAYS)
