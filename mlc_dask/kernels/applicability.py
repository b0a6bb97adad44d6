"""Whether a series resembles any training sample (after the area of applicability of Meyer and Pebesma, 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError

_INSIDE: Final = 0.99
"""Share of the training samples that count as known to the others."""

_AT_ONCE: Final = 1024

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def unlike(samples: Floats, blocks: npt.NDArray[np.int64], others: Floats) -> npt.NDArray[np.bool_]:
    """Mark series that are farther from every training sample than the samples are from those of other places.

    Parameters
    ----------
    samples
        Features (n, F) of training samples.
    blocks
        Number of the square (n,) that a sample lies in: neighbours would know each other too well.
    others
        Features (m, F) to be judged.

    Returns
    -------
    (m,) bool; all False where the samples lie in one square.
    """
    center, spread = samples.mean(axis=0), samples.std(axis=0)
    scale = np.where(spread > 0, spread, 1)
    known, asked = ((values - center) / scale for values in (samples, others))
    own = _nearest(known, known, blocks)
    own = own[np.isfinite(own)]
    if not own.size:
        return np.zeros(len(others), np.bool_)
    found: npt.NDArray[np.bool_] = _nearest(asked, known) > np.quantile(own, _INSIDE)
    return found


@dataclass(frozen=True, eq=False)
class Applicability:
    """Area of applicability of a training set.

    Attributes
    ----------
    center, scale
        (F,) float64 mean and divisor of every feature: sample standard deviation over weight.
    known
        (n, F) float64 scaled training samples.
    mean_distance
        Mean distance of all pairs of training samples.
    indices
        (n,) float64 dissimilarity of every training sample from those of the other folds.
    threshold
        Largest dissimilarity inside: the upper whisker of `indices`, at most their maximum.
    """

    center: Doubles
    scale: Doubles
    known: Doubles
    mean_distance: float
    indices: Doubles
    threshold: float

    def dissimilarity(self, others: npt.NDArray[np.floating]) -> Doubles:
        """Dissimilarity index (m,) of samples (m, F): distance to the nearest training sample over the mean one."""
        rows = (np.asarray(others, np.float64) - self.center) / self.scale
        return _distance(rows, self.known) / self.mean_distance

    def inside(self, others: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Whether samples (m, F) lie in the area: (m,) bool."""
        within: npt.NDArray[np.bool_] = self.dissimilarity(others) <= self.threshold
        return within


def applicability(
    samples: npt.NDArray[np.floating], folds: npt.NDArray[np.int64], weights: npt.ArrayLike = 1.0
) -> Applicability:
    """Find the area of applicability of a training set (Meyer and Pebesma 2021), in a memory of 1024 × n distances.

    Parameters
    ----------
    samples
        (n, F) features of the training samples, e.g. cell states or indices.
    folds
        (n,) number of the fold of every sample, e.g. its spatial block: neighbours would know each other too well.
        Without folds every sample is one, ``numpy.arange(n)``.
    weights
        (F,) importance of the features. A feature that does not vary does not count.

    Raises
    ------
    InputError
        All samples lie in one fold, or are equal.
    """
    values = np.asarray(samples, np.float64)
    if len(np.unique(folds)) < 2:
        raise InputError(f"{len(values)} training samples in one fold; take smaller blocks as folds")
    weight, spread = np.asarray(weights, np.float64), values.std(axis=0, ddof=1)
    scale = np.where((spread > 0) & (weight > 0), spread / np.where(weight > 0, weight, 1), np.inf)
    center = values.mean(axis=0)
    known = (values - center) / scale
    mean = _mean_distance(known)
    if mean == 0:
        raise InputError(f"{len(values)} equal training samples; give features that vary")
    indices = _distance(known, known, folds) / mean
    quarter, three = np.quantile(indices, [0.25, 0.75])
    threshold = min(three + 1.5 * (three - quarter), indices.max())
    return Applicability(center, scale, known, mean, indices, float(threshold))


def _distance(rows: Doubles, known: Doubles, blocks: npt.NDArray[np.int64] | None = None) -> Doubles:
    """Distance from the nearest known row; rounding in the product of matrices may leave a square below zero."""
    distance: Doubles = np.sqrt(np.maximum(_nearest(rows, known, blocks), 0))
    return distance


def _mean_distance(known: Doubles) -> float:
    """Mean distance of all pairs."""
    squares, total = np.einsum("nf,nf->n", known, known), 0.0
    for start in range(0, len(known), _AT_ONCE):
        part = known[start : start + _AT_ONCE]
        away = squares - 2 * (part @ known.T) + squares[start : start + len(part), None]
        away[np.arange(len(part)), start + np.arange(len(part))] = 0
        total += float(np.sqrt(np.maximum(away, 0)).sum())
    return total / (len(known) * (len(known) - 1))


def _nearest(
    rows: npt.NDArray[np.floating], known: npt.NDArray[np.floating], blocks: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float64]:
    """Squared distance of every row from the nearest known one; with `blocks`, from the nearest of another block."""
    squares = np.einsum("nf,nf->n", known, known)
    found = np.empty(len(rows))
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        away = squares - 2 * (part @ known.T) + np.einsum("nf,nf->n", part, part)[:, None]
        if blocks is not None:
            away[blocks[start : start + len(part), None] == blocks] = np.inf
        found[start : start + len(part)] = away.min(axis=1)
    return found
