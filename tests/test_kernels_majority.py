"""Filters against one loop per window (scipy.ndimage.generic_filter)."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.majority import majority, median


def vote(window):
    """Majority of one flattened window; -1 marks pixels outside the raster."""
    centre = window[window.size // 2]
    votes = [int(v) for v in window if v > 0]
    if centre == 0:
        return 0
    counts = {c: votes.count(c) for c in votes}
    tied = {c for c, n in counts.items() if n == max(counts.values())}
    return centre if centre in tied else min(tied)


def middle(window):
    values = sorted(v for v in window if v > 0)
    return values[(len(values) - 1) // 2] if window[window.size // 2] else 0


def by_loop(labels, radius, rule):
    filtered = ndimage.generic_filter(labels.astype(np.float64), rule, size=2 * radius + 1, mode="constant", cval=-1)
    return filtered.astype(np.uint8)


maps = st.one_of(
    # Few classes give ties, many zeros give no data; the full range gives high codes.
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3)),
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 254)),
)


@settings(max_examples=80, deadline=None)
@given(maps, st.sampled_from([0, 1, 2, 3, 5, 6]))
def test_majority_equals_one_vote_per_window(labels, radius):
    before = labels.copy()
    np.testing.assert_array_equal(majority(labels, radius), by_loop(labels, radius, vote))
    np.testing.assert_array_equal(labels, before)


@settings(max_examples=80, deadline=None)
@given(maps, st.sampled_from([0, 1, 2, 3, 5, 6]))
def test_median_equals_one_sort_per_window(labels, radius):
    before = labels.copy()
    np.testing.assert_array_equal(median(labels, radius), by_loop(labels, radius, middle))
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize(("rule", "brute"), [(majority, vote), (median, middle)])
@pytest.mark.parametrize("radius", [5, 8])
def test_large_windows_count_beyond_one_byte(rule, brute, radius):
    # Radius 8 gives 289 pixels per window: votes would overflow one byte.
    rng = np.random.default_rng(3)
    labels = rng.choice(np.array([0, 1, 2, 7, 254], np.uint8), (40, 33), p=[0.1, 0.6, 0.1, 0.1, 0.1])
    np.testing.assert_array_equal(rule(labels, radius), by_loop(labels, radius, brute))


def test_ties_keep_the_centre_else_take_the_lowest_code():
    assert majority(np.array([[5, 3]], np.uint8), 1).tolist() == [[5, 3]]
    labels = np.array([[7, 2, 7], [2, 9, 5], [5, 0, 0]], np.uint8)
    assert majority(labels, 1)[1, 1] == 2


def test_no_data_neither_votes_nor_gets_a_vote():
    labels = np.array([[0, 0, 0], [0, 4, 0], [0, 0, 0]], np.uint8)
    for rule in (majority, median):
        np.testing.assert_array_equal(rule(labels, 1), labels)
        assert not rule(np.zeros((4, 4), np.uint8), 2).any()


def test_median_equals_opencv_away_from_edges_and_no_data():
    labels = np.random.default_rng(5).integers(1, 12, (64, 64)).astype(np.uint8)
    expected = cv2.medianBlur(labels, 11)
    np.testing.assert_array_equal(median(labels, 5)[5:-5, 5:-5], expected[5:-5, 5:-5])


def test_majority_does_not_depend_on_the_order_of_the_legend_where_there_is_no_tie():
    rng = np.random.default_rng(7)
    labels = np.kron(rng.integers(1, 5, (6, 6)), np.ones((9, 9), int)).astype(np.uint8)
    codes = np.array([0, 4, 2, 1, 3], np.uint8)
    same = majority(codes[labels], 2) == codes[majority(labels, 2)]
    assert same.mean() > 0.98
    assert (median(codes[labels], 2) == codes[median(labels, 2)]).mean() < same.mean()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 39), st.integers(1, 3), st.sampled_from([majority, median]))
def test_blocks_with_a_halo_give_the_whole(seed, cut, radius, rule):
    labels = np.random.default_rng(seed).integers(0, 4, (40, 11)).astype(np.uint8)
    whole = rule(labels, radius)
    top = rule(labels[: cut + radius], radius)[:cut]
    start = max(0, cut - radius)
    bottom = rule(labels[start:], radius)[cut - start :]
    np.testing.assert_array_equal(np.vstack([top, bottom]), whole)


def test_views_and_read_only_arrays_are_accepted():
    base = np.random.default_rng(0).integers(0, 4, (30, 40)).astype(np.uint8)
    view = base[::2, 1::3]
    view.flags.writeable = False
    for rule in (majority, median):
        np.testing.assert_array_equal(rule(view, 2), rule(view.copy(), 2))


def test_bad_input_is_refused():
    good = np.ones((4, 4), np.uint8)
    for labels, radius in ((good, -1), (good.astype(int), 1), (good[None], 1), (good[:0], 1)):
        for rule in (majority, median):
            with pytest.raises(InputError):
                rule(labels, radius)


def test_real_patch_and_its_time():
    labels = np.random.default_rng(0).integers(0, 12, (2560, 2560)).astype(np.uint8)
    for rule in (majority, median):
        start = time.perf_counter()
        filtered = rule(labels, 5)
        print(f"{rule.__name__} of 2560² pixels, 11 classes, radius 5: {time.perf_counter() - start:.2f} s")  # noqa: T201
        np.testing.assert_array_equal(filtered == 0, labels == 0)
