"""What every engine does, whatever it runs: a forest's trees or a network's layers."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.uint16]
Answer = tuple[npt.NDArray[np.intp], npt.NDArray[np.floating[Any]]]
Probabilities = npt.NDArray[np.float32]


class Engine(Protocol):
    """Runs one trained classifier. A pixel's answer is the same whatever pixels come with it."""

    @property
    def name(self) -> str:
        """What it runs on, for people and records."""

    def classify(self, dn: Series, probabilities: Probabilities | None = None) -> Answer:
        """Return the best class's position (P,), the first at a tie, and its probability (P,).

        Parameters
        ----------
        dn
            Series (T, B, P) uint16.
        probabilities
            Array (K, P) float32, in C order, that is filled with the probabilities of all K classes.
        """


def to_percent(probability: npt.NDArray[np.floating[Any]], *, least: int = 0) -> npt.NDArray[np.uint8]:
    """Round probabilities to whole per cent (halves to even), uint8 of `least` to 100."""
    percent: npt.NDArray[np.uint8] = np.clip(np.rint(100 * probability), least, 100).astype(np.uint8)
    return percent
