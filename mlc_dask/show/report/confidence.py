"""Whether scores mean what they say, for people: sentences, a table of measures, and the reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mlc_dask.kernels.calibration import BINS, EQUAL, RAW, TEMPERED
from mlc_dask.kernels.comparison import ALL, OLD_MAP
from mlc_dask.kernels.conformal import ALPHA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES: Final = {
    "score": "mean score",
    "accuracy": "right",
    "ece": "ECE, equal bins",
    "ece_mass": "ECE, equal mass",
    "classwise_ece": "ECE by class",
    "brier": "Brier",
    "nll": "NLL",
}
"""Measures of scores with their names for people, in this order."""

_LOOKED_AT: Final = 0.9
_ENOUGH: Final = 30
"""Pixels that a bin has at least to be drawn; the table has all bins."""

_KINDS: Final = {RAW: "the score as it is", TEMPERED: "after the temperature"}
_SETS: Final = {"coverage": "one threshold", "coverage_by_class": "a threshold by class"}

Tables = Mapping[str, pd.DataFrame]


def what_scores_mean(tables: Tables | None) -> str:
    """Say how often pixels of a high score are right, and whether the scores are too high; empty without tables.

    Parameters
    ----------
    tables
        Tables of :func:`mlc_dask.stages.confidence.judge_confidence`.
    """
    if tables is None or tables["reliability"].empty:
        return ""
    bins, old = equal_bins(tables, RAW), _against_old_map(tables)
    looked_at = bins[bins["bin"] == int(_LOOKED_AT * BINS) + 1]
    one = (looked_at if len(looked_at) else bins.nlargest(1, "pixels")).iloc[0]
    right = "as in the old map" if old else "right"
    share = _percent(one["right"], one["low"], one["high"], " of the pixels")
    said = f"A score of {_range(int(one['bin']))} is {right} in {share}. {_verdict(tables, right)}".rstrip()
    return f"{said} This is judged by the old map, not by the ground." if old else said


def where_it_applies(tables: Tables | None) -> str:
    """Say how much of the area is unlike all training samples; empty where that is not known."""
    if tables is None or (whole := _row(tables, "outside")) is None:
        return ""
    years = _values(tables, "outside", "year")
    share = _percent(whole["value"], whole["low"], whole["high"], " of the pixels")
    said = f"{share} are unlike every training sample"
    said += f", {years.min():.0%} to {years.max():.0%} by year" if len(years) > 1 else ""
    said += f" (of the samples themselves {_values(tables, 'outside', 'samples').iloc[0]:.0%})"
    right = _values(tables, "accuracy", "area").to_dict()
    what = "as in the old map" if _against_old_map(tables) else "right"
    both = (
        f". {right['outside']:.0%} of these pixels are {what}, and {right['inside']:.0%} elsewhere"
        if len(right) > 1
        else ""
    )
    return f"{said}{both}."


def in_detail(tables: Tables) -> str:
    """Say what the temperature and the sets of classes achieve on blocks that they were not fitted on."""
    temperature, coverage = _row(tables, "temperature", TEMPERED), _row(tables, "coverage")
    if temperature is None or coverage is None:
        return "Nothing was fitted: that needs two blocks, one to fit and one to judge."
    before, after = (_value(tables, "ece", kind) for kind in (RAW, TEMPERED))
    sizes, blocks = _value(tables, "set_size"), _values(tables, "coverage", "block")
    contained = _percent(coverage["value"], coverage["low"], coverage["high"])
    return (
        f"A temperature of {temperature['value']:.2f}, fitted on one half of the blocks, takes the expected "
        f"calibration error (ECE) of the other half from {before:.3f} to {after:.3f}. Sets of classes that were "
        f"made to contain the true one in {1 - ALPHA:.0%} of the pixels contain it in {contained}, in single blocks "
        f"in {blocks.min():.0%} to {blocks.max():.0%}; they have {sizes:.1f} classes on average."
    )


def measure_table(tables: Tables) -> pd.DataFrame:
    """One row per kind of score, one column per measure of :data:`MEASURES`."""
    table = tables["calibration"]
    rows = table[(table["over"] == ALL) & table["metric"].isin(list(MEASURES))]
    wide = rows.pivot_table(index="scores", columns="metric", values="value", sort=False)
    named = wide[[m for m in MEASURES if m in wide]].rename(columns=MEASURES).rename_axis(columns=None)
    return named.rename(index=_KINDS).rename_axis(index="scores").reset_index()


def score_table(tables: Tables) -> pd.DataFrame:
    """Translate scores into shares of right pixels: one row per bin of the score."""
    bins = equal_bins(tables, RAW)
    shares = [_percent(*row) for row in bins[["right", "low", "high"]].itertuples(index=False)]
    return pd.DataFrame(
        {"score": [_range(int(b)) for b in bins["bin"]], "pixels": bins["pixels"].to_numpy(), "right": shares}
    )


def equal_bins(tables: Tables, kind: str) -> pd.DataFrame:
    """Rows of the equal bins of one kind of score."""
    table = tables["reliability"]
    return table[(table["scores"] == kind) & (table["bins"] == EQUAL)]


def confidence_figure(tables: Tables | None) -> Figure | None:
    """Draw the reliability diagram, the coverage of sets by year and block, and the share outside by year."""
    if tables is None or tables["reliability"].empty:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    reliability, sets, outside = figure.subplots(1, 3, width_ratios=(1.3, 1.3, 1))
    _diagram(reliability, tables)
    _coverage(sets, tables)
    _outside(outside, tables)
    return figure


def _diagram(axis: Axes, tables: Tables) -> None:
    raw = equal_bins(tables, RAW)
    share = raw["pixels"] / raw["pixels"].sum()
    axis.bar((raw["bin"] - 0.5) / BINS, share, width=0.9 / BINS, color="#dde3ea", label="share of the pixels")
    axis.plot([0, 1], [0, 1], "--", color="#8796a8", lw=1)
    for colour, (kind, name) in zip(("C0", "C1"), _KINDS.items(), strict=True):
        rows = equal_bins(tables, kind)
        rows = rows[rows["pixels"] >= _ENOUGH]
        if len(rows):
            _points(axis, rows["score"], rows["right"], rows, colour, name)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="score")
    axis.set_ylabel("as in the old map" if _against_old_map(tables) else "right")
    axis.set_title("how often pixels of a score are right", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="upper left")


def _coverage(axis: Axes, tables: Tables) -> None:
    axis.axhline(1 - ALPHA, ls="--", color="#8796a8", lw=1)
    lowest = 1 - ALPHA
    for i, (metric, name) in enumerate(_SETS.items()):
        blocks, years = _values(tables, metric, "block"), _rows(tables, metric, "year")
        if len(years):
            at = np.arange(len(years)) + 0.16 * (i - 0.5) + 1
            _points(axis, at, years["value"], years, f"C{i}", name)
            axis.plot(np.linspace(-0.3, 0.3, len(blocks)), blocks, ".", color=f"C{i}", alpha=0.6)
            lowest = min(lowest, blocks.min(), years["low"].min())
            axis.set_xticks(range(len(years) + 1), ["blocks", *years["scope"].astype(str)])
            axis.legend(fontsize=8, frameon=False, loc="lower right")
    axis.set_ylim(lowest - 0.2 * (1 - lowest), 1)
    axis.set_ylabel("sets that contain the true class")
    axis.set_title(f"sets of classes made for {1 - ALPHA:.0%}", fontsize=10)


def _outside(axis: Axes, tables: Tables) -> None:
    years = _rows(tables, "outside", "year")
    if len(years):
        own = _values(tables, "outside", "samples").iloc[0]
        axis.axhline(own, ls="--", color="#8796a8", lw=1, label="of the training samples themselves")
        _points(axis, np.arange(len(years)), years["value"], years, "C3", "of the pixels")
        axis.legend(fontsize=8, frameon=False)
        axis.set_xticks(range(len(years)), years["scope"].astype(str))
        axis.margins(x=0.3)
    axis.set_ylim(0, 1.25 * axis.get_ylim()[1])
    axis.set_ylabel("share")
    axis.set_title("unlike every training sample", fontsize=10)


def _points(axis: Axes, x: object, y: pd.Series[float], rows: pd.DataFrame, colour: str, name: str) -> None:
    away = [np.nan_to_num((y - rows["low"]).clip(lower=0)), np.nan_to_num((rows["high"] - y).clip(lower=0))]
    axis.errorbar(np.asarray(x), y, yerr=away, fmt="o", ms=4, lw=1, color=colour, label=name)


def _verdict(tables: Tables, right: str) -> str:
    score, found = _value(tables, "score"), _row(tables, "accuracy")
    if found is None or math.isnan(found["low"]):
        return ""
    low, high = float(found["low"]), float(found["high"])
    kind = "are too high" if high < score else "are too low" if low > score else "fit on average"
    return f"Scores {kind}: they are {score:.0%} on average, and {found['value']:.0%} of the pixels are {right}."


def _against_old_map(tables: Tables) -> bool:
    return bool((tables["calibration"]["against"] == OLD_MAP).any())


def _rows(tables: Tables, metric: str, over: str, kind: str = RAW) -> pd.DataFrame:
    table = tables["calibration"]
    return table[(table["metric"] == metric) & (table["over"] == over) & (table["scores"] == kind)]


def _values(tables: Tables, metric: str, over: str) -> pd.Series[float]:
    return _rows(tables, metric, over).set_index("scope")["value"]


def _row(tables: Tables, metric: str, kind: str = RAW) -> pd.Series[float] | None:
    rows = _rows(tables, metric, ALL, kind)
    return rows.iloc[0] if len(rows) else None


def _value(tables: Tables, metric: str, kind: str = RAW) -> float:
    row = _row(tables, metric, kind)
    return math.nan if row is None else float(row["value"])


def _range(number: int) -> str:
    return f"{(number - 1) / BINS:.0%} to {number / BINS:.0%}"


def _percent(value: float, low: float, high: float, of: str = "") -> str:
    interval = "" if math.isnan(low) else f" (95 % interval {low:.0%} to {high:.0%})"
    return f"{value:.0%}{of}{interval}"
