"""The network on a GPU: the choice of its recurrent layers, and their conversion to float16."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Final

import torch

from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.data.errors import InputError

CHOICES: Final = ("cudnn", "triton", "off")
"""Values of ``MLC_DASK_CUDA``: the layers of cuDNN, our own (:mod:`.fused`), or plain PyTorch."""


def chosen() -> str:
    """Return the one of :data:`CHOICES` that the environment asks for, by default the layers of cuDNN.

    Raises
    ------
    InputError
        If the environment asks for another value, or Triton is not installed.
    """
    asked = os.environ.get("MLC_DASK_CUDA") or CHOICES[0]
    if asked not in CHOICES:
        raise InputError(f"MLC_DASK_CUDA={asked!r} is unknown; set it to {', '.join(CHOICES)}")
    if asked == "triton" and not find_spec("triton"):
        raise InputError("MLC_DASK_CUDA=triton needs the package triton; install it, or unset the variable")
    return asked


def in_float16(network: LSTMNetwork, layers: str) -> LSTMNetwork:
    """Return a float16 copy of `network` with the layers of cuDNN or, for ``triton``, one kernel per layer."""
    made = network.with_recurrence_in(torch.float16)
    if layers == "triton":
        from mlc_dask.classifiers.lstm.fused import FusedLSTM

        made.add_module("lstm", FusedLSTM(network.lstm, torch.float16))
    return made
