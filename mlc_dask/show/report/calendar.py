"""The calendar of a paired selection: which acquisitions were chosen, and why others were not, as PNG and as text.

Years are rows, and the season is the horizontal axis, from the day on which years start and without 29 February:
acquisitions of one pair are nearly aligned. In the PNG the height of a mark within its year is its cloud share.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mlc_dask.data.acquisitions import Selection, Surveyed
from mlc_dask.data.years import CALENDAR, SEASON_DAYS, season_day, span, year_of
from mlc_dask.kernels.pairing.rules import (
    ALONE,
    BY_HAND,
    CLOUDY,
    HOPELESS,
    OUTSCORED,
    PAIRABLE,
    PARTIAL,
    UNREADABLE,
)
from mlc_dask.show.pictures import months

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _RULE = "#1d2733", "#5a6a7c", "#dde3ea"
_CHOSEN = "#0b5394"
_SKY = 0.62
"""Height of a cloud share of 1, where two years are 1 apart; the rest of the row holds the numbers."""
_NUMBER_DAYS = 5.2
"""Width of a two-digit number in days; closer numbers are moved apart."""


@dataclass(frozen=True)
class _Look:
    """How acquisitions that were left out for one reason are shown: in words, as a glyph, and as a marker."""

    reason: str
    short: str
    glyph: str
    colour: str
    marker: str
    fill: str = "full"


# Most informative first: where several fall into one column of text, the first is shown.
_LOOKS = (
    _Look(PAIRABLE, "pairable", "o", "#0b5394", "o", "none"),
    _Look(OUTSCORED, "outscored", "+", "#0f8f6f", "D", "none"),
    _Look(ALONE, "no partner", "x", "#b0468a", "x"),
    _Look(PARTIAL, "little area", "/", "#c77700", "o", "left"),
    _Look(HOPELESS, "metadata", "≈", "#8796a8", "s", "none"),
    _Look(CLOUDY, "cloud", "~", "#8796a8", "o"),
    _Look(UNREADABLE, "unreadable", "!", "#c0392b", "X"),
    _Look(BY_HAND, "by hand", "-", "#8796a8", "_"),
    _Look("another reason", "other", "?", "#c0392b", "*"),
)


def _left_out(rows: Iterable[Surveyed]) -> dict[_Look, list[Surveyed]]:
    """Acquisitions by look, in the order of the looks; an unknown reason counts as another reason."""
    by_reason = {look.reason: look for look in _LOOKS}
    groups: dict[_Look, list[Surveyed]] = {look: [] for look in _LOOKS}
    for s in rows:
        groups[by_reason.get(s.reason, _LOOKS[-1])].append(s)
    return groups


def _days(selection: Selection, rows: Iterable[Surveyed]) -> npt.NDArray[np.int64]:
    start = selection.year_start
    return np.array([season_day(s.acquisition.time.month, s.acquisition.time.day, start) for s in rows], np.int64)


def _named(selection: Selection, year: int) -> tuple[str, ...]:
    """Return the number of a year and, unless it is a calendar year, its first day."""
    first = span(year, selection.year_start)[0]
    return (str(year),) if selection.year_start == CALENDAR else (str(year), f"from {first:%Y-%m-%d}")


def _apart(places: npt.NDArray[np.int64], gap: float, last: int) -> npt.NDArray[np.float64]:
    """Move ascending positions evenly to both sides until they are at least `gap` apart within 0..`last`."""
    gap = min(gap, last / max(1, len(places) - 1))
    room = gap * np.arange(len(places))
    late = np.maximum.accumulate(places - room)
    early = np.minimum.accumulate((places - room)[::-1])[::-1]
    return np.clip((late + early) / 2, 0, last - gap * (len(places) - 1)) + room


def calendar_png(selection: Selection) -> bytes:
    """:func:`calendar_figure` as a PNG."""
    stream = io.BytesIO()
    calendar_figure(selection).savefig(stream, format="png", dpi=130)
    return stream.getvalue()


def calendar_figure(selection: Selection) -> Figure:
    """Draw the calendar of a selection.

    Every acquisition is a mark at its season day; its height above the line of its year is its cloud share. Chosen
    acquisitions are numbered and joined with their partners in other years; shape and colour of the others show why
    they were left out.
    """
    from matplotlib.figure import Figure

    years = selection.years
    floors = {year: -float(i) for i, year in enumerate(years)}
    figure = Figure(figsize=(11, 1.25 + 1.0 * len(years)), layout="constrained")
    axis = figure.subplots()
    _frame(axis, selection, floors)
    for look, rows in _left_out(s for year in years for s in selection.rejected[year]).items():
        if rows:
            edge = 1.2 if look.marker == "x" else 0.9
            own = [year_of(s.acquisition.time, selection.year_start) for s in rows]
            heights = [floors[year] + _SKY * s.weather.cloud for year, s in zip(own, rows, strict=True)]
            axis.plot(_days(selection, rows), heights, look.marker, ms=5, mew=edge, color=look.colour,
                      fillstyle=look.fill, markerfacecoloralt="white", label=f"{look.reason} ({len(rows)})",
                      clip_on=False)  # fmt: skip
    _draw_chosen(axis, selection, floors)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4, fontsize=9, frameon=False,
                  labelcolor=_INK)  # fmt: skip
    return figure


def _frame(axis: Axes, selection: Selection, floors: dict[int, float]) -> None:
    """Draw the title, months, years and the scale of the cloud share."""
    days = np.array([_days(selection, rows) for rows in selection.chosen.values()])
    spread = f", partners at most {np.ptp(days, axis=0).max()} days apart" if len(floors) > 1 and selection.size else ""
    axis.set_title(f"{selection.size} acquisitions per year{spread}", loc="left", color=_INK, weight="bold", pad=10)
    axis.set_title("height within a year: cloud share", loc="right", fontsize=9, color=_MUTED, pad=10)
    axis.set_xlim(-2, SEASON_DAYS + 1)
    axis.set_ylim(min(floors.values()) - 0.26, _SKY + 0.08)
    season = months(selection.year_start)
    axis.set_xticks([(m.first + m.end) / 2 for m in season], [m.name for m in season])
    axis.vlines([*(m.first for m in season), SEASON_DAYS], *axis.get_ylim(), color=_RULE, lw=0.8, zorder=0)
    names = ["\n".join(_named(selection, year)) for year in floors]
    axis.set_yticks([floor + _SKY * 0.6 for floor in floors.values()], names, weight="bold")
    axis.tick_params(length=0, labelsize=10, labelcolor=_INK)
    axis.spines[:].set_visible(False)
    for year, floor in floors.items():
        count = f"{selection.size} of {selection.size + len(selection.rejected[year])} "
        axis.text(-2, floor + _SKY * 0.25, count, ha="right", va="center", fontsize=8, color=_MUTED)
        axis.fill_between([0, SEASON_DAYS], floor, floor + _SKY, color="#f3f6f9", lw=0, zorder=-1)
        axis.hlines(floor, 0, SEASON_DAYS, color=_MUTED, lw=0.8, zorder=1)
        for share in (0.0, 0.5, 1.0):
            axis.text(SEASON_DAYS + 3, floor + _SKY * share, f"{share:.0%}", va="center", fontsize=7.5, color=_MUTED)


def _draw_chosen(axis: Axes, selection: Selection, floors: dict[int, float]) -> None:
    marks = {y: (_days(selection, rows), [floors[y] + _SKY * s.weather.cloud for s in rows])
             for y, rows in selection.chosen.items()}  # fmt: skip
    for above, below in pairwise(selection.years):
        for j in range(selection.size):
            ends = [(marks[year][0][j], marks[year][1][j]) for year in (above, below)]
            axis.plot(*zip(*ends, strict=True), color=_CHOSEN, lw=1.0, alpha=0.35, zorder=1.5)
    for i, (year, (days, heights)) in enumerate(marks.items()):
        label = f"chosen ({selection.size} per year)" if i == 0 and selection.size else None
        axis.vlines(days, floors[year], heights, color=_CHOSEN, lw=2.2, zorder=3)
        axis.plot(days, heights, "o", ms=8, color=_CHOSEN, mec="white", mew=0.8, zorder=4, label=label)
        for number, place in enumerate(_apart(days, _NUMBER_DAYS, SEASON_DAYS), start=1):
            axis.text(place, floors[year] - 0.1, str(number), ha="center", va="center", fontsize=8, weight="bold",
                      color=_CHOSEN, bbox={"color": "white", "pad": 0.6}, zorder=2)  # fmt: skip


def calendar_text(selection: Selection, width: int) -> Group:
    """Lay out the calendar for a terminal of `width` columns, 40 or more; it is readable without colour.

    A chosen acquisition shows the last digit of its number, any other a glyph for the reason why it was left out. The
    table below explains the glyphs and counts them by year.
    """
    names = {year: " ".join(_named(selection, year)) for year in selection.years}
    margin = max(map(len, names.values())) + 1
    step = -(-SEASON_DAYS // (max(width, 40) - margin))
    ruler = [" "] * (SEASON_DAYS // step + 3)
    for month in months(selection.year_start):
        name = month.name if step <= 6 else month.name[:1]
        ruler[month.first // step : month.first // step + len(name)] = name
    lines = [Text.assemble(names[year].ljust(margin), *_cells(selection, year, step)) for year in selection.years]
    for line in lines:
        line.rstrip()
    note = f"Digit: the last of the pair's number. One column is {step} days; the best acquisition is shown."
    return Group(
        Text(" " * margin + "".join(ruler).rstrip(), "bold"), *lines, Text(note, "dim"), "", _counts(selection)
    )


def _cells(selection: Selection, year: int, step: int) -> Sequence[tuple[str, str]]:
    """Glyph and style of every column of one year."""
    columns = -(-SEASON_DAYS // step)
    cells = [(" ", "")] * columns
    for month in months(selection.year_start):
        cells[month.first // step] = ("│", "dim")
    for look, rows in reversed(_left_out(selection.rejected[year]).items()):
        for column in _days(selection, rows) // step:
            cells[column] = (look.glyph, look.colour)
    places = _apart(_days(selection, selection.chosen[year]) // step, 1, columns - 1).astype(int)
    for number, column in enumerate(places, start=1):
        cells[column] = (str(number % 10), "bold")
    return cells


def _counts(selection: Selection) -> Table:
    """Explain the glyphs in the header and count them by year; reasons that do not occur are left out."""
    by_year = {year: _left_out(selection.rejected[year]) for year in selection.years}
    looks = [look for look in _LOOKS if any(found[look] for found in by_year.values())]
    table = Table("", box=None)
    table.add_column(Text("1… chosen", "bold"), justify="right")
    for look in looks:
        table.add_column(Text(f"{look.glyph} {look.short}", look.colour), justify="right")
    for year, found in by_year.items():
        table.add_row(str(year), str(selection.size), *(str(len(found[look]) or "–") for look in looks))
    return table
