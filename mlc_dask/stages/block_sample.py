"""A probability sample of blocks of the area, on which series of maps are compared (method section 9)."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from mlc_dask.data.schema import X, Y
from mlc_dask.data.steps import step
from mlc_dask.kernels.blocks import enough_blocks
from mlc_dask.kernels.sampling.priority import priority

BLOCK: Final = 118
"""Side in pixels of a block, the unit of the sample: 128 with the margin of a filter of 11 × 11 pixels."""

HALF_WIDTH: Final = 0.005
"""Half of the interval of a difference in agreement that the sample is designed for."""

SPREAD: Final = 0.025
"""Standard deviation between blocks of the difference in agreement of two series, which the design assumes."""


@step("evidence-blocks", kind="table", version=2, shown=True)
def draw_blocks(
    cube: xr.Dataset, *, seed: int, side: int = BLOCK, half_width: float = HALF_WIDTH, spread: float = SPREAD
) -> pd.DataFrame:
    """Draw a simple random sample of blocks, which depends on neither the chunks nor the workers.

    Parameters
    ----------
    side
        Side of a block in pixels; blocks at the right and lower border are cut.
    half_width, spread
        The sample is so large that the interval of a difference is expected within ± `half_width` where its standard
        deviation between blocks is `spread`; small areas are taken whole.

    Returns
    -------
    One row per block, by number: ``block``, its first ``row`` and ``column`` in pixels, its ``side``, and ``of``, the
    number of blocks of the area.
    """
    down, across = (-(-cube.sizes[d] // side) for d in (Y, X))
    numbers = np.arange(down * across)
    count = enough_blocks(len(numbers), half_width, spread)
    drawn = np.sort(np.argsort(priority(seed, "evidence-blocks", numbers), kind="stable")[:count])
    row, column = (at * side for at in np.divmod(drawn, across))
    return pd.DataFrame({"block": drawn, "row": row, "column": column, "side": side, "of": len(numbers)})
