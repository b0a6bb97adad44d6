"""What an interpreter sees of a point: chips of every acquisition, and the series of its bands and indices."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from PIL import Image

from mlc_dask.data.grids import Grid, north_up
from mlc_dask.data.schema import ACQUISITION, BAND, OFFSET, SCALE, YEAR, X, Y
from mlc_dask.data.sensors import SENTINEL2
from mlc_dask.kernels.indices import available, spectral_indices
from mlc_dask.show.pictures import brightness

EDGE: Final = 64
"""Edge of a chip in pixels; the point is the pixel at row and column :data:`CENTRE`."""
CENTRE: Final = EDGE // 2

_COMPOSITES: Final = (
    ("true colour", ("red", "green", "blue")),
    ("false colour", ("nir", "swir1", "red")),
    ("false colour", ("nir", "red", "green")),
    ("false colour", ("swir1", "nir", "red")),
)
_KEPT: Final = 4
"""Number of points whose pixels are kept: this one, the next one that the page asks for ahead, and the last ones."""


class Chips:
    """Chips and series of the points of a cube.

    Parameters
    ----------
    cube
        Lazy cube (year, acquisition, band, y, x) with a CRS.
    years
        The years that are shown.
    """

    def __init__(self, cube: xr.Dataset, years: Sequence[int]) -> None:
        self._cube = north_up(cube).sel({YEAR: list(years)})
        self.grid = Grid.of_raster(self._cube)
        self.bands: list[str] = self._cube[BAND].values.tolist()
        self._roles = SENTINEL2.positions(self.bands)
        self._lock, self._window = Lock(), lru_cache(_KEPT)(self._read)

    @property
    def composites(self) -> dict[str, tuple[str, ...]]:
        """Spectral roles shown as red, green and blue, by the title of the composite; none for the first band."""
        found: dict[str, tuple[str, ...]] = {}
        for title, roles in _COMPOSITES:
            if set(roles) <= self._roles.keys():
                found.setdefault(title, roles)
        return found or {self.bands[0]: ()}

    def describe(self) -> list[dict[str, str]]:
        """Title of every composite, and the bands that it shows."""
        shown = {t: [self.bands[self._roles[r]] for r in roles] for t, roles in self.composites.items()}
        return [{"title": title, "bands": ", ".join(bands)} for title, bands in shown.items()]

    def sheet(self, pixel: tuple[int, int], composite: int) -> bytes:
        """Draw the chips around a pixel (row, column): a PNG with one row per year, one column per acquisition.

        Pixels outside of the cube, and those without data, are transparent. Pixels that are not usable are shown as
        they are, since an interpreter may see through haze.
        """
        dn, _ = self.window(pixel)
        roles = list(self.composites.values())[composite]
        bright, known = brightness(np.moveaxis(dn, 2, 0), roles, self._roles)
        rgba = np.concatenate([bright, known[None]]) * 255
        years, dates = dn.shape[:2]
        drawn = rgba.round().astype(np.uint8).transpose(1, 3, 2, 4, 0).reshape(years * EDGE, dates * EDGE, 4)
        file = io.BytesIO()
        Image.fromarray(drawn).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def series(self, pixel: tuple[int, int]) -> dict[str, Any]:
        """Return the series of a pixel (row, column), as values for JSON.

        Returns
        -------
        ``dates`` in the order of time (``date``, ``year``, ``column`` of the sheet, ``usable``), and by name
        ``indices`` and ``bands``: one number per date, None without data; bands as reflectance.
        """
        dn, usable = self.window(pixel)
        dn, usable = dn[..., CENTRE, CENTRE], usable[..., CENTRE, CENTRE]
        times = self._cube.time.values
        order = sorted(zip(*np.nonzero(~np.isnat(times)), strict=True), key=lambda at: (times[at], at))
        at = tuple(np.array(order, np.intp).reshape(-1, 2).T)
        found = dn[at]
        names = available(self._roles)
        indices = spectral_indices(found[..., None], self._roles)[..., 0] if names else np.empty((len(found), 0))
        reflectance = np.where(found == 0, np.nan, found * SCALE + OFFSET)
        years = self._cube[YEAR].values
        return {
            "dates": [
                {"date": str(times[y, t])[:10], "year": int(years[y]), "column": int(t), "usable": bool(usable[y, t])}
                for y, t in order
            ],
            "indices": {name: _plain(indices[:, i]) for i, name in enumerate(names)},
            "bands": {name: _plain(reflectance[:, i]) for i, name in enumerate(self.bands)},
        }

    def window(self, pixel: tuple[int, int]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        """Digital numbers (k, T, B, 64, 64), 0 outside of the cube, and usable pixels (k, T, 64, 64) around a pixel."""
        with self._lock:  # the page asks for chips and series at once; the cube is read once
            return self._window(pixel)

    def _read(self, pixel: tuple[int, int]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        found, margins = {}, []
        for dim, at in zip((Y, X), pixel, strict=True):
            first, size = at - CENTRE, self._cube.sizes[dim]
            found[dim] = slice(max(0, first), min(size, first + EDGE))
            margins.append((max(0, -first), max(0, first + EDGE - size)))
        part = self._cube.isel(found)[["reflectance", "usable"]].transpose(YEAR, ACQUISITION, BAND, Y, X).load()
        dn, usable = (np.asarray(part[name].values) for name in ("reflectance", "usable"))
        return tuple(np.pad(a, [(0, 0)] * (a.ndim - 2) + margins) for a in (dn, usable))  # type: ignore[return-value]


def _plain(values: npt.NDArray[Any]) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 4) for v in values]
