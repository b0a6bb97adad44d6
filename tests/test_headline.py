"""The headline of a report: map series are called by their name, and what is missing is said to be missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mlc_dask as mlc
from mlc_dask.kernels.majority import majority
from mlc_dask.kernels.smoothers import three_year_mode
from mlc_dask.show.report.headline import headline
from mlc_dask.stages.evaluation import TABLES, Evaluation

YEARS = list(range(2018, 2024))
SIDE = 120


def on_grid(labels: np.ndarray) -> xr.DataArray:
    years, height, width = labels.shape
    coords = {"year": YEARS[:years], "y": 5_000_000 - 10.0 * np.arange(height), "x": 500_000 + 10.0 * np.arange(width)}
    array = xr.DataArray(labels.astype(np.uint8), dims=("year", "y", "x"), coords=coords)
    return array.rio.write_crs("EPSG:32632").chunk(y=50, x=70)


def squares(rng: np.random.Generator, side: int, choices: int) -> np.ndarray:
    """Random numbers in squares: (SIDE, SIDE)."""
    small = rng.integers(0, choices, (-(-SIDE // side),) * 2)
    return np.kron(small, np.ones((side, side), int))[:SIDE, :SIDE]


@pytest.fixture(scope="module")
def world() -> dict[str, np.ndarray]:
    """The truth, with changes of one year and lasting ones, in squares of 2 and of 12 pixels, and maps of it."""
    rng = np.random.default_rng(0)
    truth = np.repeat((1 + squares(rng, 12, 4))[None], len(YEARS), axis=0)
    for year in range(1, len(YEARS)):
        for side in (2, 12):
            changed = squares(rng, side, 60)
            truth[year:][:, changed == 0] = truth[year][changed == 0] % 4 + 1
            if year < len(YEARS) - 1:
                truth[year][changed == 1] = truth[year][changed == 1] % 4 + 1
    truth = truth.astype(np.uint8)
    own = np.where(rng.random(truth.shape) < 0.06, rng.integers(1, 5, truth.shape), truth).astype(np.uint8)
    shuffled = np.stack([rng.permutation(plane.ravel()).reshape(plane.shape) for plane in own])
    return {
        "truth": truth,
        "own": own,
        "constant": np.repeat(own[:1], len(YEARS), axis=0),
        "shuffled": shuffled,
        "smoothed": three_year_mode(own),
        "moved": np.roll(own, (31, 47), axis=(1, 2)),
        "filtered": np.stack([majority(plane, 11) for plane in own]),
    }


def judged(world: dict[str, np.ndarray], *, truth: bool, **series: str) -> Evaluation:
    """Evaluate series of the world, each under a name that says nothing of its kind."""
    maps = {(name, False): xr.Dataset({"label": on_grid(world[kind])}) for name, kind in series.items()}
    return mlc.evaluate(maps, truth=on_grid(world["truth"]) if truth else None, legend=mlc.DEFAULT_LEGEND)


def kinds(tables: Evaluation) -> dict[str, str]:
    """Sentence on each series by its name."""
    return dict(sentence.split(": ", 1) for sentence in headline(tables).kinds)


SERIES = {"a": "constant", "b": "shuffled", "c": "truth", "d": "smoothed", "e": "own", "f": "moved", "g": "filtered"}


def test_every_kind_of_maps_is_called_by_its_name(world: dict[str, np.ndarray]) -> None:
    said = kinds(judged(world, truth=True, **SERIES))
    assert said["A"].startswith("constant;")
    assert said["B"].startswith("shuffled; pixels agree from year to year no better than by chance")
    assert said["C"].startswith("the reference itself")
    assert said["D"].startswith("smoothed over time; they find ")
    assert said["E"].startswith("restless; they change in ")
    assert said["F"].startswith("shuffled; pixels agree with the reference no better than by chance")
    assert said["G"].startswith("coarse; they find ")


def test_without_a_reference_only_the_constant_and_the_shuffled_are_told(world: dict[str, np.ndarray]) -> None:
    tables = judged(world, truth=False, **SERIES)
    said = kinds(tables)
    assert said["A"].startswith("constant;") and said["B"].startswith("shuffled;")
    for name in "CDEFG":
        assert "no reference tells" in said[name], name
    assert any("there is no reference" in what for what in headline(tables).untested)


def test_the_figures_in_the_sentences_are_those_of_the_tables(world: dict[str, np.ndarray]) -> None:
    maps = {
        ("multi_year", True): world["filtered"], ("multi_year", False): world["own"],
        ("single_year", False): np.where(world["own"] == world["truth"], world["own"], world["shuffled"]),
    }  # fmt: skip
    series = {who: xr.Dataset({"label": on_grid(labels)}) for who, labels in maps.items()}
    tables = mlc.evaluate(series, truth=on_grid(world["truth"]), legend=mlc.DEFAULT_LEGEND)
    answers = headline(tables).answers
    own, single = (float((labels == world["truth"]).mean()) for labels in (world["own"], maps["single_year", False]))
    more = "more" if own > single else "less"
    assert f"{more} accuracy ({own:.3f} against {single:.3f})" in answers["What the model gains"]
    true = world["truth"][1:] != world["truth"][:-1]
    shown = [(world[kind][1:] != world[kind][:-1]) & true for kind in ("filtered", "own")]
    after, before = (one.sum() / true.sum() for one in shown)
    cost = answers["What either costs in change found"]
    assert f"With the filter, {after:.0%} instead of {before:.0%} of the true change found" in cost
    assert "smoother does as well" not in " ".join(answers), "nothing is said of what was not tested"
    assert any("null smoother" in what for what in headline(tables).untested)


def test_controls_answer_with_intervals(world: dict[str, np.ndarray]) -> None:
    tables = judged(world, truth=True, multi_year="own")
    columns = [
        "control",
        "filtered",
        "smoother",
        "metric",
        "estimate",
        "difference",
        "difference_low",
        "difference_high",
    ]
    rows = [
        ("single_year", False, "none", "agreement", 0.85, -0.051, -0.060, -0.042),
        ("single_year", False, "none", "accuracy", 0.91, -0.002, -0.006, 0.003),
        ("single_year", False, "none", "change_recall", 0.6, 0.05, 0.02, 0.08),
        ("single_year", False, "none", "change_precision", 0.2, -0.01, -0.03, 0.01),
        ("single_year", False, "mode", "accuracy", 0.95, 0.011, 0.004, 0.018),
        ("single_year", False, "hmm-0.05", "accuracy", 0.94, 0.001, -0.006, 0.008),
        ("single_year", False, "mode", "change_recall", 0.21, -0.4, -0.5, -0.3),
        ("seed_1", False, "none", "agreement", 0.9, 0.0, -0.001, 0.001),
    ]
    controls = pd.DataFrame(rows, columns=columns)
    found = headline(tables, controls)
    gains = found.answers["What the model gains"]
    assert "more agreement between years (+0.051, 95 % interval +0.042 to +0.060)" in gains
    assert "no clear difference in accuracy (+0.002, 95 % interval -0.003 to +0.006)" in gains
    cost = found.answers["What either costs in change found"]
    assert "less true change found (-0.050, 95 % interval -0.080 to -0.020)" in cost
    assert "no clear difference in shown change that is true (+0.010, 95 % interval -0.010 to +0.030)" in cost
    smoother = found.answers["Whether a smoother does as well"]
    assert smoother.startswith("The best smoother of the single-year maps (mode) does better than the multi-year model")
    assert "It finds 21% of the true change." in smoother
    assert not any("seed" in what or "null smoother" in what or "intervals" in what for what in found.untested)
    assert any("equal number of samples" in what for what in found.untested)
    alone = headline(tables, controls[controls.metric == "agreement"].assign(smoother="mode"))
    assert alone.answers["Whether a smoother does as well"].startswith("Agreement alone cannot tell")
    limits = {
        (-0.04, -0.02): "does not do as well as",
        (-0.04, 0.001): "is not shown to be worse or better than",
        (0.001, 0.04): "does better than",
        (np.nan, np.nan): "cannot be told, on so few blocks, to be worse or better than",
    }
    for (low, high), words in limits.items():
        said = headline(tables, controls.assign(difference_low=low, difference_high=high)).answers
        assert f"(mode) {words} the multi-year model" in said["Whether a smoother does as well"]


def test_three_years_cannot_tell_whether_a_change_lasts(world: dict[str, np.ndarray]) -> None:
    three = {name: labels[:3] for name, labels in world.items()}
    tables = judged(three, truth=True, own="own")
    assert any("3 years have no change with two years on either side" in what for what in headline(tables).untested)
    shares = tables.trajectories[(tables.trajectories.kind == "category") & (tables.trajectories["class"] == "overall")]
    assert shares.set_index("course").pixels["sustained"] == 0 and shares.pixels.sum() == SIDE * SIDE
    six = judged(world, truth=True, own="own")
    assert not any("last" in what for what in headline(six).untested)
    assert set(TABLES) == {"agreement", "summary", "transitions", "classes", "trajectories", "changes"}
