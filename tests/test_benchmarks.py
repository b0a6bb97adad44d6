"""The benchmarks at small sizes: peers and engines agree on what they are timed at."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType

import dask
import numpy as np
import pandas as pd
import pytest
import torch

from mlc_dask.classifiers import LSTM, RandomForest
from tests.cubes import SHARED

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


@pytest.fixture(scope="module")
def real_series() -> ModuleType:
    return benchmark("real_series")


def two_kinds(years: int = 10, of_each: int = 6) -> np.ndarray:
    """Stable classes (year, location) of locations that have series from different years on."""
    truth = np.repeat([1, 2], of_each)[None].repeat(years, axis=0).astype(np.uint8)
    for location, first in enumerate(np.random.default_rng(0).integers(0, years - 5, 2 * of_each)):
        truth[:first, location] = 0
    return truth


@pytest.mark.parametrize("lasting", [1, 2, 99])
def test_spliced_series_change_when_and_as_long_as_they_say(lasting: int, real_series: ModuleType) -> None:
    truth = two_kinds()
    fold = real_series.folds_of(truth, 0)
    assert all(len(np.unique(fold[kind])) == 5 for kind in (np.arange(6), np.arange(6, 12)))
    where = real_series.spliced(truth, fold, lasting, seed=1, draws=200)
    true = real_series.along(truth, where)
    for series, location, onset in zip(true.T, where.location.T, where.onset, strict=True):
        own = series[series > 0]
        end = min(onset + lasting, len(own))
        assert 4 <= len(own) <= 8 and own[onset - 1] == 1 and (own[onset:end] == 2).all() and (own == 2).sum() > 0
        assert (own[end:] == 1).all() and (end < len(own) or lasting == 99)
        assert len(np.unique(fold[location[location >= 0]])) == 1, "one map is made by models of one fold"
    assert real_series.judged(true, true, where.onset) == (1, 1, 0)
    late = np.where(true > 0, np.concatenate([true[:1], true[:-1]]), 0).astype(np.uint8)
    exact, near, spurious = real_series.judged(late, true, where.onset)
    ends = (where.onset + 1 == (true > 0).sum(axis=0)).mean()
    assert (exact, near, spurious) == (0, 1 - ends, 0), "last year's label is late by one year"


def test_figures_of_series_computed_by_hand(real_series: ModuleType) -> None:
    truth = np.array([[1, 1, 1, 2, 2, 2, 2], [1, 1, 1, 1, 2, 2, 0]], np.uint8).T
    maps = np.array([[1, 1, 1, 2, 2, 1, 2], [1, 2, 1, 2, 2, 2, 0]], np.uint8).T
    assert real_series.judged(maps, truth, np.array([3, 4])) == (0.5, 1.0, 2.0)
    counts = real_series.counted(maps, truth)
    assert counts.tolist() == [[[3, 2], [6, 5]], [[1, 2], [5, 4]], [[6, 4], [7, 6]]]


def test_real_series_are_mapped_by_models_of_other_locations(real_series: ModuleType, tmp_path: Path) -> None:
    file = SHARED / "multi_year" / "cerrado_2classes_2000_2014.parquet"
    if not file.exists():
        pytest.skip("the real series are not beside this checkout")
    place = real_series.read(file, ("NDVI", "EVI"), ("Cerrado", "Pasture"), (2006, 2008))
    assert place.truth.shape[0] == 3 and (place.truth > 0).sum() > 150
    rows = pd.read_parquet(file)
    index = (place.cube.reflectance.values[0, :, :, 0][..., place.truth[0] > 0].astype(float) - 1000) / 10_000 - 1
    first = rows[pd.to_datetime(rows["end_date"]).dt.year == 2006].sort_values("location")
    np.testing.assert_allclose(index[3, 1], first["EVI_03"], atol=5e-5)
    small = {
        "forest": (RandomForest(trees=5), False),
        "LSTM, squares": (LSTM(layers=1, hidden=8, dropout=0.0, epochs=5, batch=32), True),
    }
    with dask.config.set(scheduler="synchronous"):
        found = real_series.measure(tmp_path, "cerrado", place, 0, small)
        again = real_series.measure(tmp_path, "cerrado", place, 0, dict.fromkeys(small, (None, False)))
    assert list(found["LSTM, squares"]) == ["single-year", "multi-year", "equal samples", "equal steps"]
    for who, maps in found.items():
        for model, own in maps.items():
            assert ((own.labels > 0) == (place.truth > 0)).all()
            assert (own.labels == again[who][model].labels).all(), "a finished measurement is not repeated"
    seen = place.truth > 0
    accuracy = (found["forest"]["multi-year"].labels == place.truth)[seen].mean()
    assert 0.75 < accuracy < 0.99, "a location that trained its own model would be right"
    lines = real_series.compared([found], place.truth).splitlines()
    assert len(lines) == 2 + 3 + 4 and f"{accuracy:.3f} [" in next(li for li in lines if "forest | multi" in li)


def test_tables_replace_those_of_a_page(tmp_path: Path) -> None:
    tables, page = benchmark("page_tables"), tmp_path / "page.md"
    page.write_text("a\n<!-- one: made by benchmarks/x.py -->\nold\n<!-- /one -->\nb\n", encoding="utf-8")
    tables.put("x", {"one": "| new |"}, page)
    assert page.read_text("utf-8") == "a\n<!-- one: made by benchmarks/x.py -->\n| new |\n<!-- /one -->\nb\n"
    with pytest.raises(ValueError, match="no place for the table 'two'"):
        tables.put("x", {"two": "| new |"}, page)


def test_controls_over_worlds_are_tested_by_world() -> None:
    controls = benchmark("controls")
    random, rows = np.random.default_rng(0), []
    series = [(c, "none") for c in (*controls.MODELS, "single_year", "seed_1")]
    series += [("single_year", smoother) for smoother in controls.SMOOTHERS]
    gain = {("multi_year", "none"): 0.05, ("equal_samples", "none"): 0.05, ("seed_1", "none"): 0.05}
    for world in range(10):
        hard = random.normal(0, 0.05)
        for who in series:
            for measure in controls.MEASURES:
                value = 0.8 + hard + gain.get(who, 0) + random.normal(0, 0.002)
                rows.append((world, *who, measure, False, value))
                rows.append((world, *who, measure, True, 0.0))
    table = pd.DataFrame(rows, columns=["world", "control", "smoother", "metric", "filtered", "estimate"])
    found = controls.tables(table)
    lines = {line.split(" | ")[0].strip("| "): line for line in found["models"].splitlines()[2:]}
    assert lines["multi-year"].count("*") == lines["multi-year, a third of the samples"].count("*") == 5
    assert "+0.05" in lines["multi-year"] and lines["one forest of all years"].count("*") == 0
    none = (table.world == 3) & (table.smoother == "hmm-0.01") & (table.metric == "change_precision")
    gaps = controls.tables(table[~none])["smoothers"].splitlines()[-2]
    assert gaps.endswith("| – |") and gaps.count("*") == 4, "a measure that a world lacks is not judged"
    few = controls.tables(table[table.world < 4])["models"]
    assert "*" not in few, "four worlds reject nothing"
    assert found["smoothers"].count("*") == 5 * len(controls.SMOOTHERS) and "| 0.00" in found["floor"]


def test_gains_from_years_and_from_samples_add_up() -> None:
    sizes = benchmark("sample_sizes")
    values = {"single": 0.7, "equal": 0.8, "multi": 0.85}
    rows = [
        {"world": w, "classifier": "forest", "wanted": 50, "samples": 52, "model": m, "agreement": v, "accuracy": v}
        for w in range(2)
        for m, v in values.items()
    ]
    cells = sizes.table(pd.DataFrame(rows)).splitlines()[-1]
    assert cells.count("0.700 | +0.100 (+0.100, +0.100) | +0.050 (+0.050, +0.050)") == 2
