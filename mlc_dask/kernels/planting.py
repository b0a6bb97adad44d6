"""Planted change: series of another class in squares of known size, for a known time (method section 9).

A classifier that sees one year at a time calls a planted pixel what it calls the series that was put there, so nothing
has to be classified anew: the labels of the series replace those of the map, and filters and smoothers do the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA

Maps = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

SIDES: Final = (1, 3, 5, 8, 11, 16)
"""Sides of the planted squares in pixels."""

CELL: Final = 32
"""Side in pixels of a cell with one planted square: filters of up to 17 pixels see one square at a time."""

LASTING: Final = ("1 year", "2 years", "all remaining years")
"""How long a planted class lasts."""


@dataclass(frozen=True, eq=False)
class Plants:
    """Planted pixels of one block.

    Attributes
    ----------
    row, column
        (p,) int64 place in the block.
    side
        (p,) int64 index of the square's side in :data:`SIDES`.
    code
        (p,) uint8 planted class.
    donor
        (k, p) int64 index of the series of every year among the donors of that year.
    """

    row: Counts
    column: Counts
    side: Counts
    code: Maps
    donor: Counts


def plant(donors: Maps, old: Maps, *, block: int, seed: int) -> Plants:
    """Choose squares, their classes and their series: one square in the middle of every cell of a block.

    A cell at the border of the block that is cut has a square only where all of it is inside.

    Parameters
    ----------
    donors
        (k, n) uint8 classes of reliable series by year; 0 is no series.
    old
        (h, w) uint8 old map of the block; a pixel is planted only where its class is known and another one.
    block, seed
        Decide all draws, with nothing else.
    """
    random = np.random.default_rng([seed, block])
    everywhere = [c for c in np.unique(donors[donors != NO_DATA]).tolist() if (donors == c).any(axis=1).all()]
    cells = [(r, c) for r in range(0, old.shape[0], CELL) for c in range(0, old.shape[1], CELL)]
    parts: list[Counts] = [np.zeros((4, 0), np.int64)]
    for i, (top, left) in enumerate(cells if everywhere else []):
        side, code = (i + block) % len(SIDES), int(random.choice(everywhere))
        start = (CELL - SIDES[side]) // 2
        square = old[top + start : top + start + SIDES[side], left + start : left + start + SIDES[side]]
        if square.shape != (SIDES[side], SIDES[side]):
            continue
        row, column = np.nonzero((square != code) & (square != NO_DATA))
        fixed = (np.full(row.size, value) for value in (side, code))
        parts.append(np.stack([row + top + start, column + left + start, *fixed]))
    row, column, sides, codes = np.concatenate(parts, axis=1)
    donor = np.zeros((len(donors), row.size), np.int64)
    for year, own in enumerate(donors):
        for code in np.unique(codes).tolist():
            at = np.flatnonzero(codes == code)
            donor[year, at] = random.choice(np.flatnonzero(own == code), at.size)
    return Plants(row, column, sides, codes.astype(np.uint8), donor)


def grown(maps: Maps, plants: Plants, shown: Maps, margin: int) -> Maps:
    """Put the planted squares into all years of maps.

    Parameters
    ----------
    maps
        (k, h + 2 · margin, w + 2 · margin) uint8 labels of the block and its margin.
    shown
        (k, n) uint8 labels of the donors in the same maps.
    """
    changed = maps.copy()
    changed[:, plants.row + margin, plants.column + margin] = np.take_along_axis(shown, plants.donor, axis=1)
    return changed


def scenarios(years: int) -> Iterator[tuple[int, int, int]]:
    """Position of the first planted year, of the first year after it, and index in :data:`LASTING`.

    What is planted in the first year is a change back in the second one.
    """
    for start in range(years):
        for lasting, end in enumerate((start + 1, start + 2)):
            if end < years and (start > 0 or lasting == 0):
                yield start, end, lasting
        if start > 0:
            yield start, years, len(LASTING) - 1


def found(
    plants: Plants,
    before: Maps,
    planted: Maps,
    versions: Callable[[npt.NDArray[np.bool_], Maps], dict[str, Maps]],
) -> dict[str, Counts]:
    """Count planted pixels whose change is found: to its class, in its year and within one year of it.

    Parameters
    ----------
    before, planted
        (k, p) uint8 labels of the planted pixels in maps without and with the squares.
    versions
        Takes which years are planted, (k,), and the labels (k, p) of the spliced series; returns the labels as they
        are and smoothed, by name.

    Returns
    -------
    (scenario, side, 3) int64 by the same names, scenarios in the order of :func:`scenarios`: pixels found in the year,
    within one year, and all planted pixels with data. Found is a step from another class to the planted one; where the
    first year is planted, the step back.
    """
    counts: dict[str, list[Counts]] = {name: [] for name in versions(np.zeros(len(before), np.bool_), before)}
    for start, end, _ in scenarios(len(before)):
        years = np.zeros(len(before), np.bool_)
        years[start:end] = True
        spliced = np.where(years[:, None], planted, before)
        judged = (spliced != NO_DATA).all(axis=0)
        at = start or end
        for name, shown in versions(years, spliced).items():
            steps = _steps(shown == plants.code, back=start == 0)
            near = steps[max(0, at - 2) : at + 1].any(axis=0)
            masks = (steps[at - 1] & judged, near & judged, judged)
            counts[name].append(np.stack([np.bincount(plants.side[m], minlength=len(SIDES)) for m in masks], axis=1))
    return {name: np.array(own, np.int64).reshape(-1, len(SIDES), 3) for name, own in counts.items()}


def _steps(own: npt.NDArray[np.bool_], *, back: bool) -> npt.NDArray[np.bool_]:
    """Mask (k - 1, p) of the steps to what is `own` (k, p), or `back` from it."""
    before, after = own[:-1], own[1:]
    return before & ~after if back else after & ~before
