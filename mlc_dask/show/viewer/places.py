"""The places that the viewer shows: the layers of a finished run with their colours, the old map, and the cube."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid, north_up
from mlc_dask.data.layers import layer_called
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import YEAR, legend_of, maps_among, year_start_of
from mlc_dask.data.years import span, year_label
from mlc_dask.io.cubes import CHUNK, open_cube
from mlc_dask.io.maps import open_stored_product
from mlc_dask.io.published import open_maps, places_of
from mlc_dask.runs.artifacts import read_current
from mlc_dask.runs.folder import RunFolder
from mlc_dask.show.palette import as_hex, colours_of, rgb
from mlc_dask.storage.durable import MANIFEST, sha256

EDGE = 512
"""Edge of a map tile in pixels: large, since most of the cost of a tile does not depend on its size."""

Colour = tuple[int, int, int, int]
"""Red, green, blue and alpha, 0..255."""

OLD_MAP = "product"
_UNSHOWN = ("valid_count",)


@dataclass(frozen=True)
class Layer:
    """One map that can be shown: its colour by value, and whether there is one map per year.

    `classed` layers contain codes of the legend; the values of other layers are shown as a ramp in `unit`.
    """

    name: str
    title: str
    yearly: bool
    classed: bool
    colours: dict[int, Colour]
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Place:
    """A finished run of one place, opened lazily."""

    name: str
    folder: Path
    maps: xr.Dataset

    @cached_property
    def legend(self) -> Legend:
        """Legend of the maps."""
        return legend_of(self.maps)

    @cached_property
    def grid(self) -> Grid:
        """Grid of the maps."""
        return Grid.of_raster(self.maps)

    @cached_property
    def years(self) -> list[int]:
        """Years of the maps."""
        return [int(year) for year in self.maps[YEAR].values] if YEAR in self.maps.coords else []

    @cached_property
    def spans(self) -> list[dict[str, str]]:
        """First day of every year, first day after it, and its name for people."""
        start = year_start_of(self.maps)
        ends = {year: span(year, start) for year in self.years}
        return [
            {"first": f"{first:%Y-%m-%d}", "end": f"{end:%Y-%m-%d}", "label": year_label(year, start)}
            for year, (first, end) in ends.items()
        ]

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """Layers by name, the best first."""
        names = sorted(
            (n for n in maps_among(self.maps) if n not in _UNSHOWN), key=lambda name: layer_called(name).rank
        )
        found = [self._layer(name) for name in names]
        if self.old_map is not None:
            found.append(Layer(OLD_MAP, "old map", False, True, self._class_colours))
        return {layer.name: layer for layer in found}

    def _layer(self, name: str) -> Layer:
        yearly = YEAR in self.maps[name].dims
        row = layer_called(name)
        if row.values == "classes":
            return Layer(name, row.title, yearly, True, self._class_colours)
        ramp = colours_of(row, len(self.years) - 1)
        return Layer(name, row.title, yearly, False, {v: (*c, 255) for v, c in ramp.items()}, row.unit)

    @cached_property
    def _class_colours(self) -> dict[int, Colour]:
        return {code: (*rgb(colour), 255) for code, colour in self.legend.colours.items()}

    def plane(self, name: str, year: int | None) -> xr.DataArray:
        """One lazy map (y, x) uint8; `year` is ignored for layers without years."""
        if name == OLD_MAP:
            assert self.old_map is not None
            return self.old_map
        layer = self.maps[name]
        return (layer.sel({YEAR: year}) if YEAR in layer.dims else layer).drop_vars(YEAR, errors="ignore")

    @cached_property
    def old_map(self) -> xr.DataArray | None:
        """The old map (y, x) that the run was trained on; None where it was deleted, or not published."""
        try:
            return open_stored_product(read_current(self.folder)[OLD_MAP].folder).drop_vars("quota")
        except (InputError, KeyError):
            return None

    @cached_property
    def cube(self) -> xr.Dataset | None:
        """The cube of the run in blocks of its chunk size; None where the cube was deleted or damaged."""
        try:
            return open_cube(read_current(self.folder)["cube"].folder, patch=CHUNK)
        except (InputError, KeyError):
            return None

    @cached_property
    def stamp(self) -> str:
        """Digest of the run, so that a browser never mixes tiles of two runs."""
        found = next(p for p in (RunFolder(self.folder).current, self.folder / MANIFEST) if p.exists())
        return sha256(found.read_bytes())[:12]

    def describe(self) -> dict[str, Any]:
        """Everything that the page needs to draw itself, as values for JSON."""
        grid = self.grid
        west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds)
        east += 360 * (east < west)  # across the antimeridian: Leaflet counts on beyond 180°
        unit, _ = CRS.from_wkt(grid.crs).units_factor
        ordered = sorted(self.legend.classes, key=lambda c: c.code)
        return {
            "name": self.name,
            "grid": f"{grid.height} × {grid.width} pixels ({grid.pixel:g} {unit}), {grid.crs_name}",
            "tile": EDGE,
            "years": self.years,
            "spans": self.spans,
            "bounds": [[south, west], [north, east]],
            "stamp": self.stamp,
            "classes": [{"code": c.code, "name": c.name, "colour": c.colour} for c in ordered],
            "layers": [_described(layer) for layer in self.layers.values()],
        }


def open_places(output: Path) -> dict[str, Place]:
    """Open the places of an output by name: the tiles of a run of several tiles, otherwise the only place.

    Raises
    ------
    InputError
        When `output` contains no finished run (see :func:`mlc_dask.open_maps`).
    """
    if not output.is_dir():
        raise InputError(f"{output} is not a folder; give the output folder of a finished run")
    named = {tile or output.resolve().name or "maps": folder.resolve() for tile, folder in places_of(output).items()}
    return {name: Place(name, folder, north_up(open_maps(folder))) for name, folder in named.items()}


def _described(layer: Layer) -> dict[str, Any]:
    described = {"name": layer.name, "title": layer.title, "yearly": layer.yearly, "classed": layer.classed}
    if layer.classed:
        return described
    step = max(1, len(layer.colours) // 10)
    stops = [{"value": v, "colour": as_hex(c)} for v, c in layer.colours.items() if v % step == 0]
    return described | {"unit": layer.unit, "stops": stops}
