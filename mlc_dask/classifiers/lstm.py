"""The recurrent classifier of the paper (section 4, METHOD section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from mlc_dask.classifiers import archive
from mlc_dask.classifiers.engines import TorchEngine
from mlc_dask.classifiers.network import LSTMNetwork
from mlc_dask.classifiers.protocol import Context, History, Report, TrainingSet, check_at_least
from mlc_dask.classifiers.training import train
from mlc_dask.errors import InputError


@dataclass(frozen=True, eq=False)
class LSTMModel:
    """A trained recurrent network; `weights` are its state of the best epoch, normalisation included."""

    settings: LSTM
    context: Context
    classes: npt.NDArray[np.uint8]
    history: History
    weights: Mapping[str, npt.NDArray[Any]]

    @cached_property
    def _content(self) -> bytes:
        description = {
            "kind": LSTM.name,
            "context": self.context.to_dict(),
            "classes": self.classes.tolist(),
            "settings": asdict(self.settings),
            "history": list(self.history),
        }
        return archive.pack(description, self.weights)

    @cached_property
    def _engine(self) -> TorchEngine:
        with torch.random.fork_rng(devices=[]):
            network = self.settings.network(len(self.context.bands), len(self.classes))
        network.load_state_dict({name: torch.tensor(array) for name, array in self.weights.items()})
        return TorchEngine(network)

    def predict(self, dn: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Give every pixel of `dn` (T, B, P) uint16 a code (P,) uint8 and its probability (P,) uint8, percent 1..100.

        The same bits whatever pixels come with it and however many threads there are, on one kind of device.
        """
        self.context.check_series(dn)
        position, percent = self._engine.classify(dn)
        return self.classes[position], percent

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and its readable description ``model.json`` into `folder`."""
        archive.write(folder, self._content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; raises `InputError` if it is no complete recurrent model."""
        description = archive.read_description(folder)
        with archive.parsing(folder, LSTM.name):
            model = cls(
                LSTM(**description["settings"]),
                Context.from_dict(description["context"]),
                np.array(description["classes"], np.uint8),
                tuple(description["history"]),
                archive.read_arrays(folder),
            )
            assert model._engine, "an incomplete set of weights must fail here, not on a worker"
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be derived: half the bytes on their way to a worker."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (LSTM.name, sha256(self._content).hexdigest())


@dataclass(frozen=True)
class LSTM:
    """Settings of the recurrent classifier; the defaults are the paper's, or METHOD section 7 where it is silent.

    Parameters
    ----------
    layers, hidden, bidirectional, dropout
        Shape of the network; the dropout is that between layers.
    epochs, batch, learning_rate, weight_decay
        Adam on the cross-entropy, `batch` samples a step.
    class_weights
        Whether every class counts alike in the loss, however many samples it has.
    """

    name: ClassVar[str] = "lstm"
    model: ClassVar[type[LSTMModel]] = LSTMModel

    layers: int = 4
    hidden: int = 128
    bidirectional: bool = True
    dropout: float = 0.5713
    epochs: int = 100
    batch: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    class_weights: bool = False

    def __post_init__(self) -> None:
        whole = [(s, getattr(self, s), 1) for s in ("layers", "hidden", "epochs", "batch")]
        check_at_least("LSTM", [*whole, ("learning_rate", self.learning_rate, 0), ("weight_decay", self.weight_decay, 0)])
        if not 0 <= self.dropout < 1:
            raise InputError(f"LSTM: dropout={self.dropout} is no share; give 0 or more, and less than 1")

    def network(self, bands: int, classes: int) -> LSTMNetwork:
        """Return an untrained network for series of `bands` bands and so many `classes`."""
        return LSTMNetwork(
            bands,
            classes,
            layers=self.layers,
            hidden=self.hidden,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
        )

    def fit(
        self, data: TrainingSet, *, seed: int, checkpoint: Path | None = None, report: Report | None = None
    ) -> LSTMModel:
        """Train the network on `data`, keeping its best epoch (METHOD section 7).

        Parameters
        ----------
        data
            Series (N, T, B) uint16 and labels; the validation part chooses the epoch.
        seed
            Decides initial weights, order of the samples and dropout.
        checkpoint
            File written after every epoch, from which an interrupted training continues to the very same weights.
            It is left there; one of other data, settings or seed is ignored and replaced.
        report
            Called after every epoch with its history row, and besides `epochs` (their number) and `seconds`.

        Raises
        ------
        InputError
            If the loss is no longer finite.
        """
        best, history = train(self, data, seed=seed, checkpoint=checkpoint, report=report)
        weights = {name: tensor.cpu().numpy() for name, tensor in best.items()}
        return LSTMModel(self, data.context, data.classes, tuple(history), weights)
