"""SAFE: Sentinel-2 L2A products as ESA distributes them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import Element

from mlc_dask.data.acquisitions import Acquisition, Asset, Granule, utc
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.io.checksums import check_digest, check_size, of_manifest
from mlc_dask.io.rasters import Method
from mlc_dask.io.sources.granules import MASK, Raw
from mlc_dask.io.sources.packages import FIX, Product, ProductSource, grid_of, share, told

_BANDS_BY_ID = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
# Never outside the product. Before 2018 the classification was called S2A_USER_SCL_L2A_TL_…_T32TPS_20m.
_IMAGE = re.compile(r"(?!.*\.\.).*_(B\d[\dA]|SCL)_(?:L2A_TL_\w+_)?(\d\d)m(?:\.jp2)?")
_METADATA = re.compile(r"MTD_MSIL2A\.xml|S2\w_USER_MTD_SAFL2A_\w+\.xml")
_TILE_METADATA = re.compile(r"/\w*MTD_\w*TL\w*\.xml$")


class Safe(ProductSource):
    """A folder of ESA's Sentinel-2 L2A products, as ``NAME.SAFE`` folders or zip archives of them, at any depth.

    Scale and offset of every band come from the metadata; the mask is the scene classification.

    Parameters
    ----------
    checksums
        Compare the images with the sizes and checksums in ``manifest.safe`` before they are read.
    """

    checksums: bool = True
    _name: ClassVar[re.Pattern[str]] = re.compile(r".+\.SAFE")
    _dated: ClassVar[re.Pattern[str]] = re.compile(
        r"S2[A-D]_MSIL\w\w_(?P<time>\d{8})T\d{6}_N\d{4}_R\d{3}_T(?P<tile>\d\d[A-Z]{3})_"
    )

    def provenance(self) -> dict[str, Any]:
        """Every setting that decides about pixels."""
        return {name: value for name, value in super().provenance().items() if name != "checksums"}

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` as every source of products does, and for a size that the manifest contradicts."""
        hrefs = [a.href for g in acquisition.granules for a in g.assets.values()] if self.checksums else []
        for href in hrefs:
            place, member, size, _ = self._stated(href)
            if size is not None and (member is not None or place.is_file()):
                found = place.stat().st_size if member is None else _member_size(place, member)
                check_size(self.locate(href), found, size)
        super().check(acquisition, grid)

    def raw(self, granule: Granule, name: str, grid: Grid, method: Method) -> Raw:
        """Digital numbers (h, w) of one image on `grid`, after its checksum was compared."""
        if self.checksums:
            place, member, _, digest = self._stated(granule.assets[name].href)
            if digest is not None:
                check_digest(place, member, digest)
        return super().raw(granule, name, grid, method)

    def _stated(self, href: str) -> tuple[Path, str | None, int | None, tuple[str, str] | None]:
        """File of an asset, its name in an archive, and the size and the digest that the manifest states for it."""
        head, _, inside = href.partition(".SAFE/")
        archive, _, root = head.removeprefix("{").partition("}/")
        zipped = href.startswith("{")
        place = self.folder / (archive if zipped else href)
        product, top = (place, f"{root}.SAFE/") if zipped else (self.folder / f"{head}.SAFE", "")
        manifest = product if zipped else product / "manifest.safe"
        if not manifest.is_file():
            return place, None, None, None
        state = manifest.stat()
        stated = _manifest(product, top, (state.st_size, state.st_mtime_ns)).get(inside, (None, None))
        return place, f"{top}{inside}" if zipped else None, *stated

    def _granules(self, product: Product) -> list[Granule]:
        if "_MSIL1C_" in product.name or "MTD_MSIL1C.xml" in product.files:
            raise InputError(
                f"{product.place} is Level-1C; process it with Sen2Cor, or download the L2A product instead"
            )
        root = product.xml(next(filter(_METADATA.fullmatch, product.files), "MTD_MSIL2A.xml"))
        return [self._granule(product, root, e) for e in root.iter() if e.tag in ("Granule", "Granules")]

    def _granule(self, product: Product, root: Element, part: Element) -> Granule:
        name, stem = part.attrib["granuleIdentifier"], product.name.removesuffix(".SAFE")
        tile, listed = name.split("_T")[-1][:5], [str(e.text) for e in part if e.tag == "IMAGE_FILE"]
        # Before baseline 02.04 the folder has the granule's name, and the list of images leaves it out.
        named = [f for f in product.files if f.startswith(f"GRANULE/{name}/")] or listed or product.files
        inside = (f for f in named if f.startswith("GRANULE/") and f"_T{tile}_" in f)
        folder = "/".join(next(inside, f"GRANULE/{name}").split("/")[:2])
        files = [f for f in product.files if f.startswith(f"{folder}/")]
        own = product.xml(next(filter(_TILE_METADATA.search, files), f"{folder}/MTD_TL.xml"))
        images = {**_finest(f for f in files if "/IMG_DATA/" in f), **_finest(listed)}
        return Granule(
            stem if tile in stem else f"{stem}_T{tile}",
            utc(datetime.fromisoformat(told(own, "SENSING_TIME"))),
            self._assets(product, root, images),
            platform=told(root, "SPACECRAFT_NAME").replace("Sentinel-", "S"),
            orbit=int(told(root, "SENSING_ORBIT_NUMBER")),
            tile=tile,
            baseline=told(root, "PROCESSING_BASELINE"),
            strip=part.attrib["datastripIdentifier"].rpartition("_S")[2].partition("_")[0],
            processed=told(root, "GENERATION_TIME"),
            cloud=share([own, root], "CLOUDY_PIXEL_PERCENTAGE", "Cloud_Coverage_Assessment"),
            missing=share([own, root], "NODATA_PIXEL_PERCENTAGE"),
            grid=grid_of(told(own, "HORIZONTAL_CS_CODE"), own.findall(".//*[@resolution='10']"), product.name),
        )

    def _assets(self, product: Product, root: Element, images: Mapping[str, str]) -> dict[str, Asset]:
        scale = 1 / float(root.findtext(".//BOA_QUANTIFICATION_VALUE") or told(root, "L2A_BOA_QUANTIFICATION_VALUE"))
        offsets = {_BANDS_BY_ID[int(e.attrib["band_id"])]: float(str(e.text)) for e in root.iter("BOA_ADD_OFFSET")}
        names = {b: b for b in self.bands} | ({MASK: "SCL"} if self.mask else {})
        lost = sorted(set(names.values()) - set(images))
        if lost:
            raise InputError(f"{product.place} has no image of {', '.join(lost)}; {FIX}, or correct source.bands")
        return {n: Asset(product.prefix + images[b], scale, offsets.get(b, 0.0) * scale) for n, b in names.items()}


def _member_size(archive: Path, member: str) -> int:
    with zipfile.ZipFile(archive) as file:
        return file.getinfo(member).file_size


@lru_cache(maxsize=1024)
def _manifest(product: Path, top: str, state: tuple[int, int]) -> dict[str, tuple[int | None, tuple[str, str] | None]]:
    """Size and digest by file of a product; empty without a manifest. `state` is part of the cache key."""
    files = (
        ("manifest.safe",)
        if (zipfile.Path(product, top) if top else product).joinpath("manifest.safe").is_file()
        else ()
    )
    found: dict[str, tuple[int | None, tuple[str, str] | None]] = {}
    if not files:
        return found
    for stream in Product(product.name, product, top, "", files).xml("manifest.safe").iter("byteStream"):
        place, digest = stream.find("fileLocation"), stream.find("checksum")
        if place is None:
            continue
        named = None if digest is None else of_manifest(digest.get("checksumName", ""), str(digest.text))
        size = stream.get("size", "")
        found[place.get("href", "").removeprefix("./")] = (int(size) if size.isdigit() else None, named)
    return found


def _finest(paths: Iterable[str]) -> dict[str, str]:
    """Path of every band's image at its finest resolution."""
    coarse_first = sorted((-int(m[2]), m[1], path) for path in paths if (m := _IMAGE.fullmatch(path)))
    return {band: path if path.endswith(".jp2") else f"{path}.jp2" for _, band, path in coarse_first}
