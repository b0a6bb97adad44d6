"""An old land-cover map of a world: coarse, generalised, a little wrong, and a little displaced, as CORINE is."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mlc_dask.worlds.covers import KINDS
from mlc_dask.worlds.landscape import Landscape
from mlc_dask.worlds.patterns import shifted
from mlc_dask.worlds.settings import World

CELL = 10
"""Edge of a product cell in pixels: 100 m."""

_SMALLEST = 5
"""Smallest unit in cells, if the area is large enough; smaller units are merged into their surroundings."""

_MIXED = 20
"""CORINE grid code 20, complex cultivation patterns: the class of heterogeneous farmland."""

_MIXED_FOREST = 25
"""CORINE grid code 25, mixed forest."""

_FARMLAND, _FOREST = (12, 15, 16, 18), (23, 24)
_CORINE = np.array([k.corine for k in KINDS])


def corine(world: World, landscape: Landscape) -> npt.NDArray[np.uint8]:
    """CORINE grid codes (cells, cells) uint8 of the first year; mixed cells get the codes of mixed classes."""
    shift = round(world.misregistration / 10)
    codes = shifted(_CORINE[landscape.kinds[0]][landscape.segment], shift, -shift)
    cells = -(-world.size // CELL)
    padded = np.pad(codes, (0, cells * CELL - world.size), mode="edge")
    blocks = padded.reshape(cells, CELL, cells, CELL).swapaxes(1, 2).reshape(cells, cells, -1)
    shares = np.stack([(blocks == c).mean(-1) for c in range(45)])
    cover = _generalised(shares.argmax(0))
    mixed = shares.max(0) < 0.5
    cover[mixed & (shares[list(_FARMLAND)].sum(0) > 0.7)] = _MIXED
    cover[mixed & (shares[list(_FOREST)].sum(0) > 0.7)] = _MIXED_FOREST
    return _mislabelled(world, _generalised(cover)).astype(np.uint8)


def _generalised(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Replace units below the smallest size by the code of the nearest larger unit."""
    smallest, small = min(_SMALLEST, max(1, codes.size // 60)), np.zeros(codes.shape, bool)
    for code in np.unique(codes):
        units, count = ndimage.label(codes == code)
        sizes = np.bincount(units.ravel(), minlength=count + 1)
        sizes[0] = smallest
        small |= sizes[units] < smallest
    if small.all():
        return codes
    nearest = ndimage.distance_transform_edt(small, return_distances=False, return_indices=True)
    generalised: npt.NDArray[np.int64] = codes[tuple(nearest)]
    return generalised


def _mislabelled(world: World, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give a share of the area, in patches, the code of another class near by."""
    random = world.random("product")
    wrong, target = codes.copy(), world.label_errors * codes.size
    done = np.zeros(codes.shape, bool)
    for _ in range(20 * codes.size):
        if done.sum() >= target:
            break
        y, x = random.integers(0, codes.shape)
        dy, dx = random.integers(-6, 7, 2)
        other = codes[np.clip(y + dy, 0, codes.shape[0] - 1), np.clip(x + dx, 0, codes.shape[1] - 1)]
        if other == codes[y, x] or done[y, x]:
            continue
        spot = np.zeros(codes.shape, np.uint8)
        cv2.circle(spot, (int(x), int(y)), int(random.integers(1, 3)), 1, -1)
        area = (spot > 0) & (codes == codes[y, x])
        wrong[area] = other
        done |= area
    return wrong
