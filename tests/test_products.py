"""Old maps put on the cube's grid: the codes are the nearest ones, and nothing unknown passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.warp import transform

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.legend import DEFAULT_LEGEND, Crosswalk, LandCoverClass, Legend, legend_of_crosswalk
from mlc_dask.io.old_map import check_reference, open_product, open_reference, read_crosswalk
from tests.cubes import SHARED, Array, raiser

UTM = CRS.from_epsg(32632)
LAEA = CRS.from_epsg(3035)
CORINE = SHARED / "thematic" / "clc" / "clc2000_bern_valais_west_100m.tif"
WORLDCOVER = SHARED / "thematic" / "worldcover" / "ESA_WorldCover_10m_2021_v200_sao_tome.tif"


def grid_of(height: int = 60, width: int = 80, *, left: float = 600_000, top: float = 5_200_000) -> Grid:
    return Grid(UTM.to_wkt(), left, top, 10.0, height, width)


def like(grid: Grid) -> xr.Dataset:
    return xr.Dataset(coords=grid.coords())


def cut(grid: Grid, **chunks: Any) -> xr.Dataset:
    """Maps on `grid` in blocks."""
    return like(grid).assign(label=(("y", "x"), np.zeros(grid.shape, np.uint8))).chunk(chunks)


def write(path: Path, codes: Array, *, transform_: Affine, crs: CRS | None = UTM, **profile: Any) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=codes.shape[0], width=codes.shape[1], dtype=codes.dtype, crs=crs,
        transform=transform_, **profile,
    ) as file:  # fmt: skip
        file.write(codes, 1)
    return path


def on_utm(folder: Path, codes: Array, **profile: Any) -> Path:
    """Product of 100 m cells whose corner is the cube's."""
    return write(folder / "old.tif", codes, transform_=Affine(100, 0, 600_000, 0, -100, 5_200_000), **profile)


def nearest(path: Path, grid: Grid) -> tuple[Array, Array]:
    """Code under every pixel centre, by transforming the centres themselves; and how far from a cell's edge it is."""
    rows, columns = np.indices(grid.shape)
    x, y = grid.transform @ (columns.ravel() + 0.5, rows.ravel() + 0.5)
    with rasterio.open(path) as file:
        x, y = transform(CRS.from_wkt(grid.crs), file.crs, x, y)
        across, down = ~file.transform @ (np.asarray(x), np.asarray(y))
        inside = (across >= 0) & (across < file.width) & (down >= 0) & (down < file.height)
        codes = np.zeros(across.shape, int)
        codes[inside] = file.read(1)[down[inside].astype(int), across[inside].astype(int)]
        margin = np.minimum(*(np.abs(v - np.round(v)) for v in (across, down)))
    return codes.reshape(grid.shape), margin.reshape(grid.shape)


def check_nearest(path: Path, grid: Grid, crosswalk: str) -> xr.DataArray:
    product = open_product(path, like=like(grid), crosswalk=crosswalk)
    codes, margin = nearest(path, grid)
    table = Crosswalk.named(crosswalk, DEFAULT_LEGEND)
    clear = margin > 0.02  # of a cell: GDAL may approximate the transformation by an eighth of a pixel of the grid
    assert clear.mean() > 0.9
    assert np.array_equal(product.values[clear], table.table()[codes][clear])
    assert np.array_equal(product.quota.values[clear], table.quotas()[codes][clear])
    assert (product.values != table.table()[codes]).mean() < 0.01
    return product


def test_cells_of_the_cubes_own_crs_are_repeated(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(1, 45, (6, 8)).astype(np.uint8)
    grid = grid_of()
    with dask.config.set(scheduler=raiser):
        product = open_product(on_utm(tmp_path, codes), like=like(grid))
    assert product.dtype == np.uint8 and product.dims == ("y", "x") and product.shape == grid.shape
    fine = np.kron(codes, np.ones((10, 10), np.uint8))
    table = Crosswalk.named("corine", DEFAULT_LEGEND)
    assert np.array_equal(product.values, table.table()[fine])
    assert np.array_equal(product.quota.values, table.quotas()[fine])
    assert product.attrs["cell"] == 100 and product.attrs["source"] == "old.tif, corine"
    assert Legend.from_dict(product.attrs["legend"]) == DEFAULT_LEGEND
    assert Grid.of_raster(product).matches(grid)


def test_other_crs_takes_the_nearest_code(tmp_path: Path) -> None:
    grid = grid_of()
    x, y = transform(UTM, LAEA, [grid.left + 400], [grid.top - 300])
    codes = np.random.default_rng(1).integers(1, 45, (14, 14)).astype(np.uint8)
    corner = Affine(100, 0, x[0] - 700, 0, -100, y[0] + 700)
    product = check_nearest(write(tmp_path / "old.tif", codes, transform_=corner, crs=LAEA), grid, "corine")
    assert product.attrs["cell"] == pytest.approx(100, rel=0.02)


@pytest.mark.skipif(not CORINE.is_file(), reason="real CORINE is not beside this checkout")
def test_real_corine_onto_utm() -> None:
    with rasterio.open(CORINE) as file:
        lakes = np.argwhere(file.read(1) == 41)
        water = lakes[len(lakes) // 2]
        east, north = file.transform @ (water[1], water[0])
        (x,), (y,) = transform(file.crs, UTM, [east], [north])
    grid = grid_of(300, 320, left=round(x, -1) - 1600, top=round(y, -1) + 1500)
    product = check_nearest(CORINE, grid, "corine")
    assert product.attrs["cell"] == pytest.approx(100, rel=0.02)
    assert len(np.unique(product)) > 3


@pytest.mark.skipif(not WORLDCOVER.is_file(), reason="real WorldCover is not beside this checkout")
def test_real_worldcover_onto_utm() -> None:
    with rasterio.open(WORLDCOVER) as file:
        middle = file.transform @ (file.width / 2, file.height / 2)
        (x,), (y,) = transform(file.crs, UTM, [middle[0]], [middle[1]])
    # Its cells are as small as the grid's, so most centres lie near an edge: the shares must agree.
    grid = grid_of(60, 60, left=round(x, -1), top=round(y, -1))
    product = open_product(WORLDCOVER, like=like(grid), crosswalk="worldcover")
    codes, margin = nearest(WORLDCOVER, grid)
    expected = Crosswalk.named("worldcover", legend_of_crosswalk("worldcover")).table()[codes]
    assert (product.values == expected)[margin > 0.13].mean() > 0.99


def test_pixels_outside_or_without_data_are_zero(tmp_path: Path) -> None:
    codes = np.full((3, 8), 12, np.int16)
    codes[0, :2] = -9
    codes[1, 1], codes[1, 2] = 0, 48
    product = open_product(on_utm(tmp_path, codes, nodata=-9), like=like(grid_of()))
    assert not product[:10, :20].any() and not product[10:20, 10:30].any() and not product[30:].any()
    assert (product[:10, 20:] == 3).all() and (product[20:30] == 3).all()


@pytest.mark.parametrize(("dtype", "high"), [(np.int8, -128), (np.int8, -1), (np.int16, -128)])
def test_no_data_of_corine_as_a_signed_byte(tmp_path: Path, dtype: type[np.integer[Any]], high: int) -> None:
    """Without a no-data tag; codes that a byte holds are the same, signed or not."""
    codes = np.full((6, 8), 12, dtype)
    codes[0], codes[1], codes[2] = high, 23, 48
    product = open_product(on_utm(tmp_path, codes), like=like(grid_of()))
    assert not product[:10].any() and (product[10:20] == 7).all() and not product[20:30].any()
    with pytest.raises(InputError, match="codes from -7 to 48 do not fit into"):
        open_product(on_utm(tmp_path, np.where(codes == high, -7, codes).astype(dtype)), like=like(grid_of()))


def test_a_finer_product_has_the_grids_cell(tmp_path: Path) -> None:
    codes = np.full((200, 200), 12, np.uint8)
    path = write(tmp_path / "old.tif", codes, transform_=Affine(5, 0, 600_000, 0, -5, 5_200_000))
    assert open_product(path, like=like(grid_of())).attrs["cell"] == 10


def test_unknown_codes_with_their_counts(tmp_path: Path) -> None:
    codes = np.full((6, 8), 12, np.uint8)
    codes[0, 0], codes[1:3, 1] = 45, 77
    with pytest.raises(InputError, match=r"old.tif: codes outside the corine legend: 45 \(100 px\), 77 \(200 px\); "):
        open_product(on_utm(tmp_path, codes), like=like(grid_of()))
    open_product(on_utm(tmp_path, codes), like=like(grid_of(20, 20, left=600_300, top=5_199_700)))


def test_own_crosswalk(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("code,label,class,quota,reason\n5,a,Wet,0.5,shores\n1000,b,Dry,,\n7,c,,,mixed\n")
    legend = Legend((LandCoverClass(3, "Wet", "#0000ff"), LandCoverClass(9, "Dry", "#ffff00")))
    codes = np.array([[5, 1000, 7, 5, 5, 5, 5, 5]] * 6, np.uint16)
    product = open_product(on_utm(tmp_path, codes), like=like(grid_of()), crosswalk=table, legend=legend)
    assert product[0, ::10].values.tolist() == [3, 9, 0, 3, 3, 3, 3, 3]
    assert product.quota[0, ::10].values.tolist() == [50, 100, 0, 50, 50, 50, 50, 50]
    assert product.attrs["source"] == "old.tif, own" and Legend.from_dict(product.attrs["legend"]) == legend
    same = read_crosswalk(str(table), legend)
    assert read_crosswalk(same, legend) is same


@pytest.mark.parametrize(
    ("codes", "profile", "message"),
    [
        (np.full((6, 8), 1.5, np.float32), {}, "holds float32, not integer class codes; convert it"),
        (np.full((6, 8), 12, np.uint8), {"crs": None}, "has no CRS; write one with"),
        (np.full((6, 8), -5, np.int16), {}, r"codes from -5 to -5 do not fit into 0..65535; recode"),
        (np.full((6, 8), 70_000, np.int32), {}, r"codes from 70000 to 70000 do not fit into 0..65535; recode"),
        (np.full((6, 8), 19, np.uint8), {}, "no pixel of the area has a class of the legend; check its extent"),
        (np.zeros((6, 8), np.uint8), {}, "no pixel of the area has a class of the legend; check its extent"),
    ],
)
def test_bad_products(tmp_path: Path, codes: Array, profile: dict[str, Any], message: str) -> None:
    path = on_utm(tmp_path, codes, **profile)
    with pytest.raises(InputError, match=message) as error:
        open_product(path, like=like(grid_of()))
    assert str(error.value).startswith(str(path))


def test_no_overlap(tmp_path: Path) -> None:
    path = on_utm(tmp_path, np.full((6, 8), 12, np.uint8))
    with pytest.raises(InputError, match="no pixel of the area has a class of the legend; check its extent"):
        open_product(path, like=like(grid_of(left=700_000)))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.tif does not exist; give a GeoTIFF of class codes"):
        open_product(tmp_path / "none.tif", like=like(grid_of()))
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    with pytest.raises(InputError, match=r"text.tif cannot be read as a GeoTIFF"):
        open_product(text, like=like(grid_of()))
    cut = on_utm(tmp_path, np.full((512, 512), 12, np.uint16))
    cut.write_bytes(cut.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"old.tif cannot be read as a GeoTIFF"):
        open_product(cut, like=like(grid_of(512, 512)))


def test_reference(tmp_path: Path) -> None:
    codes = np.random.default_rng(2).integers(0, 12, (6, 8)).astype(np.uint8)
    path = on_utm(tmp_path, codes)
    truth = open_reference(path, like=like(grid_of()), legend=DEFAULT_LEGEND)
    assert truth.dtype == np.uint8 and np.array_equal(truth.values, np.kron(codes, np.ones((10, 10), np.uint8)))
    codes[0, 0] = 40
    bad = open_reference(on_utm(tmp_path, codes), like=cut(grid_of(), y=20, x=20), legend=DEFAULT_LEGEND)
    assert bad[20:, 20:].values.any(), "blocks without a fault can be read"
    for read in (
        lambda: bad.compute(),
        lambda: check_reference(path, like=like(grid_of()), legend=DEFAULT_LEGEND),
    ):
        with pytest.raises(InputError, match=r"old.tif: codes \[40\] are not in the legend \[1, 2, .*; recode"):
            read()
    for reads in (open_reference, check_reference):
        with pytest.raises(InputError, match="does not exist"):
            reads(tmp_path / "2030.tif", like=like(grid_of()), legend=DEFAULT_LEGEND)


def test_blocks_of_a_reference_do_not_show(tmp_path: Path) -> None:
    """In the file's CRS and in another, where a warp could depend on the window."""
    path = on_utm(tmp_path, np.random.default_rng(3).integers(1, 12, (60, 80)).astype(np.uint8))
    (left,), (top,) = transform(UTM, LAEA, [602_000], [5_198_000])
    for grid in (grid_of(200, 300), Grid(LAEA.to_wkt(), left, top, 10.0, 200, 300)):
        with dask.config.set(scheduler=raiser):
            whole = open_reference(path, like=like(grid), legend=DEFAULT_LEGEND)
            blocks = open_reference(path, like=cut(grid, y=(37, 100, 63), x=77), legend=DEFAULT_LEGEND)
            both = cut(grid, y=(37, 100, 63), x=77).assign(other=cut(grid, y=200, x=77).label)
            assert open_reference(path, like=both, legend=DEFAULT_LEGEND).chunks == blocks.chunks
        assert whole.data.npartitions == 1 and blocks.data.numblocks == (3, 4)
        assert whole.values.all() and np.array_equal(whole.values, blocks.values)


def test_raster_without_a_crs_cannot_be_the_grid(tmp_path: Path) -> None:
    path = on_utm(tmp_path, np.full((6, 8), 12, np.uint8))
    with pytest.raises(InputError, match=r"has no CRS; set one with \.rio\.write_crs"):
        open_product(path, like=like(grid_of()).drop_vars("spatial_ref"))


def test_an_alpha_band_is_the_products_own_mask(tmp_path: Path) -> None:
    codes, alpha = np.full((6, 8), 23, np.uint8), np.full((6, 8), 255, np.uint8)
    alpha[:3] = 0
    path = tmp_path / "old.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=2, height=6, width=8, dtype="uint8", crs=UTM, alpha="YES",
        transform=Affine(100, 0, 600_000, 0, -100, 5_200_000),
    ) as file:  # fmt: skip
        file.write(np.stack([codes, alpha]))
        file.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
    found = open_product(path, crosswalk="corine", like=like(grid_of()))
    assert not (found.values[:30] != 0).any() and (found.values[30:] != 0).all()


def test_the_cell_is_that_of_the_place_not_of_the_file(tmp_path: Path) -> None:
    """CORINE covers a continent, over which a cell's size in UTM differs."""
    codes = np.full((460, 650), 23, np.uint8)
    whole = write(tmp_path / "whole.tif", codes, transform_=Affine(10_000, 0, 900_000, 0, -10_000, 5_500_000), crs=LAEA)
    (x,), (y,) = transform(UTM, LAEA, [600_400], [5_199_700])
    corner = Affine(10_000, 0, (x - 900_000) // 10_000 * 10_000 + 890_000, 0, -10_000, y // 10_000 * 10_000 + 20_000)
    clipped = write(tmp_path / "clipped.tif", codes[:3, :3], crs=LAEA, transform_=corner)
    cells = [open_product(p, crosswalk="corine", like=like(grid_of())).attrs["cell"] for p in (whole, clipped)]
    assert cells[0] == cells[1] == pytest.approx(10_000, rel=0.01)
