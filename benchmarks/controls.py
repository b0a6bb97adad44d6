"""Controls over worlds: whether a gain of the multi-year maps comes from samples, steps, smoothness or chance.

Usage: python benchmarks/controls.py FOLDER [WORLDS], by default 9 worlds, some minutes each on one core. FOLDER keeps
what was measured. The tables replace those of docs/evidence.md and README.md.

Every world is the demo of another seed on a smaller area, with smaller networks, and is run as a user would run it with
``evidence.controls = "full"``. The figures are those of its table ``evaluation/controls.csv``, which the blocks of the
whole area make. A world is one unit: differences are paired by world, their intervals are Student's, and p is that of
the exact sign-flip test over the worlds, by Holm's method for all differences of one table in one measure.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pandas as pd
from page_tables import PAGE, put

import mlc_dask as mlc
from mlc_dask.config import Config, load_config
from mlc_dask.data.layers import BASELINE, MULTI
from mlc_dask.kernels.intervals import holm, sign_flip, student
from mlc_dask.kernels.smoothers import RATES
from mlc_dask.kernels.squares import PLAIN
from mlc_dask.worlds.demo import write_demo

MEASURES = {
    "agreement": "agreement",
    "flicker_share": "flicker",
    "accuracy": "accuracy",
    "change_recall": "change recall",
    "change_precision": "change precision",
}
MODELS = {
    MULTI: "multi-year",
    "equal_samples": "multi-year, a third of the samples",
    "equal_steps": "multi-year, a third of the steps",
    "year_left_out": "multi-year, without the year that is mapped",
    "pooled_forest": "one forest of all years",
    "yearly_forests": "one forest a year",
    "one_year": "the model of one year, for all years",
}
SMOOTHERS = ("mode", "last-year", *(f"hmm-{rate}" for rate in RATES))
LEVEL = 0.05
_README = PAGE.parents[1] / "README.md"


def config_of(folder: Path, world: int, size: int = 192) -> Config:
    """Write a world, and its configuration with all controls; the networks have a demo's shape."""
    config = load_config(write_demo(folder, size=size, seed=world))
    return config.model_copy(
        update={
            "seed": world,
            "annual_training": replace(config.annual_training, size=1_500, min_per_class=50, pixels=2_000),
            "forest": replace(config.forest, trees=50),
            "multiyear_training": replace(config.multiyear_training, train=1_000, validation=300, min_per_class=30),
            "classifier": replace(config.classifier, epochs=15, batch=128),
            "evidence": config.evidence.model_copy(update={"controls": "full"}),
        }
    )


def measure(folder: Path, world: int, size: int = 192) -> pd.DataFrame:
    """Run a world; return its table of controls with the number of the world. A finished world is not run again."""
    file = folder / f"world-{world}.csv"
    if not file.exists():
        config = config_of(folder / f"world-{world}", world, size)
        mlc.run(config, scheduler="current")
        pd.read_csv(config.output / "evaluation" / "controls.csv").assign(world=world).to_csv(file, index=False)
        print(f"world {world} done", flush=True)
    return pd.read_csv(file)


def estimates(rows: pd.DataFrame) -> pd.DataFrame:
    """Estimates of unfiltered maps: a row per world, columns (measure, control, smoother)."""
    raw = rows[~rows["filtered"]].fillna({"smoother": PLAIN})
    return raw.pivot(index="world", columns=["metric", "control", "smoother"], values="estimate")


def table(wide: pd.DataFrame, rows: dict[tuple[str, str], str], base: tuple[str, str], label: str) -> str:
    """Means over worlds and their differences from `base`, in Markdown; ``*`` marks those that Holm's method rejects.

    A measure that a series lacks in some world, as precision where nothing changes, is not judged: –.

    Parameters
    ----------
    rows
        Names of series (control, smoother).
    base
        The series that all others are compared with; its row comes last.
    label
        Name of `base`.
    """
    lines = [f"| maps | {' | '.join(MEASURES.values())} |", "|---" * (1 + len(MEASURES)) + "|"]
    cells = dict.fromkeys(rows, "")
    for measure_ in MEASURES:
        gaps = {who: (wide[(measure_, *who)] - wide[(measure_, *base)]).to_numpy() for who in rows}
        judged = {who: gap for who, gap in gaps.items() if not np.isnan(gap).any()}
        adjusted = dict(zip(judged, holm([sign_flip(gap) for gap in judged.values()]), strict=True))
        for who in rows:
            own = "–"
            if who in judged:
                mean, low, high = student(judged[who])
                mark = " *" if adjusted[who] < LEVEL else ""
                own = f"{wide[(measure_, *who)].mean():.3f} ({mean:+.3f} [{low:+.3f}, {high:+.3f}]){mark}"
            cells[who] += f" {own} |"
    lines += [f"| {rows[who]} |{own}" for who, own in cells.items()]
    last = " | ".join(f"{wide[(measure_, *base)].mean():.3f}" for measure_ in MEASURES)
    return "\n".join([*lines, f"| {label} | {last} |"])


def floor(wide: pd.DataFrame) -> str:
    """How much two seeds of the multi-year model differ, in Markdown."""
    lines = [
        "| measure | mean difference of two seeds, without its sign | largest | difference [95 % interval] |",
        "|---|---|---|---|",
    ]
    for measure_, name in MEASURES.items():
        gap = (wide[measure_, "seed_1", PLAIN] - wide[measure_, MULTI, PLAIN]).to_numpy()
        mean, low, high = student(gap)
        lines.append(
            f"| {name} | {np.abs(gap).mean():.3f} | {np.abs(gap).max():.3f} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] |"
        )
    return "\n".join(lines)


def tables(rows: pd.DataFrame) -> dict[str, str]:
    """All tables by name."""
    wide = estimates(rows)
    models = {(control, PLAIN): name for control, name in MODELS.items()}
    smoothed = {(BASELINE, s): f"single-year + {s}" for s in SMOOTHERS}
    return {
        "models": table(wide, models, (BASELINE, PLAIN), "single-year"),
        "smoothers": table(wide, smoothed, (MULTI, PLAIN), "multi-year"),
        "floor": floor(wide),
    }


def main(folder: Path, worlds: Sequence[int]) -> None:
    """Measure the worlds and replace the tables of both pages."""
    folder.mkdir(parents=True, exist_ok=True)
    with dask.config.set(scheduler="synchronous"):
        found = tables(pd.concat([measure(folder, world) for world in worlds]))
    put("controls", found)
    put("controls", {"models": found["models"]}, _README)


if __name__ == "__main__":
    main(Path(sys.argv[1]), range(int(sys.argv[2]) if len(sys.argv) > 2 else 9))
