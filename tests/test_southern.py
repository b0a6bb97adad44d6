"""A southern season end to end: run, report, export, viewer, notebook; and the same pictures half a year earlier."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import xarray as xr
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app as cli
from mlc_dask.data.years import span
from mlc_dask.io.published import open_maps
from mlc_dask.runs.artifacts import read_current
from mlc_dask.show.notebook.cube import cube_card
from mlc_dask.show.notebook.maps import maps_card
from mlc_dask.stages.drawing import days_of
from mlc_dask.worlds import World, write_world
from tests.runs import run_all, write_config

START = "07-01"
YEARS = (2019, 2020)  # 2020 holds 29 February 2020
BEFORE = {2018: timedelta(days=184), 2019: timedelta(days=184)}
"""From 1 January to 1 July of the year before: no leap day lies in these four years."""

runner = CliRunner()


def made(folder: Path, world: Path, start: str, **settings: object) -> Path:
    config = write_config(
        folder / "mlc.toml", world, folder / "valley", per_year=f'6\nyear_start = "{start}"', **settings
    )
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(config)
    return folder / "valley"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a world of the south, ``world``, and a finished run of it, ``valley``."""
    folder = tmp_path_factory.mktemp("south")
    write_world(folder / "world", World(size=96, years=YEARS, year_start=START, seed=1, acquisitions_per_year=12))
    made(folder, folder / "world", START)
    return folder


@pytest.fixture(scope="module")
def maps(place: Path) -> xr.Dataset:
    return mlc.open_maps(place / "valley").load()


def cube_of(output: Path) -> xr.Dataset:
    return mlc.open_cube(read_current(output)["cube"].folder)


def test_the_same_pictures_half_a_year_earlier_give_the_same_maps(pristine: Path, tmp_path: Path) -> None:
    """A southern season is a northern year moved by half a year: not one bit of maps and tables may differ."""
    south = shutil.copytree(pristine, tmp_path / "south" / "world")
    (tmp_path / "north").mkdir()
    for folder in sorted((south / "acquisitions").iterdir()):
        time, _, rest = folder.name.partition("_")
        moved = datetime.strptime(time, "%Y%m%dT%H%M%S") - BEFORE[int(time[:4])]
        folder.rename(folder.with_name(f"{moved:%Y%m%dT%H%M%S}_{rest}"))
    one, other = made(tmp_path / "north", pristine, "01-01"), made(tmp_path / "south", south, START)
    calendar, season = open_maps(one).load(), open_maps(other).load()
    assert list(calendar.data_vars) == list(season.data_vars) and len(season.data_vars) > 8
    for name in calendar.data_vars:
        np.testing.assert_array_equal(calendar[name].values, season[name].values)
    for table in ("agreement.csv", "summary.csv"):
        assert (one / "evaluation" / table).read_bytes() == (other / "evaluation" / table).read_bytes()
    for year in BEFORE:
        np.testing.assert_array_equal(days_of(cube_of(one), year), days_of(cube_of(other), year))


def test_every_date_lies_in_its_year_and_pairs_are_near(place: Path) -> None:
    cube = cube_of(place / "valley")
    assert cube.year.values.tolist() == list(YEARS) and cube.year.attrs == {"year_start": START}
    for year in YEARS:
        first, end = (np.datetime64(moment) for moment in span(year, START))
        times = cube.time.sel(year=year).values
        assert (first <= times).all() and (times < end).all() and (np.diff(times) > np.timedelta64(0)).all()
        assert {str(t)[:4] for t in times} == {str(year - 1), str(year)}
        days = days_of(cube, year)
        np.testing.assert_allclose(days, (times - first) / np.timedelta64(1, "D"))
        assert days.min() > 0 and days.max() < 366 and (np.diff(days) > 0).all()
    # The leap day lies in the second year, so dates after it differ by one day more than in the season.
    apart = np.abs(days_of(cube, 2020) - days_of(cube, 2019))
    assert apart.max() <= 6 + 2


def test_the_maps_are_as_good_as_in_the_north(place: Path, tmp_path: Path) -> None:
    """The truth and the seasons are those of the northern world; only clouds and noise are drawn anew."""
    world = tmp_path / "world"
    write_world(world, World(size=96, years=YEARS, seed=1, acquisitions_per_year=12))
    for year in YEARS:
        assert (world / f"truth/{year}.tif").read_bytes() == (place / f"world/truth/{year}.tif").read_bytes()
    north = made(tmp_path, world, "01-01")
    accuracy = {}
    for output in (north, place / "valley"):
        rows = pd.read_csv(output / "evaluation/summary.csv")
        one = rows[(rows.metric == "accuracy") & (rows.scope == "overall") & (rows.model == "multi_year")]
        accuracy[output] = one.set_index("filtered").value[True]
    assert accuracy[place / "valley"] > accuracy[north] - 0.15


def test_maps_and_report_say_what_the_years_are(place: Path, maps: xr.Dataset) -> None:
    assert maps.year.attrs["year_start"] == START
    assert maps.multi_year_filtered.year.attrs["year_start"] == START
    report = (place / "valley/report.html").read_text(encoding="utf-8")
    assert "2019 (2018-07-01 … 2019-06-30), 2020 (2019-07-01 … 2020-06-30)" in report
    card = cube_card(cube_of(place / "valley"))
    assert "2019 (2018-07-01 … 2019-06-30)" in card and "2019 (2018-07-01 … 2019-06-30)" in maps_card(maps)
    letters = [part.partition("<")[0] for part in card.split("text-anchor='middle'>")[1:]]
    assert "".join(letters) == "JASONDJFMAMJ"


def test_plan_lists_the_years_with_their_ends(place: Path) -> None:
    answer = runner.invoke(cli, ["plan", str(place / "mlc.toml")])
    assert answer.exit_code == 0, answer.output
    lines = answer.output.splitlines()
    ruler = next(line for line in lines if "Jul" in line or line.split()[:2] == ["J", "A"])
    assert "".join(name[0] for name in ruler.split()) == "JASONDJFMAMJ"
    assert any(line.startswith("2020 from 2019-07-01") for line in lines)
    assert any("2020 (2019-07-01 … 2020-06-30)" in line for line in lines)
    assert "compute" not in answer.output  # every step is reused


def test_the_export_is_valid_stac_with_the_ends_of_the_years(place: Path, maps: xr.Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    collection = pystac.Collection.from_file(str(mlc.export_maps(place / "valley", folder)))
    assert collection.to_dict()["extent"]["temporal"]["interval"] == [["2018-07-01T00:00:00Z", "2020-06-30T23:59:59Z"]]
    (one, two) = collection.get_items()
    assert one.properties["start_datetime"] == "2018-07-01T00:00:00Z"
    assert one.properties["end_datetime"] == "2019-06-30T23:59:59Z"
    assert two.id == "valley-2020" and two.properties["title"] == "valley, 2020 (2019-07-01 … 2020-06-30)"
    assert two.properties["start_datetime"] == "2019-07-01T00:00:00Z"
    with rasterio.open(folder / "2020/multi_year_filtered_2020.tif") as file:
        np.testing.assert_array_equal(file.read(1), maps.multi_year_filtered.sel(year=2020).values)
        assert file.descriptions[0].endswith(", 2020 (2019-07-01 … 2020-06-30)")
    zarr = xr.open_zarr(folder / "maps.zarr", group="0", consolidated=False)
    assert zarr.year.values.tolist() == list(YEARS) and zarr.year.attrs["year_start"] == START
    assert zarr.year.attrs["long_name"] == "year from 07-01, named for the calendar year in which it ends"


def test_the_viewer_draws_the_years_between_their_ends(place: Path, maps: xr.Dataset) -> None:
    pytest.importorskip("fastapi", reason="the extra `view` is not installed")
    pytest.importorskip("httpx", reason="starlette's test client needs httpx")
    from fastapi.testclient import TestClient
    from rasterio.warp import transform

    from mlc_dask.show.viewer.app import make_app
    from mlc_dask.show.viewer.places import open_places

    client = TestClient(make_app(open_places(place / "valley")), base_url="http://127.0.0.1:8790")
    described = client.get("/api/places/valley").json()
    assert described["years"] == list(YEARS)
    assert described["spans"] == [
        {"first": "2018-07-01", "end": "2019-07-01", "label": "2019 (2018-07-01 … 2019-06-30)"},
        {"first": "2019-07-01", "end": "2020-07-01", "label": "2020 (2019-07-01 … 2020-06-30)"},
    ]
    (lon,), (lat,) = transform(maps.rio.crs, "EPSG:4326", [float(maps.x[40])], [float(maps.y[40])])
    pixel = client.get("/api/places/valley/pixel", params={"lon": lon, "lat": lat}).json()
    assert len(pixel["ndvi"]) == 12
    for row in pixel["ndvi"]:
        own = described["spans"][described["years"].index(row["year"])]
        assert own["first"] <= row["date"] < own["end"]


def test_a_notebook_chooses_what_the_run_chose(place: Path) -> None:
    source = mlc.GeoTiff(folder=place / "world/acquisitions")
    rules = mlc.PairingRules(size=6)
    selection = mlc.choose_acquisitions(source, years=YEARS, rules=rules, max_tile_cloud=0.9, year_start=START)
    again = mlc.choose_acquisitions(source, source.catalogue(YEARS, START), rules=rules, max_tile_cloud=0.9)
    ids = {year: [s.acquisition.id for s in row] for year, row in selection.chosen.items()}
    assert ids == {year: [s.acquisition.id for s in row] for year, row in again.chosen.items()}
    stacked = mlc.stack(source, selection, grid=source.catalogue().grid, chunk=96)
    shared = [name for name in stacked.variables if name != "acquisition"]
    xr.testing.assert_equal(stacked[shared].load(), cube_of(place / "valley")[shared].load())
    assert stacked.year.attrs == {"year_start": START} and list(ids) == list(YEARS)
