"""Parts that all pictures share: the season as an axis, the clear summer acquisition, and thinned rasters."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.schema import X, Y
from mlc_dask.kernels.pairing.rules import season_day

Raster = TypeVar("Raster", xr.DataArray, xr.Dataset)

DAYS: Final = 365
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH_STARTS: Final = tuple(season_day(month, 1) for month in range(1, 13))

_MIDSUMMER: Final = season_day(7, 14)
_NEARLY: Final = 0.9
"""An acquisition is clear enough with this share of the usable pixels of the clearest one."""


def season_days(times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Season day of every time, in the shape of `times`."""
    dates = times.astype("datetime64[D]").astype(object)
    return np.array([season_day(d.month, d.day) for d in dates.ravel()], np.int64).reshape(dates.shape)


def clear_summer(times: npt.NDArray[np.datetime64], usable: npt.NDArray[np.floating[Any]]) -> int:
    """Position of the acquisition nearest to midsummer among those nearly as clear as the clearest.

    Parameters
    ----------
    times, usable
        (acquisition,): time, and share of usable pixels 0..1.
    """
    from_summer = np.abs(season_days(times) - _MIDSUMMER)
    return int(np.where(usable >= _NEARLY * usable.max(), from_summer, np.inf).argmin())


def thinned(raster: Raster, side: int) -> Raster:
    """Every n-th pixel of a raster (…, y, x), lazy, at most `side` pixels on each side; no value is interpolated."""
    step = max(1, -(-max(raster.sizes[Y], raster.sizes[X]) // side))
    return raster.isel({Y: slice(None, None, step), X: slice(None, None, step)})
