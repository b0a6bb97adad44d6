"""The files of an exported folder as STAC assets: their roles, the meaning of their values, and their checksums."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import pystac

from mlc_dask.data.legend import NO_DATA, LandCoverClass
from mlc_dask.runs.records import Record as Origin
from mlc_dask.show.export.cogs import SUFFIXES
from mlc_dask.show.export.layers import Plane
from mlc_dask.show.export.record import Part
from mlc_dask.storage.durable import Entry

ZARR: Final = "application/vnd.zarr; version=3"
_XML: Final = "application/xml"
_SHA256: Final = "1220"
"""Prefix of a sha256 multihash: the code of the function, and the length of the digest in bytes."""


def map_assets(
    planes: Sequence[Plane], origins: Mapping[str, Origin], parts: Mapping[str, Part]
) -> dict[str, pystac.Asset]:
    """Assets of maps that lie in one folder: the GeoTIFF, its style and the names of its values.

    Parameters
    ----------
    origins
        Record of the step behind a layer, by the layer's name.
    parts
        Files of every map, by :attr:`Plane.stem`.
    """
    found: dict[str, pystac.Asset] = {}
    for plane in planes:
        key, part = plane.layer.name, parts[plane.stem]
        tif, names, style = (plane.stem + suffix for suffix in SUFFIXES)
        found |= {
            key: _asset(tif, part, plane.title, pystac.MediaType.COG, "data"),
            f"{key}-style": _asset(style, part, "style for QGIS", _XML, "style"),
            f"{key}-names": _asset(names, part, "names of the values for GDAL", _XML, "metadata"),
        }
        found[key].extra_fields |= _values(plane, part.counts) | _processing(origins.get(key))
    return found


def class_objects(classes: Iterable[LandCoverClass], counts: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Objects of the classification extension for a legend, with the pixels of every class where they are known."""
    nothing: dict[str, Any] = {"value": NO_DATA, "name": "no-data", "title": "No data", "nodata": True}
    named = ({"value": c.code, "name": _slug(c), "title": c.name, "color_hint": c.colour[1:].upper()} for c in classes)
    found = [nothing, *named]
    return found if counts is None else [c | {"count": counts[c["value"]]} for c in found]


def software(origins: Iterable[Origin]) -> dict[str, str]:
    """Versions of the software that made the maps, from the records; without records, the version of this package."""
    found: dict[str, set[str]] = {}
    for origin in origins:
        for name in ("mlc-dask", "torch", "scikit-learn"):
            if name in origin["packages"]:
                found.setdefault(name, set()).add(origin["packages"][name])
    if not found:
        return {"mlc-dask": importlib.metadata.version("mlc-dask")}
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _asset(path: str, part: Part, title: str, media_type: str, role: str) -> pystac.Asset:
    fields = _checksum(part.files[path])
    return pystac.Asset(f"./{PurePosixPath(path).name}", title, None, media_type, [role], fields)


def _checksum(file: Entry) -> dict[str, Any]:
    size, digest = file
    return {"file:size": size, "file:checksum": f"{_SHA256}{digest}"}


def _values(plane: Plane, counts: Sequence[int]) -> dict[str, Any]:
    layer = plane.layer
    band: dict[str, Any] = {"name": layer.name, "data_type": "uint8"}
    if layer.no_data is not None:
        band["nodata"] = layer.no_data
    if layer.unit:
        band["unit"] = layer.unit
    classes = {"classification:classes": class_objects(layer.classes, counts)} if layer.classes else {}
    return {"bands": [band], **classes}


def _processing(origin: Origin | None) -> dict[str, Any]:
    if origin is None:
        return {}
    # The root of the tree that `mlc-dask explain` prints: the step, its settings and the fingerprint of all its inputs.
    made = {key: origin[key] for key in ("name", "function", "settings", "fingerprint")}
    return {"processing:expression": {"format": "mlc-dask", "expression": made}}


def _slug(c: LandCoverClass) -> str:
    """Name of a class for the extension: ASCII letters, digits and dashes; its code where none of them is left."""
    plain = "".join(ch if ch.isascii() and ch.isalnum() else "-" for ch in c.name.lower()).strip("-")
    return plain or f"class-{c.code}"
