"""Two real places from start to maps, with the configurations of docs/sites and fewer epochs."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest

import mlc_dask as mlc
from mlc_dask.data.acquisitions import SELECTION
from tests.runs import SHARED, run_all

SITES = Path(__file__).parents[1] / "docs" / "sites"

needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the real sites lie in ../shared/data, which is not here")


def configured(tmp_path: Path, site: str) -> Path:
    """Configuration of docs/sites with fewer epochs, since this test is about going through."""
    text = (SITES / f"{site}.toml").read_text(encoding="utf-8").replace("{data}", str(SHARED))
    text = text.replace(f"../../real-sites/{site}", str(tmp_path / "out")).replace(
        "epochs = 60", "epochs = 2\nhidden = 32"
    )
    path = tmp_path / f"{site}.toml"
    path.write_text(text, encoding="utf-8")
    (tmp_path / f"{site}.csv").write_bytes((SITES / f"{site}.csv").read_bytes())
    return path


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("site", "years", "classes"), [("flanders", [2017, 2018], {1, 2, 3}), ("meuse", [2016, 2017, 2018], {7, 8})]
)
def test_real_site_goes_through(site: str, years: list[int], classes: set[int], tmp_path: Path) -> None:
    with dask.config.set(scheduler="threads", num_workers=2):
        run_all(configured(tmp_path, site))
    maps = mlc.open_maps(tmp_path / "out").load()
    assert maps.year.values.tolist() == years
    found = set(np.unique(maps.multi_year)) - {0}
    assert len(found) >= 2 and found <= classes
    labelled = maps.multi_year_filtered.values > 0
    assert labelled.mean() > 0.9
    record = next((tmp_path / "out" / "artifacts").glob("acquisitions-*")) / "acquisitions.json"
    selection = SELECTION.validate_json(record.read_bytes())
    assert all(s.weather.cloud <= 0.6 for rows in selection.chosen.values() for s in rows)
    tables = next((tmp_path / "out" / "artifacts").glob("evaluation-*"))
    assert len(pd.read_csv(tables / "agreement.csv")) >= 5 * 2
