"""The choice of paired acquisitions, and the cube (paper sections 2.1 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.acquisitions import Acquisition, Catalogue, Selection, Source, Surveyed, Weather
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.schema import ACQUISITION, BAND, CUBE_DIMS, OFFSET, SCALE, YEAR, X, Y
from mlc_dask.data.steps import step
from mlc_dask.kernels.pairing.limits import Infeasible
from mlc_dask.kernels.pairing.pair import Pairing, hindrances, pair
from mlc_dask.kernels.pairing.rules import HOPELESS, Candidate, PairingRules, season_day
from mlc_dask.storage.once import once

READ_BLOCK = 2048
"""Edge in pixels of the blocks that one acquisition is read and written in: whole tiles of JPEG 2000 products."""


class Unpaired(InputError):  # noqa: N818 - it names a finding, and is raised as bad input
    """Fewer pairs are feasible than requested.

    Attributes
    ----------
    selection
        Selection without chosen acquisitions: for each acquisition, its weather and the reason that rules it out.
    """

    # The default lets the exception travel between processes: unpickling passes the message only.
    def __init__(self, message: str, selection: Selection | None = None) -> None:
        super().__init__(message)
        self.selection = selection


@step("catalogue", kind="catalogue", version=2)
def list_acquisitions(source: Source, *, years: Sequence[int] | None, known: Catalogue | None = None) -> Catalogue:
    """Everything that the source has, by metadata: `known`, where the source has been asked already."""
    return source.catalogue(years) if known is None else known


@step("acquisitions", kind="selection", version=2)
def choose_acquisitions(
    source: Source,
    catalogue: Catalogue | None = None,
    *,
    years: Sequence[int] | None = None,
    rules: PairingRules,
    max_tile_cloud: float = 1.0,
    scratch: Path | None = None,
) -> Selection:
    """Choose the paired acquisitions of `years` (all years of the source by default).

    Products that are cloudier than `max_tile_cloud` according to their metadata are rejected first. For all others the
    workers read the mask over the area. The choice among them is exact (method section 2).

    Parameters
    ----------
    scratch
        Folder, reachable by the workers, where an interrupted survey finds its earlier results.

    Raises
    ------
    InputError
        If a year has no acquisition.
    Unpaired
        If fewer pairs than requested are feasible; also an InputError, with the complete survey.
    """
    catalogue = catalogue or source.catalogue(years)
    found = catalogue.acquisitions
    years = sorted(years or {a.time.year for a in found})
    by_year = {year: [a for a in found if a.time.year == year] for year in years}
    for year, acquisitions in by_year.items():
        if not acquisitions:
            have = ", ".join(str(y) for y in sorted({a.time.year for a in found})) or "none of these years"
            raise InputError(f"no acquisition in {year}; the source has {have}; set acquisitions.years to match")
    hopeful = {y: [a for a in row if (a.cloud or 0) <= max_tile_cloud] for y, row in by_year.items()}
    weather = lazy.compute(
        {
            y: [lazy.call(_weather, source, a, catalogue.grid, scratch, name=f"survey-{y}") for a in row]
            for y, row in hopeful.items()
        }
    )
    surveyed = {
        y: [Surveyed(a, Weather(*w)) for a, w in zip(row, weather[y], strict=True)] for y, row in hopeful.items()
    }
    candidates = [[_candidate(s) for s in row] for row in surveyed.values()]
    hopeless = {y: tuple(_unseen(a) for a in row if a not in hopeful[y]) for y, row in by_year.items()}
    try:
        pairing = pair(candidates, rules, years=years)
    except Infeasible as error:
        survey = _without_choice(surveyed, hindrances(candidates, rules), hopeless)
        raise Unpaired(_explained(error, by_year, hopeful, max_tile_cloud), survey) from None
    return _selection(surveyed, pairing, hopeless)


def _explained(
    error: Infeasible,
    found: Mapping[int, Sequence[Acquisition]],
    hopeful: Mapping[int, Sequence[Acquisition]],
    max_tile_cloud: float,
) -> str:
    """Message of the pairing, plus the acquisitions that were rejected before it."""
    unseen = [f"{len(row) - len(hopeful[y])} of {len(row)} in {y}" for y, row in found.items() if row != hopeful[y]]
    if not unseen:
        return str(error)
    return f"{error}; also, acquisitions.max_tile_cloud = {max_tile_cloud} excluded {', '.join(unseen)}; raise it"


def _unseen(acquisition: Acquisition) -> Surveyed:
    missing = [g.missing or 0.0 for g in acquisition.granules]
    return Surveyed(acquisition, Weather(acquisition.cloud or 0.0, 1 - min(missing)), HOPELESS)


def _candidate(surveyed: Surveyed) -> Candidate:
    a, w = surveyed.acquisition, surveyed.weather
    return Candidate(
        day=season_day(a.time.month, a.time.day),
        order=a.time.timestamp(),
        cloud=w.cloud,
        missing=1 - w.valid,
        orbit=a.orbit,
    )


def _selection(
    surveyed: dict[int, list[Surveyed]], pairing: Pairing, hopeless: dict[int, tuple[Surveyed, ...]]
) -> Selection:
    chosen, rejected = {}, {}
    for i, (year, row) in enumerate(surveyed.items()):
        picked = pairing.index[:, i].tolist()
        chosen[year] = tuple(row[j] for j in picked)
        others = tuple(
            Surveyed(s.acquisition, s.weather, pairing.reasons[i][j]) for j, s in enumerate(row) if j not in set(picked)
        )
        rejected[year] = others + hopeless[year]
    return Selection(chosen, rejected, float(pairing.cost))


def _without_choice(
    surveyed: Mapping[int, Sequence[Surveyed]],
    reasons: Sequence[Sequence[str]],
    hopeless: Mapping[int, tuple[Surveyed, ...]],
) -> Selection:
    rejected = {
        year: (*(replace(s, reason=why) for s, why in zip(row, own, strict=True)), *hopeless[year])
        for (year, row), own in zip(surveyed.items(), reasons, strict=True)
    }
    return Selection(dict.fromkeys(surveyed, ()), rejected, float("inf"))


def _weather(source: Source, acquisition: Acquisition, grid: Grid, scratch: Path | None) -> list[float]:
    """Cloudy and valid shares."""

    def looked() -> list[float]:
        weather = source.weather(acquisition, grid)
        return [weather.cloud, weather.valid]

    return once(scratch, acquisition.id, looked)


@step("cube", kind="cube", version=3)
def stack_selection(source: Source, catalogue: Catalogue, selection: Selection) -> xr.Dataset:
    """Stack the chosen acquisitions as :func:`stack` does, on the catalogue's grid."""
    return stack(source, selection, grid=catalogue.grid, chunk=READ_BLOCK)


def stack(source: Source, selection: Selection, *, grid: Grid, chunk: int) -> xr.Dataset:
    """Lazy cube of the chosen acquisitions (method sections 0 and 1).

    Parameters
    ----------
    grid
        Grid of the cube, from the catalogue of the source.
    chunk
        Edge, in pixels, of the blocks that tasks read: one block of all bands of one acquisition per task.

    Returns
    -------
    Dataset with ``reflectance`` (year, acquisition, band, y, x) uint16, ``usable`` (year, acquisition, y, x) bool and
    the coordinates that :func:`mlc_dask.data.schema.check_cube` asks for, plus ``cloud``, ``valid`` and ``id`` (year,
    acquisition).
    """
    chunks = (_split(grid.height, chunk), _split(grid.width, chunk))
    years = [
        da.stack([_plane(source, s.acquisition, grid, chunks, year) for s in row])
        for year, row in selection.chosen.items()
    ]
    data = da.stack(years)
    packing = {"scale_factor": SCALE, "add_offset": OFFSET, "_FillValue": 0, "long_name": "surface reflectance"}
    return xr.Dataset(
        {
            "reflectance": (CUBE_DIMS, data[:, :, :-1], packing),
            "usable": ((YEAR, ACQUISITION, Y, X), data[:, :, -1].astype(bool)),
        },
        coords={**_coordinates(selection), BAND: list(source.bands), **grid.coords()},
    )


def _plane(
    source: Source, acquisition: Acquisition, grid: Grid, chunks: tuple[tuple[int, ...], tuple[int, ...]], year: int
) -> da.Array:
    return lazy.read_blocks(
        partial(_read, source, acquisition, grid),
        leading=(len(source.bands) + 1,),
        chunks=chunks,
        dtype=np.uint16,
        name=f"read-{year}",
    )


def _read(source: Source, acquisition: Acquisition, grid: Grid, rows: slice, columns: slice) -> npt.NDArray[np.uint16]:
    """Bands and, as the last plane, the usable mask of one acquisition: (B + 1, h, w)."""
    dn, usable = source.read(acquisition, grid, rows, columns)
    return np.concatenate([dn, usable[None].astype(np.uint16)])


def _coordinates(selection: Selection) -> dict[str, Any]:
    rows = selection.chosen.values()

    def table(value: Any, dtype: Any) -> tuple[tuple[str, str], npt.NDArray[Any]]:
        return (YEAR, ACQUISITION), np.array([[value(s) for s in row] for row in rows], dtype)

    return {
        YEAR: list(selection.years),
        ACQUISITION: np.arange(selection.size),
        "time": table(lambda s: s.acquisition.time, "datetime64[ns]"),
        "id": table(lambda s: s.acquisition.id, np.str_),
        "baseline": table(lambda s: "+".join(sorted({g.baseline for g in s.acquisition.granules})), np.str_),
        "cloud": table(lambda s: s.weather.cloud, np.float64),
        "valid": table(lambda s: s.weather.valid, np.float64),
    }


def _split(size: int, chunk: int) -> tuple[int, ...]:
    whole, rest = divmod(size, chunk)
    return (chunk,) * whole + ((rest,) if rest else ())
