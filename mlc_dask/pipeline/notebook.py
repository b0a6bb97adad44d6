"""The first two steps of a notebook, with the radiometric check of a run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import xarray as xr

from mlc_dask.data.acquisitions import Catalogue, Selection, Source
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.years import CALENDAR
from mlc_dask.kernels.pairing.rules import PairingRules
from mlc_dask.stages import choice, time_series
from mlc_dask.stages.choice import doubts
from mlc_dask.stages.radiometry import check_radiometry, doubtful


def choose_acquisitions(
    source: Source,
    catalogue: Catalogue | None = None,
    *,
    years: Sequence[int] | None = None,
    rules: PairingRules,
    max_tile_cloud: float = 1.0,
    leave_out: Sequence[str] = (),
    year_start: str | None = None,
    accept_radiometry: bool = False,
) -> Selection:
    """Choose the paired acquisitions of `years` (all years of the source by default), and check them as a run does.

    Products that are cloudier than `max_tile_cloud` according to their metadata are never opened, and acquisitions that
    cannot be read are left out by name (``Selection.left_out``). The choice is exact (method section 2).

    Parameters
    ----------
    leave_out
        Acquisitions to leave out: ids, ids of their products, or dates (``2018-09-23``).
    year_start
        First day of a year; with ``07-01``, 2019 is 2018-07-01 to 2019-06-30. By default that of `catalogue`.
    accept_radiometry
        Accept acquisitions that contradict the offset of their metadata, or show clouds that the mask missed.

    Raises
    ------
    InputError
        If an entry of `leave_out` names nothing, if fewer pairs than requested are feasible, or if the radiometric
        check refuses an acquisition.
    """
    catalogue = catalogue or source.catalogue(years, CALENDAR if year_start is None else year_start)
    if year_start not in (None, catalogue.year_start):
        raise InputError(
            f"year_start = {year_start!r}, but the years of the catalogue start on {catalogue.year_start}; list it "
            f"with source.catalogue(years, year_start={year_start!r})"
        )
    choice.check_names(leave_out, catalogue.names)
    selection = choice.choose_acquisitions(
        source,
        catalogue,
        years=years,
        rules=rules,
        max_tile_cloud=max_tile_cloud,
        leave_out=leave_out,
    )
    _check(source, selection, catalogue, accept=accept_radiometry)
    return replace(selection, checked=True)


def stack(
    source: Source, selection: Selection, *, grid: Grid, chunk: int, accept_radiometry: bool = False
) -> xr.Dataset:
    """Lazy cube of the chosen acquisitions (method sections 0 and 1).

    Acquisitions that :func:`choose_acquisitions` did not check are checked first.

    Parameters
    ----------
    grid
        Grid of the cube, from the catalogue of the source.
    chunk
        Edge, in pixels, of the blocks that tasks read: one block of all bands of one acquisition per task.
    accept_radiometry
        As in :func:`choose_acquisitions`.

    Returns
    -------
    Dataset with ``reflectance`` (year, acquisition, band, y, x) uint16, ``usable`` (year, acquisition, y, x) bool and
    the coordinates that :func:`mlc_dask.data.schema.check_cube` asks for, plus ``cloud``, ``valid`` and ``id`` (year,
    acquisition).

    Raises
    ------
    InputError
        If the radiometric check refuses an acquisition.
    """
    if not selection.checked:
        _check(source, selection, Catalogue(grid, ()), accept=accept_radiometry)
    return time_series.stack(source, selection, grid=grid, chunk=chunk)


def _check(source: Source, selection: Selection, catalogue: Catalogue, *, accept: bool) -> None:
    """Check as a run does, and warn of what a run notes."""
    table = check_radiometry(source, selection, catalogue, accept=accept)
    for words in [*doubts(selection), *doubtful(table)]:
        warnings.warn(words, stacklevel=3)
