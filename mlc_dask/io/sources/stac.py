"""Acquisitions from a STAC catalogue: an API, a static catalogue, or an item collection on disk."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import odc.stac
import pystac
from odc.geo.geobox import GeoBox
from pydantic import Field, field_validator, model_validator
from rasterio.warp import transform

from mlc_dask.data.acquisitions import Acquisition, Catalogue, Granule, sifted
from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.grids import Grid
from mlc_dask.data.years import CALENDAR, Years
from mlc_dask.io.checksums import check_digest, check_size
from mlc_dask.io.numbers import fill_of, masked
from mlc_dask.io.rasters import Method, check_whole, open_raster, read_on, readable
from mlc_dask.io.remote import check_href, environment, length_of, retried
from mlc_dask.io.sources.area import AreaSource, halves
from mlc_dask.io.sources.granules import CORRECT_NODATA, MASK, Raw, nan_is_none
from mlc_dask.io.sources.items import granule_of, tile_of
from mlc_dask.io.sources.signing import signed
from mlc_dask.storage.durable import local

_KNOWN = tomllib.loads(files("mlc_dask.io.sources").joinpath("catalogues.toml").read_text(encoding="utf-8"))
PRESETS: Mapping[str, Mapping[str, str]] = _KNOWN["presets"]


class Stac(AreaSource):
    """Sentinel-2 L2A from any STAC catalogue.

    Parameters
    ----------
    preset
        ``earth-search-c1``, ``earth-search``, ``planetary-computer`` or ``copernicus``; sets the defaults of the
        parameters below.
    catalogue
        URL of an API, or path or URL (https, file) of a static catalogue, an item collection or an item (.json).
    collection
        Collection to search; for a file, all items by default.
    assets
        Asset name of a band, or of ``mask``, for catalogues whose names are not among the known ones.
    tokens
        URL of the access tokens that are appended to asset URLs; ``{collection}`` in it is replaced.
    tile_property, tile_value
        Property and value by which a search selects a tile when no `bbox` is given.
    hosts
        Hosts and domains from which assets may be fetched; by default all.
    at_once
        Number of bands of an acquisition that one task fetches at the same time.
    checksums
        Compare images with the ``file:size`` of their items, and local ones with the ``file:checksum``, before they are
        read.
    nodata
        DN of pixels without data; NaN never has data. Without it, the value that an item states decides, and where it
        states none, the value that the file declares.
    """

    preset: str | None = None
    catalogue_url: Annotated[str, Field(alias="catalogue")] = ""
    collection: str | None = None
    assets: Mapping[str, str] = {}
    tokens: str | None = None
    tile_property: str | None = None
    tile_value: str = "{tile}"
    hosts: tuple[str, ...] | None = None
    at_once: Annotated[int, Field(ge=1, le=32)] = 4
    checksums: bool = True
    nodata: int | float | None = 0

    _correct_nodata: ClassVar[str] = CORRECT_NODATA
    _nan_is_none = field_validator("nodata", mode="before")(nan_is_none)

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        preset = values.get("preset")
        if preset is None:
            return values
        if not isinstance(preset, str) or preset not in PRESETS:
            raise ValueError(f"preset {preset!r} is unknown; {did_you_mean(preset, PRESETS)}")
        return {**PRESETS[preset], **values}

    @field_validator("catalogue_url")
    @classmethod
    def _path(cls, catalogue: str) -> str:
        return local(catalogue)

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.catalogue_url:
            raise ValueError(f"no catalogue; set source.catalogue, or set source.preset to one of {', '.join(PRESETS)}")
        if self._is_api and self.bbox is None and not (self.tile and self.tile_property):
            raise ValueError("a search needs an area; set source.bbox to west, south, east, north in degrees")
        return self

    @property
    def _is_api(self) -> bool:
        return "://" in self.catalogue_url and not self.catalogue_url.partition("?")[0].endswith("json")

    @cached_property
    def _aliases(self) -> Mapping[str, Sequence[str]]:
        return {**_KNOWN["assets"], **{band: (name,) for band, name in self.assets.items()}}

    def catalogue(self, years: Sequence[int] | None = None, year_start: str = CALENDAR) -> Catalogue:
        """Acquisitions of the area and the years, from the items' metadata."""
        wanted = Years.of(years, year_start)
        here = (i for i in self._items(wanted) if not self._elsewhere(tile_of(i), i.datetime, wanted, i.bbox))
        granules, left_out = sifted(here, lambda i: i.id, self._granule)
        return self._catalogue(granules, wanted, self.catalogue_url, left_out)

    def _granule(self, item: pystac.Item) -> Granule:
        names = [*self.bands, *([MASK] if self.mask is not None else [])]
        granule = self._with_nodata(granule_of(item, names, self._aliases))
        for asset in granule.assets.values():
            place = check_href(asset.href, self.hosts)
            if "://" in self.catalogue_url and "://" not in place:
                raise InputError(
                    f"{item.id}: {place} is a path of this machine in a remote catalogue; it is not opened"
                )
        return granule

    def _with_nodata(self, granule: Granule) -> Granule:
        """Granule whose bands have the no-data value of the settings, if they have one."""
        if "nodata" not in self.model_fields_set:
            return granule
        own = {b: replace(granule.assets[b], nodata=self.nodata, nodata_stated=True) for b in self.bands}
        return replace(granule, assets={**granule.assets, **own})

    def _items(self, years: Years) -> Iterable[pystac.Item]:
        # The import takes seconds where jsonschema knows all formats, and workers never query catalogues.
        from mlc_dask.io.sources import catalogues

        if not self._is_api:
            return [
                i for i in catalogues.items_of_file(self.catalogue_url) if self.collection in (None, i.collection_id)
            ]
        if years.span is None:
            raise InputError("a search needs years; set acquisitions.years")
        asked: list[dict[str, Any] | None] = [None]
        if self.bbox is None:
            # Some catalogues write zone 5 as 05, some as 5.
            names = dict.fromkeys((str(self.tile), str(self.tile).lstrip("0")))
            asked = [{str(self.tile_property): {"eq": self.tile_value.format(tile=name)}} for name in names]
        found = [
            catalogues.found_by_search(self.catalogue_url, self.collection, years.span, box, query)
            for query in asked
            for box in halves(self.bbox)
        ]
        # Two halves of a box find an item twice; items of two collections or times may share an id.
        once = {(item.collection_id, item.id, item.datetime): item for items in found for item in items}
        return list(once.values())

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` when a local asset is missing, or its file contradicts the item."""
        for granule in acquisition.granules:
            for name, asset in granule.assets.items():
                if "://" in asset.href:
                    continue
                if not Path(asset.href).is_file():
                    raise InputError(
                        f"{granule.id}: {name} is missing ({asset.href}); download it, or leave the item out"
                    )
                if self.checksums and asset.size is not None:
                    check_size(asset.href, Path(asset.href).stat().st_size, asset.size)
                with open_raster(asset.href) as file:
                    _refuse_elsewhere(granule, name, Grid.of(file))
                    check_whole(file)
                    self._look(file, granule, name)

    def raw(self, granule: Granule, name: str, grid: Grid, method: Method) -> Raw:
        """Digital numbers (h, w) of one asset on `grid`, loaded by odc-stac; network faults are retried."""
        asset = granule.assets[name]
        place, box = check_href(asset.href, self.hosts), GeoBox(grid.shape, grid.transform, grid.crs)

        def load() -> Raw:
            href = signed(place, self.tokens, self.collection)
            if self.checksums and asset.size is not None and href.startswith("http"):
                check_size(place, length_of(href) or asset.size, asset.size, "ask its provider")
            item = _bare_item(granule, name, href, grid)
            with environment(href) as file:
                own, dtype = Grid.of(file), file.dtypes[0]
                _refuse_elsewhere(granule, name, own)
                nodata = self._agreed(file, granule, name).nodata
                how = _loadable(own, grid, name, method)
                if how is None or masked(file, 1):
                    return Raw(read_on(href, grid, nodata=nodata, method=method), nodata)
                found = odc.stac.load(
                    [item], bands=[name], geobox=box, resampling=how, dtype=dtype,
                    nodata=fill_of(dtype, nodata), fail_on_error=True, stac_cfg=_QUIET,
                )  # fmt: skip
            return Raw(np.asarray(found[name].values[0]), nodata)

        if "://" in asset.href:
            return retried(load, f"{granule.id}, {name} ({asset.href})")
        if self.checksums and asset.digest is not None:
            check_digest(Path(asset.href), None, asset.digest)
        with readable(asset.href):
            return load()

    def _bands(self, granule: Granule, window: Grid) -> Iterator[tuple[str, Raw]]:
        # A fetch mostly waits for the network; fetching several bands at once hides the wait.
        with ThreadPoolExecutor(self.at_once) as pool:
            raws = pool.map(lambda band: self.raw(granule, band, window, self.resampling), self.bands)
            yield from zip(self.bands, raws, strict=True)

    def provenance(self) -> dict[str, Any]:
        """Every setting that decides which pixels are read, but none that decides how they are fetched."""
        return self.model_dump(mode="json", exclude={"tokens", "hosts", "at_once", "checksums"})

    def files(self) -> list[str]:
        """Local files of the catalogue, its items and its assets."""
        if "://" in self.catalogue_url:
            return []
        items = list(self._items(Years()))
        granules, _ = sifted(items, lambda i: i.id, self._granule)
        assets = {a.href for g in granules for a in g.assets.values()}
        places = {local(str(item.get_self_href())) for item in items}
        return sorted(f for f in {self.catalogue_url, *assets, *places} if Path(f).is_file())


_QUIET = {"*": {"warnings": "ignore"}}


def _loadable(own: Grid, grid: Grid, name: str, method: Method) -> Method | None:
    """Choose the method by which odc-stac reads a file onto `grid` correctly; None where it cannot.

    Pixels whose size is a multiple of the grid's are repeated, so no value is invented; a band may also be read at a
    coarser pixel. All other warps depend on the window, and coarse reads use overviews, which invent classes of a mask.
    """
    if own.steps_to(grid) is not None:
        return "nearest"
    return method if name != MASK and own.same_crs(grid) and grid.pixel > own.pixel else None


def _refuse_elsewhere(granule: Granule, name: str, own: Grid) -> None:
    """Refuse an image that does not lie where its item says: all of it would be read as no data."""
    stated = granule.grid
    if stated is None or not own.same_crs(stated):
        return
    if max(abs(a - b) for a, b in zip(own.bounds, stated.bounds, strict=True)) > 2 * max(own.pixel, stated.pixel):
        raise InputError(
            f"{granule.id}, {name}: the image is {own.label}, but its item says {stated.label}; correct the item"
        )


def _bare_item(granule: Granule, name: str, href: str, grid: Grid) -> pystac.Item:
    """Item with the one asset to be loaded. Its footprint is the requested grid, so that odc-stac never skips it."""
    left, bottom, right, top = grid.bounds
    xs, ys = transform(grid.crs, "EPSG:4326", [left, right, right, left, left], [bottom, bottom, top, top, bottom])
    xs = [xs[0] + (x - xs[0] + 180) % 360 - 180 for x in xs]  # in one piece, also across the antimeridian
    footprint = {"type": "Polygon", "coordinates": [[*map(list, zip(xs, ys, strict=True))]]}
    item = pystac.Item(granule.id, footprint, [min(xs), min(ys), max(xs), max(ys)], granule.time, {})
    item.add_asset(name, pystac.Asset(str(Path(href)) if "://" not in href else href, roles=["data"]))
    return item
