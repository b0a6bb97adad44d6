"""Whether the digital numbers of an acquisition agree with its metadata, judged by dark pixels (method section 1).

Since processing baseline 04.00 reflectance is DN - 1000, in ten-thousandths. Catalogues apply this offset to some
products, and their metadata is wrong about it for some. The darkest surfaces of an image (water, shadow, forest in the
visible, snow and water in the short-wave infrared) reflect next to nothing in some band. An offset that was missed
raises every band by 0.1; an offset that was applied twice pushes dark bands below zero.
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
"""Range of the low quantile of the darkest band if 1000 was not subtracted, in DN above zero reflectance."""
_PILED_UP = -250
"""Level below that of any correct product; the noise of a correct product reaches some tens below zero."""
_STEP = (750, 1500)
"""Step above the dark level of the area: haze and season add hundreds, an offset a thousand, missed clouds more."""
_DARK_SHARE = 0.1


def base_level(levels: Iterable[float]) -> float:
    """Dark level of an area: a low quantile of the levels of its acquisitions; NaN if no level is known.

    The median would not do: if half of the offsets were missed, it lies between right and wrong.
    """
    known = [level for level in levels if level > _PILED_UP]
    return float(np.quantile(known, _DARK_SHARE)) if known else float("nan")


def dark_level(dn: npt.NDArray[np.uint16], usable: npt.NDArray[np.bool_]) -> float:
    """Low quantile of the darkest band; NaN if there are too few usable pixels.

    Parameters
    ----------
    dn
        (B, h, w) uint16, in ten-thousandths of reflectance with any zero point.
    usable
        (h, w) bool, False for cloud, shadow and no data. The mask must exclude shadow; it is not detected here.
    """
    if int(usable.sum()) < _FEWEST:
        return float("nan")
    levels: npt.NDArray[Any] = np.quantile(dn[:, usable], _QUANTILE, axis=1)
    return float(levels.min())


def verdict(level: float, base: float = float("nan")) -> str:
    """Judge a dark level: FINE, MISSED or TWICE; BRIGHT or UNKNOWN if the level does not decide.

    Parameters
    ----------
    level
        Dark level in ten-thousandths above zero reflectance.
    base
        Dark level of the area (:func:`base_level`), if it has other acquisitions: without dark pixels in the area, only
        the step between acquisitions decides.
    """
    if np.isnan(level):
        return UNKNOWN
    if level <= _PILED_UP or base - level > _STEP[0]:
        return TWICE
    if level < _MISSED[0]:
        return FINE
    return MISSED if level <= _MISSED[1] or _STEP[0] < level - base <= _STEP[1] else BRIGHT
