"""Grids of any unit: in degrees, with odd pixels, turned, of one pixel, cut, and at the antimeridian."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from rasterio.crs import CRS

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid, north_up, on_grid_of, pixel_of
from mlc_dask.data.legend import LandCoverClass, Legend
from mlc_dask.data.settings import validated
from mlc_dask.io.maps import write_maps
from mlc_dask.io.old_map import open_product, open_reference
from mlc_dask.io.sources.area import AreaSource, halves
from mlc_dask.show.export import export_maps
from mlc_dask.show.viewer.pixels import inspect
from mlc_dask.show.viewer.places import open_places
from mlc_dask.stages.annual_training import select_reliable_samples
from mlc_dask.stages.multiyear_training import unchanged_areas
from tests.cubes import landscape, product_of
from tests.runs import run_all, small_world, write_config

DEGREES, FIJI = CRS.from_epsg(4326).to_wkt(), CRS.from_epsg(32701).to_wkt()
GRIDS = {
    "metres": Grid(CRS.from_epsg(32632).to_wkt(), 600_000, 5_200_020, 10, 30, 40),
    "9.99 m": Grid(CRS.from_epsg(32632).to_wkt(), 600_000.37, 5_200_020.11, 9.99, 30, 40),
    "1/3 arc second": Grid(DEGREES, 10.82, 46.4, 1 / 10_800, 30, 40),
    "0.00009 degrees": Grid(DEGREES, 10.82, 46.4, 0.00009, 30, 40),
    "antimeridian": Grid(DEGREES, 179.999, -17.0, 0.0001, 30, 40),
}


def raster_on(grid: Grid) -> xr.DataArray:
    """Running numbers on a grid."""
    values = np.arange(grid.height * grid.width, dtype=np.uint32).reshape(grid.shape)
    return xr.DataArray(values, dims=("y", "x"), coords=grid.coords())


def remade(raster: xr.DataArray) -> xr.DataArray:
    """The same coordinates by another arithmetic, without a GeoTransform."""
    other = {d: np.linspace(raster[d].values[0], raster[d].values[-1], raster.sizes[d]) for d in ("y", "x")}
    crs = raster.rio.crs
    return raster.drop_vars("spatial_ref").assign_coords(other).rio.write_crs(crs)


def coarse_map(path: Path, grid: Grid, factor: int) -> Path:
    """Old map in stripes of CORINE codes, whose cells are `factor` pixels of the grid wide."""
    height, width = -(-grid.height // factor), -(-grid.width // factor)
    codes = np.where(np.arange(width)[None] % 4 < 2, 12, 23).repeat(height, 0).reshape(height, width).astype(np.uint8)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": grid.crs, "height": height, "width": width}
    with rasterio.open(path, "w", **profile, transform=grid.transform @ Affine.scale(factor)) as file:
        file.write(codes, 1)
    return path


@pytest.mark.parametrize("name", GRIDS)
def test_the_grid_of_a_raster_is_the_grid_that_made_it(name: str) -> None:
    grid = GRIDS[name]
    assert Grid.of_raster(raster_on(grid)) == grid
    assert Grid.of_raster(raster_on(grid).isel(y=slice(None, None, -1))) == grid
    assert Grid.of_raster(raster_on(grid).isel(y=slice(4, 9), x=slice(7, 8))) == grid.window(slice(4, 9), slice(7, 8))
    assert Grid.of_raster(remade(raster_on(grid))).matches(grid)


@pytest.mark.parametrize("name", GRIDS)
def test_one_pixel_has_the_size_in_the_geotransform(name: str) -> None:
    grid = GRIDS[name]
    one = raster_on(grid).isel(y=slice(5, 6), x=slice(6, 7))
    assert Grid.of_raster(one) == grid.window(slice(5, 6), slice(6, 7))
    with pytest.raises(InputError, match="a raster of one pixel has no pixel size; write one with"):
        Grid.of_raster(remade(one))


def test_what_is_no_regular_grid_is_refused_in_one_line() -> None:
    plain = remade(raster_on(GRIDS["1/3 arc second"]))
    bent, cell = plain.x.values.copy(), 1 / 10_800
    bent[20:] += 0.3 * cell
    cases = [
        (plain.rename(y="lat", x="lon"), r"dims \('lat', 'lon'\), not y and x; rename them"),
        (plain.assign_coords(x=bent), r"the x coordinates are not evenly spaced"),
        (plain.assign_coords(x=10.82 + 2 * cell * np.arange(40)), r"non-square pixels"),
        (plain.isel(x=slice(0, 0)), r"no pixels along x"),
        (plain.drop_vars("y"), r"no y coordinates"),
        (plain.rio.write_transform(Affine(cell, cell, 10.82, 0, -cell, 46.4)), "GeoTransform is rotated"),
    ]
    for raster, message in cases:
        with pytest.raises(InputError, match=message) as told:
            Grid.of_raster(raster)
        assert "\n" not in str(told.value)


def test_squares_are_judged_over_the_whole_raster() -> None:
    """A difference of a thousandth is eleven pixels at the end of a tile."""
    with pytest.raises(InputError, match="img is rotated or has non-square pixels"):
        Grid.at(DEGREES, Affine(0.0001, 0, 10, 0, -0.0001001, 46), (10_980, 10_980), "img")
    assert Grid.at(DEGREES, Affine(0.0001, 0, 10, 0, -0.00010000000001, 46), (10_980, 10_980), "img").pixel == 0.0001


@pytest.mark.parametrize("name", GRIDS)
def test_equal_pixels_take_one_set_of_coordinates(name: str) -> None:
    cube = raster_on(GRIDS[name])
    for other in (remade(cube), cube.isel(y=slice(None, None, -1)), remade(cube).isel(x=slice(None, None, -1))):
        found = on_grid_of(cube, other, "cube and map")
        xr.testing.assert_equal(found.drop_vars("spatial_ref"), cube.drop_vars("spatial_ref"))
        assert Grid.of_raster(found).matches(Grid.of_raster(cube))
    assert on_grid_of(cube, cube, "cube and map") is cube
    moved = remade(cube).assign_coords(x=cube.x.values + 0.2 * GRIDS[name].pixel)
    with pytest.raises(InputError, match=r"cube and map: the x coordinates differ .*; put both on one grid"):
        on_grid_of(cube, moved, "cube and map")


def test_equal_numbers_in_another_crs_are_another_place() -> None:
    cube = raster_on(GRIDS["metres"])
    with pytest.raises(InputError, match=r"cube and map: their CRS differ .*32632.*32633"):
        on_grid_of(cube, cube.rio.write_crs("EPSG:32633"), "cube and map")


def test_turning_keeps_pixels_in_their_places() -> None:
    plain = raster_on(GRIDS["9.99 m"])
    turned = north_up(plain.isel(y=slice(None, None, -1), x=slice(None, None, -1)))
    xr.testing.assert_equal(turned.drop_vars("spatial_ref"), plain.drop_vars("spatial_ref"))
    assert turned.rio.transform().almost_equals(plain.rio.transform(), 1e-6)
    assert north_up(plain) is plain


@pytest.mark.parametrize("name", GRIDS)
def test_the_cell_of_an_old_map_in_any_unit(tmp_path: Path, name: str) -> None:
    grid = GRIDS[name]
    product = open_product(coarse_map(tmp_path / "old.tif", grid, 5), like=remade(raster_on(grid)))
    assert product.attrs["cell"] / pixel_of(product) == pytest.approx(5, rel=1e-3)


@pytest.mark.parametrize("name", GRIDS)
def test_old_map_and_reference_have_the_coordinates_of_like(tmp_path: Path, name: str) -> None:
    grid = GRIDS[name]
    path, plain = coarse_map(tmp_path / "old.tif", grid, 5), remade(raster_on(grid))
    north = open_product(path, like=plain)
    codes = Legend((LandCoverClass(12, "a", "#aa0000"), LandCoverClass(23, "b", "#00aa00")))
    reference = open_reference(path, like=plain, legend=codes)
    for like in (plain, plain.isel(y=slice(None, None, -1)), plain.isel(y=slice(3, 4), x=slice(2, 9))):
        product = open_product(path, like=like)
        assert np.array_equal(product.y, like.y) and np.array_equal(product.x, like.x)
        assert np.array_equal(product, north.sel(y=like.y, x=like.x))
        assert np.array_equal(product.quota, north.quota.sel(y=like.y, x=like.x))
        truth = open_reference(path, like=like, legend=codes)
        assert np.array_equal(truth.y, like.y) and np.array_equal(truth, reference.sel(y=like.y, x=like.x))


def test_pixels_in_degrees_are_sampled_inside_the_borders() -> None:
    """Coordinates in degrees, remade by another arithmetic, change no sample of those in metres."""
    cube, truth = landscape(48, 64)
    quick: dict[str, Any] = {"size": 200, "min_per_class": 5}
    plain = select_reliable_samples(cube, product_of(truth, cell=30.0), **quick)
    to_degrees = {d: (d, 10 + cube[d].values * 1e-5) for d in ("y", "x")}
    cell = product_of(truth, cell=30.0 * 1e-5).assign_coords(
        {d: (d, np.linspace(v[0], v[-1], len(v))) for d, (_, v) in to_degrees.items()}
    )
    found = select_reliable_samples(cube.assign_coords(to_degrees), cell, **quick)
    for column in ("row", "column", "label", "cluster"):
        assert np.array_equal(found[column], plain[column])
    maps = cell.drop_vars("quota").expand_dims(year=[2018, 2019]).assign_coords(to_degrees)
    assert bool((unchanged_areas(maps, cell) == (cell != 0).values).all())


@pytest.mark.parametrize("name", GRIDS)
def test_an_export_lies_where_its_maps_lie(tmp_path: Path, name: str) -> None:
    grid = GRIDS[name]
    product = open_product(coarse_map(tmp_path / "old.tif", grid, 5), like=raster_on(grid))
    maps = product.drop_vars("quota").rename("land").expand_dims(year=[2018]).to_dataset()
    maps.attrs["legend"] = product.attrs["legend"]
    write_maps(maps.isel(y=slice(None, None, -1)), tmp_path / "maps")
    export_maps(tmp_path / "maps", tmp_path / "exported")
    with rasterio.open(tmp_path / "exported/2018/land_2018.tif") as file:
        assert np.allclose(file.bounds, grid.bounds, rtol=0, atol=1e-3 * grid.pixel)
        assert np.array_equal(file.read(1), product.values)


def test_the_viewer_opens_at_the_antimeridian(tmp_path: Path) -> None:
    grid = Grid(FIJI, 180_550, 8_118_000, 10, 64, 64)
    product = open_product(coarse_map(tmp_path / "old.tif", grid, 5), like=raster_on(grid))
    maps = product.drop_vars("quota").rename("land").expand_dims(year=[2018]).to_dataset()
    maps.attrs["legend"] = product.attrs["legend"]
    write_maps(maps, tmp_path / "maps")
    (place,) = open_places(tmp_path / "maps").values()
    (south, west), (north, east) = place.describe()["bounds"]
    assert 179.99 < west < 180 < east < 180.01 and south < -17 < north
    for lon in (180.003, -179.997):
        found = inspect(place, lon, (south + north) / 2)
        assert found is not None and all(abs(corner[1] - lon) < 0.001 for corner in found["corners"])


@pytest.mark.parametrize("name", ["1/3 arc second", "9.99 m"])
def test_a_whole_run_on_any_grid(tmp_path: Path, name: str) -> None:
    """From images to an export: every map lies where the images lie."""
    grid, world = GRIDS[name], small_world(tmp_path / "world", size=64, years=(2018, 2019))
    for path in world.rglob("*.tif"):
        with rasterio.open(path, "r+") as file:
            scale = file.transform.a / 10 * grid.pixel
            file.crs, file.transform = grid.crs, Affine(scale, 0, grid.left, 0, -scale, grid.top)
    config = write_config(tmp_path / "mlc.toml", world, tmp_path / "out")
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(config)
    export_maps(tmp_path / "out", tmp_path / "exported", layers=["multi_year_filtered"])
    images = replace(grid, height=64, width=64)
    with rasterio.open(tmp_path / "exported/2018/multi_year_filtered_2018.tif") as file:
        assert Grid.of(file).matches(images) and file.read(1).any()


def test_a_box_across_the_antimeridian_is_read_as_rfc_7946_writes_it() -> None:
    box = (179.9, -17.0, -179.9, -16.8)
    assert validated(AreaSource, {"bbox": box}, "source").bbox == box
    assert halves(box) == [(179.9, -17.0, 180.0, -16.8), (-180.0, -17.0, -179.9, -16.8)]
    assert halves((180.0, -17.0, -179.9, -16.8)) == [(-180.0, -17.0, -179.9, -16.8)]
    assert halves((179.9, -17.0, 180.0, -16.8)) == [(179.9, -17.0, 180.0, -16.8)] and halves(None) == [None]
    with pytest.raises(InputError, match=r"would be 359.8° wide; exchange west and east"):
        validated(AreaSource, {"bbox": (11.4, 46.4, 11.2, 46.6)}, "source")
