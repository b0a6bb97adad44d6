"""EOPF: the Zarr products of ESA's new ground segment, modelled on its samples of 2025 (Zarr format 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio.crs

from mlc_dask.worlds.formats.products import Product, iso
from mlc_dask.worlds.formats.rasters import transform
from mlc_dask.worlds.formats.zarr_store import Variable, write_store
from mlc_dask.worlds.scenes import CRS, EPSG, LEFT, TOP, Scene, pixel_of

_SCL = "conditions/mask/l2a_classification/r20m/scl"


def write(folder: Path, scene: Scene, *, baseline: str = "05.10") -> Path:
    """Write ``<name>.zarr``; return its path.

    CF decoding of the stored numbers gives reflectance: the offset of the baseline is in the attributes.
    """
    product = Product(scene, baseline)
    target = folder / f"{product.name}.zarr"
    variables = {}
    for band in scene.dn:
        path = f"measurements/reflectance/r{pixel_of(band)}m/{band.lower()}"
        variables[path] = Variable(product.dn(band), ("y", "x"), _reflectance(product, band), fill_value=0)
    variables[_SCL] = Variable(scene.scl, ("y", "x"), {"_eopf_attrs": _dimensions(), **_grid(product, 20)})
    for group in sorted({path.rpartition("/")[0] for path in variables}):
        variables |= _coordinates(product, group)
    write_store(target, _discovery(product), variables)
    return target


def _coordinates(product: Product, group: str) -> dict[str, Variable]:
    """Coordinates ``x`` and ``y`` of the pixel centres of a group."""
    pixel = 10 if group.endswith("r10m") else 20
    height, width = _shape(product, pixel)
    y, x = TOP - pixel // 2 - pixel * np.arange(height), LEFT + pixel // 2 + pixel * np.arange(width)
    return {f"{group}/x": Variable(x.astype(np.int64), ("x",)), f"{group}/y": Variable(y.astype(np.int64), ("y",))}


def _shape(product: Product, pixel: int) -> tuple[int, int]:
    height, width = product.scene.scl.shape
    return height * 20 // pixel, width * 20 // pixel


def _dimensions() -> dict[str, object]:
    return {"coordinates": ["x", "y"], "dimensions": ["y", "x"]}


def _reflectance(product: Product, band: str) -> dict[str, object]:
    """Attributes of a band: CF encoding, the same encoding for the EOPF reader, and the grid."""
    encoding: dict[str, object] = {
        "add_offset": 1e-4 * product.add_offset,
        "dtype": "<u2",
        "fill_value": 0,
        "long_name": f"BOA reflectance from MSI acquisition at spectral band {band.lower()}",
        "scale_factor": 1e-4,
        "units": "digital_counts",
    }
    eopf = {**encoding, **_dimensions(), "eopf_is_masked": True, "eopf_target_dtype": "<f8"}
    return {"_eopf_attrs": eopf, **encoding, "valid_min": 1, "valid_max": 65_535, **_grid(product, pixel_of(band))}


def _grid(product: Product, pixel: int) -> dict[str, object]:
    return {
        "proj:bbox": list(product.bounds()),
        "proj:epsg": EPSG,
        "proj:shape": list(_shape(product, pixel)),
        "proj:transform": list(transform(pixel)),
        "proj:wkt2": rasterio.crs.CRS.from_epsg(EPSG).to_wkt(),
    }


def _discovery(product: Product) -> dict[str, Any]:
    """Attributes of the root: a STAC item that describes the product, and metadata that STAC does not cover."""
    corners = product.footprint()
    longitudes, latitudes = zip(*corners, strict=True)
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [f"https://stac-extensions.github.io/{name}/schema.json" for name in _EXTENSIONS],
        "id": f"{product.name}.SAFE",
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "geometry": {"type": "Polygon", "coordinates": [[list(corner) for corner in [*corners, corners[0]]]]},
        "properties": _properties(product),
        "links": [{"href": "./.zattrs.json", "rel": "self", "type": "application/json"}],
        "assets": {},
    }
    other = {
        "eopf_category": "eoproduct",
        "horizontal_CRS_code": CRS,
        "horizontal_CRS_name": "WGS84 / UTM zone 32N",
        "mean_sensing_time": iso(product.sensed),
    }
    return {"other_metadata": other, "stac_discovery": item}


_EXTENSIONS = ("eopf/v1.0.0", "eo/v1.1.0", "sat/v1.0.0", "processing/v1.2.0", "product/v0.1.0")


def _properties(product: Product) -> dict[str, object]:
    sensing = iso(product.scene.overpass.time)
    return {
        # The samples give the interval of the datatake but no instant.
        "datetime": None,
        "start_datetime": sensing,
        "end_datetime": sensing,
        "created": iso(product.processed),
        "constellation": "sentinel-2",
        "platform": f"sentinel-{product.platform[1:].lower()}",
        "instrument": "msi",
        "eo:cloud_cover": product.cloud_cover(),
        "eo:snow_cover": product.percentages()["snow_ice"],
        "eopf:baseline": product.baseline,
        "eopf:data_take_id": product.datatake,
        "eopf:instrument_mode": "INS-NOBS",
        "processing:level": "L2A",
        "processing:version": "",
        "product:type": "S02MSIL2A",
        "proj:bbox": list(product.bounds()),
        "proj:epsg": EPSG,
        "sat:absolute_orbit": product.absolute_orbit,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": product.scene.overpass.orbit,
    }
