"""The conventions of four catalogues for names and metadata of Sentinel-2 L2A products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlc_dask.worlds.covers import BANDS
from mlc_dask.worlds.formats.products import TILE, Product
from mlc_dask.worlds.formats.rasters import transform
from mlc_dask.worlds.formats.stac_properties import (
    Fields,
    copernicus,
    copernicus_id,
    earth_search,
    earth_search_c1,
    earth_search_c1_id,
    earth_search_id,
    planetary_computer,
    planetary_computer_id,
)
from mlc_dask.worlds.scenes import CRS, pixel_of

_COLOURS = {
    "B02": ("blue", 0.49, 0.098),
    "B03": ("green", 0.56, 0.045),
    "B04": ("red", 0.665, 0.038),
    "B05": ("rededge1", 0.704, 0.019),
    "B06": ("rededge2", 0.74, 0.018),
    "B07": ("rededge3", 0.783, 0.028),
    "B08": ("nir", 0.842, 0.145),
    "B8A": ("nir08", 0.865, 0.033),
    "B11": ("swir16", 1.61, 0.143),
    "B12": ("swir22", 2.19, 0.242),
}
"""Common name, and central wavelength and width in micrometres."""

LAYERS = (*BANDS, "SCL")


@dataclass(frozen=True)
class Flavour:
    """The conventions of one catalogue.

    Attributes
    ----------
    collection, version, extensions
        Collection, STAC version and extensions of the items.
    identifier, properties
        Identifier and properties of the item of a product.
    key, file
        Asset key and file name (with ending) of a band or ``SCL``.
    radiometry
        Fields of an asset that describe how its numbers become reflectance.
    harmonised
        Whether the catalogue removed the offset of baselines from 04.00 on from the pixels.
    """

    collection: str
    version: str
    extensions: tuple[str, ...]
    identifier: Callable[[Product], str]
    properties: Callable[[Product], Fields]
    key: Callable[[str], str]
    file: Callable[[Product, str], str]
    radiometry: Callable[[Product, str], Fields]
    harmonised: bool = False


def _plain_file(product: Product, layer: str) -> str:
    return f"{layer}.tif"


def _safe_cog(product: Product, layer: str) -> str:
    return f"T{TILE}_{product.sensing}_{_sampled_key(layer)}.tif"


def _safe_jp2(product: Product, layer: str) -> str:
    return f"T{TILE}_{product.sensing}_{_sampled_key(layer)}.jp2"


def _sampled_key(layer: str) -> str:
    return f"{layer}_{pixel_of(layer)}m"


def _colour_key(layer: str) -> str:
    return _COLOURS[layer][0] if layer in _COLOURS else layer.lower()


def _eo_bands(layer: str, name: str) -> Fields:
    if layer not in _COLOURS:
        return {}
    common, wavelength, width = _COLOURS[layer]
    spectrum = {"common_name": common, "center_wavelength": wavelength, "full_width_half_max": width}
    return {"eo:bands": [{"name": name, **spectrum}]}


def _raster_bands(product: Product, layer: str) -> Fields:
    """Give the offset of the baseline; the older Earth Search collection gives it although its pixels have none."""
    band: Fields = {"nodata": 0, "data_type": "uint8", "spatial_resolution": pixel_of(layer)}
    if layer in _COLOURS:
        band |= {"data_type": "uint16", "scale": 1e-4, "offset": 1e-4 * product.add_offset}
    return {**_eo_bands(layer, _colour_key(layer)), "raster:bands": [band]}


def _no_radiometry(product: Product, layer: str) -> Fields:
    """Give no offset, since it follows from the baseline."""
    return {**_eo_bands(layer, layer), "proj:bbox": list(product.bounds())}


def _raster_fields(product: Product, layer: str) -> Fields:
    """Give the offset in the fields of STAC 1.1."""
    fields: Fields = {"nodata": 0, "data_type": "uint8", "proj:code": CRS, "proj:bbox": list(product.bounds())}
    if layer in _COLOURS:
        fields |= {"data_type": "uint16", "raster:scale": 1e-4, "raster:offset": 1e-4 * product.add_offset}
        common, wavelength, width = _COLOURS[layer]
        spectrum = {"common_name": common, "center_wavelength": wavelength, "full_width_half_max": width}
        fields["bands"] = [{"name": layer, **{f"eo:{name}": value for name, value in spectrum.items()}}]
    return fields


def grid_fields(product: Product, layer: str) -> Fields:
    """Pixel size, shape and transform of an asset."""
    pixel = pixel_of(layer)
    shape = [side * 20 // pixel for side in product.scene.scl.shape]
    return {"gsd": pixel, "proj:shape": shape, "proj:transform": list(transform(pixel))[:6]}


_EARTH_SEARCH = ("eo/v1.1.0", "grid/v1.1.0", "mgrs/v1.0.0", "projection/v1.1.0", "raster/v1.1.0")

FLAVOURS: Mapping[str, Flavour] = {
    "earth-search-c1": Flavour(
        collection="sentinel-2-c1-l2a",
        version="1.0.0",
        extensions=_EARTH_SEARCH,
        identifier=earth_search_c1_id,
        properties=earth_search_c1,
        key=_colour_key,
        file=_plain_file,
        radiometry=_raster_bands,
    ),
    "earth-search": Flavour(
        collection="sentinel-2-l2a",
        version="1.0.0",
        extensions=_EARTH_SEARCH,
        identifier=earth_search_id,
        properties=earth_search,
        key=_colour_key,
        file=_plain_file,
        radiometry=_raster_bands,
        harmonised=True,
    ),
    "planetary-computer": Flavour(
        collection="sentinel-2-l2a",
        version="1.0.0",
        extensions=("eo/v1.0.0", "sat/v1.0.0", "projection/v1.0.0"),
        identifier=planetary_computer_id,
        properties=planetary_computer,
        key=str,
        file=_safe_cog,
        radiometry=_no_radiometry,
    ),
    "cdse": Flavour(
        collection="sentinel-2-l2a",
        version="1.1.0",
        extensions=(
            "eo/v2.0.0",
            "grid/v1.1.0",
            "processing/v1.2.0",
            "projection/v2.0.0",
            "raster/v2.0.0",
            "sat/v1.1.0",
        ),
        identifier=copernicus_id,
        properties=copernicus,
        key=_sampled_key,
        file=_safe_jp2,
        radiometry=_raster_fields,
    ),
}
