"""The benchmarks at small sizes: peers and engines agree on what they are timed at."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parent.parent / "benchmarks"


def benchmark(name: str) -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def engines() -> ModuleType:
    return benchmark("engines")


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    return benchmark("gpu")


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.filterwarnings("ignore:Exporting a model to ONNX:UserWarning")
def test_networks(bidirectional: bool, engines: ModuleType, tmp_path: Path) -> None:
    group = engines.networks(256, bidirectional=bidirectional, folder=tmp_path, layers=2, hidden=32)
    rows = engines.measured(group, 1)
    assert all(row["equal_labels"] >= 0.95 and row["pixels_per_second"] > 0 for row in rows.values()), rows
    assert rows["engine torch-cpu"]["equal_labels"] >= 0.996


def test_forests(engines: ModuleType) -> None:
    rows = engines.measured(engines.forests(2_000, trees=30, samples=600), 1)
    ours = {name: row["equal_labels"] for name, row in rows.items() if name.startswith("engine")}
    assert len(ours) > 0 and set(ours.values()) == {1.0}, ours


def test_filters_and_gaps(engines: ModuleType) -> None:
    medians = engines.measured(engines.filters(96), 1)
    assert medians["median, OpenCV"]["equal_labels"] == 1.0
    # Beyond the edge we count nothing, where the others repeat it.
    assert medians["median, ours (codes, no data apart)"]["equal_labels"] > 0.8
    rows = engines.measured(engines.fillings(3_000), 1)
    assert {row["equal_labels"] for row in rows.values()} == {1.0}


def test_the_report_is_drawn(engines: ModuleType, tmp_path: Path) -> None:
    rows = engines.measured(engines.fillings(500), 2)
    found = {"groups": {"Gaps": rows, "Again": rows}}
    engines.draw(json.loads(json.dumps(found)), tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8").count("numpy") >= 2


def test_ceilings(engines: ModuleType) -> None:
    assert all(rate > 1e8 for rate in engines.ceilings().values())


def test_engines_for_gpus_on_the_cpu(engines: ModuleType, gpu: ModuleType) -> None:
    cpu = torch.device("cpu")
    network = engines.decided(
        gpu.LSTMNetwork(gpu.B, gpu.K, layers=2, hidden=32, bidirectional=True, dropout=0.0).eval()
    )
    group = gpu.networks(network, 200, cpu, ["cudnn"], batch=64)
    with torch.backends.mkldnn.flags(enabled=False):  # its LSTM knows float16 on some processors only
        assert min(gpu.compared(group, network).values()) >= 0.996
        rows = gpu.measured(group, 2, time.perf_counter)
    assert len(rows) == 3 and all(row["pixels_per_second"] > 0 for row in rows.values())
    assert all(rate > 1e6 for rate in gpu.ceilings(cpu, 64).values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_report_of_a_gpu(gpu: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    found = gpu.report(torch.device("cuda"), 1, 2**16, ["cudnn", "triton"])
    rows = [row for group in found["groups"].values() for row in group.values()]
    assert len(rows) == 8 and min(row["equal_to_cpu"] for row in rows) >= 0.99
    assert "a tile-year" in capsys.readouterr().out


def test_simulated_surveys() -> None:
    surveys = benchmark("survey_coverage")
    table = [surveys.row(*found) for found in surveys.surveyed(3)]
    assert {len(row) for row in table} == {len(surveys.HEAD)} and len({row[:2] for row in table}) == len(table)
    designs = {"olofsson 2014", "ten classes", "two maps", "blocks", "block bootstrap"}
    assert {row[0] for row in table} == designs and table[0][2] == "0.9465"
    assert sum(float(row[4]) for row in table) / len(table) > 0.8
