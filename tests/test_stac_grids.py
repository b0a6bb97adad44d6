"""STAC assets read onto grids that are not their own: other zones, shifted and coarser ones, the date line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.warp import transform, transform_bounds

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.io.sources import Stac
from tests.cubes import Array
from tests.stac_api import collected

SIZE = 600


def utm(code: int, left: float = 600_000, top: float = 5_140_020, pixel: float = 10, size: int = SIZE) -> Grid:
    return Grid(CRS.from_epsg(code).to_wkt(), left, top, pixel, size, size)


OWN = utm(32632)
DATE_LINE = utm(32701, 190_000, 8_000_020)
"""Its western part lies at 179.9° E, the rest at 179.9° W."""


def written(folder: Path, grid: Grid, image: Grid | None = None) -> tuple[Path, Array]:
    """Item of one band of noise on `grid`, its image lying on `image`; without values near zero, so all is data."""
    image = image or grid
    values = np.random.default_rng(5).integers(1_000, 3_000, grid.shape, dtype=np.uint16)
    layout = {"driver": "GTiff", "count": 1, "dtype": "uint16", "nodata": 0, "tiled": True, "blockxsize": 128}
    place = folder / "B02.tif"
    with rasterio.open(
        place, "w", height=SIZE, width=SIZE, crs=image.crs, transform=image.transform, blockysize=128, **layout
    ) as file:
        file.write(values, 1)
    west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds)
    item: dict[str, Any] = {
        "type": "Feature", "stac_version": "1.0.0", "id": "an-item", "bbox": [west, south, east, north],
        "geometry": None, "links": [],
        "properties": {
            "datetime": "2021-06-01T10:10:31Z", "s2:processing_baseline": "03.01", "s2:mgrs_tile": "32TPS",
            "proj:wkt2": grid.crs,
        },
        "assets": {
            "B02": {"href": str(place), "proj:shape": list(grid.shape), "proj:transform": list(grid.transform)[:6]}
        },
    }  # fmt: skip
    del item["bbox"]
    return collected(folder / "items.json", [item]), values


def box(grid: Grid, inset: float = 300) -> tuple[float, float, float, float]:
    left, bottom, right, top = grid.bounds
    west, south, east, north = transform_bounds(
        grid.crs, "EPSG:4326", left + inset, bottom + inset, right - inset, top - inset
    )
    return west, south, east, north


def all_of(grid: Grid) -> tuple[slice, slice]:
    return slice(0, grid.height), slice(0, grid.width)


def planes(source: Stac, grid: Grid, windows: list[tuple[slice, slice]]) -> list[Array]:
    (acquisition,) = source.catalogue().acquisitions
    return [source.read(acquisition, grid, rows, columns)[0][0] for rows, columns in windows]


def nearest(values: Array, own: Grid, grid: Grid) -> Array:
    """Pixel by pixel, by the place of its centre."""
    rows, columns = np.mgrid[: grid.height, : grid.width]
    x, y = grid.left + (columns + 0.5) * grid.pixel, grid.top - (rows + 0.5) * grid.pixel
    east, north = (np.asarray(v).reshape(grid.shape) for v in transform(grid.crs, own.crs, x.ravel(), y.ravel()))
    row, column = np.floor((own.top - north) / own.pixel), np.floor((east - own.left) / own.pixel)
    inside = (row >= 0) & (row < own.height) & (column >= 0) & (column < own.width)
    found = values[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)].astype(int)
    return np.where(inside, found + 1000, 0)


def over(own: Grid, code: int) -> Grid:
    """Grid in another zone over the same ground."""
    left, _, _, top = transform_bounds(own.crs, f"EPSG:{code}", *own.bounds)
    return utm(code, left // 10 * 10, top // 10 * 10, size=700)


LATTICES = {
    "another zone": (OWN, over(OWN, 32633)),
    "part of a pixel": (OWN, utm(32632, 600_003, 5_140_017)),
    "date line": (DATE_LINE, DATE_LINE),
    "zone over the date line": (DATE_LINE, over(DATE_LINE, 32760)),
}


@pytest.mark.parametrize("case", LATTICES)
def test_nearest_is_the_pixel_at_that_place(case: str, tmp_path: Path) -> None:
    own, grid = LATTICES[case]
    place, values = written(tmp_path, own)
    (found,) = planes(Stac(catalogue=str(place), mask=False, bands=("B02",)), grid, [all_of(grid)])
    wanted = nearest(values, own, grid)
    assert (wanted > 0).mean() > 0.3, "the two lie apart: the test tests nothing"
    # Of places on the edge between two pixels either one may be taken.
    assert (found != wanted).mean() < (2e-4 if "zone" in case else 1e-9)


@pytest.mark.parametrize("case", [*LATTICES, "coarser"])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "average"])
def test_a_pixel_does_not_depend_on_its_window(case: str, method: Any, tmp_path: Path) -> None:
    own, grid = LATTICES.get(case, (OWN, utm(32632, 600_000, 5_140_020, pixel=30, size=200)))
    place, _ = written(tmp_path, own)
    source = Stac(catalogue=str(place), mask=False, bands=("B02",), resampling=method)
    random = np.random.default_rng(1)
    edges = np.sort(random.integers(0, grid.height + 1, (12, 2, 2)), axis=2)
    windows = [(slice(*rows), slice(*columns)) for rows, columns in edges.tolist()]
    whole, *parts = planes(source, grid, [all_of(grid), *windows])
    assert len(np.unique(whole)) > 100
    # Between zones the last bit of a coordinate decides halves: which of two pixels is nearest, and how to round.
    halves = 0.0 if "zone" not in case else 1e-4 if method == "nearest" else 1e-3
    for (rows, columns), part in zip(windows, parts, strict=True):
        apart = np.abs(part.astype(int) - whole[rows, columns])
        assert (apart > 0).mean() <= halves and (method == "nearest" or apart.max(initial=0) <= 1)


@pytest.mark.parametrize("shift", [1_000, -100_000])
def test_an_image_that_is_not_where_its_item_says_is_refused(shift: float, tmp_path: Path) -> None:
    moved = utm(32632, 600_000 + shift)
    place, _ = written(tmp_path, OWN, moved)
    with pytest.raises(InputError, match=r"^an-item, B02: the image is .*, but its item says .*; correct the item$"):
        planes(Stac(catalogue=str(place), mask=False, bands=("B02",)), OWN, [all_of(OWN)])


def test_a_box_beside_the_date_line(tmp_path: Path) -> None:
    place, values = written(tmp_path, DATE_LINE)
    west = transform(DATE_LINE.crs, "EPSG:4326", [DATE_LINE.bounds[2] - 3_000], [8_000_020 - 3_000])
    lon, lat = west[0][0], west[1][0]
    source = Stac(
        catalogue=str(place), mask=False, bands=("B02",), bbox=(lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01)
    )
    found = source.catalogue()
    (plane,) = planes(source, found.grid, [all_of(found.grid)])
    np.testing.assert_array_equal(plane, nearest(values, DATE_LINE, found.grid))


def test_the_items_are_part_of_what_a_cube_is_made_of(tmp_path: Path) -> None:
    """A catalogue's own files and those of its items: a correction in either leads to a new cube."""
    place, _ = written(tmp_path, OWN)
    features = json.loads(place.read_bytes())["features"]
    single = tmp_path / "an-item.json"
    single.write_text(json.dumps(features[0]), encoding="utf-8")
    assert {Path(f).name for f in Stac(catalogue=str(place), mask=False, bands=("B02",)).files()} >= {
        "items.json",
        "B02.tif",
    }
    of_item = Stac(catalogue=str(single), mask=False, bands=("B02",)).files()
    assert {Path(f).name for f in of_item} == {"an-item.json", "B02.tif"}
