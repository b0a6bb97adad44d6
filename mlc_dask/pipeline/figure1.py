"""Fig. 1 of the paper as lists of calls, each the function that a notebook would call."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import NamedTuple

from mlc_dask.config import Config
from mlc_dask.data.layers import CHANGES, SERIES
from mlc_dask.pipeline.inputs import Given, crosswalk_for, legend_for, sensor_for
from mlc_dask.pipeline.many_tiles import Pipeline, Tiles
from mlc_dask.pipeline.steps import (
    count_changes,
    draw_quicklooks,
    find_unchanged,
    gather_evidence,
    judge,
    list_acquisitions,
    put_on_grid,
    smooth_labels,
    stack_selection,
)
from mlc_dask.runs.artifacts import Artifact
from mlc_dask.runs.run import Run
from mlc_dask.stages.annual_training import select_reliable_samples
from mlc_dask.stages.classification import MULTI_YEAR, classify, fit_multi_and_single_year, fit_per_year
from mlc_dask.stages.drawing import pooled
from mlc_dask.stages.multiyear_training import sample_unchanged
from mlc_dask.stages.radiometry import check_radiometry
from mlc_dask.stages.time_series import choose_acquisitions


class Cubed(NamedTuple):
    """The time series as results of the run."""

    selection: Artifact
    radiometry: Artifact
    cube: Artifact
    quicklooks: Artifact


def annual_cube(run: Run, given: Given) -> Cubed:
    """From a catalogue of acquisitions to the cube of paired ones (section 2.1)."""
    config, source = given.config, given.source
    years = config.acquisitions.years
    listed = partial(list_acquisitions, known=given.known)
    catalogue = run.do("catalogue", listed, source, kind="catalogue", years=years)
    selection = run.do(
        "acquisitions", choose_acquisitions, source, catalogue, kind="selection",
        years=years, rules=config.acquisitions.rules, max_tile_cloud=config.acquisitions.max_tile_cloud,
    )  # fmt: skip
    accept = config.acquisitions.accept_radiometry
    radiometry = run.do(
        "radiometry", partial(check_radiometry, accept=accept), source, selection, catalogue, kind="table"
    )
    cube = run.do("cube", stack_selection, source, catalogue, selection, kind="cube", version=2)
    quicklooks = run.do("quicklooks", draw_quicklooks, cube, kind="pictures")
    return Cubed(selection, radiometry, cube, quicklooks)


class Annual(NamedTuple):
    """A place up to its annual training sets."""

    cubed: Cubed
    product: Artifact
    samples: Artifact


class MultiYear(NamedTuple):
    """A place up to its multi-year training set."""

    preliminary: Artifact
    samples: Artifact


def annual_samples(run: Run, given: Given) -> Annual:
    """From acquisitions and an old map to annual training sets (sections 2.1 and 2.2)."""
    config = given.config
    legend = legend_for(config)
    cubed = annual_cube(run, given)
    product = run.do(
        "product", put_on_grid, given.product, cubed.cube, kind="product",
        crosswalk=crosswalk_for(config, legend),
    )  # fmt: skip
    samples = run.do(
        "annual-training", select_reliable_samples, cubed.cube, product, kind="samples",
        size=config.annual_training.size, min_per_class=config.annual_training.min_per_class, seed=config.seed,
        gaps=config.gaps, clustering=config.annual_training.clustering, sensor=sensor_for(config),
    )  # fmt: skip
    return Annual(cubed, product, samples)


def train_forests(run: Run, config: Config, samples: Artifact) -> Artifact:
    """One forest a year (section 2.3)."""
    return run.do("forests", fit_per_year, samples, kind="models", classifier=config.forest, seed=config.seed)


def unchanged_samples(run: Run, given: Given, annual: Annual, forests: Artifact) -> MultiYear:
    """From forests to samples of the areas that did not change (section 2.3)."""
    config = given.config
    cube, product = annual.cubed.cube, annual.product
    preliminary = run.do("preliminary", classify, cube, forests, kind="maps")
    unchanged = run.do("unchanged", find_unchanged, preliminary, product, kind="maps")
    samples = run.do(
        "multiyear-training", sample_unchanged, cube, product, unchanged["unchanged"], kind="samples",
        **asdict(config.multiyear_training), seed=config.seed, gaps=config.gaps,
    )  # fmt: skip
    return MultiYear(preliminary, samples)


def train_models(run: Run, config: Config, samples: Artifact) -> Artifact:
    """One model for all years, and its baseline of one model a year (sections 2.4 and 4)."""
    return run.do(
        "models", fit_multi_and_single_year, samples, kind="models", classifier=config.classifier, seed=config.seed
    )


def consistent_maps(run: Run, given: Given, annual: Annual, multi_year: MultiYear, models: Artifact) -> None:
    """From models to filtered maps, their evaluation and the report (section 4)."""
    config = given.config
    selection, radiometry, cube, quicklooks = annual.cubed
    preliminary, truth = multi_year.preliminary, given.truth
    single = run.do("single-year", classify, cube, models, kind="maps")
    multi = run.do("multi-year", classify, cube, models[MULTI_YEAR], kind="maps")
    single_smooth = run.do("single-year-filtered", smooth_labels, single, kind="maps", **asdict(config.filter))
    multi_smooth = run.do("multi-year-filtered", smooth_labels, multi, kind="maps", **asdict(config.filter))
    changes = run.do("changes", count_changes, multi_smooth, single_smooth, kind="maps")
    made = {s.name: s for s in (preliminary, single, multi, single_smooth, multi_smooth)}
    tables = run.do("evaluation", judge, truth, *(made[row.step] for row in SERIES), kind="tables")
    layers = {**made, CHANGES: changes}
    report = run.do(
        "report", gather_evidence, cube, annual.product, selection, radiometry, annual.samples, multi_year.samples,
        models, tables, layers, kind="report", rule=f"{config.filter.rule}, {config.filter.size} pixels",
    )  # fmt: skip
    run.publish({**layers, "cube": cube, "quicklooks": quicklooks, "evaluation": tables, "report": report})


def annual_maps(run: Run, given: Given) -> None:
    """From acquisitions and an old map to consistent annual maps and their evidence."""
    annual = annual_samples(run, given)
    forests = train_forests(run, given.config, annual.samples)
    multi_year = unchanged_samples(run, given, annual, forests)
    models = train_models(run, given.config, multi_year.samples)
    consistent_maps(run, given, annual, multi_year, models)


def maps_of_tiles(tiles: Tiles, config: Config) -> None:
    """Make the maps of several tiles, whose models learn from the samples of all."""
    annual = tiles.each(annual_samples)
    annual_all = tiles.joint.do(
        "annual-training", pooled, *(a.samples for a in annual.values()), kind="samples", tiles=tiles.names
    )
    forests = train_forests(tiles.joint, config, annual_all)
    multi_year = tiles.each(unchanged_samples, annual, forests)
    multi_year_all = tiles.joint.do(
        "multiyear-training", pooled, *(m.samples for m in multi_year.values()), kind="samples", tiles=tiles.names
    )
    models = train_models(tiles.joint, config, multi_year_all)
    tiles.each(consistent_maps, annual, multi_year, models)
    tiles.joint.publish({"forests": forests, "models": models})


def cubes_of_tiles(tiles: Tiles, config: Config) -> None:
    """Make the cubes of several tiles."""
    tiles.each(annual_cube)


CUBE = Pipeline(annual_cube, cubes_of_tiles)
MAPS = Pipeline(annual_maps, maps_of_tiles)
