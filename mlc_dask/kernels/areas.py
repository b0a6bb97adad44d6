"""Areas of change by their size, counted block by block.

An area may cross any number of blocks. Each block labels its own areas. Areas that touch no border of the block are
counted at once; the others wait for the neighbouring block. Joining parts of a raster is associative and commutative
and uses integers only, so the result does not depend on the blocks. Memory grows with the borders of the blocks, not
with the area of the raster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mlc_dask.kernels.change import size_bins
from mlc_dask.kernels.outcomes import OUTCOMES

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Areas:
    """Areas of change in a part of the raster.

    Attributes
    ----------
    edges
        Ascending lower edges of the size bins in pixels.
    closed
        (1 + outcomes, bins) int64, of the complete areas: areas, and judged pixels by outcome.
    waiting
        (1 + outcomes, n) int64, of each area that may continue outside the part: pixels, and judged pixels by outcome.
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
        """Count the `areas` (1 + outcomes, n) that own no border edge; the others wait."""
        waits = np.zeros(areas.shape[1], np.bool_)
        waits[owner] = True
        index = np.cumsum(waits) - 1
        return cls(edges, closed + _by_size(areas[:, ~waits], edges), areas[:, waits], border, index[owner])

    @classmethod
    def none(cls, edges: tuple[int, ...]) -> Areas:
        """No area at all."""
        nothing, rows = np.empty(0, np.int64), 1 + math.prod(OUTCOMES)
        return cls(edges, np.zeros((rows, len(edges)), np.int64), np.empty((rows, 0), np.int64), nothing, nothing)

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

    def by_size(self) -> tuple[_Ints, _Ints]:
        """Areas (bins,) and judged pixels (bins, *OUTCOMES)."""
        areas, *pixels = self.closed + _by_size(self.waiting, self.edges)
        return areas, np.stack(pixels, axis=1).reshape(-1, *OUTCOMES)


def _by_size(areas: _Ints, edges: tuple[int, ...]) -> _Ints:
    """Sum `areas` (rows, n) per size bin: (rows, bins); the first row counts areas, not their pixels."""
    return _summed(np.concatenate([np.ones_like(areas[:1]), areas[1:]]), size_bins(areas[0], edges), len(edges))


def _summed(rows: _Ints, group: npt.NDArray[np.integer], count: int) -> _Ints:
    """Sum the columns of `rows` (…, n) by group: (…, count). bincount adds doubles, which are exact below 2**53."""
    return np.stack([np.bincount(group, weights=row, minlength=count) for row in rows]).astype(np.int64)
