"""All counts that an evaluation needs from a block of maps; the counts of blocks add up (method section 9)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import NO_DATA
from mlc_dask.kernels import agreement, change
from mlc_dask.kernels.detection import ChangeTally

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
    """

    transitions: _Ints
    classes: _Ints
    changes: _Ints
    flickered: int
    sustained: int
    seen: int

    @classmethod
    def of(cls, maps: _Map, size: int) -> MapTally:
        """Count a block of maps (k, h, w) uint8 whose codes are below `size`."""
        seen = (maps != NO_DATA).all(axis=0)
        runs = (change.flicker, change.sustained)
        flickered, sustained = (int(((f(maps) > 0) & seen).sum()) if len(maps) > 2 else 0 for f in runs)
        return cls(
            agreement.transitions(maps, size),
            np.stack([agreement.class_counts(plane, size) for plane in maps]),
            np.bincount(change.change_count(maps)[seen], minlength=len(maps)),
            flickered,
            sustained,
            int(seen.sum()),
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
    change
        Areas of change in truth and maps; None if the years are not successive.
    """

    matrices: _Ints
    change: ChangeTally | None

    def __add__(self, other: TruthTally) -> TruthTally:
        change = self.change + other.change if self.change and other.change else None
        return TruthTally(self.matrices + other.matrices, change)
