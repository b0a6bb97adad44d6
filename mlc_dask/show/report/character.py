"""What kind of maps a series is, from its figures: constant, shuffled, the reference, smoothed, coarse, or restless."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import pandas as pd

from mlc_dask.data.layers import in_words, layer_name

if TYPE_CHECKING:
    from mlc_dask.stages.evaluation import Evaluation

CHANCE: Final = 0.1
"""Kappa below which two maps agree as if by chance."""
HALF: Final = 0.5
"""Share of the recall of long or large changes below which short or small ones count as smoothed away."""
ENOUGH: Final = 100
"""Pixels of true change below which recalls are not compared."""

_SHORT, _SMALL, _LARGE = "1 year", ("1-8 px",), ("64-120 px", "121-255 px", "256-1023 px", "1024+ px")


def character(tables: Evaluation, model: str, filtered: bool) -> str:
    """One sentence on the series (`model`, `filtered`) of an evaluation."""
    own = tables.summary[(tables.summary.model == model) & (tables.summary.filtered == filtered)]
    figures = {
        "agreement": _mean(own, "agreement"),
        "kappa": _mean(own, "kappa"),
        "accuracy": _mean(own[own.scope == "overall"], "accuracy"),
        "reference": _mean(own, "reference_agreement"),
        "reference_kappa": _mean(own, "reference_kappa"),
        "precision": _mean(own[own.scope == "overall"], "change_precision"),
    }
    changes = tables.changes[(tables.changes.model == model) & (tables.changes.filtered == filtered)]
    name = in_words(layer_name(model, filtered))
    return f"{name[:1].upper()}{name[1:]}: {_kind(figures, changes)}."


def _kind(figures: dict[str, float], changes: pd.DataFrame) -> str:
    if figures["agreement"] == 1:
        return "constant; maps that never change agree perfectly with themselves and find no change"
    if figures["accuracy"] == 1:
        return "the reference itself, pixel by pixel"
    for kappa in ("kappa", "reference_kappa"):
        if figures[kappa] < CHANCE:
            with_what = "from year to year" if kappa == "kappa" else "with the reference"
            return f"shuffled; pixels agree {with_what} no better than by chance (kappa {figures[kappa]:.2f})"
    if math.isnan(figures["accuracy"]):
        return (
            f"they change in {1 - figures['agreement']:.1%} of the pixels from year to year; "
            "how much of that is true, no reference tells"
        )
    restless = [] if figures["agreement"] > figures["reference"] else [_restless(figures)]
    return "; ".join([*_smoothed(figures, changes), *restless])


def _smoothed(figures: dict[str, float], changes: pd.DataFrame) -> list[str]:
    """Say how a series is smoothed; nothing where it is not. Coarse maps may be filtered, or see small areas mixed."""
    exact = changes[(changes.change == "any class") & (changes.time == "exact year")]
    by_time, by_size = exact[exact["size"] == "all"], exact[exact.duration == "all"]
    brief = _recall(by_time[by_time.duration == _SHORT])
    lasting = _recall(by_time[~by_time.duration.isin([_SHORT, "all"])])
    small, large = _recall(by_size[by_size["size"].isin(_SMALL)]), _recall(by_size[by_size["size"].isin(_LARGE)])
    said = []
    if brief < HALF * lasting:
        said.append(
            f"smoothed over time; they find {brief:.0%} of the changes that last a year, {lasting:.0%} of others"
        )
    if small < HALF * large:
        said.append(f"coarse; they find {small:.0%} of the changes of 1-8 px, {large:.0%} of 64 px and more")
    if figures["agreement"] > figures["reference"]:
        said.append(f"smoother than the ground; {_change(figures)}")
    return said


def _restless(figures: dict[str, float]) -> str:
    if math.isnan(figures["reference"]):
        return f"right in {figures['accuracy']:.1%} of the pixels; their change is not judged"
    true = (
        "" if math.isnan(figures["precision"]) else f"; {figures['precision']:.0%} of the change that they show is true"
    )
    return f"restless; {_change(figures)}{true}"


def _change(figures: dict[str, float]) -> str:
    shown, true = 1 - figures["agreement"], 1 - figures["reference"]
    return f"they change in {shown:.1%} of the pixels from year to year, the reference in {true:.1%}"


def _mean(own: pd.DataFrame, metric: str) -> float:
    return float(own[own.metric == metric]["value"].mean())


def _recall(rows: pd.DataFrame) -> float:
    """Share of the true change in `rows` that is found; NaN, which no comparison passes, where there is little."""
    pixels = rows["true_pixels"]
    return float((rows["recall"].fillna(0) * pixels).sum() / pixels.sum()) if pixels.sum() >= ENOUGH else float("nan")
