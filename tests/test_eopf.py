"""The EOPF source: raw integers and CF attributes of ESA's Zarr layouts, exact windows, and no silent gaps."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.settings import validated
from mlc_dask.io.rasters import read_on
from mlc_dask.io.sources.eopf import Eopf
from mlc_dask.io.sources.granules import MASK
from tests.cubes import Array

NAME = "S2A_MSIL2A_20200105T101401_N0500_R022_T32TPS_20230424T092301"
TWO = ("B02", "B11")
SIZE, CHUNK = 24, 6
REFLECTANCE = "measurements/reflectance"
CLASSES = "conditions/mask/l2a_classification"
ARRAYS = {"B02": f"{REFLECTANCE}/r10m/b02", "B11": f"{REFLECTANCE}/r20m/b11", MASK: f"{CLASSES}/r20m/scl"}


def numbers(seed: int, size: int) -> Array:
    """Reflectances of all kinds, and no data in the upper left chunk."""
    dn = np.random.default_rng(seed).integers(1, 12_000, (size, size)).astype(np.uint16)
    dn[: size // 4, : size // 4] = 0
    return dn


def classes() -> Array:
    scl = np.random.default_rng(9).integers(1, 12, (SIZE // 2, SIZE // 2)).astype(np.uint8)
    scl[: SIZE // 8, : SIZE // 8] = 0
    return scl


def product(folder: Path, name: str = NAME, *, format: int = 2, **changes: Any) -> Path:  # noqa: A002
    """Write a product in ESA's layout, by hand: format 2 as in 2025, format 3 as of version 3 of its converter."""
    default = {"left": 600_000, "top": 5_200_020, "epsg": 32_632, "seed": 0, "offset": -0.1, "size": SIZE,
               "level": "L2A", "b02": None, "packing": True, "fill_value": 0}  # fmt: skip
    c = {**default, **changes}
    path = folder / f"{name}.zarr"
    root = zarr.open_group(str(path), mode="w", zarr_format=format)  # type: ignore[arg-type]
    root.attrs.update(_root(name, format, c))
    b02 = numbers(c["seed"], c["size"]) if c["b02"] is None else c["b02"]
    planes = {ARRAYS["B02"]: b02, ARRAYS["B11"]: numbers(c["seed"] + 1, c["size"] // 2)}
    scl = c.get("scl", classes() if c["size"] == SIZE else np.full((c["size"] // 2,) * 2, 4, np.uint8))
    if c["level"] == "L2A":
        planes[ARRAYS[MASK]] = scl
    for place, values in planes.items():
        pixel = 10 if "r10m" in place else 20
        attributes = {} if place.endswith("scl") or not c["packing"] else _packing(c["offset"])
        if format == 2:
            attributes |= {"proj:epsg": c["epsg"], "_eopf_attrs": {"dimensions": ["y", "x"], **attributes}}
        _array(root, place, values, ("y", "x"), attributes, c["fill_value"])
        group, steps = place.rpartition("/")[0], np.arange(len(values))
        kind = np.int64 if format == 2 else np.float32
        _array(root, f"{group}/x", (c["left"] + pixel // 2 + pixel * steps).astype(kind), ("x",), {}, None)
        _array(root, f"{group}/y", (c["top"] - pixel // 2 - pixel * steps).astype(kind), ("y",), {}, None)
    if format == 2:
        zarr.consolidate_metadata(str(path))
    return path


def _packing(offset: float | None) -> dict[str, Any]:
    own = {"scale_factor": 1e-4, "add_offset": offset, "fill_value": 0, "valid_min": 1, "valid_max": 65_535}
    return {name: value for name, value in own.items() if value is not None}


def _root(name: str, format: int, c: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    crs = "horizontal_CRS_code" if format == 2 else "horizontal_crs_code"
    sensed = c.get("sensed", "2020-01-05T10:14:01.024000Z")
    properties = {
        "datetime": "null" if format == 2 else sensed, "start_datetime": sensed, "platform": "sentinel-2a",
        "sat:relative_orbit": 22, "eo:cloud_cover": 12.5, "processing:version": "1.0.0",
        "product:type": f"S02MSI{c['level']}", **c.get("properties", {}),
    }  # fmt: skip
    if format == 3:
        properties |= {
            "eopf:datastrip_id": f"S2A_OPER_MSI_L2A_DS_2APS_20230424T092301_S{c.get('strip', '20200105T101636')}_N05.00"
        }
    return {
        "stac_discovery": {"type": "Feature", "id": f"{name}.SAFE", "properties": properties},
        "other_metadata": {crs: f"EPSG:{c['epsg']}"},
    }


def _array(root: Any, place: str, values: Array, dims: tuple[str, ...], attributes: Any, fill: int | None) -> None:
    v2 = root.metadata.zarr_format == 2
    array = root.create_array(
        place, shape=values.shape, dtype=values.dtype, chunks=tuple(min(CHUNK, n) for n in values.shape),
        fill_value=fill if values.dtype.kind != "f" or fill is None else np.nan,
        compressors=Blosc(cname="zstd", clevel=3, shuffle=2) if v2 else "auto",
        attributes={**({"_ARRAY_DIMENSIONS": list(dims)} if v2 else {}), **attributes},
        **({} if v2 else {"dimension_names": dims}),
    )  # fmt: skip
    array[:] = values


def source_of(folder: Path, **settings_: Any) -> Eopf:
    return Eopf(folder=folder, **{"bands": TWO, **settings_})


def checked(source: Eopf) -> None:
    catalogue = source.catalogue()
    for acquisition in catalogue.acquisitions:
        source.check(acquisition, catalogue.grid)


def read_all(source: Eopf, at: int = 0) -> tuple[Array, Array]:
    catalogue = source.catalogue()
    grid = catalogue.grid
    return source.read(catalogue.acquisitions[at], grid, slice(0, grid.height), slice(0, grid.width))


def decoded(path: Path, name: str) -> Array:
    """Reflectance as xarray decodes it by CF, NaN where the stored number is no data."""
    group, _, variable = ARRAYS[name].rpartition("/")
    opened = {"group": group, "consolidated": False}
    values = xr.open_zarr(path, mask_and_scale=True, **opened)[variable].values
    return np.where(xr.open_zarr(path, mask_and_scale=False, **opened)[variable].values == 0, np.nan, values)


def in_convention(reflectance: Array) -> Array:
    dn = np.clip(np.rint(reflectance / 1e-4) + 1000, 1, 65_535)
    return np.where(np.isnan(reflectance), 0, dn).astype(np.uint16)


# Values


@pytest.mark.parametrize("format", [2, 3])
@pytest.mark.parametrize("offset", [-0.1, 0.0, None])
def test_reflectance_is_what_cf_decoding_gives(tmp_path: Path, format: int, offset: float | None) -> None:  # noqa: A002
    path = product(tmp_path, format=format, offset=offset)
    dn, usable = read_all(source_of(tmp_path))
    fine = in_convention(decoded(path, "B02"))
    coarse = in_convention(decoded(path, "B11")).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(dn, np.stack([fine, coarse]))
    scl = classes().repeat(2, 0).repeat(2, 1)
    assert np.array_equal(usable, ~np.isin(scl, (0, 1, 3, 8, 9)) & (dn != 0).all(axis=0))
    if offset == -0.1:
        assert np.array_equal(dn[0], numbers(0, SIZE)), "bytes of Collection 1 pass unchanged"


def test_floats_are_reflectance_and_nan_is_no_data(tmp_path: Path) -> None:
    reflectance = np.linspace(-0.05, 1.2, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    reflectance[3, 3], reflectance[5, 5] = 0.0, np.nan
    product(tmp_path, b02=reflectance, packing=False)
    source = source_of(tmp_path, bands=("B02",), mask=None)
    dn, usable = read_all(source)
    assert np.array_equal(dn[0], in_convention(reflectance))
    assert dn[0, 3, 3] == 1000, "a reflectance of zero is no gap"
    assert not usable[5, 5]
    catalogue = source.catalogue()
    assert source.weather(catalogue.acquisitions[0], catalogue.grid).valid == pytest.approx(1 - 1 / SIZE**2)


spans = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(lambda p: slice(p[0], min(SIZE, p[0] + p[1])))


@pytest.fixture(scope="module", params=[2, 3])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Eopf, Array, Array]:
    folder = tmp_path_factory.mktemp("eopf")
    product(folder, format=request.param)
    source = source_of(folder)
    return source, *read_all(source)


@given(rows=spans, columns=spans)
@settings(max_examples=40, deadline=None)
def test_a_window_is_a_part_of_the_whole(whole: tuple[Eopf, Array, Array], rows: slice, columns: slice) -> None:
    source, dn, usable = whole
    catalogue = source.catalogue()
    part, part_usable = source.read(catalogue.acquisitions[0], catalogue.grid, rows, columns)
    assert np.array_equal(part, dn[:, rows, columns])
    assert np.array_equal(part_usable, usable[rows, columns])


def test_weather_counts_the_classes(tmp_path: Path) -> None:
    product(tmp_path)
    source = source_of(tmp_path)
    catalogue = source.catalogue()
    weather, scl = source.weather(catalogue.acquisitions[0], catalogue.grid), classes()
    assert weather.valid == pytest.approx((scl != 0).mean())
    assert weather.cloud == pytest.approx(np.isin(scl, (8, 9, 10)).sum() / (scl != 0).sum())


@pytest.mark.parametrize("method", ["nearest", "bilinear", "average"])
def test_the_neighbouring_zone_is_warped_as_a_file_would_be(tmp_path: Path, method: Any) -> None:
    product(tmp_path, size=240)
    source = source_of(tmp_path, bands=("B02",), resampling=method)
    granule = source.catalogue().acquisitions[0].granules[0]
    own = granule.grid
    assert own is not None
    with rasterio.open(
        tmp_path / "b02.tif", "w", driver="GTiff", count=1, height=240, width=240, dtype="uint16", crs=own.crs,
        transform=own.transform,
    ) as file:  # fmt: skip
        file.write(numbers(0, 240), 1)
    west, _, _, north = rasterio.warp.transform_bounds(own.crs, "EPSG:32633", *own.bounds)
    there = Grid.at("EPSG:32633", rasterio.Affine(10, 0, west // 10 * 10, 0, -10, north // 10 * 10), (260, 260), "")
    # Kernels wider than a pixel depend on the part of the file that GDAL looks at.
    parts = [there.window(slice(37, 90), slice(100, 180))] if method == "nearest" else []
    for window in (there, there.at_pixel(60), *parts):
        expected = read_on(tmp_path / "b02.tif", window, method=method)
        assert (expected != 0).any()
        assert np.array_equal(source.raw(granule, "B02", window, method).values, expected)
    outside = there.window(slice(0, 5), slice(5000, 5010))
    assert not source.raw(granule, "B02", outside, method).values.any()


# Metadata


@pytest.mark.parametrize("format", [2, 3])
def test_a_granule_is_described(tmp_path: Path, format: int) -> None:  # noqa: A002
    product(tmp_path / "2020", format=format)
    source = source_of(tmp_path)
    (acquisition,) = source.catalogue().acquisitions
    (granule,) = acquisition.granules
    assert (granule.id, granule.platform, granule.orbit, granule.tile) == (NAME, "S2A", 22, "32TPS")
    assert (granule.baseline, granule.processed, granule.cloud) == ("05.00", "20230424T092301", 0.125)
    assert granule.strip == ("20200105T101636" if format == 3 else "")
    assert f"{granule.time:%Y-%m-%dT%H:%M:%S}" == "2020-01-05T10:14:01"
    assert granule.time.tzinfo is None
    grid = granule.grid
    assert grid is not None
    assert (grid.left, grid.top, grid.pixel, grid.shape) == (600_000, 5_200_020, 10, (SIZE, SIZE))
    assert grid.crs_name == "EPSG:32632"
    asset = granule.assets["B11"]
    assert (asset.href, asset.layer) == (f"2020/{NAME}.zarr", ARRAYS["B11"])
    assert (asset.scale, asset.offset, asset.nodata) == (1e-4, -0.1, 0)


def test_an_unnamed_product_is_described_by_its_metadata(tmp_path: Path) -> None:
    ids = {"eopf:datatake_id": "GS2A_20200105T101401_023712_N05.00", "created": "2023-04-24T09:23:01.000000Z"}
    product(tmp_path, "S02MSIL2A_20200105T101401_0000_A022_TC64", properties=ids)
    (granule,) = source_of(tmp_path).catalogue().acquisitions[0].granules
    assert (granule.platform, granule.orbit, granule.baseline) == ("S2A", 22, "05.00")
    assert granule.processed == "20230424T092301"


def test_years_and_tiles(tmp_path: Path) -> None:
    product(tmp_path)
    product(tmp_path, NAME.replace("20200105", "20210105"), sensed="2021-01-05T10:14:01Z")
    product(tmp_path, NAME.replace("T32TPS", "T33TUM"), left=200_040, epsg=32_633)
    source = source_of(tmp_path, tile="T32TPS")
    assert [a.time.year for a in source.catalogue().acquisitions] == [2020, 2021]
    assert [a.time.year for a in source.catalogue([2021]).acquisitions] == [2021]
    assert not any("T33TUM" in file for file in source.files())


def test_datastrips_are_mosaicked(tmp_path: Path) -> None:
    first, second = numbers(3, SIZE), numbers(4, SIZE)
    first[:, 12:] = 0
    product(tmp_path, b02=first, format=3, strip="20200105T101401")
    other = NAME.replace("T092301", "T092302")
    product(tmp_path, other, b02=second, format=3, strip="20200105T101800")
    dn, _ = read_all(source_of(tmp_path, bands=("B02",)))
    assert np.array_equal(dn[0], second), "the later making on top"
    shutil.rmtree(tmp_path / f"{other}.zarr")
    second[:, :12] = 0
    product(tmp_path, other, b02=second, format=3, strip="20200105T101800")
    dn, _ = read_all(source_of(tmp_path, bands=("B02",)))
    assert np.array_equal(dn[0], np.where(second != 0, second, first))


def test_an_archive_reads_as_the_folder(tmp_path: Path) -> None:
    path = product(tmp_path / "folder")
    (tmp_path / "archive").mkdir()
    with zipfile.ZipFile(tmp_path / "archive" / f"{NAME}.zarr.zip", "w") as archive:
        for file in sorted(path.rglob("*")):
            archive.write(file, file.relative_to(path))
    folder, packed = source_of(tmp_path / "folder"), source_of(tmp_path / "archive")
    checked(packed)
    for a, b in zip(read_all(folder), read_all(packed), strict=True):
        assert np.array_equal(a, b)
    assert packed.files() == [str(tmp_path / "archive" / f"{NAME}.zarr.zip")]


def test_the_folder_may_move(tmp_path: Path) -> None:
    product(tmp_path / "here")
    source = source_of(tmp_path / "here")
    catalogue, before = source.catalogue(), read_all(source)
    (tmp_path / "here").rename(tmp_path / "there")
    moved = pickle.loads(pickle.dumps(source_of(tmp_path / "there")))
    dn, _ = moved.read(catalogue.acquisitions[0], catalogue.grid, slice(0, SIZE), slice(0, SIZE))
    assert np.array_equal(dn, before[0])
    assert moved.provenance() == source.provenance()


@pytest.mark.parametrize("format", [2, 3])
def test_files_are_metadata_and_chunks(tmp_path: Path, format: int) -> None:  # noqa: A002
    path = product(tmp_path, format=format)
    files = {os.path.relpath(f, path) for f in source_of(tmp_path).files()}
    assert (".zattrs" if format == 2 else "zarr.json") in files
    assert f"{ARRAYS['B02']}/{'1.1' if format == 2 else 'c/1/1'}" in files
    assert f"{REFLECTANCE}/r20m/x/{'0' if format == 2 else 'c/0'}" in files


# Chunks that are missing


def chunk(path: Path, name: str, i: int, j: int) -> Path:
    flat = path / ARRAYS[name] / f"{i}.{j}"
    return flat if (path / ".zgroup").is_file() else path / ARRAYS[name] / "c" / str(i) / str(j)


@pytest.mark.parametrize("format", [2, 3])
def test_chunks_of_no_data_may_be_left_out(tmp_path: Path, format: int) -> None:  # noqa: A002
    path = product(tmp_path, format=format)
    assert not chunk(path, "B02", 0, 0).exists()
    checked(source_of(tmp_path))


@pytest.mark.parametrize("format", [2, 3])
@pytest.mark.parametrize("name", ["B02", "B11", MASK])
def test_a_missing_chunk_is_no_gap(tmp_path: Path, format: int, name: str) -> None:  # noqa: A002
    path = product(tmp_path, format=format)
    chunk(path, name, 1, 1).unlink()
    with pytest.raises(InputError, match=rf"{NAME}.zarr, {name}: chunk .* is missing where .* has data; download"):
        checked(source_of(tmp_path))


@pytest.mark.parametrize("mask", [True, False])
def test_an_array_without_chunks_is_refused(tmp_path: Path, mask: bool) -> None:
    path = product(tmp_path)
    for file in (path / ARRAYS["B02"]).glob("?.?"):
        file.unlink()
    with pytest.raises(InputError, match=r"B02: all of its 16 chunks are missing; download"):
        checked(source_of(tmp_path, bands=("B02",), **({} if mask else {"mask": None})))


@pytest.mark.parametrize("keep", [0, 10, -3])
def test_a_chunk_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    file = chunk(product(tmp_path), "B02", 1, 2)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"B02: chunk .*1\.2 is truncated .*; download"):
        checked(source_of(tmp_path))


def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path: Path) -> None:
    file = chunk(product(tmp_path, format=3), "B02", 1, 2)
    file.write_bytes(b"\0" * 40)
    with pytest.raises(InputError, match=r"B02: a chunk is damaged .*; download"):
        read_all(source_of(tmp_path))


# Errors


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no NAME\.zarr.*source\.folder"):
        source_of(tmp_path).catalogue()
    with pytest.raises(InputError, match=r"is not a folder; set source\.folder"):
        source_of(tmp_path / "nowhere").catalogue()


@pytest.mark.parametrize("name", [NAME.replace("L2A", "L1C"), "S02MSIL1C_20200105T101401_0000_A022_TC64"])
def test_level_1_is_refused(tmp_path: Path, name: str) -> None:
    product(tmp_path, name, level="L1C")
    with pytest.raises(InputError, match=r"Level-1C.*Level-2A"):
        source_of(tmp_path).catalogue()


def rewrite(path: Path, document: str, change: Callable[[Any], Any]) -> None:
    file = path / document
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "array": (lambda p: shutil.rmtree(p / ARRAYS["B11"]), r"no array .*b11; download"),
    "mask": (lambda p: shutil.rmtree(p / ARRAYS[MASK]), r"no array .*scl; download"),
    "centres": (lambda p: shutil.rmtree(p / REFLECTANCE / "r10m" / "x"), r"no array .*r10m/x; download"),
    "root": (lambda p: (p / ".zattrs").write_text("{"), r"metadata cannot be read .*; download"),
    "head": (lambda p: (p / ARRAYS["B02"] / ".zarray").write_text("{"), r"metadata of .*b02 cannot be read .*download"),
    "order": (
        lambda p: rewrite(p, f"{ARRAYS['B02']}/.zattrs", lambda a: a.update(_ARRAY_DIMENSIONS=["x", "y"])),
        r"b02 has dimensions .*'x', 'y'.*download",
    ),
    "scale": (
        lambda p: rewrite(p, f"{ARRAYS['B02']}/.zattrs", lambda a: a.pop("scale_factor")),
        r"B02 has no scale_factor.*download",
    ),
    "two CRS": (
        lambda p: rewrite(p, f"{ARRAYS['B02']}/.zattrs", lambda a: a.update({"proj:epsg": 32_633})),
        r"EPSG:32632 and EPSG:32633 at once; download",
    ),
    "time": (
        lambda p: rewrite(p, ".zattrs", lambda a: a["stac_discovery"]["properties"].update(start_datetime="soon")),
        r"sensing time 'soon' is not a date; download",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_invalid_metadata_is_refused(tmp_path: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    change(product(tmp_path))
    with pytest.raises(InputError, match=message) as caught:
        source_of(tmp_path).catalogue()
    assert NAME in str(caught.value)


def test_a_product_without_crs_is_refused(tmp_path: Path) -> None:
    path = product(tmp_path)
    rewrite(path, ".zattrs", lambda a: a.pop("other_metadata"))
    for place in ARRAYS.values():
        rewrite(path, f"{place}/.zattrs", lambda a: a.pop("proj:epsg"))
    with pytest.raises(InputError, match=r"b02 has no CRS .*; download"):
        source_of(tmp_path).catalogue()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (600_000 + 5 + 10 * np.arange(SIZE) ** 1.1, "not regular steps"),
        (600_000 - 10 * np.arange(SIZE), "not regular steps"),
        (600_000 + 10 * np.arange(SIZE), "expected"),
        (600_000 + 5 + 5 * np.arange(SIZE), "not regular steps|non-square"),
        (600_000 + 5 + 10 * np.arange(SIZE + 1), "but y and x have"),
    ],
)
def test_odd_pixel_centres_are_refused(tmp_path: Path, values: Array, message: str) -> None:
    path = product(tmp_path)
    root = zarr.open_group(str(path), mode="a", use_consolidated=False)
    del root[f"{REFLECTANCE}/r10m/x"]
    _array(root, f"{REFLECTANCE}/r10m/x", values.astype(np.float64), ("x",), {}, None)
    with pytest.raises(InputError, match=message):
        source_of(tmp_path).catalogue()


def test_scaled_floats_are_refused(tmp_path: Path) -> None:
    product(tmp_path, b02=np.full((SIZE, SIZE), 0.2, np.float32))
    with pytest.raises(InputError, match=r"B02: floats with a scale_factor may be scaled already"):
        source_of(tmp_path).catalogue()


def test_settings_are_checked(tmp_path: Path) -> None:
    product(tmp_path)
    with pytest.raises(InputError, match=r"no array .*b99; .*source\.bands"):
        source_of(tmp_path, bands=("B99",)).catalogue()
    with pytest.raises(InputError, match="tile"):
        validated(Eopf, {"folder": tmp_path, "tile": "here"}, "source")
