"""Rows of tables of estimates from the points of a reference (method section 9)."""

from __future__ import annotations

from typing import Any, Final

from mlc_dask.kernels.estimation import Estimates
from mlc_dask.stages.points import Survey

Row = dict[str, Any]

ALL_YEARS: Final = "all years"
NO_PAIR: Final = "no point has labels of successive years"


def row_of(e: Estimates, why: str, **keys: Any) -> Row:
    """Row of a table: an estimate, its interval, and why there is none."""
    value = float(e.value)
    figures = {"value": value, "se": float(e.se), "low": float(e.low), "high": float(e.high)}
    note = "" if value == value else f"no estimate: {why}"
    return {**keys, **figures, "interval": str(e.interval), "points": int(e.units), "note": note}


def scopes(found: Survey) -> dict[str, list[int]]:
    """Positions of the years that a row is about, by its name; all years first."""
    each = {str(found.years[i]): [i] for i in found.labelled}
    return {ALL_YEARS: found.labelled, **each} if len(each) > 1 else each
