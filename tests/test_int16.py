"""Networks in whole numbers of 16 bits: exact sums that cannot overflow, and the same bits on every instruction set."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlc_dask import native
from mlc_dask.classifiers.lstm.compiled import NativeEngine
from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.classifiers.lstm.settings import LSTM
from mlc_dask.classifiers.torch_network.engine import TorchEngine
from tests.cubes import Array
from tests.test_amx import COMPILER, at
from tests.test_classifiers import CODES, CONTEXT, make_set, pixels
from tests.test_native import network, series, with_probabilities

LEVELS = [level for level in native.available() if level not in ("amx", "baseline")]
"""Instruction sets of this machine that run whole numbers."""

AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512cd", "-mfma"]
FLAGS = {"avx2": ["-mavx2", "-mfma"], "avx512": AVX512, "avx512vnni": [*AVX512, "-mavx512vnni"]}
STATE, MOST = 8192, 2**31 - 1

pytestmark = pytest.mark.skipif(not LEVELS, reason="no kernels of networks were built for this processor")

SHAPES = [
    # steps, bands, layers, hidden, bidirectional, classes
    (20, 10, 4, 128, True, 10),
    (5, 3, 1, 1, True, 2),  # 1x1
    (6, 10, 3, 50, False, 7),  # 3x50
    (12, 10, 2, 33, True, 11),  # 2x33: a unit without a neighbour
    (1, 4, 2, 7, True, 3),  # one step: nothing is before it
    (7, 1, 2, 8, True, 4),  # one band, of which LayerNorm leaves the bias
]


def engines(net: LSTMNetwork, steps: int) -> list[NativeEngine]:
    """The network on every level, and beside tiles if it does not fit them."""
    beside = ["amx"] if "amx" in native.available() and net.lstm.hidden_size % 32 else []
    levels = [*LEVELS, *beside]
    made = [NativeEngine(net, steps, import_module(f"mlc_dask.native._{level}")) for level in levels]
    names = [f"native-int16-{'avx512vnni' if level == 'amx' else level}" for level in levels]
    assert [engine.name for engine in made] == names
    return made


def same(a: tuple[Array, ...], b: tuple[Array, ...]) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


# The same bits everywhere


@pytest.mark.skipif(len(LEVELS) < 2, reason="this processor has one level")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_level_gives_the_same_bits(shape: Any) -> None:
    """Labels, their probabilities and those of all classes, over threads and however pixels are cut."""
    net, dn = network(shape), series(shape, 509)
    net.standardise(dn.transpose(2, 0, 1))
    made = engines(net, shape[0])
    expected = with_probabilities(made[0], dn, shape[-1])
    assert np.isfinite(expected[2]).all() and (len(np.unique(expected[1])) > 100 or shape[1] == 1)
    for engine in made:
        assert same(with_probabilities(engine, dn, shape[-1]), expected)
        edges = [0, 1, 24, 89, 90, 400, 509]
        cuts = [dn[:, :, a:b] for a, b in pairwise(edges)]
        with ThreadPoolExecutor(3) as pool:
            parts = list(pool.map(partial(with_probabilities, engine, classes=shape[-1]), cuts))
        assert same(tuple(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)), expected)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 6), bands=st.integers(1, 12), layers=st.integers(1, 3), hidden=st.integers(1, 40),
    both=st.booleans(), scale=st.sampled_from([0.01, 1, 30]), seed=st.integers(0, 1_000), pixels=st.integers(1, 130),
)  # fmt: skip
def test_any_network_has_the_same_bits(
    steps: int, bands: int, layers: int, hidden: int, both: bool, scale: float, seed: int, pixels: int
) -> None:
    shape = (steps, bands, layers, hidden, both, 5)
    net, dn = network(shape, seed), series(shape, pixels, seed)
    for weight in net.lstm.parameters():
        weight.data.mul_(scale)
    net.standardise(dn.transpose(2, 0, 1))
    expected, *others = [with_probabilities(engine, dn, 5) for engine in engines(net, steps)]
    assert np.isfinite(expected[2]).all() and all(same(other, expected) for other in others)


# Exact sums


@pytest.fixture(scope="module", params=LEVELS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sums, compiled for a level of this machine as the module is."""
    if COMPILER is None:
        pytest.skip("there is no C++ compiler")
    to = tmp_path_factory.mktemp("int16") / f"{request.param}.so"
    source = Path(__file__).parent / "int16" / "harness.cpp"
    command = [COMPILER, "-std=c++17", "-O3", "-fno-math-errno", "-ffp-contract=off", "-shared", "-fPIC"]
    built = subprocess.run(
        [*command, *FLAGS[request.param], str(source), "-o", str(to)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-2000:]
    return to


@pytest.fixture(scope="module")
def sums(library: Path) -> Any:
    made = ctypes.CDLL(str(library))
    made.step_of.restype = ctypes.c_double
    return made


def step_of(sums: Any, weights: Array, start: float = 0) -> float:
    return float(sums.step_of(at(weights), len(weights), ctypes.c_double(start)))


def whole(sums: Any, weights: Array, step: float) -> Array:
    made = np.empty(len(weights), np.int16)
    sums.whole(at(weights), len(weights), ctypes.c_double(step), at(made))
    return made


def multiplied(sums: Any, start: Array, weights: Array, inputs: Array, cut: int) -> Array:
    """Sums (4, block) of rows `weights` (4, k) and `inputs` (k, block), whose first `cut` are inputs of the layer."""
    made = np.ascontiguousarray(start, np.int32)
    pairs_of_weights = np.ascontiguousarray(weights.T.reshape(-1, 2, 4).transpose(0, 2, 1))
    x, h = (
        np.ascontiguousarray(part.reshape(-1, 2, part.shape[1]).transpose(0, 2, 1)) for part in np.split(inputs, [cut])
    )
    sums.products(at(made), at(pairs_of_weights), at(x), cut // 2, at(h), (len(inputs) - cut) // 2)
    return made


@pytest.mark.parametrize(("count", "cut"), [(2, 0), (384, 256), (66, 0), (100, 100)])
def test_sums_are_those_of_int64(sums: Any, count: int, cut: int) -> None:
    random, block = np.random.default_rng(count), sums.block()
    weights = random.integers(-32_767, 32_768, (4, count)).astype(np.int16) // max(count // 8, 1)
    inputs = random.integers(-STATE, STATE + 1, (count, block)).astype(np.int16)
    start = random.integers(-(10**6), 10**6, (4, block))
    exact = start + weights.astype(np.int64) @ inputs.astype(np.int64)
    assert np.abs(exact).max() <= MOST
    np.testing.assert_array_equal(multiplied(sums, start, weights, inputs, cut), exact)


ROWS = {
    "one sign": lambda random, k: np.full(k, 3.0),
    "one sign, the other": lambda random, k: np.full(k, -0.01),
    "signs in turn": lambda random, k: np.resize([7.0, -7.0], k),
    "one large weight": lambda random, k: np.where(np.arange(k) == k // 2, 1e6, 1e-3),
    "zeros": lambda random, k: np.zeros(k),
    "tiny": lambda random, k: random.normal(0, 1e-30, k),
    "huge": lambda random, k: random.choice([-1e15, 1e15], k),
    "noise": lambda random, k: random.normal(0, 1, k),
    "halves, which all round up": lambda random, k: (np.arange(k) % 2 + 0.5000001) * 1e-3,
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("count", [2, 384, 20_000])
@pytest.mark.parametrize("bands", [0.0, 1.0, 1e5, 1e35])
def test_no_sum_leaves_32_bits(sums: Any, row: str, count: int, bands: float) -> None:
    """With all states at ±1 as the weights' signs have it, and the start at its bound."""
    weights = ROWS[row](np.random.default_rng(0), count).astype(np.float32)
    step = step_of(sums, weights, bands)
    rounded = whole(sums, weights, step)
    assert np.abs(rounded - weights.astype(float) / step).max() <= 0.5 * (1 + 1e-9)
    # Ten roundings of float32 in the bands' own sum.
    start = int(np.ceil(bands / step * STATE * (1 + 10 * 2**-23)))
    worst = np.where(rounded < 0, -STATE, STATE).astype(np.int64)
    exact = start + int(rounded.astype(np.int64) @ worst)
    assert exact <= MOST
    if count <= 384:
        block = sums.block()
        inputs = np.repeat(worst.astype(np.int16)[:, None], block, axis=1)
        for sign in (1, -1):
            found = multiplied(sums, np.full((4, block), sign * start), np.tile(rounded, (4, 1)), sign * inputs, 0)
            assert (found == sign * exact).all()


def test_a_row_keeps_its_precision(sums: Any) -> None:
    """The step is the least that both bounds allow: no bit is given away."""
    weights = np.random.default_rng(0).uniform(-0.1, 0.1, 384).astype(np.float32)
    assert step_of(sums, weights) == pytest.approx(
        np.abs(weights.astype(float)).sum() * STATE / (0.999 * 2**31), rel=2e-3
    )
    few = np.array([0.5, 0.25], np.float32)
    assert step_of(sums, few) == pytest.approx(0.5 / 32_767) and whole(sums, few, 0.5 / 32_767)[0] == 32_767


def test_the_loop_of_products_has_no_stack_access(library: Path) -> None:
    """Sums that are spilled to the stack cost a fifth of the speed."""
    if shutil.which("objdump") is None:
        pytest.skip("there is no objdump")
    text = subprocess.run(
        ["objdump", "--disassemble", "--demangle", "--no-show-raw-insn", str(library)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    bodies = re.findall(r"^[0-9a-f]+ <mlc::.*?::products\(.*?>:\n(.*?)(?:\n\n|\Z)", text, flags=re.S | re.M)
    multiplications = [len(re.findall(r"vpdpwssd|vpmaddwd", body)) for body in bodies]
    assert bodies and max(multiplications) >= 24, "the products are not a function of their own"
    assert not [line for body in bodies for line in body.splitlines() if "rsp" in line or "rbp" in line]


# Whole networks


def adversarial(kind: str, shape: Any) -> LSTMNetwork:
    net = network(shape)
    for parameter in net.lstm.parameters():
        if kind == "one sign":
            parameter.data = parameter.data.abs() * 10
        elif kind == "the other sign":
            parameter.data = -parameter.data.abs() * 10
    if kind == "huge gains":
        net.input_norm.weight.data.mul_(1e4)
        net.input_norm.bias.data.add_(1e4)
    return net


@pytest.mark.parametrize("shape", [SHAPES[2], SHAPES[3], (20, 10, 2, 128, True, 10)], ids=str)
@pytest.mark.parametrize("kind", ["one sign", "the other sign", "huge gains"])
def test_adversarial_networks(kind: str, shape: Any) -> None:
    """States at ±1 and sums at their bounds. PyTorch's bfloat16, whose sums cannot wrap, errs more by far."""
    net, dn = adversarial(kind, shape), series(shape, 300)
    net.standardise(dn.transpose(2, 0, 1))
    expected, rounded = (TorchEngine(n).probabilities(dn) for n in (net, net.with_recurrence_in(torch.bfloat16)))
    found, *others = [with_probabilities(engine, dn, shape[-1]) for engine in engines(net, shape[0])]
    assert all(same(other, found) for other in others)
    assert np.abs(found[2].T - expected).mean() <= 0.3 * np.abs(rounded - expected).mean()
    best = expected.argmax(axis=1)
    assert (found[0] != best).sum() <= 1 + 0.3 * (rounded.argmax(axis=1) != best).sum()


TRAINED = {
    "2x48": LSTM(layers=2, hidden=48, epochs=8, batch=64, learning_rate=0.01, dropout=0.0),
    "3x33, one direction": LSTM(
        layers=3, hidden=33, bidirectional=False, epochs=8, batch=64, learning_rate=0.01, dropout=0.0
    ),
}


@pytest.mark.parametrize("classifier", TRAINED.values(), ids=TRAINED)
def test_trained_networks_give_the_classes_of_torch(classifier: LSTM) -> None:
    """On series so noisy that every tenth label is wrong."""
    data, (dn, truth) = make_set(2_000, noise=1_500), pixels(20_000, noise=1_500)
    model = classifier.fit(data, seed=1)
    net = classifier.network(len(CONTEXT.bands), len(CODES))
    net.load_state_dict({name: torch.tensor(array) for name, array in model.arrays.items()})
    expected = TorchEngine(net.eval()).probabilities(dn)
    best = expected.argmax(axis=1)
    assert 0.75 < (CODES[best] == truth).mean() < 0.98
    for engine in engines(net, len(dn)):
        position, _, every = with_probabilities(engine, dn, len(CODES))
        assert np.abs(every.T - expected).max() <= 0.002
        assert (position != best).mean() <= 1e-4


@pytest.mark.parametrize("value", [0, 1, 4_000, 65_535])
def test_constant_bands(value: int) -> None:
    shape = SHAPES[3]
    net, dn = network(shape), np.full((12, 10, 70), value, np.uint16)
    net.standardise(dn.transpose(2, 0, 1))
    expected = TorchEngine(net).probabilities(dn)
    for engine in engines(net, 12):
        found = with_probabilities(engine, dn, shape[-1])
        assert (found[0] == found[0][0]).all() and (found[0] == expected.argmax(axis=1)).all()
        np.testing.assert_allclose(found[2].T, expected, atol=2e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2e15])
@pytest.mark.parametrize("name", ["lstm.weight_hh_l0", "input_norm.weight", "mean", "head.bias", "state_norm.bias"])
def test_values_that_are_not_finite_are_refused(name: str, value: float) -> None:
    shape = SHAPES[3]
    net = network(shape)
    net.state_dict()[name].view(-1)[1] = value
    with pytest.raises(ValueError, match="the values of a network must be finite, and at most 1e15 in size"):
        engines(net, shape[0])


def test_a_deviation_of_zero_is_refused() -> None:
    net = network(SHAPES[3])
    net.std[2] = 0
    with pytest.raises(ValueError, match="the standard deviations of the bands must be at least 1e-9"):
        engines(net, 12)
