"""The null smoothers against worked numbers and against all possible series of classes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mlc_dask.data.errors import InputError
from mlc_dask.kernels import smoothers

PRIOR = (0.6, 0.4)


def two_classes(*first: float) -> np.ndarray:
    """Probabilities (k, 2, 1) from those of class 0."""
    return np.array([[[p], [1 - p]] for p in first])


@pytest.mark.parametrize(
    ("epsilon", "gamma", "path"),
    [
        (0.02, [0.951482, 0.945101, 0.951894, 0.950222], "0000"),
        (0.1, [0.910716, 0.841968, 0.900151, 0.903953], "0000"),
        (0.4, [0.881460, 0.329098, 0.738917, 0.814960], "0100"),
    ],
)
def test_a_year_that_differs(epsilon: float, gamma: list[float], path: str) -> None:
    emission = smoothers.emissions(two_classes(0.9, 0.3, 0.8, 0.85), PRIOR)
    matrix = smoothers.transition(2, epsilon)
    assert np.round(smoothers.posterior(emission, matrix, PRIOR)[:, 0, 0], 6).tolist() == gamma
    assert "".join(map(str, smoothers.viterbi(emission, matrix, PRIOR)[:, 0])) == path


def test_a_clean_break_is_erased() -> None:
    emission, matrix = smoothers.emissions(two_classes(0.9, 0.8, 0.2, 0.1), PRIOR), smoothers.transition(2, 0.02)
    gamma = smoothers.posterior(emission, matrix, PRIOR)[:, 0, 0]
    assert np.round(gamma, 6).tolist() == [0.511835, 0.423306, 0.184394, 0.145796]
    assert smoothers.viterbi(emission, matrix, PRIOR)[:, 0].tolist() == [1, 1, 1, 1]


def test_against_all_series() -> None:
    random, k, classes, n = np.random.default_rng(1), 4, 3, 25
    probabilities = random.dirichlet([0.5] * classes, (k, n)).transpose(0, 2, 1)
    probabilities[1, :, :5] = 0
    prior, matrix = np.array([0.5, 0.3, 0.2]), random.dirichlet([2] * classes, classes)
    emission = smoothers.emissions(probabilities, prior)
    series = np.array(list(product(range(classes), repeat=k)))
    weights = prior[series[:, 0], None] * np.ones(n)
    for t in range(k):
        weights *= emission[t, series[:, t]]
        weights *= matrix[series[:, t - 1], series[:, t]][:, None] if t else 1
    gamma = [[weights[series[:, t] == c].sum(axis=0) / weights.sum(axis=0) for c in range(classes)] for t in range(k)]
    assert np.allclose(smoothers.posterior(emission, matrix, prior), gamma)
    assert np.array_equal(smoothers.viterbi(emission, matrix, prior), series[weights.argmax(axis=0)].T)


def test_emissions_have_a_floor_and_say_nothing_without_data() -> None:
    shares = np.array([[[255, 0], [0, 0]], [[128, 0], [128, 0]]], np.uint8)
    found = smoothers.emissions(shares, (0.5, 0.5))
    assert found[:, :, 0].tolist() == [[1, 0.01], [0.5, 0.5]] and (found[:, :, 1] == 1).all()
    assert (smoothers.emissions(np.full((1, 2, 1), np.nan), PRIOR) == 1).all()


def test_emissions_of_labels() -> None:
    found = smoothers.label_emissions(np.array([[7, 0, 3]], np.uint8), np.array([3, 7], np.uint8), [[8, 2], [1, 9]])
    # P(label | class), scaled to sum 1 over the classes.
    assert found[0, :, 0] == pytest.approx([2 / 11, 9 / 11]) and found[0, :, 2] == pytest.approx([8 / 9, 1 / 9])
    assert (found[0, :, 1] == 1).all()


@pytest.mark.parametrize("decode", ["viterbi", "posterior"])
def test_maps_of_any_shape_and_any_pixels_beside(decode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    shares = random.integers(0, 256, (5, 9, 11, 13)).astype(np.uint8)
    shares[:, :, 0, 0] = 0
    shares[2, :, 1] = 0
    codes, prior = np.arange(3, 12, dtype=np.uint8), random.dirichlet([3] * 9)
    whole = smoothers.hidden_markov(shares, prior, codes, 0.05, decode=decode)
    assert whole.shape == (5, 11, 13) and (whole[:, 0, 0] == 0).all() and (whole.reshape(5, -1)[:, 1:] >= 3).all()
    monkeypatch.setattr(smoothers, "_AT_ONCE", 1)
    assert np.array_equal(whole, smoothers.hidden_markov(shares, prior, codes, 0.05, decode=decode))
    assert (whole[1:] == whole[:-1]).mean() > 0.9 > (shares.argmax(1)[1:] == shares.argmax(1)[:-1]).mean()


def test_a_free_series_is_the_maximum_of_every_year() -> None:
    shares = np.random.default_rng(3).dirichlet([1, 1, 1], (4, 50)).transpose(0, 2, 1)
    codes = np.array([1, 2, 3], np.uint8)
    found = smoothers.hidden_markov(shares, [1 / 3] * 3, codes, 2 / 3)
    assert np.array_equal(found, codes[shares.argmax(axis=1)])


def test_wrong_planes_are_refused() -> None:
    with pytest.raises(InputError, match=r"of 3 classes; give \(year, class, y, x\)"):
        smoothers.hidden_markov(np.ones((4, 2, 5)), PRIOR, np.array([1, 2, 3], np.uint8), 0.1)


def test_simple_smoothers() -> None:
    labels = np.array([[1, 1, 1, 0], [2, 2, 0, 2], [1, 3, 1, 2], [1, 3, 2, 0]], np.uint8)
    assert smoothers.three_year_mode(labels).T.tolist() == [[1, 1, 1, 1], [1, 2, 3, 3], [1, 1, 1, 2], [0, 2, 2, 0]]
    assert smoothers.persistence(labels).T.tolist() == [[1, 1, 2, 1], [1, 1, 2, 3], [1, 1, 0, 1], [0, 0, 2, 2]]
    assert (smoothers.constant(labels, 1) == labels[1]).all() and len(smoothers.constant(labels)) == 4
    assert np.array_equal(smoothers.three_year_mode(labels[:2]), labels[:2])
