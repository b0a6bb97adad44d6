"""The folder of a reference sample: what was drawn, and the labels that interpreters give.

``points.csv`` has a row per point in random order: id, x, y, lon, lat, stratum; ``strata.csv`` the sizes of the strata;
``design.json`` what the sample was drawn from and how; ``points.gpkg`` has the same points for a GIS.
``labels/NAME.csv`` has the labels of an interpreter (:mod:`mlc_dask.io.labels`): id, year, class (a code; empty where
nothing can be seen).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mlc_dask.data.errors import InputError, did_you_mean, naming
from mlc_dask.data.tables import Row, number, read_table
from mlc_dask.io import geopackage
from mlc_dask.io.labels import FOLDER as LABELS
from mlc_dask.io.labels import Label, read_rows
from mlc_dask.io.published import made_by
from mlc_dask.runs.folder import RunFolder
from mlc_dask.storage.durable import MANIFEST, atomic_write

POINTS: Final = "points.csv"
STRATA: Final = "strata.csv"
DESIGN: Final = "design.json"
_GEOPACKAGE: Final = "points.gpkg"


def fingerprints(output: Path, layers: Sequence[str]) -> dict[str, str]:
    """Fingerprints of the results of a run that hold `layers`; digest of all for maps that no run made."""
    if RunFolder(output).published:
        return {name: made.fingerprint for name, made in made_by(output).items() if name in layers}
    digest = str(json.loads((output / MANIFEST).read_bytes())["digest"])
    return dict.fromkeys(layers, digest)


@naming()
def write_sample(points: pd.DataFrame, strata: pd.DataFrame, design: Mapping[str, Any], folder: Path) -> None:
    """Write a drawn sample into a folder that has none; ``points.csv`` comes last, so a folder with it is whole.

    Raises
    ------
    InputError
        The folder has a sample: its labels would belong to no point.
    """
    if (folder / POINTS).exists():
        raise InputError(f"{folder} holds a sample; its labels would be lost: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / STRATA, strata.to_csv(index=False).encode())
    atomic_write(folder / DESIGN, json.dumps(design, indent=1).encode())
    geopackage.write_points(points, design["crs"], folder / _GEOPACKAGE)
    atomic_write(folder / POINTS, points.to_csv(index=False).encode())


def read_sample(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Read the points, the strata and the design of a folder.

    Raises
    ------
    InputError
        The folder holds no sample, or a table was damaged.
    """
    if not (folder / POINTS).exists():
        raise InputError(f"{folder} holds no {POINTS}; draw a sample with mlc-dask sample, or give a table of points")
    rows = read_table(folder / POINTS, ("id", "x", "y", "stratum"), key="id")
    where = folder / POINTS
    points = pd.DataFrame(
        {
            "id": [_whole(row, "id", where) for row in rows],
            "x": [_number(row, "x", where) for row in rows],
            "y": [_number(row, "y", where) for row in rows],
            "stratum": [row.cells["stratum"] for row in rows],
        }
    )
    try:
        design: dict[str, Any] = json.loads((folder / DESIGN).read_bytes())
        crs = design["crs"]
    except (OSError, ValueError, KeyError, TypeError):
        crs = None
    if not isinstance(crs, str):
        raise InputError(f"{folder / DESIGN} is missing or damaged; draw the sample again, or restore the file")
    return points, read_strata(folder / STRATA), design


def read_strata(path: Path) -> pd.DataFrame:
    """Read a table of strata: ``stratum`` and ``pixels``.

    Raises
    ------
    InputError
        A column or a number is missing, or a stratum occurs twice.
    """
    rows = read_table(path, ("stratum", "pixels"), key="stratum")
    columns = {"stratum": [row.cells["stratum"] for row in rows], "pixels": [_number(r, "pixels", path) for r in rows]}
    return pd.DataFrame(columns)


def interpreters(folder: Path) -> dict[str, Path]:
    """Files of labels by the name of the interpreter, sorted."""
    return {path.stem: path for path in sorted((folder / LABELS).glob("*.csv"))}


def read_labels(folder: Path, points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Read the labels of all interpreters: ``id`` and ``label_YEAR`` (codes, 0 for none) of the points that they saw.

    Of several labels of a point and year the last counts.

    Raises
    ------
    InputError
        There is no file, an id is not among the points, or an id, year or code is no whole number.
    """
    found = interpreters(folder)
    if not found:
        raise InputError(
            f"{folder / LABELS} has no labels; interpret the points, or write NAME.csv with id, year, class"
        )
    return {name: _labels(path, set(points["id"])) for name, path in found.items()}


def of_interpreter(labels: Mapping[str, pd.DataFrame], name: str | None) -> str:
    """Name of the interpreter whose labels count: `name`, or the first by alphabet.

    Raises
    ------
    InputError
        Nobody of this name has labels.
    """
    if name is not None and name not in labels:
        raise InputError(f"no labels of interpreter {name!r}; {did_you_mean(name, labels)}")
    return name or next(iter(labels))


def _labels(path: Path, known: set[int]) -> pd.DataFrame:
    labels = read_rows(path)
    table = pd.DataFrame(
        {
            "id": [_id(label, path) for label in labels],
            "year": [f"label_{label.year:04d}" for label in labels],
            "class": [label.answer.code for label in labels],
        }
    )
    lost = table[~table["id"].isin(known)]
    if len(lost):
        raise InputError(f"{path}, line {labels[lost.index[0]].line}: id {lost['id'].iloc[0]} is none of the points")
    last = table.drop_duplicates(["id", "year"], keep="last")
    return last.pivot(index="id", columns="year", values="class").fillna(0).astype(int).reset_index()


def _id(label: Label, path: Path) -> int:
    return _whole(Row(label.line, {"id": label.point}), "id", path)


def _number(row: Row, column: str, path: Path) -> float:
    try:
        return number(row.cells[column])
    except ValueError:
        text = row.cells[column]
        raise InputError(f"{path}, line {row.line}: {column} {text!r} is no number; correct it") from None


def _whole(row: Row, column: str, path: Path) -> int:
    value = _number(row, column, path)
    if value != int(value):
        raise InputError(f"{path}, line {row.line}: {column} {row.cells[column]!r} is no whole number; correct it")
    return int(value)
