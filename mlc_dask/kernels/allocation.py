"""Size and allocation of a stratified reference sample, and its expected standard errors (method section 9).

Cochran (1977), Olofsson et al. (2014, section 5). S_i = √(U_i(1 - U_i)) is the expected deviation of a stratum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError

Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

CHANGE_FLOOR = 75
"""Least units in every stratum of change."""


def deviations(shares: npt.ArrayLike) -> Floats:
    """Return the standard deviation (H,) of an indicator with the expected `shares` (H,): √(p(1 - p))."""
    p = np.asarray(shares, np.float64)
    s: Floats = np.sqrt(p * (1 - p))
    return s


def sample_size(sizes: npt.ArrayLike, deviation: npt.ArrayLike, se: float, finite: bool = False) -> int:
    """Units for a standard error of a share, by proportional allocation in the first order.

    n = (Σ W_i S_i / SE)², and with `finite` n / (1 + Σ W_i S_i² / (N SE²)) (Olofsson 2014, eq. 13), rounded up.

    Parameters
    ----------
    sizes
        (H,) units of the population in every stratum, or their shares where `finite` is False.
    deviation
        (H,) expected standard deviations, see :func:`deviations`.
    se
        Standard error to be reached.
    """
    size, s = np.asarray(sizes, np.float64), np.asarray(deviation, np.float64)
    share = size / size.sum()
    n = (share @ s / se) ** 2
    if finite:
        n /= 1 + share @ s**2 / (size.sum() * se**2)
    return int(np.ceil(n - 1e-9))


def proportional(n: int, sizes: npt.ArrayLike) -> Floats:
    """Allocate `n` units by the sizes of the strata: (H,) float64."""
    size = np.asarray(sizes, np.float64)
    units: Floats = n * size / size.sum()
    return units


def neyman(n: int, sizes: npt.ArrayLike, deviation: npt.ArrayLike) -> Floats:
    """Allocate `n` units by size times standard deviation, the smallest variance of the overall share: (H,) float64."""
    return proportional(n, np.asarray(sizes, np.float64) * np.asarray(deviation, np.float64))


def equal(n: int, strata: int) -> Floats:
    """Allocate `n` units equally: (strata,) float64."""
    return np.full(strata, n / strata)


def whole(allocation: npt.ArrayLike) -> _Ints:
    """Round an allocation (H,) to whole units of the same sum, by the largest remainders."""
    given = np.asarray(allocation, np.float64)
    units = np.floor(given + 1e-9).astype(np.int64)
    missing = round(given.sum()) - int(units.sum())
    units[np.argsort(units - given, kind="stable")[:missing]] += 1
    return units


def with_floor(n: int, sizes: npt.ArrayLike, change: npt.ArrayLike, floor: int = CHANGE_FLOOR) -> _Ints:
    """Allocate `n` units in proportion to the sizes, but `floor` or more to every stratum of change.

    The big stable strata share the rest by their sizes: most omitted change hides there.

    Parameters
    ----------
    sizes
        (H,) units of the population in every stratum.
    change
        (H,) bool strata of change.
    floor
        Least units; all units of a stratum that has fewer.

    Returns
    -------
    (H,) int64 of sum `n`, two or more in a stratum.

    Raises
    ------
    InputError
        The floors leave the other strata fewer than two units each.
    """
    size, changes = np.asarray(sizes, np.float64), np.asarray(change, np.bool_)
    least = np.minimum(np.where(changes, floor, 2), size)
    if n < least.sum():
        raise InputError(f"{n} units are too few for {changes.sum()} strata of change; give {least.sum():.0f} or more")
    fixed = np.zeros(len(size), np.bool_)
    while True:
        rest = n - least[fixed].sum()
        given = np.where(fixed, least, rest * size / max(size[~fixed].sum(), 1e-300))
        below = ~fixed & (given < least)
        if not below.any():
            return whole(given)
        fixed |= below


def expected_se(sizes: npt.ArrayLike, deviation: npt.ArrayLike, n: npt.ArrayLike, finite: bool = False) -> float:
    """Return the expected standard error of a share: √(Σ W_h² (1 - n_h/N_h) S_h² / n_h).

    Parameters
    ----------
    sizes, deviation, n
        (H,) units of the population, standard deviations and sampled units of every stratum.
    finite
        Apply the finite population correction; `sizes` are then numbers of units.
    """
    size, s, units = (np.asarray(a, np.float64) for a in (sizes, deviation, n))
    rest = 1 - units / size if finite else 1.0
    return float(np.sqrt(((size / size.sum()) ** 2 * rest * s**2 / units).sum()))
