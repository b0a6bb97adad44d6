"""What the maps are judged by (paper section 4, Table 1 and Fig. 2; method section 9)."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.legend import NO_DATA, Legend
from mlc_dask.data.schema import ACQUISITION, YEAR, check_map, check_same_grid, legend_of
from mlc_dask.kernels import agreement as measures
from mlc_dask.kernels import change

Array = npt.NDArray[Any]

OVERALL = "overall"
ALL_PAIRS = "all"


@dataclass(frozen=True)
class Evaluation:
    """Two tables: agreement by class and pair of years, and everything else in long form."""

    agreement: pd.DataFrame
    summary: pd.DataFrame


def _labels(maps: xr.Dataset | xr.DataArray) -> xr.DataArray:
    labels: xr.DataArray = maps["label"] if isinstance(maps, xr.Dataset) else maps
    return check_map(labels)


def change_count(maps: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Count the label changes of every pixel (Fig. 2): (y, x) uint8, lazy."""
    labels = _labels(maps).rename({YEAR: ACQUISITION})
    counts = lazy.map_pixels(_change_count_block, labels, layers=("change_count",), name="change-count")
    return counts["change_count"].assign_attrs(long_name="changes of class between successive years")


def _change_count_block(labels: Array, _: None) -> Array:
    return change.change_count(labels)[None]


def transition_matrices(maps: xr.Dataset | xr.DataArray, legend: Legend | None = None) -> dict[str, Array]:
    """Pixels by class in the first and second year, (codes, codes) int64, of every pair of successive years."""
    labels = _labels(maps)
    size, years = (legend or legend_of(maps)).size, labels[YEAR].values.tolist()

    def chunk(maps_of_block: Array, **_: Any) -> Array:
        matrices = [measures.confusion(a, b, size) for a, b in pairwise(maps_of_block)]
        return np.array(matrices, np.int64).reshape(-1, size, size)

    found = lazy.compute(lazy.reduce_blocks(chunk, lambda a, b: a + b, labels, name="agreement"))
    return {f"{a}-{b}": found[i] for i, (a, b) in enumerate(pairwise(years))}


def agreement(maps: xr.Dataset | xr.DataArray, legend: Legend | None = None) -> pd.DataFrame:
    """Agreement of successive years by class and overall (Table 1 of the paper).

    Returns
    -------
    Table with columns ``pair`` (``2018-2019``, …, ``all``), ``class`` (a name or ``overall``), ``agreement``
    P(second year is c | first is c), ``reverse`` P(first | second), ``iou`` and ``n`` (pixels of c in the first).
    """
    own = legend or legend_of(maps)
    matrices = transition_matrices(maps, own)
    total = {ALL_PAIRS: sum(matrices.values(), start=np.zeros((own.size, own.size), np.int64))}
    rows = [row for pair, matrix in {**matrices, **total}.items() for row in _agreement_rows(pair, matrix, own)]
    return pd.DataFrame(rows)


def _agreement_rows(pair: str, matrix: Array, legend: Legend) -> Iterator[dict[str, Any]]:
    by_class = measures.per_class(matrix)
    for code, name in legend.names.items():
        if by_class.n[code] or matrix[:, code].any():
            yield {
                "pair": pair,
                "class": name,
                "agreement": by_class.agreement[code],
                "reverse": by_class.reverse[code],
                "iou": by_class.iou[code],
                "n": int(by_class.n[code]),
            }
    share = measures.overall(matrix)
    pixels = int(matrix.sum())
    both = int(matrix.trace())
    union = 2 * pixels - both
    yield {
        "pair": pair,
        "class": OVERALL,
        "agreement": share,
        "reverse": share,
        "iou": both / union if union else float("nan"),
        "n": pixels,
    }


def evaluate(
    maps: Mapping[tuple[str, bool], xr.Dataset], *, truth: xr.DataArray | None = None, legend: Legend
) -> Evaluation:
    """Judge several map series at once.

    Parameters
    ----------
    maps
        Map series by (model, filtered).
    truth
        Independent reference (year, y, x) uint8, codes of the legend.

    Returns
    -------
    :class:`Evaluation`: ``agreement`` with columns ``model, filtered, pair, class, agreement, reverse, iou, n``;
    ``summary`` in long form with columns ``model, filtered, metric, scope, value``.
    """
    tables, rows = [], []
    for (model, filtered), own in maps.items():
        who = {"model": model, "filtered": filtered}
        tables.append(agreement(own, legend).assign(model=model, filtered=filtered))
        measured = [*_consistency(own, legend), *(_against_truth(own, truth, legend) if truth is not None else ())]
        rows += [{**who, "metric": m, "scope": s, "value": v} for m, s, v in measured]
    columns = ["model", "filtered", "pair", "class", "agreement", "reverse", "iou", "n"]
    return Evaluation(pd.concat(tables, ignore_index=True)[columns], pd.DataFrame(rows))


Row = tuple[str, str, float]


def _consistency(maps: xr.Dataset, legend: Legend) -> Iterator[Row]:
    """Measures that need no reference."""
    for pair, matrix in transition_matrices(maps, legend).items():
        yield "agreement", pair, measures.overall(matrix)
        yield "kappa", pair, measures.kappa(matrix)
    labels = _labels(maps)

    def chunk(maps_of_block: Array, **_: Any) -> _Tally:
        return _Tally.of(maps_of_block, legend.size)

    tally: _Tally = lazy.compute(lazy.reduce_blocks(chunk, operator.add, labels, name="consistency"))
    for n, pixels in enumerate(tally.changes.tolist()):
        yield "pixels_by_changes", str(n), float(pixels)
    if labels.sizes[YEAR] > 2:
        yield "flicker_share", OVERALL, tally.flickered / max(1, tally.seen)
        yield "sustained_share", OVERALL, tally.sustained / max(1, tally.seen)
    for year, counts in zip(labels[YEAR].values.tolist(), tally.classes, strict=True):
        yield "entropy", str(year), measures.entropy(counts)
        for code, name in legend.names.items():
            if counts[code]:
                yield "class_share", f"{year} {name}", float(measures.shares(counts)[code])


@dataclass(frozen=True, eq=False)
class _Tally:
    """Counts of a block, which add up: pixels by class; and of those with data in all years how many changes.

    `flickered` and `sustained` are the pixels of the latter with any run A→B→A and A→B→B, `seen` is all of them.
    """

    classes: Array
    changes: Array
    flickered: int
    sustained: int
    seen: int

    @classmethod
    def of(cls, block: Array, size: int) -> _Tally:
        seen = (block != NO_DATA).all(axis=0)
        runs = (change.flicker, change.sustained)
        flickered, lasting = (int(((f(block) > 0) & seen).sum()) if len(block) > 2 else 0 for f in runs)
        return cls(
            np.stack([measures.class_counts(plane, size) for plane in block]),
            np.bincount(change.change_count(block)[seen], minlength=len(block)),
            flickered,
            lasting,
            int(seen.sum()),
        )

    def __add__(self, other: _Tally) -> _Tally:
        return replace(self, **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def _against_truth(maps: xr.Dataset, truth: xr.DataArray, legend: Legend) -> Iterator[Row]:
    """Accuracy by year and class, and how much of the true change the maps show, by its size.

    Changes are judged where the reference has successive years of the maps: a gap would make two changes of one.
    """
    labels = _labels(maps)
    check_same_grid(labels, truth, "maps and truth")
    years = labels[YEAR].values.tolist()
    shared = [y for y in years if y in truth[YEAR].values]
    total = np.zeros((legend.size, legend.size), np.int64)
    ours, theirs = (r.sel({YEAR: shared}).values for r in (labels, truth))
    for year, found, reference in zip(shared, ours, theirs, strict=True):
        matrix = measures.confusion(reference, found, legend.size)
        total += matrix
        scores = measures.accuracy(matrix)
        yield "accuracy", str(year), scores.overall
        yield "macro_f1", str(year), scores.macro_f1
    scores = measures.accuracy(total)
    yield "accuracy", OVERALL, scores.overall
    yield "macro_f1", OVERALL, scores.macro_f1
    for code, name in legend.names.items():
        if total[code].any():
            yield "users_accuracy", name, float(scores.precision[code])
            yield "producers_accuracy", name, float(scores.recall[code])
            yield "f1", name, float(scores.f1[code])
    first = years.index(shared[0]) if shared else 0
    if len(shared) > 1 and years[first : first + len(shared)] == shared:
        yield from _change_rows(theirs, ours)


def _change_rows(truth: Array, maps: Array) -> Iterator[Row]:
    found = change.detection(truth, maps)
    yield "change_recall", OVERALL, found.recall
    yield "change_precision", OVERALL, found.precision
    bounds = [*found.edges, None]
    for i, (low, high) in enumerate(pairwise(bounds)):
        size = f"{low}-{high - 1} px" if high else f"{low}+ px"
        yield "change_objects", size, float(found.objects[i])
        yield "change_recall", size, float(found.recall_by_size[i])
        yield "change_precision", size, float(found.precision_by_size[i])
