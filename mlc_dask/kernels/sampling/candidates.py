"""Stratified random sampling that never depends on chunks or workers (method section 5).

A pixel's priority is a hash of the seed and its global id; a sample is the lowest priorities of every class. Keeping
the lowest of two blocks and merging is associative, so that a sample of any raster is one reduction over its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA

_STRETCH = 1 << 18  # pixels looked at in one go; their temporaries fit in a core's cache


@dataclass(frozen=True, eq=False)
class Candidates:
    """Sampled pixels, sorted by label, then priority, then id: (N,) uint8 labels, uint64 priorities, int64 ids."""

    label: npt.NDArray[np.uint8]
    priority: npt.NDArray[np.uint64]
    id: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def empty(cls) -> Candidates:
        """Return no candidates: the neutral element of :func:`merge`."""
        return cls(np.empty(0, np.uint8), np.empty(0, np.uint64), np.empty(0, np.int64))


def candidates(
    labels: npt.NDArray[np.uint8],
    ids: npt.NDArray[np.integer],
    priorities: npt.NDArray[np.uint64],
    limit: npt.NDArray[np.integer],
) -> Candidates:
    """Keep the pixels of lowest priority of every class of one block (method section 5).

    Parameters
    ----------
    labels
        (h, w) uint8 class codes; 0 = no data, never a candidate.
    ids, priorities
        (h, w) global pixel ids and their :func:`priority`.
    limit
        (256,) how many pixels of every code to keep.

    Returns
    -------
    Candidates, all pixels of a class that has no more than its limit.
    """
    assert labels.shape == ids.shape == priorities.shape, (labels.shape, ids.shape, priorities.shape)
    assert len(limit) == 256, len(limit)
    label, order = labels.reshape(-1), priorities.reshape(-1)
    present = np.bincount(label, minlength=256)
    present[NO_DATA] = 0
    wanted = np.minimum(present, limit)
    chosen = _below(label, order, _thresholds(present, wanted))
    # Sorting is dear, so only what is likely to be kept is sorted. Where luck, or priorities that are not evenly
    # spread, left too few, the class is taken whole.
    short = np.bincount(label[chosen], minlength=256) < wanted
    if short.any():
        missed = np.flatnonzero(short[label])
        chosen = np.concatenate([chosen[~short[label[chosen]]], missed])
    return _lowest(label[chosen], order[chosen], ids.reshape(-1)[chosen].astype(np.int64), limit)


def merge(a: Candidates, b: Candidates, limit: npt.NDArray[np.integer]) -> Candidates:
    """Keep the lowest of two disjoint sets of candidates; associative and commutative for one `limit` (256,)."""
    return _lowest(
        np.concatenate([a.label, b.label]),
        np.concatenate([a.priority, b.priority]),
        np.concatenate([a.id, b.id]),
        limit,
    )


def _thresholds(present: npt.NDArray[np.intp], wanted: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """Priority (256,) under which evenly spread priorities leave at least the wanted number of every class.

    Six standard deviations above the mean, so that falling short is a matter of odd priorities, not of luck.
    """
    expected = wanted + 6 * np.sqrt(wanted) + 36
    share = np.divide(expected, present, out=np.zeros(256), where=wanted > 0)
    # Scaled by less than 2**64, the largest share that is not certain stays within uint64.
    scaled = (np.minimum(share, 1 - 2**-52) * 2.0**64).astype(np.uint64)
    return np.where(share >= 1, np.uint64(2**64 - 1), scaled)


def _below(
    label: npt.NDArray[np.uint8], order: npt.NDArray[np.uint64], threshold: npt.NDArray[np.uint64]
) -> npt.NDArray[np.intp]:
    """Positions, ascending, whose priority is not above the threshold of their class; 0 leaves a class out."""
    found = []
    for start in range(0, len(label), _STRETCH):
        bound = threshold[label[start : start + _STRETCH]]
        found.append(start + np.flatnonzero((order[start : start + _STRETCH] <= bound) & (bound > 0)))
    return np.concatenate(found) if found else np.empty(0, np.intp)


def _lowest(
    label: npt.NDArray[np.uint8],
    order: npt.NDArray[np.uint64],
    ids: npt.NDArray[np.int64],
    limit: npt.NDArray[np.integer],
) -> Candidates:
    """Sort by label, priority and id, and keep the first `limit` of every label."""
    sequence = np.lexsort((ids, order, label))
    counts = np.bincount(label, minlength=256)
    rank = np.arange(len(label)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = sequence[rank < np.asarray(limit)[label[sequence]]]
    return Candidates(label[kept], order[kept], ids[kept])
