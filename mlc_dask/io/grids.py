"""The pixel lattice that everything is put on: CRS, affine transform, height and width."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError

from mlc_dask.errors import InputError
from mlc_dask.schema import X, Y

_LATTICE_TOLERANCE = 1e-3
"""Share of a pixel by which two files of one lattice may differ (rounding in their headers)."""


@contextmanager
def open_raster(path: Path) -> Iterator[rasterio.io.DatasetReader]:
    """Open a GeoTIFF, and only a GeoTIFF; whatever cannot be read of it is bad input that names the file."""
    try:
        with rasterio.open(path, driver="GTiff") as file:
            yield file
    except RasterioIOError as error:
        reason = str(error).replace("\n", " ")
        raise InputError(
            f"{path} cannot be read as a GeoTIFF ({reason}); fetch it again, or convert it with gdal_translate"
        ) from error


@dataclass(frozen=True)
class Grid:
    """A north-up raster lattice: `crs` (WKT), the upper left corner, the pixel size in CRS units, and the shape."""

    crs: str
    left: float
    top: float
    pixel: float
    height: int
    width: int

    @classmethod
    def of(cls, source: rasterio.io.DatasetReader) -> Grid:
        """Lattice of an open file; refuses rotated, non-square and unreferenced rasters."""
        t = source.transform
        if source.crs is None:
            raise InputError(f"{source.name} has no CRS; write one with gdal_edit.py -a_srs EPSG:…")
        if t.b or t.d or t.a <= 0 or t.e >= 0 or abs(t.a + t.e) > _LATTICE_TOLERANCE * t.a:
            raise InputError(f"{source.name} is rotated or has oblong pixels ({t.a} × {-t.e}); warp it to squares")
        return cls(source.crs.to_wkt(), t.c, t.f, t.a, source.height, source.width)

    @classmethod
    def of_raster(cls, raster: xr.Dataset | xr.DataArray) -> Grid:
        """Lattice of a raster with y and x at pixel centres and a CRS."""
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
    def label(self) -> str:
        """Short text for messages."""
        authority = CRS.from_wkt(self.crs).to_authority()
        name = ":".join(authority) if authority else "its own CRS"
        return f"{self.width} × {self.height} px of {self.pixel:g} from ({self.left:g}, {self.top:g}) in {name}"

    def same_crs(self, other: Grid) -> bool:
        """Whether both lattices are in one CRS."""
        return bool(CRS.from_wkt(self.crs) == CRS.from_wkt(other.crs))

    def refined(self, factor: int) -> Grid:
        """Return the lattice over the same ground whose pixels are `factor` times smaller."""
        return Grid(self.crs, self.left, self.top, self.pixel / factor, self.height * factor, self.width * factor)

    def matches(self, other: Grid) -> bool:
        """Whether both have the same pixels, up to a thousandth of one."""
        slack = _LATTICE_TOLERANCE * self.pixel
        return (
            self.same_crs(other)
            and self.shape == other.shape
            and abs(self.left - other.left) <= slack
            and abs(self.top - other.top) <= slack
            and abs(self.pixel - other.pixel) * max(self.shape) <= slack
        )

    def coords(self) -> dict[str, xr.DataArray]:
        """Coordinates y and x at pixel centres and ``spatial_ref`` with the CRS (CF)."""
        x = self.left + self.pixel * (np.arange(self.width) + 0.5)
        y = self.top - self.pixel * (np.arange(self.height) + 0.5)
        empty = xr.Dataset(coords={Y: (Y, y), X: (X, x)}).rio.write_crs(self.crs).rio.write_transform(self.transform)
        return {name: empty[name] for name in (Y, X, "spatial_ref")}
