"""The contract of all classifiers, and tests of each one."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from dask.base import tokenize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.ensemble import RandomForestClassifier

from mlc_dask import native
from mlc_dask.classifiers import CLASSIFIERS, LSTM, Context, RandomForest, TrainingSet, load_model, save_model
from mlc_dask.classifiers.engine import to_percent
from mlc_dask.classifiers.lstm.network import LSTMNetwork
from mlc_dask.classifiers.torch_network.engine import BATCH, TorchEngine
from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND

T, B = 5, 4
CONTEXT = Context(DEFAULT_LEGEND, ("B02", "B03", "B04", "B08"), (20.0, 90.5, 150.0, 230.25, 300.0), "keep", 3)
CODES = np.array([2, 3, 7, 10], np.uint8)
SMALL: dict[str, Any] = {
    "forest": RandomForest(trees=9),
    "lstm": LSTM(layers=2, hidden=8, epochs=6, batch=64, learning_rate=0.02),
}


def series(labels: np.ndarray, seed: int, noise: float = 300) -> np.ndarray:
    """Series (N, T, B) around one curve per class."""
    curves = np.random.default_rng(5).integers(1200, 6000, (256, T, B))
    drawn = np.random.default_rng(seed).normal(curves[labels], noise)
    return drawn.clip(1, 65535).astype(np.uint16)


def make_set(samples: int = 300, seed: int = 0, noise: float = 300, validation: float = 0.3) -> TrainingSet:
    rng = np.random.default_rng(seed)
    labels = rng.choice(CODES, samples, p=[0.4, 0.3, 0.2, 0.1])
    return TrainingSet(series(labels, seed + 1, noise), labels, rng.random(samples) < validation, CONTEXT)


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return make_set()


@pytest.fixture(scope="module")
def models(data: TrainingSet) -> dict[str, Any]:
    return {name: classifier.fit(data, seed=3) for name, classifier in SMALL.items()}


@pytest.fixture(params=sorted(CLASSIFIERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(models: dict[str, Any], name: str) -> Any:
    return models[name]


def pixels(count: int, seed: int = 9, noise: float = 300) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(seed).choice(CODES, count)
    return np.ascontiguousarray(series(labels, seed, noise).transpose(1, 2, 0)), labels


def same_bytes(a: Any, b: Any) -> bool:
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a, b, strict=True))


class TestContract:
    def test_settings(self, name: str) -> None:
        classifier = SMALL[name]
        assert type(classifier) is CLASSIFIERS[name]
        assert classifier.name == name
        with pytest.raises(dataclasses.FrozenInstanceError):
            classifier.name = "other"
        assert CLASSIFIERS[name]() == CLASSIFIERS[name]()
        assert tokenize(classifier) == tokenize(dataclasses.replace(classifier))

    def test_learns_what_can_be_learned(self, model: Any) -> None:
        dn, truth = pixels(700)
        labels, confidence = model.predict(dn)
        assert labels.dtype == confidence.dtype == np.uint8
        assert labels.shape == confidence.shape == (700,)
        assert (labels == truth).mean() > 0.97
        assert np.array_equal(model.classes, CODES)
        assert confidence.min() >= 1
        assert confidence.max() <= 100
        assert confidence[labels == truth].mean() > confidence[labels != truth].mean() if (labels != truth).any() else 1

    def test_confidence_is_low_where_classes_look_alike(self, name: str) -> None:
        hopeless = make_set(noise=30000)
        labels, confidence = SMALL[name].fit(hopeless, seed=0).predict(series(CODES, 77, 30000).transpose(1, 2, 0))
        assert set(labels) <= set(CODES)
        assert confidence.mean() < 90

    @pytest.mark.parametrize("level", [*native.available(), "off"])
    def test_probabilities(self, model: Any, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """On every engine of this machine; codes and confidences are the same with and without probabilities."""
        monkeypatch.setattr(native, "level", lambda: "" if level == "off" else level)
        monkeypatch.setattr(native, "level_asked", lambda: level)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        engine, reference = (pickle.loads(pickle.dumps(model)) for _ in range(2))
        dn, _ = pixels(700)
        labels, confidence, every = engine.predict(dn, probabilities=True)
        assert same_bytes((labels, confidence), engine.predict(dn))
        assert every.dtype == np.float32 and every.shape == (len(CODES), 700)
        assert every.min() >= 0
        np.testing.assert_allclose(every.sum(axis=0), 1, atol=1e-5)
        own = every[np.searchsorted(CODES, labels), np.arange(700)]
        np.testing.assert_allclose(own, every.max(axis=0), rtol=1e-6)
        assert np.array_equal(to_percent(own, least=1), confidence)
        parts = [engine.predict(dn[:, :, a:b], probabilities=True) for a, b in pairwise([0, 1, 77, 300, 700])]
        assert same_bytes((labels, confidence, every), [np.concatenate(p, axis=-1) for p in zip(*parts, strict=True)])
        assert engine.predict(dn[:, :, :0], probabilities=True)[2].shape == (len(CODES), 0)
        monkeypatch.setattr(native, "level", lambda: "")
        monkeypatch.setattr(native, "level_asked", lambda: "off")
        expected = reference.predict(dn, probabilities=True)[2]
        assert reference.engine in ("torch-cpu", "scikit-learn")
        # Hidden layers of 8 units do not fit matrix tiles, so every instruction set uses whole numbers of 16 bits.
        assert np.abs(every - expected).max() <= (0 if model.settings.name == "forest" else 2e-3)

    @given(cuts=st.lists(st.integers(0, 600), max_size=6))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_an_answer_does_not_depend_on_how_pixels_are_cut(self, model: Any, cuts: list[int]) -> None:
        dn, _ = pixels(600)
        whole = model.predict(dn)
        edges = [0, *sorted(cuts), 600]
        parts = [model.predict(dn[:, :, a:b]) for a, b in pairwise(edges)]
        assert same_bytes(whole, [np.concatenate(p) for p in zip(*parts, strict=True)])

    @pytest.mark.parametrize("count", [0, 1, 2, BATCH - 1, BATCH, BATCH + 1])
    def test_sizes_at_the_edge(self, model: Any, count: int) -> None:
        dn, _ = pixels(BATCH + 1)
        whole = model.predict(dn)
        assert same_bytes(model.predict(dn[:, :, :count]), [a[:count] for a in whole])

    def test_order_of_pixels_and_memory_do_not_matter(self, model: Any) -> None:
        dn, _ = pixels(400)
        order = np.random.default_rng(1).permutation(400)
        expected = [a[order] for a in model.predict(dn)]
        shuffled = dn[:, :, order]
        assert same_bytes(model.predict(shuffled), expected)
        assert same_bytes(model.predict(np.asfortranarray(shuffled)), expected)
        shuffled.flags.writeable = False
        assert same_bytes(model.predict(shuffled), expected)

    def test_threads_agree(self, model: Any) -> None:
        dn, _ = pixels(500)
        expected = model.predict(dn)
        fresh = pickle.loads(pickle.dumps(model))
        with ThreadPoolExecutor(4) as pool:
            assert all(same_bytes(got, expected) for got in pool.map(fresh.predict, [dn] * 8))

    def test_the_same_training_gives_the_same_bytes(self, name: str, model: Any, data: TrainingSet) -> None:
        again = SMALL[name].fit(data, seed=3)
        assert again.to_bytes() == model.to_bytes()
        assert again.digest == model.digest
        assert tokenize(again) == tokenize(model)
        other = SMALL[name].fit(data, seed=4)
        assert other.to_bytes() != model.to_bytes()
        assert tokenize(other) != tokenize(model)

    def test_the_process_is_left_as_it_was(self, name: str, data: TrainingSet) -> None:
        torch.manual_seed(11)
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
        SMALL[name].fit(data, seed=3).predict(pixels(3)[0])
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
        assert torch.get_num_threads() == before[2]

    def test_trainings_in_threads_do_not_disturb_each_other(self, name: str, model: Any, data: TrainingSet) -> None:
        with ThreadPoolExecutor(3) as pool:
            results = list(pool.map(lambda seed: SMALL[name].fit(data, seed=seed).digest, [3, 8, 3]))
        assert results[0] == results[2] == model.digest

    def test_round_trip(self, model: Any, tmp_path: Path) -> None:
        save_model(model, tmp_path / "a" / "b")
        loaded = load_model(str(tmp_path / "a" / "b"))
        dn, _ = pixels(300)
        assert same_bytes(loaded.predict(dn), model.predict(dn))
        assert type(loaded) is type(model)
        assert loaded.context == CONTEXT
        assert loaded.settings == model.settings
        assert list(loaded.history) == list(model.history)
        assert loaded.digest == model.digest
        assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["model.json", "model.safetensors"]
        described = json.loads((tmp_path / "a" / "b" / "model.json").read_text())
        assert described["kind"] == model.settings.name
        assert described["classes"] == CODES.tolist()
        assert described["context"]["days"] == list(CONTEXT.days)

    @pytest.mark.parametrize("module", [pickle, cloudpickle])
    def test_pickle_is_cheap(self, model: Any, module: Any) -> None:
        dn, _ = pixels(100)
        expected = model.predict(dn)
        assert model.digest
        sent = module.dumps(model)
        received = module.loads(sent)
        assert same_bytes(received.predict(dn), expected)
        assert tokenize(received) == tokenize(model)
        assert len(sent) < 1.2 * len(model.to_bytes()) + 4000

    def test_a_series_of_another_shape_is_refused(self, model: Any) -> None:
        dn, _ = pixels(3)
        for wrong in (dn[:-1], dn[:, :-1], dn[:, :, 0], dn.astype(np.float32), dn.astype(np.int16)):
            with pytest.raises(InputError):
                model.predict(wrong)

    def test_only_training_samples_are_fitted(self, name: str, data: TrainingSet) -> None:
        other = data.dn.copy()
        other[data.validation] = 60000
        one_epoch = dataclasses.replace(SMALL[name], **({"epochs": 1} if name == "lstm" else {}))
        fitted = [one_epoch.fit(dataclasses.replace(data, dn=dn), seed=0).arrays for dn in (data.dn, other)]
        assert all(np.array_equal(fitted[0][key], fitted[1][key]) for key in fitted[0])

    def test_a_class_that_has_no_training_sample(self, name: str, data: TrainingSet) -> None:
        only_validation = data.labels == 10
        part = dataclasses.replace(data, validation=data.validation | only_validation)
        fitted = SMALL[name].fit(part, seed=0)
        assert fitted.classes.tolist() == [2, 3, 7]
        assert set(fitted.predict(pixels(200)[0])[0]) <= {2, 3, 7}
        if fitted.history:
            assert fitted.history[0]["validation_dropped"] == only_validation.sum()

    def test_tiny_classes(self, name: str, data: TrainingSet) -> None:
        keep = np.concatenate([np.flatnonzero((data.labels == c) & ~data.validation)[:n] for c, n in ((2, 40), (7, 1))])
        tiny = TrainingSet(data.dn[keep], data.labels[keep], np.zeros(len(keep), bool), CONTEXT)
        assert SMALL[name].fit(tiny, seed=0).classes.tolist() == [2, 7]
        alone = TrainingSet(data.dn[keep[:1]], data.labels[keep[:1]], np.zeros(1, bool), CONTEXT)
        labels, confidence = SMALL[name].fit(alone, seed=0).predict(pixels(4)[0])
        assert (labels == 2).all()
        assert (confidence == 100).all()

    def test_refused_files(self, model: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="does not exist"):
            load_model(tmp_path)
        save_model(model, tmp_path)
        file = tmp_path / "model.safetensors"
        whole = file.read_bytes()
        arrays = load_file(file)
        text = json.loads((tmp_path / "model.json").read_text())

        def refused(match: str, content: dict[str, Any] | None = None, tensors: Any = arrays) -> None:
            save_file(tensors, file, None if content is None else {"mlc_dask": json.dumps(content)})
            with pytest.raises(InputError, match=match):
                load_model(tmp_path)

        refused("lacks the description")
        refused("lacks the description", {**text, "format": 99})
        refused("unknown kind", {**text, "kind": "perceptron"})
        for part in ("context", "classes", "settings", "history"):
            refused("not a complete", {k: v for k, v in text.items() if k != part})
        refused("not a complete", {**text, "classes": [2, 3, 7, 200]})
        refused("not a complete", {**text, "classes": [2, 3]})
        refused("not a complete", {**text, "kind": next(k for k in CLASSIFIERS if k != model.settings.name)})
        for key in arrays:
            refused("not a complete", text, {k: v for k, v in arrays.items() if k != key})
            refused("not a complete", text, {**arrays, key: arrays[key][:-1]})
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="cannot be read"):
            load_model(tmp_path)
        file.write_bytes(whole)
        assert load_model(tmp_path).digest == model.digest

    def test_a_failed_save_leaves_the_old_model(
        self, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_model(model, tmp_path)
        before = (tmp_path / "model.safetensors").read_bytes()
        monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            save_model(model, tmp_path)
        assert (tmp_path / "model.safetensors").read_bytes() == before
        assert len(list(tmp_path.iterdir())) == 2


_ELSEWHERE = """
import sys, numpy as np, test_classifiers as t
data, dn = t.make_set(), t.pixels(321)[0]
for name in sorted(t.SMALL):
    model = t.SMALL[name].fit(data, seed=3)
    print(name, model.digest, *(a.tobytes().hex() for a in model.predict(dn)))
"""


def test_another_process_gives_the_same_bytes(models: dict[str, Any]) -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE],
        env={"OMP_NUM_THREADS": "5", "PYTHONHASHSEED": "5", "PYTHONPATH": f"{here}:{here.parent}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    expected = [
        " ".join([n, models[n].digest, *(a.tobytes().hex() for a in models[n].predict(pixels(321)[0]))])
        for n in sorted(SMALL)
    ]
    assert done.stdout.splitlines() == expected


class TestTrainingSet:
    def test_refused(self, data: TrainingSet) -> None:
        everything = np.ones_like(data.validation)
        cases: list[tuple[dict[str, Any], str]] = [
            ({"validation": everything}, "none of the 300 samples"),
            ({"labels": np.full_like(data.labels, 99)}, r"labels \[99\] are not in the legend"),
            ({"labels": np.zeros_like(data.labels)}, r"labels \[0\]"),
            ({"labels": data.labels[:-1]}, "do not fit"),
            ({"labels": data.labels.astype(int)}, "give uint8"),
            ({"dn": data.dn.astype(np.float32)}, "not uint16"),
            ({"dn": data.dn[:, :-1]}, "trained on 5 acquisitions"),
        ]
        for change, message in cases:
            with pytest.raises(InputError, match=message):
                dataclasses.replace(data, **change)

    def test_empty(self) -> None:
        with pytest.raises(InputError, match="none of the 0 samples"):
            TrainingSet(np.empty((0, T, B), np.uint16), np.empty(0, np.uint8), np.empty(0, bool), CONTEXT)

    def test_digest_sees_everything(self, data: TrainingSet) -> None:
        dn, labels, validation = data.dn.copy(), data.labels.copy(), data.validation.copy()
        dn[0, 0, 0] += 1
        labels[0] = 3 if labels[0] == 2 else 2
        validation[0] = not validation[0]
        context = dataclasses.replace(CONTEXT, min_valid=4)
        changes: list[dict[str, Any]] = [
            {"dn": dn},
            {"labels": labels},
            {"validation": validation},
            {"context": context},
        ]
        digests = {dataclasses.replace(data, **change).digest for change in changes} | {data.digest}
        assert len(digests) == 5
        assert make_set().digest == data.digest

    def test_context(self) -> None:
        assert Context.from_dict(json.loads(json.dumps(CONTEXT.to_dict()))) == CONTEXT
        with pytest.raises(InputError, match="gaps='none'"):
            dataclasses.replace(CONTEXT, gaps="none")
        with pytest.raises(InputError, match="needs bands"):
            dataclasses.replace(CONTEXT, bands=())


class TestForest:
    @pytest.mark.parametrize(
        "classifier",
        [RandomForest(trees=25), RandomForest(trees=8, max_depth=3, min_samples_leaf=4, max_features=0.5)],
        ids=["grown", "pruned"],
    )
    def test_agrees_with_scikit_learn(self, classifier: RandomForest) -> None:
        data = make_set(500, noise=2500)
        model = classifier.fit(data, seed=42)
        oracle = RandomForestClassifier(
            classifier.trees,
            max_depth=classifier.max_depth,
            min_samples_leaf=classifier.min_samples_leaf,
            max_features=classifier.max_features,
            random_state=np.random.RandomState(np.random.MT19937(np.random.SeedSequence(42))),
        )
        train = ~data.validation
        oracle.fit(data.dn[train].reshape(train.sum(), -1), data.labels[train])
        dn = np.random.default_rng(0).integers(0, 65536, (T, B, 5000)).astype(np.uint16)
        dn[:, :, :2500] = series(np.random.default_rng(1).choice(CODES, 2500), 2, 2500).transpose(1, 2, 0)
        shares = oracle.predict_proba(dn.transpose(2, 0, 1).reshape(5000, -1))
        labels, confidence = model.predict(dn)
        # float32 leaves may decide a tie of different leaves; the winner must be within rounding of the best.
        best = shares[np.arange(5000), np.searchsorted(CODES, labels)]
        assert (shares.max(axis=1) - best).max() < 1e-6
        assert (labels == oracle.predict(dn.transpose(2, 0, 1).reshape(5000, -1))).mean() > 0.999
        assert np.abs(confidence - 100 * shares.max(axis=1)).max() < 0.5 + 1e-4

    def test_forged_trees_are_refused(self, models: dict[str, Any], tmp_path: Path) -> None:
        model = models["forest"]
        inner = int(np.flatnonzero(model.arrays["left"] >= 0)[1])
        leaf = int(np.flatnonzero(model.arrays["left"] < 0)[0])
        for key, node, value in (
            ("left", inner, 0),
            ("right", inner, 10**6),
            ("right", inner, -5),
            ("left", inner, -2),
            ("feature", inner, T * B),
            ("right", leaf, len(model.arrays["shares"])),
            ("right", leaf, -1),
        ):
            array = model.arrays[key].copy()
            array[node] = value
            save_model(dataclasses.replace(model, arrays={**model.arrays, key: array}), tmp_path)
            with pytest.raises(InputError, match="outside its tree"):
                load_model(tmp_path)
        first_leaves = np.flatnonzero(model.arrays["left"] < 0)[:2]
        twice = {**model.arrays, "right": model.arrays["right"].copy()}
        twice["right"][first_leaves] = 0
        more = {**model.arrays, "shares": np.concatenate([model.arrays["shares"]] * 2)}
        shared = {**model.arrays, "left": model.arrays["left"].copy()}
        shared["left"][inner] = shared["right"][inner]
        for arrays, words in ((twice, "one to one"), (more, "one to one"), (shared, "exactly one parent")):
            save_model(dataclasses.replace(model, arrays=arrays), tmp_path)
            with pytest.raises(InputError, match=words):
                load_model(tmp_path)
        wide = {**model.arrays, "left": model.arrays["left"].astype(np.int64)}
        save_model(dataclasses.replace(model, arrays=wide), tmp_path)
        with pytest.raises(InputError, match="left has dtype int64"):
            load_model(tmp_path)

    @pytest.mark.parametrize(
        "wrong",
        [{"trees": 0}, {"max_depth": 0}, {"min_samples_leaf": 0}, {"max_features": "all"}, {"max_features": 1.5}],
    )
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=next(iter(wrong))):
            RandomForest(**wrong)


def oracle_forward(arrays: dict[str, np.ndarray], settings: LSTM, dn: np.ndarray) -> np.ndarray:
    """Log-probabilities (N, K) of `dn` (N, T, D) by the equations, in float64 and without torch."""
    w = {key: value.astype(np.float64) for key, value in arrays.items()}

    def norm(x: np.ndarray, key: str) -> np.ndarray:
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        return (x - x.mean(axis=-1, keepdims=True)) / spread * w[f"{key}.weight"] + w[f"{key}.bias"]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    x = norm((dn.astype(np.float64) - w["mean"]) / w["std"], "input_norm")
    states = []
    for layer in range(settings.layers):
        outputs = []
        for suffix in ("", "_reverse") if settings.bidirectional else ("",):
            hidden = cell = np.zeros((len(dn), settings.hidden))
            sequence = np.empty((*x.shape[:2], settings.hidden))
            times = range(x.shape[1])
            for t in reversed(times) if suffix else times:
                gates = x[:, t] @ w[f"lstm.weight_ih_l{layer}{suffix}"].T
                gates = gates + hidden @ w[f"lstm.weight_hh_l{layer}{suffix}"].T
                i, f, g, o = np.split(gates, 4, axis=1)
                cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
                hidden = sigmoid(o) * np.tanh(cell)
                sequence[:, t] = hidden
            states.append(cell)
            outputs.append(sequence)
        x = np.concatenate(outputs, axis=2)
    scores = norm(np.concatenate(states, axis=1), "state_norm") @ w["head.weight"].T + w["head.bias"]
    scores -= scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


class Interrupted(Exception):  # noqa: N818
    """Stands for the death of a worker."""


def stop_after(epoch: int) -> Callable[[dict[str, Any]], None]:
    def report(row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            raise Interrupted

    return report


class TestLSTM:
    def test_size_of_the_papers_network(self) -> None:
        parameters = sum(p.numel() for p in LSTM().network(10, 11).parameters())
        # Norms 20 and 2048, layers 2·4·128·(10+128) and 3·2·4·128·(256+128), head 1024·11+11.
        assert parameters == 20 + 141_312 + 3 * 393_216 + 2_048 + 11_275 == 1_334_303

    def test_defaults_are_the_papers(self) -> None:
        assert dataclasses.asdict(LSTM()) == {
            "layers": 4,
            "hidden": 128,
            "bidirectional": True,
            "dropout": 0.5713,
            "epochs": 100,
            "batch": 1024,
            "learning_rate": 1e-3,
            "weight_decay": 1e-6,
            "class_weights": False,
            "precision": "float32",
        }

    @pytest.mark.parametrize("classifier", [LSTM(layers=4, hidden=16), LSTM(layers=1, hidden=5, bidirectional=False)])
    def test_equations(self, classifier: LSTM, data: TrainingSet) -> None:
        torch.manual_seed(0)
        network = classifier.network(B, 4).eval()
        network.standardise(data.dn)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        arrays = {key: value.numpy() for key, value in network.state_dict().items()}
        with torch.inference_mode():
            got = network(torch.from_numpy(data.dn.astype(np.float32))).numpy()
        assert np.abs(got - oracle_forward(arrays, classifier, data.dn)).max() < 2e-4

    def test_predict_is_the_best_class_of_the_equations(self, models: dict[str, Any]) -> None:
        model = models["lstm"]
        dn, _ = pixels(BATCH + 77)
        scores = oracle_forward(model.arrays, model.settings, dn.transpose(2, 0, 1))
        labels, confidence = model.predict(dn)
        assert np.array_equal(labels, CODES[scores.argmax(axis=1)])
        assert np.abs(confidence - 100 * np.exp(scores.max(axis=1))).max() < 0.5 + 1e-3

    def test_normalisation_is_of_the_training_samples(self, models: dict[str, Any], data: TrainingSet) -> None:
        arrays, part = models["lstm"].arrays, data.dn[~data.validation].astype(np.float64)
        np.testing.assert_allclose(arrays["mean"], part.mean(axis=(0, 1)), rtol=1e-6)
        np.testing.assert_allclose(arrays["std"], part.std(axis=(0, 1)), rtol=1e-6)

    def test_a_constant_band_and_the_largest_numbers(self) -> None:
        network = LSTM(layers=1, hidden=2).network(2, 2)
        dn = np.full((9, T, 2), 65535, np.uint16)
        dn[::2, :, 1] = 0
        network.standardise(dn)
        assert network.std[0] == 1
        np.testing.assert_allclose(network.std[1], dn[..., 1].std(), rtol=1e-6)
        np.testing.assert_allclose(network.mean, dn.mean(axis=(0, 1)), rtol=1e-6)

    def test_the_best_epoch_is_kept(self) -> None:
        noisy = make_set(200, noise=4000)
        classifier = LSTM(layers=1, hidden=16, epochs=25, batch=32, learning_rate=0.03)
        model = classifier.fit(noisy, seed=1)
        losses = [row["validation_loss"] for row in model.history]
        assert losses[-1] > min(losses) + 0.1, "the case must overfit to show anything"
        assert [row["best_so_far"] for row in model.history] == [
            x == min(losses[: i + 1]) for i, x in enumerate(losses)
        ]
        validation = noisy.validation
        scores = oracle_forward(model.arrays, classifier, noisy.dn[validation])
        positions = np.searchsorted(CODES, noisy.labels[validation])
        assert -scores[np.arange(len(scores)), positions].mean() == pytest.approx(min(losses), abs=1e-4)
        best = model.history[int(np.argmin(losses))]
        assert best["validation_accuracy"] == pytest.approx((scores.argmax(axis=1) == positions).mean())

    @pytest.mark.parametrize("weighted", [False, True])
    def test_loss_and_class_weights(self, data: TrainingSet, weighted: bool) -> None:
        still = LSTM(layers=1, hidden=4, epochs=1, batch=50, learning_rate=1e-12, class_weights=weighted)
        model = still.fit(data, seed=0)
        for row, chosen in (("train_loss", ~data.validation), ("validation_loss", data.validation)):
            positions = np.searchsorted(CODES, data.labels[chosen])
            scores = oracle_forward(model.arrays, still, data.dn[chosen])
            loss = -scores[np.arange(len(positions)), positions]
            counts = np.bincount(np.searchsorted(CODES, data.labels[~data.validation]))
            weights = 1 / counts[positions] if weighted else np.ones(len(positions))
            assert model.history[0][row] == pytest.approx((loss * weights).sum() / weights.sum(), rel=1e-4)

    def test_without_validation_samples_the_training_loss_decides(self) -> None:
        model = SMALL["lstm"].fit(make_set(validation=0), seed=0)
        assert {row["selected_by"] for row in model.history} == {"train_loss"}
        assert all(row["validation_loss"] is None and row["validation_accuracy"] is None for row in model.history)
        assert (model.predict(pixels(100)[0])[0] == pixels(100)[1]).mean() > 0.95

    def test_history_and_report(self, data: TrainingSet) -> None:
        told: list[dict[str, Any]] = []
        model = SMALL["lstm"].fit(data, seed=3, report=told.append)
        assert [row["epoch"] for row in model.history] == list(range(1, 7))
        assert model.history[-1]["train_loss"] < model.history[0]["train_loss"]
        assert {row["selected_by"] for row in model.history} == {"validation_loss"}
        assert all("seconds" not in row for row in model.history)
        assert all(row["seconds"] > 0 and row["epochs"] == 6 for row in told)
        assert [{k: row[k] for k in model.history[0]} for row in told] == list(model.history)

    @pytest.mark.parametrize("epoch", [1, 2, 5, 6])
    def test_an_interrupted_training_ends_in_the_same_bytes(
        self, models: dict[str, Any], data: TrainingSet, tmp_path: Path, epoch: int
    ) -> None:
        checkpoint = tmp_path / "new" / "lstm.checkpoint"
        with pytest.raises(Interrupted):
            SMALL["lstm"].fit(data, seed=3, checkpoint=checkpoint, report=stop_after(epoch))
        torch.manual_seed(123)
        torch.rand(7)
        told: list[int] = []
        resumed = SMALL["lstm"].fit(data, seed=3, checkpoint=checkpoint, report=lambda row: told.append(row["epoch"]))
        assert told == list(range(epoch + 1, 7)), "finished epochs must not be trained again"
        assert resumed.to_bytes() == models["lstm"].to_bytes()
        assert [p.name for p in checkpoint.parent.iterdir()] == ["lstm.checkpoint"]

    def test_resuming_after_the_best_epoch_keeps_it(self, tmp_path: Path) -> None:
        noisy = make_set(200, noise=4000)
        classifier = LSTM(layers=1, hidden=16, epochs=14, batch=32, learning_rate=0.03)
        undisturbed = classifier.fit(noisy, seed=1)
        best = int(np.argmin([row["validation_loss"] for row in undisturbed.history])) + 1
        assert best < 13, "the case must overfit to show anything"
        checkpoint = tmp_path / "lstm.checkpoint"
        with pytest.raises(Interrupted):
            classifier.fit(noisy, seed=1, checkpoint=checkpoint, report=stop_after(best + 1))
        assert classifier.fit(noisy, seed=1, checkpoint=checkpoint).to_bytes() == undisturbed.to_bytes()

    @pytest.mark.parametrize("count", [1, BATCH, 2 * BATCH + 3])
    def test_the_network_sees_whole_batches_only(self, count: int) -> None:
        seen: list[torch.Tensor] = []

        class Watched(LSTMNetwork):
            def forward(self, dn: torch.Tensor) -> torch.Tensor:
                seen.append(dn.clone())
                return torch.zeros(len(dn), 2)

        dn, _ = pixels(count)
        TorchEngine(Watched(B, 2, layers=1, hidden=1, bidirectional=False, dropout=0.0)).classify(dn)
        assert {tuple(x.shape) for x in seen} == {(BATCH, T, B)}
        together = torch.cat(seen).numpy()
        assert np.array_equal(together[:count], dn.transpose(2, 0, 1))
        assert not together[count:].any()

    def test_training_in_bfloat16_learns_as_well(self, data: TrainingSet) -> None:
        exact, low = (
            dataclasses.replace(SMALL["lstm"], precision=p).fit(data, seed=3) for p in ("float32", "bfloat16")
        )
        losses = [min(row["validation_loss"] for row in m.history) for m in (exact, low)]
        assert losses[0] != losses[1] and losses[1] <= 1.1 * losses[0] + 0.01
        assert {a.dtype for a in low.arrays.values()} == {np.dtype(np.float32)}
        with pytest.raises(InputError, match="LSTM: precision = 'float16': input should be"):
            dataclasses.replace(SMALL["lstm"], precision="float16")

    def test_dropout_and_order_matter_to_that(self, data: TrainingSet) -> None:
        wet, dry = (dataclasses.replace(SMALL["lstm"], dropout=d).fit(data, seed=3).arrays for d in (0.5713, 0.0))
        assert not np.array_equal(wet["head.weight"], dry["head.weight"])

    def test_a_checkpoint_of_something_else_is_ignored(
        self, models: dict[str, Any], data: TrainingSet, tmp_path: Path
    ) -> None:
        checkpoint = tmp_path / "lstm.checkpoint"
        others = [
            (dataclasses.replace(SMALL["lstm"], learning_rate=0.5), data, 3),
            (SMALL["lstm"], make_set(seed=8), 3),
            (SMALL["lstm"], data, 4),
            (dataclasses.replace(SMALL["lstm"], hidden=5), data, 3),
        ]
        for classifier, samples, seed in others:
            with pytest.raises(Interrupted):
                classifier.fit(samples, seed=seed, checkpoint=checkpoint, report=stop_after(1))
            told: list[int] = []
            fresh = SMALL["lstm"].fit(
                data, seed=3, checkpoint=checkpoint, report=lambda r, t=told: t.append(r["epoch"])
            )
            assert told[0] == 1
            assert fresh.to_bytes() == models["lstm"].to_bytes()

    @pytest.mark.parametrize("damage", ["cut", "empty", "text", "code"])
    def test_a_checkpoint_that_cannot_be_read_is_ignored(
        self, models: dict[str, Any], data: TrainingSet, tmp_path: Path, damage: str
    ) -> None:
        checkpoint = tmp_path / "lstm.checkpoint"
        with pytest.raises(Interrupted):
            SMALL["lstm"].fit(data, seed=3, checkpoint=checkpoint, report=stop_after(2))
        whole = checkpoint.read_bytes()
        content = {
            "cut": whole[: len(whole) // 2],
            "empty": b"",
            "text": b"not a checkpoint",
            "code": pickle.dumps(Bomb(tmp_path / "exploded"), protocol=2),
        }
        checkpoint.write_bytes(content[damage])
        fresh = SMALL["lstm"].fit(data, seed=3, checkpoint=checkpoint)
        assert fresh.to_bytes() == models["lstm"].to_bytes()
        assert not (tmp_path / "exploded").exists()

    def test_divergence_is_told(self, data: TrainingSet) -> None:
        with pytest.raises(InputError, match=r"diverged.*lower learning_rate"):
            dataclasses.replace(SMALL["lstm"], learning_rate=1e30, epochs=3).fit(data, seed=0)

    @pytest.mark.parametrize(
        "wrong",
        [{"layers": 0}, {"hidden": 0}, {"epochs": 0}, {"batch": 0}, {"dropout": 1.0}, {"learning_rate": float("nan")}],
    )
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=next(iter(wrong))):
            LSTM(**wrong)


class Bomb:
    """A pickle that would run code if checkpoints were read as pickles."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_a_worker_thread_leaves_the_main_thread_its_threads(models: dict[str, Any]) -> None:
    before = torch.get_num_threads()
    worker = threading.Thread(target=models["lstm"].predict, args=(pixels(10)[0],))
    worker.start()
    worker.join()
    assert torch.get_num_threads() == before
