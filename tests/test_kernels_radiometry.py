"""The dark end of an acquisition: which levels reveal a wrong offset, and which do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlc_dask.kernels.radiometry import BRIGHT, FINE, MISSED, TWICE, UNKNOWN, base_level, levels, verdict
from tests.cubes import Array


def scene(*darkest: float, size: int = 60, seed: int = 0) -> Array:
    """Bands whose darkest hundredth is at `darkest`, in ten-thousandths above a zero of 1000; others are far above."""
    random = np.random.default_rng(seed)
    planes = random.integers(1500, 6000, (len(darkest), size, size)) + 1000
    for plane, level in zip(planes, darkest, strict=True):
        plane.ravel()[random.permutation(size * size)[: size * size // 50]] = 1000 + level
    return planes.astype(np.uint16)


def dark_level(dn: np.ndarray, usable: np.ndarray) -> float:
    """Low quantile of the darkest band."""
    return float(levels(dn[:, usable])[0].min())


def test_the_darkest_band_decides() -> None:
    everything = np.ones((60, 60), bool)
    assert dark_level(scene(300, 40, 900), everything) - 1000 == 40
    assert dark_level(scene(300), everything) - 1000 == 300


def test_what_is_not_usable_does_not_count() -> None:
    dn, usable = scene(500), np.ones((60, 60), bool)
    dn[:, :20] = 1
    usable[:20] = False
    assert dark_level(dn, usable) - 1000 == 500


def test_a_few_dead_pixels_decide_nothing() -> None:
    dn = scene(200)
    dn[0, 0, :10] = 1
    assert dark_level(dn, np.ones((60, 60), bool)) - 1000 == 200


def test_too_few_pixels_tell_nothing() -> None:
    usable = np.zeros((60, 60), bool)
    usable[0, :] = True
    assert verdict(dark_level(scene(100), usable)) == UNKNOWN


@pytest.mark.parametrize("level", [0, 30, 150, 400, -60])
def test_an_offset_of_a_thousand_is_seen_in_both_directions(level: int) -> None:
    everything = np.ones((60, 60), bool)
    right = scene(level)
    assert verdict(dark_level(right, everything) - 1000) == FINE
    if -50 <= level <= 150:
        assert verdict(dark_level(right + np.uint16(1000), everything) - 1000) == MISSED
    twice = np.maximum(right.astype(int) - 1000, 1).astype(np.uint16)
    assert verdict(dark_level(twice, everything) - 1000) == TWICE


@pytest.mark.parametrize("usual", [100.0, 400.0, 600.0])
def test_without_dark_pixels_the_step_between_acquisitions_tells(usual: float) -> None:
    assert verdict(usual + 150, usual) == verdict(usual - 150, usual) == FINE
    assert verdict(usual + 1000, usual) == MISSED
    assert verdict(usual - 1000, usual) == TWICE


@given(st.floats(-1000, 8000), st.floats(-1000, 8000) | st.just(float("nan")))
def test_every_level_has_one_verdict(level: float, usual: float) -> None:
    assert verdict(level, usual) in (FINE, MISSED, TWICE, BRIGHT) and verdict(float("nan"), usual) == UNKNOWN


@pytest.mark.parametrize("missed", [1, 10, 20, 35])
def test_where_nothing_is_quite_dark_the_dark_group_is_the_measure(missed: int) -> None:
    """Of 40 acquisitions with true levels of 300 to 500, up to nine tenths have an offset that they should not have."""
    levels = np.random.default_rng(missed).uniform(300, 500, 40)
    levels[:missed] += 1000
    base = base_level(levels)
    assert [verdict(level, base) for level in levels] == [MISSED] * missed + [FINE] * (40 - missed)


def test_one_that_was_applied_twice_does_not_accuse_the_others() -> None:
    levels = [400.0, 420, 380, -600, 350]
    assert [verdict(level, base_level(levels)) for level in levels] == [FINE, FINE, FINE, TWICE, FINE]


def test_where_all_is_bright_nothing_is_called_fine() -> None:
    """Pixels cannot distinguish a desert from a catalogue whose offsets were all missed."""
    levels = [1300.0, 1400, 1500, 1350]
    assert {verdict(level, base_level(levels)) for level in levels} == {BRIGHT}
    assert verdict(1400) == BRIGHT and verdict(1000) == MISSED


def test_clouds_that_the_mask_missed_are_no_offset() -> None:
    assert verdict(1800, 150) == BRIGHT


def test_without_a_level_there_is_no_base() -> None:
    assert np.isnan(base_level([float("nan"), -900]))
