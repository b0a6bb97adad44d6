"""Intervals of shares and exact tests for few pairs (method section 9).

Wilson (1927), Clopper and Pearson (1934), McNemar (1947), Holm (1979); the sign-flip test is Fisher's randomisation
test of paired differences.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from mlc_dask.data.errors import InputError

Floats = npt.NDArray[np.float64]

MOST_WORLDS = 24
"""Paired differences of which all 2**n patterns of signs are tried."""

_AT_ONCE = 1 << 16


def normal_quantile(confidence: float) -> float:
    """Two-sided quantile of the normal distribution, e.g. 1.96 for 0.95."""
    return float(special.ndtri((1 + confidence) / 2))


def wilson(hits: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's score interval of a share.

    Parameters
    ----------
    hits, n
        Successes and trials of one shape; effective numbers of a complex sample need not be whole.
    confidence
        Nominal coverage.

    Returns
    -------
    (low, high), float64 of the same shape; NaN where `n` is 0.
    """
    hits, n = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    z2 = normal_quantile(confidence) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        p = hits / n
        middle = (hits + z2 / 2) / (n + z2)
        half = np.sqrt(z2 * (p * (1 - p) * n + z2 / 4)) / (n + z2)
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half, 1)
    return np.where(hits <= 0, low * 0, low), np.where(hits >= n, high * 0 + 1, high)


def clopper_pearson(hits: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Exact two-sided interval of a share, from quantiles of the beta distribution; arguments as in :func:`wilson`."""
    hits, n = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, special.betaincinv(np.maximum(hits, 1e-300), n - hits + 1, tail), 0.0)
        high = np.where(hits < n, special.betaincinv(hits + 1, np.maximum(n - hits, 1e-300), 1 - tail), 1.0)
    none = ~(n > 0)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def student(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent differences, e.g. over worlds, and its interval mean ± t·SE with n - 1 degrees of freedom.

    Returns
    -------
    (mean, low, high); the limits are NaN for fewer than two values.
    """
    values = np.asarray(values, np.float64)
    if values.size < 2:
        return (float(values.mean()) if values.size else float("nan")), float("nan"), float("nan")
    mean, se = float(values.mean()), float(values.std(ddof=1)) / np.sqrt(values.size)
    half = float(special.stdtrit(values.size - 1, (1 + confidence) / 2)) * se
    return mean, mean - half, mean + half


def mcnemar(first_only: int, second_only: int) -> tuple[float, float]:
    """McNemar's test of two paired shares, without continuity correction; valid only for independent units.

    Parameters
    ----------
    first_only, second_only
        Units that only the first or only the second map has right.

    Returns
    -------
    (χ², p) with one degree of freedom; (0, 1) without a discordant unit.
    """
    if first_only + second_only == 0:
        return 0.0, 1.0
    chi2 = (first_only - second_only) ** 2 / (first_only + second_only)
    return chi2, float(special.chdtrc(1, chi2))


def exact_sign(first_only: int, second_only: int) -> float:
    """Two-sided p of the exact sign test of `first_only` against `second_only` independent units; 1 without any."""
    n = first_only + second_only
    return float(stats.binomtest(first_only, n).pvalue) if n else 1.0


def sign_flip(differences: npt.ArrayLike) -> float:
    """Two-sided p of the exact sign-flip test: the share of all patterns of signs with a mean as far from zero.

    Parameters
    ----------
    differences
        (n,) paired differences of independent worlds or places, n ≤ 24. The smallest possible p is 2**(1 - n).

    Raises
    ------
    InputError
        No difference, more than 24, or one that is not a number: it would count as the most extreme of all.
    """
    values = np.asarray(differences, np.float64).reshape(-1)
    if not np.isfinite(values).all():
        raise InputError(f"paired difference {int(np.argmin(np.isfinite(values)))} is not finite; leave its world out")
    if not 1 <= values.size <= MOST_WORLDS:
        raise InputError(f"{values.size} paired differences; the sign-flip test takes 1 to {MOST_WORLDS} worlds")
    # Rounding must not decide whether a pattern is as extreme as the observed one.
    bound = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    count, bits = 0, np.arange(values.size)
    for start in range(0, 1 << values.size, _AT_ONCE):
        pattern = np.arange(start, min(start + _AT_ONCE, 1 << values.size))[:, None]
        sums = np.where(pattern >> bits & 1, values, -values).sum(axis=1)
        count += int((np.abs(sums) >= bound).sum())
    return count / float(1 << values.size)


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values (n,) of the stated family `p` (n,); reject where they are below the level."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
