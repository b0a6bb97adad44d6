"""Whether a probability means what it says: calibration errors from counts that add up over blocks, and temperature.

Guo et al. (2017) for ECE and temperature, Nixon et al. (2019) for equal mass, Kull et al. (2019) for classes, Brier
(1950). Probabilities are (K, n), the truth is a position 0 … K - 1 per sample (method section 9).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import optimize

from mlc_dask.data.errors import InputError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

RAW: Final = "raw"
"""Scores of a model as they are."""

TEMPERED: Final = "tempered"
"""Scores after a temperature."""

EQUAL: Final = "equal"
"""Bins of equal width."""

MASS: Final = "mass"
"""Bins of about as many samples."""

BINS = 15

FINE = 960
"""Equal bins that are counted; 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, … bins are made of whole ones."""

_UNIT = 1 << 24
"""Probabilities are summed as whole numbers of this part of one, so that sums do not depend on the blocks."""

_LEAST = 1e-9
"""Probabilities below it, also zero, count as this in logarithms."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of confidence, (b,) each: samples, share that is right, mean confidence; NaN in empty bins."""

    n: Counts
    accuracy: Floats
    confidence: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error Σ n_b/n |acc_b - conf_b|."""
        return self._norm(1)

    @property
    def rms(self) -> float:
        """Root of the mean squared calibration error."""
        return float(np.sqrt(self._norm(2)))

    @property
    def worst(self) -> float:
        """Largest error of a bin."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence))) if self.n.any() else float("nan")

    def _norm(self, power: int) -> float:
        gap = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float(self.n @ gap**power / self.n.sum()) if self.n.any() else float("nan")


@dataclass(frozen=True, eq=False)
class CalibrationTally:
    """Counts of a block; tallies of blocks add up, exactly, since all are whole numbers.

    Attributes
    ----------
    top
        (3, 960) int64 by bin of the largest probability: samples, right ones, sum of the probability.
    classes
        (K, 3, 960) int64 by bin of each class's probability: samples, those of the class, sum of the probability.
    brier, nll
        Sums of the Brier score and of the negative logarithm of the true class's probability.
    """

    top: Counts
    classes: Counts
    brier: int
    nll: int

    @classmethod
    def of(cls, probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.integer]) -> CalibrationTally:
        """Count samples: (K, n) probabilities of sum 1, and (n,) positions of the true classes.

        Raises
        ------
        InputError
            The arrays do not fit, or a probability is outside 0 … 1.
        """
        p = _checked(probabilities, truth)
        right = truth == np.arange(len(p))[:, None]
        best, own = p.argmax(axis=0), np.take_along_axis(p, truth[None].astype(np.intp), axis=0)[0]
        brier = ((p - right) ** 2).sum(axis=0)
        return cls(
            _histogram(np.take_along_axis(p, best[None], axis=0)[0], best == truth),
            np.stack([_histogram(*pair) for pair in zip(p, right, strict=True)]),
            int(_whole(brier).sum()),
            int(_whole(-np.log(np.maximum(own, _LEAST))).sum()),
        )

    def __add__(self, other: CalibrationTally) -> CalibrationTally:
        return CalibrationTally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def n(self) -> int:
        """Samples."""
        return int(self.top[0].sum())

    @property
    def accuracy(self) -> float:
        """Share of samples whose most probable class is right."""
        return _over(int(self.top[1].sum()), self.n)

    @property
    def confidence(self) -> float:
        """Mean of the largest probability."""
        return _over(int(self.top[2].sum()), self.n * _UNIT)

    @property
    def brier_score(self) -> float:
        """Mean of Σ_c (p_c - y_c)², 0 … 2."""
        return _over(self.brier, self.n * _UNIT)

    @property
    def log_loss(self) -> float:
        """Mean negative log-likelihood."""
        return _over(self.nll, self.n * _UNIT)

    @property
    def classwise_ece(self) -> float:
        """Mean over the classes of the calibration error of a class's own probability, in 15 equal bins."""
        return float(np.mean([_reliability(counts, equal_bins(BINS)).ece for counts in self.classes]))

    def reliability(self, bins: int = BINS) -> Reliability:
        """Bin the confidence equally, [i/bins, (i + 1)/bins); InputError unless `bins` divides 960."""
        return _reliability(self.top, equal_bins(bins))

    def equal_mass(self, bins: int = BINS) -> Reliability:
        """Bin the confidence by :meth:`mass_bins`."""
        return _reliability(self.top, self.mass_bins(bins))

    def mass_bins(self, bins: int = BINS) -> Counts:
        """Assign the fine bins (960,) to bins of about the same number of samples; a fine bin is never divided."""
        before = np.cumsum(self.top[0]) - self.top[0]
        bin_of: Counts = np.minimum(before * bins // max(self.n, 1), bins - 1)
        return bin_of


def equal_bins(bins: int) -> Counts:
    """Assign the 960 fine bins to `bins` equal ones: (960,) int64; InputError where they do not divide 960."""
    if bins < 1 or FINE % bins:
        raise InputError(f"{bins} bins of confidence; choose a divisor of {FINE}, e.g. {BINS}")
    return np.arange(FINE) // (FINE // bins)


def fine_bins(confidence: npt.NDArray[np.floating]) -> Counts:
    """Return the fine bins 0 … 959 (n,) int64 of probabilities (n,)."""
    return np.minimum((np.asarray(confidence, np.float64) * FINE).astype(np.int64), FINE - 1)


def temper(probabilities: npt.NDArray[np.floating], temperature: float) -> Floats:
    """Divide the logits by a temperature: p_c^(1/T) scaled to sum 1, (K, n) float64. T < 1 sharpens."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), _LEAST)) / temperature
    raised = np.exp(logits - logits.max(axis=0))
    tempered: Floats = raised / raised.sum(axis=0)
    return tempered


def fit_temperature(probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.integer]) -> float:
    """Find the temperature with the least negative log-likelihood on held-out samples, between 0.05 and 20.

    Parameters
    ----------
    probabilities, truth
        (K, n) and (n,) as in :meth:`CalibrationTally.of`, of a block or year that neither trained the model nor chose
        its epoch. Labels of an old map calibrate to the old map, not to the ground.

    Raises
    ------
    InputError
        The arrays do not fit, or there is no sample.
    """
    logits = np.log(np.maximum(_checked(probabilities, truth), _LEAST))
    if not truth.size:
        raise InputError("no held-out sample for the temperature; hold out a block or a year")
    own = np.take_along_axis(logits, truth[None].astype(np.intp), axis=0)[0]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(axis=0)
        total = top + np.log(np.exp(scaled - top).sum(axis=0))
        return float((total - own / np.exp(log_temperature)).mean())

    bounds = np.log(0.05), np.log(20)
    return float(np.exp(optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def _checked(probabilities: npt.NDArray[np.floating], truth: npt.NDArray[np.integer]) -> Floats:
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or truth.shape != p.shape[1:]:
        raise InputError(f"probabilities {p.shape} and truth {truth.shape}; give (class, sample) and (sample,)")
    if p.size and not (p.min() >= 0 and p.max() <= 1.001 and 0 <= truth.min() <= truth.max() < len(p)):
        raise InputError(f"probabilities outside 0 … 1, or positions outside 0 … {len(p) - 1}; leave out no data")
    return p


def _histogram(p: Floats, right: npt.NDArray[np.bool_]) -> Counts:
    """Count samples, right ones and sums of the probability by fine bin: (3, FINE)."""
    fine = fine_bins(p)
    sums = np.zeros(FINE, np.int64)
    np.add.at(sums, fine, _whole(p))
    return np.stack([np.bincount(fine, minlength=FINE), np.bincount(fine[right], minlength=FINE), sums])


def _whole(values: Floats) -> Counts:
    return np.rint(values * _UNIT).astype(np.int64)


def _reliability(counts: Counts, coarse: Counts) -> Reliability:
    """Join the fine bins `counts` (3, FINE) by the numbers `coarse` of their coarse ones."""
    columns = np.zeros((int(coarse.max()) + 1, 3), np.int64)
    np.add.at(columns, coarse, counts.T)
    joined = columns.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return Reliability(joined[0], joined[1] / joined[0], joined[2] / (joined[0] * _UNIT))


def _over(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
