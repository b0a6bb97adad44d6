"""What the command line prints of reference samples and assessments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from mlc_dask.data.layers import layer_called
from mlc_dask.stages.areas import MAPPED
from mlc_dask.stages.assessment import ANY_YEAR, SERIES_RIGHT, Assessment
from mlc_dask.stages.reference_sample import ReferenceSample

_FIGURES = {
    "accuracy": ("accuracy", {"measure": "overall"}),
    "whole series right": ("trajectories", {"measure": SERIES_RIGHT}),
    "true change shown, in its year": ("change", {"match": "exact year", "measure": "producers"}),
    "… ± 1 year": ("change", {"match": "± 1 year", "measure": "producers"}),
    "… in any year": ("change", {"match": ANY_YEAR, "measure": "producers"}),
    "shown change true, in its year": ("change", {"match": "exact year", "measure": "users"}),
    "… in any year of a change": ("change", {"match": ANY_YEAR, "measure": "users"}),
}
"""Rows of the summary: table and row of a layer."""


_DIFFERENCES = {
    "accuracy": "accuracy",
    "change users": "shown change true",
    "change producers": "true change shown",
}
"""Differences in words."""


def show_sample(console: Console, sample: ReferenceSample, folder: Path) -> None:
    """Print the strata of a sample, its expected standard error, and what to do next."""
    table = Table("stratum", *(_right(name) for name in ("pixels", "points", "expected accuracy")), box=None)
    for row in _rows(sample.strata, {}):
        expected = f"{row['expected_share']:.2f} ± {row['expected_se']:.3f}"
        table.add_row(row["stratum"], f"{row['pixels']:,}", str(row["sampled"]), expected)
    console.print(table)
    total = (
        f"{sample.design['points']} points, expected standard error of the accuracy {sample.design['expected_se']:.4f}"
    )
    console.print(total, highlight=False)
    console.print(f"points: {folder / 'points.csv'}; labels go to {folder / 'labels'}", soft_wrap=True, highlight=False)


def show_assessment(console: Console, made: Assessment, interpreters: pd.DataFrame, folder: Path) -> None:
    """Print the figures of the layers with their intervals, their differences, and what the estimates assume."""
    whys = [*_show_figures(console, made), *_show_areas(console, made.areas)]
    for row in _rows(made.differences, {}):
        names = " minus ".join(layer_called(row[end]).title for end in ("first", "second"))
        what = f"{_DIFFERENCES[row['measure']]}, {names}: {_cell(row, '+')}"
        console.print(what if row["note"] else f"{what} percentage points", soft_wrap=True, highlight=False)
    for pair in interpreters.to_dict("records"):
        agreed = f"agree on {pair['share']:.3f} of {pair['labels']} labels, kappa {pair['kappa']:.3f}"
        console.print(f"{pair['first']} and {pair['second']} {agreed}", soft_wrap=True, highlight=False, markup=False)
    for note in dict.fromkeys([*whys, *_comparisons(made.differences), *made.notes]):
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"tables: {folder}", soft_wrap=True, highlight=False)


def _show_figures(console: Console, made: Assessment) -> list[str]:
    """Print the main figures, a column per layer; return why there is none."""
    layers = list(dict.fromkeys(made.accuracy.layer))
    table = Table("per cent, 95 % interval", *(_right(layer_called(name).title) for name in layers), box=None)
    whys = []
    for figure, (name, keys) in _FIGURES.items():
        cells = [_rows(getattr(made, name), {"layer": layer, **keys}) for layer in layers]
        if any(cells):
            table.add_row(figure, *(_cell(rows[0]) if rows else "" for rows in cells))
            whys += [f"{figure}: {row['note']}" for rows in cells for row in rows if row["note"]]
    console.print(table)
    return whys


def _show_areas(console: Console, areas: pd.DataFrame) -> list[str]:
    """Print the area of every class in the reference and in the maps; return why there is none."""
    rows = _rows(areas, {"kind": "class"})
    unit = "pixels" if areas.filter(like="hectares").isna().all(axis=None) else "hectares"
    start = f"{MAPPED}{unit}_"
    shown = [str(column) for column in areas if str(column).startswith(start)]
    maps = (_right(f"shown by\n{layer_called(column.removeprefix(start)).title}") for column in shown)
    title = f"{unit}, {rows[0]['years']}"
    table = Table(title, _right("in the reference"), _right("95 % interval"), *maps, box=None)
    for row in rows:
        mapped = (f"{row[column]:,.0f}" for column in shown)
        interval = f"{row[f'{unit}_low']:,.0f} … {row[f'{unit}_high']:,.0f}"
        table.add_row(row["class"], f"{row[unit]:,.0f}", interval, *mapped)
    console.print(table)
    return [row["note"] for row in rows if row["note"]]


def _comparisons(differences: pd.DataFrame) -> list[str]:
    n = len(_rows(differences, {}))
    return [f"{n} comparisons: one interval in twenty excludes 0 by chance alone"] if n > 1 else []


def _right(name: str) -> Column:
    return Column(name, justify="right")


def _rows(table: pd.DataFrame, keys: dict[str, str]) -> list[dict[str, Any]]:
    """Rows with these values, of all years where the table has several scopes."""
    scopes = {"years": table["years"].iloc[0]} if "years" in table and len(table) else {}
    found = table
    for column, value in {**scopes, **keys}.items():
        found = found[found[column] == value]
    return [{str(k): v for k, v in row.items()} for row in found.to_dict("records")]


def _cell(row: dict[str, Any], sign: str = "") -> str:
    """Estimate and interval in per cent; without an estimate, only that."""
    if row["note"]:
        return "no estimate"
    value, low, high = (f"{100 * row[name]:{sign}.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
