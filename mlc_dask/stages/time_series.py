"""Paired acquisitions, their radiometry, and the cube (paper sections 2.1 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.acquisitions import Acquisition, Catalogue, Selection, Source, Surveyed, Weather
from mlc_dask.errors import InputError
from mlc_dask.grids import Grid
from mlc_dask.kernels import radiometry
from mlc_dask.kernels.pairing import Candidate, Pairing, PairingRules, pair, season_day
from mlc_dask.kernels.pairing_rules import HOPELESS
from mlc_dask.schema import ACQUISITION, BAND, CUBE_DIMS, DN_OFFSET, OFFSET, SCALE, YEAR, X, Y

_LOOKED_AT = 1_000
"""Pixels along each side at most of the lattice on which radiometry is judged."""


def choose_acquisitions(
    source: Source,
    catalogue: Catalogue | None = None,
    *,
    years: Sequence[int] | None = None,
    rules: PairingRules,
    max_tile_cloud: float = 1.0,
) -> Selection:
    """Choose the paired acquisitions of `years` (all years of the source by default).

    Metadata decides first: what is cloudier than `max_tile_cloud` over the whole product is not looked at. Of all
    others the mask is read over the area, on the workers; the choice itself is exact (METHOD section 2).

    Raises
    ------
    InputError
        When a year has no acquisition, or when fewer tuples than asked for are feasible.
    """
    catalogue = catalogue or source.catalogue(years)
    found = catalogue.acquisitions
    years = sorted(years or {a.time.year for a in found})
    by_year = {year: [a for a in found if a.time.year == year] for year in years}
    for year, acquisitions in by_year.items():
        if not acquisitions:
            have = ", ".join(str(y) for y in sorted({a.time.year for a in found})) or "none of these years"
            raise InputError(f"no acquisition in {year}; the source has {have}; set acquisitions.years")
    hopeful = {y: [a for a in row if (a.cloud or 0) <= max_tile_cloud] for y, row in by_year.items()}
    weather = lazy.compute(
        {
            y: [lazy.call(source.weather, a, catalogue.grid, name=f"survey-{y}") for a in row]
            for y, row in hopeful.items()
        }
    )
    surveyed = {y: [Surveyed(a, w) for a, w in zip(row, weather[y], strict=True)] for y, row in hopeful.items()}
    pairing = pair([[_candidate(s) for s in row] for row in surveyed.values()], rules, years=years)
    hopeless = {y: tuple(_unseen(a) for a in row if a not in hopeful[y]) for y, row in by_year.items()}
    return _selection(surveyed, pairing, hopeless)


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


def check_radiometry(
    source: Source, selection: Selection, catalogue: Catalogue, *, accept: bool = False
) -> pd.DataFrame:
    """Judge by its dark pixels whether every chosen acquisition carries the offset that its metadata says.

    Parameters
    ----------
    accept
        Record what looks wrong instead of refusing it.

    Returns
    -------
    Table with columns ``year, id, dark`` (ten-thousandths of reflectance) and ``verdict``.

    Raises
    ------
    InputError
        Naming the acquisitions whose offset was missed or applied twice.
    """
    coarse = catalogue.grid.coarsened(_LOOKED_AT)
    chosen = [(year, s.acquisition) for year, row in selection.chosen.items() for s in row]
    levels = lazy.compute([lazy.call(_dark_level, source, a, coarse, name=f"radiometry-{y}") for y, a in chosen])
    known = [level for level in levels if not np.isnan(level)]
    usual = float(np.median(known)) if known else float("nan")
    table = pd.DataFrame(
        [
            {"year": y, "id": a.id, "dark": level, "verdict": radiometry.verdict(level, usual)}
            for (y, a), level in zip(chosen, levels, strict=True)
        ]
    )
    wrong = table[table["verdict"].isin([radiometry.MISSED, radiometry.TWICE])]
    if len(wrong) and not accept:
        listed = ", ".join(f"{r.id} ({r.verdict}, darkest {r.dark:.0f})" for r in wrong.itertuples())
        raise InputError(
            f"{len(wrong)} of {len(table)} acquisitions contradict their metadata: {listed}; leave them out, correct "
            "their offset, or, where clouds that the mask missed or bright ground explain it, use --accept-radiometry"
        )
    return table


def _dark_level(source: Source, acquisition: Acquisition, grid: Grid) -> float:
    dn, usable = source.read(acquisition, grid, slice(0, grid.height), slice(0, grid.width))
    return radiometry.dark_level(dn, usable) - DN_OFFSET


def stack(source: Source, selection: Selection, *, grid: Grid, chunk: int) -> xr.Dataset:
    """Lazy cube of the chosen acquisitions (METHOD sections 0 and 1).

    Parameters
    ----------
    grid
        Lattice of the cube, that of the source's catalogue.
    chunk
        Edge of the blocks in pixels that one task reads, all bands of one acquisition at once.

    Returns
    -------
    Dataset with ``reflectance`` (year, acquisition, band, y, x) uint16, ``usable`` (year, acquisition, y, x) bool and
    the coordinates that :func:`mlc_dask.schema.check_cube` asks for, plus ``cloud``, ``valid`` and ``id`` (year,
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
