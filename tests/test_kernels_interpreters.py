"""Agreement of two interpreters against worked numbers and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.interpreters import interpreters_agreement


def test_a_worked_table() -> None:
    """20 and 15 points alike, 5 and 10 not: agreement 0.7, by chance 0.5, so kappa 0.4."""
    first = np.repeat([1, 1, 2, 2], [20, 5, 10, 15]).astype(np.uint8)[:, None]
    second = np.repeat([1, 2, 1, 2], [20, 5, 10, 15]).astype(np.uint8)[:, None]
    found = interpreters_agreement(first, second)
    assert found.n.tolist() == [50, 50]
    assert found.share == pytest.approx([0.7, 0.7]) and found.kappa == pytest.approx([0.4, 0.4])
    assert np.array_equal(np.flatnonzero(found.differing), np.arange(20, 35))


def test_years_and_all_years_equal_sklearn() -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 5, (200, 3)).astype(np.uint8)
    second = np.where(rng.random((200, 3)) < 0.7, first, rng.integers(0, 5, (200, 3))).astype(np.uint8)
    found = interpreters_agreement(first, second)
    for year, (a, b) in enumerate([*zip(first.T, second.T, strict=True), (first.ravel(), second.ravel())]):
        both = (a > 0) & (b > 0)
        assert found.n[year] == both.sum() < a.size
        assert found.share[year] == pytest.approx((a == b)[both].mean())
        assert found.kappa[year] == pytest.approx(cohen_kappa_score(a[both], b[both]))


def test_who_cannot_tell_differs_and_is_not_counted() -> None:
    found = interpreters_agreement(np.array([[1, 0], [0, 0]], np.uint8), np.array([[1, 2], [0, 0]], np.uint8))
    assert found.n.tolist() == [1, 0, 1] and found.differing.tolist() == [True, False]
    assert found.share[0] == 1 and np.isnan(found.share[1]) and np.isnan(found.kappa).all()


def test_without_common_points_nothing_is_claimed() -> None:
    nothing = np.empty((0, 2), np.uint8)
    found = interpreters_agreement(nothing, nothing)
    assert found.n.tolist() == [0, 0, 0] and np.isnan(found.share).all() and found.differing.shape == (0,)


def test_other_points_are_refused() -> None:
    with pytest.raises(InputError, match=r"shapes \(2, 1\) and \(3, 1\)"):
        interpreters_agreement(np.ones((2, 1), np.uint8), np.ones((3, 1), np.uint8))
