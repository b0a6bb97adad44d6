"""Planted change on a sample of blocks: the donors, and the table of what is found (method section 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask.data.schema import ACQUISITION, BAND, CUBE_DIMS, YEAR, X, Y
from mlc_dask.kernels.comparison import ALL, compare
from mlc_dask.kernels.planting import LASTING, SIDES, scenarios
from mlc_dask.stages.drawing import Split

Array = npt.NDArray[Any]

DONORS: Final = 100
"""Series of each class and year that are planted from at most."""

PLANTED: Final = (
    "control", "filtered", "smoother", "lasting", "year", "pixels", "recall", "low", "high", "difference",
    "difference_low", "difference_high", "interval", "within_a_year",
)  # fmt: skip
"""Columns of the table of planted change."""


def donor_cube(samples: xr.Dataset, cube: xr.Dataset) -> tuple[xr.Dataset, Array]:
    """Make a cube of one row of pixels from reliable series that no model was trained on.

    Parameters
    ----------
    samples
        Multi-year training set, whose validation samples are taken; all of them where there is no validation.
    cube
        Cube with the years, acquisitions and bands of the samples.

    Returns
    -------
    The cube (year, acquisition, band, 1, n), and the classes (year, n) uint8 of its pixels; 0 where a year has fewer.
    """
    split = samples.split.values
    held_out = split == Split.VALIDATION if (split == Split.VALIDATION).any() else np.ones(split.shape, bool)
    rows = [np.flatnonzero(held_out & (samples.year.values == y)) for y in cube[YEAR].values.tolist()]
    labels = samples.label.values
    rows = [np.concatenate([r[labels[r] == c][:DONORS] for c in np.unique(labels)]) for r in rows]
    width, k = max(map(len, rows)), len(rows)
    dn = np.zeros((k, samples.sizes[ACQUISITION], samples.sizes[BAND], 1, width), np.uint16)
    usable, codes = np.zeros((k, samples.sizes[ACQUISITION], 1, width), bool), np.zeros((k, width), np.uint8)
    for i, own in enumerate(rows):
        dn[i, ..., 0, : len(own)] = samples.dn.values[own].transpose(1, 2, 0)
        usable[i, :, 0, : len(own)] = samples.usable.values[own].T
        codes[i, : len(own)] = labels[own]
    coords = {name: c for name, c in cube.coords.items() if not {Y, X} & set(c.dims)}
    layers = {"reflectance": (CUBE_DIMS, dn), "usable": ((YEAR, ACQUISITION, Y, X), usable)}
    return xr.Dataset(layers, coords=coords), codes


def planted_rows(
    who: Mapping[str, Any], own: Array, reference: Array, years: Sequence[int], of: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of one series: recall by duration, and by size and year of the change.

    Parameters
    ----------
    own, reference
        (block, scenario, side, 3) counts of :func:`mlc_dask.kernels.planting.found`, of the series and of the
        multi-year maps.
    """
    rows, plan = [], list(scenarios(len(years)))
    for lasting, name in enumerate(LASTING):
        at = [i for i, (_, _, own_lasting) in enumerate(plan) if own_lasting == lasting]
        groups: list[tuple[object, object, Any]] = [(ALL, ALL, (at, slice(None)))] if at else []
        groups += [(ALL, side**2, (at, [i])) for i, side in enumerate(SIDES) if at]
        groups += [(years[plan[i][0]], ALL, ([i], slice(None))) for i in at]
        for year, pixels, (scenario, side_at) in groups:
            both = [c[:, scenario][:, :, side_at].sum(axis=(1, 2)) for c in (own, reference)]
            if both[0][:, 2].any():
                found = vars(compare(both[0][:, [0, 2]], both[1][:, [0, 2]], of, seed=seed))
                near = float(both[0][:, 1].sum() / both[0][:, 2].sum())
                keys = {**who, "lasting": name, "year": year, "pixels": pixels}
                rows.append({**keys, **found, "recall": found["estimate"], "within_a_year": near})
    return rows


def planted_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Join rows of :func:`planted_rows`, with the columns :data:`PLANTED`."""
    return pd.DataFrame(list(rows), columns=list(PLANTED))
