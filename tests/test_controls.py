"""Controls on a sample of blocks: the same figures as whole maps, whatever the chunks, and intervals that hold."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mlc_dask as mlc
from mlc_dask import lazy
from mlc_dask.config import load_config
from mlc_dask.kernels import planting
from mlc_dask.kernels.blocks import enough_blocks
from mlc_dask.kernels.comparison import MEASURES, compare, consistency_counts, truth_counts
from mlc_dask.kernels.majority import majority
from mlc_dask.kernels.squares import PLAIN, Counted, Plan, count_square
from mlc_dask.show.report.controls import at_equal_alarms
from mlc_dask.stages.block_sample import draw_blocks
from mlc_dask.stages.controls import COLUMNS
from mlc_dask.stages.planting import PLANTED
from tests.runs import artifacts, run_all, small_world, write_config

SIZE = 300
"""Nine blocks."""


def raster(size: tuple[int, int], chunk: int) -> xr.DataArray:
    values = np.random.default_rng(3).integers(0, 200, (2, *size)).astype(np.uint8)
    coords = {"year": [2018, 2019], "y": np.arange(size[0]), "x": np.arange(size[1])}
    return xr.DataArray(values, dims=("year", "y", "x"), coords=coords).chunk({"year": 1, "y": chunk, "x": chunk})


@pytest.mark.parametrize("chunk", [7, 16, 50])
def test_windows_are_squares_of_the_raster_and_empty_beyond_it(chunk: int) -> None:
    whole = raster((40, 50), chunk)
    rows, columns = [-3, 10, 33, 0], [-2, 16, 45, 40]
    strip = lazy.windows(whole, rows, columns, side=12)
    assert strip.shape == (2, 48, 12) and strip.chunks[1:] == ((12,) * 4, (12,))
    assert set(strip.coords) == {"year"}
    padded = np.pad(whole.values, ((0, 0), (12, 12), (12, 12)))
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        expected = padded[:, row + 12 : row + 24, column + 12 : column + 24]
        np.testing.assert_array_equal(strip.values[:, 12 * i : 12 * (i + 1)], expected)


def test_windows_compute_no_block_that_they_do_not_touch() -> None:
    read: list[tuple[int, int]] = []

    def reader(rows: slice, columns: slice) -> np.ndarray:
        read.append((rows.start, columns.start))
        return np.zeros((16, 16), np.uint8)

    blocks = lazy.read_blocks(reader, leading=(), chunks=((16,) * 8, (16,) * 8), dtype=np.uint8, name="read")
    strip = lazy.windows(xr.DataArray(blocks, dims=("y", "x")), [16, 60], [32, 100], side=16)
    with dask.config.set(scheduler="sync"):
        strip.compute()
    assert sorted(read) == [(16, 32), (48, 96), (48, 112), (64, 96), (64, 112)]


def cube_of(height: int, width: int, chunk: int = 64) -> xr.Dataset:
    return xr.Dataset({"usable": (("y", "x"), dask.array.zeros((height, width), chunks=chunk, dtype=bool))})


def test_the_sample_is_the_same_for_any_chunks_and_large_enough_by_design() -> None:
    one, two = (draw_blocks(cube_of(10980, 10980, chunk), seed=4) for chunk in (512, 2560))
    pd.testing.assert_frame_equal(one, two)
    assert one["of"].unique() == [93 * 93] and len(one) == enough_blocks(93 * 93, 0.005, 0.025) == 95
    assert one["block"].is_unique and set(one["height"]) | set(one["width"]) == {118, 119}
    assert set(draw_blocks(cube_of(10980, 10980), seed=5)["block"]) != set(one["block"])
    small = draw_blocks(cube_of(512, 300), seed=4)
    assert small["block"].tolist() == list(range(12)), "a small area is judged whole"


@pytest.mark.parametrize(
    ("height", "width", "blocks"), [(100, 100, 1), (128, 128, 1), (30, 300, 3), (512, 300, 12), (177, 176, 2)]
)
def test_blocks_cover_an_area_once_and_are_about_equal(height: int, width: int, blocks: int) -> None:
    """An area of 128 pixels is one block, and not four, three of them strips of ten pixels."""
    drawn, seen = draw_blocks(cube_of(height, width), seed=0), np.zeros((height, width), int)
    for row, column, h, w in drawn[["row", "column", "height", "width"]].to_numpy():
        seen[row : row + h, column : column + w] += 1
    assert (seen == 1).all() and len(drawn) == blocks == drawn["of"].iloc[0]
    assert all(np.ptp(drawn[name]) <= 1 for name in ("height", "width"))


def test_every_block_is_drawn_equally_often() -> None:
    drawn = [draw_blocks(cube_of(1180, 1180), seed=s, half_width=0.02)["block"] for s in range(400)]
    count, share = np.bincount(np.concatenate(drawn), minlength=100), len(drawn[0]) / 100
    assert share == 0.3 and abs(count / 400 - share).max() < 4.5 * (share * (1 - share) / 400) ** 0.5


def test_counts_are_those_of_the_evaluation() -> None:
    random = np.random.default_rng(1)
    truth, maps = (random.choice([0, 1, 2, 3], (3, 40, 40), p=(0.1, 0.5, 0.3, 0.1)).astype(np.uint8) for _ in "ab")
    with_years = [xr.DataArray(a, dims=("year", "y", "x"), coords={"year": [1, 2, 3]}) for a in (maps, truth)]
    table = mlc.evaluate({("m", False): with_years[0]}, truth=with_years[1], legend=mlc.DEFAULT_LEGEND)
    counts = np.concatenate([consistency_counts(maps), truth_counts(maps, truth, successive=True)])
    overall = table.summary[table.summary.scope == "overall"].set_index("metric")["value"]
    shares = dict(zip(MEASURES, counts[:, 0] / counts[:, 1], strict=True))
    for metric in MEASURES[1:]:
        assert shares[metric] == pytest.approx(overall[metric], abs=1e-12), metric
    rows = table.agreement
    whole = rows[(rows["pair"] == "all") & (rows["class"] == "overall")]["agreement"].item()
    assert shares["agreement"] == pytest.approx(whole, abs=1e-12)
    assert truth_counts(maps, truth, successive=False)[1:].sum() == 0
    assert consistency_counts(maps[:2])[1].tolist() == [0, 0]


@cache
def area() -> tuple[np.ndarray, np.ndarray]:
    """Counts of two series in 400 blocks whose shares of errors vary together, as those of neighbouring maps do."""
    random = np.random.default_rng(8)
    whole = random.integers(800, 1000, 400)
    hard = random.beta(2, 12, 400)
    one = random.binomial(whole, 1 - hard)
    other = random.binomial(whole, 1 - 0.8 * hard)
    return np.stack([one, whole], axis=1), np.stack([other, whole], axis=1)


def test_intervals_of_a_sample_hold_the_figure_of_the_whole_area() -> None:
    one, other = area()
    true = [c[:, 0].sum() / c[:, 1].sum() for c in (one, other)]
    random, held = np.random.default_rng(0), []
    for _ in range(400):
        at = random.choice(400, 60, replace=False)
        found = compare(one[at], other[at], 400)
        assert found.interval == "sample" and found.difference < 0
        held.append(
            (found.low <= true[0] <= found.high, found.difference_low <= true[0] - true[1] <= found.difference_high)
        )
    assert (np.mean(held, axis=0) > 0.92).all() and (np.mean(held, axis=0) < 0.985).all()


def test_all_blocks_give_the_whole_figure_and_an_interval_over_space() -> None:
    one, other = area()
    found = compare(one, other, 400)
    assert found.interval == "bootstrap" and found.estimate == one[:, 0].sum() / one[:, 1].sum()
    assert found.difference_low < found.difference < found.difference_high < 0
    alone = compare(one[:1], other[:1], 1)
    assert alone.interval == "none" and np.isnan(alone.low) and alone.estimate == one[0, 0] / one[0, 1]


def square(margin: int, *, filtered: bool = False, smoothed: bool = False, right: bool = True) -> dict[str, np.ndarray]:
    """Planted change that is found in a map of class 1 everywhere, by a classifier that is always right or never."""
    donors = np.tile(np.array([1, 2, 2, 3], np.uint8), (4, 1))
    shown = donors if right else np.ones_like(donors)
    probabilities = np.stack([(shown == c) * np.uint8(100) for c in (1, 2, 3)], axis=1)
    labels = np.ones((4, 128 + 2 * margin, 128 + 2 * margin), np.uint8)
    every = np.stack([(labels == c) * np.uint8(100) for c in (1, 2, 3)], axis=1)
    prior = np.bincount([1, 2, 3], minlength=256)
    plan = Plan(np.array([7]), np.array([[128, 128]]), margin, majority, [], False, prior, donors, seed=1)
    own = Counted(filtered, smoothed, shown, probabilities if smoothed else None, np.array([1, 2, 3], np.uint8))
    rasters = {"labels": labels, "raw": labels, "old": labels[0]} | ({"probability": every} if smoothed else {})
    return {name: hits for name, (_, hits) in count_square(plan, own, rasters, 0).items()}


def test_a_block_that_is_smaller_than_its_square_counts_its_own_pixels() -> None:
    random = np.random.default_rng(0)
    labels, donors = random.integers(1, 4, (3, 80, 80)).astype(np.uint8), np.tile(np.array([1, 2, 3], np.uint8), (3, 1))
    own = Counted(True, False, donors, None, np.array([1, 2, 3], np.uint8))
    counts = []
    for height, width in ((70, 69), (70, 70)):
        plan = Plan(np.array([7]), np.array([[height, width]]), 5, majority, [], False, np.ones(256, int), donors, 1)
        whole = labels[:, : height + 10, : width + 10]
        given = [{"labels": part, "raw": part, "old": part[0]} for part in (labels, whole)]
        one, two = (count_square(plan, own, rasters, 0)[PLAIN] for rasters in given)
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True)), "the rest of the square is not judged"
        counts.append(one[0][0, 1])
    assert counts == [2 * 70 * 69, 2 * 70 * 70]


def recall(hits: np.ndarray) -> np.ndarray:
    return hits[..., 0] / hits[..., 2]


def test_planted_change_is_found_by_who_sees_it() -> None:
    """Sixteen squares of six sides; scenarios 1st year, 2nd, 2nd and 3rd, 2nd on, 3rd, 3rd on, 4th."""
    assert list(planting.scenarios(4)) == [(0, 1, 0), (1, 2, 0), (1, 3, 1), (1, 4, 2), (2, 3, 0), (2, 4, 2), (3, 4, 2)]
    hits = square(0)[PLAIN]
    assert hits.shape == (7, 6, 3) and (recall(hits) == 1).all() and (hits[..., 1] == hits[..., 0]).all()
    areas = np.square(planting.SIDES)
    assert (hits[..., 2] % areas == 0).all() and (hits[0, :, 2] > 0).all()
    assert (recall(square(0, right=False)[PLAIN]) == 0).all()


def test_a_change_that_shows_a_year_late_is_found_within_a_year() -> None:
    hits = square(0, smoothed=True)["last-year"]
    late = [i for i, (start, _, _) in enumerate(planting.scenarios(4)) if start != 3]
    assert (hits[..., 0] == 0).all() and (hits[late, :, 1] == hits[late, :, 2]).all()
    assert (hits[-1, :, 1] == 0).all(), "a change of the last year would show after it"


def test_a_filter_hides_small_squares_and_leaves_large_ones() -> None:
    found = recall(square(5, filtered=True)[PLAIN])
    assert (found[:, :3] == 0).all() and (found[:, -1] > 0.6).all() and (np.diff(found, axis=1) >= 0).all()


def test_smoothers_hide_short_change() -> None:
    hits = {name: recall(own) for name, own in square(0, smoothed=True).items()}
    short, rest = [1, 4], [3, 5]
    assert (hits["mode"][short] == 0).all() and (hits["mode"][rest] == 1).all()
    assert (hits["constant"] == 0).all() and (hits["last-year"] == 0).all()
    assert (hits["hmm-0.4"][rest] == 1).all() and (hits["hmm-0.01"][short] <= hits["hmm-0.4"][short]).all()


def test_what_is_planted_depends_on_the_block_and_the_seed_alone() -> None:
    donors = np.random.default_rng(0).integers(0, 5, (3, 60)).astype(np.uint8)
    old = np.random.default_rng(1).integers(0, 5, (128, 128)).astype(np.uint8)
    one, two = (planting.plant(donors, old, block=3, seed=9) for _ in "ab")
    assert all(np.array_equal(getattr(one, n), getattr(two, n)) for n in ("row", "column", "side", "code", "donor"))
    assert not np.array_equal(planting.plant(donors, old, block=4, seed=9).code, one.code)
    assert (old[one.row, one.column] != one.code).all() and (old[one.row, one.column] > 0).all()
    assert all((donors[year, at] == one.code).all() for year, at in enumerate(one.donor))


def test_no_square_is_cut_by_the_border_of_its_block() -> None:
    donors, old = np.full((2, 9), 2, np.uint8), np.ones((118, 119), np.uint8)
    planted = np.zeros(len(planting.SIDES), int)
    for block in range(12):
        plants = planting.plant(donors, old, block=block, seed=0)
        planted += np.bincount(plants.side, minlength=len(planted))
    squares = planted / np.square(planting.SIDES)
    assert (squares == squares.round()).all() and (squares >= 18).all()
    cell = plants.row // planting.CELL * 4 + plants.column // planting.CELL
    sizes = [(np.bincount(cell[plants.side == i])) for i in range(len(planting.SIDES))]
    assert all(set(own) <= {0, side**2} for own, side in zip(sizes, planting.SIDES, strict=True))


def test_recall_is_compared_at_equal_alarms() -> None:
    """A curve through (0.1, 0.3) and (0.3, 0.7): a model that changes 0.2 is compared with 0.5."""
    series = [("multi_year", PLAIN, 0.8, 0.6), ("single_year", PLAIN, 0.7, 0.7), ("single_year", "hmm-0.1", 0.9, 0.3),
              ("one_year", PLAIN, 0.95, 0.2), ("single_year", "mode", 0.85, 0.99)]  # fmt: skip
    who = [{"control": c, "filtered": False, "smoother": s} for c, s, _, _ in series]
    controls = pd.DataFrame(
        [{**w, "metric": "agreement", "estimate": own[2]} for w, own in zip(who, series, strict=True)]
    )
    rows = [
        {**w, "lasting": "1 year", "year": "all", "pixels": "all", "recall": own[3]}
        for w, own in zip(who, series, strict=True)
    ]
    found = at_equal_alarms(controls, pd.DataFrame(rows)).set_index("maps")
    assert found.loc["multi-year"].tolist() == pytest.approx([0.2, 0.6, 0.5])
    assert found.loc["single-year", "smoother, 1 year"] == pytest.approx(0.7)
    assert np.isnan(found.loc["one-year", "smoother, 1 year"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_world(tmp_path_factory.mktemp("world"), size=SIZE)


def done(world: Path, folder: Path, baseline: str, controls: str, patch: int = 2560, more: str = "") -> Path:
    output = folder / f"{baseline}-{controls}-{patch}"
    quoted = {"baseline": f'"{baseline}"', "controls": f'"{controls}"'}
    config = write_config(folder / "mlc.toml", world, output, f"patch = {patch}{more}", **quoted)
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(config)
    return output


def table(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / "evaluation" / "controls.csv")


@pytest.mark.slow
def test_the_sample_tells_what_whole_maps_would(world: Path, tmp_path: Path) -> None:
    """Series that are classified on the squares are, after their filter too, the maps that a run would have made."""
    whole, full = done(world, tmp_path, "whole", "paper"), done(world, tmp_path, "sample", "full", patch=128)
    one, two = table(whole), table(full)
    assert list(one) == list(COLUMNS) and set(one["control"]) == {"multi_year", "single_year"}
    assert {
        "one_year",
        "equal_samples",
        "equal_steps",
        "seed_1",
        "pooled_forest",
        "yearly_forests",
        "year_left_out",
    } <= set(two.control)
    assert {"mode", "last-year", "constant", "hmm-0.05", PLAIN} <= set(two["smoother"])
    keys = ["control", "filtered", "smoother", "metric"]
    both = one.merge(two, on=keys, suffixes=("", "_2"), validate="one_to_one")
    assert len(both) == len(one) > 20
    for column in ("estimate", "low", "difference", "difference_high"):
        np.testing.assert_allclose(both[column], both[f"{column}_2"], rtol=1e-12, equal_nan=True)
    assert set(one["interval"]) == {"bootstrap"} and one["low"].notna().all()
    summary = pd.read_csv(whole / "evaluation" / "summary.csv").query("scope == 'overall'")
    same = one[one.smoother == PLAIN].merge(
        summary, left_on=[*keys[:2], "metric"], right_on=["model", "filtered", "metric"]
    )
    assert set(same["metric"]) == set(MEASURES[1:]) and len(same) == 4 * 4
    np.testing.assert_allclose(same["estimate"], same["value"], rtol=1e-9)
    planted = [pd.read_csv(output / "evaluation" / "planted.csv") for output in (whole, full)]
    assert list(planted[0]) == list(PLANTED) and set(planted[0]["lasting"]) == {"1 year", "all remaining years"}
    both = planted[0].merge(planted[1], on=["control", "filtered", "smoother", "lasting", "year", "pixels"])
    assert len(both) == len(planted[0]) > 100
    np.testing.assert_allclose(both["recall_x"], both["recall_y"], rtol=1e-12)
    for name in ("reliability", "calibration"):
        scores = [(output / "evaluation" / f"{name}.csv").read_bytes() for output in (whole, full)]
        assert scores[0] == scores[1] and scores[0].count(b"\n") > 20, "neither patches nor controls change the scores"
    page = (full / "report.html").read_text(encoding="utf-8")
    assert "What the scores mean" in page and "A score of " in page and "unlike every training sample" in page
    assert "Planted change" in page and "HMM 0.05" in page and "smoother, 1 year" in page
    assert at_equal_alarms(one, planted[0]).empty, "there is no curve without the hidden Markov model"
    zero = one[(one.control == "multi_year") & (one.smoother == PLAIN)]
    assert (zero["difference"] == 0).all()


@pytest.mark.slow
def test_no_setting_of_the_evidence_changes_a_map_byte(world: Path, tmp_path: Path) -> None:
    optional = "\n[maps]\nprobabilities = true\nentropy = true\nmargin = true"
    outputs = [done(world, tmp_path, "sample", "paper"), done(world, tmp_path, "none", "none", more=optional)]
    maps = [mlc.open_maps(output) for output in outputs]
    lacking = {"single_year", "single_year_filtered", "change_count_single_year"}
    assert not lacking & set(maps[0]) and set(maps[1]) - set(maps[0]) == {"probability", "entropy", "margin"}
    xr.testing.assert_identical(maps[0].load(), maps[1].drop_vars(["probability", "entropy", "margin", "class"]).load())
    assert maps[1].probability.dims == ("year", "class", "y", "x")
    assert [len(artifacts(o, "single-year")) for o in outputs] == [0, 0]
    models = [set(mlc.open_models(artifacts(o, "models")[0])) for o in outputs]
    assert models == [{"multi-year", "2018", "2019", "2020"}, {"multi-year"}]
    assert table(outputs[0]).shape[0] and not (outputs[1] / "evaluation" / "controls.csv").exists()
    assert [(o / "evaluation" / "reliability.csv").exists() for o in outputs] == [True, False]
    page = [(o / "report.html").read_text(encoding="utf-8") for o in outputs]
    assert ["only smoother?" in text for text in page] == [True, False]
    config = load_config(tmp_path / "mlc.toml")
    assert mlc.export_maps(config.output, tmp_path / "exported").exists()
    written = {path.name for path in (tmp_path / "exported").rglob("*_2018.tif")}
    assert {"entropy_2018.tif", "margin_2018.tif"} <= written and "probability_2018.tif" not in written
