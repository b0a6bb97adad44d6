"""A folder of GeoTIFFs per acquisition: one file per band, and the scene classification."""

from __future__ import annotations

from pathlib import Path

from mlc_dask.worlds.formats.products import Product
from mlc_dask.worlds.formats.rasters import write_geotiff
from mlc_dask.worlds.scenes import Scene, pixel_of


def write(folder: Path, scene: Scene, *, baseline: str = "05.10") -> Path:
    """Write ``<time>_<platform>_<orbit>_<tile>/<band>.tif`` and ``SCL.tif``; return the folder of the acquisition.

    The tags of a band give its scale and, from baseline 04.00 on, its offset.
    """
    product, target = Product(scene, baseline), folder / scene.name
    for band in scene.dn:
        offset = 1e-4 * product.add_offset
        write_geotiff(target / f"{band}.tif", product.dn(band), pixel_of(band), scale=1e-4, offset=offset)
    write_geotiff(target / "SCL.tif", scene.scl, pixel_of("SCL"))
    return target
