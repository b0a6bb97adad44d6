"""The protocols of classifiers and trained models, and the training set that they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal, NotRequired, Protocol, Self, TypedDict, overload

import numpy as np
import numpy.typing as npt

from mlc_dask.classifiers.context import Context
from mlc_dask.classifiers.engine import Probabilities, Series
from mlc_dask.data.errors import InputError

__all__ = ["Classifier", "Codes", "Context", "Epoch", "History", "Model", "Report", "TrainingSet"]


class Epoch(TypedDict):
    """The keys of a history row that the report and the progress show; a row may have any others beside them.

    Losses are mean cross-entropies; `epochs` is the number of epochs of the training, where it is known beforehand.
    """

    epoch: int
    train_loss: NotRequired[float | None]
    validation_loss: NotRequired[float | None]
    epochs: NotRequired[int]


History = tuple[Mapping[str, Any], ...]
"""Rows of ``Epoch`` and of further JSON-ready keys."""

Codes = npt.NDArray[np.uint8]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Labelled, gap-filled series (method sections 5 and 6).

    Parameters
    ----------
    dn
        Digital numbers (N, T, B) uint16.
    labels
        Legend codes (N,) uint8.
    validation
        (N,) bool, True for validation samples, on which no model parameter may be fitted.
    context
        Meaning of the axes of `dn` and the codes of `labels`.

    Raises
    ------
    InputError
        If shapes or dtypes do not match, there is no training sample, or a label is not in the legend.
    """

    dn: npt.NDArray[np.uint16]
    labels: npt.NDArray[np.uint8]
    validation: npt.NDArray[np.bool_]
    context: Context

    def __post_init__(self) -> None:
        samples = self.labels.size
        if self.dn.ndim != 3 or not self.labels.shape == self.validation.shape == self.dn.shape[:1]:
            raise InputError(
                f"samples of shape {self.dn.shape}, labels of shape {self.labels.shape} and validation of shape "
                f"{self.validation.shape} do not fit together; give (N, T, B), (N,) and (N,)"
            )
        if self.labels.dtype != np.uint8 or self.validation.dtype != np.bool_:
            raise InputError(
                f"labels are {self.labels.dtype} and validation is {self.validation.dtype}; give uint8 and bool"
            )
        self.context.check_series(self.dn.transpose(1, 2, 0))
        if self.validation.all():
            raise InputError(f"none of the {samples} samples is for training; lower the validation share")
        unknown = sorted({int(code) for code in np.unique(self.labels)} - set(self.context.legend.codes))
        if unknown:
            raise InputError(f"labels {unknown} are not in the legend; drop those samples or add the classes")

    @cached_property
    def classes(self) -> npt.NDArray[np.uint8]:
        """Ascending codes (K,) uint8 of the training samples; a model can answer only these codes."""
        return np.unique(self.labels[~self.validation])

    @cached_property
    def digest(self) -> str:
        """Digest of the content of the set, 64 hex digits."""
        content = sha256(json.dumps([self.context.to_dict(), self.dn.shape]).encode())
        for array in (self.dn, self.labels, self.validation):
            content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()

    def part(self, *, validation: bool) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
        """Return one part as `dn` (n, T, B) and the positions (n,) int64 of its labels in :attr:`classes`.

        Validation samples of a class without training samples are left out: no model could classify them correctly.
        """
        chosen = (self.validation == validation) & np.isin(self.labels, self.classes)
        return self.dn[chosen], np.searchsorted(self.classes, self.labels[chosen])


class Model(Protocol):
    """A trained classifier: immutable and cheap to pickle; its Dask token derives from its content."""

    @property
    def settings(self) -> Classifier:
        """Classifier that was fitted."""

    @property
    def context(self) -> Context:
        """What the model was trained for."""

    @property
    def classes(self) -> npt.NDArray[np.uint8]:
        """Ascending codes (K,) uint8 that the model can answer."""

    @property
    def history(self) -> History:
        """One JSON-ready row per training epoch, with keys of ``Epoch``; empty for a model without epochs."""

    @property
    def engine(self) -> str:
        """Name of the engine of :meth:`predict` in this process, e.g. ``native-int16-avx2``."""

    @property
    def digest(self) -> str:
        """Digest of the content of the model, 64 hex digits; the Dask token derives from it."""

    @overload
    def predict(self, dn: Series, probabilities: Literal[False] = False) -> tuple[Codes, Codes]: ...

    @overload
    def predict(self, dn: Series, probabilities: Literal[True]) -> tuple[Codes, Codes, Probabilities]: ...

    def predict(
        self, dn: Series, probabilities: bool = False
    ) -> tuple[Codes, Codes] | tuple[Codes, Codes, Probabilities]:
        """Classify pixels. The answer for a pixel does not depend on the other pixels of the call, bit for bit.

        Parameters
        ----------
        dn
            Gap-filled series (T, B, P) uint16.
        probabilities
            Whether to return the probabilities of all classes as well; codes and confidences are the same either way.

        Returns
        -------
        Codes (P,) uint8, the lowest in a tie; confidences (P,) uint8, the probability of the code in percent, 1 to
        100, a score that is not calibrated; and, on request, probabilities (K, P) float32 in the order of
        :attr:`classes`, which sum to 1. Up to float32 rounding, no class is more probable than that of the code.
        """

    def save(self, folder: Path) -> None:
        """Write the model into `folder`; the same model always gives the same bytes."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that :meth:`save` wrote; anything else raises `InputError`."""


class Classifier(Protocol):
    """Settings that can be fitted: a frozen dataclass whose fields are also the keys of ``[classifier]``.

    If any workers have the `resource`, only these workers train and classify.
    """

    name: ClassVar[str]
    model: ClassVar[type[Model]]
    resource: ClassVar[str | None]

    @staticmethod
    def engine_here() -> str:
        """Name of the engine that its models try first in this process."""

    def fit(
        self, data: TrainingSet, *, seed: int, checkpoint: Path | None = None, report: Report | None = None
    ) -> Model:
        """Train on `data`; the same data, settings and seed give the same model, even after an interruption.

        `checkpoint` is a file from which an interrupted training continues, and `report` is called with the
        row of each epoch (``Epoch``). A classifier without epochs ignores both.
        """
