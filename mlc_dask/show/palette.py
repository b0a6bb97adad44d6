"""Colours of layers without classes: one ramp for the report, the export, the viewer and the notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from mlc_dask.data.layers import Layer

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""

_NONE: Final = (238, 238, 234)
"""Colour of a count of 0, which is a value, not missing data."""


def colours_of(layer: Layer, highest: int) -> dict[int, Colour]:
    """Colours of a quantity by value: 1..100 for per cent, 0..`highest` (1 or more) for a count."""
    if layer.values == "percent":
        return _mixed(layer.ramp, 100)
    return {0: _NONE} | _mixed(layer.ramp, max(1, highest))


def rgb(colour: str) -> Colour:
    """Red, green and blue of #rrggbb."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def as_hex(colour: Sequence[int]) -> str:
    """Colour as #rrggbb."""
    return f"#{bytes(colour[:3]).hex()}"


def _mixed(stops: Sequence[str], last: int) -> dict[int, Colour]:
    """Colours of the values 1..`last`, between `stops` at equal distances."""
    values = np.arange(1, last + 1)
    at = np.linspace(1, max(last, 2), len(stops))
    table = np.array([rgb(stop) for stop in stops])
    mixed = np.stack([np.interp(values, at, table[:, i]) for i in range(3)], axis=1).round().astype(int)
    return {int(v): (int(r), int(g), int(b)) for v, (r, g, b) in zip(values, mixed, strict=True)}
