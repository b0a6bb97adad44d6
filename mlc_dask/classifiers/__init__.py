"""Classifiers of pixel time series: settings are fitted to a training set, which gives a model that predicts.

A new classifier is a module with a :class:`~mlc_dask.classifiers.protocol.Classifier`, and a line of
:data:`CLASSIFIERS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mlc_dask.classifiers import archive
from mlc_dask.classifiers.context import Context
from mlc_dask.classifiers.forest.settings import RandomForest
from mlc_dask.classifiers.lstm.settings import LSTM
from mlc_dask.classifiers.protocol import Classifier, Model, TrainingSet
from mlc_dask.data.errors import InputError

__all__ = [
    "CLASSIFIERS",
    "LSTM",
    "Classifier",
    "Context",
    "Model",
    "RandomForest",
    "TrainingSet",
    "load_model",
    "save_model",
]

CLASSIFIERS: Final[dict[str, type[Classifier]]] = {c.name: c for c in (RandomForest, LSTM)}
"""Classifiers by their names in configurations and saved models."""


def save_model(model: Model, folder: str | Path) -> None:
    """Write `model` into `folder`: ``model.safetensors``, and ``model.json`` for human readers."""
    model.save(Path(folder))


def load_model(folder: str | Path) -> Model:
    """Read the model in `folder`, whatever its kind, without executing anything from its file.

    Raises
    ------
    InputError
        If there is no model, or it is incomplete or of an unknown kind.
    """
    kind = archive.read_description(Path(folder)).get("kind")
    if kind not in CLASSIFIERS:
        raise InputError(
            f"{folder} holds a model of unknown kind {kind!r}; give one of kind {' or '.join(CLASSIFIERS)}"
        )
    return CLASSIFIERS[kind].model.load(Path(folder))
