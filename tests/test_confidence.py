"""Whether scores mean what they say: calibrated ones are called so, others by their fault, unknown ground is told."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import mlc_dask as mlc
from mlc_dask.classifiers import RandomForest
from mlc_dask.data.legend import DEFAULT_LEGEND, Legend
from mlc_dask.kernels.calibration import EQUAL, MASS, RAW, TEMPERED, CalibrationTally, fit_temperature, temper
from mlc_dask.kernels.comparison import ALL, OLD_MAP, REFERENCE
from mlc_dask.pipeline.formats import open_tables
from mlc_dask.show.report.confidence import (
    Tables,
    confidence_figure,
    in_detail,
    measure_table,
    score_table,
    what_scores_mean,
    where_it_applies,
)
from mlc_dask.show.terminal import show_results
from mlc_dask.stages import drawing
from mlc_dask.stages.block_sample import draw_blocks
from mlc_dask.stages.confidence import STEP, judge_confidence
from mlc_dask.stages.drawing import Drawn, SampleSource, Split
from mlc_dask.stages.reliability import (
    CALIBRATION,
    RELIABILITY,
    Seen,
    calibrated,
    outside_rows,
    reliability_rows,
    table_of,
)
from mlc_dask.stages.settings import Gaps
from tests.cubes import landscape, map_of, product_of

CLASSES, BLOCKS, PIXELS, YEARS = 5, 60, 800, (2018, 2019, 2020)
NAMES = {code: f"class {code}" for code in range(1, CLASSES + 1)}


def seen(sharpness: float = 1.0, blocks: int = BLOCKS, seed: int = 0, outside: float = 0.0) -> Seen:
    """Pixels whose true class is drawn by its probability, and whose model multiplies the logits by `sharpness`."""
    random, n = np.random.default_rng(seed), blocks * PIXELS
    logits = random.normal(0, 1.5, (CLASSES, n))
    p = np.exp(logits)
    truth = (random.random(n) > np.cumsum(p / p.sum(axis=0), axis=0)).sum(axis=0)
    shown = np.exp(sharpness * logits)
    return Seen(
        probabilities=shown / shown.sum(axis=0), truth=truth, codes=np.arange(1, CLASSES + 1, dtype=np.uint8),
        answerable=np.ones(CLASSES, bool), year=random.choice(YEARS, n), block=np.repeat(np.arange(blocks) * 3, PIXELS),
        outside=random.random(n) < outside, blocks=np.arange(blocks) * 3, of=blocks * 3, seed=seed,
    )  # fmt: skip


def judged(looked: Seen, against: str = REFERENCE) -> Tables:
    scores, rows = calibrated(looked, NAMES)
    return {
        "reliability": table_of(reliability_rows(scores), RELIABILITY, against),
        "calibration": table_of([*rows, *outside_rows(looked, np.arange(20) / 20, 0.9)], CALIBRATION, against),
    }


def value(tables: Tables, metric: str, scores: str = RAW, over: str = ALL, scope: object = ALL) -> float:
    table = tables["calibration"]
    rows = table[(table.metric == metric) & (table.scores == scores) & (table.over == over) & (table.scope == scope)]
    return float(rows["value"].item())


@cache
def noise() -> float:
    """ECE that a calibrated model of the same pixels stays below in 99 of 100 draws."""
    _, held = seen().halves()
    random, drawn = np.random.default_rng(1), []
    bounds = np.cumsum(held.probabilities, axis=0)
    for _ in range(100):
        truth = (random.random(len(held.truth)) > bounds).sum(axis=0)
        drawn.append(CalibrationTally.of(held.probabilities, truth.clip(max=CLASSES - 1)).reliability().ece)
    return float(np.quantile(drawn, 0.99))


def test_a_calibrated_score_is_called_so() -> None:
    tables = judged(seen())
    assert value(tables, "ece") < noise() < 0.02
    assert value(tables, "temperature", TEMPERED) == pytest.approx(1, abs=0.06)
    assert "Scores fit on average" in what_scores_mean(tables)
    assert value(tables, "ece", TEMPERED) < 2 * noise()
    inside = tables["reliability"].query("scores == 'raw' and bins == 'equal' and pixels > 100")
    held = (inside["low"] <= inside["score"]) & (inside["score"] <= inside["high"])
    assert held.mean() > 0.75


@pytest.mark.parametrize(("sharpness", "word"), [(2.0, "too high"), (0.5, "too low")])
def test_a_fault_is_named_and_a_temperature_corrects_it(sharpness: float, word: str) -> None:
    tables = judged(seen(sharpness))
    assert value(tables, "temperature", TEMPERED) == pytest.approx(sharpness, rel=0.06)
    assert value(tables, "ece") > 10 * noise() and value(tables, "ece", TEMPERED) < 2 * noise()
    assert value(tables, "nll") > value(tables, "nll", TEMPERED) and value(tables, "brier", TEMPERED) < value(
        tables, "brier"
    )
    assert value(tables, "accuracy") == value(tables, "accuracy", TEMPERED), "a temperature changes no class"
    assert f"Scores are {word}" in what_scores_mean(tables)
    assert f"from {value(tables, 'ece'):.3f} to {value(tables, 'ece', TEMPERED):.3f}" in in_detail(tables)


def test_the_table_of_scores_is_that_of_the_pixels() -> None:
    looked = seen(2.0)
    _, held = looked.halves()
    tables = judged(looked)
    top = held.probabilities.max(axis=0)
    inside = (top >= 13 / 15) & (top < 14 / 15)
    row = tables["reliability"].query("scores == 'raw' and bins == 'equal' and bin == 14").iloc[0]
    assert (row.pixels, row.right) == (inside.sum(), pytest.approx(held.right[inside].mean()))
    assert row.score == pytest.approx(top[inside].mean()) and row.low < row.right < row.high
    said = what_scores_mean(tables)
    assert f"A score of 87% to 93% is right in {row.right:.0%} of the pixels (95 % interval {row.low:.0%}" in said
    counts = tables["reliability"].groupby(["scores", "bins"])["pixels"].sum()
    assert counts.to_dict() == {(s, b): len(held.truth) for s in (RAW, TEMPERED) for b in (EQUAL, MASS)}
    mass = tables["reliability"].query("scores == 'raw' and bins == 'mass'")["pixels"]
    assert len(mass) == 15 and mass.max() < 1.3 * mass.min()
    assert score_table(tables)["pixels"].sum() == len(held.truth) and len(measure_table(tables)) == 2


def test_what_is_judged_was_not_fitted_on() -> None:
    looked = seen()
    fitting, held = looked.halves()
    assert not set(fitting.block) & set(held.block) and len(fitting.blocks) == len(held.blocks) == BLOCKS // 2
    assert len(fitting.truth) + len(held.truth) == len(looked.truth)
    assert np.array_equal(looked.halves()[0].blocks, fitting.blocks)
    assert not np.array_equal(replace(looked, seed=1).halves()[0].blocks, fitting.blocks)
    # The worst possible labels in the judged half change what is judged, and nothing that is fitted.
    wrong = replace(looked, truth=np.where(np.isin(looked.block, held.blocks), CLASSES - 1, looked.truth))
    tables, other = judged(looked), judged(wrong)
    assert value(tables, "temperature", TEMPERED) == value(other, "temperature", TEMPERED)
    assert value(tables, "accuracy") != value(other, "accuracy")


def test_sets_contain_the_true_class_as_often_as_they_were_made_for() -> None:
    tables = judged(seen(2.0))
    assert value(tables, "coverage") == pytest.approx(0.9, abs=0.015)
    for year in YEARS:
        assert value(tables, "coverage", over="year", scope=year) == pytest.approx(0.9, abs=0.03)
    by_class = [value(tables, "coverage_by_class", over="class", scope=name) for name in NAMES.values()]
    assert by_class == pytest.approx([0.9] * CLASSES, abs=0.03)
    blocks = tables["calibration"].query("metric == 'coverage' and over == 'block'")
    assert len(blocks) == BLOCKS // 2 and (blocks["interval"] == "none").all() and blocks["low"].isna().all()
    assert 1 < value(tables, "set_size") < CLASSES
    assert np.average(blocks["value"], weights=blocks["pixels"]) == pytest.approx(value(tables, "coverage"))


def test_one_block_is_judged_but_fits_nothing() -> None:
    tables = judged(seen(2.0, blocks=1))
    assert set(tables["reliability"]["scores"]) == {RAW} and tables["reliability"]["low"].isna().all()
    assert not {"temperature", "coverage"} & set(tables["calibration"]["metric"])
    assert "Nothing was fitted" in in_detail(tables) and "interval" not in what_scores_mean(tables)
    assert "Scores" not in what_scores_mean(tables), "one block cannot tell"
    assert confidence_figure(tables) is not None


def test_a_class_that_the_model_cannot_answer_is_wrong_and_no_temperature_is_fitted_on_it() -> None:
    looked = seen(2.0)
    lacking = looked.probabilities.copy()
    lacking[-1] = 0
    lacking /= lacking.sum(axis=0)
    without = replace(looked, probabilities=lacking, answerable=np.arange(CLASSES) < CLASSES - 1)
    tables, known = judged(without), judged(without.where(looked.truth < CLASSES - 1))
    assert value(tables, "temperature", TEMPERED) == value(known, "temperature", TEMPERED)
    assert value(tables, "accuracy") < value(known, "accuracy")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("blocks", "told"), [(2, False), (3, False), (5, False), (10, False), (12, True)])
def test_few_blocks_are_judged_without_an_interval(blocks: int, told: bool) -> None:
    """Half of the blocks are judged, and fewer than six of them cannot tell how far the figure may be off."""
    tables = judged(seen(2.0, blocks=blocks))
    over_all = tables["calibration"].query("metric in ('accuracy', 'coverage') and over == 'all'")
    assert len(over_all) == 3 and (over_all["low"].notna() == told).all() and (over_all["low"] > 0).all() == told
    assert (tables["reliability"]["interval"] == "none").all() == (not told)
    said = what_scores_mean(tables)
    assert ("interval" in said) == ("Scores are too high" in said) == told and "nan" not in said + in_detail(tables)
    assert value(tables, "temperature", TEMPERED) == pytest.approx(2, rel=0.25)
    assert confidence_figure(tables) is not None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 8.0])
def test_no_temperature_makes_an_impossible_class_possible(temperature: float) -> None:
    """At a temperature of 8, a probability of 1e-9 would be raised to 0.07."""
    looked = seen(blocks=2)
    answerable = np.arange(CLASSES) != 1
    lacking = looked.probabilities * answerable[:, None]
    lacking /= lacking.sum(axis=0)
    without = replace(looked, probabilities=lacking, answerable=answerable)
    found = without.tempered(temperature).probabilities
    assert (found[1] == 0).all() and found.sum(axis=0) == pytest.approx(1)
    np.testing.assert_allclose(found[answerable], temper(lacking[answerable], temperature))
    able = without.where(answerable[looked.truth])
    truth = np.array([0, -1, 1, 2, 3])[able.truth]
    assert able.temperature() == fit_temperature(able.probabilities[answerable], truth)


def test_pixels_without_a_true_class_count_for_the_ground_alone() -> None:
    looked = seen(outside=0.2)
    half = np.arange(len(looked.truth)) % 2 == 0
    tables, known = judged(replace(looked, truth=np.where(half, -1, looked.truth))), judged(looked.where(~half))
    assert value(tables, "ece") == value(known, "ece")
    assert value(tables, "outside") == looked.outside.mean()
    assert where_it_applies(tables).startswith("20% of the pixels")
    assert where_it_applies(None) == what_scores_mean(None) == ""


def test_where_no_pixel_has_a_class_nothing_is_said() -> None:
    looked = seen(blocks=4)
    tables = judged(looked.where(np.zeros(len(looked.truth), bool)))
    assert tables["reliability"].empty and tables["calibration"].empty
    assert what_scores_mean(tables) == where_it_applies(tables) == "" and confidence_figure(tables) is None


def test_the_old_map_is_no_ground_truth() -> None:
    tables = judged(seen(2.0), OLD_MAP)
    said = what_scores_mean(tables)
    assert "is as in the old map in" in said and said.endswith("This is judged by the old map, not by the ground.")
    assert "of the pixels are as in the old map" in said and "right" not in said
    assert "old map" not in what_scores_mean(judged(seen(2.0)))


Place = tuple[xr.Dataset, np.ndarray, xr.Dataset, mlc.Model]


class Truth:
    """Reference of one class map for all years, or of none."""

    def __init__(self, labels: np.ndarray | None) -> None:
        self.labels = labels

    def on(self, maps: xr.Dataset, legend: Legend) -> xr.DataArray | None:
        years = maps.year.values.tolist()
        return None if self.labels is None else map_of(np.stack([self.labels] * len(years)), years).chunk(y=100)


UNKNOWN = (slice(0, 128), slice(128, 256))
"""A part of the second year: a ground that no sample shows."""


@pytest.fixture(scope="module")
def place() -> Place:
    """Cube, classes, samples of both years from elsewhere, and a forest that learned from them."""
    cube, truth = landscape(300, 290)
    dn = cube.reflectance.values
    dn[1, ::2, :, *UNKNOWN], dn[1, 1::2, :, *UNKNOWN] = 9000, 1500
    cube["reflectance"] = (cube.reflectance.dims, dn)
    random, ids = np.random.default_rng(0), np.arange(truth.size).reshape(truth.shape)
    free = np.setdiff1d(ids, ids[UNKNOWN])
    drawn = []
    for year in (2018, 2019):
        at = np.sort(random.choice(free, 900, replace=False))
        labels = truth.ravel()[at]
        drawn.append(Drawn(year, Split.TRAINING, labels, at.astype(np.int64), np.zeros(900, np.uint8)))
    samples = drawing.collect(
        cube.chunk(y=64, x=64), drawn, source=SampleSource.UNCHANGED, gaps=Gaps(min_valid=2), legend=DEFAULT_LEGEND
    )
    return cube, truth, samples, mlc.fit(samples, classifier=RandomForest(trees=12), seed=0)


def judge_place(
    place: Place, chunk: int = 64, *, known: bool = True, learned: xr.Dataset | None = None
) -> dict[str, pd.DataFrame]:
    cube, truth, samples, model = place
    learned = samples if learned is None else learned
    old = np.where(np.random.default_rng(1).random(truth.shape) < 0.3, 1, truth)
    with dask.config.set(scheduler="threads", num_workers=2):
        return judge_confidence(
            cube.chunk(y=chunk, x=chunk), draw_blocks(cube, seed=3), samples, learned, model,
            product_of(old).assign_attrs(year=2019), Truth(truth if known else None), legend=DEFAULT_LEGEND, seed=3,
        )  # fmt: skip


def test_unknown_ground_is_outside_and_all_other_ground_inside(
    place: Place,
) -> None:
    tables = judge_place(place)
    planted = 128 * 128 / (300 * 290)
    usual = value(tables, "outside", over="year", scope=2018)
    assert value(tables, "outside", over="year", scope=2019) == pytest.approx(planted + (1 - planted) * usual, abs=0.02)
    assert usual < 0.08 and value(tables, "outside", over="samples") < 0.08, "whiskers leave out some of the usual"
    accuracy = [value(tables, "accuracy", over="area", scope=scope) for scope in ("inside", "outside")]
    assert accuracy[0] > 0.95 and accuracy[1] < 0.6
    assert f"{accuracy[1]:.0%} of these pixels are right, and {accuracy[0]:.0%} elsewhere" in where_it_applies(tables)
    pixels = tables["calibration"].query("metric == 'outside' and scope == 2019")["pixels"].item()
    assert abs(pixels - 300 * 290 / STEP**2) < 0.1 * 300 * 290 / STEP**2


def test_tables_do_not_depend_on_the_chunks(place: Place) -> None:
    one, two = judge_place(place), judge_place(place, chunk=300)
    for name in ("reliability", "calibration"):
        pd.testing.assert_frame_equal(one[name], two[name])
    assert (one["calibration"]["against"] == REFERENCE).all()
    assert set(one["calibration"].query("over == 'year' and metric == 'ece'")["scope"]) == {2018, 2019}


def test_without_a_reference_the_old_map_is_judged_by_in_its_own_year(
    place: Place,
) -> None:
    tables = judge_place(place, known=False)
    assert (tables["reliability"]["against"] == OLD_MAP).all()
    assert set(tables["calibration"].query("over == 'year' and metric == 'ece'")["scope"]) == {2019}
    assert set(tables["calibration"].query("metric == 'outside' and over == 'year'")["scope"]) == {2018, 2019}
    assert value(tables, "accuracy") < value(judge_place(place), "accuracy") - 0.1, "a third of the old map is wrong"


def test_no_pixel_that_was_trained_on_is_judged(place: Place) -> None:
    cube, truth, _, model = place
    every = np.arange(truth.size).reshape(truth.shape)[:64]
    drawn = [Drawn(2018, Split.TRAINING, truth[:64].ravel(), every.ravel(), np.zeros(every.size, np.uint8))]
    more = drawing.collect(cube, drawn, source=SampleSource.UNCHANGED, gaps=Gaps(min_valid=2), legend=DEFAULT_LEGEND)
    counts = [
        tables["calibration"].query("metric == 'outside' and over == 'year' and scope == 2018")["pixels"].item()
        for tables in (judge_place(place), judge_place((cube, truth, more, model)))
    ]
    assert counts[1] == pytest.approx(counts[0] * (300 - 64) / 300, rel=0.05)


def test_what_a_model_learned_elsewhere_is_known_ground(place: Place) -> None:
    """A model of two tiles: one has samples of the ground that the other lacks; only its own pixels are left out."""
    cube, truth, samples, _ = place
    ids = np.arange(truth.size).reshape(truth.shape)[UNKNOWN].ravel()[::20]
    drawn = [Drawn(2019, Split.TRAINING, truth.ravel()[ids], ids, np.zeros(ids.size, np.uint8))]
    parts = {"source": SampleSource.UNCHANGED, "gaps": Gaps(min_valid=2), "legend": DEFAULT_LEGEND}
    sets = [own.assign_attrs(notes=[]) for own in (samples, drawing.collect(cube, drawn, **parts))]
    learned = drawing.pooled(*sets, tiles=["31UFS", "31UFT"])
    own, both = judge_place(place), judge_place(place, learned=learned)
    outside, known = (value(tables, "outside", over="year", scope=2019) for tables in (own, both))
    assert outside > 0.18 and known < 0.1
    counts = [t["calibration"].query("metric == 'outside' and scope == 2019")["pixels"].item() for t in (own, both)]
    assert counts[0] == counts[1]


def test_the_terminal_says_it_in_two_lines(valley: Path) -> None:
    tables, scores = open_tables(valley / "evaluation"), judged(seen(2.0, outside=0.1))
    console = Console(record=True, width=400)
    show_results(console, "", valley, tables, None, None, scores)
    said = console.export_text()
    assert "\nWhat a score means: A score of 87% to 93% is right in " in said and "Scores are too high" in said
    assert "\nWhere the model does not apply: 10% of the pixels" in said
    assert "right as often as it says" not in said and "unlike all training samples" not in said


def test_nothing_is_said_of_scores_where_there_is_no_sample(valley: Path) -> None:
    assert not list((valley / "evaluation").glob("reliability*"))
    assert not list((valley / "evaluation").glob("calibration*"))
    page = (valley / "report.html").read_text(encoding="utf-8")
    assert "What the scores mean" not in page and "What a score means" not in page
    assert "a score, is right as often as it says" in page and "unlike all training samples" in page
