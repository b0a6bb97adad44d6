"""Whether a class is still the class of the old map: its clusters in one year against those of the old map's year.

The paper keeps the largest cluster of every class in every year. Where most of a class changed, for example by a
clear-cut, the largest cluster *is* the change: all classifiers learn it and all maps agree (method section 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mlc_dask.kernels.clusters import ClassClusters

FEW: Final = 2 / 3
"""A class of which the judge keeps less may be lost …"""
WORSE: Final = 0.8
"""… unless it keeps little of all classes: more than this share of what it keeps of the median class."""
_MOVED: Final = 0.3
"""Change magnitude above which a pixel may be other ground: reflectance changed by a third …"""
_NOISE: Final = 4.0
"""… and by so many times what a part of the ground, the first of :data:`_MIDDLE`, changes at most."""
_MIDDLE: Final = (0.4, 0.6)
"""Where the median of all ground lies: between two groups of classes it has no place of its own."""
_TYPICAL: Final = 0.5
"""Share of a class that is typical of it: with half, as many outliers as possible do not move mean and covariance."""
_COMPONENTS: Final = 10
_ROUNDS: Final = 5
_SHRINKAGE: Final = 0.1

Floats = npt.NDArray[np.float64]


class Verdict(StrEnum):
    """What became of a class between the old map's year and another year."""

    SAME = "same"
    """A cluster continues the class, and the judge keeps most of its pixels."""
    SWAPPED = "swapped"
    """A smaller cluster continues the class, not the largest, and the judge keeps few of its pixels or cannot tell."""
    LOST = "lost"
    """The judge, who knows the old map's year only, keeps few of the class's pixels."""
    UNLIKE = "unlike"
    """No cluster continues the class, but the judge keeps its pixels, or no fewer than those of most classes.

    The year is unlike the others, as after a drought, with other dates, or with acquisitions that are not what they
    seem; the class did not change.
    """
    UNJUDGED = "not judged"
    """The class has too few witnesses for the judge: only its clusters are known."""


FEWEST: Final = 30
"""Pixels of a class below which a judge learns too little of it to say anything."""

DOUBTED: Final = (Verdict.SWAPPED, Verdict.LOST)
"""Verdicts on a class that may have changed as a whole."""


@dataclass(frozen=True)
class Continuity:
    """One class in one year, compared with the old map's year.

    Attributes
    ----------
    verdict
        See :class:`Verdict`.
    kept
        Numbers of the clusters that represent the class in the year, the first one above all.
    judged
        Share of the class's pixels of the old map's year that the judge keeps in this year; None where they are few.
    distance, reach
        Distance of the first kept cluster's centroid from the class's in the old map's year, and the distance within
        which 95 % of the class's pixels of that year lie: root mean squares over the shared features, in the class's
        own spread.
    other, other_distance
        Code of the nearest other class of the old map's year, and the distance to it; 0 and infinity if there is none.
    """

    verdict: Verdict
    kept: tuple[int, ...]
    judged: float | None
    distance: float
    reach: float
    other: int
    other_distance: float

    @property
    def doubted(self) -> bool:
        """Whether the class as a whole may have changed in the year."""
        return self.verdict in DOUBTED


def common_offset(
    before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]
) -> Floats:
    """Difference of two years that most of the ground shares: weather, phenology, processing.

    It is a median over the same pixels in both years, every class counting alike, so it holds while no more than half
    of the (weighted) pixels changed: of the values between the 40th and the 60th percentile, the one nearest to 0. Of
    two classes of which one changed, the other's is taken.

    Parameters
    ----------
    before, after
        Features (n, F) of the same pixels in the old map's year and in the other year; NaN where there is no data.
    labels
        Class codes (n,).

    Returns
    -------
    (F,) float64, 0 for features without a common observation.
    """
    difference = after.astype(np.float64) - before
    weights = 1 / np.bincount(labels)[labels]
    low, high = (np.array([_weighted_quantile(c, weights, q) for c in difference.T]) for q in _MIDDLE)
    nearest: Floats = np.clip(0.0, low, high)
    return nearest


def change_magnitude(
    before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], offset: Floats
) -> npt.NDArray[np.float32]:
    """How far the ground of every pixel moved between two years (change vector analysis, Malila 1980).

    The change of a band is the median over the dates, so a missed cloud or an earlier season counts little.

    Parameters
    ----------
    before, after
        Natural logarithms of the reflectance (n, T, B) of the same pixels in both years, without gaps.
    offset
        (T, B) what all ground shares, see :func:`common_offset`.

    Returns
    -------
    (n,) float32, the root mean square over the bands.
    """
    by_band = np.median(after - before - offset.astype(np.float32), axis=1)
    found: npt.NDArray[np.float32] = np.sqrt(np.square(by_band).mean(axis=1))
    return found


def farthest_unchanged(magnitudes: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> float:
    """Change magnitude beyond which a pixel may be other ground.

    Parameters
    ----------
    magnitudes, labels
        (n,) of pixels of all classes; no more than half of them changed, where every class counts alike.
    """
    if not labels.size:
        return _MOVED
    usual = _weighted_quantile(magnitudes.astype(np.float64), 1 / np.bincount(labels)[labels], _MIDDLE[0])
    return max(_MOVED, _NOISE * usual)


def _weighted_quantile(values: Floats, weights: Floats, q: float) -> float:
    there = np.isfinite(values)
    if not there.any():
        return 0.0
    order = np.argsort(values[there], kind="stable")
    total = np.cumsum(weights[there][order])
    return float(values[there][order][np.searchsorted(total, total[-1] * q)])


def _distances(signatures: Floats, to: ClassClusters, spread: ClassClusters, seen: npt.NDArray[np.bool_]) -> Floats:
    """Distance (t,) of signatures (t, F) from the dominant centroid of a class, in the spread of a class."""
    shared = seen & to.seen & spread.seen
    if not shared.any():
        return np.full(len(signatures), np.inf)
    steps = (signatures - to.signatures[0])[:, shared] / spread.scale[shared]
    return np.asarray(np.sqrt(np.square(steps).mean(axis=1)))


def continuity(
    own: ClassClusters, code: int, before: Mapping[int, ClassClusters], offset: Floats, judged: Mapping[int, float]
) -> Continuity:
    """Find the clusters that continue a class.

    The largest cluster whose centroid, without the common offset, lies where the class's pixels of the old map's year
    lie is kept, and of the other clusters that were to be kept those that lie there, too. If none lies there, nothing
    is changed. Of a lost class all clusters are kept, since they do not tell what is left of it; the judge does.

    Parameters
    ----------
    own
        Clusters of the class in the other year.
    code
        The class, a key of `before`.
    before
        Clusters of all classes in the old map's year.
    offset
        See :func:`common_offset`.
    judged
        Share of the pixels of every class that the judge keeps in the other year, without the classes of few pixels.
    """
    reference, signatures = before[code], own.signatures - offset
    away = _distances(signatures, reference, reference, own.seen)
    near = np.flatnonzero(away <= reference.reach)
    kept = (int(near[0]), *(c for c in own.kept if c in near[1:])) if near.size else own.kept
    others = {
        c: float(_distances(signatures[:1], other, reference, own.seen)[0]) for c, other in before.items() if c != code
    }
    other = min(others, key=lambda c: others[c], default=0)
    share = judged.get(code)
    few = share is not None and share < limit([kept for c, kept in judged.items() if c != code])
    if near.size and kept[0] != 0 and (few or share is None):
        verdict = Verdict.SWAPPED
    elif share is None:
        verdict = Verdict.UNJUDGED
    elif few:
        verdict, kept = Verdict.LOST, tuple(range(len(own.sizes)))
    else:
        verdict = Verdict.SAME if near.size else Verdict.UNLIKE
    return Continuity(
        verdict, kept, share, float(away[kept[0]]), reference.reach, other, others.get(other, float("inf"))
    )


def limit(others: Sequence[float]) -> float:
    """Share of a class below which it may be lost, from the shares of the `others` that the judge keeps in the year."""
    return min(FEW, WORSE * float(np.median(others))) if others else FEW


def typical(features: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Mark the rows that are typical of their class: an old map has other ground in every class.

    In the space of the first principal components of all rows, the rows of a class that are far from its mean, by
    Mahalanobis distance, are left out, and mean and covariance are computed again (after the minimum covariance
    determinant of Rousseeuw and Van Driessen, 1999).

    Parameters
    ----------
    features
        (n, F) float32 without NaN.
    labels
        Class codes (n,).

    Returns
    -------
    (n,) bool; all rows of a class with fewer than 30.
    """
    found = np.ones(len(features), np.bool_)
    # The order in which BLAS sums depends on the number of threads.
    with threadpool_limits(limits=1):
        spread = features.std(axis=0, dtype=np.float64)
        scaled = (features - features.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1)
        axes = np.linalg.eigh(scaled.T @ scaled)[1][:, -_COMPONENTS:]
        rows = scaled @ axes
        for code in np.unique(labels):
            at = np.flatnonzero(labels == code)
            if len(at) >= FEWEST:
                found[at] = _without_outliers(rows[at])
    return found


def _without_outliers(rows: Floats) -> npt.NDArray[np.bool_]:
    """Mask of the rows (n, C) that lie nearest to the mean of such rows."""
    center, kept = np.median(rows, axis=0), np.ones(len(rows), np.bool_)
    for _ in range(_ROUNDS):
        covariance = np.cov(rows[kept].T)
        variances = np.diag(np.diag(covariance)) + 1e-9 * np.eye(len(covariance))
        inverse = np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * variances)
        away = np.einsum("nc,cd,nd->n", rows - center, inverse, rows - center)
        kept = away <= np.quantile(away, _TYPICAL)
        center = rows[kept].mean(axis=0)
    return kept
