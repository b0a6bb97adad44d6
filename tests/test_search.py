"""Searches of a real STAC API on loopback, and what is no API or not there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from pystac_client import Client

from mlc_dask.config import load_config
from mlc_dask.data.errors import InputError
from mlc_dask.io.remote import FetchError
from mlc_dask.io.sources import Stac, catalogues
from mlc_dask.pipeline.figure1 import annual_cube
from mlc_dask.pipeline.formats import kinds
from mlc_dask.pipeline.inputs import Given
from mlc_dask.runs.run import Run
from mlc_dask.worlds import write_world
from mlc_dask.worlds.scenes import LEFT, TOP, Scene
from tests.faulty_server import FaultyServer
from tests.stac_api import (
    BBOX,
    COLLECTION,
    SIDE,
    WORLD,
    answering,
    collected,
    configured,
    one_line,
    stac_api,
    told,
    whole,
)


def check_search(url: str, rendered: list[Scene]) -> None:
    """What a search of the world must find, whatever API it is, and the pixels that its items lead to."""

    def dates(**changed: Any) -> list[date]:
        settings = {"catalogue": url, "collection": COLLECTION, "bbox": BBOX, **changed}
        return [a.time.date() for a in Stac(**settings).catalogue(years).acquisitions]

    for years in ([2018], [2019], [2018, 2019]):
        assert dates() == [s.overpass.time.date() for s in rendered if s.overpass.time.year in years]
    across = Stac(catalogue=url, collection=COLLECTION, bbox=BBOX).catalogue([2019], "07-01")
    season = [s.overpass.time for s in rendered if datetime(2018, 7, 1) <= s.overpass.time < datetime(2019, 7, 1)]
    assert [a.time.date() for a in across.acquisitions] == [time.date() for time in season]
    assert {time.year for time in season} == {2018, 2019}
    for nothing in ({"bbox": (11.5, 46.2, 11.6, 46.3)}, {"collection": "landsat-c2-l2"}):
        with pytest.raises(InputError, match="no L2A products found"):
            dates(**nothing)
    source = Stac(catalogue=url, collection=COLLECTION, bbox=BBOX)
    with pytest.raises(InputError, match=r"a search needs years; set acquisitions\.years"):
        source.catalogue()
    found = source.catalogue([2019])
    dn, _ = whole(source, found.acquisitions[0], found)
    row, column = round(found.grid.top - TOP) // 10, round(LEFT - found.grid.left) // 10
    own = next(s for s in rendered if s.overpass.time.year == 2019).dn["B02"].astype(int)
    part = dn[0, row : row + WORLD.size, column : column + WORLD.size]
    np.testing.assert_array_equal(part, np.where(own > 0, own + 1000, 0))


def test_a_search_of_a_real_api(features: list[dict[str, Any]], rendered: list[Scene], tmp_path: Path) -> None:
    with stac_api(collected(tmp_path / "items.json", features)) as url:
        check_search(url, rendered)


def on_day(feature: dict[str, Any], number: int, collection: str) -> dict[str, Any]:
    """The item, sensed on another day of 2018."""
    day = datetime(2018, 1, 1, 10, tzinfo=UTC) + timedelta(days=number)
    own = {"datetime": day.isoformat(), "s2:datastrip_id": f"S2A_S{day:%Y%m%dT%H%M%S}"}
    properties = feature["properties"] | own
    return feature | {"id": f"{collection}-{number}", "collection": collection, "properties": properties}


def test_all_pages_and_only_the_collection(features: list[dict[str, Any]], tmp_path: Path) -> None:
    rows = [on_day(features[0], n, COLLECTION) for n in range(220)]
    others = [on_day(features[0], n, "another") for n in range(230, 240)]
    with stac_api(collected(tmp_path / "items.json", rows + others)) as url:
        pages = Client.open(url).search(collections=[COLLECTION], limit=100).pages()
        assert len(list(pages)) >= 3, "the API does not page: the test tests nothing"
        found = Stac(catalogue=url, collection=COLLECTION, bbox=BBOX).catalogue([2018])
        both = Stac(catalogue=url, bbox=BBOX).catalogue([2018])
    ids = {g.id for a in found.acquisitions for g in a.granules}
    assert ids == {row["id"] for row in rows} and len(both.acquisitions) == 230


def made_cube(config: Path) -> xr.Dataset:
    settings = load_config(config)
    with dask.config.set(scheduler="threads", num_workers=2), Run(settings.output, kinds(512)) as run:
        cube: xr.Dataset = annual_cube(run, Given(settings)).cube.open().load()
    return cube


def test_the_cube_over_http_is_that_of_the_files(
    server: FaultyServer, features: list[dict[str, Any]], tmp_path: Path, quick: None
) -> None:
    """And once it is made, neither the API nor the files are needed for it."""
    world = tmp_path / "world"
    write_world(world, WORLD)
    product = world / "product" / "corine.tif"
    local = configured(tmp_path, "local", product, kind="geotiff", folder=str(world / "acquisitions"))
    with stac_api(collected(tmp_path / "items.json", features)) as url:
        afar = configured(tmp_path, "afar", product, kind="stac", catalogue=url, collection=COLLECTION, bbox=BBOX)
        cube = made_cube(afar)
    expected = made_cube(local)
    part = cube.sel(x=expected.x, y=expected.y)
    for layer in ("reflectance", "usable"):
        np.testing.assert_array_equal(part[layer].values, expected[layer].values)
    assert (part.time.dt.date.values == expected.time.dt.date.values).all()
    assert not cube.usable.sel(x=cube.x[cube.x > LEFT + SIDE]).any()

    server.stop()
    try:
        assert xr.Dataset.identical(made_cube(afar), cube)
        code, output = told("plan", afar)
        assert code == 0, output
        states = {line.split()[0]: line.split()[1] for line in output.splitlines() if len(line.split()) > 1}
        assert {states[s] for s in ("catalogue", "acquisitions", "radiometry", "cube")} == {"reuse"}
        code, output = told("status", afar)
        assert code == 0 and "done" in next(line for line in output.splitlines() if line.split()[:1] == ["cube"])
    finally:
        server.start()


def root(url: str, *, search: bool) -> dict[str, Any]:
    """Landing page of an API."""
    core = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
    links = [{"rel": "root", "href": url}, {"rel": "search", "href": f"{url}/search", "method": "POST"}]
    page = {"type": "Catalog", "id": "a", "stac_version": "1.0.0", "description": "an API"}
    return page | ({"conformsTo": core, "links": links} if search else {"links": links[:1]})


@contextmanager
def landing(page: tuple[int, Any] | None, found: tuple[int, Any] = (404, {}), *, search: bool = True) -> Iterator[str]:
    """API that answers `page`, or a good page, and what it `found` to a search."""
    with answering() as server:
        good = (200, root(server.url, search=search))
        server.answer = lambda path: found if "search" in path else page or good
        yield server.url


FEATURE = {"type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": None, "links": [], "assets": {}}


@pytest.mark.parametrize("page", [b"<html>hello</html>", b"", b"[]", b"3", b"null", {}, FEATURE], ids=str)
def test_what_is_no_api_is_bad_input(page: Any, tmp_path: Path) -> None:
    with landing((200, page)) as url:
        config = configured(tmp_path, "out", tmp_path, kind="stac", catalogue=url, bbox=BBOX)
        code, line = one_line("plan", config)
        assert code == 2 and line.startswith(f"error: {url} is not a STAC API (")
        with pytest.raises(InputError, match=rf"^{url}/items.json .* STAC .*; (set|correct)"):
            Stac(catalogue=f"{url}/items.json").catalogue([2019])


def test_a_catalogue_without_search_is_bad_input() -> None:
    with landing(None, search=False) as url, pytest.raises(InputError, match="does not conform to ITEM_SEARCH"):
        Stac(catalogue=url, bbox=BBOX).catalogue([2019])


@pytest.mark.parametrize("own", [{}, {"datetime": "yesterday"}], ids=str)
def test_broken_items_are_bad_input(own: dict[str, Any], tmp_path: Path) -> None:
    broken = [FEATURE | {"properties": own}]
    answer = (200, {"type": "FeatureCollection", "features": broken})
    with landing(None, answer) as url, pytest.raises(InputError, match="is not a STAC API"):
        Stac(catalogue=url, bbox=BBOX).catalogue([2019])
    with pytest.raises(InputError, match="is not a STAC catalogue, item collection or item"):
        Stac(catalogue=str(collected(tmp_path / "items.json", broken))).catalogue([2019])


@pytest.mark.parametrize("status", [401, 404, 503])
@pytest.mark.parametrize("landed", [False, True], ids=["at once", "search"])
def test_an_api_that_refuses_is_named(status: int, landed: bool, tmp_path: Path, quick: None) -> None:
    answer = (status, b"Sorry,\nnot today")
    with landing(None if landed else answer, answer) as url:
        config = configured(tmp_path, "out", tmp_path, kind="stac", catalogue=url, bbox=BBOX)
        code, line = one_line("plan", config)
    assert code == (1 if status == 503 else 2) and line.startswith(f"error: search of {url}: ") and str(status) in line


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_file_of_items_that_is_refused_is_named(status: int, quick: None) -> None:
    kind = FetchError if status == 503 else InputError
    with landing((status, b"Sorry,\nnot today")) as url, pytest.raises(kind) as caught:
        Stac(catalogue=f"{url}/items.json").catalogue([2019])
    assert str(caught.value).startswith(f"catalogue {url}/items.json: ") and str(status) in str(caught.value)


def test_a_zone_of_one_digit_is_asked_for_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(catalogues, "found_by_search", lambda *query: asked.append(query[-1]) or [])
    for tile in ("T05QKB", "T32TPS"):
        with pytest.raises(InputError, match="no L2A products found"):
            Stac(preset="earth-search-c1", tile=tile).catalogue([2019])
    assert [q["grid:code"]["eq"] for q in asked] == ["MGRS-05QKB", "MGRS-5QKB", "MGRS-32TPS"]


def test_an_api_that_is_busy_is_asked_again(quick: None) -> None:
    with answering() as server:
        empty = {"type": "FeatureCollection", "features": []}

        def answer(path: str) -> tuple[int, Any]:
            if server.asked.count(path) == 1:
                return 503, b"busy"
            return 200, empty if "search" in path else root(server.url, search=True)

        server.answer = answer
        with pytest.raises(InputError, match="no L2A products found"):
            Stac(catalogue=server.url, bbox=BBOX).catalogue([2019])
        assert server.asked == ["/", "/", "/search", "/search"]


def test_an_api_that_is_down(tmp_path: Path, quick: None) -> None:
    with answering() as server:
        url = server.url
    config = configured(tmp_path, "out", tmp_path, kind="stac", catalogue=url, bbox=BBOX)
    code, line = one_line("plan", config)
    assert code == 1 and line.startswith(f"error: search of {url}: ") and "refused" in line
    assert not (tmp_path / "out").exists()


def test_a_host_that_nobody_knows(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    config = configured(tmp_path, "out", tmp_path, kind="stac", catalogue="https://stac.example.com", bbox=BBOX)
    code, line = one_line("plan", config)
    assert code == 1 and "search of https://stac.example.com: " in line and "Name or service not known" in line


@pytest.mark.slow
@pytest.mark.skipif("MLC_PGSTAC_URL" not in os.environ, reason="MLC_PGSTAC_URL names no STAC API that holds the world")
def test_a_search_of_pgstac(rendered: list[Scene]) -> None:
    """The same search of stac-fastapi-pgstac, which can also be asked for a tile.

    With PostgreSQL and PostGIS running, an empty database `pgstac`, and PGHOST, PGUSER, PGPASSWORD, PGDATABASE set:

        pip install 'stac-fastapi-pgstac[server]' 'pypgstac[psycopg]'
        python -m tests.stac_api /tmp/pgstac-world  # goes on serving; the rest in another terminal
        pypgstac migrate
        pypgstac load collections /tmp/pgstac-world/collections.ndjson --method upsert
        pypgstac load items /tmp/pgstac-world/items.ndjson --method upsert
        uvicorn --factory stac_fastapi.pgstac.app:create_app --port 8082
        MLC_PGSTAC_URL=http://127.0.0.1:8082 pytest tests/test_stac.py -k pgstac
    """
    url = os.environ["MLC_PGSTAC_URL"]
    check_search(url, rendered)
    asked = Stac(catalogue=url, collection=COLLECTION, tile="T32TPS", tile_property="s2:mgrs_tile")
    assert len(asked.catalogue([2018]).acquisitions) == len([s for s in rendered if s.overpass.time.year == 2018])
    with pytest.raises(InputError, match="no L2A products found"):
        asked.model_copy(update={"tile": "31UDS"}).catalogue([2018])
