"""Acquisitions, the selection of them that a cube is made of, and the protocol of their sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.years import CALENDAR

T = TypeVar("T")
M = TypeVar("M")


def utc(time: datetime) -> datetime:
    """Convert `time` to UTC and drop its time zone; a time without a zone is taken as UTC."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


@dataclass(frozen=True)
class Asset:
    """One raster, and how its digital numbers become reflectance: DN * `scale` + `offset`.

    `href` is a path below the source's folder or a URL; `layer` identifies the band in a file of several bands. NaN is
    always no data, and None says that there is no other value. `nodata_stated` is False where the metadata states no
    value: what the file declares decides then, and `nodata` where it declares none. `size` in bytes, and `digest`
    (algorithm and hexadecimal digest), are what the metadata states of the file; None where it states nothing.
    """

    href: str
    scale: float = 1e-4
    offset: float = 0.0
    nodata: int | float | None = 0
    layer: str | None = None
    size: int | None = None
    digest: tuple[str, str] | None = None
    nodata_stated: bool = True


@dataclass(frozen=True)
class Granule:
    """One product of one tile; an acquisition consists of one or more granules.

    Parameters
    ----------
    id
        Name of the product.
    time
        Sensing time, UTC.
    assets
        Rasters by band name; the mask is one of them, under its own name.
    platform, orbit, tile, baseline
        Platform (``S2A``), relative orbit, tile (``32TPS``), processing baseline (``05.10``); empty or None if unknown.
    strip
        Sensing time of the datastrip, which distinguishes two datastrips of one datatake; empty if unknown.
    processed
        Processing time, as text that sorts in order of time.
    cloud, missing
        Shares 0..1 of the whole product that are cloudy and without data, from its metadata; None if unknown.
    grid
        Grid of the finest band; None if the metadata does not give it.
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
    """One overpass and its granules; where granules overlap, the pixels of the earlier one in the list are used."""

    id: str
    time: datetime
    orbit: int | None
    granules: tuple[Granule, ...]

    @property
    def cloud(self) -> float | None:
        """Cloud share 0..1 from the metadata; None if unknown."""
        known = [(g.cloud, 1 - (g.missing or 0)) for g in self.granules if g.cloud is not None]
        weight = sum(w for _, w in known)
        return sum(c * w for c, w in known) / weight if weight else None

    @property
    def names(self) -> tuple[str, ...]:
        """Its id, its date, and the ids of its products, by any of which a user may leave it out."""
        return (self.id, f"{self.time:%Y-%m-%d}", *(g.id for g in self.granules))


@dataclass(frozen=True)
class LeftOut:
    """An item, product or acquisition that cannot be read, and the reason in one line."""

    id: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.id in self.reason else f"{self.id}: {self.reason}"


def sifted(things: Iterable[T], name: Callable[[T], str], made: Callable[[T], M]) -> tuple[list[M], list[LeftOut]]:
    """Call `made` with each thing; those that it refuses by an :class:`.InputError` are left out by their name."""
    good, left_out = [], []
    for thing in things:
        try:
            good.append(made(thing))
        except InputError as error:
            left_out.append(LeftOut(name(thing), str(error)))
    return good, left_out


def counted(left_out: Sequence[LeftOut]) -> str:
    """Say how many were left out and why, in one phrase: the first reason stands for all; empty if there is none."""
    return f"{len(left_out)} left out, e.g. {left_out[0]}" if left_out else ""


@dataclass(frozen=True)
class Catalogue:
    """The grid of the cube, and all acquisitions of the requested years in order of time.

    `left_out` names the items and products of the area and the years whose metadata cannot be used. Years start on
    `year_start`, as in ``mlc_dask.data.years``.
    """

    grid: Grid
    acquisitions: tuple[Acquisition, ...]
    left_out: tuple[LeftOut, ...] = ()
    year_start: str = CALENDAR

    @property
    def names(self) -> list[str]:
        """Every name that a user may leave out: ids and dates of acquisitions, ids of products and of `left_out`."""
        every = {name: None for a in self.acquisitions for name in a.names} | {one.id: None for one in self.left_out}
        return list(every)


@dataclass(frozen=True)
class Weather:
    """Cloudy and snowy shares of an acquisition's valid pixels, and valid share of all its pixels, all 0..1.

    `codes` are the shares of the values 0, 1, 2, … of its mask, where it is taken for a scene classification.
    """

    cloud: float
    valid: float
    snow: float = 0.0
    codes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Surveyed:
    """One acquisition with its weather and, if it was rejected, the reason."""

    acquisition: Acquisition
    weather: Weather
    reason: str = ""


@dataclass(frozen=True)
class Selection:
    """The chosen acquisitions, with the same number and the same seasons in every year, and the rejected ones.

    `left_out` names everything that cannot be read; acquisitions among it are also in `rejected`.
    """

    chosen: Mapping[int, tuple[Surveyed, ...]]
    rejected: Mapping[int, tuple[Surveyed, ...]]
    cost: float
    left_out: tuple[LeftOut, ...] = ()
    checked: bool = False
    """Whether the radiometric check has passed the chosen acquisitions, or they were accepted."""
    year_start: str = CALENDAR
    """Day on which its years start, as in ``mlc_dask.data.years``."""

    @property
    def years(self) -> tuple[int, ...]:
        """Years in order."""
        return tuple(self.chosen)

    @property
    def size(self) -> int:
        """Acquisitions per year."""
        return len(next(iter(self.chosen.values())))


SELECTION: TypeAdapter[Selection] = TypeAdapter(Selection)
CATALOGUE: TypeAdapter[Catalogue] = TypeAdapter(Catalogue)
"""Convert selections and catalogues to JSON (``dump_json``) and back (``validate_json``)."""


class Source(Protocol):
    """A set of acquisitions.

    A source is small and picklable: workers receive the source itself and read through it.
    """

    @property
    def bands(self) -> Sequence[str]:
        """Band names in the order of the cube."""

    def catalogue(self, years: Sequence[int] | None = None, year_start: str = CALENDAR) -> Catalogue:
        """Grid and acquisitions of `years` (default: all years), from metadata only; invalid ones are left out.

        Years start on `year_start`: an acquisition belongs to the year that ``mlc_dask.data.years.year_of`` names.
        """

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`.InputError` if a local file of `acquisition` is missing or invalid; only headers are read."""

    def weather(self, acquisition: Acquisition, grid: Grid) -> Weather:
        """Cloudy and valid shares over `grid`, from the mask."""

    def read(
        self, acquisition: Acquisition, grid: Grid, rows: slice, columns: slice
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        """Read a window: DN (B, h, w) uint16 in the cube's convention (method section 1), and usable (h, w) bool."""

    def provenance(self) -> dict[str, Any]:
        """JSON-ready settings that determine the pixels, for fingerprints and records."""

    def files(self) -> list[str]:
        """Local files of the source; a change in any of them must lead to a new cube."""
