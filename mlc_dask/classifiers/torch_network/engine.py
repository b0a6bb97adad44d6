"""How a network is run over many pixels: fixed batches, so that no answer depends on how the pixels were cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Final

import numpy as np
import torch

from mlc_dask.classifiers.engine import Answer, Probabilities, Series
from mlc_dask.classifiers.torch_network.protocol import Network

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


class TorchEngine:
    """Runs a network of log-probabilities (batch, T, B) float32 → (batch, K) in plain PyTorch.

    A float32 network is the reference; one that computes in bfloat16 is an engine of its own.
    """

    def __init__(self, network: Network) -> None:
        self._device = device()
        self._network = deepcopy(network).to(self._device).eval()
        self.name = f"torch-{self._device.type}" if network.dtype is torch.float32 else "torch-bf16"

    def classify(self, dn: Series, probabilities: Probabilities | None = None) -> Answer:
        """See :class:`~mlc_dask.classifiers.engine.Engine`."""
        position = np.empty(dn.shape[2], np.intp)
        probability = np.empty(dn.shape[2], np.float32)
        for part, scores in self._batches(dn):
            best = scores.max(dim=1)
            position[part] = best.indices.cpu().numpy()
            probability[part] = best.values.exp().cpu().numpy()
            if probabilities is not None:
                probabilities[:, part] = scores.exp().T.cpu().numpy()
        return position, probability

    def probabilities(self, dn: Series) -> Probabilities:
        """Return the probabilities of all classes, (P, K)."""
        found: list[Probabilities] = [scores.exp().cpu().numpy() for _, scores in self._batches(dn)]
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
