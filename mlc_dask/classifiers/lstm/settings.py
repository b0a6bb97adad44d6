"""The recurrent classifier of the paper (section 4, method section 7).

PyTorch takes seconds to import: it is imported where a network is trained or run, and not where one is spoken of.
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
    """A trained recurrent network, as its state of the best epoch, normalisation included."""

    @staticmethod
    def parse_settings(values: Mapping[str, Any]) -> LSTM:
        """Build the classifier from the fields that were saved."""
        return LSTM(**values)

    @cached_property
    def _engine(self) -> Engine:
        import torch

        from mlc_dask.classifiers.lstm.compiled import engine_of

        # On the meta device the initial weights are never drawn, which leaves the caller's random state alone.
        with torch.device("meta"):
            network = self.settings.network(len(self.context.bands), len(self.classes))
        state = {name: torch.tensor(array, dtype=torch.float32) for name, array in self.arrays.items()}
        network.load_state_dict(state, assign=True)
        return engine_of(network, len(self.context.days))

    def check(self) -> None:
        """Raise `RuntimeError` if the arrays are not those of a network of these settings."""
        assert self._engine


@settings
class LSTM:
    """LSTM and its training; the defaults are the paper's, or method section 7 where it is silent.

    Parameters
    ----------
    layers, hidden, bidirectional, dropout
        Shape of the network; the dropout is that between layers.
    epochs, batch, learning_rate, weight_decay
        Adam on the cross-entropy, `batch` samples a step.
    class_weights
        Whether every class counts alike in the loss, however many samples it has.
    precision
        What is multiplied in training: ``float32``, or ``bfloat16`` on processors and GPUs with matrix units for it.
        Weights, their updates and the validation loss are float32 in either case.
    """

    name: ClassVar[str] = "lstm"
    model: ClassVar[type[Model]] = LSTMModel
    resource: ClassVar[str | None] = "GPU"

    layers: Annotated[int, Field(ge=1, description="LSTM layers")] = 4
    hidden: Annotated[int, Field(ge=1, description="cells a layer and direction")] = 128
    bidirectional: Annotated[bool, Field(description="both directions in time")] = True
    dropout: Annotated[float, Field(ge=0, lt=1, description="between layers")] = 0.5713
    epochs: Annotated[int, Field(ge=1, description="passes over the samples")] = 100
    batch: Annotated[int, Field(ge=1, description="samples a step")] = 1024
    learning_rate: Annotated[float, Field(gt=0, description="of Adam")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, description="of Adam")] = 1e-6
    class_weights: Annotated[bool, Field(description="weigh classes by their inverse share")] = False
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of training; bfloat16 needs a processor with AMX, or a GPU")
    ] = "float32"

    def network(self, bands: int, classes: int) -> LSTMNetwork:
        """Return an untrained network for series of `bands` bands and so many `classes`."""
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
        from mlc_dask.classifiers.torch_network.training import train

        best, history = train(self, data, seed=seed, checkpoint=checkpoint, report=report)
        arrays = {name: tensor.cpu().numpy() for name, tensor in best.items()}
        return LSTMModel(self, data.context, data.classes, tuple(history), arrays)
