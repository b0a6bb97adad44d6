"""Faults of the network end in the right pixels or in a FetchError, never in blank pixels."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import odc.stac
import pystac
import pytest
import rasterio
import requests
from affine import Affine
from odc.geo.geobox import GeoBox
from pystac.extensions.projection import ProjectionExtension

from mlc_dask.data.errors import InputError, RefusedError
from mlc_dask.io.remote import FetchError, Patience, check_href, environment, length_of, options, retried
from tests.faulty_server import Fault, FaultyServer, serve

QUICK = Patience(attempts=2, requests=1, delay=0.02, longest=0.05, connect=1, stalled=1)
SIZE, HEADER = 512, 65536
LATTICE = Affine(10, 0, 500_000, 0, -10, 5_000_000)
WHOLE = GeoBox((SIZE, SIZE), LATTICE, "EPSG:32631")
ROWS = WHOLE[200:500, 300:450]  # some tiles of each row: parallel requests
WARPED = GeoBox((200, 200), Affine(14, 0, 501_003, 0, -14, 4_999_007), "EPSG:32631")
COARSE = WHOLE.zoom_out(4)  # read from an overview
TILE = WHOLE[448:, 448:]  # the last of the file
WHAT = "S2A_31TFJ, B04"
NAMED = r"^S2A_31TFJ, B04: .+\(2 attempts\); run again; finished work is kept$"

NAMES = (f"{number}.tif" for number in count())


@pytest.fixture(scope="module")
def cog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("served") / "cog.tif"
    write(path, "COG", compress="deflate", blocksize=64)
    return path


@pytest.fixture(scope="module")
def running(cog: Path) -> Iterator[FaultyServer]:
    with serve(cog.parent) as server:
        yield server


@pytest.fixture
def name(cog: Path) -> str:
    """Path of a file that no test has read before: GDAL knows nothing of it."""
    name = next(NAMES)
    (cog.parent / name).hardlink_to(cog)
    return name


def write(path: Path, driver: str, **settings: object) -> None:
    values = np.random.default_rng(1).integers(1, 10_000, (SIZE, SIZE), dtype="uint16")  # no pixel is blank
    profile = {"width": SIZE, "height": SIZE, "count": 1, "dtype": "uint16", "crs": "EPSG:32631"}
    with rasterio.open(path, "w", driver=driver, transform=LATTICE, nodata=0, **profile, **settings) as file:
        file.write(values, 1)


def load(href: str, box: GeoBox = WHOLE) -> npt.NDArray[np.uint16]:
    footprint = WHOLE.geographic_extent
    item = pystac.Item("S2A_31TFJ", footprint.json, list(footprint.boundingbox), datetime(2020, 1, 1, tzinfo=UTC), {})
    ProjectionExtension.ext(item, add_if_missing=True).epsg = 32631
    item.add_asset("B04", pystac.Asset(href, roles=["data"]))
    found = odc.stac.load(
        [item], bands=["B04"], geobox=box, resampling="bilinear", dtype="uint16", nodata=0, fail_on_error=True,
        stac_cfg={"*": {"warnings": "ignore"}},
    )  # fmt: skip
    return np.asarray(found["B04"].values[0])


@cache
def right(path: Path, box: GeoBox = WHOLE) -> npt.NDArray[np.uint16]:
    values = load(str(path), box)
    assert np.all(values > 0)
    return values


def fetch(href: str, box: GeoBox = WHOLE, patience: Patience = QUICK) -> npt.NDArray[np.uint16]:
    def attempt() -> npt.NDArray[np.uint16]:
        with environment(href, patience):
            return load(href, box)

    return retried(attempt, WHAT, patience)


FAULTS = [
    *(Fault("status", status=status) for status in (429, 500, 503)),
    *(Fault(kind) for kind in ("reset", "cut", "whole", "garbage")),
]
STALLS = [Fault("stall", seconds=2), Fault("stall_in_body", seconds=2)]
STAGES = {"header": {"from_byte": 0}, "pixels": {"from_byte": HEADER}, "later": {"from_byte": HEADER, "after": 2}}


def told(fault: Fault) -> str:
    return f"{fault.kind}{fault.status if fault.kind == 'status' else ''}"


def staged(fault: Fault, times: int | None, stage: str) -> Fault:
    return Fault(fault.kind, fault.status, times, seconds=fault.seconds, **STAGES[stage])  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", [*FAULTS, *STALLS], ids=told)
def test_a_passing_fault_is_retried_to_the_right_pixels(
    server: FaultyServer, cog: Path, name: str, fault: Fault, stage: str
) -> None:
    server.fail(staged(fault, 1, stage), name)
    assert np.array_equal(fetch(server.url(name), ROWS), right(cog, ROWS))


@pytest.mark.parametrize("stage", ["header", "pixels"])
@pytest.mark.parametrize("fault", [one for one in FAULTS if one.kind != "whole"], ids=told)
def test_a_lasting_fault_is_named(server: FaultyServer, name: str, fault: Fault, stage: str) -> None:
    server.fail(staged(fault, None, stage), name)
    with pytest.raises(FetchError, match=NAMED):
        fetch(server.url(name), ROWS)


@pytest.mark.parametrize("fault", STALLS, ids=told)
def test_a_lasting_stall_is_named(server: FaultyServer, name: str, fault: Fault) -> None:
    server.fail(staged(fault, None, "pixels"), name)
    with pytest.raises(FetchError, match=NAMED):
        fetch(server.url(name), TILE)


@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("stage", ["header", "pixels"])
@pytest.mark.parametrize("box", [WHOLE, WARPED, COARSE], ids=["merged", "warped", "overview"])
@pytest.mark.parametrize("fault", FAULTS[2:], ids=told)
def test_never_a_wrong_pixel(
    server: FaultyServer, cog: Path, name: str, fault: Fault, box: GeoBox, stage: str, times: int | None
) -> None:
    """GDAL may get along with a fault: half an answer at a time, or a whole file instead of its header."""
    server.fail(staged(fault, times, stage), name)
    try:
        found = fetch(server.url(name), box)
    except FetchError as error:
        assert times is None, error
    else:
        assert np.array_equal(found, right(cog, box))


def test_faults_do_not_outlive_the_read(server: FaultyServer, cog: Path, name: str) -> None:
    server.fail(Fault("status", status=404), name)
    with pytest.raises(InputError, match="404"):
        fetch(server.url(name))
    server.heal()
    assert np.array_equal(fetch(server.url(name)), right(cog))


@pytest.mark.parametrize("status", [403, 404])
def test_what_is_missing_or_refused_fails_at_once(server: FaultyServer, name: str, status: int) -> None:
    server.fail(Fault("status", status=status), name)
    with pytest.raises(InputError, match=f"^S2A_31TFJ, B04: .*{status}; correct its address"):
        fetch(server.url(name), patience=Patience())
    assert len(server.requests(name)) <= 2


def test_redirects_without_end_fail_at_once(server: FaultyServer, name: str) -> None:
    """As of a host that wants a login: trying again does not help."""
    server.fail(Fault("redirect"), name)
    with pytest.raises(InputError, match=r"^S2A_31TFJ, B04: .*redirects.*; correct its address, or get access"):
        fetch(server.url(name))
    with pytest.raises(InputError, match=r"redirects.*; correct its address, or get access to it"):
        retried(lambda: length_of(server.url(name)), WHAT, QUICK)


def test_a_page_in_place_of_an_image_is_named_and_never_read(server: FaultyServer, cog: Path, name: str) -> None:
    server.fail(Fault("page"), name)
    with pytest.raises(FetchError, match=r"^S2A_31TFJ, B04: .* not recognized as being in a supported file format"):
        fetch(server.url(name))
    assert length_of(server.url(name)) is None, "the length of the page is not that of the image"
    server.heal()
    server.fail(Fault("page", times=1), name)
    assert np.array_equal(fetch(server.url(name)), right(cog)), "a page that passes is forgotten"


@pytest.mark.parametrize("stage", ["header", "pixels"])
def test_a_refusal_that_passes_leaves_no_wrong_pixel(server: FaultyServer, cog: Path, name: str, stage: str) -> None:
    """403, then 200, as of a host that limits how often it is asked: the right pixels, or one line at once."""
    server.fail(staged(Fault("status", status=403), 1, stage), name)
    try:
        assert np.array_equal(fetch(server.url(name)), right(cog))
    except RefusedError as error:
        assert re.match(r"S2A_31TFJ, B04: .*403; correct its address, or get access to it", str(error))
    assert np.array_equal(fetch(server.url(name)), right(cog))


def test_a_host_that_is_down(server: FaultyServer, cog: Path, name: str) -> None:
    server.stop()
    try:
        with pytest.raises(FetchError, match="connect"):
            fetch(server.url(name))
    finally:
        server.start()
    assert np.array_equal(fetch(server.url(name)), right(cog))


def test_nothing_is_fetched_twice(server: FaultyServer, name: str) -> None:
    fetch(server.url(name), ROWS)
    spans = [(one.start, one.end) for one in server.requests(name) if one.method == "GET"]
    assert len(spans) == len(set(spans))
    assert spans[0] == (0, HEADER)
    assert len(server.requests(f"{name}*")) == len(server.requests())


def test_many_threads_on_one_file(server: FaultyServer, cog: Path, name: str) -> None:
    server.fail(Fault("cut", times=3, after=4), name)
    with ThreadPoolExecutor(4) as pool:
        patience = Patience(attempts=6, requests=1, delay=0.02, longest=0.05)
        found = list(pool.map(partial(fetch, patience=patience), [server.url(name)] * 6))
    assert all(np.array_equal(one, right(cog)) for one in found)


def test_jpeg_2000(server: FaultyServer, cog: Path) -> None:
    path = cog.with_name("band.jp2")
    write(path, "JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    server.fail(Fault("cut", times=1, from_byte=HEADER), path.name)
    assert np.array_equal(fetch(server.url(path.name)), right(path))


def vrt_of(path: Path) -> str:
    return (
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}"><SRS>EPSG:32631</SRS>'
        "<GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform><VRTRasterBand dataType='UInt16' band='1'>"
        f"<SimpleSource><SourceFilename>{path}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )


def test_a_vrt_in_disguise_is_not_opened(server: FaultyServer, cog: Path) -> None:
    cog.with_name("img.tif").write_text(vrt_of(cog))
    with rasterio.Env(**options(QUICK)):
        assert np.array_equal(load(server.url("img.tif")), right(cog))  # without the environment it would be
    with pytest.raises(FetchError, match="not recognized"):
        fetch(server.url("img.tif"))


def test_a_vrt_that_replaces_a_checked_file_is_not_seen(server: FaultyServer, cog: Path) -> None:
    path = cog.with_name("swapped.tif")
    path.hardlink_to(cog)
    with environment(server.url(path.name), QUICK):
        path.unlink()
        path.write_text(vrt_of(cog))
        with rasterio.open(server.url(path.name)) as again:
            assert again.driver == "GTiff"


@pytest.mark.parametrize("status", [404, 503])
def test_requests_of_python_are_told_apart_as_well(server: FaultyServer, name: str, status: int) -> None:
    server.fail(Fault("status", status=status), name)
    with pytest.raises(InputError if status == 404 else FetchError, match=str(status)):
        retried(lambda: requests.get(server.url(name), timeout=5).raise_for_status(), "token", QUICK)
    assert len(server.requests(name)) == (1 if status == 404 else QUICK.attempts)


def test_a_missing_file_on_this_machine_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        fetch(str(tmp_path / "none.tif"), patience=Patience())


def test_mistakes_are_not_retried() -> None:
    calls: list[int] = []
    with pytest.raises(ZeroDivisionError):
        retried(lambda: calls.append(1) or 1 / 0, WHAT)  # type: ignore[func-returns-value]
    assert calls == [1]


def test_the_error_travels_between_processes() -> None:
    error = FetchError(WHAT, ValueError("cut short"))
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == f"{WHAT}: cut short; run again; finished work is kept"


@pytest.mark.parametrize(
    ("href", "opened"),
    [
        ("https://a.example.com/B04.tif?sig=a%2Fb%3D", "https://a.example.com/B04.tif?sig=a%2Fb%3D"),
        ("s3://example.com/a/B04.jp2", "/vsis3/example.com/a/B04.jp2"),
        ("http://127.0.0.1:80/B04.tif", "http://127.0.0.1:80/B04.tif"),
        ("http://localhost/B04.tif", "http://localhost/B04.tif"),
        ("http://[::1]:80/B04.tif", "http://[::1]:80/B04.tif"),
        ("/data/my images/B04.tif", "/data/my images/B04.tif"),
    ],
)
def test_what_is_opened(href: str, opened: str) -> None:
    assert check_href(href) == opened
    assert check_href(href, ["example.com", "127.0.0.1", "localhost", "::1"]) == opened


@pytest.mark.parametrize(
    "href",
    [
        "http://example.com/a.tif", "ftp://example.com/a.tif", "file:///etc/passwd", "zip+https://example.com/a.tif",
        "vrt:///a.tif?bands=1", "/vsicurl/http://10.0.0.1/a.tif", "GTIFF_DIR:1:/a.tif", "https:///a.tif",
        "https://example.com@evil.com/a.tif", "https://evil.com\\@example.com/a.tif", "https://example.com/<VRTDataset>",
        "http://127.0.0.1.evil.com/a.tif",
    ],
)  # fmt: skip
def test_what_is_refused(href: str) -> None:
    with pytest.raises(InputError):
        check_href(href)


def test_only_the_allowed_hosts() -> None:
    for href in ("https://evilexample.com/a.tif", "http://127.0.0.1/a.tif", "s3://other/a.tif"):
        with pytest.raises(InputError, match="not an allowed host"):
            check_href(href, ["example.com"])
    assert check_href("http://example.com/a.tif", plain_http=True)
