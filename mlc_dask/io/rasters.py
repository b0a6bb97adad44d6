"""Raster files, read onto the cube's grid and converted to its convention (method section 1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, floor
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError, CPLE_NotSupportedError
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from mlc_dask.data.errors import InputError, UnreadableError, first_cause
from mlc_dask.data.grids import Grid
from mlc_dask.data.schema import DN_OFFSET, SCALE
from mlc_dask.io.numbers import Number, fill_of, is_empty, masked

EXACT = 1e-6
"""Tolerance, in fractions of a pixel, of the transformation to another grid."""

Method = Literal["nearest", "bilinear", "cubic", "average"]


_STARTS = {b"II*\0": "GTiff", b"MM\0*": "GTiff", b"II+\0": "GTiff", b"MM\0+": "GTiff", b"\0\0\0\x0c": "JP2OpenJPEG"}
"""GDAL driver by the first bytes of a file."""


_ZIPPED = re.compile(r"/vsizip/\{(.+)\}/(.+)")


def driver_of(path: Path | str) -> str:
    """GDAL driver for a file, by its first bytes where it is local, also in an archive, else by its name.

    No other driver is tried: a VRT called img.tif could point anywhere.
    """
    named = "JP2OpenJPEG" if str(path).partition("?")[0].lower().endswith((".jp2", ".j2k")) else "GTiff"
    return _STARTS.get(_start(str(path)), named)


def _start(path: str) -> bytes:
    """First four bytes of a local file; none where there is no such file."""
    zipped = _ZIPPED.fullmatch(path)
    try:
        if zipped is None:
            with Path(path).open("rb") as stream:
                return stream.read(4)
        with ZipFile(zipped[1]) as archive, archive.open(zipped[2]) as member:
            return member.read(4)
    except (OSError, KeyError, BadZipFile):
        return b""


@contextmanager
def readable(path: Path | str) -> Iterator[None]:
    """Turn GDAL's exceptions inside the block into an InputError that names `path` and the fix; print none of them.

    GDAL decodes on one thread: its own threads swallow the errors of damaged JPEG 2000 tiles, and leave wrong pixels.
    """
    try:
        with rasterio.Env(GDAL_NUM_THREADS="1"):
            yield
    except (CRSError, CPLE_NotSupportedError) as error:
        raise InputError(
            f"{path}: its CRS has no known transformation to the area's; assign the CRS that its coordinates are in "
            "(gdal_edit.py -a_srs EPSG:…)"
        ) from error
    except (RasterioError, CPLE_BaseError) as error:
        raise UnreadableError(
            f"{path} cannot be read as a GeoTIFF or JPEG 2000 file ({first_cause(error)}); download it again, or "
            "convert it with gdal_translate"
        ) from error


@contextmanager
def open_raster(path: Path | str) -> Iterator[rasterio.io.DatasetReader]:
    """Open a GeoTIFF or JPEG 2000 file; GDAL's exceptions inside the block are those of :func:`readable`."""
    with readable(path), rasterio.open(path, driver=driver_of(path)) as file:
        yield file


def check_whole(file: rasterio.io.DatasetReader) -> None:
    """Refuse a GeoTIFF on this machine that ends before its last block, as a download that was cut off does.

    Only its header is read: 0.1 s for 11,000 blocks.

    Raises
    ------
    UnreadableError
        If blocks lie beyond the end of the file.
    """
    place = Path(file.name)
    if file.driver != "GTiff" or not place.is_file():
        return
    size = place.stat().st_size

    def lost(number: int, row: int, column: int) -> bool:
        stated = (file.get_tag_item(f"BLOCK_{k}_{column}_{row}", "TIFF", bidx=number) for k in ("OFFSET", "SIZE"))
        offset, length = (int(n or 0) for n in stated)  # blocks without data have none
        # Some writers state a full last strip where an uncompressed file ends with its last row: nothing is lost then.
        return offset + (1 if file.compression is None else length) > size

    separate = file.interleaving is not None and file.interleaving.value == "BAND"
    gone = sum(lost(n, *at) for n in (file.indexes if separate else (1,)) for at, _ in file.block_windows(n))
    if gone:
        raise UnreadableError(
            f"{file.name} is cut off: {gone} of its blocks lie beyond its {size} bytes; download it again"
        )


def band_index(file: rasterio.io.DatasetReader, layer: str | None) -> int:
    """Find the number (from 1) of the band with the description `layer`; the first band when `layer` is None.

    Raises
    ------
    InputError
        If no band has this description.
    """
    if layer is None:
        return 1
    if layer not in file.descriptions:
        have = ", ".join(d or "(unnamed)" for d in file.descriptions)
        raise InputError(
            f"{file.name} has no band {layer}, only {have}; correct source.bands, or name the file's bands"
        )
    return int(file.descriptions.index(layer)) + 1


def read_on(
    path: Path | str, grid: Grid, *, layer: str | None = None, nodata: Number = 0, method: Method = "nearest"
) -> npt.NDArray[Any]:
    """Values (h, w) of a file on `grid`; see :func:`put_on`."""
    with open_raster(path) as file:
        return put_on(file, grid, layer=layer, nodata=nodata, method=method)


def put_on(
    file: rasterio.io.DatasetReader,
    grid: Grid,
    *,
    layer: str | None = None,
    nodata: Number = 0,
    method: Method = "nearest",
) -> npt.NDArray[Any]:
    """Values (h, w) of an open file on `grid`, ``fill_of(dtype, nodata)`` where it has no data or hides it by a mask.

    Pixels whose size is a multiple of the grid's are repeated: no value is invented. For any other grid (another CRS,
    an offset by a fraction of a pixel, or a pixel larger than the file's) the file is warped with `method`.
    """
    index, own = band_index(file, layer), Grid.of(file)
    fill, steps = fill_of(file.dtypes[index - 1], nodata), own.steps_to(grid)
    if steps is not None:
        return _repeated(file, index, own, grid, steps, fill)
    if masked(file, index):
        with _unmasked(file, index, own, grid, fill) as plain:
            return _warped(plain, 1, own, grid, fill, method)
    return _warped(file, index, own, grid, fill, method)


def _warped(
    file: rasterio.io.DatasetReader, index: int, own: Grid, grid: Grid, fill: float, method: Method
) -> npt.NDArray[Any]:
    # By default GDAL approximates the transformation and fits the kernel to the requested window: without these
    # settings a pixel would depend on the window in which it is read.
    scale = min(1.0, own.pixel / grid.pixel) if own.same_crs(grid) else 1.0
    with WarpedVRT(
        file, crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width,
        resampling=Resampling[method], src_nodata=fill, nodata=fill,
        tolerance=EXACT, XSCALE=scale, YSCALE=scale,
    ) as warped:  # fmt: skip
        values: npt.NDArray[Any] = warped.read(index)
        return values


@contextmanager
def _unmasked(
    file: rasterio.io.DatasetReader, index: int, own: Grid, grid: Grid, fill: float
) -> Iterator[rasterio.io.DatasetReader]:
    """Give the part of a band below `grid` as a file in memory, `fill` where the band is masked."""
    rows, columns = around(grid, own)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        rows = columns = slice(0, 1)
    part = own.window(rows, columns)
    values = _shown(file, index, Window.from_slices(rows, columns), fill)
    profile = {"count": 1, "dtype": values.dtype, "crs": part.crs, "transform": part.transform}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", height=part.height, width=part.width, **profile) as plain:
            plain.write(values, 1)
        with memory.open() as plain:
            yield plain


def _shown(file: rasterio.io.DatasetReader, index: int, window: Window, fill: float) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = file.read(index, window=window)
    if masked(file, index):
        values[file.read_masks(index, window=window) == 0] = fill
    return values


def around(grid: Grid, own: Grid) -> tuple[slice, slice]:
    """Rows and columns of `own` below `grid`, plus the margin that resampling needs."""
    left, bottom, right, top = grid.bounds_in(own.crs)
    beside = 4 * max(1, ceil(grid.pixel / own.pixel))
    spans = ((own.top - top, own.top - bottom, own.height), (left - own.left, right - own.left, own.width))
    rows, columns = (
        slice(max(0, floor(low / own.pixel) - beside), min(size, ceil(high / own.pixel) + beside))
        for low, high, size in spans
    )
    return rows, columns


def _repeated(
    file: rasterio.io.DatasetReader, index: int, own: Grid, grid: Grid, steps: tuple[int, int, int], fill: float
) -> npt.NDArray[Any]:
    factor, *origin = steps
    found = np.full(grid.shape, fill, file.dtypes[index - 1])
    spans = []
    for start, length, size in zip(origin, own.shape, grid.shape, strict=True):
        low, high = max(0, start), min(size, start + length * factor)
        if low >= high:
            return found
        spans.append((low, high, (low - start) // factor, -(-(high - start) // factor), (low - start) % factor))
    (top, bottom, r0, r1, down), (left, right, c0, c1, across) = spans
    coarse = _shown(file, index, Window(c0, r0, c1 - c0, r1 - r0), fill)
    fine = coarse if factor == 1 else coarse.repeat(factor, axis=0).repeat(factor, axis=1)
    found[top:bottom, left:right] = fine[down : down + bottom - top, across : across + right - left]
    return found


def to_convention(raw: npt.NDArray[Any], scale: float, offset: float, nodata: Number) -> npt.NDArray[np.uint16]:
    """Convert digital numbers to the cube's: reflectance = DN * 1e-4 - 0.1, 0 = no data, valid pixels at least 1."""
    if raw.dtype == np.uint16:
        every = np.arange(2**16, dtype=np.uint16)
        table: npt.NDArray[np.uint16] = _converted(every, scale, offset, nodata)[raw]
        return table
    return _converted(raw, scale, offset, nodata)


def _converted(raw: npt.NDArray[Any], scale: float, offset: float, nodata: Number) -> npt.NDArray[np.uint16]:
    dn = np.rint((raw.astype(np.float64) * scale + offset) / SCALE) + DN_OFFSET
    empty = is_empty(raw, nodata) | ~np.isfinite(dn)
    found: npt.NDArray[np.uint16] = np.where(empty, 0, np.clip(dn, 1, 65535)).astype(np.uint16)
    return found
