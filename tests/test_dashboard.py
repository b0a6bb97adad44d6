"""The map of patches: what the scheduler knows is what the page says."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from bokeh.document import Document
from distributed import Client, LocalCluster

import mlc_dask as mlc
from mlc_dask import lazy
from mlc_dask.compute.dashboard import page as pages
from mlc_dask.compute.dashboard.board import NAME, STATES
from mlc_dask.compute.progress import shows_patches
from mlc_dask.io.patchstore.store import PatchStore
from tests.cubes import landscape

pytestmark = pytest.mark.slow

GO = threading.Event()
ENTERED = threading.Event()


@pytest.fixture
def client() -> Iterator[Client]:
    """Cluster in this process, so that a test can hold a task."""
    with (
        dask.config.set({"distributed.scheduler.preload": ["mlc_dask.dashboard"]}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", silence_logs=40
        ) as cluster,
        Client(cluster) as client,
    ):
        GO.clear()
        ENTERED.clear()
        try:
            yield client
        finally:
            GO.set()


def address(client: Client, path: str) -> str:
    return f"http://127.0.0.1:{client.cluster.scheduler.http_server.port}/{path}"


def state(client: Client) -> dict[str, Any]:
    with urllib.request.urlopen(address(client, "mlc/patches.json")) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def states(client: Client, stage: str) -> dict[tuple[str, int, int], str]:
    patches = [p for p in state(client)["patches"] if p["stage"] == stage]
    return {(p["year"], p["row"], p["column"]): p["state"] for p in patches}


def waited_for(client: Client, stage: str, wanted: set[str]) -> dict[tuple[str, int, int], str]:
    deadline = time.monotonic() + 30
    while (found := states(client, stage)) is None or set(found.values()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def held(dn: np.ndarray, _: object) -> np.ndarray:
    """Kernel that goes on when the test says so, and fails where the corner's number is 13."""
    ENTERED.set()
    assert GO.wait(30)
    if dn.ravel()[0] == 13:
        raise ValueError("thirteen")
    return np.full((1, *dn.shape[-2:]), 3, np.uint8)


def maps(thirteen: bool = False) -> xr.Dataset:
    cube, _ = landscape(32, 48)
    dn = cube.reflectance.isel(acquisition=0, band=0, drop=True).copy()
    if thirteen:
        dn[1, 16, 16] = 13
    years = [
        lazy.map_pixels(held, dn.isel(year=i, drop=True).chunk(y=16, x=16), layers=("label",), name=f"classify-{year}")
        for i, year in enumerate(dn.year.values)
    ]
    found = xr.concat(years, dim=xr.DataArray(dn.year.values, dims="year", name="year"))
    return found.assign_attrs(legend={"3": {"name": "water", "colour": "#0000ff"}})


def in_thread(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_stage_from_waiting_to_done(client: Client, tmp_path: Path) -> None:
    assert client.run_on_scheduler(shows_patches)
    thread = in_thread(lambda: mlc.write_maps(maps(), tmp_path / "maps"))
    assert ENTERED.wait(30)
    found = waited_for(client, "maps", {"classifying", "waiting"})
    assert set(found) == {(y, r, c) for y in ("2018", "2019") for r in (0, 1) for c in (0, 1, 2)}
    # The scheduler gives a worker one task more than it has threads.
    assert list(found.values()).count("classifying") in (1, 2)
    GO.set()
    thread.join()
    waited_for(client, "maps", {"done"})
    told = state(client)
    assert told["pixels_per_second"] > 0 and told["patches_per_hour"] > 0 and told["seconds_left"] == 0
    assert all(p["worker"].startswith("inproc") and p["parts"] == "1 of 1" for p in told["patches"])


def test_what_is_there_already_is_reused(client: Client, tmp_path: Path) -> None:
    GO.set()
    mlc.write_maps(maps(), tmp_path / "maps")
    record = next((tmp_path / "maps" / "patches").glob("1_0_2*"))
    record.unlink()
    (tmp_path / "maps" / "MANIFEST.json").unlink()
    lazy.write_patches(maps(), PatchStore.at(tmp_path / "maps"), name="again")
    found = waited_for(client, "again", {"done", "reused"})
    assert [place for place, one in found.items() if one == "done"] == [("2019", 0, 2)]


def test_a_failure_shows_its_text(client: Client, tmp_path: Path) -> None:
    GO.set()
    with pytest.raises(ValueError, match="thirteen"):
        mlc.write_maps(maps(thirteen=True), tmp_path / "maps")
    deadline = time.monotonic() + 10
    while states(client, "maps")["2019", 1, 1] != "failed" and time.monotonic() < deadline:
        time.sleep(0.05)
    (failed,) = [p for p in state(client)["patches"] if p["state"] == "failed"]
    assert (failed["year"], failed["row"], failed["column"]) == ("2019", 1, 1) and "thirteen" in failed["error"]


def test_the_page_and_its_picture(client: Client, tmp_path: Path) -> None:
    """The document that a browser gets: one square per patch, and the written patches in the legend's colours."""
    GO.set()
    mlc.write_maps(maps(), tmp_path / "maps")
    waited_for(client, "maps", {"done"})
    scheduler = client.cluster.scheduler
    doc = Document()
    pages.draw(scheduler, {"prefix": ""}, doc)
    sources = {tuple(sorted(s.data)): s.data for s in doc.select({"type": pages.ColumnDataSource})}
    squares = next(data for names, data in sources.items() if "state" in names)
    assert len(squares["x"]) == 12 and set(squares["state"]) == {"done"} and set(squares["stage"]) == {"maps"}
    (picture,) = next(data for names, data in sources.items() if "image" in names)["image"]
    assert picture.shape == (32, 48) and set(np.unique(picture)) == {np.uint32(0xFFFF0000)}  # blue as 0xAABBGGRR
    memory = next(data for names, data in sources.items() if "used" in names)
    assert len(memory["worker"]) == 1 and memory["text"][0].count("B of") == 1


def test_maps_in_codes_have_the_colours_that_were_told(client: Client, tmp_path: Path) -> None:
    """A map with colours of its own keeps them."""
    GO.set()
    coded = {"3": mlc.DEFAULT_LEGEND.coded.to_dict()["3"]}
    lazy.tell_colours({3: "#00ff00"})
    mlc.write_maps(maps().assign_attrs(legend=coded), tmp_path / "coded")
    mlc.write_maps(maps(), tmp_path / "named")
    waited_for(client, "named", {"done"})
    stages = client.cluster.scheduler.plugins[NAME].stages
    assert (stages["coded"]["legend"], stages["named"]["legend"]) == ({"3": "#00ff00"}, {"3": "#0000ff"})


def test_the_menu_and_the_laboratory_know_the_page(client: Client) -> None:
    with urllib.request.urlopen(address(client, "individual-plots.json")) as answer:
        assert f"/individual-{NAME}" in json.load(answer).values()
    with urllib.request.urlopen(address(client, "status")) as answer:
        assert f'href="{NAME}"' in answer.read().decode()
    with urllib.request.urlopen(address(client, NAME)) as answer:
        assert answer.status == 200


def test_stages_of_several_places_say_so(client: Client, tmp_path: Path) -> None:
    GO.set()
    for tile in ("T32TPS", "T32TPT"):
        (tmp_path / tile / "artifacts").mkdir(parents=True)
        mlc.write_maps(maps(), tmp_path / tile / "artifacts" / f"multi-year-{tile.encode().hex()}")
    board = client.cluster.scheduler.plugins[NAME]
    assert list(pages._shown(board).values()) == ["T32TPS multi-year", "T32TPT multi-year"]
    squares, rows, years = pages._squares(board)
    assert len(squares["x"]) == len(set(zip(squares["x"], squares["y"], strict=True))) == 24
    assert list(rows.values()) == ["T32TPS multi-year", "T32TPT multi-year"] and set(years.values()) == {"2018", "2019"}


def test_colours_and_names() -> None:
    assert len(pages._COLOURS) == len(set(pages._COLOURS)) == len(STATES)
    assert pages.short("multi-year-filtered-0123456789abcdef") == "multi-year-filtered"
    assert pages.short("multi-year") == "multi-year"


def test_nobody_listens(tmp_path: Path) -> None:
    """Without a cluster maps are written as ever."""
    GO.set()
    mlc.write_maps(maps(), tmp_path / "maps")
    assert (xr.open_zarr(tmp_path / "maps", mask_and_scale=False).label == 3).all()
