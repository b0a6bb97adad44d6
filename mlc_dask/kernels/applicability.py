"""Whether a series resembles any training sample (after the area of applicability of Meyer and Pebesma, 2021)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

_INSIDE: Final = 0.99
"""Share of the training samples that count as known to the others."""

_AT_ONCE: Final = 1024

Floats = npt.NDArray[np.float32]


def unlike(samples: Floats, blocks: npt.NDArray[np.int64], others: Floats) -> npt.NDArray[np.bool_]:
    """Mark series that are farther from every training sample than the samples are from those of other places.

    Parameters
    ----------
    samples
        Features (n, F) of training samples.
    blocks
        Number of the square (n,) that a sample lies in: neighbours would know each other too well.
    others
        Features (m, F) to be judged.

    Returns
    -------
    (m,) bool; all False where the samples lie in one square.
    """
    center, spread = samples.mean(axis=0), samples.std(axis=0)
    scale = np.where(spread > 0, spread, 1)
    known, asked = ((values - center) / scale for values in (samples, others))
    own = _nearest(known, known, blocks)
    own = own[np.isfinite(own)]
    if not own.size:
        return np.zeros(len(others), np.bool_)
    found: npt.NDArray[np.bool_] = _nearest(asked, known) > np.quantile(own, _INSIDE)
    return found


def _nearest(rows: Floats, known: Floats, blocks: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float64]:
    """Squared distance of every row from the nearest known one; with `blocks`, from the nearest of another block."""
    squares = np.einsum("nf,nf->n", known, known)
    found = np.empty(len(rows))
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        away = squares - 2 * (part @ known.T) + np.einsum("nf,nf->n", part, part)[:, None]
        if blocks is not None:
            away[blocks[start : start + len(part), None] == blocks] = np.inf
        found[start : start + len(part)] = away.min(axis=1)
    return found
