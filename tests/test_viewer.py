"""The page of `mlc-dask view`: tiles in the maps' colours at their places, pixels as xarray has them, for us only."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from math import asinh, floor, log2, pi, radians, tan
from pathlib import Path
from typing import Any

import cv2
import dask.array as da
import numpy as np
import psutil
import pytest
import xarray as xr
from rasterio.crs import CRS
from rasterio.warp import transform
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app as cli
from mlc_dask.data.grids import Grid
from mlc_dask.data.legend import DEFAULT_LEGEND
from tests.runs import artifacts
from tests.sockets import listening, loopback

pytest.importorskip("fastapi", reason="the extra `view` is not installed")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from fastapi.testclient import TestClient

from mlc_dask.data.layers import in_words
from mlc_dask.show.viewer import app as viewer
from mlc_dask.show.viewer.places import EDGE, Place, open_places
from mlc_dask.show.viewer.web_tiles import Tiles

YEARS = (2018, 2019)
NEAR = 17
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

runner = CliRunner()
Image = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def output(valley: Path) -> Path:
    """A finished run."""
    return valley


@pytest.fixture(scope="module")
def maps(output: Path) -> xr.Dataset:
    return mlc.open_maps(output).load()


@pytest.fixture(scope="module")
def client(output: Path) -> TestClient:
    return TestClient(viewer.make_app(open_places(output)), base_url="http://127.0.0.1:8790")


def lon_lat(maps: xr.Dataset, row: int, column: int) -> tuple[float, float]:
    (lon,), (lat,) = transform(maps.rio.crs, "EPSG:4326", [float(maps.x[column])], [float(maps.y[row])])
    return lon, lat


def in_tiles(lon: float, lat: float, zoom: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tile (x, y), and row and column in it, of a point, by the formula of web mercator."""
    x, y = (lon / 360 + 0.5) * 2**zoom, (0.5 - asinh(tan(radians(lat))) / (2 * pi)) * 2**zoom
    return (floor(x), floor(y)), (int(y % 1 * EDGE), int(x % 1 * EDGE))


def decoded(png: bytes) -> Image:
    """Red, green, blue, alpha (h, w, 4)."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == (EDGE, EDGE, 4)
    return np.asarray(image[:, :, [2, 1, 0, 3]], np.uint8)


def fetch(client: TestClient, path: str, **query: Any) -> Image:
    answer = client.get(f"/api/places/valley/tiles/{path}.png", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return decoded(answer.content)


def colour_at(client: TestClient, layer: str, year: int, place: tuple[float, float], **query: Any) -> tuple[int, ...]:
    (x, y), (row, column) = in_tiles(*place, NEAR)
    return tuple(fetch(client, f"{layer}/{year}/{NEAR}/{x}/{y}", **query)[row, column].tolist())


def rgba(code: int) -> tuple[int, ...]:
    return (*bytes.fromhex(DEFAULT_LEGEND.colours[code][1:]), 255) if code else (0, 0, 0, 0)


# Tiles


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["multi_year_filtered", "multi_year", "single_year", "preliminary"])
@pytest.mark.parametrize("year", YEARS)
def test_tiles_have_the_maps_colours(client: TestClient, maps: xr.Dataset, layer: str, year: int) -> None:
    codes = maps[layer].sel(year=year).values
    for row, column in [(0, 0), (3, 90), (47, 48), (95, 95), *np.argwhere(codes == codes.max())[:2].tolist()]:
        assert colour_at(client, layer, year, lon_lat(maps, row, column)) == rgba(int(codes[row, column]))


@pytest.mark.slow
def test_other_layers_have_their_ramps(client: TestClient, maps: xr.Dataset, output: Path) -> None:
    described = client.get("/api/places/valley").json()
    layers = {layer["name"]: layer for layer in described["layers"]}
    assert next(iter(layers)) == "multi_year_filtered" and "valid_count" not in layers
    stops = {stop["value"]: stop["colour"] for stop in layers["change_count"]["stops"]}
    assert list(stops) == [0, 1]
    for value in stops:
        row, column = np.argwhere(maps.change_count.values == value)[0]
        shown = colour_at(client, "change_count", 0, lon_lat(maps, row, column))
        assert shown == (*bytes.fromhex(stops[value][1:]), 255)
    row, column = np.argwhere(maps.confidence.values[0] > 0)[0]
    assert colour_at(client, "confidence", YEARS[0], lon_lat(maps, row, column))[3] == 255
    old = xr.open_zarr(artifacts(output, "product")[0], mask_and_scale=False).label.values
    row, column = np.argwhere(old > 0)[5]
    assert colour_at(client, "product", 0, lon_lat(maps, row, column)) == rgba(int(old[row, column]))


@pytest.mark.slow
def test_hidden_classes_and_the_outside_are_transparent(client: TestClient, maps: xr.Dataset) -> None:
    codes = maps.multi_year_filtered.sel(year=2018).values
    code, other = np.unique(codes[codes > 0])[:2].tolist()
    there, elsewhere = (lon_lat(maps, *np.argwhere(codes == c)[0]) for c in (code, other))
    assert colour_at(client, "multi_year_filtered", 2018, there, hidden=f"{code},99") == (0, 0, 0, 0)
    assert colour_at(client, "multi_year_filtered", 2018, elsewhere, hidden=f"{code},99") == rgba(other)
    lon, lat = lon_lat(maps, 0, 0)
    assert colour_at(client, "multi_year_filtered", 2018, (lon - 0.0002, lat + 0.0002))[3] == 0
    assert not fetch(client, "multi_year_filtered/2018/10/0/0").any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nothing/2018/10/0/0", 404),
        ("multi_year/1999/10/0/0", 404),
        ("multi_year/2018/3/8/0", 404),
        ("multi_year/2018/60/0/0", 404),
        ("multi_year/2018/-1/0/0", 404),
        ("multi_year/x/1/0/0", 422),
        ("multi_year/2018/1/0/0.png?hidden=1;2", 422),
    ],
)
def test_tiles_that_are_not_there(client: TestClient, path: str, code: int) -> None:
    path = path if ".png" in path else f"{path}.png"
    assert client.get(f"/api/places/valley/tiles/{path}").status_code == code


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A map of 2048 × 2048 pixels in squares of 128, every one of another class than its neighbours."""
    squares = (np.arange(16)[:, None] * 3 + np.arange(16)) % 11 + 1
    codes = np.kron(squares, np.ones((128, 128))).astype(np.uint8)
    grid = Grid(CRS.from_epsg(32632).to_wkt(), 600_000, 5_200_020, 10, *codes.shape)
    layer = (("year", "y", "x"), da.from_array(codes[None], chunks=(1, 512, 512)))
    folder = tmp_path_factory.mktemp("maps") / "wide"
    mlc.write_maps(xr.Dataset({"label": layer}, coords={"year": [2020], **grid.coords()}), folder)
    (place,) = open_places(folder).values()
    return place


@pytest.mark.parametrize("zoom", range(8, 17))
def test_every_zoom_shows_the_same_ground(wide: Place, zoom: int) -> None:
    tiles, found = Tiles(wide), 0
    for row, column in [(64, 64), (64 + 128 * 5, 64 + 128 * 9), (2048 - 64, 64), (2048 - 64, 2048 - 64)]:
        code = int(wide.maps.label[0, row, column])
        tile, (y, x) = in_tiles(*lon_lat(wide.maps, row, column), zoom)
        assert tuple(decoded(tiles.png("label", 2020, (zoom, *tile)))[y, x].tolist()) == rgba(code), (row, column)
        found += 1
    assert found == 4


def test_from_afar_the_map_is_read_once(wide: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = Place.plane

    def plane(self: Place, name: str, year: int | None) -> xr.DataArray:
        return whole(self, name, year).copy(data=da.map_blocks(counted, whole(self, name, year).data, dtype=np.uint8))

    def counted(block: Any) -> Any:
        read.append(block.size)
        return block

    monkeypatch.setattr(Place, "plane", plane)
    tiles = Tiles(wide)
    assert [tiles.step(zoom) for zoom in (9, 10, 11, 12, 13)] == [8, 4, 2, 1, 1]
    (x, y), _ = in_tiles(*lon_lat(wide.maps, 1024, 1024), 9)
    for zoom in (9, 8, 7, 6):
        for side in range(2):
            tiles.png("label", 2020, (zoom, (x >> 9 - zoom) + side, y >> 9 - zoom))
    assert sum(read) == 2048 * 2048
    (x, y), _ = in_tiles(*lon_lat(wide.maps, 200, 200), 16)
    tiles.png("label", 2020, (16, x, y))
    assert sum(read) == 2048 * 2048 + 512 * 512


# Pixels


@pytest.mark.slow
@pytest.mark.parametrize("place", [(0, 0), (31, 77), (95, 95)])
def test_a_pixel_is_what_xarray_says(
    client: TestClient, maps: xr.Dataset, output: Path, place: tuple[int, int]
) -> None:
    row, column = place
    lon, lat = lon_lat(maps, row, column)
    found = client.get("/api/places/valley/pixel", params={"lon": lon, "lat": lat}).json()
    here = maps.isel(y=row, x=column)
    assert (found["row"], found["column"], found["x"], found["y"]) == (row, column, float(here.x), float(here.y))
    assert set(found["labels"]) == {n for n in maps.data_vars if str(n).startswith(("multi", "single", "preliminary"))}
    for name, codes in found["labels"].items():
        assert codes == here[name].values.tolist()
    for name, values in found["values"].items():
        assert values == here[name].values.tolist()
    assert {"confidence", "valid_count", "change_count"} <= set(found["values"])
    old = xr.open_zarr(artifacts(output, "product")[0], mask_and_scale=False).label.values
    assert found["old_map"] == old[row, column]
    outline = np.array(found["corners"]).mean(axis=0)
    assert outline == pytest.approx([lat, lon], abs=1e-6)


@pytest.mark.slow
def test_ndvi_is_that_of_the_cube(client: TestClient, maps: xr.Dataset, output: Path) -> None:
    row, column = 20, 30
    lon, lat = lon_lat(maps, row, column)
    rows = client.get("/api/places/valley/pixel", params={"lon": lon, "lat": lat}).json()["ndvi"]
    cube = mlc.open_cube(artifacts(output, "cube")[0]).isel(y=row, x=column).load()
    assert len(rows) == cube.sizes["year"] * cube.sizes["acquisition"]
    assert [r["date"] for r in rows] == sorted(r["date"] for r in rows)
    by_date = {r["date"]: r for r in rows}
    for year in YEARS:
        one = cube.sel(year=year)
        for time_, dn, usable in zip(one.time.values, one.reflectance, one.usable.values, strict=True):
            nir, red = (float(dn.sel(band=b)) - 1000 for b in ("B08", "B04"))
            found = by_date[str(time_)[:10]]
            assert (found["year"], found["usable"]) == (year, bool(usable))
            if float(dn.sel(band="B08")) and float(dn.sel(band="B04")):
                assert found["value"] == pytest.approx(np.clip((nir - red) / (nir + red), -1, 1), abs=1e-4)
            else:
                assert found["value"] is None
    assert any(r["usable"] for r in rows) and not all(r["usable"] for r in rows)


@pytest.mark.slow
def test_pixels_outside_of_the_maps(client: TestClient, maps: xr.Dataset) -> None:
    west, north = float(maps.x[0]) - 5, float(maps.y[0]) + 5

    def asked(east: float, south: float) -> int:
        (lon,), (lat,) = transform(maps.rio.crs, "EPSG:4326", [west + east], [north - south])
        return client.get("/api/places/valley/pixel", params={"lon": lon, "lat": lat}).status_code

    assert asked(0.5, 0.5) == asked(959.5, 959.5) == 200
    assert asked(-0.5, 5) == asked(5, -0.5) == asked(960.5, 5) == asked(5, 960.5) == 404
    for lon, lat, code in [(10, 91, 422), ("nan", 0, 422), ("inf", 0, 422), (190, -80, 404), (9, 90, 404)]:
        assert client.get("/api/places/valley/pixel", params={"lon": lon, "lat": lat}).status_code == code


@pytest.mark.slow
def test_maps_without_a_cube_still_have_pixels(output: Path, maps: xr.Dataset, tmp_path: Path) -> None:
    copy = shutil.copytree(output, tmp_path / "valley")
    shutil.rmtree(artifacts(copy, "cube")[0])
    shutil.rmtree(artifacts(copy, "product")[0])
    client = TestClient(viewer.make_app(open_places(copy)), base_url="http://localhost")
    lon, lat = lon_lat(maps, 5, 6)
    found = client.get("/api/places/valley/pixel", params={"lon": lon, "lat": lat}).json()
    assert found["ndvi"] is None and found["old_map"] is None
    assert found["labels"]["multi_year"] == maps.multi_year[:, 5, 6].values.tolist()
    assert "product" not in [layer["name"] for layer in client.get("/api/places/valley").json()["layers"]]


@pytest.mark.slow
def test_tiles_of_one_run_are_places(output: Path, tmp_path: Path) -> None:
    for name in ("31UFT", "31UFS"):
        shutil.copytree(output, tmp_path / "both" / name)
    both = {"layers": {"models": {"name": "models", "kind": "models", "folder": "x", "fingerprint": "y", "part": []}}}
    (tmp_path / "both" / "CURRENT.json").write_text(json.dumps(both), encoding="utf-8")
    client = TestClient(viewer.make_app(open_places(tmp_path / "both")), base_url="http://localhost")
    assert client.get("/api/places").json() == ["31UFS", "31UFT"]
    assert client.get("/api/places/31UFT").json()["name"] == "31UFT"
    assert client.get("/api/places/32TPS").status_code == 404


# Nobody else


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8790", "localhost:1234", "LOCALHOST"])
def test_this_machine_is_answered(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 200 and "<title>" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.slow
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8790", "192.168.0.2", "0.0.0.0", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/places", "/static/view.js"])
def test_other_hosts_are_refused(client: TestClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"host": host})
    assert answer.status_code == 400 and "valley" not in answer.text


@pytest.mark.slow
def test_other_sites_are_refused(client: TestClient) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        answer = client.get("/api/places", headers={"origin": origin})
        assert answer.status_code == 403 and "valley" not in answer.text
    assert client.get("/api/places", headers={"origin": "http://127.0.0.1:8790"}).json() == ["valley"]


@pytest.mark.slow
def test_there_is_nothing_but_the_page(client: TestClient) -> None:
    for path in ("/docs", "/openapi.json", "/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/CURRENT.json"):
        assert client.get(path).status_code == 404, path
    assert client.post("/api/places").status_code == 403
    assert client.post("/api/places", headers={"origin": "http://127.0.0.1:8790"}).status_code == 405


def test_the_page_is_whole_without_a_network() -> None:
    static = Path(viewer.__file__).parent / "static"
    pages = ("page.js", "index.html", "view.css", "view.js", "interpret.html", "interpret.css", "interpret.js")
    for name in pages:
        text = (static / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|innerHTML|style=|<script>| on\w+=\"", text), name
        for reference in re.findall(r'(?:src|href)="/static/([^"]+)"', text):
            assert (static / reference).is_file(), reference
    (leaflet,) = static.glob("leaflet-*")
    version = leaflet.name.removeprefix("leaflet-")
    assert f"Leaflet {version}," in (leaflet / "leaflet.js").read_text(encoding="utf-8")
    # As published by its authors.
    digest = hashlib.sha256((leaflet / "leaflet.js").read_bytes()).hexdigest()
    assert digest == "db49d009c841f5ca34a888c96511ae936fd9f5533e90d8b2c4d57596f4e5641a"
    assert "Redistribution" in (leaflet / "LICENSE").read_text(encoding="utf-8")


# The command


def refused(*words: str | Path) -> str:
    result = runner.invoke(cli, ["view", *map(str, words)])
    assert result.exit_code == 2, result.output
    assert result.output.startswith("error: ") and result.output.count("\n") == 1, result.output
    return result.output


def test_what_cannot_be_shown_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is not a folder" in refused(tmp_path / "nowhere", "--port", "0")
    assert "has published no result yet" in refused(tmp_path, "--port", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1 is not available" in refused(tmp_path, "--port", str(port))
    monkeypatch.delitem(sys.modules, "mlc_dask.show.viewer.app")
    monkeypatch.delattr("mlc_dask.show.viewer.app")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert 'needs uvicorn; install it with: pip install "mlc-dask[view]"' in refused(tmp_path)


@pytest.fixture
def address(output: Path) -> Iterator[str]:
    """The address that `mlc-dask view` prints; Ctrl-C ends it without a fault."""
    command = [sys.executable, "-m", "mlc_dask", "view", str(output), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            offered = listening(psutil.Process(server.pid))
            assert offered and loopback(offered), offered
            yield line.split()[0]
        finally:
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=30)
        assert server.returncode == 0 and "Traceback" not in errors, errors
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/    \(Ctrl-C stops\)\n", line), line


# The browser


def still(page: Any) -> Image:
    """Take the middle of the map as a picture, once it does not change any more: without controls and captions."""
    box, before = page.locator("#frame").bounding_box(), b""
    page.wait_for_selector("fieldset:visible[aria-busy=true]", state="detached")
    for _ in range(60):
        clip = {"x": box["x"], "y": box["y"] + 60, "width": box["width"], "height": box["height"] - 120}
        now = page.screenshot(clip=clip)
        if now == before:
            image = cv2.imdecode(np.frombuffer(now, np.uint8), cv2.IMREAD_COLOR)
            return np.asarray(image[:, 80:-80, ::-1], np.uint8)
        before = now
        time.sleep(0.15)
    raise AssertionError("the map does not come to rest")


def share(image: Image, code: int) -> float:
    return float((image == rgba(code)[:3]).all(axis=-1).mean())


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_in_a_browser(address: str, maps: xr.Dataset) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    options = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options.split())
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        page.wait_for_selector(".leaflet-tile-loaded")
        pixel_is_told(page, maps)
        classes_are_toggled(page, maps)
        maps_are_swiped(page)
        # The one click outside of the maps.
        assert faults == ["Failed to load resource: the server responded with a status of 404 (Not Found)"]
        assert all(url.startswith((address, "data:")) for url in asked)
        browser.close()


def pixel_is_told(page: Any, maps: xr.Dataset) -> None:
    box = page.locator("#map").bounding_box()
    page.wait_for_selector("#series svg")
    before = page.locator("#where small").inner_text()
    page.mouse.click(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2 - 30)
    sync = page.locator("#where small")
    for _ in range(50):
        if sync.inner_text() != before:
            break
        page.wait_for_timeout(100)
    row, column = map(int, re.findall(r"\d+", sync.inner_text())[:2])
    assert 0 <= row < 48 < column < 96
    table = {tr.locator("th").inner_text(): tr.locator("td").all_inner_texts() for tr in page.locator("tbody tr").all()
             if tr.locator("th").count()}  # fmt: skip
    for layer in ("multi_year_filtered", "preliminary"):
        names = [DEFAULT_LEGEND.names[c] for c in maps[layer][:, row, column].values.tolist()]
        assert table[in_words(layer)] == names
    assert table["usable dates"] == [str(v) for v in maps.valid_count[:, row, column].values]
    dots = page.locator("#series circle title")
    assert dots.count() > 6 and re.match(r"2018-\d\d-\d\d: -?0\.\d{3}", dots.first.text_content())
    page.mouse.click(box["x"] + 30, box["y"] + box["height"] / 2)
    page.wait_for_selector("#where small:has-text('there is no map at this point')")
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#where small:has-text('row 4')")


def classes_are_toggled(page: Any, maps: xr.Dataset) -> None:
    codes, counts = np.unique(maps.multi_year_filtered.sel(year=2018).values, return_counts=True)
    common = int(codes[counts.argmax()])
    page.get_by_role("button", name="All").click()  # and the focus, which shows the middle, leaves the map
    full = still(page)
    assert share(full, common) > 0.01
    page.get_by_label(DEFAULT_LEGEND.names[common], exact=True).uncheck()
    assert share(still(page), common) == 0
    page.get_by_role("button", name="None").click()
    bare = still(page)
    assert all(share(bare, code) == 0 for code in DEFAULT_LEGEND.codes)
    page.get_by_role("button", name="All").click()
    assert np.array_equal(still(page), full)


def maps_are_swiped(page: Any) -> None:
    left = still(page)
    page.locator("#left select").select_option("preliminary")
    page.locator("#left .years input[value='2019']").check(force=True)
    right = still(page)
    assert (left != right).any()
    page.locator("#left select").select_option("multi_year_filtered")
    page.locator("#left .years input[value='2018']").check(force=True)
    page.locator("#compare").check()
    page.locator("#right select").select_option("preliminary")
    divider = page.get_by_role("slider")
    divider.focus()
    page.keyboard.press("End")
    assert np.array_equal(still(page), left)
    page.keyboard.press("Home")
    assert np.array_equal(still(page), right)
    box, frame = divider.bounding_box(), page.locator("#frame").bounding_box()
    middle = frame["y"] + frame["height"] / 2
    page.mouse.move(box["x"] + 14, middle)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] * 0.55, middle, steps=5)
    page.mouse.up()
    assert divider.get_attribute("aria-valuenow") == "55"
    both, at = still(page), int(frame["width"] * 0.55) - 80
    assert np.array_equal(both[:, : at - 30], left[:, : at - 30])
    assert np.array_equal(both[:, at + 30 :], right[:, at + 30 :])


def test_tiles_are_a_power_of_two_larger_than_usual() -> None:
    assert log2(EDGE / 256).is_integer()
