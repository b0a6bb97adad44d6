"""What a source of acquisitions must offer: a list of them, their grid, and their pixels in the cube's convention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlc_dask.io.grids import Grid


@dataclass(frozen=True)
class Acquisition:
    """One overpass: what is known of it before its pixels are read.

    `orbit` is the relative orbit (None when unknown), `place` tells where its pixels are (a folder, an item's URL).
    """

    id: str
    time: datetime
    orbit: int | None
    place: str


@dataclass(frozen=True)
class Weather:
    """Share of an acquisition that is cloud (over its valid pixels) and that has data at all, both 0..1."""

    cloud: float
    valid: float


class Source(Protocol):
    """A set of acquisitions on one grid.

    Everything is small and picklable: workers get the source itself and read through it.
    """

    @property
    def bands(self) -> Sequence[str]:
        """Band names, in the cube's order."""

    def acquisitions(self) -> list[Acquisition]:
        """All acquisitions, by time."""

    def grid(self) -> Grid:
        """Lattice of the finest band."""

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` when a file of `acquisition` is missing or off the grid; reads headers only."""

    def weather(self, acquisition: Acquisition) -> Weather:
        """Cloud and valid share over the area, from the mask."""

    def read(
        self, acquisition: Acquisition, grid: Grid, rows: slice, columns: slice
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        """DN (B, h, w) uint16 in the cube's convention (METHOD section 1) and usable (h, w) of a window of the grid."""

    def provenance(self) -> dict[str, Any]:
        """JSON-ready settings that decide the pixels, for fingerprints and records."""

    def files(self) -> list[str]:
        """Local files whose change must lead to a new cube."""
