"""Write the tables of the README from a finished demo.

Usage: python docs/demo_tables.py [OUTPUT], by default the ``mlc-demo`` of ``make demo``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd

from mlc_dask.data.layers import in_words, layer_name

README: Final = Path(__file__).parents[1] / "README.md"
SERIES: Final = (("multi_year", True), ("multi_year", False), ("single_year", True), ("single_year", False),
                 ("preliminary", False))  # fmt: skip
METRICS: Final = {
    "agreement": "agreement",
    "kappa": "kappa",
    "flicker_share": "flicker",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "change_recall": "change recall",
    "change_precision": "change precision",
}


def figures(summary: pd.DataFrame) -> Iterator[str]:
    """Rows of the figures of all maps, over all years."""
    yield f"| maps | {' | '.join(METRICS.values())} |"
    yield f"|---|{'---|' * len(METRICS)}"
    means = summary[(summary.scope == "overall") | summary.metric.isin(["agreement", "kappa"])]
    table = means.groupby(["model", "filtered", "metric"])["value"].mean()
    for model, filtered in SERIES:
        cells = (f"{table[model, filtered, metric]:.3f}" for metric in METRICS)
        yield f"| {in_words(layer_name(model, filtered))} | {' | '.join(cells)} |"


def differences(controls: pd.DataFrame) -> Iterator[str]:
    """Rows of what the multi-year maps have more than the single-year maps, with 95 % intervals."""
    own = controls[(controls.control == "single_year") & (controls.smoother == "none")]
    shown = [metric for metric in METRICS if metric in set(own.metric)]
    yield f"| multi-year minus single-year maps | {' | '.join(METRICS[metric] for metric in shown)} |"
    yield f"|---|{'---|' * len(shown)}"
    table = -own.set_index(["filtered", "metric"])[["difference", "difference_high", "difference_low"]]
    for filtered in (True, False):
        rows = (table.loc[(filtered, metric)] for metric in shown)
        cells = (f"{gap:+.3f} [{low:+.3f}, {high:+.3f}]" for gap, low, high in rows)
        yield f"| {'filtered' if filtered else 'unfiltered'} | {' | '.join(cells)} |"


def main(output: Path) -> None:
    """Replace the tables between their marks."""
    summary, controls = (pd.read_csv(output / "evaluation" / f"{name}.csv") for name in ("summary", "controls"))
    text = README.read_text(encoding="utf-8")
    for name, rows in (("figures", figures(summary)), ("differences", differences(controls))):
        begin, end = f"<!-- demo-{name}: made by docs/demo_tables.py -->\n", f"<!-- /demo-{name} -->"
        head, rest = text.split(begin)
        text = f"{head}{begin}" + "\n".join(rows) + f"\n{end}{rest.partition(end)[2]}"
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else README.parent / "mlc-demo")
