"""Acquisitions: what is known of them, which ones were chosen, and what a source of them must offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class Surveyed:
    """One acquisition with its weather and, when it was left out, the reason."""

    acquisition: Acquisition
    weather: Weather
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, the inverse of :meth:`from_dict`."""
        return {**asdict(self.acquisition), "time": self.acquisition.time.isoformat(), **asdict(self.weather),
                "reason": self.reason}  # fmt: skip

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Surveyed:
        """Rebuild from :meth:`to_dict`."""
        time = datetime.fromisoformat(row["time"])
        acquisition = Acquisition(row["id"], time, row["orbit"], row["place"])
        return cls(acquisition, Weather(row["cloud"], row["valid"]), row["reason"])


@dataclass(frozen=True)
class Selection:
    """The paired acquisitions: for every year the same number, position j meaning the same season; and all the rest."""

    chosen: Mapping[int, tuple[Surveyed, ...]]
    rejected: Mapping[int, tuple[Surveyed, ...]]
    cost: float

    @property
    def years(self) -> tuple[int, ...]:
        """Years in order."""
        return tuple(self.chosen)

    @property
    def size(self) -> int:
        """Acquisitions a year."""
        return len(next(iter(self.chosen.values())))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, the inverse of :meth:`from_dict`."""
        parts = {"chosen": self.chosen, "rejected": self.rejected}
        return {"cost": self.cost} | {
            name: {str(y): [s.to_dict() for s in rows] for y, rows in part.items()} for name, part in parts.items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Selection:
        """Rebuild from :meth:`to_dict`."""
        chosen, rejected = (
            {int(y): tuple(Surveyed.from_dict(r) for r in rows) for y, rows in data[part].items()}
            for part in ("chosen", "rejected")
        )
        return cls(chosen, rejected, data["cost"])


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
