"""Acquisitions as folders of GeoTIFFs: one folder per acquisition, one file per band, and a mask file."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mlc_dask.acquisitions import Acquisition, Weather
from mlc_dask.errors import InputError
from mlc_dask.io.grids import Grid, open_raster
from mlc_dask.io.pixels import band_index, read_whole, read_window, to_convention

_ORBIT = re.compile(r"_R(\d{3})(?:_|$)")


class Mask(BaseModel):
    """A classified mask: the values that make a pixel unusable, and those that count as cloud and as no data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = "SCL.tif"
    unusable: tuple[int, ...] = (0, 1, 3, 8, 9)
    cloud: tuple[int, ...] = (8, 9, 10)
    nodata: tuple[int, ...] = (0,)


class GeoTiff(BaseModel):
    """Folders of GeoTIFFs, their layout as settings.

    `folder` holds one sub-folder per acquisition. Its name must hold the date (`date`, a regular expression whose first
    group is read with `date_format`), unless `index`, a CSV with columns ``id`` and `index_column`, gives it. A band is
    the file `file` with ``{band}`` replaced; without ``{band}`` in it, the band of that description in one file.
    Reflectance = DN * `scale` + `offset`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    bands: tuple[str, ...] = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
    file: str = "{band}.tif"
    date: str = r"(\d{8})"
    date_format: str = "%Y%m%d"
    index: Path | None = None
    index_column: str = "datetime_utc"
    scale: float = Field(1e-4, gt=0)
    offset: float = 0.0
    nodata: int = 0
    mask: Mask | None = Mask()

    @field_validator("date")
    @classmethod
    def _has_a_group(cls, date: str) -> str:
        try:
            groups = re.compile(date).groups
        except re.error as error:
            raise ValueError(f"no regular expression ({error}); mend it") from None
        if not groups:
            raise ValueError("no group; put the date's part in parentheses")
        return date

    def acquisitions(self) -> list[Acquisition]:
        """All acquisition folders, by time; refuses undated folders and two of one time."""
        if not self.folder.is_dir():
            raise InputError(f"{self.folder} is not a folder; set source.folder to the folder of acquisition folders")
        dates = self._index()
        found = [
            Acquisition(p.name, self._time(p.name, dates), self._orbit(p.name), str(p))
            for p in sorted(self.folder.iterdir())
            if p.is_dir() and not p.name.startswith(".")
        ]
        if not found:
            raise InputError(f"{self.folder} has no acquisition folders; it needs one folder per acquisition")
        found.sort(key=lambda a: (a.time, a.id))
        for a, b in pairwise(found):
            if a.time == b.time:
                raise InputError(f"{a.place} and {b.place} are of one time ({a.time:%Y-%m-%d %H:%M:%S}); remove one")
        return found

    def _index(self) -> dict[str, str] | None:
        if self.index is None:
            return None
        if not self.index.is_file():
            raise InputError(f"{self.index} does not exist; set source.index to the CSV of dates, or leave it out")
        with self.index.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not {"id", self.index_column} <= set(reader.fieldnames or ()):
                raise InputError(f"{self.index} has no columns id and {self.index_column}; set source.index_column")
            return {row["id"]: row[self.index_column] for row in reader}

    def _time(self, name: str, dates: dict[str, str] | None) -> datetime:
        if dates is not None:
            if name not in dates:
                raise InputError(f"{self.folder / name} is not in {self.index}; add a row for it or remove the folder")
            try:
                return _utc(datetime.fromisoformat(_whole_date(dates[name])))
            except ValueError:
                raise InputError(
                    f"{self.index}: {self.index_column} of {name} is {dates[name]!r}, not an ISO date; "
                    "correct it, or set source.index_column"
                ) from None
        match = re.search(self.date, name)
        if not match:
            raise InputError(f"{self.folder / name}: no date found with source.date = {self.date!r}; mend the pattern")
        try:
            return _utc(datetime.strptime(match.group(1), self.date_format))
        except ValueError:
            raise InputError(
                f"{self.folder / name}: {match.group(1)!r} is not a date of the form {self.date_format!r}; "
                "mend source.date or source.date_format"
            ) from None

    @staticmethod
    def _orbit(name: str) -> int | None:
        match = _ORBIT.search(name)
        return int(match.group(1)) if match else None

    def _path(self, acquisition: Acquisition, file: str) -> Path:
        # Not `place`, which is where the acquisition lay when it was chosen: a folder may move between two runs.
        return self.folder / acquisition.id / file

    def _band_path(self, acquisition: Acquisition, band: str) -> Path:
        return self._path(acquisition, self.file.replace("{band}", band))

    def _grids(self, acquisition: Acquisition) -> dict[str, Grid]:
        names = {b: self._band_path(acquisition, b) for b in self.bands}
        if self.mask is not None:
            names["mask"] = self._path(acquisition, self.mask.file)
        return {name: self._header(path, name) for name, path in names.items()}

    def _header(self, path: Path, name: str) -> Grid:
        if not path.is_file():
            raise InputError(f"{path} is missing; add {name} to this acquisition, or leave it out of the settings")
        with open_raster(path) as file:
            band_index(file, self._described(name))
            self._check_nodata(file, name)
            return Grid.of(file)

    def _check_nodata(self, file: rasterio.io.DatasetReader, name: str) -> None:
        """Refuse a file whose own no-data value is not the setting: its empty pixels would pass for dark ones."""
        declared = file.nodata
        if name in self.bands and declared is not None and not np.isnan(declared) and declared != self.nodata:
            raise InputError(
                f"{file.name} declares {declared:g} as no data, source.nodata is {self.nodata}; "
                f"set source.nodata = {declared:g}, or correct the file with gdal_edit.py -a_nodata"
            )

    def _described(self, name: str) -> str | None:
        """Band description to look for, where all bands share one file."""
        return name if "{band}" not in self.file and name in self.bands else None

    def grid(self) -> Grid:
        """Lattice of the finest band of the first acquisition."""
        return min(self._grids(self.acquisitions()[0]).values(), key=lambda g: g.pixel)

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` when a file of `acquisition` is missing or does not lie on `grid`."""
        for band, own in self._grids(acquisition).items():
            factor = max(1, round(own.pixel / grid.pixel))
            if not own.refined(factor).matches(grid):
                where = f"{acquisition.place}, {band}"
                raise InputError(f"{where}: its grid is {own.label}, not {grid.label}; warp it to that grid")

    def weather(self, acquisition: Acquisition) -> Weather:
        """Cloud share over valid pixels and valid share, from the mask, or from the first band without one."""
        if self.mask is None:
            band = self.bands[0]
            valid = read_whole(self._band_path(acquisition, band), self._described(band)) != self.nodata
            return Weather(0.0, float(valid.mean()))
        values = read_whole(self._path(acquisition, self.mask.file), None)
        valid = ~np.isin(values, self.mask.nodata)
        cloud = np.isin(values, self.mask.cloud) & valid
        return Weather(float(cloud.sum() / max(1, valid.sum())), float(valid.mean()))

    def read(
        self, acquisition: Acquisition, grid: Grid, rows: slice, columns: slice
    ) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        """DN (B, h, w) uint16 in the cube's convention and usable (h, w) of a window of the grid.

        Coarser bands and the mask are repeated to the grid (nearest): no value is made up.
        """
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        dn = np.empty((len(self.bands), *shape), np.uint16)
        for i, band in enumerate(self.bands):
            raw = read_window(self._band_path(acquisition, band), self._described(band), grid, rows, columns)
            dn[i] = to_convention(raw, self.scale, self.offset, self.nodata)
        usable = (dn != 0).all(axis=0)
        if self.mask is not None:
            values = read_window(self._path(acquisition, self.mask.file), None, grid, rows, columns)
            usable &= ~np.isin(values, (*self.mask.unusable, *self.mask.nodata))
        return dn, usable

    def provenance(self) -> dict[str, Any]:
        """Every setting but where the folder lies."""
        return self.model_dump(mode="json", exclude={"folder", "index"})

    def files(self) -> list[str]:
        """Files of every acquisition."""
        return sorted(str(f) for a in self.acquisitions() for f in Path(a.place).iterdir() if f.is_file())


def _utc(time: datetime) -> datetime:
    """Time without a zone, in UTC; one that names no zone is taken for UTC."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _whole_date(text: str) -> str:
    """Complete ``2020-11`` to a date; composites of a month stand at its middle."""
    return f"{text}-15" if re.fullmatch(r"\d{4}-\d{2}", text) else text
