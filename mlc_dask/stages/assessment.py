"""Accuracy, areas and change of maps from the points of a reference, with intervals (method section 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.grids import Grid, north_up
from mlc_dask.data.layers import layer_called
from mlc_dask.data.legend import NO_DATA, Legend
from mlc_dask.data.places import pixel_hectares
from mlc_dask.data.schema import YEAR, check_map, legend_of
from mlc_dask.kernels import assessment as kernel
from mlc_dask.stages.areas import area_rows, count_layers
from mlc_dask.stages.points import Survey, find
from mlc_dask.stages.rows import NO_PAIR, Row, row_of, scopes

Labels = npt.NDArray[np.uint8]
OVERALL: Final = "overall"
REFERENCE: Final = "reference"

MATCHING: Final = {
    "exact year": (0, False),
    "± 1 year": (1, False),
    "± 2 years": (2, False),
    "from–to, exact year": (0, True),
    "from–to, ± 1 year": (1, True),
}
"""Tolerance of the date in years, and whether the classes must agree, by the name of the match."""

ANY_YEAR: Final = "any year (footprint)"
SERIES_RIGHT: Final = "whole series right"

_WHY: Final = {
    "overall": "no point has a label in the map and in the reference",
    "users": "no point has the class in the map",
    "producers": "no point has the class in the reference",
    "f1": "no point has the class in the map or in the reference",
}
_WHY_CHANGE: Final = {
    "users": "the map shows no change at any point",
    "producers": "no point changes in the reference",
    "f1": "no point changes in the map or in the reference",
}
_NO_BOTH: Final = {"users": "a map shows no change at any point", "producers": _WHY_CHANGE["producers"]}


@dataclass(frozen=True, eq=False)
class Assessment:
    """Tables of estimates with 95 % intervals; their columns ``value, se, low, high, interval, points, note``.

    ``interval`` says how the limits were found: wald, wilson, exact, or none without an estimate, whose ``note`` says
    why. ``points`` are the sampled points that tell something about the figure.

    Attributes
    ----------
    accuracy
        By ``layer``, ``years``, ``measure`` (overall, users, producers, f1) and ``class``.
    areas
        Of classes and changes in the reference, by ``years`` and ``class``: shares, the same in ``pixels`` and
        ``hectares`` with limits (NaN where the CRS is in degrees), and the share that each layer shows,
        ``mapped_LAYER``, of the same area: ``mapped_pixels_LAYER``, ``mapped_hectares_LAYER``.
    change
        By ``layer``, ``match`` and ``measure``: the share of shown change that is true (users), of true change that is
        shown (producers), and both (f1).
    trajectories
        By ``layer`` and ``measure``: whole series that are right, gross and net change, also of the reference, and by
        how many years changes are shown too late.
    differences
        Paired differences, by ``first``, ``second``, ``measure`` (accuracy, change users and change producers in the
        exact year) and ``years``; of accuracy also the points of which only one of the layers has more years right.
    notes
        What the estimates assume, as sentences.
    """

    accuracy: pd.DataFrame
    areas: pd.DataFrame
    change: pd.DataFrame
    trajectories: pd.DataFrame
    differences: pd.DataFrame
    notes: tuple[str, ...]


def assess(
    maps: xr.Dataset,
    points: pd.DataFrame,
    *,
    strata: pd.DataFrame | None = None,
    crs: str | None = None,
    layers: Sequence[str] | None = None,
) -> Assessment:
    """Estimate accuracy, areas and change from a probability sample of reference points (method section 9).

    The unit is a point with its labels of all years. Strata need not be classes of the maps.

    Parameters
    ----------
    maps
        Layers (year, y, x) uint8 with a CRS, as :func:`mlc_dask.open_maps` returns them.
    points
        A row per point: ``x``, ``y``, ``label_YEAR`` for every year (a code or a name of the legend; empty or 0 where
        there is none), ``stratum`` for a stratified sample, ``id`` if points have one.
    strata
        ``stratum`` and ``pixels`` of all strata. Without it the points are taken as a simple random sample, and a note
        says so.
    crs
        CRS of ``x`` and ``y``, such as ``"EPSG:4326"`` (longitude, latitude); by default that of the maps.
    layers
        Layers to judge; by default all that hold classes.

    Raises
    ------
    InputError
        For points outside the maps, labels that are not in the legend, years that the maps lack, ids that occur twice,
        a CRS that is unknown, strata without a size or with fewer than two labelled points, or unknown layers.
    """
    maps = north_up(maps)
    own = _chosen(maps, layers)
    found = find(maps, own[0], points, strata, crs)
    given = _at(maps, own, found)
    legend, pixel = legend_of(maps), pixel_hectares(Grid.of_raster(maps))
    return Assessment(
        pd.DataFrame([row for name in own for row in _accuracy(name, given[name], found, legend)]),
        pd.DataFrame([*area_rows(found, count_layers(maps, own, found, legend.size), legend, pixel)]),
        pd.DataFrame([row for name in own for row in _change(name, given[name], found)]),
        pd.DataFrame([*_course(found), *(row for name in own for row in _trajectories(name, given[name], found))]),
        pd.DataFrame([*_differences(given, found)], columns=_DIFFERENCES),
        found.notes,
    )


def _chosen(maps: xr.Dataset, layers: Sequence[str] | None) -> list[str]:
    """Names of the layers to judge, the best first."""
    classed = [str(n) for n, v in maps.data_vars.items() if YEAR in v.dims and layer_called(str(n)).values == "classes"]
    for name in layers or ():
        if name not in classed:
            raise InputError(f"layer {name!r} is no layer of classes in the maps; {did_you_mean(name, classed)}")
    if not classed:
        raise InputError("the maps have no layer of classes with years; give maps (year, y, x)")
    return list(dict.fromkeys(layers)) if layers else sorted(classed, key=lambda name: layer_called(name).rank)


def _at(maps: xr.Dataset, layers: Sequence[str], found: Survey) -> dict[str, Labels]:
    """Labels (n, k) of every layer at the points; 0 in years without labels."""
    known = [i for i, year in enumerate(found.years) if year in maps[YEAR].values]
    wanted = {
        name: lazy.gather_pixels(
            check_map(maps[name]).sel({YEAR: [found.years[i] for i in known]}), found.rows, found.columns, dim="point"
        )
        for name in layers
    }
    taken = {}
    for name, labels in lazy.compute(wanted).items():
        taken[name] = np.zeros(found.reference.shape, np.uint8)
        taken[name][:, known] = labels.values
    return taken


def _accuracy(layer: str, given: Labels, found: Survey, legend: Legend) -> Iterator[Row]:
    for years, at in scopes(found).items():
        own = kernel.accuracy(given[:, at], found.reference[:, at], found.strata, legend.size)
        yield row_of(own.overall, _WHY["overall"], layer=layer, years=years, measure="overall", **{"class": OVERALL})
        for measure in ("users", "producers", "f1"):
            for code, name in legend.names.items():
                keys = {"layer": layer, "years": years, "measure": measure, "class": name}
                yield row_of(getattr(own, measure)[code], _WHY[measure], **keys)


def _change(layer: str, given: Labels, found: Survey) -> Iterator[Row]:
    """Accuracy of change; of one year alone there is none."""
    if not _successive(found):
        for measure in _WHY_CHANGE:
            yield {"layer": layer, "match": "exact year", "measure": measure, **_none(NO_PAIR)}
        return
    judged: dict[str, Callable[..., kernel.ChangeAccuracy]] = {
        match: partial(kernel.change_accuracy, tolerance=tolerance, transitions=transitions)
        for match, (tolerance, transitions) in MATCHING.items()
        if tolerance < len(found.years) - 1
    }
    for match, judge in {**judged, ANY_YEAR: kernel.footprint}.items():
        own = judge(given, found.reference, found.strata)
        for measure, why in _WHY_CHANGE.items():
            yield row_of(getattr(own, measure), why, layer=layer, match=match, measure=measure)


def _successive(found: Survey) -> bool:
    """Whether any point has labels of two successive years."""
    there = found.reference != NO_DATA
    return bool((there[:, 1:] & there[:, :-1]).any())


def _none(why: str) -> Row:
    nothing = dict.fromkeys(("value", "se", "low", "high"), float("nan"))
    return {**nothing, "interval": "none", "points": 0, "note": f"no estimate: {why}"}


def _course(found: Survey) -> Iterator[Row]:
    """Gross and net change of the reference."""
    yield from _gross(REFERENCE, found.reference, found, known=False)


def _gross(layer: str, labels: Labels, found: Survey, *, known: bool) -> Iterator[Row]:
    if not _successive(found):
        yield {"layer": layer, "measure": "gross change per pair of years", **_none(NO_PAIR)}
        return
    gross, net = kernel.gross_and_net(labels, found.strata, known=known)
    yield row_of(gross, NO_PAIR, layer=layer, measure="gross change per pair of years")
    yield row_of(net, "no point has labels of the first and the last year", layer=layer, measure="net change")


def _trajectories(layer: str, given: Labels, found: Survey) -> Iterator[Row]:
    at = found.labelled
    right = kernel.trajectory_accuracy(given[:, at], found.reference[:, at], found.strata)
    yield row_of(right, "no point has a label of every year", layer=layer, measure=SERIES_RIGHT)
    # Only where the reference has labels, so that both count the same pairs of years.
    yield from _gross(layer, given * (found.reference != NO_DATA), found, known=False)
    if _successive(found):
        errors, last = kernel.date_errors(given, found.reference, found.strata), len(found.years) - 2
        names = [
            f"change shown {lag:+d} years late" if lag else "change shown in its year" for lag in range(-last, last + 1)
        ]
        for i, name in enumerate([*names, "change never shown"]):
            yield row_of(errors[i], _WHY_CHANGE["producers"], layer=layer, measure=name)


_DIFFERENCES: Final = [
    *("first", "second", "measure", "years", "value", "se", "low", "high", "interval", "points", "note"),
    *("first_only", "second_only"),
]


def _differences(given: Mapping[str, Labels], found: Survey) -> Iterator[Row]:
    """Paired differences between all layers, the first layer first."""
    for (a, first), (b, second) in combinations(given.items(), 2):
        for years, at in scopes(found).items():
            parts = first[:, at], second[:, at], found.reference[:, at]
            only = dict(zip(("first_only", "second_only"), kernel.discordant(*parts), strict=True))
            own = kernel.accuracy_difference(*parts, found.strata)
            yield {**row_of(own, _WHY["overall"], first=a, second=b, measure="accuracy", years=years), **only}
        if _successive(found):
            pair = kernel.change_difference(first, second, found.reference, found.strata)
            for measure, e in zip(("users", "producers"), pair, strict=True):
                keys = {"first": a, "second": b, "measure": f"change {measure}", "years": next(iter(scopes(found)))}
                yield row_of(e, _NO_BOTH[measure], **keys)
