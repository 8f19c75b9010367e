"""When a Quartz cron expression fires next. Its syntax is judged by `local.quartz`."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.quartz import cron_problem

_MONTHS = {
    "JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6,
    "JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10, "NOV": 11, "DEC": 12,
}  # fmt: skip
_DAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_YEARS = 12
"""How far to look ahead: 29 February comes back within eight years, even over a century's end."""


@dataclass(frozen=True)
class Cron:
    """A Quartz cron expression in a time zone.

    Args:
        expression: six or seven fields, `0 0 2 * * ?`.
        zone: name of a time zone, `Europe/Berlin`.

    Raises:
        LocalError: the expression is wrong.
    """

    expression: str
    zone: str

    def __post_init__(self) -> None:
        problem = cron_problem(self.expression)
        if problem:
            raise LocalError(f"{self.expression!r} is no Quartz cron expression: {problem}")

    def next(self, after: float) -> float | None:
        """The first firing after a time (seconds since 1970); None when there is none in 12 years.

        A local time that a clock change leaves out does not fire; one that comes twice fires once.
        """
        zone = ZoneInfo(self.zone)
        fields = self.expression.upper().split()
        seconds = _numbers(fields[0], 0, 59, {})
        minutes = _numbers(fields[1], 0, 59, {})
        hours = _numbers(fields[2], 0, 23, {})
        months = set(_numbers(fields[4], 1, 12, _MONTHS))
        years = set(_numbers(fields[6], 1970, 2099, {})) if len(fields) == 7 else None
        day = datetime.fromtimestamp(after, zone).date()
        last = day.replace(year=day.year + _YEARS, day=1)
        while day <= last:
            if years is not None and day.year not in years:
                day = date(day.year + 1, 1, 1)
                continue
            if day.month not in months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if day.day in _days(day.year, day.month, fields[3], fields[5]):
                for hour in hours:
                    found = _first(day, hour, minutes, seconds, zone, after)
                    if found is not None:
                        return found
            day += timedelta(days=1)
        return None


def _first(
    day: date, hour: int, minutes: list[int], seconds: list[int], zone: ZoneInfo, after: float
) -> float | None:
    for minute in minutes:
        for second in seconds:
            local = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)
            moment = local.astimezone(timezone.utc)
            if moment.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
                continue
            if moment.timestamp() > after:
                return moment.timestamp()
    return None


def _numbers(text: str, low: int, high: int, names: dict[str, int]) -> list[int]:
    found: set[int] = set()
    for part in text.split(","):
        base, slash, step = part.partition("/")
        if base in ("*", "?"):
            start, end = low, high
        else:
            first, dash, second = base.partition("-")
            start = _number(first, names)
            end = _number(second, names) if dash else (high if slash else start)
        values = range(start, end + 1) if start <= end else [*range(start, high + 1), *range(low, end + 1)]
        found.update(list(values)[:: int(step) if slash else 1])
    return sorted(found)


def _number(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)


def _days(year: int, month: int, of_month: str, of_week: str) -> set[int]:
    length = calendar.monthrange(year, month)[1]
    found: set[int] = set()
    if of_month != "?":
        for part in of_month.split(","):
            found |= _of_month(part, year, month, length)
    else:
        for part in of_week.split(","):
            found |= _of_week(part, year, month, length)
    return found


def _of_month(part: str, year: int, month: int, length: int) -> set[int]:
    if part.startswith("L"):
        day = length - (int(part[2:]) if part.startswith("L-") else 0)
        return {_nearest_weekday(year, month, day, length)} if part == "LW" else {day} & set(range(1, 32))
    if part.endswith("W"):
        return {_nearest_weekday(year, month, min(int(part[:-1]), length), length)}
    return {day for day in _numbers(part, 1, 31, {}) if day <= length}


def _nearest_weekday(year: int, month: int, day: int, length: int) -> int:
    weekday = date(year, month, day).weekday()
    if weekday == 5:
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < length else day - 2
    return day


def _of_week(part: str, year: int, month: int, length: int) -> set[int]:
    name, hash_sign, count = part.partition("#")
    last = part.endswith("L") and part != "L" and not hash_sign
    if part == "L":  # the last day of the week is Saturday
        wanted = [7]
    else:
        wanted = _numbers(name[:-1] if last else name, 1, 7, _DAYS)
    days = [d for d in range(1, length + 1) if date(year, month, d).isoweekday() % 7 + 1 in wanted]
    if hash_sign:
        return set(days[int(count) - 1 : int(count)])
    return set(days[-1:]) if last else set(days)
