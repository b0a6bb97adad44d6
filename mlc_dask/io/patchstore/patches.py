"""Writing one patch: whole chunks, made durable, and signed by a record of their digests, made exclusively and last."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NEVER_WRITTEN
from mlc_dask.io.patchstore.layout import Layout, Patch
from mlc_dask.storage.durable import Entry, atomic_write, canonical, entry, fault, fsync, now, sha256

PatchRecord = dict[str, Any]


class CorruptPatch(InputError):  # noqa: N818  (a state of files, not a fault of code)
    """Files of a store are not those that were written."""


class NonDeterministicOutput(RuntimeError):  # noqa: N818
    """A patch computed twice came out differently."""


def record_path(folder: Path, patch: Patch) -> Path:
    """Where the record of `patch` lies."""
    return folder / "patches" / f"{patch.name}.json"


def read_record(folder: Path, patch: Patch) -> PatchRecord | None:
    """Record of a patch; None without one, or when it cannot be read."""
    try:
        found = json.loads(record_path(folder, patch).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) and {"files", "pixels"} <= found.keys() else None


def check_values(layout: Layout, patch: Patch, values: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Contiguous `values` of the patch's shape in every array it has; missing axes of its index are put in."""
    arrays = layout.arrays_of(patch)
    assert arrays.keys() == values.keys(), f"patch {patch.name}: got {sorted(values)}, not {sorted(arrays)}"
    checked = {}
    for name, array in arrays.items():
        region = layout.region(patch, name)
        for s, chunk, length in zip(region, array.chunks, array.shape, strict=True):
            assert 0 <= s.start < s.stop <= length, f"patch {patch.name} lies outside of {name} {array.shape}"
            whole = s.start % chunk == 0 and (s.stop % chunk == 0 or s.stop == length)
            assert whole, f"patch {patch.name} is not whole chunks of {name}"
        value, shape = values[name], tuple(s.stop - s.start for s in region)
        if value.ndim == len(shape) - len(patch.index):
            value = np.expand_dims(value, tuple(array.dims.index(dim) for dim in layout.by[: len(patch.index)]))
        assert value.shape == shape, f"patch {patch.name}: {name} has shape {value.shape}, not {shape}"
        assert value.dtype == array.dtype, f"patch {patch.name}: {name} is {value.dtype}, not {array.dtype}"
        if array.dtype == "uint8" and array.fill_value == NEVER_WRITTEN:
            assert not (value == NEVER_WRITTEN).any(), (
                f"patch {patch.name}: {name} holds {NEVER_WRITTEN}, never written"
            )
        checked[name] = np.ascontiguousarray(value)
    return checked


def write_patch(
    folder: Path, layout: Layout, patch: Patch, values: Mapping[str, npt.NDArray[Any]], engines: Sequence[str] = ()
) -> None:
    """Write `values` and sign them; see :meth:`mlc_dask.io.patchstore.store.PatchStore.write`."""
    values = check_values(layout, patch, values)
    pixels = {name: sha256(value) for name, value in values.items()}
    known = read_record(folder, patch)
    if known is not None:
        _check_same(folder, patch, known, pixels)
        if not patch_fault(folder, layout, patch, known):
            return
    for name, value in values.items():
        # A chunk that equals the fill value is a finding too. `open_array` ignores the setting for arrays that exist.
        array = zarr.open_array(LocalStore(folder / name), mode="r+").with_config({"write_empty_chunks": True})
        array[layout.region(patch, name)] = value
    record = {
        "patch": patch.name,
        "pixels": pixels,
        "files": _settle(folder, layout.files(patch)),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "written": now(),
        **made_on(engines),
    }
    _sign(folder, patch, record)


def made_on(engines: Iterable[str]) -> dict[str, list[str]]:
    """Return the entry ``engines`` of a record, sorted; {} where there are none."""
    names = sorted(set(engines))
    return {"engines": names} if names else {}


def patch_fault(folder: Path, layout: Layout, patch: Patch, record: PatchRecord) -> str | None:
    """Say what is wrong with the files of a recorded patch, their digests included; None if nothing."""
    if record["files"].keys() != set(layout.files(patch)):
        return "its record names other files"
    return fault(folder, record["files"], verify=True)


def _settle(folder: Path, files: list[str]) -> dict[str, Entry]:
    parents: set[Path] = set()
    for name in files:
        fsync(folder / name)
        parents.update(folder / p for p in Path(name).parents)
    for parent in parents:
        fsync(parent)
    return {name: entry(folder / name) for name in files}


def _check_same(folder: Path, patch: Patch, known: PatchRecord, pixels: Mapping[str, str]) -> None:
    if known["pixels"] != pixels:
        raise NonDeterministicOutput(
            f"patch {patch.name} of {folder} was written with other values by pid {known['pid']} on {known['host']}"
        )


def _sign(folder: Path, patch: Patch, record: PatchRecord) -> None:
    place = record_path(folder, patch)
    try:
        atomic_write(place, canonical(record), exclusive=True)
        return
    except FileExistsError:
        known = read_record(folder, patch)
    if known is not None:
        try:
            _check_same(folder, patch, known, record["pixels"])
        except NonDeterministicOutput:
            # The other writer signed while we wrote: the chunks may be theirs or ours, so nobody may trust them.
            place.unlink(missing_ok=True)
            raise
    if known is None or known["files"] != record["files"]:
        atomic_write(place, canonical(record))
