"""Offsets of STAC items in real pixels, in odd metadata, and on the command line."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from rasterio.warp import transform_bounds

from mlc_dask.data.errors import InputError
from mlc_dask.io.sources import Stac, items
from mlc_dask.kernels import radiometry
from mlc_dask.worlds import World
from mlc_dask.worlds.formats import FORMATS
from mlc_dask.worlds.formats.stac import write_catalogue
from mlc_dask.worlds.landscape import make_landscape
from mlc_dask.worlds.scenes import scenes
from mlc_dask.worlds.spectra import Ground
from tests.cubes import Array
from tests.stac_api import (
    COLLECTION,
    configured,
    told,
    whole,
)
from tests.test_items import COGS, clear, file_of


def test_real_cogs_in_a_box(tmp_path: Path) -> None:
    """A part of the tile and of what is beside it; the files are decimated, so their item's shape is not theirs."""
    item = pystac.Item.from_file(str(file_of("S2A_29RKH_20200219_0_L2A")))
    for asset in item.assets.values():
        asset.href = str(next(COGS.rglob(Path(asset.href).name), asset.href))
    place = tmp_path / "items.json"
    pystac.ItemCollection([item]).save_object(str(place))
    box = transform_bounds("EPSG:32629", "EPSG:4326", 195_000, 2_740_000, 230_000, 2_765_000)
    source = Stac(catalogue=str(place), bbox=box, resolution=100)
    found = source.catalogue([2020])
    dn, usable = whole(source, found.acquisitions[0], found)
    row, column = round(2_800_020 - found.grid.top) // 100, round(199_980 - found.grid.left) // 100
    assert column > 0 and dn.shape[1] > 250, "the box reaches beyond the tile"
    at = slice(row, row + dn.shape[1]), slice(0, dn.shape[2] - column)
    assert not dn[:, :, :column].any() and not usable[:, :column].any()
    for band, name in enumerate(source.bands):
        raw = pixels(next(COGS.rglob(f"{name}.tif")), 1098)[at].astype(int)
        np.testing.assert_array_equal(dn[band, :, column:], np.where(raw > 0, raw + 1000, 0), name)
    scl = pixels(next(COGS.rglob("SCL.tif")), 1098)[at]
    inside = (dn[:, :, column:] > 0).all(axis=0)
    np.testing.assert_array_equal(usable[:, column:], inside & ~np.isin(scl, (0, 1, 3, 8, 9)))
    weather = source.weather(found.acquisitions[0], found.grid)
    assert weather.cloud == pytest.approx(np.isin(scl, (8, 9, 10)).sum() / (scl != 0).sum())


def pixels(path: Path, size: int) -> Array:
    """The file's own pixels, repeated to a square of `size`."""
    with rasterio.open(path) as file:
        values = file.read(1)
    factor = size // values.shape[0]
    return np.asarray(values.repeat(factor, 0).repeat(factor, 1))


PB = "s2:processing_baseline"
FLAG = "earthsearch:boa_offset_applied"


@pytest.mark.parametrize("raster", [None, {"offset": 0, "scale": 1e-4}, {"offset": -0.1, "scale": 1e-4}], ids=str)
@pytest.mark.parametrize("place", ["raster:bands", "bands", "asset"])
@pytest.mark.parametrize(
    ("own", "offset"),
    [
        ({PB: "05.10", FLAG: True}, 0.0),
        ({PB: "05.10", FLAG: False}, -0.1),
        ({PB: "03.01", FLAG: True}, 0.0),
        ({PB: "03.01", FLAG: False}, 0.0),
        ({PB: "05.10"}, -0.1),
        ({PB: "03.01"}, 0.0),
        ({"sentinel:boa_offset_applied": True, "sentinel:processing_baseline": "04.00"}, 0.0),
        ({"sentinel:boa_offset_applied": False, "sentinel:processing_baseline": "04.00"}, -0.1),
        ({FLAG: True}, 0.0),
        ({FLAG: False}, None),
        ({}, None),
        ({"s2:product_uri": "S2B_MSIL2A_20210601T101031_N0500_R022_T32TPS_20230101T000000.SAFE"}, -0.1),
        ({"sentinel:product_id": "S2B_MSIL2A_20210601T101031_N0213_R022_T32TPS_20210601T120000"}, 0.0),
    ],
    ids=str,
)
def test_flag_then_baseline_then_raster(
    own: dict[str, Any], offset: float | None, place: str, raster: dict[str, float] | None
) -> None:
    """Whatever the raster metadata says, it counts only where neither flag nor baseline tells (`offset` is None)."""
    item = pystac.Item("an-item", None, None, datetime(2021, 6, 1), own)
    asset = pystac.Asset("/data/B02.tif")
    if raster is not None:
        fields = {f"raster:{key}": value for key, value in raster.items()}
        asset.extra_fields = fields if place == "asset" else {place: [raster if place == "raster:bands" else fields]}
    item.add_asset("B02", asset)
    if offset is None and raster is None:
        with pytest.raises(InputError, match="an-item: its metadata has neither a processing baseline nor an offset"):
            items.granule_of(item, ["B02"], {})
        return
    expected = offset if offset is not None else (raster or {})["offset"]
    assert items.granule_of(item, ["B02"], {}).assets["B02"].offset == expected


def flagged(path: Path, *, applied: bool) -> Path:
    """Give an item the flag of the older collection of Earth Search."""
    item = json.loads(path.read_bytes())
    item["collection"] = COLLECTION
    item["properties"][FLAG] = applied
    path.write_text(json.dumps(item), encoding="utf-8")
    return path


def test_the_command_line_names_what_lies(tmp_path: Path) -> None:
    """Of pixels that carry the offset one says that it was applied; of pixels that do not, one that it was not."""
    world = World(size=128, years=(2018,), seed=4, acquisitions_per_year=8, cloud_share=0.05)
    rows = clear(list(scenes(world, 0, Ground(world, make_landscape(world)))))
    write, own = FORMATS["stac"], tmp_path / "own"
    missed = flagged(write(own, rows[0], flavour="earth-search-c1"), applied=True)
    twice = write(own, rows[1], flavour="earth-search", lie=True)
    honest = write(own, rows[2], flavour="earth-search")
    write_catalogue(own, [missed, twice, honest])
    config = configured(tmp_path, "out", tmp_path, kind="stac", catalogue=str(own / "items.json"))
    text = config.read_text(encoding="utf-8").replace("per_year = 4", "per_year = 3")
    config.write_text(text.replace("[2018, 2019]", "[2018]"), encoding="utf-8")

    code, output = told("cube", config)
    line = next(line for line in output.splitlines() if line.startswith("error: "))
    assert code == 2 and line.startswith("error: 2 of 3 acquisitions contradict their metadata: "), output
    for scene, verdict in ((rows[0], radiometry.MISSED), (rows[1], radiometry.TWICE)):
        assert re.search(
            rf"{scene.overpass.time:%Y%m%d}T\d+_S2\w_R\d+ \({verdict}, darkest -?\d+, picture \S+\.png\)", line
        ), line
    code, output = told("cube", config, "--accept-radiometry")
    assert code == 0, output
    table = pd.read_csv(next((tmp_path / "out" / "artifacts").glob("radiometry-*/*.csv")))
    assert sorted(table["verdict"]) == sorted([radiometry.FINE, radiometry.MISSED, radiometry.TWICE])
    code, output = told("cube", config)
    assert code == 2 and "2 of 3 acquisitions contradict their metadata" in output, "acceptance holds for one run only"
