"""Points of a reference: their labels by year, their pixels in the maps, and the design that drew them (section 9)."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.legend import NO_DATA, Legend
from mlc_dask.data.places import in_crs, pixels_at
from mlc_dask.data.schema import YEAR, legend_of
from mlc_dask.kernels.estimation import Strata, one_stratum

Labels = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]
_Array = npt.NDArray[Any]

LABEL: Final = re.compile(r"label_(\d{4})")
"""Name of a column of labels."""

_NAMED = 3
"""Examples in a message."""


@dataclass(frozen=True, eq=False)
class Survey:
    """Points with labels, as units of a design.

    Attributes
    ----------
    rows, columns
        (n,) int64 pixels of the points in the maps, north-up.
    years
        (k,) successive years from the first to the last that has a label.
    reference
        (n, k) uint8 labels; 0 where a point has none.
    strata
        The design.
    notes
        What the estimates assume, as sentences.
    """

    rows: _Ints
    columns: _Ints
    years: tuple[int, ...]
    reference: Labels
    strata: Strata
    notes: tuple[str, ...]

    @property
    def labelled(self) -> list[int]:
        """Positions of the years that have labels."""
        return [int(i) for i in np.flatnonzero((self.reference != NO_DATA).any(axis=0))]


def find(maps: xr.Dataset, layer: str, points: pd.DataFrame, strata: pd.DataFrame | None, crs: str | None) -> Survey:
    """Find the labelled points of a reference in `maps`, north-up.

    Without strata the points are a simple random sample of the pixels to which `layer` gives a label in all years that
    have one in the reference; points elsewhere are left out, and a note says so.

    Raises
    ------
    InputError
        As :func:`mlc_dask.assess`.
    """
    named = _named(points)
    years, labels = _labels(points, named, legend_of(maps), [int(y) for y in maps[YEAR].values])
    rows, columns = _pixels(points, named, Grid.of_raster(maps), crs)
    kept = (labels != NO_DATA).any(axis=1)
    notes = [*_unlabelled(kept), *_twice(rows[kept], columns[kept])]
    if strata is None:
        if "stratum" in points:
            raise InputError(
                "the points have strata, but the strata have no sizes; give a table with the columns stratum and pixels"
            )
        kept, pixels = _inside(maps[layer], years, labels, rows, columns, kept)
        design = one_stratum(pixels, int(kept.sum()))
        notes += [
            f"no strata: the points are taken as a simple random sample of the {pixels:,} pixels with data in all "
            "labelled years; if they were chosen otherwise, no interval holds",
            *_lost((labels != NO_DATA).any(axis=1) & ~kept),
        ]
    else:
        design = _design(points, named, kept, strata, maps.sizes["y"] * maps.sizes["x"])
    return Survey(rows[kept], columns[kept], years, labels[kept], design, tuple(notes))


def _named(points: pd.DataFrame) -> list[str]:
    """Names of the points for messages: their ids, or their positions from 1."""
    missing = [name for name in ("x", "y") if name not in points]
    if missing or points.empty:
        lack = f"no column {' and '.join(missing)}" if missing else "no rows"
        raise InputError(f"the points have {lack}; give a row with x, y and label_YEAR for every point")
    if "id" not in points:
        return [f"row {n}" for n in range(1, len(points) + 1)]
    twice = points.id[points.id.duplicated()]
    if len(twice):
        raise InputError(f"id {_listed(twice)} occurs twice among the points; keep one row of each")
    return [f"id {one}" for one in points.id]


def _listed(things: Iterable[object]) -> str:
    """First things of a list, and how many more there are."""
    every = [str(thing) for thing in things]
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def _labels(
    points: pd.DataFrame, named: Sequence[str], legend: Legend, known: Sequence[int]
) -> tuple[tuple[int, ...], Labels]:
    """Years from the first to the last with labels, and the labels (n, k)."""
    by_year = {int(found[1]): str(c) for c in points if (found := LABEL.fullmatch(str(c)))}
    if not by_year:
        raise InputError(f"the points have no labels; name their columns label_YEAR, e.g. label_{known[0]}")
    foreign = sorted(set(by_year) - set(known))
    if foreign:
        raise InputError(
            f"labels of {_listed(foreign)}, but the maps have {known[0]} to {known[-1]}; leave these columns out, or "
            "map those years"
        )
    years = tuple(range(min(by_year), max(by_year) + 1))
    labels, strange = np.zeros((len(points), len(years)), np.uint8), Counter[str]()
    codes: dict[object, int] = {}
    for year, column in by_year.items():
        for n, value in enumerate(points[column].tolist()):
            if value not in codes:
                codes[value] = _code(value, legend)
            if codes[value] < 0:
                strange[f"{value!r}"] += 1
            else:
                labels[n, years.index(year)] = codes[value]
    if strange:
        counted = _listed(f"{value} ({n} times)" for value, n in strange.items())
        classes = ", ".join(f"{code} {name}" for code, name in legend.names.items())
        raise InputError(f"labels that are not in the legend: {counted}; write a code or a name of: {classes}")
    has = np.flatnonzero((labels != NO_DATA).any(axis=0))
    if not len(has):
        raise InputError("no point has a label; fill the columns label_YEAR, or choose another file of labels")
    kept = slice(int(has[0]), int(has[-1]) + 1)
    return years[kept], labels[:, kept]


def _code(value: object, legend: Legend) -> int:
    """Code of a label, 0 for none, -1 for one that is not in the legend."""
    text = "" if pd.isna(value) else str(value).strip().removesuffix(".0")  # type: ignore[call-overload]
    names = {name.lower(): code for code, name in legend.names.items()}
    known = {"": NO_DATA, "0": NO_DATA, **{str(code): code for code in legend.codes}, **names}
    return known.get(text.lower(), -1)


def _pixels(points: pd.DataFrame, named: Sequence[str], grid: Grid, crs: str | None) -> tuple[_Ints, _Ints]:
    """Rows and columns of the points."""
    x, y = (pd.to_numeric(points[name], errors="coerce").to_numpy(np.float64) for name in ("x", "y"))
    wrong = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))
    if len(wrong):
        raise InputError(f"x or y of {_listed(named[int(i)] for i in wrong)} is no number; correct the coordinates")
    at = (x, y) if crs is None else in_crs(x, y, crs, grid.crs)
    rows, columns = pixels_at(grid, *at)
    outside = np.flatnonzero(rows < 0)
    if len(outside):
        places = _listed(f"{named[int(i)]} at ({x[i]:g}, {y[i]:g})" for i in outside)
        raise InputError(
            f"{len(outside)} of {len(x)} points lie outside the maps ({grid.label}): {places}; leave them out, or give "
            "the CRS of their coordinates"
        )
    return rows, columns


def _unlabelled(kept: _Array) -> list[str]:
    """Note on points without a label; the first points of a sample in random order need no assumption."""
    if kept.all():
        return []
    n = int(kept.sum())
    if kept[:n].all():
        return [f"{n} of {len(kept)} points have a label, the first ones: a smaller sample"]
    return [
        f"{n} of {len(kept)} points have a label; the estimates assume that the others are like those of their stratum"
    ]


def _twice(rows: _Ints, columns: _Ints) -> list[str]:
    n = len(rows) - len(set(zip(rows.tolist(), columns.tolist(), strict=True)))
    return [f"{n} points lie in the pixel of another; they count as units of their own"] if n else []


def _lost(left_out: _Array) -> list[str]:
    return [f"{left_out.sum()} points where the maps have no data are left out"] if left_out.any() else []


def _inside(
    layer: xr.DataArray, years: Sequence[int], labels: Labels, rows: _Ints, columns: _Ints, kept: _Array
) -> tuple[_Array, int]:
    """Points with a label where the map has data in all labelled years, and the number of such pixels."""
    used = [year for i, year in enumerate(years) if (labels[:, i] != NO_DATA).any()]
    part = layer.sel({YEAR: used})
    count = lazy.reduce_blocks(_full, operator.add, part, name="population")
    at, pixels = lazy.compute([lazy.gather_pixels(part, rows, columns, dim="point"), count])
    inside: _Array = kept & (at.values != NO_DATA).all(axis=1)
    if inside.sum() < 2:
        raise InputError(f"{inside.sum()} points have a label where the maps have data; an estimate needs two or more")
    return inside, int(pixels)


def _full(labels: _Array, *, block: lazy.Block) -> int:
    return int((labels != NO_DATA).all(axis=0).sum())


def _design(points: pd.DataFrame, named: Sequence[str], kept: _Array, table: pd.DataFrame, most: int) -> Strata:
    """Design of a stratified sample whose strata have sizes."""
    if "stratum" not in points:
        raise InputError("the points have no column stratum, but there is a table of strata; add it, or leave it out")
    sizes = _sizes(table, most)
    of = points.stratum.astype(str).str.strip()
    lost = [f"{name} ({stratum!r})" for name, stratum in zip(named, of, strict=True) if stratum not in sizes]
    if lost:
        raise InputError(
            f"strata without a size: {_listed(lost)}; add rows to the table of strata, or correct the names"
        )
    sampled = of[kept].value_counts()
    for name, pixels in sizes.items():
        n = int(sampled.get(name, 0))
        if n < min(2, pixels):
            labelled = f"{n or 'no'} labelled point{'s' * (n != 1)}"
            raise InputError(
                f"stratum {name!r} of {pixels:,.0f} pixels has {labelled}; label two or more, or join it with another "
                "stratum in both tables"
            )
        if n > pixels:
            raise InputError(f"stratum {name!r} has {n} points, but only {pixels:,.0f} pixels; correct its size")
    positions = {name: h for h, name in enumerate(sizes)}
    units = np.array([positions[name] for name in of[kept]], np.int64)
    return Strata(units, np.array(list(sizes.values())), finite=True)


def _sizes(table: pd.DataFrame, most: int) -> Mapping[str, float]:
    """Pixels of every stratum by its name."""
    missing = [name for name in ("stratum", "pixels") if name not in table]
    if missing:
        raise InputError(f"the table of strata has no column {' and '.join(missing)}; it needs stratum and pixels")
    names, pixels = table.stratum.astype(str).str.strip(), pd.to_numeric(table.pixels, errors="coerce")
    if names.duplicated().any():
        raise InputError(
            f"stratum {_listed(names[names.duplicated()])} occurs twice in the table of strata; join its rows"
        )
    if not (pixels > 0).all():
        raise InputError(f"stratum {_listed(names[~(pixels > 0)])} has no size; give its pixels, 1 or more")
    if pixels.sum() > most:
        raise InputError(f"the strata have {pixels.sum():,.0f} pixels, and the maps {most:,}; give sizes in pixels")
    return dict(zip(names, pixels.astype(float).tolist(), strict=True))
