"""A verb that reads few places of a large raster: squares, each of them a block."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.schema import X, Y

Array = npt.NDArray[Any]


# Strategy: each square is sliced from the blocks that it touches and joined into one chunk; all other blocks are
# culled. The squares lie one below the other, so every other verb works on them as on any raster.
def windows(raster: xr.DataArray, rows: npt.ArrayLike, columns: npt.ArrayLike, *, side: int) -> xr.DataArray:
    """Cut squares out of a raster (…, y, x) and put them one below the other: (…, n * side, side), lazy.

    Parameters
    ----------
    rows, columns
        (n,) first row and column of every square; it may reach beyond the raster, where it is 0 or False.
    side
        Side of a square in pixels: every square is one block.

    Returns
    -------
    The coordinates of `raster` without those along y and x.
    """
    data = raster.transpose(..., Y, X).variable.chunk().data
    at = np.stack([np.asarray(rows, int), np.asarray(columns, int)], axis=1).tolist()
    strip = da.concatenate([_square(data, row, column, side) for row, column in at], axis=-2)
    coords = {name: c for name, c in raster.coords.items() if not {Y, X} & set(c.dims)}
    return xr.DataArray(strip, dims=(*raster.dims[:-2], Y, X), coords=coords, name=raster.name, attrs=raster.attrs)


def _square(data: da.Array, row: int, column: int, side: int) -> da.Array:
    corner, sizes = (row, column), data.shape[-2:]
    inside = [(max(start, 0), min(start + side, size)) for start, size in zip(corner, sizes, strict=True)]
    part: da.Array = data[(..., *(slice(*limits) for limits in inside))].rechunk({-1: -1, -2: -1})
    beyond = [(low - start, start + side - high) for start, (low, high) in zip(corner, inside, strict=True)]
    if not any(map(any, beyond)):
        return part
    width = (*((0, 0),) * (data.ndim - 2), *beyond)
    chunks = (*part.chunks[:-2], (side,), (side,))
    padded: da.Array = da.map_blocks(_padded, part, width, chunks=chunks, dtype=data.dtype, meta=part._meta)
    return padded


def _padded(block: Array, width: tuple[tuple[int, int], ...]) -> Array:
    return np.pad(block, width)
