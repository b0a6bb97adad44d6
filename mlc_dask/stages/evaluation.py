"""Evaluation of the maps (paper section 4, Table 1 and Fig. 2; method section 9)."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.grids import on_grid_of
from mlc_dask.data.layers import RANKED_SERIES
from mlc_dask.data.legend import Legend
from mlc_dask.data.plausibility import Implausible, implausible_for
from mlc_dask.data.schema import ACQUISITION, YEAR, check_map, legend_of
from mlc_dask.data.steps import step
from mlc_dask.kernels import agreement as measures
from mlc_dask.kernels import change
from mlc_dask.kernels.tallies import Tally
from mlc_dask.stages import over_time
from mlc_dask.stages.measures import AGREEMENT, against_truth, agreement_rows, consistency
from mlc_dask.stages.over_time import pairs_of

Array = npt.NDArray[Any]

TABLES: Final = {
    "agreement": AGREEMENT,
    "summary": ("metric", "scope", "value"),
    "transitions": over_time.TRANSITIONS,
    "classes": over_time.CLASSES,
    "trajectories": over_time.TRAJECTORIES,
    "changes": over_time.CHANGES,
}
"""Columns of each table after ``model`` and ``filtered``; a file of each name is written."""

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
    """The tables of an evaluation, each with the columns ``model`` and ``filtered`` first.

    Attributes
    ----------
    agreement
        ``pair, class, agreement, reverse, iou, n``: agreement by class and pair of years.
    summary
        ``metric, scope, value``: all other measures in long form.
    transitions
        ``pair, from, to, pixels, intensity, targeted, plausible, reason``: the changes that occur. `intensity` is the
        share of *from* that becomes *to* per year, `targeted` the same of all other classes together; `plausible` is
        yes, no, or empty where the legend has no table of implausible transitions.
    classes
        ``pair, class, gain, loss, quantity, exchange, shift, gain_intensity, loss_intensity``: what classes gained and
        lost in pixels, and per year. Pair ``all`` sums the pairs and ``first-last`` compares the ends, of pixels with
        data in all years; what they differ by is alternation.
    trajectories
        ``class, kind, course, pixels, share``: pixels by their first class and the course of their series.
    changes
        ``change, time, size, duration, true_pixels, recall, shown_pixels, precision``: change against the reference.
        Empty without one.
    """

    agreement: pd.DataFrame
    summary: pd.DataFrame
    transitions: pd.DataFrame
    classes: pd.DataFrame
    trajectories: pd.DataFrame
    changes: pd.DataFrame


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


def _tally(maps: Array, *, size: int, **_: Any) -> Tally:
    return Tally.of(maps, size)


def _compare(maps: Array, truth: Array, *, shared: Sequence[int], size: int, block: lazy.Block) -> Tally:
    place = {"row": block.row, "column": block.column, "width": block.width}
    return Tally.compared(maps, truth, shared, size, place)


def _by_pair(labels: xr.DataArray, matrices: Array) -> dict[str, Array]:
    return dict(zip(pairs_of(labels[YEAR].values.tolist()), matrices, strict=True))


def agreement(maps: xr.Dataset | xr.DataArray, legend: Legend | None = None) -> pd.DataFrame:
    """Agreement of successive years by class and overall (Table 1 of the paper).

    Returns
    -------
    Table with columns ``pair`` (``2018-2019``, …, ``all``), ``class`` (a name or ``overall``), ``agreement``
    P(second year is c | first is c), ``reverse`` P(first | second), ``iou`` and ``n`` (pixels of c in the first year).
    """
    own, labels = legend or legend_of(maps), _labels(maps)
    matrices = np.array(list(transition_matrices(maps, own).values()), np.int64).reshape(-1, own.size, own.size)
    return pd.DataFrame(list(agreement_rows(labels[YEAR].values.tolist(), matrices, own)))


@step("evaluation", kind="tables", version=5, shown=True)
def judge(
    reference: Reference,
    series: Mapping[str, xr.Dataset],
    *,
    legend: Legend,
    implausible: Implausible | None = None,
) -> Evaluation:
    """Judge the map series that a run made, by the names of their steps, against the reference where there is one."""
    maps = {row.key: series[row.step] for row in RANKED_SERIES if row.step in series}
    truth = reference.on(next(iter(maps.values())), legend)
    return evaluate(maps, truth=truth, legend=legend, implausible=implausible)


def evaluate(
    maps: Mapping[tuple[str, bool], xr.Dataset],
    *,
    truth: xr.DataArray | None = None,
    legend: Legend,
    implausible: Implausible | None = None,
) -> Evaluation:
    """Evaluate several map series in one pass over the blocks; no task ever holds a whole map or truth.

    Parameters
    ----------
    maps
        Map series by (model, filtered).
    truth
        Independent reference (year, y, x) uint8, codes of the legend.
    implausible
        Implausible transitions; by default the table of the package, for the classes of the paper alone.

    Returns
    -------
    :class:`Evaluation`, which tells the columns of its tables; each begins with ``model, filtered``.
    """
    odd = implausible or implausible_for(legend)
    tallies = lazy.compute([_counted(own, truth, legend) for own in maps.values()])
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for ((model, filtered), own), tally in zip(maps.items(), tallies, strict=True):
        labels = _labels(own)
        years = None if truth is None else _shared_years(labels, truth)
        for name, rows in _rows(labels[YEAR].values.tolist(), years, tally, legend, odd).items():
            tables[name].append(_framed(name, rows, model, filtered))
    return Evaluation(**{name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()})


def _framed(name: str, rows: Iterable[Mapping[str, Any]], model: str, filtered: bool) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=list(TABLES[name]))
    table.insert(0, "model", model)
    table.insert(1, "filtered", filtered)
    return table


def _rows(
    years: list[int], shared: list[int] | None, tally: Tally, legend: Legend, odd: Implausible | None
) -> dict[str, Iterable[Mapping[str, Any]]]:
    """Rows of every table of one series; `shared` are the years that the truth has, too."""
    found = tally.truth.change and tally.truth.change.detection()
    transitions = list(over_time.transition_rows(years, tally.maps, legend, odd))
    summary = [*consistency(years, tally.maps, legend), *over_time.summary_rows(years, tally.maps, transitions)]
    if shared is not None:
        summary += against_truth(shared, tally.truth, legend)
    return {
        "agreement": agreement_rows(years, tally.maps.transitions, legend),
        "summary": [dict(zip(TABLES["summary"], row, strict=True)) for row in summary],
        "transitions": transitions,
        "classes": over_time.class_rows(years, tally.maps, legend),
        "trajectories": over_time.trajectory_rows(tally.maps.over_time, legend),
        "changes": over_time.change_rows(found) if found else (),
    }


def _counted(maps: xr.Dataset, truth: xr.DataArray | None, legend: Legend) -> Any:
    """Lazy :class:`Tally` of the maps, and of their comparison in the years that maps and truth share."""
    labels = _labels(maps)
    truth = None if truth is None else on_grid_of(labels, truth, "maps and truth")
    shared = [] if truth is None else _shared_years(labels, truth)
    if truth is None or not shared:
        return lazy.reduce_blocks(partial(_tally, size=legend.size), operator.add, labels, name="consistency")
    years = labels[YEAR].values.tolist()
    compare = partial(_compare, shared=[years.index(year) for year in shared], size=legend.size)
    return lazy.reduce_blocks(compare, operator.add, labels, truth.sel({YEAR: shared}), name="consistency")


def _shared_years(labels: xr.DataArray, truth: xr.DataArray) -> list[int]:
    return [y for y in labels[YEAR].values.tolist() if y in truth[YEAR].values]
