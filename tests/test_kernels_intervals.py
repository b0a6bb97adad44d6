"""Intervals of shares and exact tests against printed numbers and enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from mlc_dask.data.errors import InputError
from mlc_dask.kernels import intervals


def test_clopper_pearson() -> None:
    low, high = intervals.clopper_pearson([0, 66, 50], [50, 75, 50])
    assert np.round(low, 6).tolist() == [0, 0.784387, round(1 - 0.071122, 6)]
    assert np.round(high, 6).tolist() == [0.071122, 0.943634, 1]


@pytest.mark.parametrize("n", [1, 7, 50])
def test_both_intervals_against_scipy(n: int) -> None:
    for hits in range(n + 1):
        for own, method in ((intervals.wilson, "wilson"), (intervals.clopper_pearson, "exact")):
            other = stats.binomtest(hits, n).proportion_ci(0.9, method)
            assert np.allclose(own(hits, n, 0.9), (other.low, other.high), rtol=1e-9, atol=1e-12)


def test_no_trial_no_interval() -> None:
    assert np.isnan(intervals.wilson(0, 0)).all() and np.isnan(intervals.clopper_pearson(0, 0)).all()


def test_mcnemar() -> None:
    """Agresti's approval table 794, 150, 86, 570."""
    chi2, p = intervals.mcnemar(150, 86)
    assert (round(chi2, 6), f"{p:.4e}") == (17.355932, "3.0993e-05")
    assert f"{intervals.exact_sign(150, 86):.4e}" == "3.7159e-05"
    assert intervals.mcnemar(0, 0) == (0, 1) and intervals.exact_sign(0, 0) == 1


def test_sign_flip_by_enumeration() -> None:
    values = np.array([0.3, -0.1, 0.25, 0.4, 0.02, 0.1])
    means = [abs(np.mean(values * signs)) for signs in product((-1, 1), repeat=6)]
    assert intervals.sign_flip(values) == pytest.approx(np.mean([m >= abs(values.mean()) - 1e-12 for m in means]))


@pytest.mark.parametrize(("worlds", "p"), [(1, 1.0), (4, 0.125), (8, 2 / 256), (18, 2 / 2**18)])
def test_the_smallest_p_of_worlds_that_all_agree(worlds: int, p: float) -> None:
    assert intervals.sign_flip(np.full(worlds, 0.1)) == p
    assert intervals.sign_flip(np.zeros(worlds)) == 1


def test_sign_flips_of_too_many_worlds_are_refused() -> None:
    with pytest.raises(InputError, match="1 to 24 worlds"):
        intervals.sign_flip(np.ones(25))


def test_a_missing_difference_is_no_evidence() -> None:
    with pytest.raises(InputError, match="difference 1 is not finite"):
        intervals.sign_flip([0.1, np.nan, 0.2])


def test_holm() -> None:
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm([0.6, 0.7]).max() == 1


def test_student() -> None:
    values = [0.1, 0.3, 0.2, 0.4]
    low, high = stats.ttest_1samp(values, 0).confidence_interval()
    assert intervals.student(values) == pytest.approx((0.25, low, high))
    assert np.isnan(intervals.student([0.1])[1:]).all()
