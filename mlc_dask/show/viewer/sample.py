"""A reference sample as its interpreters see it: points, years and classes, and nothing of its strata and maps."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rasterio.crs import CRS

from mlc_dask.data.errors import InputError, existing, naming
from mlc_dask.data.grids import Grid
from mlc_dask.data.legend import UNCOLOURED, LandCoverClass, Legend
from mlc_dask.data.tables import Row, number, read_table
from mlc_dask.data.years import CALENDAR, check_year_start, span, year_label
from mlc_dask.io.labels import CANNOT_BE_TOLD, Answers
from mlc_dask.io.reference_folder import DESIGN, POINTS

_AGAIN = "draw the sample again with mlc-dask sample"
_OFF_CENTRE = 0.01
"""Distance in pixels from the centre of a pixel that decimals in a table explain."""


@dataclass(frozen=True)
class Point:
    """A point of the sample: its pixel (row, column) in the cube, and its place."""

    id: str
    pixel: tuple[int, int]
    x: float
    y: float
    lon: float
    lat: float


@dataclass(frozen=True)
class Sample:
    """The points of a sample in the order of the file, and what is to be told of them."""

    folder: Path
    points: tuple[Point, ...]
    years: tuple[int, ...]
    year_start: str
    legend: Legend

    @cached_property
    def ids(self) -> frozenset[str]:
        """Ids of all points."""
        return frozenset(point.id for point in self.points)

    def describe(self) -> dict[str, Any]:
        """Everything that the page needs besides chips and answers, as values for JSON."""
        spans = {year: span(year, self.year_start) for year in self.years}
        return {
            "name": self.folder.resolve().name,
            "points": [point.id for point in self.points],
            "years": [
                {"year": y, "label": year_label(y, self.year_start), "first": f"{a:%Y-%m-%d}", "end": f"{b:%Y-%m-%d}"}
                for y, (a, b) in spans.items()
            ],
            "classes": [{"code": c.code, "name": c.name, "colour": c.colour} for c in self.legend.classes],
        }

    def fault(self, point: str, year: int, code: int) -> str | None:
        """Say why there can be no such answer; None if there can."""
        if point not in self.ids:
            return f"there is no point {point!r} in the sample"
        if year not in self.years:
            return f"{year} is not a year of the sample ({self.years[0]} to {self.years[-1]})"
        if code not in (CANNOT_BE_TOLD, *self.legend.codes):
            return f"there is no class {code} in the legend of the sample"
        return None

    def check(self, answers: Answers, path: Path) -> None:
        """Refuse answers that are not about this sample; `path` is their file.

        Raises
        ------
        InputError
            If a point, a year or a class is not in the sample.
        """
        for (point, year), answer in answers.items():
            fault = self.fault(point, year, answer.code)
            if fault:
                raise InputError(f"{path}: point {point}, {year}: {fault}; move the file away, or correct the row")


def open_sample(folder: Path, grid: Grid, years: list[int], legend: Legend) -> Sample:
    """Read ``design.json`` and ``points.csv`` of a sample.

    Parameters
    ----------
    folder
        Folder that ``mlc-dask sample`` wrote.
    grid, years
        Grid and years of the cube from which the points are shown.
    legend
        Legend of the run, for the colours of the classes.

    Raises
    ------
    InputError
        If a file is missing or invalid, or the points are not pixels of the grid.
    """
    sample = _designed(folder, grid, legend)
    missing = sorted(set(sample.years) - set(years))
    if missing:
        raise InputError(f"{folder / DESIGN}: the cube of the run has no year {missing[0]}; {_AGAIN}")
    path = folder / POINTS
    rows = read_table(path, ("id", "x", "y", "lon", "lat"), key="id")
    if not rows:
        raise InputError(f"{path} has no points; {_AGAIN}")
    return replace(sample, points=tuple(_point(path, row, grid) for row in rows))


def _designed(folder: Path, grid: Grid, legend: Legend) -> Sample:
    path = folder / DESIGN
    with naming(path):
        text = existing(path, f"give the folder of a sample, or {_AGAIN}").read_bytes()
    try:
        design = json.loads(text)
        crs, years = CRS.from_user_input(design["crs"]), tuple(sorted(map(int, design["years"])))
        colours = {c["code"]: legend.colours.get(c["code"], UNCOLOURED) for c in design["classes"]}
        classes = tuple(LandCoverClass(int(c["code"]), str(c["name"]), colours[c["code"]]) for c in design["classes"])
        sample = Sample(folder, (), years, check_year_start(design.get("year_start", CALENDAR)), Legend(classes))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not the design of a sample ({type(error).__name__}: {error}); {_AGAIN}") from None
    if not years:
        raise InputError(f"{path} names no year; {_AGAIN}")
    if crs != CRS.from_wkt(grid.crs):
        raise InputError(f"{path}: the CRS of the sample is not {grid.crs_name}, that of the run; {_AGAIN}")
    return sample


def _point(path: Path, row: Row, grid: Grid) -> Point:
    cells, where = row.cells, f"{path}, line {row.line}"
    try:
        x, y, lon, lat = (number(cells[name]) for name in ("x", "y", "lon", "lat"))
    except ValueError:
        raise InputError(f"{where}: x, y, lon and lat are not all numbers; correct them, or {_AGAIN}") from None
    column, line = (x - grid.left) / grid.pixel - 0.5, (grid.top - y) / grid.pixel - 0.5
    if not (0 <= round(line) < grid.height and 0 <= round(column) < grid.width):
        raise InputError(f"{where}: point {cells['id']} is outside of the cube of the run; {_AGAIN}")
    if max(abs(line - round(line)), abs(column - round(column))) > _OFF_CENTRE:
        raise InputError(f"{where}: point {cells['id']} is not the centre of a pixel of the run; {_AGAIN}")
    return Point(cells["id"], (round(line), round(column)), x, y, lon, lat)
