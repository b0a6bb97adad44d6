"""How a network is run over many pixels: fixed batches, so that no answer depends on how the pixels were cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

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


def to_percent(probability: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Round probabilities to whole percent (halves to even), and to 1 at least since 0 means no data."""
    percent: npt.NDArray[np.uint8] = np.clip(np.rint(100 * probability), 1, 100).astype(np.uint8)
    return percent


class TorchEngine:
    """Runs a network of log-probabilities (batch, T, B) float32 → (batch, K) in plain PyTorch."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._device = device()
        self._network = network.to(self._device).eval()

    def classify(self, dn: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]:
        """Return the best class's position (P,) and percent (P,) uint8 for `dn` (T, B, P) uint16.

        Only one batch at a time is float32. The last is filled up with zeros, which no other pixel sees.
        """
        pixels = dn.shape[2]
        position = np.empty(pixels, np.intp)
        probability = np.empty(pixels, np.float32)
        batch = np.empty((BATCH, *dn.shape[:2]), np.float32)
        with single_thread(), torch.inference_mode():
            for start in range(0, pixels, BATCH):
                stop = min(start + BATCH, pixels)
                batch[: stop - start] = dn[:, :, start:stop].transpose(2, 0, 1)
                batch[stop - start :] = 0
                best = self._network(torch.from_numpy(batch).to(self._device)).max(dim=1)
                position[start:stop] = best.indices[: stop - start].cpu().numpy()
                probability[start:stop] = best.values[: stop - start].exp().cpu().numpy()
        return position, to_percent(probability)
