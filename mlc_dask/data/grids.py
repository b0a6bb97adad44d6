"""The pixel grid of cubes and maps: CRS, affine transform, height and width."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

import numpy as np
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from rasterio.crs import CRS

from mlc_dask.data.errors import InputError, UnreadableError
from mlc_dask.data.schema import X, Y

_TOLERANCE = 1e-3
"""Fraction of a pixel by which files on one grid may differ (rounding in their headers)."""


@lru_cache(maxsize=256)
def _crs(text: str) -> CRS:
    return CRS.from_user_input(text)


@dataclass(frozen=True)
class Grid:
    """A north-up raster grid: `crs` (WKT), the upper left corner, the pixel size in CRS units, and the shape."""

    crs: str
    left: float
    top: float
    pixel: float
    height: int
    width: int

    @classmethod
    def of(cls, source: rasterio.io.DatasetReader) -> Grid:
        """Grid of an open file; rotated rasters, non-square pixels and a missing CRS are refused."""
        if source.crs is None:
            raise UnreadableError(f"{source.name} has no CRS; write one with gdal_edit.py -a_srs EPSG:…")
        return cls.at(source.crs.to_wkt(), source.transform, source.shape, source.name)

    @classmethod
    def at(cls, crs: str, transform: Affine, shape: tuple[int, int], name: str) -> Grid:
        """Grid from its parts; rotated grids and non-square pixels are refused. Messages call the raster `name`."""
        t = transform
        if t.b or t.d or t.a <= 0 or t.e >= 0 or abs(t.a + t.e) > _TOLERANCE * t.a:
            raise InputError(f"{name} is rotated or has non-square pixels ({t.a} × {-t.e}); warp it to square pixels")
        return cls(_crs(crs).to_wkt(), t.c, t.f, t.a, *map(int, shape))

    @classmethod
    def of_raster(cls, raster: xr.Dataset | xr.DataArray) -> Grid:
        """Grid of a raster with y and x at pixel centres and a CRS."""
        if raster.rio.crs is None:
            raise InputError("the raster has no CRS; set one with .rio.write_crs('EPSG:…')")
        x, y = raster[X].values, raster[Y].values
        pixel = float(x[1] - x[0]) if len(x) > 1 else float(y[0] - y[1])
        wkt = CRS.from_user_input(raster.rio.crs).to_wkt()
        return cls(wkt, float(x[0]) - pixel / 2, float(y[0]) + pixel / 2, pixel, len(y), len(x))

    @property
    def transform(self) -> Affine:
        """Affine transform from pixel to CRS coordinates."""
        return Affine(self.pixel, 0.0, self.left, 0.0, -self.pixel, self.top)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top in CRS units."""
        return self.left, self.top - self.height * self.pixel, self.left + self.width * self.pixel, self.top

    @property
    def crs_name(self) -> str:
        """Code of the CRS, such as ``EPSG:32632``, or *its own CRS* for a CRS without a code."""
        authority = _crs(self.crs).to_authority()
        return ":".join(authority) if authority else "its own CRS"

    @property
    def label(self) -> str:
        """Short text for messages."""
        size = f"{self.width} × {self.height} px of {self.pixel:g}"
        return f"{size} from ({self.left:g}, {self.top:g}) in {self.crs_name}"

    def same_crs(self, other: Grid) -> bool:
        """Whether both grids have the same CRS."""
        return self.crs == other.crs or bool(_crs(self.crs) == _crs(other.crs))

    def refined(self, factor: int) -> Grid:
        """Return the grid of the same extent with pixels `factor` times smaller."""
        return Grid(self.crs, self.left, self.top, self.pixel / factor, self.height * factor, self.width * factor)

    def coarsened(self, most: int) -> Grid:
        """Return the grid with pixels enlarged by the least whole factor that leaves at most `most` per side."""
        factor = max(1, ceil(max(self.shape) / most))
        return self.at_pixel(self.pixel * factor)

    def at_pixel(self, pixel: float) -> Grid:
        """Return the grid with the same upper left corner and pixels of size `pixel`, over at least the same extent."""
        height, width = (ceil(n * self.pixel / pixel - _TOLERANCE) for n in self.shape)
        return replace(self, pixel=pixel, height=height, width=width)

    def window(self, rows: slice, columns: slice) -> Grid:
        """Return the part of the grid at `rows` and `columns`."""
        return replace(
            self,
            left=self.left + columns.start * self.pixel,
            top=self.top - rows.start * self.pixel,
            height=rows.stop - rows.start,
            width=columns.stop - columns.start,
        )

    def steps_to(self, other: Grid) -> tuple[int, int, int] | None:
        """How this grid's pixels align with those of `other`: whole factor of size, row offset and column offset.

        Offsets are counted in pixels of `other`. None if the grids do not align: their CRS differs, this grid's
        pixels are smaller, or the offset is a fraction of a pixel.
        """
        factor = round(self.pixel / other.pixel)
        if factor < 1 or not self.same_crs(other):
            return None
        row, column = (other.top - self.top) / other.pixel, (self.left - other.left) / other.pixel
        off = (abs(row - round(row)), abs(column - round(column)))
        drift = abs(self.pixel / other.pixel - factor) * max(self.shape)
        return None if max(*off, drift) > _TOLERANCE * factor else (factor, round(row), round(column))

    def matches(self, other: Grid) -> bool:
        """Whether both grids have the same pixels, within a thousandth of a pixel."""
        return self.shape == other.shape and self.steps_to(other) == (1, 0, 0)

    def coords(self) -> dict[str, xr.DataArray]:
        """Coordinates y and x at pixel centres and ``spatial_ref`` with the CRS (CF)."""
        x = self.left + self.pixel * (np.arange(self.width) + 0.5)
        y = self.top - self.pixel * (np.arange(self.height) + 0.5)
        empty = xr.Dataset(coords={Y: (Y, y), X: (X, x)}).rio.write_crs(self.crs).rio.write_transform(self.transform)
        return {name: empty[name] for name in (Y, X, "spatial_ref")}
