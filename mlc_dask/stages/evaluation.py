"""Evaluation of the maps (paper section 4, Table 1 and Fig. 2; method section 9)."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.grids import on_grid_of
from mlc_dask.data.layers import RANKED_SERIES
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import ACQUISITION, YEAR, check_map, legend_of
from mlc_dask.data.steps import step
from mlc_dask.kernels import agreement as measures
from mlc_dask.kernels import change
from mlc_dask.kernels.detection import Detection, tally_change
from mlc_dask.kernels.tallies import MapTally, TruthTally

Array = npt.NDArray[Any]

OVERALL = "overall"
ALL_PAIRS = "all"

KEY_FIGURES: Final = {
    "agreement": "agreement",
    "kappa": "kappa",
    "flicker_share": "flicker",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "change_recall": "change recall",
    "change_precision": "change precision",
}
"""Metrics that series are compared by wherever a run is shown, in this order, with their names for people."""


class Reference(Protocol):
    """Independent maps that others are judged by, wherever they are kept."""

    def on(self, maps: xr.Dataset, legend: Legend) -> xr.DataArray | None:
        """Open the years that `maps` have, on their grid: (year, y, x) uint8, lazy; None without any."""


@dataclass(frozen=True)
class Evaluation:
    """Two tables: agreement by class and pair of years, and all other measures in long form."""

    agreement: pd.DataFrame
    summary: pd.DataFrame


def _labels(maps: xr.Dataset | xr.DataArray) -> xr.DataArray:
    labels: xr.DataArray = maps["label"] if isinstance(maps, xr.Dataset) else maps
    return check_map(labels)


def change_count(maps: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Count the label changes of every pixel (Fig. 2 of the paper): (y, x) uint8, lazy."""
    labels = _labels(maps).rename({YEAR: ACQUISITION})
    counts = lazy.map_pixels(_change_count_block, labels, layers=("change_count",), name="change-count")
    return counts["change_count"].assign_attrs(long_name="changes of class between successive years")


@step("changes", kind="maps")
def count_changes(multi: xr.Dataset, single: xr.Dataset | None = None) -> xr.Dataset:
    """Count the changes of class per pixel, for the multi-year maps and, where it is mapped, the baseline."""
    counts = xr.Dataset({"change_count": change_count(multi)})
    return counts if single is None else counts.assign(change_count_single_year=change_count(single))


def _change_count_block(labels: Array, _: None) -> Array:
    return change.change_count(labels)[None]


def transition_matrices(maps: xr.Dataset | xr.DataArray, legend: Legend | None = None) -> dict[str, Array]:
    """Count pixels by class in the first and second year, (codes, codes) int64, per pair of successive years."""
    labels, size = _labels(maps), (legend or legend_of(maps)).size
    matrices = lazy.compute(
        lazy.reduce_blocks(partial(_transitions, size=size), operator.add, labels, name="agreement")
    )
    return _by_pair(labels, matrices)


def _transitions(maps_of_block: Array, *, size: int, **_: Any) -> Array:
    return measures.transitions(maps_of_block, size)


def _tally(maps_of_block: Array, *, size: int, **_: Any) -> MapTally:
    return MapTally.of(maps_of_block, size)


def _compare(maps: Array, truth: Array, *, size: int, successive: bool, block: lazy.Block) -> TruthTally:
    change = tally_change(truth, maps, row=block.row, column=block.column, width=block.width) if successive else None
    return TruthTally(measures.yearly(truth, maps, size), change)


def _by_pair(labels: xr.DataArray, matrices: Array) -> dict[str, Array]:
    pairs = pairwise(labels[YEAR].values.tolist())
    return {f"{a}-{b}": matrix for (a, b), matrix in zip(pairs, matrices, strict=True)}


def agreement(maps: xr.Dataset | xr.DataArray, legend: Legend | None = None) -> pd.DataFrame:
    """Agreement of successive years by class and overall (Table 1 of the paper).

    Returns
    -------
    Table with columns ``pair`` (``2018-2019``, …, ``all``), ``class`` (a name or ``overall``), ``agreement``
    P(second year is c | first is c), ``reverse`` P(first | second), ``iou`` and ``n`` (pixels of c in the first year).
    """
    own = legend or legend_of(maps)
    return _agreement_table(transition_matrices(maps, own), own)


def _agreement_table(matrices: Mapping[str, Array], legend: Legend) -> pd.DataFrame:
    total = {ALL_PAIRS: sum(matrices.values(), start=np.zeros((legend.size, legend.size), np.int64))}
    rows = [row for pair, matrix in {**matrices, **total}.items() for row in _agreement_rows(pair, matrix, legend)]
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


@step("evaluation", kind="tables", version=3, shown=True)
def judge(reference: Reference, series: Mapping[str, xr.Dataset], *, legend: Legend) -> Evaluation:
    """Judge the map series that a run made, by the names of their steps, against the reference where there is one."""
    maps = {row.key: series[row.step] for row in RANKED_SERIES if row.step in series}
    return evaluate(maps, truth=reference.on(next(iter(maps.values())), legend), legend=legend)


def evaluate(
    maps: Mapping[tuple[str, bool], xr.Dataset], *, truth: xr.DataArray | None = None, legend: Legend
) -> Evaluation:
    """Evaluate several map series in one pass over the blocks; no task ever holds a whole map or truth.

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
    counts = lazy.compute([_counted(own, truth, legend) for own in maps.values()])
    tables, rows = [], []
    for ((model, filtered), own), (tally, compared) in zip(maps.items(), counts, strict=True):
        who, labels = {"model": model, "filtered": filtered}, _labels(own)
        matrices = _by_pair(labels, tally.transitions)
        tables.append(_agreement_table(matrices, legend).assign(model=model, filtered=filtered))
        measured = [*_consistency(labels, matrices, tally, legend)]
        if truth is not None:
            measured += _against_truth(_shared_years(labels, truth), compared, legend)
        rows += [{**who, "metric": m, "scope": s, "value": v} for m, s, v in measured]
    columns = ["model", "filtered", "pair", "class", "agreement", "reverse", "iou", "n"]
    return Evaluation(pd.concat(tables, ignore_index=True)[columns], pd.DataFrame(rows))


Row = tuple[str, str, float]


def _counted(maps: xr.Dataset, truth: xr.DataArray | None, legend: Legend) -> tuple[Any, Any]:
    """Lazy :class:`MapTally` of the maps, and lazy :class:`TruthTally` for the years that maps and truth share."""
    labels = _labels(maps)
    tally = lazy.reduce_blocks(partial(_tally, size=legend.size), operator.add, labels, name="consistency")
    if truth is None:
        return tally, None
    truth = on_grid_of(labels, truth, "maps and truth")
    shared = _shared_years(labels, truth)
    if not shared:
        return tally, TruthTally(np.zeros((0, legend.size, legend.size), np.int64), None)
    first = labels[YEAR].values.tolist().index(shared[0])
    successive = len(shared) > 1 and labels[YEAR].values[first : first + len(shared)].tolist() == shared
    compare = partial(_compare, size=legend.size, successive=successive)
    sides = (labels.sel({YEAR: shared}), truth.sel({YEAR: shared}))
    return tally, lazy.reduce_blocks(compare, operator.add, *sides, name="accuracy")


def _shared_years(labels: xr.DataArray, truth: xr.DataArray) -> list[int]:
    return [y for y in labels[YEAR].values.tolist() if y in truth[YEAR].values]


def _consistency(labels: xr.DataArray, matrices: Mapping[str, Array], tally: MapTally, legend: Legend) -> Iterator[Row]:
    """Measures that do not need a reference."""
    for pair, matrix in matrices.items():
        yield "agreement", pair, measures.overall(matrix)
        yield "kappa", pair, measures.kappa(matrix)
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


def _against_truth(years: Sequence[int], compared: TruthTally, legend: Legend) -> Iterator[Row]:
    """Accuracy by year and class, and the share of true change that the maps show, by size of change.

    Changes are judged only if the shared years are successive years of the maps, since a gap would merge two changes.
    """
    for year, matrix in zip(years, compared.matrices, strict=True):
        scores = measures.accuracy(matrix)
        yield "accuracy", str(year), scores.overall
        yield "macro_f1", str(year), scores.macro_f1
    total = compared.matrices.sum(axis=0)
    scores = measures.accuracy(total)
    yield "accuracy", OVERALL, scores.overall
    yield "macro_f1", OVERALL, scores.macro_f1
    for code, name in legend.names.items():
        if total[code].any():
            yield "users_accuracy", name, float(scores.precision[code])
            yield "producers_accuracy", name, float(scores.recall[code])
            yield "f1", name, float(scores.f1[code])
    if compared.change:
        yield from _change_rows(compared.change.detection())


def _change_rows(found: Detection) -> Iterator[Row]:
    yield "change_recall", OVERALL, found.recall
    yield "change_precision", OVERALL, found.precision
    bounds = [*found.edges, None]
    for i, (low, high) in enumerate(pairwise(bounds)):
        size = f"{low}-{high - 1} px" if high else f"{low}+ px"
        yield "change_objects", size, float(found.objects[i])
        yield "change_recall", size, float(found.recall_by_size[i])
        yield "change_precision", size, float(found.precision_by_size[i])
