"""Paired acquisitions: the same seasons in every year (METHOD section 2; paper section 3).

The cost of a series adds up, over its pairs, the weighted mean cloud, mean missing area, spread and further orbits,
and, over its gaps, ``gap_weight * max(0, gap / even - 1)²``. A gap lies between the mean season days of successive
pairs; `even` is the season over q + 1 (at least one day). The season runs from the first to the last candidate of any
year, and its two ends count as gaps: without them the cheapest series could crowd into a few weeks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mlc_dask.errors import InputError
from mlc_dask.kernels.pairing_limits import Infeasible, Relaxation, require_feasible
from mlc_dask.kernels.pairing_rules import ALONE, CHOSEN, OUTSCORED, Candidate, PairingRules, season_day

__all__ = ["Candidate", "Infeasible", "Pairing", "PairingRules", "Relaxation", "pair", "season_day"]

# The search is quadratic in the combinations; this many take tens of seconds.
_MOST_COMBINATIONS = 40_000

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairing:
    """The chosen acquisitions.

    Attributes
    ----------
    index
        (q, k) int64: position of the acquisition within ``candidates[year]`` as handed in, ascending in time.
    spreads
        (q,) int64 season days between the earliest and the latest year of every pair.
    cost
        The minimum reached, as the module describes it.
    reasons
        Per year and candidate: ``chosen``, or why not (``cloud over limit``, ``too little valid area``,
        ``no partner within max_days_apart``, ``outscored``).
    """

    index: _Ints
    spreads: _Ints
    cost: float
    reasons: tuple[tuple[str, ...], ...]


def pair(
    candidates: Sequence[Sequence[Candidate]], rules: PairingRules, *, years: Sequence[object] | None = None
) -> Pairing:
    """Choose ``rules.size`` pairs (one acquisition of each year) at the least cost, exactly (METHOD section 2).

    Parameters
    ----------
    candidates
        Acquisitions of every year, in any order; one per datatake and day.
    rules
        Limits and weights.
    years
        Names of the years for messages; 1, 2, … when left out.

    Returns
    -------
    Pairing
        Pairs strictly increasing in time in every year.

    Raises
    ------
    Infeasible
        The limits allow fewer pairs; it tells how many and which limit binds. None is relaxed here.
    InputError
        No years, contradicting times, or limits so wide that the search would not end.
    """
    years = tuple(years) if years is not None else tuple(range(1, len(candidates) + 1))
    _check(candidates, years)
    require_feasible(candidates, rules, years)
    usable = [_usable(year, rules) for year in candidates]
    kept = [[year[i] for i in positions] for year, positions in zip(candidates, usable, strict=True)]
    combined = _combinations(kept, rules)
    cost, middle, spread = _costs(combined, kept, rules)
    days = [c.day for year in candidates for c in year]
    chosen, total = _cheapest_chain(combined, cost, middle, (min(days), max(days)), rules)
    index = np.stack([positions[combined[:, i]] for i, positions in enumerate(usable)], axis=1)
    reasons = tuple(_reasons(year, rules, index[:, i], index[chosen, i]) for i, year in enumerate(candidates))
    return Pairing(index[chosen], spread[chosen], total, reasons)


def _check(candidates: Sequence[Sequence[Candidate]], years: Sequence[object]) -> None:
    if not candidates:
        raise InputError("there are no years to pair; give the acquisitions of at least one year")
    if len(years) != len(candidates):
        raise InputError(f"{len(years)} names for {len(candidates)} years; give one name per year")
    for year, name in zip(candidates, years, strict=True):
        ordered = sorted(year, key=lambda c: c.order)
        for a, b in pairwise(ordered):
            if a.order == b.order:
                raise InputError(f"two acquisitions of {name} share the time {a.order}; mosaic or drop one of them")
            if a.day > b.day:
                raise InputError(
                    f"in {name} season day {b.day} comes after day {a.day}; sort out the acquisition times"
                )


def _usable(year: Sequence[Candidate], rules: PairingRules) -> _Ints:
    """Positions within `year` of the acquisitions that keep the limits, in time order."""
    kept = [i for i, c in enumerate(year) if not rules.refuses(c)]
    return np.array(sorted(kept, key=lambda i: year[i].order), dtype=np.int64)


def _combinations(years: Sequence[Sequence[Candidate]], rules: PairingRules) -> _Ints:
    """(n, k) positions of all pairs within `max_days_apart`, sorted by the first year, then the second, …."""
    days = [np.array([c.day for c in year]) for year in years]
    found = np.arange(days[0].size)[:, None]
    low = high = days[0]
    for day in days[1:]:
        near = np.maximum.outer(high, day) - np.minimum.outer(low, day) <= rules.max_days_apart
        row, column = np.nonzero(near)
        if row.size > _MOST_COMBINATIONS:
            raise InputError(
                f"max_days_apart={rules.max_days_apart} leaves {row.size} combinations of acquisitions, too many to "
                f"compare; lower max_days_apart or max_cloud"
            )
        found = np.column_stack([found[row], column])
        low, high = np.minimum(low[row], day[column]), np.maximum(high[row], day[column])
    return found


def _costs(
    combined: _Ints, years: Sequence[Sequence[Candidate]], rules: PairingRules
) -> tuple[_Floats, _Floats, _Ints]:
    """Cost (n,), mean season day (n,) and spread (n,) of every combination."""

    def table(value: Callable[[Candidate], float]) -> _Floats:
        columns = [np.array([value(c) for c in year], dtype=np.float64) for year in years]
        return np.stack([column[combined[:, i]] for i, column in enumerate(columns)], axis=1)

    day, unknown = table(lambda c: c.day), -1
    orbit = np.sort(table(lambda c: unknown if c.orbit is None else c.orbit), axis=1)
    further = ((orbit[:, 1:] != orbit[:, :-1]) & (orbit[:, :-1] != unknown)).sum(axis=1)
    spread = day.max(axis=1) - day.min(axis=1)
    cost = (
        rules.cloud_weight * table(lambda c: c.cloud).mean(axis=1)
        + rules.missing_weight * table(lambda c: c.missing).mean(axis=1)
        + rules.spread_weight * spread
        + rules.orbit_weight * further
    )
    return cost, day.mean(axis=1), spread.astype(np.int64)


def _cheapest_chain(
    combined: _Ints, cost: _Floats, middle: _Floats, season: tuple[int, int], rules: PairingRules
) -> tuple[_Ints, float]:
    """Rows of `combined` (q,) that form the cheapest strictly increasing series, and its cost.

    ``total[t, j]`` is the least cost of a series of j + 1 pairs that ends in t. Whatever can precede t has an earlier
    acquisition in the first year, so one pass in sorted order settles all lengths at once. Ties: the earliest wins.
    """
    count, size = len(cost), rules.size
    even = max((season[1] - season[0]) / (size + 1), 1.0)

    def gap(days: _Floats) -> _Floats:
        return rules.gap_weight * np.maximum(days / even - 1, 0) ** 2

    total = np.full((count, size), np.inf)
    parent = np.full((count, size), -1)
    total[:, 0] = cost + gap(middle - season[0])
    later = np.searchsorted(combined[:, 0], combined[:, 0], side="left")
    columns = np.arange(size - 1)
    for t in range(count):
        before = np.flatnonzero((combined[: later[t], 1:] < combined[t, 1:]).all(axis=1))
        if before.size:
            reached = total[before, :-1] + gap(middle[t] - middle[before])[:, None]
            best = reached.argmin(axis=0)
            total[t, 1:] = reached[best, columns] + cost[t]
            parent[t, 1:] = before[best]
    ended = total[:, -1] + gap(season[1] - middle)
    series = [int(ended.argmin())]
    assert np.isfinite(ended[series[0]]), "the longest series was found long enough"
    for j in range(size - 1, 0, -1):
        series.append(int(parent[series[-1], j]))
    return np.array(series[::-1]), float(ended.min())


def _reasons(year: Sequence[Candidate], rules: PairingRules, partnered: _Ints, chosen: _Ints) -> tuple[str, ...]:
    """Per candidate of one year what became of it; `partnered` and `chosen` are positions within `year`."""
    has_partner, is_chosen = set(partnered.tolist()), set(chosen.tolist())
    return tuple(
        rules.refuses(c) or (CHOSEN if i in is_chosen else OUTSCORED if i in has_partner else ALONE)
        for i, c in enumerate(year)
    )
