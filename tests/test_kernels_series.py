"""Distinct series of a block, and how nearly another series shows a change, against loops over pixels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.detection import detection, found_share
from mlc_dask.kernels.outcomes import DURATIONS, OUTCOMES, TIMES, outcomes
from mlc_dask.kernels.series import distinct


@pytest.mark.parametrize(("years", "classes"), [(1, 3), (3, 12), (9, 4), (70, 3)])
def test_distinct_series_are_those_of_the_pixels(years: int, classes: int) -> None:
    """Few years go through a table of counts, more through sorting, and many through numbers given anew."""
    maps = np.random.default_rng(years).integers(0, classes, (years, 31, 47)).astype(np.uint8)
    maps[:, :20] = maps[:, :1, :1]
    found = distinct(maps, classes)
    seen = Counter(map(tuple, maps.reshape(years, -1).T.tolist()))
    assert dict(zip(map(tuple, found.labels.T.tolist()), found.pixels.tolist(), strict=True)) == seen


def test_distinct_series_of_many_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.random.default_rng(0).integers(0, 5, (3, 40, 50)).astype(np.uint8)
    whole = distinct(maps, 5)
    monkeypatch.setattr("mlc_dask.kernels.series._SLICE", 300)
    cut = distinct(maps, 5)
    assert np.array_equal(whole.labels, cut.labels) and np.array_equal(whole.pixels, cut.pixels)


def test_a_block_without_pixels_has_no_series() -> None:
    assert distinct(np.zeros((3, 0, 5), np.uint8), 4).labels.shape == (3, 0)


def test_codes_outside_the_legend() -> None:
    with pytest.raises(InputError, match="class code 7 is not in the legend \\(codes to 4\\)"):
        distinct(np.full((2, 3, 3), 7, np.uint8), 5)


def duration(pixel: list[int], pair: int) -> str:
    """Count years in the new class, in words."""
    for years, label in enumerate(pixel[pair + 2 :], start=1):
        if label == 0:
            return "to the last year"
        if label != pixel[pair + 1]:
            return DURATIONS[min(years, 3) - 1]
    return "to the last year"


def test_change_by_time_classes_and_duration_equals_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(1)
    own, other = rng.integers(0, 4, (2, 6, 30, 40)).astype(np.uint8)
    other = np.where(rng.random(own.shape) < 0.5, own, other).astype(np.uint8)
    counts: Counter[tuple[bool, str, str]] = Counter()
    totals: Counter[str] = Counter()
    for a, b in zip(own.reshape(6, -1).T.tolist(), other.reshape(6, -1).T.tolist(), strict=True):
        judged = [all((a[s], a[s + 1], b[s], b[s + 1])) for s in range(5)]
        for t in range(5):
            if judged[t] and a[t] != a[t + 1]:
                lasting = duration(a, t)
                totals[lasting] += 1
                shown = [s for s in range(5) if judged[s] and b[s] != b[s + 1]]
                same = [s for s in shown if (b[s], b[s + 1]) == (a[t], a[t + 1])]
                for limit, time in zip((99, 2, 1, 0), TIMES, strict=True):
                    for needs, which in ((False, shown), (True, same)):
                        counts[needs, time, lasting] += any(abs(s - t) <= limit for s in which)
    found = detection(own, other).true.sum(axis=0)
    for i, lasting in enumerate(DURATIONS):
        for j, time in enumerate(TIMES, start=1):
            for needs in (False, True):
                pixels, share = found_share(found[i], same=needs, time=j)
                assert (pixels, round(share * pixels)) == (totals[lasting], counts[needs, time, lasting])
    assert min(totals.values()) > 20 and len(totals) == len(DURATIONS)


def test_three_years_have_two_durations() -> None:
    own = np.array([[1, 2, 1], [1, 2, 2], [1, 2, 3], [1, 2, 0]], np.uint8).T
    _, outcome = outcomes(own, own, 0)
    found = [DURATIONS[i] for i in np.unravel_index(outcome, OUTCOMES)[0]]
    assert found == ["1 year", "to the last year", "1 year", "to the last year"]
