"""Metadata of a SAFE product: the elements of MTD_MSIL2A.xml and MTD_TL.xml that image readers use."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from mlc_dask.worlds.formats.products import Product, iso
from mlc_dask.worlds.formats.xml import node
from mlc_dask.worlds.scenes import CRS, LEFT, TOP

_SCHEMAS = "https://psd-14.sentinel2.eo.esa.int/PSD"
_PHYSICAL_BANDS = (
    ("B1", 60, 442.7), ("B2", 10, 492.7), ("B3", 10, 559.8), ("B4", 10, 664.6), ("B5", 20, 704.1), ("B6", 20, 740.5),
    ("B7", 20, 782.8), ("B8", 10, 832.8), ("B8A", 20, 864.7), ("B9", 60, 945.1), ("B10", 60, 1373.5),
    ("B11", 20, 1613.7), ("B12", 20, 2202.4),
)  # fmt: skip
"""Name, pixel size and central wavelength of every band of the instrument, in the order of band identifiers."""

_SCENE_CLASSES = (
    "SC_NODATA", "SC_SATURATED_DEFECTIVE", "SC_DARK_FEATURE_SHADOW", "SC_CLOUD_SHADOW", "SC_VEGETATION",
    "SC_NOT_VEGETATED", "SC_WATER", "SC_UNCLASSIFIED", "SC_CLOUD_MEDIUM_PROBA", "SC_CLOUD_HIGH_PROBA",
    "SC_THIN_CIRRUS", "SC_SNOW_ICE",
)  # fmt: skip


def product_metadata(product: Product, images: Sequence[str]) -> Element:
    """MTD_MSIL2A.xml of a product with the given `images` (relative paths without file endings)."""
    general = node("n1:General_Info", _product_info(product, images), _image_characteristics(product))
    return _document("User_Product_Level-2A", "Level-2A_User_Product", general, _footprint(product), _quality(product))


def tile_metadata(product: Product) -> Element:
    """MTD_TL.xml of a product."""
    general = node(
        "n1:General_Info",
        node("TILE_ID", product.granule, metadataLevel="Brief"),
        node("DATASTRIP_ID", product.datastrip, metadataLevel="Standard"),
        node("DOWNLINK_PRIORITY", "NOMINAL", metadataLevel="Standard"),
        node("SENSING_TIME", iso(product.sensed), metadataLevel="Standard"),
    )
    geometric = node("n1:Geometric_Info", _geocoding(product))
    return _document("S2_PDI_Level-2A_Tile_Metadata", "Level-2A_Tile_ID", general, geometric)


def _document(schema: str, root: str, *parts: Element) -> Element:
    address = f"{_SCHEMAS}/{schema}.xsd"
    names = {"xmlns:n1": address, "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"}
    return node(f"n1:{root}", *parts, **names, **{"xsi:schemaLocation": address})


def _product_info(product: Product, images: Sequence[str]) -> Element:
    sensing, overpass = iso(product.scene.overpass.time), product.scene.overpass
    datatake = node(
        "Datatake",
        node("SPACECRAFT_NAME", f"Sentinel-2{product.platform[-1]}"),
        node("DATATAKE_TYPE", "INS-NOBS"),
        node("DATATAKE_SENSING_START", sensing),
        node("SENSING_ORBIT_NUMBER", overpass.orbit),
        node("SENSING_ORBIT_DIRECTION", "DESCENDING"),
        datatakeIdentifier=product.datatake,
    )
    granule = node(
        "Granule",
        *(node("IMAGE_FILE", image) for image in images),
        datastripIdentifier=product.datastrip,
        granuleIdentifier=product.granule,
        imageFormat="JPEG2000",
    )
    return node(
        "Product_Info",
        node("PRODUCT_START_TIME", sensing),
        node("PRODUCT_STOP_TIME", sensing),
        node("PRODUCT_URI", f"{product.name}.SAFE"),
        node("PROCESSING_LEVEL", "Level-2A"),
        node("PRODUCT_TYPE", "S2MSI2A"),
        node("PROCESSING_BASELINE", product.baseline),
        node("GENERATION_TIME", iso(product.processed)),
        datatake,
        node("Query_Options", node("PRODUCT_FORMAT", "SAFE_COMPACT"), completeSingleTile="true"),
        node("Product_Organisation", node("Granule_List", granule)),
    )


def _image_characteristics(product: Product) -> Element:
    special = [
        node("Special_Values", node("SPECIAL_VALUE_TEXT", text), node("SPECIAL_VALUE_INDEX", value))
        for text, value in (("NODATA", 0), ("SATURATED", 65_535))
    ]
    quantification = node("QUANTIFICATION_VALUES_LIST", node("BOA_QUANTIFICATION_VALUE", 10_000, unit="none"))
    # Products before baseline 04.00 do not have this element.
    offsets = [node("BOA_ADD_OFFSET", product.add_offset, band_id=i) for i in range(len(_PHYSICAL_BANDS))]
    shift = [node("BOA_ADD_OFFSET_VALUES_LIST", *offsets)] if product.shifted else []
    bands = [
        node(
            "Spectral_Information",
            node("RESOLUTION", pixel),
            node("Wavelength", node("CENTRAL", wavelength, unit="nm")),
            bandId=i,
            physicalBand=name,
        )
        for i, (name, pixel, wavelength) in enumerate(_PHYSICAL_BANDS)
    ]
    classes = [
        node("Scene_Classification_ID", node("SCENE_CLASSIFICATION_TEXT", t), node("SCENE_CLASSIFICATION_INDEX", i))
        for i, t in enumerate(_SCENE_CLASSES)
    ]
    return node(
        "Product_Image_Characteristics",
        *special,
        quantification,
        *shift,
        node("Spectral_Information_List", *bands),
        node("Scene_Classification_List", *classes),
    )


def _footprint(product: Product) -> Element:
    corners = product.footprint()
    ring = " ".join(f"{latitude} {longitude}" for longitude, latitude in [*corners, corners[0]])
    footprint = node("Product_Footprint", node("Global_Footprint", node("EXT_POS_LIST", ring)))
    system = node("Coordinate_Reference_System", node("HORIZONTAL_CS_TYPE", "GEOGRAPHIC"))
    return node("n1:Geometric_Info", node("Product_Footprint", footprint), system)


def _quality(product: Product) -> Element:
    shares = [node(f"{name.upper()}_PERCENTAGE", f"{share:.6f}") for name, share in product.percentages().items()]
    return node(
        "n1:Quality_Indicators_Info",
        node("Cloud_Coverage_Assessment", f"{product.cloud_cover():.6f}"),
        node("Technical_Quality_Assessment", node("DEGRADED_MSI_DATA_PERCENTAGE", 0)),
        node("Image_Content_QI", *shares),
    )


def _geocoding(product: Product) -> Element:
    """Grids of the tile with their true size; a world is smaller than a whole tile."""
    rows, columns = product.scene.scl.shape
    sizes, positions = [], []
    for pixel in (10, 20):
        times = 20 // pixel
        sizes.append(node("Size", node("NROWS", rows * times), node("NCOLS", columns * times), resolution=pixel))
        corner = (node("ULX", LEFT), node("ULY", TOP), node("XDIM", pixel), node("YDIM", -pixel))
        positions.append(node("Geoposition", *corner, resolution=pixel))
    return node(
        "Tile_Geocoding",
        node("HORIZONTAL_CS_NAME", "WGS84 / UTM zone 32N"),
        node("HORIZONTAL_CS_CODE", CRS),
        *sizes,
        *positions,
        metadataLevel="Brief",
    )
