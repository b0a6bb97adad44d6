"""The published layers of a run as one Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import on_grid_of
from mlc_dask.data.layers import LAYERS, STEPS
from mlc_dask.io.maps import open_layers
from mlc_dask.runs.artifacts import Artifact, read_current
from mlc_dask.runs.folder import RunFolder
from mlc_dask.storage.durable import MANIFEST


def assemble(steps: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join the layers of several steps into one Dataset with CRS and legend."""
    first = steps["multi-year"]
    layers = {
        name: on_grid_of(first, steps[layer.step][layer.variable], layer.step)
        for name, layer in LAYERS.items()
        if layer.step in steps  # an earlier version made fewer layers
    }
    return xr.Dataset(layers, attrs={"legend": first.attrs["legend"]})


def open_maps(path: str | Path) -> xr.Dataset:
    """Open the maps of a finished run, or of :func:`mlc_dask.write_maps`, lazily.

    Parameters
    ----------
    path
        Output folder of a run, or a folder written by :func:`mlc_dask.write_maps`.

    Returns
    -------
    For a run, a Dataset of uint8 layers: (year, y, x) ``preliminary``, ``single_year``, ``multi_year``,
    ``single_year_filtered``, ``multi_year_filtered`` (legend codes, 0 no data), ``confidence`` (per cent) and
    ``valid_count`` (usable dates) of the multi-year map; (y, x) ``change_count`` of its filtered maps, and
    ``change_count_single_year`` of the baseline's. CRS as ``spatial_ref``, the legend in the attributes.

    Raises
    ------
    NotPublished
        When the run has not finished: maps are never opened half-filled.
    InputError
        When the run has several tiles; every tile has its maps in a folder of its own.
    """
    path = Path(path)
    if not RunFolder(path).published and (path / MANIFEST).exists():
        return open_layers(path)
    current = read_current(path)
    if "multi-year" not in current:
        tiles = [tile.path.name for tile in RunFolder(path).tiles() if tile.published]
        raise InputError(f"{path} holds several tiles; open one: {', '.join(str(path / tile) for tile in tiles)}")
    return assemble({step: open_layers(current[step].folder) for step in STEPS if step in current})


def made_by(path: str | Path) -> dict[str, Artifact]:
    """Return, for every map layer of a run, the artifact that holds it; NotPublished as in :func:`open_maps`."""
    current = read_current(Path(path))
    return {name: current[layer.step] for name, layer in LAYERS.items() if layer.step in current}


def places_of(output: str | Path) -> dict[str, Path]:
    """Folders of the tiles of a run, by name; a run without tiles has one folder with the name ""."""
    run = RunFolder(Path(output))
    if run.published and "multi-year" not in read_current(run.path):
        return {tile.path.name: tile.path for tile in run.tiles() if tile.published}
    return {"": run.path}
