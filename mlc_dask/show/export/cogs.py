"""One map as a cloud-optimised GeoTIFF: read strip by strip, written by GDAL, and visible only when it is complete."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from rasterio.windows import Window

from mlc_dask import lazy
from mlc_dask.data.grids import Grid
from mlc_dask.data.schema import Y
from mlc_dask.show.export.layers import Plane
from mlc_dask.show.export.styles import names_xml, style_qml
from mlc_dask.storage.durable import atomic_write, fsync

BLOCK: Final = 512
"""Edge of a tile inside the file; a map of this size or smaller has no overviews."""

SUFFIXES: Final = (".tif", ".tif.aux.xml", ".qml")


def level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Shapes of a map and of its overviews, as GDAL's COG driver makes them: halved until they fit into one tile."""
    shapes = [shape]
    while max(shapes[-1]) > BLOCK:
        height, width = shapes[-1]
        shapes.append((max(1, height // 2), max(1, width // 2)))
    return shapes


def write_cog(plane: Plane, values: xr.DataArray, grid: Grid, folder: Path, drafts: Path) -> list[int]:
    """Write a map, the names of its values and its style below `folder`.

    Parameters
    ----------
    values
        (y, x) uint8, lazy: a row of blocks is in memory at a time.
    drafts
        Folder on the same file system for unfinished files.

    Returns
    -------
    list of int
        Pixels of every value 0..255.
    """
    plain, whole = drafts / "plain.tif", drafts / "whole.tif"
    counts = _write_plain(plane, values, grid, plain)
    # One thread and no time stamp: the same map gives the same bytes.
    rasterio.shutil.copy(
        plain, whole, driver="COG", compress="DEFLATE", predictor="NO", blocksize=str(BLOCK),
        overview_resampling=plane.layer.resampling, num_threads="1",
    )  # fmt: skip
    tif, names, style = (folder / f"{plane.stem}{suffix}" for suffix in SUFFIXES)
    tif.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(names, names_xml(plane.layer, counts))
    atomic_write(style, style_qml(plane.layer))
    fsync(whole)
    whole.replace(tif)
    fsync(tif.parent)
    plain.unlink()
    return counts


def _write_plain(plane: Plane, values: xr.DataArray, grid: Grid, path: Path) -> list[int]:
    """Write an uncompressed GeoTIFF with colours and a description, from which GDAL makes the COG."""
    layer = plane.layer
    counts = np.zeros(256, np.int64)
    height, width = grid.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=height, width=width,
        crs=grid.crs, transform=grid.transform, nodata=layer.no_data,
    ) as target:  # fmt: skip
        if layer.resampling != "average":  # GDAL would average the colours of a palette instead of the values
            target.write_colormap(1, {value: (*colour, 255) for value, colour in layer.colours.items()})
        target.set_band_description(1, plane.title)
        target.update_tags(TIFFTAG_SOFTWARE="mlc_dask")
        top = 0
        for rows in lazy.blocks_of(values)[Y]:
            strip = values.isel({Y: slice(top, top + rows)}).values
            for row in strip:  # one row at a time, since bincount needs eight bytes per pixel
                counts += np.bincount(row, minlength=256)
            target.write(strip, 1, window=Window(0, top, width, rows))
            top += rows
    found: list[int] = counts.tolist()
    return found
