"""Properties and identifiers of Sentinel-2 L2A items in four catalogues."""

from __future__ import annotations

from mlc_dask.worlds.formats.products import TILE, Product, compact, iso
from mlc_dask.worlds.scenes import EPSG

Fields = dict[str, object]

_STATISTICS = {
    "nodata_pixel": "nodata",
    "saturated_defective_pixel": "saturated_defective",
    "dark_features": "dark_area",
}
"""Classes with different names in the Copernicus Data Space."""


def earth_search_c1_id(product: Product) -> str:
    """Platform, tile and sensing start of the datastrip."""
    return f"{product.platform}_T{TILE}_{compact(product.scene.strip)}_L2A"


def earth_search_id(product: Product) -> str:
    """Platform, tile, day, and number of the datastrip on this day."""
    return f"{product.platform}_{TILE}_{product.scene.overpass.time:%Y%m%d}_{_sequence(product)}_L2A"


def planetary_computer_id(product: Product) -> str:
    """Product name without the baseline."""
    return product.name.replace(f"_N{product.baseline.replace('.', '')}", "")


def copernicus_id(product: Product) -> str:
    """Product name."""
    return product.name


def earth_search_c1(product: Product) -> Fields:
    """Properties of an item of Earth Search's Collection 1."""
    return {**_earth_search(product), "s2:tile_id": product.granule}


def earth_search(product: Product) -> Fields:
    """Properties of an item of Earth Search's older collection, which say whether the offset was removed."""
    return {
        **_earth_search(product),
        "s2:granule_id": product.granule,
        "s2:sequence": str(_sequence(product)),
        "earthsearch:boa_offset_applied": product.shifted,
    }


def planetary_computer(product: Product) -> Fields:
    """Properties of an item of Planetary Computer."""
    return {
        "datetime": iso(product.scene.overpass.time),
        "platform": f"Sentinel-{product.platform[1:]}",
        **_identity(product),
        "constellation": "Sentinel 2",
        "s2:mgrs_tile": TILE,
        "s2:granule_id": product.granule,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": product.scene.overpass.orbit,
    }


def copernicus(product: Product) -> Fields:
    """Properties of an item of Copernicus Data Space."""
    shares, time = product.percentages(), iso(product.scene.overpass.time)
    return {
        "datetime": time,
        "start_datetime": time,
        "end_datetime": time,
        "created": iso(product.processed),
        "platform": f"sentinel-{product.platform[1:].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "grid:code": f"MGRS-{TILE}",
        "eo:cloud_cover": round(product.cloud_cover(), 2),
        "eo:snow_cover": shares.pop("snow_ice"),
        "statistics": {_STATISTICS.get(name, name): share for name, share in shares.items()},
        "product:type": "S2MSI2A",
        "processing:level": "L2",
        "processing:version": product.baseline,
        "processing:datetime": iso(product.processed),
        "eopf:datatake_id": product.datatake,
        "eopf:datastrip_id": product.datastrip,
        "eopf:instrument_mode": "INS-NOBS",
        "sat:absolute_orbit": product.absolute_orbit,
        "sat:relative_orbit": product.scene.overpass.orbit,
        "sat:orbit_state": "descending",
    }


def _earth_search(product: Product) -> Fields:
    """Properties common to both Earth Search collections; only the product name contains the relative orbit."""
    return {
        "datetime": iso(product.sensed),
        "created": iso(product.processed),
        "platform": f"sentinel-{product.platform[1:].lower()}",
        **_identity(product),
        "mgrs:utm_zone": int(TILE[:2]),
        "mgrs:latitude_band": TILE[2],
        "mgrs:grid_square": TILE[3:],
        "grid:code": f"MGRS-{TILE}",
    }


def _identity(product: Product) -> Fields:
    """Properties of the Sentinel-2 extension that all catalogues with this extension have."""
    return {
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": product.cloud_cover(),
        "proj:epsg": EPSG,
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": product.baseline,
        "s2:product_uri": f"{product.name}.SAFE",
        "s2:generation_time": iso(product.processed),
        "s2:datatake_id": product.datatake,
        "s2:datatake_type": "INS-NOBS",
        "s2:datastrip_id": product.datastrip,
        **_percentages(product),
    }


def _percentages(product: Product) -> Fields:
    return {f"s2:{name}_percentage": share for name, share in product.percentages().items()}


def _sequence(product: Product) -> int:
    """0 for the first datastrip of a datatake, 1 for the second."""
    return int(product.scene.strip > product.scene.overpass.time)
