"""Pixels of GeoTIFFs on the cube's grid and in its convention (METHOD section 1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.windows import Window

from mlc_dask.errors import InputError
from mlc_dask.io.grids import Grid, open_raster
from mlc_dask.schema import DN_OFFSET, SCALE


def band_index(file: rasterio.io.DatasetReader, band: str | None) -> int:
    """Find the number (from 1) of the band described as `band`; the first one when it is None."""
    if band is None:
        return 1
    if band not in file.descriptions:
        have = ", ".join(d or "(unnamed)" for d in file.descriptions)
        raise InputError(f"{file.name} has no band {band}; it has {have}; correct source.bands or name its bands")
    return int(file.descriptions.index(band)) + 1


def read_whole(path: Path, band: str | None) -> npt.NDArray[Any]:
    """All pixels (h, w) of the band described as `band`."""
    with open_raster(path) as file:
        return file.read(band_index(file, band))  # type: ignore[no-any-return]


def read_window(path: Path, band: str | None, grid: Grid, rows: slice, columns: slice) -> npt.NDArray[Any]:
    """Window of the grid from a file whose pixels are a whole number of times larger."""
    with open_raster(path) as file:
        factor = max(1, round(file.transform.a / grid.pixel))
        top, left = rows.start // factor, columns.start // factor
        bottom, right = -(-rows.stop // factor), -(-columns.stop // factor)
        coarse = file.read(band_index(file, band), window=Window(left, top, right - left, bottom - top))
    fine = coarse if factor == 1 else coarse.repeat(factor, axis=0).repeat(factor, axis=1)
    down, across = rows.start - top * factor, columns.start - left * factor
    height, width = rows.stop - rows.start, columns.stop - columns.start
    found: npt.NDArray[Any] = fine[down : down + height, across : across + width]
    return found


def to_convention(raw: npt.NDArray[Any], scale: float, offset: float, nodata: int) -> npt.NDArray[np.uint16]:
    """Source digital numbers to the cube's: reflectance = DN * 1e-4 - 0.1, 0 = no data, valid pixels at least 1."""
    dn = np.rint((raw.astype(np.float64) * scale + offset) / SCALE) + DN_OFFSET
    empty = (raw == nodata) | ~np.isfinite(dn)
    found: npt.NDArray[np.uint16] = np.where(empty, 0, np.clip(dn, 1, 65535)).astype(np.uint16)
    return found
