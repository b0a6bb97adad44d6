"""Cube layouts: the cost of writing by acquisition, reading whole patches and reading the series of single pixels.

Usage: python benchmarks/cube_layout.py [FOLDER [EDGE]], by default a temporary folder and 1024. A year of
20 acquisitions with ten bands (a synthetic world, tiled to EDGE) is written by the unit each layout allows, read
back as one patch by zarr-python and by zarrs, and read at 100 random pixels; every figure is the median of three
rounds over all layouts in turn, as a ratio to the first layout. The last output is how many of 40 damaged arrays each
of the two reads without an error. Decision 006 quotes this benchmark.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from mlc_dask.worlds import World
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.spectra import Ground

DATES, BANDS, SERIES, ROUNDS = 20, 10, 100, 3
PIPELINES = {"zarr-python": "zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs": "zarrs.ZarrsCodecPipeline"}
CODECS = [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()]


@dataclass(frozen=True)
class Candidate:
    """Chunks and shards (acquisition, band, y, x), and the unit of one writer: acquisitions and edge in pixels."""

    name: str
    chunks: tuple[int, int, int, int]
    unit: tuple[int, int]
    shards: tuple[int, int, int, int] | None = None


CANDIDATES = (
    Candidate("a year, 128", (DATES, BANDS, 128, 128), (DATES, 512)),
    Candidate("an acquisition, 128", (1, BANDS, 128, 128), (1, 1024)),
    Candidate("an acquisition, 256", (1, BANDS, 256, 256), (1, 1024)),
    Candidate("an acquisition, 512", (1, BANDS, 512, 512), (1, 1024)),
    Candidate("an acquisition, 128 in shards of 1024", (1, BANDS, 128, 128), (1, 1024), (1, BANDS, 1024, 1024)),
    Candidate("an acquisition, 256 in shards of 1024", (1, BANDS, 256, 256), (1, 1024), (1, BANDS, 1024, 1024)),
)


def pixels(edge: int) -> np.ndarray:
    """Make a year (DATES, BANDS, edge, edge) uint16 with the texture of a world, noise included."""
    world, random = World(size=512), np.random.default_rng(0)
    ground = Ground(world, make_landscape(world))
    days = np.linspace(15, 350, DATES).astype(int)
    year = np.stack([ground.reflectance(0, int(d))[:BANDS] for d in days])
    times = -(-edge // 512)
    year = np.tile(year, (1, 1, times, times))[..., :edge, :edge]
    return np.clip(year * 1e4 + 1000 + 40 * random.standard_normal(year.shape, np.float32), 1, 65535).astype(np.uint16)


def write(folder: Path, own: Candidate, year: np.ndarray) -> zarr.Array:
    """Store the year by the candidate's unit."""
    array = zarr.create_array(
        folder,
        shape=year.shape,
        dtype=year.dtype,
        chunks=own.chunks,
        shards=own.shards,
        compressors=CODECS,
        fill_value=0,
    )
    dates, edge = own.unit
    for t in range(0, DATES, dates):
        for row in range(0, year.shape[2], edge):
            for column in range(0, year.shape[3], edge):
                place = (slice(t, t + dates), slice(None), slice(row, row + edge), slice(column, column + edge))
                array[place] = year[place]
    return array


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(folder: Path, own: Candidate, year: np.ndarray) -> dict[str, float]:
    """Seconds of writing, of reading a patch and of reading single pixels; files and megabytes."""
    place = folder / "cube.zarr"
    written = seconds(lambda: write(place, own, year))
    array, random = zarr.open_array(place, mode="r"), np.random.default_rng(1)
    rows, columns = (random.integers(0, year.shape[2], SERIES) for _ in "yx")
    found = {"write": written, "read a patch": seconds(lambda: array[:])}
    with zarr.config.set({"codec_pipeline.path": PIPELINES["zarrs"]}):
        compiled = zarr.open_array(place, mode="r")
    found["read it by zarrs"] = seconds(lambda: compiled[:])
    found["read series"] = seconds(lambda: [array[:, :, y, x] for y, x in zip(rows, columns, strict=True)])
    files = [p for p in place.rglob("*") if p.is_file()]
    found |= {"files": len(files), "megabytes": sum(p.stat().st_size for p in files) / 1e6}
    shutil.rmtree(place)
    return found


def unnoticed(folder: Path, place: tuple[slice, slice], pipeline: str, arrays: int = 40) -> int:
    """Count the arrays with a flipped bit in every chunk that are read at `place` without an error."""
    random, silent = np.random.default_rng(0), 0
    for i in range(arrays):
        path = folder / f"{pipeline}-{place[0].start}-{i}"
        array = zarr.create_array(path, shape=(90, 70), chunks=(32, 32), dtype="u2", compressors=CODECS, fill_value=0)
        array[:] = random.integers(0, 4000, array.shape)
        for file in path.glob("c/*/*"):
            damaged = bytearray(file.read_bytes())
            damaged[random.integers(40, len(damaged) - 4)] ^= 1 << int(random.integers(8))
            file.write_bytes(damaged)
        with zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]}), suppress(ValueError, RuntimeError):
            assert zarr.open_array(path, mode="r")[place].size
            silent += 1
    return silent


def main(folder: Path, edge: int) -> None:
    """Measure all candidates in turn and print the medians."""
    year = pixels(edge)
    rounds = [{c.name: measure(folder, c, year) for c in CANDIDATES} for _ in range(ROUNDS)]
    print(f"{year.nbytes / 1e6:.0f} MB; seconds (ratio to the first)")
    first = CANDIDATES[0].name
    for own in CANDIDATES:
        cells = []
        for figure in rounds[0][own.name]:
            value, base = (statistics.median(r[n][figure] for r in rounds) for n in (own.name, first))
            cells.append(f"{figure} {value:.2f} ({value / base:.2f})" if figure != "files" else f"{figure} {value:.0f}")
        print(f"{own.name:<40}" + "  ".join(cells))
    places = {"5 × 5 pixels": (slice(0, 5), slice(0, 5)), "the last chunk": (slice(64, 90), slice(64, 70))}
    for pipeline in PIPELINES:
        counts = (f"{unnoticed(folder, place, pipeline)} at {name}" for name, place in places.items())
        print(f"damaged arrays of 40 read by {pipeline} without an error: {', '.join(counts)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch), int(sys.argv[2]) if len(sys.argv) > 2 else 1024)
