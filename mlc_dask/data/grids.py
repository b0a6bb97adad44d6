"""The pixel grid of cubes and maps: CRS, affine transform, height and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds

from mlc_dask.data.errors import InputError, UnreadableError
from mlc_dask.data.schema import X, Y

_TOLERANCE = 1e-3
"""Fraction of a pixel by which files on one grid may differ (rounding in their headers)."""

_SHARE = 0.05
"""Fraction of a pixel by which coordinates may differ from a regular grid: they may be rounded, or float32."""

Box = tuple[float, float, float, float]
Raster = TypeVar("Raster", xr.Dataset, xr.DataArray)


@lru_cache(maxsize=256)
def _crs(text: str) -> CRS:
    return CRS.from_user_input(text)


def box_in(box: Box, crs: str, to: str, *, densify: int = 21) -> Box:
    """Left, bottom, right and top of a box in another CRS, for which PROJ must know a transformation.

    Raises
    ------
    InputError
        If PROJ knows no transformation between the two CRS.
    """
    try:
        with rasterio.Env():  # else GDAL prints its errors
            found: Box = transform_bounds(crs, to, *box, densify_pts=densify)
    except (CRSError, CPLE_BaseError) as error:
        names = [_crs(c).to_wkt().split('"')[1] for c in (crs, to)]
        raise InputError(
            f"no transformation is known from the CRS {names[0]!r} to {names[1]!r}; assign the files' CRS with "
            "gdal_edit.py -a_srs EPSG:…"
        ) from error
    return found


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
            # The header of a truncated answer lacks both, and another attempt may find them.
            kind = UnreadableError if source.transform.is_identity else InputError
            raise kind(f"{source.name} has no CRS; write one with gdal_edit.py -a_srs EPSG:…")
        return cls.at(source.crs.to_wkt(), source.transform, source.shape, source.name)

    @classmethod
    def at(cls, crs: str, transform: Affine, shape: tuple[int, int], name: str) -> Grid:
        """Grid from its parts; rotated grids and non-square pixels are refused. Messages call the raster `name`.

        Raises
        ------
        InputError
            If the transform is rotated or its pixels are not square.
        """
        t = transform
        if t.b or t.d or t.a <= 0 or t.e >= 0 or abs(t.a + t.e) * max(shape) > _SHARE * t.a:
            raise InputError(f"{name} is rotated or has non-square pixels ({t.a} × {-t.e}); warp it to square pixels")
        return cls(_crs(crs).to_wkt(), t.c, t.f, t.a, *map(int, shape))

    @classmethod
    def of_raster(cls, raster: xr.Dataset | xr.DataArray) -> Grid:
        """Grid of a raster with y and x at pixel centres and a CRS.

        The GeoTransform of the raster's CRS variable gives the exact numbers where the coordinates agree with it within
        a share of a pixel; a raster that was cut keeps them. The grid is north-up also where y ascends.

        Raises
        ------
        InputError
            If the raster has no CRS.
        """
        if raster.rio.crs is None:
            raise InputError("the raster has no CRS; set one with .rio.write_crs('EPSG:…')")
        left, top, pixel = _corner(raster)
        return cls(CRS.from_user_input(raster.rio.crs).to_wkt(), left, top, pixel, raster.sizes[Y], raster.sizes[X])

    @property
    def transform(self) -> Affine:
        """Affine transform from pixel to CRS coordinates."""
        return Affine(self.pixel, 0.0, self.left, 0.0, -self.pixel, self.top)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def bounds(self) -> Box:
        """Left, bottom, right and top in CRS units."""
        return self.left, self.top - self.height * self.pixel, self.left + self.width * self.pixel, self.top

    def bounds_in(self, crs: str) -> Box:
        """Left, bottom, right and top in another CRS, for which PROJ must know a transformation."""
        return box_in(self.bounds, self.crs, crs)

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


def most_common(grids: Sequence[Grid]) -> Grid:
    """Return the grid that most of `grids` match; the first of several that are equally frequent."""
    kinds: list[Grid] = []
    counts: list[int] = []
    for grid in grids:
        at = next((i for i, kind in enumerate(kinds) if kind == grid or kind.matches(grid)), len(kinds))
        if at == len(kinds):
            kinds.append(grid)
            counts.append(0)
        counts[at] += 1
    return kinds[counts.index(max(counts))]


def pixel_of(raster: xr.Dataset | xr.DataArray) -> float:
    """Pixel size in units of the coordinates y and x; a CRS is not needed."""
    return _corner(raster)[2]


def north_up(raster: Raster) -> Raster:
    """Return a raster with y from north to south and x from west to east; its rows or columns are turned if needed."""
    return _turned(raster, [dim for dim, falls in ((Y, True), (X, False)) if _falls(raster, dim) is (not falls)])


def on_grid_of(like: xr.Dataset | xr.DataArray, raster: Raster, what: str) -> Raster:
    """Return `raster` with the coordinates y and x of `like`, turned as `like` is.

    Pixels are the same if their places differ by less than a share of a pixel, however the coordinates were computed.

    Raises
    ------
    InputError
        When the pixels of the two rasters do not coincide. The message begins with `what`.
    """
    if like.rio.crs is not None and raster.rio.crs is not None and like.rio.crs != raster.rio.crs:
        raise InputError(
            f"{what}: their CRS differ ({like.rio.crs} and {raster.rio.crs}); put both on one grid with "
            "open_product(…, like=cube)"
        )
    if all(_same(like, raster, dim) for dim in (Y, X)):
        return raster
    turned = _turned(raster, [dim for dim in (Y, X) if _falls(raster, dim) is not _falls(like, dim)])
    for dim in (Y, X):
        a, b = like[dim].values, turned[dim].values
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=_SHARE * _corner(like)[2]):
            raise InputError(
                f"{what}: the {dim} coordinates differ (first {a[0]} and {b[0]}, {len(a)} and {len(b)} pixels); "
                "put both on one grid with open_product(…, like=cube)"
            )
    return turned.assign_coords({dim: (dim, like[dim].values, turned[dim].attrs) for dim in (Y, X)})


def _same(a: xr.Dataset | xr.DataArray, b: xr.Dataset | xr.DataArray, dim: str) -> bool:
    return np.array_equal(a[dim].values, b[dim].values)


def _falls(raster: xr.Dataset | xr.DataArray, dim: str) -> bool | None:
    """Whether the coordinates of a dimension fall; None for a single pixel or without coordinates."""
    if dim not in raster.coords or raster.sizes[dim] < 2:
        return None
    return bool(raster[dim].values[-1] < raster[dim].values[0])


def _turned(raster: Raster, dims: list[str]) -> Raster:
    if not dims:
        return raster
    turned = raster.isel({dim: slice(None, None, -1) for dim in dims})
    # The stored GeoTransform describes the other direction, and rioxarray prefers it to the coordinates.
    return turned.rio.write_transform(turned.rio.transform(recalc=True)) if _stated(raster) else turned


def _stated(raster: xr.Dataset | xr.DataArray) -> Affine | None:
    """Affine transform in the CRS variable of a raster; None without one."""
    mapping = raster.coords.get(raster.rio.grid_mapping)
    text = None if mapping is None else mapping.attrs.get("GeoTransform")
    return None if text is None else Affine.from_gdal(*map(float, str(text).split()))


def _corner(raster: xr.Dataset | xr.DataArray) -> tuple[float, float, float]:
    """Left and top edge, and the pixel size, of a raster; what is not a regular grid of square pixels is refused."""
    stated = _stated(raster)
    if stated is not None and (stated.b or stated.d):
        raise InputError("the raster's GeoTransform is rotated; warp it with .rio.reproject(crs)")
    across = _Axis.of(raster, X, None if stated is None else (stated.c, stated.a))
    down = _Axis.of(raster, Y, None if stated is None else (stated.f, stated.e))
    pixel = across.pixel or down.pixel
    if not pixel:
        raise InputError("a raster of one pixel has no pixel size; write one with .rio.write_transform(transform)")
    if down.pixel and abs(down.pixel - pixel) * max(across.size, down.size) > _SHARE * pixel:
        raise InputError(f"the raster has non-square pixels ({pixel} × {down.pixel}); warp it with .rio.reproject(crs)")
    return across.edge(-1, pixel), down.edge(1, pixel), pixel


@dataclass(frozen=True)
class _Axis:
    """Pixel centres of one dimension: the lowest and highest, their number, the pixel size, and a known edge."""

    low: float
    high: float
    size: int
    pixel: float | None
    known: float | None

    @classmethod
    def of(cls, raster: xr.Dataset | xr.DataArray, dim: str, stated: tuple[float, float] | None) -> _Axis:
        """Axis of a raster; `stated` is the edge of the first pixel and the step in the GeoTransform."""
        centres = _centres(raster, dim, stated)
        size, low, high = len(centres), float(centres.min()), float(centres.max())
        step = None if stated is None else abs(stated[1])
        spacing = (high - low) / (size - 1) if size > 1 else step
        if size > 1:
            even = np.linspace(centres[0], centres[-1], size)
            if not spacing or np.abs(centres - even).max() > _SHARE * spacing:
                raise InputError(
                    f"the {dim} coordinates are not evenly spaced ({_few(centres)}); put the raster on a regular grid, "
                    "in float64"
                )
        if stated is None or not step or not spacing or abs(step - spacing) * size > _SHARE * step:
            return cls(low, high, size, spacing, None)
        return cls(low, high, size, step, stated[0])

    def edge(self, side: int, pixel: float) -> float:
        """Outer edge on the lower (-1) or upper (1) side."""
        centre = self.low if side < 0 else self.high
        if self.known is not None:
            away = side * (centre - self.known) / pixel + 0.5
            if abs(away - round(away)) <= _SHARE:
                return self.known + side * round(away) * pixel
        return centre + side * pixel / 2


def _centres(raster: xr.Dataset | xr.DataArray, dim: str, stated: tuple[float, float] | None) -> npt.NDArray[Any]:
    if dim not in raster.dims:
        names = tuple(map(str, raster.dims))
        raise InputError(f"the raster has dims {names}, not y and x; rename them, e.g. .rename(lat='y', lon='x')")
    if raster.sizes[dim] == 0:
        raise InputError(f"the raster has no pixels along {dim}; select a larger part")
    if dim in raster.coords:
        return np.asarray(raster[dim].values, np.float64)
    if stated is None:
        raise InputError(f"the raster has no {dim} coordinates; assign those of its pixel centres")
    return stated[0] + stated[1] * (np.arange(raster.sizes[dim]) + 0.5)


def _few(centres: npt.NDArray[Any]) -> str:
    return ", ".join(str(float(v)) for v in centres[:3]) + (", …" if len(centres) > 3 else "")
