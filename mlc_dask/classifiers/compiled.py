"""The network on compiled kernels, and the gate that every engine but the reference has to pass."""

from __future__ import annotations

import logging
from threading import Lock
from types import ModuleType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from mlc_dask import native
from mlc_dask.classifiers import cuda
from mlc_dask.classifiers.cuda import StreamedEngine, in_float16
from mlc_dask.classifiers.engines import Engine, Series, TorchEngine, device
from mlc_dask.classifiers.network import LSTMNetwork

_SAMPLE: Final = 1024
"""Pixels of the first block that both engines classify."""

_EQUAL: Final = 0.999
"""Least share of equal labels among them."""

_NEAR: Final = 0.02
"""Most by which the reference may prefer its own class where the labels differ."""

_FASTER: Final = ("native-amx", "native-avx512", "native-avx2")
"""Engines that beat PyTorch; plain 128-bit vectors do not (decision 008)."""

_log = logging.getLogger(__name__)


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

    def classify(self, dn: Series) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """See :class:`~mlc_dask.classifiers.engines.Engine`; other threads run meanwhile."""
        position, probability = np.empty(dn.shape[2], np.uint8), np.empty(dn.shape[2], np.float32)
        self._network.classify(np.ascontiguousarray(dn), position, probability)
        return position.astype(np.intp), probability


class GatedEngine:
    """A fast engine, held to the reference on the first pixels that it is given; where it fails, the reference.

    Of :data:`_SAMPLE` pixels evenly taken from the first block, a share of :data:`_EQUAL` must get equal labels, and
    where labels differ the two classes' probabilities must be as near as :data:`_NEAR`.
    """

    def __init__(self, fast: Engine, reference: TorchEngine) -> None:
        self._fast, self._reference = fast, reference
        self._chosen: Engine | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """That of the engine in use, or of the one that is still to be tried."""
        return (self._chosen or self._fast).name

    def classify(self, dn: Series) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """See :class:`~mlc_dask.classifiers.engines.Engine`."""
        with self._lock:
            if self._chosen is None and dn.shape[2]:
                self._chosen = self._tried(dn)
        return (self._chosen or self._fast).classify(dn)

    def _tried(self, dn: Series) -> Engine:
        sample = dn[:, :, np.unique(np.linspace(0, dn.shape[2] - 1, _SAMPLE).astype(int))]
        found, _ = self._fast.classify(sample)
        expected = self._reference.probabilities(sample)
        pixels, best = np.arange(len(found)), expected.argmax(axis=1)
        apart = expected[pixels, best] - expected[pixels, np.minimum(found, expected.shape[1] - 1)]
        equal = float((found == best).mean())
        if equal >= _EQUAL and (apart <= _NEAR).all():
            return self._fast
        _log.warning(
            "%s gives %.2f %% of %d pixels the labels of %s, and classes up to %.3f less probable; %s is used",
            self._fast.name, 100 * equal, len(found), self._reference.name, apart.max(), self._reference.name,
        )  # fmt: skip
        return self._reference


def engine_of(network: LSTMNetwork, steps: int) -> Engine:
    """Return the fastest engine for `network` on this machine, held to plain PyTorch: see :func:`engine_here`."""
    name = engine_here()
    if name.startswith("cuda-"):
        layers = in_float16(network, name.removeprefix("cuda-"))
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
    if name != "native-amx" and native.level_asked() in ("", "off") and torch.cpu._is_amx_tile_supported():
        return "torch-bf16"
    return name if name in _FASTER else "torch-cpu"


def _values(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
    return values
