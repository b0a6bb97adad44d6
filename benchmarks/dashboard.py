"""Cost of the map of patches: CPU time of the scheduler with and without the page, and with a viewer.

Usage: python benchmarks/dashboard.py [STAGES]

Six stages of 75 patches (three years of 5 × 5) go through a scheduler in a separate process. Reading and classifying
a patch are tasks that sleep, so that about twenty squares of the page change per second. The viewer is a
Bokeh session that takes every update, as a browser does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xarray as xr
from bokeh.client import pull_session
from distributed import Client

import mlc_dask as mlc
from mlc_dask import lazy

YEARS, SIDE, EDGE, THREADS = (2018, 2019, 2020), 5, 16, 3
PAUSE = 0.25
PAGE = ("--preload", "mlc_dask.dashboard")


def maps(stage: int) -> xr.Dataset:
    """Layers of a stage, whose blocks sleep."""

    def read(rows: slice, columns: slice) -> np.ndarray:
        time.sleep(PAUSE)
        return np.full((rows.stop - rows.start, columns.stop - columns.start), stage, np.uint8)

    def classify(block: np.ndarray, _: object) -> np.ndarray:
        time.sleep(PAUSE)
        return block[None]

    chunks = ((EDGE,) * SIDE,) * 2
    years = []
    for year in YEARS:
        data = lazy.read_blocks(read, leading=(), chunks=chunks, dtype=np.uint8, name=f"read-{stage}-{year}")
        raster = xr.DataArray(data, dims=("y", "x"))
        years.append(lazy.map_pixels(classify, raster, layers=("label",), name=f"classify-{stage}-{year}"))
    legend = {str(code): {"name": f"{code}", "colour": "#00a600"} for code in range(1, 9)}
    return xr.concat(years, dim=xr.DataArray(list(YEARS), dims="year", name="year")).assign_attrs(legend=legend)


def started(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process without output."""
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603


@contextmanager
def cluster(*preload: str) -> Iterator[tuple[Client, psutil.Process, str]]:
    """Start a scheduler and a worker; yields the client, the scheduler's process and its dashboard."""
    port, web = 28786, 28787
    dask = [sys.executable, "-m", "dask"]
    own = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--dashboard-address", f"127.0.0.1:{web}", *preload]
    worker = ["worker", f"127.0.0.1:{port}", "--nthreads", str(THREADS), "--no-dashboard", "--no-nanny"]
    with started([*dask, *own]) as scheduler, started([*dask, *worker]) as hand:
        try:
            with Client(f"tcp://127.0.0.1:{port}", timeout=120) as client:
                client.wait_for_workers(1, timeout=120)
                yield client, psutil.Process(scheduler.pid), f"http://127.0.0.1:{web}"
        finally:
            hand.kill()
            scheduler.kill()


def look_at(session: Any, stop: threading.Event) -> None:
    """Take the updates of the page once per second."""
    while not stop.wait(1):
        session.force_roundtrip()


def load(stages: int, *preload: str, look: bool = False) -> tuple[float, float]:
    """Run the stages; returns the scheduler's share of a core, and the patches per second."""
    with tempfile.TemporaryDirectory() as name, cluster(*preload) as (_, scheduler, web):
        stop = threading.Event()
        if look:
            session = pull_session(url=f"{web}/mlc-patches")
            threading.Thread(
                target=lambda: [session.force_roundtrip() for _ in iter(lambda: stop.wait(1), True)]
            ).start()
        mlc.write_maps(maps(9), Path(name) / "warm")
        began, used = time.perf_counter(), sum(scheduler.cpu_times()[:2])
        for stage in range(stages):
            mlc.write_maps(maps(stage), Path(name) / f"stage-{stage}")
        seconds = time.perf_counter() - began
        used = sum(scheduler.cpu_times()[:2]) - used
        stop.set()
        return used / seconds, stages * len(YEARS) * SIDE**2 / seconds


def main() -> None:
    """Measure and print."""
    stages = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    print("scheduler              share of a core   patches/s   changes of state/s")
    for name, preload, look in (("without the page", (), False), ("with it", PAGE, False), ("looked at", PAGE, True)):
        share, rate = load(stages, *preload, look=look)
        print(f"{name:20s} {share:15.1%} {rate:13.1f} {4 * rate:15.1f}", flush=True)


if __name__ == "__main__":
    main()
