"""A scene as a product: identifiers, processing baseline, digital numbers, statistics and footprint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from rasterio.warp import transform as to_crs

from mlc_dask.data.errors import InputError
from mlc_dask.worlds.scenes import CRS, DN, LEFT, TOP, Scene

TILE = "32TPS"
CLASSES = (
    "nodata_pixel", "saturated_defective_pixel", "dark_features", "cloud_shadow", "vegetation", "not_vegetated",
    "water", "unclassified", "medium_proba_clouds", "high_proba_clouds", "thin_cirrus", "snow_ice",
)  # fmt: skip
"""Classes of the scene classification by value, named like their percentages in the metadata."""

_OFFSET = 1_000
_OFFSET_SINCE = "04.00"
_CYCLE, _ORBITS_PER_DAY = 143, 14.3
_KNOWN_ORBITS = {"S2A": (datetime(2020, 2, 19), 24_344, 37), "S2B": (datetime(2019, 12, 28), 14_683, 71)}
"""Per platform: a day, an absolute orbit on this day, and the relative orbit of that absolute orbit."""


@dataclass(frozen=True, eq=False)
class Product:
    """A scene processed at a baseline such as ``05.10``; baselines from 04.00 on add 1000 to the digital numbers."""

    scene: Scene
    baseline: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d\d\.\d\d", self.baseline):
            raise InputError(f"baseline = {self.baseline!r} is not a processing baseline; write it like 05.10")

    @property
    def shifted(self) -> bool:
        """Whether the baseline adds an offset to the digital numbers."""
        return self.baseline >= _OFFSET_SINCE

    @property
    def add_offset(self) -> int:
        """Value to add to a digital number to get reflectance * 10000."""
        return -_OFFSET if self.shifted else 0

    def dn(self, band: str) -> DN:
        """Digital numbers of `band` as this baseline stores them; no data stays 0."""
        values = self.scene.dn[band]
        return shifted(values) if self.shifted else values

    @property
    def platform(self) -> str:
        """Platform, such as ``S2A``."""
        return self.scene.overpass.platform

    @property
    def sensing(self) -> str:
        """Sensing start of the datatake in compact form."""
        return compact(self.scene.overpass.time)

    @property
    def sensed(self) -> datetime:
        """Sensing time of the tile, some seconds into the datastrip."""
        return self.scene.strip + timedelta(seconds=9, milliseconds=458)

    @property
    def processed(self) -> datetime:
        """Processing time; every baseline is a new processing, later than those of earlier baselines."""
        return self.scene.strip + timedelta(days=int(self.baseline.replace(".", "")), hours=6)

    @property
    def name(self) -> str:
        """Product name without file ending."""
        number, orbit = self.baseline.replace(".", ""), self.scene.overpass.orbit
        return f"{self.platform}_MSIL2A_{self.sensing}_N{number}_R{orbit:03d}_T{TILE}_{compact(self.processed)}"

    @property
    def absolute_orbit(self) -> int:
        """Absolute orbit: among the orbits with the scene's relative orbit, the one nearest to the date."""
        day, absolute, relative = _KNOWN_ORBITS[self.platform]
        first = absolute + self.scene.overpass.orbit - relative
        flown = absolute + _ORBITS_PER_DAY * (self.scene.overpass.time - day) / timedelta(days=1)
        return first + _CYCLE * round((flown - first) / _CYCLE)

    @property
    def datatake(self) -> str:
        """Identifier of the datatake, which its datastrips share."""
        return f"G{self.platform}_{self.sensing}_{self.absolute_orbit:06d}_N{self.baseline}"

    @property
    def datastrip(self) -> str:
        """Identifier of the datastrip."""
        start = compact(self.scene.strip)
        return f"{self.platform}_OPER_MSI_L2A_DS_{self._station}_{compact(self.processed)}_S{start}_N{self.baseline}"

    @property
    def granule(self) -> str:
        """Identifier of the tile in the datastrip."""
        orbit = f"A{self.absolute_orbit:06d}"
        made = compact(self.processed)
        return f"{self.platform}_OPER_MSI_L2A_TL_{self._station}_{made}_{orbit}_T{TILE}_N{self.baseline}"

    @property
    def _station(self) -> str:
        return f"2{self.platform[-1]}PS"

    def percentages(self) -> dict[str, float]:
        """Percentages of :data:`CLASSES`: that of no data of all pixels, the others of the pixels with data."""
        counts = np.bincount(self.scene.scl.ravel(), minlength=len(CLASSES))
        seen = max(1, int(counts[1:].sum()))
        shares = [counts[0] / counts.sum(), *(counts[1:] / seen)]
        return {name: round(100 * float(share), 6) for name, share in zip(CLASSES, shares, strict=True)}

    def cloud_cover(self) -> float:
        """Percentage of the pixels with data that are cloud or cirrus."""
        shares = self.percentages()
        return round(shares["medium_proba_clouds"] + shares["high_proba_clouds"] + shares["thin_cirrus"], 6)

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top in metres."""
        height, width = self.scene.scl.shape
        return float(LEFT), TOP - 20.0 * height, LEFT + 20.0 * width, float(TOP)

    def footprint(self) -> list[tuple[float, float]]:
        """Longitude and latitude of the corners, clockwise from the upper left corner."""
        left, bottom, right, top = self.bounds()
        longitudes, latitudes = to_crs(CRS, "EPSG:4326", [left, right, right, left], [top, top, bottom, bottom])
        return [(round(x, 7), round(y, 7)) for x, y in zip(longitudes, latitudes, strict=True)]


def shifted(values: DN) -> DN:
    """Add the offset to pixels with data; values that would exceed uint16 are clipped."""
    return np.where(values > 0, np.minimum(values, 65_535 - _OFFSET) + np.uint16(_OFFSET), 0).astype(np.uint16)


def compact(time: datetime) -> str:
    """Format a time like ``20180105T103421``."""
    return f"{time:%Y%m%dT%H%M%S}"


def iso(time: datetime) -> str:
    """Format a time like ``2018-01-05T10:34:21.024Z``."""
    return f"{time.isoformat(timespec='milliseconds')}Z"
