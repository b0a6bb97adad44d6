"""EOPF: Sentinel-2 L2A as Zarr products (formats 2 and 3), as ESA's converter writes them.

Reflectance is what the CF attributes make of the stored integers; those are read raw and converted once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, floor
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812

import numpy as np
import numpy.typing as npt
import zarr
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.warp import transform_bounds
from zarr.storage import ZipStore

from mlc_dask.acquisitions import Acquisition, Asset, Catalogue, Granule
from mlc_dask.errors import InputError
from mlc_dask.grids import Grid
from mlc_dask.io.rasters import Method, read_on
from mlc_dask.io.sources.area import AreaSource
from mlc_dask.io.sources.granules import MASK, required
from mlc_dask.sensors import SENTINEL2

_SCL = "conditions/mask/l2a_classification/r20m/scl"
_NAME = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L\w\w)_(?P<time>\d{8}T\d{6})_N(?P<major>\d\d)(?P<minor>\d\d)"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\d{2}[A-Z]{3})_(?P<made>\d{8}T\d{6})"
)
# No data among floats, whose own is NaN: no reflectance is that low.
_EMPTY = -9999
# Share of a chunk that may have data in one array and none in another: at the edge of the swath, bands end apart.
_SLIVER = 0.01
# What zarr and its codecs raise over damaged files.
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, EOFError, ZlibError, BadZipFile)


class Eopf(AreaSource):
    """A folder of EOPF products of Sentinel-2 L2A, ``NAME.zarr`` or ``NAME.zarr.zip``, at any depth.

    The mask is the scene classification; ``mask.file`` is not used. In an :class:`Asset`, `href` is the product and
    `layer` the array within.

    Zarr reads a chunk whose file is missing as no data, and writers leave chunks of no data out, so that a product
    downloaded in part looks like one at the edge of the swath. :meth:`check` takes a missing chunk for no data only
    where no other band nor the mask has data, and refuses arrays without any chunk and chunks cut short. What all
    arrays lack at one place cannot be told from no data.
    """

    folder: Path

    def catalogue(self, years: Sequence[int] | None = None) -> Catalogue:
        """Lattice and acquisitions of `years`; refuses Level-1C and products whose metadata is unfit."""
        return self._catalogue([self._granule(p) for p in self._products()], years, str(self.folder))

    def locate(self, href: str) -> str:
        """Path below the folder, which may move between two runs."""
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
        """Array within a product by band, and that of the mask."""
        bands = {b: f"measurements/reflectance/r{SENTINEL2.resolution.get(b, 10)}m/{b.lower()}" for b in self.bands}
        return bands if self.mask is None else {**bands, MASK: _SCL}

    def _granule(self, product: Path) -> Granule:
        root, assets, grids = _root(product), {}, {}
        for name, layer in self._layers().items():
            array = _array(product, layer)
            packing = (1.0, 0.0, 0) if name == MASK else _packing(array, f"{product}, {name}")
            assets[name] = Asset(str(product.relative_to(self.folder)), *packing, layer)
            grids[name] = _grid(product, layer, array, root)
        finest = min(grids.values(), key=lambda g: g.pixel)
        for name, own in grids.items():
            if not finest.at_pixel(own.pixel).matches(own):
                raise InputError(f"{product}: {name} is on {own.label}, not over {finest.label}; fetch it again")
        return _described(product, root, assets, finest)

    def raw(self, granule: Granule, name: str, grid: Grid, method: Method) -> npt.NDArray[Any]:
        """Return the stored numbers (h, w) of one array on `grid`, its no-data value where it has none."""
        asset = granule.assets[name]
        product = Path(self.locate(asset.href))
        array = _array(product, str(asset.layer))
        own = _lattice(granule, array)
        rows, columns = _around(grid, own)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return np.full(grid.shape, asset.nodata, array.dtype)
        try:
            values = np.asarray(array[rows, columns])
        except _DAMAGE as error:
            raise InputError(f"{product}, {name}: a chunk is damaged ({error}); fetch the product again") from error
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), asset.nodata, values)
        # As a file in memory, it gets onto the lattice by the one rule of all rasters.
        part = own.window(rows, columns)
        profile = {"count": 1, "dtype": values.dtype, "crs": part.crs, "transform": part.transform}
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", height=part.height, width=part.width, **profile) as file:
                file.write(values, 1)
            return read_on(memory.name, grid, nodata=asset.nodata, method=method)

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` when chunks of a product of `acquisition` are missing or cut short."""
        for granule in acquisition.granules:
            for name in granule.assets:
                self._check_chunks(granule, name)

    def _check_chunks(self, granule: Granule, name: str) -> None:
        asset = granule.assets[name]
        product = Path(self.locate(asset.href))
        array = _array(product, str(asset.layer))
        where, own, (high, wide) = f"{product}, {name}", _lattice(granule, array), array.shards or array.chunks
        places = {
            f"{asset.layer}/{array.metadata.encode_chunk_key((i, j))}": (i * high, j * wide)
            for i, j in np.ndindex(ceil(own.height / high), ceil(own.width / wide))
        }
        missing = _missing(
            product, list(places), where, blosc=array.shards is None and "blosc" in str(array.compressors).lower()
        )
        if len(missing) == len(places):
            raise InputError(f"{where}: not one of its {len(places)} chunks is there; fetch the product again")
        for key in missing:
            top, left = places[key]
            ends = min(top + high, own.height), min(left + wide, own.width)
            under = own.window(slice(top, ends[0]), slice(left, ends[1]))
            for other in (n for n in granule.assets if n != name):
                if (self.raw(granule, other, under, "nearest") != granule.assets[other].nodata).mean() > _SLIVER:
                    raise InputError(f"{where}: chunk {key} is missing where {other} has data; fetch it again")

    def provenance(self) -> dict[str, Any]:
        """Every setting but where the folder lies."""
        return self.model_dump(mode="json", exclude={"folder"})

    def files(self) -> list[str]:
        """Metadata and chunks of the bands and the mask of every product that may be of the tile."""
        layers = {path for a in self._layers().values() for path in (a, *_centres(a))}
        found: list[Path] = []
        for product in self._products():
            name = _NAME.search(product.name)
            if name is None or self.tile in (None, name["tile"]):
                heads = (product, *(product / n for n in (".zmetadata", ".zattrs", ".zgroup", "zarr.json")))
                found += [f for f in heads if f.is_file()]
                found += [Path(place, n) for a in layers for place, _, names in os.walk(product / a) for n in names]
        return sorted(map(str, found))


def _lattice(granule: Granule, array: zarr.Array[Any]) -> Grid:
    """Lattice of one array: the granule's, with the array's own pixels."""
    assert granule.grid is not None
    return granule.grid.at_pixel(granule.grid.pixel * granule.grid.width / array.shape[1])


def _around(grid: Grid, own: Grid) -> tuple[slice, slice]:
    """Rows and columns of `own` under `grid`, with what any resampling looks at beside it."""
    left, bottom, right, top = transform_bounds(grid.crs, own.crs, *grid.bounds, densify_pts=21)
    beside = 4 * max(1, ceil(grid.pixel / own.pixel))
    spans = ((own.top - top, own.top - bottom, own.height), (left - own.left, right - own.left, own.width))
    rows, columns = (
        slice(max(0, floor(low / own.pixel) - beside), min(size, ceil(high / own.pixel) + beside))
        for low, high, size in spans
    )
    return rows, columns


def _missing(product: Path, keys: Sequence[str], where: str, *, blosc: bool) -> list[str]:
    """Keys that have no chunk; refuses chunks cut short, of which Blosc would make any values."""
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
        if size < (int.from_bytes(head[12:16], "little") if blosc else 1) or not size:
            raise InputError(f"{where}: chunk {key} is cut short ({size} bytes); fetch the product again")
    return missing


def _root(product: Path) -> dict[str, Any]:
    """Attributes of the product; refuses what is not Level-2A."""
    try:
        # The consolidated metadata is half a megabyte, of arrays that are not needed.
        root = dict(zarr.open_group(_store(product), mode="r", use_consolidated=False).attrs)
    except _DAMAGE as error:
        raise InputError(f"{product}: its metadata cannot be read ({error}); fetch the product again") from error
    item = _stac(root)
    name, kind = _NAME.search(f"{item['id']} {product.name}"), str(item["properties"].get("product:type"))
    if kind.endswith("L1C") or (name and name["level"] != "L2A"):
        raise InputError(f"{product} is Level-1C, not surface reflectance; put its Level-2A product in its place")
    return root


def _store(product: Path) -> str | ZipStore:
    return ZipStore(product, mode="r") if product.suffix == ".zip" else str(product)


def _stac(root: Mapping[str, Any]) -> dict[str, Any]:
    """Item that describes the product, its properties without those that say null."""
    item = dict(root.get("stac_discovery") or {})
    told = {name: value for name, value in (item.get("properties") or {}).items() if value not in (None, "", "null")}
    return {"id": "", **item, "properties": told}


def _array(product: Path, layer: str) -> zarr.Array[Any]:
    try:
        return zarr.open_array(_store(product), path=layer, mode="r")
    except FileNotFoundError:
        raise InputError(
            f"{product} has no array {layer}; fetch the Level-2A product again, or correct source.bands"
        ) from None
    except _DAMAGE as error:
        raise InputError(f"{product}: metadata of {layer} cannot be read ({error}); fetch it again") from error


def _packing(array: zarr.Array[Any], where: str) -> tuple[float, float, int]:
    """Scale, offset and no-data value as the attributes tell them; nothing is concluded from baseline or date."""
    own: dict[str, Any] = dict(array.attrs)
    scale, offset = own.get("scale_factor"), float(own.get("add_offset") or 0.0)
    if array.dtype.kind == "f":
        if (scale or 1.0, offset) != (1.0, 0.0):
            raise InputError(f"{where}: floats with a scale_factor may be scaled already; use the product of integers")
        return 1.0, 0.0, _EMPTY
    if scale is None:
        raise InputError(f"{where} has no scale_factor, so reflectance is unknown; fetch the product from ESA again")
    return float(scale), offset, int(own.get("_FillValue", own.get("fill_value")) or 0)


def _centres(layer: str) -> tuple[str, str]:
    """Arrays of the pixel centres of an array, y and x."""
    group = layer.rpartition("/")[0]
    return f"{group}/y", f"{group}/x"


def _grid(product: Path, layer: str, array: zarr.Array[Any], root: Mapping[str, Any]) -> Grid:
    """Lattice of an array, from the pixel centres beside it."""
    where = f"{product}, {layer}"
    order: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if list(order or ()) != ["y", "x"]:
        raise InputError(f"{where} has dimensions {order}, not y and x; fetch the product from ESA again")
    y, x = (np.asarray(_array(product, path)[:], float) for path in _centres(layer))
    if array.shape != (len(y), len(x)) or min(array.shape) < 2:
        raise InputError(f"{where} has {array.shape} pixels, its y and x {len(y)} and {len(x)}; fetch it again")
    pixel = (x[-1] - x[0]) / (len(x) - 1)
    even = all(np.allclose(np.diff(c), step, rtol=1e-3) for c, step in ((x, pixel), (y, -pixel)))
    if not even or pixel <= 0:
        raise InputError(f"{where}: its x and y are no even steps east and south; fetch the product again")
    corner = Affine(pixel, 0, x[0] - pixel / 2, 0, -pixel, y[0] + pixel / 2)
    return Grid.at(_crs(array, root, where), corner, array.shape, where)


def _crs(array: zarr.Array[Any], root: Mapping[str, Any], where: str) -> str:
    """CRS as the array, the item and the other metadata name it, who must agree."""
    other = {name.lower(): value for name, value in (root.get("other_metadata") or {}).items()}
    told = [own.get(f"proj:{n}") for own in (array.attrs, _stac(root)["properties"]) for n in ("epsg", "code")]
    codes = {f"EPSG:{str(t).upper().removeprefix('EPSG:')}" for t in (*told, other.get("horizontal_crs_code")) if t}
    if len(codes) != 1:
        have = f"is in {' and '.join(sorted(codes))} at once" if codes else "has no CRS (proj:epsg, proj:code)"
        raise InputError(f"{where} {have}; fetch the product again")
    return codes.pop()


def _described(product: Path, root: Mapping[str, Any], assets: Mapping[str, Asset], grid: Grid) -> Granule:
    """Granule from the item in the product's attributes and, where that is silent, from its name.

    ``processing:version`` is no baseline: it is the converter's.
    """
    item, other = _stac(root), root.get("other_metadata") or {}
    own = item["properties"]
    match = _NAME.search(f"{item['id']} {product.name}")
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
        # Two datastrips of one datatake bear one time; where they are not named, their tiles' sensing times differ.
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
        raise InputError(f"{product}: its sensing time is {text!r}, no date; fetch the product again") from None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
