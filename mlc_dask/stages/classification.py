"""Training and classification patch by patch (paper sections 2.3, 2.4 and 4; method sections 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from mlc_dask import lazy
from mlc_dask.classifiers import Classifier, Context, Model, TrainingSet
from mlc_dask.classifiers.engine import to_percent
from mlc_dask.data.errors import InputError
from mlc_dask.data.layers import CLASSIFIED
from mlc_dask.data.schema import (
    BAND,
    CLASS,
    YEAR,
    check_cube,
    check_samples,
    days_of,
    legend_of,
    year_coordinate,
    year_start_of,
)
from mlc_dask.data.steps import step
from mlc_dask.kernels.gaps import count_valid, fill
from mlc_dask.kernels.uncertainty import UNCERTAINTY
from mlc_dask.stages import drawing as sampling

Array = npt.NDArray[Any]
ModelSet = dict[str, Model]

MULTI_YEAR = "multi-year"

TRAINING_TOPIC = "mlc-training"
"""Scheduler topic on which running trainings report their epochs."""

_PROBABILITY = "probability"
_PIXELS_AT_ONCE = 65_536


def fit(samples: xr.Dataset, *, classifier: Classifier, seed: int = 0, scratch: Path | None = None) -> Model:
    """Train one model on the samples of all years (paper section 2.4)."""
    years = np.unique(samples.year.values).tolist()
    return fit_groups(samples, {MULTI_YEAR: years}, classifier=classifier, seed=seed, scratch=scratch)[MULTI_YEAR]


@step("forests", kind="models")
def fit_per_year(
    samples: xr.Dataset, *, classifier: Classifier, seed: int = 0, scratch: Path | None = None
) -> ModelSet:
    """Train one model per year on the samples of this year (paper sections 2.3 and 4)."""
    groups = {str(y): [y] for y in np.unique(check_samples(samples).year.values).tolist()}
    return fit_groups(samples, groups, classifier=classifier, seed=seed, scratch=scratch)


@step("models", kind="models")
def fit_multi_and_single_year(
    samples: xr.Dataset, *, classifier: Classifier, seed: int = 0, scratch: Path | None = None
) -> ModelSet:
    """Train the multi-year model and its baseline (one model per year) in parallel on the workers.

    Returns
    -------
    Models by name: ``multi-year``, and the years.
    """
    years = np.unique(check_samples(samples).year.values).tolist()
    groups = {MULTI_YEAR: years, **{str(y): [y] for y in years}}
    return fit_groups(samples, groups, classifier=classifier, seed=seed, scratch=scratch)


@step("multi-year-model", kind="models")
def fit_multi_year(
    samples: xr.Dataset, *, classifier: Classifier, seed: int = 0, scratch: Path | None = None
) -> ModelSet:
    """Train the multi-year model alone: models by name, of which there is one, ``multi-year``."""
    return {MULTI_YEAR: fit(samples, classifier=classifier, seed=seed, scratch=scratch)}


def fit_groups(
    samples: xr.Dataset,
    groups: Mapping[str, Sequence[int]],
    *,
    classifier: Classifier,
    seed: int = 0,
    scratch: Path | None = None,
) -> ModelSet:
    """Train one model per group of years, each in its own task.

    Parameters
    ----------
    scratch
        Folder, reachable by the workers, from which an interrupted training resumes after its last epoch.
    """
    samples = sampling.without_witnesses(check_samples(samples))
    return fit_all({name: Training(samples, tuple(y), classifier, seed) for name, y in groups.items()}, scratch)


class Training(NamedTuple):
    """One training: the samples of `years` among `samples`, a classifier and a seed."""

    samples: xr.Dataset
    years: tuple[int, ...]
    classifier: Classifier
    seed: int


def fit_all(trainings: Mapping[str, Training], scratch: Path | None = None) -> ModelSet:
    """Do all trainings at once, each in its own task; a scratch folder as in :func:`fit_groups`."""
    tasks = {}
    for name, own in trainings.items():
        fit_one = partial(_fit, name, scratch, own.years, own.classifier, own.seed)
        tasks[name] = lazy.call(fit_one, own.samples, name=f"train-{own.classifier.name}-{name}")
    wanted = [own.classifier.resource for own in trainings.values() if own.classifier.resource]
    models: ModelSet = lazy.compute(tasks, resource=next(iter(wanted), None))
    return models


def _fit(
    name: str, scratch: Path | None, years: tuple[int, ...], classifier: Classifier, seed: int, samples: xr.Dataset
) -> Model:
    return classifier.fit(
        _training_set(samples, years),
        seed=seed,
        checkpoint=scratch and scratch / name,
        report=lambda row: lazy.tell(TRAINING_TOPIC, {"model": name, **row}),
    )


def _training_set(samples: xr.Dataset, years: Sequence[int]) -> TrainingSet:
    days = {y: np.asarray(samples.attrs["days"][str(y)]) for y in years}
    method = samples.attrs["gaps"]
    own = [samples.isel(sample=np.flatnonzero(samples.year.values == y)) for y in years]
    series = [sampling.filled(s.dn.values, s.usable.values, days[y], method) for y, s in zip(years, own, strict=True)]
    context = Context(
        legend=legend_of(samples),
        bands=tuple(samples[BAND].values.tolist()),
        days=tuple(np.mean([days[y] for y in years], axis=0).round(3).tolist()),
        gaps=method,
        min_valid=int(samples.attrs["min_valid"]),
    )
    return TrainingSet(
        dn=np.concatenate(series),
        labels=np.concatenate([s.label.values for s in own]),
        validation=np.concatenate([s.split.values == sampling.Split.VALIDATION for s in own]),
        context=context,
    )


@step("classified", kind="maps", version=2)
def classify(
    cube: xr.Dataset,
    model: Model | Mapping[str, Model],
    *,
    probabilities: bool = False,
    entropy: bool = False,
    margin: bool = False,
) -> xr.Dataset:
    """Map every year of a cube (paper sections 2.3 and 2.4).

    Parameters
    ----------
    cube
        See :func:`mlc_dask.data.schema.check_cube`; its blocks are the patches.
    model
        One model for all years, or a mapping from year to model.
    probabilities, entropy, margin
        Whether to add the layers ``probability``, ``entropy`` and ``margin``, which change no other layer.

    Returns
    -------
    Lazy Dataset (year, y, x) uint8: ``label`` (0 for pixels with fewer usable dates than the model's `min_valid`),
    ``confidence`` (a score: top probability or vote share in percent, not calibrated; 0 without a label) and
    ``valid_count`` (usable dates). ``entropy`` is that of the probabilities, in percent of the largest possible one,
    ``margin`` the lead of the top probability over the second, in percent: both 1 to 100, 0 without a label.
    With `probabilities` also ``probability`` (year, class, y, x) uint8 in percent. ``class`` lists the codes that at
    least one model can answer. The probability is 0 for classes that the model of the year does not have, and for
    pixels without a label. Percentages are rounded one by one, so their sum may differ from 100.
    """
    check_cube(cube)
    years = [int(y) for y in cube[YEAR].values]
    models = {y: _model_of(model, y) for y in years}
    codes = _codes_of(models.values()) if probabilities else ()
    more = tuple(name for name, wanted in {"entropy": entropy, "margin": margin}.items() if wanted)
    maps = [_classify_year(cube, y, models[y], codes, more) for y in years]
    found = xr.concat(maps, dim=xr.DataArray(year_coordinate(years, year_start_of(cube)), name=YEAR), data_vars="all")
    found = found.assign_coords({"spatial_ref": cube.spatial_ref} if "spatial_ref" in cube.coords else {})
    return found.assign_attrs(legend=models[years[0]].context.legend.to_dict())


def _model_of(model: Model | Mapping[str, Model], year: int) -> Model:
    if not isinstance(model, Mapping):
        return model
    if str(year) not in model:
        raise InputError(f"there is no model for {year}, only for {', '.join(model)}; train one with fit")
    return model[str(year)]


def _codes_of(models: Iterable[Model]) -> tuple[int, ...]:
    return tuple(sorted({code for model in models for code in model.classes.tolist()}))


def _classify_year(
    cube: xr.Dataset, year: int, model: Model, codes: tuple[int, ...], more: tuple[str, ...]
) -> xr.Dataset:
    one, context = cube.sel({YEAR: year}, drop=True), model.context
    bands = tuple(cube[BAND].values.tolist())
    if bands != tuple(context.bands):
        raise InputError(f"the model was trained on bands {context.bands}; the cube has {bands}; train on this cube")
    days = days_of(cube, year)
    if len(days) != len(context.days):
        raise InputError(
            f"the model was trained on {len(context.days)} acquisitions per year, the cube has {len(days)} in {year}; "
            f"choose {len(context.days)} for the cube, or train on this cube"
        )
    planes = [f"{_PROBABILITY}-{code}" for code in codes]
    found = lazy.map_pixels(
        partial(_classify_block, days=days, codes=codes, more=more),
        one.reflectance,
        one.usable,
        layers=[*CLASSIFIED, *more, *planes],
        name=f"classify-{model.settings.name}-{year}",
        parameter=model,
        resource=model.settings.resource,
    )
    if not codes:
        return found
    classes = xr.DataArray(np.array(codes, np.uint8), dims=CLASS, name=CLASS)
    every = found[planes].to_dataarray(CLASS).assign_coords({CLASS: classes})
    return found[[*CLASSIFIED, *more]].assign({_PROBABILITY: every})


def _classify_block(
    dn: Array, usable: Array, model: Model, *, days: Array, codes: tuple[int, ...], more: tuple[str, ...]
) -> lazy.Made:
    """Classify a block (T, B, h, w); only one batch at a time is gap-filled, to limit memory.

    Returns
    -------
    Label, confidence, usable dates, the layers `more` of :data:`~mlc_dask.kernels.uncertainty.UNCERTAINTY`, and
    probabilities of `codes`, in percent: (3 + M + K, h, w) uint8, made by the model's engine; by none where no pixel
    has enough usable dates.
    """
    t, b, height, width = dn.shape
    dn, usable = dn.reshape(t, b, -1), usable.reshape(t, -1)
    first = len(CLASSIFIED) + len(more)
    planes = np.zeros((first + len(codes), height * width), np.uint8)
    planes[2] = count_valid(usable)
    able = np.flatnonzero(planes[2] >= model.context.min_valid)
    engine = ""
    # An engine that fails its gate within the block leaves the whole block to the engine that replaces it.
    while able.size and engine != model.engine:
        engine = model.engine
        for start in range(0, len(able), _PIXELS_AT_ONCE):
            at = able[start : start + _PIXELS_AT_ONCE]
            whole = fill(dn, usable, days, model.context.gaps, at)
            if not codes and not more:
                planes[0, at], planes[1, at] = model.predict(whole)
                continue
            planes[0, at], planes[1, at], every = model.predict(whole, probabilities=True)
            for i, name in enumerate(more, len(CLASSIFIED)):
                planes[i, at] = to_percent(UNCERTAINTY[name](every), least=1)
            if codes:
                planes[np.ix_(first + np.searchsorted(codes, model.classes), at)] = to_percent(every)
    return lazy.Made(planes.reshape(-1, height, width), engine)
