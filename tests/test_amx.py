"""The network on emulated matrix tiles: layouts, tails, layers and directions on any machine."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.classifiers.torch_network.engine import TorchEngine
from tests.cubes import Array
from tests.test_native import network, series

COMPILER = next((found for name in ("g++", "clang++") if (found := shutil.which(name))), None)

SHAPES = [
    # steps, bands, layers, hidden, bidirectional, classes; then pixels
    ((5, 3, 1, 32, False, 4), 70),  # less than a block, one tile deep
    ((1, 10, 3, 32, True, 2), 128),  # one step: nothing is before it
    ((3, 10, 2, 64, True, 11), 300),  # two blocks and a part of a tile
    ((4, 40, 2, 32, True, 5), 17),  # bands that fill several tiles
    ((6, 11, 3, 96, False, 10), 129),  # one band more than three times fit into a tile
    ((3, 10, 4, 128, True, 10), 64),  # the paper's layers
]

Classify = Callable[[LSTMNetwork, Array], tuple[Array, Array, Array]]


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Classify:
    """Engine on emulated tiles, compiled for this machine."""
    if COMPILER is None:
        pytest.skip("there is no C++ compiler")
    here, library = Path(__file__).parent, tmp_path_factory.mktemp("amx") / "amx.so"
    sources = [here / "amx" / "harness.cpp", here.parent / "mlc_dask" / "native" / "lstm_amx.cpp"]
    command = [COMPILER, "-std=c++17", "-O2", "-march=native", "-shared", "-fPIC", "-DMLC_EMULATED"]
    built = subprocess.run(
        [*command, f"-I{here / 'amx'}", *map(str, sources), "-o", str(library)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "_Float16" in built.stderr:
        pytest.skip("the compiler knows no _Float16")
    assert built.returncode == 0, built.stderr[-2000:]
    run = ctypes.CDLL(str(library)).run

    def call(net: LSTMNetwork, dn: Array) -> tuple[Array, Array, Array]:
        shape, *weights = unpacked(net, len(dn))
        dn, pixels = np.ascontiguousarray(dn), dn.shape[2]
        position, probability = np.full(pixels, 255, np.uint8), np.empty(pixels, np.float32)
        every = np.full((net.head.out_features, pixels), np.nan, np.float32)
        tables = [(ctypes.c_void_p * len(part))(*(a.ctypes.data for a in part)) for part in weights]
        run(at(shape), *tables, at(dn), ctypes.c_size_t(pixels), at(position), at(probability), at(every))
        return position, probability, every

    return call


def at(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def unpacked(net: LSTMNetwork, steps: int) -> tuple[Array, list[Array], list[Array], list[Array]]:
    """Return the arguments of the harness: shape, ends, weights of inputs and of hidden outputs."""
    lstm, state = net.lstm, {n: np.ascontiguousarray(t.numpy(), np.float32) for n, t in net.state_dict().items()}
    directions = ("", "_reverse")[: 2 if lstm.bidirectional else 1]
    parts = [f"l{layer}{direction}" for layer in range(lstm.num_layers) for direction in directions]
    ends = [
        "mean", "std", "input_norm.weight", "input_norm.bias", "state_norm.weight", "state_norm.bias",
        "head.weight", "head.bias",
    ]  # fmt: skip
    sizes = [steps, len(state["mean"]), lstm.num_layers, lstm.hidden_size, len(directions), len(state["head.bias"])]
    return (
        np.array(sizes, np.int32),
        [state[name] for name in ends],
        [state[f"lstm.weight_ih_{part}"] for part in parts],
        [state[f"lstm.weight_hh_{part}"] for part in parts],
    )


@pytest.mark.parametrize(("shape", "pixels"), SHAPES, ids=str)
def test_same_classes_as_torch(shape: Any, pixels: int, classify: Classify) -> None:
    net, dn = network(shape), series(shape, pixels)
    net.standardise(dn.transpose(2, 0, 1))
    position, probability, every = classify(net, dn)
    expected = TorchEngine(net).probabilities(dn)
    peer = TorchEngine(net.with_recurrence_in(torch.bfloat16)).probabilities(dn)
    pixel, best = np.arange(pixels), expected.argmax(axis=1)
    # As near as PyTorch in bfloat16, whose bands also have 8 bits.
    near = np.abs(peer - expected).max()
    assert np.abs(probability - expected[pixel, best]).max() <= near < 0.1
    assert (expected[pixel, best] - expected[pixel, position]).max() <= near
    assert len(np.unique(position)) > 1
    np.testing.assert_allclose(every.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(every[position, pixel], probability) and np.array_equal(every.max(axis=0), probability)
    assert np.abs(every.T - expected).max() <= near


def test_a_pixel_does_not_depend_on_its_neighbours(classify: Classify) -> None:
    shape = (3, 10, 2, 32, True, 11)
    net, dn = network(shape), series(shape, 260)
    whole, edges = classify(net, dn), [0, 1, 65, 190, 260]
    parts = [classify(net, dn[:, :, a:b]) for a, b in pairwise(edges)]
    for i in (0, 1, 2):
        assert np.concatenate([p[i] for p in parts], axis=-1).tobytes() == whole[i].tobytes()


def test_gates_that_are_wide_open_or_shut(classify: Classify) -> None:
    """If 2^y leaves the range of float16, gates are 0 or 1, and nothing is infinite."""
    shape = (9, 4, 2, 32, True, 5)
    net, dn = network(shape), series(shape, 64)
    for weight in net.lstm.parameters():
        weight.data.mul_(200)
    net.standardise(dn.transpose(2, 0, 1))
    _, probability, every = classify(net, dn)
    assert np.isfinite(every).all() and (every > 0).all()
    assert np.isfinite(probability).all() and (probability > 0).all()


def test_bands_have_more_than_eight_bits(classify: Classify) -> None:
    """One step of large bands whose products nearly cancel: eight bits of bands, or of weights, would be too few."""
    shape = (1, 10, 1, 32, False, 4)
    net, dn = network(shape), series(shape, 128)
    net.standardise(dn.transpose(2, 0, 1))
    net.input_norm.bias.data.fill_(64)
    weights = net.lstm.weight_ih_l0.data
    weights -= weights.mean(dim=1, keepdim=True)
    expected, eight = (TorchEngine(n).classify(dn) for n in (net, net.with_recurrence_in(torch.bfloat16)))
    position, probability, _ = classify(net, dn)
    assert np.array_equal(position, expected[0]) and not np.array_equal(eight[0], expected[0])
    assert np.abs(probability - expected[1]).max() <= 0.05 * np.abs(eight[1] - expected[1]).max()
