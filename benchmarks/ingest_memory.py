"""Peak memory of a worker that makes a cube from a whole tile, while it reads and writes acquisitions.

Usage: python benchmarks/ingest_memory.py [EDGE [GIGABYTES]], 10980 pixels and a limit of 2 GB by default. Writes the
bands of one acquisition as Cloud-Optimised GeoTIFFs into a temporary folder, names them in a STAC item collection for
four dates, makes the cube with one worker of that limit, and prints its peak resident memory and the rate.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
from affine import Affine
from distributed import Client, LocalCluster
from rasterio.windows import Window

import mlc_dask as mlc
from mlc_dask.data.acquisitions import Selection, Surveyed, Weather
from mlc_dask.stages.time_series import READ_BLOCK

BANDS = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B05": 20, "B06": 20, "B07": 20, "B8A": 20, "B11": 20, "B12": 20}
DATES = ("2020-04-01", "2020-05-01", "2020-06-01", "2020-07-01")
STRIP = 1024


def write_band(path: Path, edge: int, pixel: int, dtype: str) -> None:
    """Write a band of smooth texture with noise, strip by strip, and its overviews."""
    random, side = np.random.default_rng(pixel), edge * 10 // pixel
    profile = {"driver": "GTiff", "count": 1, "dtype": dtype, "crs": "EPSG:32632", "nodata": 0}
    place = {"height": side, "width": side, "transform": Affine(pixel, 0, 600_000, 0, -pixel, 5_200_020)}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1, "predictor": 2}
    with rasterio.open(path, "w", **profile, **place, **tiles) as file:
        for top in range(0, side, STRIP):
            rows = min(STRIP, side - top)
            values = random.integers(1200, 1800, (rows, side)) if dtype == "uint16" else np.full((rows, side), 4)
            file.write(values.astype(dtype), 1, window=Window(0, top, side, rows))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8, 16])


def write_items(folder: Path, edge: int) -> Path:
    """Write the bands once and an item collection that names them for every date."""
    for name, pixel in {**BANDS, "SCL": 20}.items():
        write_band(folder / f"{name}.tif", edge, pixel, "uint8" if name == "SCL" else "uint16")
    items = []
    for date in DATES:
        time_ = datetime.fromisoformat(date).replace(tzinfo=UTC)
        own = {"s2:processing_baseline": "05.10", "proj:epsg": 32632, "s2:mgrs_tile": "32TPS"}
        item = pystac.Item(f"S2A_{date}", {"type": "Point", "coordinates": [10, 47]}, [10, 47, 10, 47], time_, own)
        for name, pixel in {**BANDS, "SCL": 20}.items():
            side, transform = edge * 10 // pixel, [pixel, 0, 600_000, 0, -pixel, 5_200_020]
            extra = {"proj:shape": [side, side], "proj:transform": transform}
            item.add_asset(name, pystac.Asset(str(folder / f"{name}.tif"), extra_fields=extra))
        items.append(item)
    path = folder / "items.json"
    pystac.ItemCollection(items).save_object(str(path))
    return path


def peak() -> float:
    """Peak resident memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main(edge: int, gigabytes: float) -> None:
    """Make the cube and print time and memory."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = mlc.Stac(catalogue=str(write_items(folder, edge)))
        catalogue = source.catalogue()
        chosen = tuple(Surveyed(a, Weather(0, 1)) for a in catalogue.acquisitions)
        selection = Selection({2020: chosen}, {2020: ()}, 0.0)
        with (
            LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=f"{gigabytes}GB", dashboard_address=":0") as c,
            Client(c) as client,
        ):
            start = time.perf_counter()
            mlc.write_cube(mlc.stack(source, selection, grid=catalogue.grid, chunk=READ_BLOCK), folder / "cube")
            seconds = time.perf_counter() - start
            (held,) = client.run(peak).values()
        size = mlc.open_cube(folder / "cube").nbytes / 1e9
        print(f"{edge} × {edge} pixels, {len(DATES)} dates, {len(BANDS)} bands: {size:.1f} GB in {seconds:.0f} s")
        print(f"peak of the worker {held:.2f} GB of {gigabytes:g} GB; {1000 * size / seconds:.0f} MB/s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_980, float(sys.argv[2]) if len(sys.argv) > 2 else 2.0)
