"""What a raster file says of its own numbers, compared with what its source assumes (method section 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from mlc_dask.data.acquisitions import Asset
from mlc_dask.data.errors import InputError

Number = int | float | None
"""A no-data value; None where only NaN is no data."""

_REACH: Final = 0.5
"""Reflectance that the type of a band must be able to hold at its scale."""
_POSSIBLE: Final = (-0.5, 3.0)
"""Range of the median reflectance of an image; clouds, snow and sun glint stay below 2."""
_JUDGED: Final = 256
"""Number of valid pixels from which on values are judged."""
_LOOK: Final = 64
"""Edge in pixels of the windows that a coarse look reads."""
_SPECIAL: Final = (MaskFlags.nodata, MaskFlags.all_valid)


def bands_of(file: rasterio.io.DatasetReader) -> int:
    """Count the bands without the alpha band."""
    return int(file.count) - sum(c is ColorInterp.alpha for c in file.colorinterp)


def masked(file: rasterio.io.DatasetReader, index: int) -> bool:
    """Whether pixels of band `index` are hidden by a mask in or beside the file, or by an alpha band."""
    return any(flag not in _SPECIAL for flag in file.mask_flag_enums[index - 1])


def packing_tags(file: rasterio.io.DatasetReader, index: int) -> tuple[float, float] | None:
    """Scale and offset that the file states for a band; None where it states none."""
    stated = float(file.scales[index - 1]), float(file.offsets[index - 1])
    return None if stated == (1.0, 0.0) else stated


def declared_nodata(file: rasterio.io.DatasetReader, index: int) -> Number:
    """No-data value that the file declares for a band: None for NaN, none, and a value that its type cannot hold."""
    value = file.nodatavals[index - 1]
    if value is None or math.isnan(value) or not holds(file.dtypes[index - 1], value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def honoured_nodata(file: rasterio.io.DatasetReader, index: int) -> tuple[Number, ...]:
    """No-data value that marks pixels of a band, as the file declares; empty without one that its type can hold."""
    own, dtype = declared_nodata(file, index), np.dtype(file.dtypes[index - 1])
    return (own,) if own is not None or (file.nodatavals[index - 1] is not None and dtype.kind == "f") else ()


def as_declared(file: rasterio.io.DatasetReader, index: int, asset: Asset) -> Asset:
    """Asset with the no-data value that its file declares, where its metadata states none."""
    found = () if asset.nodata_stated else honoured_nodata(file, index)
    return replace(asset, nodata=found[0]) if found else asset


def holds(dtype: npt.DTypeLike, value: Number) -> bool:
    """Whether pixels of a type can have this value; None stands for NaN."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    if value is None or not float(value).is_integer():
        return False
    limits = np.iinfo(kind)
    return bool(limits.min <= value <= limits.max)


def same(a: Number, b: Number) -> bool:
    """Whether two no-data values are equal, up to the rounding of float32."""
    return a is b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-5))


def fill_of(dtype: npt.DTypeLike, nodata: Number) -> float:
    """Value of pixels without data in an array of this type: `nodata` where the type holds it, else NaN or 0."""
    if nodata is not None and holds(dtype, nodata):
        return nodata
    return math.nan if np.dtype(dtype).kind == "f" else 0


def is_empty(values: npt.NDArray[Any], nodata: Number) -> npt.NDArray[np.bool_]:
    """Pixels without data: `nodata`, NaN and infinity."""
    found: npt.NDArray[np.bool_]
    if values.dtype.kind != "f":
        found = values == fill_of(values.dtype, nodata)
        return found
    found = ~np.isfinite(values)
    if nodata is not None:
        found |= np.isclose(values, nodata, rtol=1e-5, atol=0)
    return found


def check_layout(file: rasterio.io.DatasetReader, layer: str | None, where: str) -> None:
    """Refuse a file of several bands where one is expected.

    Raises
    ------
    InputError
        If the file has several bands.
    """
    if layer is None and bands_of(file) > 1:
        raise InputError(
            f"{where}: {file.name} has {bands_of(file)} bands, expected one; give every band a file of its own, or "
            "describe its bands and set source.file to a name without {band}"
        )


def check_numbers(file: rasterio.io.DatasetReader, index: int, asset: Asset, where: str, fix: str) -> None:
    """Refuse a band whose file contradicts the type, the scale or the no-data value that `asset` assumes.

    `fix` says how to correct a no-data value, with ``{}`` for the right one.

    Raises
    ------
    InputError
        If type, scale or no-data value contradict the assumptions.
    """
    dtype, place = np.dtype(file.dtypes[index - 1]), f"{where}: {file.name}"
    if dtype.kind not in "iuf":
        raise InputError(f"{place} holds {dtype}, not real numbers; convert it to uint16 or float32")
    if dtype.kind != "f" and np.iinfo(dtype).max * asset.scale + asset.offset < _REACH:
        reach = np.iinfo(dtype).max * asset.scale + asset.offset
        raise InputError(
            f"{place} holds {dtype}, which reaches reflectance {reach:.3g} at scale {asset.scale:g}; correct the "
            "scale, or convert the file from its original"
        )
    tags = packing_tags(file, index)
    if tags is not None and not math.isclose(tags[0], asset.scale, rel_tol=1e-6):
        raise InputError(
            f"{place} states scale {tags[0]:g}, but {asset.scale:g} is assumed; correct the setting or the metadata, "
            "or the file with gdal_edit.py -a_scale, or name the acquisition in acquisitions.leave_out"
        )
    _check_nodata(dtype, declared_nodata(file, index), asset.nodata, place, fix)


def check_codes(file: rasterio.io.DatasetReader, index: int, nodata: Sequence[int], where: str) -> None:
    """Refuse a mask whose file declares a no-data value that is not among `nodata`.

    Raises
    ------
    InputError
        If the value is not among them.
    """
    declared = declared_nodata(file, index)
    if declared is not None and declared not in nodata:
        raise InputError(
            f"{where}: {file.name} declares {declared:g} as no data, but source.mask.nodata = {list(nodata)}; add it "
            "there"
        )


def _check_nodata(dtype: np.dtype[Any], declared: Number, assumed: Number, place: str, fix: str) -> None:
    if declared is not None and not same(declared, assumed):
        raise InputError(
            f"{place} declares {declared!r} as no data, but {_text(assumed)} is assumed; {fix.format(declared)}"
        )
    if not holds(dtype, assumed):
        raise InputError(
            f"{place} holds {dtype}, which has no value {_text(assumed)}, the assumed no data; {fix.format(0)}"
        )


def _text(nodata: Number) -> str:
    return "nan" if nodata is None else repr(nodata)


def check_values(values: npt.NDArray[Any], asset: Asset, where: str) -> None:
    """Refuse values that cannot be digital numbers at the assumed scale; fewer than 256 valid pixels tell nothing.

    Raises
    ------
    InputError
        If the values cannot be digital numbers at this scale and offset.
    """
    found = spread(values, asset.nodata)
    if found.valid < _JUDGED:
        return
    low, high, reflectance = found.low, found.high, found.middle * asset.scale + asset.offset
    # Whole digital numbers of ±2 may be a black image; fractions of them are reflectance already.
    fractions = found.fractions and max(abs(low), abs(high)) * asset.scale < 1e-3
    if fractions or not _POSSIBLE[0] <= reflectance <= _POSSIBLE[1]:
        raise InputError(
            f"{where}: values from {low:.6g} to {high:.6g} cannot be numbers of scale {asset.scale:g} and "
            f"offset {asset.offset:g} (median reflectance {reflectance:.3g}); state their scale "
            "(source.scale, the item's raster:bands or the file's tag): 1.0 for reflectance"
        )


class Spread(NamedTuple):
    """Number of valid values, their least, largest and median value, and whether any is not a whole number."""

    valid: int
    low: float
    high: float
    middle: float
    fractions: bool


def spread(values: npt.NDArray[Any], nodata: Number) -> Spread:
    """Summarise the valid values of a band; uint16 by a histogram, which is several times as fast as sorting."""
    if values.dtype == np.uint16:
        counts = np.bincount(values.ravel(), minlength=2**16)
        counts[int(fill_of(values.dtype, nodata))] = 0
        total = counts.cumsum()
        count = int(total[-1])
        ranks = (0, count - 1, (count - 1) // 2, count // 2)
        low, high, *middle = (float(np.searchsorted(total, rank, side="right")) for rank in ranks)
        return Spread(count, low, high, sum(middle) / 2, fractions=False)
    valid = values[~is_empty(values, nodata)]
    if not valid.size:
        return Spread(0, math.nan, math.nan, math.nan, fractions=False)
    fractions = values.dtype.kind == "f" and bool((valid % 1).any())
    return Spread(valid.size, float(valid.min()), float(valid.max()), float(np.median(valid)), fractions)


def look(file: rasterio.io.DatasetReader, index: int, asset: Asset, where: str) -> None:
    """Judge a few windows of a local file before any work; integers at a usual scale are judged when they are read."""
    if np.dtype(file.dtypes[index - 1]).kind != "f" and 2e-5 <= asset.scale <= 5e-4:
        return
    places = [Window.from_slices(*part) for part in product(*map(_parts, file.shape))]
    check_values(np.concatenate([file.read(index, window=w).ravel() for w in places]), asset, where)


def _parts(size: int) -> list[slice]:
    """Three parts of an edge: its begin, its middle, its end."""
    starts = sorted({max(0, (size - _LOOK) * k // 2) for k in range(3)})
    return [slice(start, min(start + _LOOK, size)) for start in starts]
