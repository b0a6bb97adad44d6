"""The network on a GPU: which layers run there, and their float16."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Final

import torch

from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.data.errors import InputError

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
