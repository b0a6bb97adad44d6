"""The table of implausible changes: its file, and what an evaluation says with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import mlc_dask as mlc
from mlc_dask.data.legend import legend_of_crosswalk
from mlc_dask.data.plausibility import implausible_for

LEGEND = mlc.DEFAULT_LEGEND
WATER, ARTIFICIAL, CROPS = (LEGEND.code(name) for name in ("Water", "Artificial", "Crops"))


def maps_of(*pixels: tuple[int, ...], years: list[int]) -> xr.Dataset:
    labels = np.array(pixels, np.uint8).T[:, None]
    coords = {"year": years, "y": [5_000_000.0], "x": 500_000 + 10.0 * np.arange(len(pixels))}
    array = xr.DataArray(labels, dims=("year", "y", "x"), coords=coords)
    return xr.Dataset({"label": array.rio.write_crs("EPSG:32632").chunk()})


def test_the_shipped_table_knows_its_classes_and_no_change_both_ways_by_mistake() -> None:
    table = implausible_for(LEGEND)
    assert table is not None and (WATER, ARTIFICIAL) in table.reasons(1)
    assert (WATER, ARTIFICIAL) not in table.reasons(2) and (ARTIFICIAL, WATER) not in table.reasons(1)
    assert implausible_for(legend_of_crosswalk("worldcover")) is None, "other classes"


def test_an_evaluation_counts_implausible_changes() -> None:
    maps = {("m", False): maps_of((WATER, ARTIFICIAL), (WATER, ARTIFICIAL), (CROPS, ARTIFICIAL), (CROPS, CROPS),
                                  years=[2018, 2019])}  # fmt: skip
    found = mlc.evaluate(maps, legend=LEGEND)
    rows = found.transitions.set_index(["from", "to"])
    assert rows.pixels.to_dict() == {("Crops", "Artificial"): 1, ("Water", "Artificial"): 2}
    assert rows.plausible.tolist() == ["yes", "no"] and "built over" in rows.reason.iloc[1]
    assert rows.intensity.tolist() == [1 / 2, 1.0] and rows.targeted.tolist() == [3 / 4, 3 / 4]
    shares = found.summary[found.summary.metric == "implausible_share"].set_index("scope").value
    assert shares.to_dict() == {"2018-2019": 2 / 3, "overall": 2 / 3}
    slow = mlc.evaluate({("m", False): maps_of((WATER, ARTIFICIAL), years=[2018, 2020])}, legend=LEGEND)
    assert slow.transitions.plausible.tolist() == ["yes"], "two years are enough"
    own = mlc.Implausible(())
    assert set(mlc.evaluate(maps, legend=LEGEND, implausible=own).transitions.plausible) == {"yes"}


def test_components_and_courses_of_the_toy_series() -> None:
    """The six pixels of Pontius: 000 010 011 012 101 221."""
    pixels = [tuple(int(c) + 1 for c in word) for word in ("000", "010", "011", "012", "101", "221")]
    found = mlc.evaluate({("m", False): maps_of(*pixels, years=[2018, 2019, 2020])}, legend=LEGEND)
    rows = found.classes[found.classes["pair"].isin(["all", "first-last"])].groupby("pair", sort=False)
    halves = rows[["quantity", "exchange", "shift"]].sum() / 2
    assert halves.loc["all"].tolist() == [2, 6, 0] and halves.loc["first-last"].tolist() == [2, 0, 1]
    values = {(r.metric, r.scope): r.value for r in found.summary.itertuples()}
    assert values["alternation", "overall"] == 5 / 6 and values["alternating_changes", "overall"] == 5 / 8
    assert values["category", "sustained"] == 0, "three years"
    assert values["trajectory", "returns"] == 2 / 6 and values["trajectory", "stable"] == 1 / 6


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("Water,Artifical,1,no", "line 3: class 'Artifical' is not in the legend; it has Artificial, Grass"),
        ("Water,Crops,soon,no", "line 3: years 'soon' is no number above 0; give the years"),
        ("Water,Crops,1,", "line 3: has no reason; say why"),
        ("Water,Water,1,no", "line 3: from Water to itself is no change; name two classes"),
        ("Water,Artificial,2,no", "line 3: Water to Artificial occurs twice; keep one row"),
    ],
)
def test_faults_of_the_table(tmp_path: Path, row: str, fault: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"from,to,years,reason\nWater,Artificial,1,slow\n{row}\n", encoding="utf-8")
    with pytest.raises(mlc.InputError) as error:
        mlc.Implausible.from_csv(table, LEGEND)
    assert str(error.value).startswith(f"{table}, {fault}")
