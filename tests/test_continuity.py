"""A class that changed as a whole: the old map's year is the anchor, and what changed is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr

import mlc_dask as mlc
from mlc_dask.classifiers import LSTM, RandomForest
from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.data.schema import CUBE_DIMS
from mlc_dask.io.old_map import year_of
from mlc_dask.kernels.applicability import unlike
from mlc_dask.kernels.clusters import ClassClusters, fit_clusters
from mlc_dask.kernels.continuity import (
    DOUBTED,
    Verdict,
    change_magnitude,
    common_offset,
    continuity,
    farthest_unchanged,
    typical,
)
from mlc_dask.show.report import figures
from mlc_dask.show.report.evidence import _alerts, alerts, unjudged
from mlc_dask.stages import annual_training
from mlc_dask.stages.annual_training import select_reliable_samples
from mlc_dask.stages.continuity import anchor_in_words, anchor_year, doubts, in_words
from mlc_dask.stages.drift import GROUND, watch_drift
from mlc_dask.stages.judge import judge_of, kept_shares, kept_witnesses
from mlc_dask.stages.settings import Clustering, Gaps
from mlc_dask.stages.witnesses import with_good
from mlc_dask.worlds import World, write_world
from mlc_dask.worlds.changes import UPHEAVALS
from mlc_dask.worlds.landscape import make_landscape
from tests.cubes import landscape, product_of
from tests.test_benchmarks import benchmark

Floats = npt.NDArray[np.float32]
FOREST, CLEARING = (0.2, 0.8, 0.1), (0.9, 0.3, 0.6)


def pixels(*kinds: tuple[tuple[float, ...], int], seed: int = 0) -> Floats:
    """Features of so many pixels around each mean."""
    random = np.random.default_rng(seed)
    rows = [random.normal(mean, 0.02, (n, len(mean))) for mean, n in kinds]
    return np.concatenate(rows).astype(np.float32)


def clusters(*kinds: tuple[tuple[float, ...], int], seed: int = 0) -> ClassClusters:
    return fit_clusters(pixels(*kinds, seed=seed), seed=0)


GRASS = (0.85, 0.35, 0.55)
BEFORE = {1: clusters((FOREST, 800)), 2: clusters((GRASS, 800), seed=3)}
NONE = np.zeros(3)
ALL = {1: 0.95, 2: 0.9}
"""What a judge keeps where nothing changed."""


def test_the_largest_cluster_is_kept_where_it_continues_the_class() -> None:
    found = continuity(clusters((FOREST, 700), (CLEARING, 100), seed=1), 1, BEFORE, NONE, ALL)
    assert found.verdict is Verdict.SAME and found.kept == (0,) and not found.doubted
    assert found.distance < found.reach


def test_a_smaller_cluster_is_kept_where_most_of_the_class_changed() -> None:
    own = clusters((CLEARING, 700), (FOREST, 100), seed=1)
    assert own.kept == (0,)
    for judged in ({2: 0.9}, {1: 0.3, 2: 0.9}):
        found = continuity(own, 1, BEFORE, NONE, judged)
        assert found.verdict is Verdict.SWAPPED and found.kept == (1,) and found.doubted
    found = continuity(own, 1, BEFORE, NONE, ALL)
    assert found.verdict is Verdict.SAME and found.kept == (1,), "K-means drew other clusters"


def test_a_class_that_the_judge_no_longer_keeps_is_lost_whatever_its_clusters_say() -> None:
    """K-means does not separate every change: the judge has seen the old map's year only."""
    own = clusters((FOREST, 800), seed=1)
    assert continuity(own, 1, BEFORE, NONE, {1: 0.4, 2: 0.9}).verdict is Verdict.LOST
    assert continuity(own, 1, BEFORE, NONE, {1: 0.7, 2: 0.9}).verdict is Verdict.SAME
    both = fit_clusters(pixels((FOREST, 500), (CLEARING, 300), seed=1), seed=0)
    found = continuity(both, 1, BEFORE, NONE, {1: 0.2, 2: 0.9})
    assert found.doubted and found.kept == (0, 1), "what is left of it may be in any cluster"


def test_a_year_in_which_the_judge_keeps_little_of_everything_is_no_change() -> None:
    own = clusters((FOREST, 800), seed=1)
    assert continuity(own, 1, BEFORE, NONE, {1: 0.4, 2: 0.45}).verdict is Verdict.SAME


def test_a_year_unlike_the_others_is_not_another_class() -> None:
    """Away from itself, but the judge keeps it."""
    found = continuity(clusters(((0.0, 1.4, 0.0), 800), seed=1), 1, BEFORE, NONE, ALL)
    assert found.verdict is Verdict.UNLIKE and found.kept == (0,) and not found.doubted
    (note,) = in_words({2019: {1: found}}, {2019: BEFORE, 2018: BEFORE}, DEFAULT_LEGEND.coded, 2018)[1:]
    assert (
        note.startswith("2019: no cluster of {1} lies where the {1} of 2018 lies, but")
        and "95% of its pixels still look like it or did not move" in note
    )
    assert "name odd ones in acquisitions.leave_out" in note and "\n" not in note


def test_the_judge_that_keeps_as_little_of_most_classes_is_no_witness_of_a_change() -> None:
    """The year is unlike the others also where the judge keeps little of the class, and of all."""
    found = continuity(clusters(((0.0, 1.4, 0.0), 800), seed=1), 1, BEFORE, NONE, {1: 0.3, 2: 0.35})
    assert found.verdict is Verdict.UNLIKE and not found.doubted


def test_a_class_of_few_witnesses_is_not_judged() -> None:
    """Nobody said that the class is as it was: it has neither the verdict `unlike` nor the verdict `same`."""
    for own in (clusters(((0.0, 1.4, 0.0), 800), seed=1), clusters((FOREST, 800), seed=1)):
        found = continuity(own, 1, BEFORE, NONE, {2: 0.9})
        assert found.verdict is Verdict.UNJUDGED and found.judged is None and not found.doubted
    assert continuity(clusters((FOREST, 800), seed=1), 1, BEFORE, NONE, {}).verdict is Verdict.UNJUDGED
    both = clusters((CLEARING, 700), (FOREST, 100), seed=1)
    assert continuity(both, 1, BEFORE, NONE, {2: 0.9}).verdict is Verdict.SWAPPED, "clusters show it without a judge"
    grass = continuity(clusters((GRASS, 800), seed=1), 2, BEFORE, NONE, ALL)
    years = {2019: {1: found, 2: grass}, 2020: {1: found, 2: grass}}
    models = dict.fromkeys((2018, 2019), BEFORE) | {2020: {**BEFORE, 3: BEFORE[1]}}
    notes = in_words(years, models, DEFAULT_LEGEND.coded, 2018)
    assert [n.partition(":")[0] for n in notes] == [
        "{1} has fewer than 30 reliable pixels that are seen in 2018 and in 2019, 2020",
        "{3} has fewer than 30 reliable pixels that are seen in 2018 and in 2020",
    ]


def test_what_all_ground_shares_is_no_change() -> None:
    shift = np.array([0.3, -0.2, 0.1])
    moved = tuple(float(v) for v in np.array(FOREST) + shift)
    assert continuity(clusters((moved, 800), seed=1), 1, BEFORE, NONE, ALL).verdict is not Verdict.SAME
    assert continuity(clusters((moved, 800), seed=1), 1, BEFORE, shift, ALL).verdict is Verdict.SAME


@pytest.mark.parametrize("outliers", [20, 80])
def test_outliers_of_a_class_are_not_typical_of_it(outliers: int) -> None:
    """Old clearings that the old map calls forest must not teach the judge that a clearing is forest."""
    own = 200 - outliers
    features = np.concatenate([pixels((FOREST, own), (CLEARING, outliers)), pixels((GRASS, 200), seed=1)])
    labels = np.repeat(np.array([1, 2], np.uint8), 200)
    found = typical(features, labels)
    assert not found[own:200].any()
    assert found[:200].sum() == found[200:].sum() == 100
    assert typical(features[::20], labels[::20]).all(), "too few to tell"


DAYS = [40.0, 100.0, 160.0, 220.0, 280.0, 330.0]


def watched(share: float, haze: float) -> xr.Dataset:
    """Witnesses of two classes: in the second year, `share` of the first looks like bare soil, and all is brighter."""
    random = np.random.default_rng(0)
    dark, bright, soil = 600.0, 2500.0, 5000.0
    label = np.repeat(np.array([1, 2], np.uint8), 200)
    then = np.where(label == 1, dark, bright)
    now = np.where((label == 1) & (np.arange(400) % 200 < 200 * share), soil, then) * haze
    series = np.stack([then, now])[:, :, None, None] * random.uniform(0.95, 1.05, (2, 400, 6, 2))
    dn = np.rint(series + 1000).astype(np.uint16)
    dims = ("witness_year", "witness", "acquisition")
    return xr.Dataset(
        {
            "witness_dn": ((*dims, "band"), dn),
            "witness_usable": (dims, np.ones(dn.shape[:3], np.bool_)),
            "witness_label": ("witness", label),
            "witness_good": ("witness", np.ones(400, np.bool_)),
        },
        coords={"witness_year": [2018, 2019], "band": ["B04", "B11"]},
        attrs={
            "anchor": 2018, "gaps": "interpolate", "min_valid": 5, "legend": DEFAULT_LEGEND.to_dict(),
            "days": {"2018": DAYS, "2019": DAYS},
        },
    )  # fmt: skip


def kept_in_2019(own: xr.Dataset) -> dict[int, float]:
    return kept_shares(own, kept_witnesses(own, judge_of(own)))[2019]


@pytest.mark.parametrize("haze", [1.0, 1.6])
def test_the_judge_keeps_what_did_not_change_in_a_brighter_year(haze: float) -> None:
    for share in (0.0, 0.4):
        own = watched(share, haze)
        kept = kept_in_2019(own)
        assert kept[1] == pytest.approx(1 - share, abs=0.03) and kept[2] > 0.97, (share, kept)


def test_the_judge_keeps_a_class_whose_season_comes_earlier() -> None:
    """A class of 80 witnesses that turns green one date earlier did not change; one that turns into another did."""
    season, meadow, soil = [600, 800, 2500, 1500, 600, 600], [1500] * 6, [4000] * 6
    label = np.repeat(np.array([1, 2, 3], np.uint8), [80, 160, 160])
    random, own = np.random.default_rng(0), watched(0.0, 1.0)
    for now, kept in (([800, 2500, 1500, 600, 600, 600], True), (meadow, False)):
        years = [np.array([first, meadow, soil])[label - 1] for first in (season, now)]
        dn = np.rint(np.array(years)[..., None] * random.uniform(0.95, 1.05, (2, 400, 6, 2)) + 1000).astype(np.uint16)
        own = own.assign(witness_dn=(own.witness_dn.dims, dn), witness_label=("witness", label))
        found = kept_in_2019(own)
        assert (found[1] > 0.95) is kept and (found[1] < 0.05) is not kept, found
        assert found[2] > 0.95 and found[3] > 0.95


def test_the_change_magnitude_is_a_root_mean_square_of_medians() -> None:
    before = np.zeros((2, 3, 2), np.float32)
    after = before.copy()
    after[0] = [[0.3, 0.5], [0.7, 0.5], [9.0, 0.9]]
    offset = np.full((3, 2), 0.1)
    found = change_magnitude(before, after, offset)
    assert found == pytest.approx([np.sqrt((0.6**2 + 0.4**2) / 2), 0.1]), "one date of 9 is a cloud that was missed"
    labels = np.array([1] * 8 + [2, 3], np.uint8)
    own = np.array([0.9] * 8 + [0.1, 0.2], np.float32)
    assert farthest_unchanged(own, labels) == pytest.approx(0.8), "four times the median class, not the median pixel"
    assert farthest_unchanged(own / 10, labels) == 0.3 == farthest_unchanged(own[:0], labels[:0])


def test_a_change_needs_two_witnesses_and_so_does_a_sample() -> None:
    """Ground that looks different without a move, or moved and looks the same, is kept; samples are of neither."""
    own = watched(0.4, 1.0)
    judge = judge_of(own)
    then, soil = (np.full((6, 2, 1), 1000 + dn, np.uint16) for dn in (600, 5000))
    dark = np.full((6, 2, 1), 1400, np.uint16)
    assert judge.keeps(2019, then, then, 1).all() and judge.is_sure_of(2019, then, then, 1).all()
    assert not judge.keeps(2019, then, soil, 1).any() and not judge.is_sure_of(2019, then, soil, 1).any()
    assert judge.keeps(2019, soil, soil, 1).all() and not judge.is_sure_of(2019, soil, soil, 1).any()
    assert judge.calls(2019, dark, 1).all() and judge.moved(2019, then, dark).all()
    assert judge.keeps(2019, then, dark, 1).all() and not judge.is_sure_of(2019, then, dark, 1).any()


def test_what_a_class_became_is_not_the_class_where_the_old_map_was_always_wrong() -> None:
    """A third of the witnesses have always been soil; what the others became, in 2019, teaches the judge that."""
    own = watched(0.0, 1.0)
    label, dn = own.witness_label.values, own.witness_dn.values.copy()
    first = np.flatnonzero(label == 1)
    always, felled = first[::3], np.setdiff1d(first, first[::3])
    dn[:, always] = np.random.default_rng(1).integers(5700, 6300, (2, len(always), 6, 2))
    dn[1, felled[: int(0.9 * felled.size)]] = np.random.default_rng(2).integers(
        5700, 6300, (int(0.9 * felled.size), 6, 2)
    )
    own = own.assign(witness_dn=(own.witness_dn.dims, dn))
    soil = np.full((6, 2, 1), 6000, np.uint16)
    assert judge_of(own).calls(2019, soil, 1).all()
    assert not judge_of(own, {2019: {1}}).calls(2019, soil, 1).any()
    forest = np.full((6, 2, 1), 1600, np.uint16)
    assert judge_of(own, {2019: {1}}).is_sure_of(2019, forest, forest, 1).all()


def seen_as(then: npt.NDArray[np.float64], now: npt.NDArray[np.float64], label: npt.NDArray[np.uint8]) -> xr.Dataset:
    """Witnesses with one DN in each year, and 5 % of noise."""
    spread = np.random.default_rng(0).uniform(0.95, 1.05, (2, label.size, 6, 2))
    dn = np.rint(np.stack([then, now])[:, :, None, None] * spread + 1000).astype(np.uint16)
    own = watched(0.0, 1.0).drop_dims("witness")
    dims = ("witness_year", "witness", "acquisition")
    return own.assign(
        witness_dn=((*dims, "band"), dn),
        witness_usable=(dims, np.ones(dn.shape[:3], np.bool_)),
        witness_label=("witness", label),
        witness_good=("witness", np.ones(label.size, np.bool_)),
    )


LABELS = np.repeat(np.array([1, 2], np.uint8), 200)


@pytest.mark.parametrize(("first", "became"), [(600, 2600), (2500, 5000), (2500, 500), (600, 5000)])
def test_of_two_classes_one_changed_as_a_whole(first: int, became: int) -> None:
    """The median of the ground lies between them; and ground that the forest never saw is called one of both."""
    second = 1500
    then = np.where(LABELS == 1, first, second)
    own = seen_as(then, np.where(LABELS == 1, became, second), LABELS)
    kept = kept_in_2019(own)
    assert kept[1] < 0.1 and kept[2] > 0.95, kept
    for factor in (0.7, 1.4):
        hazy = seen_as(then, then * factor, LABELS)
        assert min(kept_in_2019(hazy).values()) > 0.95, "a year that is all brighter"


def test_crops_that_are_rotated_did_not_change() -> None:
    """Most of them move, but nobody can tell them before from after."""
    random = np.random.default_rng(1)
    then, now = (np.where(LABELS == 1, random.choice([500, 1500, 3000], LABELS.size), 700) for _ in "ab")
    own = seen_as(then, now, LABELS)
    judge = judge_of(own)
    moved = judge.moved(2019, *(own.witness_dn.values[i].transpose(1, 2, 0) for i in (0, 1)))
    assert moved[LABELS == 1].mean() > 0.5
    assert kept_in_2019(own)[1] > 0.9


@pytest.mark.parametrize(
    ("judged", "lost"),
    [({1: 0.0}, True), ({1: 0.7}, False), ({1: 0.02, 2: 0.02, 3: 1.0}, True), ({1: 0.5, 2: 0.5}, False)],
)
def test_a_class_is_compared_with_the_others_and_not_with_itself(judged: dict[int, float], lost: bool) -> None:
    own = clusters((FOREST, 800), seed=1)
    assert (continuity(own, 1, BEFORE, NONE, judged).verdict is Verdict.LOST) is lost


def test_rare_classes_do_not_silence_the_drift_table() -> None:
    own = followed({1: 5000.0, 2: 5500.0, 3: 5200.0}, {2: 4, 3: 4})
    (line,) = alerts(watch_drift(own, legend=DEFAULT_LEGEND))
    assert line.startswith(f"2019: {DEFAULT_LEGEND.names[1]} is no longer")


def test_the_judge_depends_on_its_witnesses_only() -> None:
    one, two = judge_of(watched(0.4, 1.2)), judge_of(watched(0.4, 1.2))
    assert one.model.digest == two.model.digest
    assert np.array_equal(one.shared[2019], two.shared[2019])


def followed(now: dict[int, float], good: dict[int, int] | None = None) -> xr.Dataset:
    """Annual samples of five classes, of which those in `now` have another DN in 2019; `good` witnesses of a class."""
    then = np.array([600.0, 1500.0, 2500.0, 400.0, 3000.0])
    later = np.array([now.get(code, value) for code, value in enumerate(then, 1)])
    label = np.repeat(np.arange(1, 6, dtype=np.uint8), 100)
    spread = np.random.default_rng(0).uniform(0.95, 1.05, (2, 500, 6, 2))
    dn = np.rint(np.stack([then[label - 1], later[label - 1]])[:, :, None, None] * spread + 1000).astype(np.uint16)
    own, dims = watched(0.0, 1.0).drop_dims("witness"), ("witness_year", "witness", "acquisition")
    number = np.arange(500) % 100
    return own.assign(
        witness_dn=((*dims, "band"), dn),
        witness_usable=(dims, np.ones(dn.shape[:3], np.bool_)),
        witness_label=("witness", label),
        witness_good=("witness", number < np.array([(good or {}).get(code, 100) for code in label.tolist()])),
        witness_x=("witness", number + 0.0),
        witness_y=("witness", label + 0.0),
        year=("sample", np.zeros(0, np.int64)),
        label=("sample", np.zeros(0, np.uint8)),
    ).assign_attrs(continuity=[])


def test_the_drift_table_names_the_classes_that_it_cannot_judge() -> None:
    drift = watch_drift(followed({1: 5000.0}, {2: 20, 3: 0}), legend=DEFAULT_LEGEND)
    rows = drift[drift.year == 2019].set_index("class")
    names = [DEFAULT_LEGEND.names[code] for code in range(1, 6)]
    assert rows.pixels[names].tolist() == [100, 20, 0, 100, 100]
    assert rows.verdict[names].tolist() == ["", Verdict.UNJUDGED, Verdict.UNJUDGED, "", ""]
    assert np.isnan(rows.kept[names[2]]) and rows.kept[names[0]] < 0.1
    (line,) = alerts(drift)
    assert line.startswith(f"2019: {names[0]} is no longer"), "what is not judged is no alarm"
    (note,) = unjudged(drift)
    assert note.startswith(f"{names[1]} (2018, 2019), {names[2]} (2018, 2019): fewer than 30 reliable pixels")


def test_without_any_witness_the_drift_table_says_so() -> None:
    drift = watch_drift(followed({1: 5000.0}, dict.fromkeys(range(1, 6), 0)), legend=DEFAULT_LEGEND)
    assert len(drift) == 10 and set(drift.verdict) == {Verdict.UNJUDGED} and not alerts(drift)
    (note,) = unjudged(drift)
    assert all(DEFAULT_LEGEND.names[code] in note for code in range(1, 6))


def test_a_place_without_a_witness_has_no_anchor_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cube, truth = landscape()
    settings = {"size": 240, "gaps": Gaps(min_valid=3), "clustering": Clustering(pixels=150, max_clusters=2)}
    said = select_reliable_samples(cube, product_of(truth, cell=20), **settings).attrs["notes"]
    assert not any("there is no anchor" in note for note in said)
    monkeypatch.setattr(
        annual_training, "with_good", lambda own, _: with_good(own, np.zeros(own.sizes["witness"], bool))
    )
    samples = select_reliable_samples(cube, product_of(truth, cell=20), **settings)
    assert samples.attrs["continuity"] == []
    (note,) = (note for note in samples.attrs["notes"] if "there is no anchor" in note)
    assert note.startswith("no class has a reliable pixel in ") and "not judged" in note


def test_in_a_year_in_which_most_classes_change_no_class_is_called_the_changed_one() -> None:
    """What all ground shares is that of the change then: a class that did not change may seem to have."""
    one = watch_drift(followed({1: 5000.0}), legend=DEFAULT_LEGEND)
    (line,) = alerts(one)
    assert "the class changed there, or the year is unlike the others" in line
    most = followed(dict.fromkeys((1, 2, 3, 4), 5000.0))
    (line,) = alerts(watch_drift(most, legend=DEFAULT_LEGEND))
    assert line.startswith("2019: most of the ground is unlike 2018 (")
    assert "cannot be told from weather or processing; look at its acquisitions first" in line
    assert min(kept_in_2019(most).values()) > 0.9, "no class alone changed"
    own = clusters((FOREST, 800), seed=1)
    assert continuity(own, 1, BEFORE, NONE, {1: 0.0, 2: 0.0}).verdict is Verdict.SAME, "no class alone loses its vote"


@pytest.mark.parametrize(
    ("year", "expected"),
    [
        (2018, "in 2018 (the year of the old map)"),
        (2012, "in 2017 (the nearest to the year of the old map, 2012)"),
        (None, "in 2017 (the year of the old map is unknown"),
    ],
)
def test_plan_says_what_the_anchor_will_do(year: int | None, expected: str) -> None:
    assert expected in anchor_in_words(year, [2017, 2018, 2019])


def test_the_common_offset_is_a_median_in_which_every_class_counts_alike() -> None:
    before = np.zeros((110, 1), np.float32)
    labels = np.array([1] * 90 + [2] * 10 + [3] * 10, np.uint8)
    after = np.where(labels == 1, 5.0, 0.25)[:, None].astype(np.float32)
    assert common_offset(before, after, labels) == pytest.approx([0.25]), "one class of three changed, the largest"
    after[:, 0] = np.nan
    assert common_offset(before, after, labels) == [0.0]


def test_kept_clusters_beside_the_dominant_one_must_continue_the_class_too() -> None:
    own = fit_clusters(pixels((FOREST, 500), (CLEARING, 300), seed=1), seed=0, min_share=0.2)
    assert own.kept == (0, 1)
    assert continuity(own, 1, BEFORE, NONE, ALL).kept == (0,)


@pytest.mark.parametrize(("year", "expected"), [(2018, 2018), (2012, 2017), (2030, 2019), (None, 2017)])
def test_the_anchor_is_the_year_nearest_to_the_old_map(year: int | None, expected: int) -> None:
    assert anchor_year(year, [2017, 2018, 2019]) == expected


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("U2018_CLC2018_V2020_20u1.tif", 2018), ("CLC_2012.tif", 2012), ("g100_clc12_V18_5.tif", None),
        ("ESA_WorldCover_10m_2021_v200_N45E009_Map.tif", 2021), ("landcover_2019.tif", None),
    ],
)  # fmt: skip
def test_names_of_old_maps_tell_their_year(name: str, year: int | None) -> None:
    assert year_of(name) == year


def test_ground_unlike_every_sample() -> None:
    random = np.random.default_rng(0)
    samples = random.normal(0, 1, (600, 5)).astype(np.float32)
    others = np.concatenate([random.normal(0, 1, (100, 5)), random.normal(9, 0.1, (40, 5))]).astype(np.float32)
    found = unlike(samples, np.arange(600) % 7, others)
    assert found[100:].all() and found[:100].mean() < 0.1
    assert not unlike(samples, np.zeros(600, np.int64), others).any(), "one square cannot tell"


def test_upheavals_change_the_share_of_the_class_that_is_asked_for() -> None:
    for name, (before, _) in UPHEAVALS.items():
        land, code = make_landscape(World(size=128, seed=2, upheaval=name)), DEFAULT_LEGEND.code(before)
        of_class = land.truth(0) == code
        gone = of_class & (land.truth(1) != code)
        assert 0.7 < gone.sum() / of_class.sum() <= 1, name
        assert {c.event for c in land.changes} >= {name}
    with pytest.raises(InputError, match="did you mean 'felled'"):
        make_landscape(World(size=64, upheaval="feled"))


def test_the_report_shows_the_place_of_a_change_in_both_years() -> None:
    drift = pd.DataFrame(
        {
            "year": [2018, 2019, 2020, 2020],
            "class": ["Conifers", "Conifers", "Conifers", GROUND],
            "words": ["", "2019: Conifers is no longer", "2020: Conifers is no longer", "2020: 20% of the ground"],
            "places": ["", "95.0 905.0; 105.0 895.0", "95.0 905.0", ""],
        }
    )
    first, *others = _alerts(drift, 2018)
    assert (first.before, first.year, first.places.tolist()) == (2018, 2019, [[95, 905], [105, 895]])
    assert [len(one.places) for one in others] == [0, 0], "a class is shown once"
    cube = series(lambda year: 1500 if year == 2018 else 3000)
    figure = figures.place(cube, 2018, 2019, first.places)
    assert figure is not None
    before, after = figure.axes
    assert before.get_xlim() == after.get_xlim() == (0, 400) and before.get_ylim() == (600, 1000)
    assert before.lines[0].get_xydata().tolist() == [[95, 905], [105, 895]]
    dark, bright = (axis.images[0].get_array().mean() for axis in (before, after))
    assert dark < 0.1 < 0.9 < bright, "one stretch for both years"
    assert figures.place(cube, 2018, 2019, others[0].places) is None
    assert figures.place(cube.isel(band=[0]), 2018, 2019, first.places) is None


def series(dn: Callable[[int], int]) -> xr.Dataset:
    """Cube of 100 × 100 pixels of 10 m and two dates in each of three years; one DN per year."""
    years = [2018, 2019, 2020]
    values = np.array([dn(y) for y in years], np.uint16)[:, None, None, None, None]
    dates = np.array([[f"{y}-05-01", f"{y}-07-10"] for y in years], "datetime64[ns]")
    return xr.Dataset(
        {
            "reflectance": (CUBE_DIMS, np.broadcast_to(values, (3, 2, 3, 100, 100))),
            "usable": (("year", "acquisition", "y", "x"), np.ones((3, 2, 100, 100), np.bool_)),
        },
        coords={
            "year": years,
            "band": ["B04", "B03", "B02"],
            "time": (("year", "acquisition"), dates),
            "y": 995.0 - 10 * np.arange(100),
            "x": 5.0 + 10 * np.arange(100),
        },
    )


CONFIG = """
output = "out"
[source]
kind = "geotiff"
folder = "world/acquisitions"
[product]
path = "world/product/corine.tif"
year = 2018
[acquisitions]
per_year = 16
max_days_apart = 12
"""
WORLD = World(size=256, seed=1, upheaval="felled", variety=0.3)


@pytest.fixture(scope="module")
def felled(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.DataArray]:
    """Cube and old map of a world in which most conifers are felled in 2019."""
    folder = tmp_path_factory.mktemp("felled")
    write_world(folder / "world", WORLD)
    (folder / "c.toml").write_text(CONFIG, encoding="utf-8")
    made = {e.step: e.artifact for e in mlc.run(folder / "c.toml", until="product", scheduler="current")}
    return made["cube"].open(), made["product"].open()


@dataclass(frozen=True)
class Mapped:
    """Annual samples, drift table, and the share of the felled and of the unchanged pixels that change in the maps."""

    samples: xr.Dataset
    drift: pd.DataFrame
    recall: float
    false: float


def mapped(cube: xr.Dataset, product: xr.DataArray, anchor: Literal["product-year", "none"]) -> Mapped:
    clustering = Clustering(pixels=3000, max_clusters=5, anchor=anchor)
    samples = mlc.select_reliable_samples(cube, product, size=3000, min_per_class=100, clustering=clustering)
    forests = mlc.fit_per_year(samples, classifier=RandomForest(trees=50))
    unchanged = mlc.unchanged_areas(mlc.classify(cube, forests), product, samples)
    training = mlc.sample_unchanged(
        cube, product, unchanged, samples, train=3000, validation=1000, min_per_class=60, block=32
    )
    lstm = LSTM(layers=1, hidden=48, dropout=0.0, batch=128, epochs=12)
    maps = mlc.classify(cube, mlc.fit(training, classifier=lstm)).label.values
    land, conifers = make_landscape(WORLD), DEFAULT_LEGEND.code("Conifers")
    then, now, changed = land.truth(0), land.truth(1), maps[0] != maps[1]
    gone = (then == conifers) & (now != conifers)
    drift = watch_drift(samples, legend=DEFAULT_LEGEND)
    return Mapped(samples, drift, float(changed[gone].mean()), float(changed[then == now].mean()))


@pytest.mark.slow
def test_the_maps_show_a_class_that_was_felled_in_one_year(felled: tuple[xr.Dataset, xr.DataArray]) -> None:
    """Kind: a map that hides a clear-cut. Without an anchor no map says so."""
    anchored, paper = mapped(*felled, "product-year"), mapped(*felled, "none")
    assert paper.recall < 0.3 and anchored.recall >= 0.8
    assert anchored.false <= paper.false + 0.05
    conifers = DEFAULT_LEGEND.code("Conifers")
    assert {year for year, own in doubts(anchored.samples).items() if conifers in own} == {2019, 2020}
    notes = map(DEFAULT_LEGEND.in_words, anchored.samples.attrs["notes"])
    assert any("2019" in note and "Conifers" in note for note in notes)
    row = anchored.drift[(anchored.drift.year == 2019) & (anchored.drift["class"] == "Conifers")].iloc[0]
    assert row.verdict in DOUBTED and row.kept < 0.5 and len(row.places.split(";")) > 50
    said = alerts(anchored.drift)
    assert any("2019: Conifers is no longer what it was in 2018" in line and "look at (" in line for line in said)
    assert doubts(paper.samples) == {}
    assert any("Conifers" in line for line in alerts(paper.drift)), "the drift is reported without an anchor, too"
    assert set(anchored.drift[anchored.drift["class"] == GROUND].year) == {2018, 2019, 2020}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dried", "built over"])
def test_the_maps_show_other_classes_that_change_in_one_year(kind: str, tmp_path: Path) -> None:
    """Kind: a map that hides a clear-cut; a world of the benchmark, whose mean over eight is in docs/evidence.md."""
    clear_cut = benchmark("clear_cut")
    place = clear_cut.place_of(kind, 2, tmp_path)
    anchored, paper = (
        clear_cut.judged(place, clear_cut.mapped(place.cube, place.product, anchor, clear_cut.WORLDS), kind)
        for anchor in ("product-year", "none")
    )
    assert paper["recall"] < 0.7 and anchored["recall"] >= 0.8
    assert anchored["inside"] < 0.05 < paper["inside"], "unchanged areas are judged by forests that did not learn it"
    assert anchored["false"] <= paper["false"] + 0.05
