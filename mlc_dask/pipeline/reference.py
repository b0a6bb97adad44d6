"""Reference samples of the maps of a run, and what they say about the maps: ``mlc-dask sample`` and ``assess``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mlc_dask.data.errors import InputError
from mlc_dask.io.point_tables import read_points
from mlc_dask.io.published import open_maps
from mlc_dask.io.reference_folder import (
    fingerprints,
    of_interpreter,
    read_labels,
    read_sample,
    read_strata,
    write_sample,
)
from mlc_dask.stages import assessment
from mlc_dask.stages.interpreters import compare_interpreters
from mlc_dask.stages.reference_sample import ReferenceSample, sample_reference
from mlc_dask.storage.durable import atomic_write

TABLES = ("accuracy", "areas", "change", "trajectories", "differences")
"""Tables of an assessment, each a CSV."""


def sample(
    output: Path, folder: Path, *, size: int | None = None, se: float = 0.01, seed: int = 0,
    layers: Sequence[str] | None = None,
) -> ReferenceSample:  # fmt: skip
    """Draw a reference sample of the maps in `output`, and write it into `folder`.

    Raises
    ------
    InputError
        As :func:`mlc_dask.sample_reference`, or the folder holds a sample.
    """
    drawn = sample_reference(open_maps(output), size=size, se=se, seed=seed, layers=layers)
    own = fingerprints(output, drawn.design["layers"])
    drawn = replace(drawn, design={**drawn.design, "fingerprints": own})
    write_sample(drawn.points, drawn.strata, drawn.design, folder)
    return drawn


@dataclass(frozen=True, eq=False)
class Assessed:
    """Tables of an assessment, the agreement of the interpreters, and the folder of the files."""

    tables: assessment.Assessment
    interpreters: pd.DataFrame
    folder: Path


def assess(
    output: Path, reference: Path, *, layers: Sequence[str] | None = None, strata: Path | None = None,
    crs: str | None = None, interpreter: str | None = None,
) -> Assessed:  # fmt: skip
    """Assess the maps in `output` by the folder of a sample or a table of points, and write the tables.

    They are written into ``assessment`` in the folder of the reference.

    Raises
    ------
    InputError
        As :func:`mlc_dask.assess`, or a file cannot be read, or an option does not belong to the reference.
    """
    maps = open_maps(output)
    if reference.is_dir():
        if strata is not None or crs is not None:
            raise InputError(f"{reference} has its own strata and CRS; leave out --strata and --crs")
        points, sizes, design = read_sample(reference)
        labels = read_labels(reference, points)
        chosen = of_interpreter(labels, interpreter)
        made = assessment.assess(
            maps, points.merge(labels[chosen], on="id", how="left"), strata=sizes, crs=design["crs"], layers=layers
        )
        agreed, folder = compare_interpreters(labels), reference / "assessment"
        made = replace(made, notes=(*_whose(chosen, list(labels)), *_other_maps(design, output), *made.notes))
    else:
        if interpreter is not None:
            raise InputError(f"{reference} is a table of points without interpreters; leave out --interpreter")
        points, own = read_points(reference, crs)
        sizes_given = None if strata is None else read_strata(strata)
        made = assessment.assess(maps, points, strata=sizes_given, crs=own, layers=layers)
        agreed, folder = compare_interpreters({}), reference.parent / "assessment"
    _write(made, agreed, folder)
    return Assessed(made, agreed, folder)


def _whose(chosen: str, every: Sequence[str]) -> list[str]:
    if len(every) < 2:
        return []
    return [f"labels of {chosen}, of {len(every)} interpreters ({', '.join(every)}); --interpreter chooses another"]


def _other_maps(design: dict[str, object], output: Path) -> list[str]:
    """Note where the strata are from other maps: they hold as strata, but may be less efficient."""
    drawn = design.get("fingerprints")
    if not isinstance(drawn, dict) or fingerprints(output, list(drawn)) == drawn:
        return []
    return ["the strata are from other maps than these; the estimates hold, with wider intervals"]


def _write(made: assessment.Assessment, agreed: pd.DataFrame, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tables = {name: getattr(made, name) for name in TABLES} | {"interpreters": agreed}
    for name, table in tables.items():
        atomic_write(folder / f"{name}.csv", table.to_csv(index=False).encode())
    notes = "".join(f"{note}\n" for note in made.notes)
    atomic_write(folder / "notes.txt", notes.encode())
