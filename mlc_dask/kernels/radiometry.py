"""Whether the digital numbers of an acquisition agree with its metadata, judged by dark pixels (method section 1).

Since processing baseline 04.00 reflectance is DN - 1000, in ten-thousandths. Catalogues apply this offset to some
products, and their metadata is wrong about it for some. The darkest surfaces of an image (water, shadow, forest in the
visible, snow and water in the short-wave infrared) reflect next to nothing in some band. An offset that was missed
raises every band by 0.1; an offset that was applied twice pushes dark bands below zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

FINE, MISSED, TWICE = "fine", "offset missed", "offset applied twice"
UNKNOWN, BRIGHT = "too few pixels", "too bright to tell"
CLOUD, WHITE = "cloud missed by the mask", "white all over: snow or cloud"
COPY, UNREADABLE = "two bands that are one", "cannot be read"
WRONG = (MISSED, TWICE, CLOUD, COPY)
"""Verdicts for which an acquisition is refused unless it is accepted."""

_QUANTILE = 0.005
_FEWEST = 400
_MISSED = (850, 1250)
"""Range of the low quantile of the darkest band if 1000 was not subtracted, in DN above zero reflectance."""
_PILED_UP = -250
"""Level below that of any correct product; the noise of a correct product reaches some tens below zero."""
_STEP = (750, 1500)
"""Step above the dark level of the area: haze and season add hundreds, an offset a thousand, missed clouds more."""
_DARK_SHARE = 0.1
_WHITE, _WHITER = 2500, 1500
"""Darkest pixels of a white picture, in DN above zero reflectance: at least this, and this much above the area's."""
_COLOURLESS = 1.4
"""Largest ratio of visible bands in white: of deserts, red is far brighter than blue."""
_SNOW_INDEX = 0.4
_EVEN = 0.8
"""Darkest pixels as a share of the middle ones over a closed cloud; on snow, trees, water and slopes are darker."""
_SEASON = 0.25
"""Snow lies for weeks: if more of the acquisitions are white, it is not a single cloud."""
_VEIL = 700
"""A veil of cloud adds this much more to blue than to the short-wave infrared; an offset adds the same to both."""
_VISIBLE = ("blue", "green", "red")


def base_level(levels: Iterable[float]) -> float:
    """Dark level of an area: a low quantile of the levels of its acquisitions; NaN if no level is known.

    The median would not do: if half of the offsets were missed, it lies between right and wrong.
    """
    known = [level for level in levels if level > _PILED_UP]
    return float(np.quantile(known, _DARK_SHARE)) if known else float("nan")


def levels(seen: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """Low quantile and median of every band, (2, B) float64; NaN if there are too few pixels.

    Parameters
    ----------
    seen
        (B, n) uint16, the usable pixels, in ten-thousandths of reflectance with any zero point: without cloud, shadow
        and no data. Shadow is not detected here.
    """
    if seen.shape[1] < _FEWEST:
        return np.full((2, len(seen)), np.nan)
    found: npt.NDArray[np.float64] = np.quantile(seen, (_QUANTILE, 0.5), axis=1)
    return found


def copies(seen: npt.NDArray[np.uint16]) -> list[tuple[int, int]]:
    """Pairs of bands whose values are equal at every pixel, and not all the same; argument as of `levels`."""
    if seen.shape[1] < _FEWEST:
        return []
    varied = np.flatnonzero(seen.min(axis=1) != seen.max(axis=1)).tolist()
    return [(i, j) for i, j in combinations(varied, 2) if np.array_equal(seen[i], seen[j])]


def judge(dark: npt.NDArray[Any], middle: npt.NDArray[Any], roles: Mapping[str, int]) -> list[str]:
    """Judge the acquisitions of an area together: one verdict each.

    A picture that is white all over is a cloud or snow. The short-wave infrared of a cloud of water is bright. Clouds
    of ice are as dark there as snow; they are told from it by being even, and alone in the series. Without a band in
    the short-wave infrared nothing decides, and the verdict is WHITE.

    Parameters
    ----------
    dark, middle
        (N, B): low quantiles and medians (:func:`levels`), in ten-thousandths above zero reflectance.
    roles
        Spectral role (``blue``, …, ``swir1``) → band position.
    """
    level = dark.min(axis=1)
    base = base_level(level)
    bands = np.array([base_level(column) for column in dark.T])
    white = np.array([_is_white(row, bands, roles) for row in dark], bool)
    offsets = [verdict(own, base) for own in level]
    if "swir1" not in roles or "green" not in roles:
        return [WHITE if w else own for w, own in zip(white, offsets, strict=True)]
    green, infrared = middle[:, roles["green"]], middle[:, roles["swir1"]]
    snowy = green - infrared > _SNOW_INDEX * np.abs(green + infrared)
    seen = [roles[r] for r in (*_VISIBLE, "nir") if r in roles]
    even = np.all(dark > 0, axis=1) & np.all(dark[:, seen] >= _EVEN * middle[:, seen], axis=1)
    alone = (white & snowy).mean() <= _SEASON
    found = []
    for i, own in enumerate(offsets):
        cloudy = not snowy[i] or (even[i] and alone) if white[i] else _is_veiled(dark[i], bands, roles, own)
        found.append(CLOUD if cloudy else WHITE if white[i] else own)
    return found


def _is_white(dark: npt.NDArray[Any], base: npt.NDArray[Any], roles: Mapping[str, int]) -> bool:
    visible = [roles[r] for r in _VISIBLE if r in roles]
    if len(visible) < 2 or np.isnan(dark).any():
        return False
    seen, first = dark[[*visible, *([roles["nir"]] if "nir" in roles else [])]], visible[0]
    colourless = dark[visible].max() <= _COLOURLESS * dark[visible].min()
    return bool(seen.min() >= _WHITE and colourless and dark[first] - base[first] > _WHITER)


def _is_veiled(dark: npt.NDArray[Any], base: npt.NDArray[Any], roles: Mapping[str, int], found: str) -> bool:
    """Whether a picture that seems to have missed its offset is brighter in blue than an offset makes it."""
    if found != MISSED or "blue" not in roles:
        return False
    step = dark - base
    return bool(step[roles["blue"]] - step[roles["swir1"]] > _VEIL)


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
