"""The radiometric check on real series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest

from mlc_dask.data.acquisitions import Acquisition, Catalogue, Selection, Surveyed, Weather
from mlc_dask.data.errors import InputError
from mlc_dask.io.sources import GeoTiff
from mlc_dask.io.sources.granules import MASK
from mlc_dask.kernels import radiometry
from mlc_dask.stages.radiometry import check_radiometry
from mlc_dask.worlds import World, write_world
from tests.cubes import SHARED

SITES = {
    "flanders_a_2017_2018": {},
    "meuse_fr_2016_2018": {
        "bands": ("B02", "B03", "B04", "B8A", "B11", "B12"),
        "nodata": -10000,
        "mask": {"file": "MASK.tif", "unusable": [1, 2], "cloud": [1], "nodata": [2]},
    },
}
OVERCAST = "20180923T105020"
"""White all over though its mask says clear: a cloud of ice, as dark in the short-wave infrared as snow."""


def real_site(site: str, offset: float) -> GeoTiff:
    folder = SHARED / "sites" / site / "acquisitions"
    if not folder.is_dir():
        pytest.skip("the real sites are not beside this checkout")
    date = {"date": r"(\d{8}T\d{6})", "date_format": "%Y%m%dT%H%M%S"}
    return GeoTiff(folder=folder, offset=offset, **date, **SITES[site])


def judged(source: GeoTiff, found: Catalogue, chosen: list[Acquisition], *, accept: bool = False) -> pd.DataFrame:
    """Table of the check, by acquisition."""
    selection = Selection({0: tuple(Surveyed(a, Weather(0, 1)) for a in chosen)}, {0: ()}, 0.0)
    with dask.config.set(scheduler="threads", num_workers=2):
        return check_radiometry(source, selection, found, accept=accept).set_index("id")


def with_offset(acquisition: Acquisition, offset: float) -> Acquisition:
    """The acquisition as if its metadata stated another offset."""
    granules = tuple(
        replace(g, assets={n: a if n == MASK else replace(a, offset=offset) for n, a in g.assets.items()})
        for g in acquisition.granules
    )
    return replace(acquisition, granules=granules)


@pytest.mark.parametrize("site", SITES)
def test_real_series_are_judged_rightly(site: str) -> None:
    """Products pass as they are; the darkest and the brightest with 1000 more or less are reported."""
    source = real_site(site, 0.0)
    found = source.catalogue()
    clear = [a for a in found.acquisitions if (w := source.weather(a, found.grid)).cloud < 0.2 and w.valid > 0.5]
    right = judged(source, found, clear, accept=True)
    clouds = {OVERCAST} if site.startswith("flanders") else set()
    assert len(right) >= 30 and set(right.index[right["verdict"] == radiometry.CLOUD]) == clouds
    assert set(right["verdict"].drop(list(clouds))) <= {radiometry.FINE, radiometry.UNKNOWN}
    order = right["dark"].dropna().sort_values().index
    extremes, base = {*order[:4], *order[-4:]}, radiometry.base_level(right["dark"])
    for offset, verdict in ((0.1, radiometry.MISSED), (-0.1, radiometry.TWICE)):
        again = [with_offset(a, offset) for a in found.acquisitions if a.id in extremes]
        falsified = judged(source, found, again, accept=True)["dark"]
        assert len(falsified) == 8
        assert {i for i, dark in falsified.items() if radiometry.verdict(dark, base) != verdict} <= {OVERCAST}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_offsets_missed(site: str, seed: int) -> None:
    """No acquisition that is right is accused, and hardly one that is wrong is called fine."""
    source = real_site(site, 0.0)
    found = source.catalogue()
    clear = [a for a in found.acquisitions if (w := source.weather(a, found.grid)).cloud < 0.2 and w.valid > 0.5]
    levels = judged(source, found, clear, accept=True)["dark"].dropna().to_numpy()
    missed = np.random.default_rng(seed).random(len(levels)) < 0.5
    wrong = levels + 1000 * missed
    verdicts = np.array([radiometry.verdict(level, radiometry.base_level(wrong)) for level in wrong])
    assert (verdicts[~missed] == radiometry.FINE).mean() >= 0.98
    assert (verdicts[missed] == radiometry.FINE).sum() == 0 and (verdicts[missed] == radiometry.MISSED).mean() >= 0.9


def test_a_cloud_that_the_mask_missed_is_refused_with_a_way_out() -> None:
    source = real_site("flanders_a_2017_2018", 0.0)
    found = source.catalogue()
    autumn = [a for a in found.acquisitions if f"{a.time:%Y-%m}" in ("2018-08", "2018-09", "2018-10")]
    clear = [a for a in autumn if source.weather(a, found.grid).cloud < 0.4]
    way_out = rf"1 of {len(clear)} acquisitions show clouds .*{OVERCAST} \(cloud missed by the mask, .*leave_out = \["
    with pytest.raises(InputError, match=way_out) as error:
        judged(source, found, clear)
    assert f'acquisitions.leave_out = ["{OVERCAST}"]' in str(error.value)
    judged(source, found, [a for a in clear if a.id != OVERCAST])


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("offset", [0.1, -0.1])
def test_an_offset_that_is_wrong_everywhere_in_a_third_of_a_real_series_is_never_called_a_cloud(
    site: str, offset: float
) -> None:
    source = real_site(site, 0.0)
    found = source.catalogue()
    clear = [a for a in found.acquisitions if (w := source.weather(a, found.grid)).cloud < 0.2 and w.valid > 0.5]
    wrong = {a.id for a in clear[::3]} - {OVERCAST}
    table = judged(source, found, [with_offset(a, offset) if a.id in wrong else a for a in clear], accept=True)
    assert set(table.index[table["verdict"] == radiometry.CLOUD]) <= {OVERCAST}
    expected = radiometry.MISSED if offset > 0 else radiometry.TWICE
    judged_wrong = table.loc[sorted(wrong)].dropna()
    assert (judged_wrong["verdict"] == expected).mean() >= 0.9


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [64, 128])
def test_snow_of_synthetic_worlds_is_never_called_a_cloud(tmp_path: Path, seed: int, size: int) -> None:
    write_world(tmp_path, World(size=size, seed=seed, years=(2018, 2019), acquisitions_per_year=16, cloud_share=0.15))
    source = GeoTiff(folder=tmp_path / "acquisitions")
    found = source.catalogue()
    looked = {a.id: source.weather(a, found.grid) for a in found.acquisitions}
    clear = [a for a in found.acquisitions if looked[a.id].cloud < 0.6]
    assert max(w.snow for w in looked.values()) > 0.3, "the world has no snow"
    table = judged(source, found, clear, accept=True)
    assert not set(table["verdict"]) & {radiometry.CLOUD, radiometry.WHITE, radiometry.MISSED}
