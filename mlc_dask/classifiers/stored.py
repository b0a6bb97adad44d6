"""The base class of trained models: arrays with settings, context, classes and history, saved and pickled alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from mlc_dask.classifiers import archive
from mlc_dask.classifiers.context import Context
from mlc_dask.classifiers.engine import Engine, Probabilities, Series, to_percent
from mlc_dask.classifiers.protocol import Classifier, Codes, History

Settings = TypeVar("Settings", bound=Classifier)


@dataclass(frozen=True, eq=False)
class StoredModel(ABC, Generic[Settings]):
    """A model that consists of arrays and a description; see :class:`~mlc_dask.classifiers.protocol.Model`.

    Parameters
    ----------
    settings
        The classifier that was fitted.
    context, classes, history
        See :class:`~mlc_dask.classifiers.protocol.Model`.
    arrays
        The learned parameters.
    """

    settings: Settings
    context: Context
    classes: npt.NDArray[np.uint8]
    history: History
    arrays: Mapping[str, npt.NDArray[Any]]

    @staticmethod
    @abstractmethod
    def parse_settings(values: Mapping[str, Any]) -> Settings:
        """Build the classifier from its saved fields."""

    @abstractmethod
    def check(self) -> None:
        """Raise `ValueError`, `KeyError` or `RuntimeError` if the arrays are not a model of these settings."""

    @property
    @abstractmethod
    def _engine(self) -> Engine:
        """Engine that runs the arrays; it is created once per process."""

    @property
    def engine(self) -> str:
        """Name of the engine of :meth:`predict` in this process, e.g. ``native-int16-avx2``."""
        return self._engine.name

    @overload
    def predict(self, dn: Series, probabilities: Literal[False] = False) -> tuple[Codes, Codes]: ...

    @overload
    def predict(self, dn: Series, probabilities: Literal[True]) -> tuple[Codes, Codes, Probabilities]: ...

    def predict(
        self, dn: Series, probabilities: bool = False
    ) -> tuple[Codes, Codes] | tuple[Codes, Codes, Probabilities]:
        """Classify pixels; see :meth:`mlc_dask.classifiers.protocol.Model.predict`."""
        self.context.check_series(dn)
        every = np.empty((len(self.classes), dn.shape[2]), np.float32) if probabilities else None
        position, probability = self._engine.classify(dn, every)
        codes, percent = self.classes[position], to_percent(probability, least=1)
        return (codes, percent) if every is None else (codes, percent, every)

    def to_bytes(self) -> bytes:
        """Return the bytes of the model's file, which are the same in every process."""
        description = {
            "kind": self.settings.name,
            "context": self.context.to_dict(),
            "classes": self.classes.tolist(),
            # A classifier is a frozen dataclass, which a Protocol cannot require.
            "settings": asdict(self.settings),  # type: ignore[call-overload]
            "history": list(self.history),
        }
        return archive.pack(description, self.arrays)

    @cached_property
    def digest(self) -> str:
        """Digest of the content of the model, 64 hex digits."""
        return sha256(self.to_bytes()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and its readable description ``model.json`` into `folder`."""
        archive.write(folder, self.to_bytes())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model that :meth:`save` wrote; an incomplete model or another kind raises `InputError`."""
        description = archive.read_description(folder)
        with archive.parsing(folder, cls.__name__):
            model = cls(
                cls.parse_settings(description["settings"]),
                Context.from_dict(description["context"]),
                np.array(description["classes"], np.uint8),
                tuple(description["history"]),
                archive.read_arrays(folder),
            )
            if not set(model.classes.tolist()) <= set(model.context.legend.codes):
                raise ValueError("classes outside the legend")
            model.check()
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Leave out cached properties, which would double the bytes that travel to a worker."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (self.settings.name, self.digest)
