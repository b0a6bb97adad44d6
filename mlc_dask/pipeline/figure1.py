"""Fig. 1 of the paper as lists of calls, each the function that a notebook would call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from mlc_dask.config import Config
from mlc_dask.data.layers import CHANGES, SMOOTHED, SMOOTHED_ALONE
from mlc_dask.io.old_map import put_on_grid
from mlc_dask.io.published import LEGEND, name_classes
from mlc_dask.pipeline.formats import in_chunks
from mlc_dask.pipeline.inputs import Given
from mlc_dask.pipeline.many_tiles import Pipeline, Tiles
from mlc_dask.runs.artifacts import Artifact
from mlc_dask.runs.run import Run
from mlc_dask.show.report.evidence import gather_evidence
from mlc_dask.show.report.quicklook import draw_quicklooks
from mlc_dask.stages.annual_training import select_reliable_samples
from mlc_dask.stages.block_sample import draw_blocks
from mlc_dask.stages.choice import choose_acquisitions, list_acquisitions
from mlc_dask.stages.classification import (
    MULTI_YEAR,
    classify,
    fit_multi_and_single_year,
    fit_multi_year,
    fit_per_year,
)
from mlc_dask.stages.confidence import judge_confidence
from mlc_dask.stages.control_training import fit_controls
from mlc_dask.stages.controls import judge_controls
from mlc_dask.stages.drawing import pooled
from mlc_dask.stages.drift import watch_drift
from mlc_dask.stages.evaluation import count_changes, judge
from mlc_dask.stages.filtering import SMOOTHERS
from mlc_dask.stages.multiyear_training import sample_unchanged, unchanged_areas
from mlc_dask.stages.radiometry import check_radiometry
from mlc_dask.stages.time_series import stack_selection


class Cubed(NamedTuple):
    """The time series as results of the run."""

    selection: Artifact
    radiometry: Artifact
    cube: Artifact
    quicklooks: Artifact


def annual_cube(run: Run, given: Given) -> Cubed:
    """From a catalogue of acquisitions to the cube of paired ones (section 2.1)."""
    source, own = given.source, given.config.acquisitions
    catalogue = run.do(list_acquisitions, source, **given.years, how={"known": given.known})
    selection = run.do(choose_acquisitions, source, catalogue, **given.acquisitions)
    radiometry = run.do(
        check_radiometry, source, selection, catalogue,
        accept=own.accept_radiometry, min_valid=given.config.gaps.min_valid, how={"pictured": given.pictured},
    )  # fmt: skip
    cube = run.do(stack_selection, source, catalogue, selection)
    quicklooks = run.do(draw_quicklooks, cube)
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
    drift: Artifact


def annual_samples(run: Run, given: Given) -> Annual:
    """From acquisitions and an old map to annual training sets (sections 2.1 and 2.2)."""
    cubed = annual_cube(run, given)
    crosswalk = given.crosswalk.coded
    product = run.do(put_on_grid, given.product, cubed.cube, crosswalk=crosswalk, year=given.product_year)
    samples = run.do(select_reliable_samples, cubed.cube, product, **given.annual_training)
    return Annual(cubed, product, samples)


def train_forests(run: Run, config: Config, samples: Artifact) -> Artifact:
    """One forest per year (section 2.3)."""
    return run.do(fit_per_year, samples, classifier=config.forest, seed=config.seed)


def unchanged_samples(run: Run, given: Given, annual: Annual, forests: Artifact) -> MultiYear:
    """From forests to samples of the areas that did not change (section 2.3)."""
    cube, product = annual.cubed.cube, annual.product
    preliminary = run.do(classify, cube, forests, name="preliminary")
    unchanged = run.do(unchanged_areas, preliminary, product, annual.samples)["unchanged"]
    samples = run.do(sample_unchanged, cube, product, unchanged, annual.samples, **given.multiyear_training)
    drift = run.do(watch_drift, annual.samples, legend=given.legend.uncoloured)
    return MultiYear(preliminary, samples, drift)


def both_models(run: Run, config: Config, samples: Artifact) -> Artifact:
    """One model for all years, and its baseline of one model per year (sections 2.4 and 4)."""
    return run.do(fit_multi_and_single_year, samples, classifier=config.classifier, seed=config.seed)


def one_model(run: Run, config: Config, samples: Artifact) -> Artifact:
    """One model for all years (section 2.4)."""
    return run.do(fit_multi_year, samples, classifier=config.classifier, seed=config.seed, name="models")


class Mapped(NamedTuple):
    """Series by the names of their steps, the changes, and what is published before the evidence."""

    series: Mapping[str, Artifact]
    layers: Mapping[str, Artifact]
    published: Mapping[str, Artifact]


def both_series(run: Run, given: Given, cube: Artifact, preliminary: Artifact, models: Artifact) -> Mapped:
    """Map and filter with the multi-year model and with its baseline (section 4)."""
    single = run.do(classify, cube, models, name="single-year")
    multi = run.do(classify, cube, models[MULTI_YEAR], **given.config.maps.wanted, name="multi-year")
    maps = {"preliminary": preliminary, "single-year": single, "multi-year": multi}
    smoothed = {
        s.step: run.do(SMOOTHERS[s.smoother], maps[s.made_from], **given.smoother(s), name=s.step) for s in SMOOTHED
    }
    changes = run.do(count_changes, smoothed["multi-year-filtered"], smoothed["single-year-filtered"])
    return Mapped({**maps, **smoothed}, {**maps, **smoothed, CHANGES: changes}, {})


def one_series(run: Run, given: Given, cube: Artifact, preliminary: Artifact, models: Artifact) -> Mapped:
    """Map and filter with the multi-year model alone (section 4)."""
    multi = run.do(classify, cube, models[MULTI_YEAR], **given.config.maps.wanted, name="multi-year")
    maps = {"preliminary": preliminary, "multi-year": multi}
    smoothed = {
        s.step: run.do(SMOOTHERS[s.smoother], maps[s.made_from], **given.smoother(s), name=s.step)
        for s in SMOOTHED_ALONE
    }
    changes = run.do(count_changes, smoothed["multi-year-filtered"])
    return Mapped({**maps, **smoothed}, {**maps, **smoothed, CHANGES: changes}, {})


class Baseline(NamedTuple):
    """What `evidence.baseline` decides: the models that are trained, and the series that are mapped whole."""

    train: Callable[[Run, Config, Artifact], Artifact]
    series: Callable[[Run, Given, Artifact, Artifact, Artifact], Mapped]


BASELINES: Final = {
    "whole": Baseline(both_models, both_series),
    "sample": Baseline(both_models, one_series),
    "none": Baseline(one_model, one_series),
}


def train_models(run: Run, config: Config, samples: Artifact) -> Artifact:
    """Train the models of the maps, as `evidence.baseline` says."""
    return BASELINES[config.evidence.baseline].train(run, config, samples)


def consistent_maps(run: Run, given: Given, annual: Annual, multi_year: MultiYear, models: Artifact) -> Mapped:
    """From models to filtered maps (section 4)."""
    cube, quicklooks = annual.cubed.cube, annual.cubed.quicklooks
    made = BASELINES[given.config.evidence.baseline].series(run, given, cube, multi_year.preliminary, models)
    legend = run.do(name_classes, legend=given.legend)
    sources = {"cube": cube, "product": annual.product, LEGEND: legend}
    published = {**made.layers, **sources, "quicklooks": quicklooks, "drift": multi_year.drift}
    run.publish(published)
    return made._replace(published=published)


Trained = Artifact | Mapping[str, object]
"""The models of all controls, or none."""


class Learned(NamedTuple):
    """The samples of one place or of several that models learned from, the models, and those of the controls."""

    samples: Artifact
    models: Artifact
    controls: Trained


def no_trainings(run: Run, config: Config, samples: Artifact) -> Trained:
    """Train no model for comparisons."""
    return {}


def all_trainings(run: Run, config: Config, samples: Artifact) -> Trained:
    """Train the models of all controls."""
    own = {"classifier": config.classifier, "forest": config.forest, "seeds": config.evidence.seeds}
    return run.do(fit_controls, samples, **own, seed=config.seed)


def no_controls(
    run: Run, given: Given, annual: Annual, multi_year: MultiYear, learned: Learned, made: Mapped
) -> Mapping[str, Artifact]:
    """Compare with nothing."""
    return {}


def on_the_sample(
    run: Run, given: Given, annual: Annual, multi_year: MultiYear, learned: Learned, made: Mapped
) -> Mapping[str, Artifact]:
    """Compare with the single-year models, and with what was trained for it, on a sample of blocks."""
    cube = annual.cubed.cube
    blocks = run.do(draw_blocks, cube, seed=given.config.seed)
    table = run.do(
        judge_controls, in_chunks(cube), blocks, multi_year.samples, learned.models, learned.controls, made.series,
        annual.product, given.truth,
        legend=given.legend.uncoloured, filtering=given.config.filter, seed=given.config.seed,
    )  # fmt: skip
    confidence = run.do(
        judge_confidence, in_chunks(cube), blocks, multi_year.samples, learned.samples, learned.models[MULTI_YEAR],
        annual.product, given.truth,
        legend=given.legend.uncoloured, sensor=given.sensor, seed=given.config.seed,
    )  # fmt: skip
    return {"evidence-blocks": blocks, "controls": table, "confidence": confidence}


class Controls(NamedTuple):
    """What `evidence.controls` decides: the models trained for comparisons, and the comparison."""

    train: Callable[[Run, Config, Artifact], Trained]
    judge: Callable[..., Mapping[str, Artifact]]


CONTROLS: Final = {
    "none": Controls(no_trainings, no_controls),
    "paper": Controls(no_trainings, on_the_sample),
    "full": Controls(all_trainings, on_the_sample),
}


def train_controls(run: Run, config: Config, samples: Artifact) -> Trained:
    """Train models for comparisons, as `evidence.controls` says."""
    return CONTROLS[config.evidence.controls].train(run, config, samples)


def evidence(run: Run, given: Given, annual: Annual, multi_year: MultiYear, learned: Learned, made: Mapped) -> None:
    """From maps to their evaluation and the report (section 4)."""
    selection, radiometry, cube, _ = annual.cubed
    names = given.legend.uncoloured
    tables = run.do(judge, given.truth, made.series, legend=names, implausible=given.implausible)
    compared = CONTROLS[given.config.evidence.controls].judge(run, given, annual, multi_year, learned, made)
    report = run.do(
        gather_evidence, cube, annual.product, selection, radiometry, annual.samples, multi_year.samples,
        learned.models, tables, made.layers, multi_year.drift, made.published[LEGEND], compared,
        rule=given.config.filter.in_words, crosswalk=given.crosswalk.name,
    )  # fmt: skip
    run.publish({**made.published, "evaluation": tables, **compared, "report": report})


def annual_maps(run: Run, given: Given) -> None:
    """From acquisitions and an old map to consistent annual maps and their evidence."""
    annual = annual_samples(run, given)
    forests = train_forests(run, given.config, annual.samples)
    multi_year = unchanged_samples(run, given, annual, forests)
    models = train_models(run, given.config, multi_year.samples)
    made = consistent_maps(run, given, annual, multi_year, models)
    trained = train_controls(run, given.config, multi_year.samples)
    evidence(run, given, annual, multi_year, Learned(multi_year.samples, models, trained), made)


def maps_of_tiles(tiles: Tiles, config: Config) -> None:
    """Make the maps of several tiles, whose models learn from the samples of all."""
    annual = tiles.each(annual_samples)
    own = (place.samples for place in annual.values())
    annual_all = tiles.joint.do(pooled, *own, tiles=tiles.names, name="annual-training")
    forests = train_forests(tiles.joint, config, annual_all)
    multi_year = tiles.each(unchanged_samples, annual, forests)
    own = (place.samples for place in multi_year.values())
    multi_year_all = tiles.joint.do(pooled, *own, tiles=tiles.names, name="multiyear-training")
    models = train_models(tiles.joint, config, multi_year_all)
    made = tiles.each(consistent_maps, annual, multi_year, models)
    trained = train_controls(tiles.joint, config, multi_year_all)
    tiles.each(evidence, annual, multi_year, Learned(multi_year_all, models, trained), made)
    tiles.joint.publish({"forests": forests, "models": models})


def cubes_of_tiles(tiles: Tiles, config: Config) -> None:
    """Make the cubes of several tiles."""
    tiles.each(annual_cube)


CUBE = Pipeline(annual_cube, cubes_of_tiles)
MAPS = Pipeline(annual_maps, maps_of_tiles, Given.references)
