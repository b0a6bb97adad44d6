"""Whether intervals from a sample of blocks contain the figures of the whole map.

Usage: python benchmarks/block_sample.py OUTPUT [SIDE [BLOCKS [DRAWS]]]. OUTPUT is a finished run with
``evidence.baseline = "whole"``; from its maps, BLOCKS blocks of SIDE pixels are drawn at random, DRAWS times (by
default 60 blocks of 32 pixels, 1,000 times: a demo has too few blocks of 118). Prints, for every measure of the
single-year maps and for its difference from the multi-year maps, the figure of the whole map, the standard deviation
between blocks, the share of the draws whose 95 % interval contains the figure, and the mean half width of the interval.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import mlc_dask as mlc
from mlc_dask.kernels.comparison import MEASURES, compare, consistency_counts


def counts(maps: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.int64]:
    """Count (blocks, measures, 2) in every block of a series (year, y, x)."""
    height, width = maps.shape[1:]
    corners = [(row, column) for row in range(0, height, side) for column in range(0, width, side)]
    return np.stack([consistency_counts(maps[:, r : r + side, c : c + side]) for r, c in corners])


def coverage(
    own: npt.NDArray[np.int64], other: npt.NDArray[np.int64], blocks: int, draws: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Find how often the intervals of share and difference contain them, and mean half widths: (2,) each."""
    random, truth = np.random.default_rng(0), [c[:, 0].sum() / c[:, 1].sum() for c in (own, other)]
    held, widths = [], []
    for _ in range(draws):
        at = random.choice(len(own), blocks, replace=False)
        found = compare(own[at], other[at], len(own))
        limits = [(found.low, found.high, truth[0]), (found.difference_low, found.difference_high, truth[0] - truth[1])]
        held.append([low <= figure <= high for low, high, figure in limits])
        widths.append([(high - low) / 2 for low, high, _ in limits])
    return np.mean(held, axis=0), np.mean(widths, axis=0)


def main(output: Path, side: int = 32, blocks: int = 60, draws: int = 1000) -> None:
    """Print the table."""
    maps = mlc.open_maps(output)
    print("| maps | measure | single-year | covered | ± | difference | between blocks | covered | ± |")
    print("|---|---|---|---|---|---|---|---|---|")
    for suffix in ("", "_filtered"):
        single, multi = (counts(maps[f"{name}_year{suffix}"].values, side) for name in ("single", "multi"))
        for i, metric in enumerate(MEASURES[: single.shape[1]]):
            share, other = (c[:, i, 0].sum() / c[:, i, 1].sum() for c in (single, multi))
            gaps = [c[:, i, 0] / np.maximum(1, c[:, i, 1]) for c in (single, multi)]
            spread = np.std(gaps[0] - gaps[1], ddof=1)
            held, half = coverage(single[:, i], multi[:, i], blocks, draws)
            figures = (share, held[0], half[0], share - other, spread, held[1], half[1])
            name = f"single-year{suffix.replace('_', ', ')}"
            print("| " + " | ".join([name, metric, *(f"{v:.4f}" for v in figures)]) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
