"""Whether the chosen acquisitions show the ground in every year, with the offset that their metadata states.

See method section 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
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
    Table with columns ``year, id, dark`` (ten-thousandths of reflectance), ``verdict`` and ``usable`` (share of the
    pixels, 0..1).

    Raises
    ------
    InputError
        For offsets that were missed or applied twice, and for clouds that the mask missed; the message names the
        acquisitions and the settings that leave them out or accept them. For a year without a usable pixel.
    """
    table = judge_radiometry(source, selection, catalogue, scratch=scratch)
    refuse_empty_years(table, min_valid)
    if not accept:
        refuse_suspects(table, selection, pictured)
    return table


def judge_radiometry(
    source: Source, selection: Selection, catalogue: Catalogue, *, scratch: Path | None = None
) -> pd.DataFrame:
    """Return the table of :func:`check_radiometry`, whatever the verdicts."""
    coarse = catalogue.grid.coarsened(_LOOKED_AT)
    chosen = [(year, s.acquisition) for year, row in selection.chosen.items() for s in row]
    seen = lazy.compute([lazy.call(_levels, source, a, coarse, scratch, name=f"radiometry-{y}") for y, a in chosen])
    looked = np.array(seen)
    levels = looked[:, 1:].reshape(len(chosen), 2, -1)
    verdicts = radiometry.judge(levels[:, 0], levels[:, 1], SENTINEL2.positions(source.bands))
    return pd.DataFrame(
        [
            {"year": y, "id": a.id, "dark": dark.min(), "verdict": verdict, "usable": usable}
            for (y, a), dark, verdict, usable in zip(chosen, levels[:, 0], verdicts, looked[:, 0], strict=True)
        ]
    )


def doubtful(table: pd.DataFrame) -> list[str]:
    """Return one line for each acquisition that is white all over and may be snow or cloud."""
    white = table[table["verdict"] == radiometry.WHITE]["id"]
    return [f"{name} is {radiometry.WHITE}; look at it, or name it in acquisitions.leave_out" for name in white]


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
    for name, verdict, dark in zip(wrong["id"], wrong["verdict"], wrong["dark"], strict=True):
        picture = f", picture {pictured(found[name])}" if pictured else ""
        listed.append(f"{name} ({verdict}, darkest {dark:.0f}{picture})")
    earlier = [s.acquisition.id for row in selection.rejected.values() for s in row if s.reason == BY_HAND]
    entries = json.dumps([*earlier, *wrong["id"]])
    fixes = [f"leave them out with acquisitions.leave_out = {entries}"]
    offsets = wrong["verdict"] != radiometry.CLOUD
    if offsets.any():
        fixes.append("correct the offset in the metadata")
    fixes.append("accept them, e.g. bright ground or snow, with --accept-radiometry")
    clouds = int((~offsets).sum())
    parts = [f"{int(offsets.sum())} of {len(table)} acquisitions contradict their metadata"] if offsets.any() else []
    parts += [f"{clouds} of {len(table)} acquisitions show clouds that the mask missed"] if clouds else []
    raise InputError(f"{' and '.join(parts)}: {', '.join(listed)}; {', or '.join(fixes)}")


def _levels(source: Source, acquisition: Acquisition, grid: Grid, scratch: Path | None) -> list[float]:
    """Share of usable pixels, and low quantiles of all bands and their medians, above zero reflectance."""

    def looked() -> list[float]:
        dn, usable = source.read(acquisition, grid, slice(0, grid.height), slice(0, grid.width))
        for one, other in radiometry.copies(dn, usable):
            raise InputError(
                f"{acquisition.id}: {source.bands[one]} and {source.bands[other]} hold the same values at every pixel; "
                "one of their files is a copy of the other: replace it, or take one of the two out of source.bands"
            )
        found: list[float] = (radiometry.levels(dn, usable) - DN_OFFSET).ravel().tolist()
        return [float(usable.mean()), *found]

    return once(scratch, acquisition.id, looked)
