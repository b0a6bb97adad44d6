"""Whether the classes of the old map are still themselves in every year (method section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import YEAR, days_of
from mlc_dask.kernels.clusters import ClassClusters
from mlc_dask.kernels.continuity import DOUBTED, FEWEST, Continuity, Verdict, common_offset, continuity
from mlc_dask.kernels.gaps import count_valid, fill
from mlc_dask.stages.features import Series, some_at_once
from mlc_dask.stages.judge import Judge

Array = npt.NDArray[Any]
Clusters = dict[int, ClassClusters]

_ARRAYS = {"center": np.float32, "scale": np.float32, "centroids": np.float32, "sizes": np.int64, "seen": np.bool_}


def anchor_year(year: int | None, years: Sequence[int]) -> int:
    """Year of the series that is nearest to the old map's `year`; the first one where that is unknown."""
    return min(years, key=lambda y: (abs(y - year), y)) if year else years[0]


def anchor_in_words(year: int | None, years: Sequence[int]) -> str:
    """Return what the anchor will do, for an old map of `year`."""
    anchor = anchor_year(year, years)
    if year is None:
        why = "the year of the old map is unknown, so the first one stands for it; set product.year if it is known"
    elif year == anchor:
        why = "the year of the old map"
    else:
        why = f"the nearest to the year of the old map, {year}"
    return f"a class is what it is in {anchor} ({why}); years in which most of it is something else are named"


def compare_years(
    clusters: Mapping[int, Clusters],
    features: Mapping[int, npt.NDArray[np.float32]],
    labels: npt.NDArray[np.uint8],
    anchor: int,
    judged: Mapping[int, Mapping[int, float]],
) -> dict[int, dict[int, Continuity]]:
    """Compare every class in every other year with the class in the year `anchor`.

    `features` (n, F) by year and `labels` (n,) are those of the witnesses of the classes; `judged` is the share of them
    that the judge keeps, by year and code.
    """
    offsets = {y: common_offset(features[anchor], own, labels) for y, own in features.items() if y != anchor}
    known = clusters[anchor]
    return {
        y: {
            code: continuity(own, code, known, offsets[y], judged[y])
            for code, own in clusters[y].items()
            if code in known
        }
        for y in offsets
    }


def anchored(clusters: Mapping[int, Clusters], found: Mapping[int, Mapping[int, Continuity]]) -> dict[int, Clusters]:
    """Return the clusters with what continues their class as the kept ones."""
    return {
        year: {c: replace(m, kept=found[year][c].kept) if c in found.get(year, {}) else m for c, m in own.items()}
        for year, own in clusters.items()
    }


def doubted(found: Mapping[int, Mapping[int, Continuity]]) -> dict[int, set[int]]:
    """Codes, by year, of the classes that are in doubt."""
    by_year = {year: {code for code, own in verdicts.items() if own.doubted} for year, verdicts in found.items()}
    return {year: codes for year, codes in by_year.items() if codes}


def in_words(
    found: Mapping[int, Mapping[int, Continuity]], clusters: Mapping[int, Clusters], legend: Legend, anchor: int
) -> list[str]:
    """One note per class that cannot be judged, and per class and year that is in doubt or unlike the others.

    Where nothing was compared, there are no notes.
    """
    notes = _not_judged(found, clusters, legend, anchor)
    for year, verdicts in found.items():
        for code, own in verdicts.items():
            name = legend.names[code]
            if own.verdict is Verdict.SWAPPED:
                notes.append(
                    f"{year}: the largest cluster of {name} is not the {name} of {anchor}; cluster {1 + own.kept[0]}, "
                    "which continues it, is kept: most of the class may have changed"
                )
            elif own.verdict is Verdict.LOST:
                notes.append(
                    f"{year}: only {own.judged:.0%} of the {name} of {anchor} still look like it or did not move: only "
                    f"pixels that do both give samples of {year}, and {year} has no vote on {name}"
                )
            elif own.verdict is Verdict.UNLIKE:
                notes.append(
                    f"{year}: no cluster of {name} lies where the {name} of {anchor} lies, but {own.judged:.0%} "
                    "of its pixels still look like it or did not move: the year is unlike the "
                    "others; look at its acquisitions, and name odd ones in acquisitions.leave_out"
                )
    return notes


def _not_judged(
    found: Mapping[int, Mapping[int, Continuity]], clusters: Mapping[int, Clusters], legend: Legend, anchor: int
) -> list[str]:
    """Return a note per class that the judge knows too little of, in some year."""
    years: dict[int, list[int]] = {}
    for year, verdicts in found.items():
        for code in clusters[year]:
            if code not in verdicts or verdicts[code].judged is None:
                years.setdefault(code, []).append(year)
    return [
        f"{legend.names[code]} has fewer than {FEWEST} reliable pixels that are seen in {anchor} and in "
        f"{', '.join(map(str, own))}: whether it changed as a whole is not judged, only its clusters are compared"
        for code, own in years.items()
    ]


def without_witnesses(anchor: int) -> str:
    """Note about a place in which no pixel can be followed through the years."""
    return (
        f"no class has a reliable pixel in {anchor}: there is no anchor, the classes of the other years are not "
        "compared with those of the old map's year, and whether they changed as a whole is not judged"
    )


def with_witnesses(
    samples: xr.Dataset,
    watched: xr.Dataset,
    found: Mapping[int, Mapping[int, Continuity]],
    clusters: Mapping[int, Clusters],
) -> xr.Dataset:
    """Return `samples` with the witnesses and the attributes ``anchor`` and ``continuity``.

    ``continuity`` has one row per class and year: its verdict, distances, and what the judge keeps. ``judged`` has the
    clusters of the classes that are in doubt in some year, for every year.
    """
    rows = [
        {
            "year": year,
            "code": code,
            **asdict(own),
            "kept": list(own.kept),
            "other_distance": own.other_distance if np.isfinite(own.other_distance) else None,
        }
        for year, verdicts in found.items()
        for code, own in verdicts.items()
    ]
    codes = set().union(*doubted(found).values())
    judged = [
        {"year": year, "code": code, "clusters": _to_lists(model)}
        for year, own in clusters.items()
        for code, model in own.items()
        if code in codes
    ]
    return samples.assign(watched.data_vars).assign_attrs(
        anchor=watched.attrs["anchor"], continuity=rows, judged=judged
    )


def doubts(samples: xr.Dataset | None) -> dict[int, set[int]]:
    """Codes, by year, of the classes that may have changed as a whole."""
    result: dict[int, set[int]] = {}
    for row in samples.attrs.get("continuity", ()) if samples is not None else ():
        if row["verdict"] in DOUBTED:
            result.setdefault(row["year"], set()).add(row["code"])
    return result


def judged(samples: xr.Dataset | None) -> dict[int, Clusters]:
    """Clusters, by year and code, of the classes that are in doubt in some year."""
    result: dict[int, Clusters] = {}
    for row in samples.attrs.get("judged", ()) if samples is not None else ():
        result.setdefault(row["year"], {})[row["code"]] = _from_lists(row["clusters"])
    return result


def still(
    cube: xr.Dataset,
    labels: xr.DataArray,
    year: int,
    clusters: Clusters,
    doubted: set[int],
    reading: Series,
    judge: Judge | None,
) -> xr.Dataset:
    """Label and 1 + cluster number, (y, x) each, of pixels in a kept cluster of their class; 0 for all others.

    Of classes in doubt, only pixels that the judge is sure of are left.
    """
    one = cube.sel({YEAR: year}, drop=True)
    reliable = lazy.map_pixels(
        _in_kept, one.reflectance, one.usable, labels,
        layers=("label", "cluster"), name=f"reliable-{year}", parameter=(reading, clusters),
    )  # fmt: skip
    if judge is None or not doubted:
        return reliable
    then, unsure = cube.sel({YEAR: judge.anchor}, drop=True), reliable.label.isin(list(doubted))
    sure = lazy.map_pixels(
        _sure, one.reflectance, one.usable, then.reflectance, then.usable, reliable.label.where(unsure, np.uint8(0)),
        layers=("sure",), name=f"sure-{year}", parameter=(year, judge, reading, days_of(cube, judge.anchor)),
    )  # fmt: skip
    return reliable.where(~unsure | (sure.sure != 0), np.uint8(0))


def _in_kept(dn: Array, usable: Array, labels: Array, parameter: tuple[Series, Clusters]) -> Array:
    reading, clusters = parameter
    dn, usable, flat = _flat(dn), _flat(usable), labels.reshape(-1)
    found = np.zeros((2, flat.size), np.uint8)
    for code, at, cluster in reading.in_kept_clusters(dn, usable, flat, clusters):
        found[0, at], found[1, at] = code, 1 + cluster
    return found.reshape(2, *labels.shape)


def _sure(
    dn: Array,
    usable: Array,
    dn_then: Array,
    usable_then: Array,
    labels: Array,
    parameter: tuple[int, Judge, Series, npt.NDArray[np.float64]],
) -> Array:
    year, judge, reading, days_then = parameter
    min_valid = judge.model.context.min_valid
    flat, found = labels.reshape(-1), np.zeros(labels.size, np.uint8)
    for code in np.unique(flat[flat != 0]).tolist():
        for at in some_at_once(np.flatnonzero(flat == code)):
            now = fill(_flat(dn), _flat(usable), reading.days, reading.gaps, at)
            then = fill(_flat(dn_then), _flat(usable_then), days_then, reading.gaps, at)
            seen = count_valid(_flat(usable_then)[:, at]) >= min_valid
            found[at] = judge.is_sure_of(year, then, now, code, seen)
    return found.reshape(1, *labels.shape)


def _flat(block: Array) -> Array:
    """Return a block with its pixels along one axis."""
    return block.reshape(*block.shape[:-2], -1)


def _to_lists(clusters: ClassClusters) -> dict[str, Any]:
    return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in asdict(clusters).items()}


def _from_lists(form: Mapping[str, Any]) -> ClassClusters:
    arrays: dict[str, Any] = {name: np.asarray(form[name], dtype) for name, dtype in _ARRAYS.items()}
    return ClassClusters(**{**form, **arrays, "kept": tuple(form["kept"])})
