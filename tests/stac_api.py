"""Servers on loopback for tests: a real STAC API, and one that answers what a test tells it to.

As a program it writes the world of test_search.py for a STAC API that runs elsewhere, and serves its files:

    python -m tests.stac_api FOLDER
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rasterio.warp import transform_bounds
from typer.testing import CliRunner

from mlc_dask.cli import app
from mlc_dask.data.acquisitions import Acquisition, Catalogue
from mlc_dask.io.remote import Patience
from mlc_dask.io.sources import Stac
from mlc_dask.worlds import World
from mlc_dask.worlds.scenes import CRS, LEFT, TOP
from mlc_dask.worlds.writing import write_products
from tests.cubes import Array
from tests.faulty_server import serve

WORLD = World(size=64, years=(2018, 2019), seed=3, acquisitions_per_year=6)
COLLECTION = "sentinel-2-l2a"
SIDE = 10 * WORLD.size
BBOX = transform_bounds(CRS, "EPSG:4326", LEFT, TOP - SIDE, LEFT + SIDE, TOP)
QUICK = Patience(attempts=3, requests=1, delay=0.02, longest=0.05, connect=2, stalled=1)
LIFE = 3600
"""Seconds that tokens live."""
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
        [RUSTAC, "serve", "--create-collections", "--addr", address, items],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(f"http://{address}", server)
        yield f"http://{address}"
    finally:
        server.kill()
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None, "the API ended"
        try:
            return urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the API did not start"
            time.sleep(0.05)


Answer = tuple[int, Any]
"""Status, and the body: bytes, or what becomes JSON."""


@dataclass
class Answering:
    """A server that gives the `answer` to every path, and notes what it was asked for."""

    url: str
    answer: Callable[[str], Answer]
    asked: list[str] = field(default_factory=list)


@contextmanager
def answering(answer: Callable[[str], Answer] = lambda _: (404, {})) -> Iterator[Answering]:
    """Answer requests of Python in this process; GDAL may hold the GIL, use tests.faulty_server for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.asked.append(self.path)
            status, body = told.answer(self.path)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told = Answering(f"http://127.0.0.1:{server.server_address[1]}", answer)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield told
        server.shutdown()


VRT = (
    '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
    "<SourceFilename>{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
)
"""Image that is a file elsewhere; what it is called does not matter to GDAL."""

runner = CliRunner()

CONFIG = """
output = "{output}"
[source]
{source}
[product]
path = "{product}"
[acquisitions]
years = [2018, 2019]
per_year = 4
max_cloud = 1.0
max_days_apart = 30
min_valid_area = 0.0
[gaps]
min_valid = 2
[execution]
workers = 1
dashboard = "127.0.0.1:0"
"""


def configured(place: Path, name: str, product: Path, **source: Any) -> Path:
    settings = "\n".join(f"{key} = {json.dumps(value)}" for key, value in source.items())
    path = place / f"{name}.toml"
    text = CONFIG.format(output=place / name, source=settings, product=product)
    path.write_text(text, encoding="utf-8")
    return path


def told(*arguments: str | Path) -> tuple[int, str]:
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def one_line(*arguments: str | Path) -> tuple[int, str]:
    code, output = told(*arguments)
    (line,) = output.strip().splitlines()
    return code, line


def collected(path: Path, features: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def whole(source: Stac, acquisition: Acquisition, found: Catalogue) -> tuple[Array, Array]:
    grid = found.grid
    return source.read(acquisition, grid, slice(0, grid.height), slice(0, grid.width))


def write_for_api(folder: Path, url: str) -> None:
    """Write the world, which is served at `url`, and what pypgstac loads of it."""
    place = folder / "acquisitions"
    write_products(folder, WORLD, format="stac", flavour="planetary-computer", base_url=f"{url}acquisitions")
    features = json.loads((place / "items.json").read_bytes())["features"]
    lines = "\n".join(json.dumps(feature) for feature in features)
    (folder / "items.ndjson").write_text(lines, encoding="utf-8")
    collection = json.loads((place / "collection.json").read_bytes()) | {"links": []}
    (folder / "collections.ndjson").write_text(json.dumps(collection), encoding="utf-8")


if __name__ == "__main__":
    with serve(Path(sys.argv[1])) as files:
        write_for_api(Path(sys.argv[1]), files.url(""))
        input(f"serving {files.url('')}, press Enter to end")
