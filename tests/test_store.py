"""Patch stores: killed, raced and damaged, they never show a wrong pixel."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import time
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import mlc_dask as mlc
from mlc_dask.data.errors import InputError
from mlc_dask.data.steps import step
from mlc_dask.io.patchstore.layout import ArrayLayout, Layout, Patch
from mlc_dask.io.patchstore.patches import CorruptPatch, NonDeterministicOutput
from mlc_dask.io.patchstore.reading import open_store
from mlc_dask.io.patchstore.store import PatchStore
from mlc_dask.runs.artifacts import Event, Kind
from mlc_dask.runs.run import Run
from mlc_dask.storage.durable import NotPublished, OutputLock

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["mlc_dask.io.patchstore.store", "rioxarray", "hypothesis", "pytest"])

HEIGHT, WIDTH, PATCH = 90, 70, 32
KILLED = ["label", "change_count"]


def truth() -> xr.Dataset:
    rng = np.random.default_rng(7)
    dims, shape = ("year", "y", "x"), (2, HEIGHT, WIDTH)
    maps = {
        "label": (dims, rng.integers(0, 9, shape, "u1"), {"long_name": "land cover"}),
        "confidence": (dims, rng.integers(0, 101, shape, "u1")),
        "change_count": (("y", "x"), rng.integers(0, 3, shape[1:], "u1")),
    }
    coords = {
        "year": [2018, 2019],
        "y": 5e6 - 10.0 * np.arange(HEIGHT) - 5,
        "x": 4e5 + 10.0 * np.arange(WIDTH) + 5,
    }
    return xr.Dataset(maps, coords, {"legend": {"1": "forest"}}).rio.write_crs(32632)


def cube() -> xr.Dataset:
    rng = np.random.default_rng(8)
    dims = ("year", "acquisition", "band", "y", "x")
    times = np.array([["2018-03-01T10:20:31.024", "NaT"], ["2019-03-02T10:20:29", "2019-07-01"]], "M8[ns]")
    maps = truth()
    return (
        maps[[]]
        .assign(
            reflectance=(dims, rng.integers(0, 9999, (2, 2, 3, HEIGHT, WIDTH), "u2")),
            usable=(dims[:2] + dims[3:], rng.random((2, 2, HEIGHT, WIDTH)) < 0.5),
        )
        .assign_coords(band=["B02", "B08", "B8A"], time=(dims[:2], times))
    )


def values_of(data: xr.Dataset, store: PatchStore, patch: Patch) -> dict[str, np.ndarray]:
    place = patch.region(store.layout)
    return {name: data[name].isel(place).values for name in store.layout.arrays_of(patch)}


def fill(folder: Path, data: xr.Dataset, **layout: Any) -> PatchStore:
    """What a run does, also to go on with a store."""
    store = PatchStore.create(folder, Layout.of(data, **layout))
    for patch in store.todo():
        store.write(patch, values_of(data, store, patch))
    store.finish()
    return store


def no_sync(handle: int) -> None:
    """A killed process loses nothing of the page cache: only a power cut tells, and tests are quicker without."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", no_sync)


def run_until_killed(folder: Path) -> None:
    os.fsync = no_sync
    with OutputLock(folder):
        fill(folder, truth()[KILLED], patch=PATCH)


def race(folder: Path, value: int, start: object, verdict: object) -> None:
    store = PatchStore.at(folder)
    patch = Patch((0,), 0, 0)
    values = {n: v + np.uint8(value) for n, v in values_of(truth(), store, patch).items()}
    start.wait()
    try:
        store.write(patch, values)
        verdict.put("written")
    except NonDeterministicOutput:
        verdict.put("refused")


@pytest.fixture
def finished(tmp_path: Path) -> PatchStore:
    return fill(tmp_path / "maps.zarr", truth(), patch=PATCH, chunk=16)


@pytest.mark.parametrize(
    ("data", "by"),
    [(truth(), ("year",)), (cube(), ("year",)), (cube(), ("year", "acquisition"))],
    ids=["maps", "cube by year", "cube by acquisition"],
)
def test_everything_survives_the_round_trip(tmp_path: Path, data: xr.Dataset, by: tuple[str, ...]) -> None:
    store = fill(tmp_path / "a.zarr", data, patch=PATCH, chunk=16, by=by)
    units = np.prod([data.sizes[dim] for dim in by]) + ("change_count" in data)
    assert len(store.patches()) == 9 * units and len({p.name for p in store.patches()}) == 9 * units
    found = open_store(tmp_path / "a.zarr", verify=True)
    assert all(v.chunks for v in found.data_vars.values())
    assert found.chunksizes["y"] == (32, 32, 26) and found.chunksizes["year"] == (1, 1)
    assert found.rio.crs == data.rio.crs and all(v.rio.crs == data.rio.crs for v in found.data_vars.values())
    assert all(v.encoding["grid_mapping"] == "spatial_ref" for v in found.data_vars.values())
    assert {n: v.dtype for n, v in found.variables.items()} == {n: v.dtype for n, v in data.variables.items()}
    xr.testing.assert_identical(found.compute(), data)
    # Plain Zarr readers see the same.
    xr.testing.assert_equal(
        xr.open_zarr(tmp_path / "a.zarr", decode_coords="all", mask_and_scale=False)[list(data)]
        .compute()
        .drop_vars(["band", "time"], errors="ignore"),
        data.drop_vars(["band", "time"], errors="ignore"),
    )


def test_maps_are_never_mixed_with_others(tmp_path: Path) -> None:
    """Writing other maps to a place that holds some is refused, and so are other blocks of a half-written store."""
    maps = truth().chunk(y=PATCH, x=PATCH)[["label"]]
    mlc.write_maps(maps, tmp_path / "maps")
    mlc.write_maps(maps, tmp_path / "maps")
    with pytest.raises(InputError, match=r"maps already holds other values; choose another folder, or delete it"):
        mlc.write_maps(maps.assign(label=maps.label + 1), tmp_path / "maps")
    xr.testing.assert_equal(open_store(tmp_path / "maps").label.compute(), truth().label)
    mlc.write_maps(maps.compute(), tmp_path / "in-memory")
    xr.testing.assert_equal(open_store(tmp_path / "in-memory").label.compute(), truth().label)
    other = cube().chunk(y=PATCH, x=PATCH)
    mlc.write_cube(other, tmp_path / "cube")
    with pytest.raises(InputError, match="already holds other values"):
        mlc.write_cube(other.assign(reflectance=other.reflectance + 1), tmp_path / "cube")
    with OutputLock(tmp_path / "maps"), pytest.raises(InputError, match="is being written by pid"):
        mlc.write_maps(maps, tmp_path / "maps")


def test_opening_reads_no_pixels(finished: PatchStore) -> None:
    """Chunks that hold nonsense are no matter until they are read, and are never given out then."""
    for file in chain.from_iterable(finished.layout.files(patch) for patch in finished.patches()):
        path = finished.folder / file
        path.write_bytes(b"\x55" * path.stat().st_size)
    found = open_store(finished.folder)
    with pytest.raises(Exception, match="checksum"):
        found.label[0, 0, 0].compute()


def test_blocks_as_asked(finished: PatchStore) -> None:
    assert open_store(finished.folder, chunks={"y": 16, "x": 48}).label.chunks == ((2,), (16,) * 5 + (10,), (48, 22))


def test_chunks_have_checksums_and_are_written_even_if_empty(tmp_path: Path) -> None:
    data = truth() * 0
    data = data.astype("u1").rio.write_crs(32632)
    store = fill(tmp_path / "m", data, patch=PATCH)
    meta = json.loads((store.folder / "label" / "zarr.json").read_text())
    assert meta["fill_value"] == 255 and [c["name"] for c in meta["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert all((store.folder / f).stat().st_size for p in store.patches() for f in store.layout.files(p))


def test_patches_that_equal_the_fill_value_are_found_done(tmp_path: Path) -> None:
    nothing = truth()[[]].assign(usable=(("y", "x"), np.zeros((HEIGHT, WIDTH), bool)))
    store = fill(tmp_path / "s", nothing, patch=PATCH)
    assert store.todo() == []
    assert not open_store(tmp_path / "s").usable.values.any()


def test_killed_at_random_it_never_lies(tmp_path: Path) -> None:
    """Killed soon after a random number of patches is recorded: how fast the machine is does not matter."""
    rng, data, unfinished, resumed = np.random.default_rng(0), truth()[KILLED], 0, 0
    patches = len(fill(tmp_path / "whole", data, patch=PATCH).patches())
    for trial in range(20):
        folder = tmp_path / str(trial // 2)  # the second process of a pair goes on with what the first one left
        half = patches // 2
        records, last = folder / "patches", rng.integers(half) + (half if trial % 2 else 0)
        process = PROCESSES.Process(target=run_until_killed, args=(folder,))
        process.start()
        while process.is_alive() and len(list(records.glob("*.json"))) <= last:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        process.join()
        try:
            xr.testing.assert_identical(open_store(folder, verify=True).compute(), data)
        except NotPublished:
            unfinished += 1
        if trial % 2:
            resumed += any(records.glob("*.json"))
            run_until_killed(folder)  # the lock is free again
            xr.testing.assert_identical(open_store(folder, verify=True).compute(), data)
    assert unfinished > 5 and resumed > 5, "the processes were killed too late, or too early"


def test_files_are_durable_before_their_record_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, order = truth(), []
    store = PatchStore.create(tmp_path, Layout.of(data, patch=PATCH, chunk=16))
    monkeypatch.setattr(os, "fsync", lambda handle: order.append(str(Path(f"/proc/self/fd/{handle}").readlink())))
    link = os.link
    monkeypatch.setattr(
        os, "link", lambda *a: order.append("record" if a[1].parent.name == "patches" else a) or link(*a)
    )
    patch = Patch((1,), 2, 0)
    store.write(patch, values_of(data, store, patch))
    signed = order.index("record")
    chunks = [str(tmp_path / f) for f in store.layout.files(patch)]
    durable = order[:signed]
    assert {*chunks, *(str(Path(c).parent) for c in chunks), str(tmp_path / "label" / "c")} <= set(durable)
    assert "1_2_0.json" in durable[-1] and order[signed + 1 :] == [str(tmp_path / "patches")]


def test_resuming_computes_only_what_is_missing(tmp_path: Path) -> None:
    data = truth()
    store = PatchStore.create(tmp_path, Layout.of(data, patch=PATCH))
    assert len(store.patches()) == 3 * 3 * 3 and store.todo() == store.patches()
    for patch in store.patches()[:5]:
        store.write(patch, values_of(data, store, patch))
    again = PatchStore.create(tmp_path, Layout.of(data, patch=PATCH))
    assert again == store and again.todo() == store.patches()[5:]
    with pytest.raises(NotPublished, match="22 of 27 patches"):
        again.finish()
    with pytest.raises(NotPublished):
        open_store(tmp_path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "flipped": flip,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "lost": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("patch", [Patch((1,), 0, 2), Patch((), 2, 2)], ids=lambda p: p.name)
def test_damage_is_found_and_only_that_patch_redone(finished: PatchStore, damage: str, patch: Patch) -> None:
    path = finished.folder / finished.layout.files(patch)[-1]
    DAMAGES[damage](path)
    if damage != "flipped":
        with pytest.raises(CorruptPatch, match=str(path.relative_to(finished.folder))):
            open_store(finished.folder)
    with pytest.raises(CorruptPatch):
        open_store(finished.folder, verify=True)
    assert finished.todo() == [patch]
    reasons = [json.loads(line) for line in (finished.folder / "rejected.jsonl").read_text().splitlines()]
    assert [r["patch"] for r in reasons] == [patch.name] and path.name in reasons[0]["reason"]
    with pytest.raises(NotPublished):
        open_store(finished.folder)
    finished.write(patch, values_of(truth(), finished, patch))
    finished.finish()
    xr.testing.assert_identical(open_store(finished.folder, verify=True).compute(), truth())


def test_a_run_names_a_flipped_bit_and_the_next_one_mends_it(tmp_path: Path) -> None:
    def write_store(data: xr.Dataset, folder: Path) -> None:
        fill(folder, data, patch=PATCH, chunk=16)

    def write_text(value: int, folder: Path) -> None:
        (folder / "sum").write_text(str(value))

    kinds = {"store": Kind(open_store, write_store), "text": Kind(lambda f: (f / "sum").read_text(), write_text)}
    events: list[Event] = []

    def run(*, counted: bool) -> None:
        with Run(tmp_path, kinds, listener=events.append) as going:
            maps = going.do(step("maps", kind="store")(truth))
            if counted:
                going.do(step("sum", kind="text")(lambda data: int(data.label.sum())), maps)

    run(counted=False)
    folder = events[-1].artifact.folder
    kept, damaged = folder / "label/c/0/0/0", folder / "label/c/1/2/1"
    whole, written = damaged.read_bytes(), kept.stat().st_mtime_ns
    flip(damaged)
    with pytest.raises(InputError, match=r"maps-.*: label/c/1/2/1 changed: its digest differs; run it again, and only"):
        run(counted=True)
    run(counted=True)
    assert [(e.step, e.state) for e in events[-4:]] == [
        ("maps", "started"), ("maps", "finished"), ("sum", "started"), ("sum", "finished"),
    ]  # fmt: skip
    assert events[-1].artifact.open() == str(int(truth().label.sum()))
    assert damaged.read_bytes() == whole and kept.stat().st_mtime_ns == written


@pytest.mark.parametrize("name", ["label/zarr.json", "x/c/0", "zarr.json"])
def test_damaged_metadata_is_mended(finished: PatchStore, name: str) -> None:
    flip(finished.folder / name)
    with pytest.raises(CorruptPatch, match=name):
        open_store(finished.folder, verify=True)
    before = {p: p.stat().st_mtime_ns for p in finished.folder.glob("label/c/*/*/*")}
    fill(finished.folder, truth(), patch=PATCH, chunk=16)
    assert before == {p: p.stat().st_mtime_ns for p in finished.folder.glob("label/c/*/*/*")}
    xr.testing.assert_identical(open_store(finished.folder, verify=True).compute(), truth())


def test_a_forged_manifest_is_refused(finished: PatchStore) -> None:
    path = finished.folder / "MANIFEST.json"
    path.write_text(path.read_text().replace('"label/c/0/0/0":[', '"label/c/0/0/0":[1'))
    with pytest.raises(CorruptPatch, match="MANIFEST"):
        open_store(finished.folder)


def test_a_repeated_write_is_welcome_and_another_one_refused(finished: PatchStore) -> None:
    patch = Patch((0,), 1, 1)
    values = values_of(truth(), finished, patch)
    finished.write(patch, values)
    values["label"] = values["label"].copy()
    values["label"][0, 3, 3] += 1
    with pytest.raises(NonDeterministicOutput, match="patch 0_1_1"):
        finished.write(patch, values)
    xr.testing.assert_identical(open_store(finished.folder, verify=True).compute(), truth())


@pytest.mark.parametrize("other", [0, 1], ids=["same values", "other values"])
def test_two_writers_of_one_patch(tmp_path: Path, other: int) -> None:
    data, patch = truth(), Patch((0,), 0, 0)
    for trial in range(3):
        store = PatchStore.create(tmp_path / str(trial), Layout.of(data, patch=PATCH, chunk=16))
        start, verdict = PROCESSES.Barrier(2), PROCESSES.SimpleQueue()
        writers = [PROCESSES.Process(target=race, args=(store.folder, v, start, verdict)) for v in (0, other)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        verdicts = sorted(verdict.get() for _ in writers)
        assert verdicts == (["refused", "written"] if other else ["written", "written"])
        # Whoever won: a record, if there is one, vouches for what lies there.
        assert other or patch not in store.todo()
        if patch in store.todo():
            store.write(patch, values_of(data, store, patch))
        assert patch not in store.todo()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    data = truth()
    with pytest.raises(InputError, match="choose a patch size that is a multiple of 32"):
        Layout.of(data, patch=48, chunk=32)
    Layout.of(data, patch=128, chunk=100)  # one patch is the whole extent
    array = ArrayLayout(("year", "y", "x"), (2, 64, 64), "uint8", (2, 32, 32), 255)
    with pytest.raises(InputError, match="chunks of 2 along year"):
        Layout({"label": array}, 32)
    store = PatchStore.create(tmp_path, Layout.of(data, patch=PATCH))
    values = values_of(data, store, Patch((0,), 0, 0))
    with pytest.raises(AssertionError, match="is not whole chunks of label"):
        misaligned = Layout.of(data, patch=PATCH)
        object.__setattr__(misaligned, "patch", 24)
        PatchStore(tmp_path, misaligned).write(Patch((0,), 1, 1), {n: v[:, :24, :24] for n, v in values.items()})
    for bad, message in (
        ({"label": values["label"]}, "got"),
        (values | {"label": values["label"].astype("i2")}, "int16"),
        (values | {"label": values["label"][:, 1:]}, "shape"),
        (values | {"label": np.full_like(values["label"], 255)}, "never written"),
    ):
        with pytest.raises(AssertionError, match=message):
            store.write(Patch((0,), 0, 0), bad)
    with pytest.raises(AssertionError, match="outside"):
        store.write(Patch((2,), 0, 0), values)
    assert store.todo() == store.patches()
    store.write(Patch((0,), 0, 0), {n: v[0] for n, v in values.items()})  # without the year's axis
    assert store.todo() == store.patches()[1:]


def test_another_store_is_refused_and_another_patch_size_is_not(finished: PatchStore, tmp_path: Path) -> None:
    data = truth()
    taken = PatchStore.create(finished.folder, Layout.of(data, patch=64))
    assert taken == finished and taken.todo() == []
    changed = {
        "label": data.assign(label=data.label.astype("u2")),
        "confidence": data.drop_vars("confidence"),
        "legend": data.assign_attrs(legend={"1": "lake"}),
        "x": data.assign_coords(x=data.x + 10),
    }
    for name, other in changed.items():
        with pytest.raises(InputError, match=name):
            PatchStore.create(finished.folder, Layout.of(other, patch=PATCH, chunk=16))
    data[["label"]].to_zarr(tmp_path / "foreign", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match="made elsewhere"):
        PatchStore.create(tmp_path / "foreign", Layout.of(data, patch=PATCH))
    with pytest.raises(NotPublished):
        PatchStore.at(tmp_path / "nowhere")


def test_the_digest_knows_content_not_patches(tmp_path: Path) -> None:
    data = truth()
    digests = [
        json.loads((fill(tmp_path / str(p), data, patch=p, chunk=16).folder / "MANIFEST.json").read_text())["digest"]
        for p in (16, 48)
    ]
    data.label[0, 0, 0] += 1
    other = json.loads((fill(tmp_path / "o", data, patch=48, chunk=16).folder / "MANIFEST.json").read_text())["digest"]
    assert digests[0] == digests[1] != other


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    with OutputLock(tmp_path), pytest.raises(InputError, match=rf"is being written by pid {os.getpid()} on .*; wait"):
        OutputLock(tmp_path).__enter__()
    with OutputLock(tmp_path):
        pass


def test_a_store_is_small_to_send(finished: PatchStore) -> None:
    assert len(pickle.dumps(finished)) < 2000 and pickle.loads(pickle.dumps(finished)) == finished


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.integers(1, 3))
def test_patches_tile_the_grid_by_whole_chunks(height: int, width: int, chunk: int, factor: int, years: int) -> None:
    arrays = {
        "label": ArrayLayout(("year", "y", "x"), (years, height, width), "uint8", (1, chunk, chunk), 255),
        "product": ArrayLayout(("y", "x"), (height, width), "uint8", (chunk, chunk), 255),
    }
    layout = Layout(arrays, chunk * factor)
    for name, array in arrays.items():
        written, owners = np.zeros(array.shape, int), {}
        for patch in layout.patches():
            if name not in layout.arrays_of(patch):
                continue
            written[layout.region(patch, name)] += 1
            mine = [f for f in layout.files(patch) if f.startswith(f"{name}/")]
            owners |= dict.fromkeys(mine, patch)
            assert all(owners[f] == patch for f in mine)
        assert (written == 1).all()
        chunks = np.prod([-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True)])
        assert len(owners) == chunks
