"""Whether the digital numbers can be what their metadata says: the dark end of an acquisition (method section 1).

Since processing baseline 04.00 reflectance is DN - 1000, in ten-thousandths; catalogues apply this offset for some
products, and say so wrongly for some. The darkest surfaces of an image (water, shadow, forest in the visible, snow and
water in the short-wave infrared) reflect next to nothing in some band. An offset that was missed lifts every band by
0.1, one that was applied twice pushes the dark ones below zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

FINE, MISSED, TWICE = "fine", "offset missed", "offset applied twice"
UNKNOWN, BRIGHT = "too few pixels", "too bright to tell"

_QUANTILE = 0.005
_FEWEST = 400
_MISSED = (850, 1250)
"""Where the darkest band's low quantile lies when 1000 was not taken away, in DN above zero reflectance."""
_PILED_UP = -250
"""Lower than any correct product goes; the noise of a correct one reaches some tens below zero."""
_STEP = (750, 1500)
"""Above the dark acquisitions of a place: haze and season make hundreds, an offset a thousand, missed clouds more."""
_DARK_SHARE = 0.1


def base_level(levels: Iterable[float]) -> float:
    """Dark level of a place: a low quantile of its acquisitions', NaN where none tells.

    Not their median: where half of the offsets were missed, that lies between right and wrong.
    """
    known = [level for level in levels if level > _PILED_UP]
    return float(np.quantile(known, _DARK_SHARE)) if known else float("nan")


def dark_level(dn: npt.NDArray[np.uint16], usable: npt.NDArray[np.bool_]) -> float:
    """Low quantile of the darkest band; NaN where there are too few pixels to tell.

    Parameters
    ----------
    dn
        (B, h, w) uint16, in ten-thousandths of reflectance from any zero.
    usable
        (h, w) bool: cloud, shadow and no data left out. Shadow matters: it is the mask's to say, not ours.
    """
    if int(usable.sum()) < _FEWEST:
        return float("nan")
    levels: npt.NDArray[Any] = np.quantile(dn[:, usable], _QUANTILE, axis=1)
    return float(levels.min())


def verdict(level: float, base: float = float("nan")) -> str:
    """Say what a dark level means: FINE, MISSED, TWICE, or BRIGHT or UNKNOWN where it cannot be told.

    Parameters
    ----------
    level
        Dark level in ten-thousandths above zero reflectance.
    base
        Dark level of the place (:func:`base_level`), where there are other acquisitions of it: in an area without dark
        pixels only the step between them tells.
    """
    if np.isnan(level):
        return UNKNOWN
    if level <= _PILED_UP or base - level > _STEP[0]:
        return TWICE
    if level < _MISSED[0]:
        return FINE
    return MISSED if level <= _MISSED[1] or _STEP[0] < level - base <= _STEP[1] else BRIGHT
