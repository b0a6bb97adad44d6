"""Hours and memory that a tile-year takes. Prints the tables of docs/sizing.md.

Usage: python benchmarks/sizing.py

Rates are those in docs/decisions, times those of one core or one GPU. Figures that were never measured are calculated
from the network's arithmetic and marked as estimates.
"""

from __future__ import annotations

from mlc_dask.data.layers import planes
from mlc_dask.pipeline.plan import worker_bytes

TILE = 10980**2
DATES, BANDS = 20, 10
PIXEL = DATES * (2 * BANDS + 1)
"""Bytes of a pixel's year in the cube and in a patch: uint16 bands and the mask."""

MEASURED = {
    "the paper's LSTM, PyTorch": 3_444,
    "the paper's LSTM, int16 kernel on AVX2": 3_500,
    "the paper's LSTM, int16 kernel on AVX-512 VNNI": 7_754,
    "the same in one direction, AVX-512 VNNI": 22_092,
    "forest of 100 trees, compiled kernel": 630_307,
    "11 × 11 majority filter": 63_700_000,
}
"""Pixels per second of one core of a two-core AMD EPYC (Zen 5, decision 008)."""

ELSEWHERE = {"the paper's LSTM, AMX prototype (measured elsewhere)": 23_500}
READING = 2.6
"""Seconds of a core, an older EPYC's (Zen 3), to read the year of a million pixels (decision 006)."""

TRAINING = 234
"""Samples per second of a core of the same older processor (decision 008)."""

FLOP = 52.8e6
"""Of a pixel through the paper's LSTM (docs/method.md, section 7)."""


def main() -> None:
    """Print all tables."""
    print("| one map of one year | pixels per second | on a core |\n|---|---|---|")
    for name, rate in {**MEASURED, **ELSEWHERE}.items():
        print(f"| {name} | {rate:,} | {hours(TILE / rate)} |")
    print(f"| reading the cube, whatever the model | {1e6 / READING:,.0f} | {hours(TILE / 1e6 * READING)} |")

    work = FLOP * TILE
    print(f"\n| GPU that sustains, in float16 | {work / 1e15:.2f} PFLOP, **estimated** |\n|---|---|")
    for tera in (5, 20, 60):
        print(f"| {tera} TFLOP/s | {hours(work / tera / 1e12)} |")

    print("\n| training of the paper's LSTM, one core per model | samples | on a core |\n|---|---|---|")
    for name, years in (("a model of one year", 1), ("the model of three years", 3), ("the model of ten years", 10)):
        print(f"| {name} | {24_000 * years:,} | {hours(24_000 * years * 100 / TRAINING)} |")

    print("\n| `execution.patch` | patches per tile | the patch | required per worker thread |\n|---|---|---|---|")
    for edge in (512, 1024, 1280, 2560, 5120):
        patch = edge**2 * PIXEL
        print(f"| {edge} | {(-(-10980 // edge)) ** 2} | {patch / 1e9:.2f} GB | {worker_bytes(patch) / 1e9:.1f} GB |")

    print(
        f"\nOn disk a tile-year takes {TILE * PIXEL / 1e9:.0f} GB of cube and "
        f"{TILE * planes(3) / 3e9:.1f} GB of maps (of three years), both before compression."
    )


def hours(seconds: float) -> str:
    """Write a time in hours, minutes or seconds, by its size."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
