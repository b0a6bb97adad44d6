"""SAFE products: real metadata, real JPEG 2000 files, and small products written here for what those do not show."""

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
from mlc_dask.io.sources.safe import Safe, _finest
from tests.cubes import SHARED, Array

BANDS = ("B02", "B8A")
REAL = SHARED / "safe"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the real SAFE products in shared/data")

# Name, tile, sensing time of the tile, baseline, reflectance at DN 1500, orbit, cloud and empty share, corner, strip.
TABLE = [
    ("S2B_MSIL2A_20191228T210519_N0212_R071_T01CCV_20201003T104658", "01CCV", datetime(2019, 12, 28, 21, 5, 52, 62315),
     "02.12", 0.15, 71, 0.9999889, 0.79061437, ("EPSG:32701", 300000, 2000020), "20191228T210521"),
    ("S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500", "22HBD", datetime(2021, 1, 22, 13, 42, 49, 838906),
     "02.14", 0.15, 81, 0.00447807, 0.00913129, ("EPSG:32722", 199980, 5900020), "20210122T133224"),
    ("S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126", "33XWJ", datetime(2022, 4, 13, 15, 8, 7, 846358),
     "04.00", 0.05, 25, 0.98944211, 0.98441625, ("EPSG:32633", 499980, 8900040), "20220413T150756"),
]  # fmt: skip


@needs_real
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[3])
def test_real_metadata(row: tuple, tmp_path: Path) -> None:
    name, tile, time, baseline, reflectance, orbit, cloud, missing, (crs, left, top), strip = row
    shutil.copytree(REAL / f"{name}.SAFE", tmp_path / "2020" / f"{name}.SAFE")
    source = Safe(folder=tmp_path, tile=f"T{tile}")
    catalogue = source.catalogue()
    ((granule,),) = (a.granules for a in catalogue.acquisitions)
    assert (granule.id, granule.tile, granule.time, granule.baseline) == (name, tile, time, baseline)
    assert (granule.platform, granule.orbit, granule.strip) == ("S2B", orbit, strip)
    assert (granule.cloud, granule.missing) == (pytest.approx(cloud), pytest.approx(missing))
    assert (catalogue.grid.crs_name, catalogue.grid.left, catalogue.grid.top) == (crs, left, top)
    assert catalogue.grid.shape == (10980, 10980) and catalogue.grid.pixel == 10
    assert set(granule.assets) == {*source.bands, "mask"}
    assert {round(1500 * a.scale + a.offset, 9) for b, a in granule.assets.items() if b != "mask"} == {reflectance}
    for band, asset in granule.assets.items():
        fine = band in ("B02", "B03", "B04", "B08")
        assert asset.href.startswith(f"2020/{name}.SAFE/GRANULE/") and ("/R10m/" if fine else "/R20m/") in asset.href
        assert asset.href.endswith(f"_{'SCL' if band == 'mask' else band}_{10 if fine else 20}m.jp2")
    with pytest.raises(InputError, match=r"B02_10m\.jp2 (is missing or empty|has 0 bytes)"):
        source.check(catalogue.acquisitions[0], catalogue.grid)


@needs_real
def test_real_images(tmp_path: Path) -> None:
    """The noise of a public test data set: its images are real JPEG 2000, its metadata is written here."""
    name = "S2A_MSIL2A_20220414T110751_N0400_R108_T26EMU_20220414T165533"
    shutil.copytree(REAL / "synthetic_pixels" / f"{name}.SAFE", tmp_path / f"{name}.SAFE")
    with pytest.raises(InputError, match=r"MTD_MSIL2A\.xml is missing; download the product again"):
        Safe(folder=tmp_path).catalogue()
    (granule,) = (tmp_path / f"{name}.SAFE" / "GRANULE").iterdir()
    for old in granule.rglob("*_20190414T*"):
        old.unlink()
    one = replace(
        Written(name), size=128, crs="EPSG:32616", corner=(399960, 4500000), folder=granule.name, listed=False
    )
    one.metadata(tmp_path)
    source = Safe(folder=tmp_path)
    catalogue = source.catalogue()
    (acquisition,) = catalogue.acquisitions
    source.check(acquisition, catalogue.grid)
    for band in source.bands:
        plane = source.raw(acquisition.granules[0], band, catalogue.grid, "nearest").values
        pixel = 10 if band in ("B02", "B03", "B04", "B08") else 20
        with rasterio.open(granule / "IMG_DATA" / f"R{pixel}m" / f"T26EMU_20220414T110751_{band}_{pixel}m.jp2") as file:
            np.testing.assert_array_equal(plane, file.read(1).repeat(pixel // 10, 0).repeat(pixel // 10, 1))
    with pytest.raises(InputError, match=r"cannot be numbers of scale 0\.0001"):
        source.read(acquisition, catalogue.grid, slice(0, 128), slice(0, 128))


@dataclass(frozen=True)
class Written:
    """A product of two bands and the scene classification, as small as the format allows."""

    name: str
    size: int = 24
    value: int = 1500
    offsets: tuple[int, ...] = (-1000,) * 13
    strip: str = "20220414T110747"
    crs: str = "EPSG:32632"
    corner: tuple[int, int] = (600000, 5200020)
    folder: str = ""
    rows: tuple[int, int] = (0, 24)
    listed: bool = True

    @property
    def baseline(self) -> str:
        return f"{self.name[28:30]}.{self.name[30:32]}"

    @property
    def tile(self) -> str:
        return self.name[39:44]

    def write(self, folder: Path) -> Path:
        self.metadata(folder)
        for path, pixel, value in self.images():
            plane = np.zeros((self.size * 10 // pixel,) * 2, np.uint16)
            plane[slice(*(row * 10 // pixel for row in self.rows))] = value
            target = folder / f"{self.name}.SAFE" / f"{path}.jp2"
            target.parent.mkdir(parents=True, exist_ok=True)
            left, top = self.corner
            with rasterio.open(
                target, "w", driver="JP2OpenJPEG", height=len(plane), width=len(plane), count=1, dtype="uint16",
                crs=self.crs, transform=Affine(pixel, 0, left, 0, -pixel, top), QUALITY=100, REVERSIBLE="YES",
            ) as file:  # fmt: skip
                file.write(plane, 1)
        return folder / f"{self.name}.SAFE"

    def images(self) -> list[tuple[str, int, int]]:
        place = f"GRANULE/{self.granule}/IMG_DATA"
        wanted = (("B02", 20, 9), ("B02", 10, self.value), ("B8A", 20, self.value + 7), ("SCL", 20, 4))
        return [(f"{place}/R{p}m/T{self.tile}_{self.name[11:26]}_{b}_{p}m", p, v) for b, p, v in wanted]

    @property
    def granule(self) -> str:
        return self.folder or f"L2A_T{self.tile}_A035569_{self.strip}"

    def part(self) -> str:
        ids = f'datastripIdentifier="S2A_OPER_MSI_L2A_DS_2APS_20220414T165533_S{self.strip}_N{self.baseline}"'
        ids += f' granuleIdentifier="S2A_OPER_MSI_L2A_TL_2APS_20220414T165533_A035569_T{self.tile}_N{self.baseline}"'
        files = "".join(f"<IMAGE_FILE>{path}</IMAGE_FILE>" for path, _, _ in self.images())
        return f"<Granule {ids}>{files if self.listed else ''}</Granule>"

    def metadata(self, folder: Path, *others: Written) -> None:
        offsets = "".join(f'<BOA_ADD_OFFSET band_id="{i}">{o}</BOA_ADD_OFFSET>' for i, o in enumerate(self.offsets))
        general = f"""<PROCESSING_BASELINE>{self.baseline}</PROCESSING_BASELINE>
            <GENERATION_TIME>2022-04-14T16:55:33.000000Z</GENERATION_TIME><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>
            <SENSING_ORBIT_NUMBER>108</SENSING_ORBIT_NUMBER><BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>
            {offsets}<Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment>"""
        parts = "".join(one.part() for one in (self, *others))
        product = folder / f"{self.name}.SAFE"
        for one in (self, *others):
            (product / "GRANULE" / one.granule).mkdir(parents=True, exist_ok=True)
            (product / "GRANULE" / one.granule / "MTD_TL.xml").write_text(one.tile_metadata())
        (product / "MTD_MSIL2A.xml").write_text(f"<a><b>{general}{parts}</b></a>")

    def tile_metadata(self) -> str:
        left, top = self.corner
        time = datetime.strptime(self.strip, "%Y%m%dT%H%M%S")
        return f"""<a><SENSING_TIME>{time:%Y-%m-%dT%H:%M:%S}.5Z</SENSING_TIME>
            <HORIZONTAL_CS_CODE>{self.crs}</HORIZONTAL_CS_CODE>
            <Size resolution="10"><NROWS>{self.size}</NROWS><NCOLS>{self.size}</NCOLS></Size>
            <Geoposition resolution="10"><ULX>{left}</ULX><ULY>{top}</ULY><XDIM>10</XDIM><YDIM>-10</YDIM></Geoposition>
            </a>"""


NEW = Written("S2A_MSIL2A_20220414T101751_N0510_R108_T32TPS_20220414T165533")
OLD = replace(NEW, name=NEW.name.replace("N0510", "N0214"), value=500, offsets=())


def opened(folder: Path, **settings: object) -> tuple[Safe, Catalogue]:
    source = Safe(folder=folder, bands=BANDS, **settings)
    catalogue = source.catalogue()
    for acquisition in catalogue.acquisitions:
        source.check(acquisition, catalogue.grid)
    return source, catalogue


def pixels(source: Safe, catalogue: Catalogue, index: int = 0) -> tuple[Array, Array]:
    height, width = catalogue.grid.shape
    return source.read(catalogue.acquisitions[index], catalogue.grid, slice(0, height), slice(0, width))


def zipped(product: Path, archive: Path, compression: int = zipfile.ZIP_STORED, below: str = "") -> None:
    with zipfile.ZipFile(archive, "w", compression) as target:
        for path in sorted(product.rglob("*")):
            target.writestr(f"{below}{path.relative_to(product.parent)}" + "/" * path.is_dir(), content(path))
    shutil.rmtree(product)


def content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def test_pixels_mask_and_metadata(tmp_path: Path) -> None:
    NEW.write(tmp_path)
    source, catalogue = opened(tmp_path)
    dn, usable = pixels(source, catalogue)
    assert usable.all() and (dn[0] == 1500).all() and (dn[1] == 1507).all()
    granule = catalogue.acquisitions[0].granules[0]
    assert (granule.cloud, granule.missing, granule.orbit, granule.platform) == (0.125, None, 108, "S2A")
    assert {Path(f).name.split("_")[-1] for f in source.files()} == {"10m.jp2", "20m.jp2", "TL.xml", "MSIL2A.xml"}
    assert "folder" not in source.provenance()


def test_every_band_has_its_own_offset(tmp_path: Path) -> None:
    offsets = [0] * 13
    offsets[1], offsets[8] = -1000, -300  # B02, B8A
    replace(NEW, offsets=tuple(offsets)).write(tmp_path)
    dn, _ = pixels(*opened(tmp_path))
    assert (dn[0] == 1500).all() and (dn[1] == 2207).all()


def test_before_baseline_4_there_is_no_offset(tmp_path: Path) -> None:
    OLD.write(tmp_path)
    dn, _ = pixels(*opened(tmp_path))
    assert (dn[0] == 1500).all()


@pytest.mark.parametrize("below", ["./", "2022/", f"{NEW.name}.SAFE.part/"])
def test_products_at_any_depth_of_an_archive(below: str, tmp_path: Path) -> None:
    zipped(NEW.write(tmp_path / "made"), tmp_path / "all.zip", below=below)
    source, catalogue = opened(tmp_path)
    source.check(catalogue.acquisitions[0], catalogue.grid)
    assert (pixels(source, catalogue)[0][0] == 1500).all()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives(tmp_path: Path, compression: int) -> None:
    (tmp_path / "year 2022").mkdir()
    zipped(NEW.write(tmp_path / "made"), tmp_path / "year 2022" / f"{NEW.name}.SAFE.zip", compression)
    source, catalogue = opened(tmp_path)
    assert (pixels(source, catalogue)[0][0] == 1500).all()
    assert source.files() == [str(tmp_path / "year 2022" / f"{NEW.name}.SAFE.zip")]
    assert catalogue.acquisitions[0].granules[0].assets["B02"].href.startswith("{year 2022/")


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o120777 << 16
    return member


@pytest.mark.parametrize(
    ("member", "size"),
    [
        ("../outside.jp2", 1),
        ("/etc/absolute.jp2", 1),
        ("a\\..\\..\\b.jp2", 1),
        (link(f"{NEW.name}.SAFE/link.jp2"), 1),
        (f"{NEW.name}.SAFE/bomb.jp2", 50_000_000),
    ],
    ids=["parent", "absolute", "backslash", "link", "bomb"],
)
def test_malicious_archives_are_refused(tmp_path: Path, member: str | zipfile.ZipInfo, size: int) -> None:
    path = tmp_path / "product.zip"
    zipped(NEW.write(tmp_path / "made"), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"0" * size, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"product\.zip: unexpected archive member .*; download") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "product.SAFE.zip"
    zipped(NEW.write(tmp_path / "made"), path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"product\.SAFE\.zip is not a complete zip archive .*; download"):
        opened(tmp_path)


def test_a_broken_archive_is_left_out_by_name_and_not_looked_at_if_it_is_of_another_year(tmp_path: Path) -> None:
    NEW.write(tmp_path)
    (tmp_path / f"{NEW.name.replace('20220414', '20190414', 1)}.SAFE.zip").write_bytes(b"PK no archive")
    source, catalogue = opened(tmp_path)
    assert [a.time.year for a in catalogue.acquisitions] == [2022]
    assert [one.id for one in catalogue.left_out] == [f"{NEW.name.replace('20220414', '20190414', 1)}.SAFE.zip"]
    assert not source.catalogue([2022]).left_out, "its name says that it is of 2019"
    (tmp_path / "download.zip").write_bytes(b"PK no archive")
    (broken,) = source.catalogue([2022]).left_out
    assert broken.id == "download.zip" and "download.zip is not a complete zip archive" in str(broken)
    assert str(tmp_path / "download.zip") in source.files(), "the archive may be replaced by a whole one"
    other = tmp_path / f"{NEW.name.replace('T32TPS', 'T33TPS')}.zip"
    other.write_bytes(b"PK no archive")
    assert str(other) not in source.model_copy(update={"tile": "32TPS"}).files()


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'


@pytest.mark.parametrize("file", ["MTD_MSIL2A.xml", "MTD_TL.xml"])
@pytest.mark.parametrize("text", ["", "<a>", BOMB, OUTSIDE, "\x00\xff"])
def test_unreadable_metadata_is_refused(tmp_path: Path, file: str, text: str) -> None:
    (path,) = NEW.write(tmp_path).rglob(file)
    path.write_text(text)
    with pytest.raises(InputError, match=rf"{file} cannot be read as XML .*; download the product again"):
        opened(tmp_path)


@pytest.mark.parametrize("tag", ["PROCESSING_BASELINE", "BOA_QUANTIFICATION_VALUE", "SENSING_TIME", "NROWS"])
def test_incomplete_metadata_is_refused(tmp_path: Path, tag: str) -> None:
    for path in NEW.write(tmp_path).rglob("*.xml"):
        path.write_text(path.read_text().replace(tag, "OTHER"))
    with pytest.raises(InputError, match=rf"{NEW.name}.*{tag}.*; download the product again"):
        opened(tmp_path)


@pytest.mark.parametrize("name", [NEW.name.replace("MSIL2A", "MSIL1C"), NEW.name])
def test_level_1c_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.SAFE").mkdir()
    (tmp_path / f"{name}.SAFE" / "MTD_MSIL1C.xml").write_text("<a/>")
    with pytest.raises(InputError, match=rf"{name}\.SAFE is Level-1C; process it with Sen2Cor, or download the L2A"):
        opened(tmp_path)


def test_lost_empty_and_cut_images_are_refused(tmp_path: Path) -> None:
    (band,) = NEW.write(tmp_path).rglob("*_B8A_20m.jp2")
    whole = band.read_bytes()
    band.write_bytes(b"")
    with pytest.raises(InputError, match=r"B8A_20m\.jp2 is missing or empty; download"):
        opened(tmp_path)
    band.write_bytes(whole[:60])
    with pytest.raises(InputError, match=r"B8A_20m\.jp2 cannot be read"):
        opened(tmp_path)
    band.unlink()
    with pytest.raises(InputError, match=r"B8A_20m\.jp2 is missing or empty; download"):
        opened(tmp_path)
    with pytest.raises(InputError, match=r"has no image of B11; download .*, or correct source\.bands"):
        Safe(folder=tmp_path, bands=("B02", "B11")).catalogue()


def test_images_must_lie_where_the_metadata_says(tmp_path: Path) -> None:
    product = NEW.write(tmp_path)
    moved = replace(NEW, corner=(600010, 5200020))
    (product / "GRANULE" / NEW.granule / "MTD_TL.xml").write_text(moved.tile_metadata())
    with pytest.raises(
        InputError, match=r"B02_10m\.jp2 is 24 × 24 .*, but its product is 24 × 24 .*600010.*; download"
    ):
        opened(tmp_path)


def test_images_that_are_not_listed_are_looked_for(tmp_path: Path) -> None:
    replace(NEW, listed=False).write(tmp_path)
    source, catalogue = opened(tmp_path)
    assert catalogue.acquisitions[0].granules[0].assets["B02"].href.endswith("B02_10m.jp2")
    assert (pixels(source, catalogue)[0][0] == 1500).all()


def test_listed_images_stay_inside_the_product(tmp_path: Path) -> None:
    path = NEW.write(tmp_path) / "MTD_MSIL2A.xml"
    path.write_text(path.read_text().replace("/IMG_DATA/", "/IMG_DATA/../../../../other/"))
    _, catalogue = opened(tmp_path)
    assert not any(".." in a.href for a in catalogue.acquisitions[0].granules[0].assets.values())


def test_old_names_and_several_granules(tmp_path: Path) -> None:
    """The format of 2016: granules in folders of their own names, images that the metadata lists without a path."""
    name = "S2A_USER_PRD_MSIL2A_PDMC_20160418T120000_R108_V20160418T101751_20160418T101751"
    one = replace(OLD, listed=False, strip="20160418T101747")
    two = replace(one, name=one.name.replace("32TPS", "32TQS"), corner=(600240, 5200020), value=800)
    for granule in (one, two):
        identifier = f"S2A_OPER_MSI_L2A_TL_2APS_20220414T165533_A035569_T{granule.tile}_N02.14"
        own = replace(granule, folder=identifier)
        written = own.write(tmp_path / "parts")
        shutil.move(written / "GRANULE" / identifier, tmp_path / f"{name}.SAFE" / "GRANULE" / identifier)
        folder = tmp_path / f"{name}.SAFE" / "GRANULE" / identifier
        (folder / "MTD_TL.xml").rename(folder / f"S2A_USER_MTD_L2A_TL_2APS_{granule.tile}.xml")
    text = (tmp_path / "parts" / f"{one.name}.SAFE" / "MTD_MSIL2A.xml").read_text()
    text = text.replace("</Granule>", f"</Granule>{two.part()}").replace("BOA_QUANT", "L2A_BOA_QUANT")
    (tmp_path / f"{name}.SAFE" / "S2A_USER_MTD_SAFL2A_PDMC_2016.xml").write_text(text)
    shutil.rmtree(tmp_path / "parts")
    source = Safe(folder=tmp_path, bands=BANDS, tile="32TQS")
    catalogue = source.catalogue()
    assert [g.id for a in catalogue.acquisitions for g in a.granules] == [f"{name}_T32TQS"]
    assert (pixels(source, catalogue)[0][0] == 1800).all() and catalogue.grid.left == 600240
    ((first,),) = (a.granules for a in Safe(folder=tmp_path, bands=BANDS, tile="32TPS").catalogue().acquisitions)
    assert first.tile == "32TPS" and first.time == datetime(2016, 4, 18, 10, 17, 47, 500000)


def test_the_classification_of_2016_has_a_name_of_its_own() -> None:
    folder = "GRANULE/S2A_USER_MSI_L2A_TL_SGS__20160418T153341_A004287_T32TPS_N02.01/IMG_DATA"
    paths = [f"{folder}/S2A_USER_SCL_L2A_TL_SGS__20160418T153341_A004287_T32TPS_{m}0m.jp2" for m in (2, 6)]
    bands = [f"{folder}/R20m/S2A_USER_MSI_L2A_TL_SGS__20160418T153341_A004287_T32TPS_B8A_20m.jp2"]
    assert _finest([*paths, *bands]) == {"SCL": paths[0], "B8A": bands[0]}


def test_of_two_makings_the_higher_baseline_is_kept(tmp_path: Path) -> None:
    replace(OLD, value=700).write(tmp_path)
    zipped(NEW.write(tmp_path / "made"), tmp_path / "new.zip")
    source, catalogue = opened(tmp_path)
    ((granule,),) = (a.granules for a in catalogue.acquisitions)
    assert granule.baseline == "05.10" and (pixels(source, catalogue)[0][0] == 1500).all()


def test_datastrips_of_one_day_are_mosaicked(tmp_path: Path) -> None:
    replace(NEW, rows=(0, 12)).write(tmp_path)
    later = NEW.name.replace("165533", "171200")
    replace(NEW, name=later, rows=(12, 24), value=1600, strip="20220414T110759").write(tmp_path)
    source, catalogue = opened(tmp_path)
    (acquisition,) = catalogue.acquisitions
    assert {g.strip for g in acquisition.granules} == {"20220414T110747", "20220414T110759"}
    dn, usable = pixels(source, catalogue)
    assert usable.all() and (dn[0, :12] == 1500).all() and (dn[0, 12:] == 1600).all()


def test_without_a_mask_no_classification_is_needed(tmp_path: Path) -> None:
    (scl,) = NEW.write(tmp_path).rglob("*SCL*")
    scl.unlink()
    source, catalogue = opened(tmp_path, mask=None)
    assert pixels(source, catalogue)[1].all() and source.weather(catalogue.acquisitions[0], catalogue.grid).valid == 1
