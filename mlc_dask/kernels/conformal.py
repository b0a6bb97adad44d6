"""Sets of classes that contain the true one at a stated rate: split conformal prediction (method section 9).

The score is LAC's, 1 - p_y (Sadinle et al. 2019); by class after Vovk's Mondrian predictor. The rate is guaranteed only
for exchangeable samples, which the pixels of another block or year are not: report :class:`Coverage` by block and year.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

SCORE_BINS = 10_000

ALPHA: Final = 0.1
"""Share of the samples whose set may miss the true class, in a run."""


def scores(probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.integer]) -> Floats:
    """Return 1 - p of the true class, (n,) float64, from (K, n) probabilities and (n,) positions."""
    own = np.take_along_axis(probabilities, truth[None].astype(np.intp), axis=0)[0]
    score: Floats = 1 - own.astype(np.float64)
    return score


def threshold(held_out: npt.ArrayLike, alpha: float) -> float:
    """Return the ⌈(n + 1)(1 - α)⌉-th smallest of the `held_out` scores (n,); inf, all classes, where n is too small."""
    values = np.asarray(held_out, np.float64)
    rank = _rank(values.size, alpha)
    return float(np.partition(values, rank - 1)[rank - 1]) if rank <= values.size else float("inf")


def thresholds_by_class(held_out: npt.ArrayLike, truth: npt.NDArray[np.integer], classes: int, alpha: float) -> Floats:
    """Return a :func:`threshold` (K,) for every class from its own samples, so that each class has the rate."""
    values = np.asarray(held_out, np.float64)
    return np.array([threshold(values[truth == c], alpha) for c in range(classes)])


def score_counts(values: npt.ArrayLike) -> Counts:
    """Count scores in 10,000 equal bins, (10000,) int64; counts of blocks add up."""
    bins = np.ceil(np.asarray(values, np.float64) * SCORE_BINS - 1e-9).astype(np.int64) - 1
    return np.bincount(np.clip(bins, 0, SCORE_BINS - 1), minlength=SCORE_BINS)


def threshold_of_counts(counts: Counts, alpha: float) -> float:
    """Return the :func:`threshold` from :func:`score_counts`, rounded up to the edge of its bin: never too small."""
    rank = _rank(int(counts.sum()), alpha)
    within = int(np.searchsorted(np.cumsum(counts), rank))
    return (within + 1) / SCORE_BINS if within < SCORE_BINS else float("inf")


def prediction_sets(probabilities: npt.NDArray[np.floating], limits: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Mark the classes with 1 - p ≤ the limit: (K, n) bool; `limits` is one threshold or one per class (K,)."""
    bound = np.asarray(limits, np.float64)
    inside: npt.NDArray[np.bool_] = 1 - probabilities.astype(np.float64) <= (bound[:, None] if bound.ndim else bound)
    return inside


@dataclass(frozen=True, eq=False)
class Coverage:
    """How often sets contain the true class, by group such as a block, a year or a class; of parts it adds up.

    Attributes
    ----------
    n, covered, members
        (g,) int64 samples of each group, those whose set contains the true class, and the sum of the sizes of the sets.
    """

    n: Counts
    covered: Counts
    members: Counts

    @classmethod
    def of(
        cls,
        sets: npt.NDArray[np.bool_],
        truth: npt.NDArray[np.integer],
        group: npt.NDArray[np.integer],
        groups: int,
    ) -> Coverage:
        """Count `sets` (K, n) of samples with the true positions `truth` (n,) in `group` (n,) 0 … groups - 1."""
        inside = np.take_along_axis(sets, truth[None].astype(np.intp), axis=0)[0]
        sizes = sets.sum(axis=0)
        # bincount adds doubles, which are exact below 2**53.
        members = np.bincount(group, weights=sizes, minlength=groups).astype(np.int64)
        return cls(np.bincount(group, minlength=groups), np.bincount(group[inside], minlength=groups), members)

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(self.n + other.n, self.covered + other.covered, self.members + other.members)

    @property
    def rate(self) -> Floats:
        """(g,) share of covered samples; NaN in groups without any."""
        return _mean(self.covered, self.n)

    @property
    def size(self) -> Floats:
        """(g,) mean number of classes in a set; NaN in groups without any."""
        return _mean(self.members, self.n)


def _mean(total: Counts, n: Counts) -> Floats:
    mean: Floats = np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)
    return mean


def _rank(n: int, alpha: float) -> int:
    # Rounding of (n + 1)(1 - α) must not add a rank.
    return max(1, int(np.ceil((n + 1) * (1 - alpha) - 1e-9)))
