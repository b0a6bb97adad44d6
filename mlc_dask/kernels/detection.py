"""How much of the true change the maps show, by the size of the changed area (method section 9).

An area may cross any number of blocks. Each block labels its own areas. Areas that touch no border of the block are
counted at once; the others wait for the neighbouring block. Joining parts of a raster is associative and commutative
and uses integers only, so the result does not depend on the blocks. Memory grows with the borders of the blocks, not
with the area of the raster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA
from mlc_dask.kernels.change import SIZE_EDGES, ChangeObjects, change_objects, size_bins

_Map = npt.NDArray[np.uint8]
_Mask = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Detection:
    """How much true change the maps show, and how much of the change in the maps is true, by size bin (lower `edges`).

    Attributes
    ----------
    objects, recall_by_size
        Per bin: true objects (int64), and the share of their pixels that the maps change in the same pair of years.
    precision_by_size
        Per bin: share of the pixels of the objects in the maps (by their own size) that truly changed.
    recall, precision
        The same shares over all sizes. All shares are NaN where there are no pixels to judge.
    """

    edges: tuple[int, ...]
    objects: _Ints
    recall_by_size: _Floats
    precision_by_size: _Floats
    recall: float
    precision: float


@dataclass(frozen=True, eq=False)
class Areas:
    """Areas of change in a part of the raster.

    Attributes
    ----------
    edges
        Ascending lower edges of the size bins in pixels.
    closed
        (3, bins) int64, of the complete areas: areas, judged pixels, and judged pixels changed in both truth and maps.
    waiting
        (3, n) int64, of each area that may continue outside the part: pixels, judged pixels, and those changed in both.
    border, owner
        (m,) int64: ascending numbers of the pixel edges where an area may continue, and the index of that area.
    """

    edges: tuple[int, ...]
    closed: _Ints
    waiting: _Ints
    border: _Ints
    owner: _Ints

    @classmethod
    def settled(cls, edges: tuple[int, ...], closed: _Ints, areas: _Ints, border: _Ints, owner: _Ints) -> Areas:
        """Count the `areas` (3, n) that own no border edge; the others wait."""
        waits = np.zeros(areas.shape[1], np.bool_)
        waits[owner] = True
        index = np.cumsum(waits) - 1
        return cls(edges, closed + _by_size(areas[:, ~waits], edges), areas[:, waits], border, index[owner])

    def __add__(self, other: Areas) -> Areas:
        """Join two disjoint parts: areas on both sides of a pixel edge are one area."""
        areas = np.concatenate([self.waiting, other.waiting], axis=1)
        border = np.concatenate([self.border, other.border])
        owner = np.concatenate([self.owner, other.owner + self.waiting.shape[1]])
        order = np.argsort(border, kind="stable")
        border, owner = border[order], owner[order]
        met = border[1:] == border[:-1]
        alone = np.ones(len(border), np.bool_)
        alone[1:] &= ~met
        alone[:-1] &= ~met
        links = (np.ones(met.sum(), np.int8), (owner[:-1][met], owner[1:][met]))
        count, area = connected_components(coo_array(links, (areas.shape[1],) * 2), directed=False)
        joined = _summed(areas, area, count)
        return Areas.settled(self.edges, self.closed + other.closed, joined, border[alone], area[owner[alone]])

    def shares(self) -> tuple[_Ints, _Floats, float]:
        """Areas per size bin, and the share of their judged pixels that changed in both, per bin and overall."""
        areas, pixels, hits = self.closed + _by_size(self.waiting, self.edges)
        by_size = np.divide(hits, pixels, out=np.full(len(self.edges), np.nan), where=pixels > 0)
        return areas, by_size, float(hits.sum() / pixels.sum()) if pixels.sum() else float("nan")


@dataclass(frozen=True, eq=False)
class ChangeTally:
    """Areas of true change and of change in the maps, in one part of the raster; tallies of parts add up."""

    true: Areas
    shown: Areas

    def __add__(self, other: ChangeTally) -> ChangeTally:
        return ChangeTally(self.true + other.true, self.shown + other.shown)

    def detection(self) -> Detection:
        """Compute the detection of the whole raster, after the tallies of all parts were added."""
        objects, recall_by_size, recall = self.true.shares()
        _, precision_by_size, precision = self.shown.shares()
        return Detection(self.true.edges, objects, recall_by_size, precision_by_size, recall, precision)


def tally_change(
    truth: _Map,
    maps: _Map,
    *,
    row: int,
    column: int,
    width: int,
    edges: tuple[int, ...] = SIZE_EDGES,
) -> ChangeTally:
    """Compare the change in a block of `maps` with the true change.

    Parameters
    ----------
    truth, maps
        (k, h, w) uint8 class codes, 0 = no data, of the block whose first pixel is at (`row`, `column`).
    width
        Pixels in a row of the whole raster.
    edges
        Ascending lower edges of the size bins in pixels, starting at 1 or less to give every object a bin.

    Returns
    -------
    ChangeTally
        Add the tallies of all blocks, then call :meth:`ChangeTally.detection`.

    Raises
    ------
    InputError
        The shapes differ, or the edges do not ascend from 1 or less.
    """
    if truth.shape != maps.shape:
        raise InputError(f"truth {truth.shape} and maps {maps.shape} differ in shape; use the same years and grid")
    if not edges or edges[0] > 1 or list(edges) != sorted(set(edges)):
        raise InputError(f"size edges {edges} do not ascend from 1 or less; use e.g. {SIZE_EDGES}")
    true, shown = _none(edges), _none(edges)
    borders = _border_edges(row, column, truth.shape[1:], width)
    for pair in range(len(truth) - 1):
        years = slice(pair, pair + 2)
        a, b = change_objects(truth[years]), change_objects(maps[years])
        judged: _Mask = ((truth[years] != NO_DATA) & (maps[years] != NO_DATA)).all(axis=0)
        edge_ids = borders * (len(truth) - 1) + pair
        true += _areas(a, b.labels[0] > 0, judged, edge_ids, edges)
        shown += _areas(b, a.labels[0] > 0, judged, edge_ids, edges)
    return ChangeTally(true, shown)


def detection(truth: _Map, maps: _Map, edges: tuple[int, ...] = SIZE_EDGES) -> Detection:
    """Compare the change in `maps` with the true change, by the size of the changed area.

    Parameters
    ----------
    truth, maps
        (k, h, w) uint8 class codes, 0 = no data, of the whole raster; for its blocks see :func:`tally_change`.
    edges
        See :func:`tally_change`.

    Returns
    -------
    Detection
        Judges the pixels with data in both years of the pair in both arrays; an object's size counts all its pixels.

    Raises
    ------
    InputError
        The shapes differ, or the edges do not ascend from 1 or less.
    """
    return tally_change(truth, maps, row=0, column=0, width=truth.shape[-1], edges=edges).detection()


def _none(edges: tuple[int, ...]) -> Areas:
    nothing = np.empty(0, np.int64)
    return Areas(edges, np.zeros((3, len(edges)), np.int64), np.empty((3, 0), np.int64), nothing, nothing)


def _areas(objects: ChangeObjects, other: _Mask, judged: _Mask, borders: _Ints, edges: tuple[int, ...]) -> Areas:
    """Areas of one pair of years in one block, and how many of their judged pixels also changed in `other`."""
    labels, count = objects.labels[0], len(objects.sizes)
    judged = judged & (labels > 0)
    per_area = [np.bincount(labels[where], minlength=count + 1)[1:] for where in (judged, judged & other)]
    outline = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    border, owner = borders[outline > 0], outline[outline > 0].astype(np.int64) - 1
    order = np.argsort(border, kind="stable")
    none = np.zeros((3, len(edges)), np.int64)
    return Areas.settled(edges, none, np.stack([objects.sizes, *per_area]), border[order], owner[order])


def _border_edges(row: int, column: int, shape: tuple[int, ...], width: int) -> _Ints:
    """Numbers of the pixel edges around a block: top, bottom, left, right. Neighbours number shared edges alike."""
    height, across = shape
    rows, columns, stride = row + np.arange(height), column + np.arange(across), width + 1
    above, below = (2 * (line * stride + columns) for line in (row, row + height))
    left, right = (2 * (rows * stride + line) + 1 for line in (column, column + across))
    return np.concatenate([above, below, left, right])


def _by_size(areas: _Ints, edges: tuple[int, ...]) -> _Ints:
    """Sum `areas` (3, n) per size bin: (3, bins), whose first row is the number of areas instead of their pixels."""
    return _summed(np.concatenate([np.ones_like(areas[:1]), areas[1:]]), size_bins(areas[0], edges), len(edges))


def _summed(rows: _Ints, group: npt.NDArray[np.integer], count: int) -> _Ints:
    """Sum the columns of `rows` (3, n) by group: (3, count). bincount adds doubles, which are exact below 2**53."""
    return np.stack([np.bincount(group, weights=row, minlength=count) for row in rows]).astype(np.int64)
