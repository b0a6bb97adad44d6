"""Filters of label maps: majority, and the paper's median (method section 8; paper section 4)."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA

_Map = npt.NDArray[np.uint8]


def majority(labels: _Map, radius: int = 5) -> _Map:
    """Most frequent class in the square window around every pixel.

    Parameters
    ----------
    labels
        (h, w) uint8 class codes, 0 = no data. A block of a larger map needs a halo of `radius` pixels.
    radius
        The window is 2·radius + 1 pixels wide (5: the paper's 11).

    Returns
    -------
    numpy.ndarray
        (h, w) uint8. No data stays no data and has no vote, and nothing outside the raster votes. In a tie the class of
        the centre wins if it is among the tied classes, otherwise the lowest code (method section 8).

    Raises
    ------
    InputError
        The radius is negative, or the labels are not a non-empty (h, w) uint8 array.
    """
    _check(labels, radius)
    best = np.zeros(labels.shape, _vote_dtype(radius))
    winner = np.zeros_like(labels)
    for code in _codes(labels):
        here = (labels == code).view(np.uint8)
        # Votes are doubled and the centre's own class gets one more, which decides ties and nothing else.
        votes = _window_sum(here, radius)
        votes += votes
        votes += here
        better = votes > best
        np.copyto(best, votes, where=better)
        winner[better] = code
    winner[labels == NO_DATA] = NO_DATA
    return winner


def median(labels: _Map, radius: int = 5) -> _Map:
    """Median class code in the square window around every pixel, the filter of the paper.

    Parameters
    ----------
    labels
        (h, w) uint8 class codes, 0 = no data. A block of a larger map needs a halo of `radius` pixels.
    radius
        The window is 2·radius + 1 pixels wide (5: the paper's 11).

    Returns
    -------
    numpy.ndarray
        (h, w) uint8. No data stays no data and does not count, and nothing outside the raster counts (no padding).
        For an even number of codes the lower median is taken, which is always a class of the window.

    Raises
    ------
    InputError
        The radius is negative, or the labels are not a non-empty (h, w) uint8 array.

    Notes
    -----
    The median of nominal codes depends on the order of the legend; prefer :func:`majority` (method section 8).
    """
    _check(labels, radius)
    valid = _window_sum((labels != NO_DATA).view(np.uint8), radius)
    half = valid // 2 + valid % 2
    result = np.zeros_like(labels)
    up_to = np.zeros_like(half)
    for code in _codes(labels):
        below = up_to < half
        np.add(up_to, _window_sum((labels == code).view(np.uint8), radius), out=up_to)
        result[below & (up_to >= half)] = code
    result[labels == NO_DATA] = NO_DATA
    return result


def _check(labels: _Map, radius: int) -> None:
    if radius < 0:
        raise InputError(f"filter radius {radius} is negative; give 0 or more pixels")
    if labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise InputError(f"labels are {labels.dtype} {labels.shape}; filter one (y, x) uint8 map at a time")


def _codes(labels: _Map) -> Iterator[int]:
    """Codes of the classes that occur, ascending."""
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()
    yield from (int(code) for code in np.flatnonzero(counts) if code != NO_DATA)


def _vote_dtype(radius: int) -> type[np.uint8] | type[np.int32]:
    """Narrowest type that can hold twice the pixels of the window plus one."""
    return np.uint8 if 2 * (2 * radius + 1) ** 2 + 1 <= 255 else np.int32


def _window_sum(mask: _Map, radius: int) -> npt.NDArray[np.uint8 | np.int32]:
    """Exact number of set pixels in every window; pixels outside the raster are not set."""
    depth = cv2.CV_8U if _vote_dtype(radius) is np.uint8 else cv2.CV_32S
    size = (2 * radius + 1, 2 * radius + 1)
    summed = cv2.boxFilter(mask, depth, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(summed, _vote_dtype(radius))
