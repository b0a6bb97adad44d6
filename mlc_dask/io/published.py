"""The published layers of a run as one Dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import xarray as xr

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import on_grid_of
from mlc_dask.data.layers import LAYERS, STEPS
from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import legend_of
from mlc_dask.data.steps import step
from mlc_dask.io.maps import open_layers
from mlc_dask.runs.artifacts import Artifact, Kind, read_current
from mlc_dask.runs.folder import RunFolder
from mlc_dask.storage.durable import MANIFEST, atomic_write

LEGEND: Final = "legend"
"""Name and kind of the step that keeps the legend, and name under which a run publishes it."""

_FILE = "legend.json"


@step("legend", kind="legend")
def name_classes(*, legend: Legend) -> Legend:
    """Names and colours of the classes: the only place of a run that has both, beside what shows them."""
    return legend


def _open_legend(folder: Path) -> Legend:
    return Legend.from_dict(json.loads((folder / _FILE).read_bytes()))


def _write_legend(legend: Legend, folder: Path) -> None:
    atomic_write(folder / _FILE, json.dumps(legend.to_dict(), indent=1).encode())  # unsorted: people chose the order


NAMES: Final = Kind(_open_legend, _write_legend)
"""How a run keeps its legend."""


def assemble(steps: Mapping[str, xr.Dataset], legend: Legend | None = None) -> xr.Dataset:
    """Join the layers of several steps into one Dataset with CRS and legend, by default the one in the maps."""
    first = steps["multi-year"]
    layers = {
        name: on_grid_of(first, steps[layer.step][layer.variable], layer.step)
        for name, layer in LAYERS.items()
        if layer.variable in steps.get(layer.step, ())  # a run may map no baseline, and earlier versions made less
    }
    return xr.Dataset(layers, attrs={"legend": (legend or legend_of(first)).to_dict()})


def open_maps(path: str | Path) -> xr.Dataset:
    """Open the maps of a finished run, or of :func:`mlc_dask.write_maps`, lazily.

    Parameters
    ----------
    path
        Output folder of a run, or a folder written by :func:`mlc_dask.write_maps`.

    Returns
    -------
    For a run, a Dataset of uint8 layers: (year, y, x) ``preliminary``, ``single_year``, ``multi_year``,
    ``single_year_filtered``, ``multi_year_filtered`` (legend codes, 0 no data), ``confidence`` (a score, per cent) and
    ``valid_count`` (usable dates) of the multi-year map, where they were asked for (``[maps]``) also ``entropy``,
    ``margin`` and ``probability`` (year, class, y, x), in per cent; (y, x) ``change_count`` of its filtered maps, and
    ``change_count_single_year`` of the baseline's. The layers of the baseline, with ``single_year`` in their names,
    exist where the run mapped it whole (``evidence.baseline``). CRS as ``spatial_ref``, the legend in the attributes.

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
    current = read_current(path, {LEGEND: NAMES})
    if "multi-year" not in current:
        tiles = [tile.path.name for tile in RunFolder(path).tiles() if tile.published]
        raise InputError(f"{path} holds several tiles; open one: {', '.join(str(path / tile) for tile in tiles)}")
    legend = current[LEGEND].open() if LEGEND in current else None  # an earlier version kept it in the maps
    return assemble({step: open_layers(current[step].folder) for step in STEPS if step in current}, legend)


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
