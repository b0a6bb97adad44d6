"""The recurrent network of method section 7 (paper section 4), modelled on `LSTM` of BreizhCrops."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class LSTMNetwork(nn.Module):
    """Digital numbers (N, T, D) float32 → log-probabilities (N, K).

    The network standardises bands itself, by the buffers `mean` and `std` (D,). The head classifies the CELL states of
    all layers and directions, as the source code of the paper does, not hidden states or a mean over time.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, bands: int, classes: int, *, layers: int, hidden: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        states = layers * (2 if bidirectional else 1) * hidden
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("std", torch.ones(bands))
        self.input_norm = nn.LayerNorm(bands)
        self.lstm = nn.LSTM(
            bands,
            hidden,
            num_layers=layers,
            bias=False,
            batch_first=True,
            # A single layer has no dropout between layers, and PyTorch warns if a dropout is given.
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=bidirectional,
        )
        self.state_norm = nn.LayerNorm(states)
        self.head = nn.Linear(states, classes)

    def forward(self, dn: Tensor) -> Tensor:
        """Return log-probabilities (N, K) of series (N, T, D)."""
        _, (_, cells) = self.lstm(self._bands(dn).to(self.dtype))
        return self._scores(cells)

    def rounded(self, dn: Tensor) -> Tensor:
        """Return the log-probabilities of :meth:`forward` with the recurrence in bfloat16.

        Gradients pass the rounding, so training updates the float32 weights.
        """
        weights = {name: weight.bfloat16() for name, weight in self.lstm.named_parameters()}
        _, (_, cells) = torch.func.functional_call(self.lstm, weights, (self._bands(dn).bfloat16(),))
        return self._scores(cells)

    def _bands(self, dn: Tensor) -> Tensor:
        bands: Tensor = self.input_norm((dn - self.mean) / self.std)
        return bands

    def _scores(self, cells: Tensor) -> Tensor:
        states = cells.to(self.mean.dtype).transpose(0, 1).flatten(1)
        return torch.log_softmax(self.head(self.state_norm(states)), dim=1)

    @property
    def dtype(self) -> torch.dtype:
        """Data type in which the recurrent layers compute."""
        return next(self.lstm.parameters()).dtype

    def with_recurrence_in(self, dtype: torch.dtype) -> LSTMNetwork:
        """Return a copy whose recurrent layers compute in `dtype`; normalisations and head stay float32."""
        made = copy.deepcopy(self)
        made.lstm.to(dtype)
        return made

    def standardise(self, dn: npt.NDArray[np.uint16]) -> None:
        """Set `mean` and `std` from the bands of `dn` (N, T, D) uint16; the std of a constant band is 1."""
        # Sums of integers are exact, so the order of the samples does not change a bit of the model.
        count = dn.shape[0] * dn.shape[1]
        total = dn.sum(axis=(0, 1), dtype=np.uint64)
        squares = np.array([np.square(band, dtype=np.uint64).sum() for band in np.moveaxis(dn, 2, 0)])
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(np.where(std > 0, std, 1)))
