"""The meaning of the layers of maps, and a few of their pixels without computing anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.layers import LAYERS, layer_called
from mlc_dask.data.legend import LandCoverClass, Legend
from mlc_dask.data.schema import X, Y, maps_among
from mlc_dask.lazy import is_stored
from mlc_dask.show.pictures import thinned


def codes_among(data: xr.Dataset) -> list[str]:
    """Names of the layers of codes, the most important first."""
    names = [
        str(n) for n, v in data.data_vars.items()
        if layer_called(str(n)).values == "classes" and v.dtype == "uint8" and v.dims[-2:] == (Y, X) and v.ndim <= 3
    ]  # fmt: skip
    return sorted(names, key=lambda name: layer_called(name).rank)


def by_code(legend: Legend) -> list[LandCoverClass]:
    """Classes in the order of their codes; attributes of a store may have another order."""
    return sorted(legend.classes, key=lambda c: c.code)


def layer_of(data: xr.Dataset, name: str | None) -> xr.DataArray:
    """Return the layer `name`, by default the final maps; InputError with the nearest name for an unknown one."""
    codes, maps = codes_among(data), maps_among(data)
    known = [*codes, *(n for n, row in LAYERS.items() if row.values != "classes" and n in maps)]
    if name is None and codes:
        return data[codes[0]]
    if name not in known:
        if not known:
            raise InputError(f"there is no map among {', '.join(map(str, data.data_vars)) or 'no variables'}; "
                             "open maps with open_maps or open_product")  # fmt: skip
        raise InputError(f"there is no layer {name!r}; {did_you_mean(str(name), known)}")
    return data[name]


def at_hand(raster: xr.DataArray) -> bool:
    """Whether pixels of `raster` can be read without computing: they are in memory or in a store."""
    graph: Any = raster.variable.__dask_graph__()
    return graph is None or all(map(is_stored, graph.layers))


def glance(raster: xr.DataArray, side: int) -> npt.NDArray[Any]:
    """Every n-th pixel of a raster (…, y, x) that :func:`at_hand` accepts, at most `side` pixels on each side.

    The pixels are read by threads of this process, so that a busy cluster is neither waited for nor disturbed.
    """
    return np.asarray(thinned(raster, side).compute(scheduler="threads").values)
