"""Memory and time of evaluating a whole tile: five map series against a reference, on two workers.

Usage: python benchmarks/evaluation.py FOLDER [EDGE], 10980 pixels by default. Writes three years of five map series and
a reference into FOLDER once, calls the step `evaluation` of a run, draws the maps of the report, and prints the
seconds and the peak resident memory of every process.

On two cores of an AMD EPYC (Zen 5): 52 s, 0.79 GB in the client with its scheduler, 1.0 GB in each worker. When the
client read whole maps and references, fewer tables took 212 s on slower cores, 8.97 GB in the client and 1.1 GB in each
worker.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from affine import Affine
from distributed import Client, LocalCluster
from rasterio.windows import Window

import mlc_dask as mlc
from mlc_dask.data.grids import Grid
from mlc_dask.io.maps import open_layers, write_maps
from mlc_dask.io.old_map import References
from mlc_dask.show.report import figures
from mlc_dask.stages.evaluation import judge

YEARS = (2018, 2019, 2020)
SERIES = ("preliminary", "single-year", "single-year-filtered", "multi-year", "multi-year-filtered")
PATCH, FIELD = 2560, 10
Array = npt.NDArray[np.uint8]


def true_classes(row: int, column: int, shape: tuple[int, int]) -> Array:
    """Classes (year, h, w): fields of 10 × 10 pixels, of which every tenth changes from year to year."""
    fields = tuple(-(-n // FIELD) for n in shape)
    random = np.random.default_rng((row, column))
    years = [random.integers(1, 12, fields)]
    for _ in YEARS[1:]:
        years.append(np.where(random.random(fields) < 0.1, random.integers(1, 12, fields), years[-1]))
    large = np.repeat(np.repeat(np.stack(years).astype(np.uint8), FIELD, axis=1), FIELD, axis=2)
    return large[:, : shape[0], : shape[1]]


def mapped(block_info: Any, error: float, seed: int) -> Array:
    """Classes of a block of a map; a share of them is wrong."""
    (_, _), (top, bottom), (left, right) = block_info[None]["array-location"]
    truth = true_classes(top, left, (bottom - top, right - left))
    random = np.random.default_rng((top, left, seed))
    return np.where(
        random.random(truth.shape, np.float32) < error, random.integers(1, 12, truth.shape, np.uint8), truth
    )


def write(folder: Path, edge: int) -> None:
    """Write the series and the reference, block by block."""
    legend, grid = mlc.DEFAULT_LEGEND, Grid("EPSG:32632", 600_000, 5_200_020, 10, edge, edge)
    blocks = tuple(min(PATCH, edge - start) for start in range(0, edge, PATCH))
    for seed, name in enumerate(SERIES):
        labels = da.map_blocks(
            mapped, chunks=((len(YEARS),), blocks, blocks), dtype=np.uint8, error=0.02 * (1 + seed), seed=seed
        )
        label = xr.DataArray(labels, dims=("year", "y", "x"), coords={"year": list(YEARS), **grid.coords()})
        write_maps(xr.Dataset({"label": label}, attrs={"legend": legend.to_dict()}), folder / name)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": grid.crs, "nodata": 0, "compress": "deflate"}
    place = {"height": edge, "width": edge, "transform": Affine(10, 0, 600_000, 0, -10, 5_200_020)}
    files = [rasterio.open(folder / f"{y}.tif", "w", **profile, **place, tiled=True) for y in YEARS]
    for top in range(0, edge, PATCH):
        for left in range(0, edge, PATCH):
            classes = true_classes(top, left, (min(PATCH, edge - top), min(PATCH, edge - left)))
            for file, plane in zip(files, classes, strict=True):
                file.write(plane, 1, window=Window(left, top, *plane.shape[::-1]))
    for file in files:
        file.close()
    (folder / f"{edge}.done").touch()


def peak() -> float:
    """Peak resident memory of this process in GB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def show(what: str, seconds: float, client: Client) -> None:
    """Print the seconds of a phase and the peaks so far."""
    workers = ", ".join(f"{gigabytes:.2f}" for gigabytes in client.run(peak).values())
    print(f"{what}: {seconds:.0f} s; peak of client and scheduler {peak():.2f} GB, of the workers {workers} GB")


def main(folder: Path, edge: int) -> None:
    """Evaluate the maps, draw them, and print time and memory of both."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="4GB", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        print(f"{edge} × {edge} pixels, {len(YEARS)} years, {len(SERIES)} series")
        show("before any work", 0, client)
        series = [open_layers(folder / name) for name in SERIES]
        start = time.perf_counter()
        reference = References({y: folder / f"{y}.tif" for y in YEARS})
        tables = judge(reference, dict(zip(SERIES, series, strict=True)), legend=mlc.DEFAULT_LEGEND)
        show("evaluation", time.perf_counter() - start, client)
        start = time.perf_counter()
        figures.map_series({n: s.label for n, s in zip(SERIES, series, strict=True)}, mlc.DEFAULT_LEGEND)
        show("maps of the report", time.perf_counter() - start, client)
        tables.summary.to_csv(folder / "summary.csv")
        tables.agreement.to_csv(folder / "agreement.csv")


if __name__ == "__main__":
    place, side = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_980
    if "--write" in sys.argv:
        write(place, side)
    else:
        if not (place / f"{side}.done").exists():
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, __file__, str(place), str(side), "--write"], check=True)  # noqa: S603
        main(place, side)
