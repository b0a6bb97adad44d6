"""Theia products: real ones, against the same dates as GeoTIFFs, and small ones for what those do not show."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from mlc_dask.data.acquisitions import Catalogue
from mlc_dask.data.errors import InputError
from mlc_dask.io.sources.theia import BitMask, Theia
from tests.cubes import SHARED, Array

REAL = SHARED / "theia_products"
SITE = SHARED / "sites" / "meuse_fr_2016_2018" / "acquisitions"
SIX = ("B02", "B03", "B04", "B8A", "B11", "B12")
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the real Theia products in shared/data")

# Product, its date among the GeoTIFFs, sensing time, platform, version, shares of cloud and of data.
TABLE = [
    ("SENTINEL2A_20160312-105037-460_L2A_T31UFQ_D_V1-1", "20160312T105037_S2A",
     datetime(2016, 3, 12, 10, 50, 37, 460000), "S2A", "1.1", 0.0, 0.0),
    ("SENTINEL2B_20180702-104021-464_L2A_T31UFQ_C_V2-2", "20180702T104021_S2B",
     datetime(2018, 7, 2, 10, 40, 21, 464000), "S2B", "2.2", 0.238125, 1.0),
    ("SENTINEL2A_20180717-104258-591_L2A_T31UFQ_D_V1-8", "20180717T104258_S2A",
     datetime(2018, 7, 17, 10, 42, 58, 591000), "S2A", "1.8", 0.0, 1.0),
]  # fmt: skip


@needs_real
@pytest.mark.parametrize(("index", "row"), list(enumerate(TABLE)))
def test_real_products_are_the_site_s_geotiffs(index: int, row: tuple) -> None:
    """Real products, without MTD_ALL.xml as their publisher cut it off: name and headers tell everything."""
    name, date, time, platform, version, cloud, valid = row
    source = Theia(folder=REAL, bands=SIX)
    catalogue = source.catalogue()
    acquisition, grid = catalogue.acquisitions[index], catalogue.grid
    ((granule,), offsets) = acquisition.granules, {a.offset for a in acquisition.granules[0].assets.values()}
    assert (granule.id, granule.time, granule.platform, granule.baseline) == (name, time, platform, version)
    assert (granule.tile, granule.orbit, granule.cloud, offsets) == ("31UFQ", None, None, {0.0})
    assert (grid.crs_name, grid.left, grid.top, grid.shape) == ("EPSG:32631", 670540, 5461500, (80, 80))
    source.check(acquisition, grid)
    weather = source.weather(acquisition, grid)
    assert (weather.cloud, weather.valid) == (pytest.approx(cloud), valid)
    dn, usable = source.read(acquisition, grid, slice(0, 80), slice(0, 80))
    for plane, band in zip(dn, SIX, strict=True):
        raw = read(SITE / date / f"{band}.tif")
        np.testing.assert_array_equal(plane, np.where(raw == -10000, 0, raw.astype(int) + 1000))
    np.testing.assert_array_equal(usable, (dn != 0).all(axis=0) & (read(SITE / date / "CLM.tif") & 1 == 0))


@needs_real
def test_every_real_cloud_mask_agrees_with_its_documentation() -> None:
    """All 104 dates: bit 0 is set exactly with bit 1 (clouds) or 5 and 6 (shadows) but for the rim of thin clouds."""
    values = np.concatenate([read(f).ravel() for f in sorted(SITE.glob("*/CLM.tif"))])
    cloud, shadow, any_of_them = values & 2 != 0, values & 96 != 0, values & 1 != 0
    assert values.size == 104 * 80 * 80 and (any_of_them | ~(cloud | shadow)).all()
    assert (any_of_them & ~cloud & ~shadow).mean() < 0.0002
    assert (cloud | (values & 128 == 0)).all(), "what the cirrus band sees is among the clouds"


def read(path: Path) -> Array:
    with rasterio.open(path) as file:
        values = file.read(1)
    return values.repeat(80 // len(values), 0).repeat(80 // len(values), 1)


@dataclass(frozen=True)
class Written:
    """A product of two bands and its masks by kind and group; `metadata` leaves MTD_ALL.xml out when False."""

    name: str = "SENTINEL2A_20180405-103021-460_L2A_T32TPS_C_V2-2"
    value: int = 500
    rows: tuple[int, int] = (0, 24)
    masks: tuple[tuple[str, int], ...] = (("CLM_R1", 0), ("CLM_R2", 255))
    metadata: bool = True
    orbit: int = 14546
    corner: tuple[int, int] = (600000, 5200020)

    def write(self, folder: Path) -> Path:
        product = folder / self.name
        for band, pixel in (("B2", 10), ("B8A", 20)):
            plane = np.full((240 // pixel,) * 2, -10000, np.int16)
            plane[slice(*(row * 10 // pixel for row in self.rows))] = self.value
            write(product / f"{self.name}_FRE_{band}.tif", plane, pixel)
            write(product / f"{self.name}_SRE_{band}.tif", plane + 1, pixel)
        for name, value in self.masks:
            pixel = 10 if name.endswith("R1") else 20
            plane = np.zeros((240 // pixel,) * 2, np.uint8)
            plane[:, : 60 // pixel] = value
            write(product / "MASKS" / f"{self.name}_{name}.tif", plane, pixel)
        if self.metadata:
            (product / f"{self.name}_MTD_ALL.xml").write_text(self.text())
        return product

    def text(self) -> str:
        left, top = self.corner
        return f"""<Muscate_Metadata_Document><Product_Characteristics>
            <PRODUCTION_DATE>2018-05-01T00:00:00.0Z</PRODUCTION_DATE>
            <ORBIT_NUMBER type="Orbit">{self.orbit}</ORBIT_NUMBER></Product_Characteristics>
            <HORIZONTAL_CS_CODE>32632</HORIZONTAL_CS_CODE><Group_Geopositioning group_id="R1"><ULX>{left}</ULX>
            <ULY>{top}</ULY><XDIM>10</XDIM><YDIM>-10</YDIM><NROWS>24</NROWS><NCOLS>24</NCOLS></Group_Geopositioning>
            <REFLECTANCE_QUANTIFICATION_VALUE>10000.000000000</REFLECTANCE_QUANTIFICATION_VALUE>
            <SPECIAL_VALUE name="nodata">-10000.0
            </SPECIAL_VALUE><QUALITY_INDEX name="CloudPercent">42</QUALITY_INDEX></Muscate_Metadata_Document>"""


def write(path: Path, plane: Array, pixel: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=len(plane), width=len(plane), count=1, dtype=plane.dtype,
        crs="EPSG:32632", transform=Affine(pixel, 0, 600000, 0, -pixel, 5200020),
    ) as file:  # fmt: skip
        file.write(plane, 1)


def opened(folder: Path, **settings: object) -> tuple[Theia, Catalogue]:
    source = Theia(folder=folder, **{"bands": ("B02", "B8A"), **settings})
    catalogue = source.catalogue()
    for acquisition in catalogue.acquisitions:
        source.check(acquisition, catalogue.grid)
    return source, catalogue


def pixels(source: Theia, catalogue: Catalogue) -> tuple[Array, Array]:
    return source.read(catalogue.acquisitions[0], catalogue.grid, slice(0, 24), slice(0, 24))


@pytest.mark.parametrize(
    ("platform", "told", "orbit"),
    # Pairs of absolute and relative orbits that SAFE products name; what fits into a cycle is relative already.
    [("2A", 24344, 37), ("2A", 35569, 108), ("2B", 14683, 71), ("2B", 20270, 81), ("2B", 26649, 25), ("2A", 65, 65),
     ("2C", 3000, None)],
)  # fmt: skip
def test_metadata(tmp_path: Path, platform: str, told: int, orbit: int | None) -> None:
    Written(name=Written.name.replace("2A_", f"{platform}_", 1), orbit=told).write(tmp_path)
    source, catalogue = opened(tmp_path)
    ((granule,),) = (a.granules for a in catalogue.acquisitions)
    assert (granule.platform, granule.orbit, granule.cloud, granule.tile) == (f"S{platform}", orbit, 0.42, "32TPS")
    assert (granule.baseline, granule.processed) == ("2.2", "2018-05-01T00:00:00.0Z")
    assert catalogue.grid.crs_name == "EPSG:32632" and catalogue.grid.shape == (24, 24)
    assert [Path(f).name.split("_V2-2_")[1] for f in source.files()] == [
        "CLM_R1.tif", "FRE_B2.tif", "FRE_B8A.tif", "MTD_ALL.xml",
    ]  # fmt: skip


@pytest.mark.parametrize("bits", range(8))
def test_bits_of_the_cloud_mask(tmp_path: Path, bits: int) -> None:
    Written(masks=(("CLM_R2", 1 << bits),)).write(tmp_path)
    source, catalogue = opened(tmp_path)
    _, usable = pixels(source, catalogue)
    assert usable[:, 6:].all() and usable[:, :6].any() == (bits != 0)
    share = source.weather(catalogue.acquisitions[0], catalogue.grid).cloud
    assert share == (0.25 if bits in (1, 7) else 0)
    strict, _ = opened(tmp_path, mask=BitMask(unusable=(bits,), cloud=(bits,)))
    assert not pixels(strict, catalogue)[1][:, :6].any()
    assert strict.weather(catalogue.acquisitions[0], catalogue.grid).cloud == 0.25


def test_the_finer_cloud_mask_comes_first(tmp_path: Path) -> None:
    Written(masks=(("CLM_R2", 1), ("CLM_R1", 0), ("MG2_R1", 255))).write(tmp_path)
    assert pixels(*opened(tmp_path))[1].all()


@pytest.mark.parametrize(("bits", "usable", "cloud"), [(1, True, 0), (2, False, 0.25), (4, True, 0), (8, False, 0)])
def test_the_geophysical_mask_stands_in(tmp_path: Path, bits: int, usable: bool, cloud: float) -> None:
    Written(masks=(("MG2_R2", bits),)).write(tmp_path)
    source, catalogue = opened(tmp_path)
    assert pixels(source, catalogue)[1][:, :6].all() == usable
    assert source.weather(catalogue.acquisitions[0], catalogue.grid).cloud == cloud


def test_a_product_without_masks(tmp_path: Path) -> None:
    Written(masks=()).write(tmp_path)
    with pytest.raises(InputError, match=r"has no mask CLM or MG2; download the product again"):
        opened(tmp_path)
    source, catalogue = opened(tmp_path, mask=None)
    assert pixels(source, catalogue)[1].all() and source.weather(catalogue.acquisitions[0], catalogue.grid).cloud == 0


def test_no_data_is_told_by_the_bands(tmp_path: Path) -> None:
    """Where nothing was seen the cloud mask is 0, as over clear ground."""
    Written(rows=(12, 24), masks=(("CLM_R1", 2), ("EDG_R1", 1))).write(tmp_path)
    source, catalogue = opened(tmp_path)
    dn, usable = pixels(source, catalogue)
    assert not dn[:, :12].any() and not usable[:12].any() and usable[12:, 6:].all()
    weather = source.weather(catalogue.acquisitions[0], catalogue.grid)
    assert (weather.valid, weather.cloud) == (0.5, 0.25)
    edged, _ = opened(tmp_path, edges=True)
    catalogue = edged.catalogue()
    dn, usable = pixels(edged, catalogue)
    assert not dn[:, :, :6].any() and not usable[:, :6].any() and (dn[:, 12:, 6:] == 1500).all()
    weather = edged.weather(catalogue.acquisitions[0], catalogue.grid)
    assert (weather.valid, weather.cloud) == (0.375, 0)


def test_negative_reflectance_is_kept(tmp_path: Path) -> None:
    Written(value=-120).write(tmp_path)
    dn, usable = pixels(*opened(tmp_path))
    assert (dn == 880).all() and usable.all()


def test_reflectance_with_or_without_slopes(tmp_path: Path) -> None:
    Written().write(tmp_path)
    assert (pixels(*opened(tmp_path, reflectance="SRE"))[0] == 1501).all()


@pytest.mark.parametrize("metadata", [True, False])
def test_archives(tmp_path: Path, metadata: bool) -> None:
    product = Written(metadata=metadata).write(tmp_path / "made")
    write(product / f"{product.name}_FRE_B3.tif", np.full((3000, 3000), -10000, np.int16), 10)
    with zipfile.ZipFile(tmp_path / "any.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in product.rglob("*"):
            archive.write(path, path.relative_to(product.parent))
    shutil.rmtree(product)
    source, catalogue = opened(tmp_path)
    assert (pixels(source, catalogue)[0] == 1500).all() and source.files() == [str(tmp_path / "any.zip")]
    with zipfile.ZipFile(tmp_path / "any.zip", "a") as archive:
        archive.writestr("../outside.tif", b"")
    with pytest.raises(InputError, match=r"any\.zip: unexpected archive member '\.\./outside\.tif'; download"):
        opened(tmp_path)


def test_lost_and_misplaced_files_are_refused(tmp_path: Path) -> None:
    product = Written().write(tmp_path)
    with pytest.raises(InputError, match=r"_FRE_B11\.tif is missing or empty; download .*, or leave B11 out"):
        opened(tmp_path, bands=("B02", "B11"))
    (band,) = product.glob("*FRE_B8A.tif")
    band.write_bytes(b"")
    with pytest.raises(InputError, match=r"_FRE_B8A\.tif is missing or empty; download"):
        opened(tmp_path)
    (metadata,) = product.glob("*MTD_ALL.xml")
    metadata.write_text(replace(Written(), corner=(600005, 5200020)).text())
    with pytest.raises(InputError, match=r"_FRE_B2\.tif is .*, but its product is .*600005.*; download"):
        opened(tmp_path)
    metadata.write_text("<!DOCTYPE a [<!ENTITY b 'bb'>]><a>&b;</a>")
    with pytest.raises(InputError, match=r"MTD_ALL\.xml cannot be read as XML .*; download"):
        opened(tmp_path)


def test_of_two_versions_the_newer_is_kept(tmp_path: Path) -> None:
    Written(value=100).write(tmp_path)
    replace(Written(), name=Written.name.replace("V2-2", "V10-0")).write(tmp_path)
    source, catalogue = opened(tmp_path)
    ((granule,),) = (a.granules for a in catalogue.acquisitions)
    assert granule.baseline == "10.0" and (pixels(source, catalogue)[0] == 1500).all()


def test_two_halves_of_one_day_are_mosaicked(tmp_path: Path) -> None:
    Written(rows=(0, 12)).write(tmp_path)
    replace(Written(), name=Written.name.replace("103021-460", "103035-001"), rows=(12, 24), value=600).write(tmp_path)
    source, catalogue = opened(tmp_path)
    assert [len(a.granules) for a in catalogue.acquisitions] == [2]
    dn, usable = pixels(source, catalogue)
    assert usable.all() and (dn[:, :12] == 1500).all() and (dn[:, 12:] == 1600).all()
