"""Thematic products: an old land-cover map, reprojected to the cube's grid and translated to the legend."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform

from mlc_dask.errors import InputError
from mlc_dask.io.grids import Grid
from mlc_dask.legend import DEFAULT_LEGEND, Crosswalk, Legend
from mlc_dask.schema import X, Y


def open_product(
    path: str | Path,
    *,
    like: xr.Dataset | xr.DataArray,
    crosswalk: str | Path | Crosswalk = "corine",
    legend: Legend = DEFAULT_LEGEND,
) -> xr.DataArray:
    """Old map M on the grid of `like` (paper section 2.1; METHOD section 10).

    Parameters
    ----------
    path
        GeoTIFF of integer product codes, any CRS and resolution.
    like
        Cube or map whose grid the product is put on, by nearest neighbour.
    crosswalk
        Name of a shipped crosswalk, path of a ``code,label,class,quota,reason`` CSV, or a :class:`Crosswalk`.

    Returns
    -------
    (y, x) uint8 legend codes, 0 where excluded or without data; coordinate ``quota`` (y, x) uint8, the percentage of
    a code's pixels that may become samples; attributes ``legend``, ``cell`` (product cell in CRS units) and ``source``.

    Raises
    ------
    InputError
        When the file cannot be read, does not cover the grid, or holds codes that the crosswalk does not know.
    """
    table = read_crosswalk(crosswalk, legend)
    grid = Grid.of_raster(like)
    codes, cell = _on_grid(Path(path), grid)
    values, counts = np.unique(codes, return_counts=True)
    table.check(dict(zip(values.tolist(), counts.tolist(), strict=True)), str(path))
    label = table.table()[codes]
    if not label.any():
        raise InputError(f"{path}: no pixel of the area has a class of the legend; check its extent and the crosswalk")
    return xr.DataArray(
        da.from_array(label, chunks=-1),
        dims=(Y, X),
        coords={**grid.coords(), "quota": ((Y, X), da.from_array(table.quotas()[codes], chunks=-1))},
        name="product",
        attrs={"legend": legend.to_dict(), "cell": max(cell, grid.pixel), "source": f"{Path(path).name}, {table.name}"},
    )


def read_crosswalk(crosswalk: str | Path | Crosswalk, legend: Legend) -> Crosswalk:
    """Resolve a shipped crosswalk's name, the path of a CSV, or a crosswalk itself."""
    if isinstance(crosswalk, Crosswalk):
        return crosswalk
    if str(crosswalk).endswith(".csv"):
        return Crosswalk.from_csv(crosswalk, legend)
    return Crosswalk.named(str(crosswalk), legend)


def open_reference(path: str | Path, *, like: xr.Dataset | xr.DataArray, legend: Legend) -> xr.DataArray:
    """Independent reference map (y, x) uint8 whose codes are the legend's own, on the grid of `like`."""
    grid = Grid.of_raster(like)
    codes, _ = _on_grid(Path(path), grid)
    unknown = sorted(set(np.unique(codes).tolist()) - {0, *legend.codes})
    if unknown:
        raise InputError(f"{path}: codes {unknown} are not in the legend {list(legend.codes)}; recode the reference")
    return xr.DataArray(codes.astype(np.uint8), dims=(Y, X), coords=grid.coords(), name="truth")


def _on_grid(path: Path, grid: Grid) -> tuple[npt.NDArray[np.uint16], float]:
    """Product codes on `grid` (nearest; no data of the file becomes 0), and the product's cell in units of the grid."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the path of a GeoTIFF of class codes")
    try:
        source = rasterio.open(path, driver="GTiff")
    except RasterioIOError as error:
        raise InputError(f"{path} cannot be read as a GeoTIFF ({error}); convert it with gdal_translate") from None
    with source:
        if source.crs is None:
            raise InputError(f"{path} has no CRS; write one with gdal_edit.py -a_srs EPSG:…")
        if np.dtype(source.dtypes[0]).kind not in "iu":
            raise InputError(f"{path} holds {source.dtypes[0]}, not integer class codes; convert it to uint8 or uint16")
        with WarpedVRT(
            source, crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width,
            resampling=Resampling.nearest, src_nodata=source.nodata, nodata=0, dtype="uint16",
        ) as warped:  # fmt: skip
            codes: npt.NDArray[np.uint16] = warped.read(1)
        transform, _, _ = calculate_default_transform(source.crs, grid.crs, source.width, source.height, *source.bounds)
        return codes, float(round(transform.a, 3))
