"""Clusters within a class: groups of pixels of one product class that look alike (method section 5).

scikit-learn takes seconds to import, so it is imported only when clusters are fitted.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

_FEWEST_ROWS = 50  # a class with fewer rows is not split: its clusters would be random
_TRIAL_ROWS = 10_000  # rows used to compare numbers of clusters; trials on all rows would cost far more
_SILHOUETTE_ROWS = 2000  # the cost of the silhouette is quadratic in the rows
_STARTS = 4
_BATCH = 8192
_SEEN = 0.5
_REACH = 0.95

Floats = npt.NDArray[np.float32]
Rows = TypeVar("Rows", Floats, npt.NDArray[np.intp])


@dataclass(frozen=True, eq=False)
class ClassClusters:
    """Clusters of one class, the largest first, and which of them are kept.

    Attributes
    ----------
    center, scale
        (F,) float32 median and interquartile range of every unscaled feature.
    centroids
        (t, F) float32 in scaled units.
    sizes
        (t,) int64 rows of every cluster, descending.
    kept
        Numbers of the clusters that represent the class; 0 is the dominant one.
    ambiguous
        Whether the dominant cluster is too small, or the runner-up too large, for it to represent the class.
    score
        Calinski–Harabasz score of the best number of clusters above one, on at most 10 000 rows; 0 if none was tried.
    silhouette
        Mean silhouette with that number on at most 2000 rows, even if it was too low to split the class.
    seen
        (F,) bool: features with data in at least half of the rows.
    reach
        Distance (root mean square over the seen features, in scaled units) from the dominant centroid within which
        95 % of the rows of its cluster lie.
    """

    center: Floats
    scale: Floats
    centroids: Floats
    sizes: npt.NDArray[np.int64]
    kept: tuple[int, ...]
    ambiguous: bool
    score: float
    silhouette: float
    seen: npt.NDArray[np.bool_]
    reach: float

    @property
    def signatures(self) -> npt.NDArray[np.float64]:
        """Centroids (t, F) float64 in the units of the features."""
        return self.centroids.astype(np.float64) * self.scale + self.center


def fit_clusters(
    features: Floats,
    *,
    seed: int,
    max_clusters: int = 8,
    min_silhouette: float = 0.25,
    dominance: tuple[float, float] = (0.5, 0.8),
    min_share: float | None = None,
) -> ClassClusters:
    """Cluster the pixels of one class and find its dominant cluster (paper section 2.2, method section 5).

    The clusters are those of K-means on robustly scaled features. The number of clusters with the highest
    Calinski–Harabasz score is chosen, or one cluster if its silhouette is low or there are fewer than 50 rows. The
    result depends on the order of the rows: pass them sorted by pixel id.

    Parameters
    ----------
    features
        (n, F) float32, n ≥ 1; NaN where an index has no data.
    seed
        Seed of the K-means starts.
    max_clusters
        Largest number of clusters tried.
    min_silhouette
        Mean silhouette below which the class is not split.
    dominance
        A class is ambiguous if the share of its largest cluster is below the first number, or if the runner-up exceeds
        the second number times the largest.
    min_share
        Keep every cluster of at least this share in addition to the dominant one; None keeps the dominant one only.

    Returns
    -------
    ClassClusters
    """
    assert features.ndim == 2 and len(features), features.shape
    center, scale = _robust_scale(features)
    scaled = _standardise(features, center, scale)
    # The order in which BLAS and OpenMP sum depends on the number of threads.
    with threadpool_limits(limits=1):
        start, score, silhouette = _best(evenly(scaled, _TRIAL_ROWS), seed, max_clusters)
        if len(start) == 1 or silhouette < min_silhouette:
            start = scaled.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
        labels, centroids = _refine(scaled, start)
    sizes = np.bincount(labels, minlength=len(centroids))
    order = np.argsort(-sizes, kind="stable")
    sizes = sizes[order]
    share = sizes / len(features)
    kept = (0, *(c for c in range(1, len(sizes)) if min_share is not None and share[c] >= min_share))
    runner_up = share[1] if len(share) > 1 else 0.0
    ambiguous = bool(share[0] < dominance[0] or runner_up > dominance[1] * share[0])
    seen = np.isfinite(features).mean(axis=0) >= _SEEN
    reach = _reach(scaled[labels == order[0]][:, seen], centroids[order[0], seen])
    return ClassClusters(center, scale, centroids[order], sizes, kept, ambiguous, score, silhouette, seen, reach)


def assign_clusters(features: Floats, model: ClassClusters) -> npt.NDArray[np.uint8]:
    """Assign every pixel of a class to its nearest centroid (method section 5).

    The cluster of a pixel depends on that pixel only, never on the rest of its batch; ties go to the larger cluster.

    Parameters
    ----------
    features
        (n, F) float32 as for :func:`fit_clusters`; NaN where an index has no data.
    model
        The clusters of the class.

    Returns
    -------
    (n,) uint8 cluster numbers.
    """
    assert features.shape[1:] == model.center.shape, (features.shape, model.center.shape)
    out = np.zeros(len(features), np.uint8)
    if len(model.centroids) == 1:
        return out
    centroids = model.centroids.astype(np.float64)
    for start in range(0, len(features), _BATCH):
        rows = _standardise(features[start : start + _BATCH], model.center, model.scale).astype(np.float64)
        out[start : start + _BATCH] = _nearest(rows, centroids)
    return out


def _nearest(rows: npt.NDArray[np.float64], centroids: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Nearest centroid by one matrix product; near ties, which rounding could decide, are compared one by one."""
    squares = np.einsum("cf,cf->c", centroids, centroids)
    distance = squares - 2 * (rows @ centroids.T)
    best = distance.argmin(axis=1)
    two = np.partition(distance, 1, axis=1)
    size = squares.max() + np.einsum("nf,nf->n", rows, rows)
    close = np.flatnonzero(two[:, 1] - two[:, 0] <= 1e-9 * (1 + size))
    for row in close:
        best[row] = ((rows[row] - centroids) ** 2).sum(axis=1).argmin()
    return np.asarray(best)


def _robust_scale(features: Floats) -> tuple[Floats, Floats]:
    """Median and interquartile range, (F,) each; the median is 0 without data, the range 1 without spread."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, center, high = np.nanpercentile(features, (25, 50, 75), axis=0)
    center, spread = np.nan_to_num(center), np.nan_to_num(high - low)
    return center.astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32)


def _standardise(features: Floats, center: Floats, scale: Floats) -> Floats:
    """Scale robustly; no data becomes the median of the class, which does not shift centroids."""
    scaled = (features - center) / scale
    scaled[np.isnan(scaled)] = 0
    return np.asarray(scaled, np.float32)


def _reach(rows: Floats, centroid: Floats) -> float:
    """Distance from the centroid within which nearly all of its rows lie; 0 without a feature."""
    if not centroid.size:
        return 0.0
    return float(np.quantile(np.sqrt(np.square(rows - centroid).mean(axis=1, dtype=np.float64)), _REACH))


def evenly(rows: Rows, most: int) -> Rows:
    """Return at most `most` evenly spaced rows; since rows are sorted by pixel id, they cover the whole area."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.intp)]


def _best(rows: Floats, seed: int, max_clusters: int) -> tuple[Floats, float, float]:
    """Centroids, score and silhouette of the best number of clusters; a single centroid if no number was tried."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import calinski_harabasz_score

    centroids, score = rows[:1], 0.0
    for clusters in range(2, max_clusters + 1 if len(rows) >= _FEWEST_ROWS else 2):
        fitted = KMeans(clusters, n_init=_STARTS, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels = fitted.fit(rows).labels_
        if len(np.unique(labels)) < clusters:
            break  # fewer distinct rows than clusters
        trial = float(calinski_harabasz_score(rows, labels))
        if trial > score:
            centroids, score = fitted.cluster_centers_, trial
    return centroids, score, _silhouette(evenly(rows, _SILHOUETTE_ROWS), centroids)


def _silhouette(rows: Floats, centroids: Floats) -> float:
    """Mean silhouette of rows around their nearest centroids; 0 for a single cluster."""
    from sklearn.metrics import silhouette_score

    labels = _nearest(rows.astype(np.float64), centroids.astype(np.float64)) if len(centroids) > 1 else np.zeros(0)
    return float(silhouette_score(rows, labels)) if 1 < len(np.unique(labels)) < len(rows) else 0.0


def _refine(rows: Floats, start: Floats) -> tuple[npt.NDArray[np.int32], Floats]:
    """Labels and centroids of K-means on all rows, starting from the centroids of a subset."""
    if len(start) == 1:
        return np.zeros(len(rows), np.int32), start
    from sklearn.cluster import KMeans

    fitted = KMeans(len(start), init=start, n_init=1).fit(rows)
    return fitted.labels_, fitted.cluster_centers_
