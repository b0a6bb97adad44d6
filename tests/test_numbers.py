"""What files say of their own numbers is honoured, or contradicted in one line; damage that decoders swallow."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.io import numbers
from mlc_dask.io.checksums import of_manifest
from mlc_dask.io.rasters import read_on
from mlc_dask.io.sources import GeoTiff, Safe
from tests.cubes import Array
from tests.test_geotiff import checked, read_all, write

ONE = {"bands": ("B02",), "mask": None}
LOWEST = float(np.finfo(np.float32).min)


def source_of(folder: Path, **settings: Any) -> GeoTiff:
    return GeoTiff(folder=folder, **{**ONE, **settings})


def image(dtype: str = "uint16", low: float = 300, high: float = 3000, size: int = 32) -> Array:
    return np.linspace(low, high, size * size).reshape(size, size).astype(dtype)


def tagged(path: Path, scale: float, offset: float = 0.0) -> None:
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (scale,) * file.count, (offset,) * file.count


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        (image("float32", 0.03, 0.3), {}),
        (image("float64", 0.03, 0.3), {"scale": 1e-4}),
        (image("float32", 300, 3000), {"scale": 1.0}),
        (image("uint16"), {"scale": 1.0}),
        (image("uint16"), {"scale": 1e-2}),
    ],
)
def test_values_that_cannot_be_numbers_of_the_scale_are_refused(
    tmp_path: Path, values: Array, settings: dict[str, Any]
) -> None:
    write(tmp_path / "20180401" / "B02.tif", values)
    source = source_of(tmp_path, **settings)
    with pytest.raises(InputError, match=r"B02.*values from .* cannot be numbers of scale .*source.scale") as error:
        checked(source)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="cannot be numbers of scale"):
        read_all(source)


@given(
    values=hnp.arrays(np.uint16, st.integers(0, 60), elements=st.sampled_from([0, 1, 2, 7, 400, 65_534, 65_535])),
    nodata=st.sampled_from([0, 7, 65_535, None, -9999]),
)
def test_the_histogram_of_uint16_is_what_sorting_gives(values: Array, nodata: int | None) -> None:
    valid = np.sort(values[values != (nodata if nodata in range(65_536) else 0)])
    found = numbers.spread(values, nodata)
    assert found.valid == len(valid)
    if len(valid):
        assert (found.low, found.high, found.middle) == (valid[0], valid[-1], np.median(valid))


def test_floats_are_read_at_the_scale_that_is_set(tmp_path: Path) -> None:
    write(tmp_path / "20180401" / "B02.tif", image("float32", 0.03, 0.3), nodata=np.nan)
    source = source_of(tmp_path, scale=1.0)
    checked(source)
    assert read_all(source)[0][0, 0, 0] == 1300


def test_bytes_cannot_hold_reflectance_at_the_usual_scale(tmp_path: Path) -> None:
    write(tmp_path / "20180401" / "B02.tif", image("uint8", 1, 255))
    with pytest.raises(InputError, match=r"holds uint8, which reaches reflectance 0.0255 at scale 0.0001"):
        checked(source_of(tmp_path))
    checked(source_of(tmp_path, scale=0.004))


@pytest.mark.parametrize(("scale", "offset", "expected"), [(5e-5, 0.0, 2000), (2e-4, -0.1, 4000)])
def test_tags_of_scale_and_offset_are_honoured_or_contradicted(
    tmp_path: Path, scale: float, offset: float, expected: int
) -> None:
    tagged(write(tmp_path / "20180401" / "B02.tif", np.full((32, 32), 2000, np.uint16)), scale, offset)
    source = source_of(tmp_path)
    checked(source)
    assert (read_all(source)[0] == expected).all()
    with pytest.raises(InputError, match=rf"B02.tif states scale {scale:g} .* but source.scale is 0.0001"):
        source_of(tmp_path, scale=1e-4).acquisitions()
    assert (read_all(source_of(tmp_path, scale=scale, offset=offset))[0] == expected).all()


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("int16", -9999), ("float32", LOWEST), ("float32", -9999.0), ("float32", np.nan), ("uint16", 65535)],
)
def test_no_data_that_a_file_declares_is_honoured(tmp_path: Path, dtype: str, nodata: float) -> None:
    values = image(dtype)
    values[:8], values[9] = nodata, 0
    write(tmp_path / "20180401" / "B02.tif", values, nodata=nodata)
    source = source_of(tmp_path)
    checked(source)
    dn, usable = read_all(source)
    assert not dn[0, :8].any() and (dn[0, 8:] > 0).all() and usable[8:].all(), "0 is a value where another is declared"
    assert source.weather(source.acquisitions()[0], source.grid()).valid == 24 / 32
    checked(source_of(tmp_path, nodata=nodata))
    if not np.isnan(nodata):
        with pytest.raises(InputError, match=r"B02.tif declares .* as no data, but -5 is assumed; set source.nodata"):
            checked(source_of(tmp_path, nodata=-5))


def test_no_data_outside_the_type_is_contradicted(tmp_path: Path) -> None:
    write(tmp_path / "20180401" / "B02.tif", image())
    with pytest.raises(InputError, match="holds uint16, which has no value -9999"):
        checked(source_of(tmp_path, nodata=-9999))


@pytest.mark.parametrize("kind", ["inside", "beside", "alpha"])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_masks_of_the_file_hide_pixels(tmp_path: Path, kind: str, shift: float) -> None:
    values, valid = np.full((32, 32), 2000, np.uint16), np.full((32, 32), 255, np.uint8)
    values[:, :16], valid[:, :16] = 7777, 0
    path = tmp_path / "B02.tif"
    if kind == "alpha":
        write(path, np.stack([values, valid.astype(np.uint16)]), photometric="minisblack", alpha="yes")
    else:
        write(path, values)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "inside"), rasterio.open(path, "r+") as file:
            file.write_mask(valid)
        assert (tmp_path / "B02.tif.msk").exists() == (kind == "beside")
    with rasterio.open(path) as file:
        own = Grid.of(file)
    grid = Grid.at(own.crs, Affine(10, 0, own.left + shift, 0, -10, own.top), own.shape, "target")
    found = read_on(path, grid, method="bilinear" if shift else "nearest")
    assert not found[2:-2, :14].any() and (found[2:-2, 18:-2] == 2000).all() and 7777 not in found


def test_more_bands_than_one_are_contradicted(tmp_path: Path) -> None:
    write(tmp_path / "20180401" / "B02.tif", np.stack([image()] * 3))
    with pytest.raises(InputError, match=r"B02.tif has 3 bands, expected one"):
        checked(source_of(tmp_path))


def test_a_tiff_called_jp2_is_opened_by_its_content(tmp_path: Path) -> None:
    write(tmp_path / "20180401" / "B02.jp2", image())
    assert read_all(source_of(tmp_path, file="{band}.jp2"))[0].all()


def safe_with_manifest(folder: Path) -> tuple[Safe, Path]:
    """A product of one band, whose manifest states size and digest of its image."""
    inside = "GRANULE/L2A_T32TPS/IMG_DATA/R10m/T32TPS_20180401T101021_B02_10m.jp2"
    path = folder / "A.SAFE" / inside
    path.parent.mkdir(parents=True)
    values = np.random.default_rng(1).integers(300, 3000, (256, 256)).astype(np.uint16)
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=1, height=256, width=256, dtype="uint16", crs="EPSG:32632",
        transform=Affine(10, 0, 600_000, 0, -10, 5_200_000), quality=100, reversible="yes",
    ) as file:  # fmt: skip
        file.write(values, 1)
    raw = path.read_bytes()
    (folder / "A.SAFE" / "manifest.safe").write_text(
        f'<x><byteStream size="{len(raw)}"><fileLocation href="./{inside}"/>'
        f'<checksum checksumName="MD5">{hashlib.md5(raw).hexdigest()}</checksum></byteStream></x>'
    )
    return Safe(folder=folder, bands=("B02",), mask=None), path


def acquired(source: Safe, path: Path) -> tuple[Any, Grid]:
    from datetime import datetime

    from mlc_dask.data.acquisitions import Acquisition, Asset, Granule

    with rasterio.open(path) as file:
        grid = Grid.of(file)
    href = path.relative_to(source.folder).as_posix()
    granule = Granule("a", datetime(2018, 4, 1), {"B02": Asset(href)}, grid=grid)
    return Acquisition("a", granule.time, None, (granule,)), grid


def test_a_jpeg_2000_that_lost_half_of_its_bytes(tmp_path: Path) -> None:
    source, path = safe_with_manifest(tmp_path)
    one, grid = acquired(source, path)
    source.check(one, grid)
    everything = slice(0, 256), slice(0, 256)
    whole = source.read(one, grid, *everything)[0]
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2] + bytes(len(raw) - len(raw) // 2))
    source.check(one, grid)
    with pytest.raises(InputError, match=r"B02_10m.jp2 is damaged: its md5 is .* set source.checksums = false"):
        source.read(one, grid, *everything)
    careless = source.model_copy(update={"checksums": False})
    assert (careless.read(one, grid, *everything)[0] != whole).any(), "the decoder reads it without an error"
    assert careless.provenance() == source.provenance(), "the setting changes no pixel"
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match=rf"has {len(raw) // 2} bytes, but .* {len(raw)}; .* source.checksums = false"):
        source.check(one, grid)
    path.write_bytes(raw + b"0")
    careless.check(one, grid)
    assert (careless.read(one, grid, *everything)[0] == whole).all()


def test_unknown_digests_are_not_compared() -> None:
    assert of_manifest("CRC9", "1") is None
    assert of_manifest("SHA3-256", " AB") == ("sha3_256", "ab")


def test_kind_8_a_jpeg_2000_of_many_tiles_that_lost_its_end(tmp_path: Path) -> None:
    """Threads of GDAL would swallow the errors of its tiles and leave wrong pixels."""
    path = tmp_path / "20180401" / "B02.jp2"
    path.parent.mkdir()
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=1, height=1024, width=1024, dtype="uint16", crs="EPSG:32632",
        transform=Affine(10, 0, 600_000, 0, -10, 5_200_000), blockxsize=256, blockysize=256, quality=100,
        reversible="yes",
    ) as file:  # fmt: skip
        file.write(np.random.default_rng(1).integers(300, 3000, (1, 1024, 1024)).astype(np.uint16))
    source = source_of(tmp_path, file="{band}.jp2")
    read_all(source)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"B02\.jp2 cannot be read"):
        read_all(source)
