"""Agreement and accuracy against scikit-learn."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.agreement import accuracy, class_counts, confusion, entropy, kappa, overall, per_class, shares

SIZE = 6


@st.composite
def map_pairs(draw):
    """Two maps with correlated classes, whose agreement is partial."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    a = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, SIZE - 1)))
    b = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, SIZE - 1)))
    keep = draw(hnp.arrays(bool, shape))
    return a, np.where(keep, a, b)


def valid(a, b):
    both = (a != 0) & (b != 0)
    return a[both], b[both]


@settings(max_examples=100, deadline=None)
@given(map_pairs())
def test_confusion_equals_sklearn(pair):
    x, y = valid(*pair)
    matrix = confusion(*pair, SIZE)
    assert matrix.dtype == np.int64
    expected = metrics.confusion_matrix(x, y, labels=range(SIZE)) if x.size else np.zeros((SIZE, SIZE))
    np.testing.assert_array_equal(matrix, expected)


@settings(max_examples=100, deadline=None)
@given(map_pairs())
def test_measures_equal_sklearn(pair):
    x, y = valid(*pair)
    assume(x.size)
    matrix, labels = confusion(*pair, SIZE), list(range(SIZE))
    undefined = {"labels": labels, "average": None, "zero_division": np.nan}
    precision, recall, f1, support = metrics.precision_recall_fscore_support(x, y, **undefined)
    result, classes = accuracy(matrix), per_class(matrix)
    np.testing.assert_allclose(result.precision, precision)
    np.testing.assert_allclose(result.recall, recall)
    np.testing.assert_allclose(result.f1, f1)
    np.testing.assert_allclose(classes.agreement, recall)
    np.testing.assert_allclose(classes.reverse, precision)
    np.testing.assert_array_equal(classes.n, support)
    held = np.union1d(x, y)
    iou = metrics.jaccard_score(x, y, labels=held, average=None)
    np.testing.assert_allclose(classes.iou[held], iou)
    assert np.isnan(np.delete(classes.iou, held)).all()
    assert result.macro_f1 == pytest.approx(metrics.f1_score(x, y, labels=held, average="macro", zero_division=0))
    assert result.overall == overall(matrix) == pytest.approx(metrics.accuracy_score(x, y))


@settings(max_examples=100, deadline=None)
@given(map_pairs())
def test_kappa_equals_sklearn(pair):
    x, y = valid(*pair)
    assume(len(np.union1d(x, y)) > 1)
    assert kappa(confusion(*pair, SIZE)) == pytest.approx(metrics.cohen_kappa_score(x, y), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(map_pairs(), st.integers(0, 9))
def test_matrices_of_blocks_add_up(pair, row):
    a, b = pair
    np.testing.assert_array_equal(
        confusion(a[:row], b[:row], SIZE) + confusion(a[row:], b[row:], SIZE), confusion(a, b, SIZE)
    )


def test_matrices_of_slices_add_up():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, SIZE, (2, 1100, 1000)).astype(np.uint8)
    x, y = valid(a, b)
    np.testing.assert_array_equal(confusion(a, b, SIZE), metrics.confusion_matrix(x, y, labels=range(SIZE)))


def test_a_constant_map_agrees_fully_and_means_nothing():
    labels = np.full((5, 5), 3, np.uint8)
    matrix = confusion(labels, labels, SIZE)
    assert overall(matrix) == 1
    assert np.isnan(kappa(matrix))
    assert entropy(class_counts(labels, SIZE)) == 0


def test_nothing_to_compare_is_not_a_number():
    matrix = confusion(np.zeros((3, 3), np.uint8), np.ones((3, 3), np.uint8), SIZE)
    assert not matrix.any()
    assert np.isnan([overall(matrix), kappa(matrix), accuracy(matrix).macro_f1, entropy(matrix.sum(axis=0))]).all()
    assert np.isnan(shares(matrix.sum(axis=0))).all()


@given(hnp.arrays(np.uint8, (7, 5), elements=st.integers(0, SIZE - 1)))
def test_shares_and_entropy_of_one_map(labels):
    assume(labels.any())
    counts = class_counts(labels, SIZE)
    assert counts.tolist() == [0] + [int((labels == c).sum()) for c in range(1, SIZE)]
    assert shares(counts).sum() == pytest.approx(1)
    assert entropy(counts) == pytest.approx(stats.entropy(counts, base=2), abs=1e-12)


def test_foreign_codes_and_shapes_are_refused():
    labels = np.full((2, 2), 6, np.uint8)
    with pytest.raises(InputError, match="class code 6 is not in the legend"):
        confusion(labels, labels, SIZE)
    with pytest.raises(InputError, match="do not coincide"):
        confusion(labels, labels[:1], SIZE)
