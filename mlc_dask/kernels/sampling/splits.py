"""Spatial separation of training and validation (method section 6)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.sampling.priority import priority

_SIDE = 3  # blocks per side of the squares within which the share is met


def spatial_split(
    rows: npt.NDArray[np.integer],
    columns: npt.NDArray[np.integer],
    block: int,
    validation_share: float,
    seed: int,
) -> npt.NDArray[np.bool_]:
    """Reserve whole square blocks of the grid for validation (method section 6).

    Neighbouring pixels are nearly copies of each other, so after a random split of pixels the validation would be as
    good as the training. The part of a pixel depends only on its position and the seed. Every square of 3×3 blocks
    meets the share of validation blocks as closely as nine blocks can, and exactly on average, so even a small area has
    both parts.

    Parameters
    ----------
    rows, columns
        Pixel rows and columns on the full grid: integers from 0, both arrays of one shape.
    block
        Side of a block in pixels.
    validation_share
        Share of the blocks for validation, 0..1.
    seed
        The seed of the run.

    Returns
    -------
    bool of the shape of `rows`: True for validation.

    Raises
    ------
    InputError
        If the block or the share is out of range.
    """
    if block < 1:
        raise InputError(f"a validation block with a side of {block} pixels is impossible; give a side of 1 or more")
    if not 0 <= validation_share <= 1:
        raise InputError(f"validation share {validation_share} is not a share; give a number between 0 and 1")
    if rows.size == 0:
        return np.zeros(rows.shape, np.bool_)
    across, along = np.asarray(rows, np.int64) // block, np.asarray(columns, np.int64) // block
    assert across.min() >= 0 and along.min() >= 0, "rows and columns start at 0"
    top, left = int(across.min()) // _SIDE, int(along.min()) // _SIDE
    bottom, right = int(across.max()) // _SIDE + 1, int(along.max()) // _SIDE + 1
    table = _validation_blocks(np.arange(top, bottom), np.arange(left, right), validation_share, seed)
    return table[across - top * _SIDE, along - left * _SIDE]


def _validation_blocks(
    tall: npt.NDArray[np.int64], wide: npt.NDArray[np.int64], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Whether each block is for validation, for all blocks in the given rows and columns of 3×3 squares."""
    squares = (tall[:, None] << 32) + wide
    within = np.arange(_SIDE * _SIDE)
    ranks = priority(seed, "validation blocks", squares[..., None] * within.size + within).argsort(-1).argsort(-1)
    # Chance decides about the fractional block; 32 random bits added to a number below ten are not rounded.
    odd = (priority(seed, "validation quota", squares) >> np.uint64(32)).astype(np.float64) / 2**32
    quota = np.floor(share * within.size + odd)
    sides = (ranks < quota[..., None]).reshape(len(tall), len(wide), _SIDE, _SIDE)
    return np.asarray(sides.swapaxes(1, 2).reshape(len(tall) * _SIDE, len(wide) * _SIDE))
