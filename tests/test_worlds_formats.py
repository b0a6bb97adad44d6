"""The formats of synthetic worlds: independent readers get back the reflectance that was written."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from defusedxml import ElementTree

from mlc_dask.data.errors import InputError
from mlc_dask.worlds import World, write_products, write_world
from mlc_dask.worlds.formats import FORMATS, eopf, geotiff, safe, stac, theia
from mlc_dask.worlds.formats.products import Product
from mlc_dask.worlds.formats.stac_flavours import FLAVOURS
from mlc_dask.worlds.scenes import Scene, scenes, split
from tests.runs import SHARED

WORLD = World(size=64, years=(2018, 2019), acquisitions_per_year=3, seed=1)
BASELINES = ("02.14", "05.10")
BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
KEYS = ("blue", "green", "red", "nir", "rededge1", "rededge2", "rededge3", "nir08", "swir16", "swir22")
PIXELS = dict.fromkeys(BANDS, 20) | dict.fromkeys(("B02", "B03", "B04", "B08"), 10)
NAME = re.compile(r"S2[AB]_MSIL2A_\d{8}T\d{6}_N\d{4}_R\d{3}_T32TPS_\d{8}T\d{6}")

Decoded = tuple[dict[str, np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A cloudy scene that is cut by a swath edge."""
    found = [s for s in scenes(WORLD, 0) if (s.scl == 0).any() and np.isin(s.scl, (8, 9)).any()]
    return found[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world as GeoTIFFs."""
    path = tmp_path_factory.mktemp("world")
    write_world(path, WORLD)
    return path


def read(path: Path | str, pixel: int) -> np.ndarray:
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 32632 and file.count == 1
        assert tuple(file.transform)[:6] == (pixel, 0, 640_000, 0, -pixel, 5_140_000)
        return np.asarray(file.read(1))


def decode(dn: np.ndarray, scale: float, offset: float, nodata: int = 0) -> np.ndarray:
    return np.where(dn == nodata, np.nan, dn * scale + offset)


def decode_geotiff(path: Path, baseline: str) -> Decoded:
    bands = {}
    for band in BANDS:
        with rasterio.open(path / f"{band}.tif") as file:
            bands[band] = decode(file.read(1), file.scales[0], file.offsets[0], file.nodata)
            assert file.offsets[0] == (-0.1 if baseline == "05.10" else 0)
    return bands, read(path / "SCL.tif", 20)


def decode_safe(path: Path, baseline: str) -> Decoded:
    if path.suffix == ".zip":
        inside = f"{path.name.removesuffix('.zip')}/"
        with zipfile.ZipFile(path) as archive:
            root = ElementTree.fromstring(archive.read(f"{inside}MTD_MSIL2A.xml"))
            assert all(name.startswith(inside) for name in archive.namelist())
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        folder = f"/vsizip/{path}/{inside}"
    else:
        root, folder = ElementTree.parse(path / "MTD_MSIL2A.xml").getroot(), f"{path}/"
    files = {str(e.text).split("_")[-2]: f"{folder}{e.text}.jp2" for e in root.iter("IMAGE_FILE")}
    offsets = [float(str(e.text)) for e in root.iter("BOA_ADD_OFFSET")] or [0.0]
    scale = 1 / float(text(root, "BOA_QUANTIFICATION_VALUE"))
    assert text(root, "PROCESSING_BASELINE") == baseline and len(offsets) in (1, 13)
    bands = {band: decode(read(files[band], PIXELS[band]), scale, offsets[0] * scale) for band in BANDS}
    return bands, read(files["SCL"], 20)


def decode_stac(path: Path, baseline: str) -> Decoded:
    item = pystac.Item.from_file(str(path))
    copernicus, colours = "B02_10m" in item.assets, "blue" in item.assets
    bands = {}
    for band, colour in zip(BANDS, KEYS, strict=True):
        asset = item.assets[f"{band}_{PIXELS[band]}m" if copernicus else colour if colours else band]
        scale, offset = 1e-4, -0.1 if item.properties.get("s2:processing_baseline", "") >= "04.00" else 0.0
        if copernicus:
            scale, offset = asset.extra_fields["raster:scale"], asset.extra_fields["raster:offset"]
        elif colours:
            scale, offset = (asset.extra_fields["raster:bands"][0][name] for name in ("scale", "offset"))
        if item.properties.get("earthsearch:boa_offset_applied"):
            offset = 0.0
        dn = read(asset.get_absolute_href(), PIXELS[band])
        assert asset.extra_fields["proj:shape"] == list(dn.shape)
        assert asset.extra_fields["proj:transform"][:3] == [PIXELS[band], 0, 640_000]
        bands[band] = decode(dn, scale, offset)
    scl = item.assets["SCL_20m" if copernicus else "scl" if colours else "SCL"]
    return bands, read(scl.get_absolute_href(), 20)


def decode_eopf(path: Path, baseline: str) -> Decoded:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(path, engine="zarr", consolidated=True)
    bands = {}
    for band in BANDS:
        group = tree[f"measurements/reflectance/r{PIXELS[band]}m"]
        bands[band] = group[band.lower()].values
        assert group.x.values[0] == 640_000 + PIXELS[band] / 2 and group.y.values[0] == 5_140_000 - PIXELS[band] / 2
        assert group[band.lower()].encoding["add_offset"] == (-0.1 if baseline == "05.10" else 0)
    return bands, tree["conditions/mask/l2a_classification/r20m/scl"].values


def decode_theia(path: Path, baseline: str) -> Decoded:
    root = ElementTree.parse(path / f"{path.name}_MTD_ALL.xml").getroot()
    scale, nodata = 1 / float(text(root, "REFLECTANCE_QUANTIFICATION_VALUE")), float(text(root, "SPECIAL_VALUE"))
    files = {e.get("band_id"): path / str(e.text) for e in root.iter("IMAGE_FILE")}
    bands = {}
    for band in BANDS:
        dn = read(files[band.replace("B0", "B")], PIXELS[band])
        assert dn.dtype == np.int16
        bands[band] = decode(dn, scale, 0.0, int(nodata))
    clouds, edge = (read(path / "MASKS" / f"{path.name}_{mask}_R2.tif", 20) for mask in ("CLM", "EDG"))
    assert (read(path / "MASKS" / f"{path.name}_CLM_R1.tif", 10) == clouds.repeat(2, 0).repeat(2, 1)).all()
    return bands, np.select([edge == 1, clouds >= 128, clouds & 2 > 0, clouds & 32 > 0], [0, 10, 9, 3], 4)


CASES: dict[str, tuple[Callable[..., Path], dict[str, object], Callable[[Path, str], Decoded]]] = {
    "geotiff": (geotiff.write, {}, decode_geotiff),
    "safe": (safe.write, {}, decode_safe),
    "safe, zipped": (safe.write, {"zipped": True}, decode_safe),
    "eopf": (eopf.write, {}, decode_eopf),
    "theia": (theia.write, {}, decode_theia),
} | {f"stac, {name}": (stac.write, {"flavour": name}, decode_stac) for name in FLAVOURS}


def text(root: Element, tag: str) -> str:
    return str(next(root.iter(tag)).text)


def digest(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("case", CASES)
def test_every_format_tells_the_same_reflectance(case: str, baseline: str, scene: Scene, tmp_path: Path) -> None:
    write, options, decoded = CASES[case]
    bands, scl = decoded(write(tmp_path, scene, baseline=baseline, **options), baseline)
    for band, dn in scene.dn.items():
        np.testing.assert_allclose(bands[band], decode(dn, 1e-4, 0.0), atol=1e-9, err_msg=band)
    if case == "theia":
        clouds = [scene.scl == 0, scene.scl == 10, np.isin(scene.scl, (8, 9)), scene.scl == 3]
        expected = np.select(clouds, [0, 10, 9, 3], 4)
    else:
        expected = scene.scl
    assert (scl == expected).all()


@pytest.mark.parametrize("case", CASES)
def test_same_scene_same_bytes(case: str, scene: Scene, tmp_path: Path) -> None:
    write, options, _ = CASES[case]
    for place in "ab":
        write(tmp_path / place, scene, **options)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != {}
    assert not list(tmp_path.rglob("*.aux.xml"))


def test_dark_and_bright_pixels_survive_the_offset(scene: Scene, tmp_path: Path) -> None:
    extreme = {band: np.where(dn > 0, 1, dn).astype(np.uint16) for band, dn in scene.dn.items()}
    extreme["B02"][extreme["B02"] > 0] = 65_535
    path = geotiff.write(tmp_path, replace(scene, dn=extreme), baseline="04.00")
    assert set(np.unique(read(path / "B03.tif", 10))) == {0, 1001}
    assert set(np.unique(read(path / "B02.tif", 10))) == {0, 65_535}


# Metadata


def test_the_safe_says_what_it_is(scene: Scene, tmp_path: Path) -> None:
    path = safe.write(tmp_path, scene)
    assert NAME.fullmatch(path.name.removesuffix(".SAFE"))
    root = ElementTree.parse(path / "MTD_MSIL2A.xml").getroot()
    assert text(root, "PRODUCT_URI") == path.name
    assert int(text(root, "SENSING_ORBIT_NUMBER")) == scene.overpass.orbit
    (granule,) = (path / "GRANULE").iterdir()
    tile = ElementTree.parse(granule / "MTD_TL.xml").getroot()
    assert text(tile, "HORIZONTAL_CS_CODE") == "EPSG:32632"
    assert text(tile, "DATASTRIP_ID") == next(root.iter("Granule")).get("datastripIdentifier")
    sizes = {e.get("resolution"): (e.findtext("NROWS"), e.findtext("NCOLS")) for e in tile.iter("Size")}
    assert sizes == {"10": ("64", "64"), "20": ("32", "32")}
    assert [(e.findtext("ULX"), e.findtext("ULY")) for e in tile.iter("Geoposition")] == [("640000", "5140000")] * 2
    seen = scene.scl[scene.scl > 0]
    assert float(text(root, "Cloud_Coverage_Assessment")) == pytest.approx(100 * np.isin(seen, (8, 9, 10)).mean())
    assert float(text(root, "NODATA_PIXEL_PERCENTAGE")) == pytest.approx(100 * (scene.scl == 0).mean())


def test_gdals_own_driver_reads_the_safe(scene: Scene, tmp_path: Path) -> None:
    path = safe.write(tmp_path, scene, baseline="04.00")
    with rasterio.open(f"SENTINEL2_L2A:{path}/MTD_MSIL2A.xml:20m:EPSG_32632") as file:
        assert file.shape == (32, 32) and file.tags()["PROCESSING_BASELINE"] == "04.00"
        first = file.descriptions[0]
        assert first.startswith("B5,")
        assert (file.read(1) == Product(scene, "04.00").dn("B05")).all()


@pytest.mark.skipif(not (SHARED / "safe").is_dir(), reason="no real products here")
@pytest.mark.parametrize("baseline", ["02.14", "04.00"])
def test_the_safe_has_only_elements_that_real_ones_have(baseline: str, scene: Scene, tmp_path: Path) -> None:
    path = safe.write(tmp_path, scene, baseline=baseline)
    (real,) = (SHARED / "safe").glob(f"*_N{baseline.replace('.', '')}_*.SAFE")
    for name in ("MTD_MSIL2A.xml", "MTD_TL.xml"):
        ours, theirs = (element_paths(next(folder.rglob(name))) for folder in (path, real))
        assert ours <= theirs, ours - theirs


def element_paths(path: Path) -> set[tuple[str, ...]]:
    def walk(element: Element, above: tuple[str, ...]) -> set[tuple[str, ...]]:
        here = (*above, element.tag)
        names = {(*here, f"@{name}") for name in element.attrib}
        return {here, *names}.union(*(walk(child, here) for child in element))

    return walk(ElementTree.parse(path).getroot(), ())


@pytest.mark.skipif(not (SHARED / "stac").is_dir(), reason="no real items here")
@pytest.mark.parametrize(
    ("flavour", "real"),
    [
        ("earth-search", "earthsearch_v0/29/R/KH/2020/2/S2A_29RKH_20200219_0_L2A/S2A_29RKH_20200219_0_L2A.json"),
        (
            "planetary-computer",
            "items/odcstac_S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext.json",
        ),
    ],
)
def test_items_have_only_fields_that_real_ones_have(flavour: str, real: str, scene: Scene, tmp_path: Path) -> None:
    ours = json.loads(stac.write(tmp_path, scene, flavour=flavour, baseline="02.14").read_text())
    theirs = json.loads((SHARED / "stac" / real).read_text())
    assert set(ours["properties"]) <= set(theirs["properties"])
    for key, asset in ours["assets"].items():
        assert set(asset) - {"gsd"} <= set(theirs["assets"][key]), key


def test_a_catalogue_is_walked_and_its_hrefs_hold(scene: Scene, tmp_path: Path) -> None:
    items = [stac.write(tmp_path, part, flavour="planetary-computer") for part in split(scene)]
    catalogue = pystac.Catalog.from_file(str(stac.write_catalogue(tmp_path, items)))
    found = list(catalogue.get_items(recursive=True))
    assert [item.id for item in found] == [path.stem for path in items]
    assert {item.get_collection().id for item in found} == {"sentinel-2-l2a"}
    assert all(Path(a.get_absolute_href()).is_file() for item in found for a in item.assets.values())
    together = json.loads((tmp_path / "items.json").read_text())
    assert len(pystac.ItemCollection.from_dict(together)) == 2
    for feature in together["features"]:
        assert all((tmp_path / asset["href"]).is_file() for asset in feature["assets"].values())


def test_hrefs_may_be_addresses_of_a_server(scene: Scene, tmp_path: Path) -> None:
    path = stac.write(tmp_path, scene, base_url="http://localhost:8000/items/")
    stac.write_catalogue(tmp_path, [path])
    for document in (json.loads(path.read_text()), json.loads((tmp_path / "items.json").read_text())["features"][0]):
        assert document["assets"]["red"]["href"] == f"http://localhost:8000/items/{path.stem}/B04.tif"


def test_the_flag_of_earth_search_can_lie(scene: Scene, tmp_path: Path) -> None:
    flags = {}
    for lie in (False, True):
        path = stac.write(tmp_path / str(lie), scene, flavour="earth-search", lie=lie)
        item = json.loads(path.read_text())
        flags[lie] = item["properties"]["earthsearch:boa_offset_applied"]
        assert (read(path.parent / "B04.tif", 10) == scene.dn["B04"]).all()
        assert item["assets"]["red"]["raster:bands"][0]["offset"] == -0.1
    assert flags == {False: True, True: False}


def test_eopf_products_tell_their_source(scene: Scene, tmp_path: Path) -> None:
    path = eopf.write(tmp_path, scene)
    assert NAME.fullmatch(path.stem) and path.suffix == ".zarr"
    attributes = xr.open_datatree(path, engine="zarr").attrs
    assert attributes["other_metadata"]["horizontal_CRS_code"] == "EPSG:32632"
    item = attributes["stac_discovery"]
    assert item["properties"]["sat:relative_orbit"] == scene.overpass.orbit
    assert item["properties"]["eopf:baseline"] == "05.10"
    pystac.Item.from_dict(item)
    consolidated = json.loads((path / ".zmetadata").read_text())["metadata"]
    band = consolidated["measurements/reflectance/r20m/b8a/.zattrs"]
    assert band["proj:epsg"] == 32632 and band["_eopf_attrs"]["add_offset"] == band["add_offset"] == -0.1


def test_theia_names_and_masks(scene: Scene, tmp_path: Path) -> None:
    path = theia.write(tmp_path, scene)
    assert re.fullmatch(r"SENTINEL2[AB]_\d{8}-\d{6}-\d{3}_L2A_T32TPS_D_V1-4", path.name)
    clouds = read(path / "MASKS" / f"{path.name}_CLM_R2.tif", 20)
    assert ((clouds & 1 > 0) == np.isin(scene.scl, (3, 8, 9, 10))).all() and not clouds[scene.scl == 0].any()
    root = ElementTree.parse(path / f"{path.name}_MTD_ALL.xml").getroot()
    assert all((path / str(e.text)).is_file() for tag in ("IMAGE_FILE", "MASK_FILE") for e in root.iter(tag))


# Datastrips, and whole worlds


def test_two_datastrips_make_the_scene(scene: Scene) -> None:
    north, south = split(scene)
    for band, dn in scene.dn.items():
        assert (np.maximum(north.dn[band], south.dn[band]) == dn).all()
        both = (north.dn[band] > 0) & (south.dn[band] > 0)
        assert both.any(1).sum() == 80 // PIXELS[band]
    assert (np.maximum(north.scl, south.scl) == scene.scl).all()
    first, second = Product(north, "05.10"), Product(south, "05.10")
    assert first.datatake == second.datatake and first.sensing == second.sensing
    for name in ("name", "datastrip", "granule", "sensed", "processed"):
        assert getattr(first, name) < getattr(second, name)


@pytest.mark.parametrize("kind", FORMATS)
def test_datastrips_are_products_of_their_own(kind: str, scene: Scene, tmp_path: Path) -> None:
    paths = [FORMATS[kind](tmp_path, part) for part in split(scene)]
    assert len({path.name for path in paths}) == 2


@pytest.mark.parametrize("kind", FORMATS)
def test_worlds_are_written_in_every_format(kind: str, folder: Path, tmp_path: Path) -> None:
    def baseline(scene: Scene) -> str:
        return "05.10" if scene.overpass.time.year > 2018 else "02.14"

    write_products(tmp_path, WORLD, format=kind, baseline=baseline)
    written = [path for path in (tmp_path / "acquisitions").iterdir() if path.is_dir()]
    assert len(written) == len(list((folder / "acquisitions").iterdir())) > 2
    ours, theirs = (
        {name: value for name, value in digest(place).items() if not name.startswith("acquisitions")}
        for place in (tmp_path, folder)
    )
    assert ours == theirs


def test_later_baselines_are_processed_later(scene: Scene) -> None:
    products = [Product(scene, baseline) for baseline in ("02.06", "02.14", "04.00", "05.00", "05.10")]
    times = [product.processed for product in products]
    assert times == sorted(times) and times[0] > scene.overpass.time
    assert [product.add_offset for product in products] == [0, 0, -1000, -1000, -1000]


def test_orbits_fit_the_platforms() -> None:
    for year in range(2):
        for scene in scenes(WORLD, year):
            product = Product(scene, "05.10")
            phase = {"S2A": 3, "S2B": -26}[product.platform]
            assert (product.absolute_orbit + phase - scene.overpass.orbit) % 143 == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda scene, folder: safe.write(folder, scene, baseline="N0510"), "write it like 05.10"),
        (lambda scene, folder: stac.write(folder, scene, flavour="landsat"), "choose one of earth-search-c1"),
        (lambda scene, folder: stac.write(folder, scene, flavour="cdse", lie=True), "do not set lie"),
        (lambda scene, folder: stac.write_catalogue(folder, []), "items of one collection"),
        (lambda scene, folder: write_products(folder, WORLD, format="hdf"), "choose one of geotiff"),
    ],
)
def test_refusals(call: Callable[[Scene, Path], object], message: str, scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        call(scene, tmp_path)
    assert not list(tmp_path.iterdir())
