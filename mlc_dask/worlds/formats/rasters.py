"""Rasters on the grid of a world, in the file formats of products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import rasterio
from affine import Affine

from mlc_dask.worlds.scenes import CRS, LEFT, TOP

_BLOCK = 256
_LOSSLESS = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}

Values = npt.NDArray[Any]


def transform(pixel: float) -> Affine:
    """Affine transform of the grid with pixels of `pixel` metres."""
    return Affine(pixel, 0, LEFT, 0, -pixel, TOP)


def write_geotiff(
    path: Path,
    values: Values,
    pixel: float,
    *,
    nodata: int | None = 0,
    scale: float | None = None,
    offset: float = 0.0,
) -> None:
    """Write a GeoTIFF with unchanged values; `scale` and `offset` are only tags."""
    blocks = {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK} if min(values.shape) >= _BLOCK else {}
    options = {"driver": "GTiff", "nodata": nodata, "compress": "deflate", "zlevel": 1, "predictor": 2, **blocks}
    tags = {} if scale is None else {"scales": (scale,)}
    if offset:
        tags["offsets"] = (offset,)
    _write(path, values, pixel, options, tags)


def write_cog(path: Path, values: Values, pixel: float) -> None:
    """Write a cloud-optimised GeoTIFF; no data is 0."""
    options = {"driver": "COG", "nodata": 0, "compress": "deflate", "predictor": 2, "blocksize": _BLOCK}
    _write(path, values, pixel, {**options, "overview_resampling": "nearest"}, {})


def write_jp2(path: Path, values: Values, pixel: float) -> None:
    """Write a lossless JPEG 2000; the format has no tag for no data."""
    _write(path, values, pixel, _LOSSLESS, {})


def _write(path: Path, values: Values, pixel: float, options: dict[str, Any], tags: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    with rasterio.open(
        path, "w", height=height, width=width, count=1, dtype=values.dtype, crs=CRS, transform=transform(pixel),
        **options,
    ) as file:  # fmt: skip
        file.write(values, 1)
        for name, value in tags.items():
            setattr(file, name, value)
