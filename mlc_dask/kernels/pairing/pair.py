"""Paired acquisitions: the same seasons in every year (method section 2; paper section 3).

The cost of a series is the sum, over its pairs, of the weighted mean cloud, mean missing area, spread and number of
additional orbits, plus the sum of ``gap_weight * max(0, gap / even - 1)²`` over its gaps. A gap is the time between
the mean season days of successive pairs; `even` is the length of the season divided by q + 1 (at least one day). The
season runs from the first to the last candidate of any year, and its two ends count as gaps: without them the cheapest
series could crowd into a few weeks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.pairing.limits import require_feasible
from mlc_dask.kernels.pairing.rules import ALONE, CHOSEN, OUTSCORED, PAIRABLE, Candidate, PairingRules
from mlc_dask.kernels.pairing.search import Spacing, cheapest_series

# Each combination takes a few hundred bytes.
_MOST_COMBINATIONS = 1_000_000

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairing:
    """The chosen acquisitions.

    Attributes
    ----------
    index
        (q, k) int64: position of the acquisition within ``candidates[year]`` as passed, in order of time.
    spreads
        (q,) int64 season days between the earliest and the latest year of every pair.
    cost
        The minimum of the cost that the module describes.
    reasons
        Per year and candidate: ``chosen``, or the reason for rejection: ``cloud over limit``, ``too little valid
        area``, ``no partner within max_days_apart`` or ``outscored``.
    """

    index: _Ints
    spreads: _Ints
    cost: float
    reasons: tuple[tuple[str, ...], ...]


def pair(
    candidates: Sequence[Sequence[Candidate]], rules: PairingRules, *, years: Sequence[object] | None = None
) -> Pairing:
    """Choose the ``rules.size`` pairs (one acquisition of each year) of exactly the least cost (method section 2).

    Parameters
    ----------
    candidates
        Acquisitions of every year, in any order.
    rules
        Limits and weights.
    years
        Names of the years for messages; 1, 2, … by default.

    Returns
    -------
    Pairing
        In every year, each pair has a later season day than the pair before it.

    Raises
    ------
    Infeasible
        The limits allow fewer pairs; the error names how many, and which limit binds. Limits are never relaxed here.
    InputError
        There are no years, times contradict each other, or the limits are too wide for the search to end.
    """
    years = tuple(years) if years is not None else tuple(range(1, len(candidates) + 1))
    _check(candidates, years)
    require_feasible(candidates, rules, years)
    usable = [_usable(year, rules) for year in candidates]
    kept = [[year[i] for i in positions] for year, positions in zip(candidates, usable, strict=True)]
    combined = _combinations(kept, rules)
    days, cost, spread = _costs(combined, kept, rules)
    season = [c.day for year in candidates for c in year]
    first, last = min(season), max(season)
    spacing = Spacing(first, last, max((last - first) / (rules.size + 1), 1.0), rules.gap_weight)
    chosen, total = cheapest_series(days, cost, spacing, rules.size)
    index = np.stack([positions[combined[:, i]] for i, positions in enumerate(usable)], axis=1)
    reasons = tuple(_reasons(year, rules, index[:, i], index[chosen, i]) for i, year in enumerate(candidates))
    return Pairing(index[chosen], spread[chosen], total, reasons)


def hindrances(candidates: Sequence[Sequence[Candidate]], rules: PairingRules) -> tuple[tuple[str, ...], ...]:
    """Say for every acquisition which limit rules it out, when fewer pairs are feasible than requested.

    Parameters
    ----------
    candidates
        Acquisitions of every year, in any order.
    rules
        Only the limits matter here, not `size` or the weights.

    Returns
    -------
    Per year and candidate: ``cloud over limit``, ``too little valid area``, ``no partner within max_days_apart``, or
    ``can be paired`` if no limit rules it out.
    """
    days = [np.unique([c.day for c in year if not rules.refuses(c)]) for year in candidates]

    def has_partners(day: int) -> bool:
        windows = range(day - rules.max_days_apart, day + 1)
        return any(all(_any_within(year, first, first + rules.max_days_apart) for year in days) for first in windows)

    return tuple(
        tuple(rules.refuses(c) or (PAIRABLE if has_partners(c.day) else ALONE) for c in year) for year in candidates
    )


def _any_within(days: npt.NDArray[Any], first: int, last: int) -> bool:
    return bool(((days >= first) & (days <= last)).any())


def _check(candidates: Sequence[Sequence[Candidate]], years: Sequence[object]) -> None:
    if not candidates:
        raise InputError("there are no years to pair; give the acquisitions of at least one year")
    if len(years) != len(candidates):
        raise InputError(f"{len(years)} names for {len(candidates)} years; give one name per year")
    for year, name in zip(candidates, years, strict=True):
        ordered = sorted(year, key=lambda c: c.order)
        for a, b in pairwise(ordered):
            if a.order == b.order:
                raise InputError(f"two acquisitions of {name} share the time {a.order}; mosaic them or drop one")
            if a.day > b.day:
                raise InputError(f"in {name} season day {b.day} comes after day {a.day}; correct the acquisition times")


def _usable(year: Sequence[Candidate], rules: PairingRules) -> _Ints:
    """Positions within `year` of the acquisitions within the limits, in order of time."""
    kept = [i for i, c in enumerate(year) if not rules.refuses(c)]
    return np.array(sorted(kept, key=lambda i: year[i].order), dtype=np.int64)


def _combinations(years: Sequence[Sequence[Candidate]], rules: PairingRules) -> _Ints:
    """(n, k) positions of all pairs within `max_days_apart`, sorted by the first year, then the second, and so on."""
    days = [np.array([c.day for c in year]) for year in years]
    combined = np.arange(days[0].size)[:, None]
    low = high = days[0]
    for day in days[1:]:
        # In order of time, the acquisitions that are near enough are one run.
        begin = np.searchsorted(day, high - rules.max_days_apart, side="left")
        number = np.searchsorted(day, low + rules.max_days_apart, side="right") - begin
        if number.sum() > _MOST_COMBINATIONS:
            raise InputError(
                f"max_days_apart={rules.max_days_apart} leaves more than {_MOST_COMBINATIONS:,} combinations of "
                f"acquisitions, too many to compare; lower max_days_apart or max_cloud, or map fewer years"
            )
        row = np.repeat(np.arange(len(combined)), number)
        column = np.arange(len(row)) - np.repeat(np.cumsum(number) - number - begin, number)
        combined = np.column_stack([combined[row], column])
        low, high = np.minimum(low[row], day[column]), np.maximum(high[row], day[column])
    return combined


def _costs(combined: _Ints, years: Sequence[Sequence[Candidate]], rules: PairingRules) -> tuple[_Ints, _Floats, _Ints]:
    """Season days (n, k), cost (n,) and spread (n,) of every combination."""

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
    return day.astype(np.int64), cost, spread.astype(np.int64)


def _reasons(year: Sequence[Candidate], rules: PairingRules, partnered: _Ints, chosen: _Ints) -> tuple[str, ...]:
    """Outcome of every candidate of one year; `partnered` and `chosen` are positions within `year`."""
    has_partner, is_chosen = set(partnered.tolist()), set(chosen.tolist())
    return tuple(
        rules.refuses(c) or (CHOSEN if i in is_chosen else OUTSCORED if i in has_partner else ALONE)
        for i, c in enumerate(year)
    )
