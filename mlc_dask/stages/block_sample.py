"""A probability sample of blocks of the area, on which series of maps are compared (method section 9)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask.data.schema import X, Y
from mlc_dask.data.steps import step
from mlc_dask.kernels.blocks import enough_blocks
from mlc_dask.kernels.sampling.priority import priority

BLOCK: Final = 118
"""Side in pixels of a block, the unit of the sample, by about: 128 with the margin of a filter of 11 × 11 pixels."""

HALF_WIDTH: Final = 0.005
"""Half of the interval of a difference in agreement that the sample is designed for."""

SPREAD: Final = 0.025
"""Standard deviation between blocks of the difference in agreement of two series, which the design assumes."""


@step("evidence-blocks", kind="table", version=3, shown=True)
def draw_blocks(
    cube: xr.Dataset, *, seed: int, side: int = BLOCK, half_width: float = HALF_WIDTH, spread: float = SPREAD
) -> pd.DataFrame:
    """Draw a simple random sample of blocks, which depends on neither the chunks nor the workers.

    Parameters
    ----------
    side
        Blocks have about this side in pixels: each axis is divided into as many parts as come nearest to it, whose
        lengths differ by one pixel at most.
    half_width, spread
        The sample is so large that the interval of a difference is expected within ± `half_width` where its standard
        deviation between blocks is `spread`; small areas are taken whole.

    Returns
    -------
    One row per block, by number: ``block``, its first ``row`` and ``column``, its ``height`` and ``width`` in pixels,
    and ``of``, the number of blocks of the area.
    """
    down, across = (_edges(cube.sizes[d], side) for d in (Y, X))
    numbers = np.arange((len(down) - 1) * (len(across) - 1))
    count = enough_blocks(len(numbers), half_width, spread)
    drawn = np.sort(np.argsort(priority(seed, "evidence-blocks", numbers), kind="stable")[:count])
    row, column = np.divmod(drawn, len(across) - 1)
    corner = {"block": drawn, "row": down[row], "column": across[column]}
    return pd.DataFrame({**corner, "height": np.diff(down)[row], "width": np.diff(across)[column], "of": len(numbers)})


def _edges(length: int, side: int) -> npt.NDArray[np.int64]:
    """Edges (n + 1,) of n parts of a length, alike and about as long as `side`."""
    parts = max(1, round(length / side))
    return np.arange(parts + 1) * length // parts
