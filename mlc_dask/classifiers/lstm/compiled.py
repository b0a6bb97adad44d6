"""The engine on compiled kernels, and the choice of the engine of a network."""

from __future__ import annotations

from types import ModuleType

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


class NativeEngine:
    """Runs a network on the compiled kernels of `module` (:func:`mlc_dask.native.networks`).

    Engines whose names begin with ``native-int16`` give the same bits.

    Raises
    ------
    ValueError
        If a value of the network is not finite or above 1e15 in size, or a standard deviation is below 1e-9.
    """

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
        """See :class:`~mlc_dask.classifiers.engine.Engine`; it releases the GIL."""
        position, probability = np.empty(dn.shape[2], np.uint8), np.empty(dn.shape[2], np.float32)
        self._network.classify(np.ascontiguousarray(dn), position, probability, probabilities)
        return position.astype(np.intp), probability


def engine_of(network: LSTMNetwork, steps: int) -> Engine:
    """Return the fastest engine for `network` on this machine (:func:`engine_here`), checked against plain PyTorch."""
    name = engine_here()
    if name.startswith("cuda-"):
        layers = cuda.in_float16(network, name.removeprefix("cuda-"))
        return GatedEngine(StreamedEngine(layers, name=name, on=device()), TorchEngine(network))
    reference = TorchEngine(network)
    module = native.networks()
    if module is not None and name.startswith("native-"):
        return GatedEngine(NativeEngine(network, steps, module), reference)
    if name == "torch-bf16":
        return GatedEngine(TorchEngine(network.with_recurrence_in(torch.bfloat16)), reference)
    return reference


def engine_here() -> str:
    """Return the name of the engine that networks try first in this process.

    It is the first available one in the order of decision 008: the GPU (``MLC_DASK_CUDA`` chooses its layers), matrix
    tiles by compiled kernels, compiled vectors of whole numbers, matrix tiles by PyTorch unless ``MLC_DASK_NATIVE``
    asks for other kernels, plain PyTorch. A network whose shape does not fit tiles runs on the vectors of the same
    module.
    """
    if device().type == "cuda":
        return "torch-cuda" if cuda.chosen() == "off" else f"cuda-{cuda.chosen()}"
    level = native.level()
    if level not in ("", "baseline"):
        return "native-amx" if level == "amx" else f"native-int16-{level}"
    return "torch-bf16" if native.level_asked() in ("", "off") and _torch_has_tiles() else "torch-cpu"


def _torch_has_tiles() -> bool:
    """Whether PyTorch can use matrix tiles on this machine, according to a private function of PyTorch."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def _values(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
    return values
