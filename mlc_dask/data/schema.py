"""Names of dimensions and variables, and the checks that every stage makes on its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND, UNCOLOURED, Legend
from mlc_dask.data.years import CALENDAR, span

YEAR: Final = "year"
YEAR_START: Final = "year_start"
ACQUISITION: Final = "acquisition"
BAND: Final = "band"
Y: Final = "y"
X: Final = "x"
SAMPLE: Final = "sample"
WITNESS: Final = "witness"
WITNESS_YEAR: Final = "witness_year"
CLASS: Final = "class"

CUBE_DIMS: Final = (YEAR, ACQUISITION, BAND, Y, X)

# The cube's one convention, that of Collection 1: reflectance = DN * SCALE + OFFSET, DN 0 = no data (method section 1).
SCALE: Final = 1e-4
OFFSET: Final = -0.1
DN_OFFSET: Final = 1000

SAMPLE_VARIABLES: Final = ("dn", "usable", "label", "split", "cluster", "source", "year", "row", "column")


def check_cube(cube: xr.Dataset) -> xr.Dataset:
    """Return `cube`, or raise InputError if it is not a valid cube.

    A cube holds ``reflectance`` (year, acquisition, band, y, x) uint16 and ``usable`` (year, acquisition, y, x) bool,
    with coordinates ``time`` (year, acquisition) datetime64, ``year``, ``band``, ``y``, ``x``.
    """
    for name, dims in (("reflectance", CUBE_DIMS), ("usable", (YEAR, ACQUISITION, Y, X))):
        if name not in cube:
            raise InputError(f"the cube has no variable {name!r}; open it with mlc_dask.open_cube")
        if cube[name].dims != dims:
            raise InputError(f"{name} has dims {cube[name].dims}, not {dims}; transpose it")
    if cube.reflectance.dtype != "uint16":
        raise InputError(f"reflectance is {cube.reflectance.dtype}, not uint16; open it with mask_and_scale=False")
    if "time" not in cube.coords or cube.time.dims != (YEAR, ACQUISITION):
        raise InputError("the cube has no coordinate time(year, acquisition); assign the acquisition dates")
    return cube


def check_map(labels: xr.DataArray) -> xr.DataArray:
    """Return `labels` (…, y, x) uint8, or raise InputError if its dtype or dimensions are wrong."""
    if labels.dtype != "uint8":
        raise InputError(f"map {labels.name!r} is {labels.dtype}, not uint8; convert it with .astype('uint8')")
    if labels.dims[-2:] != (Y, X):
        raise InputError(f"map {labels.name!r} has dims {labels.dims}; the last two must be (y, x)")
    return labels


def maps_among(data: xr.Dataset) -> list[str]:
    """Names of the layers that are maps; a layer with a plane per class, as of probabilities, is none."""
    return [str(name) for name, layer in data.data_vars.items() if CLASS not in layer.dims]


def check_samples(samples: xr.Dataset) -> xr.Dataset:
    """Return `samples` (dims: sample, acquisition, band), or raise InputError if variables or samples are missing."""
    missing = [v for v in SAMPLE_VARIABLES if v not in samples.variables]
    if missing:
        raise InputError(f"the samples lack {', '.join(missing)}; create them with select_reliable_samples")
    if samples.sizes[SAMPLE] == 0:
        raise InputError(
            "there are no samples; enlarge the area, lower min_valid, or check that product and cube overlap"
        )
    return samples


def legend_of(data: xr.Dataset | xr.DataArray) -> Legend:
    """Legend in the ``legend`` attribute, or the default legend."""
    stored = data.attrs.get("legend")
    return Legend.from_dict(stored) if stored else DEFAULT_LEGEND


def colours_of(data: xr.Dataset | xr.DataArray) -> dict[str, str]:
    """Colours by code in the ``legend`` attribute; empty where it has codes alone."""
    entries = data.attrs.get("legend", {}).items()
    named = {code: str(e["colour"]) for code, e in entries if isinstance(e, Mapping) and "colour" in e}
    return {} if set(named.values()) == {UNCOLOURED} else named


def days_of(cube: xr.Dataset, year: int) -> npt.NDArray[np.float64]:
    """Days (fractional) from the first moment of `year` to every acquisition of it: (T,) float64."""
    time = cube.time.sel({YEAR: year}).values
    first = np.datetime64(span(year, year_start_of(cube))[0])
    return np.asarray((time - first) / np.timedelta64(1, "D"), np.float64)


def year_start_of(data: xr.Dataset | xr.DataArray) -> str:
    """Day on which the years of a cube or of maps start: the attribute ``year_start`` of their coordinate ``year``."""
    return str(data[YEAR].attrs.get(YEAR_START, CALENDAR)) if YEAR in data.coords else CALENDAR


def year_coordinate(years: Sequence[int], year_start: str) -> xr.Variable:
    """Coordinate ``year``, which states the day on which its years start unless they are calendar years."""
    return xr.Variable(YEAR, list(years), {} if year_start == CALENDAR else {YEAR_START: year_start})
