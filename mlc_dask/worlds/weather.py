"""The sky over a world: acquisition dates, clouds and shadows, swath edges, and the scene classification."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from mlc_dask.data.years import span
from mlc_dask.worlds.covers import spectrum
from mlc_dask.worlds.patterns import Bools, Floats, shifted, smooth_noise
from mlc_dask.worlds.settings import World

_CLOUD = spectrum("cloud")
_SEASON = (18, 345)  # first and last day with acquisitions, from the start of the year

NO_DATA, SHADOW, VEGETATION, BARE, WATER, CLOUD_MEDIUM, CLOUD_HIGH, CIRRUS, SNOW = 0, 3, 4, 5, 6, 8, 9, 10, 11


@dataclass(frozen=True)
class Overpass:
    """One acquisition to render: time, relative orbit, platform, cloud share, and whether a swath edge cuts it."""

    time: datetime
    orbit: int
    platform: str
    cloud: float
    cut: bool

    @property
    def name(self) -> str:
        """Folder name of the acquisition."""
        return f"{self.time:%Y%m%dT%H%M%S}_{self.platform}_R{self.orbit:03d}_T32TPS"


def overpasses(world: World, year: int) -> list[Overpass]:
    """Acquisitions of the year at position `year`; three quarters are clear and near the same days in every year."""
    number = world.acquisitions_per_year
    common = world.random("calendar")
    base = np.linspace(*_SEASON, number) + common.uniform(-1, 1, number)
    fair = common.permutation(number) < round(0.75 * number)
    orbits = common.choice([22, 65], number)
    random = world.random("calendar", world.years[year])
    step = (_SEASON[1] - _SEASON[0]) / max(1, number - 1)
    rows, (first, _) = [], span(world.years[year], world.year_start)
    for i in range(number):
        near = min(2.0, 0.3 * step)
        day = round(base[i] + (random.uniform(-near, near) if fair[i] else random.uniform(-0.4, 0.4) * step))
        cloud = np.clip(random.gamma(1.2, world.cloud_share / 1.2), 0, 0.34) if fair[i] else random.uniform(0.45, 1.15)
        moment = first + timedelta(days=day, hours=10, minutes=10 + i % 2 * 10, seconds=i % 60)
        rows.append(Overpass(moment, int(orbits[i]), "S2A" if i % 2 else "S2B", float(cloud), bool(orbits[i] == 65)))
    return _apart(rows)


def _apart(rows: list[Overpass]) -> list[Overpass]:
    """Keep only the first acquisition of each day."""
    seen: dict[object, Overpass] = {}
    for row in rows:
        seen.setdefault(row.time.date(), row)
    return list(seen.values())


@dataclass(frozen=True, eq=False)
class Sky:
    """Opacity of clouds 0..1, darkness of shadows 0..1, the clouds that SCL misses, and the pixels with data."""

    opacity: Floats
    shadow: Floats
    missed: Bools
    valid: Bools

    @classmethod
    def of(cls, world: World, overpass: Overpass) -> Sky:
        """Draw the sky of an acquisition."""
        size, random = world.size, world.random("sky", overpass.name)
        field = smooth_noise(random, size, size / 2.5, 5)
        share = min(1.0, overpass.cloud)
        edge = np.quantile(field, 1 - share) if share > 0 else field.max() + 1
        opacity = np.clip((field - edge) / 0.35 + 0.15, 0, 1) * (field > edge - 0.05)
        if share >= 1:
            opacity = np.maximum(opacity, 0.9)
        down, across = (int(random.integers(low, high)) for low, high in ((6, 14), (-12, -4)))
        shadow = shifted(opacity, -down, across) * (opacity < 0.1)
        haze = np.clip(smooth_noise(random, size, size / 3) - 1.2, 0, 1) * 0.35 * (random.uniform() < 0.35)
        thin = (haze > 0.03) & (opacity < 0.1)
        missed = thin | ((opacity > 0) & (smooth_noise(random, size, size / 8) > 1.5))
        return cls(
            np.maximum(opacity, haze).astype(np.float32),
            (0.55 * shadow).astype(np.float32),
            missed,
            _swath(world, overpass, random),
        )

    def over(self, ground: Floats) -> Floats:
        """Reflectance (band, size, size) of the ground seen through this sky."""
        seen = ground * (1 - self.shadow)[None]
        tops = _CLOUD[:, None, None] * (0.7 + 0.5 * self.opacity)[None]
        clouded: Floats = seen + self.opacity[None] * (tops - seen)
        return clouded


def _swath(world: World, overpass: Overpass, random: np.random.Generator) -> Bools:
    """Pixels with data: all of them, or those on one side of a slanted swath edge."""
    if not overpass.cut:
        return np.ones((world.size, world.size), bool)
    y, x = np.mgrid[: world.size, : world.size] / world.size
    inside: Bools = x + 0.25 * y > random.uniform(-0.05, 0.3)
    return inside


def scene_classification(world: World, overpass: Overpass, ground: Floats, sky: Sky) -> npt.NDArray[np.uint8]:
    """SCL (size / 2, size / 2) uint8: a simulated scene classification of the acquisition, with errors."""
    blue, green, red, nir, swir = (_halved(ground[i]) for i in (0, 1, 2, 3, 8))
    vegetation = (nir - red) / np.maximum(nir + red, 1e-6)
    scl = np.where(vegetation > 0.4, VEGETATION, BARE)
    scl = np.where((nir < green) & (nir < 0.1), WATER, scl)
    scl = np.where(((green - swir) / np.maximum(green + swir, 1e-6) > 0.35) & (green > 0.3), SNOW, scl)
    opacity, shadow = _halved(sky.opacity), _halved(sky.shadow)
    scl = np.where(shadow > 0.12, SHADOW, scl)
    scl = np.where(opacity > 0.02, CIRRUS, scl)
    scl = np.where(opacity > 0.12, CLOUD_MEDIUM, scl)
    scl = np.where(opacity > 0.5, CLOUD_HIGH, scl)
    clear = np.where(vegetation > 0.4, VEGETATION, BARE)
    scl = np.where(_halved(sky.missed.astype(np.float32)) > 0.5, clear, scl)
    random = world.random("scl", overpass.name)
    if random.uniform() < world.scl_false_alarms:
        scl = np.where((blue > 0.17) & (scl == BARE), CLOUD_MEDIUM, scl)
    scl = np.where(_halved(sky.valid.astype(np.float32)) > 0.999, scl, NO_DATA)
    return scl.astype(np.uint8)


def _halved(field: Floats) -> Floats:
    """Mean over 2 × 2 pixels, from 10 m to 20 m."""
    size = field.shape[-1] // 2
    halved: Floats = field.reshape(*field.shape[:-2], size, 2, size, 2).mean((-3, -1))
    return halved
