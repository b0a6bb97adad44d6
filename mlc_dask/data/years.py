"""The years of the maps: the day on which they start, the number that names them, and the season day of a date.

A year is named for the calendar year in which it ends, as water years and harvests are: with ``year_start = "07-01"``,
2019 is 2018-07-01 to 2019-06-30. With ``"01-01"`` years are calendar years. Times are UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Final

from mlc_dask.data.errors import InputError

CALENDAR: Final = "01-01"
"""Start of a calendar year."""

NO_DAY: Final = 'not a day of every year; give month and day with two digits each, e.g. "07-01" for 1 July'
"""Why a text is no start of a year, and the fix."""

_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIRST_DAY = (0, *accumulate(_MONTHS))
SEASON_DAYS: Final = 365
"""Days of a season: a year without 29 February."""


@lru_cache
def first_day(year_start: str) -> tuple[int, int]:
    """Month and day on which years start.

    Raises
    ------
    InputError
        If `year_start` is not ``MM-DD``, or not a day of every year.
    """
    found = re.fullmatch(r"([0-9]{2})-([0-9]{2})", year_start)
    month, day = (int(part) for part in found.groups()) if found else (0, 0)
    if not (1 <= month <= 12 and 1 <= day <= _MONTHS[month - 1]):
        raise InputError(f"year_start = {year_start!r}: {NO_DAY}")
    return month, day


def check_year_start(year_start: str) -> str:
    """Return `year_start`, or raise InputError as :func:`first_day` does."""
    first_day(year_start)
    return year_start


def year_of(time: date, year_start: str = CALENDAR) -> int:
    """Year that `time` (UTC) belongs to: the calendar year of its last day."""
    start = first_day(year_start)
    following = date(time.year + ((time.month, time.day) >= start), *start)
    return (following - timedelta(days=1)).year


def span(year: int, year_start: str = CALENDAR) -> tuple[datetime, datetime]:
    """First moment of `year`, and first moment of the year after it, both UTC without a time zone."""
    start = first_day(year_start)
    ends = year + (start == first_day(CALENDAR))
    return datetime(ends - 1, *start), datetime(ends, *start)


@dataclass(frozen=True)
class Years:
    """The years that are asked of a source: their `numbers`, None for all, and the day on which they start."""

    numbers: tuple[int, ...] | None = None
    start: str = CALENDAR

    @classmethod
    def of(cls, numbers: Iterable[int] | None, start: str) -> Years:
        """Return the years of the arguments of ``Source.catalogue``."""
        return cls(None if numbers is None else tuple(numbers), check_year_start(start))

    def __contains__(self, time: date) -> bool:
        """Whether `time` (UTC) is in one of the years."""
        return self.numbers is None or year_of(time, self.start) in self.numbers

    def near(self, time: date) -> bool:
        """Whether `time` is in one of the years or less than a day away: an overpass may begin or end in the next."""
        return any(time + timedelta(days=days) in self for days in (-1, 0, 1))

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """First moment of the first year, and first moment after the last one; None for all years."""
        if self.numbers is None:
            return None
        return span(min(self.numbers), self.start)[0], span(max(self.numbers), self.start)[1]


def year_label(year: int, year_start: str = CALENDAR) -> str:
    """Name of a year for people: its number, with its first and last day where it is no calendar year."""
    if year_start == CALENDAR:
        return str(year)
    first, following = span(year, year_start)
    return f"{year} ({first:%Y-%m-%d} … {following - timedelta(days=1):%Y-%m-%d})"


def years_in_words(years: Iterable[int], year_start: str) -> str:
    """Names of several years, separated by commas."""
    return ", ".join(year_label(year, year_start) for year in years)


def season_day(month: int, day: int, year_start: str = CALENDAR) -> int:
    """Day 0..364 of a date in a year of 365 days from `year_start`; the same date has the same day in every year.

    Parameters
    ----------
    month, day
        Calendar month 1..12 and day of the month; 29 February counts as 28 February.

    Raises
    ------
    InputError
        The date does not exist.

    Notes
    -----
    The number of days since the start would not do: after 28 February it differs by one in leap years (method
    section 2). Since days count from the start of the year, 28 December and 3 January are six days apart in a year that
    holds both.
    """
    leap_day = (month, day) == (2, 29)
    if not leap_day and not (1 <= month <= 12 and 1 <= day <= _MONTHS[month - 1]):
        raise InputError(f"month {month}, day {day} is not a date; give a month 1..12 and a day of that month")
    return (_of_calendar(month, day - leap_day) - _of_calendar(*first_day(year_start))) % SEASON_DAYS


def _of_calendar(month: int, day: int) -> int:
    return _FIRST_DAY[month - 1] + day - 1
