"""What a run would do, before it does it: acquisitions and reasons, bytes, patches, memory; and what is reused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mlc_dask.compute.preflight import Needs
from mlc_dask.config import Config, load_config
from mlc_dask.data.acquisitions import Catalogue, Selection, Source
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.io.cubes import open_cube
from mlc_dask.io.old_map import open_product
from mlc_dask.pipeline.figure1 import CUBE, MAPS
from mlc_dask.pipeline.formats import kinds
from mlc_dask.pipeline.inputs import check_output, crosswalk_for, legend_for, product_of, source_of
from mlc_dask.pipeline.many_tiles import Pipeline, go_through
from mlc_dask.runs.artifacts import Event
from mlc_dask.runs.records import RECORD, published
from mlc_dask.stages.time_series import choose_acquisitions

_MAP_LAYERS = 3 * 3 + 2 + 2
"""Planes a year: label, confidence and usable dates of three map series, two filtered, and counts."""

_PROGRAM_BYTES = 1_500_000_000
"""What a worker needs whatever its patch: interpreter and libraries, one batch of series, the model (measured)."""


@dataclass(frozen=True)
class Plan:
    """The acquisitions, facts for people by name, and the bytes that will be written."""

    selection: Selection
    facts: Mapping[str, str]
    bytes_written: int


def dry_run(config: Config, pipeline: Pipeline = MAPS) -> list[Event]:
    """Go through a pipeline without doing anything: which steps there are, and which would be reused."""
    return go_through(config, pipeline, kinds(config.execution.patch), dry=True)


def places(config: Config) -> dict[str, Config]:
    """Return the configuration of every tile by its name, or the only one as ``""``."""
    return {tile: config.of_tile(tile) for tile in config.tiles} if config.tiles else {"": config}


def known_catalogue(config: Config) -> Catalogue:
    """Return what the source has: as the run recorded it, or else by asking the source."""
    check_output(config)
    known = _finished(config, "catalogue")
    catalogue: Catalogue = known if known is not None else source_of(config).catalogue(config.acquisitions.years)
    return catalogue


def _finished(config: Config, step: str) -> Any:
    """Return the result of `step`, None when the run has none that holds."""
    (event,) = (e for e in dry_run(config, CUBE) if e.step == step)
    return event.artifact.open() if event.state == "reused" else None


def needs(config: Config, catalogues: Mapping[str, Catalogue]) -> Needs:
    """Return what a run asks of the workers of its cluster, of which the catalogue of every tile decides the memory."""
    inputs, patches = [], []
    for tile, own in places(config).items():
        folder = own.source.get("folder")
        inputs += [Path(folder)] if isinstance(folder, str) and "://" not in folder else []
        pixel = _year_bytes(own.acquisitions.per_year, source_of(own))
        patches.append(_patch_pixels(catalogues[tile].grid, own.execution.patch) * pixel)
    return Needs(config.output, inputs, worker_bytes(max(patches)))


def worker_bytes(patch: int) -> int:
    """Return the memory of a worker with a patch of so many bytes in hand: decision 004, and the program itself."""
    return patch * 8 // 5 + _PROGRAM_BYTES


def find_cube(place: Path) -> xr.Dataset:
    """Open the cube at `place`: a cube's folder, the output folder of a run, or a run's configuration."""
    if place.is_file():
        made = _finished(load_config(place), "cube")
        if made is None:
            raise InputError(f"{place} has no cube yet; make it with: mlc-dask cube {place}")
        cube: xr.Dataset = made
        return cube
    current = published(place)
    if "cube" in current:
        return open_cube(place / str(current["cube"]["folder"]))
    finished = sorted(place.glob(f"artifacts/cube-*/{RECORD}"), key=lambda record: record.stat().st_mtime)
    return open_cube(finished[-1].parent if finished else place)


def make_plan(config: Config) -> Plan:
    """Choose the acquisitions and work out what a run would read, hold and reuse; nothing is written."""
    source, catalogue = source_of(config), known_catalogue(config)
    own = config.acquisitions
    selection = _finished(config, "acquisitions") or choose_acquisitions(
        source, catalogue, years=own.years, rules=own.rules, max_tile_cloud=own.max_tile_cloud
    )
    grid = catalogue.grid
    pixel = _year_bytes(selection.size, source)
    cube = len(selection.years) * grid.height * grid.width * pixel
    patch = _patch_pixels(grid, config.execution.patch) * pixel
    maps = len(selection.years) * grid.height * grid.width * _MAP_LAYERS
    edge = min(config.execution.patch, max(grid.shape))
    patches = len(selection.years) * -(-grid.height // edge) * -(-grid.width // edge)
    facts = {
        "grid": grid.label,
        "warped": _warped(selection, grid),
        "old map": _shares(config, grid),
        "acquisitions a year": str(selection.size),
        "cube": f"{cube / 1e9:.2f} GB before compression",
        "maps": f"{maps / 1e9:.2f} GB before compression",
        "patches": f"{patches} of at most {edge} × {edge} pixels",
        "memory per worker": f"about {worker_bytes(patch) / 1e9:.1f} GB, {patch / 1e9:.2f} of it the patch",
    }
    return Plan(selection, facts, cube + maps)


def _warped(selection: Selection, grid: Grid) -> str:
    """Products that do not lie on the cube's lattice, by their CRS."""
    granules = [g for row in selection.chosen.values() for s in row for g in s.acquisition.granules if g.grid]
    off = Counter(g.grid.crs_name for g in granules if g.grid and g.grid.steps_to(grid) is None)
    return ", ".join(f"{n} of {len(granules)} products, from {crs}" for crs, n in sorted(off.items())) or "none"


def _shares(config: Config, grid: Grid) -> str:
    """Share of the area by class of the old map, the largest first."""
    legend, path = legend_for(config), product_of(config).path
    like = xr.Dataset(coords=grid.coords())
    labels = open_product(path, like=like, crosswalk=crosswalk_for(config, legend), legend=legend).values
    counts = np.bincount(labels.ravel(), minlength=legend.size) / labels.size
    names = {0: "excluded or no data", **legend.names}
    ordered = sorted((code for code in names if counts[code]), key=lambda code: -counts[code])
    return ", ".join(f"{names[code]} {counts[code]:.1%}" for code in ordered)


def _year_bytes(acquisitions: int, source: Source) -> int:
    """Bytes of one pixel's year: uint16 bands and the mask of every acquisition."""
    return acquisitions * (2 * len(source.bands) + 1)


def _patch_pixels(grid: Grid, patch: int) -> int:
    return min(patch, grid.height) * min(patch, grid.width)
