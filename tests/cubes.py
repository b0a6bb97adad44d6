"""Small cubes, products and models in memory, whose results can be computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.classifiers import Context
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.data.sensors import SENTINEL2

Array = npt.NDArray[Any]

SHARED = Path(__file__).parents[2] / "shared" / "data"
"""Real data next to the checkout; tests skip without it."""

BANDS = tuple(b for b in SENTINEL2.resolution if b not in ("B01", "B09", "B10"))


def raiser(*_: Any, **__: Any) -> Any:
    """Scheduler that proves laziness: a call of it means that something was not lazy."""
    raise AssertionError("something was computed")


def coords(height: int, width: int, pixel: float = 10.0) -> dict[str, Array]:
    """Pixel centres of a north-up grid."""
    return {"y": 1000 - pixel * (np.arange(height) + 0.5), "x": pixel * (np.arange(width) + 0.5)}


def times(years: Sequence[int], per_year: int) -> Array:
    """One acquisition per month from February, (year, acquisition) datetime64."""
    rows = [[f"{y}-{m:02d}-10" for m in range(2, 2 + per_year)] for y in years]
    return np.array(rows, "datetime64[ns]")


def cube_of(dn: Array, usable: Array, years: Sequence[int], *, bands: Sequence[str] = BANDS) -> xr.Dataset:
    """Cube of arrays (k, T, B, h, w) uint16 and (k, T, h, w) bool, one block."""
    return xr.Dataset(
        {
            "reflectance": (("year", "acquisition", "band", "y", "x"), dn),
            "usable": (("year", "acquisition", "y", "x"), usable),
        },
        coords={
            "year": list(years),
            "acquisition": np.arange(dn.shape[1]),
            "band": list(bands),
            "time": (("year", "acquisition"), times(years, dn.shape[1])),
            **coords(*dn.shape[-2:]),
        },
    ).pipe(lambda cube: cube.assign({name: cube[name].chunk() for name in cube.data_vars}))


def map_of(labels: Array, years: Sequence[int] | None = None) -> xr.DataArray:
    """Label map (y, x) or (year, y, x) on the cube's grid."""
    dims = ("year", "y", "x") if years else ("y", "x")
    own = {"year": list(years)} if years else {}
    return xr.DataArray(labels.astype(np.uint8), dims=dims, coords={**own, **coords(*labels.shape[-2:])})


def product_of(labels: Array, *, cell: float = 10.0, quota: int = 100) -> xr.DataArray:
    """Old map as :func:`mlc_dask.open_product` returns it."""
    found = map_of(labels).chunk().assign_coords(quota=(("y", "x"), np.full(labels.shape, quota, np.uint8)))
    return found.rename("product").assign_attrs(legend=DEFAULT_LEGEND.to_dict(), cell=cell)


def landscape(
    height: int = 48, width: int = 64, *, years: Sequence[int] = (2018, 2019), per_year: int = 6, block: int = 16
) -> tuple[xr.Dataset, Array]:
    """Cube of squares of four classes, each with its own signature plus noise, and the classes (h, w)."""
    rng = np.random.default_rng(7)
    squares = rng.integers(1, 5, (-(-height // block), -(-width // block)))
    squares.ravel()[:4] = (1, 2, 3, 4)
    truth = np.kron(squares, np.ones((block, block), int))[:height, :width].astype(np.uint8)
    signature = rng.uniform(500, 4000, (5, per_year, len(BANDS)))
    shape = (len(years), per_year, len(BANDS), height, width)
    dn = signature[truth].transpose(2, 3, 0, 1)[None] + rng.normal(0, 150, shape) + 1000
    usable = rng.random((len(years), per_year, height, width)) > 0.2
    return cube_of(dn.clip(1, 65535).astype(np.uint16), usable, years), truth


@dataclass(frozen=True)
class Threshold:
    """Model that needs no training: class 1 where the mean DN of the first band is below `limit`, else 2."""

    engine: ClassVar[str] = "numpy"

    context: Context
    limit: float = 2000.0

    @property
    def settings(self) -> SimpleNamespace:
        return SimpleNamespace(name="threshold", resource=None)

    def predict(self, dn: Array) -> tuple[Array, Array]:
        bright = dn[:, 0].mean(axis=0) >= self.limit
        return np.where(bright, 2, 1).astype(np.uint8), np.where(bright, 60, 70).astype(np.uint8)


def threshold(cube: xr.Dataset, *, min_valid: int = 2, limit: float = 2000.0) -> Threshold:
    """Threshold model made for `cube`."""
    days = tuple(float(d) for d in range(cube.sizes["acquisition"]))
    return Threshold(Context(DEFAULT_LEGEND, tuple(cube.band.values.tolist()), days, "interpolate", min_valid), limit)
