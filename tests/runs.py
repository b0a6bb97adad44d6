"""Small whole runs for tests: a world, a configuration, and the pipeline without the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlc_dask as mlc
from mlc_dask.config import Config
from mlc_dask.runs.artifacts import Event
from mlc_dask.worlds import World, write_world

SHARED = Path(__file__).parents[2] / "shared" / "data"

CONFIG = """
output = "{output}"
seed = 5
[source]
kind = "geotiff"
folder = "{world}/acquisitions"
[product]
path = "{world}/product/corine.tif"
[acquisitions]
per_year = 6
[gaps]
min_valid = 3
[annual_training]
size = 400
min_per_class = 20
cluster_pixels = 300
max_clusters = 3
[forest]
trees = 10
[multiyear_training]
train = 300
validation = 150
min_per_class = 10
block = 16
[classifier]
kind = "lstm"
layers = 1
hidden = 8
dropout = 0.0
epochs = 3
batch = 64
[filter]
size = 5
[evaluation]
truth = "{world}/truth/{{year}}.tif"
[evidence]
baseline = "whole"
controls = "none"
[execution]
dashboard = "127.0.0.1:0"
{execution}
"""


def small_world(folder: Path, size: int = 96, years: tuple[int, ...] = (2018, 2019, 2020)) -> Path:
    """Write a world with nine acquisitions per year."""
    write_world(folder, World(size=size, years=years, seed=1, acquisitions_per_year=9))
    return folder


def write_config(path: Path, world: Path, output: Path, execution: str = "workers = 2", **replaced: Any) -> Path:
    """Write the small configuration; `replaced` maps a line's key to its new value, for the first line of that key."""
    text = CONFIG.format(world=world, output=output, execution=execution)
    for key, value in replaced.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{key} ="))
        text = text.replace(old, f"{key} = {value}", 1)
    path.write_text(text, encoding="utf-8")
    return path


def run_all(config: Path | Config, until: str | None = None) -> list[Event]:
    """Run the pipeline on the current scheduler; return the steps with their states."""
    return mlc.run(config, until=until, scheduler="current")


def artifacts(output: Path, step: str) -> list[Path]:
    """Folders of the results of a step."""
    return sorted(p for p in (output / "artifacts").glob(f"{step}-*") if p.name.rpartition("-")[0] == step)
