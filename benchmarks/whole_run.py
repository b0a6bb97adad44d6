"""A whole `mlc-dask run` with the paper's network on two cores: time, pixels per second and memory, stage by stage.

Usage: python benchmarks/whole_run.py [SIZE [OUT.json]]   (make bench-run); SIZE is 512 by default.

The demonstration's world of SIZE × SIZE pixels, three years of 20 dates and ten bands, is mapped by the command line on
two workers of one thread, in patches of half that edge, with the paper's forest and LSTM (4 × 128, both directions),
trained for only two epochs: the training time does not depend on the area. Afterwards two processes at the same time
measure the rate of the same engines on pixels in memory. Both rates give the share of its own rate that an engine
reaches in a run, and the time for a tile of 10980 × 10980 pixels; peak memory is that of the largest
descendant process during the run.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from mlc_dask.classifiers import Model
from mlc_dask.io.models import open_models
from mlc_dask.runs.artifacts import read_current
from mlc_dask.worlds.demo import write_demo

TILE, YEARS, WORKERS = 10980**2, 3, 2
CLASSIFYING = {"preliminary": "forests", "single-year": "models", "multi-year": "models"}
"""Steps that classify every year of every pixel, and where their models come from."""


def configure(folder: Path, size: int) -> Path:
    """Write world and configuration; returns the configuration with the paper's network."""
    settings = write_demo(folder, size=size, seed=0)
    text = settings.read_text(encoding="utf-8")
    for old, new in {
        "layers = 2 ": "layers = 4 ",
        "hidden = 48 ": "hidden = 128 ",
        "epochs = 15 ": "epochs = 2 ",
        "patch = 256": f"patch = {min(-(-size // 256) * 128, 2560)}",
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    settings.write_text(text, encoding="utf-8")
    return settings


def watch(root: psutil.Process, peaks: dict[int, int], stop: threading.Event) -> None:
    """Record the peak resident bytes of every process below `root` until it is stopped."""
    while not stop.wait(0.2):
        with suppress(psutil.Error):
            for process in root.children(recursive=True):
                peaks[process.pid] = max(peaks.get(process.pid, 0), process.memory_info().rss)


def run(settings: Path) -> int:
    """Run the pipeline; returns the peak resident bytes of one process."""
    command = [sys.executable, "-m", "mlc_dask", "run", str(settings), "--workers", str(WORKERS)]
    peaks: dict[int, int] = {}
    stop = threading.Event()
    with subprocess.Popen(command) as process:  # noqa: S603
        watcher = threading.Thread(target=watch, args=(psutil.Process(process.pid), peaks, stop))
        watcher.start()
        code = process.wait()
        stop.set()
        watcher.join()
    if code:
        raise SystemExit(code)
    return max(peaks.values())


def rate(folder: Path, step: str, seconds: float, queue: multiprocessing.Queue[tuple[float, str]]) -> None:
    """Measure one process: pixels per second of the first model of `step` on pixels in memory."""
    model = first_model(folder, step)
    shape = (len(model.context.days), len(model.context.bands), 32_768 if step == "forests" else 2_048)
    dn = np.random.default_rng(0).integers(1200, 5000, shape).astype(np.uint16)
    model.predict(dn)
    start, pixels = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        model.predict(dn)
        pixels += dn.shape[2]
    queue.put((pixels / (time.perf_counter() - start), model.engine))


def first_model(folder: Path, step: str) -> Model:
    """Return the first model that a step of a finished run trained."""
    (place,) = (folder / "artifacts").glob(f"{step}-*")
    return next(iter(open_models(place).values()))


def engine_rates(folder: Path, seconds: float = 10) -> dict[str, tuple[float, str]]:
    """Pixels per second of all workers together and the engine, by the step that trained the models."""
    context, found = multiprocessing.get_context("spawn"), {}
    for step in set(CLASSIFYING.values()):
        queue = context.Queue()
        processes = [context.Process(target=rate, args=(folder, step, seconds, queue)) for _ in range(WORKERS)]
        for process in processes:
            process.start()
        answers = [queue.get() for _ in processes]
        for process in processes:
            process.join()
        found[step] = (sum(r for r, _ in answers), answers[0][1])
    return found


def table(folder: Path, size: int) -> dict[str, Any]:
    """Time, rate and share of the engine's rate of every step, in the order of the run."""
    records = [json.loads(path.read_bytes()) for path in (folder / "artifacts").glob("*/record.json")]
    own = engine_rates(folder)
    rows = {}
    for record in sorted(records, key=lambda r: r["started"]):
        row = {"seconds": record["seconds"], "pixel_years_per_second": YEARS * size**2 / record["seconds"]}
        if record["name"] in CLASSIFYING:
            engine_rate, engine = own[CLASSIFYING[record["name"]]]
            row |= {"engine": engine, "share_of_engine": row["pixel_years_per_second"] / engine_rate}
        rows[record["name"]] = row
    return rows


def main() -> None:
    """Run, print the table, and write the JSON."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "whole_run.json")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peak = run(configure(folder, size))
        assert read_current(folder)
        rows = table(folder, size)
    print(f"\n{size} × {size} pixels, {YEARS} years, {WORKERS} workers; peak per process {peak / 2**30:.2f} GiB")
    for step, row in rows.items():
        line = f"{step:22s} {row['seconds']:8.1f} s {row['pixel_years_per_second']:12,.0f} px/s"
        if "engine" in row:
            hours = TILE / row["pixel_years_per_second"] / 3600
            line += f"  {row['share_of_engine']:.0%} of {row['engine']}, a tile-year in {hours:.1f} h"
        print(line)
    out.write_text(json.dumps({"size": size, "peak_bytes": peak, "steps": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
