"""Whether the digital numbers can be what their metadata says: the dark end of an acquisition (METHOD section 1).

Since processing baseline 04.00 reflectance is DN - 1000, in ten-thousandths; catalogues apply this offset for some
products, and say so wrongly for some. The darkest surfaces of an image (water, shadow, forest in the visible, snow and
water in the short-wave infrared) reflect next to nothing in some band. An offset that was missed lifts every band by
0.1, one that was applied twice pushes the dark ones below zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FINE, MISSED, TWICE, UNKNOWN = "fine", "offset missed", "offset applied twice", "too few pixels"

_QUANTILE = 0.005
_FEWEST = 400
_MISSED = (850, 1250)
"""Where the darkest band's low quantile lies when 1000 was not taken away, in DN above zero reflectance."""
_PILED_UP = -250
"""Lower than any correct product goes; the noise of a correct one reaches some tens below zero."""
_STEP = 750
"""From one acquisition of a place to another; haze and season make hundreds, an offset a thousand."""


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


def verdict(level: float, usual: float = float("nan")) -> str:
    """Say what a dark level means: FINE, MISSED, TWICE or UNKNOWN.

    Parameters
    ----------
    level
        Dark level in ten-thousandths above zero reflectance.
    usual
        Median of the acquisitions of the same place, where there are others: in an area without dark pixels only the
        step between them tells.
    """
    if np.isnan(level):
        return UNKNOWN
    if level >= _MISSED[0] and (level <= _MISSED[1] or level - usual > _STEP):
        return MISSED
    return TWICE if level <= _PILED_UP or usual - level > _STEP else FINE
