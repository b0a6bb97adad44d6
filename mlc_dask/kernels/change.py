"""Change between years: how often, does it last, does true change survive (method section 9; paper Fig. 2)."""

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
_Floats = npt.NDArray[np.float64]

SIZE_EDGES = (1, 9, 25, 64, 121, 256, 1024)
"""Lower edges in pixels of the size bins, the last one open: squares of 1, 3, 5, 8, 11, 16 and 32 pixels a side."""


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
        changes += _changed(before, after)
    return changes


def flicker(maps: _Map) -> _Map:
    """Count the runs A→B→A of every pixel: changes undone the year after, as classification noise is.

    Parameters
    ----------
    maps
        (k, h, w) uint8 class codes, k ≥ 3, 0 = no data.

    Returns
    -------
    numpy.ndarray
        (h, w) uint8 number of three successive years, all with data, of which only the second differs.

    Raises
    ------
    InputError
        Fewer than three years.
    """
    return _runs(maps, third_is=0)


def sustained(maps: _Map) -> _Map:
    """Count the runs A→B→B of every pixel: changes that hold the year after; otherwise as :func:`flicker`."""
    return _runs(maps, third_is=1)


@dataclass(frozen=True, eq=False)
class ChangeObjects:
    """Connected areas of change.

    Attributes
    ----------
    labels
        (k - 1, h, w) int32: 0 = no change, else the object's number 1..n, unique over all pairs of years.
    sizes
        (n,) int64 pixels of objects 1..n.
    pair
        (n,) int64: the object's change lies between years ``pair`` and ``pair + 1``.
    """

    labels: npt.NDArray[np.int32]
    sizes: _Ints
    pair: _Ints


def change_objects(maps: _Map) -> ChangeObjects:
    """Label the connected areas that change between successive years.

    Parameters
    ----------
    maps
        (k, h, w) uint8 class codes, 0 = no data: a truth, or maps. Whole arrays, not blocks: an object may cross them.

    Returns
    -------
    ChangeObjects
        Pixels that share an edge and change in the same pair of years form one object, whatever their classes.
    """
    _check(maps, 1)
    labels = np.zeros((len(maps) - 1, *maps.shape[1:]), np.int32)
    found = [0]
    for i, numbered in enumerate(labels):
        count = ndimage.label(_changed(maps[i], maps[i + 1]), output=numbered)
        numbered[numbered > 0] += found[-1]
        found.append(found[-1] + count)
    sizes = np.bincount(labels.reshape(-1), minlength=found[-1] + 1)[1:]
    return ChangeObjects(labels, sizes, np.repeat(np.arange(len(labels)), np.diff(found)))


def size_bins(sizes: npt.NDArray[np.integer], edges: tuple[int, ...] = SIZE_EDGES) -> _Ints:
    """Bin number (n,) int64 of every object size in pixels, by the lower `edges`; sizes below the first give -1."""
    return np.searchsorted(edges, sizes, side="right") - 1


@dataclass(frozen=True, eq=False)
class Detection:
    """How much true change the maps show, and how much of what they show is true, by size bin (lower `edges`).

    Attributes
    ----------
    objects, recall_by_size
        Per bin: true objects (int64), and the share of their pixels that the maps change in the same pair of years.
    shown, precision_by_size
        Per bin: objects that the maps show (int64, by their own size), and the share of their pixels truly changed.
    recall, precision
        The same shares over all sizes; NaN, like the others, where there is nothing to judge.
    """

    edges: tuple[int, ...]
    objects: _Ints
    recall_by_size: _Floats
    shown: _Ints
    precision_by_size: _Floats
    recall: float
    precision: float


def detection(truth: _Map, maps: _Map, edges: tuple[int, ...] = SIZE_EDGES) -> Detection:
    """Compare the change in `maps` with the true change, by the size of the changed area.

    Parameters
    ----------
    truth, maps
        (k, h, w) uint8 class codes, 0 = no data. Whole arrays, not blocks: objects are measured uncut.
    edges
        Ascending lower edges of the size bins in pixels, the first at most 1, so that every object has a bin.

    Returns
    -------
    Detection
        Judged are the pixels with data in both years of the pair in both arrays; an object's size counts all of it.

    Raises
    ------
    InputError
        The shapes differ, or the edges are not as said.
    """
    if truth.shape != maps.shape:
        raise InputError(f"truth {truth.shape} and maps {maps.shape} differ in shape; use the same years and grid")
    if not edges or edges[0] > 1 or list(edges) != sorted(set(edges)):
        raise InputError(f"size edges {edges} must ascend and begin at 1 or less; e.g. {SIZE_EDGES}")
    true, seen = change_objects(truth), change_objects(maps)
    data = (truth != NO_DATA) & (maps != NO_DATA)
    judged = data[:-1] & data[1:]
    objects, recall_by_size, recall = _confirm(true, seen.labels > 0, judged, edges)
    shown, precision_by_size, precision = _confirm(seen, true.labels > 0, judged, edges)
    return Detection(edges, objects, recall_by_size, shown, precision_by_size, recall, precision)


def _confirm(found: ChangeObjects, other: _Mask, judged: _Mask, edges: tuple[int, ...]) -> tuple[_Ints, _Floats, float]:
    """Objects per size bin, and the share of their judged pixels that `other` holds, per bin and overall."""
    bins, length = size_bins(found.sizes, edges), len(edges)
    objects = np.bincount(bins, minlength=length)
    per_object = [np.bincount(found.labels[where], minlength=len(bins) + 1)[1:] for where in (judged, judged & other)]
    pixels, hits = (np.bincount(bins, weights=count, minlength=length) for count in per_object)
    by_size = np.divide(hits, pixels, out=np.full(length, np.nan), where=pixels > 0)
    return objects, by_size, float(hits.sum() / pixels.sum()) if pixels.sum() else float("nan")


def _runs(maps: _Map, third_is: int) -> _Map:
    """Count the changes after which the third year equals the first (0) or second (1) of its run."""
    _check(maps, 3)
    runs = np.zeros(maps.shape[1:], np.uint8)
    for i in range(len(maps) - 2):
        runs += _changed(maps[i], maps[i + 1]) & (maps[i + 2] == maps[i + third_is])
    return runs


def _changed(before: _Map, after: _Map) -> _Mask:
    """Pixels with data in both years and another class in the second."""
    changed: _Mask = (before != after) & (before != NO_DATA) & (after != NO_DATA)
    return changed


def _check(maps: _Map, years: int) -> None:
    if maps.ndim != 3 or maps.dtype != np.uint8 or len(maps) < years:
        raise InputError(f"maps are {maps.dtype} {maps.shape}; give (year, y, x) uint8 with {years} or more years")
