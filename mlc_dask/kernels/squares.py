"""All counts of one square of the sample: measures of maps, and planted change that is found (method section 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mlc_dask.kernels import comparison, planting, smoothers

Array = npt.NDArray[Any]

PLAIN: Final = "none"
"""Smoother of a series that is not smoothed."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is counted in every square, whatever the series.

    Attributes
    ----------
    numbers
        (n,) int64 numbers of the blocks of the area that the squares show; they decide what is planted.
    shapes
        (n, 2) int64 height and width of the blocks.
    margin
        Pixels around the block in every square, at least: squares have one side, blocks may be smaller by some pixels.
    rule
        Filter ``rule(labels, radius)`` of filtered series, whose radius is the margin; None for none.
    years_of_truth, successive
        Positions of the years of the truth, and whether they succeed.
    prior
        (256,) int64 training samples by class.
    donors
        (k, n) uint8 classes of the series that are planted.
    seed
        Of what is planted.
    """

    numbers: Array
    shapes: Array
    margin: int
    rule: Callable[..., Array] | None
    years_of_truth: list[int]
    successive: bool
    prior: Array
    donors: Array
    seed: int


@dataclass(frozen=True, eq=False)
class Counted:
    """What the counts of one series need: whether it is filtered, whether it is smoothed, and its own donors.

    `donors` (k, n) uint8 are the labels that the series gives the donors, `probabilities` (k, K, n) uint8 those of its
    `codes` (K,), where it is smoothed by them.
    """

    filtered: bool
    smoothed: bool
    donors: Array
    probabilities: Array | None
    codes: Array

    def versions(self, labels: Array, probability: Array | None, prior: Array) -> dict[str, Array]:
        """Return labels (k, …) as they are and, of a series that is smoothed, by every null smoother."""
        if not self.smoothed:
            return {PLAIN: labels}
        own = np.maximum(prior[self.codes], 1)  # a model that several tiles share may know a class that one lacks
        own = own / own.sum()
        return {PLAIN: labels, **smoothers.null_smoothers(labels, probability, own, self.codes)}


def count_square(plan: Plan, own: Counted, rasters: Mapping[str, Array], number: int) -> dict[str, tuple[Array, Array]]:
    """Count one square of one series.

    Parameters
    ----------
    rasters
        (…, h, w) with the block at row and column `margin`: ``labels`` and, before the filter, ``raw`` (k, h, w) uint8;
        the ``old`` map (h, w) uint8; maybe the ``truth`` and the ``probability`` (k, K, h, w).
    number
        Number of the square among all squares.

    Returns
    -------
    By smoother: (measures, 2) of :mod:`mlc_dask.kernels.comparison` and the counts of
    :func:`mlc_dask.kernels.planting.found`.
    """
    rows, columns = (slice(plan.margin, plan.margin + length) for length in plan.shapes[number])
    given = {name: raster[..., rows, columns] for name, raster in rasters.items()}
    every, prior = given.get("probability"), plan.prior
    plants = planting.plant(plan.donors, given["old"], block=int(plan.numbers[number]), seed=plan.seed)
    before = given["labels"][:, plants.row, plants.column]
    changed = planting.grown(rasters["raw"], plants, own.donors, plan.margin)
    if own.filtered and plan.rule is not None:
        changed = np.stack([plan.rule(year, plan.margin) for year in changed])
    after = changed[..., rows, columns][:, plants.row, plants.column]

    def smoothed_splices(years: Array, labels: Array) -> dict[str, Array]:
        if every is None or own.probabilities is None:
            return own.versions(labels, None, prior)
        put = np.stack([year[:, at] for year, at in zip(own.probabilities, plants.donor, strict=True)])
        spliced = np.where(years[:, None, None], put, every[:, :, plants.row, plants.column])
        return own.versions(labels, spliced, prior)

    hits = planting.found(plants, before, after, smoothed_splices)
    maps = own.versions(given["labels"], every, prior)
    return {name: (_measures(labels, given.get("truth"), plan), hits[name]) for name, labels in maps.items()}


def _measures(labels: Array, truth: Array | None, plan: Plan) -> Array:
    counts = [comparison.consistency_counts(labels)]
    if truth is not None:
        counts.append(comparison.truth_counts(labels[plan.years_of_truth], truth, successive=plan.successive))
    return np.concatenate(counts)
