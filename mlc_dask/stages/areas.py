"""Areas of classes and of change: what the points of a reference say, and what the maps show (method section 9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import YEAR, check_map
from mlc_dask.kernels import assessment as kernel
from mlc_dask.kernels.agreement import class_counts, transitions
from mlc_dask.kernels.estimation import Estimates
from mlc_dask.stages.points import Survey
from mlc_dask.stages.rows import NO_PAIR, Row, row_of, scopes

MAPPED: Final = "mapped_"
"""How the columns of shares that layers show begin."""

UNITS: Final = ("pixels", "hectares")
"""Units of areas. What a layer shows in one of them has its column, e.g. ``mapped_hectares_LAYER``."""

Counts = dict[str, list[npt.NDArray[np.int64]]]
"""Pixels of every layer: by year and class (k, size), and by pair of years and both classes (k - 1, size, size)."""


def count_layers(maps: xr.Dataset, layers: Sequence[str], found: Survey, size: int) -> Counts:
    """Count what the `layers` show in the years of the points; a year that they lack has no pixels."""
    years = list(found.years)
    wanted = {name: check_map(maps[name]).reindex({YEAR: years}, fill_value=np.uint8(0)) for name in layers}
    counted: Counts = lazy.compute(
        {
            name: lazy.reduce_blocks(partial(_count, size=size), _sum, labels, name=f"areas-{name}")
            for name, labels in wanted.items()
        }
    )
    return counted


def _count(labels: npt.NDArray[np.uint8], *, block: lazy.Block, size: int) -> list[npt.NDArray[np.int64]]:
    return [np.stack([class_counts(year, size) for year in labels]), transitions(labels, size)]


def _sum(one: list[npt.NDArray[np.int64]], other: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    return [a + b for a, b in zip(one, other, strict=True)]


def area_rows(found: Survey, counts: Counts, legend: Legend, pixel: float) -> Iterator[Row]:
    """Rows of the areas of every class in the reference, and of every change that a point shows.

    `pixel` is the area of a pixel in hectares, NaN where it has none. ``mapped_LAYER`` is the share that a layer shows
    of its pixels with data: the difference from the estimate is the bias of counting pixels. In pixels and hectares it
    is this share of the whole area that the points stand for, as the estimate is.
    """
    for years, at in scopes(found).items():
        reference = found.reference[:, at]
        area = kernel.accuracy(reference, reference, found.strata, legend.size).area
        shown = {name: _shares(own[0][at]) for name, own in counts.items()}
        for code, name in legend.names.items():
            keys = {"kind": "class", "years": years, "class": name}
            yield _area(area[code], "no point has a label", found, pixel, keys) | _mapped(shown, code, found, pixel)
    pairs = list(range(len(found.years) - 1))
    of_pairs = {f"{found.years[i]}-{found.years[i + 1]}": [i] for i in pairs}
    of_pairs |= {"all pairs": pairs} if len(pairs) > 1 else {}
    before, after = found.reference[:, :-1], found.reference[:, 1:]
    seen = {(int(a), int(b)) for a, b in zip(before.ravel(), after.ravel(), strict=True) if a and b and a != b}
    for years, at in of_pairs.items():
        cells = kernel.cells(before[:, at], after[:, at], found.strata, legend.size)
        shown = {name: _shares(own[1][at]) for name, own in counts.items()}
        for a, b in sorted(seen):
            keys = {"kind": "change", "years": years, "class": f"{legend.names[a]} → {legend.names[b]}"}
            yield _area(cells[a, b], NO_PAIR, found, pixel, keys) | _mapped(shown, (a, b), found, pixel)


def _shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Sum counts (n, …) over the first axis, as shares of all; NaN where nothing was counted."""
    total = counts.sum(axis=0).astype(np.float64)
    shares: npt.NDArray[np.float64] = total / (total.sum() or np.nan)
    return shares


def _mapped(
    shown: Mapping[str, npt.NDArray[np.float64]], at: int | tuple[int, int], found: Survey, pixel: float
) -> Row:
    shares = {name: float(own[at]) for name, own in shown.items()}
    row: Row = {f"{MAPPED}{name}": share for name, share in shares.items()}
    for unit, whole in _wholes(found, pixel).items():
        row |= {f"{MAPPED}{unit}_{name}": whole * share for name, share in shares.items()}
    return row


def _area(e: Estimates, why: str, found: Survey, pixel: float, keys: Mapping[str, str]) -> Row:
    """Row of a share with its pixels and hectares."""
    row = row_of(e, why, **keys)
    for unit, whole in _wholes(found, pixel).items():
        row |= {unit: whole * row["value"]} | {f"{unit}_{end}": whole * row[end] for end in ("low", "high")}
    return row


def _wholes(found: Survey, pixel: float) -> dict[str, float]:
    """Area that the points stand for, by unit."""
    pixels = float(found.strata.sizes.sum())
    return dict(zip(UNITS, (pixels, pixels * pixel), strict=True))
