"""The history of one pixel: its class per model and year, and its NDVI."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from rasterio.warp import transform

from mlc_dask.data.schema import BAND, YEAR, X, Y, maps_among
from mlc_dask.data.sensors import SENTINEL2, Sensor
from mlc_dask.kernels.indices import spectral_indices
from mlc_dask.show.viewer.places import OLD_MAP, Place

_LON_LAT = "EPSG:4326"
_ROLES = ("red", "nir")


def inspect(place: Place, lon: float, lat: float) -> dict[str, Any] | None:
    """Return everything that is known about the pixel at a point, as values for JSON.

    Returns
    -------
    None outside the maps. Otherwise ``row``, ``column``, ``x``, ``y`` (of its centre), ``corners`` (latitude and
    longitude of its outline), ``labels`` (codes by series of maps, one code per year), ``old_map`` (its code, or
    None), ``values`` (by layer: a list by year, or a number), and ``ndvi`` (see :func:`ndvi`; None without a cube).
    """
    found = _pixel_at(place, lon, lat)
    if found is None:
        return None
    row, column = found
    here = {Y: row, X: column}
    maps = place.maps.isel(here).load()
    classed = {name for name, layer in place.layers.items() if layer.classed and name != OLD_MAP}
    old_map = place.old_map
    return {
        "row": row,
        "column": column,
        "x": float(maps[X]),
        "y": float(maps[Y]),
        "corners": _corners(place, row, column, lon),
        "labels": {name: np.atleast_1d(maps[name].values).tolist() for name in place.layers if name in classed},
        "old_map": None if old_map is None else int(old_map.isel(here)),
        "values": {name: maps[name].values.tolist() for name in maps_among(maps) if name not in classed},
        "ndvi": None if place.cube is None else ndvi(place.cube.isel(here)),
    }


def ndvi(pixel: xr.Dataset, sensor: Sensor = SENTINEL2) -> list[dict[str, Any]] | None:
    """NDVI of a pixel of a cube per acquisition; None where the cube has no red or near infrared band.

    Parameters
    ----------
    pixel
        ``reflectance`` (year, acquisition, band) and ``usable`` (year, acquisition) with the coordinate ``time``.
    sensor
        The sensor, which defines the red and near infrared bands.

    Returns
    -------
    Rows in the order of time: ``date``, ``year`` (that of the maps), ``value`` (None without data), and ``usable``.
    """
    positions = sensor.positions(pixel[BAND].values.tolist())
    if not set(_ROLES) <= positions.keys():
        return None
    bands = pixel.isel({BAND: [positions[role] for role in _ROLES]}).load()
    rows = []
    for year in bands[YEAR].values.tolist():
        one = bands.sel({YEAR: year})
        dn = one.reflectance.values[:, :, np.newaxis]
        values = spectral_indices(dn, {role: i for i, role in enumerate(_ROLES)})[:, 0, 0]
        for time, value, usable in zip(one.time.values, values, one.usable.values, strict=True):
            known = None if np.isnan(value) else round(float(value), 4)
            rows.append({"date": str(time)[:10], "year": year, "value": known, "usable": bool(usable)})
    return sorted((r for r in rows if r["date"] != "NaT"), key=lambda row: str(row["date"]))


def _pixel_at(place: Place, lon: float, lat: float) -> tuple[int, int] | None:
    grid = place.grid
    (x,), (y,) = transform(_LON_LAT, grid.crs, [lon], [lat])
    column, row = (x - grid.left) / grid.pixel, (grid.top - y) / grid.pixel
    # Also false where the projection is undefined and gives infinity or NaN.
    inside = 0 <= row < grid.height and 0 <= column < grid.width
    return (int(row), int(column)) if inside else None


def _corners(place: Place, row: int, column: int, beside: float) -> list[list[float]]:
    left, bottom, right, top = place.grid.window(slice(row, row + 1), slice(column, column + 1)).bounds
    lons, lats = transform(place.grid.crs, _LON_LAT, [left, right, right, left], [top, top, bottom, bottom])
    # Around the point that was asked for: near 180° the same longitude may be given as -180°.
    return [[lat, beside + (lon - beside + 180) % 360 - 180] for lon, lat in zip(lons, lats, strict=True)]
