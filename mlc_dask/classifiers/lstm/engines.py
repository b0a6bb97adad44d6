"""How a network is run over many pixels: fixed batches, so that no answer depends on how the pixels were cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mlc_dask.classifiers.lstm.network import LSTMNetwork

Series = npt.NDArray[np.uint16]

# Part of the result: kernels are chosen by the shape of a batch, and another kernel may differ in the last bit.
BATCH: Final = 256


def device() -> torch.device:
    """Return the CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread: sums split over threads round differently, and Dask runs one task a core already."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Engine(Protocol):
    """Runs one trained network. A pixel's answer is the same whatever pixels come with it."""

    @property
    def name(self) -> str:
        """What it runs on, for people and records."""

    def classify(self, dn: Series) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the best class's position (P,) and its probability (P,) for `dn` (T, B, P) uint16."""


class TorchEngine:
    """Runs a network of log-probabilities (batch, T, B) float32 → (batch, K) in plain PyTorch.

    As it is it is the reference; with its recurrence in bfloat16 it is an engine of its own.
    """

    def __init__(self, network: LSTMNetwork) -> None:
        self._device = device()
        self._network = deepcopy(network).to(self._device).eval()
        self.name = f"torch-{self._device.type}" if network.dtype is torch.float32 else "torch-bf16"

    def classify(self, dn: Series) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """See :class:`Engine`."""
        position = np.empty(dn.shape[2], np.intp)
        probability = np.empty(dn.shape[2], np.float32)
        for part, scores in self._batches(dn):
            best = scores.max(dim=1)
            position[part] = best.indices.cpu().numpy()
            probability[part] = best.values.exp().cpu().numpy()
        return position, probability

    def probabilities(self, dn: Series) -> npt.NDArray[np.float32]:
        """Return those of all classes, (P, K)."""
        found: list[npt.NDArray[np.float32]] = [scores.exp().cpu().numpy() for _, scores in self._batches(dn)]
        return np.concatenate(found)

    def _batches(self, dn: Series) -> Iterator[tuple[slice, torch.Tensor]]:
        """Scores (n, K) of so many pixels at a time; only they are float32. The last batch is filled up with zeros."""
        pixels = dn.shape[2]
        batch = np.empty((BATCH, *dn.shape[:2]), np.float32)
        # cuDNN would round what it multiplies to TF32's eleven bits.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with single_thread(), torch.inference_mode(), exact:
            for start in range(0, pixels, BATCH):
                stop = min(start + BATCH, pixels)
                batch[: stop - start] = dn[:, :, start:stop].transpose(2, 0, 1)
                batch[stop - start :] = 0
                scores = self._network(torch.from_numpy(batch).to(self._device))
                yield slice(start, stop), scores[: stop - start]
