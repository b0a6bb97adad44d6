"""One contract for every source: the same world read through any of them is the same cube, byte for byte."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlc_dask.data.acquisitions import CATALOGUE, Catalogue, Source
from mlc_dask.data.errors import InputError
from mlc_dask.data.years import span
from mlc_dask.io.remote import FetchError
from mlc_dask.io.sources import SOURCES
from mlc_dask.storage.durable import canonical
from mlc_dask.worlds import World
from mlc_dask.worlds.formats import FORMATS
from mlc_dask.worlds.formats.stac import write_catalogue
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.scenes import Scene, scenes, split
from mlc_dask.worlds.spectra import Ground
from tests.cubes import Array

WORLD = World(size=96, years=(2018, 2019), seed=3, acquisitions_per_year=4)


@dataclass(frozen=True)
class Case:
    """A source and the format that it reads; `exact` where the format keeps the mask as it is."""

    kind: str
    format: str
    options: dict[str, Any] = field(default_factory=dict)
    exact: bool = True

    @property
    def name(self) -> str:
        return "-".join([self.kind, *map(str, self.options.values())])

    def source(self, folder: Path) -> Source:
        if self.kind == "stac":
            return SOURCES[self.kind](catalogue=str(folder / "catalog.json"))
        return SOURCES[self.kind](folder=folder)

    def write(self, folder: Path, rows: list[tuple[Scene, str]]) -> Path:
        written = [FORMATS[self.format](folder, scene, baseline=b, **self.options) for scene, b in rows]
        if self.format == "stac":
            write_catalogue(folder, written)
        return folder


CASES = [
    Case("geotiff", "geotiff"),
    Case("stac", "stac", {"flavour": "earth-search"}),
    Case("stac", "stac", {"flavour": "planetary-computer"}),
    Case("stac", "stac", {"flavour": "cdse"}),
    Case("safe", "safe"),
    Case("safe", "safe", {"zipped": True}),
    Case("eopf", "eopf"),
    Case("theia", "theia", exact=False),
]
PRODUCTS = [c for c in CASES if c.kind != "geotiff"]
each = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
each_product = pytest.mark.parametrize("case", PRODUCTS, ids=lambda c: c.name)


@pytest.fixture(scope="module")
def rendered() -> list[Scene]:
    ground = Ground(WORLD, make_landscape(WORLD))
    return [scene for year in range(len(WORLD.years)) for scene in scenes(WORLD, year, ground)]


def mixed(rows: list[Scene]) -> list[tuple[Scene, str]]:
    """Baselines before and after 04.00 in turn, within every year."""
    return [(scene, "02.14" if i % 2 else "05.10") for i, scene in enumerate(rows)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, rendered: list[Scene]) -> Callable[[Case], Path]:
    made: dict[str, Path] = {}

    def folder_of(case: Case) -> Path:
        if case.name not in made:
            # The layout of GeoTIFFs is one setting for all of them, so one offset as well.
            rows = [(s, "02.14") for s in rendered] if case.kind == "geotiff" else mixed(rendered)
            made[case.name] = case.write(tmp_path_factory.mktemp(case.name), rows)
        return made[case.name]

    return folder_of


def read(source: Source, catalogue: Catalogue) -> tuple[Array, Array]:
    grid = catalogue.grid
    planes = [source.read(a, grid, slice(0, grid.height), slice(0, grid.width)) for a in catalogue.acquisitions]
    return np.stack([dn for dn, _ in planes]), np.stack([usable for _, usable in planes])


def expected(rows: list[Scene]) -> tuple[Array, Array]:
    """What the scenes hold, in the cube's convention, without any source."""
    bands = SOURCES["geotiff"].model_fields["bands"].default
    dn = np.stack([np.stack([_fine(scene.dn[b], scene.scl) for b in bands]) for scene in rows])
    usable = np.stack([~np.isin(scene.scl.repeat(2, 0).repeat(2, 1), (0, 1, 3, 8, 9)) for scene in rows])
    return np.where(dn > 0, dn + 1000, 0).astype(np.uint16), usable & (dn > 0).all(axis=1)


def _fine(values: Array, scl: Array) -> Array:
    factor = 2 * scl.shape[0] // values.shape[0]
    return values.repeat(factor, 0).repeat(factor, 1).astype(np.int64)


@each
def test_every_source_gives_the_same_cube(case: Case, written: Callable[[Case], Path], rendered: list[Scene]) -> None:
    source = case.source(written(case))
    catalogue = source.catalogue()
    assert catalogue.grid.shape == (96, 96) and catalogue.grid.label.endswith("EPSG:32632")
    found = [(a.time.date(), a.orbit) for a in catalogue.acquisitions]
    assert found == [(s.overpass.time.date(), s.overpass.orbit) for s in rendered]
    dn, usable = read(source, catalogue)
    wanted_dn, wanted_usable = expected(rendered)
    np.testing.assert_array_equal(dn, wanted_dn)
    if case.exact:
        np.testing.assert_array_equal(usable, wanted_usable)
    else:
        assert not (usable & (wanted_dn == 0).any(axis=1)).any() and usable.mean() > 0.3


@pytest.mark.parametrize("method", ["bilinear", "cubic", "average"])
@each
def test_on_their_own_lattice_bands_are_never_resampled(
    case: Case, method: str, written: Callable[[Case], Path], rendered: list[Scene]
) -> None:
    source = case.source(written(case)).model_copy(update={"resampling": method})
    np.testing.assert_array_equal(read(source, source.catalogue())[0], expected(rendered)[0])


@each
def test_catalogues_are_plain_data(case: Case, written: Callable[[Case], Path]) -> None:
    source = case.source(written(case))
    catalogue = source.catalogue([2019])
    assert {a.time.year for a in catalogue.acquisitions} == {2019}
    assert [a.time for a in catalogue.acquisitions] == sorted(a.time for a in catalogue.acquisitions)
    assert CATALOGUE.validate_json(CATALOGUE.dump_json(catalogue)) == catalogue
    again = pickle.loads(pickle.dumps(source))
    assert again == source and again.catalogue([2019]) == catalogue
    assert canonical(source.provenance())
    for acquisition in catalogue.acquisitions:
        source.check(acquisition, catalogue.grid)


@each
@pytest.mark.parametrize("start", ["07-01", "03-01", "10-01"])
def test_every_source_finds_the_years_that_cross_new_year(
    case: Case, start: str, written: Callable[[Case], Path], rendered: list[Scene]
) -> None:
    source, dates = case.source(written(case)), [s.overpass.time for s in rendered]
    for years in ([2018], [2019], [2018, 2019], [2020]):
        first, end = span(years[0], start)[0], span(years[-1], start)[1]
        own = [time.date() for time in dates if first <= time < end]
        found = source.catalogue(years, start)
        assert [a.time.date() for a in found.acquisitions] == own and found.year_start == start


@each
def test_products_may_move(case: Case, written: Callable[[Case], Path], tmp_path: Path) -> None:
    """What decides the pixels is the same after a move; of STAC files the places are part of the metadata."""
    if case.kind == "stac":
        pytest.skip("a catalogue's assets stand where it says")
    before, folder = case.source(written(case)), tmp_path / "elsewhere"
    catalogue = before.catalogue()
    shutil.copytree(written(case), folder)
    after = case.source(folder)
    assert after.catalogue() == catalogue and after.provenance() == before.provenance()
    np.testing.assert_array_equal(read(after, catalogue)[0], read(before, catalogue)[0])


@each
def test_files_are_known(case: Case, written: Callable[[Case], Path]) -> None:
    files = case.source(written(case)).files()
    assert files and all(Path(f).is_file() for f in files)


@each
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_window_is_a_part_of_the_whole(case: Case, written: Callable[[Case], Path], data: st.DataObject) -> None:
    source = case.source(written(case))
    catalogue = source.catalogue()
    one = catalogue.acquisitions[data.draw(st.integers(0, len(catalogue.acquisitions) - 1), "acquisition")]
    edges = st.lists(st.integers(0, 96), min_size=2, max_size=2, unique=True).map(sorted)
    rows, columns = (slice(*data.draw(edges, name)) for name in ("rows", "columns"))
    whole = source.read(one, catalogue.grid, slice(0, 96), slice(0, 96))
    part = source.read(one, catalogue.grid, rows, columns)
    np.testing.assert_array_equal(part[0], whole[0][:, rows, columns])
    np.testing.assert_array_equal(part[1], whole[1][rows, columns])


@each
def test_weather_is_that_of_the_mask(case: Case, written: Callable[[Case], Path], rendered: list[Scene]) -> None:
    source = case.source(written(case))
    catalogue = source.catalogue()
    for acquisition, scene in zip(catalogue.acquisitions, rendered, strict=True):
        weather, valid = source.weather(acquisition, catalogue.grid), scene.scl != 0
        if case.exact:
            assert weather.valid == pytest.approx(valid.mean())
            assert weather.cloud == pytest.approx(np.isin(scene.scl, (8, 9, 10)).sum() / valid.sum())
        else:
            assert 0 <= weather.cloud <= 1 and weather.valid == pytest.approx(valid.mean(), abs=0.02)


@each_product
def test_datastrips_of_one_overpass_are_mosaicked(case: Case, rendered: list[Scene], tmp_path: Path) -> None:
    whole = rendered[1]
    case.write(tmp_path, [(part, "05.10") for part in split(whole)])
    source = case.source(tmp_path)
    catalogue = source.catalogue()
    assert len(catalogue.acquisitions) == 1 and len(catalogue.acquisitions[0].granules) == 2
    np.testing.assert_array_equal(read(source, catalogue)[0], expected([whole])[0])


@each_product
def test_of_two_makings_the_highest_baseline_counts(case: Case, rendered: list[Scene], tmp_path: Path) -> None:
    if case.kind == "theia":
        pytest.skip("MAJA products carry no ESA processing baseline")
    newer = rendered[1]
    older = replace(newer, dn={band: values // 2 + 1 for band, values in newer.dn.items()})
    case.write(tmp_path, [(older, "02.14"), (newer, "05.10")])
    source = case.source(tmp_path)
    catalogue = source.catalogue()
    (acquisition,) = catalogue.acquisitions
    assert acquisition.granules[0].baseline == "05.10"
    np.testing.assert_array_equal(read(source, catalogue)[0], expected([newer])[0])


@each
def test_what_cannot_be_read_is_never_no_data(case: Case, rendered: list[Scene], tmp_path: Path) -> None:
    """A product that lost a file is refused by name, at the latest when its pixels are read."""
    case.write(tmp_path, [(rendered[1], "05.10")])
    lost = _lose_a_file(tmp_path)
    with pytest.raises((InputError, FetchError)) as caught:
        source = case.source(tmp_path)
        catalogue = source.catalogue()
        for acquisition in catalogue.acquisitions:
            source.check(acquisition, catalogue.grid)
        read(source, catalogue)
    told = str(caught.value)
    assert "B11" in told.upper() or lost.name in told, told
    assert "\n" not in told


def _lose_a_file(folder: Path) -> Path:
    """Remove the pixels of band B11, or cut its archive short."""
    (archive, *_) = [*folder.rglob("*.zip"), None]
    if archive is not None:
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
        return Path(archive)
    rasters = [p for p in folder.rglob("*") if p.suffix in (".tif", ".jp2") and "B11" in p.name]
    chunks = [p for p in folder.rglob("b11/*") if p.is_file() and not p.name.startswith(".z")]
    lost = (rasters or chunks)[0]
    lost.unlink()
    return lost


def test_json_of_an_empty_catalogue_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "items.json"
    place.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(InputError, match="no L2A products found"):
        SOURCES["stac"](catalogue=str(place)).catalogue()
