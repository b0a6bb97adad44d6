"""Candidates for pairing, and the rules of pairing (method section 2; paper section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from mlc_dask.data.errors import InputError
from mlc_dask.data.settings import settings

_LAST_DAY = 364
# Shares result from divisions and from `1 - x`: the last bit must not decide about a limit.
_ROUNDING = 1e-9

CHOSEN = "chosen"
CLOUDY = "cloud over limit"
PARTIAL = "too little valid area"
ALONE = "no partner within max_days_apart"
PAIRABLE = "can be paired"
OUTSCORED = "outscored"
HOPELESS = "cloud over limit in the metadata"
UNREADABLE = "cannot be read"
TWIN = "same time as another"
BY_HAND = "acquisitions.leave_out"


@dataclass(frozen=True)
class Candidate:
    """One acquisition of one year.

    Attributes
    ----------
    day
        Season day 0..364, see :func:`mlc_dask.data.years.season_day`.
    order
        Timestamp in any unit; it must differ between the acquisitions of one year and never contradict `day`.
    cloud
        Cloudy share 0..1 of the valid pixels in the area of interest (1 if no pixel is valid).
    missing
        Share 0..1 of the area of interest without data.
    orbit
        Relative orbit; None if unknown.
    """

    day: int
    order: float
    cloud: float
    missing: float
    orbit: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.day <= _LAST_DAY:
            raise InputError(f"season day {self.day} of an acquisition is outside 0..364; compute it with season_day")
        for name, share in (("cloud", self.cloud), ("missing", self.missing)):
            if not 0 <= share <= 1:
                raise InputError(f"{name} = {share} at season day {self.day} is not a share; give 0..1, not percent")


@settings
class PairingRules:
    """Limits, which are never relaxed silently, and the weights of the cost that is minimised within the limits.

    Parameters
    ----------
    size
        Acquisitions per year, which is the number of pairs to choose (q; the paper's 20).
    max_days_apart
        Largest spread between the years of one pair, in season days (δ; the paper's 6).
    max_cloud
        Largest cloudy share of an acquisition (the paper's 0.40).
    min_valid_area
        Smallest share of the area of interest with data; partial swaths with less are not used.
    cloud_weight, missing_weight
        Cost of a pair per unit of its mean cloudy and missing share.
    spread_weight
        Cost per day of spread: at 0.02, five days cost as much as ten percent of cloud.
    orbit_weight
        Cost per additional relative orbit within a pair (its viewing angle and shadows differ).
    gap_weight
        Cost of a gap between successive pairs that is twice as long as even spacing. The cost grows with the square of
        the excess; gaps up to even spacing are free.
    """

    size: Annotated[int, Field(ge=1, validation_alias="per_year", description="acquisitions per year")] = 20
    max_days_apart: Annotated[int, Field(ge=0, le=364, description="δ, days between the years of a pair")] = 6
    max_cloud: Annotated[float, Field(ge=0, le=1, description="highest cloud share of the valid pixels")] = 0.4
    min_valid_area: Annotated[float, Field(ge=0, le=1, description="lowest share of the area with data")] = 0.2
    cloud_weight: Annotated[float, Field(ge=0, description="cost of a pair's mean cloud share")] = 1.0
    missing_weight: Annotated[float, Field(ge=0, description="cost of a pair's mean missing share")] = 1.0
    spread_weight: Annotated[float, Field(ge=0, description="cost per day between the years of a pair")] = 0.02
    orbit_weight: Annotated[float, Field(ge=0, description="cost per additional relative orbit in a pair")] = 0.05
    gap_weight: Annotated[float, Field(ge=0, description="cost of long gaps between successive pairs")] = 0.05

    def refuses(self, candidate: Candidate) -> str:
        """Reason why `candidate` cannot be used, whatever its partners; an empty string if it can."""
        if candidate.missing > 1 - self.min_valid_area + _ROUNDING:
            return PARTIAL
        if candidate.cloud > self.max_cloud + _ROUNDING:
            return CLOUDY
        return ""
