"""Strata of a reference sample, from the change that one or two series of maps show (method section 9).

Olofsson et al. (2020) and Stehman (2014): change that a map omits lies in its stable strata, and change that only one
of two maps shows is where they differ, so both maps make the strata.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA

_Maps = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]


class Kind(IntEnum):
    """What the maps show at a pixel over all years."""

    NO_DATA = 0
    STABLE = 1
    DIFFERENT = 2
    FIRST = 3
    SECOND = 4
    BOTH = 5
    ALTERNATING = 6


def kinds(first: _Maps, second: _Maps | None = None) -> _Maps:
    """Tell what one or two series of maps show at every pixel.

    Parameters
    ----------
    first, second
        (k, …) uint8 class codes, 0 = no data.

    Returns
    -------
    numpy.ndarray
        (…) uint8 of :class:`Kind`: ALTERNATING where a series has more than one change; BOTH, FIRST or SECOND where
        both series or only one of them have a change; STABLE where all labels are one class, DIFFERENT where each
        series has one class of its own; NO_DATA where a label is missing.

    Raises
    ------
    InputError
        The shapes differ.
    """
    series = [first] if second is None else [first, second]
    if len({part.shape for part in series}) > 1:
        raise InputError(f"maps of shapes {[part.shape for part in series]}; give the same years and pixels")
    changes = [(part[1:] != part[:-1]).sum(axis=0) for part in series]
    a, b = changes[0] > 0, changes[-1] > 0
    conditions = [
        np.logical_or.reduce([(part == NO_DATA).any(axis=0) for part in series]),
        np.maximum(changes[0], changes[-1]) > 1,
        a & b if second is not None else np.zeros_like(a),
        a,
        b,
        first[0] != series[-1][0],
    ]
    found = (Kind.NO_DATA, Kind.ALTERNATING, Kind.BOTH, Kind.FIRST, Kind.SECOND, Kind.DIFFERENT)
    return np.select(conditions, [np.uint8(kind) for kind in found], np.uint8(Kind.STABLE))


def count(first: _Maps, second: _Maps | None, size: int) -> _Ints:
    """Count pixels by :class:`Kind` and by class in the first year of `first`: (7, size) int64; counts add up.

    Raises
    ------
    InputError
        As in :func:`kinds`, or a code is not below `size`.
    """
    if first.size and first.max() >= size:
        raise InputError(f"code {first.max()} in the maps is not in the legend; open the maps with their own legend")
    codes = kinds(first, second).ravel() * np.int64(size) + first[0].ravel()
    return np.bincount(codes, minlength=len(Kind) * size).reshape(len(Kind), size)
