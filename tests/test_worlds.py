"""Synthetic worlds: deterministic, in the formats of real data, as imperfect as real data, and hard enough."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from sklearn.ensemble import RandomForestClassifier

from mlc_dask.data.legend import DEFAULT_LEGEND, Crosswalk
from mlc_dask.io.sources import GeoTiff
from mlc_dask.kernels.pairing.rules import PairingRules
from mlc_dask.stages.choice import choose_acquisitions
from mlc_dask.worlds import World, write_world
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.weather import Sky, overpasses

WORLD = World(size=160, seed=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world")
    write_world(path, WORLD)
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def digest(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.tif")}


def test_same_settings_same_bytes_other_seed_other_world(tmp_path: Path) -> None:
    small = {"size": 64, "years": (2018, 2019), "acquisitions_per_year": 3}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_world(tmp_path / name, World(seed=seed, **small))  # type: ignore[arg-type]
    a, b, c = (digest(tmp_path / name) for name in "abc")
    assert a == b and len(a) == 2 * (3 * 11 + 1) + 1
    assert a["truth/2018.tif"] != c["truth/2018.tif"]


def test_files_are_what_users_have(folder: Path) -> None:
    first = sorted((folder / "acquisitions").iterdir())[0]
    for name, pixel in (("B02", 10), ("B8A", 20), ("SCL", 20)):
        with rasterio.open(first / f"{name}.tif") as file:
            assert file.crs.to_epsg() == 32632 and file.nodata == 0
            assert file.dtypes[0] == ("uint8" if name == "SCL" else "uint16")
            assert (file.transform.a, file.width) == (pixel, 1600 // pixel)
            assert (file.transform.c, file.transform.f) == (640_000, 5_140_000)
    with rasterio.open(folder / "product" / "corine.tif") as file:
        assert (file.transform.a, file.width) == (100, 16)
        codes = set(np.unique(file.read(1)).tolist())
    assert codes <= set(Crosswalk.named("corine", DEFAULT_LEGEND).by_code) and len(codes) >= 6


def test_truth_has_many_classes_and_changes_of_several_sizes(folder: Path) -> None:
    truth = {y: read(folder / "truth" / f"{y}.tif") for y in WORLD.years}
    assert len(np.unique(truth[2018])) >= 8
    changes = json.loads((folder / "world.json").read_text())["changes"]
    assert len({c["pixels"] for c in changes}) >= 3
    for year in (2019, 2020):
        changed = (truth[year] != truth[year - 1]).sum()
        assert changed == sum(c["pixels"] for c in changes if c["year"] == year)
        assert 0.005 < changed / truth[year].size < 0.05


def test_twenty_acquisitions_pair_within_the_papers_limits(folder: Path) -> None:
    selection = choose_acquisitions(GeoTiff(folder=folder / "acquisitions"), rules=PairingRules(size=20))
    assert selection.size == 20
    assert any("cloud" in s.reason for rows in selection.rejected.values() for s in rows)


def test_scl_misses_clouds_and_swaths_are_cut(folder: Path) -> None:
    missed = seen = cut = 0
    for overpass in overpasses(WORLD, 0):
        sky, scl = Sky.of(WORLD, overpass), read(folder / "acquisitions" / overpass.name / "SCL.tif")
        cloudy = (sky.opacity > 0.1)[::2, ::2] & sky.valid[::2, ::2]
        told = np.isin(scl, (3, 8, 9, 10))
        missed, seen = missed + int((cloudy & ~told).sum()), seen + int((cloudy & told).sum())
        cut += int((scl == 0).any())
        blue = read(folder / "acquisitions" / overpass.name / "B02.tif")
        assert ((blue == 0) == ~sky.valid).all()
    assert 0.005 < missed / seen < 0.3
    assert 2 < cut < len(overpasses(WORLD, 0))


def test_a_forest_on_the_old_maps_labels_is_neither_perfect_nor_useless(folder: Path) -> None:
    source = GeoTiff(folder=folder / "acquisitions")
    chosen = choose_acquisitions(source, rules=PairingRules(size=12)).chosen[2018]
    every = (slice(0, 160), slice(0, 160))
    series = np.concatenate([source.read(s.acquisition, source.grid(), *every)[0] for s in chosen])
    pixels = series.reshape(len(series), -1).T
    table = Crosswalk.named("corine", DEFAULT_LEGEND).table()
    product = table[read(folder / "product" / "corine.tif")].repeat(10, 0).repeat(10, 1).ravel()
    truth = make_landscape(WORLD).truth(0).ravel()
    own = np.flatnonzero(product)[::7]
    forest = RandomForestClassifier(50, random_state=0, n_jobs=1).fit(pixels[own], product[own])
    accuracy = (forest.predict(pixels) == truth).mean()
    assert 0.5 < accuracy < 0.97
    assert accuracy > (product == truth).mean() - 0.05
