"""The page of `mlc-dask interpret`: chips and series of the cube, nothing of the maps, and no answer is ever lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app as cli
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.io.labels import Answer, Labels, read_labels
from tests.cubes import landscape
from tests.test_viewer import CHROMIUM

pytest.importorskip("fastapi", reason="the extra `view` is not installed")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from fastapi.testclient import TestClient

from mlc_dask.show.viewer.chips import CENTRE, EDGE, Chips
from mlc_dask.show.viewer.interpret import interpretation, make_app
from mlc_dask.show.viewer.sample import Sample, open_sample

YEARS = (2018, 2019)
HERE = "http://127.0.0.1:8791"
OWN = {"Origin": HERE}
SECRET = "change in the first map only"

Image = np.ndarray[Any, np.dtype[np.uint8]]


def write_sample(folder: Path, grid: Grid, pixels: list[tuple[int, int]], **replaced: Any) -> Path:
    """A sample as `mlc-dask sample` writes it; ids are 101, 102, …"""
    folder.mkdir(parents=True, exist_ok=True)
    classes = [{"code": c.code, "name": c.name} for c in DEFAULT_LEGEND.classes]
    design = {"crs": grid.crs, "years": list(YEARS), "seed": 3, "classes": classes, "layers": [SECRET]} | replaced
    (folder / "design.json").write_text(json.dumps(design), encoding="utf-8")
    (folder / "strata.csv").write_text(f"stratum,pixels,sampled\n{SECRET},900,{len(pixels)}\n", encoding="utf-8")
    rows = ["id,x,y,lon,lat,stratum"]
    for number, (row, column) in enumerate(pixels, start=101):
        x, y = grid.left + (column + 0.5) * grid.pixel, grid.top - (row + 0.5) * grid.pixel
        rows.append(f"{number},{x},{y},11.5,46.5,{SECRET}")
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


PIXELS = [(20, 30), (0, 0), (47, 63), (10, 50)]


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    found, _ = landscape(years=YEARS)
    clouds = xr.zeros_like(found.usable)
    clouds[0, 1] = True
    return found.assign(usable=found.usable & ~clouds).rio.write_crs("EPSG:32632")


@pytest.fixture
def folder(cube: xr.Dataset, tmp_path: Path) -> Path:
    return write_sample(tmp_path / "sample", Grid.of_raster(cube), PIXELS)


@pytest.fixture
def sample(folder: Path, cube: xr.Dataset) -> Sample:
    return open_sample(folder, Grid.of_raster(cube), list(YEARS), DEFAULT_LEGEND)


@pytest.fixture
def client(sample: Sample, cube: xr.Dataset) -> Iterator[TestClient]:
    with Labels(sample.folder, "anna") as labels:
        yield TestClient(make_app(sample, Chips(cube, YEARS), labels), base_url=HERE)


def told(code: int, other: int | None = None, confidence: int = 1) -> dict[str, Any]:
    codes = zip(YEARS, (code, code if other is None else other), strict=True)
    return {str(year): {"code": c, "confidence": confidence} for year, c in codes}


def answers_of(folder: Path, name: str = "anna") -> dict[tuple[str, int], Answer]:
    return read_labels(folder / "labels" / f"{name}.csv")


# Chips and series


def decoded(png: bytes) -> Image:
    """Red, green, blue, alpha of every chip: (year, acquisition, row, column, 4)."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)[:, :, [2, 1, 0, 3]]
    return np.asarray(image.reshape(len(YEARS), EDGE, -1, EDGE, 4).transpose(0, 2, 1, 3, 4), np.uint8)


BRIGHT = {"B02": 0.25, "B03": 0.25, "B04": 0.25, "B08": 0.5, "B11": 0.5}


@pytest.mark.parametrize(("composite", "bands"), [(0, ("B04", "B03", "B02")), (1, ("B08", "B11", "B04"))])
@pytest.mark.parametrize("position", range(len(PIXELS)))
def test_chips_are_the_cube(client: TestClient, cube: xr.Dataset, position: int, composite: int, bands: Any) -> None:
    answer = client.get(f"/api/points/{position}/{composite}.png")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    chips = decoded(answer.content)
    assert chips.shape == (2, cube.sizes["acquisition"], EDGE, EDGE, 4)
    row, column = PIXELS[position]
    for dy, dx in [(0, 0), (-3, 4), (CENTRE - 1, 0), (0, -CENTRE)]:
        found = chips[:, :, CENTRE + dy, CENTRE + dx]
        y, x = row + dy, column + dx
        if not (0 <= y < cube.sizes["y"] and 0 <= x < cube.sizes["x"]):
            assert not found[..., 3].any(), "outside of the cube there is nothing"
            continue
        dn = np.stack([cube.reflectance.sel(band=b).isel(y=y, x=x).values for b in bands], axis=-1)
        tops = np.array([BRIGHT[b] for b in bands])
        expected = 255 * np.clip((dn * 1e-4 - 0.1) / tops, 0, 1) ** 0.7
        assert np.abs(found[..., :3] - expected).max() <= 0.5 + 1e-9 and (found[..., 3] == 255).all()


def test_series_are_the_cube(client: TestClient, cube: xr.Dataset) -> None:
    found = client.get("/api/points/3").json()
    here = cube.isel(y=10, x=50).load()
    assert found["id"] == "104" and (found["x"], found["y"]) == (float(here.x), float(here.y))
    assert [d["date"] for d in found["dates"]] == sorted(str(t)[:10] for t in here.time.values.ravel())
    assert [d["usable"] for d in found["dates"]] == here.usable.values.ravel().tolist()
    assert {d["usable"] for d in found["dates"]} == {True, False}
    assert list(found["bands"]) == cube.band.values.tolist() and next(iter(found["indices"])) == "ndvi"
    for i, date in enumerate(found["dates"]):
        dn = here.reflectance.sel(year=date["year"]).isel(acquisition=date["column"])
        for band, values in found["bands"].items():
            assert values[i] == pytest.approx(float(dn.sel(band=band)) * 1e-4 - 0.1, abs=1e-4)
        nir, red = (float(dn.sel(band=b)) - 1000 for b in ("B08", "B04"))
        assert found["indices"]["ndvi"][i] == pytest.approx(np.clip((nir - red) / (nir + red), -1, 1), abs=1e-4)


def test_without_data_there_is_no_value(sample: Sample, cube: xr.Dataset) -> None:
    time = cube.time.copy()
    time[1, 2] = np.datetime64("NaT", "ns")
    bare = cube.assign(reflectance=cube.reflectance.where(cube.band != "B04", 0).astype(np.uint16)).assign_coords(
        time=time
    )
    chips = Chips(bare, YEARS)
    found = chips.series((20, 30))
    assert len(found["dates"]) == 11 and set(found["bands"]["B04"]) == set(found["indices"]["ndvi"]) == {None}
    assert None not in found["bands"]["B08"]
    assert not decoded(chips.sheet((20, 30), 0))[..., 3].any()


@pytest.mark.parametrize(
    ("bands", "titles"),
    [
        (("B02", "B03", "B04", "B08", "B11"), ["true colour", "false colour"]),
        (("B03", "B04", "B08"), ["false colour"]),
        (("B04", "B8A", "B11"), ["false colour"]),
        (("B05", "B08"), ["B05"]),
    ],
)
def test_bands_that_exist_are_shown(cube: xr.Dataset, bands: tuple[str, ...], titles: list[str]) -> None:
    chips = Chips(cube.sel(band=list(bands)), YEARS)
    assert list(chips.composites) == [one["title"] for one in chips.describe()] == titles
    for composite in range(len(titles)):
        assert decoded(chips.sheet((20, 30), composite))[..., CENTRE, CENTRE, 3].all()


def test_a_cube_that_ascends_is_the_same_cube(cube: xr.Dataset) -> None:
    turned = Chips(cube.isel(y=slice(None, None, -1)), YEARS)
    assert turned.sheet((10, 50), 1) == Chips(cube, YEARS).sheet((10, 50), 1)


# Blind


def test_the_page_knows_nothing_of_maps_and_strata(client: TestClient) -> None:
    description = client.get("/api/sample").json()
    assert description["points"] == ["101", "102", "103", "104"]
    assert [c["name"] for c in description["classes"]] == list(DEFAULT_LEGEND.names.values())
    paths = ["/", "/api/sample", *(f"/api/points/{i}" for i in range(len(PIXELS)))]
    for text in (client.get(path).text for path in paths):
        assert SECRET not in text and "strat" not in text.lower() and '"layers"' not in text
    assert set(client.get("/api/points/0").json()) == {"id", "x", "y", "lon", "lat", "dates", "indices", "bands"}
    for path in ("/api/places", "/api/places/sample", "/api/places/sample/pixel?lon=0&lat=0", "/strata.csv", "/docs"):
        assert client.get(path).status_code == 404, path


# Answers


def test_an_answer_is_on_disk_when_it_is_acknowledged(client: TestClient, folder: Path) -> None:
    answer = client.post("/api/points/1", json=told(3, 5, confidence=0), headers=OWN)
    assert (answer.status_code, answer.json()) == (200, {"saved": 2})
    assert answers_of(folder) == {("102", 2018): Answer(3, 0), ("102", 2019): Answer(5, 0)}
    assert client.post("/api/points/1", json=told(0), headers=OWN).status_code == 200
    assert answers_of(folder) == {("102", 2018): Answer(0), ("102", 2019): Answer(0)}
    assert client.get("/api/sample").json()["answers"] == {"102": {"2018": [0, 1], "2019": [0, 1]}}


def test_it_goes_on_where_it_ended(sample: Sample, cube: xr.Dataset) -> None:
    for position, name in enumerate(["anna", "ben", "anna"]):
        with Labels(sample.folder, name) as labels:
            client = TestClient(make_app(sample, Chips(cube, YEARS), labels), base_url=HERE)
            own = client.get("/api/sample").json()
            assert (own["interpreter"], len(own["answers"])) == (name, [0, 0, 1][position])
            assert client.post(f"/api/points/{position}", json=told(2), headers=OWN).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/api/points/0", {"2018": {"code": 1, "confidence": 1}}, 422),
        ("/api/points/0", told(1) | {"2020": {"code": 1, "confidence": 1}}, 422),
        ("/api/points/0", told(77), 422),
        ("/api/points/0", told(-1), 422),
        ("/api/points/0", told(1, confidence=2), 422),
        ("/api/points/0", {"2018": 1, "2019": 1}, 422),
        ("/api/points/0", [], 422),
        ("/api/points/4", told(1), 404),
        ("/api/points/-1", told(1), 422),
        ("/api/points/anna", told(1), 422),
        ("/api/sample", told(1), 405),
    ],
)
def test_other_answers_are_refused(client: TestClient, folder: Path, path: str, body: Any, code: int) -> None:
    assert client.post(path, json=body, headers=OWN).status_code == code
    assert answers_of(folder) == {}


def test_a_disk_that_takes_no_answer_is_told(client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answer = client.post("/api/points/0", json=told(1), headers=OWN)
    assert answer.status_code == 507 and "No space left" in answer.json()["detail"]
    assert answers_of(folder) == client.get("/api/sample").json()["answers"] == {}
    assert client.post("/api/points/0", json=told(1), headers=OWN).status_code == 200 and len(answers_of(folder)) == 2


# Nobody else


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1234"}, 403),
        ({"Origin": "https://127.0.0.1:8791"}, 403),
        ({"Origin": "http://127.0.0.1:8791.evil.example"}, 403),
        ({"Origin": "http://evil.example", "Host": "evil.example"}, 400),
        ({"Origin": "http://localhost:9", "Host": "localhost:9"}, 200),
        (OWN, 200),
    ],
)
def test_only_the_page_itself_may_answer(client: TestClient, folder: Path, headers: dict[str, str], code: int) -> None:
    assert client.post("/api/points/0", json=told(1), headers=headers).status_code == code
    assert len(answers_of(folder)) == (2 if code == 200 else 0)


@pytest.mark.parametrize("path", ["/", "/api/sample", "/api/points/0", "/api/points/0/0.png", "/api/agreement"])
def test_other_sites_are_told_nothing(client: TestClient, path: str) -> None:
    for headers, code in (({"Host": "evil.example"}, 400), ({"Origin": "http://evil.example"}, 403)):
        answer = client.get(path, headers=headers)
        assert answer.status_code == code and "101" not in answer.text
    policy = client.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_a_form_of_another_type_is_no_answer(client: TestClient, folder: Path) -> None:
    body = json.dumps(told(1))
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post("/api/points/0", content=body, headers=OWN | {"Content-Type": kind})
        assert answer.status_code == 422, kind
    assert answers_of(folder) == {}


# Two interpreters


def test_agreement_is_told_after_the_last_point_only(client: TestClient, sample: Sample) -> None:
    with Labels(sample.folder, "ben") as labels:
        for point, (first, second) in zip(("101", "102", "103"), ((1, 1), (2, 3), (0, 2)), strict=True):
            labels.add(point, {2018: Answer(first), 2019: Answer(second)})
        labels.add("104", {2018: Answer(1)})
    (sample.folder / "labels" / "carl.csv").write_text("notes\n", encoding="utf-8")
    for position, codes in enumerate([(1, 1), (2, 2), (2, 2), (1, 1)]):
        refused = client.get("/api/agreement")
        assert refused.status_code == 409 and refused.json()["detail"] == f"{4 - position} points have no answer yet"
        assert client.post(f"/api/points/{position}", json=told(*codes), headers=OWN).status_code == 200
    ben, carl = client.get("/api/agreement").json()
    assert (ben["name"], ben["points"], ben["differing"]) == ("ben", 3, ["102", "103"])
    assert ben["rows"] == [
        {"year": "2018", "n": 2, "share": 1.0, "kappa": 1.0},
        {"year": "2019", "n": 3, "share": 0.6667, "kappa": 0.5},
        {"year": "all years", "n": 5, "share": 0.8, "kappa": 0.6667},
    ]
    assert carl["name"] == "carl" and "no column class, id, year" in carl["fault"]


# What cannot be interpreted


def changed(folder: Path, **design: Any) -> None:
    path = folder / "design.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | design), encoding="utf-8")


def rewritten(folder: Path, old: str, new: str) -> None:
    path = folder / "points.csv"
    path.write_text(re.sub(old, new, path.read_text(encoding="utf-8"), flags=re.M), encoding="utf-8")


FAULTS: list[tuple[Any, str]] = [
    (lambda f: (f / "design.json").unlink(), r"design\.json does not exist; give the folder of a sample"),
    (lambda f: (f / "points.csv").unlink(), r"points\.csv does not exist"),
    (lambda f: (f / "design.json").write_text("{", encoding="utf-8"), "is not the design of a sample"),
    (lambda f: changed(f, classes=None), "is not the design of a sample"),
    (lambda f: changed(f, classes=[{"code": 1}]), "KeyError: 'name'"),
    (lambda f: changed(f, years=[]), "names no year"),
    (lambda f: changed(f, years=[2018, 2031]), "the cube of the run has no year 2031; draw the sample again"),
    (lambda f: changed(f, crs="EPSG:32633"), "the CRS of the sample is not"),
    (lambda f: changed(f, crs="nowhere"), "is not the design of a sample"),
    (lambda f: rewritten(f, "^10[0-9].*\n", ""), "has no points"),
    (lambda f: rewritten(f, "lon,lat", "lon,latitude"), "no column lat"),
    (lambda f: rewritten(f, "^102,", "101,"), "line 3: id 101 occurs twice"),
    (lambda f: rewritten(f, "^102,5.0", "102,five"), "line 3: x, y, lon and lat are not all numbers"),
    (lambda f: rewritten(f, "^102,5.0", "102,5.7"), "line 3: point 102 is not the centre of a pixel"),
    (lambda f: rewritten(f, "^102,5.0", "102,-5.0"), "line 3: point 102 is outside of the cube"),
    (lambda f: rewritten(f, "^102,5.0", "102,645.0"), "line 3: point 102 is outside of the cube"),
]


@pytest.mark.parametrize(("spoil", "fault"), FAULTS)
def test_a_sample_that_is_none_is_one_line(folder: Path, cube: xr.Dataset, spoil: Any, fault: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=fault) as told_:
        open_sample(folder, Grid.of_raster(cube), list(YEARS), DEFAULT_LEGEND)
    assert "\n" not in str(told_.value) and ";" in str(told_.value)


def test_answers_to_another_sample_are_refused(sample: Sample) -> None:
    for point, year, code in (("999", 2018, 1), ("101", 2031, 1), ("101", 2018, 99)):
        with pytest.raises(InputError, match=r"anna\.csv: point .* move the file away"):
            sample.check({(point, year): Answer(code)}, Path("anna.csv"))
    sample.check({("101", 2018): Answer(0), ("104", 2019): Answer(11)}, Path("anna.csv"))


def refused(*words: str | Path) -> str:
    result = CliRunner().invoke(cli, ["interpret", *map(str, words), "--port", "0"])
    assert result.exit_code == 2 and result.output.startswith("error: "), result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize("name", ["../anna", "a b", ""])
def test_a_name_that_is_a_path_is_one_line(tmp_path: Path, name: str) -> None:
    assert "is no name of an interpreter" in refused(tmp_path, tmp_path, "--as", name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_one_line(tmp_path: Path) -> None:
    assert "is not a folder; give the output folder" in refused(tmp_path / "no", tmp_path, "--as", "anna")


# A run


@pytest.fixture(scope="module")
def points(valley: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of 20 points of the run."""
    rng = np.random.default_rng(8)
    pixels = [(int(row), int(column)) for row, column in rng.integers(0, 96, (20, 2))]
    return write_sample(tmp_path_factory.mktemp("drawn") / "sample", Grid.of_raster(mlc.open_maps(valley)), pixels)


@pytest.mark.slow
def test_runs_that_cannot_be_shown_are_one_line(valley: Path, points: Path, tmp_path: Path) -> None:
    for tile in ("31UFS", "31UFT"):
        shutil.copytree(valley, tmp_path / "both" / tile)
    layers = {"models": {"name": "models", "kind": "models", "folder": "x", "fingerprint": "y", "part": []}}
    (tmp_path / "both" / "CURRENT.json").write_text(json.dumps({"layers": layers}), encoding="utf-8")
    assert "has the tiles 31UFS, 31UFT; give the folder of one" in refused(tmp_path / "both", points, "--as", "anna")
    (cube,) = (tmp_path / "both" / "31UFS" / "artifacts").glob("cube-*")
    shutil.rmtree(cube)
    assert "was deleted; make it again" in refused(tmp_path / "both" / "31UFS", points, "--as", "anna")
    with interpretation(valley, points, "held"):
        assert "is being written by another process" in refused(valley, points, "--as", "held")
    (points / "labels" / "held.csv").unlink()


class Server:
    """`mlc-dask interpret` on one port, which can be killed and started again."""

    def __init__(self, *words: str | Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [sys.executable, "-m", "mlc_dask", "interpret", *map(str, words), "--port", str(self.port)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[0]

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        self.process.communicate(timeout=30)
        return self.process.returncode


KEYS = "123456789ab"


def interpret(page: Any, position: int) -> tuple[Answer, Answer]:
    """Answer the point that is shown in one of several ways, and return what was meant; Enter is not pressed."""
    page.wait_for_selector(f"body[data-point='{position}']")
    first = DEFAULT_LEGEND.classes[position % 11].code
    page.keyboard.press(KEYS[position % 11])
    if position % 5 == 1:  # a change: another class in the second year
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("3")
        return Answer(first), Answer(DEFAULT_LEGEND.classes[2].code)
    if position % 5 == 2:
        page.keyboard.press("Space")
        return Answer(first, 0), Answer(first, 0)
    if position % 5 == 3:  # a slip, taken back
        page.keyboard.press("5")
        page.keyboard.press("Backspace")
    if position % 5 == 4:
        page.keyboard.press("Digit0")
        return Answer(0), Answer(0)
    return Answer(first), Answer(first)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_twenty_points_in_a_browser_with_a_kill_in_the_middle(valley: Path, points: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    server, meant = Server(valley, points, "--as", "anna"), {}
    file = points / "labels" / "anna.csv"
    asked: list[str] = []
    faults: list[str] = []
    options = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"

    def opened(browser: Any) -> Any:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(server.address)
        page.wait_for_selector("body[data-ready]")
        return page

    def answer(page: Any, position: int) -> None:
        first, second = interpret(page, position)
        meant.update({(str(101 + position), 2018): first, (str(101 + position), 2019): second})

    def kept() -> None:
        """What another process reads from the disk, before the next point shows."""
        assert read_labels(file) == meant

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options.split())
        try:
            page = opened(browser)
            for position in range(10):
                answer(page, position)
                page.keyboard.press("Enter")
                page.wait_for_selector(f"body[data-point='{position + 1}']")
                kept()
            shows_the_point(page)
            server.end(signal.SIGKILL)
            kept()
            with file.open("ab") as torn:
                torn.write(b"111,2018,")
            assert faults == []
            kept()
            answer(page, 10)
            page.keyboard.press("Enter")
            page.wait_for_selector("#message:has-text('Not saved: the program does not answer')")
            assert page.get_attribute("body", "data-point") == "10"
            server.start()
            page.keyboard.press("Enter")
            page.wait_for_selector("body[data-point='11']")
            kept()
            for position in range(11, 15):
                answer(page, position)
                page.keyboard.press("Enter")
                page.wait_for_selector(f"body[data-point='{position + 1}']")
            kept()
            page.close()
            page = opened(browser)
            for position in range(15, 20):
                answer(page, position)
                page.keyboard.press("Enter")
            page.wait_for_selector("#end:not([hidden])")
            assert "No other interpreter" in page.locator("#agreement").inner_text()
            kept()
            looks_again(page, meant)
            kept()
            # Only what was asked while the program was dead.
            assert all("ERR_CONNECTION" in fault for fault in faults), faults
            assert asked and all(url.startswith((server.address, "data:")) for url in asked)
            browser.close()
        finally:
            assert server.end(signal.SIGINT) == 0


def shows_the_point(page: Any) -> None:
    """Chips of every acquisition by year with the outlined pixel, its series, the classes, and no answer yet."""
    assert page.locator(".year").count() == 2 and page.locator(".chip").count() == 12
    assert page.locator(".chip .mark").count() == 24 and page.locator(".chip.invalid").count() > 0
    assert page.locator("#chart polyline").count() > 4
    assert page.locator("#classes button").all_inner_texts()[0].split() == ["1", "Artificial"]
    assert page.locator("#classes button[aria-pressed=true]").count() == 0
    assert page.locator("#answered").inner_text() == "10 answered"
    assert page.locator("#total").inner_text() == "of 20"
    colours = page.locator(".chip:not(.invalid) canvas").first.evaluate(
        "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    )
    assert colours > 20, "there is a picture in the canvas"
    looked = page.locator("#loupe figcaption").inner_text()
    page.keyboard.press("Shift+ArrowLeft")
    assert page.locator("#loupe figcaption").inner_text() < looked
    page.keyboard.press("Shift+ArrowRight")
    assert page.locator("#loupe figcaption").inner_text() == looked
    page.keyboard.press("Enter")
    page.wait_for_selector("#message:has-text('No class yet for this point')")
    assert page.get_attribute("body", "data-point") == "10"


def looks_again(page: Any, meant: dict[tuple[str, int], Answer]) -> None:
    """A point that was answered shows its answer, which can be replaced by mouse."""
    page.locator("#again").click()
    page.wait_for_selector("body[data-point='19']")
    page.locator("#at").fill("2")
    page.locator("#at").press("Enter")
    page.wait_for_selector("body[data-point='1']")
    page.locator("#at").blur()
    assert [text.split() for text in page.locator("#told button").all_inner_texts()] == [
        ["2018", "Grass"],
        ["2019", "Crops"],
    ]
    page.locator("#classes button", has_text="Water").click()
    page.locator("#next").click()
    page.wait_for_selector("body[data-point='2']")
    water = DEFAULT_LEGEND.code("Water")
    meant.update({("102", 2018): Answer(water), ("102", 2019): Answer(water)})
