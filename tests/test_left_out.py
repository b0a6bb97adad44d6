"""One item that cannot be read stops nothing: it is left out by name, and the user can leave out others."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

import mlc_dask as mlc
from mlc_dask.data.acquisitions import Acquisition, Granule, LeftOut, Selection, Surveyed, Weather
from mlc_dask.io.sources import Safe, Stac
from mlc_dask.pipeline.plan import PlacePlan
from mlc_dask.stages.choice import doubts
from mlc_dask.worlds import World, write_products, write_world
from tests.faulty_server import serve
from tests.runs import small_world, write_config
from tests.test_real_radiometry import OVERCAST, real_site

WORLD = World(size=64, years=(2018, 2019), seed=3, acquisitions_per_year=8, cloud_share=0.05, scl_false_alarms=0.0)
FEW = "3\nmax_days_apart = 40\nmax_cloud = 0.9\nleave_out = {}"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("geotiff", "safe", "stac")}
    write_world(folders["geotiff"], WORLD)
    write_products(folders["safe"], WORLD, format="safe")
    write_products(folders["stac"], WORLD, format="stac", flavour="earth-search-c1")
    return folders


def own(pristine: dict[str, Path], kind: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine[kind], tmp_path / "world"))


def planned(world: Path, tmp_path: Path, kind: str = "geotiff", leave_out: str = "[]") -> PlacePlan:
    settings = {"kind": f'"{kind}"', "per_year": FEW.format(leave_out), "min_valid": "2"}
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out", **settings)
    if kind == "stac":
        place = f"{world}/acquisitions"
        text = config.read_text().replace(f'folder = "{place}"', f'catalogue = "{place}/items.json"')
        config.write_text(text.replace("[acquisitions]", "[acquisitions]\nyears = [2018, 2019]"))
    (plan,) = mlc.plan(config).places.values()
    return plan


def used(selection: Selection) -> set[str]:
    return {s.acquisition.id for row in selection.chosen.values() for s in row}


def change(world: Path, number: int, edit: object) -> str:
    """Edit an item of a STAC catalogue, and return its id."""
    path = world / "acquisitions/items.json"
    document = json.loads(path.read_text())
    edit(document["features"][number])  # type: ignore[operator]
    path.write_text(json.dumps(document))
    return str(document["features"][number]["id"])


@pytest.mark.parametrize("asset", ["scl", "red"])
def test_kind_3_an_item_without_an_asset_is_left_out_by_name(
    pristine: dict[str, Path], tmp_path: Path, asset: str
) -> None:
    world = own(pristine, "stac", tmp_path)
    name = change(world, 2, lambda item: item["assets"].pop(asset))
    catalogue = Stac(catalogue=str(world / "acquisitions/items.json")).catalogue([2018, 2019])
    (left_out,) = catalogue.left_out
    assert left_out.id == name and f"{name} has no asset for" in str(left_out)
    assert len(catalogue.acquisitions) == 15 and all(name not in a.names for a in catalogue.acquisitions)


def test_kind_3_an_invalid_item_of_another_year_is_never_looked_at(pristine: dict[str, Path], tmp_path: Path) -> None:
    world = own(pristine, "stac", tmp_path)
    change(world, 2, lambda item: item["assets"].pop("scl"))
    found = Stac(catalogue=str(world / "acquisitions/items.json")).catalogue([2019])
    assert not found.left_out and len(found.acquisitions) == 8


@pytest.mark.parametrize("zipped", [False, True])
def test_kind_3_level_1_beside_level_2_is_left_out(pristine: dict[str, Path], tmp_path: Path, zipped: bool) -> None:
    world = own(pristine, "safe", tmp_path)
    product = sorted((world / "acquisitions").glob("*.SAFE"))[0]
    level_1 = product.with_name(product.name.replace("MSIL2A", "MSIL1C"))
    shutil.copytree(product, level_1)
    if zipped:
        shutil.make_archive(str(tmp_path / "packed"), "zip", world / "acquisitions", level_1.name)
        shutil.rmtree(level_1)
        shutil.move(tmp_path / "packed.zip", world / "acquisitions/packed.zip")
    place = planned(world, tmp_path, kind="safe")
    assert place.infeasible is None and len(used(place.selection)) == 6
    (note,) = place.notes
    assert note.startswith("left out: ") and level_1.name.removesuffix(".SAFE") in note and "is Level-1C" in note


def test_kind_3_broken_metadata_of_another_year_is_not_opened(pristine: dict[str, Path], tmp_path: Path) -> None:
    world = own(pristine, "safe", tmp_path)
    for product in (world / "acquisitions").glob("*_MSIL2A_2019*.SAFE"):
        (product / "MTD_MSIL2A.xml").write_text("cut")
    folder = world / "acquisitions"
    assert not Safe(folder=folder).catalogue([2018]).left_out
    both = Safe(folder=folder).catalogue([2018, 2019])
    assert len(both.left_out) == 8 and all("cannot be read as XML" in one.reason for one in both.left_out)


@pytest.mark.parametrize("fault", ["missing", "grid", "first grid", "no CRS", "cut"])
def test_kind_3_a_file_that_cannot_be_used_leaves_out_its_acquisition(
    pristine: dict[str, Path], tmp_path: Path, fault: str
) -> None:
    world = own(pristine, "geotiff", tmp_path)
    folders = sorted((world / "acquisitions").iterdir())
    bad = folders[0 if fault == "first grid" else 3]
    if fault == "missing":
        (bad / "SCL.tif").unlink()
    elif fault == "cut":
        rasterio.shutil.copy(bad / "B03.tif", tmp_path / "cog.tif", driver="COG", compress="deflate")
        content = (tmp_path / "cog.tif").read_bytes()
        (bad / "B03.tif").write_bytes(content[: len(content) * 6 // 10])
    else:
        for path in bad.glob("*.tif"):
            with rasterio.open(path, "r+") as file:
                if fault == "no CRS":
                    file.crs = rasterio.CRS()
                else:
                    file.transform = file.transform @ Affine.translation(3, 3)
    place = planned(world, tmp_path)
    assert place.infeasible is None and bad.name not in used(place.selection) and len(used(place.selection)) == 6
    (note,) = place.notes
    words = {"missing": "SCL.tif is missing", "no CRS": "has no CRS", "cut": "B03.tif is cut off"}
    assert bad.name in note and words.get(fault, "warp it to that grid") in note and "\n" not in note
    assert [one.id for one in place.selection.left_out] == [bad.name]


def test_kind_3_too_few_say_how_many_and_why_and_the_plan_has_its_table(
    pristine: dict[str, Path], tmp_path: Path
) -> None:
    world = own(pristine, "geotiff", tmp_path)
    bad = sorted((world / "acquisitions").glob("2018*"))[:6]
    for folder in bad:
        (folder / "SCL.tif").unlink()
    place = planned(world, tmp_path)
    assert place.infeasible is not None and place.selection.size == 0
    message = str(place.infeasible)
    assert message.startswith("6 left out, e.g. ") and "SCL.tif is missing" in message
    assert "; of the others only 1 of 3 acquisition pairs are feasible: too few acquisitions in 2018" in message
    assert "\n" not in message and len(place.selection.rejected[2018]) == len(place.selection.rejected[2019]) == 8
    with pytest.raises(mlc.InputError, match=r"6 left out, e\.g\."):
        mlc.run(tmp_path / "mlc.toml", until="acquisitions", scheduler="current")


def test_kind_3_by_hand(pristine: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = own(pristine, "geotiff", tmp_path)
    first = used(planned(world, tmp_path).selection)
    one, other = sorted(first)[:2]
    (world / "acquisitions" / one / "SCL.tif").unlink()
    day = f"{other[:4]}-{other[4:6]}-{other[6:8]}"
    place = planned(world, tmp_path, leave_out=f'["{one}", {day}]')
    assert used(place.selection).isdisjoint({one, other}) and not place.notes and place.infeasible is None
    reasons = {s.acquisition.id: s.reason for row in place.selection.rejected.values() for s in row}
    assert reasons[one] == reasons[other] == "acquisitions.leave_out"
    with pytest.raises(mlc.InputError, match=rf"leave_out: '{one}x' names no acquisition .*; did you mean '{one}'\?"):
        planned(world, tmp_path, leave_out=f'["{one}x"]')
    with pytest.raises(mlc.InputError, match="names no acquisition of these years; write an id or a date of the table"):
        planned(world, tmp_path, leave_out='["?"]')


def test_kind_3_two_folders_of_one_time(pristine: dict[str, Path], tmp_path: Path) -> None:
    world = own(pristine, "geotiff", tmp_path)
    (first, *_) = sorted((world / "acquisitions").iterdir())
    shutil.copytree(first, first.with_name(f"{first.name}_copy"))
    place = planned(world, tmp_path)
    reasons = {s.acquisition.id: s.reason for row in place.selection.rejected.values() for s in row}
    assert place.infeasible is None and reasons[f"{first.name}_copy"] == "same time as another"


def flanders(tmp_path: Path, per_year: int, extra: str = "") -> Path:
    folder = real_site("flanders_a_2017_2018", 0.0).folder
    path = tmp_path / "flanders.toml"
    text = f'output = "out"\n[source]\nkind = "geotiff"\nfolder = "{folder}"\ndate = \'(\\d{{8}}T\\d{{6}})\'\n'
    text += 'date_format = "%Y%m%dT%H%M%S"\n[acquisitions]\nyears = [2018]\nmax_cloud = 0.2\ngap_weight = 10.0\n'
    path.write_text(f"{text}per_year = {per_year}\n{extra}")
    return path


def test_kind_9_plan_refuses_a_missed_cloud_with_its_picture_and_the_line_that_leaves_it_out(tmp_path: Path) -> None:
    (place,) = mlc.plan(flanders(tmp_path, 50)).places.values()
    assert OVERCAST in used(place.selection)
    picture = tmp_path / "out/suspects" / f"{OVERCAST}.png"
    assert picture.is_file() and str(picture) in str(place.infeasible)
    assert f'acquisitions.leave_out = ["{OVERCAST}"]' in str(place.infeasible)
    (again,) = mlc.plan(flanders(tmp_path, 49, f'leave_out = ["{OVERCAST}"]\n')).places.values()
    assert again.infeasible is None and OVERCAST not in used(again.selection)


def test_kind_9_a_notebook_checks_as_a_run_does() -> None:
    source = real_site("flanders_a_2017_2018", 0.0)
    found = source.catalogue([2018])
    every = tuple(Surveyed(a, w) for a in found.acquisitions if (w := source.weather(a, found.grid)).cloud < 0.2)
    selection = Selection({2018: every}, {2018: ()}, 0.0)
    with pytest.raises(mlc.InputError, match=f'leave_out = \\["{OVERCAST}"\\]'):
        mlc.stack(source, selection, grid=found.grid, chunk=64)
    assert mlc.stack(source, selection, grid=found.grid, chunk=64, accept_radiometry=True).sizes["acquisition"] > 30
    rules = mlc.PairingRules(size=len(every), max_cloud=0.2, min_valid_area=0.0)
    with pytest.raises(mlc.InputError, match=f"{OVERCAST} .cloud missed by the mask"):
        mlc.choose_acquisitions(source, found, rules=rules)
    with pytest.raises(mlc.InputError, match="did you mean"):
        mlc.choose_acquisitions(source, found, rules=rules, leave_out=[f"{OVERCAST}x"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fewer = mlc.PairingRules(size=len(every) - 1, max_cloud=0.2, min_valid_area=0.0)
        assert mlc.choose_acquisitions(source, found, rules=fewer, leave_out=[OVERCAST]).checked


def test_kind_9_rare_snow_is_doubted() -> None:
    def surveyed(number: int, snow: float) -> Surveyed:
        time = np.datetime64("2018-01-01") + np.timedelta64(number * 10, "D")
        one = Granule(f"g{number}", time.astype("datetime64[s]").item(), {})
        return Surveyed(Acquisition(f"a{number}", one.time, None, (one,)), Weather(0.0, 1.0, snow))

    rare = Selection({2018: tuple(surveyed(i, 0.96 * (i == 2)) for i in range(8))}, {2018: ()}, 0.0)
    (words,) = doubts(rare)
    assert "96% of a2 snow" in words and "acquisitions.leave_out" in words
    often = Selection({2018: tuple(surveyed(i, 0.96 * (i < 3)) for i in range(8))}, {2018: ()}, 0.0)
    assert not doubts(often)


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_kind_9_a_tiff_called_jp2_is_opened_by_what_it_is(pristine: dict[str, Path], tmp_path: Path, kind: str) -> None:
    world = own(pristine, "safe", tmp_path)
    for path in (world / "acquisitions").rglob("*.jp2"):
        with rasterio.open(path) as file:
            data, profile = file.read(), file.profile
        path.unlink()
        keep = {k: profile[k] for k in ("dtype", "count", "height", "width", "crs", "transform")}
        with rasterio.open(path, "w", driver="GTiff", **keep) as file:
            file.write(data)
    for manifest in (world / "acquisitions").rglob("manifest.safe"):
        manifest.unlink()
    if kind == "archive":
        for product in list((world / "acquisitions").glob("*.SAFE")):
            shutil.make_archive(str(product), "zip", product.parent, product.name)
            shutil.rmtree(product)
    source, clean = Safe(folder=world / "acquisitions"), Safe(folder=pristine["safe"] / "acquisitions")
    found = source.catalogue([2018])
    one, grid = found.acquisitions[0], found.grid
    source.check(one, grid)
    window = (slice(0, 64), slice(0, 64))
    assert np.array_equal(
        source.read(one, grid, *window)[0], clean.read(clean.catalogue([2018]).acquisitions[0], grid, *window)[0]
    )


def test_kind_9_a_missing_file_is_not_called_unreadable(pristine: dict[str, Path], tmp_path: Path) -> None:
    world = own(pristine, "safe", tmp_path)
    product = sorted((world / "acquisitions").glob("*.SAFE"))[0]
    (product / "MTD_MSIL2A.xml").unlink()
    (left_out,) = Safe(folder=world / "acquisitions").catalogue().left_out
    assert "MTD_MSIL2A.xml is missing; download the product again" in left_out.reason and "XML" not in left_out.reason


@pytest.mark.parametrize("bands", [("B05", "B06", "B07", "B8A", "B11", "B12"), ("B11", "B12")])
def test_kind_9_bands_without_an_index_are_clustered(tmp_path: Path, bands: tuple[str, ...]) -> None:
    world = small_world(tmp_path, size=96, years=(2018, 2019))
    config = write_config(
        tmp_path / "mlc.toml", world, tmp_path / "out", kind=f'"geotiff"\nbands = {json.dumps(bands)}'
    )
    events = {e.step: e for e in mlc.run(config, until="annual-training", scheduler="current")}
    samples = events["annual-training"].artifact.open()
    assert samples.sizes["sample"] > 100 and all(row["kept"] for row in samples.attrs["clusters"])


def test_a_reason_is_told_with_its_name_once() -> None:
    assert str(LeftOut("a", "a is bad")) == "a is bad" and str(LeftOut("b", "not good")) == "b: not good"


def test_kind_5_a_year_without_data_is_found_in_the_plan(pristine: dict[str, Path], tmp_path: Path) -> None:
    """Images of a whole year are empty, and no limit of the valid area refuses them."""
    world = own(pristine, "geotiff", tmp_path)
    for path in world.glob("acquisitions/2019*/*.tif"):
        with rasterio.open(path, "r+") as file:
            file.write(np.zeros((file.count, file.height, file.width), file.dtypes[0]))
    settings = {"kind": '"geotiff"', "per_year": FEW.format("[]") + "\nmin_valid_area = 0", "min_valid": "2"}
    (place,) = mlc.plan(write_config(tmp_path / "mlc.toml", world, tmp_path / "out", **settings)).places.values()
    assert "8 in 2019 have no data in the area; leave 2019 out of acquisitions.years" in str(place.infeasible)


@pytest.mark.parametrize("fault", ["another mask", "its own no data", "NaN"])
def test_kind_1_masks_of_other_numbers(pristine: dict[str, Path], tmp_path: Path, fault: str) -> None:
    world = own(pristine, "geotiff", tmp_path)
    for path in (world / "acquisitions").glob("*/SCL.tif"):
        with rasterio.open(path) as file:
            values, profile = file.read(), file.profile
        if fault == "NaN":
            values = values.astype(np.float32)
            values[:, : values.shape[1] // 2] = np.nan
        else:
            values[:, : values.shape[1] // 2] = 200
        declared = 200 if fault == "its own no data" else None
        with rasterio.open(path, "w", **{**profile, "dtype": values.dtype, "nodata": declared}) as file:
            file.write(values)
    place = planned(world, tmp_path)
    if fault == "NaN":
        shares = [s.weather.valid for row in place.selection.chosen.values() for s in row]
        assert shares and max(shares) <= 0.5, "NaN is no data"
        return
    words = {
        "another mask": r"mask has the value 200, but the scene classification has 0 to 11; set source\.mask",
        "its own no data": r"declares 200 as no data, but source\.mask\.nodata = \[0\]; add it there",
    }
    assert re.search(words[fault], str(place.infeasible))


def test_kind_1_masks_whose_values_are_too_few_for_a_scene_classification(
    pristine: dict[str, Path], tmp_path: Path
) -> None:
    """Fmask has only values that the scene classification has, too; both ways out of the message are ones."""
    world = own(pristine, "geotiff", tmp_path)
    fmask = np.full(12, 0, np.uint8)
    fmask[[6, 3, 11, 8, 9, 10]] = 1, 2, 3, 4, 4, 4
    for path in (world / "acquisitions").glob("*/SCL.tif"):
        with rasterio.open(path, "r+") as file:
            file.write(fmask[file.read()])
            file.nodata = None
    with pytest.raises(
        mlc.InputError, match=r"masks of all acquisitions have the values 0 \(\d\d%\), .*4 \("
    ) as refused:
        planned(world, tmp_path)
    line = str(refused.value)
    shares = []
    for way_out in re.findall(r"mask = (\{.*?\})", line):
        place = planned(world, tmp_path, kind=f'geotiff"\nmask = {way_out}\n#"')
        every = [s for rows in (place.selection.chosen, place.selection.rejected) for row in rows.values() for s in row]
        shares.append(np.mean([s.weather.valid for s in every]))
        assert all(not s.weather.codes for s in every)
    assert len(shares) == 2 and shares[0] == 1 and shares[1] < 0.5


@pytest.mark.parametrize("codes", [(4,), (0, 4), (3, 4), (0, 4, 5), (2, 4, 9)])
def test_a_scene_classification_of_few_values(
    pristine: dict[str, Path], tmp_path: Path, codes: tuple[int, ...]
) -> None:
    world = own(pristine, "geotiff", tmp_path)
    for number, path in enumerate(sorted((world / "acquisitions").glob("*/SCL.tif"))):
        with rasterio.open(path, "r+") as file:
            file.write(np.full(file.read().shape, 4, np.uint8))
            file.write(np.full((1, 2, 2), codes[number % len(codes)], np.uint8), window=((0, 2), (0, 2)))
    assert planned(world, tmp_path).infeasible is None


def test_kind_1_two_bands_of_one_file(pristine: dict[str, Path], tmp_path: Path) -> None:
    world = own(pristine, "geotiff", tmp_path)
    for path in (world / "acquisitions").glob("*/B03.tif"):
        shutil.copy(path.with_name("B04.tif"), path)
    fault = str(planned(world, tmp_path).infeasible)
    assert "6 of 6 acquisitions have two bands that are one" in fault and fault.count("B03 and B04 hold the same") == 6
    assert "take one of the two out of source.bands" in fault and "\n" not in fault


@pytest.mark.parametrize("fault", ["copy", "value"])
def test_kind_1_what_only_the_pixels_show_of_one_acquisition(
    pristine: dict[str, Path], tmp_path: Path, fault: str
) -> None:
    """Its name and the way out are told in `plan` like all other findings, and the way out is one."""
    world = own(pristine, "geotiff", tmp_path)
    bad = max(used(planned(world, tmp_path).selection))
    path = world / "acquisitions" / bad / "B03.tif"
    if fault == "copy":
        shutil.copy(path.with_name("B04.tif"), path)
    else:
        with rasterio.open(path, "r+") as file:
            file.write(np.where(file.read() > 0, 60_000, 0).astype(np.uint16))
    place = planned(world, tmp_path)
    line = str(place.infeasible)
    words = {"copy": "1 of 6 acquisitions have two bands", "value": "1 of 6 chosen acquisitions cannot be read, e.g."}
    assert line.startswith(words[fault]) and bad in line and "\n" not in line
    assert place.selection.size == 3 and place.facts, "the plan is shown all the same"
    way_out = re.search(r"acquisitions.leave_out = (\[.*?\])", line)
    assert way_out is not None
    assert planned(world, tmp_path, leave_out=way_out[1]).infeasible is None


def test_kind_8_a_wrong_length_of_a_remote_band_is_found_in_plan(pristine: dict[str, Path], tmp_path: Path) -> None:
    world = own(pristine, "stac", tmp_path)
    with serve(world / "acquisitions") as server:
        path = world / "acquisitions/items.json"
        document = json.loads(path.read_text())
        for item in document["features"]:
            for asset in item["assets"].values():
                asset["href"] = server.url(asset["href"].removeprefix("./"))
        path.write_text(json.dumps(document))
        (*_, bad) = (s.acquisition for row in planned(world, tmp_path, "stac").selection.chosen.values() for s in row)
        for item in document["features"]:
            if item["id"] in bad.names:
                item["assets"]["red"]["file:size"] = 7
        path.write_text(json.dumps(document))
        line = str(planned(world, tmp_path, "stac").infeasible)
        assert re.match(r"1 of 6 chosen acquisitions cannot be read, e.g. .* its metadata states 7; ", line)
        assert f'acquisitions.leave_out = ["{bad.id}"]' in line and "source.checksums = false" in line
