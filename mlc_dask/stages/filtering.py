"""Filtering of the maps (paper section 4; method section 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.schema import YEAR, check_map
from mlc_dask.data.steps import step
from mlc_dask.kernels.majority import majority, median
from mlc_dask.stages.settings import Filter, Rule

RULES: dict[str, Callable[..., npt.NDArray[np.uint8]]] = {"majority": majority, "median": median}


def smooth(maps: xr.Dataset | xr.DataArray, *, size: int = Filter.size, rule: Rule = Filter.rule) -> Any:
    """Filter the labels of every year with a square window of `size` pixels; other layers pass unchanged.

    `median` is the rule of the paper, kept for comparison: a median of class codes depends on the order of the legend.
    No data has no vote and stays no data, and the result does not depend on the patches.

    Parameters
    ----------
    maps
        Labels (y, x) or (year, y, x) uint8, 0 is no data; or a Dataset with such a layer ``label``.
    size
        Side of the window in pixels, an odd number (the paper: 11).
    rule
        ``majority``, ``median``, or ``none``, which returns `maps` as they are.

    Returns
    -------
    Labels of the same shape, dtype and coordinates, lazily; for a Dataset, the Dataset with its ``label`` filtered.

    Raises
    ------
    InputError
        If the rule is unknown, `size` is not an odd number, or the labels have another dtype or order of dimensions.
    """
    if rule == "none":
        return maps
    if rule not in RULES:
        raise InputError(f"filter rule {rule!r} is unknown; {did_you_mean(rule, [*RULES, 'none'])}")
    if size < 1 or size % 2 == 0:
        raise InputError(f"filter size {size} is not an odd number of pixels; use an odd number (the paper: 11)")
    if isinstance(maps, xr.Dataset):
        return maps.assign(label=smooth(maps.label, size=size, rule=rule))
    labels, radius = check_map(maps), size // 2
    if YEAR not in labels.dims:
        return _filtered(labels, radius, rule, f"filter-{rule}")
    years = [int(y) for y in labels[YEAR].values]
    planes = [_filtered(labels.sel({YEAR: y}, drop=True), radius, rule, f"filter-{rule}-{y}") for y in years]
    return xr.concat(planes, dim=labels[YEAR], coords="minimal", compat="override").assign_attrs(labels.attrs)


@step("filtered", kind="maps")
def smooth_labels(maps: xr.Dataset, *, size: int, rule: Rule) -> xr.Dataset:
    """Filter the labels alone, as :func:`smooth` does; the other layers stand beside the unfiltered maps."""
    smoothed: xr.Dataset = smooth(maps[["label"]], size=size, rule=rule)
    return smoothed


SMOOTHERS: Final[Mapping[str, Callable[..., xr.Dataset]]] = {"filter": smooth_labels}
"""Steps that make a series of maps from another one, by the name that a row of the table of series gives."""


def _filtered(labels: xr.DataArray, radius: int, rule: str, name: str) -> xr.DataArray:
    return lazy.map_neighbourhood(partial(RULES[rule], radius=radius), labels, radius=radius, name=name)
