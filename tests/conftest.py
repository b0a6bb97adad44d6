"""Fixtures that several files of tests share."""

from __future__ import annotations

import gc
import json
import shutil
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest

from mlc_dask.io import remote
from mlc_dask.io.sources import signing
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.scenes import Scene, scenes
from mlc_dask.worlds.spectra import Ground
from mlc_dask.worlds.writing import write_products
from tests.faulty_server import FaultyServer, serve
from tests.runs import run_all, small_world, write_config
from tests.stac_api import LIFE, QUICK, VRT, WORLD, Answering, answering


@pytest.fixture
def parsing() -> Iterator[None]:
    """Source is parsed with the collector of garbage off: Python 3.11 counts the depth of a tree once for all threads.

    A collection in the middle of `ast.parse` can run another thread that parses, too, and one of the two fails with
    "AST constructor recursion depth mismatch" (python/cpython#106905).
    """
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny world of two years, which no test changes."""
    return small_world(tmp_path_factory.mktemp("world"), size=64, years=(2018, 2019))


@pytest.fixture(scope="session")
def valley(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two years, which no test changes."""
    folder = tmp_path_factory.mktemp("run")
    config = write_config(folder / "mlc.toml", small_world(folder / "world", years=(2018, 2019)), folder / "valley")
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(config)
    return folder / "valley"


@pytest.fixture
def world(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world, which a test may change."""
    return Path(shutil.copytree(pristine, tmp_path / "world"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    """The world over HTTP."""
    folder = tmp_path_factory.mktemp("served")
    with serve(folder) as server:
        place = server.url("acquisitions")
        write_products(folder, WORLD, format="stac", flavour="planetary-computer", base_url=place)
        (folder / "acquisitions" / "vrt.tif").write_text(VRT.format(folder / "none.tif"), encoding="utf-8")
        yield server


@pytest.fixture
def server(running: FaultyServer) -> FaultyServer:
    running.heal()
    return running


@pytest.fixture
def features(server: FaultyServer) -> list[dict[str, Any]]:
    """Items of the world."""
    with urllib.request.urlopen(server.url("acquisitions/items.json")) as answer:
        found: list[dict[str, Any]] = json.load(answer)["features"]
    return found


@pytest.fixture(scope="module")
def rendered() -> list[Scene]:
    ground = Ground(WORLD, make_landscape(WORLD))
    return [scene for year in range(len(WORLD.years)) for scene in scenes(WORLD, year, ground)]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE", QUICK)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that tokens are judged by; no token is known yet."""
    now = [1_600_000_000.0]
    monkeypatch.setattr(signing, "time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(signing, "_known", {})
    return now


@pytest.fixture
def tokens(clock: list[float]) -> Iterator[Answering]:
    """Endpoint whose tokens are numbered and live an hour."""
    with answering() as server:

        def answer(path: str) -> tuple[int, Any]:
            end = datetime.fromtimestamp(clock[0] + LIFE, UTC)
            return 200, {"msft:expiry": f"{end:%Y-%m-%dT%H:%M:%SZ}", "token": f"sig={len(server.asked)}"}

        server.answer = answer
        yield server
