"""The plan of a run: its acquisitions and why they are chosen, bytes, patches and memory, and the reused steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from mlc_dask.compute.backends import check_cluster
from mlc_dask.compute.preflight import Needs
from mlc_dask.config import Config, load_config
from mlc_dask.data.acquisitions import Selection, Source
from mlc_dask.data.errors import InputError, naming
from mlc_dask.data.grids import Grid
from mlc_dask.data.layers import planes
from mlc_dask.data.years import CALENDAR
from mlc_dask.io.cubes import open_cube
from mlc_dask.io.old_map import year_of
from mlc_dask.pipeline.figure1 import CUBE, MAPS, annual_cube
from mlc_dask.pipeline.formats import kinds
from mlc_dask.pipeline.inputs import (
    Given,
    as_config,
    check_inputs,
    check_leave_out,
    check_output,
    check_source,
    given_places,
)
from mlc_dask.pipeline.many_tiles import Pipeline, go_through
from mlc_dask.runs.artifacts import Event, StopRun
from mlc_dask.runs.folder import RunFolder
from mlc_dask.runs.records import RECORD
from mlc_dask.runs.run import Run
from mlc_dask.show.report.evidence import alerts, unjudged
from mlc_dask.stages.choice import Unpaired, choose_acquisitions, doubts
from mlc_dask.stages.continuity import anchor_in_words
from mlc_dask.stages.radiometry import doubtful, judge_radiometry, refuse

_PROGRAM_BYTES = 1_500_000_000
"""Memory of a worker without its patch: interpreter and libraries, one batch of series, the model (measured)."""


_SUBTROPICS = -23.4
"""Latitude beyond which the seasons of the south are those of the north, half a year later."""


@dataclass(frozen=True)
class PlacePlan:
    """The plan of a run for one place.

    Attributes
    ----------
    output
        Folder of the results.
    selection
        Every acquisition and why it was chosen or not; none is chosen where too few can be paired.
    facts
        Figures for people, by name.
    bytes_written
        Bytes of the cube and the maps before compression.
    infeasible
        The error that a run would raise; None where enough acquisitions can be paired and all show the ground.
    notes
        What was left out because it cannot be read, doubts about acquisitions, and, after a run, classes that may have
        changed as a whole, one line each, and those that could not be judged.
    """

    output: Path
    selection: Selection = field(repr=False)
    facts: Mapping[str, str]
    bytes_written: int
    infeasible: InputError | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """The plan of a run: for every place by name (a single place has the name ``""``), and for every step.

    The state of a step is ``reused`` or ``planned``; where there is no old map, the steps are those of the cube.
    """

    places: Mapping[str, PlacePlan]
    steps: Sequence[Event] = field(repr=False)

    @property
    def infeasible(self) -> InputError | None:
        """The error for the first place that has too few acquisitions; None where every place has enough."""
        faults = ((name, own.infeasible) for name, own in self.places.items() if own.infeasible is not None)
        return next((InputError(f"{name}: {fault}") if name else fault for name, fault in faults), None)


@naming()
def plan(config: str | Path | Config) -> Plan:
    """Plan what :func:`mlc_dask.run` would do. Masks are read on the current Dask scheduler.

    Nothing is written but pictures of suspects, in ``suspects`` of the output.

    Parameters
    ----------
    config
        A configuration, or the path of its file. Without ``[product]`` the plan is that of the cube alone.

    Returns
    -------
    The acquisitions that a run would use and why, how much it would read and hold, and which steps it would reuse.
    Too few acquisitions that can be paired raise nothing: ``PlacePlan.infeasible`` holds the error.

    Raises
    ------
    InputError
        With the first error of configuration or files, in one line.
    FetchError
        When a remote catalogue does not answer.
    """
    settings = as_config(config)
    check_cluster(settings.execution)
    places = recalled(settings)
    old_maps = {name: _old_map(given) for name, given in places.items()}
    check_leave_out(places)
    steps = dry_run(settings, places, MAPS if settings.product else CUBE)
    judged = {e.step.rpartition("/")[0] for e in steps if e.step.endswith("radiometry") and e.state == "reused"}
    chosen = {e.step: e.artifact.open() for e in steps if e.artifact.kind == "selection" and e.state == "reused"}
    drifts = {e.step: e.artifact.open() for e in steps if e.step.endswith("drift") and e.state == "reused"}
    return Plan(
        {
            name: _plan_of_place(
                given,
                old_maps[name],
                chosen.get(f"{name}/acquisitions" if name else "acquisitions"),
                judged=name in judged,
                drift=drifts.get(f"{name}/drift" if name else "drift"),
            )
            for name, given in places.items()
        },
        steps,
    )


def recalled(config: Config) -> dict[str, Given]:
    """Return the inputs of every place, with the catalogue of its source where a run has recorded it."""
    places = given_places(config)
    for given in places.values():
        check_output(given.config)
        given.known = recorded(given, "catalogue")
    return places


def dry_run(config: Config, places: Mapping[str, Given] | None = None, pipeline: Pipeline = MAPS) -> list[Event]:
    """Walk through a pipeline without computing: list its steps, and which of them would be reused."""
    given = given_places(config) if places is None else places
    return go_through(config, given, pipeline, kinds(config.execution.patch), dry=True)


def recorded(given: Given, step: str) -> Any:
    """Return the result of a step of the cube, None where the run has no valid one; later steps are not looked at."""
    own = given.config
    with Run(own.output, kinds(own.execution.patch), dry=True, until=step) as run, suppress(StopRun):
        annual_cube(run, given)
    event = run.steps[-1]
    return event.artifact.open() if event.state == "reused" else None


def needs(config: Config, places: Mapping[str, Given], pipeline: Pipeline) -> Needs:
    """Return what a pipeline needs from its workers; the grid of every tile decides the memory."""
    inputs, patches = [], []
    for given in places.values():
        own = given.config
        folder = own.source.get("folder")
        inputs += [Path(folder)] if isinstance(folder, str) and "://" not in folder else []
        inputs += pipeline.reads(given)
        pixel = _year_bytes(own.acquisitions.size, given.source.value)
        patches.append(_patch_pixels(given.catalogue.grid, own.execution.patch) * pixel)
    return Needs(config.output, inputs, worker_bytes(max(patches)))


def worker_bytes(patch: int) -> int:
    """Return the memory of a worker that holds a patch of `patch` bytes: decision 004, and the program itself.

    Of a class that may have changed as a whole, two years are compared, with little beside them.
    """
    return max(patch * 8 // 5 + _PROGRAM_BYTES, 2 * patch + _PROGRAM_BYTES // 2)


def find_cube(place: Path) -> xr.Dataset:
    """Open the cube at `place`: a cube's folder, the output folder of a run, or a run's configuration."""
    if place.is_file():
        return _cube_of(load_config(place), place)
    current = RunFolder(place).layers()
    if "cube" in current:
        return open_cube(place / str(current["cube"]["folder"]))
    records = [record for f in RunFolder(place).artifacts("cube") if (record := f / RECORD).exists()]
    return open_cube(max(records, key=lambda r: r.stat().st_mtime).parent if records else place)


def _cube_of(config: Config, path: Path) -> xr.Dataset:
    if config.tiles:
        folders = ", ".join(str(config.output / tile) for tile in config.tiles)
        raise InputError(f"{path} is for several tiles; give the folder of one tile: {folders}")
    made: xr.Dataset | None = recorded(Given(config), "cube")
    if made is None:
        raise InputError(f"{path} has no cube yet; make one with: mlc-dask cube {path}")
    return made


def _chosen(
    given: Given, selection: Selection | None, *, judged: bool
) -> tuple[Selection, list[str], InputError | None]:
    """Acquisitions of one place, notes about them, and the error that a run would raise."""
    source = given.source.value
    try:
        selection = selection or choose_acquisitions(source, given.catalogue, **given.acquisitions)
    except Unpaired as error:
        assert error.selection is not None
        return error.selection, [str(one) for one in error.selection.left_out], error
    notes = [f"left out: {one}" for one in selection.left_out] + doubts(selection)
    if judged:
        return selection, notes, None
    table = judge_radiometry(source, selection, given.catalogue)
    notes += doubtful(table)
    try:
        refuse(
            table,
            selection,
            accept=given.config.acquisitions.accept_radiometry,
            min_valid=given.config.gaps.min_valid,
            pictured=given.pictured,
        )
    except InputError as error:
        return selection, notes, error
    return selection, notes, None


def _plan_of_place(
    given: Given, old_map: str, selection: Selection | None, *, judged: bool, drift: pd.DataFrame | None
) -> PlacePlan:
    """Choose the acquisitions of one place unless a run has chosen them, and compute what a run would read and hold."""
    config, source = given.config, given.source.value
    own, grid = config.acquisitions, given.catalogue.grid
    selection, notes, infeasible = _chosen(given, selection, judged=judged)
    notes = [*notes, *([*alerts(drift), *unjudged(drift)] if drift is not None else ())]
    pixel, years = _year_bytes(own.size, source), len(selection.years)
    mapped = planes(years, baseline=config.evidence.baseline == "whole", optional=_optional_planes(given))
    cube, maps = (grid.height * grid.width * each for each in (years * pixel, mapped))
    patch = _patch_pixels(grid, config.execution.patch) * pixel
    edge = min(config.execution.patch, max(grid.shape))
    patches = years * -(-grid.height // edge) * -(-grid.width // edge)
    facts = {
        "grid": grid.label,
        "warped": _warped(selection, grid),
        "old map": old_map,
        "anchor": _anchor(given, selection.years),
        "acquisitions per year": str(own.size),
        "cube": f"{cube / 1e9:.2f} GB before compression",
        "maps": f"{maps / 1e9:.2f} GB before compression",
        "patches": f"{patches} of at most {edge} × {edge} pixels",
        "memory per worker": f"about {worker_bytes(patch) / 1e9:.1f} GB, {patch / 1e9:.2f} of it the patch",
    }
    notes += _southern(grid, own.year_start)
    return PlacePlan(config.output, selection, facts, cube + maps, infeasible, notes)


def _southern(grid: Grid, year_start: str) -> list[str]:
    """Tell a user in the south that calendar years cut the summer in two."""
    _, south, _, north = grid.bounds_in("EPSG:4326")
    latitude = (south + north) / 2
    if latitude > _SUBTROPICS or year_start != CALENDAR:
        return []
    return [
        f"the area lies at {-latitude:.0f}° south, where calendar years cut the summer in two; "
        'acquisitions.year_start = "07-01" keeps it whole'
    ]


def _warped(selection: Selection, grid: Grid) -> str:
    """Count the products off the cube's grid by CRS: among chosen acquisitions, or among all where none is chosen."""
    rows = (selection.chosen if selection.size else selection.rejected).values()
    granules = [g for row in rows for s in row for g in s.acquisition.granules if g.grid]
    off = Counter(g.grid.crs_name for g in granules if g.grid and g.grid.steps_to(grid) is None)
    return ", ".join(f"{n} of {len(granules)} products, from {crs}" for crs, n in sorted(off.items())) or "none"


def _old_map(given: Given) -> str:
    """Check one place, and return the share of every class in its old map, the largest first."""
    if given.config.product is None:
        check_source(given)
        return "not configured: only the cube can be made"
    shares, names = check_inputs(given), {0: "excluded or no data", **given.legend.names}
    ordered = sorted(shares, key=lambda code: -shares[code])
    return ", ".join(f"{names[code]} {shares[code]:.1%}" for code in ordered)


def _anchor(given: Given, years: Sequence[int]) -> str:
    """Return what the year of the old map decides."""
    product = given.config.product
    if product is None or not years:
        return "none: there is no old map"
    if given.config.annual_training.anchor == "none":
        return "none, as in the paper: where most of a class changes in one year, the maps do not show it"
    return anchor_in_words(product.year or year_of(product.path.name, given.config.acquisitions.year_start), years)


def _optional_planes(given: Given) -> int:
    """Planes of optional layers in a year, at most: a model may know fewer classes than the legend has."""
    wanted = given.config.maps.wanted
    return len(wanted) + (len(given.legend.codes) - 1 if "probabilities" in wanted else 0)


def _year_bytes(acquisitions: int, source: Source) -> int:
    """Bytes of one pixel's year: uint16 bands and the mask of every acquisition."""
    return acquisitions * (2 * len(source.bands) + 1)


def _patch_pixels(grid: Grid, patch: int) -> int:
    return min(patch, grid.height) * min(patch, grid.width)
