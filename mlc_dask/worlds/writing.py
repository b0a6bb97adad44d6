"""Writing a world in the formats that users have: folders of GeoTIFF acquisitions, a 100 m product, truth maps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine

from mlc_dask.worlds.kinds import BANDS
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.patterns import Floats
from mlc_dask.worlds.product import CELL, corine
from mlc_dask.worlds.settings import World
from mlc_dask.worlds.spectra import Ground
from mlc_dask.worlds.weather import Overpass, Sky, overpasses, scene_classification

CRS = "EPSG:32632"
LEFT, TOP = 640_000.0, 5_140_000.0
_FINE = 4
"""The first four of BANDS have 10 m pixels, the others 20 m."""


def write_world(folder: str | Path, world: World) -> None:
    """Write a world; the same settings write the same bytes.

    Below `folder`: ``acquisitions/<time>_<platform>_<orbit>_<tile>/<band>.tif`` and ``SCL.tif`` (uint16 DN of
    reflectance * 10000, 0 no data), ``product/corine.tif`` (100 m, CORINE grid codes), ``truth/<year>.tif`` (10 m,
    legend codes), ``world.json`` (settings and the list of true changes).
    """
    folder = Path(folder)
    landscape = make_landscape(world)
    ground = Ground(world, landscape)
    for position, year in enumerate(world.years):
        _write(folder / "truth" / f"{year}.tif", landscape.truth(position), 10.0)
        for overpass in overpasses(world, position):
            surface = ground.reflectance(position, overpass.time.timetuple().tm_yday)
            _write_acquisition(folder / "acquisitions" / overpass.name, world, overpass, surface)
    _write(folder / "product" / "corine.tif", corine(world, landscape), 10.0 * CELL)
    facts = {"settings": asdict(world), "changes": [asdict(change) for change in landscape.changes]}
    (folder / "world.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _write_acquisition(folder: Path, world: World, overpass: Overpass, surface: Floats) -> None:
    sky, random = Sky.of(world, overpass), world.random("sensor", overpass.name)
    haze = 1 + 0.03 * random.standard_normal(len(BANDS)).astype(np.float32)
    seen = sky.over(surface) * haze[:, None, None]
    seen += world.noise * random.standard_normal(seen.shape, np.float32)
    for i, band in enumerate(BANDS):
        plane, valid, pixel = (seen[i], sky.valid, 10.0) if i < _FINE else (*_coarse(seen[i], sky.valid), 20.0)
        dn = np.where(valid, np.clip(np.rint(plane * 10_000), 1, 65_535), 0).astype(np.uint16)
        _write(folder / f"{band}.tif", dn, pixel, scale=1e-4)
    _write(folder / "SCL.tif", scene_classification(world, overpass, surface, sky), 20.0)


def _coarse(plane: Floats, valid: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    size = plane.shape[0] // 2
    squares = plane.reshape(size, 2, size, 2)
    whole: npt.NDArray[np.bool_] = np.asarray(valid.reshape(size, 2, size, 2).all((1, 3)))
    return squares.mean((1, 3)), whole


def _write(path: Path, values: npt.NDArray[Any], pixel: float, scale: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256} if min(height, width) >= 256 else {}
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=values.dtype, crs=CRS, nodata=0,
        transform=Affine(pixel, 0, LEFT, 0, -pixel, TOP), compress="deflate", zlevel=1, predictor=2, **tiled,
    ) as file:  # fmt: skip
        file.write(values, 1)
        if scale is not None:
            file.scales = (scale,)
