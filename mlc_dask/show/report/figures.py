"""Figures of the evidence card, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mlc_dask.data.layers import LAYERS, in_words, layer_name
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import ACQUISITION, BAND, DN_OFFSET, YEAR, X, Y, year_start_of
from mlc_dask.show.palette import as_hex, colours_of
from mlc_dask.show.pictures import clear_summer, thinned

_LONGEST_SIDE = 700
"""Pixels of the longest side of a thinned map; the nearest pixel is shown, so that no class is interpolated."""

_SMALLEST_PLACE = 40
"""Pixels of a side of the picture of a place at least."""

_NO_DATA_COLOUR = "#ffffff"
_TRUE_COLOUR = ("B04", "B03", "B02")


def _small(raster: xr.DataArray) -> npt.NDArray[Any]:
    return np.asarray(thinned(raster, _LONGEST_SIDE).values)


def class_colours(legend: Legend) -> tuple[ListedColormap, BoundaryNorm]:
    """Colour map and norm over the codes of a legend; no data is white."""
    colours = [legend.colours.get(code, _NO_DATA_COLOUR) for code in range(legend.size)]
    return ListedColormap(colours), BoundaryNorm(np.arange(-0.5, legend.size), legend.size)


def _panels(count: int, columns: int, size: float = 3.4) -> tuple[Figure, list[Any]]:
    rows = -(-count // columns)
    figure = Figure(figsize=(size * columns, (size + 0.25) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def true_colour(cube: xr.Dataset) -> Figure | None:
    """Show a clear summer acquisition of every year in true colour; None when the cube lacks a visible band."""
    if not set(_TRUE_COLOUR) <= set(cube[BAND].values.tolist()):
        return None
    years = cube[YEAR].values.tolist()
    figure, axes = _panels(len(years), len(years))
    for axis, year in zip(axes, years, strict=True):
        one = cube.sel({YEAR: year})
        usable = one.usable.isel({Y: slice(None, None, 8), X: slice(None, None, 8)}).mean((Y, X)).values
        shown = clear_summer(one.time.values, usable, year_start_of(cube))
        dn = _small(one.reflectance.isel({ACQUISITION: shown}).sel({BAND: list(_TRUE_COLOUR)}))
        axis.imshow(_stretched(dn), interpolation="nearest")
        axis.set_title(f"{np.datetime_as_string(one.time.values[shown], 'D')}", fontsize=10)
    return figure


def place(cube: xr.Dataset, before: int, year: int, places: npt.NDArray[np.float64]) -> Figure | None:
    """Show the place of a change in two years, on paired acquisitions; None without a place or a visible band.

    Parameters
    ----------
    before, year
        The year of the old map, and the year of the change.
    places
        x and y (n, 2) of pixels that changed; they are outlined.
    """
    if not len(places) or not set(_TRUE_COLOUR) <= set(cube[BAND].values.tolist()):
        return None
    both = _around(cube.sel({YEAR: [before, year]}), places)
    shown = clear_summer(both.time.values[1], both.usable.mean((Y, X)).min(YEAR).values)
    one = both.isel({ACQUISITION: shown}).sel({BAND: list(_TRUE_COLOUR)})
    dn = one.reflectance.where(one.usable, 0).transpose(BAND, Y, YEAR, X).values.astype(np.uint16)
    # One stretch for both years, or a clear-cut could look like haze.
    sides = np.split(_stretched(dn.reshape(*dn.shape[:2], -1)), 2, axis=1)
    x, y = (np.append(one[d].values, 2 * one[d].values[-1] - one[d].values[-2]) for d in (X, Y))
    half = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    extent = (x[0] - half[0], x[-1] - half[0], y[-1] - half[1], y[0] - half[1])
    figure, axes = _panels(2, 2)
    for axis, side, time in zip(axes, sides, one.time.values, strict=True):
        axis.imshow(side, interpolation="nearest", extent=extent)
        axis.plot(*places.T, "s", ms=4, mfc="none", mec="#e8179b", mew=0.9)
        axis.set_xlim(extent[:2])
        axis.set_ylim(extent[2:])
        axis.set_title(np.datetime_as_string(time, "D"), fontsize=10)
    return figure


def _around(cube: xr.Dataset, places: npt.NDArray[np.float64]) -> xr.Dataset:
    """Cut a square around most of the places, as far as the cube has it, and thin it."""
    pixel = abs(float(cube[X][1] - cube[X][0]))
    low, high = np.quantile(places, (0.05, 0.95), axis=0)
    side = int(max((high - low).max() / pixel * 1.3, _SMALLEST_PLACE))
    cut = {}
    for dim, middle in zip((X, Y), (low + high) / 2, strict=True):
        center = int(np.abs(cube[dim].values - middle).argmin())
        start = max(0, min(center - side // 2, cube.sizes[dim] - side))
        cut[dim] = slice(start, start + side)
    return thinned(cube.isel(cut), _LONGEST_SIDE)


def _stretched(dn: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """Red, green, blue (h, w, 3) 0..1, stretched over valid pixels without the brightest: clouds and snow."""
    valid = (dn != 0).all(axis=0)
    values = dn.astype(np.float64) - DN_OFFSET
    if not valid.any():
        return np.ones((*dn.shape[1:], 3))
    low, high = np.percentile(values[:, valid], (2, 94))
    rgb = np.clip((values - low) / max(1.0, high - low), 0, 1) ** 0.8
    rgb[:, ~valid] = 1.0
    return np.moveaxis(rgb, 0, -1)


def map_series(series: Mapping[str, xr.DataArray], legend: Legend) -> Figure:
    """Show maps (year, y, x) of several series, one row per series, with the legend below."""
    years = next(iter(series.values()))[YEAR].values.tolist()
    figure, axes = _panels(len(series) * len(years), len(years))
    colours, norm = class_colours(legend)
    seen: set[int] = set()
    titles = [(name, year) for name in series for year in years]
    for axis, (name, year) in zip(axes, titles, strict=True):
        codes = _small(series[name].sel({YEAR: year}))
        seen |= set(np.unique(codes).tolist())
        axis.imshow(codes, cmap=colours, norm=norm, interpolation="nearest")
        axis.set_title(f"{name} {year}", fontsize=10)
    _class_key(figure, legend, seen)
    return figure


def one_map(labels: xr.DataArray, legend: Legend, title: str) -> Figure:
    """Show one map (y, x) with its legend."""
    return map_series({title: labels.expand_dims({YEAR: [""]})}, legend)


def _class_key(figure: Figure, legend: Legend, codes: set[int]) -> None:
    handles = [Patch(facecolor=legend.colours[c], edgecolor="0.4", label=legend.names[c]) for c in sorted(codes - {0})]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8, frameon=False)


def change_counts(counts: Mapping[str, xr.DataArray], years: int) -> Figure:
    """Show the number of class changes per pixel (Fig. 2 of the paper), one panel per series."""
    figure, axes = _panels(len(counts), len(counts), 4.0)
    colours = ListedColormap([as_hex(c) for c in colours_of(LAYERS["change_count"], years - 1).values()])
    shown: Any = None
    for axis, (name, count) in zip(axes, counts.items(), strict=True):
        values = _small(count)
        shown = axis.imshow(values, cmap=colours, vmin=-0.5, vmax=max(years, 2) - 0.5, interpolation="nearest")
        axis.set_title(f"{name}: {100 * (values > 0).mean():.1f} % of pixels change", fontsize=10)
    figure.colorbar(shown, ax=axes, ticks=range(years), label="changes of class", shrink=0.7)
    return figure


def recall_by_size(summary: pd.DataFrame) -> Figure | None:
    """Recall of the true changes by their size, one line per series; None without a reference."""
    rows = summary[(summary.metric == "change_recall") & (summary.scope != "overall")]
    if rows.empty:
        return None
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = figure.subplots()
    for (model, filtered), own in rows.groupby(["model", "filtered"], sort=False):
        label = in_words(layer_name(str(model), bool(filtered)))
        axis.plot(own["scope"].to_numpy(), own["value"].to_numpy(), "--" if filtered else "-", marker="o", label=label)
    axis.set_ylim(0, 1)
    axis.set_xlabel("size of the true change")
    axis.set_ylabel("share of its pixels found")
    axis.legend(fontsize=8, frameon=False)
    return figure


def training_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure | None:
    """Training and validation loss by epoch, one panel per model; None where no model has a loss."""
    curves = {name: loss for name, rows in histories.items() if (loss := _losses(rows))}
    if not curves:
        return None
    figure = Figure(figsize=(3.2 * len(curves), 2.8), layout="constrained")
    axes = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axis, (name, losses) in zip(axes, curves.items(), strict=True):
        for part, by_epoch in losses.items():
            axis.plot(list(by_epoch), list(by_epoch.values()), label=part)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("epoch")
    axes[0].set_ylabel("cross-entropy")
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def _losses(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """Loss by epoch of the parts of a training set, as far as the rows have it."""
    parts = {
        part: {r["epoch"]: loss for r in rows if (loss := r.get(f"{key}_loss")) is not None}
        for part, key in (("training", "train"), ("validation", "validation"))
    }
    return {part: by_epoch for part, by_epoch in parts.items() if by_epoch}
