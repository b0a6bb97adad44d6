"""Whether the chosen acquisitions show the ground in every year, with the offset that their metadata states.

See method section 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlc_dask import lazy
from mlc_dask.data.acquisitions import Acquisition, Catalogue, Selection, Source
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.schema import DN_OFFSET
from mlc_dask.data.sensors import SENTINEL2
from mlc_dask.data.steps import step
from mlc_dask.kernels import radiometry
from mlc_dask.kernels.pairing.rules import BY_HAND
from mlc_dask.storage.once import once

_LOOKED_AT = 1_000
"""Largest number of pixels per side of the grid on which acquisitions are judged."""

Pictured = Callable[[Acquisition], Path]

_ABOUT: Final = {
    ("contradict their metadata", "correct the offset in the metadata"): (radiometry.MISSED, radiometry.TWICE),
    ("show clouds that the mask missed", ""): (radiometry.CLOUD,),
    ("have two bands that are one", "replace the file that is a copy, or take one of the two out of source.bands"): (
        radiometry.COPY,
    ),
}
"""What suspects are refused for, with a remedy of its own, by the verdicts."""


@step("radiometry", kind="table", version=6)
def check_radiometry(
    source: Source,
    selection: Selection,
    catalogue: Catalogue,
    *,
    accept: bool = False,
    min_valid: int = 1,
    pictured: Pictured | None = None,
    scratch: Path | None = None,
) -> pd.DataFrame:
    """Judge whether every chosen acquisition shows the ground, with the offset that its metadata states.

    Parameters
    ----------
    accept
        Record suspects instead of refusing them.
    min_valid
        Usable dates per year that a pixel needs to get a label.
    pictured
        Writes a small picture of an acquisition and returns its path, which the message names.
    scratch
        Folder, reachable by the workers, where an interrupted check finds its earlier results.

    Returns
    -------
    Table with columns ``year, id, dark`` (ten-thousandths of reflectance), ``verdict``, ``usable`` (share, 0..1) and
    ``why``, what the verdict is about where it needs more words.

    Raises
    ------
    InputError
        As :func:`refuse` does.
    """
    table = judge_radiometry(source, selection, catalogue, scratch=scratch)
    refuse(table, selection, accept=accept, min_valid=min_valid, pictured=pictured)
    return table


def judge_radiometry(
    source: Source, selection: Selection, catalogue: Catalogue, *, scratch: Path | None = None
) -> pd.DataFrame:
    """Return the table of :func:`check_radiometry`, whatever the verdicts."""
    coarse = catalogue.grid.coarsened(_LOOKED_AT)
    chosen = [(year, s.acquisition) for year, row in selection.chosen.items() for s in row]
    seen = lazy.compute([lazy.call(_look, source, a, coarse, scratch, name=f"radiometry-{y}") for y, a in chosen])
    dark, middle = np.stack([look.levels for look in seen], axis=1)
    judged = radiometry.judge(dark, middle, SENTINEL2.positions(source.bands))
    return pd.DataFrame(
        [
            {"year": y, "id": a.id, "dark": own.min(), "verdict": look.verdict or verdict, "usable": look.usable,
             "why": look.why}
            for (y, a), own, verdict, look in zip(chosen, dark, judged, seen, strict=True)
        ]
    )  # fmt: skip


def doubtful(table: pd.DataFrame) -> list[str]:
    """Return one line for each acquisition that is white all over and may be snow or cloud."""
    white = table[table["verdict"] == radiometry.WHITE]["id"]
    return [f"{name} is {radiometry.WHITE}; look at it, or name it in acquisitions.leave_out" for name in white]


def refuse(
    table: pd.DataFrame,
    selection: Selection,
    *,
    accept: bool = False,
    min_valid: int = 1,
    pictured: Pictured | None = None,
) -> None:
    """Refuse what a table of :func:`judge_radiometry` has found; arguments as of :func:`check_radiometry`.

    Raises
    ------
    InputError
        For acquisitions that cannot be read, and a year without a usable pixel. Unless `accept`, also for offsets that
        were missed or applied twice, for clouds that the mask missed, and for two bands that are one. The message names
        the acquisitions and the settings that leave them out or accept them.
    """
    refuse_unreadable(table, selection)
    refuse_empty_years(table, min_valid)
    if not accept:
        refuse_suspects(table, selection, pictured)


def refuse_unreadable(table: pd.DataFrame, selection: Selection) -> None:
    """Raise :class:`InputError` for acquisitions that cannot be read; it has the first reason and the way out."""
    lost = table[table["verdict"] == radiometry.UNREADABLE]
    if not len(lost):
        return
    first = lost["why"].iloc[0]
    if len(lost) == len(table):
        raise InputError(f"none of the {len(table)} chosen acquisitions can be read, e.g. {first}")
    raise InputError(
        f"{len(lost)} of {len(table)} chosen acquisitions cannot be read, e.g. {first}; or leave them out with "
        f"acquisitions.leave_out = {_entries(selection, lost['id'])}"
    )


def refuse_empty_years(table: pd.DataFrame, min_valid: int) -> None:
    """Raise :class:`InputError` for a year in which no pixel can have `min_valid` usable dates."""
    for year, own in table.groupby("year"):
        empty = own[own["usable"] == 0]["id"].tolist()
        seen = len(own) - len(empty)
        if seen < min_valid:
            lower = f"lower gaps.min_valid to {seen}, " if seen else ""
            raise InputError(
                f"{year}: {len(empty)} of {len(own)} chosen acquisitions have no usable pixel, e.g. {empty[0]}, and "
                f"gaps.min_valid = {min_valid} usable dates cannot be reached; compare source.mask with their masks, "
                f"{lower}or leave {year} out of acquisitions.years"
            )


def refuse_suspects(table: pd.DataFrame, selection: Selection, pictured: Pictured | None = None) -> None:
    """Raise :class:`InputError` if a table has suspects; it names them, their pictures, and the way out."""
    wrong = table[table["verdict"].isin(radiometry.WRONG)]
    if not len(wrong):
        return
    found = {s.acquisition.id: s.acquisition for row in selection.chosen.values() for s in row}
    listed = []
    for name, verdict, dark, why in wrong[["id", "verdict", "dark", "why"]].itertuples(index=False):
        picture = f", picture {pictured(found[name])}" if pictured else ""
        listed.append(f"{name} ({why or f'{verdict}, darkest {dark:.0f}'}{picture})")
    counts = {about: int(wrong["verdict"].isin(verdicts).sum()) for about, verdicts in _ABOUT.items()}
    parts = [f"{n} of {len(table)} acquisitions {about}" for (about, _), n in counts.items() if n]
    fixes = [fix for (_, fix), n in counts.items() if n and fix]
    fixes = [
        f"leave them out with acquisitions.leave_out = {_entries(selection, wrong['id'])}",
        *fixes,
        "accept them, e.g. bright ground or snow, with --accept-radiometry",
    ]
    raise InputError(f"{' and '.join(parts)}: {', '.join(listed)}; {', or '.join(fixes)}")


def _entries(selection: Selection, names: Iterable[str]) -> str:
    """Value of ``acquisitions.leave_out`` that leaves out `names`, and what is left out already."""
    earlier = [s.acquisition.id for row in selection.rejected.values() for s in row if s.reason == BY_HAND]
    return json.dumps([*earlier, *names])


class _Look(NamedTuple):
    """Share of usable pixels, low quantiles and medians (2, B) above zero reflectance, and a verdict on the files."""

    usable: float
    levels: npt.NDArray[np.float64]
    verdict: str = ""
    why: str = ""


def _look(source: Source, acquisition: Acquisition, grid: Grid, scratch: Path | None) -> _Look:
    size = 2 * len(source.bands)

    def looked() -> list[float]:
        dn, usable = source.read(acquisition, grid, slice(0, grid.height), slice(0, grid.width))
        seen = dn[:, usable]
        levels = (radiometry.levels(seen) - DN_OFFSET).ravel().tolist()
        return [float(usable.mean()), *levels, *np.ravel(radiometry.copies(seen)).tolist()]

    try:
        usable, *rest = once(scratch, acquisition.id, looked)
    except InputError as error:
        return _Look(0.0, np.full((2, len(source.bands)), np.nan), radiometry.UNREADABLE, str(error))
    levels = np.reshape(rest[:size], (2, -1))
    copies = [source.bands[int(band)] for band in rest[size : size + 2]]
    why = f"{' and '.join(copies)} hold the same values at every pixel" if copies else ""
    return _Look(usable, levels, radiometry.COPY if copies else "", why)
