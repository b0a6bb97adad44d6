"""STAC: one item with its rasters per scene, like those of the big catalogues, and a catalogue of such items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlc_dask.data.errors import InputError
from mlc_dask.worlds.formats.products import Product
from mlc_dask.worlds.formats.rasters import write_cog, write_jp2
from mlc_dask.worlds.formats.stac_flavours import FLAVOURS, LAYERS, Flavour, grid_fields
from mlc_dask.worlds.scenes import Scene, pixel_of

_APPLIED = "earthsearch:boa_offset_applied"
_MEDIA = {"tif": "image/tiff; application=geotiff; profile=cloud-optimized", "jp2": "image/jp2"}


def write(
    folder: Path,
    scene: Scene,
    *,
    baseline: str = "05.10",
    flavour: str = "earth-search-c1",
    lie: bool = False,
    base_url: str | None = None,
) -> Path:
    """Write ``<id>/<id>.json`` and the rasters next to it; return the path of the item.

    Parameters
    ----------
    folder
        Folder of items.
    scene, baseline
        The scene, and its processing baseline.
    flavour
        Catalogue whose conventions the item follows: one of :data:`FLAVOURS`.
    lie
        Make ``earthsearch:boa_offset_applied`` the opposite of the truth, as it is in some items of ``earth-search``.
    base_url
        URL or path at which `folder` is served; by default, the item names its files relative to itself.

    Raises
    ------
    InputError
        If the flavour is unknown, or its items cannot state `lie`.
    """
    if flavour not in FLAVOURS:
        raise InputError(f"flavour = {flavour!r} is unknown; choose one of {', '.join(FLAVOURS)}")
    habits, product = FLAVOURS[flavour], Product(scene, baseline)
    identifier = habits.identifier(product)
    root = f"{base_url.rstrip('/')}/{identifier}" if base_url else "."
    item = _item(habits, product, root)
    if lie:
        if _APPLIED not in item["properties"]:
            raise InputError(f"items of flavour {flavour!r} have no {_APPLIED}; do not set lie")
        item["properties"][_APPLIED] = not item["properties"][_APPLIED]
    for layer in LAYERS:
        _write_layer(folder / identifier / habits.file(product, layer), habits, product, layer)
    return _write_json(folder / identifier / f"{identifier}.json", item)


def write_catalogue(folder: Path, items: Sequence[Path]) -> Path:
    """Write ``catalog.json``, ``collection.json`` and ``items.json``, and link the items to them.

    Parameters
    ----------
    folder
        Folder of the catalogue; the items are below it.
    items
        Paths of items of one collection, as :func:`write` returns them.

    Raises
    ------
    InputError
        If the items are not of one collection.
    """
    paths = sorted(items)
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    names = {document["collection"] for document in documents}
    if len(names) != 1:
        raise InputError(
            f"a catalogue holds items of one collection, not of {sorted(names) or 'none'}; write one catalogue for each"
        )
    for path, document in zip(paths, documents, strict=True):
        up = "../" * len(path.relative_to(folder).parent.parts) or "./"
        document["links"] = [
            {"rel": rel, "href": f"{up}{name}.json", "type": "application/json"}
            for rel, name in (("root", "catalog"), ("parent", "collection"), ("collection", "collection"))
        ]
        _write_json(path, document)
    hrefs = [f"./{path.relative_to(folder).as_posix()}" for path in paths]
    features = [_seen_from(href.rpartition("/")[0], document) for href, document in zip(hrefs, documents, strict=True)]
    _write_json(folder / "items.json", {"type": "FeatureCollection", "features": features})
    _write_json(folder / "collection.json", _collection(names.pop(), documents, hrefs))
    links = [("root", "./catalog.json"), ("child", "./collection.json")]
    return _write_json(folder / "catalog.json", {"type": "Catalog", "id": "world", **_described(documents, links)})


def _item(habits: Flavour, product: Product, root: str) -> dict[str, Any]:
    corners = product.footprint()
    longitudes, latitudes = zip(*corners, strict=True)
    assets = {habits.key(layer): _asset(habits, product, layer, root) for layer in LAYERS}
    return {
        "type": "Feature",
        "stac_version": habits.version,
        "stac_extensions": [f"https://stac-extensions.github.io/{name}/schema.json" for name in habits.extensions],
        "id": habits.identifier(product),
        "collection": habits.collection,
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "geometry": {"type": "Polygon", "coordinates": [[list(corner) for corner in [*corners, corners[0]]]]},
        "properties": habits.properties(product),
        "links": [],
        "assets": assets,
    }


def _asset(habits: Flavour, product: Product, layer: str, root: str) -> dict[str, Any]:
    file = habits.file(product, layer)
    roles = ["data"] if layer == "SCL" else ["data", "reflectance"]
    fields = {"href": f"{root}/{file}", "type": _MEDIA[file.rpartition(".")[2]], "roles": roles}
    return {**fields, **grid_fields(product, layer), **habits.radiometry(product, layer)}


def _write_layer(path: Path, habits: Flavour, product: Product, layer: str) -> None:
    if layer == "SCL":
        values: Any = product.scene.scl
    else:
        values = product.scene.dn[layer] if habits.harmonised else product.dn(layer)
    (write_jp2 if path.suffix == ".jp2" else write_cog)(path, values, pixel_of(layer))


def _seen_from(place: str, item: dict[str, Any]) -> dict[str, Any]:
    """Return the item at `place` in a folder, with its relative addresses relative to this folder."""
    assets = {
        key: {**asset, "href": place + asset["href"][1:] if asset["href"].startswith("./") else asset["href"]}
        for key, asset in item["assets"].items()
    }
    return {**item, "links": [], "assets": assets}


def _collection(name: str, items: Sequence[dict[str, Any]], hrefs: Sequence[str]) -> dict[str, Any]:
    times = sorted(item["properties"]["datetime"] for item in items)
    links = [("root", "./catalog.json"), ("parent", "./catalog.json"), *(("item", href) for href in hrefs)]
    extent = {"spatial": {"bbox": [items[0]["bbox"]]}, "temporal": {"interval": [[times[0], times[-1]]]}}
    described = _described(items, links)
    return {"type": "Collection", "id": name, **described, "license": "proprietary", "extent": extent}


def _described(items: Sequence[dict[str, Any]], links: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "stac_version": items[0]["stac_version"],
        "description": "Sentinel-2 L2A acquisitions of a synthetic world",
        "links": [{"rel": rel, "href": href, "type": "application/json"} for rel, href in links],
    }


def _write_json(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path
