"""The survey: weather of every acquisition over the area, and the reason where one cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from mlc_dask import lazy
from mlc_dask.data.acquisitions import Acquisition, LeftOut, Source, Surveyed, Weather
from mlc_dask.data.errors import InputError, RefusedError
from mlc_dask.data.grids import Grid
from mlc_dask.kernels.pairing.rules import PARTIAL, UNREADABLE
from mlc_dask.storage.once import once

_VEGETATION = 4
"""Value of the scene classification; those of bare ground, water, clouds and what is unclassified are above it."""

_RARE = {1, 2}
"""Defective and dark pixels in a scene classification, water and cloud shadow in Fmask."""


class Answer(NamedTuple):
    """Cloudy, valid and snowy shares, and those of the mask's values; empty where it cannot be read for `reason`."""

    shares: Sequence[float] = ()
    reason: str = ""
    refused: bool = False
    """Whether its host refuses access."""


def survey(
    source: Source,
    by_year: Mapping[int, Sequence[Acquisition]],
    refused: Mapping[str, str],
    grid: Grid,
    scratch: Path | None,
) -> dict[int, list[tuple[Surveyed, LeftOut | None]]]:
    """Every acquisition with its weather or its reason, and with the fault where it cannot be read.

    Those in `refused` (id to reason) are not opened. Intermediate results are kept in `scratch`.

    Raises
    ------
    RefusedError
        If nothing can be read because access is refused, or if a host refuses what it gave before.
    InputError
        If the masks are no scene classification, as which they would be read.
    """
    answers: dict[int, dict[str, Answer]] = lazy.compute(
        {
            year: {
                a.id: lazy.call(_look, source, a, grid, scratch, name=f"survey-{year}")
                for a in row
                if a.id not in refused
            }
            for year, row in by_year.items()
        }
    )
    _check_access(
        source, [(a, answers[y][a.id]) for y, row in by_year.items() for a in row if a.id in answers[y]], grid
    )

    def one(year: int, a: Acquisition) -> tuple[Surveyed, LeftOut | None]:
        if a.id in refused:
            missing = [g.missing or 0.0 for g in a.granules]
            return Surveyed(a, Weather(a.cloud or 0.0, 1 - min(missing)), refused[a.id]), None
        answer = answers[year][a.id]
        if not answer.shares:
            return Surveyed(a, Weather(a.cloud or 0.0, 0.0), UNREADABLE), LeftOut(a.id, answer.reason)
        cloud, valid, snow, *codes = answer.shares
        weather = Weather(cloud, valid, snow, tuple(codes))
        return Surveyed(a, weather, "" if weather.valid > 0 else PARTIAL), None

    surveyed = {year: [one(year, a) for a in row] for year, row in by_year.items()}
    _check_scheme([s.weather for row in surveyed.values() for s, _ in row])
    return surveyed


def _look(source: Source, acquisition: Acquisition, grid: Grid, scratch: Path | None) -> Answer:
    def looked() -> list[float]:
        source.check(acquisition, grid)
        weather = source.weather(acquisition, grid)
        return [weather.cloud, weather.valid, weather.snow, *weather.codes]

    try:
        return Answer(once(scratch, acquisition.id, looked))
    except InputError as error:
        return Answer(reason=str(error), refused=isinstance(error, RefusedError))


def _check_access(source: Source, seen: Sequence[tuple[Acquisition, Answer]], grid: Grid) -> None:
    """Tell an item that is not there from access that has ended: what was read is read again.

    Object stores answer 403 for objects that do not exist, and for keys and tokens that have expired. Leaving out what
    an expired token hides would thin out the selection.
    """
    read = [a for a, answer in seen if answer.shares]
    for hosts in {_hosts(a) for a, answer in seen if answer.refused}:
        reason = next(answer.reason for a, answer in seen if answer.refused and _hosts(a) == hosts)
        witness, name = next((a for a in read if _hosts(a) & hosts), None), ", ".join(sorted(hosts))
        if witness is None and not read:
            raise RefusedError(f"{name} refuses access to all acquisitions on it, e.g. {reason}")
        if witness is None:
            continue
        (again,) = lazy.compute([lazy.call(_look, source, witness, grid, None, name="survey-again")])
        if again.refused:
            raise RefusedError(
                f"{name} refuses what it gave before: access has ended ({again.reason}); renew the token or the keys, "
                "and run again; what was surveyed is kept"
            )


def _check_scheme(found: Sequence[Weather]) -> None:
    """Refuse masks whose values are too few for a scene classification, as which they would be read.

    Over a series it has bare ground, water, clouds or what is unclassified (5 to 10) somewhere. Other masks have the
    values 0 to 4 only: for Fmask (Zhu and Woodcock, 2012) 0 is clear land, which would be read as no data, and 4 cloud,
    which would be read as vegetation. Masks without 1 and 2, which Fmask has over a series (water, cloud shadow), are
    not told apart: a small area may be forest (4), its shadows (3) and places beyond the images (0) alone.
    """
    shares = np.sum([w.codes for w in found if w.codes], axis=0)
    codes = np.flatnonzero(shares).tolist()
    if not _RARE & set(codes) or codes[-1] > _VEGETATION:
        return
    listed = ", ".join(f"{code} ({shares[code] / shares.sum():.0%})" for code in codes)
    raise InputError(
        f"the masks of all acquisitions have the values {listed} only, and would be read as scene classifications, "
        "which have other values, too, over a series; set source.mask to what its values mean, for Fmask mask = "
        "{ unusable = [2, 4], cloud = [4], snow = [3], nodata = [255] }, or, if it is the scene classification, mask = "
        "{ unusable = [0, 1, 3, 8, 9] }"
    )


def _hosts(acquisition: Acquisition) -> frozenset[str]:
    return frozenset(urlsplit(a.href).netloc for g in acquisition.granules for a in g.assets.values())
