"""Engines that count the votes of a forest: compiled kernels, or scikit-learn's own trees, with the same bits.

The shares of a pixel are always added in the order of the trees.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Final

import numpy as np

from mlc_dask import native
from mlc_dask.classifiers.engine import Answer, Engine, Probabilities, Series
from mlc_dask.classifiers.forest.trees import Arrays, to_compiled

# Pixels of one float32 batch, 13 MB at 200 features; a tree stays in the cache while the whole batch descends it.
_BATCH: Final = 16384


class SklearnForest:
    """The reference engine, which runs scikit-learn's compiled trees."""

    name = "scikit-learn"

    def __init__(self, arrays: Arrays, features: int) -> None:
        self._shares = arrays["shares"]
        self._trees = to_compiled(arrays, features)

    def classify(self, dn: Series, probabilities: Probabilities | None = None) -> Answer:
        """See :class:`~mlc_dask.classifiers.engine.Engine`."""
        dn = _flat(dn)
        position, share = np.empty(dn.shape[1], np.intp), np.empty(dn.shape[1])
        for start in range(0, dn.shape[1], _BATCH):
            batch = slice(start, start + _BATCH)
            x = dn[:, batch].T.astype(np.float32, order="C")
            # Another order of addition may round to another class.
            total = np.zeros((len(x), self._shares.shape[1]))
            for tree, row in self._trees:
                total += self._shares[row[tree.apply(x)]]
            total /= len(self._trees)
            position[batch], share[batch] = total.argmax(axis=1), total.max(axis=1)
            if probabilities is not None:
                probabilities[:, batch] = total.T
        return position, share


class NativeForest:
    """The engine on the compiled kernel of `module`, which reads unconverted digital numbers."""

    name = "native"

    def __init__(self, arrays: Arrays, features: int, module: ModuleType) -> None:
        self._forest = module.Forest(
            features=features, **{name: np.ascontiguousarray(array) for name, array in arrays.items()}
        )

    def classify(self, dn: Series, probabilities: Probabilities | None = None) -> Answer:
        """See :class:`~mlc_dask.classifiers.engine.Engine`; it releases the GIL."""
        position, share = np.empty(dn.shape[-1], np.uint8), np.empty(dn.shape[-1])
        self._forest.classify(np.ascontiguousarray(_flat(dn)), position, share, probabilities)
        return position.astype(np.intp), share


def _flat(dn: Series) -> Series:
    """Reshape series (T, B, P) to features (T·B, P)."""
    return dn.reshape(math.prod(dn.shape[:-1]), dn.shape[-1])


def forest_engine(arrays: Arrays, features: int) -> Engine:
    """Return the fastest engine on this machine for the arrays of :mod:`mlc_dask.classifiers.forest.trees`."""
    module = native.portable()
    return SklearnForest(arrays, features) if module is None else NativeForest(arrays, features, module)


def engine_here() -> str:
    """Return the name of the engine of :func:`forest_engine` in this process."""
    return SklearnForest.name if native.portable() is None else NativeForest.name
