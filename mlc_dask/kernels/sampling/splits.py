"""Training and validation apart in space (method section 6)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.sampling.priority import priority

_SIDE = 3  # blocks along a side of the squares within which the share is met


def spatial_split(
    rows: npt.NDArray[np.integer],
    columns: npt.NDArray[np.integer],
    block: int,
    validation_share: float,
    seed: int,
) -> npt.NDArray[np.bool_]:
    """Put whole square blocks of the grid aside for validation (method section 6).

    Neighbouring pixels are nearly copies of each other: split at random, validation would be as good as training.
    A pixel's side depends on its place and the seed alone. Every 3×3 blocks hold the share of validation blocks as
    nearly as nine can, and on average exactly, so that even a small area has both sides.

    Parameters
    ----------
    rows, columns
        Pixel rows and columns on the full grid, integers from 0 of one shape.
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
        raise InputError(f"a validation block of {block} pixels is impossible; give its side as 1 or more")
    if not 0 <= validation_share <= 1:
        raise InputError(f"validation share {validation_share} is not a share; give a number between 0 and 1")
    if rows.size == 0:
        return np.zeros(rows.shape, np.bool_)
    across, along = np.asarray(rows, np.int64) // block, np.asarray(columns, np.int64) // block
    assert across.min() >= 0 and along.min() >= 0, "rows and columns count from 0"
    top, left = int(across.min()) // _SIDE, int(along.min()) // _SIDE
    bottom, right = int(across.max()) // _SIDE + 1, int(along.max()) // _SIDE + 1
    table = _validation_blocks(np.arange(top, bottom), np.arange(left, right), validation_share, seed)
    return table[across - top * _SIDE, along - left * _SIDE]


def _validation_blocks(
    tall: npt.NDArray[np.int64], wide: npt.NDArray[np.int64], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Sides of all blocks within the given rows and columns of 3×3 squares."""
    squares = (tall[:, None] << 32) + wide
    within = np.arange(_SIDE * _SIDE)
    ranks = priority(seed, "validation blocks", squares[..., None] * within.size + within).argsort(-1).argsort(-1)
    # The odd block goes by chance; 32 random bits add to a number under ten without rounding.
    odd = (priority(seed, "validation quota", squares) >> np.uint64(32)).astype(np.float64) / 2**32
    quota = np.floor(share * within.size + odd)
    sides = (ranks < quota[..., None]).reshape(len(tall), len(wide), _SIDE, _SIDE)
    return np.asarray(sides.swapaxes(1, 2).reshape(len(tall) * _SIDE, len(wide) * _SIDE))
