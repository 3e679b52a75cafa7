"""Dates of RFC 3339 as seconds since the epoch and back, by arithmetic alone: no clock, no zone.

Years count from March here, so that a leap day is the last of its year and the days before a month
are a straight line.
"""

from __future__ import annotations

import re
from typing import Final

_DAY: Final = 86_400
_OF_ERA: Final = 146_097  # days of 400 years, after which the calendar repeats itself
_EPOCH: Final = 719_468  # days from the 1st of March of the year 0 to the epoch

# date-time of RFC 3339 §5.6; a leap second is none to us
_DATE: Final = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.\d{1,9})?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)


def parse_date(text: str) -> float | None:
    """Seconds since the epoch of a date-time, without fractions; None: malformed."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    days = _days(year, month, day) if 1 <= month <= 12 else 0
    if _civil(days) != (year, month, day):
        return None
    sign, hours, minutes = match.groups()[6:]
    ahead = 0 if sign is None else (int(hours) * 60 + int(minutes)) * 60
    seconds = days * _DAY + (hour * 60 + minute) * 60 + second
    return float(seconds + ahead if sign == "-" else seconds - ahead)


def date(seconds: float) -> str:
    """A date-time in UTC, to the second."""
    days, rest = divmod(int(seconds), _DAY)
    year, month, day = _civil(days)
    hour, rest = divmod(rest, 3600)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{rest // 60:02}:{rest % 60:02}Z"


def _days(year: int, month: int, day: int) -> int:
    """From the epoch to a day."""
    if month <= 2:
        year, month = year - 1, month + 12
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3) + 2) // 5 + day - 1
    return era * _OF_ERA + of_era * 365 + of_era // 4 - of_era // 100 + of_year - _EPOCH


def _civil(days: int) -> tuple[int, int, int]:
    """The inverse of `_days`."""
    era, of_era = divmod(days + _EPOCH, _OF_ERA)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    year += era * 400
    return (year, month + 3, day) if month < 10 else (year + 1, month - 9, day)
