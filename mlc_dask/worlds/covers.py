"""Kinds of land cover as data: their materials and their seasons.

A kind is one mode of a class: wheat and maize are two kinds of Crops. Its reflectance on a day is a mixture of a dry
and a green material. The mixing share is the greenness, a sum of double-logistic seasons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlc_dask.data.legend import DEFAULT_LEGEND
from mlc_dask.worlds.patterns import Floats

BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")

# Surface reflectance in percent, in the order of BANDS.
MATERIALS: dict[str, tuple[float, ...]] = {
    "soil": (7.0, 10.0, 13.0, 22.0, 15.0, 18.0, 20.0, 23.0, 31.0, 27.0),
    "stubble": (8.0, 12.0, 16.0, 27.0, 18.5, 22.0, 24.0, 28.0, 34.0, 27.0),
    "corn": (2.5, 5.5, 3.0, 46.0, 7.5, 33.0, 44.0, 48.0, 19.0, 9.0),
    "maize": (3.0, 6.0, 3.5, 42.0, 8.5, 30.0, 39.0, 44.0, 20.0, 10.0),
    "turf": (3.2, 7.0, 4.5, 40.0, 9.5, 29.0, 36.0, 41.0, 22.0, 12.0),
    "hay": (5.5, 8.5, 9.5, 25.0, 12.5, 19.0, 22.0, 26.0, 28.0, 19.0),
    "leaves": (2.2, 5.0, 2.8, 40.0, 7.0, 29.0, 38.0, 42.0, 17.0, 7.5),
    "twigs": (4.2, 5.8, 6.5, 17.0, 8.5, 13.0, 15.0, 19.0, 20.0, 13.5),
    "needles": (1.8, 3.4, 2.2, 24.0, 4.6, 16.0, 21.0, 26.0, 10.5, 4.6),
    "old needles": (2.1, 3.4, 2.8, 19.0, 4.5, 13.0, 16.5, 20.0, 10.0, 5.0),
    "heather": (3.0, 5.3, 4.2, 29.0, 7.5, 21.0, 26.0, 31.0, 18.5, 10.0),
    "brush": (4.5, 6.2, 7.2, 20.0, 9.3, 14.5, 17.0, 21.0, 23.0, 15.0),
    "limestone": (13.0, 15.5, 17.5, 23.0, 19.0, 20.0, 21.0, 23.5, 26.0, 23.5),
    "quarried": (19.0, 24.0, 28.0, 34.0, 30.0, 31.5, 32.5, 35.0, 40.0, 36.0),
    "gravel": (15.5, 18.5, 20.5, 26.0, 22.0, 23.0, 24.0, 26.5, 30.0, 26.5),
    "roofs": (9.5, 11.0, 13.0, 19.0, 15.0, 16.5, 17.5, 20.0, 23.5, 21.0),
    "metal": (23.0, 25.0, 26.0, 30.0, 27.0, 28.0, 29.0, 31.0, 32.0, 29.0),
    "asphalt": (8.5, 9.8, 10.8, 15.0, 12.0, 13.0, 13.5, 15.5, 18.0, 16.5),
    "clear water": (3.8, 4.2, 2.3, 1.3, 1.9, 1.6, 1.5, 1.2, 0.8, 0.6),
    "turbid water": (6.0, 7.5, 6.0, 3.5, 5.5, 4.5, 4.0, 3.0, 1.5, 1.0),
    "snow": (80.0, 80.0, 78.0, 72.0, 77.0, 76.0, 74.0, 70.0, 12.0, 9.0),
    "ice": (60.0, 60.0, 56.0, 46.0, 54.0, 51.0, 48.0, 44.0, 9.0, 7.0),
    "cloud": (55.0, 54.0, 54.0, 58.0, 55.0, 56.0, 57.0, 59.0, 45.0, 36.0),
}

Season = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Kind:
    """One row of :data:`KINDS`.

    Attributes
    ----------
    name, land_cover
        Name of the kind, and name of its class.
    corine
        CORINE grid code of a large area of this kind.
    dry, green
        Materials at greenness 0 and 1.
    seasons
        (start day, end day, height, days of rise, days of fall) of every double logistic.
    floor
        Greenness outside the seasons.
    mixes
        Kinds mixed into its parcels, which makes classes overlap.
    snow
        Share of snow on the ground that is visible from above.
    """

    name: str
    land_cover: str
    corine: int
    dry: str
    green: str
    seasons: tuple[Season, ...] = ()
    floor: float = 0.0
    mixes: tuple[str, ...] = ()
    snow: float = 0.9


_CUTS = ((95.0, 152.0, 0.75, 9.0, 3.0), (168.0, 205.0, 0.6, 7.0, 3.0), (222.0, 300.0, 0.55, 8.0, 12.0))
_LUCERNE = ((100.0, 145.0, 0.75, 8.0, 3.0), (162.0, 198.0, 0.7, 7.0, 3.0), (215.0, 285.0, 0.65, 8.0, 10.0))

KINDS: tuple[Kind, ...] = (
    Kind("town", "Artificial", 1, "roofs", "turf", ((95, 300, 0.08, 12, 14),), 0.04, ("suburb", "works"), 0.6),
    Kind("suburb", "Artificial", 2, "roofs", "turf", ((95, 300, 0.2, 12, 14),), 0.15, ("town", "pasture"), 0.7),
    Kind("works", "Artificial", 3, "metal", "turf", (), 0.03, ("town", "quarry"), 0.5),
    Kind("road", "Artificial", 4, "asphalt", "turf", ((95, 300, 0.1, 12, 14),), 0.08, ("suburb",), 0.3),
    Kind("meadow", "Grass", 18, "hay", "turf", _CUTS, 0.25, ("pasture", "lucerne")),
    Kind("pasture", "Grass", 18, "hay", "turf", ((95, 298, 0.55, 12, 16),), 0.3, ("meadow", "heath", "wheat")),
    Kind("alp", "Grass", 26, "hay", "turf", ((125, 262, 0.65, 9, 12),), 0.1, ("heath", "rock", "pasture")),
    Kind("clearing", "Grass", 26, "brush", "turf", ((115, 280, 0.55, 12, 14),), 0.12, ("regrowth", "pasture")),
    Kind("wheat", "Crops", 12, "stubble", "corn", ((88, 178, 0.85, 10, 6),), 0.08, ("barley", "pasture")),
    Kind("barley", "Crops", 12, "stubble", "corn", ((78, 160, 0.8, 10, 6), (232, 310, 0.4, 9, 12)), 0.1, ("meadow",)),
    Kind("maize", "Crops", 12, "soil", "maize", ((162, 262, 0.9, 9, 8),), 0.03, ("beans",)),
    Kind("beans", "Crops", 12, "soil", "corn", ((150, 228, 0.75, 9, 8),), 0.05, ("maize", "meadow")),
    Kind("lucerne", "Crops", 12, "soil", "corn", _LUCERNE, 0.2, ("meadow", "pasture")),
    Kind("orchard", "Crops", 16, "hay", "leaves", ((108, 295, 0.55, 8, 12),), 0.15, ("pasture", "hazel", "vineyard")),
    Kind("vineyard", "Crops", 15, "soil", "leaves", ((120, 290, 0.5, 9, 12),), 0.12, ("orchard", "heath")),
    Kind("quarry", "Mineral", 7, "quarried", "hay", (), 0.05, ("gravel", "works"), 0.8),
    Kind("rock", "Rocks", 31, "limestone", "turf", ((135, 255, 0.12, 10, 12),), 0.02, ("alp", "gravel"), 0.95),
    Kind("gravel", "Sand", 30, "gravel", "heather", ((105, 285, 0.1, 12, 14),), 0.04, ("rock", "river"), 0.8),
    Kind("beech", "Broadleaves", 23, "twigs", "leaves", ((118, 292, 0.92, 7, 9),), 0.04, ("oak", "spruce"), 0.35),
    Kind("oak", "Broadleaves", 23, "twigs", "leaves", ((126, 300, 0.8, 9, 11),), 0.08, ("hazel", "beech"), 0.35),
    Kind("spruce", "Conifers", 24, "old needles", "needles", ((105, 300, 0.7, 16, 18),), 0.2, ("beech", "pine"), 0.25),
    Kind("larch", "Conifers", 24, "twigs", "needles", ((128, 288, 0.85, 8, 9),), 0.1, ("spruce", "pine"), 0.35),
    Kind("heath", "Shrubland", 27, "brush", "heather", ((120, 280, 0.7, 12, 14),), 0.15, ("alp", "pine"), 0.7),
    Kind("pine", "Shrubland", 27, "old needles", "heather", ((115, 285, 0.5, 14, 16),), 0.25, ("heath", "larch"), 0.5),
    Kind("hazel", "Shrubland", 28, "brush", "leaves", ((112, 290, 0.7, 9, 11),), 0.1, ("oak", "pasture"), 0.5),
    Kind("regrowth", "Shrubland", 28, "brush", "leaves", ((118, 285, 0.5, 10, 12),), 0.15, ("clearing", "hazel"), 0.6),
    Kind("lake", "Water", 41, "clear water", "clear water", (), 0.0, ("river",), 0.0),
    Kind("river", "Water", 40, "turbid water", "turbid water", (), 0.0, ("gravel",), 0.0),
    Kind(
        "glacier", "Snow", 34, "ice", "snow", ((-120, 150, 0.9, 14, 18), (285, 480, 0.9, 12, 14)), 0.15, ("rock",), 1.0
    ),
)

NUMBER = {kind.name: i for i, kind in enumerate(KINDS)}
CODES = np.array([DEFAULT_LEGEND.code(kind.land_cover) for kind in KINDS], np.uint8)
"""Legend code of every kind."""
ARABLE = ("wheat", "barley", "maize", "beans")
"""Crops that rotate on the same fields."""


def spectrum(material: str) -> Floats:
    """Reflectance (band,) of a material, in the order of :data:`BANDS`."""
    return np.array(MATERIALS[material], np.float32) / np.float32(100)
