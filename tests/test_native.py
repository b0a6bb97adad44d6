"""Compiled kernels: equal to PyTorch on every instruction set of this machine, and chosen correctly."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise, product
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from mlc_dask import native
from mlc_dask.classifiers.engine import Engine
from mlc_dask.classifiers.forest.settings import RandomForest
from mlc_dask.classifiers.forest.trees import flatten
from mlc_dask.classifiers.forest.votes import NativeForest, SklearnForest, forest_engine
from mlc_dask.classifiers.lstm.compiled import NativeEngine, engine_here, engine_of
from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.classifiers.torch_network.engine import TorchEngine
from mlc_dask.classifiers.torch_network.gate import GatedEngine
from mlc_dask.data.errors import InputError
from mlc_dask.kernels.gaps import _fill, fill
from tests.cubes import Array

pytestmark = pytest.mark.skipif(not native.available(), reason="the compiled kernels were not built")

SHAPES = [
    # steps, bands, layers, hidden, bidirectional, classes
    (20, 10, 4, 128, True, 10),
    (20, 10, 4, 128, False, 10),
    (7, 3, 1, 5, True, 4),
    (12, 10, 2, 33, True, 11),
    (1, 5, 3, 6, False, 2),
    (5, 40, 2, 16, True, 1),
    (3, 12, 2, 32, True, 7),
]


LEVELS = [level for level in native.available() if level != "baseline"]
"""Instruction sets of this machine with kernels of networks."""


@pytest.fixture(params=LEVELS)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return import_module(f"mlc_dask.native._{request.param}")


@pytest.fixture
def portable() -> ModuleType:
    """The kernels of forests and gaps."""
    found = native.portable()
    assert found is not None
    return found


def network(shape: tuple[int, int, int, int, bool, int], seed: int = 0) -> LSTMNetwork:
    """Network with weights large enough for gates to open and close, and normalisations that matter."""
    _, bands, layers, hidden, bidirectional, classes = shape
    torch.manual_seed(seed)
    made = LSTMNetwork(bands, classes, layers=layers, hidden=hidden, bidirectional=bidirectional, dropout=0.0)
    for parameter in made.parameters():
        parameter.data.mul_(3).add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def series(shape: tuple[int, ...], pixels: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).integers(0, 12_000, (shape[0], shape[1], pixels)).astype(np.uint16)


def with_probabilities(engine: Engine, dn: Array, classes: int) -> tuple[Array, Array, Array]:
    """Positions, their probabilities, and the probabilities of all classes (K, P)."""
    every = np.full((classes, dn.shape[-1]), np.nan, np.float32)
    return (*engine.classify(dn, every), every)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_same_classes_and_probabilities_as_torch(shape: Any, module: ModuleType) -> None:
    net, dn = network(shape), series(shape, 500)
    net.standardise(dn.transpose(2, 0, 1))
    engine = NativeEngine(net, shape[0], module)
    every = np.full((shape[-1], 500), np.nan, np.float32)
    position, probability = engine.classify(dn, every)
    assert all(np.array_equal(a, b) for a, b in zip(engine.classify(dn), (position, probability), strict=True))
    expected = TorchEngine(net).probabilities(dn)
    off = np.abs(every.T - expected)
    share = (position == expected.argmax(axis=1)).mean()
    # Weights are large and nobody trained them, so PyTorch's own rounding is the measure.
    rounded = np.abs(TorchEngine(net.with_recurrence_in(torch.bfloat16)).probabilities(dn) - expected)
    if engine.name == "native-amx":
        assert off.mean() <= rounded.mean() and share >= 0.98
    else:
        assert off.mean() <= 0.2 * rounded.mean() and off.max() <= 0.2 * rounded.max() and share >= 0.998
    np.testing.assert_allclose(every.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(every[position, np.arange(500)], probability)
    assert np.array_equal(every.max(axis=0), probability)
    assert shape[-1] == 1 or len(np.unique(position)) > 1


def test_saturated_gates_and_far_values(module: ModuleType) -> None:
    shape = (9, 4, 2, 16, True, 5)
    net = network(shape)
    for weight in net.lstm.parameters():
        weight.data.mul_(200)
    dn = series(shape, 300)
    dn[:, :, 100:] = dn[:, :, 100:] // 6_000 * 65_535
    net.standardise(dn.transpose(2, 0, 1))
    _, _, every = with_probabilities(NativeEngine(net, 9, module), dn, 5)
    # Such a network amplifies the last bit until two roundings have nothing in common; the gate refuses it.
    assert np.isfinite(every).all() and (every > 0).all()
    np.testing.assert_allclose(every.sum(axis=0), 1, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 200), max_size=4))
def test_a_pixel_does_not_depend_on_its_neighbours(cuts: list[int]) -> None:
    for shape, name in product((SHAPES[2], SHAPES[-1]), LEVELS):
        dn = series(shape, 200)
        engine = NativeEngine(network(shape), shape[0], import_module(f"mlc_dask.native._{name}"))
        whole = with_probabilities(engine, dn, shape[-1])
        edges = [0, *sorted(cuts), 200]
        parts = [with_probabilities(engine, dn[:, :, a:b], shape[-1]) for a, b in pairwise(edges)]
        for i in (0, 1, 2):
            assert np.concatenate([p[i] for p in parts], axis=-1).tobytes() == whole[i].tobytes()


@pytest.mark.parametrize("shape", [SHAPES[3], SHAPES[-1]], ids=str)
def test_threads_at_once(shape: Any, module: ModuleType) -> None:
    engine, dn = NativeEngine(network(shape), shape[0], module), series(shape, 2_000)
    expected = engine.classify(dn)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: engine.classify(dn), range(8)):
            assert all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))


def test_what_does_not_fit_is_refused(module: ModuleType) -> None:
    shape = SHAPES[2]
    made = NativeEngine(network(shape), shape[0], module)
    for wrong in ((8, 3, 10), (7, 4, 10)):
        with pytest.raises(ValueError, match="must have the steps and bands"):
            made.classify(np.ones(wrong, np.uint16))
    for wrong in ((4, 9), (5, 10)):
        with pytest.raises(ValueError, match="a row per class and a column per pixel"):
            made.classify(np.ones((7, 3, 10), np.uint16), np.empty(wrong, np.float32))
    short = network(shape)
    short.state_norm = torch.nn.LayerNorm(3)
    with pytest.raises(ValueError, match="one value per state"):
        NativeEngine(short, 7, module)


# Forests


def grown(seed: int, *, classes: int = 6, **forest: Any) -> tuple[dict[str, Array], int]:
    """Trees grown on noise, which are deep and vote closely; one of the features is 0 or 65535."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 65_536, (400, 12)).astype(np.float32)
    x[:, 3] = random.choice([0, 65_535], 400)
    y = np.resize(np.arange(classes), 400)
    fitted = RandomForestClassifier(random_state=seed, **forest).fit(x, y)
    return flatten([e.tree_ for e in fitted.estimators_]), 12


@pytest.mark.parametrize("leaf", [1, 7], ids=["pure leaves", "impure leaves"])
@pytest.mark.parametrize("trees", [1, 2, 300])
@pytest.mark.parametrize("classes", [1, 6])
def test_votes_are_those_of_scikit_learn_bit_by_bit(leaf: int, trees: int, classes: int, portable: ModuleType) -> None:
    arrays, features = grown(trees, n_estimators=trees, min_samples_leaf=leaf, classes=classes)
    dn = np.random.default_rng(1).integers(0, 65_536, (features, 9_000)).astype(np.uint16)
    dn[3] = np.where(dn[3] > 30_000, 65_535, 0)
    # Values on a threshold go left.
    split = np.flatnonzero(arrays["left"] >= 0)
    if split.size:
        at = np.random.default_rng(2).choice(split, 500)
        dn[arrays["feature"][at], np.arange(500)] = arrays["threshold"][at]
    native_forest, reference = NativeForest(arrays, features, portable), SklearnForest(arrays, features)
    found, expected = (with_probabilities(e, dn, classes) for e in (native_forest, reference))
    assert all(np.array_equal(a, b) for a, b in zip(native_forest.classify(dn), found[:2], strict=True))
    np.testing.assert_allclose(found[2].sum(axis=0), 1, atol=1e-6)
    assert np.array_equal(found[2].max(axis=0), found[1].astype(np.float32))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("pixels", [0, 1, 7, 8_191, 8_193])
def test_any_number_of_pixels_may_vote(pixels: int, portable: ModuleType) -> None:
    arrays, features = grown(0, n_estimators=5)
    dn = np.random.default_rng(1).integers(0, 65_536, (features, 8_193)).astype(np.uint16)
    whole = with_probabilities(NativeForest(arrays, features, portable), dn, 6)
    part = with_probabilities(NativeForest(arrays, features, portable), dn[:, :pixels], 6)
    assert all(a.tobytes() == b[..., :pixels].tobytes() for a, b in zip(part, whole, strict=True))


def test_series_of_another_length_are_refused(portable: ModuleType) -> None:
    arrays, features = grown(0, n_estimators=1)
    with pytest.raises(ValueError, match="number of features of the forest"):
        NativeForest(arrays, features, portable).classify(np.ones((features + 1, 4), np.uint16))


# Gaps


@settings(max_examples=60, deadline=None)
@given(
    steps=st.integers(1, 9), bands=st.integers(1, 4), pixels=st.integers(0, 150), seed=st.integers(0, 1_000),
    clear=st.sampled_from([0.0, 0.3, 0.9, 1.0]), method=st.sampled_from(["interpolate", "keep"]),
)  # fmt: skip
def test_gaps_are_filled_bit_by_bit_as_in_numpy(
    steps: int, bands: int, pixels: int, seed: int, clear: float, method: Any
) -> None:
    random = np.random.default_rng(seed)
    dn = random.integers(0, 65_536, (steps, bands, pixels)).astype(np.uint16)
    dn[random.random(dn.shape) > (clear + 3) / 4] = 0
    usable = (random.random((steps, pixels)) < clear) & (dn != 0).all(axis=1)
    days = np.cumsum(random.choice([0.5, 1, 3, 5, 17], steps))
    at = np.flatnonzero(random.random(pixels) < random.choice([0.3, 1.0]))
    at = at if clear < 0.5 else random.permutation(at)
    expected = _fill(dn[:, :, at], usable[:, at], days, method)
    np.testing.assert_array_equal(fill(dn, usable, days, method, at), expected)


def test_flags_of_other_series_are_refused(portable: ModuleType) -> None:
    dn, days, at = np.ones((3, 2, 5), np.uint16), np.arange(3.0), np.arange(5)
    with pytest.raises(ValueError, match="must have the shape of the series"):
        portable.fill(dn, np.ones((3, 4), bool), days, False, at, dn.copy())
    with pytest.raises(ValueError, match="one value per step, band and pixel"):
        portable.fill(dn, np.ones((3, 5), bool), days, False, at[:4], dn.copy())


# Which engine runs


def choice(level: str) -> subprocess.CompletedProcess[str]:
    code = "from mlc_dask import native; print(*(m and m.__name__ for m in (native.networks(), native.portable())))"
    environment = {**os.environ, "MLC_DASK_NATIVE": level}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_the_environment_chooses() -> None:
    baseline = "mlc_dask.native._baseline"
    for level in ("", *LEVELS):
        assert choice(level).stdout.split() == [f"mlc_dask.native._{level or LEVELS[0]}", baseline]
    assert choice("off").stdout.split() == ["None", "None"]
    assert choice("baseline").stdout.split() == ["None", baseline]
    unknown = "MLC_DASK_NATIVE='fast' is unknown; set it to amx, avx512vnni, avx512, avx2, baseline or off"
    assert unknown in choice("fast").stderr


def test_a_level_that_this_processor_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: ["baseline"])
    monkeypatch.setenv("MLC_DASK_NATIVE", "avx512")
    native.level.cache_clear()
    with pytest.raises(InputError, match="MLC_DASK_NATIVE=avx512 was not built or does not run on this processor"):
        native.level()
    monkeypatch.undo()
    native.level.cache_clear()


def test_a_level_that_the_compiler_left_out_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "find_spec", lambda name: None if name.endswith("_avx2") else object())
    assert "avx2" not in native.available() and "baseline" in native.available()


def test_without_the_extension_torch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLC_DASK_NATIVE", raising=False)
    monkeypatch.setattr(native, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    assert native.available() == []
    native.level.cache_clear()
    assert engine_of(network(SHAPES[2]), 7).name.startswith("torch-")
    assert forest_engine(*grown(0, n_estimators=1)).name == RandomForest.engine_here() == "scikit-learn"
    monkeypatch.undo()
    native.level.cache_clear()


@pytest.mark.parametrize("level", native.available())
@pytest.mark.parametrize("tiles", [False, True], ids=["", "PyTorch has tiles"])
def test_a_network_runs_on_what_beats_torch(level: str, tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "level", lambda: level)
    monkeypatch.setattr(native, "level_asked", lambda: "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    plain = "torch-bf16" if tiles else "torch-cpu"
    expected = {"amx": "native-amx", "baseline": plain}.get(level, f"native-int16-{level}")
    assert engine_of(network(SHAPES[0]), 20).name == engine_here() == expected
    assert forest_engine(*grown(0, n_estimators=1)).name == RandomForest.engine_here() == "native"


def test_where_pytorch_has_tiles_it_runs_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLC_DASK_NATIVE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(native, "level", lambda: "")
    shape = (4, 10, 2, 32, True, 6)
    net, dn = network(shape), series(shape, 300)
    net.standardise(dn.transpose(2, 0, 1))
    assert engine_of(net, 4).name == "torch-bf16"
    low = TorchEngine(net.with_recurrence_in(torch.bfloat16))
    position, probability = low.classify(dn)
    expected = TorchEngine(net).probabilities(dn)
    assert low.name == "torch-bf16" and 0 < np.abs(probability - expected.max(axis=1)).max() <= 0.05
    assert (position == expected.argmax(axis=1)).mean() >= 0.98
    monkeypatch.setenv("MLC_DASK_NATIVE", "baseline")
    assert engine_of(net, 4).name == "torch-cpu", "the environment asks for other kernels"


# The gate


class Altered:
    """The reference engine, with different answers for some pixels."""

    name = "altered"

    def __init__(self, reference: TorchEngine, wrong: int) -> None:
        self.reference, self.wrong, self.calls = reference, wrong, 0

    def classify(self, dn: Array, probabilities: Array | None = None) -> tuple[Array, Array]:
        self.calls += 1
        position, probability = self.reference.classify(dn, probabilities)
        if self.wrong:
            position[: self.wrong] = self.reference.probabilities(dn).argmin(axis=1)[: self.wrong]
        return position, probability


@pytest.fixture
def reference() -> TorchEngine:
    return TorchEngine(network(SHAPES[2]))


def test_an_engine_that_errs_is_not_used(reference: TorchEngine, caplog: pytest.LogCaptureFixture) -> None:
    dn = series(SHAPES[2], 3_000)
    for wrong in (1, 2, 1_000):
        caplog.clear()
        gated = GatedEngine(Altered(reference, wrong), reference)
        found = gated.classify(dn)
        assert np.array_equal(found[0], reference.classify(dn)[0]) and gated.name == reference.name
        (line,) = caplog.messages
        assert line.startswith("altered labels ") and line.endswith(f"; {reference.name} is used")


def test_an_engine_is_tried_until_enough_pixels_were(reference: TorchEngine) -> None:
    fast = Altered(reference, 0)
    gated = GatedEngine(fast, reference)
    assert gated.classify(series(SHAPES[2], 0))[0].size == 0 and fast.calls == 1, "there is no pixel to compare"
    for pixels in (1_000, 50, 50, 50):
        gated.classify(series(SHAPES[2], pixels))
    assert gated.name == "altered" and fast.calls == 1 + 2 * 2 + 2


def test_a_few_right_pixels_are_not_enough(reference: TorchEngine) -> None:
    fast = Altered(reference, 0)
    gated = GatedEngine(fast, reference)
    gated.classify(series(SHAPES[2], 1))
    assert gated.name == "altered"
    fast.wrong = 10**6
    dn = series(SHAPES[2], 300)
    assert np.array_equal(gated.classify(dn)[0], reference.classify(dn)[0]) and gated.name == reference.name


@pytest.mark.parametrize("wrong", [np.nan, 0.0])
@pytest.mark.parametrize("of", ["the best class", "all classes"])
def test_other_probabilities_are_refused(of: str, wrong: float, reference: TorchEngine) -> None:
    def classify(dn: Array, probabilities: Array) -> tuple[Array, Array]:
        position, probability = reference.classify(dn, probabilities)
        if of == "all classes":
            probabilities[:] = wrong
            return position, probability
        return position, np.full_like(probability, wrong)

    gated = GatedEngine(SimpleNamespace(name="fast", classify=classify), reference)
    dn = series(SHAPES[2], 50)
    assert np.array_equal(gated.classify(dn)[1], reference.classify(dn)[1]) and gated.name == reference.name


def test_an_engine_that_raises_is_not_used(reference: TorchEngine, caplog: pytest.LogCaptureFixture) -> None:
    def classify(dn: Array, probabilities: Array) -> tuple[Array, Array]:
        raise RuntimeError("no kernel image is available")

    gated = GatedEngine(SimpleNamespace(name="fast", classify=classify), reference)
    dn = series(SHAPES[2], 50)
    assert np.array_equal(gated.classify(dn)[0], reference.classify(dn)[0])
    assert caplog.messages == ["fast fails (no kernel image is available); torch-cpu is used"]


def test_a_tie_may_fall_either_way(reference: TorchEngine) -> None:
    """One label in a thousand may differ if the reference itself is undecided."""
    dn = series(SHAPES[2], 1_024)
    scores = np.tile([0.4, 0.3, 0.2, 0.1], (1_024, 1)).astype(np.float32)
    scores[7] = [0.35, 0.345, 0.2, 0.105]
    other = np.zeros(1_024, np.intp)
    other[7] = 1
    settled = SimpleNamespace(name="torch-cpu", probabilities=lambda _: scores, classify=None)

    def classify(part: Array, probabilities: Array) -> tuple[Array, Array]:
        probabilities[:] = scores.T
        return other[: part.shape[2]], scores.max(axis=1)

    fast = SimpleNamespace(name="fast", classify=classify)
    assert not GatedEngine(fast, settled)._fails(dn)
    scores[7] = [0.4, 0.3, 0.2, 0.1]
    assert GatedEngine(fast, settled)._fails(dn)
