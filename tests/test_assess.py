"""Accuracy, areas and change from points: against the whole maps, by hand, and bad points in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import mlc_dask as mlc
from mlc_dask.data.grids import Grid
from mlc_dask.show.accuracy import show_assessment
from tests.test_kernels_estimation import close
from tests.test_reference_sample import labelled

YEARS = (2018, 2019, 2020)


def interpreted(points: pd.DataFrame, maps: xr.Dataset, truth: np.ndarray) -> pd.DataFrame:
    """The points with the truth as labels."""
    rows = ((maps.y.values[0] - points.y.to_numpy()) / 10).round().astype(int)
    columns = ((points.x.to_numpy() - maps.x.values[0]) / 10).round().astype(int)
    return points.assign(**{f"label_{y}": truth[i, rows, columns] for i, y in enumerate(YEARS)})


def every_pixel(maps: xr.Dataset) -> pd.DataFrame:
    y, x = np.meshgrid(maps.y.values, maps.x.values, indexing="ij")
    return pd.DataFrame({"x": x.ravel(), "y": y.ravel()})


def figure(table: pd.DataFrame, column: str = "value", **keys: str) -> float:
    (row,) = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)][column]
    return float(row)


def test_all_pixels_give_the_figures_of_the_whole_maps() -> None:
    maps, truth = labelled(side=30)
    found = mlc.assess(maps, interpreted(every_pixel(maps), maps, truth))
    given = maps.multi_year_filtered.values
    whole = {"layer": "multi_year_filtered", "years": "all years"}
    close(figure(found.accuracy, measure="overall", **whole), (given == truth).mean(), 12)
    shown = given == 1
    close(figure(found.accuracy, measure="users", **whole, **{"class": "A"}), (truth[shown] == 1).mean(), 12)
    year = {"kind": "class", "years": "2019", "class": "B"}
    close(figure(found.areas, "pixels", **year), (truth[1] == 2).sum(), 6)
    close(figure(found.areas, "hectares", **year), (truth[1] == 2).sum() / 100, 6)
    assert figure(found.areas, "low", **year) == pytest.approx(figure(found.areas, "high", **year))
    shown, there = (part[1:] != part[:-1] for part in (given, truth))
    exact = {"layer": "multi_year_filtered", "match": "exact year"}
    close(figure(found.change, measure="producers", **exact), (shown & there).sum() / there.sum(), 12)
    close(figure(found.change, measure="users", **exact), (shown & there).sum() / shown.sum(), 12)
    other = maps.single_year_filtered.values
    also = other[1:] != other[:-1]
    apart = figure(found.differences, measure="change producers", years="all years")
    close(apart, ((shown & there).sum() - (also & there).sum()) / there.sum(), 12)
    right = {"layer": "multi_year_filtered", "measure": "whole series right"}
    close(figure(found.trajectories, **right), (given == truth).all(axis=0).mean(), 12)
    moved = {"kind": "change", "years": "all pairs", "class": "C → A"}
    close(figure(found.areas, **moved), ((truth[:-1] == 3) & (truth[1:] == 1)).mean(), 12)
    close(figure(found.areas, "mapped_multi_year_filtered", **year), (given[1] == 2).mean(), 12)
    close(
        figure(found.areas, "mapped_single_year_filtered", **moved), ((other[:-1] == 3) & (other[1:] == 1)).mean(), 12
    )
    (note,) = found.notes
    assert note.startswith("no strata: the points are taken as a simple random sample of the 900 pixels")


def test_mapped_shares_are_of_pixels_with_data_and_of_the_years_of_the_points() -> None:
    maps, truth = labelled(side=30)
    points = interpreted(every_pixel(maps)[:200], maps, truth)
    holed = maps.where((maps.y > maps.y[10]) | (maps.year != 2019), np.uint8(0)).assign_attrs(maps.attrs)
    given = maps.multi_year_filtered.values[1, :10]
    year = {"kind": "class", "years": "2019", "class": "A"}
    column = "mapped_multi_year_filtered"
    found = mlc.assess(holed.assign({k: v.assign_attrs(maps[k].attrs) for k, v in holed.items()}), points)
    close(figure(found.areas, column, **year), (given == 1).mean(), 12)
    close(figure(found.areas, "mapped_pixels_multi_year_filtered", **year), 300 * (given == 1).mean(), 9)
    close(figure(found.areas, "mapped_hectares_multi_year_filtered", **year), 3 * (given == 1).mean(), 12)
    chunked = mlc.assess(maps.chunk({"y": 7, "x": 11}), points).areas
    pd.testing.assert_frame_equal(mlc.assess(maps, points).areas, chunked)


def test_what_maps_show_is_printed_without_an_estimate_too() -> None:
    maps, truth = labelled(side=30)
    found = mlc.assess(maps, interpreted(every_pixel(maps)[:200], maps, truth))
    none = {name: np.nan for name in found.areas if str(name).partition("_")[0] in ("value", "pixels", "hectares")}
    console = Console(record=True, width=200)
    show_assessment(console, replace(found, areas=found.areas.assign(**none)), pd.DataFrame(), Path("there"))
    said = console.export_text()
    assert "shown by" in said and "hectares, all years" in said
    shown = [(maps[name].values == 1).mean() * 9 for name in ("multi_year_filtered", "single_year_filtered")]
    (line,) = [line.split() for line in said.splitlines() if line.split()[:1] == ["A"]]
    assert line[-2:] == [f"{area:.0f}" for area in shown]


def test_intervals_of_drawn_samples_cover_the_whole_maps() -> None:
    maps, truth = labelled(side=100)
    first, second = (maps[name].values for name in ("multi_year_filtered", "single_year_filtered"))
    changed = truth[1:] != truth[:-1]
    wanted = {
        "accuracy": (first == truth).mean(),
        "difference": (first == truth).mean() - (second == truth).mean(),
        "area": (truth == 1).mean(),
        "precision": np.subtract(
            *(((m[1:] != m[:-1]) & changed).sum() / (m[1:] != m[:-1]).sum() for m in (first, second))
        ),
        "recall": ((first[1:] != first[:-1]) & changed).sum() / changed.sum(),
    }
    covered = dict.fromkeys(wanted, 0)
    for seed in range(40):
        sample = mlc.sample_reference(maps, size=600, seed=seed)
        found = mlc.assess(maps, interpreted(sample.points, maps, truth), strata=sample.strata)
        assert found.notes == ()
        layer = {"layer": "multi_year_filtered"}
        for name, table, keys in (
            ("accuracy", found.accuracy, {**layer, "years": "all years", "measure": "overall"}),
            ("difference", found.differences, {"measure": "accuracy", "years": "all years"}),
            ("precision", found.differences, {"measure": "change users", "years": "all years"}),
            ("area", found.areas, {"kind": "class", "years": "all years", "class": "A"}),
            ("recall", found.change, {**layer, "match": "exact year", "measure": "producers"}),
        ):
            low, high = (figure(table, column, **keys) for column in ("low", "high"))
            covered[name] += low <= wanted[name] <= high
    # Of 40 intervals of 95 %, fewer than 34 contain the truth in 3 of 1,000 such tests.
    assert all(n >= 34 for n in covered.values()), covered


def test_a_figure_without_an_estimate_says_why() -> None:
    maps, truth = labelled(side=30)
    points = interpreted(every_pixel(maps)[:200], maps, np.where(truth == 1, 2, truth)).drop(columns=["label_2019"])
    found = mlc.assess(maps, points)
    wanted = "measure == 'producers' and `class` == 'A' and years == 'all years' and layer == 'multi_year_filtered'"
    (row,) = found.accuracy.query(wanted).to_dict("records")
    assert np.isnan(row["value"]) and row["interval"] == "none"
    assert row["note"] == "no estimate: no point has the class in the reference"
    assert set(found.change.note) == {"no estimate: no point has labels of successive years"}
    assert found.areas.kind.eq("class").all() or found.areas[found.areas.kind == "change"].value.isna().all()


def test_pixels_in_degrees_have_no_hectares() -> None:
    maps, truth = labelled(side=30)
    grid = Grid("EPSG:4326", 10.0, 46.0, 0.001, 30, 30)
    points = interpreted(every_pixel(maps)[:300], maps, truth)
    rows, columns = np.divmod(np.arange(300), 30)
    there = maps.drop_vars(["spatial_ref", "x", "y"]).assign_coords(grid.coords())
    found = mlc.assess(there, points.assign(x=there.x.values[columns], y=there.y.values[rows]))
    pd.testing.assert_frame_equal(found.accuracy, mlc.assess(maps, points).accuracy)
    assert found.areas.hectares.isna().all() and found.areas.pixels.notna().any()


def test_labels_are_codes_or_names_and_points_of_any_crs() -> None:
    maps, truth = labelled(side=30)
    sample = mlc.sample_reference(maps, size=100)
    points = interpreted(sample.points, maps, truth)
    plain = mlc.assess(maps, points, strata=sample.strata)
    named = points.assign(x=points.lon, y=points.lat)
    for year in YEARS:
        named[f"label_{year}"] = [f" {'ABC'[c - 1].lower()}" for c in named[f"label_{year}"]]
    other = mlc.assess(maps, named, strata=sample.strata, crs="EPSG:4326")
    turned = mlc.assess(maps.isel(y=slice(None, None, -1)), points, strata=sample.strata)
    for found in (other, turned):
        pd.testing.assert_frame_equal(plain.accuracy, found.accuracy)
        pd.testing.assert_frame_equal(plain.change, found.change)


def test_points_that_are_not_labelled_are_told_of() -> None:
    maps, truth = labelled(side=30)
    sample = mlc.sample_reference(maps, size=200)
    points = interpreted(sample.points, maps, truth)
    labels = [f"label_{year}" for year in YEARS]
    points.loc[150:, labels] = 0
    assert mlc.assess(maps, points, strata=sample.strata).notes == (
        "150 of 200 points have a label, the first ones: a smaller sample",
    )
    points.loc[3, labels] = 0
    (note,) = mlc.assess(maps, points, strata=sample.strata).notes
    assert note.startswith("149 of 200 points have a label; the estimates assume that the others are like")


def test_interpreters_are_compared_on_their_common_labels() -> None:
    one = pd.DataFrame({"id": [1, 2, 3, 4], "label_2018": [1, 1, 2, 0], "label_2019": [1, 2, 2, 2]})
    two = pd.DataFrame({"id": [4, 3, 2], "label_2018": [1, 2, 1], "label_2019": [2, 2, 1]})
    (row,) = mlc.compare_interpreters({"a": one, "b": two}).to_dict("records")
    assert (row["first"], row["second"], row["points"], row["labels"]) == ("a", "b", 3, 5)
    close(row["share"], 0.8)
    close(row["kappa"], (0.8 - 0.56) / 0.44)


def outside(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    points.loc[[4, 5, 6, 7], "x"] = 0.0


def foreign_label(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    points["label_2019"] = points.label_2019.astype(object)
    points.loc[:1, "label_2019"] = "Forrest"
    points.loc[2, "label_2019"] = 7


def foreign_year(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    points["label_2017"] = 1


def doubled(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    points.loc[3, "id"] = points.id[2]


def no_number(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    points["y"] = points.y.astype(object)
    points.loc[3, "y"] = "north"


def unlabelled(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    points[[f"label_{year}" for year in YEARS]] = 0


def no_labels(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    for year in YEARS:
        del points[f"label_{year}"]


def one_point(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    at = points.index[points.stratum == "alternating"][1:]
    points.loc[at, [f"label_{year}" for year in YEARS]] = 0


def no_size(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    points.loc[3, "stratum"] = "elsewhere"


def nothing_there(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    strata.loc[0, "pixels"] = 0


def twice(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    strata.loc[1, "stratum"] = strata.stratum[0]


def in_metres(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    strata["pixels"] *= 100


def no_pixels(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    del strata["pixels"]


def no_strata(points: pd.DataFrame, strata: pd.DataFrame) -> None:
    del points["stratum"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (outside, r"4 of 200 points lie outside the maps \(.*\): id 5 at \(0, 5.*, id 7 at .* and 1 more; leave them"),
        (foreign_label, r"labels that are not in the legend: 'Forrest' \(2 times\), 7 \(1 times\); .* 1 A, 2 B, 3 C"),
        (foreign_year, r"labels of 2017, but the maps have 2018 to 2020; leave"),
        (doubled, r"id 3 occurs twice among the points; keep one"),
        (no_number, r"x or y of id 4 is no number"),
        (unlabelled, r"no point has a label; fill the columns label_YEAR"),
        (no_labels, r"the points have no labels; name their columns label_YEAR, e.g. label_2018"),
        (one_point, r"stratum 'alternating' of \d+ pixels has 1 labelled point; label two or more"),
        (no_size, r"strata without a size: id 4 \('elsewhere'\); add rows"),
        (nothing_there, r"stratum stable A has no size"),
        (twice, r"stratum stable A occurs twice in the table of strata"),
        (in_metres, r"the strata have 90,000 pixels, and the maps 900; give sizes in pixels"),
        (no_pixels, r"the table of strata has no column pixels"),
        (no_strata, r"the points have no column stratum, but there is a table of strata"),
    ],
)
def test_bad_points_are_told_of_in_one_line(spoil: object, told: str) -> None:
    maps, truth = labelled(side=30)
    sample = mlc.sample_reference(maps, size=200)
    points, strata = interpreted(sample.points, maps, truth), sample.strata.copy()
    spoil(points, strata)  # type: ignore[operator]
    with pytest.raises(mlc.InputError, match=told) as error:
        mlc.assess(maps, points, strata=strata)
    assert "\n" not in str(error.value)


def test_other_bad_input_is_told_of() -> None:
    maps, truth = labelled(side=30)
    points = interpreted(mlc.sample_reference(maps, size=200).points, maps, truth)
    plain = points.drop(columns="stratum")
    with pytest.raises(mlc.InputError, match="the points have strata, but the strata have no sizes"):
        mlc.assess(maps, points)
    with pytest.raises(mlc.InputError, match="layer 'multi_yaer' is no layer of classes in the maps; did you mean"):
        mlc.assess(maps, plain, layers=["multi_yaer"])
    with pytest.raises(mlc.InputError, match="no transformation is known from the CRS 'EPSG:0'"):
        mlc.assess(maps, plain, crs="EPSG:0")
    with pytest.raises(mlc.InputError, match="the points have no column x; give a row with x, y"):
        mlc.assess(maps, plain.rename(columns={"x": "easting"}))
    with pytest.raises(mlc.InputError, match="no layer of classes with years"):
        mlc.assess(maps.rename(multi_year_filtered="confidence").drop_vars("single_year_filtered"), plain)
    empty = maps.map(lambda layer: layer * np.uint8(0))
    with pytest.raises(mlc.InputError, match="0 points have a label where the maps have data"):
        mlc.assess(empty, plain)
