"""Run the real sites of docs/sites and write the results: docs/real-sites/*.png and the tables of docs/real-sites.md.

Usage: python benchmarks/real_sites.py [DATA], where DATA holds the folder ``sites``; ../shared/data by default.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
from page_tables import markdown, put

import mlc_dask as mlc
from mlc_dask.config import load_config
from mlc_dask.data.legend import Legend
from mlc_dask.show.report import figures
from mlc_dask.show.report.page import key_figures, table_one

HERE = Path(__file__).parents[1] / "docs"
SITES = ("flanders", "meuse")


def main(data: Path) -> None:
    """Run every site and replace its part of the page."""
    page = HERE / "real-sites.md"
    for site in SITES:
        template = HERE / "sites" / f"{site}.toml"
        own = template.with_name(f"{site}.local.toml")
        own.write_text(template.read_text(encoding="utf-8").replace("{data}", str(data.resolve())), encoding="utf-8")
        try:
            subprocess.run([sys.executable, "-m", "mlc_dask", "run", str(own)], check=True)  # noqa: S603 (our own)
            output = load_config(own).output
        finally:
            own.unlink()
        _pictures(site, output)
        put("real_sites", {site: _tables(output)}, page)


def _pictures(site: str, output: Path) -> None:
    maps = mlc.open_maps(output)
    legend = Legend.from_dict(maps.attrs["legend"])
    shown = {"multi-year": maps.multi_year_filtered, "single-year": maps.single_year_filtered}
    folder = HERE / "real-sites"
    folder.mkdir(exist_ok=True)
    figures.map_series(shown, legend).savefig(folder / f"{site}-maps.png", dpi=80)
    counts = {"multi-year": maps.change_count, "single-year": maps.change_count_single_year}
    figures.change_counts(counts, maps.sizes["year"]).savefig(folder / f"{site}-changes.png", dpi=80)


def _tables(output: Path) -> str:
    agreement, summary = (pd.read_csv(output / "evaluation" / f"{n}.csv") for n in ("agreement", "summary"))
    return "\n\n".join(markdown(t) for t in (key_figures(summary), table_one(agreement)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent.parent / "shared" / "data")
