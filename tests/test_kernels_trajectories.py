"""Components of change, alternation, kinds of trajectories and intensity against printed tables and toy pixels."""

from __future__ import annotations

import numpy as np
import pytest

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.trajectories import (
    CATEGORIES,
    TYPES,
    Components,
    TrajectoryTally,
    change_categories,
    components,
    intensity,
    trajectory_types,
)


def series(*pixels: str) -> np.ndarray:
    """Pixels written as one digit a year: (k, n) uint8."""
    return np.array([[int(c) for c in pixel] for pixel in pixels], np.uint8).T


TOY = series("000", "010", "011", "012", "101", "221") + np.uint8(1)


def test_components_of_the_estimated_table_of_olofsson_2014() -> None:
    n = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    p = n / n.sum(axis=1, keepdims=True) * [[0.02], [0.015], [0.32], [0.645]]
    found = components(p)
    assert [round(x, 6) for x in (found.difference, found.quantity, found.exchange, found.shift)] == [
        0.053488,
        0.004493,
        0.044492,
        0.004503,
    ]


def test_toy_series() -> None:
    tally = TrajectoryTally.of(TOY, 4)
    steps = tally.steps.sum(axis=0)
    assert steps[1:, 1:].tolist() == [[2, 4, 0], [2, 1, 1], [0, 1, 1]]
    assert components(steps) == Components(8, 2, 6, 0)
    assert components(tally.extent) == Components(3, 2, 0, 1)
    assert tally.alternation == 5


def test_alternation_is_the_changes_of_pixels_beyond_those_of_their_ends() -> None:
    maps = np.random.default_rng(3).integers(1, 5, (6, 40, 50)).astype(np.uint8)
    own = (maps[1:] != maps[:-1]).sum() - (maps[0] != maps[-1]).sum()
    assert TrajectoryTally.of(maps, 5).alternation == own > 0


def test_types() -> None:
    found = trajectory_types(series("1111", "1121", "1122", "1212", "1232", "1231", "0102", "0000", "1202"))
    assert found.tolist() == [1, 2, 3, 4, 4, 2, 3, 0, 3]
    assert trajectory_types(series("1232", "1323", "1342")).tolist() == [4, 4, 5]
    assert len(TYPES) == 5


def test_categories() -> None:
    found = change_categories(series("1111", "1122", "1222", "1112", "1213", "1211", "0102", "0000", "1202"))
    names = ["none", *CATEGORIES]
    assert [names[code] for code in found] == [
        "stable",
        "sustained",
        "endpoint",
        "endpoint",
        "unsettled",
        "stable_flicker",
        "endpoint",
        "none",
        "endpoint",
    ]


def test_three_years_allow_no_sustained_change() -> None:
    every = np.indices((3, 3, 3)).reshape(3, -1).astype(np.uint8) + np.uint8(1)
    assert 2 not in change_categories(every) and set(change_categories(every).tolist()) == {1, 3, 4, 5}


def test_tallies_of_blocks_add_up() -> None:
    maps = np.random.default_rng(4).integers(0, 4, (5, 30, 40)).astype(np.uint8)
    whole, cut = TrajectoryTally.of(maps, 4), np.array_split(maps, 3, axis=2)
    joined = TrajectoryTally.of(cut[0], 4) + TrajectoryTally.of(cut[1], 4) + TrajectoryTally.of(cut[2], 4)
    for name in ("steps", "extent", "types", "categories"):
        assert np.array_equal(getattr(whole, name), getattr(joined, name)), name
    assert whole.types.sum() == whole.categories.sum() == 1200 and whole.types[0, 0] == (maps == 0).all(axis=0).sum()


def test_intensity() -> None:
    """The tables that `intensity.analysis` prints, nine pixels 2005-10 and 2010-12."""
    found = intensity([[[2, 2, 1], [0, 0, 2], [1, 1, 0]], [[1, 1, 1], [2, 1, 0], [1, 2, 0]]], [5, 2])
    assert np.round(100 * found.interval, 3).tolist() == [15.556, 38.889]
    assert round(100 * found.uniform, 3) == 22.222
    assert np.round(100 * found.gain, 3).tolist() == [[6.667, 20, 20], [37.5, 37.5, 50]]
    assert np.round(100 * found.loss, 3).tolist() == [[12, 20, 20], [33.333, 33.333, 50]]
    assert np.round(100 * found.targeted[:, 2], 3).tolist() == [8.571, 8.333]
    assert np.round(100 * found.transition[:, :2, 2], 2).tolist() == [[4, 20], [16.67, 0]]
    for table in ([[2, 2, 1], [0, 0, 2], [1, 1, 0]], [[1, 1, 1], [2, 1, 0], [1, 2, 0]]):
        assert components(table) == Components(7, 2, 4, 1)


def test_nothing_that_could_change_has_no_intensity() -> None:
    found = intensity([[[0, 0], [0, 5]]], [1])
    assert np.isnan(found.gain[0, 0]) and np.isnan(found.targeted[0, 1]) and found.loss[0, 1] == 0


def test_other_arrays_are_refused() -> None:
    with pytest.raises(InputError, match=r"give \(year, y, x\) uint8"):
        trajectory_types(np.ones((3, 4), np.int64))  # type: ignore[arg-type]
