"""Maps, products and other rasters of codes on disk."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.schema import X, Y
from mlc_dask.io.patchstore.layout import Layout
from mlc_dask.io.patchstore.reading import open_store
from mlc_dask.io.patchstore.store import PatchStore
from mlc_dask.storage.durable import OutputLock


def write_maps(maps: xr.Dataset, path: str | Path) -> None:
    """Compute and store lazy rasters (…, y, x), their blocks being the patches; repeated, only what is missing.

    A store that was not finished cannot be opened, and every patch is checked against its record (see
    :mod:`mlc_dask.io.patchstore.store`).

    Raises
    ------
    InputError
        When `path` holds something else, other maps included.
    """
    with OutputLock(Path(path)):
        write_layers(maps, path, content=lazy.identity(maps))


def write_layers(
    maps: xr.Dataset | xr.DataArray, path: str | Path, *, content: str | None = None
) -> dict[str, list[str]]:
    """Write rasters, or one by its name, into a folder that is theirs by its name, as a run's are, or by `content`.

    Returns
    -------
    The ``engines`` that made them, for the record of the step; {} where no engine did.
    """
    maps = maps.to_dataset() if isinstance(maps, xr.DataArray) else maps
    edge = max(lazy.blocks_of(next(iter(maps.data_vars.values())))[Y])
    store = PatchStore.create(Path(path), Layout.of(maps, patch=edge), content)
    lazy.write_patches(maps, store, name=Path(path).name)
    return store.finish()


def open_layers(path: str | Path, *, patch: int | None = None) -> xr.Dataset:
    """Open rasters written by :func:`write_layers` lazily, in blocks of `patch` pixels (as written by default)."""
    return open_store(Path(path), chunks=None if patch is None else {"year": 1, Y: patch, X: patch})


def write_product(product: xr.DataArray, path: str | Path) -> None:
    """Store an old map with its sampling quota."""
    layers = product.reset_coords("quota").rename(product="label")
    write_layers(layers.assign_attrs(product.attrs), path)


def open_stored_product(path: str | Path, *, patch: int | None = None) -> xr.DataArray:
    """Open what :func:`write_product` wrote."""
    layers = open_layers(path, patch=patch)
    return layers["label"].assign_coords(quota=layers.quota).rename("product").assign_attrs(layers.attrs)
