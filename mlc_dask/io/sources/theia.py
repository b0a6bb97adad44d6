"""Theia: Sentinel-2 L2A products made by MAJA, as CNES distributes them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Literal
from xml.etree.ElementTree import Element

from mlc_dask.data.acquisitions import Asset, Granule
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.sensors import SENTINEL2
from mlc_dask.io.rasters import open_raster
from mlc_dask.io.sources.granules import DN, MASK, Mask, Sky, Usable
from mlc_dask.io.sources.packages import Product, ProductSource, grid_of, share, told

_EDGE = "edge"
_PRODUCT = re.compile(
    r"SENTINEL(?P<platform>2[A-D])_(?P<time>\d{8}-\d{6}-\d{3})_L2A_T(?P<tile>\d\d[A-Z]{3})_[A-Z]_V(?P<version>\d+-\d+)"
)
_PHASES = {"S2A": 3, "S2B": -26}
"""Relative orbit = (absolute orbit + this phase - 1) mod 143 + 1; a cycle has 143 orbits."""


class BitMask(Mask):
    """A bit field: which bits make a pixel unusable, and which bits mean cloud."""

    file: str = "CLM"
    unusable: tuple[int, ...] = (0,)
    cloud: tuple[int, ...] = (1, 7)
    snow: tuple[int, ...] = ()
    # No bit is set outside the image: the bands show where there is data.
    nodata: tuple[()] = ()


class Theia(ProductSource):
    """A folder of Theia's MAJA products, or zip archives of them, at any depth.

    Parameters
    ----------
    reflectance
        ``FRE``, reflectance corrected for slopes, or ``SRE``, uncorrected.
    mask
        The cloud mask. Bit 0 marks all shadows and all clouds except the thinnest, bit 1 these clouds alone, bit 7
        clouds in the cirrus band. Only these three bits mean the same in Theia's products and in MAJA's own format. The
        thinnest clouds (bit 4) stay usable where no other bit is set.
    geophysical
        The mask of products without a cloud mask: bit 1 marks clouds, bit 3 their shadows (bit 0 water, bit 2 snow,
        bit 4 and above terrain and a low sun).
    edges
        Treat pixels in the edge mask as no data; the bands have no data there in any case.
    """

    reflectance: Literal["FRE", "SRE"] = "FRE"
    mask: BitMask | None = BitMask()
    geophysical: BitMask = BitMask(file="MG2", unusable=(1, 3), cloud=(1,), snow=(2,))
    edges: bool = False
    _name: ClassVar[re.Pattern[str]] = _PRODUCT
    _dated: ClassVar[re.Pattern[str]] = re.compile(r"_(?P<time>\d{8})-\d{6}-\d{3}_L2A_T(?P<tile>\d\d[A-Z]{3})_")
    _bulky: ClassVar[bool] = True

    def _granules(self, product: Product) -> list[Granule]:
        parts = _PRODUCT.fullmatch(product.name)
        assert parts is not None
        metadata = next((f for f in product.files if f.endswith("_MTD_ALL.xml")), None)
        root = Element("none") if metadata is None else product.xml(metadata)
        assets = self._assets(product, root)
        time, platform = datetime.strptime(f"{parts['time']}000", "%Y%m%d-%H%M%S-%f"), f"S{parts['platform']}"
        granule = Granule(
            product.name,
            time,
            assets,
            platform=platform,
            orbit=_orbit(root.findtext(".//ORBIT_NUMBER"), platform),
            tile=parts["tile"],
            baseline=parts["version"].replace("-", "."),
            # The sensing time, to the millisecond, stays the same when a product is reprocessed.
            strip=parts["time"],
            processed=(root.findtext(".//PRODUCTION_DATE") or "").strip(),
            cloud=share([root], "QUALITY_INDEX[@name='CloudPercent']"),
            grid=self._product_grid(root, assets, product.name),
        )
        return [granule]

    def _assets(self, product: Product, root: Element) -> dict[str, Asset]:
        scale = 1 / float(root.findtext(".//REFLECTANCE_QUANTIFICATION_VALUE") or 10_000)
        nodata = int(float(root.findtext(".//SPECIAL_VALUE[@name='nodata']") or -10_000))
        found = {}
        for band in self.bands:
            ending = f"_{self.reflectance}_{band.replace('B0', 'B')}.tif"
            file = next((f for f in product.files if f.endswith(ending)), product.name + ending)
            found[band] = Asset(product.prefix + file, scale, 0.0, nodata)
        if self.mask is not None:
            found[MASK] = _mask(product, self.mask.file, self.geophysical.file)
        if self.edges:
            # There is no data beyond the file either.
            found[_EDGE] = replace(_mask(product, "EDG"), nodata=1)
        return found

    def _product_grid(self, root: Element, assets: dict[str, Asset], name: str) -> Grid:
        places = root.findall(".//Group_Geopositioning[@group_id='R1']")
        if places:
            code = told(root, "HORIZONTAL_CS_CODE")
            return grid_of(code if ":" in code else f"EPSG:{code}", places, name)
        finest = min(self.bands, key=lambda b: SENTINEL2.resolution.get(b, 10))
        with open_raster(self.locate(assets[finest].href)) as file:
            return Grid.of(file).at_pixel(10.0)

    def _bits(self, granule: Granule, grid: Grid, kind: Literal["unusable", "cloud", "snow"]) -> Usable:
        """Pixels with at least one of the mask's bits of `kind`."""
        assert self.mask is not None
        of = self.mask if f"_{self.mask.file}_" in granule.assets[MASK].href else self.geophysical
        bits = sum(1 << bit for bit in getattr(of, kind))
        found: Usable = (self.raw(granule, MASK, grid, "nearest").values & bits) != 0
        return found

    def _sky(self, granule: Granule, grid: Grid) -> Sky:
        valid = self._has_data(granule, grid)
        if self.mask is None:
            return Sky(~valid & valid, ~valid & valid, valid)
        return Sky(valid & self._bits(granule, grid, "cloud"), valid & self._bits(granule, grid, "snow"), valid)

    def _usable(self, granule: Granule, dn: DN, window: Grid) -> Usable:
        usable: Usable = (dn != 0).all(axis=0)
        return usable & ~self._bits(granule, window, "unusable") if self.mask else usable

    def _has_data(self, granule: Granule, grid: Grid) -> Usable:
        found = super()._has_data(granule, grid)
        return found & ~self._edge(granule, grid) if self.edges else found

    def _dn(self, granule: Granule, window: Grid) -> DN:
        dn = super()._dn(granule, window)
        if self.edges:
            dn[:, self._edge(granule, window)] = 0
        return dn

    def _edge(self, granule: Granule, grid: Grid) -> Usable:
        found: Usable = self.raw(granule, _EDGE, grid, "nearest").values != 0
        return found


def _mask(product: Product, *kinds: str) -> Asset:
    """First of `kinds` that the product has as a mask, in the finer of its resolutions."""
    endings = [f"_{kind}_{group}.tif" for kind in kinds for group in ("R1", "R2")]
    file = next((f for e in endings for f in product.files if f.endswith(e)), None)
    if file is None:
        names = " or ".join(kinds)
        raise InputError(f"{product.place} has no mask {names}; download the product again, with its folder MASKS")
    return Asset(product.prefix + file)


def _orbit(text: str | None, platform: str) -> int | None:
    """Relative orbit; the metadata gives either the absolute or the relative one."""
    if not text or int(text) <= 143:
        return int(text) if text else None
    return (int(text) + _PHASES[platform] - 1) % 143 + 1 if platform in _PHASES else None
