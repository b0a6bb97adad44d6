"""Points: their coordinates in another CRS, and the pixels in which they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid

DEGREES = "EPSG:4326"
"""CRS of longitude and latitude."""

Floats = npt.NDArray[np.float64]


def in_crs(x: npt.ArrayLike, y: npt.ArrayLike, crs: str, to: str) -> tuple[Floats, Floats]:
    """Return points (n,) in another CRS; longitude comes before latitude in every CRS of degrees.

    Raises
    ------
    InputError
        A CRS is unknown, or no transformation between the two is.
    """
    try:
        with rasterio.Env():  # else GDAL prints its errors
            found: Any = transform(CRS.from_user_input(crs), CRS.from_user_input(to), np.asarray(x), np.asarray(y))
    except (CRSError, CPLE_BaseError) as error:
        raise InputError(
            f"no transformation is known from the CRS {crs!r} to {to!r}; give a CRS such as EPSG:4326"
        ) from error
    return np.asarray(found[0], np.float64), np.asarray(found[1], np.float64)


def pixels_at(grid: Grid, x: Floats, y: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns (n,) of the pixels of `grid`, north-up, in which points of its CRS lie; -1 outside of it."""
    row, column = (grid.top - y) / grid.pixel, (x - grid.left) / grid.pixel
    with np.errstate(invalid="ignore"):
        inside = (row >= 0) & (row < grid.height) & (column >= 0) & (column < grid.width)
    rows, columns = (np.where(inside, np.floor(part), -1).astype(np.int64) for part in (row, column))
    return rows, columns


def pixel_hectares(grid: Grid) -> float:
    """Hectares of a pixel; NaN where the CRS is in degrees, whose pixels have no common area."""
    crs = CRS.from_wkt(grid.crs)
    return (grid.pixel * float(crs.linear_units_factor[1])) ** 2 / 1e4 if crs.is_projected else float("nan")
