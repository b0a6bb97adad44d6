"""All counts that an evaluation needs from a block of maps; the counts of blocks add up (method section 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA
from mlc_dask.kernels import change
from mlc_dask.kernels.detection import ChangeTally, tally_change
from mlc_dask.kernels.series import Distinct, distinct
from mlc_dask.kernels.trajectories import TrajectoryTally

_Map = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MapTally:
    """Counts of maps alone.

    Attributes
    ----------
    transitions
        (k - 1, size, size) int64 pixels by class in the first and second year of each pair of successive years.
    classes
        (k, size) int64 pixels by class and year.
    changes
        (k,) int64 pixels with data in all years, by their number of changes.
    flickered, sustained
        Pixels with data in all years and any run A→B→A or A→B→B.
    seen
        Pixels with data in all years.
    over_time
        The same pixels and others by the course of their series.
    """

    transitions: _Ints
    classes: _Ints
    changes: _Ints
    flickered: int
    sustained: int
    seen: int
    over_time: TrajectoryTally

    @classmethod
    def of(cls, maps: _Map, size: int) -> MapTally:
        """Count a block of maps (k, h, w) uint8 whose codes are below `size`."""
        return cls.of_series(distinct(maps, size), size)

    @classmethod
    def of_series(cls, series: Distinct, size: int) -> MapTally:
        """Count the pixels of distinct series."""
        labels = series.labels
        seen = (labels != NO_DATA).all(axis=0)
        block = labels[:, None]
        runs = (change.flicker, change.sustained)
        ran = ((f(block)[0] > 0) & seen if len(labels) > 2 else np.zeros_like(seen) for f in runs)
        flickered, sustained = (int(series.pixels[one].sum()) for one in ran)
        classes = np.stack([series.count(plane, size) for plane in labels])
        classes[:, NO_DATA] = 0
        seen_alone = Distinct(labels[:, seen], series.pixels[seen])
        return cls(
            _yearly(series, labels[:-1], labels[1:], size),
            classes,
            seen_alone.count(change.change_count(block)[0][seen], len(labels)),
            flickered,
            sustained,
            int(seen_alone.pixels.sum()),
            TrajectoryTally.of_series(series, size),
        )

    def __add__(self, other: MapTally) -> MapTally:
        return MapTally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class TruthTally:
    """Counts of maps compared with a truth.

    Attributes
    ----------
    matrices
        (k, size, size) int64 pixels of every year by class in the truth and in the map.
    true, shown
        (k - 1, size, size) int64 transitions of truth and map between the compared years, of pixels with data in both.
    change
        Areas of change in truth and maps; None if the years are not successive.
    """

    matrices: _Ints
    true: _Ints
    shown: _Ints
    change: ChangeTally | None

    @classmethod
    def of_series(cls, maps: Distinct, truth: Distinct, size: int, change: ChangeTally | None) -> TruthTally:
        """Count the pixels whose series in the maps and in the truth are at the same places of `maps` and `truth`."""
        judged = (maps.labels != NO_DATA) & (truth.labels != NO_DATA)
        true, shown = (part.labels * judged for part in (truth, maps))
        steps = [_yearly(maps, labels[:-1], labels[1:], size) for labels in (true, shown)]
        return cls(_yearly(maps, true, shown, size), steps[0], steps[1], change)

    @classmethod
    def none(cls, size: int) -> TruthTally:
        """Nothing compared."""
        nothing = np.zeros((0, size, size), np.int64)
        return cls(nothing, nothing, nothing, None)

    def __add__(self, other: TruthTally) -> TruthTally:
        change = self.change + other.change if self.change and other.change else None
        return TruthTally(self.matrices + other.matrices, self.true + other.true, self.shown + other.shown, change)


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of a map series, and of its comparison with a truth."""

    maps: MapTally
    truth: TruthTally

    @classmethod
    def of(cls, maps: _Map, size: int) -> Tally:
        """Count a block of maps without a truth."""
        return cls(MapTally.of(maps, size), TruthTally.none(size))

    @classmethod
    def compared(cls, maps: _Map, truth: _Map, shared: Sequence[int], size: int, place: Mapping[str, Any]) -> Tally:
        """Count a block of maps (k, h, w), and compare it with a truth.

        Parameters
        ----------
        truth
            (n, h, w) uint8 of the years of the maps whose indices are `shared`. Change is judged where they follow
            each other, since a gap would merge two changes.
        place
            ``row``, ``column`` and ``width`` of :func:`mlc_dask.kernels.detection.tally_change`.
        """
        k = len(maps)
        joint = distinct(np.concatenate([maps, truth]), size)
        own, true = joint.years(range(k)), joint.years(range(k, k + len(truth)))
        successive = len(shared) > 1 and list(shared) == list(range(shared[0], shared[-1] + 1))
        found = tally_change(truth, maps[list(shared)], **place) if successive else None
        return cls(MapTally.of_series(own, size), TruthTally.of_series(own.years(shared), true, size, found))

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.maps + other.maps, self.truth + other.truth)


def _yearly(series: Distinct, a: _Map, b: _Map, size: int) -> _Ints:
    """Count pixels by their classes in `a` and `b` (k, m), year by year and where both have data: (k, size, size)."""
    tables = [series.table(one, two, size) for one, two in zip(a, b, strict=True)]
    matrices = np.array(tables, np.int64).reshape(-1, size, size)
    matrices[:, NO_DATA, :] = 0
    matrices[:, :, NO_DATA] = 0
    return matrices
