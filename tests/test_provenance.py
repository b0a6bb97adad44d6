"""Records name the engines that made a result: those of its own blocks, wherever these were computed."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from mlc_dask import lazy
from mlc_dask.data.steps import step
from mlc_dask.io.maps import open_layers, write_layers
from mlc_dask.io.patchstore.layout import Layout
from mlc_dask.io.patchstore.store import PatchStore
from mlc_dask.runs.artifacts import Kind
from mlc_dask.runs.run import Run
from mlc_dask.stages import classification
from mlc_dask.stages.classification import classify
from mlc_dask.stages.filtering import smooth_labels
from tests.cubes import Array, landscape, threshold


def counted(calls: list[int], *, engine: str = "", block: int = 4) -> xr.Dataset:
    """Two layers of 12 x 12 pixels in blocks, made by `engine` or, without one, by ``row-N`` of the block."""

    def kernel(pixels: Array, _: None) -> lazy.Made:
        row = int(pixels[0, 0]) // 12
        calls.append(int(pixels[0, 0]))
        return lazy.Made(np.stack([pixels, pixels]).astype(np.uint8), engine or f"row-{row}")

    numbers = xr.DataArray(np.arange(144, dtype=np.uint8).reshape(12, 12), dims=("y", "x")).chunk(y=block, x=block)
    return lazy.map_pixels(kernel, numbers, layers=("a", "b"), name="classify")


def written(maps: xr.Dataset, folder: Path, patch: int) -> dict[str, list[str]]:
    """Engines of every patch of a store."""
    store = PatchStore.create(folder, Layout.of(maps, patch=patch))
    with dask.config.set(scheduler="synchronous"):
        lazy.write_patches(maps, store, name="maps")
    store.finish()
    records = [json.loads(p.read_bytes()) for p in sorted((folder / "patches").glob("*.json"))]
    return {record["patch"]: record.get("engines", []) for record in records}


@pytest.mark.parametrize(
    ("block", "patch", "rows"),
    [
        (4, 4, [["row-0"], ["row-4"], ["row-8"]]),
        (3, 6, [["row-0", "row-3"], ["row-6", "row-9"]]),
        (12, 4, [["row-0"]] * 3),
    ],
)
def test_a_patch_names_the_engines_of_its_blocks(tmp_path: Path, block: int, patch: int, rows: list[list[str]]) -> None:
    calls: list[int] = []
    found = written(counted(calls, block=block), tmp_path, patch)
    assert list(found.values()) == [row for row in rows for _ in rows]
    assert set(Counter(calls).values()) == {1} and len(calls) == (12 // block) ** 2, "every block once"


def test_a_filter_names_the_engines_of_all_that_it_sees(tmp_path: Path) -> None:
    calls: list[int] = []
    label = counted(calls).a.expand_dims(year=[2018])
    found = written(lazy.map_neighbourhood(lambda p: p, label, radius=1, name="f").to_dataset(name="a"), tmp_path, 4)
    assert [found[name] for name in sorted(found)][::3] == [
        ["row-0", "row-4"], ["row-0", "row-4", "row-8"], ["row-4", "row-8"]
    ]  # fmt: skip
    assert len(calls) == len(set(calls)) == 9


def test_another_kernel_in_between_hides_no_engine(tmp_path: Path) -> None:
    maps = counted([], engine="fast")
    doubled = lazy.map_pixels(lambda a, _: a[None], maps.a, layers=("c",), name="copy")
    assert set(map(tuple, written(doubled, tmp_path, 4).values())) == {("fast",)}


def test_a_resumed_store_names_both_engines(tmp_path: Path) -> None:
    store = PatchStore.create(tmp_path, Layout.of(counted([]), patch=4))
    with dask.config.set(scheduler="synchronous"):
        lazy.write_patches(counted([], engine="old"), store, name="maps")
        (tmp_path / "patches" / f"{store.patches()[2].name}.json").unlink()
        lazy.write_patches(counted([], engine="new"), store, name="maps")
    assert store.finish() == {"engines": ["new", "old"]}


def test_the_record_of_a_step_without_any_terminal(tmp_path: Path) -> None:
    cube, _ = landscape(32, 32)
    kinds = {"maps": Kind(open_layers, write_layers)}
    with dask.config.set(scheduler="synchronous"), Run(tmp_path, kinds) as run:
        maps = run.do(step("maps", kind="maps")(lambda: classify(cube, threshold(cube))))
        filtered = run.do(smooth_labels, maps, size=3, rule="majority")
        empty = run.do(step("empty", kind="maps")(lambda: classify(cube, threshold(cube, min_valid=99))))
    records = [json.loads((made.folder / "record.json").read_bytes()) for made in (maps, filtered, empty)]
    assert records[0]["engines"] == ["numpy"]
    assert not any("engines" in record for record in records[1:]), "no pixel was classified"


@pytest.mark.slow
def test_blocks_that_another_process_computed(tmp_path: Path) -> None:
    def kernel(pixels: Array, _: None) -> lazy.Made:
        return lazy.Made(pixels[None], f"process-{os.getpid()}")

    numbers = xr.DataArray(np.arange(144, dtype=np.uint8).reshape(12, 12), dims=("y", "x")).chunk(y=1, x=12)
    maps = lazy.map_pixels(kernel, numbers, layers=("a",), name="classify")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs=40) as c,
        Client(c) as client,
    ):
        store = PatchStore.create(tmp_path, Layout.of(maps, patch=12))
        lazy.write_patches(maps, store, name="maps")
        here = {f"process-{pid}" for pid in client.run(os.getpid).values()}
    (record,) = [json.loads(p.read_bytes()) for p in (tmp_path / "patches").glob("*.json")]
    assert set(record["engines"]) == here, "both processes made blocks of the patch that one of them wrote"
    assert store.finish() == {"engines": sorted(here)}


class Falling:
    """A model whose first engine is rejected at its second batch: it answers 1, the engine that replaces it 2."""

    def __init__(self) -> None:
        self.calls, self.context = 0, SimpleNamespace(min_valid=1, gaps="keep")

    @property
    def engine(self) -> str:
        return "fast" if self.calls < 2 else "reference"

    def predict(self, dn: Array) -> tuple[Array, Array]:
        self.calls += 1
        answer = np.full(dn.shape[2], 1 if self.engine == "fast" else 2, np.uint8)
        return answer, answer


def test_no_pixel_of_a_rejected_engine_stays_in_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "_PIXELS_AT_ONCE", 10)
    dn, usable = np.ones((3, 2, 5, 6), np.uint16), np.ones((3, 5, 6), bool)
    made = classification._classify_block(dn, usable, cast(Any, Falling()), days=np.arange(3.0), codes=(), more=())
    assert made.by == "reference" and (made.planes[0] == 2).all()
