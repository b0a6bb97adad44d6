"""An exported folder as a static STAC catalogue: one Collection per place, one Item per year, and relative links."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pystac
from rasterio.crs import CRS
from rasterio.enums import WktVersion
from rasterio.warp import transform_bounds, transform_geom

from mlc_dask.data.grids import Grid
from mlc_dask.data.years import CALENDAR, span, year_label
from mlc_dask.runs.records import Record as Origin
from mlc_dask.show.export.assets import ZARR, class_objects, map_assets, software
from mlc_dask.show.export.layers import Layer
from mlc_dask.show.export.pyramid import NAME
from mlc_dask.show.export.record import Part
from mlc_dask.storage.durable import atomic_write

COLLECTION: Final = "collection.json"
CATALOGUE: Final = "catalog.json"
_EXTENSIONS: Final = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("classification/v2.0.0", "file/v2.1.0", "processing/v1.1.0", "projection/v2.0.0")
)
_METHOD: Final = "https://doi.org/10.1109/IGARSS46834.2022.9883655"
_DEGREES: Final = 7
"""Decimals of degrees, about a centimetre."""


@dataclass(frozen=True)
class Place:
    """An exported folder: its name, layers and grid, the files of every map, and the record behind every layer.

    The keys of `parts` are :attr:`Plane.stem`, those of `origins` are names of layers; layers that no run made have no
    origin.
    """

    name: str
    folder: Path
    layers: tuple[Layer, ...]
    grid: Grid
    parts: Mapping[str, Part]
    origins: Mapping[str, Origin]

    @property
    def identifier(self) -> str:
        """Name as an identifier of STAC."""
        return _identifier(self.name)

    @property
    def years(self) -> list[int]:
        """Years of all layers."""
        return sorted({year for layer in self.layers for year in layer.years})

    @property
    def year_start(self) -> str:
        """Day on which the years start."""
        return self.layers[0].year_start if self.layers else CALENDAR

    @property
    def bbox(self) -> list[float]:
        """West, south, east and north in degrees."""
        return [round(v, _DEGREES) for v in transform_bounds(self.grid.crs, "EPSG:4326", *self.grid.bounds)]

    @property
    def footprint(self) -> dict[str, Any]:
        """Outline in degrees, as GeoJSON."""
        left, bottom, right, top = self.grid.bounds
        ring = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
        outline = {"type": "Polygon", "coordinates": [ring]}
        found = transform_geom(self.grid.crs, "EPSG:4326", outline, precision=_DEGREES)
        return {"type": found["type"], "coordinates": [[list(point) for point in r] for r in found["coordinates"]]}

    @property
    def projection(self) -> dict[str, Any]:
        """Fields of the projection extension."""
        crs, grid = CRS.from_wkt(self.grid.crs), self.grid
        authority = crs.to_authority()
        wkt = {} if authority else {"proj:wkt2": crs.to_wkt(version=WktVersion.WKT2_2019)}
        return {
            "proj:code": ":".join(authority) if authority else None,
            **wkt,
            "proj:bbox": list(grid.bounds),
            "proj:shape": list(grid.shape),
            "proj:transform": list(grid.transform[:6]),
        }


def write_stac(folder: Path, name: str, places: Sequence[Place], license: str) -> Path:  # noqa: A002  (STAC's word)
    """Write the catalogue of one place in `folder`, or of several places below it; returns the file to open.

    Every file is written atomically, Items before the Collections that list them.
    """
    collections = [_collection(place, license) for place in places]
    if [place.folder for place in places] == [folder]:
        root: pystac.Catalog = collections[0]
        path = folder / COLLECTION
    else:
        text = f"Annual land-cover maps of {len(places)} places, made by mlc_dask."
        root = pystac.Catalog(_identifier(name), text, catalog_type=pystac.CatalogType.SELF_CONTAINED)
        root.add_children(collections)
        path = folder / CATALOGUE
    # Set self hrefs last: moving a STAC object resolves its asset hrefs again, against the old location.
    for collection, place in zip(collections, places, strict=True):
        for item, year in zip(collection.get_items(), place.years, strict=True):
            item.set_self_href(str(place.folder / str(year) / f"{item.id}.json"))
        collection.set_self_href(str(place.folder / COLLECTION))
    root.set_self_href(str(path))
    items = [item for collection in collections for item in collection.get_items()]
    for thing in (*items, *(c for c in collections if c is not root), root):
        atomic_write(Path(thing.self_href), json.dumps(thing.to_dict(include_self_link=False), indent=2).encode())
    return path


def _collection(place: Place, license: str) -> pystac.Collection:  # noqa: A002
    years = place.years
    made = {"processing:software": software(place.origins.values()), "processing:lineage": f"Method: {_METHOD}"}
    collection = pystac.Collection(
        place.identifier,
        f"Annual land-cover maps of {place.name}, made by mlc_dask.",
        pystac.Extent(pystac.SpatialExtent([place.bbox]), pystac.TemporalExtent([_extent(years, place.year_start)])),
        title=f"Land cover of {place.name}",
        stac_extensions=list(_EXTENSIONS),
        license=license,
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
        keywords=["land cover", "time series"],
        providers=[pystac.Provider("mlc_dask", roles=[pystac.ProviderRole.PROCESSOR], extra_fields=made)],
    )
    classes = next((layer.classes for layer in place.layers if layer.classes), ())
    if classes:
        collection.summaries.add("classification:classes", class_objects(classes))
    timeless = [plane for layer in place.layers if not layer.years for plane in layer.planes]
    for key, asset in map_assets(timeless, place.origins, place.parts).items():
        collection.add_asset(key, asset)
    zarr = pystac.Asset(f"./{NAME}", "all layers at several resolutions", None, ZARR, ["data"])
    collection.add_asset("zarr", zarr)
    collection.add_link(pystac.Link("cite-as", _METHOD, title="the method"))
    collection.add_items(_item(place, year) for year in years)
    return collection


def _item(place: Place, year: int) -> pystac.Item:
    planes = [layer.plane(year) for layer in place.layers if year in layer.years]
    start, end = _extent([year], place.year_start)
    title = f"{place.name}, {year_label(year, place.year_start)}"
    made = {"title": title, "processing:software": software(place.origins.values())}
    return pystac.Item(
        f"{place.identifier}-{year}",
        place.footprint,
        place.bbox,
        None,
        made | place.projection,
        start_datetime=start,
        end_datetime=end,
        stac_extensions=list(_EXTENSIONS),
        assets=map_assets(planes, place.origins, place.parts),
    )


def _extent(years: Sequence[int], year_start: str) -> list[datetime | None]:
    """Return the first second of the first year and the last second of the last."""
    if not years:
        return [None, None]
    first, following = span(years[0], year_start)[0], span(years[-1], year_start)[1]
    return [first.replace(tzinfo=UTC), (following - timedelta(seconds=1)).replace(tzinfo=UTC)]


def _identifier(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "maps"
