"""The cube of the chosen acquisitions (paper sections 2.1 and 3)."""

from __future__ import annotations

from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.acquisitions import Acquisition, Catalogue, Selection, Source
from mlc_dask.data.grids import Grid
from mlc_dask.data.schema import ACQUISITION, BAND, CUBE_DIMS, OFFSET, SCALE, YEAR, X, Y, year_coordinate
from mlc_dask.data.steps import step

READ_BLOCK = 2048
"""Edge in pixels of the blocks that one acquisition is read and written in: whole tiles of JPEG 2000 products."""


@step("cube", kind="cube", version=4)
def stack_selection(source: Source, catalogue: Catalogue, selection: Selection) -> xr.Dataset:
    """Stack the chosen acquisitions as :func:`stack` does, on the catalogue's grid."""
    return stack(source, selection, grid=catalogue.grid, chunk=READ_BLOCK)


def stack(source: Source, selection: Selection, *, grid: Grid, chunk: int) -> xr.Dataset:
    """Lazy cube of the chosen acquisitions (method sections 0 and 1).

    Parameters
    ----------
    grid
        Grid of the cube, from the catalogue of the source.
    chunk
        Edge, in pixels, of the blocks that tasks read: one block of all bands of one acquisition per task.

    Returns
    -------
    Dataset with ``reflectance`` (year, acquisition, band, y, x) uint16, ``usable`` (year, acquisition, y, x) bool and
    the coordinates that :func:`mlc_dask.data.schema.check_cube` asks for, plus ``cloud``, ``valid`` and ``id`` (year,
    acquisition).
    """
    chunks = (_split(grid.height, chunk), _split(grid.width, chunk))
    years = [
        da.stack([_plane(source, s.acquisition, grid, chunks, year) for s in row])
        for year, row in selection.chosen.items()
    ]
    data = da.stack(years)
    packing = {"scale_factor": SCALE, "add_offset": OFFSET, "_FillValue": 0, "long_name": "surface reflectance"}
    return xr.Dataset(
        {
            "reflectance": (CUBE_DIMS, data[:, :, :-1], packing),
            "usable": ((YEAR, ACQUISITION, Y, X), data[:, :, -1].astype(bool)),
        },
        coords={**_coordinates(selection), BAND: list(source.bands), **grid.coords()},
    )


def _plane(
    source: Source, acquisition: Acquisition, grid: Grid, chunks: tuple[tuple[int, ...], tuple[int, ...]], year: int
) -> da.Array:
    return lazy.read_blocks(
        partial(_read, source, acquisition, grid),
        leading=(len(source.bands) + 1,),
        chunks=chunks,
        dtype=np.uint16,
        name=f"read-{year}",
    )


def _read(source: Source, acquisition: Acquisition, grid: Grid, rows: slice, columns: slice) -> npt.NDArray[np.uint16]:
    """Bands and, as the last plane, the usable mask of one acquisition: (B + 1, h, w)."""
    dn, usable = source.read(acquisition, grid, rows, columns)
    return np.concatenate([dn, usable[None].astype(np.uint16)])


def _coordinates(selection: Selection) -> dict[str, Any]:
    rows = selection.chosen.values()

    def table(value: Any, dtype: Any) -> tuple[tuple[str, str], npt.NDArray[Any]]:
        return (YEAR, ACQUISITION), np.array([[value(s) for s in row] for row in rows], dtype)

    return {
        YEAR: year_coordinate(selection.years, selection.year_start),
        ACQUISITION: np.arange(selection.size),
        "time": table(lambda s: s.acquisition.time, "datetime64[ns]"),
        "id": table(lambda s: s.acquisition.id, np.str_),
        "baseline": table(lambda s: "+".join(sorted({g.baseline for g in s.acquisition.granules})), np.str_),
        "cloud": table(lambda s: s.weather.cloud, np.float64),
        "valid": table(lambda s: s.weather.valid, np.float64),
    }


def _split(size: int, chunk: int) -> tuple[int, ...]:
    whole, rest = divmod(size, chunk)
    return (chunk,) * whole + ((rest,) if rest else ())
