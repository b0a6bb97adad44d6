"""The demonstration: a synthetic world and a configuration that maps it in minutes on two cores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from mlc_dask.data.errors import InputError
from mlc_dask.storage.durable import atomic_write
from mlc_dask.worlds import World, write_world

_CONFIG = """\
# The demonstration: {size} × {size} pixels, {years} years, a planted truth. The method is the paper's. Where a value is
# smaller than in the paper, to finish in minutes on two cores, a comment gives the value of the paper.
output = "."
seed = 0

[source]
kind = "geotiff"
folder = "world/acquisitions"

[product]
path = "world/product/corine.tif"
crosswalk = "corine"

[acquisitions]
per_year = 20

[annual_training]
size = 5000             # the paper: 24 000, on 460 times the area
min_per_class = 100
cluster_pixels = 4000
max_clusters = 5

[forest]
trees = 100

[multiyear_training]
train = 5000            # the paper: 24 000
validation = 2500       # the paper: 12 000
min_per_class = 100
block = 32

[classifier]
kind = "lstm"
layers = 2              # the paper: 4
hidden = 48             # the paper: 128
dropout = 0.3
epochs = 15             # the paper: 100
batch = 256

[evaluation]
truth = "world/truth/{{year}}.tif"

[evidence]
baseline = "whole"      # as in the paper; the default judges the single-year models on a sample

[execution]
workers = 2
patch = 256
"""


def write_demo(folder: Path, *, size: int, seed: int) -> Path:
    """Write the world, unless it exists, and the configuration; return the path of the configuration.

    Raises
    ------
    InputError
        If the folder holds the demonstration of another world.
    """
    world = World(size=size, seed=seed)
    settings, mark = folder / "demo.toml", folder / "world.done"
    wanted = {"size": size, "seed": seed, "years": list(world.years)}
    if mark.exists():
        written = json.loads(mark.read_bytes())
        if written != wanted:
            raise InputError(
                f"{folder} holds the demo of seed {written['seed']} and {written['size']} pixels; choose another folder"
            )
        return settings
    shutil.rmtree(folder / "world", ignore_errors=True)
    write_world(folder / "world", world)
    if not settings.exists():
        atomic_write(settings, _CONFIG.format(size=size, years=len(world.years)).encode())
    atomic_write(mark, json.dumps(wanted).encode())
    return settings
