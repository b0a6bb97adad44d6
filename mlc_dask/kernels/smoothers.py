"""Null smoothers that any claim of better maps must beat: HMM, three-year mode, last year's label, constant map.

The HMM has the classes as states (Abercrombie and Friedl 2016; Rabiner 1989 for the algorithms). All arithmetic is in
one order for each pixel, so that a result does not depend on the pixels beside it (method section 9).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]

FLOOR = 0.01
"""Least emission, as a share of a year's sum over the classes; without it one overconfident year decides the series."""

RATES = (0.4, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Yearly rates of change that the HMM is told, from hardly any smoothing to much: its operating curve."""

_AT_ONCE = 1 << 14


def transition(classes: int, epsilon: float) -> Floats:
    """Make the matrix (K, K) with 1 - ε on the diagonal and ε / (K - 1) elsewhere; ε is the yearly rate of change."""
    matrix = np.full((classes, classes), epsilon / max(classes - 1, 1))
    np.fill_diagonal(matrix, 1 - epsilon if classes > 1 else 1)
    return matrix


def emissions(probabilities: npt.NDArray[np.generic], prior: npt.ArrayLike, floor: float = FLOOR) -> Floats:
    """Emissions of a classifier's posterior: e_t(c) ∝ P(c | x_t) / π_c, since the prior would count once a year.

    Parameters
    ----------
    probabilities
        (k, K, n) shares of the classes of any scale, e.g. uint8; all zero or NaN = no data.
    prior
        (K,) shares of the classes in the training set, above zero.
    floor
        Least emission after a year's emissions are divided by their sum.

    Returns
    -------
    (k, K, n) float64; 1 for every class where there is no data.
    """
    return _floored(probabilities.astype(np.float64) / np.asarray(prior, np.float64)[:, None], floor)


def label_emissions(labels: Labels, codes: Labels, confusion: npt.ArrayLike, floor: float = FLOOR) -> Floats:
    """Emissions of hard maps: P(label | class), the rows of a confusion matrix.

    Parameters
    ----------
    labels
        (k, n) uint8, 0 = no data.
    codes
        (K,) uint8 codes of the classes.
    confusion
        (K, K) counts or shares ``[true class, label]``.
    floor
        As in :func:`emissions`.

    Returns
    -------
    (k, K, n) float64.
    """
    rows = np.asarray(confusion, np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    table = np.zeros((len(codes), 256))
    table[:, codes] = rows
    return _floored(np.moveaxis(table[:, labels], 0, 1), floor)


def posterior(emission: Floats, matrix: Floats, start: npt.ArrayLike) -> Floats:
    """Forward–backward: the probability of every class in every year, given the whole series.

    Parameters
    ----------
    emission
        (k, K, n) float64.
    matrix
        (K, K) transition ``[from, to]`` from one year to the next.
    start
        (K,) shares of the classes in the first year, e.g. the prior.

    Returns
    -------
    (k, K, n) float64, of sum 1 over the classes.
    """
    forward, backward = np.empty_like(emission), np.ones_like(emission)
    state = np.asarray(start, np.float64)[:, None] * emission[0]
    for t in range(len(emission)):
        state = emission[t] * _step(forward[t - 1], matrix) if t else state
        forward[t] = state / _total(state)
    for t in range(len(emission) - 2, -1, -1):
        state = _step(backward[t + 1] * emission[t + 1], matrix.T)
        backward[t] = state / _total(state)
    both = forward * backward
    for year in both:
        year /= _total(year)
    return both


def viterbi(emission: Floats, matrix: Floats, start: npt.ArrayLike) -> Labels:
    """Most probable series of classes: positions (k, n) uint8; arguments as in :func:`posterior`.

    Of equal series the one with the lower position in the last year that differs.
    """
    k, classes, n = emission.shape
    with np.errstate(divide="ignore"):
        score, step = np.log(emission), np.log(matrix)
        best = np.log(np.asarray(start, np.float64))[:, None] + score[0]
    origin = np.zeros((k, classes, n), np.uint8)
    for t in range(1, k):
        reached = [best + step[:, c, None] for c in range(classes)]
        for c, way in enumerate(reached):
            origin[t, c] = way.argmax(axis=0)
        best = np.stack([way.max(axis=0) for way in reached]) + score[t]
    path = np.empty((k, n), np.uint8)
    path[-1] = best.argmax(axis=0)
    for t in range(k - 1, 0, -1):
        path[t - 1] = np.take_along_axis(origin[t], path[t][None], axis=0)[0]
    return path


def hidden_markov(
    probabilities: npt.NDArray[np.generic],
    prior: npt.ArrayLike,
    codes: Labels,
    epsilon: float | Floats,
    *,
    decode: Literal["viterbi", "posterior"] = "viterbi",
    floor: float = FLOOR,
) -> Labels:
    """Smooth annual maps by a hidden Markov model.

    Parameters
    ----------
    probabilities
        (k, K, …) shares of the classes as in :func:`emissions`.
    prior
        (K,) shares of the classes in the training set; also those of the first year.
    codes
        (K,) uint8 codes of the classes.
    epsilon
        Yearly rate of change, see :func:`transition`, or a whole matrix (K, K).
    decode
        The most probable series, or the most probable class of every year.

    Returns
    -------
    (k, …) uint8. Years without data have a label, pixels without any data none. Memory beyond it is bounded.

    Raises
    ------
    InputError
        The probabilities do not have one plane per class.
    """
    if probabilities.ndim < 3 or probabilities.shape[1] != len(codes):
        raise InputError(f"probabilities {probabilities.shape} of {len(codes)} classes; give (year, class, y, x)")
    k, classes = probabilities.shape[:2]
    matrix = transition(classes, epsilon) if isinstance(epsilon, int | float) else epsilon
    flat = probabilities.reshape(k, classes, -1)
    smoothed = np.empty((k, flat.shape[2]), np.uint8)
    for start in range(0, flat.shape[2], _AT_ONCE):
        part = flat[:, :, start : start + _AT_ONCE]
        emission = emissions(part, prior, floor)
        if decode == "viterbi":
            positions = viterbi(emission, matrix, prior)
        else:
            positions = posterior(emission, matrix, prior).argmax(axis=1).astype(np.uint8)
        seen = (np.nan_to_num(part.astype(np.float64)) > 0).any(axis=(0, 1))
        smoothed[:, start : start + _AT_ONCE] = np.where(seen, codes[positions], NO_DATA)
    return smoothed.reshape(k, *probabilities.shape[2:])


def three_year_mode(labels: Labels) -> Labels:
    """Give every year the class that two of it and its neighbours have, otherwise its own: (k, …) uint8, 0 = no data.

    The first and last year keep their labels, unless they have none and the neighbour does not help: 0 stays 0 there.
    """
    smoothed = labels.copy()
    before, after = labels[:-2], labels[2:]
    np.copyto(smoothed[1:-1], before, where=(before == after) & (before != NO_DATA))
    return smoothed


def persistence(labels: Labels) -> Labels:
    """Give every year the label of the year before, the first its own: (k, …) uint8."""
    return np.concatenate([labels[:1], labels[:-1]])


def constant(labels: Labels, year: int = 0) -> Labels:
    """Give all years the map of one, by its index: (k, …) uint8, which agrees perfectly with itself."""
    return np.repeat(labels[year][None], len(labels), axis=0)


def null_smoothers(
    labels: Labels, probabilities: npt.NDArray[np.generic] | None, prior: npt.ArrayLike, codes: Labels
) -> dict[str, Labels]:
    """Smooth maps by every smoother, by name; the HMM at all :data:`RATES`, where there are probabilities.

    Parameters
    ----------
    labels
        (k, …) uint8, 0 = no data, which stays no data.
    probabilities, prior, codes
        As in :func:`hidden_markov`, of the same pixels.
    """
    found = {"mode": three_year_mode(labels), "last-year": persistence(labels), "constant": constant(labels)}
    if probabilities is not None:
        found |= {f"hmm-{rate}": hidden_markov(probabilities, prior, codes, rate) for rate in RATES}
    return {name: np.where(labels == NO_DATA, NO_DATA, own).astype(np.uint8) for name, own in found.items()}


def _floored(emission: Floats, floor: float) -> Floats:
    """Emissions of sum 1 over the classes (axis 1), `floor` or more; 1 where there is no data."""
    for year in emission:
        total = _total(year)
        seen = total > 0
        np.divide(year, total, out=year, where=seen)
        np.maximum(year, floor, out=year)
        year[:, ~seen] = 1
    return emission


def _step(state: Floats, matrix: Floats) -> Floats:
    """Move the states (K, n) by one year."""
    moved = np.empty_like(state)
    for to, column in enumerate(matrix.T):
        moved[to] = _total(state * column[:, None])
    return moved


def _total(rows: Floats) -> Floats:
    """Sum of rows (K, n) in their order, whatever n is: numpy's own order depends on the shape."""
    total: Floats = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total
