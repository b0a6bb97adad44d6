"""The network on a GPU: large fixed batches in float16, the next one staged and copied while this one computes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlc_dask.classifiers.lstm.engines import Series
from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.data.errors import InputError

BATCH: Final = 16_384
"""Pixels at a time: 170 MB of a layer's outputs, and hundreds of blocks for the multiprocessors to share."""

CHOICES: Final = ("cudnn", "triton", "off")
"""What ``MLC_DASK_CUDA`` may ask for: cuDNN's layers, our own (:mod:`.fused`), plain PyTorch."""


def chosen() -> str:
    """Return the one of :data:`CHOICES` that the environment asks for; cuDNN's layers where it says nothing.

    Raises
    ------
    InputError
        If it asks for something else.
    """
    asked = os.environ.get("MLC_DASK_CUDA") or CHOICES[0]
    if asked not in CHOICES:
        raise InputError(f"MLC_DASK_CUDA={asked!r} is unknown; set it to {', '.join(CHOICES)}")
    if asked == "triton" and not find_spec("triton"):
        raise InputError("MLC_DASK_CUDA=triton needs the package triton; install it, or unset the variable")
    return asked


def in_float16(network: LSTMNetwork, layers: str) -> LSTMNetwork:
    """Return a copy of `network` whose recurrence is that of cuDNN or, for ``triton``, one kernel a layer."""
    made = network.with_recurrence_in(torch.float16)
    if layers == "triton":
        from mlc_dask.classifiers.lstm.fused import FusedLSTM

        made.add_module("lstm", FusedLSTM(network.lstm, torch.float16))
    return made


class StreamedEngine:
    """Runs a network on a device of its own memory; see :class:`~mlc_dask.classifiers.lstm.engines.Engine`."""

    def __init__(self, network: LSTMNetwork, *, name: str, on: torch.device, batch: int = BATCH) -> None:
        self.name, self._device, self._batch = name, on, batch
        self._network = network.to(on).eval()

    def classify(self, dn: Series) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """See :class:`~mlc_dask.classifiers.lstm.engines.Engine`."""
        pixels = dn.shape[2]
        position, probability = np.empty(pixels, np.intp), np.empty(pixels, np.float32)
        edges = [*range(0, pixels, self._batch), pixels]
        parts = [slice(a, b) for a, b in pairwise(edges)]
        staging = self._staging(dn, parts)
        with torch.inference_mode():
            held = next(staging, None)
            for part in parts:
                assert held is not None
                best = self._network(held).max(dim=1)
                held = next(staging, None)  # while the device computes
                count = part.stop - part.start
                position[part] = best.indices[:count].cpu().numpy()
                probability[part] = best.values[:count].exp().cpu().numpy()
        return position, probability

    def _staging(self, dn: Series, parts: list[slice]) -> Iterator[Tensor]:
        """Batches (n, T, B) float32 on the device, the last one filled up with zeros.

        Two buffers on either side take turns: when one is written again, its pixels have had their answer.
        """
        gpu = self._device.type == "cuda"
        shape = (2, *dn.shape[:2], self._batch)
        here = torch.zeros(shape, dtype=torch.int16, pin_memory=gpu)
        there = torch.empty(shape, dtype=torch.int16, device=self._device)
        copies = torch.cuda.Stream(self._device) if gpu else None
        if copies:
            # Its memory may have been another thread's a moment ago, whose kernels still wait in the common stream.
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
            # Sixteen bits without a sign, which PyTorch has no arithmetic for.
            yield (target.to(torch.int32) & 0xFFFF).to(torch.float32).permute(2, 0, 1)
