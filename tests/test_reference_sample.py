"""A reference sample: its strata, its size, and that its points depend on the maps and the seed alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mlc_dask as mlc
from mlc_dask.data.grids import Grid
from mlc_dask.kernels.strata import Kind, count, kinds
from tests.test_kernels_estimation import close

CODES = (1, 2, 3)


def labelled(side: int = 60, years: int = 3, seed: int = 0, chunk: int = 30) -> tuple[xr.Dataset, np.ndarray]:
    """Two layers with errors of 5 and 10 % around a truth with 5 % change; the truth (year, y, x)."""
    random = np.random.default_rng(seed)
    truth = np.repeat(random.choice(CODES, (1, side, side), p=[0.1, 0.3, 0.6]), years, axis=0)
    changed = (random.random((side, side)) < 0.05) & (np.arange(years)[:, None, None] >= random.integers(1, years))
    truth = np.where(changed, truth % 3 + 1, truth).astype(np.uint8)
    layers = {}
    for name, rate in (("multi_year_filtered", 0.05), ("single_year_filtered", 0.1)):
        wrong = (random.random((1, side, side)) < rate / 2) | (random.random(truth.shape) < rate / 2)
        layers[name] = (("year", "y", "x"), np.where(wrong, truth % 3 + 1, truth).astype(np.uint8))
    grid = Grid("EPSG:32632", 600_000.0, 5_100_000.0, 10.0, side, side)
    coords = {"year": [2018 + i for i in range(years)], **grid.coords()}
    attrs = {"legend": {str(c): {"name": n, "colour": "#808080"} for c, n in zip(CODES, "ABC", strict=True)}}
    return xr.Dataset(layers, coords, attrs).chunk(x=chunk, y=chunk), truth


def test_kinds_by_hand() -> None:
    first = np.array([[1, 1, 1, 1, 1, 1, 0], [1, 2, 1, 2, 2, 1, 1], [1, 2, 1, 2, 1, 1, 1]], np.uint8)
    second = np.array([[1, 1, 1, 1, 1, 2, 1], [1, 1, 2, 3, 1, 2, 1], [1, 1, 2, 3, 1, 2, 1]], np.uint8)
    order = (Kind.STABLE, Kind.FIRST, Kind.SECOND, Kind.BOTH, Kind.ALTERNATING, Kind.DIFFERENT, Kind.NO_DATA)
    assert kinds(first, second).tolist() == list(order)
    assert kinds(second).tolist() == [Kind.STABLE] * 2 + [Kind.FIRST] * 2 + [Kind.STABLE] * 3
    table = count(first, second, 4)
    assert table.shape == (7, 4) and table.sum() == 7 and table[Kind.BOTH, 1] == 1
    with pytest.raises(mlc.InputError, match="code 2 in the maps is not in the legend"):
        count(first, second, 2)
    with pytest.raises(mlc.InputError, match="shapes"):
        kinds(first, second[:2])


def test_the_strata_are_those_of_the_maps_and_count_all_pixels() -> None:
    maps, _ = labelled()
    maps["multi_year_filtered"] = maps.multi_year_filtered.where(maps.x > maps.x[0], 0).astype(np.uint8)
    sample = mlc.sample_reference(maps, size=400, seed=1)
    first, second = (maps[name].values for name in sample.design["layers"])
    assert sample.strata.pixels.sum() == sample.design["pixels"] == 60 * 59
    assert sample.points.stratum.value_counts().to_dict() == sample.strata.set_index("stratum").sampled.to_dict()
    rows = ((maps.y.values[0] - sample.points.y) / 10).round().astype(int)
    columns = ((sample.points.x - maps.x.values[0]) / 10).round().astype(int)
    a, b = first[:, rows, columns], second[:, rows, columns]
    both = (sample.points.stratum == "change in both").to_numpy()
    stable = (sample.points.stratum == "stable C").to_numpy()
    assert both.any() and (a[:, both][1:] != a[:, both][:-1]).any(axis=0).all()
    assert stable.any() and (a[:, stable] == 3).all() and (b[:, stable] == 3).all()
    assert (a > 0).all() and not sample.points.duplicated(["x", "y"]).any()
    assert sample.points.lon.between(10.2, 10.4).all() and sample.points.lat.between(45.9, 46.1).all()


def test_the_points_depend_on_the_seed_and_on_no_chunk() -> None:
    draws = [mlc.sample_reference(labelled(chunk=chunk)[0], size=300, seed=2) for chunk in (7, 30, 60)]
    for other in draws[1:]:
        pd.testing.assert_frame_equal(draws[0].points, other.points)
    other = mlc.sample_reference(labelled()[0], size=300, seed=3)
    assert not np.array_equal(draws[0].points[["x", "y"]], other.points[["x", "y"]])


def test_the_size_follows_from_the_standard_error() -> None:
    maps, _ = labelled(side=200)
    sample = mlc.sample_reference(maps, se=0.01)
    assert sample.design["expected_se"] <= 0.01
    assert mlc.sample_reference(maps, size=sample.design["points"] - 1).design["expected_se"] > 0.01
    change = sample.strata[~sample.strata.stratum.str.match("stable [A-C]")]
    assert len(change) == 5 and (change.sampled >= 75).all()
    table = sample.strata
    weights = table.pixels / table.pixels.sum()
    close(np.sqrt((weights**2 * table.expected_se**2).sum()), sample.design["expected_se"])


def test_the_smallest_size_has_two_points_in_every_stratum() -> None:
    maps, _ = labelled()
    assert mlc.sample_reference(maps, size=16).strata.sampled.tolist() == [2] * 8
    alone = mlc.sample_reference(maps.isel(year=[0]), size=8, layers=["multi_year_filtered"]).strata
    assert list(alone.stratum) == ["stable A", "stable B", "stable C"] and alone.sampled.min() >= 2
    calm = maps.assign(multi_year_filtered=maps.multi_year_filtered.isel(year=[0, 0, 0]).assign_coords(year=maps.year))
    calm = calm.load().assign(multi_year_filtered=calm.multi_year_filtered.copy(data=calm.multi_year_filtered.values))
    calm.multi_year_filtered[1:, :5] = 4 - calm.multi_year_filtered[1:, :5]
    for size in (8, 9, 12, 40):
        assert mlc.sample_reference(calm, size=size, layers=["multi_year_filtered"]).strata.sampled.sum() == size


def test_the_first_points_are_a_sample_of_every_stratum() -> None:
    maps, _ = labelled(side=200)
    points = mlc.sample_reference(maps, size=1000).points
    share, half = (part.stratum.value_counts(normalize=True) for part in (points, points[:500]))
    assert (share - half).abs().max() < 0.05


def test_one_layer_and_classes_that_are_rare() -> None:
    maps, _ = labelled()
    rare = maps.multi_year_filtered.where(maps.multi_year_filtered != 1, 2).astype(np.uint8)
    rare[:, :2, :2] = 1
    sample = mlc.sample_reference(maps.assign(multi_year_filtered=rare), size=100, layers=["multi_year_filtered"])
    names = sample.strata.set_index("stratum").pixels
    assert list(names.index) == ["stable B", "stable C", "stable A", "change in multi-year, filtered", "alternating"]
    assert names["stable A"] == 4


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"size": 5}, "size 5 is not possible with 8 strata"),
        ({"size": 5000}, "give 16 to 3600"),
        ({"se": 0.0}, "standard error 0.0 is not possible"),
        ({"layers": ["multi_year"]}, "layer 'multi_year' is not in the maps; did you mean 'multi_year_filtered'"),
        ({"layers": ["multi_year_filtered"] * 2}, "2 layers for the strata; give one, or two different ones"),
    ],
)
def test_what_cannot_be_drawn_is_told(asked: dict[str, object], told: str) -> None:
    with pytest.raises(mlc.InputError, match=told):
        mlc.sample_reference(labelled()[0], **asked)  # type: ignore[arg-type]
    maps, _ = labelled()
    with pytest.raises(mlc.InputError, match=r"no pixel of .* has data in all years"):
        mlc.sample_reference(maps * np.uint8(0))
