"""The verbs: equal to numpy for every chunking, lazy, named for the dashboard, clear about where a kernel failed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.array.overlap import overlap
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mlc_dask import lazy
from mlc_dask.io.patchstore.layout import Layout
from mlc_dask.io.patchstore.reading import open_store
from mlc_dask.io.patchstore.store import PatchStore
from mlc_dask.stages.classification import classify
from mlc_dask.stages.evaluation import change_count
from mlc_dask.stages.filtering import smooth
from mlc_dask.stages.multiyear_training import unchanged_areas
from tests.cubes import Array, landscape, map_of, product_of, raiser, threshold

HEIGHT, WIDTH = 9, 11


def splits(size: int) -> st.SearchStrategy[tuple[int, ...]]:
    """All the ways to cut `size` pixels into blocks."""
    cuts = st.sets(st.integers(1, size - 1), max_size=4)
    return cuts.map(lambda c: tuple(np.diff([0, *sorted(c), size]).tolist()))


chunkings = st.fixed_dictionaries({"y": splits(HEIGHT), "x": splits(WIDTH)})
few = settings(max_examples=12, deadline=None)


@pytest.fixture(autouse=True)
def _single_threaded() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


def numbers(*shape: int, seed: int = 0, high: int = 5000) -> Array:
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.uint16)


def raster(values: Array, *dims: str) -> xr.DataArray:
    return xr.DataArray(values, dims=(*dims, "y", "x")).chunk()


def keys_of(data: xr.DataArray | xr.Dataset) -> set[str]:
    return {k if isinstance(k, str) else k[0] for k in data.__dask_graph__()}


# read_blocks


@few
@given(chunkings)
def test_read_blocks(chunks: dict[str, tuple[int, ...]]) -> None:
    whole, asked = numbers(3, 2, HEIGHT, WIDTH), []

    def reader(rows: slice, columns: slice) -> Array:
        asked.append((rows.start, rows.stop, columns.start, columns.stop))
        return whole[..., rows, columns]

    with dask.config.set(scheduler=raiser):
        found = lazy.read_blocks(
            reader, leading=(3, 2), chunks=(chunks["y"], chunks["x"]), dtype=np.uint16, name="read-2018"
        )
    assert not asked and found.chunks == ((3,), (2,), chunks["y"], chunks["x"]) and found.dtype == np.uint16
    assert np.array_equal(found.compute(), whole)
    assert len(asked) == len(set(asked)) == len(chunks["y"]) * len(chunks["x"]), "every block once"
    assert found.name.startswith("read-2018-")


def test_read_blocks_tells_where_it_failed() -> None:
    def reader(rows: slice, columns: slice) -> Array:
        if rows.start == 4 and columns.start == 8:
            raise OSError("disk on fire")
        return np.zeros((1, 4, 4), np.uint16)

    blocks = lazy.read_blocks(reader, leading=(1,), chunks=((4, 4), (4, 4, 4)), dtype=np.uint16, name="read-2019")
    with pytest.raises(OSError, match="disk on fire") as error:
        blocks.compute()
    assert error.value.__notes__ == ["while read-2019 worked on the block that begins at row 4, column 8"]


# map_pixels


def season(dn: Array, usable: Array, labels: Array, offset: int) -> Array:
    """Two planes of a pixel's own values: a weighted count and its label."""
    assert dn.ndim == 4 and usable.ndim == 3 and labels.ndim == 2
    weights = np.arange(1, dn.shape[0] + 1)[:, None, None]
    plane = (dn.max(axis=1) * usable * weights).sum(axis=0) % 251 + offset
    return np.stack([plane, labels]).astype(np.uint8)


@few
@given(chunkings, chunkings)
def test_map_pixels(first: dict[str, tuple[int, ...]], second: dict[str, tuple[int, ...]]) -> None:
    dn, usable, labels = numbers(4, 3, HEIGHT, WIDTH), numbers(4, HEIGHT, WIDTH, high=2) > 0, numbers(HEIGHT, WIDTH)
    with dask.config.set(scheduler=raiser):
        found = lazy.map_pixels(
            season,
            raster(dn, "acquisition", "band").chunk({**first, "acquisition": 2, "band": 1}),
            raster(usable, "acquisition").chunk(second),
            raster(labels.astype(np.uint8)).chunk(second),
            layers=("value", "label"), name="classify-lstm-2019", parameter=3,
        )  # fmt: skip
    expected = season(dn, usable, labels.astype(np.uint8), 3)
    assert list(found.data_vars) == ["value", "label"] and found.value.dtype == np.uint8
    assert found.chunks == {"y": first["y"], "x": first["x"]}, "the first raster's blocks are the patches"
    assert np.array_equal(found.value, expected[0]) and np.array_equal(found.label, expected[1])


def test_map_pixels_any_order_of_dims_and_coords() -> None:
    dn = raster(numbers(4, 3, HEIGHT, WIDTH), "acquisition", "band").assign_coords(y=np.arange(HEIGHT)[::-1] * 10.0)
    maxima = lazy.map_pixels(_greatest, dn, layers=("m",), name="greatest")
    turned = lazy.map_pixels(_greatest, dn.transpose("x", "band", "y", "acquisition"), layers=("m",), name="greatest")
    assert maxima.m.equals(turned.m) and np.array_equal(maxima.y, dn.y)


def _greatest(dn: Array, _: None) -> Array:
    return (dn.max(axis=(0, 1)) % 256).astype(np.uint8)[None]


def test_a_failing_kernel_names_step_and_block() -> None:
    def kernel(dn: Array, limit: int) -> Array:
        if (dn == limit).any():
            raise ZeroDivisionError("bad pixel")
        return np.zeros((1, *dn.shape[-2:]), np.uint8)

    dn = np.zeros((2, HEIGHT, WIDTH), np.uint16)
    dn[1, 5, 9] = 7
    found = lazy.map_pixels(
        kernel, raster(dn, "acquisition").chunk(y=3, x=4), layers=("a",), name="classify-lstm-2019", parameter=7
    )
    with pytest.raises(ZeroDivisionError, match="bad pixel") as error:
        found.compute()
    assert error.value.__notes__ == ["while classify-lstm-2019 worked on the block that begins at row 3, column 8"]


def test_a_kernel_of_the_wrong_type_is_our_own_bug() -> None:
    found = lazy.map_pixels(lambda dn, _: dn.astype(float), raster(numbers(1, 4, 4), "band"), layers=("a",), name="n")
    with pytest.raises(AssertionError):
        found.compute()


def test_keys_are_readable_and_derive_from_content() -> None:
    cube, _ = landscape(16, 16, block=8)
    model = threshold(cube)
    twice = [classify(cube, model) for _ in range(2)]
    keys = [keys_of(maps.label) for maps in twice]
    assert keys[0] == keys[1], "equal inputs, equal keys"
    assert any(k.startswith("classify-threshold-2018-") for k in keys[0])
    assert any(k.startswith("classify-threshold-2019-") for k in keys[0])
    assert not any("lambda" in k or k.startswith(("apply-", "_classify")) for k in keys[0]), sorted(keys[0])
    other = keys_of(classify(cube, threshold(cube, limit=2500)).label)
    own = {k for k in other if k.startswith("classify-threshold-2018-")}
    assert own and not own & keys[0], "another model, other keys"


def test_keys_of_the_other_verbs() -> None:
    labels = map_of(numbers(HEIGHT, WIDTH, high=4)).chunk(y=3)
    filtered = keys_of(smooth(labels.expand_dims(year=[2018, 2019]), size=3))
    assert any(k.startswith("filter-majority-2018") for k in filtered), sorted(filtered)
    counts = lazy.reduce_blocks(_total, _add, labels, name="count-product")
    assert all(str(k).startswith(("count-product", "combine-count-product", "xarray", "rechunk")) for k in _own(counts))


def _graphs(folder: Path) -> dict[str, Any]:
    """Dask arrays of every origin and shape that pixels have before something is computed from them."""
    raster_of = xr.DataArray(numbers(2, 3, 64, 64), dims=("year", "band", "y", "x"), name="reflectance")
    raster_of.to_dataset().chunk(y=32, x=32).to_zarr(folder / "cube.zarr", zarr_format=2)
    stored = xr.open_zarr(folder / "cube.zarr").reflectance
    return {
        "open_zarr": stored,
        "chunk of a store": xr.open_zarr(folder / "cube.zarr", chunks=None).reflectance.chunk(y=24),
        "chunk of memory": raster_of.chunk(y=32),
        "from_array": da.from_array(numbers(4, 4), chunks=2),
        "rechunk": stored.chunk(y=24, x=64),
        "rechunk in two passes": stored.data.rechunk((2, 3, 1, 64)).rechunk((1, 1, 64, 1)),
        "isel": stored.isel(year=0)[..., ::4],
        "concat": xr.concat([stored, stored], "year"),
        "stack": da.stack([stored.data, stored.data]),
        "overlap": overlap(stored.data, depth={2: 2, 3: 2}, boundary="none"),
        "transpose": stored.transpose("y", "x", ...),
        "expand_dims": da.expand_dims(stored.isel(year=0).data, (0,)),
        "gather_pixels": lazy.gather_pixels(stored, np.array([1, 2]), np.array([1, 40]), dim="sample"),
    }


def test_names_of_tasks_that_only_read(tmp_path: Path) -> None:
    """Before and after fusion, which gives a task the names of its whole chain."""
    for case, array in _graphs(tmp_path).items():
        names = {*array.__dask_graph__().layers, *keys_as_scheduled(array)}
        assert all(lazy.is_stored(name) and lazy.only_reads(name) for name in names), (case, names)


def test_names_of_tasks_that_compute(tmp_path: Path) -> None:
    stored = _graphs(tmp_path)["open_zarr"]
    year = stored.isel(year=0).rename(band="acquisition")
    computed = {
        "smooth": lazy.map_neighbourhood(partial(_box, radius=1), stored, radius=1, name="filter-majority"),
        "classify": lazy.map_pixels(_greatest_date, year, layers=["label"], name="classify-lstm-2019").label,
        "arithmetic": stored + np.uint16(1),
    }
    for case, array in computed.items():
        assert not all(map(lazy.is_stored, array.__dask_graph__().layers)), case
        keys = keys_as_scheduled(array)
        assert any(map(lazy.only_reads, keys)) and not all(map(lazy.only_reads, keys)), (case, keys)
    fused = [k for k in keys_as_scheduled(computed["smooth"]) if "filter-majority" in str(k)]
    assert fused and not any(map(lazy.only_reads, fused)), "a filter that is fused with its halo computes"


def test_a_source_is_read_and_not_stored() -> None:
    """A glance at a notebook's variable must not fetch acquisitions."""
    fetched = lazy.read_blocks(lambda *_: numbers(4, 4), leading=(), chunks=((4,), (4,)), dtype="i8", name="read-2019")
    for task in (*fetched.__dask_graph__().layers, *keys_as_scheduled(da.concatenate([fetched, fetched]))):
        assert lazy.only_reads(task), task
    assert not any(lazy.is_stored(layer) for layer in fetched.__dask_graph__().layers)


def _greatest_date(dn: Array, _: None) -> Array:
    return (dn.max(axis=0) % 256).astype(np.uint8)[None]


def keys_as_scheduled(array: Any) -> list[Any]:
    """Keys of the tasks of `array` as a scheduler sees them, optimised."""
    (optimised,) = dask.base.optimize(array)
    return list(dict(optimised.__dask_graph__()))


def _own(value: Any) -> list[str]:
    graph = dict(value.__dask_graph__())
    return [k for k in graph if isinstance(k, str)]


# map_neighbourhood


def _box(plane: Array, radius: int) -> Array:
    """Sum over the pixels of a square window that exist, and their number, in whole numbers."""
    window = np.ones((2 * radius + 1,) * 2, int)
    total, there = (
        ndimage.convolve(v, window, mode="constant") for v in (plane.astype(int), np.ones(plane.shape, int))
    )
    return ((total + 7 * there) % 251).astype(np.uint8)


@few
@given(chunkings, st.integers(0, 4))
def test_map_neighbourhood(chunks: dict[str, tuple[int, ...]], radius: int) -> None:
    values = numbers(3, HEIGHT, WIDTH, high=256).astype(np.uint8)
    maps = raster(values, "year").chunk(chunks)
    with dask.config.set(scheduler=raiser):
        found = lazy.map_neighbourhood(lambda p: _box(p, radius), maps, radius=radius, name="box")
    assert found.dtype == np.uint8 and found.chunks == ((1, 1, 1), chunks["y"], chunks["x"])
    assert np.array_equal(found, np.stack([_box(v, radius) for v in values]))
    assert any(k.startswith("box") for k in keys_of(found))


def test_a_failing_neighbourhood_names_step_and_block() -> None:
    def kernel(plane: Array) -> Array:
        if plane.max() == 9:
            raise ZeroDivisionError("bad pixel")
        return plane

    values = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    values[1, 4, 10] = 9
    maps = raster(values, "year").chunk(y=3, x=4)
    with pytest.raises(ZeroDivisionError, match="bad pixel") as error:
        lazy.map_neighbourhood(kernel, maps, radius=0, name="filter-majority-2019").compute()
    assert error.value.__notes__ == ["while filter-majority-2019 worked on the block that begins at row 3, column 8"]


# reduce_blocks


def _total(values: Array, *, block: lazy.Block) -> int:
    return int(values.sum())


def _add(a: int, b: int) -> int:
    return a + b


@few
@given(chunkings)
def test_reduce_blocks_sees_every_pixel_once(chunks: dict[str, tuple[int, ...]]) -> None:
    values, quota = numbers(2, HEIGHT, WIDTH), numbers(HEIGHT, WIDTH, seed=1)

    def chunk(both: Array, percent: Array, *, block: lazy.Block) -> dict[int, tuple[int, int]]:
        ids = block.pixel_ids(percent.shape)
        assert ids.dtype == np.uint64
        pairs = zip(both[1].ravel().tolist(), percent.ravel().tolist(), strict=True)
        return dict(zip(ids.ravel().tolist(), pairs, strict=True))

    def combine(a: dict[int, Any], b: dict[int, Any]) -> dict[int, Any]:
        assert not a.keys() & b.keys()
        return a | b

    whole = lazy.reduce_blocks(
        chunk, combine, raster(values, "year").chunk(chunks), raster(quota).chunk(y=4), name="count"
    )
    found = lazy.compute(whole)
    pairs = zip(values[1].ravel().tolist(), quota.ravel().tolist(), strict=True)
    assert found == dict(enumerate(pairs)), "row * width + column of the whole raster"


def test_reduce_blocks_folds_in_a_tree_and_names_the_block() -> None:
    ones = raster(np.ones((20, 20), np.uint16)).chunk(y=1, x=1)
    whole = lazy.reduce_blocks(_total, _add, ones, name="count")
    assert lazy.compute(whole) == 400
    folds = [k for k in _own(whole) if k.startswith("combine-count")]
    assert len(folds) == 50 + 7 + 1, "eight by eight"

    def failing(_: Array, *, block: lazy.Block) -> int:
        if (block.row, block.column) == (3, 2):
            raise KeyError("x")
        return 0

    with pytest.raises(KeyError) as error:
        lazy.compute(lazy.reduce_blocks(failing, _add, ones, name="sample-2019"))
    assert error.value.__notes__ == ["while sample-2019 worked on the block that begins at row 3, column 2"]


def test_two_reductions_that_differ_only_in_how_they_combine() -> None:
    ones = raster(np.ones((4, 4), np.uint16)).chunk(y=1, x=1)
    found = [lazy.reduce_blocks(_total, combine, ones, name="count") for combine in (_add, max)]
    assert lazy.compute(found) == [16, 1]


# gather_pixels, call, compute


@few
@given(chunkings, st.lists(st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1)), min_size=1, max_size=12))
def test_gather_pixels(chunks: dict[str, tuple[int, ...]], at: list[tuple[int, int]]) -> None:
    values = numbers(3, 2, HEIGHT, WIDTH)
    rows, columns = np.array(at).T
    with dask.config.set(scheduler=raiser):
        data = raster(values, "acquisition", "band").chunk(chunks).assign_coords(x=np.arange(WIDTH))
        found = lazy.gather_pixels(data, rows, columns, dim="sample")
    assert found.dims == ("sample", "acquisition", "band")
    assert np.array_equal(found, values[:, :, rows, columns].transpose(2, 0, 1))


def test_calls_are_tasks_with_names() -> None:
    with dask.config.set(scheduler=raiser):
        tasks = {"a": lazy.call(_add, 1, 2, name="survey-2018"), "b": [lazy.call(_add, 3, b=4, name="survey-2019")]}
    assert tasks["a"].key.startswith("survey-2018-")
    assert (
        tasks["a"].key == lazy.call(_add, 1, 2, name="survey-2018").key != lazy.call(_add, 1, 3, name="survey-2018").key
    )
    assert lazy.compute(tasks) == {"a": 3, "b": [7]}


def test_telling_without_a_cluster_is_nothing() -> None:
    lazy.tell("topic", {"epoch": 1})


# Laziness of the stages


def test_stages_are_lazy() -> None:
    cube, truth = landscape(32, 32)
    with dask.config.set(scheduler=raiser):
        maps = classify(cube, threshold(cube))
        smooth(maps, size=5)
        smooth(maps, size=5, rule="median")
        unchanged_areas(maps, product_of(truth))
        change_count(maps)
    with dask.config.set(scheduler=raiser), pytest.raises(AssertionError, match="something was computed"):
        maps.compute()


# write_patches


@dataclass
class Memory:
    """Store that remembers what it was given."""

    layout: Any
    missing: list[Any]
    written: list[tuple[Any, dict[str, Array]]] = field(default_factory=list)
    engines: dict[str, list[str]] = field(default_factory=dict)
    place: str = ""

    def patches(self) -> list[Any]:
        found: list[Any] = self.layout.patches()
        return found

    def todo(self) -> list[Any]:
        return self.missing

    def write(self, patch: Any, values: Mapping[str, Array], engines: Sequence[str] = ()) -> None:
        self.written.append((patch, dict(values)))
        self.engines[patch.name] = list(engines)

    def __dask_tokenize__(self) -> str:
        return "memory"


def counted_maps(calls: list[str], height: int = 10, width: int = 13, chunk: int = 4) -> xr.Dataset:
    """Two years of three layers made by one kernel, which counts its calls, and one layer without years."""
    dn = numbers(2, 3, height, width)

    def kernel(block: Array, year: int) -> Array:
        calls.append(f"{year}-{block[0, 0, 0]}")
        return np.stack([block[i] % 200 for i in range(3)]).astype(np.uint8)

    years = [
        lazy.map_pixels(
            kernel, raster(dn[i], "acquisition").chunk(y=chunk, x=chunk), layers=("a", "b", "c"),
            name=f"classify-{2018 + i}", parameter=i,
        )
        for i in range(2)
    ]  # fmt: skip
    maps = xr.concat(years, dim=xr.DataArray([2018, 2019], dims="year", name="year"))
    assert np.array_equal((dn % 200).astype(np.uint8), maps.to_array().transpose("year", "variable", "y", "x"))
    calls.clear()
    single = lazy.map_pixels(kernel, raster(dn[0], "acquisition").chunk(y=chunk), layers=("d", "e", "f"), name="once")
    return maps.assign(d=single.d)


def test_patches_are_written_once_and_computed_once() -> None:
    calls: list[str] = []
    maps = counted_maps(calls)
    layout = Layout.of(maps, patch=4)
    store = Memory(layout, layout.patches())
    lazy.write_patches(maps, store, name="maps")
    patches = [patch for patch, _ in store.written]
    assert sorted(patches, key=str) == sorted(layout.patches(), key=str) and len(patches) == 2 * 12 + 12
    assert len(calls) == 2 * 12 + 3, "three layers of a patch come from one call; the layer without years has 3 blocks"
    whole = maps.compute()
    for patch, values in store.written:
        for name, got in values.items():
            expected = whole[name].isel({d: s for d, s in patch.region(layout).items() if d in whole[name].dims})
            assert np.array_equal(got, expected.values), (patch, name)


def test_only_missing_patches_are_computed() -> None:
    calls: list[str] = []
    maps = counted_maps(calls)
    layout = Layout.of(maps, patch=4)
    store = Memory(layout, layout.patches()[5:7])
    lazy.write_patches(maps, store, name="maps")
    assert sorted(p for p, _ in store.written) == layout.patches()[5:7] and len(calls) == 2
    calls.clear()
    lazy.write_patches(maps, Memory(layout, []), name="maps")
    assert not calls


def test_patches_larger_than_the_blocks_of_the_data() -> None:
    maps = counted_maps([])
    layout = Layout.of(maps, patch=8)
    store = Memory(layout, layout.patches())
    lazy.write_patches(maps, store, name="maps")
    whole = maps.compute()
    for patch, values in store.written:
        for name, got in values.items():
            assert np.array_equal(got, whole[name].isel(patch.region(layout)).values)


def test_a_real_store_resumes(tmp_path: Path) -> None:
    calls: list[str] = []
    maps = counted_maps(calls)
    store = PatchStore.create(tmp_path / "maps", Layout.of(maps, patch=4))
    lazy.write_patches(maps, store, name="maps")
    lost = store.patches()[3]
    (record,) = (tmp_path / "maps" / "patches").glob(f"{lost.name}*")
    record.unlink()
    calls.clear()
    lazy.write_patches(maps, store, name="maps")
    assert len(calls) == 1
    store.finish()
    assert open_store(tmp_path / "maps", chunks={}).drop_vars("year").equals(maps.drop_vars("year").compute())


def test_write_tasks_are_named() -> None:
    maps, seen = counted_maps([]), []
    layout = Layout.of(maps, patch=8)

    def watching(graph: Any, keys: Any, **_: Any) -> Any:
        seen.extend(str(k) for k in np.ravel(np.array(keys, object)))
        return dask.get(graph, keys)

    with dask.config.set(scheduler=watching):
        lazy.write_patches(maps, Memory(layout, layout.patches()), name="cube")
    assert len(seen) == len(set(seen)) == 12 and all(re.match(r"write-cube-(0|1|all)-\d-\d-", k) for k in seen), seen


# On worker processes


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs=40) as c,
        Client(c) as client,
    ):
        yield client


@pytest.mark.slow
def test_a_parameter_reaches_every_worker_once(two_workers: Client, tmp_path: Path) -> None:
    log = str(tmp_path / "log")

    class Heavy:
        """Stands for a model: notes each time it is unpickled."""

        def __init__(self) -> None:
            self.log = log

        def __setstate__(self, state: dict[str, str]) -> None:
            self.log = state["log"]
            with Path(self.log).open("a") as stream:
                stream.write(f"{os.getpid()}\n")

        def __dask_tokenize__(self) -> str:
            return "heavy"

    def kernel(dn: Array, model: Heavy) -> Array:
        return np.full((1, *dn.shape[-2:]), len(model.log) > 0, np.uint8)

    dn = raster(numbers(1, 32, 32), "acquisition").chunk(y=4, x=4)
    with dask.config.set(scheduler=two_workers):
        found = lazy.map_pixels(kernel, dn, layers=("a",), name="classify-heavy-2019", parameter=Heavy()).compute()
    assert (found.a == 1).all()
    arrivals = Path(log).read_text().split()
    pids = {str(p) for p in two_workers.run(os.getpid).values()}
    on_workers = [p for p in arrivals if p in pids]
    assert 1 <= len(on_workers) <= 4, f"64 blocks, 2 workers, {len(on_workers)} deliveries"


@pytest.mark.slow
def test_names_on_the_dashboard(two_workers: Client) -> None:
    cube, _ = landscape(32, 32)
    with dask.config.set(scheduler=two_workers):
        smooth(classify(cube.chunk(y=16, x=16), threshold(cube)).compute().chunk(year=1, y=16, x=16), size=3).compute()
    prefixes = two_workers.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    # The dashboard groups keys by their words; the year stands in the key itself.
    assert any("classify-threshold" in p for p in prefixes), prefixes
    assert any("filter-majority" in p for p in prefixes), prefixes
    assert not any("lambda" in p for p in prefixes), prefixes
