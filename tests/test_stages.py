"""The stages on cubes in memory: independent of chunks, exact at the edges, and clear about invalid input."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from mlc_dask.classifiers import RandomForest
from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.data.schema import check_samples
from mlc_dask.io.maps import open_layers, write_maps
from mlc_dask.kernels.detection import detection
from mlc_dask.stages import evaluation
from mlc_dask.stages.annual_training import Clustering, select_reliable_samples
from mlc_dask.stages.classification import classify, fit_per_year
from mlc_dask.stages.drawing import Gaps
from mlc_dask.stages.filtering import smooth
from mlc_dask.stages.multiyear_training import sample_unchanged, unchanged_areas
from tests.cubes import BANDS, Array, cube_of, landscape, map_of, product_of, threshold

QUICK: dict[str, Any] = {
    "size": 240, "min_per_class": 12, "gaps": Gaps(min_valid=3), "clustering": Clustering(pixels=150, max_clusters=2),
}  # fmt: skip
CHUNKINGS = [{"y": -1, "x": -1}, {"y": 16, "x": 16}, {"y": (7, 30, 11), "x": 25}]


@pytest.fixture(autouse=True)
def _single_threaded() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


def rechunked(cube: xr.Dataset, chunks: dict[str, Any]) -> xr.Dataset:
    return cube.assign({name: cube[name].chunk(chunks) for name in cube.data_vars})


def notes_of(samples: xr.Dataset) -> str:
    return "\n".join(samples.attrs["notes"])


# Results do not depend on chunks


def test_samples_and_maps_do_not_depend_on_chunks() -> None:
    cube, truth = landscape()
    product, results = product_of(truth, cell=20), []
    for chunks in CHUNKINGS:
        own = rechunked(cube, chunks)
        annual = select_reliable_samples(own, product.chunk(chunks), **QUICK)
        maps = classify(own, fit_per_year(annual, classifier=RandomForest(trees=5))).compute()
        unchanged = unchanged_areas(maps, product)
        samples = sample_unchanged(
            own, product, unchanged, train=120, validation=60, min_per_class=6, block=8, gaps=Gaps(min_valid=3)
        )
        results.append((annual, maps, samples, smooth(maps.chunk(chunks), size=5).compute()))
    for other in results[1:]:
        for name, one, two in zip(("annual", "maps", "samples", "smooth"), results[0], other, strict=True):
            assert one.drop_attrs().identical(two.drop_attrs()), name
            assert one.attrs == two.attrs, name
    annual, maps, samples, _ = results[0]
    assert check_samples(annual).sizes["sample"] >= 2 * 240 * 0.9
    assert set(np.unique(samples.year)) == {2018, 2019} and set(np.unique(samples.split)) == {0, 1}
    at = (annual.row.values, annual.column.values)
    assert (annual.label.values == truth[at]).all(), "a sample has the label of the old map"
    kept = {(r["year"], r["class"]): r["kept"] for r in annual.attrs["clusters"]}
    for year, code, cluster in zip(annual.year.values, annual.label.values, annual.cluster.values, strict=True):
        assert cluster - 1 in kept[year, DEFAULT_LEGEND.names[code]], "a sample has its cluster"
    assert not samples.cluster.any(), "the unchanged area has no clusters"
    for y in (2018, 2019):
        own = annual.isel(sample=annual.year.values == y)
        expected = cube.reflectance.sel(year=y).values[:, :, own.row.values, own.column.values].transpose(2, 0, 1)
        assert np.array_equal(own.dn.values, expected)
    labelled = maps.label > 0
    assert (labelled == (maps.valid_count >= 3)).all() and labelled.mean() > 0.9
    assert (maps.label == truth).where(labelled).mean() > 0.95, "four classes far apart"


def test_probabilities_are_a_layer_that_can_be_stored(tmp_path: Path) -> None:
    cube, truth = landscape()
    annual = select_reliable_samples(cube, product_of(truth, cell=20), **QUICK)
    models = fit_per_year(annual, classifier=RandomForest(trees=9))
    first = models["2018"]
    years = {"2018": dataclasses.replace(first, classes=np.uint8([11, *first.classes[1:]])), "2019": models["2019"]}
    plain, maps = classify(cube, years), classify(cube, years, probabilities=True)
    assert list(plain.data_vars) == ["label", "confidence", "valid_count"]
    assert maps.drop_vars(["probability", "class"]).compute().identical(plain.compute())
    more = classify(cube, years, probabilities=True, entropy=True, margin=True)
    assert list(more.data_vars) == ["label", "confidence", "valid_count", "entropy", "margin", "probability"]
    assert more.drop_vars(["entropy", "margin"]).compute().identical(maps.compute())
    two = np.sort(more.probability.values.astype(int), axis=1)[:, -2:]
    labelled = more.label.values > 0
    assert (np.abs(more.margin.values - (two[:, 1] - two[:, 0]))[labelled] <= 1).all()
    assert (more.margin.values[labelled] >= 1).all() and not more.margin.values[~labelled].any()
    assert not more.entropy.values[~labelled].any() and more.entropy.values[labelled].min() >= 1
    sure = labelled & (two[:, 1] == 100)
    assert sure.any() and (more.entropy.values[sure] == 1).all() and more.entropy.values[labelled & ~sure].min() > 1
    assert maps.probability.dims == ("year", "class", "y", "x") and maps.probability.dtype == np.uint8
    for size in (16, 50):
        blocks = rechunked(cube, {"y": size, "x": size})
        write_maps(classify(blocks, years, probabilities=True), tmp_path / f"{size}")
        stored = open_layers(tmp_path / f"{size}").compute()
        assert np.array_equal(stored.probability, maps.probability.compute())
    codes = stored["class"].values
    assert codes.tolist() == sorted({*years["2018"].classes.tolist(), *years["2019"].classes.tolist()})
    labelled, every = stored.label.values > 0, stored.probability.values
    assert 0 < labelled.sum() < labelled.size and not every.transpose(0, 2, 3, 1)[~labelled].any()
    own = np.take_along_axis(every, np.searchsorted(codes, stored.label.values)[:, None].clip(max=len(codes) - 1), 1)[
        :, 0
    ]
    assert np.array_equal(own[labelled], stored.confidence.values[labelled])
    assert (np.abs(every.sum(axis=1, dtype=int)[labelled] - 100) <= len(codes) / 2).all()
    for i, year in enumerate(("2018", "2019")):
        assert not every[i][~np.isin(codes, years[year].classes)].any()


def test_training_and_validation_never_share_a_square() -> None:
    cube, truth = landscape()
    maps = map_of(np.stack([truth] * 2), [2018, 2019])
    product = product_of(truth)
    samples = sample_unchanged(
        cube, product, unchanged_areas(maps, product), train=300, validation=150, min_per_class=3, block=8,
        gaps=Gaps(min_valid=1),
    )  # fmt: skip
    squares = [set(zip(s.row.values // 8, s.column.values // 8, strict=True)) for _, s in samples.groupby("split")]
    assert len(squares) == 2 and not squares[0] & squares[1]


# Classes that are hard to sample


def rare(truth: Array, code: int, rows: slice, columns: slice) -> Array:
    found = truth.copy()
    found[rows, columns] = code
    return found


def test_a_tiny_class_is_kept_whole_and_noted() -> None:
    cube, truth = landscape()
    labels = rare(truth, 10, slice(20, 22), slice(30, 32))
    samples = select_reliable_samples(
        cube, product_of(labels), **{**QUICK, "min_per_class": 50, "gaps": Gaps(min_valid=1)}
    )
    of_class = samples.isel(sample=samples.label.values == 10)
    assert 1 <= of_class.sizes["sample"] <= 8
    assert (labels[of_class.row.values, of_class.column.values] == 10).all()
    assert "class Water keeps its border pixels: 0 of 4 px lie inside" in notes_of(samples)
    assert "2018: class Water has only 4 pixels for the annual training set" in notes_of(samples)


def test_a_class_that_erosion_would_remove_keeps_its_borders() -> None:
    cube, truth = landscape()
    labels = rare(truth, 9, slice(0, 48), slice(10, 12))
    samples = select_reliable_samples(cube, product_of(labels, cell=20), **QUICK)
    assert "class Shrubland keeps its border pixels: 0 of 96 px lie inside" in notes_of(samples)
    assert (samples.label == 9).sum() >= 12
    others = samples.isel(sample=samples.label.values != 9)
    padded = np.pad(labels, 2, mode="edge")
    for row, column, label in zip(others.row.values, others.column.values, others.label.values, strict=True):
        window = padded[row : row + 5, column : column + 5]
        assert (window == label).all(), "two pixels, one cell, from any border"


def test_a_class_without_usable_dates_in_one_year() -> None:
    cube, truth = landscape()
    usable = cube.usable.values.copy()
    usable[1][:, truth == 3] = False
    clouded = cube_of(cube.reflectance.values, usable, [2018, 2019])
    samples = select_reliable_samples(clouded, product_of(truth), **QUICK)
    by_year = {y: set(np.unique(s.label)) for y, s in samples.groupby("year")}
    assert by_year == {2018: {1, 2, 3, 4}, 2019: {1, 2, 4}}
    assert "2019: class Crops has no pixel for the annual training set" in notes_of(samples)
    models = fit_per_year(samples, classifier=RandomForest(trees=3))
    assert models["2019"].classes.tolist() == [1, 2, 4] and models["2018"].classes.tolist() == [1, 2, 3, 4]
    assert not (classify(clouded, models).label.sel(year=2019) == 3).any()


def test_no_usable_date_at_all() -> None:
    cube, truth = landscape(32, 32)
    dark = cube_of(cube.reflectance.values, np.zeros_like(cube.usable.values), [2018, 2019])
    with pytest.raises(InputError, match=r"2018: no pixel of a class has 3 usable dates .*; lower gaps\.min_valid"):
        select_reliable_samples(dark, product_of(truth), **QUICK)


def test_quota_zero_means_no_sample() -> None:
    cube, truth = landscape()
    product = product_of(truth)
    product["quota"] = product.quota.where(truth != 2, np.uint8(0))
    samples = select_reliable_samples(cube, product, **QUICK)
    assert not (samples.label == 2).any() and "class Grass has no pixel" in notes_of(samples)


# Refusals


def test_a_product_with_one_class() -> None:
    cube, truth = landscape(32, 32)
    for labels in (np.full_like(truth, 3), np.zeros_like(truth)):
        with pytest.raises(InputError, match="fewer than two classes in this area; choose a larger area or another"):
            select_reliable_samples(cube, product_of(labels), **QUICK)


def test_grids_that_differ() -> None:
    cube, truth = landscape(32, 32)
    short = product_of(truth[:, :-1])
    moved = product_of(truth).assign_coords(x=product_of(truth).x + 5)
    maps = classify(cube, threshold(cube))
    for product, told in ((short, "32 and 31 pixels"), (moved, "first 5.0 and 10.0")):
        message = rf"the x coordinates differ .*{told}.*; put both on one grid"
        with pytest.raises(InputError, match=f"cube and product: {message}"):
            select_reliable_samples(cube, product, **QUICK)
        with pytest.raises(InputError, match=f"maps and product: {message}"):
            unchanged_areas(maps, product)
        with pytest.raises(InputError, match=f"cube and product: {message}"):
            sample_unchanged(cube, product, product != 0)


def test_the_model_must_fit_the_cube() -> None:
    cube, _ = landscape(16, 16, block=8)
    model = threshold(cube)
    with pytest.raises(InputError, match=r"trained on bands .*'B12'\); the cube has .*'B11'\); train on this cube"):
        classify(cube.isel(band=slice(0, -1)), model)
    with pytest.raises(InputError, match=r"trained on bands"):
        classify(cube.isel(band=list(range(len(BANDS)))[::-1]), model)
    with pytest.raises(InputError, match=r"trained on 6 acquisitions per year, the cube has 5 in 2018; choose 6 for"):
        classify(cube.isel(acquisition=slice(0, 5)), model)
    with pytest.raises(InputError, match=r"there is no model for 2019, only for 2018, multi-year; train one"):
        classify(cube, {"2018": model, "multi-year": model})
    both = classify(cube, {"2018": model, "2019": threshold(cube, limit=0)})
    assert (both.label.sel(year=2019) == 2).where(both.label.sel(year=2019) > 0, True).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.drop_vars("usable"), "no variable 'usable'"),
        (lambda c: c.transpose("year", "band", ...), "reflectance has dims .*; transpose it"),
        (lambda c: c.assign(reflectance=c.reflectance * 1e-4), "reflectance is float64, not uint16"),
        (lambda c: c.drop_vars("time"), r"no coordinate time\(year, acquisition\)"),
    ],
)
def test_what_is_no_cube(change: Any, message: str) -> None:
    cube, _ = landscape(16, 16, block=8)
    with pytest.raises(InputError, match=message):
        classify(change(cube), threshold(cube))


# Classification by hand


def by_hand(cube: xr.Dataset, limit: float, least: int) -> dict[str, Array]:
    """Threshold maps pixel by pixel: the mean over the dates of the first band, with gaps filled linearly in time."""
    dn, usable = cube.reflectance.values, cube.usable.values
    planes = {name: np.zeros((len(dn), *dn.shape[-2:]), np.uint8) for name in ("label", "confidence", "valid_count")}
    for (k, y, x), _ in np.ndenumerate(planes["label"]):
        good = np.flatnonzero(usable[k, :, y, x])
        planes["valid_count"][k, y, x] = len(good)
        if len(good) < least:
            continue
        days = (cube.time.values[k] - cube.time.values[k, 0]) / np.timedelta64(1, "D")
        series = np.interp(days, days[good], dn[k, good, 0, y, x].astype(float))
        bright = np.rint(series).mean() >= limit
        planes["label"][k, y, x], planes["confidence"][k, y, x] = (2, 60) if bright else (1, 70)
    return planes


def test_classify_by_hand_with_clouds_and_ragged_patches() -> None:
    rng = np.random.default_rng(3)
    dn = rng.integers(1, 4000, (2, 5, 2, 11, 13)).astype(np.uint16)
    usable = rng.random((2, 5, 11, 13)) > 0.5
    usable[0, :, :4, :4] = False
    cube = cube_of(dn, usable, [2018, 2019], bands=("B02", "B03"))
    expected = by_hand(cube, 2000, 3)
    for chunks in ({"y": -1, "x": -1}, {"y": 4, "x": 4}, {"y": 10, "x": 12}):
        maps = classify(rechunked(cube, chunks), threshold(cube, min_valid=3))
        assert list(maps.data_vars) == ["label", "confidence", "valid_count"]
        for name, plane in expected.items():
            assert maps[name].dtype == np.uint8 and np.array_equal(maps[name].values, plane), (name, chunks)
    clouded = maps.sel(year=2018).isel(y=slice(0, 4), x=slice(0, 4)).compute()
    assert not clouded.to_array().any(), "an all-cloud patch has no label, no confidence and no date"
    assert ((maps.valid_count < 3) == (maps.label == 0)).all() and set(np.unique(maps.label)) == {0, 1, 2}
    assert maps.attrs["legend"] == DEFAULT_LEGEND.to_dict() and np.array_equal(maps.y, cube.y)


# Filtering


def test_filter_settings_are_checked() -> None:
    maps = map_of(np.ones((2, 6, 6)), [2018, 2019])
    with pytest.raises(InputError, match="filter rule 'mode' is unknown; choose one of majority, median, none"):
        smooth(maps, rule="mode")  # type: ignore[arg-type]
    for size in (0, -3, 4):
        with pytest.raises(InputError, match=f"filter size {size} is not an odd number of pixels; use an odd"):
            smooth(maps, size=size)
    with pytest.raises(InputError, match=r"is float64, not uint8; convert it with"):
        smooth(maps.astype(float))
    assert smooth(maps, rule="none") is maps


def most_frequent(labels: Array, radius: int) -> Array:
    """The rule, pixel by pixel: most frequent valid code, ties keep the centre if it is among them, else the lowest."""
    found = labels.copy()
    for (y, x), centre in np.ndenumerate(labels):
        window = labels[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        counts = np.bincount(window[window > 0], minlength=12)
        if centre and counts.max() > counts[centre]:
            found[y, x] = counts.argmax()
    return found


def test_smooth_by_hand_over_blocks_and_maps_smaller_than_the_window() -> None:
    labels = np.random.default_rng(4).integers(0, 4, (2, 9, 10)).astype(np.uint8)
    maps = map_of(labels, [2018, 2019])
    for chunks in ({"y": -1, "x": -1}, {"y": 2, "x": 3}, {"y": (8, 1), "x": (1, 9)}):
        found = smooth(maps.chunk(chunks), size=5)
        assert np.array_equal(found, np.stack([most_frequent(plane, 2) for plane in labels]))
    tiny = smooth(maps.chunk(y=2, x=3), size=31)
    assert np.array_equal(tiny, np.stack([most_frequent(plane, 15) for plane in labels]))
    layers = xr.Dataset({"label": maps, "confidence": maps + 1})
    both = smooth(layers, size=5)
    assert both.confidence.identical(layers.confidence) and np.array_equal(both.label, found)


# Unchanged areas


def test_unchanged_areas_are_numpys() -> None:
    rng = np.random.default_rng(5)
    labels, old = rng.integers(0, 3, (3, 20, 17)).astype(np.uint8), rng.integers(0, 3, (20, 17)).astype(np.uint8)
    found = unchanged_areas(map_of(labels, [2017, 2018, 2019]).chunk(y=6, x=5), product_of(old))
    assert found.dtype == bool and found.dims == ("y", "x") and "quota" not in found.coords
    assert np.array_equal(found, (labels == old).all(axis=0) & (old > 0))


def test_nothing_unchanged_cannot_teach() -> None:
    cube, truth = landscape(32, 32)
    product = product_of(truth)
    for stable in (product != product, product == 1):
        with pytest.raises(InputError, match="the unchanged area has fewer than two classes"):
            sample_unchanged(cube, product, stable, train=40, validation=20, min_per_class=2, gaps=Gaps(min_valid=1))


# Evaluation by hand

YEARS = [2018, 2019, 2020]
MAPS = np.array([[[1, 1, 2, 2, 0]], [[1, 2, 2, 2, 1]], [[1, 1, 2, 3, 1]]], np.uint8)


def rows_of(table: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float, float, int]]:
    return {(r.pair, r[2]): (r.agreement, r.reverse, r.iou, r.n) for r in table.itertuples()}


def test_agreement_by_hand() -> None:
    table = rows_of(evaluation.agreement(map_of(MAPS, YEARS).chunk(x=2), DEFAULT_LEGEND))
    assert table["2018-2019", "Artificial"] == (1 / 2, 1.0, 1 / 2, 2)
    assert table["2018-2019", "Grass"] == (1.0, 2 / 3, 2 / 3, 2)
    assert table["2018-2019", "overall"] == (3 / 4, 3 / 4, 3 / 5, 4), "no data does not count as disagreement"
    assert table["2019-2020", "Artificial"] == (1.0, 2 / 3, 2 / 3, 2)
    assert table["2019-2020", "Grass"] == (1 / 3, 1.0, 1 / 3, 3)
    crops = table["2019-2020", "Crops"]
    assert np.isnan(crops[0]) and crops[1:] == (0.0, 0.0, 0)
    assert table["all", "overall"] == (6 / 9, 6 / 9, 6 / 12, 9)
    assert ("2018-2019", "Crops") not in table


def values_of(found: evaluation.Evaluation) -> dict[tuple[str, str], float]:
    return {(r.metric, r.scope): r.value for r in found.summary.itertuples()}


def test_shares_of_pixels_with_runs_are_shares() -> None:
    """Four runs A→B→A of one pixel count as one pixel; a pixel without data in any year is not counted."""
    series = np.array([[1, 2, 1, 2, 1, 2], [1, 2, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1], [1, 2, 2, 1, 1, 1]], np.uint8)
    maps = xr.Dataset({"label": map_of(series.T[:, None, :], list(range(2015, 2021)))})
    values = values_of(evaluation.evaluate({("m", False): maps}, legend=DEFAULT_LEGEND))
    assert values["flicker_share", "overall"] == 1 / 3 and values["sustained_share", "overall"] == 1 / 3


def test_evaluate_by_hand() -> None:
    maps = xr.Dataset({"label": map_of(MAPS, YEARS).chunk(x=2)})
    truth = map_of(np.array([[[1, 1, 2, 2, 1]], [[1, 1, 2, 0, 1]]]), [2018, 2020])
    found = evaluation.evaluate({("multi-year", True): maps}, truth=truth, legend=DEFAULT_LEGEND)
    values = values_of(found)
    assert values["agreement", "2018-2019"] == 3 / 4
    assert values["kappa", "2018-2019"] == pytest.approx((3 / 4 - 1 / 2) / (1 - 1 / 2))
    assert [values["pixels_by_changes", str(n)] for n in range(3)] == [2, 1, 1], "of the pixels with data in all years"
    assert values["flicker_share", "overall"] == 1 / 4 and values["sustained_share", "overall"] == 0
    assert values["class_share", "2018 Grass"] == 2 / 4 and values["class_share", "2020 Crops"] == 1 / 5
    assert values["entropy", "2018"] == pytest.approx(1), "bits"
    assert values["accuracy", "2018"] == 1 and values["accuracy", "2020"] == 1
    assert ("accuracy", "2019") not in values, "no reference of that year"
    assert ("change_recall", "overall") not in values, "2018 and 2020 are not successive years"
    assert set(found.summary.model) == {"multi-year"} and set(found.summary.filtered) == {True}
    assert list(found.agreement) == ["model", "filtered", "pair", "class", "agreement", "reverse", "iou", "n"]
    wrong = truth.where(truth != 1, np.uint8(3))
    assert values_of(evaluation.evaluate({("m", False): maps}, truth=wrong, legend=DEFAULT_LEGEND))[
        "accuracy", "overall"
    ] == 3 / 8  # fmt: skip


def test_an_evaluation_brings_home_counts_alone_whatever_the_blocks() -> None:
    """Areas of change cross the blocks; no whole map or truth is computed."""
    rng = np.random.default_rng(4)
    truth = np.kron(rng.integers(0, 4, (3, 6, 8)), np.ones((1, 5, 5), int))
    labels = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, 4, truth.shape))
    brought: list[Any] = []

    def watched(graph: Any, keys: Any, **settings: Any) -> Any:
        brought.append(dask.get(graph, keys, **settings))
        return brought[-1]

    tables = []
    for chunks in ({}, {"y": 7, "x": 9}, {"y": (1, 20, 9), "x": -1}):
        maps = {("m", f): xr.Dataset({"label": map_of(labels, YEARS).chunk(chunks)}) for f in (False, True)}
        with dask.config.set(scheduler=watched):
            reference = map_of(truth, YEARS).chunk(y=11, x=40)
            tables.append(evaluation.evaluate(maps, truth=reference, legend=DEFAULT_LEGEND))
    assert len(brought) == 3, "one pass for all series"
    assert {type(result).__name__ for results in brought for result in results} == {"Tally"}
    for other in tables[1:]:
        for name in evaluation.TABLES:
            own, first = getattr(other, name), getattr(tables[0], name)
            assert len(own)
            pd.testing.assert_frame_equal(own, first, check_exact=True)
    whole = detection(truth.astype(np.uint8), labels.astype(np.uint8))
    values = values_of(tables[1])
    assert (values["change_recall", "overall"], values["change_precision", "overall"]) == (
        whole.recall, whole.precision,
    )  # fmt: skip
    assert values["change_objects", "25-63 px"] == whole.objects[2] > 0


def test_change_count_by_hand() -> None:
    counts = evaluation.change_count(map_of(MAPS, YEARS).chunk(x=2))
    assert counts.values.tolist() == [[0, 2, 0, 1, 0]]


def test_one_year_has_no_pairs_but_shares() -> None:
    one = xr.Dataset({"label": map_of(MAPS[:1], [2018]).chunk()})
    table = evaluation.agreement(one, DEFAULT_LEGEND)
    assert set(table["pair"]) == {"all"} and table["n"].tolist() == [0]
    values = values_of(evaluation.evaluate({("m", False): one}, legend=DEFAULT_LEGEND))
    assert values["class_share", "2018 Grass"] == 1 / 2 and values["pixels_by_changes", "0"] == 4
    assert not evaluation.change_count(one).any()


def test_truth_of_another_place_or_time() -> None:
    maps = xr.Dataset({"label": map_of(MAPS, YEARS)})
    elsewhere = map_of(MAPS, YEARS).assign_coords(x=np.arange(5) * 10.0 + 5_005)
    with pytest.raises(InputError, match="maps and truth: the x coordinates differ"):
        evaluation.evaluate({("m", False): maps}, truth=elsewhere, legend=DEFAULT_LEGEND)
