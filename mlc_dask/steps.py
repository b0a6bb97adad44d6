"""Steps that a run adds to the stages: thin adapters between files, stages and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import xarray as xr

from mlc_dask import lazy
from mlc_dask.acquisitions import Selection, Source
from mlc_dask.classifiers import Model
from mlc_dask.io.products import open_product, open_reference
from mlc_dask.legend import Crosswalk
from mlc_dask.report import Evidence
from mlc_dask.results import assemble
from mlc_dask.schema import YEAR, legend_of
from mlc_dask.stages.evaluation import Evaluation, change_count, evaluate
from mlc_dask.stages.filtering import smooth
from mlc_dask.stages.multiyear_training import unchanged_areas
from mlc_dask.stages.time_series import stack

READ_BLOCK = 512
"""Edge in pixels of the blocks that a cube is read and written in."""


def stack_selection(source: Source, selection: Selection) -> xr.Dataset:
    """Stack the chosen acquisitions into a lazy cube on the source's own grid."""
    return stack(source, selection, grid=source.grid(), chunk=READ_BLOCK)


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


def judge(
    truth: Mapping[int, Path],
    preliminary: xr.Dataset,
    single: xr.Dataset,
    single_smooth: xr.Dataset,
    multi: xr.Dataset,
    multi_smooth: xr.Dataset,
) -> Evaluation:
    """Judge all map series, against the reference where there is one."""
    legend = legend_of(multi)
    years = [y for y in multi[YEAR].values.tolist() if y in truth]
    planes = [open_reference(truth[y], like=multi, legend=legend) for y in years]
    series = {
        ("multi_year", True): multi_smooth,
        ("single_year", True): single_smooth,
        ("multi_year", False): multi,
        ("single_year", False): single,
        ("preliminary", False): preliminary,
    }
    reference = xr.concat(planes, dim=xr.DataArray(years, dims=YEAR, name=YEAR)) if years else None
    return evaluate(series, truth=reference, legend=legend)


def gather_evidence(
    cube: xr.Dataset,
    product: xr.DataArray,
    selection: Selection,
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
        notes=list(chain(annual.attrs["notes"], samples.attrs["notes"])),
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
