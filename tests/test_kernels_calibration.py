"""Calibration, temperature and conformal sets against printed numbers, and on an expert's map of Dynamic World."""

from __future__ import annotations

import numpy as np
import pytest

from mlc_dask.data.errors import InputError
from mlc_dask.kernels import conformal
from mlc_dask.kernels.calibration import CalibrationTally, fit_temperature, temper
from mlc_dask.kernels.uncertainty import entropy, margin
from tests.cubes import SHARED

TILE = SHARED / "multi_year" / "dynamic_world_tile" / "dynamic_world_tile.npz"
needs_tile = pytest.mark.skipif(not TILE.is_file(), reason="the tile lies in ../shared/data, which is not here")

SMALL = np.array([[0.25, 0.20, 0.55], [0.55, 0.05, 0.40], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]]).T
TRUTH = np.array([0, 1, 2, 0])


def drawn(n: int = 4000, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (K, n) and true positions that follow them exactly."""
    random = np.random.default_rng(seed)
    p = random.dirichlet([0.7] * classes, n).T
    return p, (p.cumsum(axis=0) < random.random(n)).sum(axis=0).clip(max=classes - 1)


def test_the_example_of_torchmetrics() -> None:
    found = CalibrationTally.of(SMALL, TRUTH)
    bins = found.reliability(3)
    assert [round(x, 6) for x in (bins.ece, bins.rms, bins.worst)] == [0.2, 0.208167, 0.233333]
    assert (round(found.brier_score, 5), round(found.log_loss, 6)) == (0.63625, 1.249553)
    assert (found.accuracy, found.confidence) == (0.5, pytest.approx(0.65))


def test_blocks_add_up_to_the_last_digit() -> None:
    p, truth = drawn()
    whole = CalibrationTally.of(p, truth)
    parts = [CalibrationTally.of(p[:, i : i + 700], truth[i : i + 700]) for i in range(0, 4000, 700)]
    joined = parts[0]
    for part in reversed(parts[1:]):
        joined = part + joined
    assert np.array_equal(whole.top, joined.top) and np.array_equal(whole.classes, joined.classes)
    assert (whole.brier, whole.nll) == (joined.brier, joined.nll)


def test_measures_against_plain_formulas() -> None:
    p, truth = drawn(3000)
    found, top, right = CalibrationTally.of(p, truth), p.max(axis=0), p.argmax(axis=0) == truth
    where = np.minimum((top * 15).astype(int), 14)
    gaps = [abs(right[where == b].sum() - top[where == b].sum()) for b in range(15)]
    assert found.reliability().ece == pytest.approx(sum(gaps) / 3000, abs=1e-6)
    one_hot = np.arange(4)[:, None] == truth
    assert found.brier_score == pytest.approx(((p - one_hot) ** 2).sum(axis=0).mean(), abs=1e-6)
    assert found.log_loss == pytest.approx(-np.log(p[truth, np.arange(3000)].clip(1e-9)).mean(), abs=1e-6)
    by_class = []
    for c in range(4):
        where = np.minimum((p[c] * 15).astype(int), 14)
        by_class.append(sum(abs((truth == c)[where == b].sum() - p[c, where == b].sum()) for b in range(15)) / 3000)
    assert found.classwise_ece == pytest.approx(np.mean(by_class), abs=1e-6)


def test_bins_of_equal_mass() -> None:
    found = CalibrationTally.of(*drawn(20_000)).equal_mass(10)
    assert found.n.sum() == 20_000 and found.n.min() > 1_500 and found.n.max() < 2_500
    assert (np.diff(found.confidence) > 0).all() and found.ece < 0.02


def test_calibrated_probabilities_keep_their_temperature() -> None:
    p, truth = drawn(20_000)
    assert fit_temperature(p, truth) == pytest.approx(1, abs=0.03)
    assert fit_temperature(temper(p, 2.5), truth) == pytest.approx(1 / 2.5, rel=0.03)
    assert CalibrationTally.of(temper(p, 2.5), truth).reliability().ece > 0.1
    assert np.allclose(temper(p, 1), np.maximum(p, 1e-9), atol=1e-8)


def test_entropy_and_margin_by_hand() -> None:
    p = np.array([[0.25, 1, 0.5], [0.25, 0, 0.25], [0.25, 0, 0.125], [0.25, 0, 0.125]])
    assert entropy(p) == pytest.approx([1, 0, 1.75 / 2]) and margin(p) == pytest.approx([0, 1, 0.25])
    alone = np.ones((1, 3))
    assert entropy(alone).tolist() == [0, 0, 0] and margin(alone).tolist() == [1, 1, 1]


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"give \(class, sample\) and \(sample,\)"):
        CalibrationTally.of(SMALL, TRUTH[:3])
    for p, truth in ((SMALL * 100, TRUTH), (SMALL, TRUTH + 1), (np.full_like(SMALL, np.nan), TRUTH)):
        with pytest.raises(InputError, match="leave out no data"):
            CalibrationTally.of(p, truth)
    with pytest.raises(InputError, match="choose a divisor of 960"):
        CalibrationTally.of(SMALL, TRUTH).reliability(7)
    with pytest.raises(InputError, match="hold out a block or a year"):
        fit_temperature(SMALL[:, :0], TRUTH[:0])


@pytest.mark.parametrize(("alpha", "limit"), [(0.5, 0.75), (0.25, 0.95), (0.2, 0.95)])
def test_conformal_toy(alpha: float, limit: float) -> None:
    values = conformal.scores(SMALL, TRUTH)
    assert np.round(values, 12).tolist() == [0.75, 0.95, 0.4, 0.1]
    assert conformal.threshold(values, alpha) == pytest.approx(limit)
    assert conformal.threshold_of_counts(conformal.score_counts(values), alpha) == pytest.approx(limit)


def test_too_few_scores_give_all_classes() -> None:
    values = conformal.scores(SMALL, TRUTH)
    assert (
        conformal.threshold(values, 0.1) == conformal.threshold_of_counts(conformal.score_counts(values), 0.1) == np.inf
    )
    assert conformal.prediction_sets(SMALL, np.inf).all()


def test_counts_of_blocks_give_a_threshold_at_most_a_bin_higher() -> None:
    values = conformal.scores(*drawn())
    counts = conformal.score_counts(values[:1500]) + conformal.score_counts(values[1500:])
    for alpha in (0.5, 0.1, 0.01):
        exact = conformal.threshold(values, alpha)
        assert exact <= conformal.threshold_of_counts(counts, alpha) + 1e-12 <= exact + 1e-4 + 1e-12


def test_sets_cover_exchangeable_samples_overall_and_by_class() -> None:
    p, truth = drawn(20_000)
    held, rest = slice(None, None, 2), slice(1, None, 2)
    values = conformal.scores(p[:, held], truth[held])
    limits = conformal.thresholds_by_class(values, truth[held], 4, 0.1)
    for limit in (conformal.threshold(values, 0.1), limits):
        sets = conformal.prediction_sets(p[:, rest], limit)
        found = conformal.Coverage.of(sets, truth[rest], np.zeros(10_000, np.int64), 1)
        assert found.rate[0] == pytest.approx(0.9, abs=0.012) and found.size[0] == pytest.approx(
            sets.sum(axis=0).mean()
        )
    assert conformal.Coverage.of(sets, truth[rest], truth[rest], 4).rate == pytest.approx([0.9] * 4, abs=0.025)


def test_coverage_of_parts_adds_up_and_is_nan_without_samples() -> None:
    p, truth = drawn(1000)
    sets, group = conformal.prediction_sets(p, 0.7), np.arange(1000) % 3
    whole = conformal.Coverage.of(sets, truth, group, 4)
    parts = [conformal.Coverage.of(sets[:, s], truth[s], group[s], 4) for s in (slice(0, 300), slice(300, None))]
    joined = parts[0] + parts[1]
    for name in ("n", "covered", "members"):
        assert np.array_equal(getattr(whole, name), getattr(joined, name))
    assert np.isnan([whole.rate[3], whole.size[3]]).all() and not np.isnan(whole.rate[:3]).any()


@needs_tile
def test_dynamic_world_against_its_expert() -> None:
    with np.load(TILE) as file:
        p, expert = file["probs"].astype(np.float64), file["expert"].astype(np.int64)
    usable = (expert >= 0) & ~np.isnan(p).any(axis=0)
    found = CalibrationTally.of(np.minimum(p[:, usable], 1), expert[usable])
    assert (found.n, round(found.accuracy, 4), round(found.confidence, 4)) == (15_813, 0.8072, 0.4472)
    assert (round(found.reliability().ece, 4), round(found.brier_score, 4)) == (0.36, 0.4477)
    left = usable & (np.arange(128) < 64)
    right = usable & ~left
    temperature = round(fit_temperature(p[:, left], expert[left]), 2)
    assert temperature == 0.45
    halves = (p[:, right], temper(p[:, right], temperature))
    raw, tempered = (CalibrationTally.of(q, expert[right]).reliability().ece for q in halves)
    assert (round(raw, 3), round(tempered, 3)) == (0.402, 0.069)


@needs_tile
def test_conformal_sets_of_another_half_of_the_tile() -> None:
    with np.load(TILE) as file:
        p, expert = file["probs"].astype(np.float64), file["expert"].astype(np.int64)
    usable = (expert >= 0) & ~np.isnan(p).any(axis=0)
    left = usable & (np.arange(128) < 64)
    right = usable & ~left
    limit = conformal.threshold(conformal.scores(p[:, left], expert[left]), 0.1)
    found = conformal.Coverage.of(
        conformal.prediction_sets(p[:, right], limit), expert[right], np.zeros(right.sum(), np.int64), 1
    )
    assert (round(found.rate[0], 3), round(found.size[0], 2)) == (0.968, 2.05)
