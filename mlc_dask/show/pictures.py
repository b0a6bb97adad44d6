"""Parts that all pictures share: the season as an axis, the clear summer acquisition, thinned rasters, brightness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.schema import OFFSET, SCALE, X, Y
from mlc_dask.data.years import CALENDAR, SEASON_DAYS, season_day

Raster = TypeVar("Raster", xr.DataArray, xr.Dataset)

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MIDSUMMER: Final = season_day(7, 14)
"""Season day of midsummer, where years start in midwinter: on 1 January in the north, on 1 July in the south."""

_BRIGHTEST: Final = {"nir": 0.5, "swir1": 0.5}
"""Reflectance shown at full brightness, where it is not 0.25: vegetation is four times brighter in the infrared."""
_GAMMA: Final = 0.7

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


def brightness(
    dn: npt.NDArray[np.uint16], shown: Sequence[str], roles: Mapping[str, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Red, green and blue of pixels, by one stretch for all acquisitions, so that they can be compared.

    Parameters
    ----------
    dn
        (B, …) uint16 in the cube's convention.
    shown
        Spectral roles that are red, green and blue; without any, the first band is shown in grey.
    roles
        Position of the band of every role.

    Returns
    -------
    Brightness (3, …) float64, 0..1, and (…) bool: pixels with data in all shown bands.
    """
    planes = [roles[r] for r in shown] if shown else [0, 0, 0]
    tops = np.array([_BRIGHTEST.get(r, 0.25) for r in shown] if shown else [0.5] * 3)
    chosen = dn[planes]
    top = tops.reshape(-1, *[1] * (dn.ndim - 1))
    return np.clip((chosen * SCALE + OFFSET) / top, 0, 1) ** _GAMMA, (chosen != 0).all(axis=0)
