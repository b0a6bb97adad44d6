"""Change over whole series: its components, alternation, kinds of trajectories, and intensity (method section 9).

Pontius and Santacruz (2014) for the components of difference, Pontius (2017) and Bilintoh (2022) for alternation and
trajectories, Aldwaik and Pontius (2012) for intensity. Blocks are counted by :class:`TrajectoryTally`; tallies add up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import NO_DATA
from mlc_dask.kernels.series import Distinct, distinct

_Map = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

TYPES = ("stable", "returns", "one direct change", "direct change among others", "detour")
"""Names of the types 1 … 5 of :func:`trajectory_types`."""

CATEGORIES = ("stable", "sustained", "endpoint", "unsettled", "stable_flicker")
"""Names of the categories 1 … 5 of :func:`change_categories`."""


def trajectory_types(maps: _Map) -> _Map:
    """Tell how each pixel comes from its first class to its last.

    Parameters
    ----------
    maps
        (k, …) uint8 class codes, 0 = no data. Years without data are passed over.

    Returns
    -------
    numpy.ndarray
        (…) uint8: 1 no change; 2 changes, but the last class is the first; 3 one change; 4 several, one of which leads
        from the first class directly to the last; 5 the last class is reached by a detour only; 0 without data.

    Raises
    ------
    InputError
        The maps are not (year, …) uint8.
    """
    series, flips = _filled(maps)
    first, last = series[0], series[-1]
    direct = ((series[:-1] == first) & (series[1:] == last)).any(axis=0)
    kinds = [first == NO_DATA, flips == 0, first == last, flips == 1, direct]
    return np.select(kinds, [np.uint8(code) for code in (0, 1, 2, 3, 4)], np.uint8(5))


def change_categories(maps: _Map) -> _Map:
    """Tell whether the change of each pixel lasts.

    Parameters
    ----------
    maps
        As in :func:`trajectory_types`.

    Returns
    -------
    numpy.ndarray
        (…) uint8: 1 stable; 2 sustained, one change with two or more observations on either side; 3 endpoint, one
        change with a single observation before or after it; 4 unsettled, several changes and another class at the end;
        5 stable_flicker, changes, but the last class is the first; 0 without data. Three years allow no 2.

    Raises
    ------
    InputError
        The maps are not (year, …) uint8.
    """
    series, flips = _filled(maps)
    first, last = series[0], series[-1]
    before, after = ((maps == end).sum(axis=0) for end in (first, last))
    kinds = [first == NO_DATA, flips == 0, first == last, flips > 1, np.minimum(before, after) > 1]
    return np.select(kinds, [np.uint8(code) for code in (0, 1, 5, 4, 2)], np.uint8(3))


@dataclass(frozen=True, eq=False)
class TrajectoryTally:
    """Counts of series of maps; tallies of blocks add up.

    Attributes
    ----------
    steps
        (k - 1, size, size) int64 pixels with data in all years, by class in the first and second year of each pair.
    extent
        (size, size) int64 of the same pixels, by class in the first and in the last year.
    types, categories
        (size, 6) int64 pixels by their first class and by code of :func:`trajectory_types` and
        :func:`change_categories`, 0 = without data.
    """

    steps: _Ints
    extent: _Ints
    types: _Ints
    categories: _Ints

    @classmethod
    def of(cls, maps: _Map, size: int) -> TrajectoryTally:
        """Count a block of maps (k, …) uint8 whose codes are below `size`; InputError otherwise."""
        return cls.of_series(distinct(maps, size), size)

    @classmethod
    def of_series(cls, series: Distinct, size: int) -> TrajectoryTally:
        """Count the pixels of distinct series."""
        labels = series.labels
        seen = labels * (labels != NO_DATA).all(axis=0)
        tables = [series.table(a, b, size) for a, b in [*pairwise(seen), (seen[0], seen[-1])]]
        for table in tables:
            table[NO_DATA, NO_DATA] = 0
        first = _filled(labels)[0][0].astype(np.int64)
        kinds = (series.count(first * 6 + f(labels), size * 6) for f in (trajectory_types, change_categories))
        steps = np.array(tables[:-1], np.int64).reshape(-1, size, size)
        return cls(steps, tables[-1], *(kind.reshape(size, 6) for kind in kinds))

    def __add__(self, other: TrajectoryTally) -> TrajectoryTally:
        return TrajectoryTally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def alternation(self) -> int:
        """Changes that do not show between the first and the last year: D(Σ steps) - D(extent), never negative."""
        return int(components(self.steps.sum(axis=0)).difference - components(self.extent).difference)


@dataclass(frozen=True)
class Components:
    """Components of a difference, in the unit of its table.

    Attributes
    ----------
    difference
        Sum off the diagonal: quantity + exchange + shift.
    quantity
        Difference of the amounts of the classes.
    exchange
        Pairs of classes that replace each other in equal amounts.
    shift
        The rest: rotations over three or more classes.
    """

    difference: float
    quantity: float
    exchange: float
    shift: float


def components(table: npt.ArrayLike) -> Components:
    """Split the difference in a square table, e.g. of one year against the next or of estimated shares (B2 cells)."""
    c = np.asarray(table, np.float64)
    total = float(c.sum() - c.trace())
    quantity = float(np.abs(c.sum(axis=0) - c.sum(axis=1)).sum() / 2)
    mutual = np.minimum(c, c.T)
    exchange = float(mutual.sum() - mutual.trace())
    return Components(total, quantity, exchange, total - quantity - exchange)


@dataclass(frozen=True, eq=False)
class ClassComponents:
    """Components of the difference of every class (size,), each counted at both of its classes: sums are double.

    `gain` and `loss` are what the class won and lost; `quantity` is the difference of the two, `exchange` what it won
    from the classes to which it lost as much, and `shift` the rest.
    """

    gain: _Floats
    loss: _Floats
    quantity: _Floats
    exchange: _Floats
    shift: _Floats


def class_components(table: npt.ArrayLike) -> ClassComponents:
    """Split the difference of a (size, size) table by class (Pontius and Santacruz 2014)."""
    c = np.asarray(table, np.float64)
    stays = c.diagonal()
    gain, loss = c.sum(axis=0) - stays, c.sum(axis=1) - stays
    quantity = np.abs(gain - loss)
    exchange = 2 * (np.minimum(c, c.T).sum(axis=1) - stays)
    return ClassComponents(gain, loss, quantity, exchange, gain + loss - quantity - exchange)


@dataclass(frozen=True, eq=False)
class Intensity:
    """Intensity of change, shares per year; NaN where there is nothing that could change.

    Attributes
    ----------
    interval
        (p,) changed share of all pixels in each interval (S_t).
    uniform
        Change over all intervals (U): an interval above it is fast.
    gain, loss
        (p, size) gains of a class over its pixels at the end, and losses over its pixels at the beginning (G, L).
    transition
        (p, size, size) ``[from, to]`` change over the pixels of the class *from* at the beginning (R).
    targeted
        (p, size) change to a class over the beginning of all others (W): where R from a class is above it, the gain of
        the class targets that class.
    """

    interval: _Floats
    uniform: float
    gain: _Floats
    loss: _Floats
    transition: _Floats
    targeted: _Floats


def intensity(tables: npt.ArrayLike, years: npt.ArrayLike) -> Intensity:
    """Intensity of change of p intervals.

    Parameters
    ----------
    tables
        (p, size, size) pixels by class at the beginning and the end of each interval, e.g. ``TrajectoryTally.steps``.
    years
        (p,) length of each interval in years.
    """
    c, duration = np.asarray(tables, np.float64), np.asarray(years, np.float64)
    stays = np.einsum("pii->pi", c)
    begin, end = c.sum(axis=2), c.sum(axis=1)
    changed = (begin - stays).sum(axis=1)
    area, span = c.sum(axis=(1, 2)), duration[:, None]
    off = c * ~np.eye(c.shape[1], dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Intensity(
            changed / (area * duration),
            float(changed.sum() / (area.mean() * duration.sum())),
            (end - stays) / (span * end),
            (begin - stays) / (span * begin),
            off / (span * begin)[..., None],
            off.sum(axis=1) / (span * (begin.sum(axis=1, keepdims=True) - begin)),
        )


def _filled(maps: _Map) -> tuple[_Map, _Map]:
    """Series without gaps, each filled with the year before (the first with the next), and their numbers of changes."""
    if maps.ndim < 2 or maps.dtype != np.uint8 or not len(maps):
        raise InputError(f"maps are {maps.dtype} {maps.shape}; give (year, y, x) uint8 with one or more years")
    series = maps.copy()
    for t in range(len(maps) - 2, -1, -1):
        np.copyto(series[t], series[t + 1], where=series[t] == NO_DATA)
    for t in range(1, len(maps)):
        np.copyto(series[t], series[t - 1], where=maps[t] == NO_DATA)
    return series, (series[1:] != series[:-1]).sum(axis=0, dtype=np.uint8)
