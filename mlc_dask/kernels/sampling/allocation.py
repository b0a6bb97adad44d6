"""Number of samples per class."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError


def allocate(
    counts: npt.NDArray[np.integer], size: int, priors: npt.NDArray[np.floating | np.integer], minimum: int
) -> npt.NDArray[np.int64]:
    """Divide a sample among classes in proportion to their priors (paper section 2.2, method section 5).

    One common factor scales the priors. The scaled priors are raised to the floor, limited to the existing pixels, and
    rounded by largest remainders; ties go to the lower class. The total is `size`, unless the floors alone exceed it or
    the classes have fewer pixels. Exact arithmetic makes the result the same on every machine.

    Parameters
    ----------
    counts
        (K,) number of pixels of every class that can be sampled.
    size
        Number of samples requested in total.
    priors
        (K,) shares in any unit. A class of prior 0 gets its floor only.
    minimum
        Least number of samples of every class that has pixels; the paper has none (0).

    Returns
    -------
    (K,) int64 samples per class, at most `counts`.

    Raises
    ------
    InputError
        If the size or the floor is negative, or a prior is negative or not finite.
    """
    assert len(counts) == len(priors), (len(counts), len(priors))
    if size < 0 or minimum < 0:
        raise InputError(f"sample size {size} with at least {minimum} per class is impossible; give 0 or more for both")
    weights = np.asarray(priors, np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError(f"class priors {weights.tolist()} are not all finite and non-negative; correct the shares")
    share = [Fraction(float(w)) for w in weights]
    floor = [min(minimum, int(c)) for c in counts]
    cap = [int(c) if w else f for c, w, f in zip(counts, share, floor, strict=True)]
    if size <= sum(floor):
        return np.array(floor, np.int64)
    if size >= sum(cap):
        return np.array(cap, np.int64)
    return _round(_share_out(size, share, floor, cap), size, cap)


def _share_out(size: int, share: Sequence[Fraction], floor: Sequence[int], cap: Sequence[int]) -> list[Fraction]:
    """Shares clip(factor·share, floor, cap) that add up to `size`."""

    def given(factor: Fraction) -> list[Fraction]:
        return [min(max(factor * s, Fraction(f)), Fraction(c)) for s, f, c in zip(share, floor, cap, strict=True)]

    # The total grows with the factor, and linearly between factors at which a class leaves its floor or meets its cap.
    bends = sorted({Fraction(b) / s for s, f, c in zip(share, floor, cap, strict=True) if s for b in (0, f, c)})
    low, high = 0, len(bends) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if sum(given(bends[middle])) <= size:
            low = middle
        else:
            high = middle
    first, last = sum(given(bends[low])), sum(given(bends[high]))
    return given(bends[low] + (bends[high] - bends[low]) * (size - first) / (last - first))


def _round(shares: Sequence[Fraction], size: int, cap: Sequence[int]) -> npt.NDArray[np.int64]:
    """Round by largest remainders; caps are integers, so a class with a remainder is below its cap."""
    whole = [int(s) for s in shares]
    by_remainder = sorted(range(len(shares)), key=lambda k: (whole[k] - shares[k], k))
    for k in by_remainder[: size - sum(whole)]:
        whole[k] += 1
        assert whole[k] <= cap[k], (whole, cap)
    return np.array(whole, np.int64)
