"""Candidates of a stratified random sample, independent of chunks and workers (method section 5).

The priority of a pixel is a hash of the seed and its global id. A sample consists of the pixels with the lowest
priorities of every class. Merging the lowest priorities of two blocks is associative, so the sample of any raster is
one reduction over its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA

_STRETCH = 1 << 18  # pixels per pass; their temporaries fit in the cache of a core


@dataclass(frozen=True, eq=False)
class Candidates:
    """Sampled pixels, sorted by label, then priority, then id.

    The arrays are (N,): uint8 labels, uint64 priorities, int64 ids, and uint8 clusters (1 + cluster number; 0 is none).
    """

    label: npt.NDArray[np.uint8]
    priority: npt.NDArray[np.uint64]
    id: npt.NDArray[np.int64]
    cluster: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def empty(cls) -> Candidates:
        """Return an empty set of candidates, the neutral element of :func:`merge`."""
        return cls(np.empty(0, np.uint8), np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint8))

    def lowest(self, limit: npt.NDArray[np.integer]) -> Candidates:
        """Sort by label, priority and id, and keep the first `limit` (256,) of every label."""
        sequence = np.lexsort((self.id, self.priority, self.label))
        counts = np.bincount(self.label, minlength=256)
        rank = np.arange(len(self)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = sequence[rank < np.asarray(limit)[self.label[sequence]]]
        return Candidates(self.label[kept], self.priority[kept], self.id[kept], self.cluster[kept])


def candidates(
    labels: npt.NDArray[np.uint8],
    ids: npt.NDArray[np.integer],
    priorities: npt.NDArray[np.uint64],
    limit: npt.NDArray[np.integer],
    clusters: npt.NDArray[np.uint8] | None = None,
) -> Candidates:
    """Keep the pixels of the lowest priorities of every class of one block (method section 5).

    Parameters
    ----------
    labels
        (h, w) uint8 class codes; pixels of 0 (no data) are never candidates.
    ids, priorities
        (h, w) global pixel ids and their :func:`priority`.
    limit
        (256,) number of pixels of every code to keep.
    clusters
        (h, w) 1 + cluster number of every pixel, which its candidate keeps; 0 for all candidates by default.

    Returns
    -------
    Candidates; a class with no more pixels than its limit keeps all of them.
    """
    assert labels.shape == ids.shape == priorities.shape, (labels.shape, ids.shape, priorities.shape)
    assert len(limit) == 256, len(limit)
    label, order = labels.reshape(-1), priorities.reshape(-1)
    present = np.bincount(label, minlength=256)
    present[NO_DATA] = 0
    wanted = np.minimum(present, limit)
    chosen = _below(label, order, _thresholds(present, wanted))
    # Sorting is expensive, so only pixels that are likely to be kept are sorted. If chance, or priorities that are not
    # evenly spread, leave too few pixels of a class, the whole class is sorted.
    short = np.bincount(label[chosen], minlength=256) < wanted
    if short.any():
        missed = np.flatnonzero(short[label])
        chosen = np.concatenate([chosen[~short[label[chosen]]], missed])
    cluster = np.zeros(len(chosen), np.uint8) if clusters is None else clusters.reshape(-1)[chosen]
    return Candidates(label[chosen], order[chosen], ids.reshape(-1)[chosen].astype(np.int64), cluster).lowest(limit)


def merge(a: Candidates, b: Candidates, limit: npt.NDArray[np.integer]) -> Candidates:
    """Merge two disjoint sets, keeping the lowest priorities; associative and commutative for one `limit` (256,)."""
    both = Candidates(*(np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in fields(Candidates)))
    return both.lowest(limit)


def _thresholds(present: npt.NDArray[np.intp], wanted: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """Priority (256,) below which evenly spread priorities leave at least the wanted number of every class.

    The expected number exceeds the wanted number by six standard deviations, so in practice only unevenly spread
    priorities leave too few.
    """
    expected = wanted + 6 * np.sqrt(wanted) + 36
    share = np.divide(expected, present, out=np.zeros(256), where=wanted > 0)
    # The largest share below 1, times 2**64, still fits into uint64.
    scaled = (np.minimum(share, 1 - 2**-52) * 2.0**64).astype(np.uint64)
    return np.where(share >= 1, np.uint64(2**64 - 1), scaled)


def _below(
    label: npt.NDArray[np.uint8], order: npt.NDArray[np.uint64], threshold: npt.NDArray[np.uint64]
) -> npt.NDArray[np.intp]:
    """Ascending positions whose priority is at most the threshold of their class; threshold 0 excludes a class."""
    parts = []
    for start in range(0, len(label), _STRETCH):
        bound = threshold[label[start : start + _STRETCH]]
        parts.append(start + np.flatnonzero((order[start : start + _STRETCH] <= bound) & (bound > 0)))
    return np.concatenate(parts) if parts else np.empty(0, np.intp)
