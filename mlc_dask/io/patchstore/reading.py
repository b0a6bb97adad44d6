"""Opening finished stores, and the check of their files against the manifest."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

from mlc_dask.data.schema import YEAR, X, Y
from mlc_dask.io.patchstore.declaration import read_declaration
from mlc_dask.io.patchstore.patches import CorruptPatch
from mlc_dask.storage.durable import MANIFEST, Entry, NotPublished, fault, sha256

THREADS: Final = min(8, os.cpu_count() or 1)


def content_digest(files: Mapping[str, Entry]) -> str:
    """Digest of a store's files: the same for the same content, whatever the patches it was written by."""
    return sha256("\n".join(f"{name} {size} {digest}" for name, (size, digest) in sorted(files.items())).encode())


def check_files(folder: Path, files: Mapping[str, Entry], *, verify: bool) -> None:
    """Raise CorruptPatch when one of `files` is missing, has another size or, with `verify`, another digest."""
    names = list(files)
    parts = [{n: files[n] for n in names[i::THREADS]} for i in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        for reason in pool.map(lambda part: fault(folder, part, verify=verify), parts):
            if reason:
                raise CorruptPatch(f"{folder}: {reason}; run it again, and only what is damaged is computed")


def open_store(folder: Path, *, verify: bool = False, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """Open a finished store lazily: no pixel is read, but every file's size is compared with the manifest.

    Parameters
    ----------
    verify
        Read all files and compare their digests, too.
    chunks
        Sizes of the Dask blocks by dimension; by default one block is one patch.

    Raises
    ------
    NotPublished
        When the store is not finished.
    CorruptPatch
        When a file is missing or changed.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise NotPublished(f"{folder} holds no finished store; check the path or run it again to finish it") from None
    except ValueError:
        raise CorruptPatch(f"{folder}: {MANIFEST} is damaged; run it again to restore it") from None
    if manifest["digest"] != content_digest(manifest["files"]):
        raise CorruptPatch(f"{folder}: {MANIFEST} changed; run it again to restore it")
    check_files(folder, manifest["files"], verify=verify)
    stored = read_declaration(folder)
    assert stored is not None, folder
    patch = {YEAR: 1, Y: manifest["patch"], X: manifest["patch"]}
    return _open_group(folder, stored, patch if chunks is None else chunks)


def _open_group(folder: Path, stored: dict[str, Any], blocks: Mapping[str, int]) -> xr.Dataset:
    dims = {dim for array in stored["arrays"].values() for dim in array["dims"]}
    with warnings.catch_warnings():
        # Blocks are what was asked for; that a small run's are parts of a chunk costs it nothing worth a line.
        warnings.filterwarnings("ignore", "The specified chunks separate", UserWarning)
        data: xr.Dataset = xr.open_zarr(
            folder,
            consolidated=True,
            chunks={dim: blocks.get(dim, -1) for dim in dims},
            # Codes and DN stay what they are; times still need their missing value.
            mask_and_scale=dict.fromkeys(stored["arrays"], False),
            decode_coords="all",
        )
    coords = {name: c.load() for name, c in data.coords.items()}
    text = {name: c.copy(data=np.array(c.values.tolist(), str)) for name, c in coords.items() if c.dtype.kind in "OT"}
    return data.assign_coords(coords | text)
