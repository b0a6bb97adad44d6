"""Accuracy, areas and change of a series of maps from a reference sample, by one ratio estimator (method section 9).

Stehman (2014) for accuracy and area; the pixel is a cluster of years. A year without a label in the map or the
reference does not count. Sampled labels are (n, k) uint8, n units × k successive years, 0 = no data; one year is k = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA
from mlc_dask.kernels.estimation import Estimates, Strata, difference, ratio

Labels = npt.NDArray[np.uint8]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SampledAccuracy:
    """Estimates of accuracy; those by class are (size,), indexed by class code.

    Attributes
    ----------
    overall
        Share of correct years, shape ().
    users, producers, f1
        User's and producer's accuracy, and their harmonic mean.
    area
        Share of every class in the reference.
    """

    overall: Estimates
    users: Estimates
    producers: Estimates
    f1: Estimates
    area: Estimates


def accuracy(given: Labels, reference: Labels, strata: Strata, size: int, confidence: float = 0.95) -> SampledAccuracy:
    """Estimate the accuracy of maps.

    Parameters
    ----------
    given, reference
        (n, k) uint8 labels of the units in the maps and in the reference.
    strata
        The design of the sample.
    size
        One more than the highest class code.

    Raises
    ------
    InputError
        The shapes differ, or are not those of the sample.
    """
    valid = _valid(strata, given, reference)
    in_map, in_reference = (_by_class(labels, valid, size) for labels in (given, reference))
    both = (in_map & in_reference).sum(axis=1)
    shown, there = in_map.sum(axis=1), in_reference.sum(axis=1)
    years = valid.sum(axis=1)
    return SampledAccuracy(
        ratio((valid & (given == reference)).sum(axis=1), years, strata, known=True, confidence=confidence),
        ratio(both, shown, strata, known=True, confidence=confidence),
        ratio(both, there, strata, confidence=confidence),
        ratio(2 * both, shown + there, strata, confidence=confidence),
        ratio(there, years[:, None], strata, confidence=confidence),
    )


def cells(given: Labels, reference: Labels, strata: Strata, size: int) -> Estimates:
    """Estimate the share of every cell of the error matrix: (size, size), ``[class in the map, in the reference]``.

    Raises
    ------
    InputError
        As in :func:`accuracy`.
    """
    valid = _valid(strata, given, reference)
    a, b = (_by_class(labels, valid, size) for labels in (given, reference))
    found = np.einsum("nki,nkj->nij", a.astype(np.float64), b.astype(np.float64))
    return ratio(found, valid.sum(axis=1)[:, None, None], strata)


def accuracy_difference(first: Labels, second: Labels, reference: Labels, strata: Strata) -> Estimates:
    """Estimate how much more of the years the first map has right than the second: shape (), paired by unit.

    Units sampled only where the maps differ are the sample of that part; multiply by its share q of the area with
    :meth:`~mlc_dask.kernels.estimation.Estimates.scaled`: D = q (a - b) / n.

    Raises
    ------
    InputError
        As in :func:`accuracy`.
    """
    valid = _valid(strata, first, second, reference)
    years = valid.sum(axis=1)
    right = [(valid & (labels == reference)).sum(axis=1) for labels in (first, second)]
    return difference((right[0], years), (right[1], years), strata)


def discordant(first: Labels, second: Labels, reference: Labels) -> tuple[int, int]:
    """Count the units of which only the first map, and only the second, has more years right.

    The arguments of :func:`~mlc_dask.kernels.intervals.mcnemar` and :func:`~mlc_dask.kernels.intervals.exact_sign`.
    """
    valid = (first != NO_DATA) & (second != NO_DATA) & (reference != NO_DATA)
    a, b = ((valid & (labels == reference)).sum(axis=1) for labels in (first, second))
    return int((a > b).sum()), int((a < b).sum())


def trajectory_accuracy(given: Labels, reference: Labels, strata: Strata) -> Estimates:
    """Estimate the share of units, labelled in all years, whose whole series is right: shape ().

    Raises
    ------
    InputError
        As in :func:`accuracy`.
    """
    whole: _Mask = np.logical_and.reduce(_valid(strata, given, reference), axis=1)
    return ratio(whole & (given == reference).all(axis=1), whole, strata, known=True)


@dataclass(frozen=True, eq=False)
class ChangeAccuracy:
    """Estimates (shape ()): the share of shown change that is true, of true change that is shown, and both together."""

    users: Estimates
    producers: Estimates
    f1: Estimates


def change_accuracy(
    given: Labels, reference: Labels, strata: Strata, *, tolerance: int = 0, transitions: bool = False
) -> ChangeAccuracy:
    """Estimate the accuracy of year-to-year change.

    Parameters
    ----------
    given, reference
        (n, k) uint8, k ≥ 2. A pair of successive years counts where map and reference have data in both.
    tolerance
        Years by which the dates of a true and a shown change may differ.
    transitions
        The classes before and after must be the same, too.

    Raises
    ------
    InputError
        As in :func:`accuracy`.
    """
    return _change(*_matched(given, reference, strata, tolerance, transitions), strata)


def change_difference(
    first: Labels, second: Labels, reference: Labels, strata: Strata, *, tolerance: int = 0, transitions: bool = False
) -> tuple[Estimates, Estimates]:
    """Estimate how much larger the two shares of :func:`change_accuracy` are in the first map, paired by unit.

    Returns
    -------
    Differences (shape ()) of the share of shown change that is true, and of true change that is shown.

    Raises
    ------
    InputError
        As in :func:`accuracy`.
    """
    valid = _valid(strata, first, second, reference)
    # Only pairs of years that both maps and the reference know, so that all are judged by the same changes.
    parts = [_matched(labels * valid, reference * valid, strata, tolerance, transitions) for labels in (first, second)]
    (xa, wa, ya, za), (xb, wb, yb, zb) = ([part.sum(axis=1) for part in own] for own in parts)
    return difference((ya, xa), (yb, xb), strata), difference((za, wa), (zb, wb), strata)


def footprint(given: Labels, reference: Labels, strata: Strata) -> ChangeAccuracy:
    """Estimate the accuracy of change in any year: units with a change in the map against those in the reference.

    Raises
    ------
    InputError
        As in :func:`accuracy`.
    """
    _, changed, true = _changes(given, reference, strata)
    shown, there = _any_year(changed), _any_year(true)
    return _change(shown, there, shown & there, shown & there, strata)


def date_errors(given: Labels, reference: Labels, strata: Strata) -> Estimates:
    """Estimate how many years too late the maps show true changes.

    Returns
    -------
    Estimates
        (2 (k - 2) + 2,) shares of the true changes whose nearest shown change of the unit is -(k - 2) … k - 2 years
        later (of two as near the earlier), and last those that the maps show in no year.

    Raises
    ------
    InputError
        As in :func:`accuracy`.
    """
    pairs, shown, there = _changes(given, reference, strata)
    last = pairs.shape[1] - 1
    lags = np.arange(last + 1) - np.arange(last + 1)[:, None]
    away = np.where(shown[:, None, :], np.abs(lags), last + 1)
    nearest = np.take_along_axis(np.broadcast_to(lags, away.shape), away.argmin(axis=2)[..., None], axis=2)[..., 0]
    found = np.where(_any_year(shown), nearest, last + 1)
    counts = (there[..., None] & (found[..., None] == np.arange(-last, last + 2))).sum(axis=1)
    return ratio(counts, there.sum(axis=1)[:, None], strata)


def gross_and_net(labels: Labels, strata: Strata, *, known: bool = False) -> tuple[Estimates, Estimates]:
    """Estimate the share of pairs of successive years with change, and of units whose last class is not the first.

    Parameters
    ----------
    labels
        (n, k) uint8 of a map (`known`) or the reference.

    Raises
    ------
    InputError
        As in :func:`accuracy`.
    """
    pairs, changed, _ = _changes(labels, labels, strata)
    ends = (labels[:, 0] != NO_DATA) & (labels[:, -1] != NO_DATA)
    gross = ratio(changed.sum(axis=1), pairs.sum(axis=1), strata, known=known)
    return gross, ratio(ends & (labels[:, 0] != labels[:, -1]), ends, strata, known=known)


def _valid(strata: Strata, *labels: Labels) -> _Mask:
    """Units and years (n, k) that all `labels` know."""
    shapes = {part.shape for part in labels}
    if len(shapes) > 1 or labels[0].ndim != 2 or len(labels[0]) != len(strata.of):
        raise InputError(f"labels of shapes {sorted(shapes)} for {len(strata.of)} units; give (unit, year) for each")
    valid: _Mask = np.logical_and.reduce([part != NO_DATA for part in labels])
    return valid


def _by_class(labels: Labels, valid: _Mask, size: int) -> _Mask:
    """Whether a unit is of a class in a year: (n, k, size)."""
    inside: _Mask = valid[..., None] & (labels[..., None] == np.arange(size))
    return inside


def _changes(given: Labels, reference: Labels, strata: Strata) -> tuple[_Mask, _Mask, _Mask]:
    """Pairs of years that count, and the changes in maps and reference: (n, k - 1) each."""
    valid = _valid(strata, given, reference)
    pairs = valid[:, 1:] & valid[:, :-1]
    return pairs, pairs & (given[:, 1:] != given[:, :-1]), pairs & (reference[:, 1:] != reference[:, :-1])


def _any_year(changes: _Mask) -> _Mask:
    """Units with a change in any year: (n, 1)."""
    changed: _Mask = np.logical_or.reduce(changes, axis=1, keepdims=True)
    return changed


def _matches(given: Labels, reference: Labels, shown: _Mask, there: _Mask, transitions: bool) -> _Mask:
    """Whether the change shown in pair s and the true one in pair t are the same: (n, s, t)."""
    same = shown[:, :, None] & there[:, None, :]
    for years in (slice(None, -1), slice(1, None)) if transitions else ():
        same &= given[:, years, None] == reference[:, None, years]
    return same


def _matched(
    given: Labels, reference: Labels, strata: Strata, tolerance: int, transitions: bool
) -> tuple[_Mask, _Mask, _Mask, _Mask]:
    """Tell the changes (n, k - 1) shown and true, and which of them are right and found."""
    pairs, shown, there = _changes(given, reference, strata)
    lag = np.arange(pairs.shape[1])
    near = _matches(given, reference, shown, there, transitions) & (np.abs(lag[:, None] - lag) <= tolerance)
    right: _Mask = np.logical_or.reduce(near, axis=2)
    found: _Mask = np.logical_or.reduce(near, axis=1)
    return shown, there, right, found


def _change(shown: _Mask, there: _Mask, right: _Mask, found: _Mask, strata: Strata) -> ChangeAccuracy:
    """Estimates from changes (n, …) shown and true, and which of them are right and found."""
    y, z, x, w = (part.sum(axis=1) for part in (right, found, shown, there))
    return ChangeAccuracy(ratio(y, x, strata, known=True), ratio(z, w, strata), ratio(y + z, x + w, strata))
