"""The table of series and layers: names follow from it, and layers outside the table come last."""

from __future__ import annotations

import pytest

from mlc_dask.data.layers import LAYERS, RANKED_SERIES, SERIES, SMOOTHED, STEPS, layer_called, planes
from mlc_dask.stages.filtering import SMOOTHERS


@pytest.mark.parametrize("series", SERIES, ids=lambda s: s.name)
def test_names_follow_from_model_and_filter(series: object) -> None:
    row = next(s for s in SERIES if s is series)
    layer = LAYERS[row.name]
    assert (layer.step, layer.title, layer.rank) == (row.step, row.title, row.rank)
    assert row.step == row.name.replace("_", "-") and row.name.startswith(row.model)
    assert row.name.endswith("_filtered") is row.filtered is row.title.endswith(", filtered")


def test_a_series_made_from_another_names_a_step_before_it_and_a_smoother() -> None:
    made: list[str] = []
    for series in SERIES:
        assert bool(series.smoother) is bool(series.made_from)
        assert not series.smoother or (series.made_from in made and series.smoother in SMOOTHERS)
        made.append(series.step)
    assert tuple(s for s in SERIES if s.made_from) == SMOOTHED


def test_ranks_are_the_order_of_showing() -> None:
    ranks = [layer.rank for layer in LAYERS.values()]
    assert len(set(ranks)) == len(ranks)
    assert RANKED_SERIES[0].key == ("multi_year", True) and len(RANKED_SERIES) == len(SERIES)


def test_planes_that_a_run_stores() -> None:
    """Three classifications of three layers and two filtered ones per year, and two counts of changes."""
    assert planes(3) == 3 * (3 * 3 + 2) + 2
    assert planes(3, optional=13) == planes(3) + 3 * 13
    assert {n for n, row in LAYERS.items() if row.optional} == {"entropy", "margin", "probability"}


def test_a_layer_outside_of_the_table_comes_last() -> None:
    other = layer_called("my_own_map")
    assert other.rank > max(layer.rank for layer in LAYERS.values())
    assert other.values == "classes" and other.title == "my-own-map"


def test_every_quantity_has_colours_and_the_changes_have_one_ramp() -> None:
    quantities = [layer for layer in LAYERS.values() if layer.values != "classes"]
    assert quantities and all(layer.ramp and layer.unit for layer in quantities)
    ramps = {layer.ramp for layer in quantities if layer.unit == "changes"}
    assert len(ramps) == 1
    assert {layer.step for layer in LAYERS.values()} == set(STEPS)
