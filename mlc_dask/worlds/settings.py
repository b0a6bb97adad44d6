"""Settings of a synthetic world."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from mlc_dask.data.errors import InputError
from mlc_dask.data.years import CALENDAR, check_year_start

_SHARES = ("changed_share", "drought", "cloud_share", "scl_false_alarms", "label_errors")
_AMOUNTS = ("variety", "phenology_shift", "noise", "misregistration")


@dataclass(frozen=True)
class World:
    """Settings of a synthetic landscape; the same settings give the same files, byte for byte.

    Attributes
    ----------
    size
        Side of the square area in 10 m pixels: an even number of at least 64, since the 20 m bands halve it.
    years
        Years, ascending.
    seed
        Seed of all random draws.
    acquisitions_per_year
        Candidates per year. Three quarters of them have a cloud share of at most 0.40 and a counterpart within 4 days
        in every year; the others are cloudier, some completely cloudy.
    year_start
        Day on which years start, in the midwinter of the world: ``01-01`` in the north, ``07-01`` in the south. A year
        is named for the calendar year in which it ends.
    changed_share
        Share of the area whose class truly changes between two successive years.
    variety
        Scale of the differences between parcels of one class: 0 makes classes separable, 1 makes them overlap.
    phenology_shift
        Standard deviation in days by which the season of a class shifts from year to year.
    drought
        Share of the summer greenness that is lost in the driest year.
    cloud_share
        Mean cloud share of the three quarters of acquisitions that are clearer.
    scl_false_alarms
        Share of acquisitions whose SCL mistakes bright ground for cloud.
    noise
        Standard deviation of the sensor's noise in reflectance.
    label_errors
        Share of the polygons of the product that have a wrong class.
    misregistration
        Shift of the product relative to the images, in metres.
    """

    size: int = 512
    years: tuple[int, ...] = (2018, 2019, 2020)
    seed: int = 0
    acquisitions_per_year: int = 34
    year_start: str = CALENDAR
    changed_share: float = 0.02
    upheaval: str = ""
    upheaval_share: float = 0.8
    variety: float = 1.0
    phenology_shift: float = 10.0
    drought: float = 0.3
    cloud_share: float = 0.12
    scl_false_alarms: float = 0.25
    noise: float = 0.004
    label_errors: float = 0.06
    misregistration: float = 30.0

    def __post_init__(self) -> None:
        if self.size < 64 or self.size % 2:
            raise InputError(f"size = {self.size} pixels of 10 m is invalid; give an even number of at least 64")
        if not self.years or list(self.years) != sorted(set(self.years)):
            raise InputError(f"years = {self.years} is invalid; give at least one year, ascending, each once")
        check_year_start(self.year_start)
        if self.seed < 0:
            raise InputError(f"seed = {self.seed} is negative; give 0 or more")
        if not 1 <= self.acquisitions_per_year <= 60:
            raise InputError(f"acquisitions_per_year = {self.acquisitions_per_year} is outside 1..60; give 1 to 60")
        if not 0 < self.upheaval_share <= 1:
            raise InputError(f"upheaval_share = {self.upheaval_share}; give a share above 0, at most 1")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 0.4:
                raise InputError(f"{name} = {getattr(self, name)} is out of range; give a share between 0 and 0.4")
        for name in _AMOUNTS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} = {getattr(self, name)} is out of range; give a finite value of 0 or more")

    def random(self, *names: object) -> np.random.Generator:
        """Return the generator for the purpose that `names` describe; its draws do not depend on other generators."""
        key = hashlib.blake2b("|".join(map(str, names)).encode(), digest_size=8).digest()
        return np.random.default_rng([self.seed, int.from_bytes(key, "little")])
