"""What the figures of an evaluation say, in words: what was gained, at what cost, and what was not tested.

Every number in a sentence is a cell of the tables; what they do not hold is listed as not tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pandas as pd

from mlc_dask.data.layers import BASELINE, MULTI, in_words, layer_name
from mlc_dask.kernels.squares import PLAIN
from mlc_dask.show.report.character import character
from mlc_dask.show.report.confidence import Tables, what_scores_mean, where_it_applies

if TYPE_CHECKING:
    from mlc_dask.stages.evaluation import Evaluation

_GAINS: Final = {"agreement": "agreement between years", "accuracy": "accuracy"}
_FLICKER: Final = "flicker_share"
_COSTS: Final = {"change_recall": "of the true change found", "change_precision": "of the change shown true"}
_CHANGE: Final = {"change_recall": "true change found", "change_precision": "shown change that is true"}
_DIFFERENCE: Final = ("difference", "difference_low", "difference_high")
_CONTROLS: Final = {
    "equal_samples": "the model at an equal number of samples",
    "equal_steps": "the model at equal training",
    "one_year": "one year's model for all years",
    "pooled_forest": "a forest on the same samples",
    "seed": "another seed (the noise floor)",
}
"""What is not tested where no control begins with the name."""


@dataclass(frozen=True)
class Headline:
    """Answers by question, what kind of maps each series is, and what was not tested."""

    answers: Mapping[str, str]
    kinds: Sequence[str]
    untested: Sequence[str]

    @property
    def short(self) -> list[str]:
        """Lines for a terminal, without the kinds of maps."""
        said = [f"{asked}: {answer}" for asked, answer in self.answers.items()]
        return [*said, f"Not tested: {'; '.join(self.untested)}."]


def headline(tables: Evaluation, controls: pd.DataFrame | None = None, confidence: Tables | None = None) -> Headline:
    """Say what the tables show.

    Parameters
    ----------
    tables
        Of :func:`mlc_dask.evaluate`. Series called ``multi_year`` and ``single_year``, filtered or not, are compared;
        all series are characterised.
    controls
        Comparisons on a sample, with columns ``control, filtered, smoother, metric, estimate, difference,
        difference_low, difference_high``; the differences are from the multi-year maps that are filtered alike.
    confidence
        Tables of :func:`mlc_dask.stages.confidence.judge_confidence`.
    """
    figures = _figures(tables.summary)
    answers = {
        "What the model gains": _model(figures, controls),
        "What the filter gains": _gain(figures, (MULTI, True), (MULTI, False)),
        "What either costs in change found": _costs(figures, controls),
        "Whether a smoother does as well": _smoothers(controls),
        "What a score means": what_scores_mean(confidence),
        "Where the model does not apply": where_it_applies(confidence),
    }
    return Headline(
        {asked: said for asked, said in answers.items() if said},
        [character(tables, *who) for who in figures],
        list(_untested(tables, controls, confidence)),
    )


_Figures = dict[tuple[str, bool], dict[str, float]]


def _figures(summary: pd.DataFrame) -> _Figures:
    """Figures of every series by metric: over all, or the mean of the pairs of years."""
    means = summary[(summary.scope == "overall") | (summary.metric == "agreement")]
    found: _Figures = {}
    for (model, filtered), own in means.groupby(["model", "filtered"], sort=False):
        found[str(model), bool(filtered)] = {str(m): float(v) for m, v in own.groupby("metric")["value"].mean().items()}
    return found


def _name(model: str, filtered: bool) -> str:
    return f"{in_words(layer_name(model, filtered))} maps"


def _model(figures: _Figures, controls: pd.DataFrame | None) -> str:
    """Multi-year against single-year maps before filtering: on the sample, with intervals, where there is one."""
    if controls is None:
        return _gain(figures, (MULTI, False), (BASELINE, False))
    gaps = _beside_the_baseline(controls)
    parts = [_with_interval(words, *gaps[metric]) for metric, words in _GAINS.items() if metric in gaps]
    return f"Before filtering, beside the single-year maps, the multi-year maps have {_listed(parts)}." if parts else ""


def _beside_the_baseline(controls: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Multi-year minus single-year maps before filtering, by metric: difference and limits, the upper one first."""
    rows = controls[(controls.control == BASELINE) & ~controls.filtered & (controls.smoother == PLAIN)]
    gaps = -rows.set_index("metric")[list(_DIFFERENCE)].astype(float)
    return {str(metric): (float(gap), float(high), float(low)) for metric, gap, high, low in gaps.itertuples()}


def _with_interval(words: str, gap: float, high: float, low: float) -> str:
    """Say how much more there is in the multi-year maps."""
    if low <= 0 <= high or math.isnan(low):
        return f"no clear difference in {words} ({gap:+.3f}, {_interval(low, high)})"
    return f"{'more' if low > 0 else 'less'} {words} ({gap:+.3f}, {_interval(low, high)})"


def _interval(low: float, high: float) -> str:
    return "no interval" if math.isnan(low) else f"95 % interval {low:+.3f} to {high:+.3f}"


def _gain(figures: _Figures, one: tuple[str, bool], two: tuple[str, bool]) -> str:
    if one not in figures or two not in figures:
        return ""
    a, b = figures[one], figures[two]
    both = [(words, a[metric], b[metric]) for metric, words in _GAINS.items() if metric in a and metric in b]
    if _FLICKER in a and _FLICKER in b:
        both.append(("pixels without flicker", 1 - a[_FLICKER], 1 - b[_FLICKER]))
    parts = {sign: [_more(*own) for own in both if _sign(*own[1:]) == sign] for sign in (1, 0, -1)}
    said = ", but ".join(filter(None, (_listed(parts[1] + parts[0]), _listed(parts[-1]))))
    return f"The {_name(*one)} have {said} than the {_name(*two)}." if said else ""


def _sign(a: float, b: float) -> int:
    """Return whether `a` is larger (1), smaller (-1) or as good as the same (0) in three digits."""
    return 0 if f"{a:.3f}" == f"{b:.3f}" else 1 if a > b else -1


def _more(words: str, a: float, b: float) -> str:
    if _sign(a, b) == 0:
        return f"no more {words} ({a:.3f})"
    return f"{'more' if a > b else 'less'} {words} ({a:.3f} against {b:.3f})"


def _costs(figures: _Figures, controls: pd.DataFrame | None) -> str:
    """Change found by model and filter, of those series that were judged by a reference."""
    gaps = {} if controls is None else _beside_the_baseline(controls)
    of_model = [_with_interval(words, *gaps[metric]) for metric, words in _CHANGE.items() if metric in gaps]
    said = [f"With the model, beside the single-year maps, {_listed(of_model)}."] if of_model else []
    pairs = {"model": ((MULTI, False), (BASELINE, False)), "filter": ((MULTI, True), (MULTI, False))}
    for who, (one, two) in pairs.items():
        a, b = figures.get(one, {}), figures.get(two, {})
        judged = [metric for metric in _COSTS if not math.isnan(a.get(metric, math.nan) + b.get(metric, math.nan))]
        parts = [f"{a[metric]:.0%} instead of {b[metric]:.0%} {_COSTS[metric]}" for metric in judged]
        if parts and not (who == "model" and of_model):
            said.append(f"With the {who}, {_listed(parts)}.")
    return " ".join(said)


def _smoothers(controls: pd.DataFrame | None) -> str:
    """Compare the best null smoother of the single-year maps, by accuracy where it is known, else by agreement."""
    if controls is None:
        return ""
    rows = controls[(controls.smoother != PLAIN) & (controls.control == BASELINE) & ~controls.filtered]
    measured = [metric for metric in _GAINS if metric in set(rows.metric)]
    if not measured:
        return ""
    if measured[-1] == "agreement":
        return (
            "Agreement alone cannot tell: a map that never changes has all of it. Read how much planted change is "
            "found, or give a reference."
        )
    own = rows[rows.metric == measured[-1]].set_index("smoother")
    best = str(own["estimate"].idxmax())
    gap, low, high = (float(own[column].to_dict()[best]) for column in _DIFFERENCE)
    found = rows[(rows.smoother == best) & (rows.metric == "change_recall")]
    recall = "".join(f" It finds {share:.0%} of the true change." for share in found["estimate"])
    return (
        f"The best smoother of the single-year maps ({best}) {_beside(low, high)} the multi-year model, by "
        f"{_GAINS[measured[-1]]} ({gap:+.3f}, {_interval(low, high)}).{recall}"
    )


def _beside(low: float, high: float) -> str:
    """Say what the interval of a difference from the multi-year model allows to say."""
    if math.isnan(low):
        return "cannot be told, on so few blocks, to be worse or better than"
    if low > 0:
        return "does better than"
    return "does not do as well as" if high < 0 else "is not shown to be worse or better than"


def _untested(tables: Evaluation, controls: pd.DataFrame | None, confidence: Tables | None) -> Iterator[str]:
    years = tables.summary[tables.summary.metric == "entropy"].scope.nunique()
    if "accuracy" not in set(tables.summary.metric):
        yield "accuracy and whether any change is true, since there is no reference"
    elif tables.changes.empty:
        yield "whether any change is true, since the reference has no two successive years"
    if years <= 3:
        yield f"whether a change lasts, since {years} years have no change with two years on either side"
    names = set() if controls is None else set(controls.control)
    if controls is None or set(controls.smoother) == {PLAIN}:
        yield "whether a null smoother (three-year mode, hidden Markov model) does as well"
    yield from (what for start, what in _CONTROLS.items() if not any(name.startswith(start) for name in names))
    if controls is None:
        yield "intervals: these are figures of one area and one run"
    if not what_scores_mean(confidence):
        yield "whether the layer `confidence`, a score, is right as often as it says"
    if not where_it_applies(confidence):
        yield "how much of the area is unlike all training samples"
    yield "other places and years"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
