"""Random Forest of the preliminary maps (paper section 2.3, METHOD section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

from mlc_dask.classifiers import archive
from mlc_dask.classifiers.engines import to_percent
from mlc_dask.classifiers.protocol import Context, History, Report, TrainingSet, check_at_least
from mlc_dask.classifiers.trees import check_trees, flatten, to_sklearn
from mlc_dask.errors import InputError

# Pixels of one float32 batch: small enough for the second-level cache at 200 features.
_BATCH: Final = 4096


@dataclass(frozen=True, eq=False)
class ForestModel:
    """A trained forest as flat arrays: they mean the same to every version of scikit-learn, and run no code."""

    settings: RandomForest
    context: Context
    classes: npt.NDArray[np.uint8]
    trees: Mapping[str, npt.NDArray[Any]]
    history: History = ()

    @cached_property
    def _content(self) -> bytes:
        description = {
            "kind": RandomForest.name,
            "context": self.context.to_dict(),
            "classes": self.classes.tolist(),
            "settings": asdict(self.settings),
            "history": list(self.history),
        }
        return archive.pack(description, self.trees)

    @cached_property
    def _trees(self) -> list[Any]:
        return to_sklearn(self.trees, len(self.context.days) * len(self.context.bands))

    def predict(self, dn: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Give every pixel of `dn` (T, B, P) uint16 a code (P,) uint8 and a confidence (P,) uint8, percent 1..100.

        The confidence is the mean share of the class in the leaves that the pixel falls into; at a tie the lowest
        code wins.
        """
        self.context.check_series(dn)
        features = dn.reshape(-1, dn.shape[2])
        share = np.empty(dn.shape[2])
        position = np.empty(dn.shape[2], np.intp)
        for start in range(0, dn.shape[2], _BATCH):
            chosen = slice(start, start + _BATCH)
            shares = self._shares(features[:, chosen].T.astype(np.float32, order="C"))
            position[chosen] = shares.argmax(axis=1)
            share[chosen] = shares.max(axis=1)
        return self.classes[position], to_percent(share)

    def _shares(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Mean share (n, K) of every class over the trees, added up in the order of the trees."""
        total = np.zeros((len(x), len(self.classes)))
        for tree, (first, last) in zip(self._trees, pairwise(self.trees["first_leaf"].tolist()), strict=True):
            total += self.trees["shares"][first:last][tree.predict(x)]
        return total / len(self._trees)
