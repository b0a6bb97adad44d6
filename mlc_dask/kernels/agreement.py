"""Agreement and accuracy from confusion matrices, which add up over blocks (method section 9; paper section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

# bincount widens its input eightfold; slices limit the copy to a few megabytes.
_SLICE = 1 << 20


def confusion(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], size: int) -> _Ints:
    """Count pixels by their class in `a` and in `b`.

    Parameters
    ----------
    a, b
        uint8 class codes of one shape, 0 = no data. For accuracy `a` is the reference, `b` the map.
    size
        One more than the highest code (``Legend.size``).

    Returns
    -------
    numpy.ndarray
        (size, size) int64, ``[class in a, class in b]``, over pixels with data in both. Matrices of blocks add up.

    Raises
    ------
    InputError
        The shapes differ, or a code is `size` or higher.
    """
    if a.shape != b.shape:
        raise InputError(f"maps of shapes {a.shape} and {b.shape} do not coincide; put both on one grid")
    table = np.zeros(size * size, np.int64)
    first, second = a.reshape(-1), b.reshape(-1)
    for start in range(0, first.size, _SLICE):
        one, two = first[start : start + _SLICE], second[start : start + _SLICE]
        highest = int(max(one.max(), two.max()))
        if highest >= size:
            raise InputError(f"class code {highest} is not in the legend (codes to {size - 1}); use the maps' legend")
        table += np.bincount(one * np.intp(size) + two, minlength=size * size)
    matrix = table.reshape(size, size)
    matrix[NO_DATA, :] = 0
    matrix[:, NO_DATA] = 0
    return matrix


def yearly(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], size: int) -> _Ints:
    """Compare two series of maps (k, …) by one :func:`confusion` per year: (k, size, size) int64; k may be 0."""
    return np.array([confusion(*pair, size) for pair in zip(a, b, strict=True)], np.int64).reshape(-1, size, size)


def transitions(maps: npt.NDArray[np.uint8], size: int) -> _Ints:
    """Count pixels by class in both years of each pair of successive years: (k - 1, size, size) int64."""
    return yearly(maps[:-1], maps[1:], size)


def class_counts(labels: npt.NDArray[np.uint8], size: int) -> _Ints:
    """Count the pixels of every class in `labels` (uint8; 0 = no data, not counted): (size,) int64."""
    return confusion(labels, labels, size).diagonal().copy()


@dataclass(frozen=True, eq=False)
class PerClass:
    """Agreement of two maps by class code, (size,) each; NaN where the class does not occur.

    Attributes
    ----------
    agreement
        P(second = c | first = c).
    reverse
        P(first = c | second = c).
    iou
        Pixels that are c in both over pixels that are c in either.
    n
        Number of pixels (int64) that are c in the first map.
    """

    agreement: _Floats
    reverse: _Floats
    iou: _Floats
    n: _Ints


def per_class(matrix: _Ints) -> PerClass:
    """Agreement by class of a (size, size) confusion matrix (method section 9)."""
    both, first, second = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    return PerClass(_ratio(both, first), _ratio(both, second), _ratio(both, first + second - both), first)


def overall(matrix: _Ints) -> float:
    """Share of pixels of a (size, size) confusion matrix with the same class in both; NaN without pixels."""
    return float(_ratio(matrix.trace(), matrix.sum()))


def kappa(matrix: _Ints) -> float:
    """Cohen's kappa of a (size, size) confusion matrix.

    Returns
    -------
    float
        1 for equal maps, 0 for the agreement expected by chance from the class shares; NaN without pixels, and if both
        maps have the same single class, since equality then means nothing (method section 9).
    """
    chance = float((shares(matrix.sum(axis=1)) * shares(matrix.sum(axis=0))).sum())
    return float(_ratio(overall(matrix) - chance, 1 - chance))


def shares(counts: npt.NDArray[np.int64]) -> _Floats:
    """Share (size,) of every class in `counts` (size,), NaN without pixels."""
    return _ratio(counts, counts.sum())


def entropy(counts: npt.NDArray[np.int64]) -> float:
    """Shannon entropy in bits of the class shares in `counts` (size,): 0 for a constant map, NaN without pixels."""
    share = shares(counts[counts > 0])
    return float(-(share * np.log2(share)).sum()) + 0.0 if share.size else float("nan")


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Accuracy of a map against a reference; values per class code are (size,) and NaN where undefined.

    Attributes
    ----------
    precision
        User's accuracy; NaN for a class that does not occur in the map.
    recall
        Producer's accuracy; NaN for a class that does not occur in the reference.
    f1
        Harmonic mean of precision and recall; NaN only for a class that occurs in neither.
    overall
        Share of correctly classified pixels.
    macro_f1
        Mean of `f1` over the classes that occur in the reference or the map.
    """

    precision: _Floats
    recall: _Floats
    f1: _Floats
    overall: float
    macro_f1: float


def accuracy(matrix: _Ints) -> Accuracy:
    """Accuracy measures of a (size, size) confusion matrix with the reference in its rows (method section 9)."""
    both, reference, given = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    f1 = _ratio(2 * both, reference + given)
    held = ~np.isnan(f1)
    macro = float(f1[held].mean()) if held.any() else float("nan")
    return Accuracy(_ratio(both, given), _ratio(both, reference), f1, overall(matrix), macro)


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> _Floats:
    """Divide `part` by `whole`; NaN where `whole` is zero."""
    top, bottom = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    ratio = np.full(np.broadcast(top, bottom).shape, np.nan)
    np.divide(top, bottom, out=ratio, where=bottom != 0)
    return ratio
