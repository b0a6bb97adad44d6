"""Points as a GeoPackage (OGC 12-128r19), with the SQLite of Python and no further package."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pandas as pd
from rasterio.crs import CRS

from mlc_dask.data.errors import InputError, UnreadableError, existing
from mlc_dask.storage.durable import atomic_write, now

_TABLE: Final = "points"
_OWN: Final = 100_000
"""Number of a CRS that has no EPSG code."""

_SCHEMA: Final = """
PRAGMA application_id = 0x47504B47;
PRAGMA user_version = 10300;
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '', last_change DATETIME NOT NULL, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE,
  srs_id INTEGER REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL PRIMARY KEY REFERENCES gpkg_contents(table_name),
  column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
  srs_id INTEGER NOT NULL REFERENCES gpkg_spatial_ref_sys(srs_id), z TINYINT NOT NULL, m TINYINT NOT NULL);
INSERT INTO gpkg_spatial_ref_sys VALUES ('Undefined Cartesian', -1, 'NONE', -1, 'undefined', NULL);
INSERT INTO gpkg_spatial_ref_sys VALUES ('Undefined geographic', 0, 'NONE', 0, 'undefined', NULL);
"""

_ENVELOPES: Final = (0, 32, 48, 48, 64)
"""Bytes of the envelope in the header of a geometry, by its indicator."""


def write_points(table: pd.DataFrame, crs: str, path: Path) -> None:
    """Write the rows of a table with ``x`` and ``y`` as points, and its other columns as their attributes."""
    columns = [str(c) for c in table if c not in ("x", "y")]
    kinds = {c: {"i": "INTEGER", "f": "REAL"}.get(table[c].dtype.kind, "TEXT") for c in columns}
    with closing(sqlite3.connect(":memory:")) as file:
        file.executescript(_SCHEMA)
        number = _declare(file, CRS.from_user_input(crs))
        bounds = (table.x.min(), table.y.min(), table.x.max(), table.y.max())
        contents = (_TABLE, "features", _TABLE, "", now(), *map(float, bounds), number)
        file.execute("INSERT INTO gpkg_contents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", contents)
        file.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'POINT', ?, 0, 0)", (_TABLE, number))
        declared = "".join(f", {_quoted(c)} {kind}" for c, kind in kinds.items())
        file.execute(f"CREATE TABLE {_TABLE} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POINT{declared})")
        head = struct.pack("<2sBBi", b"GP", 0, 1, number)
        places = [head + struct.pack("<BIdd", 1, 1, x, y) for x, y in zip(table.x, table.y, strict=True)]
        rows = zip(places, *(table[c].tolist() for c in columns), strict=True)
        marks = ", ".join("?" * (len(columns) + 2))
        file.executemany(f"INSERT INTO {_TABLE} VALUES ({marks})", ((None, *row) for row in rows))  # noqa: S608
        file.commit()
        atomic_write(path, file.serialize())


def _declare(file: sqlite3.Connection, crs: CRS) -> int:
    """Declare the CRS of the points and longitude and latitude, which every GeoPackage has; its number."""
    code = crs.to_epsg()
    number = code or _OWN
    authority = ("EPSG", code) if code else ("NONE", number)
    insert = "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, NULL)"
    file.execute(insert, (crs.to_wkt().split('"')[1], number, *authority, crs.to_wkt()))
    file.execute(insert, ("WGS 84", 4326, "EPSG", 4326, CRS.from_epsg(4326).to_wkt()))
    return number


def read_points(path: Path) -> tuple[pd.DataFrame, str | None]:
    """Read the points of a GeoPackage as a table with ``x``, ``y`` and their attributes, and their CRS.

    Raises
    ------
    InputError
        The file is no GeoPackage, does not have one layer of points, or a point is empty.
    """
    existing(path, "give the path of a GeoPackage")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            return _read(file, path)
    except sqlite3.Error as error:
        raise UnreadableError(f"{path} cannot be read as a GeoPackage ({error}); export the points again") from error


def _read(file: sqlite3.Connection, path: Path) -> tuple[pd.DataFrame, str | None]:
    layers = file.execute("SELECT table_name, column_name, srs_id FROM gpkg_geometry_columns").fetchall()
    if len(layers) != 1:
        listed = ", ".join(name for name, *_ in layers) or "none"
        raise InputError(
            f"{path} has {len(layers)} layers of features ({listed}); export the one with the points alone"
        )
    ((name, geometry, number),) = layers
    found = file.execute(f"SELECT * FROM {_quoted(name)}")  # noqa: S608
    names = [column for column, *_ in found.description]
    table = pd.DataFrame(found.fetchall(), columns=names)
    places = [_place(blob, f"{path}, row {row}") for row, blob in enumerate(table[geometry], start=1)]
    table = table.drop(columns=[geometry, *(c for c in ("x", "y") if c in names)])
    known = file.execute(
        "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys WHERE srs_id = ?",
        (number,),
    ).fetchone()
    return table.assign(x=[x for x, _ in places], y=[y for _, y in places]), _crs(known) if number > 0 else None


def _crs(row: tuple[str, int, str] | None) -> str | None:
    """CRS of a row of the table of CRS, by its code where it has one."""
    if row is None or row[2] == "undefined":
        return None
    return f"EPSG:{row[1]}" if row[0].upper() == "EPSG" else row[2]


def _place(blob: Any, where: str) -> tuple[float, float]:
    """Coordinates of a point in the form of GeoPackage: a header, an envelope, and well-known binary."""
    if not isinstance(blob, bytes) or blob[:2] != b"GP" or blob[3] & 16:
        raise InputError(f"{where}: there is no point; delete the row, or give it a place")
    return place_of(blob[8 + _ENVELOPES[min(blob[3] >> 1 & 7, 4)] :], where)


def place_of(binary: bytes, where: str) -> tuple[float, float]:
    """Coordinates of a point in well-known binary; InputError, which begins with `where`, for any other geometry."""
    order = "<" if binary[:1] == b"\x01" else ">"
    kind = struct.unpack(f"{order}I", binary[1:5])[0] if len(binary) >= 21 else 0
    if kind & 0xFFFF not in (1, 1001, 2001, 3001):
        raise InputError(f"{where}: the geometry is no single point; convert it, e.g. to centroids")
    skipped = 9 if kind & 0x20000000 else 5  # the CRS that PostGIS adds
    x, y = struct.unpack(f"{order}dd", binary[skipped : skipped + 16])
    return float(x), float(y)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
