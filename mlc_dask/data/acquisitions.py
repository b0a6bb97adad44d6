"""Acquisitions: what is known of them, which ones were chosen, and what a source of them must offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from mlc_dask.data.grids import Grid


def utc(time: datetime) -> datetime:
    """Return a time without a zone, in UTC; one that names no zone is taken for UTC."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


@dataclass(frozen=True)
class Asset:
    """One raster and how its digital numbers become reflectance: DN * `scale` + `offset`.

    `href` is a path below the source's folder, or a URL; `layer` describes the band within a file of several.
    """

    href: str
    scale: float = 1e-4
    offset: float = 0.0
    nodata: int = 0
    layer: str | None = None


@dataclass(frozen=True)
class Granule:
    """One product of one tile, a part of an acquisition.

    Parameters
    ----------
    id
        Name of the product.
    time
        Sensing time, UTC.
    assets
        Rasters by band; the mask is among them under its own name.
    platform, orbit, tile, baseline
        ``S2A``, relative orbit, ``32TPS``, processing baseline ``05.10``; empty or None where unknown.
    strip
        What tells two datastrips of one datatake apart: the datastrip's sensing time, empty where unknown.
    processed
        When the product was made, in any form that sorts.
    cloud, missing
        Shares 0..1 of the whole product that are cloud and without data, as its metadata says; None where unknown.
    grid
        Grid of the finest band, None where the metadata does not tell.
    """

    id: str
    time: datetime
    assets: Mapping[str, Asset]
    platform: str = ""
    orbit: int | None = None
    tile: str = ""
    baseline: str = ""
    strip: str = ""
    processed: str = ""
    cloud: float | None = None
    missing: float | None = None
    grid: Grid | None = None


@dataclass(frozen=True)
class Acquisition:
    """One overpass and its granules, the one whose pixels count first at the front."""

    id: str
    time: datetime
    orbit: int | None
    granules: tuple[Granule, ...]

    @property
    def cloud(self) -> float | None:
        """Cloud share 0..1 as the metadata says, None where it does not."""
        known = [(g.cloud, 1 - (g.missing or 0)) for g in self.granules if g.cloud is not None]
        weight = sum(w for _, w in known)
        return sum(c * w for c, w in known) / weight if weight else None


@dataclass(frozen=True)
class Catalogue:
    """What a source has for the years asked for: the grid of the cube and all acquisitions, by time."""

    grid: Grid
    acquisitions: tuple[Acquisition, ...]


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


SELECTION: TypeAdapter[Selection] = TypeAdapter(Selection)
CATALOGUE: TypeAdapter[Catalogue] = TypeAdapter(Catalogue)
"""How selections and catalogues become JSON and come back: ``dump_json`` and ``validate_json``."""


class Source(Protocol):
    """A set of acquisitions.

    Everything is small and picklable: workers get the source itself and read through it.
    """

    @property
    def bands(self) -> Sequence[str]:
        """Band names, in the cube's order."""

    def catalogue(self, years: Sequence[int] | None = None) -> Catalogue:
        """Grid and acquisitions of `years`, all years by default; metadata only."""

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`.InputError` when a local file of `acquisition` is missing or unfit; reads headers only."""

    def weather(self, acquisition: Acquisition, grid: Grid) -> Weather:
        """Cloud and valid share over `grid`, from the mask."""

    def read(
        self, acquisition: Acquisition, grid: Grid, rows: slice, columns: slice
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        """DN (B, h, w) uint16 in the cube's convention (method section 1) and usable (h, w) of a window of `grid`."""

    def provenance(self) -> dict[str, Any]:
        """JSON-ready settings that decide the pixels, for fingerprints and records."""

    def files(self) -> list[str]:
        """Local files whose change must lead to a new cube."""
