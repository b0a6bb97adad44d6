"""Patterns for drawing landscapes and skies: smooth noise, Voronoi cells, blocks of fields."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


def smooth_noise(random: np.random.Generator, size: int, scale: float, octaves: int = 3) -> Floats:
    """Noise (size, size) of mean 0 and standard deviation 1 whose largest features span about `scale` pixels."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        step = max(1, round(scale / 2**octave))
        nodes = -(-size // step) + 3
        grid = random.standard_normal((nodes, nodes), np.float32)
        wide = cv2.resize(grid, (nodes * step, nodes * step), interpolation=cv2.INTER_CUBIC)
        total += 0.5**octave * wide[step : step + size, step : step + size]
    total -= total.mean()
    return (total / max(float(total.std()), 1e-6)).astype(np.float32)


def shifted(field: npt.NDArray[Any], down: int, right: int) -> npt.NDArray[Any]:
    """Shift `field` (size, size) by pixels; pixels that enter at the border repeat the border."""
    rows, columns = (np.clip(np.arange(n) - by, 0, n - 1) for n, by in zip(field.shape, (down, right), strict=True))
    moved: npt.NDArray[Any] = field[np.ix_(rows, columns)]
    return moved


def rank(field: Floats) -> Floats:
    """Share 0..1 of the pixels with lower values than each pixel; thresholds on it are shares of the area."""
    order = np.argsort(field, axis=None, kind="stable")
    ranks = np.empty(field.size, np.float32)
    ranks[order] = np.linspace(0, 1, field.size, dtype=np.float32)
    return ranks.reshape(field.shape)


def voronoi(random: np.random.Generator, size: int, spacing: float, warp: float = 0.0) -> Ints:
    """Cell numbers (size, size) of a Voronoi diagram: cells about `spacing` pixels wide, edges bent by `warp`."""
    axis = np.arange(-spacing, size + spacing, spacing)
    seeds = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    seeds = seeds + random.uniform(-0.5, 0.5, seeds.shape) * spacing
    y, x = (a.astype(np.float32) for a in np.mgrid[:size, :size])
    if warp:
        y += warp * smooth_noise(random, size, spacing / 2)
        x += warp * smooth_noise(random, size, spacing / 2)
    _, nearest = cKDTree(seeds).query(np.stack([y.ravel(), x.ravel()], 1))
    return nearest.astype(np.int32).reshape(size, size)


def fields(random: np.random.Generator, size: int, block: float, width: float, length: float) -> Ints:
    """Parcel numbers (size, size): blocks of `block` pixels, each cut into strips in a direction of its own.

    `width` and `length` are the mean sides of a parcel in pixels.
    """
    blocks = voronoi(random, size, block)
    count = int(blocks.max()) + 1
    angle = random.uniform(0, np.pi, count)[blocks]
    widths = (width * random.uniform(0.6, 1.5, count))[blocks]
    y, x = np.mgrid[:size, :size]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    strip = np.floor(across / widths).astype(np.int64)
    # Parcel length and start of a strip derive from its number, so neighbouring strips do not line up.
    table = random.uniform(0, 1, (2, 997))
    number = (strip + 31 * blocks) % 997
    column = np.floor(along / (length * (0.6 + table[0][number])) + table[1][number]).astype(np.int64)
    key = (blocks.astype(np.int64) << 40) + ((strip + (1 << 19)) << 20) + column + (1 << 19)
    return np.unique(key, return_inverse=True)[1].astype(np.int32).reshape(size, size)
