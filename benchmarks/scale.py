"""Cost of larger areas, calculated from measured rates. Prints the tables of docs/scale.md.

Usage: python benchmarks/scale.py ENGINES.json SCALING.json, which engines.py and scaling.py write.

Nothing here is measured at scale: rates of one core are multiplied. A run classifies every year twice by LSTM (the
model of all years, and the baseline of one model per year) and once by forests; all other work is a hundredth of that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TILE = 10980**2
PATCHES = 25
AREAS = {
    "a tile, 3 years": 3 * TILE,
    "a country of 60 tiles, 10 years": 600 * TILE,
    "all land, a year (149 million km²)": 149e6 * 1e4,
}
DOLLARS_AN_HOUR = 0.04
"""Of one core in a public cloud, storage and traffic not counted."""

ELSEWHERE = {"AMX core, prototype measured elsewhere": 23_500.0}
"""Pixels per second in both directions of what could not be measured here."""

BYTES = 20 * (2 * 10 + 1)
"""Of a pixel's year in the cube, before compression to about two thirds."""


def rates(engines: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Pixels per second of a core by LSTM in both directions and by forest, for every kind of core."""
    lstm, forest = engines["groups"]["LSTM in both directions"], engines["groups"]["Random Forest, 100 trees"]
    trees = max(row["pixels_per_second"] for name, row in forest.items() if name.startswith("engine native"))
    naive = lstm["naive PyTorch, batches of 1024"]["pixels_per_second"]
    plain = forest["scikit-learn"]["pixels_per_second"]
    found = {"this core, naive PyTorch and scikit-learn": (naive, plain)}
    name, best = max(
        ((n, r["pixels_per_second"]) for n, r in lstm.items() if n.startswith("engine native")), key=lambda e: e[1]
    )
    found[f"this core, {name}"] = (best, trees)
    return found | {kind: (rate, trees) for kind, rate in ELSEWHERE.items()}


def main() -> None:
    """Print cost by area and core, then the load on the scheduler."""
    engines, scaling = (json.loads(Path(name).read_bytes()) for name in sys.argv[1:3])
    print(
        "| area | pixel-years | cube, TB | " + " | ".join(f"{k}: core-hours (dollars)" for k in rates(engines)) + " |"
    )
    print("|---|---|---|" + "---|" * len(rates(engines)))
    for area, pixels in AREAS.items():
        hours = [pixels * (2 / lstm + 1 / forest) / 3600 for lstm, forest in rates(engines).values()]
        costs = " | ".join(f"{h:,.0f} ({h * DOLLARS_AN_HOUR:,.0f})" for h in hours)
        print(f"| {area} | {pixels:.3g} | {pixels * BYTES / 1e12:,.1f} | {costs} |")
    task, each = scaling["seconds_per_task"], scaling["tasks_per_patch"]
    per_patch = task * each
    print(
        f"\nA patch and year of a step is {each:.0f} tasks of {1e3 * task:.2f} ms of the scheduler: {per_patch:.3f} s."
    )
    seconds = TILE / PATCHES / max(lstm for lstm, _ in rates(engines).values())
    print(
        f"The fastest core above takes {seconds:,.0f} s for it, so that one scheduler feeds {seconds / per_patch:,.0f}."
    )


if __name__ == "__main__":
    main()
