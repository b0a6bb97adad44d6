"""The network on compiled kernels, and which engine runs it."""

from __future__ import annotations

from types import ModuleType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from mlc_dask import native
from mlc_dask.classifiers.engine import Answer, Engine, Probabilities, Series
from mlc_dask.classifiers.lstm import cuda
from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.classifiers.torch_network.engine import TorchEngine, device
from mlc_dask.classifiers.torch_network.gate import GatedEngine
from mlc_dask.classifiers.torch_network.streamed import StreamedEngine

_FASTER: Final = ("native-amx", "native-avx512", "native-avx2")
"""Engines that beat PyTorch; plain 128-bit vectors do not (decision 008)."""


class NativeEngine:
    """Runs a network on the compiled kernels of `module`, as they are called in :mod:`mlc_dask.native`."""

    def __init__(self, network: LSTMNetwork, steps: int, module: ModuleType) -> None:
        lstm, state = network.lstm, {n: _values(t) for n, t in network.state_dict().items()}
        directions = ("", "_reverse")[: 2 if lstm.bidirectional else 1]
        parts = [f"l{layer}{direction}" for layer in range(lstm.num_layers) for direction in directions]
        self._network = module.Lstm(
            steps=steps,
            layers=lstm.num_layers,
            bidirectional=lstm.bidirectional,
            mean=state["mean"],
            std=state["std"],
            norm_gain=state["input_norm.weight"],
            norm_bias=state["input_norm.bias"],
            input_weights=[state[f"lstm.weight_ih_{part}"] for part in parts],
            hidden_weights=[state[f"lstm.weight_hh_{part}"] for part in parts],
            state_gain=state["state_norm.weight"],
            state_bias=state["state_norm.bias"],
            head=state["head.weight"],
            head_bias=state["head.bias"],
        )
        self.name = f"native-{self._network.kernel}"

    def classify(self, dn: Series, probabilities: Probabilities | None = None) -> Answer:
        """See :class:`~mlc_dask.classifiers.engine.Engine`; other threads run meanwhile."""
        position, probability = np.empty(dn.shape[2], np.uint8), np.empty(dn.shape[2], np.float32)
        self._network.classify(np.ascontiguousarray(dn), position, probability, probabilities)
        return position.astype(np.intp), probability


def engine_of(network: LSTMNetwork, steps: int) -> Engine:
    """Return the fastest engine for `network` on this machine, held to plain PyTorch: see :func:`engine_here`."""
    name = engine_here()
    if name.startswith("cuda-"):
        layers = cuda.in_float16(network, name.removeprefix("cuda-"))
        return GatedEngine(StreamedEngine(layers, name=name, on=device()), TorchEngine(network))
    reference = TorchEngine(network)
    module = native.best()
    if module is not None and name.startswith("native-"):
        return GatedEngine(NativeEngine(network, steps, module), reference)
    if name == "torch-bf16":
        return GatedEngine(TorchEngine(network.with_recurrence_in(torch.bfloat16)), reference)
    return reference


def engine_here() -> str:
    """Return what networks are first tried on in this process.

    The fastest by decision 008: the GPU as ``MLC_DASK_CUDA`` says, matrix tiles by compiled kernels, tiles by PyTorch
    unless other kernels are asked for, compiled vectors, plain PyTorch. A network that does not fit tiles runs on the
    vectors of the same kernels.
    """
    if device().type == "cuda":
        return "torch-cuda" if cuda.chosen() == "off" else f"cuda-{cuda.chosen()}"
    module = native.best()
    name = native.engine_name(module) if module else ""
    if name != "native-amx" and native.level_asked() in ("", "off") and _torch_has_tiles():
        return "torch-bf16"
    return name if name in _FASTER else "torch-cpu"


def _torch_has_tiles() -> bool:
    """Whether PyTorch can use matrix tiles here; asked of a function that is no part of its interface."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def _values(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
    return values
