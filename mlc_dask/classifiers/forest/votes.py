"""How the trees of a forest vote: on compiled kernels, or by scikit-learn's own trees. Both give the same bits."""

from __future__ import annotations

from types import ModuleType
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from mlc_dask import native
from mlc_dask.classifiers.forest.trees import Arrays, to_compiled

# Pixels of one float32 batch, 13 MB at 200 features: a tree stays in the cache while all of them walk down it.
_BATCH: Final = 16384

Features = npt.NDArray[np.uint16]


class ForestEngine(Protocol):
    """Runs one forest; the shares of a pixel are always added up in the order of the trees."""

    @property
    def name(self) -> str:
        """What it runs on, for people and records."""

    def classify(self, dn: Features) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return the best class's position (P,), the first at a tie, and its mean share (P,) for `dn` (F, P)."""


class SklearnForest:
    """Votes of scikit-learn's compiled trees: the reference."""

    name = "scikit-learn"

    def __init__(self, arrays: Arrays, features: int) -> None:
        self._shares = arrays["shares"]
        self._trees = to_compiled(arrays, features)

    def classify(self, dn: Features) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """See :class:`ForestEngine`."""
        position, share = np.empty(dn.shape[1], np.intp), np.empty(dn.shape[1])
        for start in range(0, dn.shape[1], _BATCH):
            batch = slice(start, start + _BATCH)
            x = dn[:, batch].T.astype(np.float32, order="C")
            # Another order may round to another class.
            total = np.zeros((len(x), self._shares.shape[1]))
            for tree, row in self._trees:
                total += self._shares[row[tree.apply(x)]]
            total /= len(self._trees)
            position[batch], share[batch] = total.argmax(axis=1), total.max(axis=1)
        return position, share


class NativeForest:
    """Votes counted by the compiled kernels of `module`, on the digital numbers as they are."""

    def __init__(self, arrays: Arrays, features: int, module: ModuleType) -> None:
        self.name = native.engine_name(module)
        self._forest = module.Forest(
            features=features, **{name: np.ascontiguousarray(array) for name, array in arrays.items()}
        )

    def classify(self, dn: Features) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """See :class:`ForestEngine`; other threads run meanwhile."""
        position, share = np.empty(dn.shape[1], np.uint8), np.empty(dn.shape[1])
        self._forest.classify(np.ascontiguousarray(dn), position, share)
        return position.astype(np.intp), share


def forest_engine(arrays: Arrays, features: int) -> ForestEngine:
    """Return the fastest engine for the trees of :mod:`mlc_dask.classifiers.forest.trees` on this machine."""
    module = native.best()
    return SklearnForest(arrays, features) if module is None else NativeForest(arrays, features, module)
