"""Change between years: how often pixels change, whether changes last, and which areas change.

See method section 9 and Fig. 2 of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA

_Map = npt.NDArray[np.uint8]
_Mask = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]

SIZE_EDGES = (1, 9, 25, 64, 121, 256, 1024)
"""Lower edges of the size bins in pixels, the areas of squares with sides of 1, 3, 5, 8, 11, 16 and 32 pixels."""


def change_count(maps: _Map) -> _Map:
    """Count the year-to-year changes of every pixel.

    Parameters
    ----------
    maps
        (k, h, w) uint8 class codes, 0 = no data.

    Returns
    -------
    numpy.ndarray
        (h, w) uint8, at most k - 1. A pair of successive years counts only where both have data.
    """
    _check(maps, 1)
    changes = np.zeros(maps.shape[1:], np.uint8)
    for before, after in pairwise(maps):
        changes += changed(before, after)
    return changes


def flicker(maps: _Map) -> _Map:
    """Count the runs A→B→A of every pixel: changes that the next year reverses, as classification noise does.

    Parameters
    ----------
    maps
        (k, h, w) uint8 class codes, k ≥ 3, 0 = no data.

    Returns
    -------
    numpy.ndarray
        (h, w) uint8 number of runs of three successive years, all with data, of which only the second differs.

    Raises
    ------
    InputError
        Fewer than three years.
    """
    return _runs(maps, third_is=0)


def sustained(maps: _Map) -> _Map:
    """Count the runs A→B→B of every pixel: changes that persist in the next year; otherwise like :func:`flicker`."""
    return _runs(maps, third_is=1)


@dataclass(frozen=True, eq=False)
class ChangeObjects:
    """Connected areas of change.

    Attributes
    ----------
    labels
        (k - 1, h, w) int32: 0 = no change, otherwise the number 1..n of the object, unique over all pairs of years.
    sizes
        (n,) int64 pixels of objects 1..n.
    pair
        (n,) int64: the object changes between years ``pair`` and ``pair + 1``.
    """

    labels: npt.NDArray[np.int32]
    sizes: _Ints
    pair: _Ints


def change_objects(maps: _Map) -> ChangeObjects:
    """Label the connected areas that change between successive years.

    Parameters
    ----------
    maps
        (k, h, w) uint8 class codes, 0 = no data, of a truth or of maps.

    Returns
    -------
    ChangeObjects
        Pixels that share an edge and change in the same pair of years form one object, whatever their classes.
    """
    _check(maps, 1)
    labels = np.zeros((len(maps) - 1, *maps.shape[1:]), np.int32)
    counts = [0]
    for i, numbered in enumerate(labels):
        count = ndimage.label(changed(maps[i], maps[i + 1]), output=numbered)
        numbered[numbered > 0] += counts[-1]
        counts.append(counts[-1] + count)
    sizes = np.bincount(labels[labels > 0], minlength=counts[-1] + 1)[1:]
    return ChangeObjects(labels, sizes, np.repeat(np.arange(len(labels)), np.diff(counts)))


def size_bins(sizes: npt.NDArray[np.integer], edges: tuple[int, ...] = SIZE_EDGES) -> _Ints:
    """Size bin (n,) int64 of every object, from its size in pixels; -1 for sizes below the first of `edges`."""
    return np.searchsorted(edges, sizes, side="right") - 1


def _runs(maps: _Map, third_is: int) -> _Map:
    """Count the changes after which the third year equals the first (0) or second (1) of its run."""
    _check(maps, 3)
    runs = np.zeros(maps.shape[1:], np.uint8)
    for i in range(len(maps) - 2):
        runs += changed(maps[i], maps[i + 1]) & (maps[i + 2] == maps[i + third_is])
    return runs


def changed(before: _Map, after: _Map) -> _Mask:
    """Find the pixels with data in two years whose class differs: bool of the shape of the maps (uint8)."""
    differs: _Mask = (before != after) & (before != NO_DATA) & (after != NO_DATA)
    return differs


def _check(maps: _Map, years: int) -> None:
    if maps.ndim != 3 or maps.dtype != np.uint8 or len(maps) < years:
        raise InputError(f"maps are {maps.dtype} {maps.shape}; give (year, y, x) uint8 with {years} or more years")
