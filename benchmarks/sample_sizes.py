"""At which number of samples a gain of the multi-year model comes from samples, and at which from years.

Usage: python benchmarks/sample_sizes.py FOLDER [WORLDS], by default 3 worlds, some minutes each on one core.
FOLDER keeps what was measured. The table replaces that of docs/evidence.md.

The multi-year training set of a world is drawn once, with 24,000 samples a year or as many as there are. Every n-th of
them train one model per year (single), one of all years (multi) and, every 3 n-th, one of all years on as many samples
as a single one has (equal). The gain multi - single is the sum of equal - single, which more years give, and multi -
equal, which more samples give. All networks take the same number of steps. Every third row and column is mapped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import xarray as xr
from page_tables import put

import mlc_dask as mlc
from mlc_dask.classifiers import LSTM, Classifier, RandomForest
from mlc_dask.config import Config, load_config
from mlc_dask.data.schema import SAMPLE, legend_of
from mlc_dask.kernels.comparison import MEASURES, consistency_counts, truth_counts
from mlc_dask.pipeline.inputs import given_truth
from mlc_dask.stages.classification import Training, classify, fit_all
from mlc_dask.stages.control_training import every_nth
from mlc_dask.stages.drawing import Split, without_witnesses
from mlc_dask.worlds.demo import write_demo

LARGEST = 24_000
SIZES = (50, 150, 500, 1_500, 6_000, LARGEST)
SINGLE, EQUAL, MULTI = "single", "equal", "multi"
FOREST = RandomForest(trees=50)
NETWORK = LSTM(layers=1, hidden=48, dropout=0.0, batch=128)
_STEPS, _STRIDE, _SPARED = 300, 3, 40


def config_of(folder: Path, world: int, size: int = 320) -> Config:
    """Write a world and its configuration."""
    config = load_config(write_demo(folder, size=size, seed=world))
    return config.model_copy(
        update={
            "seed": world,
            "annual_training": replace(config.annual_training, size=3_000, pixels=2_000),
            "forest": replace(config.forest, trees=50),
            "multiyear_training": replace(config.multiyear_training, train=LARGEST, validation=LARGEST // 2),
        }
    )


class Ground:
    """A world in memory: the cube and the truth (year, y, x) of the pixels that are mapped, and all samples."""

    def __init__(self, config: Config) -> None:
        made = {e.step: e.artifact for e in mlc.run(config, until="multiyear-training", scheduler="current")}
        thin = {"y": slice(None, None, _STRIDE), "x": slice(None, None, _STRIDE)}
        cube = made["cube"].open()
        self.samples = spared(without_witnesses(made["multiyear-training"].open()).compute())
        self.per_year = int((self.samples.split.values == Split.TRAINING).sum()) / cube.sizes["year"]
        self.years = tuple(int(y) for y in cube.year.values)
        truth = given_truth(config).open().on(cube, legend_of(self.samples))
        self.truth = truth.isel(thin).values
        self.cube = cube.isel(thin).compute().chunk()


def spared(samples: xr.Dataset) -> xr.Dataset:
    """Keep all training samples, and every 40th for validation, which suffice to choose an epoch."""
    rank = np.cumsum(samples.split.values == Split.VALIDATION)
    keep = (samples.split.values == Split.TRAINING) | (rank % _SPARED == 0)
    return samples.isel({SAMPLE: np.flatnonzero(keep)})


def trained(ground: Ground, classifier: Classifier, nth: int, seed: int) -> dict[str, Any]:
    """Train all models on every n-th sample; single ones by year."""
    k, own = len(ground.years), every_nth(ground.samples, nth)

    def training(samples: xr.Dataset, years: tuple[int, ...]) -> Training:
        size = int(((samples.split.values == Split.TRAINING) & np.isin(samples.year.values, years)).sum())
        if not isinstance(classifier, LSTM):
            return Training(samples, years, classifier, seed)
        epochs = max(1, round(_STEPS / -(-size // classifier.batch)))
        return Training(samples, years, replace(classifier, epochs=epochs), seed)

    several = {
        MULTI: training(own, ground.years),
        EQUAL: training(every_nth(ground.samples, nth * k), ground.years),
        **{str(y): training(own, (y,)) for y in ground.years},
    }
    models = fit_all(several)
    return {SINGLE: {str(y): models[str(y)] for y in ground.years}, EQUAL: models[EQUAL], MULTI: models[MULTI]}


def judged(ground: Ground, classifier: Classifier, nth: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of all models: every measure, and the training samples per year."""
    training = every_nth(ground.samples, nth).split.values == Split.TRAINING
    for name, model in trained(ground, classifier, nth, seed).items():
        maps = classify(ground.cube, model).label.values
        counts = np.concatenate([consistency_counts(maps), truth_counts(maps, ground.truth, successive=True)])
        shares = dict(zip(MEASURES, counts[:, 0] / counts[:, 1], strict=True))
        yield {"model": name, "samples": training.sum() / len(ground.years), **shares}


def measure(folder: Path, world: int, size: int = 320, sizes: tuple[int, ...] = SIZES) -> pd.DataFrame:
    """One row per world, classifier, number of samples and model; what `folder` has is not measured again."""
    rows, ground = [], None
    for wanted in sizes:
        for who, classifier in {"forest": FOREST, "LSTM": NETWORK}.items():
            file = folder / f"world-{world}-{who}-{wanted}.csv"
            if not file.exists():
                ground = ground or Ground(config_of(folder / f"world-{world}", world, size))
                own = pd.DataFrame(judged(ground, classifier, max(1, round(ground.per_year / wanted)), world))
                own.assign(world=world, classifier=who, wanted=wanted).to_csv(file, index=False)
                print(f"world {world}: {who}, {wanted} samples a year done", flush=True)
            rows.append(pd.read_csv(file))
    return pd.concat(rows)


def table(rows: pd.DataFrame) -> str:
    """Means over the worlds, with the lowest and the highest of every gain, in Markdown."""
    lines = [
        "| classifier | samples a year | agreement of single | from years | from samples "
        "| accuracy of single | from years | from samples |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (who, _), own in rows.groupby(["classifier", "wanted"], sort=False):
        cells = [f"{own.samples.mean():,.0f}"]
        for measure_ in ("agreement", "accuracy"):
            wide = own.pivot(index="world", columns="model", values=measure_)
            cells.append(f"{wide[SINGLE].mean():.3f}")
            gains = (wide[EQUAL] - wide[SINGLE], wide[MULTI] - wide[EQUAL])
            cells += [f"{gain.mean():+.3f} ({gain.min():+.3f}, {gain.max():+.3f})" for gain in gains]
        lines.append(f"| {who} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(folder: Path, worlds: range) -> None:
    """Measure the worlds, and replace the table of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    with dask.config.set(scheduler="synchronous"):
        rows = pd.concat([measure(folder, world) for world in worlds])
    put("sample_sizes", {"sample-sizes": table(rows.sort_values(["classifier", "wanted"], kind="stable"))})


if __name__ == "__main__":
    main(Path(sys.argv[1]), range(int(sys.argv[2]) if len(sys.argv) > 2 else 3))
