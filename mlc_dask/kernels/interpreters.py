"""How far two interpreters of one reference sample agree: share and Cohen's kappa on the points that both labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA
from mlc_dask.kernels.agreement import kappa, overall, yearly


@dataclass(frozen=True, eq=False)
class InterpretersAgreement:
    """Agreement of two interpreters by year; the last of the Y + 1 values is that of all years together.

    Attributes
    ----------
    n
        (Y + 1,) int64 number of points that both could tell.
    share
        (Y + 1,) float64 share of these points with one class; NaN without points.
    kappa
        (Y + 1,) float64 Cohen's kappa of these points; NaN without points, and if both saw a single class.
    differing
        (N,) bool points whose answers differ in any year, also where only one of the two could tell.
    """

    n: npt.NDArray[np.int64]
    share: npt.NDArray[np.float64]
    kappa: npt.NDArray[np.float64]
    differing: npt.NDArray[np.bool_]


def interpreters_agreement(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> InterpretersAgreement:
    """Compare the answers of two interpreters on their common points.

    Parameters
    ----------
    first, second
        (N, Y) uint8 class codes of the same N points in the same Y years, 0 = cannot be told. N may be 0.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if first.shape != second.shape:
        raise InputError(
            f"answers of shapes {first.shape} and {second.shape} do not coincide; compare the points and years that "
            "both interpreters have"
        )
    size = int(max(first.max(initial=NO_DATA), second.max(initial=NO_DATA))) + 1
    years = yearly(first.T, second.T, size) if first.size else np.zeros((first.shape[1], size, size), np.int64)
    matrices = [*years, years.sum(axis=0)]
    return InterpretersAgreement(
        n=np.array([matrix.sum() for matrix in matrices], np.int64),
        share=np.array([overall(matrix) for matrix in matrices], np.float64),
        kappa=np.array([kappa(matrix) for matrix in matrices], np.float64),
        differing=(first != second).any(axis=1),
    )
