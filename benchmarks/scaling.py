"""Whether cost grows with the area alone: patches of one size classified by one worker and by two.

Usage: python benchmarks/scaling.py [EDGE [OUT.json]]; EDGE of a patch in pixels, 256 by default.

A cube of 4 × 4 patches, 20 dates and ten bands is classified from disk into a store of maps, 1, 4 and 16 patches at a
time, by a network of one layer of 32 units, so fast that any overhead would show. Every cell is the median
of three rounds; efficiency is the rate of a worker compared with that of one worker on 16 patches. The last output is
the scheduler's time for a task that does nothing.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from patch_memory import BANDS, DATES, write

import mlc_dask as mlc
from mlc_dask.classifiers import Context, Model, TrainingSet
from mlc_dask.compute.progress import count_tasks

COUNTS, WORKERS, ROUNDS = (1, 4, 16), (1, 2), 3


def model() -> Model:
    """Train a small network on noise."""
    random = np.random.default_rng(1)
    dn = random.integers(1200, 5000, (1000, DATES, len(BANDS))).astype(np.uint16)
    labels = random.integers(1, 12, 1000).astype(np.uint8)
    context = Context(mlc.DEFAULT_LEGEND, BANDS, tuple(17.0 * i for i in range(DATES)))
    network = mlc.LSTM(layers=1, hidden=32, bidirectional=False, epochs=1)
    return network.fit(TrainingSet(dn, labels, np.zeros(1000, bool), context), seed=0)


def seconds(folder: Path, trained: Model, edge: int, patches: int) -> float:
    """Classify and store the given number of patches."""
    side = int(patches**0.5)
    cube = mlc.open_cube(folder / "cube", patch=edge).isel(y=slice(side * edge), x=slice(side * edge))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start = time.perf_counter()
        mlc.write_maps(mlc.classify(cube, trained), Path(out) / "maps")
        return time.perf_counter() - start


def overhead(client: Client, tasks: int = 5_000) -> float:
    """Return the seconds of a task without work."""
    start = time.perf_counter()
    client.gather(client.map(lambda i: i, range(tasks), pure=False))
    return (time.perf_counter() - start) / tasks


def main() -> None:
    """Measure, print, write the JSON."""
    edge = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "scaling.json")
    trained, found = model(), {}
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "cube", 4 * edge)
        for workers in WORKERS:
            with LocalCluster(n_workers=workers, threads_per_worker=1) as cluster, Client(cluster) as client:
                seconds(Path(name), trained, edge, 4)
                for count in COUNTS:
                    times = [seconds(Path(name), trained, edge, count) for _ in range(ROUNDS)]
                    found[workers, count] = count * edge**2 / statistics.median(times)
                since = time.time()
                seconds(Path(name), trained, edge, COUNTS[-1])
                _, tasks = client.run_on_scheduler(count_tasks, since)
                task = overhead(client)
    base = found[1, COUNTS[-1]]
    rows: list[dict[str, Any]] = [
        {"workers": w, "patches": n, "pixels_per_second": rate, "efficiency": rate / w / base}
        for (w, n), rate in found.items()
    ]
    for row in rows:
        print(
            f"{row['workers']} workers, {row['patches']:2d} patches of {edge}²: {row['pixels_per_second']:9,.0f} px/s, "
            f"efficiency {row['efficiency']:.0%}"
        )
    each = tasks / COUNTS[-1]
    print(f"{each:.1f} tasks per patch; a task without work: {1e3 * task:.2f} ms")
    found_here = {"edge": edge, "rows": rows, "seconds_per_task": task, "tasks_per_patch": each}
    out.write_text(json.dumps(found_here, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
