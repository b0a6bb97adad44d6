"""The card of a cube: facts, the calendar of its acquisitions, and one picture per year."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.grids import Grid, north_up
from mlc_dask.data.schema import ACQUISITION, BAND, YEAR, X, Y, check_cube, year_start_of
from mlc_dask.data.years import CALENDAR, SEASON_DAYS, year_label
from mlc_dask.show.notebook import html
from mlc_dask.show.notebook.layers import at_hand, glance
from mlc_dask.show.pictures import clear_summer, months, season_days
from mlc_dask.show.report.quicklook import quicklook_png

_WINDOW = 768
"""Edge in pixels of the shown part of a cube: thinning does not reduce reading, since whole chunks are read."""
_SIDE = 200
_WIDE, _HIGH, _LEFT = 1.7, 30, 44

Shares = npt.NDArray[np.float64]


def cube_card(cube: xr.Dataset) -> str:
    """HTML of a cube. Only pixels in its centre are read, and nothing is computed."""
    cube = north_up(check_cube(cube))
    years = cube[YEAR].values.tolist()
    middle = cube.isel({dim: _middle(cube.sizes[dim]) for dim in (Y, X)})
    clear = _clear(cube, middle)
    calendar = "" if clear is None else _calendar(cube, clear)
    if at_hand(cube.reflectance) and clear is not None:
        whole = middle.sizes == cube.sizes
        part = "" if whole else html.note(f"shown: the {middle.sizes[X]} × {middle.sizes[Y]} pixels at the centre")
        pictures = "".join(_picture(middle.sel({YEAR: y}), y, own) for y, own in zip(years, clear, strict=True))
        shown = f"<div class='row'>{pictures}</div>{part}"
    else:
        shown = html.note("not computed yet: write the cube with write_cube and open it to see pictures")
    return html.card("Cube of Sentinel-2 acquisitions", _facts(cube), calendar, shown)


def _middle(length: int) -> slice:
    start = max(0, (length - _WINDOW) // 2)
    return slice(start, min(length, start + _WINDOW))


def _facts(cube: xr.Dataset) -> list[str]:
    years, start = cube[YEAR].values.tolist(), year_start_of(cube)
    where = Grid.of_raster(cube).label if "spatial_ref" in cube.coords else f"{cube.sizes[X]} × {cube.sizes[Y]} pixels"
    return [
        f"{years[0]}–{years[-1]}" if len(years) > 1 else f"{years[0]}",
        *([] if start == CALENDAR else [f"{year_label(years[0], start)}"]),
        f"{cube.sizes[ACQUISITION]} acquisitions per year",
        f"{cube.sizes[BAND]} bands ({', '.join(cube[BAND].values.tolist())})",
        where,
        f"{cube.nbytes / 1e9:.2f} GB before compression",
    ]


def _clear(cube: xr.Dataset, middle: xr.Dataset) -> Shares | None:
    """Usable share of every acquisition (year, acquisition): as recorded, otherwise from a few stored pixels."""
    if {"cloud", "valid"} <= cube.coords.keys():
        return np.asarray(cube.valid.values * (1 - cube.cloud.values), np.float64)
    return glance(middle.usable, 64).mean((-2, -1)) if at_hand(cube.usable) else None


def _calendar(cube: xr.Dataset, clear: Shares) -> str:
    """Draw one row per year, the season from left to right, one bar per acquisition, filled by its usable share."""
    years, days = cube[YEAR].values.tolist(), season_days(cube.time.values, year_start_of(cube))
    wide, high = _LEFT + SEASON_DAYS * _WIDE + 4, 14 + _HIGH * len(years)
    season = months(year_start_of(cube))
    parts = [f"<text x='{_LEFT + _WIDE * (m.first + 15):.0f}' y='9' text-anchor='middle'>{m.name[:1]}</text>"
             for m in season]  # fmt: skip
    lines = (*(m.first for m in season), SEASON_DAYS)
    parts += [f"<path d='M{_LEFT + _WIDE * s:.1f} 12V{high}' stroke='var(--rule)'/>" for s in lines]
    for row, year in enumerate(years):
        floor = 12 + _HIGH * (row + 1)
        parts.append(f"<text class='year' x='0' y='{floor - 9}'>{html.text(year)}</text>")
        for time, day, share in zip(cube.time.values[row], days[row], clear[row], strict=True):
            parts.append(_bar(str(time)[:10], _LEFT + _WIDE * day, floor, float(share)))
    frame = f"width='{wide:.0f}' height='{high + 2}' viewBox='0 0 {wide:.0f} {high + 2}'"
    return f"<svg {frame} role='img' aria-label='calendar of acquisitions'>{''.join(parts)}</svg>"


def _bar(date: str, x: float, floor: int, share: float) -> str:
    full = _HIGH - 8
    filled = full * min(1.0, max(0.0, share))
    return (
        f"<g><title>{date}: {share:.0%} usable</title>"
        f"<rect x='{x - 2.5:.1f}' y='{floor - full}' width='5' height='{full}' fill='var(--mark)' opacity='.2'/>"
        f"<rect x='{x - 2.5:.1f}' y='{floor - filled:.1f}' width='5' height='{filled:.1f}' fill='var(--mark)'/></g>"
    )


def _picture(one: xr.Dataset, year: int, clear: Shares) -> str:
    """Show the acquisition nearest to midsummer among those nearly as clear as the clearest."""
    shown = clear_summer(one.time.values, clear, year_start_of(one))
    dn = glance(one.reflectance.isel({ACQUISITION: shown}), _SIDE)
    png = quicklook_png(dn, one[BAND].values.tolist())
    return html.figure(f"{str(one.time.values[shown])[:10]}, {clear[shown]:.0%} usable", html.photo(png))
