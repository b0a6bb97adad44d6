"""Cubes on disk: written patch by patch, opened lazily in blocks of any size."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.schema import ACQUISITION, YEAR, X, Y, check_cube
from mlc_dask.io.patchstore.layout import Layout
from mlc_dask.io.patchstore.reading import open_store
from mlc_dask.io.patchstore.store import PatchStore
from mlc_dask.storage.durable import OutputLock

CHUNK = 256
"""Edge of a cube's chunks in pixels. A chunk holds all bands of one acquisition (decision 006)."""

DEFAULT_PATCH = 2560
"""Edge of a patch in pixels (paper section 4)."""


def write_cube(cube: xr.Dataset, path: str | Path) -> None:
    """Compute and store a lazy cube block by block; a repeated call computes only the missing blocks.

    Raises
    ------
    InputError
        When `path` holds anything else, such as another cube.
    """
    with OutputLock(Path(path)):
        store_cube(cube, path, content=lazy.identity(cube))


def store_cube(cube: xr.Dataset, path: str | Path, *, content: str | None = None) -> None:
    """Write a cube into a folder that belongs to this cube by its name, as in a run, or by `content`."""
    check_cube(cube)
    edge = max(lazy.blocks_of(cube.reflectance)[Y])
    chunk = CHUNK if edge % CHUNK == 0 else edge
    store = PatchStore.create(Path(path), Layout.of(cube, patch=edge, chunk=chunk, by=(YEAR, ACQUISITION)), content)
    lazy.write_patches(cube, store, name="cube")
    store.finish()


def open_cube(path: str | Path, *, patch: int = DEFAULT_PATCH) -> xr.Dataset:
    """Open a stored cube lazily.

    Parameters
    ----------
    patch
        Edge of the blocks in pixels: the unit of work of all later steps. It never changes a result.

    Returns
    -------
    Dataset with ``reflectance`` (year, acquisition, band, y, x) uint16 and ``usable`` (year, acquisition, y, x) bool.

    Raises
    ------
    InputError
        When there is no finished cube at `path`.
    """
    return check_cube(open_store(Path(path), chunks={"year": 1, Y: patch, X: patch}))
