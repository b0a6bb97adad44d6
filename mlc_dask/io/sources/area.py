"""The area of interest of a source that covers a larger area: a tile, a bounding box, or the grid of all granules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import ceil, floor
from typing import Annotated

from pydantic import Field, field_validator
from rasterio.crs import CRS
from rasterio.errors import CRSError

from mlc_dask.data.acquisitions import Catalogue, Granule, LeftOut, counted, sifted
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid, box_in, most_common
from mlc_dask.data.years import Years
from mlc_dask.io.sources.granules import GranuleSource
from mlc_dask.io.sources.overpasses import overpasses

_COMMON_STEP = 60.0
"""Metres after which the pixel edges of all Sentinel-2 bands coincide."""

_WIDEST = 180.0
"""Degrees: a box whose west lies east of its east, and that is wider, was written in the wrong order."""

BBox = tuple[float, float, float, float]


class AreaSource(GranuleSource):
    """A source with an area of interest.

    Parameters
    ----------
    tile
        MGRS tile, ``T32TPS`` or ``32TPS``. The cube is on the tile's grid, and granules of other tiles are left out.
    bbox
        West, south, east, north in degrees. The cube covers the box, on the grid of the granules. A box across the
        antimeridian has its west east of its east (RFC 7946): ``[179.9, -17.0, -179.9, -16.8]``.
    crs
        CRS of the cube where granules of several UTM zones cover the area; by default the CRS of most granules.
    resolution
        Pixel size of the cube in metres: 10, or more for a first look.
    """

    tile: str | None = None
    bbox: BBox | None = None
    crs: str | None = None
    resolution: Annotated[float, Field(gt=0)] = 10.0

    @field_validator("tile")
    @classmethod
    def _bare(cls, tile: str | None) -> str | None:
        bare = tile.upper().removeprefix("T") if tile else None
        if bare is not None and not (len(bare) == 5 and bare[:2].isdigit() and bare[2:].isalpha()):
            raise ValueError("not an MGRS tile; expected e.g. T32TPS")
        return bare

    @field_validator("bbox")
    @classmethod
    def _ordered(cls, bbox: BBox | None) -> BBox | None:
        if bbox is not None:
            west, south, east, north = bbox
            known = all(-180 <= v <= 180 for v in (west, east)) and west != east
            if not (known and -90 <= south < north <= 90):
                raise ValueError("not a bounding box; expected west, south, east, north in degrees")
            if west > east and (east - west) % 360 > _WIDEST:
                raise ValueError(
                    "west lies east of east, which is a box across the antimeridian, and this one would be "
                    f"{(east - west) % 360:g}° wide; exchange west and east"
                )
        return bbox

    @field_validator("crs")
    @classmethod
    def _known(cls, crs: str | None) -> str | None:
        try:
            projected = crs is None or CRS.from_user_input(crs).is_projected
        except CRSError:
            raise ValueError("unknown CRS; expected e.g. EPSG:32632") from None
        if not projected:
            raise ValueError("not a projected CRS; expected the UTM zone of the area, e.g. EPSG:32632")
        return crs

    def _catalogue(
        self, granules: Sequence[Granule], years: Years, where: str, left_out: Sequence[LeftOut] = ()
    ) -> Catalogue:
        """Cube grid, and the acquisitions of the tile and the years. Messages name the source by `where`.

        `left_out` are items and products that no granule could be made of.
        """
        if not granules:
            why = f" ({counted(left_out)})" if left_out else ""
            raise InputError(
                f"{where}: no L2A products found{why}; correct the source, or search another area or other years"
            )
        tiles = ", ".join(sorted({g.tile for g in granules}))
        own = [g for g in granules if self.tile is None or g.tile == self.tile]
        if not own:
            raise InputError(f"{where}: no product of tile {self.tile}; the products are of {tiles}; set source.tile")
        grid = self._cube_grid([g for g in own if g.time in years] or own, where)
        own, odd = sifted(own, lambda g: g.id, lambda g: self._on_its_tile(g, grid))
        inside = overpasses([g for g in own if g.grid is None or _overlap(g.grid, grid)])
        if not inside:
            raise InputError(
                f"{where}: no product covers source.bbox = {self.bbox}; the products are of {tiles}; correct the box"
            )
        # Select by overpass, not by granule: at some longitudes the year changes in the middle of an overpass.
        chosen = tuple(a for a in inside if a.time in years)
        return Catalogue(grid, chosen, (*left_out, *odd), years.start)

    def _elsewhere(
        self,
        tile: str | None,
        time: datetime | None,
        years: Years,
        bounds: Sequence[float] | None = None,
    ) -> bool:
        """Whether a product that states this tile, time and box in degrees is of another place or year: not opened."""
        if self.tile is not None and tile is not None and tile.upper() != self.tile:
            return True
        if self.bbox is not None and bounds is not None and len(bounds) == 4 and not _meet(self.bbox, bounds):
            return True
        return time is not None and not years.near(time)

    def _on_its_tile(self, granule: Granule, grid: Grid) -> Granule:
        """Refuse a granule whose metadata gives another grid than the other granules of the tile."""
        own = granule.grid
        if self.bbox is None and own is not None and not own.at_pixel(grid.pixel).matches(grid):
            raise InputError(f"{granule.id} is {own.label}, but its tile is {grid.label}; download it again")
        return granule

    def _cube_grid(self, granules: Sequence[Granule], where: str) -> Grid:
        grids = [g.grid for g in granules if g.grid is not None]
        if not grids:
            raise InputError(f"{where}: the metadata gives no grid (proj:transform, proj:shape); use another source")
        base = _most_common(grids, self.crs, where)
        if not CRS.from_wkt(base.crs).is_projected:
            raise InputError(
                f"{where}: the products are in {base.crs_name}, in degrees, but source.resolution is in metres; set "
                "source.crs to a projected CRS of the products, or read local files with kind = 'geotiff'"
            )
        if self.bbox is not None:
            return _around(self.bbox, base, self.resolution)
        tiles = sorted({g.tile for g in granules})
        if tiles != [tiles[0] or None] and any(not g.matches(base) for g in grids):
            raise InputError(f"{where}: products of several tiles ({', '.join(tiles)}); set source.tile or source.bbox")
        return base.at_pixel(self.resolution)


def halves(bbox: BBox | None) -> list[BBox | None]:
    """Boxes that a search is given: two for a box across the antimeridian, which many catalogues misread."""
    if bbox is None or bbox[0] < bbox[2]:
        return [bbox]
    west, south, east, north = bbox
    return [box for box in ((west, south, 180.0, north), (-180.0, south, east, north)) if box[0] < box[2]]


def _meet(box: BBox, bounds: Sequence[float]) -> bool:
    """Whether two boxes in degrees overlap; either may cross the antimeridian."""
    west, south, east, north = bounds
    parts = [p for p in halves((west, south, east, north)) if p] if west != east else [(west, south, east, north)]
    return any(a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
               for a in halves(box) if a for b in parts)  # fmt: skip


def _most_common(grids: Sequence[Grid], crs: str | None, where: str) -> Grid:
    """Grid of most granules in `crs`, or, without one, in the CRS of most granules."""
    if crs is not None:
        wanted = CRS.from_user_input(crs)
        same = [g for g in grids if CRS.from_wkt(g.crs) == wanted]
        if not same:
            have = ", ".join(sorted({g.crs_name for g in grids}))
            raise InputError(f"{where}: no product in {crs}; the products are in {have}; correct source.crs")
        return most_common(same)
    counts = Counter(g.crs_name for g in grids)
    best = min(counts, key=lambda name: (-counts[name], name))
    return most_common([g for g in grids if g.crs_name == best])


def _around(bbox: BBox, base: Grid, pixel: float) -> Grid:
    """Grid around a box in degrees, aligned with `base`, whose edges are pixel edges of all bands."""
    step = max(_COMMON_STEP, pixel)
    left, bottom, right, top = box_in(bbox, "EPSG:4326", base.crs, densify=41)
    west = base.left + floor((left - base.left) / step) * step
    east = base.left + ceil((right - base.left) / step) * step
    north = base.top + ceil((top - base.top) / step) * step
    south = base.top + floor((bottom - base.top) / step) * step
    return Grid(base.crs, west, north, pixel, ceil((north - south) / pixel), ceil((east - west) / pixel))


def _overlap(a: Grid, b: Grid) -> bool:
    """Whether two grids overlap on the ground. Bounds in different CRS are compared in the CRS of `b`."""
    bounds = a.bounds if a.same_crs(b) else a.bounds_in(b.crs)
    left, bottom, right, top = bounds
    west, south, east, north = b.bounds
    return left < east and right > west and bottom < north and top > south
