"""EOPF products as granules: time, location and packing from their attributes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError  # noqa: N812

import numpy as np
import zarr
from affine import Affine
from zarr.storage import ZipStore

from mlc_dask.data.acquisitions import Asset, Granule, utc
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid

NAME = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L\w\w)_(?P<time>\d{8}T\d{6})_N(?P<major>\d\d)(?P<minor>\d\d)"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\d{2}[A-Z]{3})_(?P<made>\d{8}T\d{6})"
)
# Replaces NaN as the no-data value of floats: no reflectance is this low.
_EMPTY = -9999
# Exceptions of zarr and its codecs for damaged files.
DAMAGE = (OSError, RuntimeError, ValueError, KeyError, EOFError, ZlibError, BadZipFile)


def root_of(product: Path) -> dict[str, Any]:
    """Attributes of the product; refuses a product that is not Level-2A.

    Raises
    ------
    InputError
        If the metadata cannot be read, or the product is Level-1C.
    """
    try:
        # The consolidated metadata takes half a megabyte and describes arrays that are not needed.
        root = dict(zarr.open_group(_store(product), mode="r", use_consolidated=False).attrs)
    except DAMAGE as error:
        raise InputError(f"{product}: its metadata cannot be read ({error}); download the product again") from error
    item = _stac(root)
    name, kind = NAME.search(f"{item['id']} {product.name}"), str(item["properties"].get("product:type"))
    if kind.endswith("L1C") or (name and name["level"] != "L2A"):
        raise InputError(f"{product} is Level-1C, not surface reflectance; replace it by its Level-2A product")
    return root


def _store(product: Path) -> str | ZipStore:
    return ZipStore(product, mode="r") if product.suffix == ".zip" else str(product)


def _stac(root: Mapping[str, Any]) -> dict[str, Any]:
    """STAC item that describes the product, without its null properties."""
    item = dict(root.get("stac_discovery") or {})
    known = {name: value for name, value in (item.get("properties") or {}).items() if value not in (None, "", "null")}
    return {"id": "", **item, "properties": known}


def array_of(product: Path, layer: str) -> zarr.Array[Any]:
    """Open one array of a product.

    Raises
    ------
    InputError
        If the array is missing, or its metadata cannot be read.
    """
    try:
        return zarr.open_array(_store(product), path=layer, mode="r")
    except FileNotFoundError:
        raise InputError(
            f"{product} has no array {layer}; download the Level-2A product again, or correct source.bands"
        ) from None
    except DAMAGE as error:
        raise InputError(f"{product}: metadata of {layer} cannot be read ({error}); download it again") from error


def packing_of(array: zarr.Array[Any], where: str) -> tuple[float, float, int]:
    """Scale, offset and no-data value of an array, from its attributes alone: never from the baseline or the date.

    Raises
    ------
    InputError
        If floats have a scale or an offset, or integers have no scale.
    """
    own: dict[str, Any] = dict(array.attrs)
    scale, offset = own.get("scale_factor"), float(own.get("add_offset") or 0.0)
    if array.dtype.kind == "f":
        if (scale or 1.0, offset) != (1.0, 0.0):
            raise InputError(f"{where}: floats with a scale_factor may be scaled already; use a product with integers")
        return 1.0, 0.0, _EMPTY
    if scale is None:
        raise InputError(f"{where} has no scale_factor, so reflectance is unknown; download the product from ESA again")
    return float(scale), offset, int(own.get("_FillValue", own.get("fill_value")) or 0)


def centres(layer: str) -> tuple[str, str]:
    """Paths of the arrays that hold the pixel centres of an array, y and x."""
    group = layer.rpartition("/")[0]
    return f"{group}/y", f"{group}/x"


def grid_of(product: Path, layer: str, array: zarr.Array[Any], root: Mapping[str, Any]) -> Grid:
    """Grid of an array, derived from the pixel centres that are stored beside it.

    Raises
    ------
    InputError
        If dimensions or shape do not match y and x, or these are not regular steps east and south.
    """
    where = f"{product}, {layer}"
    order: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if list(order or ()) != ["y", "x"]:
        raise InputError(f"{where} has dimensions {order}, expected y and x; download the product from ESA again")
    y, x = (np.asarray(array_of(product, path)[:], float) for path in centres(layer))
    if array.shape != (len(y), len(x)) or min(array.shape) < 2:
        raise InputError(
            f"{where} has shape {array.shape}, but y and x have {len(y)} and {len(x)} values; download it again"
        )
    pixel = (x[-1] - x[0]) / (len(x) - 1)
    even = all(np.allclose(np.diff(c), step, rtol=1e-3) for c, step in ((x, pixel), (y, -pixel)))
    if not even or pixel <= 0:
        raise InputError(f"{where}: x and y are not regular steps east and south; download the product again")
    corner = Affine(pixel, 0, x[0] - pixel / 2, 0, -pixel, y[0] + pixel / 2)
    return Grid.at(_crs(array, root, where), corner, array.shape, where)


def _crs(array: zarr.Array[Any], root: Mapping[str, Any], where: str) -> str:
    """CRS of an array. The array, the item and the other metadata must name the same one."""
    other = {name.lower(): value for name, value in (root.get("other_metadata") or {}).items()}
    named = [own.get(f"proj:{n}") for own in (array.attrs, _stac(root)["properties"]) for n in ("epsg", "code")]
    codes = {f"EPSG:{str(t).upper().removeprefix('EPSG:')}" for t in (*named, other.get("horizontal_crs_code")) if t}
    if len(codes) != 1:
        have = f"is in {' and '.join(sorted(codes))} at once" if codes else "has no CRS (proj:epsg, proj:code)"
        raise InputError(f"{where} {have}; download the product again")
    return codes.pop()


def described(product: Path, root: Mapping[str, Any], assets: Mapping[str, Asset], grid: Grid) -> Granule:
    """Granule from the STAC item in the product's attributes, completed from the product's name.

    ``processing:version`` is not the baseline, but the version of the converter.
    """
    item, other = _stac(root), root.get("other_metadata") or {}
    own = item["properties"]
    match = NAME.search(f"{item['id']} {product.name}")
    name = match.groupdict() if match else {}
    ids = f"{own.get('eopf:datastrip_id')} {own.get('eopf:datatake_id', own.get('eopf:data_take_id'))}"
    baseline, strip = re.search(r"_N(\d\d\.\d\d)", ids), re.search(r"_S(\d{8}T\d{6})", ids)
    orbit, letter = own.get("sat:relative_orbit", name.get("orbit")), str(own.get("platform", ""))[-1:].upper()
    return Granule(
        id=product.name.removesuffix(".zip").removesuffix(".zarr"),
        time=_time(own.get("datetime") or own.get("start_datetime") or name.get("time"), product),
        assets=assets,
        platform=name.get("platform") or (f"S2{letter}" if letter else ""),
        orbit=int(orbit) if orbit is not None else None,
        tile=name.get("tile") or "",
        baseline=f"{name['major']}.{name['minor']}" if name else baseline.group(1) if baseline else "",
        # Two datastrips of one datatake share one time; where no datastrip is named, the tiles' sensing times differ.
        strip=strip.group(1) if strip else str(other.get("mean_sensing_time") or "")[:19],
        processed=name.get("made") or re.sub(r"[-:]", "", str(own.get("created", "")))[:15],
        cloud=float(own["eo:cloud_cover"]) / 100 if "eo:cloud_cover" in own else None,
        grid=grid,
    )


def _time(text: str | None, product: Path) -> datetime:
    """Sensing time, UTC."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        raise InputError(f"{product}: sensing time {text!r} is not a date; download the product again") from None
    return utc(time)
