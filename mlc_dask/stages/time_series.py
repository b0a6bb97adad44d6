"""Paired acquisitions and the cube (paper sections 2.1 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.acquisitions import Acquisition, Selection, Source, Surveyed
from mlc_dask.errors import InputError
from mlc_dask.kernels.pairing import Candidate, Pairing, PairingRules, pair, season_day
from mlc_dask.schema import ACQUISITION, BAND, CUBE_DIMS, OFFSET, SCALE, YEAR, X, Y

if TYPE_CHECKING:
    from mlc_dask.io.grids import Grid


def choose_acquisitions(source: Source, *, years: Sequence[int] | None = None, rules: PairingRules) -> Selection:
    """Choose the paired acquisitions of `years` (all years of the source by default).

    Every acquisition's mask is read on the workers; the choice itself is exact (METHOD section 2).

    Raises
    ------
    InputError
        When a year has no acquisition, or when fewer tuples than asked for are feasible.
    """
    found = source.acquisitions()
    years = sorted(years or {a.time.year for a in found})
    by_year = {year: [a for a in found if a.time.year == year] for year in years}
    for year, acquisitions in by_year.items():
        if not acquisitions:
            have = ", ".join(str(y) for y in sorted({a.time.year for a in found}))
            raise InputError(f"no acquisition in {year}; the source has {have}; set acquisitions.years")
    tasks = {y: [lazy.call(source.weather, a, name=f"survey-{y}") for a in row] for y, row in by_year.items()}
    weather = lazy.compute(tasks)
    surveyed = {y: [Surveyed(a, w) for a, w in zip(row, weather[y], strict=True)] for y, row in by_year.items()}
    pairing = pair([[_candidate(s) for s in row] for row in surveyed.values()], rules, years=years)
    return _selection(surveyed, pairing)


def _candidate(surveyed: Surveyed) -> Candidate:
    a, w = surveyed.acquisition, surveyed.weather
    return Candidate(
        day=season_day(a.time.month, a.time.day),
        order=a.time.timestamp(),
        cloud=w.cloud,
        missing=1 - w.valid,
        orbit=a.orbit,
    )


def _selection(surveyed: dict[int, list[Surveyed]], pairing: Pairing) -> Selection:
    chosen, rejected = {}, {}
    for i, (year, row) in enumerate(surveyed.items()):
        picked = pairing.index[:, i].tolist()
        chosen[year] = tuple(row[j] for j in picked)
        rejected[year] = tuple(
            Surveyed(s.acquisition, s.weather, pairing.reasons[i][j]) for j, s in enumerate(row) if j not in set(picked)
        )
    return Selection(chosen, rejected, float(pairing.cost))


def stack(source: Source, selection: Selection, *, grid: Grid, chunk: int) -> xr.Dataset:
    """Lazy cube of the chosen acquisitions (METHOD sections 0 and 1).

    Parameters
    ----------
    grid
        Lattice of the cube, normally ``source.grid()``.
    chunk
        Edge of the blocks in pixels that one task reads, all acquisitions of a year and all bands at once.

    Returns
    -------
    Dataset with ``reflectance`` (year, acquisition, band, y, x) uint16, ``usable`` (year, acquisition, y, x) bool and
    the coordinates that :func:`mlc_dask.schema.check_cube` asks for, plus ``cloud``, ``valid`` and ``id`` (year,
    acquisition).
    """
    chunks = (_split(grid.height, chunk), _split(grid.width, chunk))
    planes = [
        lazy.read_blocks(
            partial(_read, source, [s.acquisition for s in row], grid),
            leading=(selection.size, len(source.bands) + 1),
            chunks=chunks,
            dtype=np.uint16,
            name=f"read-{year}",
        )
        for year, row in selection.chosen.items()
    ]
    data = da.stack(planes)
    packing = {"scale_factor": SCALE, "add_offset": OFFSET, "_FillValue": 0, "long_name": "surface reflectance"}
    return xr.Dataset(
        {
            "reflectance": (CUBE_DIMS, data[:, :, :-1], packing),
            "usable": ((YEAR, ACQUISITION, Y, X), data[:, :, -1].astype(bool)),
        },
        coords={**_coordinates(selection), BAND: list(source.bands), **grid.coords()},
    )


def _read(
    source: Source, acquisitions: Sequence[Acquisition], grid: Grid, rows: slice, columns: slice
) -> npt.NDArray[np.uint16]:
    """Bands and, as the last plane, the usable mask of every acquisition: (T, B + 1, h, w)."""
    shape = (len(acquisitions), len(source.bands) + 1, rows.stop - rows.start, columns.stop - columns.start)
    block = np.empty(shape, np.uint16)
    for t, acquisition in enumerate(acquisitions):
        block[t, :-1], block[t, -1] = source.read(acquisition, grid, rows, columns)
    return block


def _coordinates(selection: Selection) -> dict[str, Any]:
    rows = selection.chosen.values()

    def table(value: Any, dtype: Any) -> tuple[tuple[str, str], npt.NDArray[Any]]:
        return (YEAR, ACQUISITION), np.array([[value(s) for s in row] for row in rows], dtype)

    return {
        YEAR: list(selection.years),
        ACQUISITION: np.arange(selection.size),
        "time": table(lambda s: s.acquisition.time, "datetime64[ns]"),
        "id": table(lambda s: s.acquisition.id, np.str_),
        "cloud": table(lambda s: s.weather.cloud, np.float64),
        "valid": table(lambda s: s.weather.valid, np.float64),
    }


def _split(size: int, chunk: int) -> tuple[int, ...]:
    whole, rest = divmod(size, chunk)
    return (chunk,) * whole + ((rest,) if rest else ())
