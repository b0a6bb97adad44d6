"""Make docs/dashboard.png: the map of patches in the middle of a run, with patches of every state.

Usage: python docs/dashboard_screenshot.py [DEMO]    (after make demo; needs playwright and Chromium)

On two local workers the cube of the demo is classified again, in patches of 128 pixels, into a temporary folder:
maps that were half finished, maps of a copy of the cube with one damaged chunk, and complete maps. When the
scheduler has patches of all states, the workers are suspended while the picture is taken.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import xarray as xr
from browser import shown
from distributed import Client

import mlc_dask as mlc
from mlc_dask.compute.backends import connect
from mlc_dask.compute.dashboard.board import NAME, STATES
from mlc_dask.config import Execution
from mlc_dask.runs.artifacts import read_current

PICTURE = Path(__file__).with_name("dashboard.png")
PATCH = 128


def damaged(cube: Path, folder: Path) -> Path:
    """Copy a cube and change one byte of one chunk."""
    copy = folder / "cube"
    shutil.copytree(cube, copy)
    chunk = max((copy / "reflectance").glob("c/1/*/0/*/*"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    return copy


def half_there(maps: xr.Dataset, place: Path) -> None:
    """Write maps and delete every second patch."""
    mlc.write_maps(maps, place)
    (place / "MANIFEST.json").unlink()
    for record in sorted((place / "patches").glob("*.json"))[::2]:
        record.unlink()


def states(page: str) -> set[str]:
    """States of the scheduler's patches at present."""
    with urllib.request.urlopen(page.replace(NAME, "mlc/patches.json")) as answer:  # noqa: S310
        return {patch["state"] for patch in json.load(answer)["patches"]}


def work(folder: Path, cube: Path, forests: Mapping[str, mlc.Model], model: mlc.Model) -> None:
    """Run the stages until the scheduler is gone."""
    whole, broken = (mlc.open_cube(place, patch=PATCH) for place in (cube, damaged(cube, folder)))
    half_there(mlc.classify(whole, forests), folder / "preliminary")
    mlc.write_maps(mlc.classify(whole, forests), folder / "preliminary")
    with suppress(Exception):
        mlc.write_maps(mlc.classify(broken, model), folder / "single-year")
    with suppress(Exception):
        mlc.write_maps(mlc.classify(whole, model), folder / "multi-year")


def photograph(client: Client, page: str) -> None:
    """Wait for all states, suspend the workers and take the picture."""
    deadline = time.monotonic() + 600
    while (missing := set(STATES) - states(page)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not missing, f"no patch was ever {', '.join(missing)} while others had the other states"
    workers = [psutil.Process(pid) for pid in client.run(lambda: __import__("os").getpid()).values()]
    with shown(page, 1400, 820) as view:
        view.wait_for_timeout(1_000)
        while set(STATES) - states(page):
            time.sleep(0.02)
        for process in workers:
            process.suspend()
        view.wait_for_timeout(3_000)
        view.screenshot(path=PICTURE)
        for process in workers:
            process.resume()


def main(demo: Path) -> None:
    """Make the picture."""
    current = read_current(demo)
    cube = current["cube"].folder
    (forests,), (models,) = (list(demo.glob(f"artifacts/{step}-*")) for step in ("forests", "models"))
    given = mlc.open_models(forests), mlc.open_models(models)["multi-year"]
    with tempfile.TemporaryDirectory() as name, connect(Execution(workers=2, dashboard="127.0.0.1:0")) as client:
        threading.Thread(target=work, args=(Path(name), cube, *given), daemon=True).start()
        photograph(client, client.dashboard_link.replace("status", NAME))
    print(PICTURE)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "mlc-demo"))
