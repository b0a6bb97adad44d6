"""STAC items of Sentinel-2 L2A as granules, for items of any catalogue (method section 1)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pystac
from affine import Affine

from mlc_dask.data.acquisitions import Asset, Granule, utc
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.io.checksums import of_multihash
from mlc_dask.io.sources.granules import MASK, understood
from mlc_dask.storage.durable import local

_PRODUCT = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L\w\w)_\d{8}T\d{6}_(?:N(?P<major>\d\d)(?P<minor>\d\d)_)?"
    r"(?:R(?P<orbit>\d{3})_)?(?:T(?P<tile>\d{2}[A-Z]{3}))?"
)
_TILE = re.compile(r"_T?(\d{1,2}[C-X][A-Z]{2})(?=_|$)")
_STRIP = re.compile(r"_S(\d{8}T\d{6})")

_SHIFTED_SINCE = (4, 0)
"""First processing baseline whose digital numbers include an offset of 1000."""
_SCALE, _SHIFT = 1e-4, -0.1

Properties = Mapping[str, Any]


def granule_of(item: pystac.Item, bands: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> Granule:
    """Read a granule from an item's metadata.

    Parameters
    ----------
    bands
        Names of the bands, and of the mask, that the granule must have.
    aliases
        Possible asset names of every band in an item.

    Raises
    ------
    InputError
        For Level-1C, missing assets, metadata of invalid types, and metadata without the radiometric offset.
    """
    with understood(f"{item.id}: its metadata is invalid", "correct the item, or leave it out"):
        return _granule(item, bands, aliases)


def _granule(item: pystac.Item, bands: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> Granule:
    own, name = item.properties, _product_name(item)
    parts = _PRODUCT.search(name)
    name_parts = parts.groupdict() if parts else {}
    _refuse_level_1(item, name_parts.get("level"))
    baseline = _baseline(own, name_parts)
    keys = {band: _key(item, band, aliases.get(band, (band,))) for band in bands}
    assets = {band: _asset(item, key, baseline, mask=band == MASK) for band, key in keys.items()}
    orbit = own.get("sat:relative_orbit", name_parts.get("orbit"))
    return Granule(
        id=item.id,
        time=_time(item),
        assets=assets,
        platform=_platform(own, name_parts),
        orbit=int(orbit) if orbit is not None else None,
        tile=_tile(own, name_parts, item.id),
        baseline=baseline,
        strip=_first(_STRIP, str(own.get("s2:datastrip_id") or own.get("eopf:datastrip_id") or "")),
        processed=str(_of(own, "s2:generation_time", "processing:datetime", "created") or name),
        cloud=_share(own.get("eo:cloud_cover")),
        missing=_missing(own),
        grid=_grid(item, list(keys.values())),
    )


def tile_of(item: pystac.Item) -> str | None:
    """MGRS tile of an item; None where its metadata and its name do not state it."""
    parts = _PRODUCT.search(_product_name(item))
    return _tile(item.properties, parts.groupdict() if parts else {}, item.id) or None


def _product_name(item: pystac.Item) -> str:
    own = item.properties
    return str(own.get("s2:product_uri") or own.get("sentinel:product_id") or item.id)


def _refuse_level_1(item: pystac.Item, level: str | None) -> None:
    kind = str(item.properties.get("s2:product_type", ""))
    if level == "L1C" or kind.endswith("1C") or str(item.collection_id).endswith("l1c"):
        raise InputError(f"{item.id} is Level-1C, not surface reflectance; search a Level-2A collection")


def _key(item: pystac.Item, band: str, names: Sequence[str]) -> str:
    for name in names:
        if name in item.assets:
            return name
    raise InputError(f"{item.id} has no asset for {band} (expected {', '.join(names)}); set source.assets")


def _asset(item: pystac.Item, key: str, baseline: str, *, mask: bool) -> Asset:
    scale, offset = (1.0, 0.0) if mask else _packing(item, key, baseline)
    nodata, told = _nodata(_raster_metadata(item.assets[key]))
    stated = item.assets[key].extra_fields
    size, checksum = stated.get("file:size"), stated.get("file:checksum")
    return Asset(
        _href(item, key), scale, offset, nodata,
        size=None if size is None else int(size), digest=None if checksum is None else of_multihash(str(checksum)),
        nodata_stated=told,
    )  # fmt: skip


def _href(item: pystac.Item, key: str) -> str:
    href = item.assets[key].get_absolute_href()
    if href is None:
        raise InputError(
            f"{item.id}: {key} has a relative href, but the item no self link; read the item through its catalogue"
        )
    return local(href)


def _packing(item: pystac.Item, key: str, baseline: str) -> tuple[float, float]:
    """Scale and offset of an asset.

    The first of these decides: a flag that the catalogue has applied the offset, an offset of the raster metadata that
    no processing baseline has, the baseline, the raster metadata. Of the offsets 0 and -0.1 the baseline decides,
    because catalogues state one of them for all items. The date never decides.
    """
    raster = _raster_metadata(item.assets[key])
    shifted = tuple(int(p) for p in baseline.split(".")) >= _SHIFTED_SINCE if baseline else None
    if _of(item.properties, "earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        offset = 0.0
    elif "offset" in raster and not any(math.isclose(float(raster["offset"]), o, abs_tol=1e-9) for o in (0, _SHIFT)):
        offset = float(raster["offset"])
    elif shifted is not None:
        offset = _SHIFT if shifted else 0.0
    elif "offset" in raster:
        offset = float(raster["offset"])
    else:
        raise InputError(
            f"{item.id}: its metadata has neither a processing baseline nor an offset, so reflectance is unknown; "
            "take the item from another catalogue, or correct it"
        )
    return float(raster.get("scale") or _SCALE), offset


def _nodata(raster: Mapping[str, Any]) -> tuple[int | float | None, bool]:
    """No-data value, None for floats without data where they are NaN, and whether the metadata states it."""
    if raster.get("nodata") is None:
        return 0, False
    value = float(raster["nodata"])
    if math.isnan(value):
        floats = str(raster.get("data_type", "")).startswith("float")
        return (None, True) if floats else (0, False)
    return (int(value) if value.is_integer() and abs(value) < 2**53 else value), True


def _raster_metadata(asset: pystac.Asset) -> Mapping[str, Any]:
    """Scale, offset and no-data value, in the spelling of any STAC version."""
    extra = asset.extra_fields
    for name in ("raster:bands", "bands"):
        first = (extra.get(name) or [{}])[0]
        found = {key.removeprefix("raster:"): value for key, value in first.items()}
        if found.keys() & {"scale", "offset", "nodata"}:
            return found
    return {key.removeprefix("raster:"): v for key, v in extra.items() if key in _FLAT}


_FLAT = ("raster:scale", "raster:offset", "nodata")


def _time(item: pystac.Item) -> datetime:
    time = item.datetime or item.common_metadata.start_datetime
    if time is None:
        raise InputError(f"{item.id} has no datetime; correct the item")
    return utc(time)


def _baseline(own: Properties, name_parts: Mapping[str, str | None]) -> str:
    for name in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        found = re.fullmatch(r"(\d{2})\.(\d{2})", str(own.get(name, "")))
        if found:
            return found.group()
    return f"{name_parts['major']}.{name_parts['minor']}" if name_parts.get("major") else ""


def _platform(own: Properties, name_parts: Mapping[str, str | None]) -> str:
    letter = str(own.get("platform", ""))[-1:].upper()
    return f"S2{letter}" if letter in ("A", "B", "C", "D") else name_parts.get("platform") or ""


def _tile(own: Properties, name_parts: Mapping[str, str | None], name: str) -> str:
    square = [own.get(f"mgrs:{p}") for p in ("utm_zone", "latitude_band", "grid_square")]
    found = (
        own.get("s2:mgrs_tile")
        or str(own.get("grid:code", "")).removeprefix("MGRS-")
        or ("".join(map(str, square)) if all(square) else "")
        or name_parts.get("tile")
        or _first(_TILE, name)
    )
    return str(found).removeprefix("T").zfill(5) if found else ""


def _missing(own: Properties) -> float | None:
    empty = own.get("s2:nodata_pixel_percentage", (own.get("statistics") or {}).get("nodata"))
    if empty is None and own.get("data_coverage") is not None:
        empty = 100 - float(own["data_coverage"])
    return _share(empty)


def _share(percent: Any) -> float | None:
    return min(1.0, max(0.0, float(percent) / 100)) if percent is not None else None


def _of(own: Properties, *names: str) -> Any:
    """Value of the first of `names` that `own` has."""
    return next((own[name] for name in names if own.get(name)), None)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""


def _grid(item: pystac.Item, keys: Sequence[str]) -> Grid | None:
    """Grid of the finest asset; None where the metadata does not give a grid."""
    grids = [g for key in keys if (g := _asset_grid(item, item.assets[key])) is not None]
    return min(grids, key=lambda g: g.pixel, default=None)


def _asset_grid(item: pystac.Item, asset: pystac.Asset) -> Grid | None:
    def value(name: str) -> Any:
        return asset.extra_fields.get(name, item.properties.get(name))

    crs = value("proj:code") or (f"EPSG:{value('proj:epsg')}" if value("proj:epsg") else value("proj:wkt2"))
    transform, shape = value("proj:transform"), value("proj:shape")
    if not (crs and transform and shape):
        return None
    return Grid.at(str(crs), Affine(*transform[:6]), (int(shape[0]), int(shape[1])), f"{item.id}")
