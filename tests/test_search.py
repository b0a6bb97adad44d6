"""A real STAC API on loopback: searched, read over HTTP, recorded, and no longer needed afterwards."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import numpy as np
import pytest

from mlc_dask.config import load_config
from mlc_dask.errors import InputError
from mlc_dask.io.remote import FetchError
from mlc_dask.io.sources import GeoTiff, Stac
from mlc_dask.kinds import kinds
from mlc_dask.pipeline import annual_cube
from mlc_dask.plan import dry_run, known_catalogue
from mlc_dask.run import Run
from mlc_dask.worlds import World, write_world
from mlc_dask.worlds.writing import write_products
from tests.faulty_server import FaultyServer, serve

WORLD = World(size=64, years=(2018, 2019), seed=3, acquisitions_per_year=6)
BBOX = (10.80, 46.38, 10.86, 46.42)
RUSTAC = Path(sysconfig.get_path("scripts")) / "rustac"


@contextmanager
def stac_api(items: Path) -> Iterator[str]:
    """Serve an item collection by rustac; yields the URL of the API."""
    if not RUSTAC.exists():
        pytest.skip("rustac is not installed; it is in the extra 'dev'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = subprocess.Popen(
        [RUSTAC, "serve", "--addr", address, items], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            assert server.poll() is None, "the API ended"
            try:
                urllib.request.urlopen(f"http://{address}", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    folder = tmp_path_factory.mktemp("served")
    with serve(folder) as server:
        write_products(folder, WORLD, format="stac", flavour="planetary-computer", base_url=server.url("acquisitions"))
        yield server


@pytest.fixture(scope="module")
def items(files: FaultyServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Item collection of the world, and one of its items moved to another continent."""
    made = Path(str(tmp_path_factory.mktemp("items"))) / "items.json"
    with urllib.request.urlopen(files.url("acquisitions/items.json")) as answer:
        document = json.load(answer)
    elsewhere = json.loads(json.dumps(document["features"][0]))
    elsewhere |= {"id": "elsewhere", "bbox": [100, -10, 101, -9]}
    elsewhere["geometry"] = {
        "type": "Polygon", "coordinates": [[[100, -10], [101, -10], [101, -9], [100, -9], [100, -10]]]
    }  # fmt: skip
    document["features"].append(elsewhere)
    made.write_text(json.dumps(document), encoding="utf-8")
    return made


def test_a_search_finds_what_it_asks_for(items: Path, tmp_path: Path) -> None:
    write_world(tmp_path / "geotiff", WORLD)
    same = GeoTiff(folder=tmp_path / "geotiff" / "acquisitions")
    expected = same.catalogue([2019])
    with stac_api(items) as url:
        source = Stac(catalogue=url, collection="sentinel-2-l2a", bbox=BBOX, tile="T32TPS")
        found = source.catalogue([2019])
        assert [a.time.date() for a in found.acquisitions] == [a.time.date() for a in expected.acquisitions]
        assert len(source.catalogue([2018, 2019]).acquisitions) == len(same.catalogue().acquisitions)
        with pytest.raises(InputError, match=r"it has no L2A products"):
            source.catalogue([2031])
        with pytest.raises(InputError, match=r"a search needs years; set acquisitions\.years"):
            source.catalogue()
    # The API is gone: pixels come from where the items say.
    grid = expected.grid
    steps = grid.steps_to(found.grid)
    assert steps is not None and steps[0] == 1
    rows, columns = (slice(s, s + 64) for s in steps[1:])
    for ours, theirs in zip(found.acquisitions[:2], expected.acquisitions[:2], strict=True):
        dn, usable = source.read(ours, found.grid, rows, columns)
        wanted, clear = same.read(theirs, grid, slice(0, 64), slice(0, 64))
        np.testing.assert_array_equal(dn, wanted)
        np.testing.assert_array_equal(usable, clear)


CONFIG = """
output = "out"
[source]
kind = "stac"
catalogue = "{url}"
collection = "sentinel-2-l2a"
bbox = [10.822, 46.394, 10.828, 46.398]
[acquisitions]
years = [2018, 2019]
per_year = 2
max_cloud = 1.0
max_days_apart = 30
min_valid_area = 0.0
[gaps]
min_valid = 2
"""


def test_the_search_is_made_once(items: Path, tmp_path: Path) -> None:
    config_file = tmp_path / "mlc.toml"
    with stac_api(items) as url:
        config_file.write_text(CONFIG.format(url=url), encoding="utf-8")
        config = load_config(config_file)
        with dask.config.set(scheduler="threads", num_workers=2), Run(config.output, kinds(512)) as run:
            annual_cube(run, config)
    assert {e.state for e in dry_run(config, annual_cube).steps} == {"reused"}
    assert len(known_catalogue(config).acquisitions) >= 4
    with Run(config.output, kinds(512)) as again:
        made = annual_cube(again, config)
    assert {e.state for e in again.steps} == {"reused"} and made.cube.open().sizes["acquisition"] == 2
    shutil.rmtree(config.output)
    with pytest.raises(FetchError, match=r"search of http://127.0.0.1:\d+.*; run again"):
        known_catalogue(config)


def test_what_is_no_api_is_told_of(files: FaultyServer) -> None:
    with pytest.raises(FetchError, match="search of "):
        Stac(catalogue=files.url("nothing"), bbox=BBOX).catalogue([2019])
