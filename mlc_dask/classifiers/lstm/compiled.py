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
from mlc_dask.classifiers.lstm import cuda
from mlc_dask.classifiers.lstm.cuda import StreamedEngine, in_float16
from mlc_dask.classifiers.lstm.engines import Engine, Series, TorchEngine, device
from mlc_dask.classifiers.lstm.network import LSTMNetwork

_SAMPLE: Final = 1024
"""Pixels that both engines classify before the fast one is trusted."""

_EQUAL: Final = 0.999
"""Least share of equal labels among them."""

_NEAR: Final = 0.02
"""Most by which the reference may prefer its own class where the labels differ."""

_SURE: Final = 0.1
"""Most by which the probabilities of one class may differ."""

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
        """See :class:`~mlc_dask.classifiers.lstm.engines.Engine`; other threads run meanwhile."""
        position, probability = np.empty(dn.shape[2], np.uint8), np.empty(dn.shape[2], np.float32)
        self._network.classify(np.ascontiguousarray(dn), position, probability)
        return position.astype(np.intp), probability


class GatedEngine:
    """A fast engine, held to the reference on the first pixels that it is given; where it fails, the reference.

    Of every block so many pixels, evenly taken, are compared until :data:`_SAMPLE` were: a share of :data:`_EQUAL` of
    these must get equal labels, and where labels differ the two classes' probabilities must be as near as
    :data:`_NEAR`. An engine fails, too, whose probabilities are others, or that raises.
    """

    def __init__(self, fast: Engine, reference: TorchEngine) -> None:
        self._fast, self._reference = fast, reference
        self._compared = self._different = 0
        self._failed = False
        self._lock = Lock()

    @property
    def name(self) -> str:
        """That of the engine in use."""
        return (self._reference if self._failed else self._fast).name

    def classify(self, dn: Series) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """See :class:`~mlc_dask.classifiers.lstm.engines.Engine`."""
        with self._lock:
            if not self._failed and self._compared < _SAMPLE and dn.shape[2]:
                self._failed = self._fails(dn)
        return (self._reference if self._failed else self._fast).classify(dn)

    def _fails(self, dn: Series) -> bool:
        sample = dn[:, :, np.unique(np.linspace(0, dn.shape[2] - 1, _SAMPLE - self._compared).astype(int))]
        try:
            found, probability = self._fast.classify(sample)
        except Exception as error:  # whatever a driver or a device says
            _log.warning("%s fails (%s); %s is used", self._fast.name, error, self._reference.name)
            return True
        expected = self._reference.probabilities(sample)
        pixels, best = np.arange(len(found)), expected.argmax(axis=1)
        own = expected[pixels, np.minimum(found, expected.shape[1] - 1)]
        apart, off = expected[pixels, best] - own, np.abs(probability - own)
        self._compared += len(found)
        self._different += int((found != best).sum())
        if self._different <= (1 - _EQUAL) * _SAMPLE and (apart <= _NEAR).all() and (off <= _SURE).all():
            return False
        _log.warning(
            "%s gives %d of %d pixels other labels than %s, classes up to %.3f less probable, and probabilities up to "
            "%.3f apart; %s is used",
            self._fast.name, self._different, self._compared, self._reference.name, apart.max(), off.max(),
            self._reference.name,
        )  # fmt: skip
        return True


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
    if name != "native-amx" and native.level_asked() in ("", "off") and _torch_has_tiles():
        return "torch-bf16"
    return name if name in _FASTER else "torch-cpu"


def _torch_has_tiles() -> bool:
    """Whether PyTorch can use matrix tiles here; asked of a function that is no part of its interface."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def _values(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
    return values
