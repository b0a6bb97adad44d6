"""How sure a model is, beyond its largest probability: entropy, and the lead over the second class (method section 7).

Probabilities are (K, n) and sum to 1. Like the largest one, both are scores until they are calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


def entropy(probabilities: Floats) -> Floats:
    """Return the entropy (n,) as a share of the largest possible one, log K: 0 is sure, 1 knows nothing."""
    classes = len(probabilities)
    if classes < 2:
        return np.zeros(probabilities.shape[1:], probabilities.dtype)
    logarithm = np.log(np.where(probabilities > 0, probabilities, 1))
    share: Floats = -(probabilities * logarithm).sum(axis=0) / np.log(classes)
    return share


def margin(probabilities: Floats) -> Floats:
    """Return by how much the most probable class leads the second one (n,): 0 is a tie, 1 is sure."""
    if len(probabilities) < 2:
        return np.ones(probabilities.shape[1:], probabilities.dtype)
    second, first = np.partition(probabilities, -2, axis=0)[-2:]
    lead: Floats = first - second
    return lead


UNCERTAINTY: Final[Mapping[str, Callable[[Floats], Floats]]] = {"entropy": entropy, "margin": margin}
"""Optional layers of maps that are made of the probabilities of a pixel, by name."""
