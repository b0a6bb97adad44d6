"""The GeoTIFF source: one convention for every input, exact windows, and a clear word for every bad file."""

from __future__ import annotations

import csv
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from mlc_dask.data.errors import InputError, UnreadableError
from mlc_dask.data.settings import validated
from mlc_dask.data.years import Years
from mlc_dask.io.rasters import check_whole, open_raster
from mlc_dask.io.sources import GeoTiff, Mask, geotiff
from tests.cubes import SHARED, Array

SITES = SHARED / "sites"
TWO = ("B02", "B11")
EVERYWHERE = (slice(0, 12), slice(0, 12))


def site(name: str) -> Path:
    path = SITES / name
    if not path.is_dir():
        pytest.skip(f"real data {name} is not beside this checkout")
    return path


def write(path: Path, values: Array, *, pixel: float = 10.0, **profile: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = values if values.ndim == 3 else values[None]
    names = profile.pop("names", None)
    default = {"crs": "EPSG:32632", "transform": Affine(pixel, 0, 600_000, 0, -pixel, 5_200_000)}
    with rasterio.open(
        path, "w", driver="GTiff", count=len(planes), height=planes.shape[1], width=planes.shape[2],
        dtype=planes.dtype, **{**default, **profile},
    ) as file:  # fmt: skip
        file.write(planes)
        if names:
            file.descriptions = names
    return path


def raster(seed: int, size: int, low: int = 1, high: int = 10_000, dtype: str = "uint16") -> Array:
    return np.random.default_rng(seed).integers(low, high, (size, size)).astype(dtype)


def acquisition(folder: Path, name: str = "20180401_R022", size: int = 12) -> Path:
    """One acquisition: B02 at 10 m, B11 and SCL at 20 m, all clear."""
    write(folder / name / "B02.tif", raster(1, size))
    write(folder / name / "B11.tif", raster(2, size // 2), pixel=20)
    write(folder / name / "SCL.tif", np.full((size // 2, size // 2), 4, np.uint8), pixel=20)
    return folder / name


@pytest.mark.parametrize(
    "layout",
    [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}, {"interleave": "pixel"},
     {"interleave": "band", "compress": "lzw"}],
    ids=["strips", "tiles", "by pixel", "by band"],
)  # fmt: skip
def test_kind_4_a_file_that_lost_its_end_is_told_by_its_header(layout: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.stack([raster(n, 64) for n in range(3)]), **layout)
    content = path.read_bytes()
    with open_raster(path) as file:
        check_whole(file)
    path.write_bytes(content[: -1 if layout.get("compress") else -64 * 64 * 2])
    with open_raster(path) as file, pytest.raises(UnreadableError, match=r"a\.tif is cut off: \d+ of its blocks"):
        check_whole(file)


def test_a_file_of_all_bands_is_opened_and_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("B02", "B03", "B11")
    write(tmp_path / "20180401" / "all.tif", np.stack([raster(n, 64, high=200) for n in range(3)]), names=names)
    source = source_of(tmp_path, bands=names, file="all.tif", mask=None)
    grid, (one,) = source.grid(), source.acquisitions()
    checked_files: list[str] = []
    monkeypatch.setattr(geotiff, "check_whole", lambda file: checked_files.append(Path(file.name).name))
    source.check(one, grid)
    assert checked_files == ["all.tif"]


def test_blocks_without_data_have_no_place_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.zeros((64, 64), np.uint16), sparse_ok=True)
    with open_raster(path) as file:
        assert file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1) is None
        check_whole(file)


def source_of(folder: Path, **settings_: Any) -> GeoTiff:
    return GeoTiff(folder=folder, **{"bands": TWO, **settings_})


def read_all(source: GeoTiff, at: int = 0) -> tuple[Array, Array]:
    grid = source.grid()
    return source.read(source.acquisitions()[at], grid, slice(0, grid.height), slice(0, grid.width))


def checked(source: GeoTiff) -> None:
    grid = source.grid()
    for a in source.acquisitions():
        source.check(a, grid)


# Values


def test_conversion_to_the_convention(tmp_path: Path) -> None:
    raw = np.array([[0, 1, 1000], [10_000, 60_000, 65_535]], np.uint16)
    write(tmp_path / "20180401" / "B02.tif", raw)
    dn, usable = read_all(source_of(tmp_path, bands=("B02",), mask=None))
    assert dn.dtype == np.uint16
    assert dn[0].tolist() == [[0, 1001, 2000], [11_000, 61_000, 65_535]], "reflectance = DN * 1e-4 - 0.1, saturated"
    assert usable.tolist() == [[False, True, True], [True, True, True]]


def test_collection_1_passes_unchanged(tmp_path: Path) -> None:
    raw = np.array([[0, 1, 900, 1000, 11_000, 65_535]], np.uint16)
    write(tmp_path / "20180401" / "B02.tif", raw)
    dn, _ = read_all(source_of(tmp_path, bands=("B02",), mask=None, offset=-0.1))
    assert np.array_equal(dn[0], raw)


def test_signed_values_with_their_own_no_data(tmp_path: Path) -> None:
    raw = np.array([[-10_000, -9999, -1001, -1000, -999, 0, 5]], np.int16)
    write(tmp_path / "20180401" / "B02.tif", raw, nodata=-10_000)
    dn, usable = read_all(source_of(tmp_path, bands=("B02",), mask=None, nodata=-10_000))
    assert dn[0].tolist() == [[0, 1, 1, 1, 1, 1000, 1005]], "valid DN is never 0"
    assert usable.tolist() == [[False, True, True, True, True, True, True]]


def test_floats_with_nan(tmp_path: Path) -> None:
    raw = np.array([[np.nan, 0.0, -0.05, 0.3, 9.0, np.inf]], np.float32)
    write(tmp_path / "20180401" / "B02.tif", raw, nodata=np.nan)
    dn, usable = read_all(source_of(tmp_path, bands=("B02",), mask=None, scale=1.0, nodata=-1))
    assert dn[0].tolist() == [[0, 1000, 500, 4000, 65_535, 0]]
    assert usable.tolist() == [[False, True, True, True, True, False]]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(-32_768, 32_767), min_size=4, max_size=4),
    st.sampled_from([1e-4, 1e-3, 2.75e-5]),
    st.sampled_from([0.0, -0.1, -0.2]),
)
def test_no_valid_pixel_becomes_no_data(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], scale: float, offset: float
) -> None:
    folder = tmp_path_factory.mktemp("site")
    write(folder / "20180401" / "B02.tif", np.array([values], np.int16), nodata=7)
    dn, usable = read_all(source_of(folder, bands=("B02",), mask=None, scale=scale, offset=offset, nodata=7))
    assert (dn[0, 0] == 0).tolist() == [v == 7 for v in values] == (~usable[0]).tolist()
    expected = [min(max(round((v * scale + offset + 0.1) / 1e-4), 1), 65_535) for v in values]
    valid = np.array(values) != 7
    assert np.abs(dn[0, 0][valid].astype(int) - np.array(expected)[valid]).max(initial=0) <= 1, "up to a half rounded"


# Windows


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_windows_repeat_the_coarse_bands_exactly(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([6, 10, 12]), "size")
    folder = tmp_path_factory.mktemp("site")
    place = acquisition(folder, size=size)
    write(place / "SCL.tif", raster(3, size // 2, 0, 12, "uint8"), pixel=20)
    source = source_of(folder)
    rows, columns = (
        slice(*sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2, unique=True)))) for _ in "yx"
    )
    dn, usable = source.read(source.acquisitions()[0], source.grid(), rows, columns)
    fine = {}
    for name in ("B02", "B11", "SCL"):
        with rasterio.open(place / f"{name}.tif") as file:
            plane = file.read(1)
        fine[name] = plane if name == "B02" else np.kron(plane, np.ones((2, 2), plane.dtype))
    assert np.array_equal(dn[0], fine["B02"][rows, columns] + 1000)
    assert np.array_equal(dn[1], fine["B11"][rows, columns] + 1000)
    assert np.array_equal(usable, ~np.isin(fine["SCL"], (0, 1, 3, 8, 9))[rows, columns])


def test_grid_is_that_of_the_finest_band(tmp_path: Path) -> None:
    acquisition(tmp_path)
    grid = source_of(tmp_path, bands=("B11", "B02")).grid()
    assert (grid.pixel, grid.shape, grid.left, grid.top) == (10, (12, 12), 600_000, 5_200_000)
    assert source_of(tmp_path, bands=("B11",)).grid().shape == (6, 6)


def test_mask_values_and_weather(tmp_path: Path) -> None:
    place = acquisition(tmp_path)
    scl = np.full((6, 6), 4, np.uint8)
    scl[0] = (0, 1, 3, 8, 9, 10)
    write(place / "SCL.tif", scl, pixel=20)
    source = source_of(tmp_path)
    _, usable = read_all(source)
    assert usable[0].tolist() == [False] * 10 + [True] * 2 and usable[2:].all()
    weather = source.weather(source.acquisitions()[0], source.grid())
    assert weather.valid == 35 / 36 and weather.cloud == 3 / 35
    own = source_of(tmp_path, mask=Mask(unusable=(4,), cloud=(4,), nodata=(10,)))
    assert read_all(own)[1].sum() == 20, "five values of the first coarse row are neither 4 nor no data"
    assert own.weather(own.acquisitions()[0], own.grid()).cloud == 30 / 35


def test_all_empty_acquisition(tmp_path: Path) -> None:
    place = acquisition(tmp_path)
    write(place / "SCL.tif", np.zeros((6, 6), np.uint8), pixel=20)
    source = source_of(tmp_path)
    weather = source.weather(source.acquisitions()[0], source.grid())
    assert weather.valid == 0 and weather.cloud == 0
    assert not read_all(source)[1].any()


def test_without_a_mask(tmp_path: Path) -> None:
    place = acquisition(tmp_path)
    values = raster(1, 12)
    values[0] = 0
    write(place / "B02.tif", values)
    (place / "SCL.tif").unlink()
    source = source_of(tmp_path, mask=None)
    checked(source)
    weather = source.weather(source.acquisitions()[0], source.grid())
    assert weather.cloud == 0 and weather.valid == 11 / 12
    assert (~read_all(source)[1]).sum() == 12


def test_one_band_without_data_makes_a_date_unusable(tmp_path: Path) -> None:
    place = acquisition(tmp_path)
    values = raster(2, 6)
    values[1, 2] = 0
    write(place / "B11.tif", values, pixel=20)
    dn, usable = read_all(source_of(tmp_path))
    assert (~usable).sum() == 4 and not usable[2:4, 4:6].any() and (dn[0] > 0).all()


def test_bands_of_one_file_are_found_by_description(tmp_path: Path) -> None:
    planes = np.stack([raster(i, 6) for i in range(3)])
    write(tmp_path / "20180401" / "all.tif", planes, names=("B11", None, "B02"))
    source = source_of(tmp_path, file="all.tif", mask=None)
    checked(source)
    dn, _ = read_all(source)
    assert np.array_equal(dn, planes[[2, 0]] + 1000)
    assert source.weather(source.acquisitions()[0], source.grid()).valid == 1


# Dates


def test_dates_orbits_and_order(tmp_path: Path) -> None:
    for name in ("S2B_MSIL2A_20180711T101029_N0208_R022_T32TPS", "S2A_MSIL2A_20170516T102031_R065", "20160101_R9"):
        (tmp_path / name).mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("no acquisition")
    found = source_of(tmp_path).acquisitions()
    assert [(a.time, a.orbit) for a in found] == [
        (datetime(2016, 1, 1), None), (datetime(2017, 5, 16), 65), (datetime(2018, 7, 11), 22),
    ]  # fmt: skip
    (granule,) = found[2].granules
    assert granule.assets["B11"].href == f"{found[2].id}/B11.tif"
    fine = source_of(tmp_path, date=r"(\d{8}T\d{6}|\d{8})", date_format="%Y%m%dT%H%M%S")
    assert [a.id for a in fine.acquisitions()] == [found[1].id, found[2].id]
    (one,) = fine._sifted(Years())[1]
    assert one.id == "20160101_R9" and "20160101_R9: '20160101' is not a date of the form" in one.reason


def test_times_tell_two_of_one_day_apart(tmp_path: Path) -> None:
    for name in ("20180711T101029", "20180711T102031"):
        (tmp_path / name).mkdir()
    fine = source_of(tmp_path, date=r"(\d{8}T\d{6})", date_format="%Y%m%dT%H%M%S").acquisitions()
    assert [a.time.minute for a in fine] == [10, 20]
    assert [a.time.hour for a in source_of(tmp_path).acquisitions()] == [0, 0]  # the choice takes the first


def test_dates_from_an_index(tmp_path: Path) -> None:
    folder, index = tmp_path / "acquisitions", tmp_path / "index.csv"
    for name in ("one", "two", "three", "four"):
        (folder / name).mkdir(parents=True)
    index.write_text(
        "\ufeffid,when\none,2018-04-01T10:50:37Z\ntwo,2017-11\nthree,2018-01-01T00:30:00+02:00\nfour,2016-02-29\nx,?\n"
    )
    found = source_of(folder, index=index, index_column="when").acquisitions()
    assert [(a.id, a.time) for a in found] == [
        ("four", datetime(2016, 2, 29)),
        ("two", datetime(2017, 11, 15)),
        ("three", datetime(2017, 12, 31, 22, 30)),
        ("one", datetime(2018, 4, 1, 10, 50, 37)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,date\nother,2018-04-01\n", r"/one is not in .*index.csv; add a row for it or remove the folder"),
        ("id,date\none,yesterday\n", r"index.csv: date of one is 'yesterday', not an ISO date; correct it"),
        ("id,date\none,\n", r"index.csv: date of one is '', not an ISO date; correct it"),
        ("id,date\none,2018-13\n", r"index.csv: date of one is '2018-13', not an ISO date"),
        (
            "id,when\none,2018-04-01\n",
            r"index.csv: no column date; the table needs date, id, and its first line has id, when",
        ),
        ("", r"index.csv: no column date, id; .* its first line has nothing"),
    ],
)
def test_bad_index(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "all" / "one").mkdir(parents=True)
    index = tmp_path / "index.csv"
    index.write_text(text)
    with pytest.raises(InputError, match=message):
        source_of(tmp_path / "all", index=index, index_column="date").acquisitions()
    index.unlink()
    with pytest.raises(InputError, match=r"index.csv does not exist; set source.index"):
        source_of(tmp_path / "all", index=index, index_column="date").acquisitions()


@pytest.mark.parametrize(
    ("pattern", "message"), [(r"\d{8}", "no group; put parentheses around the date"), ("(", "not a regular expression")]
)
def test_bad_date_pattern(pattern: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"source: date = .*: {message}"):
        validated(GeoTiff, {"folder": "a", "date": pattern}, "source")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("summer", r"summer: source.date = .* finds no date; correct the pattern"),
        ("20181332_x", r"20181332_x: '20181332' is not a date of the form '%Y%m%d'; correct source.date"),
    ],
)
def test_bad_folder_names(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=message):
        source_of(tmp_path).acquisitions()


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none is not a folder; set source.folder"):
        source_of(tmp_path / "none").acquisitions()
    (tmp_path / "file.tif").touch()
    with pytest.raises(InputError, match="has no acquisition folders; expected one folder per acquisition"):
        source_of(tmp_path).grid()


# Bad files: the check before any work tells the file, what is wrong, and the fix


ROTATED = Affine(9.8, -1.7, 600_000, -1.7, -9.8, 5_200_000)


@pytest.mark.parametrize(
    ("band", "profile", "message"),
    [
        ("B02", {"crs": "EPSG:32633"}, "EPSG:32633, expected 12 × 12 px .* EPSG:32632; warp it to that grid"),
        ("B02", {"crs": None}, "B02.tif has no CRS; write one with"),
        ("B02", {"transform": Affine(10, 0, 600_005, 0, -10, 5_200_000)}, r"\(600005, .*warp it to that grid"),
        ("B02", {"transform": Affine(10, 0, 600_000, 0, -10, 5_200_010)}, "5.20001e\\+06.*warp it to that grid"),
        ("B02", {"transform": ROTATED}, "B02.tif is rotated or has non-square pixels .*; warp it to square"),
        ("B02", {"transform": Affine(10, 0, 600_000, 0, -12, 5_200_000)}, "B02.tif is rotated or has non-square"),
        ("B02", {"transform": Affine(10, 0, 600_000, 0, 10, 5_200_000)}, "B02.tif is rotated or has non-square"),
        ("B11", {"transform": Affine(20, 0, 600_010, 0, -20, 5_200_000)}, "B11: its grid is 6 × 6"),
        ("B11", {"size": 7}, "B11: its grid is 7 × 7 px .*warp it to that grid"),
        ("B02", {"size": 11}, "B02: its grid is 11 × 11 px .*expected 12 × 12"),
        ("SCL", {"size": 5}, "mask: its grid is 5 × 5"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_off_the_grid(tmp_path: Path, band: str, profile: dict[str, Any], message: str) -> None:
    acquisition(tmp_path)
    bad = acquisition(tmp_path, "20180501")
    own = dict(profile)
    size = own.pop("size", 12 if band == "B02" else 6)
    values = raster(4, size, dtype=own.pop("dtype", "uint16"))
    write(bad / f"{band}.tif", values, pixel=10 if band == "B02" else 20, **own)
    catalogue = source_of(tmp_path).catalogue()
    reasons = [one.reason for one in catalogue.left_out]
    for one in catalogue.acquisitions:
        try:
            source_of(tmp_path).check(one, catalogue.grid)
        except InputError as error:
            reasons.append(str(error))
    (reason,) = reasons
    assert re.search(message, reason) and "20180501" in reason and "\n" not in reason


def test_a_thousandth_of_a_pixel_is_rounding(tmp_path: Path) -> None:
    acquisition(tmp_path)
    bad = acquisition(tmp_path, "20180501")
    write(bad / "B02.tif", raster(4, 12), transform=Affine(10, 0, 600_000.005, 0, -10, 5_200_000))
    checked(source_of(tmp_path))


def test_missing_files_and_bands(tmp_path: Path) -> None:
    acquisition(tmp_path)
    (acquisition(tmp_path, "20180501") / "B11.tif").unlink()
    with pytest.raises(InputError, match=r"20180501/B11.tif is missing; add B11 to this acquisition"):
        checked(source_of(tmp_path))
    (tmp_path / "20180501" / "SCL.tif").unlink()
    with pytest.raises(InputError, match=r"20180501/SCL.tif is missing; add mask to this acquisition"):
        checked(source_of(tmp_path, bands=("B02",)))
    write(tmp_path / "20180501" / "all.tif", np.stack([raster(1, 6)] * 2), names=("B02", None))
    (tmp_path / "20180401_R022").rename(tmp_path / ".away")
    with pytest.raises(InputError, match=r"all.tif has no band B11, only B02, \(unnamed\); correct source.bands"):
        checked(source_of(tmp_path, file="all.tif", mask=None))


VRT = '<VRTDataset rasterXSize="12" rasterYSize="12"></VRTDataset>'


@pytest.mark.parametrize("content", [b"", b"not a raster at all", VRT.encode(), b"II*\x00\x08\x00"])
@pytest.mark.parametrize("band", ["B02", "SCL"])
def test_files_that_are_no_geotiff(tmp_path: Path, content: bytes, band: str) -> None:
    path = acquisition(tmp_path) / f"{band}.tif"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{re.escape(str(path))} cannot be read as a GeoTIFF .*; ") as error:
        checked(source_of(tmp_path))
    assert "\n" not in str(error.value)


def test_truncated_files(tmp_path: Path) -> None:
    """The header is whole, the pixels are not: a check tells before any work, and so does reading."""
    place = tmp_path / "20180401"
    for name in ("B02", "SCL"):
        # The directory stands before the pixels, as in a Cloud-Optimised GeoTIFF.
        write(place / f"{name}.tif", raster(1, 256, high=200, dtype="uint16" if name == "B02" else "uint8"))
    source = source_of(tmp_path, bands=("B02",))
    grid, (one,) = source.grid(), source.acquisitions()
    for name in ("SCL", "B02"):
        path = place / f"{name}.tif"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(InputError, match=rf"{re.escape(str(path))} is cut off"):
            source_of(tmp_path, bands=("B02",), mask=source.mask if name == "SCL" else None).check(one, grid)
        with pytest.raises(
            InputError, match=rf"{re.escape(str(path))} cannot be read as a GeoTIFF .*; download it again"
        ):
            source.read(one, grid, slice(0, 256), slice(0, 256))
    with pytest.raises(InputError, match=r"SCL.tif cannot be read"):
        source.weather(one, grid)
    with pytest.raises(InputError, match=r"B02.tif cannot be read"):
        source_of(tmp_path, bands=("B02",), mask=None).weather(one, grid)


def test_provenance_and_files(tmp_path: Path) -> None:
    acquisition(tmp_path / "a")
    acquisition(tmp_path / "b")
    here, there = source_of(tmp_path / "a"), source_of(tmp_path / "b")
    assert here.provenance() == there.provenance(), "where the folder lies decides nothing"
    assert here.provenance() != source_of(tmp_path / "a", offset=-0.1).provenance()
    assert [Path(f).name for f in here.files()] == ["B02.tif", "B11.tif", "SCL.tif"]


# Real sites


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def ndvi(dn: Array, bands: tuple[str, ...], nir: str) -> Array:
    reflectance = dn * 1e-4 - 0.1
    red, infrared = reflectance[bands.index("B04")], reflectance[bands.index(nir)]
    found: Array = (infrared - red) / (infrared + red)
    return found


TIMED: dict[str, Any] = {"date": r"(\d{8}T\d{6})", "date_format": "%Y%m%dT%H%M%S"}


def test_meuse() -> None:
    folder = site("meuse_fr_2016_2018")
    bands = ("B02", "B03", "B04", "B8A", "B11", "B12")
    mask = Mask(file="MASK.tif", unusable=(1, 2), cloud=(1,), nodata=(2,))
    source = GeoTiff(folder=folder / "acquisitions", bands=bands, nodata=-10_000, mask=mask, **TIMED)
    found, table, grid = source.acquisitions(), rows_of(folder / "acquisitions.csv"), source.grid()
    assert [sum(a.time.year == y for a in found) for y in (2016, 2017, 2018)] == [19, 34, 51]
    assert (grid.shape, grid.pixel, grid.left, grid.top) == ((80, 80), 10, 670_540, 5_461_500)
    best = max(found, key=lambda a: float(table[a.id]["frac_usable"]) * (6 <= a.time.month <= 8))
    for a in found[::8]:
        source.check(a, grid)
        weather, row = source.weather(a, grid), table[a.id]
        assert weather.valid == pytest.approx(1 - float(row["frac_nodata"]), abs=1e-3)
        assert weather.cloud * weather.valid == pytest.approx(float(row["frac_clm_flagged"]), abs=1e-3)
    dn, usable = source.read(best, grid, slice(0, 80), slice(0, 80))
    assert dn.shape == (6, 80, 80) and usable.mean() == pytest.approx(float(table[best.id]["frac_usable"]), abs=0.02)
    assert np.median(ndvi(dn, bands, "B8A")[usable]) > 0.6, "a forest in summer"


def test_flanders() -> None:
    folder = site("flanders_a_2017_2018")
    source = GeoTiff(folder=folder / "acquisitions", **TIMED)
    found, table, grid = source.acquisitions(), rows_of(folder / "acquisitions.csv"), source.grid()
    assert [sum(a.time.year == y for a in found) for y in (2017, 2018)] == [27, 91]
    assert grid.shape == (64, 64) and grid.label.endswith("EPSG:32631")
    for a in found[::10]:
        source.check(a, grid)
        row = table[a.id]
        when = datetime.fromisoformat(row["datetime_utc"]).replace(tzinfo=None)
        assert abs((a.time - when).total_seconds()) < 1
    best = max(found, key=lambda a: float(table[a.id]["frac_clear_scl_4_5_6_7"]))
    dn, usable = source.read(best, grid, slice(7, 64), slice(3, 64))
    whole, _ = source.read(best, grid, slice(0, 64), slice(0, 64))
    assert dn.shape == (10, 57, 61) and np.array_equal(dn, whole[:, 7:, 3:])
    reflectance = dn[:, usable] * 1e-4 - 0.1
    assert usable.mean() > 0.9 and np.percentile(reflectance, 1) > 0 and np.percentile(reflectance, 99) < 0.7


def test_belgium_composites() -> None:
    folder = site("belgium_composites_2020_2021")
    bands = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B11", "B12")
    common: dict[str, Any] = {"folder": folder / "acquisitions", "bands": bands, "mask": None, "nodata": 65_535}
    source = GeoTiff(**common, index=folder / "acquisitions.csv", index_column="month")
    found = source.acquisitions()
    assert [a.time for a in found] == [datetime(2020, 11, 15), datetime(2020, 12, 15)] + [
        datetime(2021, m, 15) for m in range(1, 11)
    ]
    assert [a.time.month for a in GeoTiff(**common, date=r"^(\d{6})$", date_format="%Y%m").acquisitions()] == [
        a.time.month for a in found
    ]
    checked(source)
    assert [source.weather(a, source.grid()).valid > 0.5 for a in found] == [i not in (1, 2) for i in range(12)]
    dn, usable = read_all(source, 9)
    assert dn.shape == (9, 100, 100) and usable.mean() > 0.9
    assert 0.2 < np.median(ndvi(dn, bands, "B08")[usable]) < 1
    assert not read_all(source, 1)[1].any() and not read_all(source, 1)[0].any()


def test_togo(tmp_path: Path) -> None:
    folder = site("togo_2019_2020")
    index = tmp_path / "dates.csv"
    steps = sorted(p.name for p in (folder / "acquisitions").iterdir())
    months = [(2019 + (m > 12), (m - 1) % 12 + 1) for m in range(2, 2 + len(steps))]
    index.write_text("id,when\n" + "".join(f"{s},{y}-{m:02d}-06\n" for s, (y, m) in zip(steps, months, strict=True)))
    bands = ("B04", "B08", "B02")
    source = GeoTiff(
        folder=folder / "acquisitions", bands=bands, file="L1C_13bands.tif", mask=None, index=index, index_column="when"
    )
    checked(source)
    grid = source.grid()
    assert len(source.acquisitions()) == 12 and grid.shape == (17, 17) and grid.pixel < 1e-4
    dn, usable = read_all(source, 7)
    assert dn.shape == (3, 17, 17) and usable.all()
    assert 0.1 < np.median(ndvi(dn, bands, "B08")) < 0.95
    with rasterio.open(folder / "acquisitions" / steps[7] / "L1C_13bands.tif") as file:
        assert np.array_equal(dn[0], file.read(file.descriptions.index("B04") + 1) + 1000)
    with pytest.raises(InputError, match=r"step00: source.date = .* finds no date"):
        GeoTiff(folder=folder / "acquisitions").acquisitions()
    with pytest.raises(InputError, match=r"acquisitions.csv: step of step00 is '0', not an ISO date"):
        GeoTiff(folder=folder / "acquisitions", index=folder / "acquisitions.csv", index_column="step").acquisitions()
