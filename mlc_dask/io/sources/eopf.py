"""EOPF: Sentinel-2 L2A as Zarr products (formats 2 and 3), as ESA's converter writes them.

Reflectance follows from the stored integers by the CF attributes. The integers are read raw and converted once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import zarr
from rasterio.io import MemoryFile

from mlc_dask.data.acquisitions import Acquisition, Asset, Catalogue, Granule, sifted
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.sensors import SENTINEL2
from mlc_dask.data.years import CALENDAR, Years
from mlc_dask.io.numbers import fill_of, is_empty
from mlc_dask.io.rasters import Method, around, read_on
from mlc_dask.io.sources.area import AreaSource
from mlc_dask.io.sources.eopf_products import DAMAGE, NAME, array_of, centres, described, grid_of, packing_of, root_of
from mlc_dask.io.sources.granules import MASK, Raw, required

_SCL = "conditions/mask/l2a_classification/r20m/scl"
# Share of a chunk that may have data in one array and none in another: bands end at different pixels of the swath.
_SLIVER = 0.01


class Eopf(AreaSource):
    """A folder of EOPF products of Sentinel-2 L2A, ``NAME.zarr`` or ``NAME.zarr.zip``, at any depth.

    The mask is the scene classification; ``mask.file`` is not used. In an :class:`.Asset`, `href` is the product and
    `layer` the array within.

    Zarr reads a missing chunk file as no data, and writers leave out chunks of no data. A partly downloaded product
    therefore looks like a product at the edge of the swath. ``check`` accepts a missing chunk as no data only where
    neither the mask nor any other band has data, and refuses arrays without any chunk and truncated chunks. A chunk
    that is missing from all arrays cannot be distinguished from no data.

    Parameters
    ----------
    folder
        Folder that holds the products.
    """

    folder: Path

    def catalogue(self, years: Sequence[int] | None = None, year_start: str = CALENDAR) -> Catalogue:
        """Grid and acquisitions of `years`; Level-1C and products with invalid metadata are left out by name."""
        wanted = Years.of(years, year_start)
        here = [p for p in self._products() if not self._named_elsewhere(p.name, wanted)]
        granules, left_out = sifted(here, lambda p: p.name, self._granule)
        return self._catalogue(granules, wanted, str(self.folder), left_out)

    def _named_elsewhere(self, name: str, years: Years) -> bool:
        """Whether the name of a product says that it is of another tile or year."""
        stated = NAME.search(name)
        time = datetime.strptime(stated["time"], "%Y%m%dT%H%M%S") if stated else None
        return stated is not None and self._elsewhere(stated["tile"], time, years)

    def locate(self, href: str) -> str:
        """Path of an asset: `href` is relative to the folder, because the folder may move between two runs."""
        return str(self.folder / href)

    def _products(self) -> list[Path]:
        found: list[Path] = []
        for place, folders, files in os.walk(required(self.folder, "source.folder")):
            products = [n for n in folders if n.endswith(".zarr")]
            found += [Path(place, n) for n in (*products, *(n for n in files if n.endswith(".zarr.zip")))]
            folders[:] = [n for n in folders if n not in products]
        if not found:
            raise InputError(f"{self.folder} has no NAME.zarr or NAME.zarr.zip; set source.folder to EOPF products")
        return sorted(found)

    def _layers(self) -> dict[str, str]:
        """Path within a product of every band's array, and of the mask's."""
        bands = {b: f"measurements/reflectance/r{SENTINEL2.resolution.get(b, 10)}m/{b.lower()}" for b in self.bands}
        return bands if self.mask is None else {**bands, MASK: _SCL}

    def _granule(self, product: Path) -> Granule:
        root, assets, grids = root_of(product), {}, {}
        for name, layer in self._layers().items():
            array = array_of(product, layer)
            packing = (1.0, 0.0, 0) if name == MASK else packing_of(array, f"{product}, {name}")
            assets[name] = Asset(str(product.relative_to(self.folder)), *packing, layer)
            grids[name] = grid_of(product, layer, array, root)
        finest = min(grids.values(), key=lambda g: g.pixel)
        for name, own in grids.items():
            if not finest.at_pixel(own.pixel).matches(own):
                raise InputError(f"{product}: {name} is on {own.label}, expected {finest.label}; download it again")
        return described(product, root, assets, finest)

    def raw(self, granule: Granule, name: str, grid: Grid, method: Method) -> Raw:
        """Return the stored numbers (h, w) of one array on `grid`, its no-data value where it has no data.

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        asset = granule.assets[name]
        product = Path(self.locate(asset.href))
        array = array_of(product, str(asset.layer))
        own = _grid(granule, array)
        rows, columns = around(grid, own)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return Raw(np.full(grid.shape, fill_of(array.dtype, asset.nodata), array.dtype), asset.nodata)
        try:
            values = np.asarray(array[rows, columns])
        except DAMAGE as error:
            raise InputError(f"{product}, {name}: a chunk is damaged ({error}); download the product again") from error
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), fill_of(values.dtype, asset.nodata), values)
        # A file in memory, because all rasters get onto the grid through `read_on`.
        part = own.window(rows, columns)
        profile = {"count": 1, "dtype": values.dtype, "crs": part.crs, "transform": part.transform}
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", height=part.height, width=part.width, **profile) as file:
                file.write(values, 1)
            return Raw(read_on(memory.name, grid, nodata=asset.nodata, method=method), asset.nodata)

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` when chunks of a product of `acquisition` are missing or truncated."""
        for granule in acquisition.granules:
            for name in granule.assets:
                self._check_chunks(granule, name)

    def _check_chunks(self, granule: Granule, name: str) -> None:
        asset = granule.assets[name]
        product = Path(self.locate(asset.href))
        array = array_of(product, str(asset.layer))
        where, own, (high, wide) = f"{product}, {name}", _grid(granule, array), array.shards or array.chunks
        places = {
            f"{asset.layer}/{array.metadata.encode_chunk_key((i, j))}": (i * high, j * wide)
            for i, j in np.ndindex(ceil(own.height / high), ceil(own.width / wide))
        }
        blosc = array.shards is None and "blosc" in str(array.compressors).lower()
        missing = _missing(product, list(places), where, blosc=blosc)
        if len(missing) == len(places):
            raise InputError(f"{where}: all of its {len(places)} chunks are missing; download the product again")
        for key in missing:
            top, left = places[key]
            ends = min(top + high, own.height), min(left + wide, own.width)
            under = own.window(slice(top, ends[0]), slice(left, ends[1]))
            for other in (n for n in granule.assets if n != name):
                if (~is_empty(*self.raw(granule, other, under, "nearest"))).mean() > _SLIVER:
                    raise InputError(f"{where}: chunk {key} is missing where {other} has data; download it again")

    def provenance(self) -> dict[str, Any]:
        """Every setting except the path of the folder."""
        return self.model_dump(mode="json", exclude={"folder"})

    def files(self) -> list[str]:
        """Metadata files and chunks (bands and mask) of every product that may belong to the tile."""
        layers = {path for a in self._layers().values() for path in (a, *centres(a))}
        found: list[Path] = []
        for product in self._products():
            if not self._named_elsewhere(product.name, Years()):
                heads = (product, *(product / n for n in (".zmetadata", ".zattrs", ".zgroup", "zarr.json")))
                found += [f for f in heads if f.is_file()]
                found += [Path(place, n) for a in layers for place, _, names in os.walk(product / a) for n in names]
        return sorted(map(str, found))


def _grid(granule: Granule, array: zarr.Array[Any]) -> Grid:
    """Grid of one array: the granule's grid at the array's pixel size."""
    assert granule.grid is not None
    return granule.grid.at_pixel(granule.grid.pixel * granule.grid.width / array.shape[1])


def _missing(product: Path, keys: Sequence[str], where: str, *, blosc: bool) -> list[str]:
    """Keys without a chunk. Truncated chunks are refused, because Blosc would decode them to arbitrary values."""
    if product.suffix == ".zip":
        with ZipFile(product) as archive:
            return sorted(set(keys) - set(archive.namelist()))
    missing = []
    for key in keys:
        try:
            with (product / key).open("rb") as file:
                head, size = file.read(16), os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            missing.append(key)
            continue
        if size < (max(16, int.from_bytes(head[12:16], "little")) if blosc else 1):
            raise InputError(f"{where}: chunk {key} is truncated ({size} bytes); download the product again")
    return missing
