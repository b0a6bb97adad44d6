"""Fig. 1 of the paper as a list of calls, each the function that a notebook would call."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from mlc_dask.classifiers import LSTM, RandomForest
from mlc_dask.config import Config
from mlc_dask.inputs import (
    clustering_for,
    crosswalk_for,
    given_product,
    given_source,
    given_truth,
    legend_for,
    pairing_rules,
    sensor_for,
)
from mlc_dask.run import Artifact, Run
from mlc_dask.sampling import Gaps
from mlc_dask.stages.annual_training import select_reliable_samples
from mlc_dask.stages.classification import MULTI_YEAR, classify, fit_multi_and_single_year, fit_per_year
from mlc_dask.stages.multiyear_training import sample_unchanged
from mlc_dask.stages.radiometry import check_radiometry
from mlc_dask.stages.time_series import choose_acquisitions
from mlc_dask.steps import (
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


class Cubed(NamedTuple):
    """The time series as results of the run."""

    selection: Artifact
    radiometry: Artifact
    cube: Artifact
    quicklooks: Artifact


def annual_cube(run: Run, config: Config) -> Cubed:
    """From a catalogue of acquisitions to the cube of paired ones (section 2.1)."""
    source, years = given_source(config), config.acquisitions.years
    catalogue = run.do("catalogue", list_acquisitions, source, kind="catalogue", years=years)
    selection = run.do(
        "acquisitions", choose_acquisitions, source, catalogue, kind="selection",
        years=years, rules=pairing_rules(config), max_tile_cloud=config.acquisitions.max_tile_cloud,
    )  # fmt: skip
    accept = config.acquisitions.accept_radiometry
    radiometry = run.do(
        "radiometry", partial(check_radiometry, accept=accept), source, selection, catalogue, kind="table"
    )
    cube = run.do("cube", stack_selection, source, catalogue, selection, kind="cube", version=2)
    quicklooks = run.do("quicklooks", draw_quicklooks, cube, kind="pictures")
    return Cubed(selection, radiometry, cube, quicklooks)


def annual_maps(run: Run, config: Config) -> None:
    """From acquisitions and an old map to consistent annual maps and their evidence."""
    product_file, truth = given_product(config), given_truth(config)
    legend, gaps, seed = legend_for(config), Gaps(**config.gaps.model_dump()), config.seed

    # The time series and the old map (section 2.1)
    selection, radiometry, cube, quicklooks = annual_cube(run, config)
    product = run.do(
        "product", put_on_grid, product_file, cube, kind="product", crosswalk=crosswalk_for(config, legend)
    )

    # Annual training sets (section 2.2)
    annual = run.do(
        "annual-training", select_reliable_samples, cube, product, kind="samples",
        size=config.annual_training.size, min_per_class=config.annual_training.min_per_class, seed=seed, gaps=gaps,
        clustering=clustering_for(config), sensor=sensor_for(config),
    )  # fmt: skip

    # The multi-year training set (section 2.3)
    forest = RandomForest(**config.forest.model_dump())
    forests = run.do("forests", fit_per_year, annual, kind="models", classifier=forest, seed=seed)
    preliminary = run.do("preliminary", classify, cube, forests, kind="maps")
    unchanged = run.do("unchanged", find_unchanged, preliminary, product, kind="maps")
    samples = run.do(
        "multiyear-training", sample_unchanged, cube, product, unchanged["unchanged"], kind="samples",
        **config.multiyear_training.model_dump(), seed=seed, gaps=gaps,
    )  # fmt: skip

    # One model for all years, and its baseline of one model a year (sections 2.4 and 4)
    lstm = LSTM(**config.lstm.model_dump())
    models = run.do("models", fit_multi_and_single_year, samples, kind="models", classifier=lstm, seed=seed)
    single = run.do("single-year", classify, cube, models, kind="maps")
    multi = run.do("multi-year", classify, cube, models[MULTI_YEAR], kind="maps")

    # Filtering and evaluation (section 4)
    single_smooth = run.do("single-year-filtered", smooth_labels, single, kind="maps", **config.filter.model_dump())
    multi_smooth = run.do("multi-year-filtered", smooth_labels, multi, kind="maps", **config.filter.model_dump())
    changes = run.do("changes", count_changes, multi_smooth, single_smooth, kind="maps")
    tables = run.do(
        "evaluation", judge, truth, preliminary, single, single_smooth, multi, multi_smooth, kind="tables"
    )  # fmt: skip
    layers = {
        "preliminary": preliminary, "single-year": single, "multi-year": multi, "single-year-filtered": single_smooth,
        "multi-year-filtered": multi_smooth, "changes": changes,
    }  # fmt: skip
    report = run.do(
        "report", gather_evidence, cube, product, selection, radiometry, annual, samples, models, tables, layers,
        kind="report", rule=f"{config.filter.rule}, {config.filter.size} pixels",
    )  # fmt: skip
    run.publish({**layers, "cube": cube, "quicklooks": quicklooks, "evaluation": tables, "report": report})
