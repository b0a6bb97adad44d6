"""The protocols of a PyTorch network and its settings, as training, resumption and engines need them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class Network(Protocol):
    """A ``torch.nn.Module`` that maps series (N, T, B) float32 to log-probabilities (N, K) float32.

    It standardises the digital numbers itself, so its state is all that a model has to store.
    """

    @property
    def dtype(self) -> torch.dtype:
        """Data type of most of the computation; float32 makes the engine of the network the reference."""

    def __call__(self, dn: Tensor) -> Tensor:
        """Return log-probabilities (N, K) of digital numbers (N, T, B)."""

    def rounded(self, dn: Tensor) -> Tensor:
        """Return the log-probabilities with products in bfloat16, for training; gradients pass the rounding."""

    def standardise(self, dn: npt.NDArray[np.uint16]) -> None:
        """Set mean and standard deviation of the bands from `dn` (N, T, B)."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """See ``torch.nn.Module``; the same holds for the methods below."""

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...  # noqa: D102
    def to(self, device: torch.device) -> Self: ...  # noqa: D102
    def train(self) -> Self: ...  # noqa: D102
    def eval(self) -> Self: ...  # noqa: D102


class NetworkSettings(Protocol):
    """Settings of a classifier that is a network: a frozen dataclass with the fields that training needs."""

    @property
    def name(self) -> str:
        """Name of the classifier."""

    @property
    def epochs(self) -> int:
        """Number of passes over the training samples."""

    @property
    def batch(self) -> int:
        """Samples per step."""

    @property
    def learning_rate(self) -> float:
        """Step size of Adam."""

    @property
    def weight_decay(self) -> float:
        """Weight decay of Adam."""

    @property
    def class_weights(self) -> bool:
        """Whether every class has the same weight in the loss."""

    @property
    def precision(self) -> str:
        """``float32``, or ``bfloat16`` to train by :meth:`Network.rounded`."""

    def network(self, bands: int, classes: int) -> Network:
        """Return an untrained network for series of `bands` bands."""
