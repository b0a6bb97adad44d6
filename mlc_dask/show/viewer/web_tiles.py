"""Map tiles: squares of web mercator as PNG, nearest neighbour, in the colours of a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from threading import Lock

import numpy as np
import xarray as xr
from rasterio.warp import calculate_default_transform
from rio_tiler.constants import WEB_MERCATOR_CRS, WEB_MERCATOR_TMS
from rio_tiler.errors import TileOutsideBounds
from rio_tiler.io.xarray import XarrayReader
from rio_tiler.models import ImageData
from rioxarray.exceptions import NoDataInBounds

from mlc_dask.data.legend import NEVER_WRITTEN
from mlc_dask.data.schema import X, Y
from mlc_dask.show.viewer.places import EDGE, Colour, Place

_THINNED = 4
"""Step in pixels of the thinned maps in memory: every fourth pixel of a Sentinel-2 tile takes 7.5 MB."""

_KEPT = 32
"""Number of thinned maps kept in memory."""

_SMALLEST = 16
"""Smallest size in pixels of a thinned map, however small the zoom."""

_TRANSPARENT: Colour = (0, 0, 0, 0)


class Tiles:
    """Tiles of one place.

    At a large zoom, a tile reads its window from the stored map, in whole chunks. At a small zoom, where the window
    would be the whole map, a tile is drawn from every fourth pixel, which is read once and kept.
    """

    def __init__(self, place: Place) -> None:
        self.place, self._lock = place, Lock()
        self._thinned = lru_cache(_KEPT)(self._thin)
        grid = place.grid
        native, _, _ = calculate_default_transform(grid.crs, WEB_MERCATOR_CRS, grid.width, grid.height, *grid.bounds)
        self._pixel = native.a

    def png(self, layer: str, year: int | None, tile: tuple[int, int, int], hidden: Iterable[int] = ()) -> bytes:
        """Draw one tile.

        Parameters
        ----------
        layer, year
            Name of a layer and, where it has years, one of them.
        tile
            Zoom, column and row in the web mercator pyramid.
        hidden
            Values that stay transparent, like pixels outside the map.
        """
        zoom, x, y = tile
        colours = {k: v for k, v in self.place.layers[layer].colours.items() if k not in set(hidden)}
        reader = XarrayReader(self._plane(layer, year, zoom), options={"nodata": NEVER_WRITTEN})
        try:
            image = reader.tile(x, y, zoom, tilesize=EDGE)
        except (TileOutsideBounds, NoDataInBounds):
            return empty()
        return _drawn(image, colours)

    def step(self, zoom: int) -> int:
        """Step in map pixels, a power of two: a tile of `zoom` needs only every such pixel along each side."""
        matrix = WEB_MERCATOR_TMS.matrix(zoom)
        size = matrix.cellSize * matrix.tileWidth / EDGE
        most = min(size / self._pixel, min(self.place.grid.shape) / _SMALLEST)
        return int(2 ** np.floor(np.log2(max(1.0, most))))

    def _plane(self, layer: str, year: int | None, zoom: int) -> xr.DataArray:
        step = self.step(zoom)
        if step < _THINNED:
            return self.place.plane(layer, year)
        with self._lock:  # the tiles of one view ask at once for one map, which is read once
            thinned = self._thinned(layer, year if self.place.layers[layer].yearly else None)
        return self._on_grid(thinned[:: step // _THINNED, :: step // _THINNED], step)

    def _thin(self, layer: str, year: int | None) -> np.ndarray:
        plane = self.place.plane(layer, year)
        return np.asarray(plane.isel({Y: slice(None, None, _THINNED), X: slice(None, None, _THINNED)}).values)

    def _on_grid(self, values: np.ndarray, step: int) -> xr.DataArray:
        grid = self.place.grid
        return xr.DataArray(values, dims=(Y, X), coords=grid.at_pixel(grid.pixel * step).coords())


@lru_cache(1)
def empty() -> bytes:
    """Return a transparent tile."""
    return _drawn(ImageData(np.zeros((1, EDGE, EDGE), np.uint8)), {})


def _drawn(image: ImageData, colours: Mapping[int, Colour]) -> bytes:
    # All 256 values: rio-tiler then uses a lookup table instead of a search.
    table = {value: colours.get(value, _TRANSPARENT) for value in range(256)}
    return bytes(image.render(img_format="PNG", colormap=table))
