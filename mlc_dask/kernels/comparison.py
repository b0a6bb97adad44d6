"""What maps are compared by, as counts of one block of the area, and estimates from blocks (method section 9).

Every measure is a ratio of pixels, so its counts of blocks are the clusters of a ratio estimator. Whole maps are
compared by the same counts, so an estimate from a sample is one of the figure of the whole map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA
from mlc_dask.kernels import change
from mlc_dask.kernels.blocks import FEWEST, bootstrap, sampled_difference, sampled_share

Maps = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MEASURES: Final = ("agreement", "flicker_share", "accuracy", "change_recall", "change_precision")
"""Rows of the counts, with the names that the evaluation gives the same measures."""


def consistency_counts(maps: Maps) -> Counts:
    """Count pixels (part, whole) for agreement between successive years, and for flicker.

    Parameters
    ----------
    maps
        (k, h, w) uint8 codes, 0 = no data.

    Returns
    -------
    (2, 2) int64; zeros for a measure that needs more years.
    """
    seen = maps != NO_DATA
    pairs = seen[1:] & seen[:-1]
    complete = seen.all(axis=0) & (len(maps) > 2)
    flickered = (change.flicker(maps) > 0) & complete if len(maps) > 2 else complete
    counts = [(((maps[1:] == maps[:-1]) & pairs).sum(), pairs.sum()), (flickered.sum(), complete.sum())]
    return np.array(counts, np.int64)


def truth_counts(maps: Maps, truth: Maps, *, successive: bool) -> Counts:
    """Count pixels (part, whole) for the last three of :data:`MEASURES`, against a truth of the same years.

    Change is that of a pair of successive years, whatever its classes; pixels without data in either year of either
    series are not judged.

    Parameters
    ----------
    maps, truth
        (k, h, w) uint8 codes, 0 = no data.
    successive
        Whether the years are successive years of the maps; otherwise change is not judged.

    Returns
    -------
    (3, 2) int64.
    """
    judged = (maps != NO_DATA) & (truth != NO_DATA)
    right = (maps == truth) & judged
    both = judged[1:] & judged[:-1] & successive
    true, shown = ((m[1:] != m[:-1]) & both for m in (truth, maps))
    hits = (true & shown).sum()
    return np.array([(right.sum(), judged.sum()), (hits, true.sum()), (hits, shown.sum())], np.int64)


ALL: Final = "all"
"""What tables call the group of a row that joins all groups, such as years or sizes."""

REFERENCE: Final = "reference"
"""What tables call an independent reference that maps were compared with."""

OLD_MAP: Final = "old map"
"""What tables call the old map where it stands for a reference."""


@dataclass(frozen=True)
class Compared:
    """A share of one series, and its difference from that of another; limits are NaN where too few blocks tell.

    `interval` says what the limits are for: "sample" for the figure of the whole area, of which blocks were drawn at
    random; "bootstrap" for areas like this one, all of whose blocks were judged; "none" for NaN.
    """

    estimate: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    interval: str


def compare(own: Counts, other: Counts, blocks: int, *, seed: int = 0) -> Compared:
    """Compare a share of two series in the same blocks; fewer than 6 blocks with a pixel to judge give no limits.

    Parameters
    ----------
    own, other
        (n, 2) int64 part and whole of every judged block.
    blocks
        Blocks of the whole area.
    seed
        Of the resampled blocks, where all of them were judged.
    """
    (part, whole), (b_part, b_whole) = own.T, other.T
    if min(np.count_nonzero(whole), np.count_nonzero(b_whole)) < FEWEST:
        shares = [float(p.sum() / w.sum()) if w.sum() else float("nan") for p, w in (own.T, other.T)]
        none = float("nan")
        return Compared(shares[0], none, none, shares[0] - shares[1], none, none, "none")
    if len(own) < blocks:
        share = sampled_share(part, whole, blocks)
        gap = sampled_difference((part, whole), (b_part, b_whole), blocks)
        value, low, high = (float(v) for v in (share.value, share.low, share.high))
        return Compared(value, low, high, float(gap.value), float(gap.low), float(gap.high), "sample")
    found = bootstrap(np.stack([part, b_part]), np.stack([whole, b_whole]), [[1, 0], [1, -1]], seed=seed)
    (both, gap), (low, gap_low), (high, gap_high) = (v.tolist() for v in (found.value, found.low, found.high))
    return Compared(both, low, high, gap, gap_low, gap_high, "bootstrap")
