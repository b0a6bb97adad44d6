"""Controls for the demo's table: the gain from training on all years, separated from that of more samples.

Usage: python benchmarks/controls.py FOLDER [SEED ...], seeds 0 to 4 by default. For every seed a world of the demo is
made under FOLDER, run until the multi-year training set is drawn, and five map series are made from networks trained
with that seed (method section 7):

- ``multi_year``: one model, all samples of all years;
- ``multi_year_equal_samples``: one model of all years on as many samples as one single-year model sees;
- ``multi_year_equal_steps``: one model, all samples, as many optimiser steps as one single-year model takes;
- ``single_year``: the paper's baseline, one model per year;
- ``one_year``: the model of the middle year applied to all years.

Fractional numbers of samples or epochs are rounded down. Prints means over seeds and, paired by
seed, differences from the baseline with their standard error; writes FOLDER/controls.csv. Series that are already in
FOLDER/seed-N.csv are not made again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import xarray as xr

import mlc_dask as mlc
from mlc_dask.classifiers import LSTM
from mlc_dask.compute.backends import connect
from mlc_dask.config import Config, load_config
from mlc_dask.data.schema import legend_of
from mlc_dask.io.old_map import open_reference
from mlc_dask.pipeline.inputs import given_truth
from mlc_dask.stages.classification import classify, fit_groups
from mlc_dask.stages.control_training import every_nth
from mlc_dask.stages.evaluation import evaluate
from mlc_dask.worlds.demo import write_demo

BASELINE = "single_year"
METRICS = ("agreement", "accuracy", "macro_f1", "change_recall", "change_precision")


def prepare(config: Config) -> tuple[xr.Dataset, xr.Dataset]:
    """Cube and multi-year samples of a demo world, by the pipeline's own steps."""
    made = {e.step: e.artifact for e in mlc.run(config, until="multiyear-training", scheduler="current")}
    return made["cube"].open(), made["multiyear-training"].open()


def series(cube: xr.Dataset, samples: xr.Dataset, lstm: LSTM, seed: int) -> dict[str, xr.Dataset]:
    """Compute the five map series."""
    years = [int(y) for y in cube.year.values]
    everything, middle = {"all": years}, str(years[len(years) // 2])
    multi = fit_groups(samples, everything, classifier=lstm, seed=seed)["all"]
    fewer = fit_groups(every_nth(samples, len(years)), everything, classifier=lstm, seed=seed)["all"]
    short = replace(lstm, epochs=lstm.epochs // len(years))
    brief = fit_groups(samples, everything, classifier=short, seed=seed)["all"]
    single = mlc.fit_per_year(samples, classifier=lstm, seed=seed)
    models = {
        "multi_year": multi,
        "multi_year_equal_samples": fewer,
        "multi_year_equal_steps": brief,
        BASELINE: single,
        "one_year": single[middle],
    }
    return {name: classify(cube, model).compute() for name, model in models.items()}


def judge(config: Config, seed: int) -> pd.DataFrame:
    """Metrics of the five series, unfiltered and filtered, of one world."""
    cube, samples = prepare(config)
    found = series(cube, samples, config.classifier, seed)
    legend = legend_of(found[BASELINE])
    planes = {y: open_reference(path, like=cube, legend=legend) for y, path in given_truth(config).open().items()}
    truth = xr.concat(list(planes.values()), dim=xr.DataArray(list(planes), dims="year", name="year"))
    maps = {(name, False): m.chunk() for name, m in found.items()}
    smooth = {(name, True): mlc.smooth(m[["label"]].chunk(), size=11, rule="majority") for (name, _), m in maps.items()}
    judged = evaluate({**maps, **smooth}, truth=truth, legend=legend)
    table = judged.agreement.query("pair == 'all' and `class` == 'overall'")
    agreement = table.assign(metric="agreement", scope="overall", value=table["agreement"])
    rows = pd.concat([agreement[judged.summary.columns], judged.summary.query("scope == 'overall'")])
    return rows[rows.metric.isin(METRICS)].assign(seed=seed)


def report(rows: pd.DataFrame) -> str:
    """Means, and differences from the baseline paired by seed with standard errors."""
    lines = [f"{rows.seed.nunique()} worlds; mean (difference from {BASELINE} ± its standard error)"]
    for filtered, own in rows.groupby("filtered"):
        lines.append("filtered" if filtered else "unfiltered")
        wide = own.pivot_table(index="seed", columns=["metric", "model"], values="value")
        for model in own.model.unique():
            cells = []
            for metric in METRICS:
                values = wide[metric, model]
                gap = values - wide[metric, BASELINE]
                cells.append(f"{metric} {values.mean():.3f} ({gap.mean():+.3f} ± {gap.sem():.3f})")
            lines.append(f"  {model:<26}" + "  ".join(cells))
    return "\n".join(lines)


def main(folder: Path, seeds: list[int]) -> None:
    """Judge every seed, then print and write the table."""
    tables = []
    for seed in seeds:
        done = folder / f"seed-{seed}.csv"
        if not done.exists():
            config = load_config(write_demo(folder / f"seed-{seed}", size=512, seed=seed))
            with connect(config.execution):
                judge(config, seed).to_csv(done, index=False)
        tables.append(pd.read_csv(done))
        print(f"seed {seed} done", flush=True)
    rows = pd.concat(tables)
    rows.to_csv(folder / "controls.csv", index=False)
    print(report(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(s) for s in sys.argv[2:]] or [0, 1, 2, 3, 4])
