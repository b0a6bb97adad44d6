"""Quicklooks: one acquisition as a small picture; all have the same stretch, so that they can be compared."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.data.schema import ACQUISITION, BAND, YEAR
from mlc_dask.data.sensors import SENTINEL2
from mlc_dask.data.steps import step
from mlc_dask.show.pictures import brightness, thinned

_COLOURS = (("red", "green", "blue"), ("nir", "red", "green"), ("swir1", "nir", "red"))
"""Spectral roles shown as red, green and blue: true colour first, then two usual false colours."""
_VEILED = 0.45
"""Brightness that remains of pixels that are not usable."""

_EDGE = 1_000
"""Pixels along each side of a quicklook at most."""


@step("quicklooks", kind="pictures", shown=True)
def draw_quicklooks(cube: xr.Dataset) -> dict[str, bytes]:
    """Picture of every acquisition of the cube, as it was stored."""
    small = thinned(cube, _EDGE)
    tasks, bands = {}, cube[BAND].values.tolist()
    for year, row in zip(cube[YEAR].values.tolist(), cube.id.values.tolist(), strict=True):
        for j, name in enumerate(row):
            one = small.sel({YEAR: year}).isel({ACQUISITION: j})
            tasks[f"{year}-{j:02d}-{name}.png"] = lazy.call(
                quicklook_png, one.reflectance.data, bands, one.usable.data, name=f"quicklook-{year}"
            )
    pictures: dict[str, bytes] = lazy.compute(tasks)
    return pictures


def quicklook_png(
    dn: npt.NDArray[np.uint16], bands: Sequence[str], usable: npt.NDArray[np.bool_] | None = None
) -> bytes:
    """Draw one acquisition.

    Parameters
    ----------
    dn
        (B, h, w) uint16 in the cube's convention; pixels without data in a shown band are transparent.
    bands
        Names of the bands: shown in true colour if possible, else in false colour, else the first band in grey.
    usable
        (h, w) bool; unusable pixels are covered by a magenta veil.

    Returns
    -------
    A PNG of h × w pixels.
    """
    from matplotlib.image import imsave

    roles = SENTINEL2.positions(bands)
    shown: tuple[str, ...] = next((c for c in _COLOURS if set(c) <= roles.keys()), ())
    bright, known = brightness(dn, shown, roles)
    if usable is not None:
        veil = np.array([1.0, 0.0, 1.0])[:, None, None] * (1 - _VEILED) * 0.5
        bright = np.where(usable, bright, bright * _VEILED + veil)
    picture: npt.NDArray[Any] = np.concatenate([bright, known[None]])
    file = io.BytesIO()
    imsave(file, np.moveaxis(picture, 0, -1), format="png")
    return file.getvalue()
