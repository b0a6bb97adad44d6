"""The protocol of engines, which run the trees of a forest or the layers of a network."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.uint16]
Answer = tuple[npt.NDArray[np.intp], npt.NDArray[np.floating[Any]]]
Probabilities = npt.NDArray[np.float32]


class Engine(Protocol):
    """Runs one trained classifier. The answer for a pixel does not depend on the other pixels of a call."""

    @property
    def name(self) -> str:
        """Name of the engine, for people and records."""

    def classify(self, dn: Series, probabilities: Probabilities | None = None) -> Answer:
        """Return the position (P,) of the best class, the first one in a tie, and its probability (P,).

        Parameters
        ----------
        dn
            Series (T, B, P) uint16.
        probabilities
            Array (K, P) float32 in C order; if given, it is filled with the probabilities of all K classes.
        """


def to_percent(probability: npt.NDArray[np.floating[Any]], *, least: int = 0) -> npt.NDArray[np.uint8]:
    """Round probabilities to integer percentages (halves to even), uint8 from `least` to 100."""
    percent: npt.NDArray[np.uint8] = np.clip(np.rint(100 * probability), least, 100).astype(np.uint8)
    return percent
