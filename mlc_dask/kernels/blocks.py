"""Uncertainty over space: shares and their differences from whole numbers counted in blocks (method section 9).

Every pixel of two maps is known, and neighbouring pixels err together. So blocks are resampled, the same for all maps,
and a share is the ratio of their sums (block bootstrap of a ratio; Efron 1987 for BCa). Blocks that are a probability
sample are the units of :func:`~mlc_dask.kernels.estimation.ratio` and :func:`~mlc_dask.kernels.estimation.difference`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.estimation import Estimates, difference, one_stratum, ratio
from mlc_dask.kernels.intervals import normal_quantile

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

REPLICATES = 2000

LEAST = 30
"""Fewest blocks of a sample; intervals from fewer are too narrow, and smaller areas are cheap to judge whole."""

FEWEST = 6
"""Fewest blocks of an interval: five lie all on one side of their median in 6 of 100 draws, so that not even their
whole range holds it with 95 %."""

_AT_ONCE = 1 << 21
"""Resampled blocks in memory at once."""


def block_sums(values: npt.NDArray[np.generic], side: int) -> Counts:
    """Sum squares of `side` × `side` pixels.

    Parameters
    ----------
    values
        (…, h, w) bool or integers: pixels, or the sums of smaller blocks. Blocks at the right and lower border are cut.

    Returns
    -------
    (…, ⌈h / side⌉, ⌈w / side⌉) int64; with ``side=2`` the blocks double. The standard error of a share grows with the
    blocks up to the range of the errors' autocorrelation, then levels.
    """
    wide = np.asarray(values, np.int64) if values.dtype != np.bool_ else values.astype(np.int64)
    rows = np.add.reduceat(wide, np.arange(0, wide.shape[-2], side), axis=-2)
    sums: Counts = np.add.reduceat(rows, np.arange(0, wide.shape[-1], side), axis=-1)
    return sums


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Shares of several maps, or differences of shares, with intervals from resampled blocks.

    Attributes
    ----------
    value, se
        (c,) float64; NaN where no block has a pixel to judge.
    low, high
        (c,) limits by percentiles of the replicates, expanded for few blocks (Hesterberg 2015).
    bca_low, bca_high
        (c,) limits corrected for bias and skewness.
    blocks
        Blocks that were resampled.
    """

    value: Floats
    se: Floats
    low: Floats
    high: Floats
    bca_low: Floats
    bca_high: Floats
    blocks: int


def bootstrap(
    parts: Counts,
    wholes: Counts,
    contrasts: npt.ArrayLike,
    *,
    seed: int,
    replicates: int = REPLICATES,
    confidence: float = 0.95,
) -> Bootstrap:
    """Resample blocks for intervals of contrasts of shares.

    Parameters
    ----------
    parts, wholes
        (m, b) int64 counts of m maps or measures in b blocks; the share of map i is ``parts[i].sum() /
        wholes[i].sum()``.
    contrasts
        (c, m) factors of the shares, e.g. [[1, -1]] for the difference of two maps and [[1, 0]] for the first alone.
    seed
        Of the draw of blocks; the same seed gives the same limits.
    replicates
        Resamples of b blocks with replacement.

    Raises
    ------
    InputError
        Fewer than two blocks, or shapes that do not fit.
    """
    factors = np.atleast_2d(np.asarray(contrasts, np.float64))
    if parts.shape != wholes.shape or parts.ndim != 2 or factors.shape[1] != len(parts):
        raise InputError(
            f"{parts.shape} and {wholes.shape} counts, {factors.shape} contrasts; give (map, block) counts"
        )
    if parts.shape[1] < 2:
        raise InputError(f"{parts.shape[1]} block to resample; use smaller blocks")
    value = _contrast(parts.sum(axis=1), wholes.sum(axis=1), factors)
    drawn = np.where(np.isnan(value), 0, _replicates(parts, wholes, factors, seed, replicates))
    left = [counts.sum(axis=1)[:, None] - counts for counts in (parts, wholes)]
    jackknife = np.where(np.isnan(value), 0, _contrast(left[0].T, left[1].T, factors))
    tails = _tails(parts.shape[1], confidence)
    percentile = np.nanquantile(drawn, tails, axis=0)
    levels = _bca_levels(value, drawn, jackknife, tails)
    bca = np.stack([np.nanquantile(column, level) for column, level in zip(drawn.T, levels.T, strict=True)], axis=1)
    none = np.where(np.isnan(value), np.nan, 0)
    se, low, high, *corrected = (part + none for part in (np.nanstd(drawn, axis=0, ddof=1), *percentile, *bca))
    return Bootstrap(value, se, low, high, corrected[0], corrected[1], parts.shape[1])


def enough_blocks(blocks: int, half_width: float, spread: float, confidence: float = 0.95) -> int:
    """Blocks to draw at random out of `blocks`, so that a mean is expected within ± `half_width`.

    n = n₀ / (1 + n₀ / N) with n₀ = (z · spread / half_width)² (Cochran 1977), and :data:`LEAST` or all at least.

    Parameters
    ----------
    spread
        Standard deviation of the mean's values between blocks.
    """
    alone = (normal_quantile(confidence) * spread / half_width) ** 2
    return min(blocks, max(LEAST, math.ceil(alone / (1 + alone / blocks))))


def sampled_share(part: Counts, whole: Counts, blocks: int) -> Estimates:
    """Estimate a share over all `blocks` from the counts (n,) of blocks drawn at random: a ratio of sums (B2 by block).

    The shape of the result is (). The pixels of a block are a cluster, and the finite population correction is applied.
    The interval is as wide as Student's t with n - 1 degrees of freedom makes it.
    """
    return ratio(part, whole, one_stratum(blocks, len(part)), known=True, quantile=_student(len(part)))


def sampled_difference(first: tuple[Counts, Counts], second: tuple[Counts, Counts], blocks: int) -> Estimates:
    """Estimate the difference of two shares over all `blocks`; (part, whole) of each in the same n blocks.

    The interval is as wide as Student's t with n - 1 degrees of freedom makes it.
    """
    n = len(first[0])
    return difference(first, second, one_stratum(blocks, n), quantile=_student(n))


def _student(n: int, confidence: float = 0.95) -> float:
    """Two-sided quantile of Student's t for a standard error from n units."""
    return float(special.stdtrit(n - 1, (1 + confidence) / 2))


def _contrast(parts: npt.NDArray[np.generic], wholes: npt.NDArray[np.generic], factors: Floats) -> Floats:
    """Contrasts (…, c) of the ratios of sums (…, m)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.asarray(parts, np.float64) / np.asarray(wholes, np.float64)
    used = factors != 0
    found: Floats = np.where(used, factors * np.where(used, shares[..., None, :], 0), 0).sum(axis=-1)
    return found


def _replicates(parts: Counts, wholes: Counts, factors: Floats, seed: int, replicates: int) -> Floats:
    """Contrasts (replicates, c) of resampled blocks."""
    random, blocks = np.random.default_rng(seed), parts.shape[1]
    step = max(1, _AT_ONCE // blocks)
    found = []
    for start in range(0, replicates, step):
        count = min(step, replicates - start)
        picked = random.integers(blocks, size=(count, blocks))
        picked += np.arange(count)[:, None] * blocks
        times = np.bincount(picked.ravel(), minlength=count * blocks).reshape(count, blocks).astype(np.float64)
        found.append(_contrast(times @ parts.T, times @ wholes.T, factors))
    return np.concatenate(found)


def _tails(blocks: int, confidence: float) -> Floats:
    """Levels (2,) of the percentiles, moved outward as t and n - 1 do for few blocks (Hesterberg 2015)."""
    far = np.sqrt(blocks / (blocks - 1)) * special.stdtrit(blocks - 1, (1 + confidence) / 2)
    levels: Floats = special.ndtr(np.array([-far, far]))
    return levels


def _bca_levels(value: Floats, drawn: Floats, jackknife: Floats, tails: Floats) -> Floats:
    """Levels (2, c) of the quantiles that correct the percentiles for bias z0 and acceleration a (Efron 1987)."""
    below = ((drawn < value).mean(axis=0) + (drawn <= value).mean(axis=0)) / 2
    z0 = special.ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    away = np.nanmean(jackknife, axis=0) - jackknife
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.nan_to_num(np.nansum(away**3, axis=0) / (6 * np.nansum(away**2, axis=0) ** 1.5))
    z = z0 + special.ndtri(tails)[:, None]
    levels: Floats = special.ndtr(z0 + z / (1 - a * z))
    return levels
