"""The part that all sources share: read granules onto one grid, mosaic them, convert them to the cube's convention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mlc_dask.data.acquisitions import Acquisition, Asset, Granule, Weather
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.io.numbers import (
    Number,
    as_declared,
    check_codes,
    check_layout,
    check_numbers,
    check_values,
    is_empty,
    look,
)
from mlc_dask.io.rasters import Method, band_index, open_raster, put_on, to_convention

MASK = "mask"
"""Name of the mask among a granule's assets."""

CORRECT_NODATA = "set source.nodata = {!r}, or name the acquisition in acquisitions.leave_out"
"""How to correct a no-data value of a source that has the setting."""

_HIGHEST_CLASS = 11

SURVEYED = 2_048
"""Largest number of pixels along a side of the grid on which clouds are counted."""

DN = npt.NDArray[np.uint16]
Usable = npt.NDArray[np.bool_]


def nan_is_none(nodata: Any) -> Any:
    """Return a no-data value, None for NaN: it is always no data, so it adds no value."""
    return None if isinstance(nodata, float) and np.isnan(nodata) else nodata


class Mask(BaseModel):
    """A classified mask: which values make a pixel unusable, and which mean cloud, snow and no data.

    Snow is usable; to leave it out, add its value to `unusable`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = "SCL.tif"
    unusable: tuple[int, ...] = (0, 1, 3, 8, 9)
    cloud: tuple[int, ...] = (8, 9, 10)
    snow: tuple[int, ...] = (11,)
    nodata: tuple[int, ...] = (0,)

    @property
    def assumed(self) -> bool:
        """Whether the values are taken for those of the scene classification, since nobody said what they mean."""
        return not self.model_fields_set & {"cloud", "nodata", "unusable"}

    def counts(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Pixels of every class of the scene classification (12,); empty where the values mean something else."""
        if not self.assumed:
            return np.zeros(0, np.int64)
        return np.bincount(values[np.isfinite(values)].astype(np.int64), minlength=_HIGHEST_CLASS + 1)

    def empty(self, values: npt.NDArray[Any]) -> Usable:
        """Pixels without data: those of `nodata`, and NaN."""
        found: Usable = np.isin(values, self.nodata) | ~np.isfinite(values)
        return found

    def check(self, values: npt.NDArray[Any], where: str) -> None:
        """Refuse values that the scene classification does not define, where its meaning of values is assumed.

        Raises
        ------
        InputError
            If a value is no class of the scene classification.
        """
        odd = values[np.isfinite(values) & ~np.isin(values, range(_HIGHEST_CLASS + 1))]
        if self.assumed and odd.size:
            raise InputError(
                f"{where} has the value {odd[0]:g}, but the scene classification has 0 to {_HIGHEST_CLASS}; set "
                "source.mask to what its values mean"
            )


class Raw(NamedTuple):
    """Digital numbers (h, w) of an asset, and the one of pixels without data; None where only NaN has none."""

    values: npt.NDArray[Any]
    nodata: Number


class Sky(NamedTuple):
    """Cloud, snow and valid pixels (h, w) of one granule, and the number of pixels of every class of its mask."""

    cloud: Usable
    snow: Usable
    valid: Usable
    counts: npt.NDArray[np.int64] = np.zeros(0, np.int64)


class GranuleSource(BaseModel):
    """A source whose acquisitions are rasters.

    Parameters
    ----------
    bands
        Bands of the cube, in this order.
    mask
        Meaning of the mask's values; ``false`` reads no mask and treats every pixel with data as usable.
    resampling
        Resampling of bands from another grid (another UTM zone, a shifted grid) to the cube's. Masks are always
        resampled by nearest neighbour. Pixels whose size is a multiple of the cube's are repeated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bands: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12",
    )  # fmt: skip
    mask: Mask | None = Mask()
    resampling: Method = "nearest"

    _correct_nodata: ClassVar[str] = (
        "correct the file (gdal_edit.py -a_nodata), or name the acquisition in acquisitions.leave_out"
    )
    """How to correct a no-data value, with ``{}`` for the right one."""

    @field_validator("mask", mode="before")
    @classmethod
    def _none_is_false(cls, mask: Any) -> Any:
        # TOML has no null, so `mask = false` stands for it.
        return None if mask is False else mask

    @field_validator("bands")
    @classmethod
    def _each_once(cls, bands: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({b for b in bands if bands.count(b) > 1})
        if twice:
            raise ValueError(f"band {', '.join(twice)} occurs twice; name every band once")
        return bands

    def locate(self, href: str) -> str:
        """Path or URL that is opened for an asset's `href`."""
        return href

    def raw(self, granule: Granule, name: str, grid: Grid, method: Method) -> Raw:
        """Digital numbers (h, w) of one asset on `grid`, its no-data value where it has no data."""
        with open_raster(self.locate(granule.assets[name].href)) as file:
            asset = self._agreed(file, granule, name)
            return Raw(put_on(file, grid, layer=asset.layer, nodata=asset.nodata, method=method), asset.nodata)

    def _agreed(self, file: rasterio.io.DatasetReader, granule: Granule, name: str) -> Asset:
        """Asset of an open file; refuse one that contradicts what is assumed of type, bands, scale and no data."""
        asset, where = granule.assets[name], f"{granule.id}, {name}"
        check_layout(file, asset.layer, where)
        index = band_index(file, asset.layer)
        asset = as_declared(file, index, asset)
        if name in self.bands:
            check_numbers(file, index, asset, where, self._correct_nodata)
        elif self.mask is not None and self.mask.nodata:
            check_codes(file, index, self.mask.nodata, where)
            asset = asset if asset.nodata in self.mask.nodata else replace(asset, nodata=self.mask.nodata[0])
        return asset

    def _look(self, file: rasterio.io.DatasetReader, granule: Granule, name: str) -> None:
        """Refuse a local file as :meth:`_agreed` does, or values that a coarse look finds impossible."""
        asset = self._agreed(file, granule, name)
        if name in self.bands:
            look(file, band_index(file, asset.layer), asset, f"{granule.id}, {name}: {file.name}")

    def check(self, acquisition: Acquisition, grid: Grid) -> None:
        """Check nothing: the catalogue has read the metadata, and the pixels are not read yet."""

    def weather(self, acquisition: Acquisition, grid: Grid) -> Weather:
        """Shares of clouds and snow among valid pixels, and of valid pixels, sampled at up to SURVEYED² pixels."""
        coarse = grid.coarsened(SURVEYED)
        clouds, snow, seen = (np.zeros(coarse.shape, bool) for _ in range(3))
        skies = [self._sky(granule, coarse) for granule in _over(acquisition, coarse)]
        for sky in skies:
            clouds |= sky.cloud & ~seen
            snow |= sky.snow & ~seen
            seen |= sky.valid
        cloudy, snowy = (float((part & seen).sum() / max(1, seen.sum())) for part in (clouds, snow))
        counts = np.sum([sky.counts for sky in skies], axis=0) if skies else np.zeros(0)
        return Weather(cloudy, float(seen.mean()), snowy, tuple((counts / max(1, counts.sum())).tolist()))

    def _sky(self, granule: Granule, grid: Grid) -> Sky:
        if self.mask is None:
            return Sky(np.zeros(grid.shape, bool), np.zeros(grid.shape, bool), self._has_data(granule, grid))
        values = self.raw(granule, MASK, grid, "nearest").values
        self.mask.check(values, f"{granule.id}, {MASK}")
        valid = ~self.mask.empty(values) if self.mask.nodata else self._has_data(granule, grid)
        cloud, snow = (np.isin(values, codes) & valid for codes in (self.mask.cloud, self.mask.snow))
        return Sky(cloud, snow, valid, self.mask.counts(values))

    def _has_data(self, granule: Granule, grid: Grid) -> Usable:
        found: Usable = ~is_empty(*self.raw(granule, self.bands[0], grid, "nearest"))
        return found

    def read(self, acquisition: Acquisition, grid: Grid, rows: slice, columns: slice) -> tuple[DN, Usable]:
        """DN (B, h, w) uint16 in the cube's convention, and usable (h, w) bool, of a window of `grid`.

        Where granules overlap, a pixel is taken from the first granule with data in all bands.
        """
        window = grid.window(rows, columns)
        dn, usable = np.zeros((len(self.bands), *window.shape), np.uint16), np.zeros(window.shape, bool)
        for granule in _over(acquisition, window):
            whole = (dn != 0).all(axis=0)
            if whole.all():
                break
            own = self._dn(granule, window)
            take = ~whole & ((own != 0).all(axis=0) | ~dn.any(axis=0))
            np.copyto(dn, own, where=take)
            np.copyto(usable, self._usable(granule, own, window), where=take)
        return dn, usable

    def _dn(self, granule: Granule, window: Grid) -> DN:
        dn = np.empty((len(self.bands), *window.shape), np.uint16)
        for plane, (name, (values, nodata)) in zip(dn, self._bands(granule, window), strict=True):
            asset = replace(granule.assets[name], nodata=nodata)
            check_values(values, asset, f"{granule.id}, {name}")
            plane[:] = to_convention(values, asset.scale, asset.offset, nodata)
        return dn

    def _bands(self, granule: Granule, window: Grid) -> Iterator[tuple[str, Raw]]:
        for name in self.bands:
            yield name, self.raw(granule, name, window, self.resampling)

    def _usable(self, granule: Granule, dn: DN, window: Grid) -> Usable:
        usable: Usable = (dn != 0).all(axis=0)
        if self.mask is not None and usable.any():
            values = self.raw(granule, MASK, window, "nearest").values
            usable &= ~(np.isin(values, self.mask.unusable) | self.mask.empty(values))
        return usable

    def provenance(self) -> dict[str, Any]:
        """Every setting that has an effect on pixels."""
        return self.model_dump(mode="json")

    def files(self) -> list[str]:
        """Local files; a change in one of them must lead to a new cube."""
        return []


def _over(acquisition: Acquisition, window: Grid) -> Iterator[Granule]:
    """Granules that may have pixels in `window`; granules in another CRS are always included."""
    left, bottom, right, top = window.bounds
    for granule in acquisition.granules:
        own = granule.grid
        if own is not None and own.same_crs(window):
            a, b, c, d = own.bounds
            if a >= right or c <= left or b >= top or d <= bottom:
                continue
        yield granule


@contextmanager
def understood(problem: str, fix: str) -> Iterator[None]:
    """Turn a parser's exception for invalid metadata into an InputError that states `problem`, the cause and `fix`."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{problem} ({error!r}); {fix}") from error


def required(folder: Path, setting: str) -> Path:
    """Return `folder` if it exists; otherwise raise an InputError that names the setting."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; set {setting} to the folder of the products")
    return folder
