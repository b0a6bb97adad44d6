"""Exact search for the cheapest series of pairs, without comparing all pairs with each other (method section 2).

The search is quadratic in the number of pairs. There may be hundreds of thousands of pairs, but very few can belong to
the cheapest series. So the search first computes a bound for every pair: the cost of the cheapest series through the
pair if only the sum of its days mattered. It then searches the most promising pairs. Once no other pair has a bound
below the cost found, this cost is the minimum over all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError

_FIRST = 2_000
"""Number of pairs that are searched first, in a fraction of a second; it is doubled until it is enough."""

_MOST = 40_000
"""Largest number of pairs that are searched, which takes a minute or two."""

# Bound and cost are sums of the same numbers in different orders.
_ROUNDING = 1e-9

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spacing:
    """The cost of the gaps of a series, as :mod:`mlc_dask.kernels.pairing.pair` describes it."""

    first: int
    last: int
    even: float
    weight: float

    def gap(self, days: _Floats) -> _Floats:
        """Cost of gaps of the given lengths in days."""
        cost: _Floats = self.weight * np.maximum(days / self.even - 1, 0) ** 2
        return cost


def cheapest_series(days: _Ints, cost: _Floats, spacing: Spacing, size: int) -> tuple[_Ints, float]:
    """Choose the cheapest `size` pairs, each of which is later than the pair before it in every year.

    Parameters
    ----------
    days
        (n, k) season days of the pairs in every year, sorted by the first year, then the second, and so on.
    cost
        (n,) cost of every pair by itself.

    Returns
    -------
    Rows (size,) of the pairs in order of time, and their cost including gaps. In a tie the earliest rows win.

    Raises
    ------
    InputError
        If too many pairs could belong to the cheapest series.
    """
    bound = _bounds(days, cost, spacing, size)
    promising = np.argsort(bound, kind="stable")
    number = min(_FIRST, len(bound))
    while True:
        rows = np.sort(promising[:number])
        series, total = _search(days[rows], cost[rows], spacing, size)
        needed = int(np.count_nonzero(bound <= total + _ROUNDING * (1 + abs(total))))
        if needed <= number:
            assert np.isfinite(total), "there is no series; the caller must check feasibility"
            return rows[series], total
        number = min(2 * number, needed)
        if number > _MOST:
            raise InputError(
                f"{needed} of {len(bound)} combinations of acquisitions could belong to the best series, too many to "
                f"compare; lower max_days_apart or max_cloud"
            )


def _search(days: _Ints, cost: _Floats, spacing: Spacing, size: int) -> tuple[_Ints, float]:
    """Rows of the cheapest series, and its cost, which is infinite if there is no series."""
    middle = days.mean(axis=1)
    total, parent = _least(days, cost, middle, spacing.gap(middle - spacing.first), spacing, size)
    ended = total[:, -1] + spacing.gap(spacing.last - middle)
    series = [int(ended.argmin())]
    for j in range(size - 1, 0, -1):
        series.append(int(parent[series[-1], j]))
    return np.array(series[::-1]), float(ended.min())


def _bounds(days: _Ints, cost: _Floats, spacing: Spacing, size: int) -> _Floats:
    """Lower bound (n,) of the cost of a series through each pair.

    A pair that is later in each of k years has a sum of days that is larger by at least k. If only this order mattered,
    only the cheapest pair of every sum would count. There are few sums, so the bound solves a problem of one year, once
    from each end of the season.
    """
    years = days.shape[1]
    sums, which = np.unique(days.sum(axis=1), return_inverse=True)
    least = np.full(len(sums), np.inf)
    np.minimum.at(least, which, cost)
    middle = sums / years
    starts = (spacing.gap(middle - spacing.first), spacing.gap(spacing.last - middle))
    up, _ = _least(sums[:, None], least, middle, starts[0], spacing, size, apart=years)
    down, _ = _least(-sums[::-1, None], least[::-1], -middle[::-1], starts[1][::-1], spacing, size, apart=years)
    through = (up + down[::-1, ::-1]).min(axis=1) - 2 * least
    bounds: _Floats = cost + through[which]
    return bounds


def _least(
    days: _Ints, cost: _Floats, middle: _Floats, start: _Floats, spacing: Spacing, size: int, apart: int = 1
) -> tuple[_Floats, _Ints]:
    """Least cost (n, size) of a series of j + 1 pairs that ends in each pair, and the pair before it (-1: none).

    `start` (n,) is the cost of the gap before a first pair. Each pair must be at least `apart` days later than the pair
    before it, so a predecessor has an earlier day in the first column. Pairs are sorted by this column, so one pass
    computes the costs of all lengths.
    """
    total = np.full((len(cost), size), np.inf)
    parent = np.full((len(cost), size), -1)
    total[:, 0] = cost + start
    earlier = np.searchsorted(days[:, 0], days[:, 0] - apart, side="right")
    columns = np.arange(size - 1)
    for t, number in enumerate(earlier):
        before = np.flatnonzero((days[:number, 1:] <= days[t, 1:] - apart).all(axis=1))
        if before.size:
            reached = total[before, :-1] + spacing.gap(middle[t] - middle[before])[:, None]
            best = reached.argmin(axis=0)
            total[t, 1:] = reached[best, columns] + cost[t]
            parent[t, 1:] = before[best]
    return total, parent
