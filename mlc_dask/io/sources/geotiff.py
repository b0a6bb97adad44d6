"""Acquisitions as folders of GeoTIFFs: one folder per acquisition, one file per band, and a mask file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from mlc_dask.data.acquisitions import Acquisition, Asset, Catalogue, Granule, LeftOut, counted, sifted, utc
from mlc_dask.data.errors import InputError, existing
from mlc_dask.data.grids import Grid, most_common
from mlc_dask.data.tables import read_table
from mlc_dask.data.years import CALENDAR, Years
from mlc_dask.io.numbers import honoured_nodata, packing_tags
from mlc_dask.io.rasters import band_index, check_whole, open_raster
from mlc_dask.io.sources.granules import CORRECT_NODATA, MASK, GranuleSource, nan_is_none

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

    _correct_nodata: ClassVar[str] = CORRECT_NODATA
    _nan_is_none = field_validator("nodata", mode="before")(nan_is_none)

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

    def acquisitions(self, years: Sequence[int] | None = None, year_start: str = CALENDAR) -> list[Acquisition]:
        """Acquisitions of `years` by time, all by default; folders that cannot be used are left out."""
        return self._sifted(Years.of(years, year_start))[0]

    def _sifted(self, years: Years) -> tuple[list[Acquisition], list[LeftOut]]:
        """Acquisitions of `years` by time, and the folders without a date or whose files contradict the settings."""
        names = self._names()
        dates = self._index()
        dated, undated = sifted(names, str, lambda name: (self._time(name, dates), name))
        own = sorted((time, name) for time, name in dated if time in years)
        found, unusable = sifted(own, lambda pair: pair[1], lambda pair: self._acquisition(pair[1], pair[0]))
        left_out = undated + unusable
        if left_out and not found:
            raise InputError(f"{self.folder}: no acquisition can be used; {counted(left_out)}")
        return found, left_out

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            raise InputError(f"{self.folder} is not a folder; set source.folder to the folder of acquisition folders")
        names = sorted(p.name for p in self.folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not names:
            raise InputError(f"{self.folder} has no acquisition folders; expected one folder per acquisition")
        return names

    def _acquisition(self, name: str, time: datetime) -> Acquisition:
        hrefs = self._hrefs(name)
        files = {b: Asset(href) if b == MASK else self._band(href, b) for b, href in hrefs.items()}
        orbit = self._orbit(name)
        return Acquisition(name, time, orbit, (Granule(name, time, files, orbit=orbit),))

    def _hrefs(self, name: str) -> dict[str, str]:
        bands = {b: f"{name}/{self.file.replace('{band}', b)}" for b in self.bands}
        return bands if self.mask is None else {**bands, MASK: f"{name}/{self.mask.file}"}

    def _band(self, href: str, band: str) -> Asset:
        """Asset of a band: the settings that a user gave, and for the others what the file states of itself."""
        asset = Asset(href, self.scale, self.offset, self.nodata, self._described(band))
        if not Path(self.locate(href)).is_file():
            return asset
        where = self.locate(href)
        tags, stated, _ = _stated(where, asset.layer, _state(where))
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

    def catalogue(self, years: Sequence[int] | None = None, year_start: str = CALENDAR) -> Catalogue:
        """Grid of most acquisitions, and the acquisitions of `years`; those that cannot be used are left out."""
        found, left_out = self._sifted(Years.of(years, year_start))
        return Catalogue(self._grid(found) if found else self.grid(), tuple(found), tuple(left_out), year_start)

    def locate(self, href: str) -> str:
        """Path of an asset: `href` is relative to the folder, because the folder may move between two runs."""
        return str(self.folder / href)

    def _index(self) -> dict[str, str] | None:
        if self.index is None:
            return None
        index = existing(self.index, "set source.index to the CSV of dates, or leave it out")
        rows = read_table(index, ("id", self.index_column), key="id")
        return {row["id"]: row[self.index_column.lower()] for _, row in rows}

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
        names_in: dict[str, list[str]] = {}
        for name, asset in granule.assets.items():
            names_in.setdefault(self.locate(asset.href), []).append(name)
        return {name: grid for path, names in names_in.items() for name, grid in self._header(granule, path, names)}

    def _header(self, granule: Granule, path: str, names: Sequence[str]) -> Iterator[tuple[str, Grid]]:
        """Grids of the bands in one file, after it was looked at."""
        if not Path(path).is_file():
            raise InputError(f"{path} is missing; add {names[0]} to this acquisition, or leave it out of the settings")
        with open_raster(path) as file:
            check_whole(file)
            for name in names:
                self._look(file, granule, name)
                yield name, Grid.of(file)

    def _described(self, name: str) -> str | None:
        """Band description to look for, where all bands share one file."""
        return name if "{band}" not in self.file and name in self.bands else None

    def grid(self) -> Grid:
        """Grid of the finest band of most acquisitions."""
        return self._grid(self.acquisitions())

    def _grid(self, acquisitions: Sequence[Acquisition]) -> Grid:
        finest = [min(own, key=lambda g: g.pixel) for a in acquisitions if (own := self._band_grids(a))]
        if not finest:
            self._grids(acquisitions[0])
        return most_common(finest)

    def _band_grids(self, acquisition: Acquisition) -> list[Grid]:
        """Grids of the bands whose files exist."""
        (granule,) = acquisition.granules
        assets = [asset for name, asset in granule.assets.items() if name != MASK]
        files = [(self.locate(a.href), a.layer) for a in assets]
        return [_stated(f, layer, _state(f))[2] for f, layer in files if Path(f).is_file()]

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
        rasters = {self.locate(href) for name in self._names() for href in self._hrefs(name).values()}
        return sorted(f for f in {*rasters, *([str(self.index)] if self.index else [])} if Path(f).is_file())


@lru_cache(maxsize=65_536)
def _stated(
    path: str, layer: str | None, state: tuple[int, int]
) -> tuple[tuple[float, float] | None, tuple[int | float | None, ...], Grid]:
    """Packing and no-data value that a file states for a band, each empty where it states none, and its grid.

    `state`, size and time of the file, is part of the cache key.
    """
    with open_raster(path) as file:
        index = band_index(file, layer)
        return packing_tags(file, index), honoured_nodata(file, index), Grid.of(file)


def _state(path: str) -> tuple[int, int]:
    state = Path(path).stat()
    return state.st_size, state.st_mtime_ns


def _whole_date(text: str) -> str:
    """Complete ``2020-11`` to a date: a monthly composite is dated to the middle of its month."""
    return f"{text}-15" if re.fullmatch(r"\d{4}-\d{2}", text) else text
