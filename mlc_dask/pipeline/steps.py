"""Steps that a run adds to the stages: thin adapters between files, stages and the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from mlc_dask import lazy
from mlc_dask.classifiers import Model
from mlc_dask.data.acquisitions import Catalogue, Selection, Source
from mlc_dask.data.layers import RANKED_SERIES, SERIES
from mlc_dask.data.legend import Crosswalk
from mlc_dask.data.schema import ACQUISITION, BAND, YEAR, legend_of
from mlc_dask.io.old_map import open_product, open_reference
from mlc_dask.io.published import assemble
from mlc_dask.show.pictures import thinned
from mlc_dask.show.report import Evidence
from mlc_dask.show.report.quicklook import quicklook_png
from mlc_dask.stages.evaluation import Evaluation, change_count, evaluate
from mlc_dask.stages.filtering import smooth
from mlc_dask.stages.multiyear_training import unchanged_areas
from mlc_dask.stages.time_series import stack

READ_BLOCK = 2048
"""Edge in pixels of the blocks that one acquisition is read and written in: whole tiles of JPEG 2000 products."""


QUICKLOOK_EDGE = 1_000
"""Pixels along each side of a quicklook at most."""


def list_acquisitions(source: Source, *, years: Sequence[int] | None, known: Catalogue | None = None) -> Catalogue:
    """Everything that the source has, by metadata: `known`, where the checks before the run have asked already."""
    return source.catalogue(years) if known is None else known


def stack_selection(source: Source, catalogue: Catalogue, selection: Selection) -> xr.Dataset:
    """Stack the chosen acquisitions into a lazy cube on the catalogue's grid."""
    return stack(source, selection, grid=catalogue.grid, chunk=READ_BLOCK)


def draw_quicklooks(cube: xr.Dataset) -> dict[str, bytes]:
    """Picture of every acquisition of the cube, as it was stored."""
    small = thinned(cube, QUICKLOOK_EDGE)
    tasks, bands = {}, cube[BAND].values.tolist()
    for year, row in zip(cube[YEAR].values.tolist(), cube.id.values.tolist(), strict=True):
        for j, name in enumerate(row):
            one = small.sel({YEAR: year}).isel({ACQUISITION: j})
            tasks[f"{year}-{j:02d}-{name}.png"] = lazy.call(
                quicklook_png, one.reflectance.data, bands, one.usable.data, name=f"quicklook-{year}"
            )
    pictures: dict[str, bytes] = lazy.compute(tasks)
    return pictures


def put_on_grid(path: Path, cube: xr.Dataset, *, crosswalk: Crosswalk) -> xr.DataArray:
    """Put the old map on the cube's grid."""
    product = open_product(path, like=cube, crosswalk=crosswalk, legend=crosswalk.legend)
    return product.chunk(lazy.blocks_of(cube.reflectance))


def find_unchanged(preliminary: xr.Dataset, product: xr.DataArray) -> xr.Dataset:
    """Unchanged areas as a layer to store."""
    return unchanged_areas(preliminary, product).to_dataset()


def smooth_labels(maps: xr.Dataset, **settings: Any) -> xr.Dataset:
    """Filter the labels alone; the other layers stand beside the unfiltered maps."""
    smoothed: xr.Dataset = smooth(maps[["label"]], **settings)
    return smoothed


def count_changes(multi: xr.Dataset, single: xr.Dataset) -> xr.Dataset:
    """Count the changes of class per pixel, for the multi-year maps and the baseline."""
    return xr.Dataset({"change_count": change_count(multi), "change_count_single_year": change_count(single)})


def judge(truth: Mapping[int, Path], *series: xr.Dataset) -> Evaluation:
    """Judge all map series, in the order of :data:`SERIES`, against the reference where there is one."""
    maps = {row.key: own for row, own in zip(SERIES, series, strict=True)}
    like = series[-1]
    legend = legend_of(like)
    years = [y for y in like[YEAR].values.tolist() if y in truth]
    planes = [open_reference(truth[y], like=like, legend=legend) for y in years]
    reference = xr.concat(planes, dim=xr.DataArray(years, dims=YEAR, name=YEAR)) if years else None
    return evaluate({row.key: maps[row.key] for row in RANKED_SERIES}, truth=reference, legend=legend)


def gather_evidence(
    cube: xr.Dataset,
    product: xr.DataArray,
    selection: Selection,
    radiometry: pd.DataFrame,
    annual: xr.Dataset,
    samples: xr.Dataset,
    models: Mapping[str, Model],
    tables: Evaluation,
    layers: Mapping[str, xr.Dataset],
    *,
    rule: str,
) -> Evidence:
    """Everything that the report shows."""
    years = ", ".join(str(y) for y in selection.years)
    crs = cube.rio.crs.to_string() if cube.rio.crs else "unknown"
    return Evidence(
        title=f"Annual land cover {years}",
        maps=assemble(layers),
        cube=cube,
        product=product,
        legend=legend_of(product),
        agreement=tables.agreement,
        summary=tables.summary,
        histories={name: model.history for name, model in models.items()},
        notes=list(chain(_accepted(radiometry), annual.attrs["notes"], samples.attrs["notes"])),
        clusters=annual.attrs["clusters"],
        selection=selection,
        facts={
            "Area": f"{cube.sizes['x']} × {cube.sizes['y']} pixels, {crs}",
            "Acquisitions": f"{selection.size} a year, bands {', '.join(cube.band.values.tolist())}",
            "Old map": str(product.attrs.get("source", "")),
            "Annual samples": f"{annual.sizes['sample']:,}",
            "Multi-year samples": f"{samples.sizes['sample']:,} of the unchanged area, validation included",
        },
        rule=rule,
    )


def _accepted(radiometry: pd.DataFrame) -> list[str]:
    """Acquisitions that contradict their metadata and were accepted by hand."""
    wrong = radiometry[radiometry["verdict"].str.startswith("offset")]
    return [f"{r.id}: {r.verdict} (darkest pixels at {r.dark:.0f}), accepted" for r in wrong.itertuples()]
