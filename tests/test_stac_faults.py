"""Faults and places of assets, as the STAC source meets them."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio

from mlc_dask.data.acquisitions import Acquisition, Catalogue, Selection
from mlc_dask.data.errors import FetchError, InputError, RefusedError
from mlc_dask.io import remote
from mlc_dask.io.checksums import of_multihash
from mlc_dask.io.sources import Stac, stac
from mlc_dask.kernels.pairing.rules import PairingRules
from mlc_dask.stages.choice import choose_acquisitions
from mlc_dask.worlds import World
from mlc_dask.worlds.formats import FORMATS
from mlc_dask.worlds.formats.stac import write_catalogue
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.scenes import Scene, scenes
from mlc_dask.worlds.spectra import Ground
from tests.cubes import Array
from tests.faulty_server import Fault, FaultyServer, serve
from tests.stac_api import (
    COLLECTION,
    VRT,
    Answering,
    collected,
    whole,
)

HEADER = 65536
"""Bytes that are read of a file first."""


@pytest.fixture
def few(features: list[dict[str, Any]], tmp_path: Path) -> Callable[..., tuple[Stac, Acquisition, Catalogue]]:
    """Source of the first acquisition alone, `band` of it somewhere else."""

    def made(elsewhere: str | None = None, band: str = "B04", **settings: Any) -> tuple[Stac, Acquisition, Catalogue]:
        one = json.loads(json.dumps(min(features, key=lambda f: str(f["properties"]["datetime"]))))
        if elsewhere is not None:
            one["assets"][band]["href"] = elsewhere
        source = Stac(catalogue=str(collected(tmp_path / "one.json", [one])), **settings)
        found = source.catalogue()
        return source, found.acquisitions[0], found

    return made


Few = Callable[..., tuple[Stac, Acquisition, Catalogue]]


def expected(scene: Scene) -> Array:
    """Band B04 in the cube's convention."""
    values = scene.dn["B04"].astype(int)
    return np.where(values > 0, values + 1000, 0)


def test_the_token_is_part_of_the_place(
    few: Few, tokens: Answering, rendered: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    @contextmanager
    def watched(href: str) -> Iterator[Any]:
        opened.append(href)
        with remote.environment(href) as file:
            yield file

    monkeypatch.setattr(stac, "environment", watched)
    source, one, found = few(tokens=f"{tokens.url}/{{collection}}", collection=COLLECTION)
    np.testing.assert_array_equal(whole(source, one, found)[0][2], expected(rendered[0]))
    assert len(opened) == 11 and all(href.endswith(".tif?sig=1") for href in opened)
    assert tokens.asked == [f"/{COLLECTION}"]


@pytest.mark.parametrize("layer", ["B04", "SCL"])
@pytest.mark.parametrize(
    "fault", [Fault("status", 503), Fault("cut"), Fault("reset"), Fault("garbage")], ids=lambda f: f.kind
)
def test_passing_faults_end_in_the_right_pixels(
    few: Few, server: FaultyServer, rendered: list[Scene], layer: str, fault: Fault, quick: None
) -> None:
    source, one, found = few()
    right = whole(source, one, found)
    np.testing.assert_array_equal(right[0][2], expected(rendered[0]))
    server.fail(replace(fault, times=2, method="GET"), f"*{layer}*")
    for values, wanted in zip(whole(source, one, found), right, strict=True):
        np.testing.assert_array_equal(values, wanted)
    assert len(server.requests(f"*{layer}*")) > 2, "nothing failed: the test tests nothing"


@pytest.mark.parametrize("layer", ["B04", "SCL"])
@pytest.mark.parametrize(
    "fault", [Fault("status", 503), Fault("status", 404), Fault("cut"), Fault("reset"), Fault("garbage")], ids=str
)
def test_lasting_faults_name_item_and_band(
    few: Few, server: FaultyServer, layer: str, fault: Fault, quick: None
) -> None:
    source, one, found = few()
    server.heal()
    server.fail(fault, f"*{layer}*")
    name = "mask" if layer == "SCL" else layer
    lasting = fault.kind == "status" and fault.status == 404
    with pytest.raises(InputError if lasting else FetchError) as caught:
        whole(source, one, found)
    line = str(caught.value)
    assert line.startswith(f"{one.granules[0].id}, {name} (http://127.0.0.1:") and "\n" not in line
    assert ("(3 attempts)" in line) != lasting
    if lasting:
        assert len(server.requests(f"*{layer}*")) <= 2


@pytest.mark.parametrize("fault", [Fault("status", 404), Fault("cut")], ids=lambda f: f.kind)
def test_weather_is_never_guessed(few: Few, server: FaultyServer, fault: Fault, quick: None) -> None:
    source, one, found = few()
    server.fail(fault, "*SCL*")
    kind = InputError if fault.kind == "status" else FetchError
    with pytest.raises(kind, match=f"^{one.granules[0].id}, mask "):
        source.weather(one, found.grid)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    """One item whose files are larger than what is read of them first."""
    folder = tmp_path_factory.mktemp("large")
    world = World(size=320, years=(2018,), seed=3, acquisitions_per_year=2)
    scene = next(scenes(world, 0, Ground(world, make_landscape(world))))
    with serve(folder) as server:
        place = FORMATS["stac"](folder, scene, flavour="planetary-computer", base_url=server.url(""))
        write_catalogue(folder, [place])
        assert next(folder.rglob("*B04*")).stat().st_size > 2 * HEADER
        yield server


@pytest.mark.parametrize("shift", [0.0, 5.0], ids=["as it is", "warped"])
@pytest.mark.parametrize("pixel", [10, 30])
@pytest.mark.parametrize("fault", [Fault("status", 503), Fault("cut"), Fault("reset")], ids=lambda f: f.kind)
def test_faults_beyond_the_header(
    large: FaultyServer, shift: float, pixel: int, fault: Fault, quick: None, tmp_path: Path
) -> None:
    large.heal()
    with urllib.request.urlopen(large.url("items.json")) as answer:
        place = collected(tmp_path / "items.json", json.load(answer)["features"])
    source = Stac(catalogue=str(place), resolution=pixel)
    found = source.catalogue()
    one, found = found.acquisitions[0], replace(found, grid=replace(found.grid, left=found.grid.left + shift))
    right = whole(source, one, found)
    assert (right[0] > 0).mean() > 0.5
    large.fail(replace(fault, times=2, from_byte=HEADER), "*B04*")
    for values, wanted in zip(whole(source, one, found), right, strict=True):
        np.testing.assert_array_equal(values, wanted)
    large.heal()
    large.fail(replace(fault, from_byte=HEADER), "*B04*")
    try:
        again = whole(source, one, found)
    except FetchError as error:
        assert re.match(rf"{one.granules[0].id}, B04 .*\(3 attempts\)", str(error)), error
    else:
        assert fault.kind == "cut", "GDAL can get along with half an answer at a time"
        np.testing.assert_array_equal(again[0], right[0])


@pytest.mark.parametrize(
    ("href", "message"),
    [
        ("http://example.com/B04.tif", r"'http://example.com/B04.tif' is not fetched: its scheme is http; use https"),
        (
            "file://elsewhere.org/B04.tif",
            r"'file://elsewhere.org/B04.tif' is not fetched: its scheme is file; use https",
        ),
        ("/vsicurl/http://127.0.0.1/B04.tif", r"is not a plain URL"),
        ("/vsizip//etc/a.zip/B04.tif", r"is not a file path; use a path, or an https or s3 URL"),
        ("vrt:///etc/a.tif", r"is not a plain URL"),
        ("https://elsewhere.org/B04.tif", r"'elsewhere.org' is not an allowed host; add it to source.hosts"),
        ("https://127.0.0.1@elsewhere.org/B04.tif", r"is not a plain URL"),
        ("s3://bucket/B04.tif", r"'bucket' is not an allowed host"),
    ],
)
def test_places_that_are_refused(few: Few, href: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        few(href, hosts=("example.com", "127.0.0.1"))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_images(few: Few, server: FaultyServer, tmp_path: Path, quick: None) -> None:
    """A VRT could name any file, and passwords are none: neither is opened as what it is."""
    disguised = tmp_path / "B04.tif"
    disguised.write_text(VRT.format("/etc/passwd"), encoding="utf-8")
    for href in (server.url("acquisitions/vrt.tif"), str(disguised), "/etc/passwd", "file:///etc/passwd"):
        source, one, found = few(href)
        if not href.startswith("http"):
            with pytest.raises(
                InputError,
                match=rf"{href.removeprefix('file://')} cannot be read as a GeoTIFF or JPEG 2000 file .*not recognized",
            ):
                source.check(one, found.grid)
            continue
        source.check(one, found.grid)
        with pytest.raises(FetchError, match=rf"^{one.granules[0].id}, B04 \({href}\): .*not recognized"):
            whole(source, one, found)


def file_of(server: FaultyServer, feature: dict[str, Any], folder: Path) -> Path:
    """The image B04 of an item, downloaded; the item names the copy, and states its size and its SHA-256."""
    href = feature["assets"]["B04"]["href"]
    with urllib.request.urlopen(href) as answer:
        content = answer.read()
    path = folder / "B04.tif"
    path.write_bytes(content)
    stated = {"file:size": len(content), "file:checksum": f"1220{hashlib.sha256(content).hexdigest()}"}
    feature["assets"]["B04"] |= {"href": str(path), **stated}
    return path


def test_files_are_what_their_items_state(features: list[dict[str, Any]], server: FaultyServer, tmp_path: Path) -> None:
    path = file_of(server, features[0], tmp_path)
    place = str(collected(tmp_path / "one.json", [features[0]]))
    source = Stac(catalogue=place)
    found = source.catalogue()
    (one,) = found.acquisitions
    source.check(one, found.grid)
    right = whole(source, one, found)[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"B04.tif is damaged: its sha256 is .* set source.checksums = false"):
        whole(source, one, found)
    careless = Stac(catalogue=place, checksums=False)
    assert whole(careless, one, found)[0].shape == right.shape
    assert careless.provenance() == source.provenance(), "the setting changes no pixel"
    path.write_bytes(content + bytes(9))
    with pytest.raises(InputError, match=rf"B04.tif has {len(content) + 9} bytes, .* set source.checksums = false"):
        source.check(one, found.grid)
    careless.check(one, found.grid)
    np.testing.assert_array_equal(whole(careless, one, found)[0], right)


@pytest.mark.parametrize(
    ("stated", "settings", "empty"),
    [
        ({}, {}, -9999),
        ({"nodata": -9999}, {}, -9999),
        ({"nodata": "nan"}, {}, -9999),
        ({"nodata": 0}, {"nodata": -9999}, -9999),
        ({"nodata": 0}, {}, None),
        ({}, {"nodata": 0}, None),
    ],
    ids=str,
)
def test_no_data_of_an_item_of_its_file_and_of_the_settings(
    features: list[dict[str, Any]],
    server: FaultyServer,
    tmp_path: Path,
    stated: dict[str, Any],
    settings: dict[str, Any],
    empty: int | None,
) -> None:
    """The file decides where the item is silent; a contradiction is refused, and what the message says to set helps."""
    path = file_of(server, features[0], tmp_path)
    asset = features[0]["assets"]["B04"]
    with rasterio.open(path) as file:
        values, profile = file.read().astype(np.int16), file.profile
    values[:, :8], values[:, 8] = -9999, 0
    with rasterio.open(path, "w", **profile | {"dtype": "int16", "nodata": -9999}) as file:
        file.write(values)
    asset |= {"raster:bands": [{"scale": 1e-4, "data_type": "int16", **stated}]}
    del asset["file:size"], asset["file:checksum"]
    place = str(collected(tmp_path / "one.json", [features[0]]))
    source = Stac(catalogue=place, bands=("B04",), **settings)
    found = source.catalogue()
    (one,) = found.acquisitions
    if empty is None:
        with pytest.raises(InputError, match=r"B04.tif declares -9999 as no data, but 0 is assumed; (.*)") as refused:
            source.check(one, found.grid)
        assert "set source.nodata = -9999, or name the acquisition in acquisitions.leave_out" in str(refused.value)
        source = Stac(catalogue=place, bands=("B04",), nodata=-9999)
        found = source.catalogue()
        (one,) = found.acquisitions
    source.check(one, found.grid)
    dn, _ = whole(source, one, found)
    assert not dn[0, :8].any() and dn[0, 8].all(), "0 is a value where another is declared"


def test_remote_images_have_the_length_that_their_items_state(
    features: list[dict[str, Any]], server: FaultyServer, tmp_path: Path, quick: None
) -> None:
    asset = features[0]["assets"]["B04"]
    with urllib.request.urlopen(asset["href"]) as answer:
        length = len(answer.read())

    def read(stated: int, **settings: Any) -> Array:
        asset["file:size"] = stated
        source = Stac(catalogue=str(collected(tmp_path / "one.json", [features[0]])), **settings)
        found = source.catalogue()
        return whole(source, found.acquisitions[0], found)[0]

    remote.length_of.cache_clear()
    assert read(length).any()
    server.fail(Fault("status", 503, times=1, method="GET"), "*B04*")
    remote.length_of.cache_clear()
    assert read(length).any(), "a busy host is asked again"
    with pytest.raises(
        InputError, match=rf"B04\S*.tif has {length} bytes, but its metadata states {length + 7}; ask"
    ) as error:
        read(length + 7)
    assert "set source.checksums = false to read it all the same" in str(error.value)
    assert read(length + 7, checksums=False).any()


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        ("1220" + "ab" * 32, "sha256"), ("D50110" + "AB" * 16, "md5"), ("1114" + "ab" * 20, "sha1"),
        ("1620" + "ab" * 32, "sha3_256"),
    ],
)  # fmt: skip
def test_checksums_of_items(text: str, algorithm: str) -> None:
    assert of_multihash(text) == (algorithm, text[-2 * hashlib.new(algorithm).digest_size :].lower())
    assert of_multihash(text[:-2]) is None and of_multihash("90e402" + text) is None, "unknown digests are not compared"


def test_items_of_one_name_and_several_dates_are_all_there(features: list[dict[str, Any]], tmp_path: Path) -> None:
    same = [feature | {"id": "scene"} for feature in features]
    for feature in same:
        feature["properties"].pop("s2:datastrip_id", None)
    found = Stac(catalogue=str(collected(tmp_path / "same.json", same))).catalogue()
    assert len(found.acquisitions) == len(
        Stac(catalogue=str(collected(tmp_path / "all.json", features))).catalogue().acquisitions
    )


class TestAccess:
    """A host that refuses (401, 403) may do so for one missing object, or because a token has expired."""

    @pytest.fixture
    def asked(self, features: list[dict[str, Any]], tmp_path: Path, quick: None) -> Callable[[], Selection]:
        place = str(collected(tmp_path / "all.json", features))
        rules = PairingRules(size=2, max_days_apart=60, max_cloud=1.0, min_valid_area=0.0)
        return lambda: choose_acquisitions(Stac(catalogue=place), rules=rules, scratch=tmp_path)

    @pytest.fixture(autouse=True)
    def one_thread(self) -> Iterator[None]:
        with dask.config.set(scheduler="synchronous"):
            yield

    @pytest.mark.parametrize("status", [401, 403])
    def test_one_missing_object_is_left_out_by_name(
        self, asked: Callable[[], Selection], server: FaultyServer, features: list[dict[str, Any]], status: int
    ) -> None:
        href = features[3]["assets"]["SCL"]["href"]
        server.fail(Fault("status", status), f"*{href.rpartition('/')[2]}")
        (one,) = asked().left_out
        assert f"{features[3]['id']}, mask" in one.reason and str(status) in one.reason

    def test_a_token_that_expires_on_the_way_stops_and_what_was_seen_is_kept(
        self, asked: Callable[[], Selection], server: FaultyServer
    ) -> None:
        server.fail(Fault("status", 403, after=6), "*SCL*")
        with pytest.raises(RefusedError, match=r"\d refuses what it gave before: access has ended .* renew"):
            asked()
        server.heal()
        assert not asked().left_out
        whole_survey = len({r.path for r in server.requests("*SCL*")})
        server.heal()
        asked()
        assert not server.requests("*SCL*") and whole_survey > 1, "what was surveyed is asked for again"

    def test_a_host_that_refuses_everything_beside_one_that_gives(
        self, asked: Callable[[], Selection], server: FaultyServer, features: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        """All that it has is left out by name; the rest is used."""
        refused = features[1::3]
        for feature in refused:
            for asset in feature["assets"].values():
                asset["href"] = asset["href"].replace("127.0.0.1", "localhost")
            path = feature["assets"]["SCL"]["href"].partition("/acquisitions/")[2]
            server.fail(Fault("status", 403), f"acquisitions/{path}")
        collected(tmp_path / "all.json", features)
        selection = asked()
        assert len(selection.left_out) == len(refused) == 4
        for feature, one in zip(refused, sorted(selection.left_out, key=lambda o: o.reason), strict=True):
            assert feature["id"] in one.reason and "localhost" in one.reason and "403" in one.reason
        assert all(len(row) == 2 for row in selection.chosen.values())

    def test_a_host_that_gives_nothing(self, asked: Callable[[], Selection], server: FaultyServer) -> None:
        server.fail(Fault("status", 401), "*SCL*")
        with pytest.raises(RefusedError, match=r"refuses access to all acquisitions on it.*get access"):
            asked()
