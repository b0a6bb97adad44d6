"""The gate that every engine of a network but the reference has to pass."""

from __future__ import annotations

import logging
from threading import Lock
from typing import Final

import numpy as np

from mlc_dask.classifiers.engine import Answer, Engine, Probabilities, Series
from mlc_dask.classifiers.torch_network.engine import TorchEngine

_SAMPLE: Final = 1024
"""Pixels that both engines classify before the fast one is trusted."""

_EQUAL: Final = 0.999
"""Least share of equal labels among them."""

_NEAR: Final = 0.02
"""Most by which the reference may prefer its own class where the labels differ."""

_SURE: Final = 0.1
"""Most by which the probabilities of one class may differ."""

_log = logging.getLogger(__name__)


class GatedEngine:
    """A fast engine, held to the reference on the first pixels that it is given; where it fails, the reference.

    Of every block so many pixels, evenly taken, are compared until :data:`_SAMPLE` were: a share of :data:`_EQUAL` of
    these must get equal labels, and where labels differ the two classes' probabilities must be as near as
    :data:`_NEAR`. An engine fails, too, whose probabilities are others, or that raises.
    """

    def __init__(self, fast: Engine, reference: TorchEngine) -> None:
        self._fast, self._reference = fast, reference
        self._compared = self._different = 0
        self._failed = False
        self._lock = Lock()

    @property
    def name(self) -> str:
        """That of the engine in use."""
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
            found, probability = self._fast.classify(sample, every)
        except Exception as error:  # whatever a driver or a device says
            _log.warning("%s fails (%s); %s is used", self._fast.name, error, self._reference.name)
            return True
        pixels, best = np.arange(len(found)), expected.argmax(axis=1)
        own = expected[pixels, np.minimum(found, expected.shape[1] - 1)]
        apart = expected[pixels, best] - own
        off = np.maximum(np.abs(probability - own), np.abs(every.T - expected).max(axis=1))
        self._compared += len(found)
        self._different += int((found != best).sum())
        if self._different <= (1 - _EQUAL) * _SAMPLE and (apart <= _NEAR).all() and (off <= _SURE).all():
            return False
        _log.warning(
            "%s gives %d of %d pixels other labels than %s, classes up to %.3f less probable, and probabilities up to "
            "%.3f apart; %s is used",
            self._fast.name, self._different, self._compared, self._reference.name, apart.max(), off.max(),
            self._reference.name,
        )  # fmt: skip
        return True
