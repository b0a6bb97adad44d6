"""The benchmarks at small sizes: peers and engines agree on what they are timed at."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def engines() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return __import__("engines")
    finally:
        sys.path.remove(str(FOLDER))


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
