"""The formats on disk: how each kind of result is opened from and written into its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from mlc_dask.data.acquisitions import CATALOGUE, SELECTION, Catalogue, Selection
from mlc_dask.io.cubes import CHUNK, open_cube, store_cube
from mlc_dask.io.maps import open_layers, open_stored_product, write_layers, write_product
from mlc_dask.io.models import open_models, write_models
from mlc_dask.io.published import LEGEND, NAMES
from mlc_dask.io.samples import open_samples, write_samples
from mlc_dask.runs.artifacts import Artifact, Kind
from mlc_dask.show.report import write_report
from mlc_dask.show.report.calendar import calendar_png
from mlc_dask.stages.evaluation import TABLES, Evaluation
from mlc_dask.storage.durable import atomic_write

_CATALOGUE = "catalogue.json"
_SELECTION = "acquisitions.json"
_CALENDAR = "calendar.png"
_TABLE = "table.csv"
_SAMPLES = "samples.zarr"
_PAGE = "report.html"


def kinds(patch: int) -> Mapping[str, Kind]:
    """Kinds of artifacts; rasters are opened in blocks of `patch` pixels, which does not change their values."""
    return {
        "catalogue": Kind(_open_catalogue, _write_catalogue),
        "selection": Kind(_open_selection, _write_selection),
        "cube": Kind(partial(open_cube, patch=patch), store_cube),
        "product": Kind(partial(open_stored_product, patch=patch), write_product),
        "samples": Kind(lambda f: open_samples(f / _SAMPLES), _write_samples),
        "models": Kind(open_models, write_models),
        "maps": Kind(partial(open_layers, patch=patch), write_layers),
        LEGEND: NAMES,
        "pictures": Kind(_open_pictures, _write_pictures),
        "table": Kind(lambda f: _read(f / _TABLE), _write_table),
        "comparisons": Kind(_open_comparisons, _write_comparisons),
        "tables": Kind(open_tables, _write_tables),
        "report": Kind(lambda f: f / _PAGE, lambda v, f: write_report(v, f / _PAGE)),
    }


def in_chunks(cube: Artifact) -> Artifact:
    """Return the same cube in blocks of one stored chunk, for a step that reads few places of it."""
    return replace(cube, how=Kind(partial(open_cube, patch=CHUNK), store_cube))


def _read(path: Path) -> pd.DataFrame:
    """Read a table. Empty cells alone are no value: a class may be called NA or None."""
    return pd.read_csv(path, dtype={"scope": str}, keep_default_na=False, na_values=[""])


def _open_selection(folder: Path) -> Selection:
    return SELECTION.validate_json((folder / _SELECTION).read_bytes())


def _write_selection(selection: Selection, folder: Path) -> None:
    atomic_write(folder / _CALENDAR, calendar_png(selection))
    atomic_write(folder / _SELECTION, SELECTION.dump_json(selection, indent=1))


def _open_catalogue(folder: Path) -> Catalogue:
    return CATALOGUE.validate_json((folder / _CATALOGUE).read_bytes())


def _write_catalogue(catalogue: Catalogue, folder: Path) -> None:
    atomic_write(folder / _CATALOGUE, CATALOGUE.dump_json(catalogue, indent=1))


def _open_pictures(folder: Path) -> dict[str, Path]:
    return {p.name: p for p in sorted(folder.glob("*.png"))}


def _write_pictures(pictures: Mapping[str, bytes], folder: Path) -> None:
    for name, picture in pictures.items():
        atomic_write(folder / name, picture)


def _write_samples(samples: xr.Dataset, folder: Path) -> dict[str, Any]:
    write_samples(samples, folder / _SAMPLES)
    return {"notes": list(samples.attrs.get("notes", ()))}


def _write_table(table: pd.DataFrame, folder: Path) -> None:
    atomic_write(folder / _TABLE, table.to_csv(index=False).encode())


def _open_comparisons(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: _read(path) for path in sorted(folder.glob("*.csv"))}


def _write_comparisons(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    for name, table in tables.items():
        atomic_write(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.10g").encode())


def open_tables(folder: Path) -> Evaluation:
    """Read the tables of an evaluation."""
    return Evaluation(*(_read(folder / f"{name}.csv") for name in TABLES))


def _write_tables(evaluation: Evaluation, folder: Path) -> None:
    for name in TABLES:
        text = getattr(evaluation, name).to_csv(index=False, float_format="%.10g")
        atomic_write(folder / f"{name}.csv", text.encode())
