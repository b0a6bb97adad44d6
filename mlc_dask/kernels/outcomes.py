"""How long a change lasts, and how nearly another series shows the same one (method section 9)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA

_Map = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]

DURATIONS: Final = ("1 year", "2 years", "3 years or more", "to the last year")
"""For how long the new class stays; to the last year with data means that nobody knows for how long."""

TIMES: Final = ("any year", "within 2 years", "within 1 year", "exact year")
"""How near in time another series must show a change; each includes those after it, and the first is the footprint."""

OUTCOMES: Final = (len(DURATIONS), len(TIMES) + 1, len(TIMES) + 1)
"""A change by its duration, and by the strictest time (0 = none) at which any change, or the same one, is shown."""


def outcomes(own: _Map, other: _Map, pair: int) -> tuple[npt.NDArray[np.bool_], _Ints]:
    """Judge changes of pixels between the years `pair` and `pair + 1`.

    Parameters
    ----------
    own, other
        (k, n) uint8 class codes, 0 = no data; `own` changes in that pair of years.

    Returns
    -------
    tuple
        (n,) bool, whether both have data in both years; (n,) int64, the index of the outcome in an array of the shape
        :data:`OUTCOMES`. Change in `other` counts in the pairs of years that can be judged. The same change is from
        the same class to the same class.
    """
    valid = (own != NO_DATA) & (other != NO_DATA)
    judged = valid[1:] & valid[:-1]
    shown = judged & (other[1:] != other[:-1])
    same = shown & (other[:-1] == own[pair]) & (other[1:] == own[pair + 1])
    place: tuple[_Ints, ...] = (_durations(own, pair), _strictest(shown, pair), _strictest(same, pair))
    return judged[pair], np.ravel_multi_index(place, OUTCOMES).astype(np.int64)


def _strictest(shown: npt.NDArray[np.bool_], pair: int) -> _Ints:
    """Strictest of :data:`TIMES`, from 1, at which any of the pairs of years (k - 1, n) shows a change; 0 for none."""
    away = np.abs(np.arange(len(shown)) - pair)
    time = len(TIMES) - np.minimum(away, len(TIMES) - 1)
    nearest: _Ints = (shown * time[:, None]).max(axis=0)
    return nearest


def _durations(own: _Map, pair: int) -> _Ints:
    """Index in :data:`DURATIONS` of the changes of `own` (k, n) after year `pair`."""
    new, unknown = own[pair + 1], len(DURATIONS) - 1
    lasting = np.full(own.shape[1], unknown, np.int64)
    for year in range(len(own) - 1, pair + 1, -1):  # the first year that differs decides, so it comes last
        known = min(year - pair - 1, unknown) - 1
        lasting[own[year] != new] = known
        lasting[own[year] == NO_DATA] = unknown
    return lasting
