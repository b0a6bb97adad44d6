"""Peak memory of classifying whole patches, in addition to the patch itself.

Usage: python benchmarks/patch_memory.py [EDGE], 2560 by default. Writes a cube of one year, 20 acquisitions and ten
bands into a temporary folder, classifies it as one patch in a fresh process per classifier, and prints the peak of
the resident memory less what the process held before and less the patch (uint16 bands and the usable mask).
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import dask.array
import numpy as np
import pandas as pd
import xarray as xr

import mlc_dask as mlc
from mlc_dask.classifiers import Context, TrainingSet

DATES, BANDS = 20, ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
CLASSIFIERS = {
    "forest, 100 trees": mlc.RandomForest(trees=100),
    "LSTM 1 × 16": mlc.LSTM(layers=1, hidden=16, bidirectional=False, epochs=1),
    "LSTM 4 × 128, bidirectional": mlc.LSTM(epochs=1),
}
GIB = 2**30


def write(folder: Path, edge: int) -> None:
    """Write a cube of smooth fields with noise, a fifth of the dates unusable."""
    random = np.random.default_rng(0)

    def block(shape: tuple[int, ...]) -> np.ndarray:
        return random.integers(1200, 5000, shape, dtype=np.uint16)

    chunks = {"y": min(512, edge), "x": min(512, edge)}
    reflectance = dask.array.map_blocks(
        lambda block_info: block(block_info[None]["chunk-shape"]),
        chunks=((1,), (DATES,), (len(BANDS),), *(dask.array.core.normalize_chunks(512, (edge,)) * 2)),
        dtype=np.uint16,
    )
    cube = xr.Dataset(
        {
            "reflectance": (("year", "acquisition", "band", "y", "x"), reflectance),
            "usable": (
                ("year", "acquisition", "y", "x"),
                dask.array.random.default_rng(0).random((1, DATES, edge, edge), chunks=(1, DATES, 512, 512)) > 0.2,
            ),
        },
        coords={
            "year": [2018],
            "acquisition": np.arange(DATES),
            "band": list(BANDS),
            "y": -10.0 * np.arange(edge),
            "x": 10.0 * np.arange(edge),
            "time": (("year", "acquisition"), pd.date_range("2018-01-10", periods=DATES, freq="17D").to_numpy()[None]),
        },
    ).chunk(chunks)
    mlc.write_cube(cube, folder)


def classify(
    folder: Path, name: str, edge: int, pixels: int, queue: multiprocessing.Queue[tuple[float, float]]
) -> None:
    """Classify the first `pixels` of a patch on one thread; the others have no usable dates, but are read."""
    random = np.random.default_rng(1)
    dn = random.integers(1200, 5000, (2000, DATES, len(BANDS))).astype(np.uint16)
    context = Context(mlc.DEFAULT_LEGEND, BANDS, tuple(17.0 * i for i in range(DATES)))
    labels = random.integers(1, 12, 2000).astype(np.uint8)
    model = CLASSIFIERS[name].fit(TrainingSet(dn, labels, np.zeros(2000, bool), context), seed=0)
    cube = mlc.open_cube(folder, patch=edge)
    cube["usable"] = cube.usable & (np.arange(edge) < max(1, pixels // edge))[:, None]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    with dask.config.set(scheduler="synchronous"):
        mlc.classify(cube, model).compute()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    queue.put((peak - before, seconds))


def main(edge: int) -> None:
    """Print one line per classifier."""
    patch = edge * edge * DATES * (2 * len(BANDS) + 1)
    print(f"patch of {edge} × {edge} × {DATES} × {len(BANDS)}: {patch / GIB:.2f} GiB")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "cube", edge)
        for name in CLASSIFIERS:
            pixels = min(edge * edge, 40_000 if "128" in name else 400_000)
            queue = context.Queue()
            process = context.Process(target=classify, args=(Path(folder) / "cube", name, edge, pixels, queue))
            process.start()
            grown, seconds = queue.get()
            process.join()
            print(f"{name:<28} {(grown - patch) / GIB:5.2f} GiB beside the patch, {seconds:6.0f} s, {pixels:,} pixels")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2560)
