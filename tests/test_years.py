"""Years that start on any day: their rule day by day, pairing across New Year and the leap day, and every message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app as cli
from mlc_dask.config import load_config
from mlc_dask.data.acquisitions import CATALOGUE, SELECTION, Acquisition, Catalogue, Surveyed, Weather
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.years import CALENDAR, Years, first_day, season_day, span, year_label, year_of
from mlc_dask.io import old_map
from mlc_dask.io.sources import catalogues
from mlc_dask.kernels.pairing.limits import Infeasible
from mlc_dask.kernels.pairing.pair import pair
from mlc_dask.kernels.pairing.rules import Candidate, PairingRules
from mlc_dask.pipeline.plan import dry_run
from mlc_dask.show.pictures import clear_summer, months
from mlc_dask.stages.choice import Unpaired, choose_acquisitions
from tests.runs import write_config
from tests.test_kernels_pairing import every_series, most, price

DAY = timedelta(days=1)
# A year without and with a leap day on either side of every start.
DATES = [date(2018, 1, 1) + n * DAY for n in range(4 * 365 + 1)]
STARTS = [f"{d:%m-%d}" for d in DATES[:365]]
GRID = Grid("EPSG:32734", 300_000, 6_250_000, 10, 64, 64)

runner = CliRunner()


# The rule, on every day and for every start


def test_every_day_lies_in_the_year_that_it_is_told() -> None:
    for start in STARTS:
        years = {year: span(year, start) for year in range(2016, 2025)}
        for day in DATES:
            moment = datetime(day.year, day.month, day.day, 23, 59)
            (own,) = [year for year, (first, end) in years.items() if first <= moment < end]
            assert year_of(day, start) == own == year_of(moment, start)


def test_a_year_is_named_for_the_calendar_year_of_its_last_day() -> None:
    for start in STARTS:
        for year in range(2017, 2022):
            first, end = span(year, start)
            assert (end - DAY).year == year and f"{first:%m-%d}" == f"{end:%m-%d}" == start
            assert span(year + 1, start)[0] == end
    assert all(year_of(day) == day.year for day in DATES)
    assert [year_label(2019, s) for s in (CALENDAR, "07-01", "03-01")] == [
        "2019", "2019 (2018-07-01 … 2019-06-30)", "2019 (2018-03-01 … 2019-02-28)",
    ]  # fmt: skip
    assert year_label(2020, "03-01") == "2020 (2019-03-01 … 2020-02-29)"


def test_season_days_are_counted_from_the_start_without_the_leap_day() -> None:
    """A slow reference: walk from the start of a year day by day, and do not count 29 February."""
    for start in STARTS:
        for year in (2019, 2020, 2021):
            first, end = span(year, start)
            number, day = -1, first
            while day < end:
                # Where a year would begin with it, no start allows 29 February.
                number += (day.month, day.day) != (2, 29)
                assert season_day(day.month, day.day, start) == number
                day += DAY
            assert number == 364


def test_the_axis_of_a_season_has_every_month_where_it_is() -> None:
    assert [m.name for m in months("07-01")] == [
        "Jul",
        "Aug",
        "Sep",
        "Oct",
        "Nov",
        "Dec",
        "Jan",
        "Feb",
        "Mar",
        "Apr",
        "May",
        "Jun",
    ]
    for start in STARTS:
        found = months(start)
        assert found[0].first == 0 and found[-1].end == 365 and sum(m.end - m.first for m in found) == 365
        assert len([m for m in found if m.name]) == 12 and (found[0].name == "") == (not start.endswith("-01"))
        for month in (m for m in found if m.name):
            number = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"].index(
                month.name
            ) + 1
            assert month.first == season_day(number, 1, start)


def test_midsummer_is_half_a_year_after_midwinter() -> None:
    import numpy as np

    times = np.array([f"{d:%Y-%m-%d}" for d in (date(2018, 7, 20), date(2019, 1, 9), date(2019, 6, 1))], "M8[ns]")
    clear = np.ones(3)
    assert clear_summer(times, clear, "07-01") == 1 and clear_summer(times, clear) == 0


@pytest.mark.parametrize("wrong", ["02-29", "13-01", "00-10", "04-31", "7-1", "07-1", "0701", "07-01-01", "1 July", ""])
def test_what_is_no_day_of_every_year_is_refused_in_one_line(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'give month and day with two digits each, e\.g\. "07-01" for 1 July'):
        first_day(wrong)
    config = write_config(tmp_path / "mlc.toml", tmp_path, tmp_path / "out", per_year=f'6\nyear_start = "{wrong}"')
    answer = runner.invoke(cli, ["plan", str(config)])
    assert answer.exit_code == 2, answer.output
    (line,) = answer.output.strip().splitlines()
    assert line.startswith(f"error: {config}: acquisitions.year_start = {wrong!r}: not a day of every year; give month")


def test_a_source_is_asked_for_whole_years_and_a_day_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Api:
        def search(self, **query: Any) -> Any:
            asked.append(query)
            return SimpleNamespace(items=list)

    monkeypatch.setattr(catalogues, "Client", SimpleNamespace(open=lambda url, stac_io: Api()))
    for start in (CALENDAR, "07-01", "03-01"):
        for numbers in ([2019], [2020, 2022]):
            with pytest.raises(InputError, match="no L2A products found"):
                mlc.Stac(catalogue="https://stac.test/v1", bbox=(18, -34, 18.1, -33.9)).catalogue(numbers, start)
    assert [query["datetime"] for query in asked] == [
        "2018-12-31T00:00:00Z/2020-01-01T23:59:59Z", "2019-12-31T00:00:00Z/2023-01-01T23:59:59Z",
        "2018-06-30T00:00:00Z/2019-07-01T23:59:59Z", "2019-06-30T00:00:00Z/2022-07-01T23:59:59Z",
        "2018-02-28T00:00:00Z/2019-03-01T23:59:59Z", "2019-02-28T00:00:00Z/2022-03-01T23:59:59Z",
    ]  # fmt: skip


# Pairing across New Year and the leap day


class Listed:
    """A source of acquisitions that are only dates with a cloud share."""

    bands = ("B04", "B08")

    def __init__(self, sky: dict[datetime, float]) -> None:
        self.sky = sky

    def catalogue(self, years: Sequence[int] | None = None, year_start: str = CALENDAR) -> Catalogue:
        wanted = Years.of(years, year_start)
        found = (Acquisition(f"{time:%Y%m%d}", time, None, ()) for time in sorted(self.sky) if time in wanted)
        return Catalogue(GRID, tuple(found), (), year_start)

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        pass

    def weather(self, acquisition: Acquisition, grid: Grid) -> Weather:
        return Weather(self.sky[acquisition.time], 1.0)


def moved(day: date, year: int, start: str) -> int:
    """Days since the start of the year, in dates of 2021 to 2023, which have no leap day: the reference."""
    month, first = (int(part) for part in start.split("-"))
    plain = day - DAY if (day.month, day.day) == (2, 29) else day
    shifted = plain.replace(year=plain.year - year + 2022)
    begins = date(2022 if start == CALENDAR else 2021, month, first)
    return (shifted - begins).days


@st.composite
def skies(draw: st.DrawFn) -> tuple[str, list[dict[date, float]], PairingRules]:
    """A start, the dates of two or three years near New Year, the leap day or the start, and rules."""
    start = draw(st.sampled_from(["07-01", "10-01", "03-01", "02-28", "12-30", "01-02", CALENDAR]))
    count = draw(st.integers(2, 3))
    centre = draw(st.sampled_from(["12-31", "02-28", start]))
    rows = []
    for year in range(2019, 2019 + count):
        first, end = (moment.date() for moment in span(year, start))
        middle = next(first + n * DAY for n in range(366) if f"{first + n * DAY:%m-%d}" == centre)
        offsets = draw(st.lists(st.integers(-9, 9), min_size=1, max_size=6, unique=True))
        inside = [day for n in offsets if first <= (day := middle + n * DAY) < end]
        rows.append({day: draw(st.integers(0, 5)) / 10 for day in inside or [middle]})
    size = draw(st.integers(1, 3))
    return start, rows, PairingRules(size=size, max_days_apart=draw(st.sampled_from([0, 3, 6, 12])))


@settings(max_examples=120, deadline=None)
@given(skies())
def test_pairs_across_new_year_and_the_leap_day_are_those_of_enumeration(
    drawn: tuple[str, list[dict[date, float]], PairingRules],
) -> None:
    start, rows, rules = drawn
    years = list(range(2019, 2019 + len(rows)))
    reference = [
        [Candidate(moved(day, year, start), day.toordinal(), cloud, 0.0) for day, cloud in sorted(row.items())]
        for year, row in zip(years, rows, strict=True)
    ]
    source = Listed({datetime(d.year, d.month, d.day, 10): cloud for row in rows for d, cloud in row.items()})
    catalogue = source.catalogue(years, start)
    assert len(catalogue.acquisitions) == sum(map(len, rows))
    costs = [price(series, reference, rules) for series in every_series(reference, rules, rules.size)]
    if not costs:
        with pytest.raises(Unpaired, match=f"only {most(reference, rules)} of {rules.size}"):
            choose_acquisitions(source, catalogue, years=years, rules=rules)
        return
    selection = choose_acquisitions(source, catalogue, years=years, rules=rules)
    assert selection.cost == pytest.approx(min(costs), abs=1e-9) and selection.year_start == start
    chosen = [[s.acquisition.time.date() for s in selection.chosen[year]] for year in years]
    assert all(set(own) <= set(row) for own, row in zip(chosen, rows, strict=True))
    spreads = [
        max(own) - min(own)
        for pairs in zip(*chosen, strict=True)
        for own in [[moved(day, year, start) for day, year in zip(pairs, years, strict=True)]]
    ]
    assert max(spreads) <= rules.max_days_apart


def test_28_december_and_3_january_are_near_where_a_year_holds_both() -> None:
    days = {datetime(2018, 12, 28, 10): 0.0, datetime(2020, 1, 3, 10): 0.0}
    rules = PairingRules(size=1, max_days_apart=6)
    selection = choose_acquisitions(Listed(days), Listed(days).catalogue([2019, 2020], "07-01"), rules=rules)
    assert [s.acquisition.id for row in selection.chosen.values() for s in row] == ["20181228", "20200103"]
    with pytest.raises(Infeasible):  # in calendar years they are 359 days apart
        pair([[Candidate(season_day(12, 28), 0, 0, 0)], [Candidate(season_day(1, 3), 0, 0, 0)]], rules)


# Messages, notebooks, files and fingerprints


def test_a_year_without_enough_images_is_told_with_its_ends(pristine: Path, tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "mlc.toml", pristine, tmp_path / "out", per_year='6\nyear_start = "07-01"\nyears = [2018, 2019]'
    )
    with pytest.raises(InputError, match=r"^2018 \(2017-07-01 … 2018-06-30\) has \d acquisitions, but acquisitions"):
        mlc.run(config, scheduler="current")
    answer = runner.invoke(cli, ["plan", str(config)])
    assert answer.exit_code == 2 and "too few acquisitions in 2018 (2017-07-01 … 2018-06-30)" in answer.output
    assert "2019 from 2018-07-01" in answer.output


def test_a_notebook_takes_the_years_of_its_catalogue_and_refuses_others() -> None:
    source = Listed({datetime(2018, 12, 28, 10): 0.0, datetime(2020, 1, 3, 10): 0.0})
    rules = PairingRules(size=1)
    catalogue = source.catalogue([2019, 2020], "07-01")
    with pytest.raises(InputError, match=r"start on 07-01; list it with source.catalogue\(years, year_start='10-01'\)"):
        mlc.choose_acquisitions(source, catalogue, rules=rules, year_start="10-01")
    with pytest.raises(InputError, match="start on 07-01"):
        mlc.choose_acquisitions(source, catalogue, rules=rules, year_start=CALENDAR)
    with pytest.raises(InputError, match="not a day of every year"):
        mlc.choose_acquisitions(source, rules=rules, year_start="7-1")


def test_files_of_versions_without_this_setting_hold_calendar_years() -> None:
    one = Surveyed(Acquisition("a", datetime(2019, 1, 3), None, ()), Weather(0.0, 1.0))
    old = b'{"chosen":{"2019":[%s]},"rejected":{"2019":[]},"cost":1.0,"left_out":[]}'
    selection = SELECTION.validate_json(old % _json(one))
    assert selection.year_start == CALENDAR and SELECTION.validate_json(SELECTION.dump_json(selection)) == selection
    later = Catalogue(GRID, (), (), "07-01")
    assert CATALOGUE.validate_json(CATALOGUE.dump_json(later)) == later


def _json(one: Surveyed) -> bytes:
    from pydantic import TypeAdapter

    return TypeAdapter(Surveyed).dump_json(one)


def test_only_another_start_changes_fingerprints(pristine: Path, tmp_path: Path) -> None:
    def prints(name: str, start: str) -> dict[str, str]:
        config = write_config(tmp_path / name, pristine, tmp_path / "out", per_year=f"3{start}")
        return {event.step: event.artifact.fingerprint for event in dry_run(load_config(config))}

    plain, stated, other = (prints(f"{i}.toml", s) for i, s in enumerate(
        ("", '\nyear_start = "01-01"', '\nyear_start = "07-01"')
    ))  # fmt: skip
    assert plain == stated and plain.keys() == other.keys()
    assert {step for step in plain if plain[step] == other[step]} == {"legend"}, "names know no dates"


def test_a_plan_in_the_south_says_that_calendar_years_cut_the_summer(tmp_path: Path) -> None:
    from mlc_dask.pipeline.plan import _southern

    (note,) = _southern(GRID, CALENDAR)
    assert note.startswith("the area lies at 34° south") and 'acquisitions.year_start = "07-01"' in note
    assert not _southern(GRID, "07-01")
    assert not _southern(Grid("EPSG:32632", 640_000, 5_140_000, 10, 64, 64), CALENDAR)
    assert not _southern(Grid("EPSG:32723", 300_000, 8_000_000, 10, 64, 64), CALENDAR)  # 18° south: tropics


@pytest.mark.parametrize(
    ("start", "year"), [("01-01", 2021), ("03-01", 2022), ("06-30", 2022), ("07-01", 2021), ("10-01", 2021)]
)
def test_an_old_map_belongs_to_the_year_that_has_most_of_its_own(start: str, year: int) -> None:
    assert old_map.year_of("WorldCover_10m_2021_v200.tif", start) == year
    first, end = span(year, start)
    shared = min(end, datetime(2022, 1, 1)) - max(first, datetime(2021, 1, 1))
    assert shared >= timedelta(days=181)
