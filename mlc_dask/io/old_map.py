"""Thematic products: an old land-cover map, reprojected to the cube's grid and translated into the legend."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from math import floor, log10
from pathlib import Path

import dask.array as da
import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from dask.array.core import normalize_chunks
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window

from mlc_dask import lazy
from mlc_dask.data.errors import InputError, existing
from mlc_dask.data.grids import Grid, on_grid_of
from mlc_dask.data.legend import Crosswalk, Legend, legend_of_crosswalk
from mlc_dask.data.schema import YEAR, X, Y, year_start_of
from mlc_dask.data.steps import step
from mlc_dask.data.years import CALENDAR
from mlc_dask.data.years import year_of as year_named
from mlc_dask.io.numbers import bands_of, packing_tags
from mlc_dask.io.rasters import EXACT, open_raster
from mlc_dask.storage.durable import local

_YEAR_IN_NAME = re.compile(r"(?:CLC_?|WorldCover_10m_)((?:19|20)\d\d)", re.IGNORECASE)

READ_BLOCK = 2048
"""Edge in pixels of the blocks in which a reference is read when the grid's raster has no blocks of its own."""


def open_product(
    path: str | Path,
    *,
    like: xr.Dataset | xr.DataArray,
    crosswalk: str | Path | Crosswalk = "corine",
    legend: Legend | None = None,
    year: int | None = None,
) -> xr.DataArray:
    """Old map M on the grid of `like` (paper section 2.1; method section 10).

    Parameters
    ----------
    path
        GeoTIFF of integer product codes, any CRS and resolution.
    like
        Cube or map with the target grid; the product is resampled to it by nearest neighbour, and has its coordinates
        and its direction of y.
    crosswalk
        Name of a shipped crosswalk, path of a ``code,label,class,quota,reason`` CSV, or a :class:`Crosswalk`. For
        CORINE, the file's codes decide between grid codes (1 to 44) and CLC codes (111 to 523), whichever crosswalk is
        named.
    legend
        Classes of the maps; by default the eleven of the paper, or with ``worldcover`` the eight of WorldCover.

    year
        Year that the map shows; by default from the file's name, where it is that of CORINE or WorldCover.

    Returns
    -------
    (y, x) uint8 legend codes, 0 where excluded or without data; coordinate ``quota`` (y, x) uint8, the percentage of
    a code's pixels that may become samples; attributes ``legend``, ``cell`` (product cell in CRS units), ``source``
    and, where it is known, ``year``.

    Raises
    ------
    InputError
        When the file cannot be read, has no class of the legend on the grid, or holds codes that the crosswalk lacks.
    """
    path = Path(local(str(path)))
    table = read_crosswalk(crosswalk, legend or legend_of_crosswalk(str(crosswalk)))
    grid = Grid.of_raster(like)
    codes, valid, cell = _on_grid(path, grid, table.no_data)
    values, counts = np.unique(codes[valid], return_counts=True)
    table = table.fitting(values.tolist())
    table.check(dict(zip(values.tolist(), counts.tolist(), strict=True)), str(path))
    label = table.table()[codes] * valid
    if not label.any():
        raise InputError(f"{path}: no pixel of the area has a class of the legend; check its extent and the crosswalk")
    product = xr.DataArray(
        da.from_array(label, chunks=-1),
        dims=(Y, X),
        coords={**grid.coords(), "quota": ((Y, X), da.from_array(table.quotas()[codes], chunks=-1))},
        name="product",
        attrs={
            "legend": table.legend.to_dict(),
            "cell": max(cell, grid.pixel),
            "source": ", ".join(filter(None, (path.name, table.name))),
            **({"year": known} if (known := year or year_of(path.name, year_start_of(like))) else {}),
        },
    )
    return on_grid_of(like, product, f"{path}")


def year_of(name: str, year_start: str = CALENDAR) -> int | None:
    """Year that a map shows, by its file's name, e.g. ``U2018_CLC2018_V2020_20u1`` or ``WorldCover_10m_2021_v200``.

    Of the years that start on `year_start` it is the one with most of that calendar year.
    """
    found = _YEAR_IN_NAME.search(name)
    return year_named(date(int(found.group(1)), 6, 30), year_start) if found else None


@step("product", kind="product", version=3)
def put_on_grid(path: Path, cube: xr.Dataset, *, crosswalk: Crosswalk, year: int | None = None) -> xr.DataArray:
    """Put the old map on the cube's grid, in the cube's blocks; a crosswalk in codes makes a map without names."""
    product = open_product(path, like=cube, crosswalk=crosswalk, legend=crosswalk.legend, year=year)
    return product.chunk(lazy.blocks_of(cube.reflectance))


def read_crosswalk(crosswalk: str | Path | Crosswalk, legend: Legend) -> Crosswalk:
    """Return a crosswalk, given as the name of a shipped one, the path of a CSV, or an object."""
    if isinstance(crosswalk, Crosswalk):
        return crosswalk
    if str(crosswalk).endswith(".csv"):
        return Crosswalk.from_csv(crosswalk, legend)
    return Crosswalk.named(str(crosswalk), legend)


def open_reference(path: str | Path, *, like: xr.Dataset | xr.DataArray, legend: Legend) -> xr.DataArray:
    """Independent reference map (y, x) uint8, in codes of the legend, on the grid of `like`, lazy.

    The blocks are those of `like`, or 2048 pixels where `like` has none. A code that is not in the legend raises an
    :class:`InputError` when its block is read; ``check_reference`` reads all blocks.
    """
    path, grid = Path(local(str(path))), Grid.of_raster(like)
    with _warped(path, grid):
        pass  # faults of the header are raised now, not with the first block
    blocks = like.unify_chunks().chunksizes
    heights, widths = normalize_chunks((blocks.get(Y, READ_BLOCK), blocks.get(X, READ_BLOCK)), grid.shape)
    data = lazy.read_blocks(
        partial(_read_reference, path, grid, legend.codes), leading=(), chunks=(heights, widths), dtype=np.uint8,
        name="reference",
    )  # fmt: skip
    return on_grid_of(like, xr.DataArray(data, dims=(Y, X), coords=grid.coords(), name="truth"), f"{path}")


class References(dict[int, Path]):
    """File of the independent reference by year; there may be none."""

    def on(self, maps: xr.Dataset, legend: Legend) -> xr.DataArray | None:
        """Open the years that `maps` have, on their grid: (year, y, x) uint8, lazy; None without any."""
        years = [y for y in maps[YEAR].values.tolist() if y in self]
        planes = [open_reference(self[y], like=maps, legend=legend) for y in years]
        return xr.concat(planes, dim=xr.DataArray(years, dims=YEAR, name=YEAR)) if years else None


def check_reference(path: str | Path, *, like: xr.Dataset | xr.DataArray, legend: Legend) -> bool:
    """Read a reference once, strip by strip, and refuse codes that are not in the legend.

    Returns
    -------
    Whether any pixel has a class.
    """
    grid, seen = Grid.of_raster(like), False
    for top in range(0, grid.height, READ_BLOCK):
        rows = slice(top, min(top + READ_BLOCK, grid.height))
        seen |= bool(_read_reference(Path(path), grid, legend.codes, rows, slice(0, grid.width)).any())
    return seen


def _read_reference(path: Path, grid: Grid, known: Sequence[int], rows: slice, columns: slice) -> npt.NDArray[np.uint8]:
    with _warped(path, grid) as (_, warped):
        codes, _ = _codes(path, warped, Window.from_slices(rows, columns))
    unknown = sorted(set(np.unique(codes).tolist()) - {0, *known})
    if unknown:
        raise InputError(f"{path}: codes {unknown} are not in the legend {list(known)}; recode the reference")
    return codes.astype(np.uint8)


def _on_grid(
    path: Path, grid: Grid, no_data: Sequence[int]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_], float]:
    """Product codes on `grid` (nearest), a mask of valid pixels, and the product's cell in units of the grid."""
    with _warped(path, grid) as (source, warped):
        return *_codes(path, warped, no_data=no_data), _cell(source, grid)


@contextmanager
def _warped(path: Path, grid: Grid) -> Iterator[tuple[rasterio.io.DatasetReader, WarpedVRT]]:
    """Open a file of class codes, and warp it to `grid` (nearest); the last band of the warp marks valid pixels."""
    with open_raster(existing(path, "give a GeoTIFF of class codes")) as source:
        opaque = ColorInterp.alpha not in source.colorinterp
        if source.crs is None:
            raise InputError(f"{path} has no CRS; write one with gdal_edit.py -a_srs EPSG:…")
        if bands_of(source) > 1:
            raise InputError(
                f"{path} has {bands_of(source)} bands, expected one of codes; extract it (gdal_translate -b)"
            )
        if packing_tags(source, 1) is not None:
            raise InputError(f"{path} states a scale or an offset, but codes are whole numbers; remove the tags")
        if np.dtype(source.dtypes[0]).kind not in "iu":
            raise InputError(f"{path} holds {source.dtypes[0]}, not integer class codes; convert it to uint8 or uint16")
        with WarpedVRT(
            source, crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width,
            resampling=Resampling.nearest, src_nodata=source.nodata, add_alpha=opaque, tolerance=EXACT,
        ) as warped:  # fmt: skip
            yield source, warped


def _codes(
    path: Path, warped: WarpedVRT, window: Window | None = None, no_data: Sequence[int] = ()
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Codes of a window, 0 where the file has no data, and a mask of valid pixels.

    Negative codes among `no_data` are those of signed bytes; the other ones are left to the crosswalk.
    """
    codes, valid = warped.read(1, window=window), warped.read(warped.count, window=window) != 0
    valid &= ~np.isin(codes, [code for code in no_data if code < 0])
    if valid.any() and not 0 <= int(codes[valid].min()) <= int(codes[valid].max()) <= np.iinfo(np.uint16).max:
        low, high = int(codes[valid].min()), int(codes[valid].max())
        raise InputError(f"{path}: codes from {low} to {high} do not fit into 0..65535; recode the product")
    return np.where(valid, codes, 0).astype(np.uint16), valid


def _cell(source: rasterio.io.DatasetReader, grid: Grid) -> float:
    """Edge of the product's cells in units of `grid`, measured on the grid: projections stretch other areas more."""
    left, bottom, right, top = grid.bounds_in(source.crs.to_wkt())
    if right < left:  # the grid crosses the antimeridian
        right += 360
    wide, high = (right - left) / abs(source.transform.a), (top - bottom) / abs(source.transform.e)
    columns, rows = max(1, round(wide)), max(1, round(high))
    transform, _, _ = calculate_default_transform(
        source.crs, grid.crs, columns, rows, left, bottom, left + columns * abs(source.transform.a),
        bottom + rows * abs(source.transform.e),
    )  # fmt: skip
    return float(round(transform.a, max(3, 4 - floor(log10(grid.pixel)))))
