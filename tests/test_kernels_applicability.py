"""The area of applicability against the numbers that CAST's formulas give for four training samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import distance

from mlc_dask.data.errors import InputError
from mlc_dask.kernels import applicability as module
from mlc_dask.kernels.applicability import applicability

FOUR = np.array([[0, 0], [1, 0], [0, 2], [3, 3]], np.float64)


def test_four_samples() -> None:
    area = applicability(FOUR, np.arange(4))
    assert round(area.mean_distance, 6) == 1.856375
    assert np.round(area.indices, 6).tolist() == [0.380907, 0.380907, 0.718246, 1.197824]
    assert round(area.threshold, 6) == 1.197824
    assert np.round(area.dissimilarity(np.array([[1, 1], [5, 5]])), 6).tolist() == [0.359123, 1.047014]
    assert area.inside(np.array([[1, 1], [5, 5], [9, 9]])).tolist() == [True, True, False]


def test_folds_weights_and_chunks_against_plain_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    samples, folds, weights = random.normal(size=(300, 6)) * 10 + 500, np.arange(300) // 50, random.random(6)
    samples[:, 3] = 7
    scaled = (samples - samples.mean(axis=0))[:, [0, 1, 2, 4, 5]] / samples.std(axis=0, ddof=1)[[0, 1, 2, 4, 5]]
    scaled *= weights[[0, 1, 2, 4, 5]]
    away = distance.cdist(scaled, scaled)
    mean = distance.pdist(scaled).mean()
    own = np.where(folds[:, None] == folds, np.inf, away).min(axis=1) / mean
    quarter, three = np.quantile(own, [0.25, 0.75])
    for rows in (1024, 7):
        monkeypatch.setattr(module, "_AT_ONCE", rows)
        area = applicability(samples, folds, weights)
        assert area.mean_distance == pytest.approx(mean) and area.indices == pytest.approx(own)
        assert area.threshold == pytest.approx(min(three + 1.5 * (three - quarter), own.max()))
        assert area.dissimilarity(samples) == pytest.approx(np.zeros(300), abs=1e-6)


def test_training_sets_without_an_area_are_refused() -> None:
    with pytest.raises(InputError, match="take smaller blocks"):
        applicability(FOUR, np.zeros(4, np.int64))
    with pytest.raises(InputError, match="give features that vary"):
        applicability(np.ones((4, 2)), np.arange(4))
