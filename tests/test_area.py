"""From granules to one grid and to acquisitions: tiles, boxes, zones, datastrips and makings."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import dask
import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from mlc_dask.data.acquisitions import Acquisition, Asset, Catalogue, Granule, Weather
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.settings import validated
from mlc_dask.data.years import CALENDAR, Years
from mlc_dask.io.rasters import Method
from mlc_dask.io.sources.area import AreaSource
from mlc_dask.io.sources.granules import Raw
from mlc_dask.io.sources.overpasses import overpasses
from mlc_dask.kernels.pairing.rules import HOPELESS, TWIN, PairingRules
from mlc_dask.stages.choice import choose_acquisitions

START = datetime(2020, 5, 1, 10, 10, 31)


def grid(zone: int = 32, left: float = 600_000, top: float = 5_200_020, size: int = 10_980) -> Grid:
    return Grid(CRS.from_epsg(32600 + zone).to_wkt(), left, top, 10, size, size)


def granule(name: str = "a", **changed: Any) -> Granule:
    plain = Granule(
        name, START, {"B02": Asset(name)}, "S2A", 22, "32TPS", "05.10", "20200501T101030", "2020-05-02", grid=grid()
    )
    return replace(plain, **changed)


class Memory(AreaSource):
    """Granules whose one band is a constant within their grid."""

    bands: tuple[str, ...] = ("B02",)
    mask: None = None

    def raw(self, granule: Granule, name: str, grid: Grid, method: Method) -> Raw:
        assert granule.grid is not None
        steps = granule.grid.steps_to(grid)
        found = np.zeros(grid.shape, np.uint16)
        if steps is not None:
            _, row, column = steps
            rows, columns = (
                slice(max(0, s), max(0, s + n)) for s, n in zip((row, column), granule.grid.shape, strict=True)
            )
            found[rows, columns] = int(granule.assets[name].href)
        return Raw(found, 0)


def catalogue(granules: list[Granule], years: list[int] | None = None, **settings: Any) -> Any:
    return Memory(**settings)._catalogue(granules, Years.of(years, CALENDAR), "the archive")


def test_a_tile_is_its_own_lattice() -> None:
    other = granule("b", tile="33TUM", grid=grid(33, 300_000))
    found = catalogue([granule(), other], tile="T32TPS")
    assert found.grid == grid() and [a.granules[0].id for a in found.acquisitions] == ["a"]
    with pytest.raises(
        InputError, match=r"the archive: no product of tile 31UDS; the products are of 32TPS, 33TUM; set"
    ):
        catalogue([granule(), other], tile="31UDS")
    with pytest.raises(InputError, match=r"products of several tiles \(32TPS, 33TUM\); set source.tile or source.bbox"):
        catalogue([granule(), other])


def test_a_box_is_covered_in_step_with_all_bands() -> None:
    box = (11.25, 46.45, 11.45, 46.55)
    found = catalogue([granule()], bbox=box).grid
    left, bottom, right, top = transform_bounds("EPSG:4326", found.crs, *box, densify_pts=41)
    west, south, east, north = found.bounds
    assert west <= left < west + 60 and east - 60 < right <= east
    assert south <= bottom < south + 60 and north - 60 < top <= north
    assert (west - 600_000) % 60 == 0 and (5_200_020 - north) % 60 == 0
    coarse = catalogue([granule()], bbox=box, resolution=100).grid
    assert coarse.pixel == 100 and coarse.bounds[2] >= right and coarse.bounds[1] <= bottom


def test_products_outside_the_box_are_left_out() -> None:
    far = granule("far", grid=grid(top=4_900_020), tile="32TPP", strip="x")
    found = catalogue([granule(), far], bbox=(11.25, 46.45, 11.45, 46.55))
    assert [g.id for a in found.acquisitions for g in a.granules] == ["a"]


def test_the_zone_of_most_products_unless_told() -> None:
    east = granule("e", tile="33TUM", grid=grid(33, 199_980), strip="y")
    box = (11.9, 46.6, 12.1, 46.7)
    assert catalogue([granule(), granule("b"), east], bbox=box).grid.crs_name == "EPSG:32632"
    assert catalogue([granule(), granule("b"), east], bbox=box, crs="EPSG:32633").grid.crs_name == "EPSG:32633"
    with pytest.raises(InputError, match=r"no product in EPSG:32631; the products are in EPSG:32632, EPSG:32633"):
        catalogue([granule(), east], bbox=box, crs="EPSG:32631")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": "Bolzano"}, "source: tile = 'Bolzano': not an MGRS tile; expected e.g. T32TPS"),
        ({"bbox": [46.4, 11.2, 46.5, 11.1]}, "expected west, south, east, north in degrees"),
        ({"bbox": [600000, 5100000, 610000, 5110000]}, "expected west, south, east, north in degrees"),
        ({"crs": "EPSG:4326"}, "not a projected CRS"),
        ({"crs": "UTM 32"}, "unknown CRS; expected e.g. EPSG:32632"),
        ({"bands": ["B02", "B02"]}, "B02 occurs twice"),
    ],
)
def test_bad_areas(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        validated(AreaSource, settings, "source")


def test_years_are_those_asked_for() -> None:
    rows = [granule(str(y), time=START.replace(year=y), strip=str(y)) for y in (2018, 2019, 2020)]
    assert [a.time.year for a in catalogue(rows, [2018, 2020]).acquisitions] == [2018, 2020]


def test_the_highest_baseline_of_a_datastrip_is_kept() -> None:
    old, new = granule("old", baseline="02.14"), granule("new", baseline="05.10")
    newest = granule("newest", baseline="05.10", processed="2024-01-01")
    assert [[g.id for g in a.granules] for a in overpasses([new, old])] == [["new"]]
    assert [[g.id for g in a.granules] for a in overpasses([newest, old, new])] == [["newest"]]
    ten = granule("ten", baseline="10.00")
    assert overpasses([ten, new])[0].granules == (ten,), "baselines are numbers, not text"


def test_datastrips_and_tiles_of_an_overpass_are_one_acquisition() -> None:
    south = granule("south", time=START + timedelta(seconds=25), strip="20200501T101055")
    neighbour = granule("neighbour", tile="32TQS", time=START + timedelta(seconds=4))
    (one,) = overpasses([south, granule(), neighbour])
    assert len(one.granules) == 3 and one.time == START and one.id == "20200501T101031_S2A_R022"


def test_other_overpasses_stay_apart() -> None:
    later = granule("b", time=START + timedelta(days=3), platform="S2B", strip="z", orbit=65)
    next_orbit = granule("c", time=START + timedelta(minutes=100), strip="w")
    assert len(overpasses([granule(), later, next_orbit])) == 3


@pytest.mark.parametrize("strip", ["", "20200501T101055"], ids=["no datastrip", "one datastrip"])
def test_a_name_or_a_datastrip_that_a_catalogue_repeats_hides_no_date(strip: str) -> None:
    rows = [granule("same", time=START + timedelta(days=d), strip=strip) for d in (0, 5, 10)]
    assert [a.time.day for a in overpasses(rows)] == [1, 6, 11]
    assert len(overpasses([rows[0], rows[0]])[0].granules) == 1, "an item that is listed twice counts once"


def test_an_orbit_that_only_one_half_tells_is_that_of_both() -> None:
    """And of two makings of one datastrip one counts, though only one of them tells the orbit."""
    south = granule("south", time=START + timedelta(seconds=25), strip="20200501T101055", orbit=None)
    (one,) = overpasses([granule(), south, granule("old", orbit=None, baseline="02.14")])
    assert [g.id for g in one.granules] == ["a", "south"] and one.orbit == 22


def test_an_overpass_at_the_turn_of_the_year_stays_whole() -> None:
    last = datetime(2019, 12, 31, 23, 59, 50)
    north = granule(time=last, strip="x")
    south = granule("south", time=last + timedelta(seconds=25), strip="y")
    (one,) = catalogue([north, south], [2019]).acquisitions
    assert len(one.granules) == 2 and one.time == last
    assert not catalogue([north, south], [2020]).acquisitions


def test_what_may_be_half_a_datastrip_is_not_dropped() -> None:
    """Where nothing tells datastrips apart, two products of one tile and time may be its two halves."""
    a, b = (granule(name, strip="") for name in "ab")
    assert len(overpasses([a, b])[0].granules) == 2


def test_granules_are_laid_over_each_other() -> None:
    west = granule("w", assets={"B02": Asset("500")}, grid=grid(size=60), baseline="02.14")
    top = granule("t", assets={"B02": Asset("900")}, grid=grid(left=600_300, size=60), strip="s")
    source = Memory(bbox=(9, 45, 12, 48))
    (one,) = overpasses([west, top])
    whole = grid(size=90)
    dn, usable = source.read(one, whole, slice(0, 90), slice(0, 90))
    assert (dn[0, :60, 30:] == 1900).all(), "the higher baseline counts first"
    assert (dn[0, :60, :30] == 1500).all() and (dn[0, 60:] == 0).all()
    assert usable[:60].all() and not usable[60:].any()
    weather = source.weather(one, whole)
    assert weather.cloud == 0 and weather.valid == pytest.approx(60 / 90)


def test_metadata_cloud_is_weighted_by_what_has_data() -> None:
    half = granule("half", cloud=0.9, missing=0.75, strip="s", tile="32TQS")
    full = granule("full", cloud=0.1, missing=0.0)
    (one,) = overpasses([half, full])
    assert one.cloud == pytest.approx((0.9 * 0.25 + 0.1) / 1.25)
    assert overpasses([granule()])[0].cloud is None


def test_metadata_decides_before_any_mask_is_read() -> None:
    """An acquisition that its metadata rules out is not surveyed, is reported, and is never chosen."""

    class Watched(Memory):
        def weather(self, acquisition: Acquisition, grid: Grid) -> Weather:
            assert acquisition.time.month != 7, "it was looked at"
            return Weather(0.1, 1.0)

    rows = [
        granule(f"{y}{m}", time=START.replace(year=y, month=m), strip=f"{y}{m}", cloud=0.95 if m == 7 else 0.2)
        for y in (2018, 2019)
        for m in (3, 5, 7)
    ]
    source = Watched(bbox=(11.25, 46.45, 11.26, 46.46))
    found = source._catalogue(rows, Years(), "the archive")
    with dask.config.set(scheduler="synchronous"):
        chosen = choose_acquisitions(source, found, rules=PairingRules(size=2), max_tile_cloud=0.9)
    assert [[s.acquisition.time.month for s in row] for row in chosen.chosen.values()] == [[3, 5], [3, 5]]
    for row in chosen.rejected.values():
        assert [(s.acquisition.time.month, s.reason, s.weather.cloud) for s in row] == [
            (7, "cloud over limit in the metadata", 0.95)
        ]


def test_of_acquisitions_of_one_time_the_clear_one_is_used_where_the_other_is_over_the_limit() -> None:
    """Only what may be used hides another: a twin that is cloudy by its metadata, or left out by hand, does not."""
    rows = [
        Acquisition(f"{year}{month}{name}", START.replace(year=year, month=month), 22, (one,))
        for year in (2018, 2019)
        for month in (3, 5)
        for name, cloud in (("a", 0.95 if month == 5 else 0.1), ("b", 0.2))
        for one in (granule(name, cloud=cloud),)
    ]
    found = Catalogue(grid(size=60), tuple(rows))
    choose = partial(choose_acquisitions, Sunny(), found, rules=PairingRules(size=2), max_tile_cloud=0.9)
    with dask.config.set(scheduler="synchronous"):
        plain, by_hand = choose(), choose(leave_out=["20183a", "20193a"])
    assert [[s.acquisition.id[-2:] for s in row] for row in plain.chosen.values()] == [["3a", "5b"]] * 2
    assert [[s.acquisition.id[-2:] for s in row] for row in by_hand.chosen.values()] == [["3b", "5b"]] * 2
    reasons = {s.acquisition.id: s.reason for row in plain.rejected.values() for s in row}
    assert reasons["20185a"] == HOPELESS and reasons["20183b"] == TWIN


class Sunny(Memory):
    """Acquisitions without clouds."""

    def weather(self, acquisition: Acquisition, grid: Grid) -> Weather:
        return Weather(0.1, 1.0)


def test_a_box_that_no_product_covers_is_told_of() -> None:
    with pytest.raises(
        InputError, match=r"no product covers source\.bbox = \(7.0, 46.0, .*\); the products are of 32TPS"
    ):
        catalogue([granule()], bbox=(7.0, 46.0, 7.2, 46.2))


class Watched(Memory):
    """Notes whose weather is asked for."""

    asked: ClassVar[list[str]] = []

    def weather(self, acquisition: Acquisition, grid: Grid) -> Weather:
        self.asked.append(acquisition.id)
        if len(self.asked) == 3:
            raise ConnectionError("the network is down")
        return Weather(0.1, 1.0)


def test_an_interrupted_survey_is_not_begun_again(tmp_path: Path) -> None:
    rows = [granule(str(i), time=START + timedelta(days=5 * i), strip=str(i)) for i in range(6)]
    source, Watched.asked[:] = Watched(), []
    found = source._catalogue(rows, Years(), "the archive")
    choose = partial(choose_acquisitions, source, found, rules=PairingRules(size=3), scratch=tmp_path)
    with dask.config.set(scheduler="synchronous"):
        with pytest.raises(ConnectionError):
            choose()
        chosen = choose()
    assert len(chosen.chosen[2020]) == 3 and len(Watched.asked) == 6 + 1
    assert {p.suffix for p in tmp_path.iterdir()} == {".json"}


def test_what_metadata_left_out_is_told_where_too_few_remain() -> None:
    rows = [
        granule(str(i), time=START + timedelta(days=5 * i), strip=str(i), cloud=0.9 * (i > 2), grid=grid(size=60))
        for i in range(1, 7)
    ]
    rows = [replace(row, assets={"B02": Asset(row.id)}) for row in rows]
    source = Memory()
    found = source._catalogue(rows, Years(), "the archive")
    left_out = r"only 2 of 3 .*; also, acquisitions.max_tile_cloud = 0.8 excluded 4 of 6 in 2020; raise it$"
    with dask.config.set(scheduler="synchronous"), pytest.raises(InputError, match=left_out):
        choose_acquisitions(source, found, rules=PairingRules(size=3), max_tile_cloud=0.8)
