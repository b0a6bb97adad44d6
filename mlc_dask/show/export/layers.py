"""The look of an exported layer: the names and colours of its values, and the resampling of its overviews."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import xarray as xr

from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.layers import layer_called
from mlc_dask.data.legend import NEVER_WRITTEN, NO_DATA, LandCoverClass, Legend
from mlc_dask.data.schema import YEAR, X, Y, check_map, legend_of, maps_among, year_start_of
from mlc_dask.data.years import CALENDAR, year_label
from mlc_dask.show.palette import Colour, colours_of, rgb
from mlc_dask.storage.durable import canonical, sha256


@dataclass(frozen=True)
class Layer:
    """One layer of the maps.

    `classes` is the legend of a layer of codes; it is empty for a quantity, which has a `unit` instead. `no_data` is
    None where 0 is a valid value; `resampling` is GDAL's name of the method that makes overviews.
    Years start on `year_start`.
    """

    name: str
    title: str
    years: tuple[int, ...]
    classes: tuple[LandCoverClass, ...]
    colours: dict[int, Colour]
    no_data: int | None
    resampling: str
    unit: str = ""
    year_start: str = CALENDAR

    @property
    def look(self) -> str:
        """Digest of the names and colours."""
        return sha256(canonical([self.title, self.unit, self.classes, self.colours]))

    def plane(self, year: int | None) -> Plane:
        """Return the map of a year, or the only map of a layer without years."""
        return Plane(self, year)

    @property
    def planes(self) -> tuple[Plane, ...]:
        """All maps of the layer: one per year, or one for all years."""
        return tuple(Plane(self, year) for year in self.years or (None,))

    @property
    def fill_value(self) -> int:
        """Value of pixels without data, or a value that the layer never has."""
        return NEVER_WRITTEN if self.no_data is None else self.no_data


@dataclass(frozen=True)
class Plane:
    """One map: a layer in one year, or a layer without years."""

    layer: Layer
    year: int | None

    @property
    def stem(self) -> str:
        """Path of its files below the exported folder, without suffix."""
        return self.layer.name if self.year is None else f"{self.year}/{self.layer.name}_{self.year}"

    @property
    def title(self) -> str:
        """Title of the map for people."""
        layer = self.layer
        return layer.title if self.year is None else f"{layer.title}, {year_label(self.year, layer.year_start)}"

    def of(self, maps: xr.Dataset) -> xr.DataArray:
        """Lazy pixels (y, x) uint8 of the map."""
        values = maps[self.layer.name]
        return values if self.year is None else values.sel({YEAR: self.year})


def describe(maps: xr.Dataset, wanted: Sequence[str] | None, place: str) -> tuple[Layer, ...]:
    """Describe the `wanted` layers of `maps` (all maps by default), in the order of `maps`.

    Raises
    ------
    InputError
        An unknown layer of the maps of `place`, a layer that is not a map of codes 0..255, or an invalid colour.
    """
    names = maps_among(maps)
    for name in wanted or ():
        if name not in names:
            raise InputError(f"{place} has no layer {name!r}; {did_you_mean(name, names)}")
    found = (_describe(maps[name], legend_of(maps), place) for name in names if not wanted or name in wanted)
    return tuple(replace(layer, year_start=year_start_of(maps)) for layer in found)


def _describe(layer: xr.DataArray, legend: Legend, place: str) -> Layer:
    check_map(layer)
    if layer.dims not in ((YEAR, Y, X), (Y, X)):
        raise InputError(f"{layer.name} of {place} has dims {layer.dims}; give maps with dims (year, y, x) or (y, x)")
    name = str(layer.name)
    years = tuple(int(year) for year in layer[YEAR].values) if YEAR in layer.dims else ()
    row = layer_called(name)
    if row.values == "percent":
        return Layer(name, row.title, years, (), colours_of(row, 100), NO_DATA, "average", row.unit)
    if row.values == "count":
        return Layer(name, row.title, years, (), colours_of(row, int(layer.max())), None, "nearest", row.unit)
    classes = tuple(sorted(legend.classes, key=lambda c: c.code))
    return Layer(name, f"land cover ({row.title})", years, classes, {c.code: _rgb(c) for c in classes}, NO_DATA, "mode")


def _rgb(c: LandCoverClass) -> Colour:
    if not re.fullmatch("#[0-9A-Fa-f]{6}", c.colour):
        raise InputError(f"class {c.name!r} has the colour {c.colour!r} in the legend; write it as #rrggbb")
    return rgb(c.colour)
