"""Scenes: the sensor's record of a world as arrays, before they are written in a product format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from mlc_dask.data.years import span
from mlc_dask.worlds.covers import BANDS
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.patterns import Bools, Floats
from mlc_dask.worlds.settings import World
from mlc_dask.worlds.spectra import Ground
from mlc_dask.worlds.weather import NO_DATA, Overpass, Sky, overpasses, scene_classification

CRS, EPSG = "EPSG:32632", 32632
LEFT, TOP = 640_000, 5_140_000
"""Upper left corner, on the grid of the 20 m bands."""

FINE = BANDS[:4]
"""Bands with pixels of 10 m; the other bands have pixels of 20 m."""

_STRIP_DELAY = timedelta(seconds=25)
_STRIP_OVERLAP = 4
"""Number of 20 m rows that two successive datastrips share."""

DN = npt.NDArray[np.uint16]
Classes = npt.NDArray[np.uint8]


def pixel_of(band: str) -> int:
    """Pixel size of `band`, or of ``SCL``, in metres."""
    return 10 if band in FINE else 20


@dataclass(frozen=True, eq=False)
class Scene:
    """One datastrip of an acquisition.

    Attributes
    ----------
    overpass
        The datatake: its sensing start, relative orbit and platform.
    strip
        Sensing start of the datastrip, which distinguishes two datastrips of one datatake.
    dn
        Reflectance * 10000 by band, (rows, columns) uint16 on the band's own grid: at least 1, or 0 for no data.
    scl
        Scene classification at 20 m.
    """

    overpass: Overpass
    strip: datetime
    dn: Mapping[str, DN]
    scl: Classes

    @property
    def name(self) -> str:
        """Time, platform, orbit and tile."""
        return replace(self.overpass, time=self.strip).name


def scenes(world: World, year_position: int, ground: Ground | None = None) -> Iterator[Scene]:
    """Render the acquisitions of the year at `year_position`, one after the other.

    Parameters
    ----------
    world
        Settings.
    year_position
        Position in ``world.years``.
    ground
        Ground of the world, if it exists already; by default it is made from the settings.
    """
    ground = ground or Ground(world, make_landscape(world))
    first, _ = span(world.years[year_position], world.year_start)
    for overpass in overpasses(world, year_position):
        day = 1 + (overpass.time - first).days
        yield _scene(world, overpass, ground.reflectance(year_position, day))


def split(scene: Scene) -> tuple[Scene, Scene]:
    """Split the scene into two datastrips of its datatake, north and south, which share a few rows.

    The second datastrip is sensed some seconds later. Each has no data where only the other was sensed.
    """
    middle, half = scene.scl.shape[0] // 2, _STRIP_OVERLAP // 2
    north, south = slice(0, middle + half), slice(middle - half, None)
    return _part(scene, north, scene.strip), _part(scene, south, scene.strip + _STRIP_DELAY)


def _part(scene: Scene, rows: slice, strip: datetime) -> Scene:
    """Keep only the 20 m `rows` of a scene."""
    seen = np.zeros(scene.scl.shape, bool)
    seen[rows] = True
    fine = seen.repeat(2, 0).repeat(2, 1)
    dn = {band: np.where(fine if band in FINE else seen, values, 0) for band, values in scene.dn.items()}
    return replace(scene, strip=strip, dn=dn, scl=np.where(seen, scene.scl, NO_DATA).astype(np.uint8))


def _scene(world: World, overpass: Overpass, surface: Floats) -> Scene:
    sky, random = Sky.of(world, overpass), world.random("sensor", overpass.name)
    haze = 1 + 0.03 * random.standard_normal(len(BANDS)).astype(np.float32)
    seen = sky.over(surface) * haze[:, None, None]
    seen += world.noise * random.standard_normal(seen.shape, np.float32)
    dn = {}
    for i, band in enumerate(BANDS):
        plane, valid = (seen[i], sky.valid) if band in FINE else _coarse(seen[i], sky.valid)
        dn[band] = np.where(valid, np.clip(np.rint(plane * 10_000), 1, 65_535), 0).astype(np.uint16)
    return Scene(overpass, overpass.time, dn, scene_classification(world, overpass, surface, sky))


def _coarse(plane: Floats, valid: Bools) -> tuple[Floats, Bools]:
    size = plane.shape[0] // 2
    squares = plane.reshape(size, 2, size, 2)
    whole: Bools = np.asarray(valid.reshape(size, 2, size, 2).all((1, 3)))
    return squares.mean((1, 3)), whole
