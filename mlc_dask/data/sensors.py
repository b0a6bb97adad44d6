"""Sensors and the spectral roles of their bands. A new sensor is one line of :data:`SENSORS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sensor:
    """Bands with their resolution in metres, and the bands that can play each spectral role, best first."""

    name: str
    resolution: Mapping[str, int]
    roles: Mapping[str, tuple[str, ...]]

    def positions(self, bands: Sequence[str]) -> dict[str, int]:
        """Position in `bands` of the best band of every role; roles that no band can play are left out."""
        positions = {}
        for role, candidates in self.roles.items():
            for band in candidates:
                if band in bands:
                    positions[role] = list(bands).index(band)
                    break
        return positions


SENTINEL2 = Sensor(
    name="sentinel-2",
    resolution={
        **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
        **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20),
        **dict.fromkeys(("B01", "B09", "B10"), 60),
    },
    roles={
        "blue": ("B02",),
        "green": ("B03",),
        "red": ("B04",),
        "nir": ("B08", "B8A"),
        "swir1": ("B11",),
        "swir2": ("B12",),
    },
)

SENSORS = {SENTINEL2.name: SENTINEL2}
