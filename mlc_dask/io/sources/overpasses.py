"""Granules grouped into acquisitions: one per overpass, each datastrip once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby, pairwise

from mlc_dask.data.acquisitions import Acquisition, Granule

_ONE_OVERPASS = 600
"""Longest gap in seconds between granules of one overpass; a satellite's next overpass is 100 minutes later."""


def overpasses(granules: Sequence[Granule]) -> list[Acquisition]:
    """Group granules into acquisitions by time, one per overpass (method section 2).

    Of several versions of one datastrip over one tile, only the one with the highest processing baseline is kept, and
    the latest of several with the same baseline. The remaining datastrips and tiles are mosaicked with the highest
    baseline on top. Products whose metadata does not name the datastrip are mosaicked too, since two products of one
    baseline may be its two halves.
    """
    rows = sorted(granules, key=lambda g: (g.platform, g.time))
    found = []
    for platform, group in groupby(rows, key=lambda g: g.platform):
        # Versions are compared within one overpass: names and datastrips that catalogues repeat hide no other date.
        for parts in map(_newest, _passes(list(group))):
            top = sorted(parts, key=lambda g: g.id)
            top.sort(key=lambda g: (_version(g.baseline), g.processed), reverse=True)
            time = min(g.time for g in parts)
            orbit = next((g.orbit for g in top if g.orbit is not None), None)
            found.append(Acquisition(_name(time, platform, orbit), time, orbit, tuple(top)))
    return sorted(found, key=lambda a: (a.time, a.id))


def _passes(rows: list[Granule]) -> Iterator[list[Granule]]:
    part = rows[:1]
    for a, b in pairwise(rows):
        if (b.time - a.time).total_seconds() > _ONE_OVERPASS:
            yield part
            part = []
        part.append(b)
    yield part


def _newest(parts: Sequence[Granule]) -> list[Granule]:
    """Of several versions of one datastrip over one tile, the newest."""
    kept: dict[tuple[str, str], Granule] = {}
    for granule in sorted(parts, key=lambda g: (_version(g.baseline), g.processed, g.id)):
        kept[granule.tile, granule.strip or granule.id] = granule
    return list(kept.values())


def _name(time: datetime, platform: str, orbit: int | None) -> str:
    parts = (f"{time:%Y%m%dT%H%M%S}", platform, f"R{orbit:03d}" if orbit is not None else "")
    return "_".join(p for p in parts if p)


def _version(baseline: str) -> tuple[int, ...]:
    return tuple(int(p) for p in baseline.split(".") if p.isdigit())
