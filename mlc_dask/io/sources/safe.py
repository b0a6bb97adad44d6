"""SAFE: Sentinel-2 L2A products as ESA distributes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import ClassVar
from xml.etree.ElementTree import Element

from mlc_dask.data.acquisitions import Asset, Granule, utc
from mlc_dask.data.errors import InputError
from mlc_dask.io.sources.granules import MASK
from mlc_dask.io.sources.packages import FIX, Product, ProductSource, grid_of, share, told

_BANDS_BY_ID = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
# Never outside the product. Before 2018 the classification was called S2A_USER_SCL_L2A_TL_…_T32TPS_20m.
_IMAGE = re.compile(r"(?!.*\.\.).*_(B\d[\dA]|SCL)_(?:L2A_TL_\w+_)?(\d\d)m(?:\.jp2)?")
_METADATA = re.compile(r"MTD_MSIL2A\.xml|S2\w_USER_MTD_SAFL2A_\w+\.xml")
_TILE_METADATA = re.compile(r"/\w*MTD_\w*TL\w*\.xml$")


class Safe(ProductSource):
    """A folder of ESA's Sentinel-2 L2A products, as ``NAME.SAFE`` folders or zip archives of them, at any depth.

    Scale and offset of every band come from the metadata; the mask is the scene classification.
    """

    _name: ClassVar[re.Pattern[str]] = re.compile(r".+\.SAFE")

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


def _finest(paths: Iterable[str]) -> dict[str, str]:
    """Path of every band's image at its finest resolution."""
    coarse_first = sorted((-int(m[2]), m[1], path) for path in paths if (m := _IMAGE.fullmatch(path)))
    return {band: path if path.endswith(".jp2") else f"{path}.jp2" for _, band, path in coarse_first}
