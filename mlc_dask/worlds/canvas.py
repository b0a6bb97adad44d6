"""Segments: areas with one kind and one set of traits per year, painted on top of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlc_dask.worlds.covers import NUMBER
from mlc_dask.worlds.patterns import Bools, Ints


class Canvas:
    """A map of segments and, per year and segment, its kind and the segment whose traits it shows.

    Attributes
    ----------
    segment
        (size, size) int32 number of the segment of every pixel.
    kinds
        (year, segment) int32 position in ``KINDS``.
    traits
        (year, segment) int32 segment whose traits it has: itself or, before a change, the segment it was cut from.
    """

    def __init__(self, size: int, years: int) -> None:
        self.segment: Ints = np.zeros((size, size), np.int32)
        self.kinds: Ints = np.zeros((years, 0), np.int32)
        self.traits: Ints = np.zeros((years, 0), np.int32)

    def paint(self, mask: Bools, parcels: Ints, names: Sequence[str] | npt.NDArray[np.str_]) -> None:
        """Cover `mask` by new segments, one per number in `parcels`; segment i has the kind ``names[i]``.

        `names` are in the ascending order of the parcel numbers within `mask`; a single name applies to all.
        """
        numbers, inside = np.unique(parcels[mask], return_inverse=True)
        named = np.broadcast_to(np.array([NUMBER[str(n)] for n in names], np.int32), len(numbers))
        self.segment[mask] = inside + self._append(np.tile(named, (len(self.kinds), 1)))

    def change(self, mask: Bools, year: int, name: str) -> None:
        """Cut `mask` out of its segments, and give it the kind `name` from the year at position `year` on."""
        parents, inside = np.unique(self.segment[mask], return_inverse=True)
        before, traits = self.kinds[:, parents], self.traits[:, parents]
        start = self._append(before)
        self.kinds[year:, start:] = NUMBER[name]
        # An object looks uniform: all its parts share the traits of the first part.
        self.traits[:, start:] = traits
        self.traits[year:, start:] = start
        self.segment[mask] = inside + start

    def _append(self, kinds: Ints) -> int:
        start = int(self.kinds.shape[1])
        numbers = np.tile(np.arange(start, start + kinds.shape[1], dtype=np.int32), (len(kinds), 1))
        self.kinds = np.concatenate([self.kinds, kinds], axis=1)
        self.traits = np.concatenate([self.traits, numbers], axis=1)
        return start
