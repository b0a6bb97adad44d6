"""A reference sample: strata from the change in two series of maps, its allocation, and its points (section 9)."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.grids import Grid
from mlc_dask.data.layers import in_words
from mlc_dask.data.legend import Legend
from mlc_dask.data.places import DEGREES, in_crs
from mlc_dask.data.schema import YEAR, X, Y, check_map, legend_of, year_start_of
from mlc_dask.data.years import CALENDAR
from mlc_dask.kernels import strata as kernel
from mlc_dask.kernels.allocation import CHANGE_FLOOR, deviations, expected_se, with_floor
from mlc_dask.kernels.sampling.candidates import Candidates, candidates, merge
from mlc_dask.kernels.sampling.priority import priority
from mlc_dask.kernels.strata import Kind

Array = npt.NDArray[Any]

PREFERRED: Final = (
    ("multi_year_filtered", "single_year_filtered"),
    ("multi_year_filtered", "multi_year"),
    ("multi_year_filtered",),
)
"""Layers that make the strata, the first that all exist."""

RARE: Final = 0.01
"""Share of the pixels below which stable classes have one stratum together."""

EXPECTED: Final = {Kind.STABLE: 0.9}
"""Expected share of points at which the first map is right; 0.5, the most cautious, for all other strata."""


@dataclass(frozen=True, eq=False)
class ReferenceSample:
    """A stratified random sample of pixels with data in all years of the maps.

    Attributes
    ----------
    points
        ``id`` (1 …), ``x`` and ``y`` of the pixel's centre in the CRS of the maps, ``lon``, ``lat``, ``stratum``; in
        random order, so that the first m points are a sample of their own.
    strata
        ``stratum``, ``pixels``, ``sampled``, ``expected_share`` (of points at which the first map is right) and
        ``expected_se`` of that share.
    design
        What the sample was drawn from and how, as values for JSON.
    """

    points: pd.DataFrame
    strata: pd.DataFrame
    design: dict[str, Any]


@dataclass(frozen=True)
class _Stratum:
    """A stratum: its name, its kind, its classes (none for all), and its pixels."""

    name: str
    kind: Kind
    codes: tuple[int, ...]
    pixels: int


def sample_reference(
    maps: xr.Dataset,
    *,
    size: int | None = None,
    se: float = 0.01,
    seed: int = 0,
    layers: Sequence[str] | None = None,
) -> ReferenceSample:
    """Design and draw a reference sample for a series of maps (method section 9).

    The strata are what two layers show over all years: change in the first only, in the second only, in both, more than
    one change in either (alternating), stable with different classes, and stable by class, where classes of less than
    1 % of the pixels have one stratum. Every stratum without a stable class has 75 points or more, fewer only where
    these would be more than half of `size`; the others share the rest by their sizes. The points do not depend on
    chunks.

    Parameters
    ----------
    maps
        Layers (year, y, x) uint8 with a CRS, as :func:`mlc_dask.open_maps` returns them.
    size
        Number of points; by default as many as the expected standard error `se` of the accuracy needs.
    seed
        Seed of the draw.
    layers
        One or two layers that make the strata; by default ``multi_year_filtered`` and ``single_year_filtered``, or
        ``multi_year`` where the run has no such baseline.

    Raises
    ------
    InputError
        The layers are not in the maps, no pixel has data in all years, or the size is not possible.
    """
    own, legend, grid = _chosen(maps, layers), legend_of(maps), Grid.of_raster(maps)
    used = [check_map(maps[name]) for name in own]
    chunk = partial(_count, size=legend.size)
    counts = lazy.compute(lazy.reduce_blocks(chunk, operator.add, *used, name="strata"))
    strata = list(_strata(counts, legend, own))
    if not strata:
        raise InputError(f"no pixel of {' and '.join(own)} has data in all years; choose other layers with --layer")
    drawn = _allocated(strata, size, se)
    points = _drawn(used, strata, drawn, legend.size, seed)
    table = _table(strata, drawn)
    design = {
        "crs": grid.crs,
        "grid": {"left": grid.left, "top": grid.top, "pixel": grid.pixel, "width": grid.width, "height": grid.height},
        "years": [int(year) for year in maps[YEAR].values],
        "seed": seed,
        "layers": own,
        "classes": [{"code": c.code, "name": c.name, "colour": c.colour} for c in legend.classes],
        "points": int(drawn.sum()),
        "pixels": int(table.pixels.sum()),
        "expected_se": expected_se(table.pixels, deviations(table.expected_share), drawn, finite=True),
    }
    start = year_start_of(maps)
    return ReferenceSample(
        _placed(points, strata, maps, grid), table, design | ({} if start == CALENDAR else {"year_start": start})
    )


def _chosen(maps: xr.Dataset, layers: Sequence[str] | None) -> list[str]:
    """Names of the one or two layers that make the strata."""
    yearly = [str(name) for name, layer in maps.data_vars.items() if YEAR in layer.dims]
    if layers is None:
        found = next((names for names in PREFERRED if set(names) <= set(yearly)), tuple(yearly[:1]))
        if not found:
            raise InputError("the maps have no layer with years; give maps (year, y, x)")
        return list(found)
    for name in layers:
        if name not in yearly:
            raise InputError(f"layer {name!r} is not in the maps; {did_you_mean(name, yearly)}")
    if not 1 <= len(set(layers)) == len(layers) <= 2:
        raise InputError(f"{len(layers)} layers for the strata; give one, or two different ones")
    return list(layers)


def _count(*maps: Array, size: int, block: lazy.Block) -> Array:
    return kernel.count(maps[0], maps[1] if len(maps) > 1 else None, size)


def _strata(counts: Array, legend: Legend, layers: Sequence[str]) -> Iterator[_Stratum]:
    """Strata that have pixels: stable classes first, then the others by kind."""
    stable, total = counts[Kind.STABLE], counts[Kind.STABLE :].sum()
    common = [c for c in legend.codes if stable[c] and stable[c] >= RARE * total]
    rare = tuple(c for c in legend.codes if stable[c] and c not in common)
    for code in common:
        yield _Stratum(f"stable {legend.names[code]}", Kind.STABLE, (code,), int(stable[code]))
    if rare:
        name = f"stable {legend.names[rare[0]]}" if len(rare) == 1 else "stable, rare classes"
        yield _Stratum(name, Kind.STABLE, rare, int(stable[list(rare)].sum()))
    first, second = in_words(layers[0]), in_words(layers[-1])
    one = len(layers) == 1
    names = {
        Kind.DIFFERENT: "stable, maps differ",
        Kind.FIRST: f"change in {first}" if one else f"change in {first} only",
        Kind.SECOND: f"change in {second} only",
        Kind.BOTH: "change in both",
        Kind.ALTERNATING: "alternating",
    }
    for kind, name in names.items():
        if counts[kind].any():
            yield _Stratum(name, kind, (), int(counts[kind].sum()))


def _allocated(strata: Sequence[_Stratum], size: int | None, se: float) -> npt.NDArray[np.int64]:
    """Points (H,) of every stratum."""
    pixels = np.array([s.pixels for s in strata], np.float64)
    other = np.array([s.kind != Kind.STABLE for s in strata])
    spread = deviations([_expected(s) for s in strata])
    if size is not None:
        if not 2 * len(strata) <= size <= pixels.sum():
            raise InputError(
                f"size {size} is not possible with {len(strata)} strata of {pixels.sum():.0f} pixels; give "
                f"{2 * len(strata)} to {pixels.sum():.0f}"
            )
        changes = max(1, int(other.sum()))
        half, rest = size // (2 * changes), (size - 2 * int((~other).sum())) // changes
        floor = min(CHANGE_FLOOR, max(2, min(half, rest)))
        return with_floor(size, pixels, other, floor)
    if not 0 < se < 0.5:
        raise InputError(f"standard error {se} is not possible; give a share such as 0.01")
    low, high = int(np.minimum(np.where(other, CHANGE_FLOOR, 2), pixels).sum()), int(pixels.sum())
    while low < high:
        middle = (low + high) // 2
        reached = expected_se(pixels, spread, with_floor(middle, pixels, other), finite=True)
        low, high = (low, middle) if reached <= se else (middle + 1, high)
    return with_floor(low, pixels, other)


def _expected(stratum: _Stratum) -> float:
    return EXPECTED.get(stratum.kind, 0.5)


def _drawn(
    maps: Sequence[xr.DataArray], strata: Sequence[_Stratum], units: Array, size: int, seed: int
) -> tuple[Array, Array]:
    """Stratum and global pixel id of every point, in random order."""
    table = np.zeros((len(Kind), size), np.uint8)
    for number, s in enumerate(strata, start=1):
        table[s.kind, list(s.codes) if s.codes else slice(None)] = number
    limit = np.zeros(256, np.int64)
    limit[1 : len(strata) + 1] = units

    def chunk(*parts: Array, block: lazy.Block) -> Candidates:
        kinds = kernel.kinds(parts[0], parts[1] if len(parts) > 1 else None)
        ids = block.pixel_ids(kinds.shape)
        return candidates(table[kinds, parts[0][0]], ids, priority(seed, "reference", ids), limit)

    whole = lazy.reduce_blocks(chunk, partial(merge, limit=limit), *maps, name="draw-reference")
    found: Candidates = lazy.compute(whole)
    order = np.argsort(priority(seed, "reference-order", found.id), kind="stable")
    return found.label[order].astype(np.int64) - 1, found.id[order]


def _placed(points: tuple[Array, Array], strata: Sequence[_Stratum], maps: xr.Dataset, grid: Grid) -> pd.DataFrame:
    """Table of the points."""
    of, ids = points
    rows, columns = np.divmod(ids, maps.sizes[X])
    x, y = maps[X].values[columns].astype(np.float64), maps[Y].values[rows].astype(np.float64)
    lon, lat = in_crs(x, y, grid.crs, DEGREES)
    names = [strata[h].name for h in of]
    numbers = np.arange(1, len(ids) + 1)
    return pd.DataFrame({"id": numbers, "x": x, "y": y, "lon": lon, "lat": lat, "stratum": names})


def _table(strata: Sequence[_Stratum], units: Array) -> pd.DataFrame:
    """Table of the strata."""
    pixels = np.array([s.pixels for s in strata])
    share = np.array([_expected(s) for s in strata])
    error = deviations(share) * np.sqrt((1 - units / pixels) / units)
    columns = {"stratum": [s.name for s in strata], "pixels": pixels, "sampled": units}
    return pd.DataFrame(columns | {"expected_share": share, "expected_se": error})
