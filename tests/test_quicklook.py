"""Quicklooks: the right bands, one stretch for all, and no colour where there is no data."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from mlc_dask.show.report.quicklook import quicklook_png
from tests.cubes import Array

TEN = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")


def drawn(dn: Array, bands: tuple[str, ...], usable: Array | None = None) -> Array:
    return imread(io.BytesIO(quicklook_png(dn, bands, usable)))


def scene(**reflectance: float) -> Array:
    """Ten bands of 4 × 6 pixels, dark but for those named."""
    dn = np.full((len(TEN), 4, 6), 1000, np.uint16)
    for band, value in reflectance.items():
        dn[TEN.index(band)] = 1000 + round(value * 10_000)
    return dn


@pytest.mark.parametrize(("band", "channel"), [("B04", 0), ("B03", 1), ("B02", 2)])
def test_true_colour(band: str, channel: int) -> None:
    picture = drawn(scene(**{band: 0.25}), TEN)
    assert picture.shape == (4, 6, 4) and (picture[..., 3] == 1).all()
    assert (picture[..., channel] == 1).all() and picture[..., :3].sum() == 24


def test_stretch_is_the_same_for_all() -> None:
    dark, bright = (drawn(scene(B04=v), TEN)[0, 0, 0] for v in (0.05, 0.1))
    assert 0 < dark < bright < 1
    two = scene(B04=0.05)
    two[TEN.index("B04"), 0, 0] = 9000
    assert drawn(two, TEN)[1, 1, 0] == dark


def test_without_blue_false_colour_and_without_that_grey() -> None:
    dn = scene(B08=0.5)
    false = drawn(dn[1:], TEN[1:])
    assert (false[..., 0] == 1).all() and (false[..., 1:3] == 0).all()
    grey = drawn(scene(B05=0.5)[4:5], ("B05",))
    assert (grey == 1).all()


def test_no_data_is_transparent_and_clouds_are_veiled() -> None:
    dn, usable = scene(B04=0.1, B03=0.1, B02=0.1), np.ones((4, 6), bool)
    dn[TEN.index("B03"), 0, 0] = 0
    dn[TEN.index("B12"), 3, 3] = 0
    usable[2, 2] = False
    picture = drawn(dn, TEN, usable)
    assert picture[0, 0, 3] == 0 and (picture[..., 3] == 1).sum() == 23
    assert picture[2, 2, 0] > picture[2, 2, 1] and np.array_equal(picture[3, 3], picture[1, 1])
