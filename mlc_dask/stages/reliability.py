"""Whether scores are right as often as they say, as rows of tables (method section 9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlc_dask.kernels import conformal
from mlc_dask.kernels.calibration import (
    BINS,
    EQUAL,
    MASS,
    RAW,
    TEMPERED,
    CalibrationTally,
    equal_bins,
    fine_bins,
    fit_temperature,
    temper,
)
from mlc_dask.kernels.comparison import ALL, compare
from mlc_dask.kernels.sampling.priority import priority

Array = npt.NDArray[Any]
Row = dict[str, Any]

RELIABILITY: Final = (
    "scores", "bins", "bin", "pixels", "score", "right", "low", "high", "interval", "blocks", "of", "against",
)  # fmt: skip
"""Columns of the table of bins."""

CALIBRATION: Final = (
    "scores", "metric", "over", "scope", "value", "low", "high", "interval", "pixels", "blocks", "of", "against",
)  # fmt: skip
"""Columns of the table of measures."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Pixels of a sample of blocks, with what the model says and what is true.

    Attributes
    ----------
    probabilities
        (K, n) float64 of every class; 0 for a class that the model cannot answer.
    truth
        (n,) int64 position of the true class among the K, or -1 where it is not known.
    codes
        (K,) uint8 code of every class.
    answerable
        (K,) bool, whether the model can answer a class.
    year, block
        (n,) int64.
    outside
        (n,) bool, whether a pixel is outside the model's area of applicability.
    blocks
        (b,) int64 numbers of all blocks of the sample, also of those without such a pixel.
    of
        Number of the blocks of the whole area.
    seed
        Of the halves, and of resampled blocks.
    """

    probabilities: npt.NDArray[np.float64]
    truth: Array
    codes: npt.NDArray[np.uint8]
    answerable: npt.NDArray[np.bool_]
    year: Array
    block: Array
    outside: npt.NDArray[np.bool_]
    blocks: Array
    of: int
    seed: int

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable class is the true one, (n,)."""
        right: npt.NDArray[np.bool_] = self.probabilities.argmax(axis=0) == self.truth
        return right

    def where(self, wanted: npt.NDArray[np.bool_]) -> Seen:
        """Return the pixels of a mask (n,); the blocks stay those of the sample."""
        parts = {name: getattr(self, name)[..., wanted] for name in ("probabilities", "truth", "year", "block")}
        return replace(self, **parts, outside=self.outside[wanted])

    def halves(self) -> tuple[Seen, Seen]:
        """Divide the blocks at random: those that a temperature is fitted on, and the others, which judge it.

        One block alone is judged, and nothing is fitted.
        """
        order = np.argsort(priority(self.seed, "confidence-halves", self.blocks), kind="stable")
        fitting = np.sort(self.blocks[order[: len(order) // 2]])
        inside = np.isin(self.block, fitting)
        judging = np.setdiff1d(self.blocks, fitting)
        return replace(self.where(inside), blocks=fitting), replace(self.where(~inside), blocks=judging)

    def tempered(self, temperature: float) -> Seen:
        """Return the same pixels with their logits divided by a temperature; what cannot be answered stays 0."""
        probabilities = self.probabilities.copy()
        probabilities[self.answerable] = temper(probabilities[self.answerable], temperature)
        return replace(self, probabilities=probabilities)

    def temperature(self) -> float:
        """Find the temperature of the classes that the model can answer; the true class of every pixel is one."""
        position = np.cumsum(self.answerable) - 1
        return fit_temperature(self.probabilities[self.answerable], position[self.truth])

    def share(self, part: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_] | None = None) -> Row:
        """Estimate the share of `part` among the pixels, or some of them; those of few blocks give no interval."""
        kept = np.ones(len(self.block), np.bool_) if among is None else among
        at = np.searchsorted(self.blocks, self.block)
        counts = np.stack([np.bincount(at[own], minlength=len(self.blocks)) for own in (part & kept, kept)], axis=1)
        found = compare(counts, counts, self.of, seed=self.seed)
        return self.plain(found.estimate, int(kept.sum())) | {
            "low": found.low,
            "high": found.high,
            "interval": found.interval,
        }

    def plain(self, value: float, pixels: int | None = None) -> Row:
        """Return a value of the pixels, or of some of them, without an interval."""
        count = len(self.block) if pixels is None else pixels
        return {"value": value, "interval": "none", "pixels": count, "blocks": len(self.blocks), "of": self.of}


def table_of(rows: Iterable[Row], columns: Sequence[str], against: str) -> pd.DataFrame:
    """Make a table of rows; `against` tells what the pixels were compared with."""
    return pd.DataFrame(list(rows), columns=list(columns)).assign(against=against)


def reliability_rows(scores: Mapping[str, Seen]) -> list[Row]:
    """Rows of how often pixels of alike scores are right, in 15 equal bins and in 15 bins of about as many pixels.

    Parameters
    ----------
    scores
        The same pixels by kind of score, of :func:`calibrated`.
    """
    return [row | {"scores": kind} for kind, seen in scores.items() for row in _bin_rows(seen)]


def _bin_rows(seen: Seen) -> Iterator[Row]:
    top = seen.probabilities.max(axis=0)
    tally = CalibrationTally.of(seen.probabilities, seen.truth)
    for name, coarse in {EQUAL: equal_bins(BINS), MASS: tally.mass_bins()}.items():
        bins = coarse[fine_bins(top)]
        for number in np.unique(bins).tolist():
            inside = bins == number
            found = seen.share(seen.right, inside)
            yield {**found, "bins": name, "bin": number + 1, "score": top[inside].mean(), "right": found["value"]}


def calibrated(looked: Seen, legend: Mapping[int, str]) -> tuple[dict[str, Seen], list[Row]]:
    """Fit a temperature and sets of classes on one half of the blocks, and judge scores and sets on the other.

    Parameters
    ----------
    looked
        All pixels that the model gives a class, also those whose true class is not known.
    legend
        Names of the classes by code.

    Returns
    -------
    The judged pixels by kind of score, and rows of the measures: ``metric`` by what it is taken ``over`` (all, year,
    class, block) and its ``scope``.
    """
    fitting, judged = looked.where(looked.truth >= 0).halves()
    if not judged.truth.size:
        return {}, []
    scores, rows = {RAW: judged}, []
    able = fitting.where(fitting.answerable[fitting.truth])
    if able.truth.size:
        temperature = able.temperature()
        scores[TEMPERED] = judged.tempered(temperature)
        rows = [{**_over("temperature"), **fitting.plain(temperature), "scores": TEMPERED}]
        rows += _set_rows(fitting, judged, legend)
    return scores, rows + [row | {"scores": kind} for kind, seen in scores.items() for row in _measure_rows(seen)]


def _over(metric: str, over: str = ALL, scope: object = ALL) -> Row:
    return {"scores": RAW, "metric": metric, "over": over, "scope": scope}


def _measure_rows(seen: Seen) -> Iterator[Row]:
    tally = CalibrationTally.of(seen.probabilities, seen.truth)
    yield {**_over("accuracy"), **seen.share(seen.right)}
    found = {
        "score": tally.confidence,
        "ece": tally.reliability().ece,
        "ece_mass": tally.equal_mass().ece,
        "classwise_ece": tally.classwise_ece,
        "brier": tally.brier_score,
        "nll": tally.log_loss,
    }
    yield from ({**_over(metric), **seen.plain(value)} for metric, value in found.items())
    for year in np.unique(seen.year).tolist():
        own = seen.where(seen.year == year)
        counted = CalibrationTally.of(own.probabilities, own.truth)
        yield {**_over("accuracy", "year", year), **own.share(own.right)}
        for metric, value in {"score": counted.confidence, "ece": counted.reliability().ece}.items():
            yield {**_over(metric, "year", year), **own.plain(value)}


def _set_rows(fitting: Seen, judged: Seen, legend: Mapping[int, str]) -> Iterator[Row]:
    """How often sets of classes contain the true one: one threshold for all classes, and one by class."""
    held_out = conformal.scores(fitting.probabilities, fitting.truth)
    limits: dict[str, npt.ArrayLike] = {
        "": conformal.threshold(held_out, conformal.ALPHA),
        "_by_class": conformal.thresholds_by_class(held_out, fitting.truth, len(judged.codes), conformal.ALPHA),
    }
    codes = judged.codes[judged.truth]
    groups = {ALL: np.full(len(codes), ALL), "year": judged.year, "class": codes, "block": judged.block}
    for suffix, limit in limits.items():
        sets = conformal.prediction_sets(judged.probabilities, limit)
        covered = np.take_along_axis(sets, judged.truth[None], axis=0)[0]
        for over, group in groups.items():
            scopes, at = np.unique(group, return_inverse=True)
            size = conformal.Coverage.of(sets, judged.truth, at, len(scopes)).size
            for i, scope in enumerate(scopes.tolist()):
                found, name = judged.share(covered, at == i), legend[scope] if over == "class" else scope
                yield {**_over(f"coverage{suffix}", over, name), **found}
                yield {**_over(f"set_size{suffix}", over, name), **judged.plain(float(size[i]), found["pixels"])}


def outside_rows(looked: Seen, indices: npt.NDArray[np.float64], threshold: float) -> list[Row]:
    """Rows of the share of all pixels outside the area of applicability, and of whether the model errs more there.

    Parameters
    ----------
    indices, threshold
        Dissimilarity (n,) of the training samples, and the limit of the area: some samples are outside by it, too.
    """
    if not looked.block.size:
        return []
    samples = looked.plain(float((indices > threshold).mean()), len(indices))
    rows = [{**_over("outside"), **looked.share(looked.outside)}, {**_over("outside", "samples"), **samples}]
    rows += [
        {**_over("outside", "year", year), **looked.share(looked.outside, looked.year == year)}
        for year in np.unique(looked.year).tolist()
    ]
    known = looked.truth >= 0
    for scope, part in {"inside": ~looked.outside, "outside": looked.outside}.items():
        if (part & known).any():
            rows.append({**_over("accuracy", "area", scope), **looked.share(looked.right, part & known)})
    return rows
