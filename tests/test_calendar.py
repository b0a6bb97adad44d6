"""The calendar: every acquisition once, in its place, and every reason distinguished, on paper and on screen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from rich.console import Console

from mlc_dask.data.acquisitions import Acquisition, Selection, Surveyed, Weather
from mlc_dask.data.years import season_day
from mlc_dask.kernels.pairing.rules import ALONE, CLOUDY, HOPELESS, OUTSCORED, PARTIAL
from mlc_dask.show.report.calendar import _apart, calendar_figure, calendar_png, calendar_text

REASONS = (CLOUDY, HOPELESS, PARTIAL, ALONE, OUTSCORED)


def surveyed(date: str, reason: str = "", *, cloud: float = 0.1, orbit: int | None = 22) -> Surveyed:
    time = datetime.fromisoformat(date)
    return Surveyed(Acquisition(date, time, orbit, ()), Weather(cloud, 1.0), reason)


def selection_of(
    dates: dict[int, Sequence[str]], rejected: dict[int, Sequence[Surveyed]] | None = None, *, orbit: int | None = 22
) -> Selection:
    """Chosen acquisitions given as MM-DD by year, and the others."""
    chosen = {y: tuple(surveyed(f"{y}-{d}", orbit=orbit) for d in row) for y, row in dates.items()}
    return Selection(chosen, {y: tuple((rejected or {}).get(y, ())) for y in dates}, 1.0)


def usual() -> Selection:
    """Three pairs of two years; in 2019 reason number i left i + 1 acquisitions out, a day each from 1 May."""
    days = iter(datetime(2019, 5, 1) + timedelta(6 * n) for n in range(30))
    rejected = [surveyed(f"{next(days):%Y-%m-%d}", r, cloud=0.8) for i, r in enumerate(REASONS) for _ in range(i + 1)]
    dates = {2019: ("01-10", "03-05", "10-20"), 2020: ("01-12", "03-01", "10-20")}
    return selection_of(dates, {2019: rejected})


def marks(figure: Figure) -> dict[str, Line2D]:
    """Marks of the acquisitions left out, by reason."""
    reasons = (*REASONS, "another reason")
    lines = figure.axes[0].get_lines()
    return {r: line for line in lines for r in reasons if str(line.get_label()).startswith(f"{r} (")}


def chosen_marks(figure: Figure) -> list[Line2D]:
    """Marks of the chosen acquisitions, one line a year."""
    return [line for line in figure.axes[0].get_lines() if line.get_marker() == "o" and line.get_markersize() == 8]


def joins(figure: Figure) -> list[Line2D]:
    return [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "-" and line.get_marker() == "None"]


def printed(selection: Selection, width: int) -> list[str]:
    console = Console(width=width, no_color=True, file=io.StringIO(), record=True)
    console.print(calendar_text(selection, width))
    return console.export_text().splitlines()


def row_of(lines: Sequence[str], year: int) -> str:
    """Calendar line of a year, without the year."""
    return next(line for line in lines if line.startswith(f"{year} "))[5:]


# On paper


def test_marks_by_reason() -> None:
    found = marks(calendar_figure(usual()))
    assert {r: len(line.get_xdata()) for r, line in found.items()} == {r: i + 1 for i, r in enumerate(REASONS)}
    looks = {(line.get_marker(), line.get_fillstyle()) for line in found.values()}
    assert len(looks) == len(REASONS)


def test_place_is_day_and_cloud() -> None:
    rejected = [surveyed("2020-07-31", CLOUDY, cloud=c) for c in (0.0, 0.5, 1.0)]
    figure = calendar_figure(selection_of({2019: ["03-01"], 2020: ["02-29"]}, {2020: rejected}))
    (cloudy,) = marks(figure).values()
    low, middle, high = cloudy.get_ydata()
    assert set(cloudy.get_xdata()) == {season_day(7, 31)}
    assert low < middle < high and middle - low == pytest.approx(high - middle)
    first, second = chosen_marks(figure)
    assert (first.get_xdata()[0], second.get_xdata()[0]) == (59, 58), "29 February stands on the 28th"
    assert first.get_ydata()[0] > high > second.get_ydata()[0] > low


def test_chosen_ascend_are_numbered_and_joined() -> None:
    figure = calendar_figure(usual())
    years = chosen_marks(figure)
    assert len(years) == 2 and all((np.diff(line.get_xdata()) > 0).all() for line in years)
    numbers = [t.get_text() for t in figure.axes[0].texts if t.get_text().isdigit()]
    assert numbers == ["1", "2", "3"] * 2
    pairs = list(zip(*(line.get_xdata() for line in years), strict=True))
    assert [tuple(line.get_xdata()) for line in joins(figure)] == pairs


def test_title_tells_the_spread() -> None:
    assert (
        calendar_figure(usual()).axes[0].get_title("left") == "3 acquisitions per year, partners at most 4 days apart"
    )
    alone = calendar_figure(selection_of({2020: ("03-05", "03-09")}))
    assert alone.axes[0].get_title("left") == "2 acquisitions per year" and not joins(alone) and not marks(alone)


def test_a_new_reason_is_shown_as_another() -> None:
    found = selection_of({2020: ["03-05"]}, {2020: [surveyed("2020-06-01", "struck by lightning")]})
    assert list(marks(calendar_figure(found))) == ["another reason"]
    assert any("? other" in line for line in printed(found, 80)) and "?" in row_of(printed(found, 80), 2020)


@pytest.mark.parametrize("years", [1, 10])
def test_png_grows_with_the_years(years: int) -> None:
    picture = selection_of({2015 + i: ("03-05", "12-31") for i in range(years)}, orbit=None)
    height, width, _ = imread(io.BytesIO(calendar_png(picture))).shape
    assert (height, width) == (pytest.approx(130 * (1.25 + years), abs=1), 1430)


def test_crowded_places_move_apart_and_stay_within() -> None:
    assert _apart(np.array([5, 20, 21, 40]), 4, 50).tolist() == [5, 18.5, 22.5, 40]
    assert _apart(np.array([0, 0, 1]), 2, 50).tolist() == [0, 2, 4]
    assert _apart(np.array([49, 50, 50]), 2, 50).tolist() == [46, 48, 50]
    assert _apart(np.array([7]), 3, 50).tolist() == [7]
    assert np.diff(_apart(np.arange(10), 9, 9)).tolist() == [1] * 9


# On screen


@pytest.mark.parametrize("width", [40, 80, 140])
def test_text_fits_and_has_a_line_a_year(width: int) -> None:
    lines = printed(usual(), width)
    assert max(map(len, lines)) <= width
    for year in (2019, 2020):
        assert [c for c in row_of(lines, year) if c.isdigit()] == ["1", "2", "3"]


@pytest.mark.parametrize(("width", "step"), [(80, 5), (140, 3)])
def test_text_places_and_ruler(width: int, step: int) -> None:
    lines = printed(usual(), width)
    assert row_of(lines, 2019).index("3") == season_day(10, 20) // step
    assert [lines[0][5:].index(m) for m in ("Jan", "May", "Dec")] == [season_day(m, 1) // step for m in (1, 5, 12)]
    assert f"One column is {step} days" in "".join(lines)


def test_every_reason_has_its_glyph_and_count() -> None:
    lines = printed(usual(), 140)
    glyphs = dict(zip("~≈/x+", range(1, 6), strict=True))
    assert {g: row_of(lines, 2019).count(g) for g in glyphs} == glyphs
    legend = next(line for line in lines if "chosen" in line)
    assert [legend.index(g) for g in "+x/≈~"] == sorted(legend.index(g) for g in glyphs)
    counts = [line.split() for line in lines[lines.index(legend) + 1 :]]
    assert counts == [["2019", "3", "5", "4", "3", "2", "1"], ["2020", "3", "–", "–", "–", "–", "–"]]


def test_chosen_are_never_hidden() -> None:
    crowd = [surveyed("2020-06-01", r) for r in REASONS]
    row = row_of(printed(selection_of({2020: ("06-01", "06-02", "06-03", "12-31")}, {2020: crowd}), 80), 2020)
    assert [c for c in row if c.isdigit()] == ["1", "2", "3", "4"] and "123" in row and row.endswith("4")
    hidden = row_of(printed(selection_of({2020: ["01-01"]}, {2020: crowd}), 80), 2020)
    assert "+" in hidden and "~" not in hidden, "the most telling reason is on top"


def test_two_digits_end_in_their_last() -> None:
    row = row_of(printed(selection_of({2020: [f"{m:02d}-10" for m in range(1, 13)]}), 80), 2020)
    assert "".join(c for c in row if c.isdigit()) == "123456789012"


# Years that cross New Year


def southern() -> Selection:
    """Two years from 1 July with pairs on either side of New Year, and one acquisition that was left out."""
    days = {2019: ("2018-07-03", "2018-12-28", "2019-06-30"), 2020: ("2019-07-01", "2020-01-03", "2020-06-28")}
    chosen = {y: tuple(surveyed(d) for d in row) for y, row in days.items()}
    rejected = {2019: (surveyed("2019-03-01", CLOUDY, cloud=0.9),), 2020: (surveyed("2020-02-29", CLOUDY, cloud=0.9),)}
    return Selection(chosen, rejected, 1.0, year_start="07-01")


def test_a_season_is_drawn_from_its_start() -> None:
    figure = calendar_figure(southern())
    axis = figure.axes[0]
    months = "".join(label.get_text() for label in axis.get_xticklabels())
    assert months == "JulAugSepOctNovDecJanFebMarAprMayJun"
    assert [t.get_text() for t in axis.get_yticklabels()] == ["2019\nfrom 2018-07-01", "2020\nfrom 2019-07-01"]
    assert [line.get_xdata().tolist() for line in chosen_marks(figure)] == [[2, 180, 364], [0, 186, 362]]
    assert marks(figure)[CLOUDY].get_xdata().tolist() == [243, 242]
    heights = marks(figure)[CLOUDY].get_ydata()
    assert heights[0] - heights[1] == pytest.approx(1.0)
    assert "partners at most 6 days apart" in axis.get_title(loc="left")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_season_is_printed_from_its_start(width: int) -> None:
    lines = printed(southern(), width)
    assert [c for c in lines[0] if c.isupper()] == list("JASONDJFMAMJ")
    for year, line in zip((2019, 2020), lines[1:3], strict=True):
        assert line.startswith(f"{year} from {year - 1}-07-01 ")
        season = line[len("2019 from 2018-07-01 ") :]
        assert [c for c in season if c.isdigit() or c == "~"] == ["1", "2", "~", "3"]
