"""Training, checkpoints and engines on a second network: nothing in them is specific to the LSTM."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlc_dask.classifiers import Context, Model, TrainingSet
from mlc_dask.classifiers.engine import Engine
from mlc_dask.classifiers.protocol import Report
from mlc_dask.classifiers.stored import StoredModel
from mlc_dask.classifiers.torch_network.engine import TorchEngine
from mlc_dask.classifiers.torch_network.gate import GatedEngine
from mlc_dask.classifiers.torch_network.protocol import Network
from mlc_dask.classifiers.torch_network.streamed import StreamedEngine
from mlc_dask.classifiers.torch_network.training import train
from mlc_dask.data.legend import DEFAULT_LEGEND
from tests.cubes import Array

T, B, PIXELS = 6, 3, 300
CODES = np.array([2, 3, 7], np.uint8)
CONTEXT = Context(DEFAULT_LEGEND, ("B02", "B03", "B04"), tuple(50.0 * i for i in range(T)), "keep", 3)


class Convolution(nn.Module):
    """One convolution over time, and the mean of its outputs."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("std", torch.ones(bands))
        self.layer, self.head = nn.Conv1d(bands, 16, 3, padding=1), nn.Linear(16, classes)

    @property
    def dtype(self) -> torch.dtype:
        return self.layer.weight.dtype

    def forward(self, dn: Tensor) -> Tensor:
        bands = ((dn - self.mean) / self.std).transpose(1, 2).to(self.dtype)
        return torch.log_softmax(self.head(self.layer(bands).relu().mean(dim=2).to(self.head.weight.dtype)), dim=1)

    def rounded(self, dn: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.forward(dn).float()

    def standardise(self, dn: Array) -> None:
        self.mean.copy_(torch.from_numpy(dn.mean(axis=(0, 1))))
        self.std.copy_(torch.from_numpy(dn.std(axis=(0, 1))))


class ConvolutionModel(StoredModel["Convolutions"]):
    @staticmethod
    def parse_settings(values: Mapping[str, Any]) -> Convolutions:
        return Convolutions(**values)

    @cached_property
    def _engine(self) -> Engine:
        network = self.settings.network(B, len(self.classes))
        network.load_state_dict({name: torch.tensor(array) for name, array in self.arrays.items()})
        return TorchEngine(network)

    def check(self) -> None:
        assert self._engine


@dataclass(frozen=True)
class Convolutions:
    name: ClassVar[str] = "convolutions"
    model: ClassVar[type[Model]] = ConvolutionModel
    resource: ClassVar[str | None] = None

    epochs: int = 5
    batch: int = 32
    learning_rate: float = 0.02
    weight_decay: float = 0.0
    class_weights: bool = True
    precision: str = "float32"

    def network(self, bands: int, classes: int) -> Network:
        return Convolution(bands, classes)

    def fit(
        self, data: TrainingSet, *, seed: int, checkpoint: Path | None = None, report: Report | None = None
    ) -> ConvolutionModel:
        best, history = train(self, data, seed=seed, checkpoint=checkpoint, report=report)
        arrays = {name: tensor.numpy() for name, tensor in best.items()}
        return ConvolutionModel(self, data.context, data.classes, tuple(history), arrays)


def made(samples: int, seed: int) -> tuple[Array, Array]:
    """Series (N, T, B) around a curve per class, and their codes."""
    random = np.random.default_rng(seed)
    labels = random.choice(CODES, samples)
    curves = np.random.default_rng(5).integers(1200, 6000, (8, T, B))
    return random.normal(curves[labels], 300).clip(1, 65_535).astype(np.uint16), labels


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    dn, labels = made(PIXELS, 0)
    return TrainingSet(dn, labels, np.arange(PIXELS) % 4 == 0, CONTEXT)


def stop_after(epoch: int) -> Callable[[dict[str, Any]], None]:
    def report(row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_resumes_and_is_stored(precision: str, data: TrainingSet, tmp_path: Path) -> None:
    settings, checkpoint = Convolutions(precision=precision), tmp_path / "checkpoint"
    whole = settings.fit(data, seed=1)
    with pytest.raises(KeyboardInterrupt):
        settings.fit(data, seed=1, checkpoint=checkpoint, report=stop_after(3))
    told: list[int] = []
    resumed = settings.fit(data, seed=1, checkpoint=checkpoint, report=lambda row: told.append(row["epoch"]))
    assert told == [4, 5] and resumed.to_bytes() == whole.to_bytes()
    whole.save(tmp_path / "model")
    stored = ConvolutionModel.load(tmp_path / "model")
    dn, truth = made(500, 9)
    labels, confidence, every = stored.predict(dn.transpose(1, 2, 0), probabilities=True)
    assert (labels == truth).mean() > 0.97 and stored.digest == whole.digest
    assert np.array_equal(stored.classes[every.argmax(axis=0)], labels)
    assert np.abs(confidence - 100 * every.max(axis=0)).max() <= 0.5 + 1e-3


def test_a_checkpoint_of_another_network_is_ignored(data: TrainingSet, tmp_path: Path) -> None:
    class Wider(Convolutions):
        name = "wider"

        def network(self, bands: int, classes: int) -> Network:
            wide = Convolution(bands, classes)
            wide.layer, wide.head = nn.Conv1d(bands, 20, 3, padding=1), nn.Linear(20, classes)
            return wide

    with pytest.raises(KeyboardInterrupt):
        Wider().fit(data, seed=1, checkpoint=tmp_path / "checkpoint", report=stop_after(2))
    told: list[int] = []
    Convolutions().fit(data, seed=1, checkpoint=tmp_path / "checkpoint", report=lambda r: told.append(r["epoch"]))
    assert told == [1, 2, 3, 4, 5]


def test_it_runs_on_the_other_engines(data: TrainingSet) -> None:
    torch.manual_seed(0)
    network = Convolution(B, 3)
    network.standardise(data.dn)
    dn = np.ascontiguousarray(data.dn.transpose(1, 2, 0))
    streamed = StreamedEngine(copy.deepcopy(network), name="streamed", on=torch.device("cpu"), batch=64)
    gated = GatedEngine(streamed, TorchEngine(network))
    expected, found = np.empty((2, 3, PIXELS), np.float32)
    position, _ = TorchEngine(network).classify(dn, expected)
    assert np.array_equal(gated.classify(dn, found)[0], position) and gated.name == "streamed"
    np.testing.assert_allclose(found, expected, atol=1e-5)
