"""Parts that all pictures share: the season as an axis, the clear summer acquisition, and thinned rasters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.schema import X, Y
from mlc_dask.data.years import CALENDAR, SEASON_DAYS, season_day

Raster = TypeVar("Raster", xr.DataArray, xr.Dataset)

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MIDSUMMER: Final = season_day(7, 14)
"""Season day of midsummer, where years start in midwinter: on 1 January in the north, on 1 July in the south."""

_NEARLY: Final = 0.9
"""An acquisition is clear enough with this share of the usable pixels of the clearest one."""


@dataclass(frozen=True)
class Month:
    """A month on the axis of a season: its name, its first season day, and the first day after it."""

    name: str
    first: int
    end: int


def months(year_start: str) -> tuple[Month, ...]:
    """Months of a year in order of time; where a year starts within a month, its last days come first, without name."""
    starts = sorted((season_day(month, 1, year_start), name) for month, name in enumerate(_MONTHS, start=1))
    parts = [*([(0, "")] if starts[0][0] else []), *starts, (SEASON_DAYS, "")]
    return tuple(Month(name, first, end) for (first, name), (end, _) in pairwise(parts))


def season_days(times: npt.NDArray[np.datetime64], year_start: str = CALENDAR) -> npt.NDArray[np.int64]:
    """Season day of every time, in the shape of `times`."""
    dates = times.astype("datetime64[D]").astype(object)
    return np.array([season_day(d.month, d.day, year_start) for d in dates.ravel()], np.int64).reshape(dates.shape)


def clear_summer(
    times: npt.NDArray[np.datetime64], usable: npt.NDArray[np.floating[Any]], year_start: str = CALENDAR
) -> int:
    """Position of the acquisition nearest to midsummer among those nearly as clear as the clearest.

    Parameters
    ----------
    times, usable
        (acquisition,): time, and share of usable pixels 0..1.
    year_start
        Day on which the year starts; midsummer is taken to be half a year later.
    """
    from_summer = np.abs(season_days(times, year_start) - _MIDSUMMER)
    return int(np.where(usable >= _NEARLY * usable.max(), from_summer, np.inf).argmin())


def thinned(raster: Raster, side: int) -> Raster:
    """Every n-th pixel of a raster (…, y, x), lazy, at most `side` pixels on each side; no value is interpolated."""
    step = max(1, -(-max(raster.sizes[Y], raster.sizes[X]) // side))
    return raster.isel({Y: slice(None, None, step), X: slice(None, None, step)})
