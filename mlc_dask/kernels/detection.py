"""How much of the true change the maps show, by the size of the changed area and by duration (method section 9).

Each block labels its own areas; :mod:`mlc_dask.kernels.areas` joins those that cross blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.areas import Areas
from mlc_dask.kernels.change import SIZE_EDGES, changed, size_bins
from mlc_dask.kernels.outcomes import OUTCOMES, TIMES, outcomes

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
    true, shown
        (bins, durations, 5, 5) int64 judged pixels of the true areas and of those in the maps, by size and by
        :data:`mlc_dask.kernels.outcomes.OUTCOMES` in the other.
    """

    edges: tuple[int, ...]
    objects: _Ints
    recall_by_size: _Floats
    precision_by_size: _Floats
    recall: float
    precision: float
    true: _Ints
    shown: _Ints


def found_share(pixels: _Ints, *, same: bool, time: int) -> tuple[int, float]:
    """Judged pixels (…, 5, 5) of changes, and the share that the other series shows.

    Parameters
    ----------
    same
        The same classes before and after, or any change.
    time
        From 1, as in :data:`mlc_dask.kernels.outcomes.TIMES`.
    """
    total, hits = int(pixels.sum()), int((pixels[..., time:] if same else pixels[..., time:, :]).sum())
    return total, hits / total if total else float("nan")


@dataclass(frozen=True, eq=False)
class ChangeTally:
    """Areas of true change and of change in the maps, in one part of the raster; tallies of parts add up."""

    true: Areas
    shown: Areas

    def __add__(self, other: ChangeTally) -> ChangeTally:
        return ChangeTally(self.true + other.true, self.shown + other.shown)

    def detection(self) -> Detection:
        """Compute the detection of the whole raster, after the tallies of all parts were added."""
        (objects, true), (_, shown) = self.true.by_size(), self.shown.by_size()
        (recall_by_size, recall), (precision_by_size, precision) = _exact(true), _exact(shown)
        return Detection(self.true.edges, objects, recall_by_size, precision_by_size, recall, precision, true, shown)


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
    true, shown = Areas.none(edges), Areas.none(edges)
    borders = _border_edges(row, column, truth.shape[1:], width)
    for pair in range(len(truth) - 1):
        edge_ids = borders * (len(truth) - 1) + pair
        true += _areas(truth, maps, pair, edge_ids, edges)
        shown += _areas(maps, truth, pair, edge_ids, edges)
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


def _exact(pixels: _Ints) -> tuple[_Floats, float]:
    """Share of the pixels (bins, *OUTCOMES) whose change the other shows in the same years: by size, and over all."""
    by_size = np.array([found_share(own, same=False, time=len(TIMES))[1] for own in pixels])
    return by_size, found_share(pixels, same=False, time=len(TIMES))[1]


def _areas(own: _Map, other: _Map, pair: int, borders: _Ints, edges: tuple[int, ...]) -> Areas:
    """Areas of change of `own` in one pair of years of one block, and how nearly `other` shows their pixels."""
    labels = np.zeros(own.shape[1:], np.int32)
    count = ndimage.label(changed(own[pair], own[pair + 1]), output=labels)
    where = labels.reshape(-1).nonzero()[0]
    area = labels.reshape(-1)[where] - 1
    sizes = np.bincount(area, minlength=count)
    outline = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    border, owner = borders[outline > 0], outline[outline > 0].astype(np.int64) - 1
    order = np.argsort(border, kind="stable")
    waits = np.zeros(len(sizes), np.bool_)
    waits[owner] = True
    number = np.where(waits, np.cumsum(waits) - 1, size_bins(sizes, edges))
    mine, theirs = (side.reshape(len(side), -1).take(where, axis=1) for side in (own, other))
    judged, outcome = outcomes(mine, theirs, pair)
    open_, closed = (
        _counted(number[area[on]], outcome[on], count)
        for on, count in ((judged & waits[area], int(waits.sum())), (judged & ~waits[area], len(edges)))
    )
    by_bin = np.bincount(number[~waits], minlength=len(edges))
    return Areas(
        edges,
        np.concatenate([by_bin[None], closed]),
        np.concatenate([sizes[None, waits], open_]),
        border[order],
        number[owner[order]],
    )


def _counted(group: _Ints, outcome: _Ints, count: int) -> _Ints:
    """Pixels by outcome and group: (outcomes, count)."""
    cells, rows = outcome * count + group, math.prod(OUTCOMES)
    return np.bincount(cells, minlength=rows * count).astype(np.int64).reshape(rows, count)


def _border_edges(row: int, column: int, shape: tuple[int, ...], width: int) -> _Ints:
    """Numbers of the pixel edges around a block: top, bottom, left, right. Neighbours number shared edges alike."""
    height, across = shape
    rows, columns, stride = row + np.arange(height), column + np.arange(across), width + 1
    above, below = (2 * (line * stride + columns) for line in (row, row + height))
    left, right = (2 * (rows * stride + line) + 1 for line in (column, column + across))
    return np.concatenate([above, below, left, right])
