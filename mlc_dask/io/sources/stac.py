"""Acquisitions from a STAC catalogue: an API, a static catalogue, or an item collection on disk."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import odc.stac
import pystac
from odc.geo.geobox import GeoBox
from pydantic import Field, model_validator
from rasterio.warp import transform

from mlc_dask.data.acquisitions import Acquisition, Catalogue, Granule
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.io.rasters import Method, read_on
from mlc_dask.io.remote import check_href, environment, retried
from mlc_dask.io.sources.area import AreaSource
from mlc_dask.io.sources.granules import MASK
from mlc_dask.io.sources.items import granule_of
from mlc_dask.io.sources.signing import signed

_KNOWN = tomllib.loads(files("mlc_dask.io.sources").joinpath("catalogues.toml").read_text(encoding="utf-8"))
PRESETS: Mapping[str, Mapping[str, str]] = _KNOWN["presets"]


class Stac(AreaSource):
    """Sentinel-2 L2A from any STAC catalogue.

    Parameters
    ----------
    preset
        ``earth-search-c1``, ``earth-search``, ``planetary-computer`` or ``copernicus``; fills what is left out below.
    catalogue
        URL of an API, or path or URL of a static catalogue, of an item collection or of an item (.json).
    collection
        Collection to search; of a file's items all by default.
    assets
        Asset name by band, and of ``mask``, where a catalogue's own differ from all known ones.
    tokens
        URL that hands out tokens to be added to the places of assets, ``{collection}`` in it replaced.
    tile_property, tile_value
        How a search asks for a tile where no `bbox` is given.
    hosts
        Hosts, and domains, that assets may be fetched from; any by default.
    at_once
        Bands of an acquisition that one task fetches at the same time.
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

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        preset = values.get("preset")
        if preset is None:
            return values
        if not isinstance(preset, str) or preset not in PRESETS:
            raise ValueError(f"there is no preset {preset!r}; use {', '.join(PRESETS)}")
        return {**PRESETS[preset], **values}

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.catalogue_url:
            raise ValueError(f"no catalogue; set source.catalogue, or source.preset to one of {', '.join(PRESETS)}")
        if self._is_api and self.bbox is None and not (self.tile and self.tile_property):
            raise ValueError("a search needs an area; set source.bbox to west, south, east, north in degrees")
        return self

    @property
    def _is_api(self) -> bool:
        return "://" in self.catalogue_url and not self.catalogue_url.partition("?")[0].endswith("json")

    @cached_property
    def _aliases(self) -> Mapping[str, Sequence[str]]:
        return {**_KNOWN["assets"], **{band: (name,) for band, name in self.assets.items()}}

    def catalogue(self, years: Sequence[int] | None = None) -> Catalogue:
        """Acquisitions of the area and the years, by the items' metadata."""
        return self._catalogue(self._granules(self._items(years)), years, self.catalogue_url)

    def _granules(self, items: Iterable[pystac.Item]) -> list[Granule]:
        names = [*self.bands, *([MASK] if self.mask is not None else [])]
        found = [granule_of(item, names, self._aliases) for item in items]
        for granule in found:
            for asset in granule.assets.values():
                check_href(asset.href, self.hosts)
        return found

    def _items(self, years: Sequence[int] | None) -> Iterable[pystac.Item]:
        # It takes seconds to import where jsonschema knows all formats, and workers never ask catalogues.
        from mlc_dask.io.sources import catalogues

        if not self._is_api:
            return [
                i for i in catalogues.items_of_file(self.catalogue_url) if self.collection in (None, i.collection_id)
            ]
        if years is None:
            raise InputError("a search needs years; set acquisitions.years")
        asked: list[dict[str, Any] | None] = [None]
        if self.bbox is None:
            # Some catalogues write zone 5 as 05, others as 5.
            names = dict.fromkeys((str(self.tile), str(self.tile).lstrip("0")))
            asked = [{str(self.tile_property): {"eq": self.tile_value.format(tile=name)}} for name in names]
        found = [
            catalogues.found_by_search(self.catalogue_url, self.collection, years, self.bbox, query) for query in asked
        ]
        return [item for items in found for item in items]

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` when an asset that lies on this machine is missing."""
        for granule in acquisition.granules:
            for name, asset in granule.assets.items():
                if "://" not in asset.href and not Path(asset.href).is_file():
                    raise InputError(f"{granule.id}: {name} is missing ({asset.href}); fetch it, or leave the item out")

    def raw(self, granule: Granule, name: str, grid: Grid, method: Method) -> npt.NDArray[Any]:
        """Digital numbers (h, w) of one asset on `grid`, loaded by odc-stac, tried again on network faults."""
        asset = granule.assets[name]
        place, box = check_href(asset.href, self.hosts), GeoBox(grid.shape, grid.transform, grid.crs)

        def load() -> npt.NDArray[Any]:
            href = signed(place, self.tokens, self.collection)
            item = _bare_item(granule, name, href, grid)
            with environment(href) as file:
                own = Grid.of(file)
                _refuse_elsewhere(granule, name, own)
                how = _loadable(own, grid, name, method)
                if how is None:
                    return read_on(href, grid, nodata=asset.nodata, method=method)
                found = odc.stac.load(
                    [item], bands=[name], geobox=box, resampling=how, dtype="uint8" if name == MASK else "uint16",
                    nodata=asset.nodata, fail_on_error=True, stac_cfg=_QUIET,
                )  # fmt: skip
            return np.asarray(found[name].values[0])

        values: npt.NDArray[Any] = retried(load, f"{granule.id}, {name} ({asset.href})")
        return values

    def _bands(self, granule: Granule, window: Grid) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        # A fetch mostly waits for the network: some bands at once hide it.
        with ThreadPoolExecutor(self.at_once) as pool:
            raws = pool.map(lambda band: self.raw(granule, band, window, self.resampling), self.bands)
            yield from zip(self.bands, raws, strict=True)

    def provenance(self) -> dict[str, Any]:
        """Every setting that decides which pixels are read; not how they are fetched."""
        return self.model_dump(mode="json", exclude={"tokens", "hosts", "at_once"})

    def files(self) -> list[str]:
        """Files of a catalogue on this machine, and its assets that are."""
        if "://" in self.catalogue_url:
            return []
        items = list(self._items(None))
        assets = {a.href for g in self._granules(items) for a in g.assets.values()}
        places = {str(item.get_self_href()) for item in items}
        return sorted(f for f in {self.catalogue_url, *assets, *places} if Path(f).is_file())


_QUIET = {"*": {"warnings": "ignore"}}


def _loadable(own: Grid, grid: Grid, name: str, method: Method) -> Method | None:
    """How odc-stac gets a file onto `grid` rightly, None where it does not.

    Pixels that are whole times larger are repeated, so that no value is made up; a band may be looked at in the large.
    Other warps depend on the window, and coarse reads take overviews, which make up classes of a mask.
    """
    if own.steps_to(grid) is not None:
        return "nearest"
    return method if name != MASK and own.same_crs(grid) and grid.pixel > own.pixel else None


def _refuse_elsewhere(granule: Granule, name: str, own: Grid) -> None:
    """Refuse an image that is not where its item says: all of it would pass for no data."""
    told = granule.grid
    if told is None or not own.same_crs(told):
        return
    if max(abs(a - b) for a, b in zip(own.bounds, told.bounds, strict=True)) > 2 * max(own.pixel, told.pixel):
        raise InputError(f"{granule.id}, {name}: the image is {own.label}, but its item says {told.label}; correct it")


def _bare_item(granule: Granule, name: str, href: str, grid: Grid) -> pystac.Item:
    """Item with the one asset that is to be loaded; its footprint is what is asked for, so that it is never skipped."""
    left, bottom, right, top = grid.bounds
    xs, ys = transform(grid.crs, "EPSG:4326", [left, right, right, left, left], [bottom, bottom, top, top, bottom])
    footprint = {"type": "Polygon", "coordinates": [[*map(list, zip(xs, ys, strict=True))]]}
    item = pystac.Item(granule.id, footprint, [min(xs), min(ys), max(xs), max(ys)], granule.time, {})
    item.add_asset(name, pystac.Asset(str(Path(href)) if "://" not in href else href, roles=["data"]))
    return item
