"""True changes of land cover, which happen abruptly between two years, from the size of a house to a hillside."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.worlds.canvas import Canvas
from mlc_dask.worlds.covers import CODES, NUMBER
from mlc_dask.worlds.patterns import Bools
from mlc_dask.worlds.settings import World

SIZES = (5, 12, 30, 80, 200, 500, 1200)
"""Sizes in 10 m pixels: 0.05 to 12 ha."""


@dataclass(frozen=True)
class Event:
    """One row of :data:`EVENTS`: classes before, kind after, range of sizes in pixels, shape, neighbouring class."""

    name: str
    before: tuple[str, ...]
    after: str
    smallest: int
    largest: int
    straight: bool
    beside: str = ""


EVENTS = (
    Event("clear-cut", ("Conifers",), "clearing", 80, 1200, False),
    Event("storm", ("Conifers", "Broadleaves"), "regrowth", 30, 1200, False),
    Event("new building", ("Grass", "Crops"), "works", 5, 200, True),
    Event("new houses", ("Grass", "Crops"), "suburb", 12, 500, True, "Artificial"),
    Event("field to meadow", ("Crops",), "meadow", 30, 1200, True),
    Event("meadow to field", ("Grass",), "maize", 30, 500, True),
    Event(
        "quarry growth", ("Broadleaves", "Conifers", "Grass", "Crops", "Shrubland"), "quarry", 12, 500, False, "Mineral"
    ),
    Event("pond", ("Grass", "Crops"), "lake", 5, 80, False),
)


UPHEAVALS = {
    "felled": ("Conifers", "clearing"),
    "dried": ("Water", "gravel"),
    "built over": ("Grass", "works"),
}
"""What becomes of most of a class in one year: the class, and the kind that it becomes."""


@dataclass(frozen=True)
class Change:
    """One true change: `pixels` of class `before` have class `after` from `year` on; `row`, `column` is one of them."""

    event: str
    year: int
    before: int
    after: int
    pixels: int
    row: int
    column: int


def plant_changes(canvas: Canvas, world: World) -> tuple[Change, ...]:
    """Plant the changes of all years in `canvas`; a pixel changes at most once, and changes do not touch."""
    taken = np.zeros(canvas.segment.shape, bool)
    changes = _plant_upheaval(canvas, world, taken) if world.upheaval else []
    for year in range(1, len(world.years)):
        random = world.random("changes", world.years[year])
        for pixels in _sizes(world):
            events = [e for e in EVENTS if e.smallest <= pixels <= e.largest]
            for i in random.permutation(len(events)):
                change = _plant(canvas, events[i], pixels, (year, world.years[year]), taken, random)
                if change:
                    changes.append(change)
                    break
    return tuple(changes)


def _plant_upheaval(canvas: Canvas, world: World, taken: Bools) -> list[Change]:
    """Turn parcels of one class, in a random order, into another kind until the world's share of the class has changed.

    The parcels are marked in `taken`.
    """
    if world.upheaval not in UPHEAVALS:
        raise InputError(f"upheaval = {world.upheaval!r}; {did_you_mean(world.upheaval, tuple(UPHEAVALS))}")
    before, after = UPHEAVALS[world.upheaval]
    position, code = len(world.years) // 2, DEFAULT_LEGEND.code(before)
    of_class = CODES[canvas.kinds[position - 1]][canvas.segment] == code
    parcels, pixels = np.unique(canvas.segment[of_class], return_counts=True)
    order = world.random("upheaval").permutation(len(parcels))
    enough = np.cumsum(pixels[order]) - pixels[order] < world.upheaval_share * pixels.sum()
    objects, count = ndimage.label(of_class & np.isin(canvas.segment, parcels[order][enough]))
    changes = []
    for number in range(1, count + 1):
        mask = objects == number
        canvas.change(mask, position, after)
        row, column = np.argwhere(mask)[0].tolist()
        changes.append(
            Change(world.upheaval, world.years[position], code, int(CODES[NUMBER[after]]), int(mask.sum()), row, column)
        )
    taken |= objects > 0
    return changes


def _sizes(world: World) -> list[int]:
    """Sizes of one year's changes, largest first; the total area per size grows with its square root."""
    budget = world.changed_share * world.size**2
    sizes = [s for s in SIZES if s <= budget / 3]
    weight = sum(s**0.5 for s in sizes)
    return [s for s in reversed(sizes) for _ in range(max(1, round(budget / weight / s**0.5)))]


def _plant(
    canvas: Canvas, event: Event, pixels: int, when: tuple[int, int], taken: Bools, random: np.random.Generator
) -> Change | None:
    """Cut one change into `canvas`, or return None if there is no room; `when` is the year's position and number."""
    code = CODES[canvas.kinds[when[0] - 1]][canvas.segment]
    before = DEFAULT_LEGEND.code(event.before[int(random.integers(len(event.before)))])
    room = (code == before) & ~taken
    inside = cv2.distanceTransform(np.pad(room, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    starts = inside >= 0.7 * (pixels / np.pi) ** 0.5
    if event.beside:
        near = cv2.dilate(
            (code == DEFAULT_LEGEND.code(event.beside)).astype(np.uint8), _square(6 + 2 * int(pixels**0.5))
        )
        starts &= near > 0
    places = np.argwhere(starts)
    if not len(places):
        return None
    y, x = (int(n) for n in places[random.integers(len(places))])
    mask = _grow(room, (y, x), pixels, event.straight, random)
    if mask is None:
        return None
    canvas.change(mask, when[0], event.after)
    taken |= cv2.dilate(mask.astype(np.uint8), _square(5)) > 0
    return Change(event.name, when[1], before, int(CODES[NUMBER[event.after]]), pixels, y, x)


def _grow(
    room: Bools, start: tuple[int, int], pixels: int, straight: bool, random: np.random.Generator
) -> Bools | None:
    """Return connected `pixels` of `room` around `start`: a rotated rectangle if `straight`, else a ragged blob."""
    angle, stretch = random.uniform(0, np.pi), random.uniform(1, 1.6)
    reach = int(2 * pixels**0.5) + 3
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = (x * np.cos(angle) + y * np.sin(angle)) / stretch, y * np.cos(angle) - x * np.sin(angle)
    far = np.maximum(np.abs(along), np.abs(across)) if straight else np.hypot(along, across)
    far = far + random.uniform(0, 0.05 if straight else 0.15 * pixels**0.5, far.shape)
    mask, seen, edge = np.zeros(room.shape, bool), {start}, [(0.0, start)]
    # The nearest edge pixel is added next, so the object is connected and has exactly the requested size.
    while edge and pixels:
        _, (row, column) = heapq.heappop(edge)
        mask[row, column] = True
        pixels -= 1
        for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            down, right = place[0] - start[0] + reach, place[1] - start[1] + reach
            exists = 0 <= place[0] < room.shape[0] and 0 <= place[1] < room.shape[1]
            if exists and room[place] and place not in seen and min(down, right) >= 0 and max(down, right) <= 2 * reach:
                seen.add(place)
                heapq.heappush(edge, (float(far[down, right]), place))
    return None if pixels else mask


def _square(side: int) -> npt.NDArray[np.uint8]:
    return np.ones((side, side), np.uint8)
