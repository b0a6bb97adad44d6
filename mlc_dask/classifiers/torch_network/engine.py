"""The PyTorch engine, which runs pixels in fixed batches: answers do not depend on how pixels were divided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Final

import numpy as np
import torch

from mlc_dask.classifiers.engine import Answer, Probabilities, Series
from mlc_dask.classifiers.torch_network.protocol import Network

# The batch size affects the result: its shape selects the kernel, and kernels may differ in the last bit.
BATCH: Final = 256


def device() -> torch.device:
    """Return the CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def single_thread() -> Iterator[None]:
    """Run PyTorch on one thread: sums split over threads round differently, and Dask runs one task per core anyway."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class TorchEngine:
    """Runs a network of log-probabilities (batch, T, B) float32 → (batch, K) in plain PyTorch.

    A float32 network gives the reference engine, a bfloat16 network a separate engine.
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
        batches: list[Probabilities] = [scores.exp().cpu().numpy() for _, scores in self._batches(dn)]
        return np.concatenate(batches)

    def _batches(self, dn: Series) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield scores (n, K) per batch, so only one batch at a time is float32. Zeros fill up the last batch."""
        pixels = dn.shape[2]
        batch = np.empty((BATCH, *dn.shape[:2]), np.float32)
        # By default cuDNN rounds the factors to the eleven bits of TF32.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with single_thread(), torch.inference_mode(), exact:
            for start in range(0, pixels, BATCH):
                stop = min(start + BATCH, pixels)
                batch[: stop - start] = dn[:, :, start:stop].transpose(2, 0, 1)
                batch[stop - start :] = 0
                scores = self._network(torch.from_numpy(batch).to(self._device))
                yield slice(start, stop), scores[: stop - start]
