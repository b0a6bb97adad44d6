"""Transitions between classes that the ground hardly makes in so few years: a table, as the legend is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mlc_dask.data.errors import InputError
from mlc_dask.data.legend import DEFAULT_LEGEND, Legend
from mlc_dask.data.tables import number, read_table

_SHIPPED = Path(__file__).parent / "crosswalks" / "implausible.csv"


class Transition(NamedTuple):
    """A change from one class to another, by code, that is implausible within `years` years, and why."""

    before: int
    after: int
    years: float
    reason: str


@dataclass(frozen=True)
class Implausible:
    """Implausible transitions; all others are plausible."""

    transitions: tuple[Transition, ...]

    def reasons(self, years: float) -> dict[tuple[int, int], str]:
        """Why transitions within `years` years are implausible, by the codes before and after."""
        return {(t.before, t.after): t.reason for t in self.transitions if years <= t.years}

    @classmethod
    def from_csv(cls, path: str | Path, legend: Legend) -> Implausible:
        """Read ``from,to,years,reason`` rows; classes are names of `legend`.

        Raises
        ------
        InputError
            If a row is invalid, or a transition occurs twice; the message names file and line.
        """
        found: dict[tuple[int, int], Transition] = {}
        for line, row in read_table(path, ("from", "to", "years", "reason"), key=None):
            try:
                one = _transition(row, legend)
                if (one.before, one.after) in found:
                    raise InputError(f"{row['from']} to {row['to']} occurs twice; keep one row")
            except InputError as error:
                raise InputError(f"{path}, line {line}: {error}") from None
            found[one.before, one.after] = one
        return cls(tuple(sorted(found.values())))


def implausible_for(legend: Legend) -> Implausible | None:
    """Return the table that is shipped for the classes of the paper; None for a legend with other classes."""
    return Implausible.from_csv(_SHIPPED, legend) if legend.names == DEFAULT_LEGEND.names else None


def _transition(row: dict[str, str], legend: Legend) -> Transition:
    before, after = legend.code(row["from"]), legend.code(row["to"])
    if before == after:
        raise InputError(f"from {row['from']} to itself is no change; name two classes")
    try:
        years = number(row["years"])
    except ValueError:
        years = 0.0
    if not 0 < years < float("inf"):
        raise InputError(f"years {row['years']!r} is no number above 0; give the years within which it is implausible")
    if not row["reason"]:
        raise InputError("has no reason; say why the ground does not change so")
    return Transition(before, after, years, row["reason"])
