"""Change measures against loops over pixels, and against planted change."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.change import SIZE_EDGES, change_count, change_objects, flicker, size_bins, sustained
from mlc_dask.kernels.detection import detection, tally_change
from mlc_dask.kernels.majority import majority
from mlc_dask.kernels.outcomes import OUTCOMES

series = hnp.arrays(
    np.uint8, st.tuples(st.integers(3, 6), st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 3)
)


def per_pixel(maps, measure):
    _, h, w = maps.shape
    return np.array([[measure(maps[:, i, j].tolist()) for j in range(w)] for i in range(h)], np.uint8)


def flooded(changed):
    """Objects of one mask by flood fill: a set of frozensets of pixels."""
    todo, objects = set(map(tuple, np.argwhere(changed).tolist())), set()
    while todo:
        edge, area = [todo.pop()], set()
        while edge:
            i, j = edge.pop()
            area.add((i, j))
            near = {(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)} & todo
            todo -= near
            edge += near
        objects.add(frozenset(area))
    return objects


@settings(max_examples=80, deadline=None)
@given(series)
def test_counts_equal_a_loop_over_pixels(maps):
    def changes(s):
        return sum(0 not in (a, b) and a != b for a, b in pairwise(s))

    def flickers(s):
        return sum(0 not in run and run[0] == run[2] != run[1] for run in zip(s, s[1:], s[2:], strict=False))

    def lasting(s):
        return sum(0 not in run and run[0] != run[1] == run[2] for run in zip(s, s[1:], s[2:], strict=False))

    for kernel, loop in ((change_count, changes), (flicker, flickers), (sustained, lasting)):
        assert kernel(maps).dtype == np.uint8
        np.testing.assert_array_equal(kernel(maps), per_pixel(maps, loop))


def test_the_three_patterns():
    maps = np.array([[1, 1, 1, 1, 0], [1, 2, 2, 0, 2], [1, 1, 2, 2, 3]], np.uint8)[:, None, :]
    assert change_count(maps).tolist() == [[0, 2, 1, 0, 1]]
    assert flicker(maps).tolist() == [[0, 1, 0, 0, 0]]
    assert sustained(maps).tolist() == [[0, 0, 1, 0, 0]]


def test_one_year_has_no_change():
    maps = np.ones((1, 3, 4), np.uint8)
    assert not change_count(maps).any()
    assert change_objects(maps).sizes.size == 0


@settings(max_examples=80, deadline=None)
@given(series)
def test_objects_equal_a_flood_fill(maps):
    objects = change_objects(maps)
    expected = set()
    for pair in range(len(maps) - 1):
        a, b = maps[pair], maps[pair + 1]
        expected |= {(pair, area) for area in flooded((a != b) & (a != 0) & (b != 0))}
    found = set()
    for number, (size, pair) in enumerate(zip(objects.sizes, objects.pair, strict=True), start=1):
        where = np.argwhere(objects.labels == number)
        assert len(where) == size
        assert (where[:, 0] == pair).all()
        found.add((int(pair), frozenset(map(tuple, where[:, 1:].tolist()))))
    assert found == expected
    assert objects.labels.max(initial=0) == len(objects.sizes)


@settings(max_examples=60, deadline=None)
@given(series, st.integers(0, 2**32 - 1))
def test_detection_equals_a_loop_over_objects(truth, seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 4, truth.shape).astype(np.uint8)
    maps = np.where(rng.random(truth.shape) < 0.5, truth, noise)
    edges = (1, 2, 4)

    def confirmed(found, other):
        count, pixels, hits = np.zeros(3, int), np.zeros(3, int), np.zeros(3, int)
        for pair in range(len(found) - 1):
            a, b, c, d = found[pair], found[pair + 1], other[pair], other[pair + 1]
            for area in flooded((a != b) & (a != 0) & (b != 0)):
                i = max(n for n, edge in enumerate(edges) if len(area) >= edge)
                count[i] += 1
                for p in area:
                    if c[p] and d[p]:
                        pixels[i] += 1
                        hits[i] += c[p] != d[p]
        with np.errstate(invalid="ignore"):
            return count, hits / pixels, np.float64(hits.sum()) / pixels.sum()

    result, mirrored = detection(truth, maps, edges), detection(maps, truth, edges)
    for got, expected in (
        ((result.objects, result.recall_by_size, result.recall), confirmed(truth, maps)),
        ((mirrored.objects, result.precision_by_size, result.precision), confirmed(maps, truth)),
    ):
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_allclose(x, y)


@st.composite
def cut_rasters(draw):
    """Truth and maps of large areas, divisions into blocks, and an order in which the blocks arrive."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 3)), *draw(st.tuples(st.integers(1, 24), st.integers(1, 24))))
    classes = draw(st.sampled_from([(0, 1, 2), (1, 2), (1, 1, 1, 2)]))
    truth = rng.choice(np.array(classes, np.uint8), shape)
    maps = np.where(rng.random(shape) < 0.7, truth, rng.choice(np.array(classes, np.uint8), shape))
    cuts = [sorted({0, n, *draw(st.sets(st.integers(1, max(1, n - 1)), max_size=5))}) for n in shape[1:]]
    cuts = [[c for c in own if c <= n] for own, n in zip(cuts, shape[1:], strict=True)]
    blocks = [(*rows, *columns) for rows in pairwise(cuts[0]) for columns in pairwise(cuts[1])]
    return truth, maps, draw(st.permutations(blocks)), rng


@settings(max_examples=150, deadline=None)
@given(cut_rasters())
def test_objects_across_blocks_are_counted_as_in_one_array(rasters):
    truth, maps, blocks, rng = rasters
    edges = (1, 2, 4, 16, 64)
    parts = [
        tally_change(
            truth[:, top:bottom, left:right], maps[:, top:bottom, left:right],
            row=top, column=left, width=truth.shape[2], edges=edges,
        )
        for top, bottom, left, right in blocks
    ]  # fmt: skip
    while len(parts) > 1:
        parts.append(parts.pop(rng.integers(len(parts))) + parts.pop(rng.integers(len(parts))))
    found, whole = parts[0].detection(), detection(truth, maps, edges)
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def test_an_area_that_is_complete_waits_for_nothing():
    truth = np.ones((2, 40, 40), np.uint8)
    truth[1, 10:14, 18:22] = 2
    left, right = (
        tally_change(truth[:, :, at], truth[:, :, at], row=0, column=at.start, width=40)
        for at in (slice(0, 20), slice(20, 40))
    )
    for waiting in (left.true.waiting, right.true.waiting):
        assert waiting[0].tolist() == [8] and waiting[1:].reshape(*OUTCOMES)[-1, -1, -1] == waiting[1:].sum() == 8
    both = left + right
    assert both.true.waiting.size == both.true.border.size == 0
    areas, pixels = both.true.by_size()
    assert areas.tolist() == [0, 1, 0, 0, 0, 0, 0] and pixels[1].sum() == pixels[1, -1, -1, -1] == 16


def planted(sides):
    """Two years of class 1; in the second, squares of class 2 with these sides, 12 pixels apart."""
    truth = np.ones((2, max(sides) + 24, sum(sides) + 12 * (len(sides) + 1)), np.uint8)
    column = 12
    for side in sides:
        truth[1, 12 : 12 + side, column : column + side] = 2
        column += side + 12
    return truth


def test_planted_squares_fall_into_their_bins_and_perfect_maps_find_all():
    sides = (1, 3, 5, 8, 11, 16, 32)
    truth = planted(sides)
    objects = change_objects(truth)
    assert sorted(objects.sizes.tolist()) == [s * s for s in sides]
    assert size_bins(np.sort(objects.sizes)).tolist() == list(range(len(SIZE_EDGES)))
    result = detection(truth, truth)
    assert result.objects.tolist() == [1] * 7
    assert result.recall_by_size.tolist() == result.precision_by_size.tolist() == [1] * 7
    assert (result.recall, result.precision) == (1, 1)


def test_a_filter_loses_small_squares_and_keeps_large_ones():
    truth = planted((1, 3, 5, 8, 11, 16, 32))
    filtered = np.stack([majority(year, 5) for year in truth])
    recall = detection(truth, filtered).recall_by_size
    # A square is kept at its centre only if it fills more than half of the 121 pixels: 8 x 8 does, 7 x 7 does not.
    assert recall[:3].tolist() == [0, 0, 0]
    assert 0 < recall[3] < recall[4] < recall[5] < recall[6] < 1


def test_false_change_lowers_precision_alone_and_a_static_map_finds_nothing():
    truth = planted((8,))
    noisy = truth.copy()
    noisy[1, 0, 0] = 3
    result = detection(truth, noisy)
    assert (result.recall, result.precision) == (1, 64 / 65)
    assert result.precision_by_size[0] == 0
    static = detection(truth, np.ones_like(truth))
    assert static.recall == 0
    assert np.isnan(static.precision)


def test_pixels_without_data_are_not_judged():
    truth = planted((8,))
    maps = truth.copy()
    maps[1, 12:16, 12:20] = 0
    result = detection(truth, maps)
    assert result.recall == 1
    assert result.objects.tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_bad_input_is_refused():
    maps = np.ones((2, 3, 3), np.uint8)
    for call in (
        lambda: flicker(maps),
        lambda: sustained(maps),
        lambda: change_count(maps[0]),
        lambda: change_count(maps.astype(int)),
        lambda: detection(maps, maps[:, :2]),
        lambda: detection(maps, maps, edges=(4, 9)),
        lambda: detection(maps, maps, edges=(1, 9, 9)),
    ):
        with pytest.raises(InputError):
            call()
