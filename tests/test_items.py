"""Real STAC items and SAFE-like names as granules, the rules of the radiometric offset, and flags that lie."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pystac
import pytest
import rasterio

from mlc_dask.data.acquisitions import Catalogue, Selection, Surveyed, Weather
from mlc_dask.data.errors import InputError
from mlc_dask.io.sources import Stac, items, stac
from mlc_dask.stages.radiometry import check_radiometry
from mlc_dask.worlds import World
from mlc_dask.worlds.formats import FORMATS
from mlc_dask.worlds.formats.stac import write_catalogue
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.scenes import Scene, scenes
from mlc_dask.worlds.spectra import Ground
from tests.cubes import SHARED

ALIASES = tomllib.loads(Path(stac.__file__).with_name("catalogues.toml").read_text(encoding="utf-8"))["assets"]
TEN = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
COGS = SHARED / "stac" / "earthsearch_v0"

# By eye from the files: name, time, platform, orbit, tile, baseline, datastrip, cloud %, empty %, offset, CRS, corner.
REAL = [
    ("odcstac_S2A_28QCH_20200714_0_L2A", "2020-07-14T11:55:52", "S2A", 123, "28QCH", "02.14", "", 2.36, 93.15, 0.0,
     "EPSG:32628", (300000, 2300040)),
    ("odcstac_S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531", "2019-06-29T21:25:29.024", "S2B", 43, "06VVN",
     "02.12", "20190629T212530", 0.314306, 0.0, 0.0, "EPSG:32606", (399960, 6800040)),
    ("odcstac_S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext", "2019-06-29T21:25:29.024", "S2B", 43,
     "06VVN", "02.12", "20190629T212530", 0.314306, 0.0, 0.0, "EPSG:32606", (399960, 6800040)),
    ("stactools_S2A_OPER_MSI_L2A_TL_SGS__20181231T210250_A018414_T10SDG", "2018-12-31T19:04:06.567", "S2A", None,
     "10SDG", "02.11", "", 2.779036, 40.422097, 0.0, "EPSG:32610", (399960, 4200000)),
    ("stactools_S2A_OPER_MSI_L2A_TL_VGS1_20220401T110010_A035382_T34LBP", "2022-04-01T09:03:19.283", "S2A", None,
     "34LBP", "04.00", "", 92.696983, 97.087371, -0.1, "EPSG:32734", (199980, 8900020)),
    ("stactools_S2B_MSIL2A_20191228T210519_N0212_R071_T01CCV_20201003T104658", "2019-12-28T21:05:19.024", "S2B", 71,
     "01CCV", "02.12", "20191228T210521", 99.99889, 79.061437, 0.0, "EPSG:32701", (300000, 2000020)),
    ("stactools_S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126", "2022-04-13T15:07:59.024", "S2B", 25,
     "33XWJ", "04.00", "20220413T150756", 98.944211, 98.441625, -0.1, "EPSG:32633", (499980, 8900040)),
    ("stactools_esa_S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500", "2021-01-22T13:32:29.024", "S2B", 81,
     "22HBD", "02.14", "20210122T133224", 0.447807, 0.913129, 0.0, "EPSG:32722", (199980, 5900020)),
    ("S2A_29RKH_20200219_0_L2A", "2020-02-19T11:34:25.405", "S2A", 37, "29RKH", "02.14", "20200219T113105", 4.051854,
     0.0, 0.0, "EPSG:32629", (199980, 2800020)),
]  # fmt: skip


def test_a_remote_catalogue_names_no_file_of_this_machine() -> None:
    item = pystac.Item.from_file(str(file_of("S2A_29RKH_20200219_0_L2A")))
    for asset in item.assets.values():
        asset.href = "file:///etc/B04.tif"
    source = Stac(catalogue="https://example.com/v1", collection="a", bands=("B04",), bbox=(0, 0, 1, 1), mask=None)
    with pytest.raises(InputError, match=r"/etc/B04.tif is a path of this machine in a remote catalogue"):
        source._granule(item)
    assert Stac(catalogue="items.json", bands=("B04",), mask=None)._granule(item).assets["B04"].href == "/etc/B04.tif"


def file_of(name: str) -> Path:
    found = list((SHARED / "stac").rglob(f"{name}.json"))
    if not found:
        pytest.skip(f"real item {name} is not beside this checkout")
    return found[0]


@pytest.mark.parametrize("row", REAL, ids=lambda r: r[0])
def test_real_items(row: tuple[Any, ...]) -> None:
    name, time, platform, orbit, tile, baseline, strip, cloud, empty, offset, crs, corner = row
    found = items.granule_of(pystac.Item.from_file(str(file_of(name))), [*TEN, "mask"], ALIASES)
    assert found.time == datetime.fromisoformat(time)
    assert (found.platform, found.orbit, found.tile) == (platform, orbit, tile)
    assert (found.baseline, found.strip) == (baseline, strip)
    assert found.cloud == pytest.approx(cloud / 100) and found.missing == pytest.approx(empty / 100)
    assert {found.assets[b].offset for b in TEN} == {offset} and {found.assets[b].scale for b in TEN} == {1e-4}
    assert found.assets["mask"].scale == 1 and "SCL" in found.assets["mask"].href
    assert found.grid is not None and found.grid.crs_name == crs
    assert (found.grid.left, found.grid.top, found.grid.pixel, found.grid.shape) == (*corner, 10, (10980, 10980))


def test_every_real_item_is_in_the_table() -> None:
    if not (SHARED / "stac").is_dir():
        pytest.skip("the real items are not beside this checkout")
    known = {row[0] for row in REAL}
    found = {p.stem for p in (SHARED / "stac").rglob("*.json") if json.loads(p.read_bytes()).get("type") == "Feature"}
    assert found == known


def test_real_cogs_are_read(tmp_path: Path) -> None:
    """The decimated COGs disagree with their item's shape: what counts is the file's own grid."""
    item = pystac.Item.from_file(str(file_of("S2A_29RKH_20200219_0_L2A")))
    for asset in item.assets.values():
        local = next(COGS.rglob(Path(asset.href).name), None)
        if local is not None:
            asset.href = str(local)
    place = tmp_path / "items.json"
    pystac.ItemCollection([item]).save_object(str(place))
    source = Stac(catalogue=str(place), tile="T29RKH", resolution=100)
    catalogue = source.catalogue([2020])
    assert catalogue.grid.shape == (1098, 1098)
    (one,) = catalogue.acquisitions
    source.check(one, catalogue.grid)
    dn, usable = source.read(one, catalogue.grid, slice(0, 1098), slice(0, 1098))
    for name, band in (("B02", 0), ("B04", 2)):
        with rasterio.open(next(COGS.rglob(f"{name}.tif"))) as file:
            raw = file.read(1).astype(int)
        np.testing.assert_array_equal(dn[band], np.where(raw > 0, raw + 1000, 0))
    with rasterio.open(next(COGS.rglob("B05.tif"))) as file:
        coarse = file.read(1).astype(int).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(dn[4], np.where(coarse > 0, coarse + 1000, 0))
    assert 0.5 < usable.mean() <= 1
    assert source.weather(one, catalogue.grid).cloud == pytest.approx(0.0405, abs=0.01)


def item(properties: dict[str, Any], raster: dict[str, Any] | None = None, name: str = "an-item") -> pystac.Item:
    made = pystac.Item(name, None, None, datetime(2021, 6, 1), properties)
    made.add_asset("B02", pystac.Asset("/data/B02.tif", extra_fields={"raster:bands": [raster]} if raster else {}))
    return made


FLAG = "earthsearch:boa_offset_applied"
PB = "s2:processing_baseline"


@pytest.mark.parametrize(
    ("properties", "raster", "offset"),
    [
        ({PB: "05.00"}, None, -0.1),
        ({PB: "04.00"}, None, -0.1),
        ({PB: "03.01"}, None, 0.0),
        ({PB: "05.00", FLAG: True}, None, 0.0),
        ({PB: "05.00", FLAG: True}, {"offset": -0.1, "scale": 1e-4}, 0.0),
        ({PB: "05.00", FLAG: False}, {"offset": 0, "scale": 1e-4}, -0.1),
        ({PB: "02.14", FLAG: False}, {"offset": 0, "scale": 1e-4}, 0.0),
        ({PB: "02.14", FLAG: True}, None, 0.0),
        ({"processing:version": "05.10"}, None, -0.1),
        ({"s2:product_uri": "S2A_MSIL2A_20210601T101031_N0500_R022_T32TPS_20230101T000000.SAFE"}, None, -0.1),
        ({"s2:product_uri": "S2A_MSIL2A_20210601T101031_N0301_R022_T32TPS_20210601T120000.SAFE"}, None, 0.0),
        ({}, {"offset": -0.1, "scale": 1e-4}, -0.1),
        ({}, {"offset": 0, "scale": 1e-4}, 0.0),
    ],
)
def test_offset_rules(properties: dict[str, Any], raster: dict[str, Any] | None, offset: float) -> None:
    """By item and catalogue, never by date: all of these are of one day."""
    found = items.granule_of(item(properties, raster), ["B02"], ALIASES)
    assert found.assets["B02"].offset == offset and found.assets["B02"].scale == 1e-4


def test_offsets_in_other_places_of_the_metadata() -> None:
    flat = item({})
    flat.assets["B02"].extra_fields.update({"raster:offset": -0.1, "raster:scale": 1e-4, "nodata": 0})
    newer = item({})
    newer.assets["B02"].extra_fields["bands"] = [{"name": "B02", "raster:offset": -0.1, "raster:scale": 1e-4}]
    for one in (flat, newer):
        assert items.granule_of(one, ["B02"], ALIASES).assets["B02"].offset == -0.1


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: item({}), "an-item: its metadata has neither a processing baseline nor an offset"),
        (lambda: item({PB: "05.00", "s2:product_type": "S2MSI1C"}), "an-item is Level-1C, not surface reflectance"),
        (lambda: item({PB: "05.00"}, name="S2A_MSIL1C_20210601T101031_N0500_R022_T32TPS_20210601T1"), "is Level-1C"),
    ],
)
def test_what_cannot_be_reflectance_is_refused(made: Callable[[], pystac.Item], message: str) -> None:
    with pytest.raises(InputError, match=message):
        items.granule_of(made(), ["B02"], ALIASES)


def test_a_missing_asset_is_named() -> None:
    with pytest.raises(InputError, match=r"an-item has no asset for B11 \(expected B11, swir16, B11_20m\); set"):
        items.granule_of(item({PB: "05.00"}), ["B02", "B11"], ALIASES)


# Flags that lie


def clear(rows: list[Scene]) -> list[Scene]:
    """The three clearest acquisitions: the check is about them."""
    return sorted(rows, key=lambda s: np.isin(s.scl, (0, 3, 8, 9, 10)).mean())[:3]


def judged(folder: Path, *, accept: bool = False) -> list[tuple[str, str]]:
    source = Stac(catalogue=str(folder / "items.json"))
    found: Catalogue = source.catalogue()
    chosen = {2018: tuple(Surveyed(a, Weather(0, 1)) for a in found.acquisitions)}
    with dask.config.set(scheduler="synchronous"):
        table = check_radiometry(source, Selection(chosen, {2018: ()}, 0.0), found, accept=accept)
    return [(a.granules[0].id, verdict) for a, verdict in zip(found.acquisitions, table["verdict"], strict=True)]


@pytest.mark.parametrize("wrong", ["offset missed", "offset applied twice"])
def test_a_lying_flag_is_caught_by_dark_pixels(tmp_path: Path, wrong: str) -> None:
    """One of three says that the offset was applied to its pixels, or that it was not, and the opposite is true."""
    world = World(size=128, years=(2018,), seed=4, acquisitions_per_year=8, cloud_share=0.05)
    rows = clear(list(scenes(world, 0, Ground(world, make_landscape(world)))))
    lies = [i == 1 and wrong == "offset applied twice" for i in range(3)]
    write = FORMATS["stac"]
    places = [write(tmp_path, s, flavour="earth-search", lie=lie) for s, lie in zip(rows, lies, strict=True)]
    if wrong == "offset missed":
        _put_the_offset_back(places[1].parent)
    write_catalogue(tmp_path, places)
    with pytest.raises(InputError, match=rf"1 of 3 acquisitions contradict their metadata: .*\({wrong}, darkest"):
        judged(tmp_path)
    found = dict(judged(tmp_path, accept=True))
    assert found.pop(places[1].stem) == wrong and set(found.values()) == {"fine"}


def _put_the_offset_back(folder: Path) -> None:
    """Make pixels carry the offset of baseline 04.00 again, whatever their item says."""
    for raster in folder.glob("B*.tif"):
        with rasterio.open(raster) as file:
            values, profile = file.read(1), file.profile
        assert values[values > 0].min() < 1000
        with rasterio.open(raster, "w", **(profile | {"driver": "GTiff"})) as file:
            file.write(np.where(values > 0, values + np.uint16(1000), 0).astype(np.uint16), 1)


@pytest.mark.parametrize(
    ("properties", "asset"),
    [
        ({"eo:cloud_cover": "n/a"}, {}),
        ({"sat:relative_orbit": "R065"}, {}),
        ({"proj:epsg": 999_999, "proj:shape": [4, 4], "proj:transform": [10, 0, 0, 0, -10, 0]}, {}),
        ({"proj:code": "here", "proj:shape": [4, 4], "proj:transform": [10, 0, 0, 0, -10, 0]}, {}),
        ({"proj:epsg": 32632, "proj:shape": ["a", "b"], "proj:transform": [10, 0, 0, 0, -10, 0]}, {}),
        ({"proj:epsg": 32632, "proj:shape": [4, 4], "proj:transform": [10, None, 0, 0, -10, 0]}, {}),
        ({"proj:epsg": 32632, "proj:shape": [4, 4], "proj:transform": [10, 0]}, {}),
        ({}, {"raster:bands": {"nodata": 0}}),
        ({}, {"raster:bands": [None]}),
        ({}, {"raster:bands": [{"nodata": "none"}]}),
    ],
    ids=str,
)
def test_metadata_of_unfit_types_names_the_item(properties: dict[str, Any], asset: dict[str, Any]) -> None:
    made = pystac.Item("an-item", None, None, datetime(2021, 6, 1), {PB: "05.00", **properties})
    made.add_asset("B02", pystac.Asset("/data/B02.tif", extra_fields=asset))
    with pytest.raises(
        InputError, match=r"^an-item: its metadata is invalid \(.*\); correct the item, or leave it out$"
    ):
        items.granule_of(made, ["B02"], {})


def test_metadata_that_is_only_empty_is_read() -> None:
    made = item({PB: "05.00", "statistics": None, "eo:cloud_cover": None}, {"nodata": "nan"})
    granule = items.granule_of(made, ["B02"], {})
    assert granule.cloud is granule.missing is None and granule.assets["B02"].nodata == 0
