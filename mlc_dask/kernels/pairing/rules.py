"""Acquisitions to pair and the rules they are paired by (method section 2; paper section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from mlc_dask.data.errors import InputError

_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIRST_DAY = (0, *accumulate(_MONTHS))
_LAST_DAY = 364
# Shares come out of divisions and of `1 - x`: a limit must not turn on the last bit.
_ROUNDING = 1e-9

CHOSEN = "chosen"
CLOUDY = "cloud over limit"
PARTIAL = "too little valid area"
ALONE = "no partner within max_days_apart"
OUTSCORED = "outscored"
HOPELESS = "cloud over limit in the metadata"


def season_day(month: int, day: int) -> int:
    """Day of a leap-free year, 0..364, on which a calendar date falls in every year alike.

    Parameters
    ----------
    month, day
        Calendar month 1..12 and day of the month; 29 February counts as 28 February.

    Raises
    ------
    InputError
        No such date exists.

    Notes
    -----
    Month and day, not day of the year: after 28 February the latter differs by one in leap years (method section 2).
    """
    leap_day = (month, day) == (2, 29)
    if not leap_day and not (1 <= month <= 12 and 1 <= day <= _MONTHS[month - 1]):
        raise InputError(f"month {month}, day {day} is not a date; give a month 1..12 and a day of that month")
    return _FIRST_DAY[month - 1] + day - 1 - leap_day


@dataclass(frozen=True)
class Candidate:
    """One acquisition of one year.

    Attributes
    ----------
    day
        Season day 0..364, see :func:`season_day`.
    order
        Timestamp in any unit; it must differ between the acquisitions of a year and never contradict `day`.
    cloud
        Cloudy share 0..1 of the valid pixels over the area of interest (1 where no pixel is valid).
    missing
        Share 0..1 of the area of interest without data.
    orbit
        Relative orbit, None where unknown.
    """

    day: int
    order: float
    cloud: float
    missing: float
    orbit: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.day <= _LAST_DAY:
            raise InputError(f"acquisition at season day {self.day} is outside 0..364; compute it with season_day")
        for name, share in (("cloud", self.cloud), ("missing", self.missing)):
            if not 0 <= share <= 1:
                raise InputError(f"{name} = {share} at season day {self.day} is not a share; give 0..1, not percent")


@dataclass(frozen=True)
class PairingRules:
    """Limits, which are never relaxed silently, and the weights of what is minimised within them.

    Parameters
    ----------
    size
        Acquisitions a year, the number of pairs to choose (q; the paper's 20).
    max_days_apart
        Largest spread between the years of one pair, in season days (δ; the paper's 6).
    max_cloud
        Largest cloudy share of an acquisition (the paper's 0.40).
    min_valid_area
        Smallest share of the area of interest with data; a partial swath below it is not used.
    cloud_weight, missing_weight
        Cost of a pair per unit of its mean cloudy and missing share.
    spread_weight
        Cost per day of spread: 0.02 makes five days as dear as ten percent of cloud.
    orbit_weight
        Cost per further relative orbit within a pair (another viewing angle and shadow).
    gap_weight
        Cost of a gap between successive pairs twice as long as an even spacing; it grows with the square of the
        excess, and gaps up to the even spacing are free.
    """

    size: int = 20
    max_days_apart: int = 6
    max_cloud: float = 0.40
    min_valid_area: float = 0.20
    cloud_weight: float = 1.0
    missing_weight: float = 1.0
    spread_weight: float = 0.02
    orbit_weight: float = 0.05
    gap_weight: float = 0.05

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size = {self.size} acquisitions a year; ask for at least 1")
        if self.max_days_apart < 0:
            raise InputError(f"max_days_apart = {self.max_days_apart} is negative; give 0 or more days")
        for name in ("max_cloud", "min_valid_area"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} = {getattr(self, name)} is not a share; give 0..1, not percent")
        for name in ("cloud_weight", "missing_weight", "spread_weight", "orbit_weight", "gap_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} = {getattr(self, name)}; give a finite weight of 0 or more")

    def refuses(self, candidate: Candidate) -> str:
        """Why `candidate` may not be used whatever its partners, or an empty string."""
        if candidate.missing > 1 - self.min_valid_area + _ROUNDING:
            return PARTIAL
        if candidate.cloud > self.max_cloud + _ROUNDING:
            return CLOUDY
        return ""
