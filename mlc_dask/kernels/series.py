"""The distinct series of a block of maps and how many pixels have each: few, so that measures over time cost little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError

_Map = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]

# A slice of pixels and its table of counts take some ten megabytes.
_SLICE = 1 << 20
_TABLE = 1 << 22
_LIMIT = 1 << 62


@dataclass(frozen=True, eq=False)
class Distinct:
    """Distinct series of labels (k, m) uint8, and the pixels (m,) int64 that have them."""

    labels: _Map
    pixels: _Ints

    def years(self, which: Sequence[int]) -> Distinct:
        """Return the same pixels with the planes `which` alone; their series may occur twice."""
        return Distinct(self.labels[list(which)], self.pixels)

    def count(self, codes: npt.NDArray[np.integer], size: int) -> _Ints:
        """Count the pixels by the `codes` (m,) of their series: (size,) int64."""
        counts = np.zeros(size, np.int64)
        np.add.at(counts, codes, self.pixels)
        return counts

    def table(self, a: npt.NDArray[np.integer], b: npt.NDArray[np.integer], size: int) -> _Ints:
        """Count the pixels by two codes (m,) of their series: (size, size) int64."""
        return self.count(a * np.int64(size) + b, size * size).reshape(size, size)


def distinct(maps: _Map, size: int) -> Distinct:
    """Find the distinct series of `maps`.

    Parameters
    ----------
    maps
        (k, …) uint8 class codes, 0 = no data.
    size
        One more than the highest code (``Legend.size``).

    Raises
    ------
    InputError
        The maps are not (year, …) uint8, or a code is `size` or higher.
    """
    if maps.ndim < 2 or maps.dtype != np.uint8 or not len(maps):
        raise InputError(f"maps are {maps.dtype} {maps.shape}; give (year, y, x) uint8 with one or more years")
    planes = maps.reshape(len(maps), -1)
    here = np.zeros(256, np.bool_)
    for plane in planes:
        here |= np.bincount(plane, minlength=256) > 0
    highest = int(here.nonzero()[0].max(initial=0))
    if highest >= size:
        raise InputError(f"class code {highest} is not in the legend (codes to {size - 1}); use the maps' legend")
    place, base = (np.cumsum(here) - 1).astype(np.uint8), max(1, int(here.sum()))
    parts = [_found(planes[:, at : at + _SLICE], place, base) for at in range(0, planes.shape[1], _SLICE)]
    labels = np.concatenate([planes[:, :0], *(part.labels for part in parts)], axis=1)
    pixels = np.concatenate([np.empty(0, np.int64), *(part.pixels for part in parts)])
    _, first, series = np.unique(_numbers(labels, place, base)[0], return_index=True, return_inverse=True)
    return Distinct(labels[:, first], Distinct(labels, pixels).count(series, len(first)))


def _found(planes: _Map, place: _Map, base: int) -> Distinct:
    """Distinct series of a slice (k, n): by a table of all that could be, or by sorting where it would be large."""
    numbers, span = _numbers(planes, place, base)
    if span > _TABLE:
        _, first, pixels = np.unique(numbers, return_index=True, return_counts=True)
        return Distinct(planes[:, first], pixels.astype(np.int64))
    counts, one = np.bincount(numbers, minlength=span), np.empty(span, np.intp)
    one[numbers] = np.arange(len(numbers))
    there = counts.nonzero()[0]
    return Distinct(planes[:, one[there]], counts[there].astype(np.int64))


def _numbers(planes: _Map, place: _Map, base: int) -> tuple[_Ints, int]:
    """One number for every series (n,), equal only for equal series, and a bound above the numbers."""
    numbers, span = np.zeros(planes.shape[1], np.int64), 1
    for plane in planes:
        if span > _LIMIT // base:
            values, numbers = np.unique(numbers, return_inverse=True)
            span = len(values)
        numbers *= base
        numbers += place.take(plane)
        span *= base
    return numbers, span
