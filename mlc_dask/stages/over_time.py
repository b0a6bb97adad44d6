"""Tables of measures over time: transitions, gains and losses, the course of series, and change against a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mlc_dask.data.legend import Legend
from mlc_dask.data.plausibility import Implausible
from mlc_dask.kernels.detection import Detection, found_share
from mlc_dask.kernels.outcomes import DURATIONS, TIMES
from mlc_dask.kernels.tallies import MapTally
from mlc_dask.kernels.trajectories import (
    CATEGORIES,
    TYPES,
    TrajectoryTally,
    class_components,
    components,
    intensity,
)

Array = npt.NDArray[Any]
Row = tuple[str, str, float]

OVERALL: Final = "overall"
ALL: Final = "all"
ENDS: Final = "first-last"

TRANSITIONS: Final = ("pair", "from", "to", "pixels", "intensity", "targeted", "plausible", "reason")
CLASSES: Final = ("pair", "class", "gain", "loss", "quantity", "exchange", "shift", "gain_intensity", "loss_intensity")
TRAJECTORIES: Final = ("class", "kind", "course", "pixels", "share")
CHANGES: Final = ("change", "time", "size", "duration", "true_pixels", "recall", "shown_pixels", "precision")
"""Columns of the tables."""

KINDS: Final = {"category": CATEGORIES, "trajectory": TYPES}
SAME: Final = {"any class": False, "same classes": True}
"""What a change must have in common with the true one."""


def pairs_of(years: Sequence[int]) -> list[str]:
    """Names of the pairs of successive years."""
    return [f"{a}-{b}" for a, b in pairwise(years)]


def transition_rows(
    years: Sequence[int], tally: MapTally, legend: Legend, implausible: Implausible | None
) -> Iterator[dict[str, Any]]:
    """Rows of the changes from class to class that occur, by pair of years; see :data:`TRANSITIONS`."""
    for pair, table, span in zip(pairs_of(years), tally.transitions, np.diff(years).tolist(), strict=True):
        found, reasons = intensity(table[None], [span]), implausible.reasons(span) if implausible else {}
        for before, after in product(legend.names, legend.names):
            if before != after and table[before, after]:
                reason = reasons.get((before, after), "")
                yield {
                    "pair": pair,
                    "from": legend.names[before],
                    "to": legend.names[after],
                    "pixels": int(table[before, after]),
                    "intensity": found.transition[0, before, after],
                    "targeted": found.targeted[0, after],
                    "plausible": "" if implausible is None else "no" if reason else "yes",
                    "reason": reason,
                }


def class_rows(years: Sequence[int], tally: MapTally, legend: Legend) -> Iterator[dict[str, Any]]:
    """Rows of what classes gained and lost, by pair, over all pairs, and from the first to the last year."""
    over, span = tally.over_time, years[-1] - years[0]
    spans = np.diff(years)
    named = [(pair, *one) for pair, *one in zip(pairs_of(years), tally.transitions, spans, strict=True)]
    whole = [(ALL, over.steps.sum(axis=0), span), (ENDS, over.extent, span)] if len(named) > 1 else []
    for pair, table, length in [*named, *whole]:
        parts, per_year = class_components(table), intensity(table[None], [length])
        for code, name in legend.names.items():
            if table[code].any() or table[:, code].any():
                columns = (parts.gain, parts.loss, parts.quantity, parts.exchange, parts.shift)
                counts = (int(column[code]) for column in columns)
                shares = (per_year.gain[0, code], per_year.loss[0, code])
                yield dict(zip(CLASSES, (pair, name, *counts, *shares), strict=True))


def trajectory_rows(tally: TrajectoryTally, legend: Legend) -> Iterator[dict[str, Any]]:
    """Rows of the pixels by the course of their series, for their first class and overall."""
    for kind, table in _kinds(tally).items():
        for name, counts in {
            OVERALL: table.sum(axis=0),
            **{n: table[code] for code, n in legend.names.items()},
        }.items():
            for course, pixels, share in _courses(kind, counts):
                yield dict(zip(TRAJECTORIES, (name, kind, course, pixels, share), strict=True))


def _kinds(tally: TrajectoryTally) -> dict[str, Array]:
    return {"category": tally.categories, "trajectory": tally.types}


def _courses(kind: str, counts: Array) -> Iterator[tuple[str, int, float]]:
    """Name, pixels and share of the pixels with data of each course; nothing without pixels."""
    pixels = int(counts[1:].sum())
    for course, count in zip(KINDS[kind], counts[1:].tolist(), strict=True):
        if pixels:
            yield course, count, count / pixels


def change_rows(found: Detection) -> Iterator[dict[str, Any]]:
    """Rows of the change that was found, by what had to be equal, time, size and duration; see :data:`CHANGES`."""
    everything = slice(None)
    sizes = {ALL: everything, **{name: slice(i, i + 1) for i, name in enumerate(size_names(found.edges))}}
    durations = {ALL: everything, **{name: slice(i, i + 1) for i, name in enumerate(DURATIONS)}}
    for change, time, size, duration in product(SAME, range(len(TIMES), 0, -1), sizes, durations):
        at = (sizes[size], durations[duration])
        (true, recall), (shown, precision) = (
            found_share(side[at], same=SAME[change], time=time) for side in (found.true, found.shown)
        )
        if true or shown:
            values = (change, TIMES[time - 1], size, duration, true, recall, shown, precision)
            yield dict(zip(CHANGES, values, strict=True))


def size_names(edges: Sequence[int]) -> list[str]:
    """Names of size bins with these lower edges."""
    return [f"{low}-{high - 1} px" for low, high in pairwise(edges)] + [f"{edges[-1]}+ px"]


def summary_rows(years: Sequence[int], tally: MapTally, transitions: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Key measures over time as shares of pixels; intensities are per year, implausible changes a share of changes."""
    over = tally.over_time
    for kind, table in _kinds(over).items():
        yield from ((kind, course, share) for course, _, share in _courses(kind, table.sum(axis=0)))
    if len(years) > 1:
        yield from _pair_rows(years, tally.transitions)
        yield from _plausibility(transitions)
    if len(years) > 2 and tally.seen:
        changes = components(over.steps.sum(axis=0)).difference
        yield "alternation", OVERALL, over.alternation / tally.seen
        yield "alternating_changes", OVERALL, over.alternation / changes if changes else float("nan")


def _pair_rows(years: Sequence[int], tables: Array) -> Iterator[Row]:
    """Components and intensity of the change of each pair of years."""
    per_year = intensity(tables, np.diff(years))
    for pair, table, changed in zip(pairs_of(years), tables, per_year.interval, strict=True):
        parts, pixels = components(table), max(1, int(table.sum()))
        for name in ("quantity", "exchange", "shift"):
            yield name, pair, getattr(parts, name) / pixels
        yield "intensity", pair, float(changed)
    yield "intensity", OVERALL, per_year.uniform


def _plausibility(transitions: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Share of the changes that are implausible, by pair and overall, where plausibility is known."""
    known = [row for row in transitions if row["plausible"]]
    for scope in dict.fromkeys([*(row["pair"] for row in known), *([OVERALL] if known else [])]):
        own = [row for row in known if scope in (row["pair"], OVERALL)]
        odd = sum(row["pixels"] for row in own if row["plausible"] == "no")
        yield "implausible_share", scope, odd / sum(row["pixels"] for row in own)
