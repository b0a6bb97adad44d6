"""What the evidence of a run costs beside its maps, measured on a demo and calculated for a tile.

Usage: python benchmarks/evidence_cost.py FOLDER [SIZE]. A demo of SIZE pixels (512) is run in FOLDER with every setting
of ``evidence.baseline`` and ``evidence.controls``; what its steps took is read from their records, without training.
Prints the seconds of the maps and of what is compared with them. A tile has as many blocks in its sample as the design
says; its seconds are those of a block and of a pixel, multiplied.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

import mlc_dask as mlc
from mlc_dask.runs.artifacts import read_current
from mlc_dask.stages.block_sample import draw_blocks
from mlc_dask.worlds.demo import write_demo

TILE: Final = 10980
SETTINGS: Final = (("whole", "paper"), ("sample", "none"), ("sample", "paper"), ("sample", "full"))
"""Values of ``evidence.baseline`` and ``evidence.controls``."""

COMPARED: Final = ("controls", "confidence")
"""Steps on the sample of blocks; all others with maps are of whole areas."""

MAPPED: Final = ("preliminary", "multi-year", "single-year", "multi-year-filtered", "single-year-filtered")


def configure(folder: Path, size: int) -> Path:
    """Write a demo, whose configuration has lines for the evidence."""
    settings = write_demo(folder, size=size, seed=0)
    text = settings.read_text(encoding="utf-8").partition("[evidence]")[0]
    settings.with_name("cost.toml").write_text(
        f'{text}[evidence]\nbaseline = "BASELINE"\ncontrols = "CONTROLS"\n', encoding="utf-8"
    )
    return settings.with_name("cost.toml")


def seconds(folder: Path) -> dict[str, float]:
    """Seconds of every step that the current result of an output has."""
    records = [json.loads(path.read_bytes()) for path in (folder / "artifacts").glob("*/record.json")]
    current = {artifact.fingerprint for artifact in read_current(folder).values()}
    return {r["name"]: float(r["seconds"]) for r in records if r["fingerprint"] in current}


def row(took: Mapping[str, float], size: int) -> tuple[float, float, float]:
    """Seconds of maps and comparisons, and the share of the comparisons in the maps of a tile."""
    maps, compared = (sum(took.get(step, 0.0) for step in steps) for steps in (MAPPED, COMPARED))
    here, tile = (len(draw_blocks(area(side), seed=0)) for side in (size, TILE))
    return maps, compared, (compared * tile / here) / (maps * (TILE / size) ** 2)


def area(side: int) -> xr.Dataset:
    """Make an area of which only the size is asked for."""
    return xr.Dataset(coords={name: np.arange(side) for name in "yx"})


def main(folder: Path, size: int = 512) -> None:
    """Print the table."""
    settings = configure(folder, size)
    template = settings.read_text(encoding="utf-8")
    print("| baseline | controls | maps, s | comparisons, s | comparisons to maps, here | in a tile |")
    print("|---|---|---|---|---|---|")
    for baseline, controls in SETTINGS:
        settings.write_text(template.replace("BASELINE", baseline).replace("CONTROLS", controls), encoding="utf-8")
        mlc.run(settings)
        maps, compared, share = row(seconds(folder), size)
        print(
            f"| {baseline} | {controls} | {maps:.1f} | {compared:.1f} | {compared / maps:.2f} | {share:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
