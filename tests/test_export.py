"""Exported maps: other software reads the same pixels, names and colours, and the folder is whole or refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import dask
import numpy as np
import pystac
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from pystac.stac_io import DefaultStacIO
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app as cli
from mlc_dask.data.grids import Grid
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.show.export import cogs
from mlc_dask.show.export.cogs import level_shapes
from tests.runs import run_all, small_world, write_config

YEARS = (2018, 2019)
SHAPE = (1001, 777)
WHERE = {"left": 640_000.0, "top": 5_140_000.0, "pixel": 10.0}
SCHEMAS = Path(__file__).parent / "stac_schemas"
CLASSES = {c.code: c for c in DEFAULT_LEGEND.classes}

runner = CliRunner()


def synthetic(crs: str | None = "EPSG:32632", shape: tuple[int, int] = SHAPE) -> xr.Dataset:
    """Maps with a corner of no data, the legend's classes in small patches, and noise in everything."""
    rng = np.random.default_rng(3)
    size = (len(YEARS), *shape)
    labels = rng.integers(1, max(CLASSES) + 1, size, np.uint8)
    labels[:, :40, :60] = 0
    confidence = np.where(labels, rng.integers(9, 101, size), 0).astype(np.uint8)
    changes = (labels[0] != labels[1]).astype(np.uint8)
    grid = Grid(rasterio.CRS.from_user_input(crs or "EPSG:32632").to_wkt(), **WHERE, height=shape[0], width=shape[1])
    dims = ("year", "y", "x")
    maps = xr.Dataset(
        {"multi_year": (dims, labels), "confidence": (dims, confidence), "change_count": (dims[1:], changes)},
        coords={"year": list(YEARS), **grid.coords()},
        attrs={"legend": DEFAULT_LEGEND.to_dict()},
    )
    return (maps if crs else maps.drop_vars("spatial_ref")).chunk(year=1, y=512, x=512)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored maps."""
    path = tmp_path_factory.mktemp("maps") / "valley"
    mlc.write_maps(synthetic(), path)
    return path


@pytest.fixture(scope="module")
def maps(output: Path) -> xr.Dataset:
    return mlc.open_maps(output).load()


@pytest.fixture(scope="module")
def exported(output: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "products"
    mlc.export_maps(output, folder, license="CC-BY-4.0")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("run")
    config = write_config(folder / "mlc.toml", small_world(folder / "world", 64, YEARS), folder / "valley")
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(config)
    return folder / "valley"


class Vendored(DefaultStacIO):
    """Reads schemas from this folder, and refuses the network."""

    def read_text_from_href(self, href: str) -> str:
        if not href.startswith("http"):
            return super().read_text_from_href(href)
        name = href.split("#")[0].removeprefix("https://stac-extensions.github.io/").removesuffix("/schema.json")
        return (SCHEMAS / f"{name.replace('/', '-')}.json").read_text(encoding="utf-8")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("jsonschema")
    monkeypatch.setattr(pystac.StacIO, "_default_io", Vendored)
    yield


def files(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but the lock."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".mlc-dask.lock")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def as_gdal_sees(tif: Path, tmp_path: Path) -> ET.Element:
    """Band of a file in GDAL's own words: copied into a VRT, which lists names and colours."""
    rasterio.shutil.copy(tif, tmp_path / "seen.vrt", driver="VRT")
    band = ET.parse(tmp_path / "seen.vrt").getroot().find("VRTRasterBand")
    assert band is not None
    return band


def blocks(values: np.ndarray[Any, Any], shape: tuple[int, int]) -> Iterator[tuple[int, int, np.ndarray[Any, Any]]]:
    """Pixels with data under every pixel of a raster of half the size whose last row and column may be larger."""
    ratio = [n / m for n, m in zip(values.shape, shape, strict=True)]
    for i in range(shape[0] - 1):
        for j in range(shape[1] - 1):
            rows, columns = (
                slice(int(k * r), int(np.ceil((k + 1) * r - 1e-9))) for k, r in zip((i, j), ratio, strict=True)
            )
            block = values[rows, columns].ravel()
            yield i, j, block[block > 0]


# GeoTIFFs


def test_files(exported: Path) -> None:
    found = {name for name in files(exported) if not name.startswith("maps.zarr/")}
    maps = {f"{y}/{layer}_{y}" for y in YEARS for layer in ("multi_year", "confidence")} | {"change_count"}
    wanted = {f"{m}{suffix}" for m in maps for suffix in (".tif", ".tif.aux.xml", ".qml")}
    assert found == wanted | {f"{y}/valley-{y}.json" for y in YEARS} | {"collection.json", "export.json"}


def test_cogs_are_valid(exported: Path) -> None:
    validate = pytest.importorskip("rio_cogeo").cog_validate
    tifs = sorted(exported.rglob("*.tif"))
    assert len(tifs) == 5
    for tif in tifs:
        valid, errors, warnings = validate(tif, quiet=True)
        assert valid and not errors and not warnings, (tif, errors, warnings)


def test_pixels_and_places_are_those_of_the_maps(exported: Path, maps: xr.Dataset) -> None:
    for name, layer in maps.data_vars.items():
        for year in YEARS if "year" in layer.dims else (None,):
            path = exported / (f"{year}/{name}_{year}.tif" if year else f"{name}.tif")
            with rasterio.open(path) as tif:
                expected = layer.sel(year=year) if year else layer
                np.testing.assert_array_equal(tif.read(1), expected.values)
                assert tif.crs == maps.rio.crs and tif.transform == maps.rio.transform()
                assert tif.nodata == (None if name == "change_count" else 0)
                assert tif.profile["blockxsize"] == 512 and tif.compression.name == "deflate"


def test_gdal_reads_names_and_colours(exported: Path, tmp_path: Path) -> None:
    tif = exported / "2018/multi_year_2018.tif"
    band = as_gdal_sees(tif, tmp_path)
    names = [category.text for category in band.findall("CategoryNames/Category")]
    assert names == ["No data", *(CLASSES[code].name for code in range(1, max(CLASSES) + 1))]
    assert band.findtext("Description") == "land cover (multi-year), 2018"
    with rasterio.open(tif) as source:
        colours = source.colormap(1)
    assert all(f"#{bytes(colours[code][:3]).hex()}" == c.colour for code, c in CLASSES.items())


def test_the_attribute_table_counts(exported: Path, maps: xr.Dataset) -> None:
    table = ET.parse(exported / "2018/multi_year_2018.tif.aux.xml").getroot()
    rows = [[cell.text for cell in row] for row in table.iter("Row")]
    counts = np.bincount(maps.multi_year.sel(year=2018).values.ravel(), minlength=256)
    expected = [[str(c), CLASSES[c].name, str(counts[c])] for c in sorted(CLASSES)]
    assert [[row[0], row[1], row[-1]] for row in rows] == expected


def test_qgis_style(exported: Path) -> None:
    palette = ET.parse(exported / "2019/multi_year_2019.qml").getroot().findall(".//paletteEntry")
    assert [(int(e.get("value", "")), e.get("color"), e.get("label")) for e in palette] == [
        (code, CLASSES[code].colour, CLASSES[code].name) for code in sorted(CLASSES)
    ]
    ramp = ET.parse(exported / "2019/confidence_2019.qml").getroot().findall(".//colorrampshader/item")
    assert [int(e.get("value", "")) for e in ramp] == [1, 26, 51, 75, 100]


def test_overviews_of_classes_are_modes(exported: Path) -> None:
    tif = exported / "2018/multi_year_2018.tif"
    with rasterio.open(tif) as source:
        assert len(source.overviews(1)) == len(level_shapes(SHAPE)) - 1 == 1
        full = source.read(1)
    with rasterio.open(tif, overview_level=0) as source:
        half = source.read(1)
    assert half.shape == level_shapes(SHAPE)[1]
    for i, j, block in blocks(full, half.shape):
        counts = np.bincount(block, minlength=256)
        assert half[i, j] == 0 if not len(block) else counts[half[i, j]] == counts.max()


def test_overviews_of_confidence_are_means_of_what_has_data(exported: Path) -> None:
    tif = exported / "2018/confidence_2018.tif"
    with rasterio.open(tif) as source:
        full = source.read(1)[:, :776]
    with rasterio.open(tif, overview_level=0) as source:
        half = source.read(1)
    even = full[:1000].reshape(500, 2, 388, 2).swapaxes(1, 2).reshape(500, 388, 4).astype(float)
    seen = (even > 0).sum(axis=2)
    mean = even.sum(axis=2) / np.maximum(seen, 1)
    assert np.abs(half[:19, :29]).max() == 0
    assert np.abs(half[20:100, :100] - mean[20:100, :100]).mean() < 3  # 1001 rows: pixels drift apart slowly


# Zarr


@pytest.fixture(scope="module")
def tree(exported: Path) -> xr.DataTree:
    return xr.open_datatree(exported / "maps.zarr", engine="zarr")


def test_zarr_holds_the_maps_and_the_overviews(exported: Path, tree: xr.DataTree, maps: xr.Dataset) -> None:
    full = tree["0"].to_dataset()
    assert set(full.data_vars) == set(maps.data_vars)
    for name, layer in maps.data_vars.items():
        xr.testing.assert_equal(full[name].drop_attrs(), layer.drop_attrs())
        assert full[name].dtype == "uint8"
    with rasterio.open(exported / "2019/multi_year_2019.tif", overview_level=0) as half:
        np.testing.assert_array_equal(tree["1"].multi_year.sel(year=2019).values, half.read(1))
        assert tree["1"].to_dataset().rio.transform().almost_equals(half.transform)
    assert list(tree.children) == ["0", "1"]


def test_zarr_says_what_codes_mean(tree: xr.DataTree, maps: xr.Dataset) -> None:
    labels = tree["0"].multi_year
    assert labels.attrs["flag_values"] == sorted(CLASSES)
    assert labels.attrs["flag_meanings"].split() == [CLASSES[c].name.lower() for c in sorted(CLASSES)]
    assert labels.attrs["flag_colors"].split() == [CLASSES[c].colour for c in sorted(CLASSES)]
    assert labels.rio.crs == maps.rio.crs and tree["0"].to_dataset().rio.transform() == maps.rio.transform()
    assert tree.attrs["legend"] == DEFAULT_LEGEND.to_dict()


def test_zarr_follows_the_conventions(exported: Path) -> None:
    conventions = pytest.importorskip("zarr_cm")
    group = json.loads((exported / "maps.zarr/zarr.json").read_bytes())
    for name in ("multiscales", "proj", "spatial"):
        getattr(conventions, name).validate_group_metadata(group)
    del group["attributes"]["multiscales"]["layout"][1]["transform"]
    with pytest.raises(ValueError, match="transform"):
        conventions.multiscales.validate_group_metadata(group)


def test_gdal_reads_the_zarr(exported: Path, maps: xr.Dataset) -> None:
    if tuple(int(n) for n in rasterio.__gdal_version__.split(".")[:2]) < (3, 12):
        pytest.skip(f"GDAL {rasterio.__gdal_version__} does not read Zarr v3 as it was finally specified")
    with rasterio.open(f'ZARR:"{exported}/maps.zarr":/0/multi_year') as source:
        np.testing.assert_array_equal(source.read(), maps.multi_year.values)
        assert source.crs == maps.rio.crs and source.transform == maps.rio.transform() and source.nodata == 0


# STAC


@pytest.mark.usefixtures("offline")
def test_catalogue_is_valid(exported: Path) -> None:
    collection = pystac.Collection.from_file(str(exported / "collection.json"))
    assert len(collection.validate()) == 5
    items = list(collection.get_items())
    assert [item.id for item in items] == ["valley-2018", "valley-2019"]
    assert all(len(item.validate()) == 5 for item in items)
    assert collection.license == "CC-BY-4.0"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("start", "first", "last"),
    [
        ("07-01", "2017-07-01T00:00:00Z", "2018-06-30T23:59:59Z"),
        ("03-01", "2017-03-01T00:00:00Z", "2018-02-28T23:59:59Z"),
    ],
)
def test_years_that_cross_new_year_are_valid(start: str, first: str, last: str, tmp_path: Path) -> None:
    maps = synthetic(shape=(70, 80))
    mlc.write_maps(maps.assign_coords(year=("year", list(YEARS), {"year_start": start})), tmp_path / "maps")
    collection = pystac.Collection.from_file(str(mlc.export_maps(tmp_path / "maps", tmp_path / "exported")))
    assert len(collection.validate()) == 5
    items = list(collection.get_items())
    assert all(len(item.validate()) == 5 for item in items)
    assert (items[0].properties["start_datetime"], items[0].properties["end_datetime"]) == (first, last)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("assets", "multi_year", "classification:classes", 1, "color_hint"), "#E6004D"),
        (("assets", "multi_year", "file:checksum"), "sha256:12"),
        (("properties", "proj:shape"), [1001]),
        (("properties", "processing:software"), ["mlc-dask"]),
        (("properties", "end_datetime"), None),
        (("bbox",), [1, 2]),
    ],
)
def test_broken_fields_are_not_valid(exported: Path, path: tuple[str | int, ...], value: Any) -> None:
    item = json.loads((exported / "2018/valley-2018.json").read_bytes())
    pystac.validation.validate_dict(item)
    inner: Any = item
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(pystac.errors.STACValidationError):
        pystac.validation.validate_dict(item)


def test_items_say_when_where_and_what(exported: Path, maps: xr.Dataset) -> None:
    item = pystac.Item.from_file(str(exported / "2018/valley-2018.json"))
    assert (item.properties["start_datetime"], item.properties["end_datetime"]) == (
        "2018-01-01T00:00:00Z",
        "2018-12-31T23:59:59Z",
    )
    assert item.properties["proj:code"] == "EPSG:32632" and item.properties["proj:shape"] == list(SHAPE)
    west, south, east, north = item.bbox or ()
    assert 10.81 < west < east < 10.95 and 46.2 < south < 46.32 < north < 46.42
    asset = item.assets["multi_year"]
    counts = np.bincount(maps.multi_year.sel(year=2018).values.ravel(), minlength=256)
    stored = {c["value"]: c["count"] for c in asset.extra_fields["classification:classes"]}
    assert stored == {code: counts[code] for code in (0, *CLASSES)}


def test_checksums_and_links_hold_in_a_moved_folder(exported: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(exported, moved)
    assert not any(str(exported) in path.read_text() for path in moved.rglob("*.json") if "maps.zarr" not in path.parts)
    collection = pystac.Collection.from_file(str(moved / "collection.json"))
    things = [collection, *collection.get_items()]
    assert len(things) == 3
    for thing in things:
        assert thing.get_root() is collection
        for asset in thing.assets.values():
            path = Path(asset.get_absolute_href() or "")
            assert path.is_relative_to(moved) and path.exists()
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                assert asset.extra_fields["file:checksum"] == f"1220{digest}"
                assert asset.extra_fields["file:size"] == path.stat().st_size


def test_a_crs_without_a_code(tmp_path: Path) -> None:
    mlc.write_maps(synthetic("+proj=laea +lat_0=47 +lon_0=11 +datum=WGS84", (30, 40)), tmp_path / "maps")
    mlc.export_maps(tmp_path / "maps", tmp_path / "products", layers=["multi_year"])
    item = json.loads((tmp_path / "products/2018/maps-2018.json").read_bytes())
    assert item["properties"]["proj:code"] is None and item["properties"]["proj:wkt2"].startswith("PROJCRS")
    group = json.loads((tmp_path / "products/maps.zarr/zarr.json").read_bytes())
    assert group["attributes"]["proj:wkt2"].startswith("PROJCRS")


# The folder


def test_the_same_maps_give_the_same_bytes(output: Path, exported: Path, tmp_path: Path) -> None:
    mlc.export_maps(output, tmp_path / "again", license="CC-BY-4.0")
    assert files(tmp_path / "again") == files(exported)


def test_a_second_export_reuses_what_is_whole(output: Path, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "products"
    shutil.copytree(exported, folder)
    before = files(folder)
    (folder / "2018/multi_year_2018.tif").write_bytes(b"damaged")
    chunk = next(p for p in (folder / "maps.zarr/0/confidence/c/1").rglob("*") if p.is_file())
    chunk.unlink()
    stamp = (folder / "change_count.tif").stat().st_mtime_ns
    told: dict[str, bool] = {}
    mlc.export_maps(output, folder, license="CC-BY-4.0", listener=lambda path, reused: told.update({path.name: reused}))
    assert {name for name, reused in told.items() if not reused} == {"multi_year_2018.tif", "confidence_2019.tif"}
    assert files(folder) == before and (folder / "change_count.tif").stat().st_mtime_ns == stamp


def test_an_interrupted_export_goes_on(
    output: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "products"
    written: list[str] = []
    genuine = cogs.rasterio.shutil.copy

    def failing(source: Path, target: Path, **options: Any) -> None:
        written.append(str(target))
        if len(written) == 3:
            target.write_bytes(b"half of it")
            raise KeyboardInterrupt
        genuine(source, target, **options)

    monkeypatch.setattr(cogs.rasterio.shutil, "copy", failing)
    with pytest.raises(KeyboardInterrupt):
        mlc.export_maps(output, folder, license="CC-BY-4.0")
    whole = [p for p in folder.rglob("*.tif") if ".drafts" not in p.parts]
    assert len(whole) == 2 and all(p.read_bytes() == files(exported)[str(p.relative_to(folder))] for p in whole)
    assert not (folder / "collection.json").exists() and not (folder / "maps.zarr/zarr.json").exists()
    mlc.export_maps(output, folder, license="CC-BY-4.0")
    assert len(written) == 6 and files(folder) == files(exported)


def test_bad_input_is_told_in_one_line(output: Path, exported: Path, tmp_path: Path) -> None:
    mlc.write_maps(synthetic(None, (8, 8)), tmp_path / "nowhere")
    mlc.write_maps(synthetic(shape=(8, 8)), tmp_path / "other")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    new = tmp_path / "new"
    for arguments, told in (
        ([tmp_path / "none", new], "none has published no result yet"),
        ([output, new, "--layer", "multi_yaer"], "no layer 'multi_yaer'; did you mean 'multi_year'?"),
        ([tmp_path / "nowhere", new], "have no CRS"),
        ([output, tmp_path / "full"], "full contains other files (thesis.txt)"),
        ([output, tmp_path / "file"], "is a file"),
        ([output, output], "contains other files"),
        ([tmp_path / "other", exported], "contains other maps (change_count differs)"),
        ([output, exported, "--layer", "multi_year"], "contains an export of change_count, confidence, multi_year"),
    ):
        result = runner.invoke(cli, ["export", *map(str, arguments)])
        assert result.exit_code == 2 and told in result.output.replace("\n", ""), (arguments, result.output)
        assert result.output.count("\n") == 1
    assert not new.exists() and (tmp_path / "file").read_text() == "precious"
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_probabilities_per_class_are_opened_but_not_exported(tmp_path: Path) -> None:
    maps = synthetic(shape=(8, 8))
    probability = maps.confidence.expand_dims({"class": np.array([1, 4, 8], np.uint8)}, axis=1)
    mlc.write_maps(maps.assign(probability=probability), tmp_path / "maps")
    opened = mlc.open_maps(tmp_path / "maps")
    assert opened.probability.dims == ("year", "class", "y", "x") and opened["class"].values.tolist() == [1, 4, 8]
    mlc.export_maps(tmp_path / "maps", tmp_path / "products")
    assert len(files(tmp_path / "products")) and not list((tmp_path / "products").rglob("*probability*"))
    with pytest.raises(mlc.InputError, match="no layer 'probability'"):
        mlc.export_maps(tmp_path / "maps", tmp_path / "own", layers=["probability"])


def test_a_colour_that_is_none(tmp_path: Path) -> None:
    maps = synthetic(shape=(8, 8))
    maps.attrs["legend"] = {"1": {"name": "Wood", "colour": "green"}}
    mlc.write_maps(maps, tmp_path / "maps")
    with pytest.raises(mlc.InputError, match="'Wood' has the colour 'green'"):
        mlc.export_maps(tmp_path / "maps", tmp_path / "products")


# Runs


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_finished_run(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "products"
    result = runner.invoke(cli, ["export", str(run), str(folder)])
    assert result.exit_code == 0, result.output
    maps = mlc.open_maps(run)
    tree = xr.open_datatree(folder / "maps.zarr", engine="zarr")
    for name, layer in maps.data_vars.items():
        xr.testing.assert_equal(tree["0"][name].drop_attrs(), layer.load().drop_attrs())
    collection = pystac.Collection.from_file(str(folder / "collection.json"))
    assert len(collection.validate()) == 5 and {"change_count", "zarr"} <= collection.assets.keys()
    item = next(iter(collection.get_items()))
    assert len(item.validate()) == 5 and len(item.assets) == 3 * sum("year" in m.dims for m in maps.values())
    made = item.assets["multi_year_filtered"].extra_fields["processing:expression"]["expression"]
    told = runner.invoke(cli, ["explain", str(run), made["name"]]).output
    assert made["fingerprint"][:16] in told and made["settings"] == {"rule": "majority", "size": 5}


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_several_tiles(run: Path, tmp_path: Path) -> None:
    tiles = tmp_path / "valleys"
    for name in ("T32TPS", "T32TPT"):
        (tiles / name).mkdir(parents=True)
        shutil.copytree(run / "artifacts", tiles / name / "artifacts")
        shutil.copy(run / "CURRENT.json", tiles / name / "CURRENT.json")
    layers = {"models": json.loads((run / "CURRENT.json").read_bytes())["layers"]["evaluation"]}
    (tiles / "CURRENT.json").write_text(json.dumps({"layers": layers}))
    folder = tmp_path / "products"
    path = mlc.export_maps(tiles, folder, layers=["multi_year", "change_count"])
    catalogue = pystac.Catalog.from_file(str(path))
    collections = list(catalogue.get_children())
    assert [c.id for c in collections] == ["T32TPS", "T32TPT"]
    things = [catalogue, *collections, *catalogue.get_items(recursive=True)]
    assert len(things) == 3 + 2 * len(YEARS)
    for thing in things:
        thing.validate()
        assert thing.get_root() is catalogue
        assets = () if thing is catalogue else thing.assets.values()
        assert all(Path(asset.get_absolute_href() or "").exists() for asset in assets)
    assert mlc.export_maps(tiles, folder, layers=["multi_year", "change_count"]) == path
    with pytest.raises(mlc.InputError, match="contains an export of T32TPS, T32TPT"):
        mlc.export_maps(run, folder)
