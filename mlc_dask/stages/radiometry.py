"""Whether the digital numbers of the chosen acquisitions have the offset that their metadata states.

See method section 1.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mlc_dask import lazy
from mlc_dask.data.acquisitions import Acquisition, Catalogue, Selection, Source
from mlc_dask.data.errors import InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.schema import DN_OFFSET
from mlc_dask.data.steps import step
from mlc_dask.kernels import radiometry
from mlc_dask.storage.once import once

_LOOKED_AT = 1_000
"""Largest number of pixels per side of the grid on which acquisitions are judged."""


@step("radiometry", kind="table", version=2)
def check_radiometry(
    source: Source, selection: Selection, catalogue: Catalogue, *, accept: bool = False, scratch: Path | None = None
) -> pd.DataFrame:
    """Judge by dark pixels whether every chosen acquisition has the offset that its metadata states.

    Parameters
    ----------
    accept
        Record acquisitions that contradict their metadata instead of refusing them.
    scratch
        Folder, reachable by the workers, where an interrupted check finds its earlier results.

    Returns
    -------
    Table with columns ``year, id, dark`` (ten-thousandths of reflectance) and ``verdict``.

    Raises
    ------
    InputError
        If offsets were missed or applied twice; the message names the acquisitions.
    """
    coarse = catalogue.grid.coarsened(_LOOKED_AT)
    chosen = [(year, s.acquisition) for year, row in selection.chosen.items() for s in row]
    levels = lazy.compute(
        [lazy.call(_dark_level, source, a, coarse, scratch, name=f"radiometry-{y}") for y, a in chosen]
    )
    base = radiometry.base_level(levels)
    table = pd.DataFrame(
        [
            {"year": y, "id": a.id, "dark": level, "verdict": radiometry.verdict(level, base)}
            for (y, a), level in zip(chosen, levels, strict=True)
        ]
    )
    wrong = table[table["verdict"].isin([radiometry.MISSED, radiometry.TWICE])]
    if len(wrong) and not accept:
        listed = ", ".join(f"{r.id} ({r.verdict}, darkest {r.dark:.0f})" for r in wrong.itertuples())
        raise InputError(
            f"{len(wrong)} of {len(table)} acquisitions contradict their metadata: {listed}; exclude them, correct "
            "their offset, or use --accept-radiometry if bright ground or clouds that the mask missed explain it"
        )
    return table


def _dark_level(source: Source, acquisition: Acquisition, grid: Grid, scratch: Path | None) -> float:
    def looked() -> list[float]:
        dn, usable = source.read(acquisition, grid, slice(0, grid.height), slice(0, grid.width))
        return [radiometry.dark_level(dn, usable) - DN_OFFSET]

    return once(scratch, acquisition.id, looked)[0]
