"""Witnesses: pixels that are looked at in every year, and the judge that learns from them (method section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.legend import Legend
from mlc_dask.data.schema import ACQUISITION, BAND, DN_OFFSET, SCALE, WITNESS, WITNESS_YEAR, X, Y, days_of
from mlc_dask.kernels.clusters import evenly
from mlc_dask.kernels.continuity import typical
from mlc_dask.kernels.gaps import count_valid, fill
from mlc_dask.stages import drawing as sampling
from mlc_dask.stages.drawing import Pool
from mlc_dask.stages.settings import Gaps

if TYPE_CHECKING:
    pass

Array = npt.NDArray[Any]

_PER_CLASS = 300
_GROUND = 1_500
_DARKEST = 0.005
"""Reflectance below which differences are noise."""

_ALL = slice(None)


def panel_of(pool: Pool, pixels: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Labels and ids of some hundred pixels per class, spread over the area, and of random ones of all `pixels`."""
    label, ids = pool.candidates.label, pool.candidates.id.astype(np.int64)
    chosen = []
    for code in np.unique(label).tolist():
        members = np.flatnonzero(label == code)[np.argsort(ids[label == code], kind="stable")]
        chosen.append(evenly(members, _PER_CLASS))
    at = np.concatenate([*chosen, np.zeros(0, np.intp)])
    ground = np.random.default_rng(seed).choice(pixels, min(_GROUND, pixels), replace=False)
    both, codes = np.concatenate([ids[at], ground]), np.concatenate([label[at], np.zeros(len(ground), np.uint8)])
    order = np.argsort(both, kind="stable")
    return codes[order], both[order]


def look(cube: xr.Dataset, years: Sequence[int], ids: Array) -> dict[int, Any]:
    """Lazy series of the pixels in every year: DN and usable."""
    found = {}
    for year in years:
        dn, usable = sampling.series(cube, year, ids)
        found[year] = (dn.data, usable.data)
    return found


def witnesses(
    cube: xr.Dataset,
    label: npt.NDArray[np.uint8],
    ids: npt.NDArray[np.int64],
    seen: Mapping[int, tuple[Array, Array]],
    *,
    anchor: int,
    gaps: Gaps,
    legend: Legend,
) -> xr.Dataset:
    """Pixels that stand for a class in the year `anchor`, or, with label 0, for all ground, as they are in all years.

    `seen` has DN (n, T, B) and usable (n, T) by year. ``witness_good`` is to be set by :func:`with_good`.
    """
    rows, columns = np.divmod(ids, cube.sizes[X])
    dims = (WITNESS_YEAR, WITNESS, ACQUISITION)
    return xr.Dataset(
        {
            "witness_dn": ((*dims, BAND), np.stack([dn for dn, _ in seen.values()])),
            "witness_usable": (dims, np.stack([usable for _, usable in seen.values()])),
            "witness_label": (WITNESS, label),
            "witness_y": (WITNESS, cube[Y].values[rows]),
            "witness_x": (WITNESS, cube[X].values[columns]),
        },
        coords={WITNESS_YEAR: list(seen), BAND: cube[BAND].values},
        attrs={
            "anchor": anchor,
            "gaps": gaps.method,
            "min_valid": gaps.min_valid,
            "legend": legend.to_dict(),
            "days": {str(y): days_of(cube, y).tolist() for y in seen},
        },
    )


def with_good(watched: xr.Dataset, dominant: npt.NDArray[np.bool_]) -> xr.Dataset:
    """Mark the witnesses that the judge learns from: `dominant` (n,) ones without the outliers of their class."""
    at, anchor = np.flatnonzero(dominant), int(watched.attrs["anchor"])
    good = np.zeros(len(dominant), np.bool_)
    if at.size:
        good[at] = typical(logarithms(filled_in(watched, anchor, at)), watched.witness_label.values[at])
    return watched.assign(witness_good=(WITNESS, good))


def series_in(
    watched: xr.Dataset, year: int, at: npt.NDArray[np.intp] | slice = _ALL
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """DN (T, B, n) and usable (T, n) of the witnesses at the positions `at` in one year, as observed."""
    own = watched.sel({WITNESS_YEAR: year})
    dn, usable = own.witness_dn.values[at], own.witness_usable.values[at]
    return np.ascontiguousarray(dn.transpose(1, 2, 0)), np.ascontiguousarray(usable.T)


def filled_in(watched: xr.Dataset, year: int, at: npt.NDArray[np.intp] | slice = _ALL) -> npt.NDArray[np.uint16]:
    """Gap-free series (T, B, n) of the witnesses at the positions `at` in one year."""
    return fill(*series_in(watched, year, at), days_seen(watched, year), watched.attrs["gaps"])


def enough_dates(watched: xr.Dataset, year: int) -> npt.NDArray[np.bool_]:
    """Mask of the witnesses that have enough usable dates in the year."""
    usable = watched.witness_usable.sel({WITNESS_YEAR: year}).values
    enough: npt.NDArray[np.bool_] = count_valid(usable.T) >= watched.attrs["min_valid"]
    return enough


def days_seen(watched: xr.Dataset, year: int) -> npt.NDArray[np.float64]:
    """Days (T,) of the acquisitions of a year, from its first moment."""
    return np.asarray(watched.attrs["days"][str(year)])


def logarithms(dn: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Logarithm (n, T * B) of the reflectance of series (T, B, n)."""
    flat = dn.reshape(-1, dn.shape[-1]).T.astype(np.float32)
    found: npt.NDArray[np.float32] = np.log(np.maximum((flat - DN_OFFSET) * np.float32(SCALE), np.float32(_DARKEST)))
    return found
