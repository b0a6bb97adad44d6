"""The recurrent classifier of the paper (section 4, method section 7).

PyTorch takes seconds to import, so it is imported only where a network is trained or run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from mlc_dask.classifiers.engine import Engine
from mlc_dask.classifiers.protocol import Model, Report, TrainingSet
from mlc_dask.classifiers.stored import StoredModel
from mlc_dask.data.settings import settings

if TYPE_CHECKING:
    from mlc_dask.classifiers.lstm.network import LSTMNetwork


class LSTMModel(StoredModel["LSTM"]):
    """A trained recurrent network: its state after the best epoch, normalisation included."""

    @staticmethod
    def parse_settings(values: Mapping[str, Any]) -> LSTM:
        """Build the classifier from its saved fields."""
        return LSTM(**values)

    @cached_property
    def _engine(self) -> Engine:
        import torch

        from mlc_dask.classifiers.lstm.compiled import engine_of

        # On the meta device no initial weights are drawn, so the random state of the caller does not change.
        with torch.device("meta"):
            network = self.settings.network(len(self.context.bands), len(self.classes))
        state = {name: torch.tensor(array, dtype=torch.float32) for name, array in self.arrays.items()}
        network.load_state_dict(state, assign=True)
        return engine_of(network, len(self.context.days))

    def check(self) -> None:
        """Raise `RuntimeError` if the arrays are not the state of a network of these settings."""
        assert self._engine


@settings
class LSTM:
    """LSTM and its training; defaults are those of the paper or, where it gives none, of method section 7.

    Parameters
    ----------
    layers, hidden, bidirectional, dropout
        Shape of the network; dropout applies between layers.
    epochs, batch, learning_rate, weight_decay
        Training by Adam on the cross-entropy, with `batch` samples per step.
    class_weights
        Whether every class has the same weight in the loss, however many samples it has.
    precision
        Type of the products in training: ``float32``, or ``bfloat16`` on processors and GPUs with matrix units for it.
        Weights, weight updates and the validation loss are float32 in either case.
    """

    name: ClassVar[str] = "lstm"
    model: ClassVar[type[Model]] = LSTMModel
    resource: ClassVar[str | None] = "GPU"

    layers: Annotated[int, Field(ge=1, description="LSTM layers")] = 4
    hidden: Annotated[int, Field(ge=1, description="cells per layer and direction")] = 128
    bidirectional: Annotated[bool, Field(description="both directions in time")] = True
    dropout: Annotated[float, Field(ge=0, lt=1, description="between layers")] = 0.5713
    epochs: Annotated[int, Field(ge=1, description="passes over the samples")] = 100
    batch: Annotated[int, Field(ge=1, description="samples per step")] = 1024
    learning_rate: Annotated[float, Field(gt=0, description="of Adam")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, description="of Adam")] = 1e-6
    class_weights: Annotated[bool, Field(description="weight classes by their inverse share")] = False
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of training; bfloat16 needs a processor with AMX, or a GPU")
    ] = "float32"

    @staticmethod
    def engine_here() -> str:
        """Return the name of the engine that networks try first in this process."""
        from mlc_dask.classifiers.lstm.compiled import engine_here

        return engine_here()

    def network(self, bands: int, classes: int) -> LSTMNetwork:
        """Return an untrained network for series of `bands` bands and for `classes` classes."""
        from mlc_dask.classifiers.lstm.network import LSTMNetwork

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
        """Train the network on `data`, keeping its best epoch (method section 7).

        Parameters
        ----------
        data
            Series (N, T, B) uint16 and labels; the validation part chooses the epoch.
        seed
            Seed of initial weights, sample order and dropout.
        checkpoint
            File written after every epoch, from which an interrupted training continues to exactly the same weights.
            The file is kept; a checkpoint of other data, settings or seed is ignored and replaced.
        report
            Called after every epoch with its history row, plus `epochs` (number of epochs) and `seconds`.

        Raises
        ------
        InputError
            If the loss is not finite.
        """
        from mlc_dask.classifiers.torch_network.training import train

        best, history = train(self, data, seed=seed, checkpoint=checkpoint, report=report)
        arrays = {name: tensor.cpu().numpy() for name, tensor in best.items()}
        return LSTMModel(self, data.context, data.classes, tuple(history), arrays)
