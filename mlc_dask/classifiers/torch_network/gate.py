"""The gate that every fast engine of a network has to pass."""

from __future__ import annotations

import logging
from threading import Lock
from typing import Final

import numpy as np

from mlc_dask.classifiers.engine import Answer, Engine, Probabilities, Series
from mlc_dask.classifiers.torch_network.engine import TorchEngine

_SAMPLE: Final = 1024
"""Number of pixels that both engines classify before the fast one is trusted."""

_EQUAL: Final = 0.999
"""Least share of equal labels among the sample."""

_NEAR: Final = 0.02
"""Largest difference of probability by which the reference may prefer its own class where labels differ."""

_SURE: Final = 0.1
"""Largest difference between the two probabilities of one class."""

_log = logging.getLogger(__name__)


class GatedEngine:
    """A fast engine that is checked against the reference on its first pixels, and replaced by it on failure.

    Evenly spaced pixels of every block are compared, until :data:`_SAMPLE` pixels were. At least a share of
    :data:`_EQUAL` of them must get equal labels. Where labels differ, the probabilities of the two classes may differ
    by :data:`_NEAR` at most. An engine also fails if the probabilities of a class differ by more than :data:`_SURE`,
    or if it raises an exception.
    """

    def __init__(self, fast: Engine, reference: TorchEngine) -> None:
        self._fast, self._reference = fast, reference
        self._compared = self._different = 0
        self._failed = False
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Name of the engine in use."""
        return (self._reference if self._failed else self._fast).name

    def classify(self, dn: Series, probabilities: Probabilities | None = None) -> Answer:
        """See :class:`~mlc_dask.classifiers.engine.Engine`."""
        with self._lock:
            if not self._failed and self._compared < _SAMPLE and dn.shape[2]:
                self._failed = self._fails(dn)
        return (self._reference if self._failed else self._fast).classify(dn, probabilities)

    def _fails(self, dn: Series) -> bool:
        sample = dn[:, :, np.unique(np.linspace(0, dn.shape[2] - 1, _SAMPLE - self._compared).astype(int))]
        expected = self._reference.probabilities(sample)
        every = np.empty(expected.shape[::-1], np.float32)
        try:
            position, probability = self._fast.classify(sample, every)
        except Exception as error:  # drivers and devices raise exceptions of any type
            _log.warning("%s fails (%s); %s is used", self._fast.name, error, self._reference.name)
            return True
        pixels, best = np.arange(len(position)), expected.argmax(axis=1)
        given = expected[pixels, np.minimum(position, expected.shape[1] - 1)]
        apart = expected[pixels, best] - given
        off = np.maximum(np.abs(probability - given), np.abs(every.T - expected).max(axis=1))
        self._compared += len(position)
        self._different += int((position != best).sum())
        if self._different <= (1 - _EQUAL) * _SAMPLE and (apart <= _NEAR).all() and (off <= _SURE).all():
            return False
        _log.warning(
            "%s labels %d of %d pixels differently from %s, its classes are up to %.3f less probable, and its "
            "probabilities differ by up to %.3f; %s is used",
            self._fast.name, self._different, self._compared, self._reference.name, apart.max(), off.max(),
            self._reference.name,
        )  # fmt: skip
        return True
