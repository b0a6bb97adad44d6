"""How often nominal 95 % intervals contain the truth, in simulated surveys of known populations.

Usage: python benchmarks/survey_coverage.py [SURVEYS], 1000 by default. Prints a Markdown table with a row per measure:
its true value, the median number of sampled units in its domain, how often the interval of the package contains the
truth and lies below and above it, how often Wald's (estimate ± 1.96 standard errors) contains it, the median width of
the interval, and the share of surveys without an estimate. Coverage of 1,000 surveys is itself known to ± 1.4 %.

- ``olofsson 2014``: the error matrix of Olofsson et al. (2014) is the population, with their sample of 640 units;
- ``ten classes``: 50 units in each of ten strata; the first class has 1 % of the area and is rarely omitted;
- ``two maps``: three years, strata from the change in two maps (none, first, second, both), the pixel as a cluster;
- ``blocks``: a quarter of the blocks of two maps whose errors come in patches, without replacement;
- ``block bootstrap``: all blocks of such maps, and the truth is the expectation over maps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

from mlc_dask.kernels import assessment
from mlc_dask.kernels.blocks import block_sums, bootstrap, sampled_difference, sampled_share
from mlc_dask.kernels.estimation import Estimates, Strata

Labels = np.ndarray
Row = tuple[float, float, float, float, int]
"""Estimate, standard error, limits, and units in the domain."""

HEAD = ("design", "measure", "truth", "units", "covered", "below / above", "covered by Wald", "width", "none")
CODES = np.arange(1, 11, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Population:
    """All units with their labels in two maps and the reference, their strata, and the units that a survey takes."""

    first: Labels
    second: Labels
    reference: Labels
    of: np.ndarray
    sampled: tuple[int, ...]

    def measured(self, units: np.ndarray, measure: Callable[..., dict[str, Estimates]]) -> dict[str, Row]:
        """Measure the sampled `units`."""
        strata = Strata(self.of[units], np.bincount(self.of).astype(np.float64), finite=True)
        found = measure(self.first[units], self.second[units], self.reference[units], strata)
        return {n: (float(e.value), float(e.se), float(e.low), float(e.high), int(e.units)) for n, e in found.items()}

    def surveys(self, count: int) -> Iterator[np.ndarray]:
        """Draw the units of `count` stratified surveys, without replacement."""
        members, random = [np.flatnonzero(self.of == h) for h in range(len(self.sampled))], np.random.default_rng(0)
        for _ in range(count):
            drawn = [random.choice(m, n, replace=False) for m, n in zip(members, self.sampled, strict=True)]
            yield np.concatenate(drawn)


def by_matrix(shares: np.ndarray, sampled: tuple[int, ...], pixels: int = 200_000) -> Population:
    """Make a population whose strata are the map's classes, from the shares ``[map, reference]`` of the area."""
    counts = np.rint(shares / shares.sum() * pixels).astype(np.int64)
    rows, columns = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.ravel(), axis=1)
    given = CODES[rows][:, None]
    return Population(given, given, CODES[columns][:, None], rows, sampled)


def series(pixels: int = 120_000, years: int = 3) -> Population:
    """Make a population of series with 3 % change, and two maps with 5 and 10 % of errors, half of them lasting."""
    random = np.random.default_rng(1)
    reference = np.repeat(random.choice(CODES[:3], (pixels, 1), p=[0.05, 0.35, 0.6]), years, axis=1)
    year = random.integers(1, years, pixels)
    changes = (random.random(pixels) < 0.03)[:, None] & (np.arange(years) >= year[:, None])
    reference = np.where(changes, reference % 3 + 1, reference).astype(np.uint8)
    maps = []
    for rate in (0.05, 0.1):
        lasting = (random.random((pixels, 1)) < rate / 2) | (random.random((pixels, years)) < rate / 2)
        maps.append(np.where(lasting, reference % 3 + 1, reference).astype(np.uint8))
    changed = [(m[:, 1:] != m[:, :-1]).any(axis=1) for m in maps]
    return Population(maps[0], maps[1], reference, changed[0] + 2 * changed[1], (300, 100, 150, 100))


def of_classes(given: Labels, _: Labels, reference: Labels, strata: Strata) -> dict[str, Estimates]:
    """Measures of one map: overall, of a sparse class and of a common one."""
    size = int(CODES[len(strata.sizes) - 1]) + 1
    found = assessment.accuracy(given, reference, strata, size)
    by_class = {"user's": found.users, "producer's": found.producers, "F1": found.f1, "area": found.area}
    named = {f"{name} {kind}": e[c] for c, kind in ((1, "sparse"), (3, "common")) for name, e in by_class.items()}
    return {"overall": found.overall, **named}


def of_change(first: Labels, second: Labels, reference: Labels, strata: Strata) -> dict[str, Estimates]:
    """Measures of two maps over years."""
    exact = assessment.change_accuracy(first, reference, strata)
    shown = assessment.footprint(first, reference, strata)
    found = assessment.accuracy(first, reference, strata, 4)
    return {
        "accuracy of years": found.overall,
        "whole series right": assessment.trajectory_accuracy(first, reference, strata),
        "area sparse": found.area[1],
        "difference of two maps": assessment.accuracy_difference(first, second, reference, strata),
        "change user's": exact.users,
        "change producer's": exact.producers,
        "footprint producer's": shown.producers,
        "gross change": assessment.gross_and_net(reference, strata)[0],
    }


def fields(random: np.random.Generator, side: int = 256, smooth: float = 2.0) -> tuple[np.ndarray, float]:
    """Agreement (2, side, side) of two maps with errors in patches, and the expected difference of the shares."""
    impulse = np.zeros((side, side))
    impulse[0, 0] = 1
    norm = np.sqrt((ndimage.gaussian_filter(impulse, smooth, mode="wrap") ** 2).sum())
    noise = [ndimage.gaussian_filter(random.normal(size=(side, side)), smooth, mode="wrap") / norm for _ in range(3)]
    limits, scale = (1.0, 1.2), np.sqrt(1.09)
    agree = np.stack([noise[0] + 0.3 * noise[i + 1] < limit for i, limit in enumerate(limits)])
    return agree, float(special.ndtr(limits[0] / scale) - special.ndtr(limits[1] / scale))


def of_blocks(count: int) -> Iterator[tuple[str, str, float, list[Row]]]:
    """Surveys of blocks of 16 pixels, and bootstraps of 64 blocks of 64 pixels."""
    random = np.random.default_rng(2)
    parts = block_sums(fields(random)[0], 16).reshape(2, -1)
    wholes, n = np.full_like(parts, 256), parts.shape[1]
    truth = parts.sum(axis=1) / wholes.sum(axis=1)
    found: dict[str, list[Row]] = {"agreement": [], "difference of two maps": []}
    for _ in range(count):
        drawn = random.choice(n, n // 4, replace=False)
        pairs = [(p[drawn], w[drawn]) for p, w in zip(parts, wholes, strict=True)]
        for name, e in zip(found, (sampled_share(*pairs[0], n), sampled_difference(*pairs, n)), strict=True):
            found[name].append((float(e.value), float(e.se), float(e.low), float(e.high), int(e.units)))
    for (name, rows), true in zip(found.items(), (truth[0], truth[0] - truth[1]), strict=True):
        yield "blocks", name, float(true), rows
    kinds: dict[str, list[Row]] = {"difference, percentile": [], "difference, BCa": []}
    for seed in range(count):
        agree, expected = fields(random, side=512)
        counts = block_sums(agree, 64).reshape(2, -1)
        b = bootstrap(counts, np.full_like(counts, 64 * 64), [[1, -1]], seed=seed)
        limits = ((b.low[0], b.high[0]), (b.bca_low[0], b.bca_high[0]))
        for rows, (low, high) in zip(kinds.values(), limits, strict=True):
            rows.append((float(b.value[0]), float(b.se[0]), float(low), float(high), b.blocks))
    for name, rows in kinds.items():
        yield "block bootstrap", name, expected, rows


def surveyed(count: int) -> Iterator[tuple[str, str, float, list[Row]]]:
    """Design, measure, truth and estimates of `count` surveys."""
    olofsson = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    weights = np.array([0.02, 0.015, 0.32, 0.645])[:, None]
    ten = np.full((10, 10), 0.01) + 0.88 * np.eye(10)
    ten[:, 0] = np.where(np.arange(10) == 0, 0.9, 0.0005)
    area = np.array([0.01] + [0.11] * 9)[:, None]
    designs = {
        "olofsson 2014": (
            by_matrix(weights * olofsson / olofsson.sum(axis=1)[:, None], (75, 75, 165, 325)),
            of_classes,
        ),
        "ten classes": (by_matrix(area * ten / ten.sum(axis=1)[:, None], (50,) * 10), of_classes),
        "two maps": (series(), of_change),
    }
    for design, (population, measure) in designs.items():
        whole = population.measured(np.arange(len(population.of)), measure)
        found = [population.measured(units, measure) for units in population.surveys(count)]
        for name, (truth, *_) in whole.items():
            yield design, name, truth, [estimates[name] for estimates in found]
    yield from of_blocks(count)


def row(design: str, measure: str, truth: float, estimates: list[Row]) -> tuple[str, ...]:
    """One row of the table."""
    value, se, low, high, units = np.array(estimates).T
    known = ~np.isnan(value)
    below, above = (high < truth - 1e-12)[known].mean(), (low > truth + 1e-12)[known].mean()
    wald = (np.abs(value - truth) <= 1.959964 * se + 1e-12)[known].mean()
    figures = (f"{truth:.4f}", f"{np.median(units):.0f}", f"{1 - below - above:.3f}", f"{below:.3f} / {above:.3f}")
    return design, measure, *figures, f"{wald:.3f}", f"{np.median((high - low)[known]):.4f}", f"{1 - known.mean():.3f}"


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for found in surveyed(count):
        print(f"| {' | '.join(row(*found))} |", flush=True)


if __name__ == "__main__":
    main()
