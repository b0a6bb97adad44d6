"""A network on a GPU, in large fixed batches: the next batch is staged and copied while one is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mlc_dask.classifiers.engine import Answer, Probabilities, Series
from mlc_dask.classifiers.torch_network.protocol import Network

BATCH: Final = 16_384
"""Pixels per batch: 170 MB of outputs per layer, and hundreds of blocks to occupy the multiprocessors."""


class StreamedEngine:
    """Runs a network on a device with its own memory; see :class:`~mlc_dask.classifiers.engine.Engine`."""

    def __init__(self, network: Network, *, name: str, on: torch.device, batch: int = BATCH) -> None:
        self.name, self._device, self._batch = name, on, batch
        self._network = network.to(on).eval()

    def classify(self, dn: Series, probabilities: Probabilities | None = None) -> Answer:
        """See :class:`~mlc_dask.classifiers.engine.Engine`."""
        pixels = dn.shape[2]
        position, probability = np.empty(pixels, np.intp), np.empty(pixels, np.float32)
        edges = [*range(0, pixels, self._batch), pixels]
        parts = [slice(a, b) for a, b in pairwise(edges)]
        staging = self._staging(dn, parts)
        with torch.inference_mode():
            held = next(staging, None)
            for part in parts:
                assert held is not None
                scores = self._network(held)
                best = scores.max(dim=1)
                held = next(staging, None)  # while the device computes
                count = part.stop - part.start
                position[part] = best.indices[:count].cpu().numpy()
                probability[part] = best.values[:count].exp().cpu().numpy()
                if probabilities is not None:
                    probabilities[:, part] = scores[:count].exp().T.cpu().numpy()
        return position, probability

    def _staging(self, dn: Series, parts: list[slice]) -> Iterator[Tensor]:
        """Yield batches (n, T, B) float32 on the device; zeros fill up the last batch.

        Host and device have two buffers each, which take turns. A buffer is written again only after its pixels were
        classified.
        """
        gpu = self._device.type == "cuda"
        shape = (2, *dn.shape[:2], self._batch)
        here = torch.zeros(shape, dtype=torch.int16, pin_memory=gpu)
        there = torch.empty(shape, dtype=torch.int16, device=self._device)
        copies = torch.cuda.Stream(self._device) if gpu else None
        if copies:
            # The memory may just have been released by another thread whose kernels still wait in the common stream.
            copies.wait_stream(torch.cuda.current_stream(self._device))
            there.record_stream(copies)
        for turn, part in enumerate(parts):
            source, target, count = here[turn % 2], there[turn % 2], part.stop - part.start
            source[:, :, :count] = torch.from_numpy(dn[:, :, part].view(np.int16))
            source[:, :, count:] = 0
            on_the_side: AbstractContextManager[object] = torch.cuda.stream(copies) if copies else nullcontext()
            with on_the_side:
                target.copy_(source, non_blocking=True)
            if copies:
                torch.cuda.current_stream(self._device).wait_stream(copies)
            # The values are unsigned 16-bit integers, for which PyTorch has no arithmetic.
            yield (target.to(torch.int32) & 0xFFFF).to(torch.float32).permute(2, 0, 1)
