"""Acquisitions as folders of GeoTIFFs: one folder per acquisition, one file per band, and a mask file."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from mlc_dask.data.acquisitions import Acquisition, Asset, Catalogue, Granule, utc
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.io.numbers import declared_nodata, packing_tags
from mlc_dask.io.rasters import band_index, open_raster
from mlc_dask.io.sources.granules import MASK, GranuleSource
from mlc_dask.storage.durable import existing

_ORBIT = re.compile(r"_R(\d{3})(?:_|$)")


class GeoTiff(GranuleSource):
    """Folders of GeoTIFFs whose layout is set by the parameters.

    Parameters
    ----------
    folder
        Folder with one sub-folder per acquisition.
    file
        File of a band; ``{band}`` is replaced by the band's name. Without ``{band}``, one file holds all bands, each of
        them found by its description.
    date
        Regular expression whose first group matches the date in a sub-folder's name.
    date_format
        Format of that date, in the codes of ``strptime``.
    index
        CSV with columns ``id`` (a sub-folder's name) and `index_column`; it replaces `date` as the origin of the dates.
    index_column
        Column of `index` with ISO dates.
    scale, offset
        Reflectance = DN * `scale` + `offset`. Without them, the tags of a file decide where it has them.
    nodata
        DN of pixels without data; NaN never has data. Without it, the value that a file declares decides.
    """

    folder: Path
    file: str = "{band}.tif"
    date: str = r"(\d{8})"
    date_format: str = "%Y%m%d"
    index: Path | None = None
    index_column: str = "datetime_utc"
    scale: float = Field(1e-4, gt=0)
    offset: float = 0.0
    nodata: int | float | None = 0

    @field_validator("nodata", mode="before")
    @classmethod
    def _nan_is_none(cls, nodata: Any) -> Any:
        # NaN is always no data, so it adds no value.
        return None if isinstance(nodata, float) and np.isnan(nodata) else nodata

    @field_validator("date")
    @classmethod
    def _has_a_group(cls, date: str) -> str:
        try:
            groups = re.compile(date).groups
        except re.error as error:
            raise ValueError(f"not a regular expression ({error}); correct the pattern") from None
        if not groups:
            raise ValueError("no group; put parentheses around the date")
        return date

    def acquisitions(self) -> list[Acquisition]:
        """All acquisition folders, by time; refuses folders without a date, and two folders with the same time."""
        if not self.folder.is_dir():
            raise InputError(f"{self.folder} is not a folder; set source.folder to the folder of acquisition folders")
        dates = self._index()
        found = [
            self._acquisition(p.name, self._time(p.name, dates))
            for p in sorted(self.folder.iterdir())
            if p.is_dir() and not p.name.startswith(".")
        ]
        if not found:
            raise InputError(f"{self.folder} has no acquisition folders; expected one folder per acquisition")
        found.sort(key=lambda a: (a.time, a.id))
        for a, b in pairwise(found):
            if a.time == b.time:
                places = f"{self.folder / a.id} and {self.folder / b.id}"
                raise InputError(f"{places} have the same time ({a.time:%Y-%m-%d %H:%M:%S}); remove one")
        return found

    def _acquisition(self, name: str, time: datetime) -> Acquisition:
        files = {b: self._band(f"{name}/{self.file.replace('{band}', b)}", b) for b in self.bands}
        if self.mask is not None:
            files[MASK] = Asset(f"{name}/{self.mask.file}")
        orbit = self._orbit(name)
        return Acquisition(name, time, orbit, (Granule(name, time, files, orbit=orbit),))

    def _band(self, href: str, band: str) -> Asset:
        """Asset of a band: the settings that a user gave, and for the others what the file states of itself."""
        asset = Asset(href, self.scale, self.offset, self.nodata, self._described(band))
        if not Path(self.locate(href)).is_file():
            return asset
        where, state = self.locate(href), Path(self.locate(href)).stat()
        tags, stated = _stated(where, asset.layer, (state.st_size, state.st_mtime_ns))
        if tags is not None:
            given = self.model_fields_set & {"scale", "offset"}
            if given and not np.allclose(tags, (self.scale, self.offset), rtol=1e-6, atol=1e-12):
                raise InputError(
                    f"{where} states scale {tags[0]:g} and offset {tags[1]:g}, but source.scale is {self.scale:g} and "
                    f"source.offset {self.offset:g}; remove the settings, or correct the tags (gdal_edit.py -a_scale)"
                )
            asset = replace(asset, scale=tags[0], offset=tags[1])
        if "nodata" not in self.model_fields_set:
            asset = replace(asset, nodata=stated[0]) if stated else asset
        return asset

    def catalogue(self, years: Sequence[int] | None = None) -> Catalogue:
        """Grid of the finest band, and the acquisitions of `years`."""
        found = self.acquisitions()
        return Catalogue(self.grid(), tuple(a for a in found if years is None or a.time.year in years))

    def locate(self, href: str) -> str:
        """Path of an asset: `href` is relative to the folder, because the folder may move between two runs."""
        return str(self.folder / href)

    def _index(self) -> dict[str, str] | None:
        if self.index is None:
            return None
        index = existing(self.index, "set source.index to the CSV of dates, or leave it out")
        with index.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not {"id", self.index_column} <= set(reader.fieldnames or ()):
                raise InputError(f"{self.index} has no columns id and {self.index_column}; set source.index_column")
            return {row["id"]: row[self.index_column] for row in reader}

    def _time(self, name: str, dates: dict[str, str] | None) -> datetime:
        if dates is not None:
            if name not in dates:
                raise InputError(f"{self.folder / name} is not in {self.index}; add a row for it or remove the folder")
            try:
                return utc(datetime.fromisoformat(_whole_date(dates[name])))
            except ValueError:
                raise InputError(
                    f"{self.index}: {self.index_column} of {name} is {dates[name]!r}, not an ISO date; "
                    "correct it, or set source.index_column"
                ) from None
        match = re.search(self.date, name)
        if not match:
            raise InputError(f"{self.folder / name}: source.date = {self.date!r} finds no date; correct the pattern")
        try:
            return utc(datetime.strptime(match.group(1), self.date_format))
        except ValueError:
            raise InputError(
                f"{self.folder / name}: {match.group(1)!r} is not a date of the form {self.date_format!r}; "
                "correct source.date or source.date_format"
            ) from None

    @staticmethod
    def _orbit(name: str) -> int | None:
        match = _ORBIT.search(name)
        return int(match.group(1)) if match else None

    def _grids(self, acquisition: Acquisition) -> dict[str, Grid]:
        (granule,) = acquisition.granules
        return {name: self._header(granule, name) for name in granule.assets}

    def _header(self, granule: Granule, name: str) -> Grid:
        path = Path(self.locate(granule.assets[name].href))
        if not path.is_file():
            raise InputError(f"{path} is missing; add {name} to this acquisition, or leave it out of the settings")
        with open_raster(path) as file:
            self._look(file, granule, name)
            return Grid.of(file)

    def _described(self, name: str) -> str | None:
        """Band description to look for, where all bands share one file."""
        return name if "{band}" not in self.file and name in self.bands else None

    def grid(self) -> Grid:
        """Grid of the finest band of the first acquisition."""
        return min(self._grids(self.acquisitions()[0]).values(), key=lambda g: g.pixel)

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Raise :class:`InputError` when a file of `acquisition` is missing or does not lie on `grid`."""
        for band, own in self._grids(acquisition).items():
            factor = max(1, round(own.pixel / grid.pixel))
            if not own.refined(factor).matches(grid):
                where = f"{self.folder / acquisition.id}, {band}"
                raise InputError(f"{where}: its grid is {own.label}, expected {grid.label}; warp it to that grid")

    def provenance(self) -> dict[str, Any]:
        """Every setting except the paths of the folder and of the index."""
        return self.model_dump(mode="json", exclude={"folder", "index"})

    def files(self) -> list[str]:
        """Rasters of every acquisition, and the index of dates."""
        rasters = {self.locate(a.href) for one in self.acquisitions() for a in one.granules[0].assets.values()}
        return sorted(f for f in {*rasters, *([str(self.index)] if self.index else [])} if Path(f).is_file())


@lru_cache(maxsize=65_536)
def _stated(
    path: str, layer: str | None, state: tuple[int, int]
) -> tuple[tuple[float, float] | None, tuple[int | float | None, ...]]:
    """Packing and no-data value that a file states for a band, each empty where it states none.

    `state`, size and time of the file, is part of the cache key.
    """
    with open_raster(path) as file:
        index = band_index(file, layer)
        declared, own = file.nodatavals[index - 1], declared_nodata(file, index)
        # A value that the type cannot hold marks no pixel.
        honoured = own is not None or (declared is not None and np.dtype(file.dtypes[index - 1]).kind == "f")
        return packing_tags(file, index), ((own,) if honoured else ())


def _whole_date(text: str) -> str:
    """Complete ``2020-11`` to a date: a monthly composite is dated to the middle of its month."""
    return f"{text}-15" if re.fullmatch(r"\d{4}-\d{2}", text) else text
