"""The look of the ground on a day: phenology per parcel, mixed edges, texture, snow, and light on slopes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mlc_dask.worlds.covers import KINDS, NUMBER, spectrum
from mlc_dask.worlds.landscape import Landscape
from mlc_dask.worlds.patterns import Floats, smooth_noise
from mlc_dask.worlds.settings import World

_DRY = np.stack([spectrum(k.dry) for k in KINDS])
_GREEN = np.stack([spectrum(k.green) for k in KINDS])
_SNOW = spectrum("snow")
_SNOW_SEEN = np.array([k.snow for k in KINDS], np.float32)
_MIXED_EDGE = 0.6  # standard deviation, in pixels, of the blur that mixes neighbouring pixels


@dataclass(frozen=True, eq=False)
class Traits:
    """How every segment differs from its kind; each array is (segment,).

    `shift` is the delay of its season in days, `vigour` scales its greenness and `tone` its brightness. `share` is the
    share of another kind in it, and `other` (0..1) selects this kind from the kinds that it mixes with.
    """

    shift: Floats
    vigour: Floats
    tone: Floats
    share: Floats
    other: Floats

    @classmethod
    def of(cls, world: World, segments: int) -> Traits:
        """Draw the traits of all segments."""
        random = world.random("traits")
        normal = random.standard_normal((3, segments)).astype(np.float32) * world.variety
        mixed = random.beta(1.1, 3.2, segments) * min(1.0, world.variety)
        return cls(
            shift=8.0 * normal[0],
            vigour=np.clip(1 + 0.14 * normal[1], 0.4, 1.4),
            tone=np.exp(0.13 * normal[2]),
            share=(0.75 * mixed).astype(np.float32),
            other=random.uniform(0, 1, segments).astype(np.float32),
        )


class Ground:
    """Renders the reflectance of the ground on any day of a year."""

    def __init__(self, world: World, landscape: Landscape) -> None:
        self._world, self._land = world, landscape
        self._traits = Traits.of(world, landscape.kinds.shape[1])
        random = world.random("surface")
        self._texture = np.exp(0.05 * smooth_noise(random, world.size, 6, 2))[None]
        slope_y, slope_x = np.gradient(cv2.GaussianBlur(landscape.height, (0, 0), world.size / 60))
        self._slopes = np.stack([slope_y, slope_x]).astype(np.float32) * world.size
        # Every year has its own weather: the delay of the season of each kind, and the dryness of the summer.
        self._early = world.phenology_shift * random.standard_normal((len(world.years), len(KINDS)))
        self._dryness = world.drought * random.uniform(0, 1, len(world.years))

    def reflectance(self, year: int, day: int) -> Floats:
        """Reflectance (band, size, size) on `day` 1..366 of the year at position `year`, in the order of ``BANDS``."""
        kinds, traits = self._land.kinds[year], self._land.traits[year]
        main = self._colours(kinds, year, day, traits)
        other = self._colours(self._other_kinds(kinds, traits), year, day, traits)
        share = self._traits.share[traits][:, None]
        colours = (1 - share) * main + share * other
        ground = np.ascontiguousarray(colours.T[:, self._land.segment])
        snow = self._snow(year, day) * _SNOW_SEEN[kinds][self._land.segment]
        ground += snow[None] * (_SNOW[:, None, None] - ground)
        ground *= self._texture * self._light(year, day)[None]
        return np.stack([cv2.GaussianBlur(band, (0, 0), _MIXED_EDGE) for band in ground])

    def _colours(self, kinds: np.ndarray, year: int, day: int, traits: np.ndarray) -> Floats:
        t = self._traits
        days = day - t.shift[traits] - self._early[year, kinds]
        drought = 1 - self._dryness[year] * np.exp(-(((day - 215) / 35.0) ** 2))
        green = np.clip(greenness(kinds, days) * t.vigour[traits] * drought, 0, 1)[:, None]
        mixed = (1 - green) * _DRY[kinds] + green * _GREEN[kinds]
        colours: Floats = (mixed * t.tone[traits][:, None]).astype(np.float32)
        return colours

    def _other_kinds(self, kinds: np.ndarray, traits: np.ndarray) -> np.ndarray:
        choices = [np.array([NUMBER[m] for m in k.mixes] or [i]) for i, k in enumerate(KINDS)]
        draw = self._traits.other[traits]
        return np.array([choices[k][int(d * len(choices[k]))] for k, d in zip(kinds, draw, strict=True)])

    def _snow(self, year: int, day: int) -> Floats:
        """Share of the ground under snow, above a snow line that falls in winter, at a time that differs by year."""
        season = np.cos(2 * np.pi * (day - 25 - self._early[year, 0]) / 365)
        line = 0.72 - 0.5 * season
        covered: Floats = np.clip((self._land.height - line) / 0.06, 0, 1).astype(np.float32)
        return covered

    def _light(self, year: int, day: int) -> Floats:
        """Illumination factor on slopes; its contrast grows as the sun gets lower."""
        strength = 0.05 + 0.05 * np.cos(2 * np.pi * (day - 355) / 365)
        azimuth = np.deg2rad(155 + 4 * year)
        toward = -np.cos(azimuth) * self._slopes[0] + np.sin(azimuth) * self._slopes[1]
        light: Floats = np.clip(1 + strength * toward, 0.55, 1.45).astype(np.float32)
        return light


def greenness(kinds: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Greenness (n,) 0..1 of kinds (n,) on days (n,) of the year: double-logistic seasons above a floor."""
    green = np.zeros(len(kinds))
    for number in np.unique(kinds):
        at, kind = np.flatnonzero(kinds == number), KINDS[number]
        value = np.full(len(at), kind.floor)
        for start, end, height, rise, fall in kind.seasons:
            up = 1 / (1 + np.exp(np.clip(-(days[at] - start) / rise, -50, 50)))
            down = 1 / (1 + np.exp(np.clip((days[at] - end) / fall, -50, 50)))
            value += height * up * down
        green[at] = value
    return np.clip(green, 0, 1)
