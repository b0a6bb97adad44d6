"""What an exported layer looks like: the names and colours of its values, and how it is made coarser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import numpy as np
import xarray as xr

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NEVER_WRITTEN, NO_DATA, LandCoverClass, Legend
from mlc_dask.data.schema import YEAR, X, Y, check_map, legend_of

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""

_CONFIDENCE: Final = "confidence"
_PER_CENT: Final = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
_COUNTS: Final = {"valid_count": "usable dates", "change_count": "changes", "change_count_single_year": "changes"}
_COUNT: Final = ("#ffffcc", "#fd8d3c", "#800026")
_NONE: Final = (238, 238, 234)
"""Colour of a count of 0, which is a value and not *no data*."""


@dataclass(frozen=True)
class Layer:
    """One layer of the maps.

    `classes` are the legend of a layer of codes, and empty for quantities, whose `unit` says of what. `no_data` is None
    where 0 is a value like any other; `resampling` is GDAL's name of how overviews are made.
    """

    name: str
    title: str
    years: tuple[int, ...]
    classes: tuple[LandCoverClass, ...]
    colours: dict[int, Colour]
    no_data: int | None
    resampling: str
    unit: str = ""

    def plane(self, year: int | None) -> Plane:
        """Return the map of a year, or the only one."""
        return Plane(self, year)

    @property
    def planes(self) -> tuple[Plane, ...]:
        """All maps of the layer: one a year, or one for all years."""
        return tuple(Plane(self, year) for year in self.years or (None,))

    @property
    def fill_value(self) -> int:
        """Value that says *nothing here*: of no data, or one that the layer never has."""
        return NEVER_WRITTEN if self.no_data is None else self.no_data


@dataclass(frozen=True)
class Plane:
    """One map: a layer in a year, or a layer that has no years."""

    layer: Layer
    year: int | None

    @property
    def stem(self) -> str:
        """Path of its files below the exported folder, without suffix."""
        return self.layer.name if self.year is None else f"{self.year}/{self.layer.name}_{self.year}"

    @property
    def title(self) -> str:
        """What it shows, as people say it."""
        return self.layer.title if self.year is None else f"{self.layer.title}, {self.year}"

    def of(self, maps: xr.Dataset) -> xr.DataArray:
        """Lazy pixels (y, x) uint8 of the map."""
        values = maps[self.layer.name]
        return values if self.year is None else values.sel({YEAR: self.year})


def describe(maps: xr.Dataset, wanted: Sequence[str] | None, place: str) -> tuple[Layer, ...]:
    """Describe the layers of `maps` that are `wanted` (all by default), in their order there.

    Raises
    ------
    InputError
        A layer that the maps of `place` do not have, or that is no map of codes 0..255; a colour that is none.
    """
    names = [str(name) for name in maps.data_vars]
    for name in wanted or ():
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{place} has no layer {name!r}; {hint}It has {', '.join(names)}")
    return tuple(_describe(maps[name], legend_of(maps), place) for name in names if not wanted or name in wanted)


def _describe(layer: xr.DataArray, legend: Legend, place: str) -> Layer:
    check_map(layer)
    if layer.dims not in ((YEAR, Y, X), (Y, X)):
        raise InputError(f"{layer.name} of {place} has dims {layer.dims}; exported are (year, y, x) and (y, x)")
    name = str(layer.name)
    years = tuple(int(year) for year in layer[YEAR].values) if YEAR in layer.dims else ()
    if name == _CONFIDENCE:
        return Layer(name, "confidence", years, (), _ramp(_PER_CENT, 1, 100), NO_DATA, "average", "%")
    if name in _COUNTS:
        colours = {0: _NONE} | _ramp(_COUNT, 1, max(1, int(layer.max())))
        title = str(layer.attrs.get("long_name", _COUNTS[name]))
        return Layer(name, title, years, (), colours, None, "nearest", _COUNTS[name])
    colours = {c.code: _rgb(c) for c in legend.classes}
    title = f"land cover ({name.replace('_filtered', ', filtered').replace('_', '-')})"
    return Layer(name, title, years, tuple(sorted(legend.classes, key=lambda c: c.code)), colours, NO_DATA, "mode")


def _rgb(c: LandCoverClass) -> Colour:
    if not re.fullmatch("#[0-9A-Fa-f]{6}", c.colour):
        raise InputError(f"class {c.name!r} has the colour {c.colour!r} in the legend; write it as #rrggbb")
    red, green, blue = bytes.fromhex(c.colour[1:])
    return red, green, blue


def _ramp(stops: Sequence[str], first: int, last: int) -> dict[int, Colour]:
    """Colours of the values `first`..`last`, between `stops` at equal distances."""
    values = np.arange(first, last + 1)
    at = np.linspace(first, max(last, first + 1), len(stops))
    table = np.array([list(bytes.fromhex(stop[1:])) for stop in stops])
    mixed = np.stack([np.interp(values, at, table[:, i]) for i in range(3)], axis=1).round().astype(int)
    return {int(v): (int(r), int(g), int(b)) for v, (r, g, b) in zip(values, mixed, strict=True)}
