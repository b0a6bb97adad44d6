"""A valley between mountains: relief, fields, woods, villages, a river and a lake, and its changes between years."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlc_dask.worlds.canvas import Canvas
from mlc_dask.worlds.changes import Change, plant_changes
from mlc_dask.worlds.covers import ARABLE, CODES, NUMBER
from mlc_dask.worlds.patterns import Bools, Floats, Ints, fields, rank, smooth_noise, voronoi
from mlc_dask.worlds.settings import World

Names = npt.NDArray[np.str_]

_FOOT = 0.47  # share of the area on the valley floor, below the woods


@dataclass(frozen=True, eq=False)
class Landscape:
    """The planted truth.

    Attributes
    ----------
    height
        (size, size) float32, the share of the area that is lower.
    segment, kinds, traits
        See :class:`~mlc_dask.worlds.canvas.Canvas`.
    changes
        All true changes.
    """

    height: Floats
    segment: Ints
    kinds: Ints
    traits: Ints
    changes: tuple[Change, ...]

    def truth(self, year: int) -> npt.NDArray[np.uint8]:
        """Legend codes (size, size) uint8 of the year at position `year`."""
        codes: npt.NDArray[np.uint8] = CODES[self.kinds[year]][self.segment]
        return codes


def make_landscape(world: World) -> Landscape:
    """Draw the landscape of `world` and plant its changes."""
    size, random = world.size, world.random("landscape")
    off = _off_river(random, size)
    height = rank(np.abs(off) * np.where(off < 0, 1.0, 1.6) + 0.07 * smooth_noise(random, size, size / 3))
    canvas = Canvas(size, len(world.years))
    _paint_slopes(canvas, random, height)
    _paint_floor(canvas, random, height)
    _paint_waters(canvas, random, off)
    _paint_villages(canvas, random, off)
    _paint_quarries(canvas, random, height)
    _rotate_crops(canvas, random)
    changes = plant_changes(canvas, world)
    return Landscape(height, canvas.segment, canvas.kinds, canvas.traits, changes)


def _off_river(random: np.random.Generator, size: int) -> Floats:
    """Distance to the river as a share of the side of the area, positive to the south."""
    v, u = (a.astype(np.float32) / size for a in np.mgrid[:size, :size])
    bend, phase = random.uniform(0.03, 0.06), random.uniform(0, 2 * np.pi, 2)
    course = 0.66 + 0.12 * (u - 0.5) + bend * np.sin(5 * u + phase[0]) + bend / 3 * np.sin(17 * u + phase[1])
    off: Floats = (v - course).astype(np.float32)
    return off


def _means(parcels: Ints, field: Floats) -> npt.NDArray[np.float64]:
    """Mean of `field` per existing parcel, in ascending order of parcel numbers."""
    count = np.bincount(parcels.ravel())
    total = np.bincount(parcels.ravel(), field.ravel())
    return np.asarray(total[count > 0] / count[count > 0])


def _paint_slopes(canvas: Canvas, random: np.random.Generator, height: Floats) -> None:
    """Paint woods, heath, alps, rock and ice by height; the valley floor is painted over them later."""
    size = len(height)
    parcels = voronoi(random, size, max(8.0, size / 45), warp=max(2.0, size / 120))
    up = _means(parcels, height) + 0.03 * random.standard_normal(len(np.unique(parcels)))
    wood = _means(parcels, smooth_noise(random, size, size / 4, 2)) + 4 * (up - 0.62)
    moor = _means(parcels, smooth_noise(random, size, size / 5, 2))
    draw = random.uniform(0, 1, up.shape)
    names = np.select(
        [up > 0.97, up > 0.915, (up > 0.80) & (moor > 0.5), (up > 0.80) & (moor > -0.6), up > 0.80, up < _FOOT + 0.03],
        ["glacier", "rock", "alp", "heath", "pine", "hazel"],
        default=np.where(
            wood > 0,
            np.select([draw < 0.04, draw < 0.07, up > 0.72], ["clearing", "regrowth", "larch"], default="spruce"),
            np.select([draw < 0.06, draw < 0.12, moor > 0], ["hazel", "spruce", "oak"], default="beech"),
        ),
    )
    canvas.paint(np.ones(height.shape, bool), parcels, names)


def _paint_floor(canvas: Canvas, random: np.random.Generator, height: Floats) -> None:
    """Paint fields, orchards and meadows on the valley floor, and a few copses."""
    size = len(height)
    parcels = fields(random, size, block=max(24.0, size / 9), width=max(5.0, size / 60), length=max(10.0, size / 28))
    floor = height + 0.02 * smooth_noise(random, size, size / 10) < _FOOT
    dry = _means(parcels, smooth_noise(random, size, size / 3.5, 2))
    up = _means(parcels, height)
    draw, kind = random.uniform(0, 1, dry.shape), random.choice(ARABLE, dry.shape)
    crops = np.select([draw < 0.05, draw < 0.13], ["meadow", "lucerne"], default=kind)
    steep = np.where(draw < 0.6, "orchard", "vineyard")
    grass = np.select([draw < 0.04, draw < 0.10, draw < 0.55], ["hazel", "maize", "pasture"], default="meadow")
    names = np.select([draw > 0.98, (up > 0.3) & (dry > 0.3), dry > -0.35], ["oak", steep, crops], default=grass)
    canvas.paint(floor, parcels, names[np.unique(parcels[floor])])


def _paint_waters(canvas: Canvas, random: np.random.Generator, off: Floats) -> None:
    size = len(off)
    u = np.arange(size, dtype=np.float32)[None, :] / size
    pieces = voronoi(random, size, size / 6)
    width = max(1.5 / size, 0.006)
    bank = width + 0.022 * np.clip(smooth_noise(random, size, size / 6, 2), 0, 1.5)
    canvas.paint(np.abs(off) < bank, pieces, ["gravel"])
    canvas.paint(np.abs(off) < width, pieces, ["river"])
    centre = random.uniform(0.15, 0.3)
    shape = ((u - centre) / 0.11) ** 2 + ((off - 0.01) / 0.06) ** 2 + 0.15 * smooth_noise(random, size, size / 8)
    canvas.paint(shape < 1, pieces, ["lake"])


def _paint_villages(canvas: Canvas, random: np.random.Generator, off: Floats) -> None:
    """Paint a town and two villages on the floor, with gardens between the houses, and the connecting roads."""
    size = len(off)
    u = np.arange(size, dtype=np.float32)[None, :] / size
    plots = fields(random, size, block=max(12.0, size / 18), width=4, length=5)
    ragged = 0.25 * smooth_noise(random, size, size / 12)
    land = ~np.isin(canvas.kinds[0], [NUMBER["river"], NUMBER["lake"]])[canvas.segment]
    half_road = 1.0 / size
    for along, beside, radius in ((0.68, -0.085, 0.085), (0.88, 0.1, 0.05), (0.42, -0.1, 0.045)):
        centre = along + random.uniform(-0.03, 0.03)
        canvas.paint((np.abs(u - centre) < half_road) & (np.abs(off) < 0.18) & land, plots, ["road"])
        far = np.hypot(u - centre, off - beside) / radius + ragged
        mask = (far < 1) & land
        middle = _means(np.where(mask, plots, -1) + 1, far)[1:]
        draw = random.uniform(0, 1, middle.shape)
        names = np.select([draw < 0.14, middle < 0.45, draw < 0.26], ["pasture", "town", "works"], default="suburb")
        canvas.paint(mask, plots, names)
    canvas.paint((np.abs(off + 0.16) < half_road) & land, plots, ["road"])


def _paint_quarries(canvas: Canvas, random: np.random.Generator, height: Floats) -> None:
    """Paint two quarries at the foot of the slopes."""
    size = len(height)
    v, u = np.mgrid[:size, :size].astype(np.float32)
    edge = np.argwhere(np.abs(height - 0.52) < 0.03)
    edge = edge[(edge.min(axis=1) > 0.08 * size) & (edge.max(axis=1) < 0.92 * size)]
    faces = voronoi(random, size, max(4.0, size / 50))
    ragged = 0.2 * smooth_noise(random, size, size / 15)
    for radius in (0.06, 0.04):
        y, x = edge[random.integers(len(edge))]
        mask: Bools = np.hypot(v - y, u - x) / (radius * size) + ragged < 1
        canvas.paint(mask, faces, ["quarry"])


def _rotate_crops(canvas: Canvas, random: np.random.Generator) -> None:
    """Sow a different arable crop on most fields every year; the kind changes, but the class does not."""
    arable = np.array([NUMBER[name] for name in ARABLE])
    for kinds in canvas.kinds[1:]:
        turn = np.isin(kinds, arable) & (random.uniform(0, 1, kinds.shape) < 0.75)
        kinds[turn] = random.choice(arable, int(turn.sum()))
