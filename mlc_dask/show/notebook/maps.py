"""The card of a set of maps: legend with class shares, every year as a thumbnail, and the change count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.grids import Grid, north_up
from mlc_dask.data.layers import LAYERS, in_words
from mlc_dask.data.legend import NO_DATA, Legend
from mlc_dask.data.schema import YEAR, X, Y, check_map, legend_of, year_start_of
from mlc_dask.data.years import CALENDAR, year_label
from mlc_dask.show.notebook import html
from mlc_dask.show.notebook.layers import at_hand, by_code, glance, layer_of
from mlc_dask.show.palette import as_hex, colours_of

_SIDE = 240
_MANY = 12
"""Number of years from which on thumbnails are half as large."""

Codes = npt.NDArray[np.uint8]


def maps_card(maps: xr.Dataset) -> str:
    """HTML of maps. Every n-th pixel is read, and nothing is computed."""
    maps = north_up(maps)
    layer = check_map(layer_of(maps, None))
    legend = legend_of(maps)
    name = str(layer.name)
    title = f"Maps: {in_words(name)}" if YEAR in layer.dims else f"Map: {in_words(name)}"
    if not at_hand(layer):
        waiting = html.note(
            "not computed yet: call .compute(), or write the maps with write_maps and open them, to see pictures"
        )
        return html.card(title, _facts(maps, layer), waiting, _key(legend))
    years = layer[YEAR].values.tolist() if YEAR in layer.dims else [""]
    side = _SIDE if len(years) < _MANY else _SIDE // 2
    thumbnails = glance(layer if YEAR in layer.dims else layer.expand_dims(YEAR), side)
    counts = {y: np.bincount(t.ravel(), minlength=256) for y, t in zip(years, thumbnails, strict=True)}
    pictures = [
        html.figure(str(y or in_words(name)), html.coded(t, legend.colours), _bar(counts[y], legend))
        for y, t in zip(years, thumbnails, strict=True)
    ]
    row = f"<div class='row'>{''.join(pictures)}{_changes(maps, side)}</div>"
    return html.card(title, _facts(maps, layer), row, _shares(counts, legend))


def _facts(maps: xr.Dataset, layer: xr.DataArray) -> list[str]:
    where = (
        Grid.of_raster(maps).label if "spatial_ref" in maps.coords else f"{layer.sizes[X]} × {layer.sizes[Y]} pixels"
    )
    others = [str(n) for n in maps.data_vars if n != layer.name]
    start = year_start_of(layer)
    years = [] if start == CALENDAR else [year_label(int(layer[YEAR].values[0]), start)]
    return [*years, where, *([f"also: {', '.join(others)}"] if others else [])]


def _key(legend: Legend) -> str:
    cells = "".join(f"<span>{html.swatch(c.colour, c.name)}</span>" for c in by_code(legend))
    return f"<div class='row'>{cells}</div>"


def _mapped(counts: npt.NDArray[np.int64], legend: Legend) -> dict[int, float]:
    """Share of every class among the pixels that have a class."""
    own = {code: int(counts[code]) for code in legend.codes}
    return {code: n / max(1, sum(own.values())) for code, n in own.items()}


def _bar(counts: npt.NDArray[np.int64], legend: Legend) -> str:
    found = _mapped(counts, legend)
    return html.shares({c.name: (c.colour, found[c.code]) for c in by_code(legend) if found[c.code]})


def _shares(counts: dict[int, npt.NDArray[np.int64]], legend: Legend) -> str:
    """Legend with the share of every class per year, and of pixels without data, among the pixels shown."""
    by_year = {year: _mapped(own, legend) for year, own in counts.items()}
    seen = [c for c in by_code(legend) if any(found[c.code] for found in by_year.values())]
    rows = [
        ([html.swatch(c.colour, c.name), *(f"{found[c.code]:.1%}" for found in by_year.values())], "") for c in seen
    ]
    empty = [float(own[NO_DATA] / own.sum()) for own in counts.values()]
    if any(empty):
        rows.append((["no data (of all pixels)", *(f"{share:.1%}" for share in empty)], "todo"))
    return html.table(["class", *(str(year or "share") for year in counts)], rows)


def _changes(maps: xr.Dataset, side: int) -> str:
    """Thumbnail of the change count, where it is stored or in memory."""
    if "change_count" not in maps or not at_hand(maps.change_count):
        return ""
    count = glance(maps.change_count, side)
    ramp = colours_of(LAYERS["change_count"], int(maps.sizes.get(YEAR, 2)) - 1)
    colours = {n: as_hex(ramp[min(n, max(ramp))]) for n in range(256)}
    parts = {
        f"{n} change{'' if n == 1 else 's'}": (colours[n], float((count == n).mean()))
        for n in np.unique(count).tolist()
    }
    return html.figure(f"changes: {(count > 0).mean():.1%} of pixels", html.coded(count, colours), html.shares(parts))
