"""Tables of reference points: CSV, GeoPackage or GeoParquet, with one column per year or one row per year."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mlc_dask.data.errors import InputError, UnreadableError, existing
from mlc_dask.data.places import DEGREES
from mlc_dask.data.tables import number, read_table
from mlc_dask.io import geopackage

_YEARLY: Final = re.compile(r"(?:(?:label|class)[_ ]?)?((?:19|20)\d\d)", re.IGNORECASE)
"""Names of columns of labels: label_2018, class_2018 or 2018."""

_LABEL: Final = ("label", "class")
"""Names of the column of labels in a table with a row per year."""


def read_points(path: Path, crs: str | None = None) -> tuple[pd.DataFrame, str | None]:
    """Read reference points from a CSV, GeoPackage (``.gpkg``) or GeoParquet (``.parquet``).

    Parameters
    ----------
    path
        A file with ``x`` and ``y`` (or ``lon`` and ``lat``; GeoPackage and GeoParquet have them as geometry), and
        either a column per year, ``label_2018``, or a row per point and year with ``year`` and ``label``; optionally
        ``id`` and ``stratum``.
    crs
        CRS of the coordinates where the file states none.

    Returns
    -------
    Table with ``x``, ``y``, ``label_YEAR`` and the other columns, a row per point; and the CRS: that of the file, that
    of longitude and latitude, `crs`, or None for that of the maps.

    Raises
    ------
    InputError
        The file cannot be read, states no CRS where it should, or another than `crs`, or has coordinates that are no
        numbers, or two labels of a point and year.
    """
    reader = {".gpkg": _geopackage, ".parquet": _geoparquet, ".geoparquet": _geoparquet}.get(path.suffix.lower(), _csv)
    table, own = reader(path, crs)
    if crs not in (None, own):
        raise InputError(f"{path} is in {own}, not in {crs}; leave out --crs")
    names = {str(c): str(c).lower() for c in table}
    table = table.rename(columns=names)
    long = "year" in table and any(c in table for c in _LABEL)
    return _wide(table, path) if long else _renamed(table, path), own


def _csv(path: Path, crs: str | None) -> tuple[pd.DataFrame, str | None]:
    rows = read_table(path, ())
    if not rows:
        raise InputError(f"{path} has no points; give a row for every point below the names of the columns")
    names = list(rows[0].cells)
    degrees = "x" not in names and {"lon", "lat"} <= set(names)
    axes = {"x": "lon", "y": "lat"} if degrees else {"x": "x", "y": "y"}
    for axis in axes.values():
        if axis not in names:
            raise InputError(f"{path}: no column {axis}; the table needs x and y, or lon and lat")
    found = pd.DataFrame([row.cells for row in rows]).assign(
        **{name: [_number(row.cells[axis], f"{path}, line {row.line}: {axis}") for row in rows]
           for name, axis in axes.items()}
    )  # fmt: skip
    return found, DEGREES if degrees else crs


def _number(text: str, where: str) -> float:
    try:
        return number(text)
    except ValueError:
        raise InputError(f"{where} {text!r} is no number; correct the coordinate") from None


def _geopackage(path: Path, crs: str | None) -> tuple[pd.DataFrame, str | None]:
    table, own = geopackage.read_points(path)
    return table, _stated(own or crs, path)


def _stated(crs: str | None, path: Path) -> str:
    if crs is None:
        raise InputError(f"{path} has no CRS; assign the one of its coordinates, or give it with --crs")
    return crs


def _geoparquet(path: Path, crs: str | None) -> tuple[pd.DataFrame, str | None]:
    existing(path, "give the path of a GeoParquet file")
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table as read_parquet
    except ModuleNotFoundError:
        raise InputError(f"{path} needs pyarrow; install it with: pip install pyarrow, or give a GeoPackage") from None
    try:
        stored = read_parquet(path)
    except (ArrowException, OSError) as error:
        raise UnreadableError(f"{path} cannot be read as Parquet ({error}); export the points again") from error
    table: pd.DataFrame = stored.to_pandas(ignore_metadata=True)
    stated = (stored.schema.metadata or {}).get(b"geo")
    if stated is None:
        missing = [axis for axis in ("x", "y") if axis not in table]
        if missing:
            raise InputError(f"{path} has neither a geometry nor the columns x and y; export the points as GeoParquet")
        return table, crs
    geo = json.loads(stated)
    name = geo["primary_column"]
    places = [_place(value, f"{path}, row {row}") for row, value in enumerate(table[name], start=1)]
    table = table.drop(columns=[name, *(c for c in ("x", "y") if c in table)])
    own = _parquet_crs(geo["columns"][name])
    return table.assign(x=[x for x, _ in places], y=[y for _, y in places]), _stated(own or crs, path)


def _place(value: Any, where: str) -> tuple[float, float]:
    """Coordinates of a geometry: well-known binary, or the structure of GeoArrow."""
    if isinstance(value, Mapping):
        return float(value["x"]), float(value["y"])
    return geopackage.place_of(value if isinstance(value, bytes) else b"", where)


def _parquet_crs(column: Mapping[str, Any]) -> str | None:
    """CRS of a geometry: longitude and latitude where the key is absent, none where it is null (GeoParquet 1.1)."""
    crs = column.get("crs", {"id": {"authority": "OGC", "code": "CRS84"}})
    if crs is None:
        return None
    code = crs.get("id")
    return f"{code['authority']}:{code['code']}" if code else json.dumps(crs)


def _renamed(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Table whose columns of labels are called label_YEAR."""
    found = {c: f"label_{year[1]}" for c in table if (year := _YEARLY.fullmatch(str(c)))}
    twice = sorted({year for year in found.values() if list(found.values()).count(year) > 1})
    if twice:
        raise InputError(f"{path}: two columns of {twice[0].removeprefix('label_')}; keep one column of each year")
    return table.rename(columns=found)


def _wide(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table with a row per point and year as one with a row per point."""
    key = ["id"] if "id" in table else ["x", "y"]
    label = next(c for c in _LABEL if c in table)
    years = table.year.astype(str).str.removesuffix(".0")
    wrong = years[~years.str.fullmatch(r"\d{4}")]
    if len(wrong):
        raise InputError(f"{path}: {wrong.iloc[0]!r} is no year; write four digits")
    twice = table.assign(year=years).duplicated([*key, "year"])
    if twice.any():
        first = table[twice].iloc[0]
        named = ", ".join(f"{c} {first[c]}" for c in key)
        raise InputError(f"{path}: {named} has two labels of {years[twice].iloc[0]}; keep one row of each year")
    points = table.drop(columns=["year", label]).drop_duplicates(key).set_index(key)
    labels = table.assign(year="label_" + years).pivot(index=key, columns="year", values=label)
    return points.join(labels).reset_index()
