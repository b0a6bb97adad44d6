"""Raster files, read onto the cube's grid and converted to its convention (method section 1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from mlc_dask.data.errors import InputError, UnreadableError
from mlc_dask.data.grids import Grid
from mlc_dask.data.schema import DN_OFFSET, SCALE

EXACT = 1e-6
"""Tolerance, in fractions of a pixel, of the transformation to another grid."""

Method = Literal["nearest", "bilinear", "cubic", "average"]


def driver_of(path: Path | str) -> str:
    """GDAL driver for a file, by its name. No other driver is tried: a VRT called img.tif could point anywhere."""
    return "JP2OpenJPEG" if str(path).partition("?")[0].lower().endswith(".jp2") else "GTiff"


@contextmanager
def open_raster(path: Path | str) -> Iterator[rasterio.io.DatasetReader]:
    """Open a GeoTIFF or JPEG 2000 file. Any other or unreadable file raises an UnreadableError that names it."""
    try:
        with rasterio.open(path, driver=driver_of(path)) as file:
            yield file
    except RasterioIOError as error:
        reason = str(error).replace("\n", " ")
        raise UnreadableError(
            f"{path} cannot be read as a GeoTIFF or JPEG 2000 file ({reason}); download it again, or convert it with "
            "gdal_translate"
        ) from error


def band_index(file: rasterio.io.DatasetReader, layer: str | None) -> int:
    """Find the number (from 1) of the band with the description `layer`; the first band when `layer` is None."""
    if layer is None:
        return 1
    if layer not in file.descriptions:
        have = ", ".join(d or "(unnamed)" for d in file.descriptions)
        raise InputError(
            f"{file.name} has no band {layer}, only {have}; correct source.bands, or name the file's bands"
        )
    return int(file.descriptions.index(layer)) + 1


def read_on(
    path: Path | str, grid: Grid, *, layer: str | None = None, nodata: int = 0, method: Method = "nearest"
) -> npt.NDArray[Any]:
    """Values (h, w) of a file on `grid`, `nodata` where the file has no data.

    Pixels whose size is a multiple of the grid's are repeated: no value is invented. For any other grid (another CRS,
    an offset by a fraction of a pixel, or a pixel larger than the file's) the file is warped with `method`.
    """
    with open_raster(path) as file:
        index, own = band_index(file, layer), Grid.of(file)
        steps = own.steps_to(grid)
        if steps is not None:
            return _repeated(file, index, own, grid, steps, nodata)
        # By default GDAL approximates the transformation and fits the kernel to the requested window: without these
        # settings a pixel would depend on the window in which it is read.
        scale = min(1.0, own.pixel / grid.pixel) if own.same_crs(grid) else 1.0
        with WarpedVRT(
            file, crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width,
            resampling=Resampling[method], src_nodata=nodata, nodata=nodata,
            tolerance=EXACT, XSCALE=scale, YSCALE=scale,
        ) as warped:  # fmt: skip
            values: npt.NDArray[Any] = warped.read(index)
            return values


def _repeated(
    file: rasterio.io.DatasetReader, index: int, own: Grid, grid: Grid, steps: tuple[int, int, int], nodata: int
) -> npt.NDArray[Any]:
    factor, *origin = steps
    found = np.full(grid.shape, nodata, file.dtypes[index - 1])
    spans = []
    for start, length, size in zip(origin, own.shape, grid.shape, strict=True):
        low, high = max(0, start), min(size, start + length * factor)
        if low >= high:
            return found
        spans.append((low, high, (low - start) // factor, -(-(high - start) // factor), (low - start) % factor))
    (top, bottom, r0, r1, down), (left, right, c0, c1, across) = spans
    coarse = file.read(index, window=Window(c0, r0, c1 - c0, r1 - r0))
    fine = coarse if factor == 1 else coarse.repeat(factor, axis=0).repeat(factor, axis=1)
    found[top:bottom, left:right] = fine[down : down + bottom - top, across : across + right - left]
    return found


def to_convention(raw: npt.NDArray[Any], scale: float, offset: float, nodata: int) -> npt.NDArray[np.uint16]:
    """Convert digital numbers to the cube's: reflectance = DN * 1e-4 - 0.1, 0 = no data, valid pixels at least 1."""
    if raw.dtype == np.uint16:
        every = np.arange(2**16, dtype=np.uint16)
        table: npt.NDArray[np.uint16] = _converted(every, scale, offset, nodata)[raw]
        return table
    return _converted(raw, scale, offset, nodata)


def _converted(raw: npt.NDArray[Any], scale: float, offset: float, nodata: int) -> npt.NDArray[np.uint16]:
    dn = np.rint((raw.astype(np.float64) * scale + offset) / SCALE) + DN_OFFSET
    empty = (raw == nodata) | ~np.isfinite(dn)
    found: npt.NDArray[np.uint16] = np.where(empty, 0, np.clip(dn, 1, 65535)).astype(np.uint16)
    return found
