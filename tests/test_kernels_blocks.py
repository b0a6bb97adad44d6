"""Intervals from blocks: sums of squares, the block bootstrap of ratios, and probability samples of blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.blocks import block_sums, bootstrap, sampled_difference, sampled_share
from mlc_dask.kernels.comparison import compare

Counts = np.ndarray


def maps(seed: int, side: int = 256, smooth: float = 6.0) -> tuple[Counts, Counts, Counts]:
    """Agreement of two maps whose errors come in patches, and the pixels that can be judged: (h, w) bool each."""
    random = np.random.default_rng(seed)
    field = [ndimage.gaussian_filter(random.normal(size=(side, side)), smooth, mode="wrap") for _ in range(3)]
    field = [f / f.std() for f in field]
    return field[0] + 0.3 * field[1] < 1.0, field[0] + 0.3 * field[2] < 1.2, random.random((side, side)) < 0.9


def counted(seed: int, side: int) -> tuple[Counts, Counts]:
    first, second, judged = maps(seed)
    parts = np.stack([block_sums(m & judged, side).ravel() for m in (first, second)])
    return parts, np.stack([block_sums(judged, side).ravel()] * 2)


def test_block_sums_by_hand_and_twice() -> None:
    values = np.arange(5 * 7).reshape(5, 7)
    sums = block_sums(values, 3)
    assert sums.shape == (2, 3) and sums[0, 0] == values[:3, :3].sum() and sums[1, 2] == values[3:, 6:].sum()
    assert np.array_equal(block_sums(block_sums(values % 2 == 0, 2), 2), block_sums(values % 2 == 0, 4))


def test_a_single_share_has_the_interval_of_scipy() -> None:
    parts = np.random.default_rng(1).integers(0, 50, (1, 60))
    wholes = np.full((1, 60), 50)
    own = bootstrap(parts, wholes, [[1]], seed=2, replicates=6000)
    for method, limits in (("percentile", (own.low, own.high)), ("BCa", (own.bca_low, own.bca_high))):
        other = stats.bootstrap((parts[0] / 50,), np.mean, n_resamples=6000, method=method, rng=3).confidence_interval
        assert np.ravel(limits) == pytest.approx([other.low, other.high], abs=0.006)
    assert own.value[0] == parts.sum() / wholes.sum() and own.blocks == 60
    assert own.se[0] == pytest.approx(np.std(parts / 50) / np.sqrt(60), rel=0.05)


def test_a_skewed_ratio_has_the_bca_interval_of_scipy() -> None:
    random = np.random.default_rng(5)
    wholes = random.lognormal(4, 1, (1, 40)).astype(np.int64) + 1
    parts = random.binomial(wholes, random.beta(8, 1, (1, 40)))
    own = bootstrap(parts, wholes, [[1]], seed=2, replicates=6000)
    data = (parts[0], wholes[0])
    other = stats.bootstrap(
        data,
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=6000,
        rng=3,
    ).confidence_interval
    assert (own.bca_low[0], own.bca_high[0]) == pytest.approx((other.low, other.high), abs=0.01)
    assert abs(own.bca_low[0] - own.low[0]) > 0.002


def test_the_difference_is_paired() -> None:
    parts, wholes = counted(0, 32)
    found = bootstrap(parts, wholes, [[1, -1], [1, 0], [0, 1]], seed=0)
    assert found.value[0] == pytest.approx(found.value[1] - found.value[2])
    assert found.se[0] < 0.7 * np.hypot(found.se[1], found.se[2])
    assert found.low[0] < found.value[0] < found.high[0] < 0
    again = bootstrap(parts, wholes, [[1, -1], [1, 0], [0, 1]], seed=0)
    assert np.array_equal(found.low, again.low) and np.array_equal(found.bca_high, again.bca_high)


def test_the_standard_error_grows_with_the_blocks_then_levels() -> None:
    se = [bootstrap(*counted(1, side), [[1, 0]], seed=0).se[0] for side in (2, 8, 32)]
    assert se[1] > 2.5 * se[0] and se[1] < se[2] < 2.5 * se[1]


def test_a_class_that_no_block_has_gives_no_estimate() -> None:
    found = bootstrap(np.zeros((2, 9), np.int64), np.array([[0] * 9, [4] * 9]), [[1, 0], [0, 1]], seed=0)
    assert np.isnan([found.value[0], found.se[0], found.low[0], found.bca_high[0]]).all() and found.value[1] == 0


@pytest.mark.parametrize(("blocks", "words"), [(1, "use smaller blocks"), (0, "use smaller blocks")])
def test_too_few_blocks_are_refused(blocks: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        bootstrap(np.ones((1, blocks), np.int64), np.ones((1, blocks), np.int64), [[1]], seed=0)
    with pytest.raises(InputError, match=r"give \(map, block\) counts"):
        bootstrap(np.ones((2, 5), np.int64), np.ones((1, 5), np.int64), [[1]], seed=0)


def test_all_blocks_are_no_sample() -> None:
    parts, wholes = counted(2, 32)
    share, both = sampled_share(parts[0], wholes[0], 64), sampled_difference(*zip(parts, wholes, strict=True), 64)
    for found in (share, both):
        assert found.se == 0 and found.low == found.value == found.high
    assert both.value == pytest.approx(bootstrap(parts, wholes, [[1, -1]], seed=0).value[0])


def test_samples_of_blocks_cover_the_whole() -> None:
    """300 samples of a quarter of the blocks: the nominal 95 % within two-sided bounds of 0.92 and 0.98."""
    parts, wholes = counted(3, 16)
    n, random = parts.shape[1], np.random.default_rng(0)
    share = parts.sum(axis=1) / wholes.sum(axis=1)
    covered = np.zeros(2)
    for _ in range(300):
        drawn = random.choice(n, n // 4, replace=False)
        one = sampled_share(parts[0, drawn], wholes[0, drawn], n)
        both = sampled_difference(*((p[drawn], w[drawn]) for p, w in zip(parts, wholes, strict=True)), n)
        covered += [one.low <= share[0] <= one.high, both.low <= share[0] - share[1] <= both.high]
    assert (covered >= 0.92 * 300).all() and (covered <= 0.98 * 300).all(), covered / 300


@pytest.mark.parametrize("n", [12, 30])
def test_intervals_of_few_blocks_are_those_of_student(n: int) -> None:
    parts, wholes = counted(1, 16)
    at = np.random.default_rng(0).choice(parts.shape[1], n, replace=False)
    found = sampled_difference(*((p[at], w[at]) for p, w in zip(parts, wholes, strict=True)), parts.shape[1])
    assert (found.high - found.low) / 2 == pytest.approx(found.se * stats.t.ppf(0.975, n - 1))


@pytest.mark.parametrize("n", [2, 3, 5, 6, 12, 30])
@pytest.mark.filterwarnings("error")
def test_few_blocks_give_a_narrow_interval_or_none(n: int) -> None:
    """Two to five blocks give no limits, and more of them limits that their differences alone decide."""
    random = np.random.default_rng(n)
    part = 9_000 + random.integers(-20, 20, (2, n))
    counts = [np.stack([own, np.full(n, 10_000)], axis=1) for own in part]
    for of in (n, n + 2, 100):
        found = compare(*counts, of)
        limits = [found.low, found.high, found.difference_low, found.difference_high]
        assert np.isnan(limits).all() == (n < 6) == (found.interval == "none")
        if n >= 6:
            assert found.low < found.estimate < found.high < found.low + 0.01
            assert found.difference_low < found.difference < found.difference_high < found.difference_low + 0.01
    empty = [np.concatenate([own, np.zeros((9, 2), np.int64)]) for own in counts]
    assert (compare(*empty, 100).interval == "none") == (n < 6), "blocks without a pixel tell nothing"


def test_the_allowance_for_blocks_that_all_agree_is_not_of_student() -> None:
    n, whole = 8, np.full(8, 100)
    same = sampled_difference((whole, whole), (whole, whole), 80)
    wide = sampled_difference((np.full(60, 100),) * 2, (np.full(60, 100),) * 2, 80 * 60 // n)
    assert same.high / wide.high == pytest.approx(60 / n), "an allowance in z, which goes with 1/n"
