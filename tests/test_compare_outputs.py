"""The comparison of two outputs finds each planted difference, and passes over when and where a step ran."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import mlc_dask as mlc
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.data.steps import step
from mlc_dask.runs.artifacts import Kind
from mlc_dask.runs.folder import RunFolder
from mlc_dask.runs.run import Run
from tests.test_benchmarks import FOLDER, benchmark

differences = benchmark("compare_outputs").differences
KINDS = {
    "maps": Kind(open=mlc.open_maps, write=mlc.write_maps),
    "table": Kind(open=pd.read_csv, write=lambda table, folder: table.to_csv(folder / "table.csv", index=False)),
}


@step("multi-year", kind="maps")
def labels() -> xr.Dataset:
    values = np.random.default_rng(0).integers(1, 9, (2, 32, 32)).astype(np.uint8)
    coords = {"year": [2018, 2019], "y": np.arange(32.0)[::-1], "x": np.arange(32.0)}
    maps = xr.Dataset({"label": (("year", "y", "x"), values)}, coords, attrs={"legend": DEFAULT_LEGEND.to_dict()})
    return maps.rio.write_crs("EPSG:32632")


@step("evaluation", kind="table")
def counts(maps: xr.Dataset) -> pd.DataFrame:
    return pd.DataFrame({"year": maps.year, "ones": (maps.label == 1).sum(("y", "x"))})


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("outputs") / "a"
    with Run(folder, KINDS) as run:
        maps = run.do(labels)
        table = run.do(counts, maps)
        run.publish({"multi-year": maps, "evaluation": table})
    (folder / "report.html").write_text("<html>")
    return folder


@pytest.fixture
def copy(output: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(output, tmp_path / "b"))


def in_step(output: Path, step: str, file: str) -> Path:
    (folder,) = RunFolder(output).artifacts(step)
    return folder / file


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def test_a_copy_and_another_machine_are_equal(output: Path, copy: Path) -> None:
    times = {"started": "then", "finished": "later", "seconds": 1e6, "host": "elsewhere", "engines": ["torch"]}
    edit(in_step(copy, "evaluation", "record.json"), **times, function="another.module.counts")
    edit(RunFolder(copy).current, published="later")
    patch = next(in_step(copy, "multi-year", "patches").iterdir())
    edit(patch, pid=1, host="elsewhere", written="later")
    assert differences(output, copy) == []


def change_pixels(output: Path) -> None:
    array = zarr.open_array(str(in_step(output, "multi-year", "label")), mode="r+")
    array[0, :2, :3] = 0


def compress_otherwise(output: Path) -> None:
    folder = in_step(output, "multi-year", "label")
    values = np.asarray(zarr.open_array(str(folder), mode="r")[...])
    metadata = (folder / "zarr.json").read_bytes()
    form = json.loads(metadata)
    form["codecs"][1]["configuration"]["clevel"] = 0
    (folder / "zarr.json").write_text(json.dumps(form))
    zarr.open_array(str(folder), mode="r+")[...] = values
    (folder / "zarr.json").write_bytes(metadata)


def damage(output: Path) -> None:
    for chunk in in_step(output, "multi-year", "label/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")


def rename(output: Path) -> None:
    folder = in_step(output, "evaluation", "")
    folder.rename(folder.with_name("evaluation-0123456789abcdef"))


@pytest.mark.parametrize(
    ("plant", "line"),
    [
        (change_pixels, "multi-year/label: 1 files differ; 6 of 2,048 values differ"),
        (compress_otherwise, "multi-year/label: 2 files differ; all values are equal"),
        (damage, "multi-year/label: 2 files differ; the values cannot be read"),
        (lambda out: in_step(out, "multi-year", "label/zarr.json").write_text("{}"), "multi-year/label/zarr.json: "),
        (lambda out: in_step(out, "evaluation", "table.csv").write_text("year\n"), "evaluation/table.csv: "),
        (lambda out: in_step(out, "evaluation", "table.csv").unlink(), "evaluation/table.csv: only in A"),
        (
            lambda out: edit(in_step(out, "evaluation", "record.json"), version=2),
            "version is 1 in A, 2 in B",
        ),
        (lambda out: edit(in_step(out, "evaluation", "record.json"), function="m.count"), "function is 'counts' in A"),
        (lambda out: edit(RunFolder(out).current, layers={}), "published results: layers is"),
        (lambda out: RunFolder(out).current.unlink(), "published results: only in A"),
        (lambda out: (out / "report.html").write_text("<p>"), "report.html: 6 and 3 bytes, not the same"),
        (lambda out: shutil.copytree(out, out / "tile"), "tile tile: only in B"),
        (rename, "evaluation-0123456789abcdef: only in B"),
        (lambda out: shutil.rmtree(out / "artifacts"), "b: not the output of a run"),
    ],
)
def test_planted_differences_are_found(plant: Callable[[Path], object], line: str, output: Path, copy: Path) -> None:
    plant(copy)
    assert any(line in found for found in differences(output, copy)), differences(output, copy)


def test_tiles_are_compared(output: Path, copy: Path, tmp_path: Path) -> None:
    both = Path(shutil.copytree(output, tmp_path / "tiles"))
    shutil.copytree(output, both / "west")
    shutil.copytree(output, copy / "west")
    assert differences(both, copy) == []
    change_pixels(copy / "west")
    assert [line.partition(";")[0] for line in differences(both, copy)] == ["west: multi-year/label: 1 files differ"]


def test_the_command(output: Path, copy: Path) -> None:
    command = [sys.executable, str(FOLDER / "compare_outputs.py"), str(output), str(copy)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("2 results, the same")
    rename(copy)
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "only in A" in failed.stdout
