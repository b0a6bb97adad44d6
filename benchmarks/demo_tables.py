"""Write the tables of the README from a finished demo.

Usage: python benchmarks/demo_tables.py [OUTPUT], by default the ``mlc-demo`` of ``make demo``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pandas as pd
from page_tables import markdown, put

from mlc_dask.data.layers import BASELINE
from mlc_dask.kernels.squares import PLAIN
from mlc_dask.show.report.page import key_figures
from mlc_dask.stages.evaluation import KEY_FIGURES

README: Final = Path(__file__).parents[1] / "README.md"


def differences(controls: pd.DataFrame) -> pd.DataFrame:
    """Find what the multi-year maps have more than the single-year maps, with 95 % intervals, by kind of maps."""
    own = controls[(controls.control == BASELINE) & (controls.smoother == PLAIN)]
    shown = [metric for metric in KEY_FIGURES if metric in set(own.metric)]
    table = -own.set_index(["filtered", "metric"])[["difference", "difference_high", "difference_low"]]
    rows = []
    for name, filtered in (("filtered", True), ("unfiltered", False)):
        row = {"multi-year minus single-year maps": name}
        for metric in shown:
            gap, low, high = table.loc[(filtered, metric)]
            row[KEY_FIGURES[metric]] = f"{gap:+.3f} [{low:+.3f}, {high:+.3f}]"
        rows.append(row)
    return pd.DataFrame(rows)


def main(output: Path) -> None:
    """Replace the tables between their marks."""
    summary, controls = (pd.read_csv(output / "evaluation" / f"{name}.csv") for name in ("summary", "controls"))
    tables = {"demo-figures": key_figures(summary), "demo-differences": differences(controls)}
    put("demo_tables", {name: markdown(table) for name, table in tables.items()}, README)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else README.parent / "mlc-demo")
