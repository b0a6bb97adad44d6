"""Theia: the MAJA products that CNES distributes, with flat reflectance and a bit field of clouds."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from mlc_dask.worlds.formats.products import TILE, Product, iso
from mlc_dask.worlds.formats.rasters import write_geotiff
from mlc_dask.worlds.formats.xml import node, write_xml
from mlc_dask.worlds.scenes import CRS, EPSG, FINE, LEFT, TOP, Classes, Scene, pixel_of
from mlc_dask.worlds.weather import CIRRUS, CLOUD_HIGH, CLOUD_MEDIUM, NO_DATA, SHADOW

_VERSION = "1.4"
_NODATA = -10_000
_GROUPS = {"R1": 10, "R2": 20}
_CLOUD_BITS = {CLOUD_MEDIUM: 0b0000_1111, CLOUD_HIGH: 0b0000_1111, CIRRUS: 0b1000_0011, SHADOW: 0b0010_0001}
"""Bits of the cloud mask: 0 all clouds and shadows, 1 all clouds, 2 and 3 cloud tests, 5 shadow, 7 cirrus band."""


def write(folder: Path, scene: Scene, *, baseline: str = "05.10") -> Path:
    """Write ``SENTINEL2A_<time>_L2A_T<tile>_D_V1-4``; return its path.

    MAJA has its own atmospheric correction, so the numbers do not depend on the baseline of the level 1C product. They
    are reflectance * 10000 (int16), and -10000 for no data, without a tag for it.
    """
    product = Product(scene, baseline)
    name = f"{_identifier(product)}_V{_VERSION.replace('.', '-')}"
    target = folder / name
    for band, dn in scene.dn.items():
        values = np.where(dn > 0, np.minimum(dn, np.iinfo(np.int16).max), _NODATA).astype(np.int16)
        write_geotiff(target / f"{name}_FRE_{_theia(band)}.tif", values, pixel_of(band), nodata=None)
    for group, pixel in _GROUPS.items():
        for kind, mask in (("CLM", _clouds(scene.scl)), ("EDG", (scene.scl == NO_DATA).astype(np.uint8))):
            fine = mask.repeat(20 // pixel, 0).repeat(20 // pixel, 1)
            write_geotiff(target / "MASKS" / f"{name}_{kind}_{group}.tif", fine, pixel, nodata=None)
    write_xml(target / f"{name}_MTD_ALL.xml", _metadata(product, name))
    return target


def _clouds(scl: Classes) -> Classes:
    """Bit field (rows, columns) uint8 of the cloud and shadow classes of the scene classification; 0 is clear."""
    bits = np.zeros(256, np.uint8)
    bits[list(_CLOUD_BITS)] = list(_CLOUD_BITS.values())
    clouds: Classes = bits[scl]
    return clouds


def _theia(band: str) -> str:
    """Name of a band without leading zero, such as ``B2``."""
    return band.replace("B0", "B")


def _identifier(product: Product) -> str:
    time = product.sensed
    moment = f"{time:%Y%m%d-%H%M%S}-{time.microsecond // 1000:03d}"
    return f"SENTINEL{product.platform[1:]}_{moment}_L2A_T{TILE}_D"


def _metadata(product: Product, name: str) -> Element:
    quality = node("Global_Index_List", node("QUALITY_INDEX", round(product.cloud_cover()), name="CloudPercent"))
    qualities = node("Product_Quality_List", node("Product_Quality", quality), level="N2")
    return node(
        "Muscate_Metadata_Document",
        node("Metadata_Identification", node("METADATA_FORMAT", "METADATA_MUSCATE", version="1.16")),
        node(
            "Dataset_Identification",
            node("IDENTIFIER", _identifier(product)),
            node("AUTHORITY", "THEIA"),
            node("PRODUCER", "MUSCATE"),
            node("PROJECT", "SENTINEL2"),
            node("GEOGRAPHICAL_ZONE", f"T{TILE}", type="Tile"),
        ),
        _characteristics(product),
        node("Product_Organisation", _files(name, list(product.scene.dn))),
        _geoposition(product),
        node(
            "Radiometric_Informations",
            node("REFLECTANCE_QUANTIFICATION_VALUE", "10000.0"),
            node("Special_Values_List", node("SPECIAL_VALUE", f"{_NODATA}.0", name="nodata")),
        ),
        node("Quality_Informations", node("Current_Product", qualities)),
    )


def _characteristics(product: Product) -> Element:
    bands = list(product.scene.dn)
    members = {"R1": [b for b in bands if b in FINE], "R2": [b for b in bands if b not in FINE]}
    groups = [node("Group", _bands("Band_List", b), group_id=group) for group, b in members.items()]
    acquired = iso(product.sensed)
    return node(
        "Product_Characteristics",
        node("PRODUCT_ID", _identifier(product)),
        node("ACQUISITION_DATE", acquired),
        node("PRODUCTION_DATE", iso(product.processed)),
        node("PRODUCT_VERSION", _VERSION),
        node("PRODUCT_LEVEL", "L2A"),
        node("PLATFORM", f"SENTINEL{product.platform[1:]}"),
        node("UTC_Acquisition_Range", node("MEAN", acquired), node("DATE_PRECISION", 0.001, unit="s")),
        node("ORBIT_NUMBER", product.absolute_orbit, type="Absolute"),
        _bands("Band_Global_List", bands),
        node("Band_Group_List", *groups),
    )


def _bands(tag: str, bands: list[str]) -> Element:
    return node(tag, *(node("BAND_ID", _theia(band)) for band in bands), count=len(bands))


def _files(name: str, bands: list[str]) -> Element:
    paths = [node("IMAGE_FILE", f"{name}_FRE_{_theia(band)}.tif", band_id=_theia(band)) for band in bands]
    properties = node("Image_Properties", node("NATURE", "Flat_Reflectance"), node("FORMAT", "image/tiff"))
    masks = [
        node(
            "Mask",
            node("Mask_Properties", node("NATURE", nature), node("FORMAT", "image/tiff")),
            node(
                "Mask_File_List",
                *(node("MASK_FILE", f"MASKS/{name}_{mask}_{group}.tif", group_id=group) for group in _GROUPS),
            ),
        )
        for nature, mask in (("Cloud", "CLM"), ("Edge", "EDG"))
    ]
    images = node("Image_List", node("Image", properties, node("Image_File_List", *paths)))
    return node("Muscate_Product", images, node("Mask_List", *masks))


def _geoposition(product: Product) -> Element:
    system = node(
        "Horizontal_Coordinate_System",
        node("HORIZONTAL_CS_TYPE", "PROJECTED"),
        node("HORIZONTAL_CS_NAME", f"WGS 84 / UTM zone {CRS[-2:]}N"),
        node("HORIZONTAL_CS_CODE", EPSG),
    )
    rows, columns = product.scene.scl.shape
    groups = [
        node(
            "Group_Geopositioning",
            *(node("ULX", LEFT), node("ULY", TOP), node("XDIM", pixel), node("YDIM", -pixel)),
            *(node("NROWS", rows * 20 // pixel), node("NCOLS", columns * 20 // pixel)),
            group_id=group,
        )
        for group, pixel in _GROUPS.items()
    ]
    corners = zip(("upperLeft", "upperRight", "lowerRight", "lowerLeft"), product.footprint(), strict=True)
    points = [node("Point", node("LAT", lat), node("LON", lon), name=name) for name, (lon, lat) in corners]
    return node(
        "Geoposition_Informations",
        node("Coordinate_Reference_System", node("GEO_TABLES", "EPSG"), system),
        node(
            "Geopositioning",
            node("Global_Geopositioning", *points),
            node("Group_Geopositioning_List", *groups),
        ),
    )
