"""The models of all controls, trained side by side (method section 9)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mlc_dask.data.schema import SAMPLE, check_samples
from mlc_dask.data.steps import step
from mlc_dask.stages import drawing as sampling
from mlc_dask.stages.classification import ModelSet, Training, fit_all
from mlc_dask.stages.drawing import Split

if TYPE_CHECKING:
    from pathlib import Path

    from mlc_dask.classifiers import Classifier


@step("controls-training", kind="models", shown=True)
def fit_controls(
    samples: xr.Dataset,
    *,
    classifier: Classifier,
    forest: Classifier,
    seeds: int,
    seed: int = 0,
    scratch: Path | None = None,
) -> ModelSet:
    """Train all controls side by side on the workers.

    Parameters
    ----------
    samples
        Multi-year training set, of k years.
    classifier, forest
        The classifier of the maps, and the Random Forest of the preliminary maps.
    seeds
        Multi-year models of other seeds.

    Returns
    -------
    Models by name: ``equal-samples`` (every k-th sample), ``equal-steps`` (a k-th of the epochs; only for classifiers
    that have any), ``seed-1`` …, ``pooled-forest``, ``forest-2018`` … on the samples of one year, and ``without-2018``
    …, multi-year models of all other years.
    """
    samples = sampling.without_witnesses(check_samples(samples))
    years = tuple(np.unique(samples.year.values).tolist())
    multi = Training(samples, years, classifier, seed)
    trainings = {"equal-samples": multi._replace(samples=every_nth(samples, len(years)))}
    if (epochs := getattr(classifier, "epochs", None)) is not None:
        short: Any = replace(classifier, epochs=max(1, epochs // len(years)))  # type: ignore[type-var]
        trainings["equal-steps"] = multi._replace(classifier=short)
    trainings |= {f"seed-{i}": multi._replace(seed=seed + i) for i in range(1, seeds + 1)}
    trainings["pooled-forest"] = multi._replace(classifier=forest)
    trainings |= {f"forest-{y}": Training(samples, (y,), forest, seed) for y in years}
    others = {y: tuple(other for other in years if other != y) for y in years}
    trainings |= {f"without-{y}": multi._replace(years=rest or (y,)) for y, rest in others.items()}
    return fit_all(trainings, scratch)


def every_nth(samples: xr.Dataset, n: int) -> xr.Dataset:
    """Keep every n-th training sample of each year and class, and all validation samples."""
    frame = samples[["year", "label", "split"]].to_dataframe().reset_index(drop=True)
    rank = frame.groupby(["year", "label", "split"]).cumcount()
    keep = (frame["split"] == Split.VALIDATION) | (rank % n == 0)
    return samples.isel({SAMPLE: np.flatnonzero(keep.to_numpy())})
